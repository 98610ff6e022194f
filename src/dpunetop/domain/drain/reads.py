"""Fresh reads: what a procedure asks the API servers for, judged as the caches are."""

from __future__ import annotations

from dpunetop.domain.drain.blockers import blocker_labels
from dpunetop.domain.drain.calls import QuorumGet, QuorumList, Steps, fetch, fetch_all
from dpunetop.domain.drain.facts import (
    Budget,
    DpuNode,
    HostNode,
    Maintenance,
    Site,
    budget,
    dpu_node,
    host_node,
    is_ready_pod,
    maintenance,
)
from dpunetop.domain.names import NODEMAINTENANCES, PODDISRUPTIONBUDGETS, blocker_name, maintenance_name
from dpunetop.kube.keys import INFRA, NODES, PODS
from dpunetop.kube.selectors import by_labels


def read_node(name: str) -> Steps[DpuNode | None]:
    """The infra Node of a DPU."""
    obj = yield from fetch(QuorumGet(INFRA, NODES, "", name))
    return None if obj is None else dpu_node(obj)


def read_budget(site: Site, dpu: str) -> Steps[Budget | None]:
    """The budget of a DPU."""
    obj = yield from fetch(QuorumGet(INFRA, PODDISRUPTIONBUDGETS, site.namespace, blocker_name(dpu)))
    return None if obj is None else budget(obj, site.owner)


def read_blocker_ready(site: Site, dpu: str) -> Steps[bool]:
    """Whether a blocker pod of the DPU is Ready; without one, a budget guards nothing."""
    pods = yield from fetch_all(QuorumList(INFRA, PODS, site.namespace, by_labels(blocker_labels(dpu))))
    return any(is_ready_pod(pod) and (pod.get("spec") or {}).get("nodeName") == dpu for pod in pods)


def read_host(site: Site) -> Steps[HostNode | None]:
    """The tenant Node."""
    obj = yield from fetch(QuorumGet(site.tenant_cluster, NODES, "", site.host))
    return None if obj is None else host_node(obj)


def read_maintenance(site: Site) -> Steps[Maintenance | None]:
    """The NodeMaintenance under our name for the host, whosever it is."""
    obj = yield from fetch(QuorumGet(site.tenant_cluster, NODEMAINTENANCES, "", maintenance_name(site.host)))
    return None if obj is None else maintenance(obj, site.owner)


def read_maintenances(site: Site) -> Steps[tuple[Maintenance, ...]]:
    """All NodeMaintenances for the host, under any name, those that are about to go included."""
    objs = yield from fetch_all(QuorumList(site.tenant_cluster, NODEMAINTENANCES, ""))
    found = (maintenance(obj, site.owner) for obj in objs)
    return tuple(each for each in found if each.host == site.host or each.name == maintenance_name(site.host))
