"""Fresh reads of a procedure from the API servers, judged as cached objects are."""

from __future__ import annotations

from collections.abc import Iterable

from dpunetop.domain.drain.model.calls import QuorumGet, QuorumList, Steps, fetch, fetch_all
from dpunetop.domain.drain.model.facts import Budget, DpuNode, HostNode, HostRef, Maintenance
from dpunetop.domain.drain.model.readers import budget, dpu_node, host_node, is_ready_pod, maintenance
from dpunetop.domain.names import NODEMAINTENANCES, PODDISRUPTIONBUDGETS, blocker_labels, blocker_name, maintenance_name
from dpunetop.domain.reasons import event
from dpunetop.kube.compact import node_of
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import INFRA, NODES, PODS
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.selectors import by_labels


def read_node(name: str) -> Steps[DpuNode | None]:
    """The infra Node of a DPU."""
    obj = yield from fetch(QuorumGet(INFRA, NODES, "", name))
    return None if obj is None else dpu_node(obj)


def tell_dpu(name: str, reason: str, words: str) -> Steps[None]:
    """An Event on the Node of a DPU, if that exists."""
    obj = yield from fetch(QuorumGet(INFRA, NODES, "", name))
    if obj is not None:
        yield event(INFRA, NODES, obj, reason, words)


def read_budget(host_ref: HostRef, dpu: str) -> Steps[Budget | None]:
    """The budget of a DPU."""
    obj = yield from fetch(QuorumGet(INFRA, PODDISRUPTIONBUDGETS, host_ref.namespace, blocker_name(dpu)))
    return None if obj is None else budget(obj, host_ref.owner)


def read_blocker_ready(host_ref: HostRef, dpu: str, known: str) -> Steps[bool]:
    """Whether a blocker pod of the DPU is Ready; without one, a budget guards nothing.

    The pod that is `known` to a cache is read by name: the API server may delay a list for 0.1 s, until etcd confirms
    to its watch cache that there is nothing newer.
    """
    pod = (yield from fetch(QuorumGet(INFRA, PODS, host_ref.namespace, known))) if known else None
    if pod is not None and _holds(pod, dpu):
        return True
    pods = yield from fetch_all(QuorumList(INFRA, PODS, host_ref.namespace, by_labels(blocker_labels(dpu))))
    return any(_holds(pod, dpu) for pod in pods)


def read_pods(namespace: str, dpu: str, known: Iterable[str]) -> Steps[tuple[Obj, ...]]:
    """The pods that a cache shows on the DPU and that exist."""
    found: list[Obj] = []
    for name in known:
        pod = yield from fetch(QuorumGet(INFRA, PODS, namespace, name))
        if pod is not None and node_of(pod) == dpu:
            found.append(pod)
    return tuple(found)


def read_host(host_ref: HostRef) -> Steps[HostNode | None]:
    """The tenant Node."""
    obj = yield from fetch(QuorumGet(host_ref.tenant_cluster, NODES, "", host_ref.host))
    return None if obj is None else host_node(obj)


def read_maintenance(host_ref: HostRef) -> Steps[Maintenance | None]:
    """The NodeMaintenance under our name for the host, of any owner."""
    obj = yield from fetch(QuorumGet(host_ref.tenant_cluster, NODEMAINTENANCES, "", maintenance_name(host_ref.host)))
    return None if obj is None else maintenance(obj, host_ref.owner)


def read_maintenances(host_ref: HostRef) -> Steps[tuple[Maintenance, ...]]:
    """All NodeMaintenances for the host, under any name, terminating ones included; none where the kind is not
    served."""
    try:
        objs = yield from fetch_all(QuorumList(host_ref.tenant_cluster, NODEMAINTENANCES, ""))
    except NotFound:
        return ()
    found = (maintenance(obj, host_ref.owner) for obj in objs)
    return tuple(each for each in found if each.host == host_ref.host or each.name == maintenance_name(host_ref.host))


def _holds(pod: Obj, dpu: str) -> bool:
    is_its_own = blocker_labels(dpu).items() <= labels_of(pod).items() and node_of(pod) == dpu
    return is_its_own and is_ready_pod(pod)
