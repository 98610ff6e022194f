"""The decision about a host whose network fails outside a drain: the report, and the cordon.

It is always reported. With `spec.unplanned.policy: Cordon` the host is also cordoned once it has been without a network
for long enough, and uncordoned on the same proof as at the end of a drain. Nothing is written while a drain or a
maintenance concerns the host, or while infra itself is suspected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto

from dpunetop.base.quoting import named
from dpunetop.domain.clusterconfig.types import OutagePolicy, UnplannedSpec
from dpunetop.domain.drain.model.calls import Task
from dpunetop.domain.drain.model.cordonmark import CordonMark, CordonProgress
from dpunetop.domain.drain.model.facts import Blind, DpuNode, DpuView, HostNode, HostRef, HostView, Mco
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.outages.cordoning import CordonHost, MarkHost, Overrule, Server, Uncordon, Withdraw
from dpunetop.domain.drain.outages.detection import Outage, spelled
from dpunetop.domain.drain.rules.proof import missing_proofs
from dpunetop.domain.drain.rules.returning import DpuCheck
from dpunetop.kube.meta import name_of


class Turn(Enum):
    """Whether `spec.unplanned.maxHosts` allows to cordon a host."""

    UNDECIDED = auto()
    GRANTED = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Cordons:
    """The limits on cordons that all hosts of a DpuClusterConfig share."""

    limit: int = 0
    """How many hosts of the tenant may be cordoned because of outages at once."""
    suspect: str = ""
    """Why infra itself is suspected, so that no host is changed; empty: it is not."""


NO_CORDONS = Cordons()


class NetworkReason(StrEnum):
    """The state of a host's network; conditions and Events show these words."""

    HOST_WITHOUT_NETWORK = "HostWithoutNetwork"
    HOST_CORDONED = "HostCordoned"
    CORDON_LIMIT_REACHED = "CordonLimitReached"
    INFRA_SUSPECT = "InfraSuspect"
    NETWORK_UNPROVEN = "NetworkUnproven"
    HOST_NOT_SERVED = "HostNotServed"


NETWORK_BACK = "NetworkBack"
"""Reason of the Event about a host to which none of these applies any more."""


@dataclass(frozen=True, slots=True)
class NetworkState:
    """The failure of one host's network."""

    host: str
    dpu: str
    """The DPU that serves it; empty: none does."""
    reason: NetworkReason
    message: str
    asks_since: int | None = None
    """Since when it has no network, if it waits for a turn to be cordoned; None: it does not."""


@dataclass(frozen=True, slots=True)
class OutageView:
    """All facts of the decision."""

    host_ref: HostRef
    spec: UnplannedSpec
    cordons: Cordons
    turn: Turn
    outage: Outage | None
    dpus: tuple[DpuView, ...]
    host: HostView | None
    """None: the tenant is not known yet."""
    is_leaving: bool = False
    """The DpuClusterConfig terminates: no host is cordoned any more."""


@dataclass(frozen=True, slots=True)
class OutageDecision:
    """The task, the report, and when to decide again although nothing wakes the key."""

    task: Task | None = None
    state: NetworkState | None = None
    recheck_seconds: int | None = None


def decide_outage(view: OutageView) -> OutageDecision:
    """The next step for one host. Guarantees: equal views give equal decisions; each task reads again before it
    writes."""
    outage, now = _uncovered(view), view.host_ref.author.now
    if outage is not None and not outage.is_told(now):
        return replace(_decide(view, None), recheck_seconds=outage.told_from - now)
    return _decide(view, outage)


def _decide(view: OutageView, outage: Outage | None) -> OutageDecision:
    host = _host(view)
    if host is not None and host.unplanned is not None and host.unplanned.owner == view.host_ref.owner:
        return _marked(view, host, host.unplanned, outage)
    return OutageDecision() if outage is None else _unmarked(view, host, outage)


def cordon_turns(limit: int, asking: Iterable[tuple[int, str]], taken: Collection[str]) -> Mapping[str, Turn]:
    """Which of the hosts that ask may be cordoned, each given with the beginning of its outage; `taken` are those that
    are cordoned or marked. Guarantees: the longest outage comes first."""
    waiting = sorted((since, host) for since, host in asking if host not in taken)
    free = max(0, limit - len(taken))
    return {host: Turn.GRANTED if place < free else Turn.REFUSED for place, (_, host) in enumerate(waiting)}


# --- the facts -----------------------------------------------------------------------------------------------------


def _host(view: OutageView) -> HostNode | None:
    """The tenant Node; None: it is gone or unknown."""
    tenant = None if view.host is None else view.host.tenant
    node = None if tenant is None or isinstance(tenant, Blind) else tenant.node
    return node if isinstance(node, HostNode) else None


def _uncovered(view: OutageView) -> Outage | None:
    """The outage, unless a drain of ours has emptied the host. While the tenant cannot be read, the records tell."""
    if view.host is None or isinstance(view.host.tenant, Blind):
        cycles = (dpu.budget.cycle for dpu in view.dpus if dpu.budget is not None and dpu.budget.ours)
        covered = any(each is not None and each.opened and each.state is not State.ABORTED for each in cycles)
    else:
        host_state = HostState(view.host)
        covered = host_state.is_drained or host_state.is_left_over
    return None if covered else view.outage


def _is_busy(view: OutageView, host: HostNode) -> bool:
    """Whether a drain or a maintenance concerns the host: then only they change it."""
    if view.host is None:
        return True
    host_state = HostState(view.host)
    is_going = host.terminating or host.in_own_drain or host.mark is not None
    return is_going or bool(host_state.maintenances) or bool(host_state.active) or view.host.unverified


def _due_in(view: OutageView, outage: Outage) -> int:
    """Seconds until the host has been without a network for long enough."""
    return max(0, outage.since + view.spec.after_seconds - view.host_ref.author.now)


# --- not cordoned by us ---------------------------------------------------------------------------------------------


def _unmarked(view: OutageView, host: HostNode | None, outage: Outage) -> OutageDecision:
    if host is None:
        return _tell(outage, "repair the DPU")
    if host.cordoned:
        return _tell(outage, "it is cordoned already; repair the DPU")
    if view.spec.policy is OutagePolicy.REPORT or view.is_leaving:
        return _tell(outage, "it stays schedulable; repair the DPU, or cordon the host")
    if _is_busy(view, host) or host.unplanned is not None:
        return _tell(outage, "a drain, a maintenance or another DpuClusterConfig has to do with it")
    if view.cordons.suspect:
        return _suspect(view, outage)
    if left := _due_in(view, outage):
        at = spelled(outage.since + view.spec.after_seconds)
        return replace(_tell(outage, f"it is to be cordoned at {at}; repair the DPU"), recheck_seconds=left)
    return _in_turn(view, outage)


def _in_turn(view: OutageView, outage: Outage) -> OutageDecision:
    match view.turn:
        case Turn.UNDECIDED:
            return _asking(_tell(outage, "it is about to be cordoned; repair the DPU"), outage)
        case Turn.REFUSED:
            words = f"{view.cordons.limit} hosts are cordoned, as many as spec.unplanned.maxHosts allows"
            more = f"{words}: this one stays schedulable; repair the DPUs, or cordon the host"
            return _asking(_tell(outage, more, NetworkReason.CORDON_LIMIT_REACHED), outage)
        case Turn.GRANTED:
            task = MarkHost(view.host_ref, _server(view, outage.dpu), outage, view.spec.after_seconds)
            return replace(_asking(_tell(outage, "it is about to be cordoned; repair the DPU"), outage), task=task)


def _asking(decision: OutageDecision, outage: Outage) -> OutageDecision:
    assert decision.state is not None
    return replace(decision, state=replace(decision.state, asks_since=outage.since))


def _suspect(view: OutageView, outage: Outage) -> OutageDecision:
    words = f"nothing is done to the host, because infra itself is suspect: {view.cordons.suspect}"
    return _tell(outage, words, NetworkReason.INFRA_SUSPECT)


def _tell(outage: Outage, what: str, reason: NetworkReason = NetworkReason.HOST_WITHOUT_NETWORK) -> OutageDecision:
    return OutageDecision(state=NetworkState(outage.host, outage.dpu, reason, f"{outage.words}; {what}"))


def _server(view: OutageView, dpu: str) -> Server:
    assert view.host is not None
    pods = (pod for each in view.dpus if each.name == dpu for pod in each.pods)
    return Server(dpu, view.host.pods_namespace, tuple(name_of(pod.live) for pod in pods))


# --- marked by us ---------------------------------------------------------------------------------------------------


def _marked(view: OutageView, host: HostNode, mark: CordonMark, outage: Outage | None) -> OutageDecision:
    if outage is not None and mark.stage is CordonProgress.CORDONED and 0 < mark.since < outage.since:
        outage = replace(outage, since=mark.since)
    said = _said(view, host, mark, outage)
    if view.cordons.suspect or _is_busy(view, host):
        return said
    return replace(said, task=_next(view, host, mark, outage))


def _next(view: OutageView, host: HostNode, mark: CordonMark, outage: Outage | None) -> Task | None:
    match mark.stage, host.cordoned:
        case CordonProgress.WANTED, False if outage is not None and _is_to_be_cordoned(view, outage):
            server, after = _server(view, outage.dpu), view.spec.after_seconds
            return CordonHost(view.host_ref, server, mark, outage, after, view.cordons.limit)
        case CordonProgress.WANTED, _:
            return Withdraw(view.host_ref, mark)
        case CordonProgress.CORDONED, True:
            return _uncordon(view, mark)
        case _:
            is_over = outage is None and not _missing(view, mark)
            if is_over or _prover(view) is None:
                return Withdraw(view.host_ref, mark)
            return None if mark.stage is CordonProgress.OVERRULED else Overrule(view.host_ref, mark)


def _is_to_be_cordoned(view: OutageView, outage: Outage) -> bool:
    wanted = view.spec.policy is OutagePolicy.CORDON and not view.is_leaving
    return wanted and not _due_in(view, outage) and view.cordons.limit > 0


def _uncordon(view: OutageView, mark: CordonMark) -> Task | None:
    prover = _prover(view)
    if view.host is None or prover is None or not isinstance(prover.node, DpuNode) or _missing(view, mark):
        return None
    host_state = HostState(view.host)
    dpu_checks = tuple(
        DpuCheck(dpu.name, dpu.blocker, proven_boot=prover.node.boot_id if dpu is prover else None)
        for dpu in view.host.dpus
        if host_state.serves(dpu)
    )
    return Uncordon(view.host_ref, _server(view, prover.name), mark, dpu_checks)


def _prover(view: OutageView) -> DpuView | None:
    return None if view.host is None else HostState(view.host).prover()


def _missing(view: OutageView, mark: CordonMark) -> tuple[str, ...]:
    """The proof that the DPU that serves still lacks, as at the end of a drain. Containers that the mark names ran when
    the network failed: after a reboot they prove nothing."""
    prover = _prover(view)
    if view.host is None or prover is None:
        return ("a DPU that serves the host",)
    if not isinstance(prover.node, DpuNode):
        return ("the DPU node",)
    boot = prover.node.boot_id
    stale = tuple(each for pod in prover.pods for each in pod.containers if mark.is_stale(each, boot))
    cycle = HostState(view.host).cycle(prover) or Cycle(State.RETURNING, term="")
    found = missing_proofs(prover, replace(cycle, stale=(*cycle.stale, *stale)), view.host.signals)
    return (*found, *_unguarded(HostState(view.host)))


def _unguarded(host_state: HostState) -> Iterable[str]:
    """The guards of giving back that do not hold, beside the network."""
    for dpu in host_state.view.dpus:
        if not host_state.serves(dpu) or not isinstance(dpu.node, DpuNode):
            continue
        if dpu.node.held:
            yield f"no annotation that holds {named(dpu.name)}"
        if dpu.node.mco is not Mco.IDLE:
            yield f"a machine-config operator that is done with {named(dpu.name)}"
        if host_state.is_open(dpu) or not dpu.blocker_ready:
            yield f"a blocker that is Ready on {named(dpu.name)}"


def _said(view: OutageView, host: HostNode, mark: CordonMark, outage: Outage | None) -> OutageDecision:
    is_ours = mark.stage is CordonProgress.CORDONED and host.cordoned
    if outage is not None:
        return _said_of_outage(view, host, mark, outage, is_ours=is_ours)
    if not is_ours or _is_busy(view, host):
        return OutageDecision()
    why = _said_of_cordon(view, mark)
    if why is None:
        return OutageDecision()
    reason, dpu, words = why
    since = f"host {named(view.host_ref.host)} is cordoned because it had no network since {spelled(mark.since)}"
    return OutageDecision(state=NetworkState(view.host_ref.host, dpu, reason, f"{since}; {words}"))


def _said_of_cordon(view: OutageView, mark: CordonMark) -> tuple[NetworkReason, str, str] | None:
    """Why a cordon of ours still stands although the outage is over; None: it is removed now, and a failure of that is
    reported."""
    missing, prover = _missing(view, mark), _prover(view)
    if prover is None:
        words = f"no DPU serves it any more: uncordon it yourself (kubectl uncordon {named(view.host_ref.host)})"
        return NetworkReason.HOST_NOT_SERVED, "", words
    if missing:
        words = f"{named(prover.name)} has yet to show: {', '.join(missing)}"
        return NetworkReason.NETWORK_UNPROVEN, prover.name, words
    if view.cordons.suspect:
        words = f"it stays so while infra itself is suspect: {view.cordons.suspect}"
        return NetworkReason.INFRA_SUSPECT, prover.name, words
    return None


def _said_of_outage(
    view: OutageView, host: HostNode, mark: CordonMark, outage: Outage, *, is_ours: bool
) -> OutageDecision:
    if view.cordons.suspect and not is_ours:
        return _suspect(view, outage)
    if is_ours:
        words = "it is cordoned until its network is proven to work; repair the DPU"
        return _tell(outage, words, NetworkReason.HOST_CORDONED)
    if mark.stage is CordonProgress.WANTED and not host.cordoned:
        return _tell(outage, "it is about to be cordoned; repair the DPU")
    whose = "another writer has cordoned it" if host.cordoned else "another writer has made it schedulable"
    return _tell(outage, f"{whose}, and it stays so; repair the DPU")
