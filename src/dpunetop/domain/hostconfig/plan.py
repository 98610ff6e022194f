"""The decision about the pool and its MachineConfig: whether and how they are written, and what `McpReady` reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dpunetop.base.quoting import named
from dpunetop.domain.clusterconfig.grants import NOT_GRANTED, Nodes, Rights, judge_nodes, selects, some_nodes
from dpunetop.domain.clusterconfig.status import API_NOT_SERVED, API_REMOVED, report
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.hostconfig.machineconfig import (
    NOT_OBSERVED_YET,
    HostAssets,
    PoolReason,
    PoolView,
    content_hash,
    machine_config,
    machine_config_pool,
    pool_members,
    pool_status,
    shared_nodes,
)
from dpunetop.domain.hostconfig.machinestate import machine_state
from dpunetop.domain.names import MACHINECONFIGPOOLS, MACHINECONFIGS, OWNER_LABEL, ROLL_ANNOTATION, machine_config_name
from dpunetop.domain.reasons import MCP_READY
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of
from dpunetop.kube.plan import Apply, Ownership, Plan, Step

_SHOWN = 5


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
    rights: Rights = field(default_factory=Rights)

    @property
    def judged(self) -> Nodes:
        """The nodes that the selector picks."""
        return judge_nodes(self.config, self.nodes, self.rights)


def plan_host_config(view: HostConfigView) -> Plan:
    """Write MachineConfig and pool, in this order, and report what the pool's nodes really run.

    Guarantees: an object that is not ours is left alone; content that differs from what is applied waits for the
        annotation `roll`, because it reboots every DPU; a selector never drops a DPU that serves; a pool gets
        no node that is not granted, or that another DpuClusterConfig holds.
    """
    if view.pools is None:
        return _say(view, _without_api(view))
    if view.config.node_selector is None:
        message = "spec.nodeSelector is missing: say which nodes are the DPUs; nothing is written until then"
        return _say(view, Condition(MCP_READY, "False", "NodeSelectorMissing", message))
    pool = next((pool for pool in view.pools if name_of(pool) == view.config.pool_name), None)
    if stranger := _stranger(view, pool):
        return _say(view, Condition(MCP_READY, "False", "NotOurs", stranger))
    judged, desired = view.judged, machine_config_pool(view.config.pool_name, view.config.node_selector, view.owner)
    is_applied = pool is not None and _selector(pool) == _selector(desired)
    if judged.refused and not is_applied:
        return _say(view, _refusal(view, pool, judged))
    return Plan(_writes(view, pool, desired)).then(*_status(view, _judge(view, pool, judged)))


def _without_api(view: HostConfigView) -> Condition:
    """What the API gave the DPUs stays on their Nodes when it is removed."""
    given = {name_of(node): machine_state(annotations_of(node)).current for node in view.nodes if _selects(view, node)}
    left = sorted((name, current) for name, current in given.items() if current)
    if not left:
        return Condition(MCP_READY, "False", API_NOT_SERVED, "infra has no MachineConfig API")
    shown = ", ".join(f"{name} runs {named(current)}" for name, current in left[:_SHOWN])
    more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
    words = "infra has no MachineConfig API any more, so that nothing configures or reboots its DPUs in turn"
    return Condition(MCP_READY, "False", API_REMOVED, f"{words}: {shown}{more}")


def _selects(view: HostConfigView, node: Obj) -> bool:
    return view.config.node_selector is not None and selects(view.config, node)


def dropped_nodes(config: DpuClusterConfig, nodes: Iterable[Obj], serving: frozenset[str]) -> list[str]:
    """Names of the serving nodes that the selector does not pick, sorted."""
    return sorted(name_of(node) for node in nodes if name_of(node) in serving and not selects(config, node))


def _stranger(view: HostConfigView, pool: Obj | None) -> str | None:
    for kind, obj in (("MachineConfigPool", pool), ("MachineConfig", view.machine_config)):
        if obj is not None and labels_of(obj).get(OWNER_LABEL) != view.owner:
            return f"{kind} {name_of(obj)} exists and is not ours; it is left as it is. Name another pool, or remove it"
    return None


def _refusal(view: HostConfigView, pool: Obj | None, judged: Nodes) -> Condition:
    stays = "nothing is written" if pool is None else "the pool stays as it is"
    message = f"spec.nodeSelector picks nodes that {view.config.namespace} may not have: {judged.refusal()}; {stays}"
    return Condition(MCP_READY, "False", NOT_GRANTED, message)


def _selector(pool: Obj) -> object:
    return (pool.get("spec") or {}).get("nodeSelector")


def _writes(view: HostConfigView, pool: Obj | None, desired: Mapping[str, Any]) -> tuple[Step, ...]:
    """The MachineConfig first: a pool that renders without it would reboot its nodes twice."""
    name, manager = view.config.pool_name, view.field_manager
    writes: list[Step] = []  # people and the machine-config operator own fields of a pool
    if _rolls(view):
        config = machine_config(name, view.assets, view.owner)
        writes.append(Apply(INFRA, MACHINECONFIGS, config, view.machine_config, manager, ownership=Ownership.WHOLE))
    if not _dropped(view):
        writes.append(Apply(INFRA, MACHINECONFIGPOOLS, dict(desired), pool, manager))
    return tuple(writes)


def _desired_hash(view: HostConfigView) -> str:
    return content_hash(machine_config(view.config.pool_name, view.assets, view.owner))


def _rolls(view: HostConfigView) -> bool:
    """Whether the content may be written: it is new, or unchanged, or the annotation `roll` asks for it."""
    if view.machine_config is None:
        return True
    wanted = _desired_hash(view)
    return content_hash(view.machine_config) == wanted or view.config.annotations.get(ROLL_ANNOTATION) == wanted


def _dropped(view: HostConfigView) -> list[str]:
    return dropped_nodes(view.config, view.nodes, view.serving)


def _judge(view: HostConfigView, pool: Obj | None, judged: Nodes) -> Condition:
    if not _rolls(view):
        message = (
            f"MachineConfig {machine_config_name(view.config.pool_name)} differs from what this version renders; "
            f"annotate {ROLL_ANNOTATION}={_desired_hash(view)} to roll it out, which reboots the DPUs one by one"
        )
        return Condition(MCP_READY, "False", "RollPending", message)
    if dropped := _dropped(view):
        message = f"spec.nodeSelector would drop DPUs that serve: {', '.join(dropped[:5])}; the old selector stays"
        return Condition(MCP_READY, "False", "SelectorDropsServing", message)
    if judged.refused:
        return _refusal(view, pool, judged)
    if pool is None:
        return Condition(MCP_READY, "False", PoolReason.NOT_OBSERVED.value, NOT_OBSERVED_YET)
    name, pools = view.config.pool_name, view.pools or ()
    shared, members = shared_nodes(name, pools, view.nodes), pool_members(name, pools, view.nodes)
    state = pool_status(PoolView(pool, machine_config_name(name), shared, members))
    others = f"; not given to others: {_sought(judged)}" if judged.sought else ""
    return Condition(MCP_READY, "True" if state.is_ready else "False", state.reason.value, state.message + others)


def _sought(judged: Nodes) -> str:
    return some_nodes({node: f"is selected by {who} too" for node, who in judged.sought.items()})


def _say(view: HostConfigView, condition: Condition) -> Plan:
    return Plan(_status(view, condition))


def _status(view: HostConfigView, condition: Condition) -> tuple[Step, ...]:
    return report(view.config.live, (condition,), view.field_manager)
