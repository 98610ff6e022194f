"""Which hosts of a tenant have to wait for others, over all DpuClusterConfigs that share it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.drain.fleet.allowance import HostUse, limit_of, may_start, no_free_slot, slots, undecided
from dpunetop.domain.drain.model.facts import Budget, HoldReason, Reason
from dpunetop.domain.drain.model.readers import dpu_node
from dpunetop.domain.drain.model.record import State
from dpunetop.kube.meta import Obj, name_of


@dataclass(frozen=True, slots=True)
class TenantHosts:
    """The hosts of a tenant, and those in a maintenance."""

    nodes: Mapping[str, Obj]
    maintained: frozenset[str]
    """Hosts with a NodeMaintenance of any owner."""


def one_by_one(hosts: Iterable[str], tenant: TenantHosts, budgets: Iterable[Budget]) -> Mapping[str, HoldReason]:
    """The hosts that wait until another one is drained and released, each with why.

    Guarantees: a host that is unavailable without a drain takes no slot; otherwise a host that is down would block the
        deletion of its DpuClusterConfig.
    """
    since = _waiting(budgets, tenant.maintained)
    uses = [HostUse(host, host in tenant.maintained, since.get(host)) for host in sorted(set(hosts))]
    begin = may_start(uses, 1)
    words = "hosts are led out one after the other; spec.drain.maxUnavailable lets more of them go at once"
    return {use.host: HoldReason(Reason.HOST_DRAINING, words) for use in uses if use.host not in begin}


def holds(
    configs: Iterable[DpuClusterConfig], hosts: Iterable[str], tenant: TenantHosts, budgets: Iterable[Budget]
) -> Mapping[str, HoldReason]:
    """The hosts whose drain may not begin now, and why.

    Guarantees: without a limit no host waits; with one, a host without a slot waits. A host that has not asked yet
        waits until its request is seen here, and is not refused; otherwise each change of a slot would wake all hosts.
    """
    limits = [limit_of(said) for config in configs if (said := config.drain.max_unavailable) is not None]
    if not limits:
        return {}
    since = _waiting(budgets, tenant.maintained)
    uses = [HostUse(host, _is_unavailable(host, tenant), since.get(host)) for host in sorted(set(hosts))]
    allowed = slots(limits, len(uses))
    assert allowed is not None
    begin = may_start(uses, allowed)
    refused = no_free_slot(allowed)
    return {use.host: undecided() if use.waiting_since is None else refused for use in uses if use.host not in begin}


def _waiting(budgets: Iterable[Budget], maintained: frozenset[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for budget in budgets:
        cycle, host = budget.cycle, budget.serves
        if cycle is not None and cycle.state is State.STARTING and host and host not in maintained:
            found[host] = min(cycle.since, found.get(host, cycle.since))
    return found


def _is_unavailable(host: str, tenant: TenantHosts) -> bool:
    node = tenant.nodes.get(host)
    if host in tenant.maintained or node is None:
        return True
    read = dpu_node(node)
    return read.cordoned or not read.ready


def by_name(objects: Iterable[Obj]) -> Mapping[str, Obj]:
    """Objects by their name."""
    return {name_of(obj): obj for obj in objects}
