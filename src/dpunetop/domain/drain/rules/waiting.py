"""Rule 11, no wait is silent: waits that only others can end, each with what a person does about it."""

from __future__ import annotations

from dpunetop.base.quoting import named, sentence
from dpunetop.domain.drain.model.facts import (
    Blind,
    DpuNode,
    DpuView,
    HoldReason,
    HostNode,
    Maintenance,
    MaintenancePhase,
    Mco,
    Reason,
)
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.names import DRAIN_ANNOTATION

_SHOWN = 3


def wait_for_tenant(host_state: HostState) -> Move | None:
    """Wait for a tenant that cannot be read."""
    return host_state.view.tenant.hold if isinstance(host_state.view.tenant, Blind) else None


def wait_for_takeover(host_state: HostState) -> Move | None:
    """After a cluster's time went back, wait until every record is taken over."""
    if not host_state.view.unverified:
        return None
    return HoldReason(
        Reason.TIME_WENT_BACK,
        "an API server shows older data than before (was etcd restored?); drains wait until each is verified",
    )


def wait_for_operator(host_state: HostState) -> Move | None:
    """Wait for a node maintenance operator, but only where one is needed: a host that it left cordoned is uncordoned
    without it."""
    tenant = host_state.view.tenant
    if isinstance(tenant, Blind) or tenant.maintenances is not None or not host_state.active:
        return None
    words = f"the tenant has no node maintenance operator, so that {host_state.view.host_ref.host} cannot be drained"
    return HoldReason(Reason.NODE_MAINTENANCE_NOT_SERVED, words)


def wait_for_end(host_state: HostState) -> Move | None:
    """Wait for a NodeMaintenance that is being deleted."""
    if host_state.own is None or not host_state.own.terminating:
        return None
    return HoldReason(Reason.MAINTENANCE_TERMINATING, f"the maintenance of {host_state.view.host_ref.host} is ending")


def how_to_end(own: Maintenance) -> str:
    """What keeps a NodeMaintenance that is deleted, and how a person ends that; empty: nothing keeps it.

    Source: its operator removes its own finalizer once it has uncordoned the host (`NodeMaintenanceFinalizer` in
        api/v1beta1/nodemaintenance_types.go of medik8s/node-maintenance-operator 3a54cd1); its webhook, whose
        failurePolicy is Fail, is asked about each update of a NodeMaintenance (config/webhook/manifests.yaml).
    """
    if not own.terminating or not own.finalizers:
        return ""
    more = f" and {len(own.finalizers) - _SHOWN} more" if len(own.finalizers) > _SHOWN else ""
    names = ", ".join(named(each) for each in own.finalizers[:_SHOWN]) + more
    kept = f"NodeMaintenance {named(own.name)} is deleted and has the finalizer {names}"
    runs = "see that the node maintenance operator runs, which removes its own"
    gone = "where it is uninstalled, delete its ValidatingWebhookConfiguration, then remove the finalizer by hand"
    return f"{kept}: {runs}; {gone}"


def wait_for_drain(host_state: HostState) -> Move | None:
    """Wait while a drain is wanted: the rules after this one end drains."""
    if not host_state.active:
        return None
    if any(host_state.is_held(dpu) for dpu in host_state.active):
        return HoldReason(Reason.HELD_BY_ANNOTATION, "a person holds the drain by annotation")
    if is_overdue(host_state):
        return HoldReason(
            Reason.DRAIN_TIMEOUT, f"the drain of {host_state.view.host_ref.host} takes longer than spec.drain.timeout"
        )
    if host_state.own is not None and host_state.own.phase is MaintenancePhase.FAILED:
        return failure(host_state.own.error)
    return _progress(host_state)


def is_overdue(host_state: HostState) -> bool:
    """Whether a wanted drain takes longer than `spec.drain.timeout`."""
    timeout, now = host_state.view.settings.timeout_seconds, host_state.view.host_ref.author.now
    found = (host_state.cycle(dpu) for dpu in host_state.active)
    return timeout is not None and any(cycle is not None and now - cycle.since > timeout for cycle in found)


def _progress(host_state: HostState) -> HoldReason:
    """The hold of a drain that makes progress."""
    host, own = host_state.view.host_ref.host, host_state.own
    opened = [(dpu, dpu.node) for dpu in host_state.active if host_state.is_open(dpu) and isinstance(dpu.node, DpuNode)]
    stuck = (stuck_update(dpu, node) for dpu, node in opened if node.mco in (Mco.DRAINS, Mco.DRAINED))
    if hold := next((hold for hold in stuck if hold is not None), None):
        return hold
    late = "".join(f"; {_late_drain(node)}" for node in _draining_late(host_state))
    if opened:
        names = ", ".join(dpu.name for dpu, _ in opened)
        return HoldReason(Reason.DPU_DRAINING, f"{host} is drained; {names} may be drained and rebooted{late}")
    if host_state.is_drained and any(host_state.is_parting(dpu) for dpu in host_state.active):
        return HoldReason(Reason.HOST_DRAINING, f"{host} is drained; its DPU lets it go once its pod has ended")
    left = "" if own is None else _left_of(own)
    failing = host_state.host.machine.trouble if isinstance(host_state.host, HostNode) else ""
    own_daemon = f"; its machine-config daemon {failing}" if failing else ""
    return HoldReason(Reason.HOST_DRAINING, f"{host} is being drained{left}{own_daemon}{late}")


def in_own_drain(host_state: HostState) -> HoldReason:
    """Wait for the machine-config operator of the host's own cluster: it blocks start, opening and end of a drain."""
    assert isinstance(host_state.host, HostNode)
    host, concerned = host_state.view.host_ref.host, host_state.active or host_state.view.dpus
    nodes = [dpu.node for dpu in concerned if isinstance(dpu.node, DpuNode)]
    force = "".join(f"; or annotate {node.name} {DRAIN_ANNOTATION}=force:{node.boot_id}" for node in nodes[:1])
    words = f"the machine-config operator of {host}'s own cluster is at work there: it {host_state.host.machine.story}"
    return HoldReason(Reason.HOST_IN_OWN_DRAIN, f"{words}; wait for it, or repair it{force}")


def stuck_update(dpu: DpuView, node: DpuNode) -> HoldReason | None:
    """The hold for a machine-config operator that cannot go on by itself, in its words; None: it can."""
    is_failing = node.machine.is_failing and node.mco is not Mco.DRAINS  # of a late drain only the daemon has given up
    if node.mco is Mco.IDLE or not (dpu.stuck or is_failing):
        return None
    trouble = dpu.stuck or f"the machine-config daemon of {node.name} {node.machine.trouble}"
    return HoldReason(Reason.MACHINE_CONFIG_STUCK, f"{trouble}; {how_to_force(node)}")


def pending_update(node: DpuNode) -> HoldReason:
    """The hold for a machine-config operator that is not done with the DPU's node."""
    story = f": it {node.machine.story}" if node.machine.story else ""
    return HoldReason(Reason.MACHINE_CONFIG_PENDING, f"the machine-config operator is not done with {node.name}{story}")


def how_to_force(node: DpuNode) -> str:
    """How a person ends the wait for a DPU that can prove nothing any more."""
    uncordon = f"uncordon {node.name} and " if node.cordoned else ""
    return f"repair it, or {uncordon}annotate it {DRAIN_ANNOTATION}=force:{node.boot_id}"


def _draining_late(host_state: HostState) -> tuple[DpuNode, ...]:
    """DPUs that have waited so long for their drain that their daemon has given up, while its controller never does.

    Source: openshift/machine-config-operator 7ff337a, an hour in `performDrain` of pkg/daemon/drain.go; 5 minutes
        between two tries after the first 10 in `DefaultConfig` of pkg/controller/drain/drain_controller.go.
    """
    nodes = (dpu.node for dpu in host_state.active)
    return tuple(
        node for node in nodes if isinstance(node, DpuNode) and node.mco is Mco.DRAINS and node.machine.is_failing
    )


def _late_drain(node: DpuNode) -> str:
    return (
        f"the machine-config daemon of {node.name} {node.machine.trouble}; "
        "that ends by itself once it is drained, which its controller tries every 5 minutes"
    )


def _left_of(own: Maintenance) -> str:
    """The node maintenance operator's progress while it drains a host."""
    more = own.pending - len(own.pods)
    named_pods = ", ".join(str(pod) for pod in own.pods) + (f" and {more} more" if more > 0 else "")
    left = f", {own.pending} {'pod is' if own.pending == 1 else 'pods are'} left" if own.pending else ""
    names = f": {named_pods}" if left and own.pods else ""
    return f"{left}{names}" + (f"; the node maintenance operator says {sentence(own.error)}" if own.error else "")


def failure(error: str) -> HoldReason:
    """The hold for a host that could not be drained, with the operator's error."""
    why = sentence(error) if error else "no reason given"
    return HoldReason(Reason.MAINTENANCE_FAILED, f"the host could not be drained: {why}")
