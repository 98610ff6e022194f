"""`PairsHealthy`: whether every pair is protected and no drain is stuck."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.domain.drain.outages.unplanned import NetworkState
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus
from dpunetop.domain.pairing.entries import EntryWait
from dpunetop.domain.reasons import PAIRS_HEALTHY
from dpunetop.kube.conditions import Condition

_SHOWN = 5
_UNDER_WAY = frozenset(
    {
        ProtectionPhase.BLOCKER_MISSING,
        ProtectionPhase.NOT_SERVING,
        ProtectionPhase.CLOSING,
        ProtectionPhase.ENTRY_PENDING,
        ProtectionPhase.LEAVING,
        ProtectionPhase.NODE_CORDONED,
    }
)
"""Phases on the way to serving, or back; they pass without a person."""
_WORDS = {
    ProtectionPhase.BLOCKER_NOT_READY: (
        "its blocker is not Ready, so nothing would hold its drain before that of host {host}"
    ),
    ProtectionPhase.NOT_OURS: "another writer made a blocker or budget under its name; remove it",
    ProtectionPhase.REMOVAL_PENDING: (
        "is not paired with host {host} any more, and serves it until that is drained: cordon {dpu}; if its card was "
        "replaced, delete its Node: kubectl delete node {dpu}"
    ),
}


@dataclass(frozen=True, slots=True)
class PairState:
    """One DPU that is paired or serves."""

    dpu: str
    guarding: ProtectionPhase
    dpu_status: DpuStatus | None
    """None: no drain of it is known."""
    has_served: bool
    """Whether it has an entry."""
    host: str = ""
    """The host that it serves or is to serve; empty: none."""
    cause: str = ""
    """Why its blocker does not run."""


def judge_pairs(
    pairs: Sequence[PairState],
    problems: Iterable[str] = (),
    failing: Iterable[HoldReason] = (),
    unseen: HoldReason | None = None,
    networks: Sequence[NetworkState] = (),
) -> Condition:
    """The condition: the first reasons of stuck pairs, else whether protection is still under way.

    `problems` are mistakes that a person has to correct before a pair can be made or changed, see `pairing`; `failing`
    is a failure that concerns all pairs, or a hold that no pair shows; `unseen` is why hosts could not be looked at
    since this process began; `networks` are hosts whose network fails outside a drain: they come first, and replace the
    report that their blocker is down.
    """
    down = {network.dpu for network in networks}
    troubles = [(str(network.reason), network.message) for network in networks]
    troubles += [(str(hold.reason), hold.message) for hold in failing]
    troubles += [trouble for pair in pairs for trouble in _troubles(pair) if not _is_symptom(pair, trouble[0], down)]
    troubles += [(str(EntryWait.PAIRING_CONFLICT), problem) for problem in problems]
    if troubles:
        reasons = "; ".join(words for _, words in troubles[:_SHOWN])
        more = f"; and {len(troubles) - _SHOWN} more" if len(troubles) > _SHOWN else ""
        return Condition(PAIRS_HEALTHY, "False", troubles[0][0], f"{reasons}{more}")
    if any(_is_under_way(pair) for pair in pairs):
        return Condition(PAIRS_HEALTHY, "False", "Protecting", "some pairs are not protected yet")
    if unseen is not None:
        words = f"no host has been looked at since the operator began: {unseen.message}"
        return Condition(PAIRS_HEALTHY, "Unknown", str(unseen.reason), words)
    draining = sum(pair.dpu_status is not None and pair.dpu_status.stage is not DpuPhase.IDLE for pair in pairs)
    drains = f", {draining} of them in a drain" if draining else ""
    return Condition(PAIRS_HEALTHY, "True", "Draining" if draining else "AllProtected", f"{len(pairs)} pairs{drains}")


def _troubles(pair: PairState) -> Iterable[tuple[str, str]]:
    dpu_status = pair.dpu_status
    if dpu_status is not None and dpu_status.stage in (DpuPhase.HELD, DpuPhase.FAILED):
        yield dpu_status.reason or str(dpu_status.stage), f"{pair.dpu}: {dpu_status.message}"
        return
    if dpu_status is not None and dpu_status.late is not None:
        yield dpu_status.late.reason, f"{pair.dpu}: {dpu_status.late.message}"
    if pair.cause and pair.guarding in _WITHOUT_BLOCKER and not _was_let_go(pair):
        words = f"is not protected, so that host {pair.host} is not served, or not safe" if pair.host else "has none"
        yield "BlockerNotReady", f"{pair.dpu}: {words}: its blocker does not run: {pair.cause}"
        return
    if pair.guarding in _WORDS and not _is_excused(pair):
        yield pair.guarding.value, f"{pair.dpu}: {_WORDS[pair.guarding].format(dpu=pair.dpu, host=pair.host)}"


def _is_symptom(pair: PairState, reason: str, down: Set[str]) -> bool:
    """Whether a reason is only a consequence of its DPU's failure."""
    return pair.dpu in down and reason == str(Reason.BLOCKER_NOT_READY)


_WITHOUT_BLOCKER = (ProtectionPhase.BLOCKER_MISSING, ProtectionPhase.BLOCKER_NOT_READY)


def _is_excused(pair: PairState) -> bool:
    """Whether its first blocker is still starting."""
    return pair.guarding is ProtectionPhase.BLOCKER_NOT_READY and (not pair.has_served or _was_let_go(pair))


def _was_let_go(pair: PairState) -> bool:
    return pair.dpu_status is not None and pair.dpu_status.was_let_go


def _is_draining(pair: PairState) -> bool:
    return pair.dpu_status is not None and pair.dpu_status.stage is not DpuPhase.IDLE


def _is_under_way(pair: PairState) -> bool:
    is_late = pair.guarding is ProtectionPhase.BLOCKER_NOT_READY and not pair.has_served
    return is_late or (pair.guarding in _UNDER_WAY and not _is_draining(pair))
