"""What is to be done next about one tenant host: a list of rules, of which the first that has something to say speaks.

The order of the rules is the order of danger: what may be closed comes before what needs the tenant, records come
before what they are about, and giving back comes last. Nothing is remembered between two decisions but what both
clusters show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dpunetop.base.quoting import named, sentence
from dpunetop.domain.drain.model.calls import Task
from dpunetop.domain.drain.model.facts import (
    Blind,
    Budget,
    DpuNode,
    DpuView,
    DrainOverride,
    HoldReason,
    HostNode,
    HostView,
    Maintenance,
    MaintenancePhase,
    Mco,
    NodeGone,
    OnTimeout,
    OvnPod,
    Reason,
    is_stuck_cordoned,
)
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.record import Cycle, State, begun_anew, lost_record, seen_in_boot
from dpunetop.domain.drain.protection.protection import ChangeEntry
from dpunetop.domain.drain.rules.opening import Close, ForceOpen, Open, Unmark, marked_dpu
from dpunetop.domain.drain.rules.proof import missing_proofs
from dpunetop.domain.drain.rules.returning import (
    Because,
    DpuCheck,
    EndFailedMaintenance,
    EndMaintenance,
    Farewell,
    LeadOut,
    LiftCordon,
    RestartPod,
    Restore,
)
from dpunetop.domain.drain.rules.starting import Abort, AbortTakenBack, Adopt, Create, Refresh, Renew, Reset, Rewrite
from dpunetop.domain.names import CORDONED_BEFORE_ANNOTATION, DRAIN_ANNOTATION, open_for
from dpunetop.kube.meta import name_of

Move = Task | HoldReason
Rule = Callable[[HostState], Move | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, or why nothing can be done. At most one of both; neither: all is as it should be."""

    task: Task | None
    hold: HoldReason | None
    recheck_seconds: int | None
    """When to decide again although nothing wakes; None: only when something wakes."""


def decide(view: HostView) -> Decision:
    """The next task for one host.

    Guarantees: of equal views equal decisions; what the task writes it looks up again first, so a view may be stale.
    """
    host_state = HostState(view)
    move = None
    if not host_state.is_quiet or any(host_state.is_open(dpu) and host_state.serves(dpu) for dpu in view.dpus):
        move = _first(RULES, host_state)
    hold = move if isinstance(move, HoldReason) else None
    task = None if isinstance(move, HoldReason) else move
    return Decision(task, hold, _recheck(host_state))


def _first(rules: Sequence[Rule], host_state: HostState) -> Move | None:
    return next((move for move in (rule(host_state) for rule in rules) if move is not None), None)


FIRST_RETRY_SECONDS = 10
LAST_RETRY_SECONDS = 300


def retry_pause(failures: int) -> int:
    """How long to wait after the last of so many failures: not at all, then longer and longer."""
    if failures <= 1:
        return 0
    return int(min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures - 2, 10)))


# --- what needs nothing of the tenant -----------------------------------------------------------------------------


def _close(host_state: HostState) -> Move | None:
    for dpu in host_state.view.dpus:
        if (
            dpu.budget is not None
            and host_state.serves(dpu)
            and host_state.is_open(dpu)
            and not host_state.may_be_open(dpu)
        ):
            cycle = host_state.cycle(dpu)
            is_ours = cycle is not None and cycle.term == host_state.view.host_ref.author.term
            taken_back = cycle if cycle is not None and is_ours and _is_taken_back(host_state, dpu, cycle) else None
            return Close(host_state.view.host_ref, dpu.name, host_state.view.tenant, dpu.budget, taken_back)
    return None


def _take_over(host_state: HostState) -> Move | None:
    """What another leadership has under way fails from here on."""
    host_ref = host_state.view.host_ref
    for dpu, cycle in host_state.cycles:
        if cycle.term != host_ref.author.term:
            return Rewrite(host_ref, dpu.name, cycle, cycle)
    return None


def _begin(host_state: HostState) -> Move | None:
    host_ref = host_state.view.host_ref
    for dpu in host_state.active:
        cycle = host_state.cycle(dpu)
        if cycle is None:
            return Rewrite(host_ref, dpu.name, None, _first_record(host_state, dpu), _if_closed(dpu))
        if isinstance(dpu.node, DpuNode) and cycle.node != dpu.node.uid:  # registered anew, or an unreadable record
            renewed = replace(cycle, node=dpu.node.uid, since=host_ref.author.now)
            return Rewrite(host_ref, dpu.name, cycle, renewed, _if_closed(dpu))
        if cycle.state is State.RETURNING:
            return Rewrite(host_ref, dpu.name, cycle, begun_anew(cycle, host_ref.author.now), _if_closed(dpu))
    return None


def _watch_server(host_state: HostState) -> Move | None:
    """The DPU that serves has a record as long as a maintenance of ours stands, whichever DPU asked for that: what
    happens to it meanwhile has to be remembered, and proven."""
    prover = host_state.prover()
    if (
        not host_state.is_asked
        or prover is None
        or not host_state.serves(prover)
        or host_state.cycle(prover) is not None
    ):
        return None
    if not isinstance(prover.node, DpuNode):
        return None
    author = host_state.view.host_ref.author
    begun = Cycle(State.RETURNING, term=author.term)
    if host_state.has_lost_record:
        begun = lost_record(State.RETURNING, author.term)
    seen = _as_seen(host_state, prover, replace(begun, node=prover.node.uid, since=author.now))
    watched = replace(seen, disturbed=host_state.has_lost_record)
    return Rewrite(host_state.view.host_ref, prover.name, None, watched, _if_closed(prover))


def _if_closed(dpu: DpuView) -> Budget | None:
    """What a record may be written onto unread: what is restated with it opens nothing, whatever a cache shows."""
    return None if dpu.budget is None or dpu.budget.is_open else dpu.budget


def _take_back(host_state: HostState) -> Move | None:
    """A cordon that is gone ends the cycle; a Node that is gone does so only once that is certain."""
    for dpu, cycle in host_state.cycles:
        if _is_taken_back(host_state, dpu, cycle):
            returning = replace(cycle, state=State.RETURNING)
            return Rewrite(host_state.view.host_ref, dpu.name, cycle, returning, _if_closed(dpu))
    return None


def _is_taken_back(host_state: HostState, dpu: DpuView, cycle: Cycle) -> bool:
    is_unsure = isinstance(dpu.node, NodeGone) and not dpu.node.confirmed
    return cycle.state is not State.RETURNING and not host_state.wants(dpu) and not is_unsure


def _refresh(host_state: HostState) -> Move | None:
    """Not what runs now, where the record is over before that could matter: the host need not wait for it."""
    for dpu, cycle in host_state.cycles:
        if not isinstance(dpu.node, DpuNode):
            continue
        seen = _as_seen(host_state, dpu, cycle)
        if seen.boot != cycle.boot or (seen != cycle and not _is_ending(host_state, cycle)):
            return Refresh(
                host_state.view.host_ref,
                dpu.name,
                host_state.view.pods_namespace,
                tuple(name_of(pod.live) for pod in dpu.pods),
            )
    return None


def _is_ending(host_state: HostState, cycle: Cycle) -> bool:
    """Whether the host is given back, or is so with this decision."""
    tenant = host_state.view.tenant
    if cycle.state is not State.RETURNING or isinstance(tenant, Blind) or tenant.maintenances is None:
        return False
    is_given_back = host_state.own is None or host_state.own.terminating
    return is_given_back or isinstance(_first(_LATER, host_state), EndMaintenance)


def _force(host_state: HostState) -> Move | None:
    for dpu in host_state.active:
        if host_state.is_forced(dpu) and not host_state.is_open(dpu) and not host_state.is_parting(dpu):
            return ForceOpen(host_state.view.host_ref, dpu.name)
    return None


# --- what must be known first ---------------------------------------------------------------------------------------


def _blind(host_state: HostState) -> Move | None:
    return host_state.view.tenant.hold if isinstance(host_state.view.tenant, Blind) else None


def _unverified(host_state: HostState) -> Move | None:
    if not host_state.view.unverified:
        return None
    return HoldReason(
        Reason.TIME_WENT_BACK, "a cluster was set back in time; every cycle is checked before anything goes on"
    )


def _not_served(host_state: HostState) -> Move | None:
    """Only where one is needed: what an operator that is gone has left behind is led out without it."""
    tenant = host_state.view.tenant
    if isinstance(tenant, Blind) or tenant.maintenances is not None or not host_state.active:
        return None
    return HoldReason(
        Reason.NODE_MAINTENANCE_NOT_SERVED, "the tenant has no node maintenance operator to drain its host"
    )


# --- giving up ------------------------------------------------------------------------------------------------------


def _abort_taken_back(host_state: HostState) -> Move | None:
    """Also while the host is only to be given back: it must not be cordoned again then."""
    marked = isinstance(host_state.host, HostNode) and host_state.host.mark is True
    if not host_state.taken_back or not (host_state.active or marked):
        return None
    return AbortTakenBack(_abort(host_state, Reason.HOST_UNCORDONED))


def _abort_timeout(host_state: HostState) -> Move | None:
    """Only as long as no budget of the host was open: afterwards its DPU may be down."""
    if host_state.view.settings.on_timeout is not OnTimeout.ABORT or not _is_overdue(host_state):
        return None
    if any(cycle.opened or host_state.is_parting(dpu) for dpu, cycle in host_state.cycles):
        return None
    return _abort(host_state, Reason.DRAIN_TIMEOUT)


def _abort(host_state: HostState, reason: Reason) -> Abort:
    found = ((dpu.name, host_state.cycle(dpu)) for dpu in host_state.active)
    return Abort(
        host_state.view.host_ref, tuple((name, cycle) for name, cycle in found if cycle is not None), str(reason)
    )


# --- the maintenance ------------------------------------------------------------------------------------------------


def _terminating(host_state: HostState) -> Move | None:
    if host_state.own is None or not host_state.own.terminating:
        return None
    return HoldReason(Reason.MAINTENANCE_TERMINATING, f"the maintenance of {host_state.view.host_ref.host} is ending")


def _updated(host_state: HostState) -> Move | None:
    """The host's own machine-config operator has, or had, a hand on the host under our maintenance, or its Node was
    registered anew."""
    own = host_state.own
    if own is None or own.phase is MaintenancePhase.FAILED or not host_state.active or not host_state.is_outdated:
        return None
    if host_state.is_in_own_drain:
        return _in_own_drain(host_state)
    return Renew(host_state.view.host_ref, own.uid) if own.phase is MaintenancePhase.SUCCEEDED else None


def _in_own_drain(host_state: HostState) -> HoldReason:
    """Said whoever waits for it: what begins, what would be opened, and what would be given back."""
    assert isinstance(host_state.host, HostNode)
    host, concerned = host_state.view.host_ref.host, host_state.active or host_state.view.dpus
    nodes = [dpu.node for dpu in concerned if isinstance(dpu.node, DpuNode)]
    force = "".join(f"; or annotate {node.name} {DRAIN_ANNOTATION}=force:{node.boot_id}" for node in nodes[:1])
    words = f"the machine-config operator of {host}'s own cluster is at work there: it {host_state.host.machine.story}"
    return HoldReason(Reason.HOST_IN_OWN_DRAIN, f"{words}; wait for it, or repair it{force}")


def _unmark(host_state: HostState) -> Move | None:
    """Marks of closed budgets, but for one that is to be opened now and sets its mark anew."""
    if host_state.own is None:
        return None
    by_mark = {open_for(dpu.name): dpu for dpu in host_state.view.dpus}
    for name, text in sorted(host_state.own.marks.items()):
        dpu = by_mark.get(name)
        if dpu is None:
            return Unmark(host_state.view.host_ref, marked_dpu(text), name)
        if not (host_state.is_open(dpu) and host_state.serves(dpu)) and not host_state.may_be_open(dpu):
            return Unmark(host_state.view.host_ref, dpu.name, name)
    return None


def _failed(host_state: HostState) -> Move | None:
    """Count each failure once, then take the maintenance away although the drain is wanted."""
    own, host_ref = host_state.own, host_state.view.host_ref
    if own is None or own.phase is not MaintenancePhase.FAILED or not host_state.active:
        return None
    for dpu in host_state.active:
        cycle = host_state.cycle(dpu)
        if cycle is not None and cycle.failed != own.uid:
            counted = replace(
                cycle,
                failures=cycle.failures + 1,
                failed=own.uid,
                failed_at=host_ref.author.now,
                note="",
                maintenance=own.uid,
            )
            return Rewrite(host_ref, dpu.name, cycle, counted, _if_closed(dpu))
    serving = (dpu for dpu in host_state.view.dpus if host_state.serves(dpu))
    return EndFailedMaintenance(host_ref, own.uid, tuple(DpuCheck(dpu.name, dpu.blocker) for dpu in serving))


def _adopt(host_state: HostState) -> Move | None:
    own = host_state.own
    for dpu in host_state.active if own is not None else ():
        cycle = host_state.cycle(dpu)
        if own is not None and cycle is not None and (cycle.state, cycle.maintenance) != (State.DRAINING, own.uid):
            return Adopt(host_state.view.host_ref, dpu.name, own.uid)
    return None


def _open(host_state: HostState) -> Move | None:
    own = host_state.own
    for dpu in host_state.active:
        cycle = host_state.cycle(dpu)
        if (
            own is None
            or cycle is None
            or host_state.is_open(dpu)
            or host_state.is_held(dpu)
            or host_state.is_parting(dpu)
        ):
            continue
        if host_state.is_drained_for(dpu):
            return Open(host_state.view.host_ref, dpu.name, cycle, own)
    return None


def _foreign(host_state: HostState) -> Move | None:
    if host_state.foreign is None:
        return None
    host = host_state.view.host_ref.host
    words = f"the maintenance {host_state.foreign.name} of {host} is somebody else's; it is waited for"
    return HoldReason(Reason.FOREIGN_MAINTENANCE, words)


def _resume(host_state: HostState) -> Move | None:
    """A host that somebody has uncordoned while it was led out is drained anew once it is cordoned."""
    if host_state.maintenances or not isinstance(host_state.host, HostNode) or not host_state.host.cordoned:
        return None
    for dpu, cycle in host_state.cycles:
        if cycle.state is State.ABORTED and host_state.is_parting(dpu):
            anew = replace(
                cycle, state=State.STARTING, reason="", maintenance="", since=host_state.view.host_ref.author.now
            )
            return Rewrite(host_state.view.host_ref, dpu.name, cycle, anew, _if_closed(dpu))
    return None


def _host_absent(host_state: HostState) -> Move | None:
    if not isinstance(host_state.host, NodeGone) or (host_state.host.confirmed and not host_state.active):
        return None
    words = f"the tenant has no node {host_state.view.host_ref.host}; unpair its DPU, or force it"
    return HoldReason(Reason.HOST_ABSENT, words)


def _restore(host_state: HostState) -> Move | None:
    """The mark is carried out whatever the records say: they may be lost, and it alone knows of the earlier cordon."""
    if host_state.own is not None or not isinstance(host_state.host, HostNode) or host_state.host.mark is None:
        return None
    if host_state.is_left_over:
        return None  # it is returned on proof, or drained anew, as if the maintenance were there
    return _still_cordoned(host_state, host_state.host) or Restore(host_state.view.host_ref)


def _still_cordoned(host_state: HostState, host: HostNode) -> HoldReason | None:
    """A cordon without the taint may be a person's: it is neither taken off, nor is the mark that says it should be."""
    if host_state.maintenances or not is_stuck_cordoned(host):
        return None
    name = named(host_state.view.host_ref.host)
    words = f"{name} is cordoned although its maintenance is gone and it was not cordoned before"
    theirs = f"kubectl annotate node {name} {CORDONED_BEFORE_ANNOTATION}-"
    return HoldReason(
        Reason.HOST_STILL_CORDONED, f"{words}: kubectl uncordon {name}, or, if somebody wants that, {theirs}"
    )


def _reset(host_state: HostState) -> Move | None:
    """The maintenance of the cycle is gone although the drain is wanted: another one is needed."""
    for dpu in host_state.active if host_state.own is None else ():
        cycle = host_state.cycle(dpu)
        if cycle is not None and cycle.maintenance:
            anew = replace(cycle, state=State.STARTING, maintenance="")
            return Reset(host_state.view.host_ref, dpu.name, cycle, anew)
    return None


def _create(host_state: HostState) -> Move | None:
    if host_state.own is not None or not host_state.active:
        return None
    if host_state.is_in_own_drain:
        return _in_own_drain(host_state)
    if isinstance(host_state.host, HostNode) and host_state.host.terminating:
        return HoldReason(Reason.HOST_ABSENT, f"{host_state.view.host_ref.host} is being deleted from its cluster")
    if waiting := _backing_off(host_state):
        return waiting
    first = host_state.active[0]
    ending = host_state.view.config if host_state.is_parting(first) else None
    return host_state.view.not_now or Create(host_state.view.host_ref, first.name, ending)


def _wait_for_drain(host_state: HostState) -> Move | None:
    """The rest is for hosts whose drain nobody wants any more."""
    if not host_state.active:
        return None
    if any(host_state.is_held(dpu) for dpu in host_state.active):
        return HoldReason(Reason.HELD_BY_ANNOTATION, "a person holds the drain by annotation")
    if _is_overdue(host_state):
        return HoldReason(
            Reason.DRAIN_TIMEOUT, f"the drain of {host_state.view.host_ref.host} takes longer than spec.drain.timeout"
        )
    if host_state.own is not None and host_state.own.phase is MaintenancePhase.FAILED:
        return _failure(host_state.own.error)
    return _progress(host_state)


# --- giving back ----------------------------------------------------------------------------------------------------


def _not_yet(host_state: HostState) -> Move | None:
    """What forbids giving back, proof or no proof."""
    if not host_state.is_to_be_returned:
        return None
    for dpu in host_state.view.dpus:
        if not host_state.serves(dpu):
            continue
        if hold := _leg_waits(host_state, dpu):
            return hold
    if host_state.is_in_own_drain and not any(host_state.is_forced(dpu) for dpu in host_state.view.dpus):
        return _in_own_drain(host_state)
    return None


def _leg_waits(host_state: HostState, dpu: DpuView) -> HoldReason | None:
    if isinstance(dpu.node, NodeGone):
        return (
            None
            if dpu.node.confirmed
            else HoldReason(Reason.DPU_GONE, f"the node {dpu.name} is gone; it may come back")
        )
    if dpu.node.held:
        return HoldReason(Reason.HELD_BY_ANNOTATION, f"a person holds {dpu.name} by annotation")
    cycle = host_state.cycle(dpu)
    refused = dpu.node.order is DrainOverride.SKIP or (cycle is not None and cycle.state is State.ABORTED)
    rests = dpu.node.mco is Mco.RESTS or (refused and dpu.node.mco is not Mco.DRAINED)
    if not rests and not host_state.is_forced(dpu):
        return _stuck_update(dpu, dpu.node) or _pending_update(dpu.node)
    if not dpu.blocker_ready and not host_state.is_forced(dpu):
        words = f"the blocker of {dpu.name} is not Ready, so nothing would hold its next drain"
        return HoldReason(Reason.BLOCKER_NOT_READY, f"{words}; {_how_to_force(dpu.node)}")
    return None


def _stuck_update(dpu: DpuView, node: DpuNode) -> HoldReason | None:
    """What the machine-config operator says that it cannot go on with by itself."""
    is_failing = node.machine.is_failing and node.mco is not Mco.DRAINS  # of a late drain only the daemon gives up
    if node.mco is Mco.RESTS or not (dpu.stuck or is_failing):
        return None
    trouble = dpu.stuck or f"the machine-config daemon of {node.name} {node.machine.trouble}"
    return HoldReason(Reason.MACHINE_CONFIG_STUCK, f"{trouble}; {_how_to_force(node)}")


def _pending_update(node: DpuNode) -> HoldReason:
    story = f": it {node.machine.story}" if node.machine.story else ""
    return HoldReason(Reason.MACHINE_CONFIG_PENDING, f"the machine-config operator is not done with {node.name}{story}")


def _how_to_force(node: DpuNode) -> str:
    """What a person does about a DPU that can show nothing any more."""
    uncordon = f"uncordon {node.name} and " if node.cordoned else ""
    return f"repair it, or {uncordon}annotate it {DRAIN_ANNOTATION}=force:{node.boot_id}"


def _name(host_state: HostState) -> Move | None:
    """Every record names the maintenance before that is given back: else its mark on the host would mean nothing."""
    for dpu, cycle in host_state.cycles if host_state.own is not None else ():
        if host_state.own is not None and cycle.maintenance != host_state.own.uid:
            named = replace(cycle, maintenance=host_state.own.uid)
            return Rewrite(host_state.view.host_ref, dpu.name, cycle, named, _if_closed(dpu))
    return None


def _prove(host_state: HostState) -> Move | None:
    if not host_state.is_to_be_returned or not host_state.needs_proof() or host_state.ends_unproven():
        return None
    prover = host_state.prover()
    if prover is None:
        return HoldReason(Reason.PROOF_MISSING, f"no DPU serves {host_state.view.host_ref.host} now")
    if changed := _changed(host_state, prover):
        return changed
    missing = missing_proofs(prover, host_state.cycle(prover), host_state.view.signals)
    if not missing:
        return None
    return _outdated(host_state, prover) or _unproven(host_state, prover, missing)


def _unproven(host_state: HostState, prover: DpuView, missing: tuple[str, ...]) -> HoldReason:
    """A sign that does not come by itself is said to be in the way, whatever else is missing."""
    words = f"{prover.name} has yet to show: {', '.join(missing)}"
    found = (signal.trouble for signal in host_state.view.signals if not signal.holds)
    trouble = next((trouble for trouble in found if trouble is not None), None)
    return (
        HoldReason(Reason.PROOF_MISSING, words)
        if trouble is None
        else HoldReason(trouble.reason, f"{words}; {trouble.message}")
    )


PATIENCE_SECONDS = 300
"""So long after a boot a Ready pod may show containers of the boot before, until it is started anew."""


def _proves_nothing(host_state: HostState, prover: DpuView, pod: OvnPod) -> bool:
    cycle = host_state.cycle(prover)
    if cycle is None or not pod.ready or not set(pod.containers) & set(cycle.stale):
        return False
    return host_state.view.host_ref.author.now - cycle.booted_at > PATIENCE_SECONDS


def _changed(host_state: HostState, prover: DpuView) -> Move | None:
    """Another entry that waited for the host to be drained. Only here: what follows is that its network is proven. Not
    while the pod is one of the last template that is known to work: in its place comes one of which that is not known.
    """
    staying = [pod for pod in prover.pods if not pod.terminating]
    if not prover.entry or len(staying) > 1 or not host_state.is_drained:
        return None
    if any(pod.current and not pod.newest for pod in staying):
        return None
    return ChangeEntry(host_state.view.host_ref, prover.name, host_state.view.pods_namespace, prover.entry)


def _outdated(host_state: HostState, prover: DpuView) -> Move | None:
    if not host_state.is_drained and not host_state.is_left_over:
        return None
    own = "" if host_state.own is None else host_state.own.uid
    for pod in prover.pods:
        if not pod.terminating and (not pod.current or _proves_nothing(host_state, prover, pod)):
            return RestartPod(host_state.view.host_ref, prover.name, pod.live, own)
    return None


def _lead_out(host_state: HostState) -> Move | None:
    """The maintenance is gone and has left its host cordoned: nobody else would make it schedulable."""
    if not host_state.is_left_over:
        return None
    unproven = host_state.needs_proof() and host_state.ends_unproven()
    told = Farewell(host_state.view.config, host_state.is_parted) if unproven else None
    return LeadOut(host_state.view.host_ref, _dpu_checks(host_state), told)


def _dpu_checks(host_state: HostState) -> tuple[DpuCheck, ...]:
    return tuple(_leg(host_state, dpu) for dpu in host_state.view.dpus if host_state.serves(dpu))


def _give_back(host_state: HostState) -> Move | None:
    if host_state.own is None:
        return None
    view = host_state.view
    unproven = host_state.needs_proof() and host_state.ends_unproven()
    dpu_checks = _dpu_checks(host_state)
    before = True if unproven else (False if host_state.was_uncordoned else None)
    why = Because.IN_USE if host_state.is_in_use and not host_state.was_uncordoned else Because.DECIDED
    told = Farewell(view.config, host_state.is_parted) if unproven else None
    return EndMaintenance(view.host_ref, host_state.own.uid, dpu_checks, before, told, why)


def _leg(host_state: HostState, dpu: DpuView) -> DpuCheck:
    if isinstance(dpu.node, NodeGone):
        return DpuCheck(dpu.name, dpu.blocker, gone=True)
    proven_boot = dpu.node.boot_id if host_state.vouches(dpu) else None
    return DpuCheck(dpu.name, dpu.blocker, forced=host_state.is_forced(dpu), proven_boot=proven_boot)


def _finish(host_state: HostState) -> Move | None:
    """The maintenance is gone and the host is as it was: what is over needs no record."""
    for dpu, cycle in host_state.cycles if host_state.own is None else ():
        if cycle.state is State.RETURNING:
            return Reset(host_state.view.host_ref, dpu.name, cycle, None)
    return None


def _lift(host_state: HostState) -> Move | None:
    """A host that was led out by a DpuClusterConfig of our name is served again: on proof its cordon goes."""
    prover = host_state.prover()
    if not host_state.is_to_be_lifted or prover is None or host_state.ends_unproven():
        return None
    waits = (_leg_waits(host_state, dpu) for dpu in host_state.view.dpus if host_state.serves(dpu))
    if hold := next((hold for hold in waits if hold is not None), None):
        return hold
    if missing := missing_proofs(prover, host_state.cycle(prover), host_state.view.signals):
        return _unproven(host_state, prover, missing)
    return LiftCordon(host_state.view.host_ref, _dpu_checks(host_state), host_state.view.config)


def _aborted(host_state: HostState) -> Move | None:
    for dpu, cycle in host_state.cycles:
        if cycle.state is State.ABORTED and host_state.is_parting(dpu):
            words = f"somebody has uncordoned {host_state.view.host_ref.host} while it was led out; cordon it to go on"
            return HoldReason(Reason.ABORTED, words)
        if cycle.state is State.ABORTED:
            words = f"the drain of {dpu.name} is aborted ({cycle.reason}); uncordon it, nothing begins before"
            return HoldReason(Reason.ABORTED, words)
    return None


RULES: tuple[Rule, ...] = (
    _close,
    _take_over,
    _begin,
    _watch_server,
    _take_back,
    _refresh,
    _force,
    _blind,
    _unverified,
    _not_served,
    _abort_taken_back,
    _abort_timeout,
    _terminating,
    _updated,
    _unmark,
    _failed,
    _foreign,
    _adopt,
    _open,
    _resume,
    _host_absent,
    _restore,
    _reset,
    _create,
    _wait_for_drain,
    _name,
    _not_yet,
    _prove,
    _lead_out,
    _give_back,
    _finish,
    _aborted,
    _lift,
)
_LATER = RULES[RULES.index(_refresh) + 1 :]


def _first_record(host_state: HostState, dpu: DpuView) -> Cycle:
    assert isinstance(dpu.node, DpuNode)
    author = host_state.view.host_ref.author
    begun = Cycle(State.STARTING, term=author.term)
    if host_state.has_lost_record:
        begun = lost_record(State.STARTING, author.term)
    # Where another DPU of the host has begun before, this one may have been down since.
    begun = _as_seen(host_state, dpu, replace(begun, node=dpu.node.uid, since=author.now))
    return replace(begun, disturbed=host_state.is_asked)


def _as_seen(host_state: HostState, dpu: DpuView, cycle: Cycle) -> Cycle:
    assert isinstance(dpu.node, DpuNode)
    staying = sorted((pod for pod in dpu.pods if not pod.terminating), key=lambda pod: pod.uid)
    containers = tuple(container for pod in staying for container in pod.containers)
    pod = staying[-1].uid if staying else ""
    return seen_in_boot(cycle, dpu.node.boot_id, pod, containers, host_state.view.host_ref.author.now)


def _backing_off(host_state: HostState) -> HoldReason | None:
    left = _pause_left(host_state)
    if not left:
        return None
    note = next((cycle.note for _, cycle in host_state.cycles if cycle.note), "")
    if note:
        return HoldReason(
            Reason.MAINTENANCE_REFUSED, f"the tenant refuses to drain {host_state.view.host_ref.host}: {note}"
        )
    return _failure("it is tried again after a pause")


def _progress(host_state: HostState) -> HoldReason:
    """What is waited for when all goes as it should."""
    host, own = host_state.view.host_ref.host, host_state.own
    opened = [(dpu, dpu.node) for dpu in host_state.active if host_state.is_open(dpu) and isinstance(dpu.node, DpuNode)]
    stuck = (_stuck_update(dpu, node) for dpu, node in opened if node.mco in (Mco.DRAINS, Mco.DRAINED))
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


def _draining_late(host_state: HostState) -> tuple[DpuNode, ...]:
    """DPUs that have waited so long for their drain that their daemon has given up, which their controller never does.

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
    """What the node maintenance operator says while it drains a host."""
    more = own.pending - len(own.pods)
    named_pods = ", ".join(str(pod) for pod in own.pods) + (f" and {more} more" if more > 0 and own.pods else "")
    left = f", {own.pending} pods are left" if own.pending else ""
    names = f": {named_pods}" if left and own.pods else ""
    return f"{left}{names}" + (f"; the node maintenance operator says {sentence(own.error)}" if own.error else "")


def _failure(error: str) -> HoldReason:
    why = sentence(error) if error else "no reason given"
    return HoldReason(Reason.MAINTENANCE_FAILED, f"the host could not be drained: {why}")


def _pause_left(host_state: HostState) -> int:
    now = host_state.view.host_ref.author.now
    ends = [
        cycle.failed_at + retry_pause(cycle.failures) for dpu, cycle in host_state.cycles if host_state.is_active(dpu)
    ]
    left = max(ends, default=now) - now
    return max(0, min(left, LAST_RETRY_SECONDS))  # a clock that was set back must not make it wait for long


def _is_overdue(host_state: HostState) -> bool:
    timeout, now = host_state.view.settings.timeout_seconds, host_state.view.host_ref.author.now
    found = (host_state.cycle(dpu) for dpu in host_state.active)
    return timeout is not None and any(cycle is not None and now - cycle.since > timeout for cycle in found)


def _recheck(host_state: HostState) -> int | None:
    """The next moment at which time alone changes the decision."""
    view, now = host_state.view, host_state.view.host_ref.author.now
    found = [left for left in (_pause_left(host_state),) if left]
    if (timeout := view.settings.timeout_seconds) is not None:
        begun = [cycle.since for dpu, cycle in host_state.cycles if host_state.is_active(dpu)]
        found += [since + timeout + 1 - now for since in begun if since + timeout + 1 > now]
    booted = [cycle.booted_at + PATIENCE_SECONDS + 1 - now for _, cycle in host_state.cycles if cycle.booted_at]
    found += [left for left in booted if left > 0]
    return min(found, default=None)
