"""The status of one DPU in its `DpuNode`: phase, conditions, image and configuration, and its last drain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from dpunetop.base.quoting import printable
from dpunetop.domain.drain.model.record import Cycle
from dpunetop.domain.pairing.entries import EntryWait
from dpunetop.domain.reasons import DRAIN_ALLOWED, NETWORK_READY
from dpunetop.kube.conditions import MESSAGE_LIMIT, Condition, Status


class Phase(StrEnum):
    """The phase of a DPU, the worst first."""

    NO_NETWORK = "NoNetwork"
    """Its host has no network outside a drain."""
    HELD = "Held"
    """The next step is held: a person or another operator has to act."""
    UNPROTECTED = "Unprotected"
    """It serves its host, and nothing keeps it from being drained before the host."""
    UNKNOWN = "Unknown"
    """It was not looked at."""
    DOWN = "Down"
    """It reboots, its host drained."""
    RECOVERING = "Recovering"
    """It is back and still cordoned."""
    VERIFYING = "Verifying"
    """Its network has to be proven before the host is uncordoned."""
    DRAINED = "Drained"
    """Its host is drained, so it may be drained itself."""
    DRAINING = "Draining"
    """Its host is being drained."""
    LEAVING = "Leaving"
    """It still serves a host with which it is no longer paired, until that is drained."""
    WAITING = "Waiting"
    """It is paired and does not serve yet."""
    UNPAIRED = "Unpaired"
    """No host is named for it."""
    SPARE = "Spare"
    """Another DPU serves its host."""
    SERVING = "Serving"
    """Its host has a network through it, and it is protected."""


IN_DRAIN = frozenset({Phase.DRAINING, Phase.DRAINED, Phase.DOWN, Phase.RECOVERING, Phase.VERIFYING})
"""Phases of a running drain."""


class DrainStep(StrEnum):
    """The steps of a drain, in their order."""

    WAITING = "waiting"
    """Until the tenant is asked to drain the host."""
    HOST_DRAIN = "hostDrain"
    """Until the DPU may be drained."""
    DPU_DRAIN = "dpuDrain"
    """Until the DPU is back and uncordoned."""
    VERIFYING = "verifying"
    """Until the host is uncordoned."""


@dataclass(frozen=True, slots=True)
class DrainTimes:
    """When the steps of a drain began, in seconds of the epoch; 0: not yet, or the step was skipped."""

    wanted: int
    asked: int = 0
    """When the tenant was asked to drain the host."""
    opened: int = 0
    """When the budget was opened for the DPU's drain."""
    returned: int = 0
    """When the DPU was seen to be back and uncordoned."""
    ended: int = 0
    """When the drain was seen to be over."""

    @property
    def steps(self) -> Mapping[DrainStep, int]:
        """Seconds of each step that is over; a step that was skipped, or began after its successor, has none."""
        times = (self.wanted, self.asked, self.opened, self.returned, self.ended)
        spans = zip(DrainStep, times, times[1:], strict=False)
        return {step: max(0, ended - begun) for step, begun, ended in spans if begun and ended}

    def steps_since(self, before: DrainTimes | None) -> Mapping[DrainStep, int]:
        """The steps that are over now and were not in `before`; None: no drain ran."""
        known = before.steps if before is not None and before.wanted == self.wanted else {}
        return {step: seconds for step, seconds in self.steps.items() if step not in known}

    @classmethod
    def of(cls, cycle: Cycle) -> DrainTimes:
        """The times in the record."""
        return cls(cycle.since, cycle.asked_at, cycle.opened_at, cycle.returned_at)


_LONGEST_NAME = 253
NOTHING_SERVED = "NothingServed"
"""Reason why a DPU that serves no host may be drained."""


@dataclass(frozen=True, slots=True)
class DpuNodeStatus:
    """The status of one DPU.

    Guarantees: a condition is True only if its subject was looked at and is good; one that was not looked at is
        Unknown. Every type of condition is there, once. Foreign text is one printable line, and bounded.
    """

    dpu: str
    host: str
    """The host that it serves, else the one with which it is paired; empty: none."""
    phase: Phase
    reason: str
    """A reason of the table of reasons, also where nothing is wrong."""
    message: str
    """One line, with the next step where a person has to act; empty: the phase says all."""
    conditions: tuple[Condition, ...]
    ovn_image: str = ""
    """The image of its ovnkube-node pod; empty: it runs none, or an older one."""
    machine_config: str = ""
    """The rendered configuration that its Node runs; empty: no machine-config operator reports one."""
    drain: DrainTimes | None = None
    """The running drain, or the last one that this process has seen."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message, MESSAGE_LIMIT))
        object.__setattr__(self, "machine_config", printable(self.machine_config, _LONGEST_NAME))

    @property
    def has_network(self) -> Status:
        """Whether its host has a network; Unknown: not looked at, or not proven."""
        return self.condition(NETWORK_READY).status

    @property
    def lacks_network(self) -> bool:
        """Whether it has a host that is known to have no network."""
        return bool(self.host) and self.has_network == "False"

    @property
    def serves(self) -> bool:
        """Whether it is known to serve a host, drained or not."""
        allowed = self.condition(DRAIN_ALLOWED)
        return allowed.status != "Unknown" and allowed.reason != NOTHING_SERVED

    @property
    def is_settling(self) -> bool:
        """Whether its protection is about to be written, which changes its status again."""
        is_unguarded = self.condition(DRAIN_ALLOWED).reason == NOTHING_SERVED
        return self.phase is Phase.WAITING and self.reason == EntryWait.PROTECTION_PENDING and is_unguarded

    def condition(self, type_: str) -> Condition:
        """The condition of that type. Raises: StopIteration for an unknown type."""
        return next(each for each in self.conditions if each.type == type_)

    def after(self, before: DpuNodeStatus | None, now: int) -> DpuNodeStatus:
        """The same with the last drain, whose record is deleted as soon as it is over, which may be at once."""
        if self.drain is not None or before is None or before.drain is None:
            return self
        drain = before.drain
        return replace(self, drain=drain if drain.ended else replace(drain, ended=now))
