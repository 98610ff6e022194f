"""Whether and how the pool and its MachineConfig are written, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dpunetop.domain.machineconfig import (
    NOT_OBSERVED_YET,
    HostAssets,
    PoolReason,
    PoolView,
    content_hash,
    machine_config,
    machine_config_pool,
    pool_status,
    shared_nodes,
)
from dpunetop.domain.names import (
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    OWNER_LABEL,
    ROLL_ANNOTATION,
    machine_config_name,
)
from dpunetop.domain.status import API_NOT_SERVED, MCP_READY, report
from dpunetop.domain.types import DpuClusterConfig
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj, labels_of, name_of
from dpunetop.kube.plan import Apply, Plan, Step
from dpunetop.kube.selectors import matches


@dataclass(frozen=True, slots=True)
class HostConfigView:
    """All that the decision looks at. `pools` None: infra does not serve the MachineConfig API.

    `serving` names the DPU nodes that run OVN-Kubernetes for a host right now.
    """

    config: DpuClusterConfig
    owner: str
    assets: HostAssets
    pools: tuple[Obj, ...] | None
    machine_config: Obj | None
    nodes: tuple[Obj, ...]
    serving: frozenset[str]
    field_manager: str


def plan_host_config(view: HostConfigView) -> Plan:
    """Write MachineConfig and pool, in this order, and say what the pool's nodes really run.

    Guarantees: an object that is not ours is left alone; content that differs from what is applied waits for the
        annotation `roll`, because it reboots every DPU; a selector never drops a DPU that serves.
    """
    if view.pools is None:
        return _say(view, Condition(MCP_READY, "False", API_NOT_SERVED, "infra has no MachineConfig API"))
    if view.config.node_selector is None:
        message = "spec.nodeSelector is missing: say which nodes are the DPUs; nothing is written until then"
        return _say(view, Condition(MCP_READY, "False", "NodeSelectorMissing", message))
    pool = next((pool for pool in view.pools if name_of(pool) == view.config.pool_name), None)
    if stranger := _stranger(view, pool):
        return _say(view, Condition(MCP_READY, "False", "NotOurs", stranger))
    return Plan(_writes(view, pool, view.config.node_selector)).then(*_status(view, _judge(view, pool)))


def dropped_nodes(selector: Mapping[str, Any], nodes: Iterable[Obj], serving: frozenset[str]) -> list[str]:
    """Names of the serving nodes that `selector` does not select, sorted."""
    left_out = (node for node in nodes if not matches(selector, labels_of(node)))
    return sorted(name_of(node) for node in left_out if name_of(node) in serving)


def _stranger(view: HostConfigView, pool: Obj | None) -> str | None:
    for kind, obj in (("MachineConfigPool", pool), ("MachineConfig", view.machine_config)):
        if obj is not None and labels_of(obj).get(OWNER_LABEL) != view.owner:
            return f"{kind} {name_of(obj)} exists and is not ours; it is left as it is. Name another pool, or remove it"
    return None


def _writes(view: HostConfigView, pool: Obj | None, selector: Mapping[str, Any]) -> tuple[Step, ...]:
    """The MachineConfig first: a pool that renders without it would reboot its nodes twice."""
    name, manager = view.config.pool_name, view.field_manager
    writes: list[Step] = []
    if _rolls(view):
        config = machine_config(name, view.assets, view.owner)
        writes.append(Apply(INFRA, MACHINECONFIGS, config, view.machine_config, manager))
    if not _dropped(view):
        writes.append(Apply(INFRA, MACHINECONFIGPOOLS, machine_config_pool(name, selector, view.owner), pool, manager))
    return tuple(writes)


def _desired_hash(view: HostConfigView) -> str:
    return content_hash(machine_config(view.config.pool_name, view.assets, view.owner))


def _rolls(view: HostConfigView) -> bool:
    """Whether the content may be written: it is new, unchanged, or asked for by name."""
    if view.machine_config is None:
        return True
    wanted = _desired_hash(view)
    return content_hash(view.machine_config) == wanted or view.config.annotations.get(ROLL_ANNOTATION) == wanted


def _dropped(view: HostConfigView) -> list[str]:
    return dropped_nodes(view.config.node_selector or {}, view.nodes, view.serving)


def _judge(view: HostConfigView, pool: Obj | None) -> Condition:
    if not _rolls(view):
        message = (
            f"MachineConfig {machine_config_name(view.config.pool_name)} differs from what this version renders; "
            f"annotate {ROLL_ANNOTATION}={_desired_hash(view)} to roll it out, which reboots the DPUs one by one"
        )
        return Condition(MCP_READY, "False", "RollPending", message)
    if dropped := _dropped(view):
        message = f"spec.nodeSelector would drop DPUs that serve: {', '.join(dropped[:5])}; the old selector stays"
        return Condition(MCP_READY, "False", "SelectorDropsServing", message)
    if pool is None:
        return Condition(MCP_READY, "False", PoolReason.NOT_OBSERVED.value, NOT_OBSERVED_YET)
    shared = shared_nodes(view.config.pool_name, view.pools or (), view.nodes)
    state = pool_status(PoolView(pool, machine_config_name(view.config.pool_name), shared))
    return Condition(MCP_READY, "True" if state.is_ready else "False", state.reason.value, state.message)


def _say(view: HostConfigView, condition: Condition) -> Plan:
    return Plan(_status(view, condition))


def _status(view: HostConfigView, condition: Condition) -> tuple[Step, ...]:
    return report(INFRA, view.config.live, (condition,), view.field_manager)
