"""What is said of one DPU in its `DpuNode`: the phase, the conditions, what runs there and how its last drain went."""

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
    """Where a DPU stands, the worst first."""

    NO_NETWORK = "NoNetwork"
    """Its host has no network, and no drain accounts for that."""
    HELD = "Held"
    """What is to happen next does not: a person or another operator has to act."""
    UNPROTECTED = "Unprotected"
    """It serves its host, and nothing would hold its drain before that of the host."""
    UNKNOWN = "Unknown"
    """It was not looked at."""
    DOWN = "Down"
    """It reboots, its host drained."""
    RECOVERING = "Recovering"
    """It is back and still cordoned."""
    VERIFYING = "Verifying"
    """Its network is to be proven before the host is given back."""
    DRAINED = "Drained"
    """Its host is drained, so that it may be drained itself."""
    DRAINING = "Draining"
    """Its host is being drained."""
    LEAVING = "Leaving"
    """It serves a host that it is no longer paired with, until that is drained."""
    WAITING = "Waiting"
    """It is paired and comes to serve."""
    UNPAIRED = "Unpaired"
    """No host is named for it."""
    SPARE = "Spare"
    """Another DPU serves its host."""
    SERVING = "Serving"
    """Its host has a network through it, under protection."""


IN_DRAIN = frozenset({Phase.DRAINING, Phase.DRAINED, Phase.DOWN, Phase.RECOVERING, Phase.VERIFYING})
"""Phases of a drain that goes on."""


class DrainStep(StrEnum):
    """The steps of a drain, in their order."""

    WAITING = "waiting"
    """Until the tenant is asked to drain the host."""
    HOST_DRAIN = "hostDrain"
    """Until the DPU is let be drained."""
    DPU_DRAIN = "dpuDrain"
    """Until the DPU is back and uncordoned."""
    VERIFYING = "verifying"
    """Until the host is given back."""


@dataclass(frozen=True, slots=True)
class DrainTimes:
    """When the steps of a drain began, in seconds of the epoch; 0: it has not come so far, or left that out."""

    wanted: int
    asked: int = 0
    """When the tenant was asked to drain the host."""
    opened: int = 0
    """When the DPU was let be drained."""
    returned: int = 0
    """When the DPU was seen to be back and uncordoned."""
    ended: int = 0
    """When it was seen to be over."""

    @property
    def steps(self) -> Mapping[DrainStep, int]:
        """Seconds of each step that is over; one that was left out, or that another followed before it, has no
        length."""
        times = (self.wanted, self.asked, self.opened, self.returned, self.ended)
        spans = zip(DrainStep, times, times[1:], strict=False)
        return {step: max(0, ended - begun) for step, begun, ended in spans if begun and ended}

    def steps_since(self, before: DrainTimes | None) -> Mapping[DrainStep, int]:
        """Those that were not over `before`; None: no drain ran."""
        known = before.steps if before is not None and before.wanted == self.wanted else {}
        return {step: seconds for step, seconds in self.steps.items() if step not in known}

    @classmethod
    def of(cls, cycle: Cycle) -> DrainTimes:
        """As the record says."""
        return cls(cycle.since, cycle.asked_at, cycle.opened_at, cycle.returned_at)


_LONGEST_NAME = 253
NOTHING_SERVED = "NothingServed"
"""Reason why a DPU may be drained that serves no host."""


@dataclass(frozen=True, slots=True)
class DpuNodeStatus:
    """One DPU: where it stands, and all that is known of it.

    Guarantees: a condition is True only if what it is about was looked at and is good; what was not looked at is
        Unknown. Every type of condition is there, once. Whatever strangers wrote is one printable line, and bounded.
    """

    dpu: str
    host: str
    """That it serves, else that it is paired with; empty: none."""
    phase: Phase
    reason: str
    """In one word of the table of reasons, where nothing is wrong as well."""
    message: str
    """In one line, with what to do next where somebody has to; empty: the phase says all."""
    conditions: tuple[Condition, ...]
    ovn_image: str = ""
    """That its ovnkube-node pod is made from; empty: it runs none, or an older one."""
    machine_config: str = ""
    """That its Node runs; empty: no machine-config operator says."""
    drain: DrainTimes | None = None
    """Of the drain that runs, or of the last one that this process has seen."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message, MESSAGE_LIMIT))
        object.__setattr__(self, "machine_config", printable(self.machine_config, _LONGEST_NAME))

    @property
    def has_network(self) -> Status:
        """Whether its host has a network; Unknown: that was not looked at, or is not proven."""
        return self.condition(NETWORK_READY).status

    @property
    def lacks_network(self) -> bool:
        """Whether it has a host, and that is known to have no network."""
        return bool(self.host) and self.has_network == "False"

    @property
    def serves(self) -> bool:
        """Whether it is known to serve a host, be that drained or not."""
        allowed = self.condition(DRAIN_ALLOWED)
        return allowed.status != "Unknown" and allowed.reason != NOTHING_SERVED

    @property
    def is_settling(self) -> bool:
        """Whether its protection is about to be written, after which something else is to be said of it."""
        is_unguarded = self.condition(DRAIN_ALLOWED).reason == NOTHING_SERVED
        return self.phase is Phase.WAITING and self.reason == EntryWait.PROTECTION_PENDING and is_unguarded

    def condition(self, type_: str) -> Condition:
        """The condition of that type. Raises: StopIteration for what is no type of them."""
        return next(each for each in self.conditions if each.type == type_)

    def after(self, before: DpuNodeStatus | None, now: int) -> DpuNodeStatus:
        """The same with the last drain: its record goes as soon as it is over, which may be at once."""
        if self.drain is not None or before is None or before.drain is None:
            return self
        drain = before.drain
        return replace(self, drain=drain if drain.ended else replace(drain, ended=now))
