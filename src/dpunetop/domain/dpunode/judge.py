"""The status of each DPU of a host, made from the facts and the decision of the host's worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import assert_never

from dpunetop.base.quoting import named
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.status import configuring_hindrance, hindrance
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.dpunode.status import IN_DRAIN, NOTHING_SERVED, DpuNodeStatus, DrainTimes, Phase
from dpunetop.domain.drain.fleet.roster import Member, Mode, Roster, Slot
from dpunetop.domain.drain.host import HostDecision
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.domain.drain.model.facts import DpuNode, DpuView, Reason
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
class _Explanation:
    """A reason, and a sentence about it."""

    reason: str
    message: str = ""

    def of(self, type_: str, status: Status) -> Condition:
        """A condition with this reason and message."""
        return Condition(type_, status, self.reason, self.message)


@dataclass(frozen=True, slots=True)
class _DpuFacts:
    """One DPU, with all facts and decisions about it."""

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
    def is_dead(self) -> bool:
        """Whether its Node is there and not Ready."""
        return isinstance(self.dpu.node, DpuNode) and not self.dpu.node.ready

    @property
    def guarding(self) -> ProtectionPhase | None:
        """None: it is not protected, and is not to be."""
        found = self.decided.protections.get(self.member.dpu)
        return None if found is None else found.guarding

    @property
    def status(self) -> DpuStatus | None:
        return next((each for each in self.report.dpu_statuses if each.dpu == self.member.dpu), None)

    @property
    def network(self) -> NetworkState | None:
        """The state of the host's network; reported for the DPU that serves, or for all if none does."""
        found = self.report.network
        return found if found is not None and found.dpu in ("", self.member.dpu) else None


def dpu_node_statuses(decided: HostDecision, report: HostReport) -> tuple[DpuNodeStatus, ...]:
    """The status of each DPU whose home is the slot; none for a host that was not looked at yet.

    Guarantees: equal arguments give equal values; only the beginning of a step depends on the time.
    """
    if not report.is_looked_at:
        return ()
    dpus = {dpu.name: dpu for dpu in decided.snapshot.dpus}
    at_home = (member for member in decided.slot.members if member.is_home)
    roster = decided.snapshot.scope.roster
    return tuple(_judge(_DpuFacts(roster, decided, report, member, dpus[member.dpu])) for member in at_home)


def unseen_statuses(roster: Roster, slot: Slot, reason: str, message: str) -> tuple[DpuNodeStatus, ...]:
    """The statuses of a slot whose pass failed, with why."""
    why = _Explanation(reason, message)
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
    """The same with the credential's condition from `config`, since a change of it does not wake the host's worker."""
    current = credential_current(config)
    said = _same(tuple(current if each.type == CREDENTIAL_CURRENT else each for each in status.conditions))
    return replace(status, conditions=said)


def advised(reason: str, message: str) -> str:
    """The message, with the next step of its reason appended where there is one and the message does not have it."""
    row = meaning(reason)
    if row.gravity in (Gravity.GOOD, Gravity.PASSING) or reason in NetworkReason.__members__.values():
        return message
    return f"{message}; {row.next_step}" if message else row.next_step


def _judge(facts: _DpuFacts) -> DpuNodeStatus:
    phase, why = _phase(facts)
    budget, node = facts.dpu.budget, facts.dpu.node
    return DpuNodeStatus(
        dpu=facts.member.dpu,
        host=facts.host,
        phase=phase,
        reason=why.reason,
        message=advised(why.reason, why.message),
        conditions=_same(
            (
                _paired(facts),
                _protected(facts),
                _host_configured(facts),
                _network_ready(facts, why),
                credential_current(facts.roster.config),
                _drain_allowed(facts),
            )
        ),
        ovn_image=facts.roster.image if any(pod.newest and not pod.terminating for pod in facts.dpu.pods) else "",
        machine_config=node.machine.current if isinstance(node, DpuNode) else "",
        drain=None if budget is None or budget.cycle is None else DrainTimes.of(budget.cycle),
    )


@lru_cache(64)
def _same(conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """One object for all equal values: thousands of DPUs that serve have the same. Few are remembered, since a value
    that names its DPU is equal to no other.
    """
    return conditions


# --- the phase --------------------------------------------------------------------------------------------------------


def _phase(facts: _DpuFacts) -> tuple[Phase, _Explanation]:
    """The worst phase of network, drain and protection."""
    if facts.network is not None:
        return _network_phase(facts, facts.network), _Explanation(str(facts.network.reason), facts.network.message)
    status = facts.status
    if status is not None and status.stage is not DpuPhase.IDLE:
        return _drain_phase(status.stage), _told(status)
    phase, why = _protection_phase(facts)
    if status is not None and status.late is not None:
        return phase, _told(status)
    outage = facts.decided.outage
    if phase is Phase.SERVING and outage is not None:  # a pod that starts: no outage yet, and no proof of a network
        return phase, _Explanation(SERVING, f"its network is not proven yet: {outage.cause}")
    return phase, why


def _told(status: DpuStatus) -> _Explanation:
    """A step that is overdue is reported before one that only waits."""
    if status.late is not None:
        return _Explanation(status.late.reason, status.late.message)
    return _Explanation(status.reason or str(status.stage), status.message)


def _network_phase(facts: _DpuFacts, network: NetworkState) -> Phase:
    match network.reason:
        case NetworkReason.HOST_WITHOUT_NETWORK | NetworkReason.HOST_CORDONED | NetworkReason.CORDON_LIMIT_REACHED:
            return Phase.NO_NETWORK
        case NetworkReason.INFRA_SUSPECT:  # for an outage, or a cordon that has outlasted one
            return Phase.VERIFYING if facts.decided.outage is None else Phase.NO_NETWORK
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


def _protection_phase(facts: _DpuFacts) -> tuple[Phase, _Explanation]:
    """The phase outside a drain."""
    match facts.guarding:
        case ProtectionPhase.NOT_OURS:
            return Phase.HELD, _not_ours(facts)
        case ProtectionPhase.REMOVAL_PENDING:
            return Phase.LEAVING, _parting(facts)
        case ProtectionPhase.LEAVING | None:
            return (Phase.LEAVING, _parting(facts)) if facts.host else (Phase.UNPAIRED, _unpaired(facts))
    if not facts.host:
        return Phase.UNPAIRED, _unpaired(facts)
    if facts.is_spare:
        return Phase.SPARE, _dead_spare(facts) if facts.is_dead else _served_by_other(facts)
    if not facts.is_server:
        return Phase.WAITING, _to_come(facts)
    if facts.guarding is ProtectionPhase.BLOCKER_NOT_READY:
        return Phase.UNPROTECTED, _unguarded(facts)
    return Phase.SERVING, _Explanation(SERVING)


def _not_ours(facts: _DpuFacts) -> _Explanation:
    return _Explanation("NotOurs", f"a blocker or budget of {named(facts.member.dpu)} was made by another writer")


def _parting(facts: _DpuFacts) -> _Explanation:
    if facts.roster.mode is not Mode.SERVING:
        return _Explanation("LeadingOut", f"the DpuClusterConfig ends: host {named(facts.host)} is drained and let go")
    return _Explanation("RemovalPending", f"it is not paired with host {named(facts.host)} any more")


def _unpaired(facts: _DpuFacts) -> _Explanation:
    if facts.member.problem:
        return _Explanation(str(EntryWait.PAIRING_CONFLICT), facts.member.problem)
    if facts.member.is_dropped:
        return _Explanation("DpuNotSelected", "spec.nodeSelector does not pick its Node, or the Node is not granted")
    return _Explanation(NOT_PAIRED, "no host is named for it")


def _served_by_other(facts: _DpuFacts) -> _Explanation:
    return _Explanation(
        "HostServedByOther", f"host {named(facts.host)} is served by {named(facts.decided.slot.serving or '')}"
    )


def _to_come(facts: _DpuFacts) -> _Explanation:
    """Why a paired DPU does not serve yet."""
    if not facts.member.configured:
        return _unconfigured(facts)
    if not isinstance(facts.dpu.node, DpuNode):
        return _Explanation("DpuGone", f"there is no Node {named(facts.member.dpu)}")
    if facts.dpu.trouble:
        return _unguarded(facts)
    if (found := hindrance(facts.roster.config, facts.roster.has_entries)) is not None:
        return _Explanation(found.reason, found.message)
    if facts.dpu.node.cordoned:
        words = f"{named(facts.member.dpu)} is cordoned: it begins to serve once it is schedulable"
        return _Explanation(str(EntryWait.PROTECTION_PENDING), words)
    return _Explanation(str(EntryWait.PROTECTION_PENDING), "its blocker and budget come first")


def _unconfigured(facts: _DpuFacts) -> _Explanation:
    if facts.member.stuck:
        return _Explanation("MachineConfigStuck", f"the machine-config operator {facts.member.stuck}")
    node = facts.dpu.node
    if isinstance(node, DpuNode) and node.machine.trouble:
        words = f"the machine-config daemon gave up: node {named(node.name)} {node.machine.trouble}"
        return _Explanation("MachineConfigStuck", words)
    if (found := configuring_hindrance(facts.roster.config)) is not None:
        return _Explanation(found.reason, found.message)
    return _Explanation("HostNotConfigured", "its host configuration has not arrived yet")


def _dead_spare(facts: _DpuFacts) -> _Explanation:
    node = named(facts.member.dpu)
    server = named(facts.decided.slot.serving or "")
    words = f"its Node {node} is not Ready, so that it cannot serve host {named(facts.host)} if {server} fails"
    return _Explanation("BlockerNotReady", f"{words}; kubectl describe node {node}")


def _unguarded(facts: _DpuFacts) -> _Explanation:
    dead = f": its Node {named(facts.member.dpu)} is not Ready" if facts.is_dead else ""
    return _Explanation("BlockerNotReady", facts.dpu.trouble or f"its blocker is not Ready{dead}")


# --- the conditions ---------------------------------------------------------------------------------------------------


def _paired(facts: _DpuFacts) -> Condition:
    if facts.member.pairing is not None:
        return _Explanation("Paired").of(PAIRED, "True")
    return (_parting(facts) if facts.host else _unpaired(facts)).of(PAIRED, "False")


def _protected(facts: _DpuFacts) -> Condition:
    budget = facts.dpu.budget
    if facts.guarding is ProtectionPhase.NOT_OURS:
        return _not_ours(facts).of(PROTECTED, "False")
    if budget is None or not budget.serves:
        return (_to_come(facts) if facts.host else _unpaired(facts)).of(PROTECTED, "False")
    if budget.is_open:
        return _Explanation("HostDrained", "its budget is open").of(PROTECTED, "False")
    if not facts.dpu.blocker_ready:
        return _unguarded(facts).of(PROTECTED, "False")
    return _Explanation(GUARDED).of(PROTECTED, "True")


def _host_configured(facts: _DpuFacts) -> Condition:
    if facts.roster.access is not Access.GIVEN:
        return _Explanation(NOT_LOOKED_AT, "the rights in the namespace are gone").of(HOST_CONFIGURED, "Unknown")
    if facts.member.configured:
        return _Explanation(CONFIGURED).of(HOST_CONFIGURED, "True")
    why = _unpaired(facts) if facts.member.is_dropped else _unconfigured(facts)
    return why.of(HOST_CONFIGURED, "False")


def _network_ready(facts: _DpuFacts, why: _Explanation) -> Condition:
    """Whether the host has a network, judged by the DPU that serves it, as infra shows that one."""
    if facts.roster.access is not Access.GIVEN:
        return _Explanation(NOT_LOOKED_AT, "the rights in the namespace are gone").of(NETWORK_READY, "Unknown")
    if not facts.host or facts.decided.slot.serving is None:
        return why.of(NETWORK_READY, "False")
    outage = facts.decided.outage
    if outage is not None and outage.is_told(facts.decided.snapshot.host_ref.author.now):
        return _Explanation(_outage_reason(facts.report), outage.words).of(NETWORK_READY, "False")
    if outage is not None:
        return _Explanation(str(Reason.PROOF_MISSING), outage.cause).of(NETWORK_READY, "Unknown")
    return _unproven(facts) or _Explanation(SERVING).of(NETWORK_READY, "True")


def _outage_reason(report: HostReport) -> str:
    """The reason of an outage: within a drain it is the reboot for which the host was drained."""
    return str(DpuPhase.DPU_DOWN if report.network is None else report.network.reason)


def _unproven(facts: _DpuFacts) -> Condition | None:
    """Unknown while a drain or an outage still needs its proof: a DPU that looks healthy is no proof."""
    stages = {each.stage: each for each in facts.report.dpu_statuses}
    network = facts.report.network
    if network is not None:
        return _Explanation(str(network.reason), network.message).of(NETWORK_READY, "Unknown")
    for stage in (DpuPhase.DPU_RECOVERING, DpuPhase.VERIFYING):
        if stage in stages:
            return _Explanation(str(Reason.PROOF_MISSING), stages[stage].message).of(NETWORK_READY, "Unknown")
    return None


def _drain_allowed(facts: _DpuFacts) -> Condition:
    """Whether its budget allows its drain now."""
    budget, status = facts.dpu.budget, facts.status
    if budget is None or not budget.serves:
        return _Explanation(NOTHING_SERVED).of(DRAIN_ALLOWED, "True")
    if budget.is_open:
        return _Explanation("HostDrained").of(DRAIN_ALLOWED, "True")
    if status is not None and status.stage is not DpuPhase.IDLE:
        return _told(status).of(DRAIN_ALLOWED, "False")
    return _Explanation(GUARDED, "after its host only: cordon it to begin").of(DRAIN_ALLOWED, "False")


# --- all of them ------------------------------------------------------------------------------------------------------


def counted(statuses: Iterable[DpuNodeStatus]) -> Mapping[str, int]:
    """The number of DPUs by phase, for `status.dpus` of the DpuClusterConfig."""
    found = list(statuses)
    return {
        "paired": sum(each.condition(PAIRED).status == "True" for each in found),
        "serving": sum(each.has_network == "True" and each.phase is not Phase.SPARE for each in found),
        "protected": sum(each.condition(PROTECTED).status == "True" for each in found),
        "draining": sum(each.phase in IN_DRAIN for each in found),
        "held": sum(each.phase is Phase.HELD for each in found),
        "withoutNetwork": sum(each.lacks_network for each in found),
    }
