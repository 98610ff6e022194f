"""The rows of `status`: where each DPU stands as far as anybody knows, the worst first, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dpunetop.app.commands.blocking import LeftPod
from dpunetop.app.commands.inspection import ConfigInspection, HostInspection, Inspection
from dpunetop.app.commands.layout import Tone
from dpunetop.app.commands.lease import OperatorSeen
from dpunetop.app.commands.saying import agreed_since, written_words
from dpunetop.base.quoting import named, printable
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.dpunode.written import Written
from dpunetop.domain.reasons import Gravity, meaning
from dpunetop.kube.conditions import Condition

MOST_WORDS = 300
TONES = {
    **dict.fromkeys(Phase, Tone.WARN),
    Phase.NO_NETWORK: Tone.BAD,
    Phase.HELD: Tone.BAD,
    Phase.UNPROTECTED: Tone.BAD,
    Phase.SERVING: Tone.GOOD,
    Phase.SPARE: Tone.DIM,
    Phase.UNPAIRED: Tone.DIM,
}
WRONG_PHASES = frozenset(phase for phase, tone in TONES.items() if tone is Tone.BAD)
"""Phases in which somebody has to act."""
SPARE_REASON = "HostServedByOther"


@dataclass(frozen=True, slots=True)
class Row:
    """One DPU, and what was looked at with it."""

    config: ConfigInspection
    host: HostInspection
    dpu: DpuNodeStatus
    operator: OperatorSeen

    @property
    def written(self) -> Written | None:
        """What the operator has written of the DPU; None: nothing."""
        return self.config.written.get(self.dpu.dpu)

    @property
    def held(self) -> Written | None:
        """What an operator that may be at work has written, if by that something is refused and by this look not: it
        has tried what a look does not try. None: neither."""
        written = self.written
        if written is None or self.operator.is_alive is False or not written.contradicts(self.dpu):
            return None
        return written if written.phase == Phase.HELD else None

    @property
    def refusing(self) -> tuple[LeftPod, ...]:
        """The pods by which a drain of the host is refused now: a budget lets none of them go."""
        return tuple(each for each in self.host.pods if each.budgets)

    @property
    def phase(self) -> Phase:
        """Where it stands, as far as anybody knows."""
        return self.dpu.phase if self.held is None else Phase(self.held.phase)

    @property
    def is_wrong(self) -> bool:
        """Whether somebody has to act: a DPU to spare is well as long as it only waits for its turn."""
        is_bad_spare = self.dpu.phase is Phase.SPARE and self.dpu.reason != SPARE_REASON
        return self.phase in WRONG_PHASES or is_bad_spare

    @property
    def lacking(self) -> tuple[Condition, ...]:
        """What of the DPU is not in order so that a person has to act, whatever its phase."""
        found = (each for each in self.dpu.conditions if each.status == "False")
        return tuple(each for each in found if meaning(each.reason).gravity is Gravity.ACTION)

    @property
    def is_unknown(self) -> bool:
        """Whether nothing was looked at that shows where it stands, or whether its host has a network."""
        is_unproven = self.phase is Phase.SERVING and self.dpu.has_network == "Unknown"
        return self.dpu.phase is Phase.UNKNOWN or is_unproven

    @property
    def names(self) -> tuple[str, str]:
        """Of host and DPU."""
        return self.dpu.host, self.dpu.dpu

    @property
    def since(self) -> int:
        """Since when the host has no network, else since when its drain is wanted, else since when the operator has
        written the same; in seconds of the epoch, 0: not known."""
        return _since_of(self.host, self.dpu) or agreed_since(self.config, self.dpu)


def rows_of(inspection: Inspection) -> list[Row]:
    """All DPUs, the worst first."""
    order = list(Phase)
    hosts = [(config, host) for config in inspection.configs for host in config.hosts]
    found = [Row(config, host, each, inspection.operator) for config, host in hosts for each in host.statuses]
    return sorted(found, key=lambda row: (order.index(row.phase), not row.dpu.lacks_network, *row.names))


def why(row: Row, now: datetime) -> str:
    """What was not looked at may well have been written of."""
    if row.held is not None:
        return f"the operator wrote {row.held.reason}: {_with_next_step(row.held)}"
    if row.refusing:
        return refusal_words(row)
    words = printable(row.dpu.message, MOST_WORDS)
    if row.host.unseen_pods:
        return f"{words}; {row.host.unseen_pods}"
    if row.config.unread or not _knows_less(row):
        return words
    said = written_words(row.config, row.dpu, now)
    if said and row.phase is Phase.DRAINING:
        return f"the operator {said}"
    return f"{words}; the operator {said}" if said else words


def _knows_less(row: Row) -> bool:
    """Whether an operator may know more than this look, which did not look at all."""
    return row.phase is Phase.UNKNOWN or (row.phase is Phase.DRAINING and bool(row.config.unseen))


def _with_next_step(written: Written) -> str:
    step = meaning(written.reason).next_step
    words = written.message or meaning(written.reason).says
    return words if step in words else f"{words}; {step}"


def refusal_words(row: Row) -> str:
    """By what the drain of the host is refused now, and what moves it on."""
    pod, others = row.refusing[0], len(row.refusing) - 1
    more = f", and {others} more pod{'' if others == 1 else 's'} alike" if others else ""
    step = "in the tenant, make room in that budget, or delete the pod"
    return f"refused: {pod.words}{more}; {step}; kubectl dpu explain {named(row.dpu.dpu)}"


def _since_of(host: HostInspection, each: DpuNodeStatus) -> int:
    """Since when the host has no network, else since when its drain is wanted, in seconds of the epoch; 0: neither."""
    outage = None if host.decided is None else host.decided.outage
    if outage is not None and outage.dpu == each.dpu and each.has_network == "False":
        return outage.since
    return 0 if each.drain is None else each.drain.wanted
