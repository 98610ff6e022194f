"""Where each DPU of a host stands, made from what the worker of the host has looked at and decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import assert_never

from dpunetop.base.quoting import named
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.dpunode.status import IN_DRAIN, NOTHING_SERVED, DpuNodeStatus, DrainTimes, Phase
from dpunetop.domain.drain.fleet.roster import Member, Mode, Roster, Slot
from dpunetop.domain.drain.host import HostDecision
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.domain.drain.model.facts import DpuNode, DpuView
from dpunetop.domain.drain.outages.unplanned import NetworkReason, NetworkState
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus
from dpunetop.domain.pairing.entries import EntryWait
from dpunetop.domain.reasons import (
    CREDENTIAL_CURRENT,
    DPU_CREDENTIAL_VALID,
    DPU_NODE_CONDITIONS,
    DRAIN_ALLOWED,
    HOST_CONFIGURED,
    NETWORK_READY,
    PAIRED,
    PROTECTED,
    Gravity,
    meaning,
)
from dpunetop.kube.conditions import Condition, Status, condition_of

SERVING, NOT_PAIRED, GUARDED, CONFIGURED = "Serving", "NotPaired", "Guarded", "Configured"
NOT_LOOKED_AT = "NotLookedAt"


@dataclass(frozen=True, slots=True)
class _Said:
    """Why something is as it is, in a word and in a sentence."""

    reason: str
    message: str = ""

    def of(self, type_: str, status: Status) -> Condition:
        """The condition that says so."""
        return Condition(type_, status, self.reason, self.message)


@dataclass(frozen=True, slots=True)
class _Card:
    """One DPU, and all that was looked at and decided of it."""

    roster: Roster
    decided: HostDecision
    report: HostReport
    member: Member
    dpu: DpuView

    @property
    def host(self) -> str:
        return self.decided.slot.host

    @property
    def is_server(self) -> bool:
        """Whether it is the one whose entry names the host."""
        return self.decided.slot.serving == self.member.dpu

    @property
    def is_spare(self) -> bool:
        return bool(self.host) and self.decided.slot.serving is not None and not self.is_server

    @property
    def guarding(self) -> ProtectionPhase | None:
        """None: it is not protected any more, nor to be."""
        found = self.decided.protections.get(self.member.dpu)
        return None if found is None else found.guarding

    @property
    def status(self) -> DpuStatus | None:
        return next((each for each in self.report.dpu_statuses if each.dpu == self.member.dpu), None)

    @property
    def network(self) -> NetworkState | None:
        """What is wrong with the network of the host; told of the DPU that serves, or of all if none does."""
        found = self.report.network
        return found if found is not None and found.dpu in ("", self.member.dpu) else None


def dpu_node_statuses(decided: HostDecision, report: HostReport) -> tuple[DpuNodeStatus, ...]:
    """Where each DPU that is at home in the slot stands; none of a host that was not looked at yet.

    Guarantees: of equal arguments equal values; nothing but the beginning of a step depends on the time.
    """
    if not report.is_looked_at:
        return ()
    dpus = {dpu.name: dpu for dpu in decided.snapshot.dpus}
    at_home = (member for member in decided.slot.members if member.is_home)
    roster = decided.snapshot.scope.roster
    return tuple(_judge(_Card(roster, decided, report, member, dpus[member.dpu])) for member in at_home)


def unseen_statuses(roster: Roster, slot: Slot, reason: str, message: str) -> tuple[DpuNodeStatus, ...]:
    """Those of a slot that could not be looked at to the end, and why."""
    why = _Said(reason, message)
    unknown = tuple(why.of(type_, "Unknown") for type_ in DPU_NODE_CONDITIONS)
    at_home = (member.dpu for member in slot.members if member.is_home)
    return tuple(
        DpuNodeStatus(dpu, slot.host, Phase.UNKNOWN, reason, advised(reason, message), unknown) for dpu in at_home
    )


def credential_current(config: DpuClusterConfig) -> Condition:
    """Whether the pods hold a credential that the tenant accepts; all of them mount the same."""
    found = condition_of(config.live, DPU_CREDENTIAL_VALID)
    if found is None:
        return Condition(CREDENTIAL_CURRENT, "Unknown", NOT_LOOKED_AT, f"{DPU_CREDENTIAL_VALID} is not known yet")
    words = "" if found["status"] == "True" else f"see {DPU_CREDENTIAL_VALID} of the DpuClusterConfig"
    return Condition(CREDENTIAL_CURRENT, found["status"], found["reason"], words)


def with_credential(status: DpuNodeStatus, config: DpuClusterConfig) -> DpuNodeStatus:
    """The same with what `config` says now of the credential, of which the worker of a host does not hear."""
    current = credential_current(config)
    said = _same(tuple(current if each.type == CREDENTIAL_CURRENT else each for each in status.conditions))
    return replace(status, conditions=said)


def advised(reason: str, message: str) -> str:
    """The message, and what to do next if something is to be done or waited for, and it does not say so itself."""
    row = meaning(reason)
    if row.gravity in (Gravity.GOOD, Gravity.PASSING) or reason in NetworkReason.__members__.values():
        return message
    return f"{message}; {row.next_step}" if message else row.next_step


def _judge(card: _Card) -> DpuNodeStatus:
    phase, why = _phase(card)
    budget, node = card.dpu.budget, card.dpu.node
    return DpuNodeStatus(
        dpu=card.member.dpu,
        host=card.host,
        phase=phase,
        reason=why.reason,
        message=advised(why.reason, why.message),
        conditions=_same(
            (
                _paired(card),
                _protected(card),
                _host_configured(card),
                _network_ready(card, why),
                credential_current(card.roster.config),
                _drain_allowed(card),
            )
        ),
        ovn_image=card.roster.image if any(pod.newest and not pod.terminating for pod in card.dpu.pods) else "",
        machine_config=node.machine.current if isinstance(node, DpuNode) else "",
        drain=None if budget is None or budget.cycle is None else DrainTimes.of(budget.cycle),
    )


@lru_cache(1024)
def _same(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """One object for all that are equal, as those of thousands of DPUs that serve are."""
    return conditions


# --- the phase --------------------------------------------------------------------------------------------------------


def _phase(card: _Card) -> tuple[Phase, _Said]:
    """The worst of what is said of the network, of the drain and of the protection."""
    if card.network is not None:
        return _network_phase(card, card.network), _Said(str(card.network.reason), card.network.message)
    status = card.status
    if status is not None and status.stage is not DpuPhase.IDLE:
        return _drain_phase(status.stage), _told(status)
    phase, why = _protection_phase(card)
    return phase, why if status is None or status.late is None else _told(status)


def _told(status: DpuStatus) -> _Said:
    """What is late is told before what is waited for."""
    if status.late is not None:
        return _Said(status.late.reason, status.late.message)
    return _Said(status.reason or str(status.stage), status.message)


def _network_phase(card: _Card, network: NetworkState) -> Phase:
    match network.reason:
        case NetworkReason.HOST_WITHOUT_NETWORK | NetworkReason.HOST_CORDONED | NetworkReason.CORDON_LIMIT_REACHED:
            return Phase.NO_NETWORK
        case NetworkReason.INFRA_SUSPECT:  # said of an outage, or of a cordon that has outlived one
            return Phase.VERIFYING if card.decided.outage is None else Phase.NO_NETWORK
        case NetworkReason.NETWORK_UNPROVEN:
            return Phase.VERIFYING
        case NetworkReason.HOST_NOT_SERVED:
            return Phase.HELD
    assert_never(network.reason)


def _drain_phase(stage: DpuPhase) -> Phase:
    match stage:
        case DpuPhase.HOST_DRAINING:
            return Phase.DRAINING
        case DpuPhase.HOST_DRAINED:
            return Phase.DRAINED
        case DpuPhase.DPU_DOWN:
            return Phase.DOWN
        case DpuPhase.DPU_RECOVERING:
            return Phase.RECOVERING
        case DpuPhase.VERIFYING:
            return Phase.VERIFYING
        case DpuPhase.HELD | DpuPhase.FAILED:
            return Phase.HELD
        case DpuPhase.IDLE:
            return Phase.SERVING
    assert_never(stage)


def _protection_phase(card: _Card) -> tuple[Phase, _Said]:
    """Outside a drain."""
    match card.guarding:
        case ProtectionPhase.NOT_OURS:
            return Phase.HELD, _not_ours(card)
        case ProtectionPhase.REMOVAL_PENDING:
            return Phase.LEAVING, _parting(card)
        case ProtectionPhase.LEAVING | None:
            return (Phase.LEAVING, _parting(card)) if card.host else (Phase.UNPAIRED, _unpaired(card))
    if not card.host:
        return Phase.UNPAIRED, _unpaired(card)
    if card.is_spare:
        return Phase.SPARE, _served_by_other(card)
    if not card.is_server:
        return Phase.WAITING, _to_come(card)
    if card.guarding is ProtectionPhase.BLOCKER_NOT_READY:
        return Phase.UNPROTECTED, _unguarded(card)
    return Phase.SERVING, _Said(SERVING)


def _not_ours(card: _Card) -> _Said:
    return _Said("NotOurs", f"a blocker or budget of {named(card.member.dpu)} was made by another writer")


def _parting(card: _Card) -> _Said:
    if card.roster.mode is not Mode.SERVING:
        return _Said("LeadingOut", f"the DpuClusterConfig ends: host {named(card.host)} is drained and let go")
    return _Said("RemovalPending", f"it is not paired with host {named(card.host)} any more")


def _unpaired(card: _Card) -> _Said:
    if card.member.problem:
        return _Said(str(EntryWait.PAIRING_CONFLICT), card.member.problem)
    if card.member.is_dropped:
        return _Said("DpuNotSelected", "spec.nodeSelector does not pick its Node, or the Node is not granted")
    return _Said(NOT_PAIRED, "no host is named for it")


def _served_by_other(card: _Card) -> _Said:
    return _Said("HostServedByOther", f"host {named(card.host)} is served by {named(card.decided.slot.serving or '')}")


def _to_come(card: _Card) -> _Said:
    """What a DPU that is paired waits for until it serves."""
    if not card.member.configured:
        return _unconfigured(card)
    if not isinstance(card.dpu.node, DpuNode):
        return _Said("DpuGone", f"there is no Node {named(card.member.dpu)}")
    if card.dpu.trouble:
        return _unguarded(card)
    if card.dpu.node.cordoned:
        words = f"{named(card.member.dpu)} is cordoned: it begins to serve once it is schedulable"
        return _Said(str(EntryWait.PROTECTION_PENDING), words)
    return _Said(str(EntryWait.PROTECTION_PENDING), "its blocker and budget come first")


def _unconfigured(card: _Card) -> _Said:
    if card.member.stuck:
        return _Said("MachineConfigStuck", f"the machine-config operator {card.member.stuck}")
    return _Said("HostNotConfigured", "its host configuration has not arrived yet")


def _unguarded(card: _Card) -> _Said:
    return _Said("BlockerNotReady", card.dpu.trouble or "its blocker is not Ready")


# --- the conditions ---------------------------------------------------------------------------------------------------


def _paired(card: _Card) -> Condition:
    if card.member.pairing is not None:
        return _Said("Paired").of(PAIRED, "True")
    return (_parting(card) if card.host else _unpaired(card)).of(PAIRED, "False")


def _protected(card: _Card) -> Condition:
    budget = card.dpu.budget
    if card.guarding is ProtectionPhase.NOT_OURS:
        return _not_ours(card).of(PROTECTED, "False")
    if budget is None or not budget.serves:
        return (_to_come(card) if card.host else _unpaired(card)).of(PROTECTED, "False")
    if budget.is_open:
        return _Said("HostDrained", "its budget is open").of(PROTECTED, "False")
    if not card.dpu.blocker_ready:
        return _unguarded(card).of(PROTECTED, "False")
    return _Said(GUARDED).of(PROTECTED, "True")


def _host_configured(card: _Card) -> Condition:
    if card.roster.access is not Access.GIVEN:
        return _Said(NOT_LOOKED_AT, "the rights in the namespace are gone").of(HOST_CONFIGURED, "Unknown")
    if card.member.configured:
        return _Said(CONFIGURED).of(HOST_CONFIGURED, "True")
    why = _unpaired(card) if card.member.is_dropped else _unconfigured(card)
    return why.of(HOST_CONFIGURED, "False")


def _network_ready(card: _Card, why: _Said) -> Condition:
    """Of the host, whichever DPU serves it, as infra shows that one."""
    if card.roster.access is not Access.GIVEN:
        return _Said(NOT_LOOKED_AT, "the rights in the namespace are gone").of(NETWORK_READY, "Unknown")
    if not card.host or card.decided.slot.serving is None:
        return why.of(NETWORK_READY, "False")
    outage = card.decided.outage
    if outage is not None and outage.is_told(card.decided.snapshot.host_ref.author.now):
        return _Said(_outage_reason(card.report), outage.words).of(NETWORK_READY, "False")
    if outage is not None:
        return _Said("ProofMissing", outage.cause).of(NETWORK_READY, "Unknown")
    return _unproven(card) or _Said(SERVING).of(NETWORK_READY, "True")


def _outage_reason(report: HostReport) -> str:
    """What an outage is called: within a drain it is the reboot that the host was drained for."""
    return str(DpuPhase.DPU_DOWN if report.network is None else report.network.reason)


def _unproven(card: _Card) -> Condition | None:
    """That the DPU looks well proves nothing, as long as the end of a drain or of an outage asks for a proof."""
    stages = {each.stage: each for each in card.report.dpu_statuses}
    network = card.report.network
    if network is not None:
        return _Said(str(network.reason), network.message).of(NETWORK_READY, "Unknown")
    for stage in (DpuPhase.DPU_RECOVERING, DpuPhase.VERIFYING):
        if stage in stages:
            return _Said("ProofMissing", stages[stage].message).of(NETWORK_READY, "Unknown")
    return None


def _drain_allowed(card: _Card) -> Condition:
    """Whether its budget lets it be drained now."""
    budget, status = card.dpu.budget, card.status
    if budget is None or not budget.serves:
        return _Said(NOTHING_SERVED).of(DRAIN_ALLOWED, "True")
    if budget.is_open:
        return _Said("HostDrained").of(DRAIN_ALLOWED, "True")
    if status is not None and status.stage is not DpuPhase.IDLE:
        return _told(status).of(DRAIN_ALLOWED, "False")
    return _Said(GUARDED, "after its host only: cordon it to begin").of(DRAIN_ALLOWED, "False")


# --- all of them ------------------------------------------------------------------------------------------------------


def counted(statuses: Iterable[DpuNodeStatus]) -> Mapping[str, int]:
    """How many DPUs stand where, as `status.dpus` of the DpuClusterConfig says."""
    found = list(statuses)
    return {
        "paired": sum(each.condition(PAIRED).status == "True" for each in found),
        "serving": sum(each.has_network == "True" and each.phase is not Phase.SPARE for each in found),
        "protected": sum(each.condition(PROTECTED).status == "True" for each in found),
        "draining": sum(each.phase in IN_DRAIN for each in found),
        "held": sum(each.phase is Phase.HELD for each in found),
        "withoutNetwork": sum(each.lacks_network for each in found),
    }
