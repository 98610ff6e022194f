"""What is to be done next about one tenant host: a list of rules, of which the first that has something to say speaks.

The order of the rules is the order of danger: what may be closed comes before what needs the tenant, records come
before what they are about, and giving back comes last. Nothing is remembered between two decisions but what both
clusters show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dpunetop.base.quoting import (
    named,
    sentence,
)
from dpunetop.domain.drain.model.calls import Task
from dpunetop.domain.drain.model.facts import (
    Blind,
    Budget,
    DpuNode,
    DpuView,
    Gone,
    Hold,
    HostNode,
    HostView,
    Maintenance,
    Mco,
    OnTimeout,
    Order,
    OvnPod,
    Phase,
    Reason,
    is_stuck_cordoned,
)
from dpunetop.domain.drain.model.record import (
    Cycle,
    State,
    begun_anew,
    lost_record,
    seen_in_boot,
)
from dpunetop.domain.drain.model.scene import Scene
from dpunetop.domain.drain.protection.protection import ChangeEntry
from dpunetop.domain.drain.rules.giving import (
    Because,
    Farewell,
    GiveBack,
    GiveUpFailed,
    LeadOut,
    Leg,
    LiftCordon,
    RestartPod,
    Restore,
)
from dpunetop.domain.drain.rules.opening import (
    Close,
    ForceOpen,
    Open,
    Unmark,
    marked_dpu,
)
from dpunetop.domain.drain.rules.proof import missing_proofs
from dpunetop.domain.drain.rules.starting import (
    Abort,
    AbortTakenBack,
    Adopt,
    Create,
    Refresh,
    Renew,
    Reset,
    Rewrite,
)
from dpunetop.domain.names import CORDONED_BEFORE_ANNOTATION, DRAIN_ANNOTATION, open_for
from dpunetop.kube.meta import name_of

Move = Task | Hold
Rule = Callable[[Scene], Move | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, or why nothing can be done. At most one of both; neither: all is as it should be."""

    task: Task | None
    hold: Hold | None
    recheck_seconds: int | None
    """When to decide again although nothing wakes; None: only when something wakes."""


def decide(view: HostView) -> Decision:
    """The next task for one host.

    Guarantees: of equal views equal decisions; what the task writes it looks up again first, so a view may be stale.
    """
    scene = Scene(view)
    move = None
    if not scene.is_quiet or any(scene.is_open(dpu) and scene.serves(dpu) for dpu in view.dpus):
        move = _first(RULES, scene)
    hold = move if isinstance(move, Hold) else None
    task = None if isinstance(move, Hold) else move
    return Decision(task, hold, _recheck(scene))


def _first(rules: Sequence[Rule], scene: Scene) -> Move | None:
    return next((move for move in (rule(scene) for rule in rules) if move is not None), None)


FIRST_RETRY_SECONDS = 10
LAST_RETRY_SECONDS = 300


def retry_pause(failures: int) -> int:
    """How long to wait after the last of so many failures: not at all, then longer and longer."""
    if failures <= 1:
        return 0
    return int(min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failures - 2, 10)))


# --- what needs nothing of the tenant -----------------------------------------------------------------------------


def _close(scene: Scene) -> Move | None:
    for dpu in scene.view.dpus:
        if dpu.budget is not None and scene.serves(dpu) and scene.is_open(dpu) and not scene.may_be_open(dpu):
            cycle = scene.cycle(dpu)
            is_ours = cycle is not None and cycle.term == scene.view.site.author.term
            taken_back = cycle if cycle is not None and is_ours and _is_taken_back(scene, dpu, cycle) else None
            return Close(scene.view.site, dpu.name, scene.view.tenant, dpu.budget, taken_back)
    return None


def _take_over(scene: Scene) -> Move | None:
    """What another leadership has under way fails from here on."""
    site = scene.view.site
    for dpu, cycle in scene.cycles:
        if cycle.term != site.author.term:
            return Rewrite(site, dpu.name, cycle, cycle)
    return None


def _begin(scene: Scene) -> Move | None:
    site = scene.view.site
    for dpu in scene.active:
        cycle = scene.cycle(dpu)
        if cycle is None:
            return Rewrite(site, dpu.name, None, _first_record(scene, dpu), _if_closed(dpu))
        if isinstance(dpu.node, DpuNode) and cycle.node != dpu.node.uid:  # registered anew, or an unreadable record
            renewed = replace(cycle, node=dpu.node.uid, since=site.author.now)
            return Rewrite(site, dpu.name, cycle, renewed, _if_closed(dpu))
        if cycle.state is State.RETURNING:
            return Rewrite(site, dpu.name, cycle, begun_anew(cycle, site.author.now), _if_closed(dpu))
    return None


def _watch_server(scene: Scene) -> Move | None:
    """The DPU that serves has a record as long as a maintenance of ours stands, whichever DPU asked for that: what
    happens to it meanwhile has to be remembered, and proven."""
    prover = scene.prover()
    if not scene.is_asked or prover is None or not scene.serves(prover) or scene.cycle(prover) is not None:
        return None
    if not isinstance(prover.node, DpuNode):
        return None
    author = scene.view.site.author
    begun = Cycle(State.RETURNING, term=author.term)
    if scene.has_lost_record:
        begun = lost_record(State.RETURNING, author.term)
    seen = _as_seen(scene, prover, replace(begun, node=prover.node.uid, since=author.now))
    watched = replace(seen, disturbed=scene.has_lost_record)
    return Rewrite(scene.view.site, prover.name, None, watched, _if_closed(prover))


def _if_closed(dpu: DpuView) -> Budget | None:
    """What a record may be written onto unread: what is restated with it opens nothing, whatever a cache shows."""
    return None if dpu.budget is None or dpu.budget.is_open else dpu.budget


def _take_back(scene: Scene) -> Move | None:
    """A cordon that is gone ends the cycle; a Node that is gone does so only once that is certain."""
    for dpu, cycle in scene.cycles:
        if _is_taken_back(scene, dpu, cycle):
            returning = replace(cycle, state=State.RETURNING)
            return Rewrite(scene.view.site, dpu.name, cycle, returning, _if_closed(dpu))
    return None


def _is_taken_back(scene: Scene, dpu: DpuView, cycle: Cycle) -> bool:
    is_unsure = isinstance(dpu.node, Gone) and not dpu.node.confirmed
    return cycle.state is not State.RETURNING and not scene.wants(dpu) and not is_unsure


def _refresh(scene: Scene) -> Move | None:
    """Not what runs now, where the record is over before that could matter: the host need not wait for it."""
    for dpu, cycle in scene.cycles:
        if not isinstance(dpu.node, DpuNode):
            continue
        seen = _as_seen(scene, dpu, cycle)
        if seen.boot != cycle.boot or (seen != cycle and not _is_ending(scene, cycle)):
            return Refresh(
                scene.view.site, dpu.name, scene.view.pods_namespace, tuple(name_of(pod.live) for pod in dpu.pods)
            )
    return None


def _is_ending(scene: Scene, cycle: Cycle) -> bool:
    """Whether the host is given back, or is so with this decision."""
    tenant = scene.view.tenant
    if cycle.state is not State.RETURNING or isinstance(tenant, Blind) or tenant.maintenances is None:
        return False
    is_given_back = scene.own is None or scene.own.terminating
    return is_given_back or isinstance(_first(_LATER, scene), GiveBack)


def _force(scene: Scene) -> Move | None:
    for dpu in scene.active:
        if scene.is_forced(dpu) and not scene.is_open(dpu) and not scene.is_parting(dpu):
            return ForceOpen(scene.view.site, dpu.name)
    return None


# --- what must be known first ---------------------------------------------------------------------------------------


def _blind(scene: Scene) -> Move | None:
    return scene.view.tenant.hold if isinstance(scene.view.tenant, Blind) else None


def _unverified(scene: Scene) -> Move | None:
    if not scene.view.unverified:
        return None
    return Hold(Reason.TIME_WENT_BACK, "a cluster was set back in time; every cycle is checked before anything goes on")


def _not_served(scene: Scene) -> Move | None:
    """Only where one is needed: what an operator that is gone has left behind is led out without it."""
    tenant = scene.view.tenant
    if isinstance(tenant, Blind) or tenant.maintenances is not None or not scene.active:
        return None
    return Hold(Reason.NODE_MAINTENANCE_NOT_SERVED, "the tenant has no node maintenance operator to drain its host")


# --- giving up ------------------------------------------------------------------------------------------------------


def _abort_taken_back(scene: Scene) -> Move | None:
    """Also while the host is only to be given back: it must not be cordoned again then."""
    marked = isinstance(scene.host, HostNode) and scene.host.mark is True
    if not scene.taken_back or not (scene.active or marked):
        return None
    return AbortTakenBack(_abort(scene, Reason.HOST_UNCORDONED))


def _abort_timeout(scene: Scene) -> Move | None:
    """Only as long as no budget of the host was open: afterwards its DPU may be down."""
    if scene.view.settings.on_timeout is not OnTimeout.ABORT or not _is_overdue(scene):
        return None
    if any(cycle.opened or scene.is_parting(dpu) for dpu, cycle in scene.cycles):
        return None
    return _abort(scene, Reason.DRAIN_TIMEOUT)


def _abort(scene: Scene, reason: Reason) -> Abort:
    found = ((dpu.name, scene.cycle(dpu)) for dpu in scene.active)
    return Abort(scene.view.site, tuple((name, cycle) for name, cycle in found if cycle is not None), str(reason))


# --- the maintenance ------------------------------------------------------------------------------------------------


def _terminating(scene: Scene) -> Move | None:
    if scene.own is None or not scene.own.terminating:
        return None
    return Hold(Reason.MAINTENANCE_TERMINATING, f"the maintenance of {scene.view.site.host} is ending")


def _updated(scene: Scene) -> Move | None:
    """The host's own machine-config operator has, or had, a hand on the host under our maintenance, or its Node was
    registered anew."""
    own = scene.own
    if own is None or own.phase is Phase.FAILED or not scene.active or not scene.is_outdated:
        return None
    if scene.is_in_own_drain:
        return _in_own_drain(scene)
    return Renew(scene.view.site, own.uid) if own.phase is Phase.SUCCEEDED else None


def _in_own_drain(scene: Scene) -> Hold:
    """Said whoever waits for it: what begins, what would be opened, and what would be given back."""
    assert isinstance(scene.host, HostNode)
    host, concerned = scene.view.site.host, scene.active or scene.view.dpus
    nodes = [dpu.node for dpu in concerned if isinstance(dpu.node, DpuNode)]
    force = "".join(f"; or annotate {node.name} {DRAIN_ANNOTATION}=force:{node.boot_id}" for node in nodes[:1])
    words = f"the machine-config operator of {host}'s own cluster is at work there: it {scene.host.machine.story}"
    return Hold(Reason.HOST_IN_OWN_DRAIN, f"{words}; wait for it, or repair it{force}")


def _unmark(scene: Scene) -> Move | None:
    """Marks of closed budgets, but for one that is to be opened now and sets its mark anew."""
    if scene.own is None:
        return None
    by_mark = {open_for(dpu.name): dpu for dpu in scene.view.dpus}
    for name, text in sorted(scene.own.marks.items()):
        dpu = by_mark.get(name)
        if dpu is None:
            return Unmark(scene.view.site, marked_dpu(text), name)
        if not (scene.is_open(dpu) and scene.serves(dpu)) and not scene.may_be_open(dpu):
            return Unmark(scene.view.site, dpu.name, name)
    return None


def _failed(scene: Scene) -> Move | None:
    """Count each failure once, then take the maintenance away although the drain is wanted."""
    own, site = scene.own, scene.view.site
    if own is None or own.phase is not Phase.FAILED or not scene.active:
        return None
    for dpu in scene.active:
        cycle = scene.cycle(dpu)
        if cycle is not None and cycle.failed != own.uid:
            counted = replace(
                cycle,
                failures=cycle.failures + 1,
                failed=own.uid,
                failed_at=site.author.now,
                note="",
                maintenance=own.uid,
            )
            return Rewrite(site, dpu.name, cycle, counted, _if_closed(dpu))
    serving = (dpu for dpu in scene.view.dpus if scene.serves(dpu))
    return GiveUpFailed(site, own.uid, tuple(Leg(dpu.name, dpu.blocker) for dpu in serving))


def _adopt(scene: Scene) -> Move | None:
    own = scene.own
    for dpu in scene.active if own is not None else ():
        cycle = scene.cycle(dpu)
        if own is not None and cycle is not None and (cycle.state, cycle.maintenance) != (State.DRAINING, own.uid):
            return Adopt(scene.view.site, dpu.name, own.uid)
    return None


def _open(scene: Scene) -> Move | None:
    own = scene.own
    for dpu in scene.active:
        cycle = scene.cycle(dpu)
        if own is None or cycle is None or scene.is_open(dpu) or scene.is_held(dpu) or scene.is_parting(dpu):
            continue
        if scene.is_drained_for(dpu):
            return Open(scene.view.site, dpu.name, cycle, own)
    return None


def _foreign(scene: Scene) -> Move | None:
    if scene.foreign is None:
        return None
    words = f"the maintenance {scene.foreign.name} of {scene.view.site.host} is somebody else's; it is waited for"
    return Hold(Reason.FOREIGN_MAINTENANCE, words)


def _resume(scene: Scene) -> Move | None:
    """A host that somebody has uncordoned while it was led out is drained anew once it is cordoned."""
    if scene.maintenances or not isinstance(scene.host, HostNode) or not scene.host.cordoned:
        return None
    for dpu, cycle in scene.cycles:
        if cycle.state is State.ABORTED and scene.is_parting(dpu):
            anew = replace(cycle, state=State.STARTING, reason="", maintenance="", since=scene.view.site.author.now)
            return Rewrite(scene.view.site, dpu.name, cycle, anew, _if_closed(dpu))
    return None


def _host_absent(scene: Scene) -> Move | None:
    if not isinstance(scene.host, Gone) or (scene.host.confirmed and not scene.active):
        return None
    words = f"the tenant has no node {scene.view.site.host}; unpair its DPU, or force it"
    return Hold(Reason.HOST_ABSENT, words)


def _restore(scene: Scene) -> Move | None:
    """The mark is carried out whatever the records say: they may be lost, and it alone knows of the earlier cordon."""
    if scene.own is not None or not isinstance(scene.host, HostNode) or scene.host.mark is None:
        return None
    if scene.is_left_over:
        return None  # it is returned on proof, or drained anew, as if the maintenance were there
    return _still_cordoned(scene, scene.host) or Restore(scene.view.site)


def _still_cordoned(scene: Scene, host: HostNode) -> Hold | None:
    """A cordon without the taint may be a person's: it is neither taken off, nor is the mark that says it should be."""
    if scene.maintenances or not is_stuck_cordoned(host):
        return None
    name = named(scene.view.site.host)
    words = f"{name} is cordoned although its maintenance is gone and it was not cordoned before"
    theirs = f"kubectl annotate node {name} {CORDONED_BEFORE_ANNOTATION}-"
    return Hold(Reason.HOST_STILL_CORDONED, f"{words}: kubectl uncordon {name}, or, if somebody wants that, {theirs}")


def _reset(scene: Scene) -> Move | None:
    """The maintenance of the cycle is gone although the drain is wanted: another one is needed."""
    for dpu in scene.active if scene.own is None else ():
        cycle = scene.cycle(dpu)
        if cycle is not None and cycle.maintenance:
            anew = replace(cycle, state=State.STARTING, maintenance="")
            return Reset(scene.view.site, dpu.name, cycle, anew)
    return None


def _create(scene: Scene) -> Move | None:
    if scene.own is not None or not scene.active:
        return None
    if scene.is_in_own_drain:
        return _in_own_drain(scene)
    if isinstance(scene.host, HostNode) and scene.host.terminating:
        return Hold(Reason.HOST_ABSENT, f"{scene.view.site.host} is being deleted from its cluster")
    if waiting := _backing_off(scene):
        return waiting
    first = scene.active[0]
    ending = scene.view.config if scene.is_parting(first) else None
    return scene.view.not_now or Create(scene.view.site, first.name, ending)


def _wait_for_drain(scene: Scene) -> Move | None:
    """The rest is for hosts whose drain nobody wants any more."""
    if not scene.active:
        return None
    if any(scene.is_held(dpu) for dpu in scene.active):
        return Hold(Reason.HELD_BY_ANNOTATION, "a person holds the drain by annotation")
    if _is_overdue(scene):
        return Hold(Reason.DRAIN_TIMEOUT, f"the drain of {scene.view.site.host} takes longer than spec.drain.timeout")
    if scene.own is not None and scene.own.phase is Phase.FAILED:
        return _failure(scene.own.error)
    return _progress(scene)


# --- giving back ----------------------------------------------------------------------------------------------------


def _not_yet(scene: Scene) -> Move | None:
    """What forbids giving back, proof or no proof."""
    if not scene.is_to_be_returned:
        return None
    for dpu in scene.view.dpus:
        if not scene.serves(dpu):
            continue
        if hold := _leg_waits(scene, dpu):
            return hold
    if scene.is_in_own_drain and not any(scene.is_forced(dpu) for dpu in scene.view.dpus):
        return _in_own_drain(scene)
    return None


def _leg_waits(scene: Scene, dpu: DpuView) -> Hold | None:
    if isinstance(dpu.node, Gone):
        return None if dpu.node.confirmed else Hold(Reason.DPU_GONE, f"the node {dpu.name} is gone; it may come back")
    if dpu.node.held:
        return Hold(Reason.HELD_BY_ANNOTATION, f"a person holds {dpu.name} by annotation")
    cycle = scene.cycle(dpu)
    refused = dpu.node.order is Order.SKIP or (cycle is not None and cycle.state is State.ABORTED)
    rests = dpu.node.mco is Mco.RESTS or (refused and dpu.node.mco is not Mco.DRAINED)
    if not rests and not scene.is_forced(dpu):
        return _stuck_update(dpu, dpu.node) or _pending_update(dpu.node)
    if not dpu.blocker_ready and not scene.is_forced(dpu):
        words = f"the blocker of {dpu.name} is not Ready, so nothing would hold its next drain"
        return Hold(Reason.BLOCKER_NOT_READY, f"{words}; {_how_to_force(dpu.node)}")
    return None


def _stuck_update(dpu: DpuView, node: DpuNode) -> Hold | None:
    """What the machine-config operator says that it cannot go on with by itself."""
    is_failing = node.machine.is_failing and node.mco is not Mco.DRAINS  # of a late drain only the daemon gives up
    if node.mco is Mco.RESTS or not (dpu.stuck or is_failing):
        return None
    trouble = dpu.stuck or f"the machine-config daemon of {node.name} {node.machine.trouble}"
    return Hold(Reason.MACHINE_CONFIG_STUCK, f"{trouble}; {_how_to_force(node)}")


def _pending_update(node: DpuNode) -> Hold:
    story = f": it {node.machine.story}" if node.machine.story else ""
    return Hold(Reason.MACHINE_CONFIG_PENDING, f"the machine-config operator is not done with {node.name}{story}")


def _how_to_force(node: DpuNode) -> str:
    """What a person does about a DPU that can show nothing any more."""
    uncordon = f"uncordon {node.name} and " if node.cordoned else ""
    return f"repair it, or {uncordon}annotate it {DRAIN_ANNOTATION}=force:{node.boot_id}"


def _name(scene: Scene) -> Move | None:
    """Every record names the maintenance before that is given back: else its mark on the host would mean nothing."""
    for dpu, cycle in scene.cycles if scene.own is not None else ():
        if scene.own is not None and cycle.maintenance != scene.own.uid:
            named = replace(cycle, maintenance=scene.own.uid)
            return Rewrite(scene.view.site, dpu.name, cycle, named, _if_closed(dpu))
    return None


def _prove(scene: Scene) -> Move | None:
    if not scene.is_to_be_returned or not scene.needs_proof() or scene.ends_unproven():
        return None
    prover = scene.prover()
    if prover is None:
        return Hold(Reason.PROOF_MISSING, f"no DPU serves {scene.view.site.host} now")
    if changed := _changed(scene, prover):
        return changed
    missing = missing_proofs(prover, scene.cycle(prover), scene.view.signals)
    if not missing:
        return None
    return _outdated(scene, prover) or _unproven(scene, prover, missing)


def _unproven(scene: Scene, prover: DpuView, missing: tuple[str, ...]) -> Hold:
    """A sign that does not come by itself is said to be in the way, whatever else is missing."""
    words = f"{prover.name} has yet to show: {', '.join(missing)}"
    found = (signal.trouble for signal in scene.view.signals if not signal.holds)
    trouble = next((trouble for trouble in found if trouble is not None), None)
    return Hold(Reason.PROOF_MISSING, words) if trouble is None else Hold(trouble.reason, f"{words}; {trouble.message}")


PATIENCE_SECONDS = 300
"""So long after a boot a Ready pod may show containers of the boot before, until it is started anew."""


def _proves_nothing(scene: Scene, prover: DpuView, pod: OvnPod) -> bool:
    cycle = scene.cycle(prover)
    if cycle is None or not pod.ready or not set(pod.containers) & set(cycle.stale):
        return False
    return scene.view.site.author.now - cycle.booted_at > PATIENCE_SECONDS


def _changed(scene: Scene, prover: DpuView) -> Move | None:
    """Another entry that waited for the host to be drained. Only here: what follows is that its network is proven. Not
    while the pod is one of the last template that is known to work: in its place comes one of which that is not known.
    """
    staying = [pod for pod in prover.pods if not pod.terminating]
    if not prover.entry or len(staying) > 1 or not scene.is_drained:
        return None
    if any(pod.current and not pod.newest for pod in staying):
        return None
    return ChangeEntry(scene.view.site, prover.name, scene.view.pods_namespace, prover.entry)


def _outdated(scene: Scene, prover: DpuView) -> Move | None:
    if not scene.is_drained and not scene.is_left_over:
        return None
    own = "" if scene.own is None else scene.own.uid
    for pod in prover.pods:
        if not pod.terminating and (not pod.current or _proves_nothing(scene, prover, pod)):
            return RestartPod(scene.view.site, prover.name, pod.live, own)
    return None


def _lead_out(scene: Scene) -> Move | None:
    """The maintenance is gone and has left its host cordoned: nobody else would make it schedulable."""
    if not scene.is_left_over:
        return None
    unproven = scene.needs_proof() and scene.ends_unproven()
    told = Farewell(scene.view.config, scene.is_parted) if unproven else None
    return LeadOut(scene.view.site, _legs(scene), told)


def _legs(scene: Scene) -> tuple[Leg, ...]:
    return tuple(_leg(scene, dpu) for dpu in scene.view.dpus if scene.serves(dpu))


def _give_back(scene: Scene) -> Move | None:
    if scene.own is None:
        return None
    view = scene.view
    unproven = scene.needs_proof() and scene.ends_unproven()
    legs = _legs(scene)
    before = True if unproven else (False if scene.was_uncordoned else None)
    why = Because.IN_USE if scene.is_in_use and not scene.was_uncordoned else Because.DECIDED
    told = Farewell(view.config, scene.is_parted) if unproven else None
    return GiveBack(view.site, scene.own.uid, legs, before, told, why)


def _leg(scene: Scene, dpu: DpuView) -> Leg:
    if isinstance(dpu.node, Gone):
        return Leg(dpu.name, dpu.blocker, gone=True)
    proven_boot = dpu.node.boot_id if scene.vouches(dpu) else None
    return Leg(dpu.name, dpu.blocker, forced=scene.is_forced(dpu), proven_boot=proven_boot)


def _finish(scene: Scene) -> Move | None:
    """The maintenance is gone and the host is as it was: what is over needs no record."""
    for dpu, cycle in scene.cycles if scene.own is None else ():
        if cycle.state is State.RETURNING:
            return Reset(scene.view.site, dpu.name, cycle, None)
    return None


def _lift(scene: Scene) -> Move | None:
    """A host that was led out by a DpuClusterConfig of our name is served again: on proof its cordon goes."""
    prover = scene.prover()
    if not scene.is_to_be_lifted or prover is None or scene.ends_unproven():
        return None
    waits = (_leg_waits(scene, dpu) for dpu in scene.view.dpus if scene.serves(dpu))
    if hold := next((hold for hold in waits if hold is not None), None):
        return hold
    if missing := missing_proofs(prover, scene.cycle(prover), scene.view.signals):
        return _unproven(scene, prover, missing)
    return LiftCordon(scene.view.site, _legs(scene), scene.view.config)


def _aborted(scene: Scene) -> Move | None:
    for dpu, cycle in scene.cycles:
        if cycle.state is State.ABORTED and scene.is_parting(dpu):
            words = f"somebody has uncordoned {scene.view.site.host} while it was led out; cordon it to go on"
            return Hold(Reason.ABORTED, words)
        if cycle.state is State.ABORTED:
            words = f"the drain of {dpu.name} is aborted ({cycle.reason}); uncordon it, nothing begins before"
            return Hold(Reason.ABORTED, words)
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


def _first_record(scene: Scene, dpu: DpuView) -> Cycle:
    assert isinstance(dpu.node, DpuNode)
    author = scene.view.site.author
    begun = Cycle(State.STARTING, term=author.term)
    if scene.has_lost_record:
        begun = lost_record(State.STARTING, author.term)
    # Where another DPU of the host has begun before, this one may have been down since.
    begun = _as_seen(scene, dpu, replace(begun, node=dpu.node.uid, since=author.now))
    return replace(begun, disturbed=scene.is_asked)


def _as_seen(scene: Scene, dpu: DpuView, cycle: Cycle) -> Cycle:
    assert isinstance(dpu.node, DpuNode)
    staying = sorted((pod for pod in dpu.pods if not pod.terminating), key=lambda pod: pod.uid)
    containers = tuple(container for pod in staying for container in pod.containers)
    pod = staying[-1].uid if staying else ""
    return seen_in_boot(cycle, dpu.node.boot_id, pod, containers, scene.view.site.author.now)


def _backing_off(scene: Scene) -> Hold | None:
    left = _pause_left(scene)
    if not left:
        return None
    note = next((cycle.note for _, cycle in scene.cycles if cycle.note), "")
    if note:
        return Hold(Reason.MAINTENANCE_REFUSED, f"the tenant refuses to drain {scene.view.site.host}: {note}")
    return _failure("it is tried again after a pause")


def _progress(scene: Scene) -> Hold:
    """What is waited for when all goes as it should."""
    host, own = scene.view.site.host, scene.own
    opened = [(dpu, dpu.node) for dpu in scene.active if scene.is_open(dpu) and isinstance(dpu.node, DpuNode)]
    stuck = (_stuck_update(dpu, node) for dpu, node in opened if node.mco in (Mco.DRAINS, Mco.DRAINED))
    if hold := next((hold for hold in stuck if hold is not None), None):
        return hold
    late = "".join(f"; {_late_drain(node)}" for node in _draining_late(scene))
    if opened:
        names = ", ".join(dpu.name for dpu, _ in opened)
        return Hold(Reason.DPU_DRAINING, f"{host} is drained; {names} may be drained and rebooted{late}")
    if scene.is_drained and any(scene.is_parting(dpu) for dpu in scene.active):
        return Hold(Reason.HOST_DRAINING, f"{host} is drained; its DPU lets it go once its pod has ended")
    left = "" if own is None else _left_of(own)
    failing = scene.host.machine.trouble if isinstance(scene.host, HostNode) else ""
    own_daemon = f"; its machine-config daemon {failing}" if failing else ""
    return Hold(Reason.HOST_DRAINING, f"{host} is being drained{left}{own_daemon}{late}")


def _draining_late(scene: Scene) -> tuple[DpuNode, ...]:
    """DPUs that have waited so long for their drain that their daemon has given up, which their controller never does.

    Source: openshift/machine-config-operator 7ff337a, an hour in `performDrain` of pkg/daemon/drain.go; 5 minutes
        between two tries after the first 10 in `DefaultConfig` of pkg/controller/drain/drain_controller.go.
    """
    nodes = (dpu.node for dpu in scene.active)
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


def _failure(error: str) -> Hold:
    why = sentence(error) if error else "no reason given"
    return Hold(Reason.MAINTENANCE_FAILED, f"the host could not be drained: {why}")


def _pause_left(scene: Scene) -> int:
    now = scene.view.site.author.now
    ends = [cycle.failed_at + retry_pause(cycle.failures) for dpu, cycle in scene.cycles if scene.is_active(dpu)]
    left = max(ends, default=now) - now
    return max(0, min(left, LAST_RETRY_SECONDS))  # a clock that was set back must not make it wait for long


def _is_overdue(scene: Scene) -> bool:
    timeout, now = scene.view.settings.timeout_seconds, scene.view.site.author.now
    found = (scene.cycle(dpu) for dpu in scene.active)
    return timeout is not None and any(cycle is not None and now - cycle.since > timeout for cycle in found)


def _recheck(scene: Scene) -> int | None:
    """The next moment at which time alone changes the decision."""
    view, now = scene.view, scene.view.site.author.now
    found = [left for left in (_pause_left(scene),) if left]
    if (timeout := view.settings.timeout_seconds) is not None:
        begun = [cycle.since for dpu, cycle in scene.cycles if scene.is_active(dpu)]
        found += [since + timeout + 1 - now for since in begun if since + timeout + 1 > now]
    booted = [cycle.booted_at + PATIENCE_SECONDS + 1 - now for _, cycle in scene.cycles if cycle.booted_at]
    found += [left for left in booted if left > 0]
    return min(found, default=None)
