"""The commands that a person may run next, for each phase of a DPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from dpunetop.app.commands.blocking import LeftPod
from dpunetop.base.quoting import named
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.drain.model.facts import DpuNode, HostView
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.names import DRAIN_ANNOTATION, ENV_OVERRIDES, OVNKUBE_NODE, maintenance_name


@dataclass(frozen=True, slots=True)
class WayOut:
    """One command, and what it is for."""

    command: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Case:
    """The DPU in question."""

    config: DpuClusterConfig
    status: DpuNodeStatus
    view: HostView | None
    pods: tuple[LeftPod, ...]
    tenant_kubeconfig: str = "<tenant's>"


def ways_out(case: Case) -> tuple[WayOut, ...]:
    """The commands for the case, the least invasive first."""
    match case.status.phase:
        case Phase.SERVING | Phase.SPARE:
            return ()
        case Phase.UNPAIRED | Phase.WAITING:
            return (*_pairing(case), *_pods(case))
        case Phase.DRAINING:
            return (_maintenance(case), *_evictions(case), *_steering(case))
        case Phase.DRAINED | Phase.DOWN | Phase.RECOVERING | Phase.VERIFYING:
            return (*_pods(case), *_steering(case))
        case Phase.NO_NETWORK:
            return (*_pods(case), _cordon_host(case))
        case Phase.UNPROTECTED:
            return (_blocker(case),)
        case Phase.LEAVING:
            return (WayOut(f"kubectl cordon {_dpu(case)}", "drain the host, so that the DPU lets it go"),)
        case Phase.HELD:
            return (*_evictions(case), *_pods(case), *_steering(case))
        case Phase.UNKNOWN:
            return (WayOut("kubectl dpu doctor", "see what cannot be looked at, and why"),)
    assert_never(case.status.phase)


def _dpu(case: Case) -> str:
    return named(case.status.dpu)


def _tenant(case: Case, words: str) -> str:
    return f"kubectl --kubeconfig {case.tenant_kubeconfig} {words}"


def _maintenance(case: Case) -> WayOut:
    name = named(maintenance_name(case.status.host))
    return WayOut(_tenant(case, f"get nodemaintenance {name} -o yaml"), "see what the drain of the host waits for")


def _evictions(case: Case) -> Iterable[WayOut]:
    """What the tenant's owner does about a budget that allows no eviction."""
    for pod in (each for each in case.pods if each.budgets):
        where, budget = named(pod.namespace), named(pod.budgets[0])
        yield WayOut(
            _tenant(case, f"-n {where} describe pdb {budget}"), "see what the budget asks for, and make room for it"
        )
        yield WayOut(_tenant(case, f"-n {where} delete pod {named(pod.name)}"), "end the pod past its budget")
        return
    if case.pods:
        pod = case.pods[0]
        yield WayOut(
            _tenant(case, f"-n {named(pod.namespace)} describe pod {named(pod.name)}"), "see why the pod does not end"
        )


def _pods(case: Case) -> Iterable[WayOut]:
    """The DPU itself, and its pod."""
    where = named(case.config.namespace)
    yield WayOut(f"kubectl describe node {_dpu(case)}", "see the DPU's Node")
    on_it = f"-l app={OVNKUBE_NODE} --field-selector spec.nodeName={_dpu(case)}"
    yield WayOut(f"kubectl -n {where} get pods -o wide {on_it}", "see the DPU's OVN-Kubernetes")


def _pairing(case: Case) -> Iterable[WayOut]:
    where = named(case.config.namespace)
    yield WayOut(f"kubectl -n {where} get configmap {ENV_OVERRIDES} -o yaml", "see which host is named for the DPU")


def _blocker(case: Case) -> WayOut:
    namespace = case.view.host_ref.namespace if case.view is not None else "<operator's>"
    return WayOut(
        f"kubectl -n {namespace} get pods -o wide --field-selector spec.nodeName={_dpu(case)}", "see its blocker"
    )


def _cordon_host(case: Case) -> WayOut:
    return WayOut(
        _tenant(case, f"cordon {named(case.status.host)}"), "keep new pods off the host until it has a network again"
    )


def _steering(case: Case) -> Iterable[WayOut]:
    """The annotations that steer the operator. Source: docs/drain.md."""
    node = _node(case)
    if node is None or case.view is None:
        return
    if any(dpu.name == case.status.dpu and HostState(case.view).wants_drain(dpu) for dpu in case.view.dpus):
        yield WayOut(f"kubectl uncordon {_dpu(case)}", "give the drain up, if a person cordoned the DPU")
    yield WayOut(f"kubectl annotate node {_dpu(case)} {DRAIN_ANNOTATION}=hold", "stop everything as it is")
    yield WayOut(
        f"kubectl annotate node {_dpu(case)} {DRAIN_ANNOTATION}=force:{named(node.boot_id)}",
        "go on without the host's drain or its proof: what runs on the host loses its network",
    )


def _node(case: Case) -> DpuNode | None:
    dpus = () if case.view is None else case.view.dpus
    return next((dpu.node for dpu in dpus if dpu.name == case.status.dpu and isinstance(dpu.node, DpuNode)), None)
