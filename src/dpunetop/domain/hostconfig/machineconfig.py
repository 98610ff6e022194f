"""The operating system of the DPUs: the MachineConfig and pool that we write, and the state that their status shows.

The pool selects the nodes and the MachineConfig has their files. The machine-config operator renders, drains and
reboots, and only its own annotations and status tell how far it is.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dpunetop.domain.hostconfig import ignition
from dpunetop.domain.hostconfig.machinestate import machine_state
from dpunetop.domain.names import (
    MACHINE_CONFIG_ROLE_LABEL,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    OWNER_LABEL,
    WORKER_ROLE,
    machine_config_name,
)
from dpunetop.kube.meta import Obj, annotations_of, generation_of, labels_of, name_of, new_object
from dpunetop.kube.selectors import matches


@dataclass(frozen=True)
class HostAssets:
    """The text of the files on a DPU."""

    files: tuple[ignition.File, ...]
    units: tuple[ignition.Unit, ...]


def machine_config(pool: str, assets: HostAssets, owner: str) -> dict[str, Any]:
    """The MachineConfig of a pool; `owner` is the value of the owner label.

    Guarantees: the content follows from `assets` alone. A change of it reboots every DPU of the pool.
    """
    config = new_object(MACHINECONFIGS, "", machine_config_name(pool))
    config["metadata"]["labels"] = {MACHINE_CONFIG_ROLE_LABEL: pool, OWNER_LABEL: owner}
    config["spec"] = {"config": ignition.document(assets.files, assets.units)}
    return config


def machine_config_pool(pool: str, node_selector: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The MachineConfigPool with the two fields that are ours; the rest is the administrator's.

    Source: the machine-config operator has a custom pool inherit `worker` and refuses one that does not name it.
    """
    wanted = new_object(MACHINECONFIGPOOLS, "", pool)
    wanted["metadata"]["labels"] = {OWNER_LABEL: owner}
    roles = {"key": MACHINE_CONFIG_ROLE_LABEL, "operator": "In", "values": sorted((pool, WORKER_ROLE))}
    wanted["spec"] = {
        "machineConfigSelector": {"matchExpressions": [roles]},
        "nodeSelector": _canonical_selector(node_selector),
    }
    return wanted


def content_hash(config: Obj) -> str:
    """A hash of the content of a MachineConfig, independent of the order of its members.

    Guarantees: equal for two MachineConfigs whose nodes would be configured alike by `spec.config`.
    """
    content = (config.get("spec") or {}).get("config")
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PoolReason(StrEnum):
    """Reason of the condition `McpReady`, as the state of the pool gives it."""

    ROLLED_OUT = "RolledOut"
    NOT_FOUND = "PoolNotFound"
    SHARED_NODES = "NodeInTwoPools"
    DEGRADED = "PoolDegraded"
    NOT_OBSERVED = "NotObserved"
    NOT_RENDERED = "NotRendered"
    ROLLING = "RollingOut"
    PAUSED = "PoolPaused"
    NO_MACHINES = "NoMachines"


@dataclass(frozen=True)
class PoolState:
    """Where a pool stands: a reason and one line for a person."""

    reason: PoolReason
    message: str

    @property
    def is_ready(self) -> bool:
        """Whether every DPU of the pool runs our configuration."""
        return self.reason is PoolReason.ROLLED_OUT


@dataclass(frozen=True)
class PoolView:
    """The facts by which a pool is judged.

    `pool` is the live object, None if there is none. `shared_nodes` are the nodes that another custom pool selects too,
    each with that pool's name: the machine-config operator then configures them for neither. `members` are the nodes
    that it is to configure, as `pool_members` has them; None: they are not known.
    """

    pool: Obj | None
    machine_config: str
    shared_nodes: Sequence[tuple[str, str]] = ()
    members: tuple[Obj, ...] | None = None


def pool_status(view: PoolView) -> PoolState:
    """Judge a pool by the configurations that its nodes run, not by the pool's conditions.

    Guarantees: ready only if the newest generation was observed with all its machines, our MachineConfig is part of
        what each of them runs, there is a machine, and nothing is degraded. Whether a machine is Ready and schedulable
        does not count: a person may have cordoned it.
    """
    if view.pool is None:
        return PoolState(PoolReason.NOT_FOUND, "the MachineConfigPool does not exist")
    for rule in (_shared, _degraded, _waiting, _empty):
        if state := rule(view, view.pool):
            return state
    return PoolState(
        PoolReason.ROLLED_OUT, f"all {_count(view.pool, 'machineCount')} machines run {_target(view.pool)}"
    )


def shared_nodes(pool: str, pools: Iterable[Obj], nodes: Iterable[Obj]) -> tuple[tuple[str, str], ...]:
    """The nodes that `pool` and another custom pool select, each with the other pool's name; sorted.

    Source: the machine-config operator lets `master` win over a custom pool and a custom pool over `worker`, but
        refuses a node that belongs to two custom ones.
    """
    selectors = {name_of(each): (each.get("spec") or {}).get("nodeSelector") or {} for each in pools}
    ours = selectors.pop(pool, {})
    others = {name: selector for name, selector in selectors.items() if name not in _BUILT_IN_POOLS}
    return tuple(
        sorted(
            (name_of(node), name)
            for node in nodes
            if matches(ours, labels_of(node))
            for name, selector in others.items()
            if matches(selector, labels_of(node))
        )
    )


def stuck_nodes(pool: str, pools: Iterable[Obj], nodes: Iterable[Obj]) -> Mapping[str, str]:
    """The nodes of `pool` that the machine-config operator neither updates nor drains nor uncordons, each with why.

    Source: openshift/machine-config-operator 7ff337a, `GetPoolsForNode` in pkg/helpers/helpers.go, which `syncNode` in
        pkg/controller/drain/drain_controller.go asks before anything else.
    """
    others: dict[str, list[str]] = {}
    for node, other in shared_nodes(pool, pools, nodes):
        others.setdefault(node, []).append(other)
    return {
        node: f"node {node} belongs to {len(found) + 1} custom roles ({', '.join((pool, *found))}), so the "
        "machine-config operator cannot proceed with it: take it out of all pools but one"
        for node, found in others.items()
    }


def pool_members(pool: str, pools: Iterable[Obj], nodes: Iterable[Obj]) -> tuple[Obj, ...]:
    """The nodes that the machine-config operator counts as machines of `pool`: those that it selects, without those of
    the master pool, of another custom one, or of Windows.

    Source: openshift/machine-config-operator 7ff337a, `GetPoolsForNode` and `ListPools` in pkg/helpers/helpers.go.
    """
    selectors = {name_of(each): (each.get("spec") or {}).get("nodeSelector") or {} for each in pools}
    ours = selectors.pop(pool, {})
    others = [selector for name, selector in selectors.items() if name != WORKER_ROLE]
    return tuple(
        node
        for node in nodes
        if matches(ours, labels_of(node))
        and labels_of(node).get("kubernetes.io/os") != "windows"
        and not any(matches(selector, labels_of(node)) for selector in others)
    )


def node_configured(annotations: Mapping[str, str], pool: Obj, machine_config: str) -> bool:
    """Whether the node with these annotations runs a configuration of the pool that has our MachineConfig.

    Judged for each node, so that the first DPU need not wait for the last. The configuration that counts is the newest,
    or while the pool is paused the last one that all its machines ran: a paused pool is rendered too, but its nodes do
    not get that.
    """
    machine = machine_state(annotations)
    if not machine.is_done:
        return False
    is_paused = bool((pool.get("spec") or {}).get("paused"))
    parts = ("spec", "status") if is_paused else ("spec",)
    return any(_named(pool, part) == machine.current and machine_config in _sources(pool, part) for part in parts)


def configured_nodes(
    dpus: frozenset[str], nodes: Iterable[Obj], pool: Obj | None, has_machine_configs: bool
) -> frozenset[str]:
    """Those of `dpus` that run their host configuration; all of them where infra has no MachineConfig API."""
    if not has_machine_configs:
        return dpus
    if pool is None:
        return frozenset()
    ours = machine_config_name(name_of(pool))
    names = (name_of(node) for node in nodes if node_configured(annotations_of(node), pool, ours))
    return dpus.intersection(names)


NOT_OBSERVED_YET = "the machine-config operator has not looked at the newest pool yet"
"""One message for all short steps of the operator: each further message would be another write."""

_DEGRADED_BY = ("NodeDegraded", "RenderDegraded", "ImageBuildDegraded", "PinnedImageSetsDegraded")
"""The conditions that `Degraded` sums up. Another controller than that of `RenderDegraded` computes it, so later, and
without a message where that is its only cause (`calculateStatus` in pkg/controller/node/status.go)."""
_BUILT_IN_POOLS = frozenset({"master", "worker"})
_SHOWN = 5


def _shared(view: PoolView, pool: Obj) -> PoolState | None:
    if not view.shared_nodes:
        return None
    return PoolState(
        PoolReason.SHARED_NODES,
        f"nodes selected by another pool too are configured by neither: {_some(view.shared_nodes)}",
    )


def _some(shared: Iterable[tuple[str, str]]) -> str:
    named = [f"{node} (also {pool})" for node, pool in sorted(shared)]
    rest = len(named) - _SHOWN
    return ", ".join(named[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _degraded(view: PoolView, pool: Obj) -> PoolState | None:
    found = [each for each in _status(pool).get("conditions") or [] if each.get("status") != "False"]
    for condition in (*_of(found, _DEGRADED_BY), *_of(found, ("Degraded",))):
        said = condition.get("message") or condition.get("reason")
        if said or condition["type"] not in ("Degraded", "NodeDegraded"):
            return PoolState(PoolReason.DEGRADED, _line(f"{condition['type']}: {said or 'no reason given'}"))
    if failing := _failing(view, pool) or (_of(found, ("NodeDegraded",)) and "NodeDegraded: no reason given"):
        return PoolState(PoolReason.DEGRADED, failing)
    if _of(found, ("Degraded",)):  # its parts are False already; the sum is not updated yet
        return PoolState(PoolReason.NOT_OBSERVED, NOT_OBSERVED_YET)
    return None


def _failing(view: PoolView, pool: Obj) -> str:
    """What the Nodes say, else what the pool counts: the Nodes are newer than a status that nobody writes."""
    if troubles := _troubles(view):
        return troubles
    degraded = _count(pool, "degradedMachineCount")
    return f"{degraded} of {_count(pool, 'machineCount')} machines are degraded" if degraded else ""


def _troubles(view: PoolView) -> str:
    """What the daemons of the pool's nodes have given up, for a person; empty: nothing."""
    told = [(name_of(node), machine_state(annotations_of(node)).trouble) for node in view.members or ()]
    words = [f"node {node} {trouble}" for node, trouble in sorted(told) if trouble]
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return "; ".join(words[:_SHOWN]) + more


def _of(conditions: Sequence[Mapping[str, Any]], types: Sequence[str]) -> tuple[Mapping[str, Any], ...]:
    return tuple(each for type_ in types for each in conditions if each.get("type") == type_)


def _waiting(view: PoolView, pool: Obj) -> PoolState | None:
    state = _unobserved(view, pool) or _unrendered(view, pool) or _rolling(view, pool)
    if state is not None and (pool.get("spec") or {}).get("paused"):
        return PoolState(PoolReason.PAUSED, f"the pool is paused; {state.message}")
    return state


def _unobserved(view: PoolView, pool: Obj) -> PoolState | None:
    counted = view.members is None or len(view.members) == _count(pool, "machineCount")
    if counted and _count(pool, "observedGeneration") == generation_of(pool):
        return None
    return PoolState(PoolReason.NOT_OBSERVED, NOT_OBSERVED_YET)


def _unrendered(view: PoolView, pool: Obj) -> PoolState | None:
    if _target(pool) and view.machine_config in _sources(pool, "spec"):
        return None
    return PoolState(PoolReason.NOT_RENDERED, f"{view.machine_config} is not in the pool's configuration yet")


def _rolling(view: PoolView, pool: Obj) -> PoolState | None:
    """Source: a machine counts as updated once it runs `spec.configuration`; `status.configuration` changes only when
    all are Ready and schedulable too (`calculateStatus` in pkg/controller/node/status.go)."""
    total, updated = _count(pool, "machineCount"), _count(pool, "updatedMachineCount")
    if updated == total:
        return None
    current, target = _named(pool, "status"), _target(pool)
    origin = f" from {current}" if current and current != target else ""
    return PoolState(PoolReason.ROLLING, f"rolling{origin} to {target}: {updated} of {total} machines have it")


def _empty(view: PoolView, pool: Obj) -> PoolState | None:
    if _count(pool, "machineCount"):
        return None
    return PoolState(PoolReason.NO_MACHINES, f"the nodeSelector of pool {name_of(pool)} selects no node")


def _status(pool: Obj) -> Mapping[str, Any]:
    return pool.get("status") or {}


def _count(pool: Obj, name: str) -> int:
    return int(_status(pool).get(name) or 0)


def _target(pool: Obj) -> str:
    return _named(pool, "spec")


def _named(pool: Obj, part: str) -> str:
    return str(((pool.get(part) or {}).get("configuration") or {}).get("name") or "")


def _sources(pool: Obj, part: str) -> frozenset[str]:
    configuration = (pool.get(part) or {}).get("configuration") or {}
    return frozenset(str(source.get("name")) for source in configuration.get("source") or [])


def _line(text: str) -> str:
    return " ".join(text.split())


def _canonical_selector(selector: Mapping[str, Any]) -> dict[str, Any]:
    canonical: dict[str, Any] = {}
    if labels := selector.get("matchLabels"):
        canonical["matchLabels"] = dict(labels)
    if expressions := selector.get("matchExpressions"):
        canonical["matchExpressions"] = [
            {name: value for name, value in expression.items() if value} for expression in expressions
        ]
    return canonical
