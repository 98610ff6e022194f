"""Rule 3, opening: budgets are opened and closed, the only changes of protection while a DPU serves.

The order of calls makes it safe. The NodeMaintenance is marked before anything is read, so a worker that deletes it
sees the mark or fails on the version; the budget opens only with the version read last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.calls import Done, Procedure, Result, Steps, attempt, store
from dpunetop.domain.drain.model.facts import (
    Blind,
    Budget,
    DpuNode,
    DrainOverride,
    HostNode,
    HostRef,
    Maintenance,
    TenantSeen,
)
from dpunetop.domain.drain.model.hoststate import HostState, Move
from dpunetop.domain.drain.model.maintenances import is_drained, is_registered_anew, is_uncordoned, is_updated_meanwhile
from dpunetop.domain.drain.model.reads import read_budget, read_host, read_maintenance, read_node, tell_dpu
from dpunetop.domain.drain.model.record import Cycle, State, lost_record
from dpunetop.domain.drain.model.sidebyside import side_by_side
from dpunetop.domain.drain.protection.blockers import BudgetState, Form, state_of, write_budget
from dpunetop.domain.drain.rules.records import seems_taken_back
from dpunetop.domain.names import NODEMAINTENANCES, open_for
from dpunetop.domain.pairing.envfile import is_node_name
from dpunetop.kube.errors import Conflict
from dpunetop.kube.meta import version_of
from dpunetop.kube.plan import Apply, Patch


def close_budget(host_state: HostState) -> Move | None:
    """Close a budget that must not be open, before anything else and without the tenant."""
    for dpu in host_state.view.dpus:
        if (
            dpu.budget is not None
            and host_state.serves(dpu)
            and host_state.is_open(dpu)
            and not host_state.may_be_open(dpu)
        ):
            cycle = host_state.cycle(dpu)
            is_ours = cycle is not None and cycle.term == host_state.view.host_ref.author.term
            taken_back = cycle if cycle is not None and is_ours and seems_taken_back(host_state, dpu, cycle) else None
            return Close(host_state.view.host_ref, dpu.name, host_state.view.tenant, dpu.budget, taken_back)
    return None


def force_open(host_state: HostState) -> Move | None:
    """Open the budget of a DPU that a person forces, whatever the state of its host."""
    for dpu in host_state.active:
        if host_state.is_forced(dpu) and not host_state.is_open(dpu) and not host_state.is_parting(dpu):
            return ForceOpen(host_state.view.host_ref, dpu.name)
    return None


def take_mark_off(host_state: HostState) -> Move | None:
    """Remove the marks of closed budgets, except of one that is to be opened now and sets its mark again."""
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


def open_budget(host_state: HostState) -> Move | None:
    """Open the budget of a DPU once its host is drained for it."""
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


_TRIES = 4
DRAIN_FORCED = "DrainForced"
"""Reason of the Event about a DPU whose drain goes on by force, whatever the state of its host."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The results of the reads before an opening."""

    host_ref: HostRef
    cycle: Cycle
    """The record as the decision saw it."""
    mark: str
    """The mark that was set in this attempt."""
    node: DpuNode
    maintenance: Maintenance
    host: HostNode
    budget: Budget


OpeningGuard = Callable[[Seen], bool]
OPENING: Mapping[str, OpeningGuard] = {
    "the node is that of the cycle": lambda seen: seen.node.uid == seen.cycle.node,
    "the drain is wanted": lambda seen: seen.node.cordoned and seen.node.override is not DrainOverride.SKIP,
    "nobody holds it": lambda seen: not seen.node.held,
    "the maintenance is ours": lambda seen: seen.maintenance.ours,
    "the maintenance is of this cycle": lambda seen: seen.maintenance.uid == seen.cycle.maintenance,
    "our mark of this attempt stands": lambda seen: seen.maintenance.mark_of(seen.node.name) == seen.mark,
    "the host is drained": lambda seen: is_drained(seen.maintenance, seen.host),
    "the host is the one that was drained": lambda seen: not is_registered_anew(seen.maintenance, seen.host),
    "the host's own machine-config operator rests": lambda seen: not is_updated_meanwhile(seen.maintenance, seen.host),
    "the record is our own": lambda seen: _is_record_of(seen.budget, seen.host_ref, seen.cycle),
    "the budget serves this host": lambda seen: seen.budget.ours and seen.budget.serves == seen.host_ref.host,
}
"""All must hold in the reads after the mark was set. The names are for messages and tests."""


@dataclass(frozen=True, slots=True)
class Open:
    """Open the budget of a DPU whose host is drained.

    Guarantees: the budget opens only if each of `OPENING` held in reads after the mark was set, and only if it was not
        written since; a mark whose opening failed is left for `Unmark`.
    """

    host_ref: HostRef
    dpu: str
    cycle: Cycle
    maintenance: Maintenance
    """As a cache shows it."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        mark = yield from self._mark()
        if mark is None:
            return Done(Result.STALE, f"{self.dpu}: the host is not drained")
        for _ in range(_TRIES):
            seen = yield from self._look(mark)
            if isinstance(seen, Done):
                return seen
            try:
                yield from store(write_budget(self.host_ref, seen.budget, _opened(seen.budget)))
            except Conflict:
                continue
            return Done(Result.DONE, f"{self.dpu}: opened, {self.host_ref.host} is drained")
        return Done(Result.STALE, f"{self.dpu}: the budget kept changing")

    def _mark(self) -> Steps[str | None]:
        """Set the mark again. Not on an uncordoned host: the NodeMaintenance would cordon it again."""
        host = yield from read_host(self.host_ref)
        if host is None or not host.cordoned:
            return None
        mark = self._fresh(self.maintenance)
        if (yield from attempt(_marking(self.host_ref, self.maintenance, open_for(self.dpu), mark))):
            return mark
        found = yield from read_maintenance(self.host_ref)
        if found is None or not found.ours or found.uid != self.cycle.maintenance or not is_drained(found, host):
            return None
        mark = self._fresh(found)
        yield from store(_marking(self.host_ref, found, open_for(self.dpu), mark))
        return mark

    def _fresh(self, found: Maintenance) -> str:
        return f"{self.dpu} {self.host_ref.author.draw}.{version_of(found.live)}"

    def _look(self, mark: str) -> Steps[Seen | Done]:
        node, found, host, read = yield from side_by_side(
            read_node(self.dpu),
            read_maintenance(self.host_ref),
            read_host(self.host_ref),
            read_budget(self.host_ref, self.dpu),
        )
        if node is None or found is None or host is None or read is None:
            return Done(Result.STALE, f"{self.dpu}: something is gone")
        seen = Seen(self.host_ref, self.cycle, mark, node, found, host, read)
        broken = [name for name, holds in OPENING.items() if not holds(seen)]
        if broken:
            return Done(Result.STALE, f"{self.dpu}: not true: {broken[0]}")
        if read.is_open:
            return Done(Result.DONE, f"{self.dpu}: is open already")
        return seen


@dataclass(frozen=True, slots=True)
class ForceOpen:
    """Open the budget of a DPU because a person named its boot ID, whatever the state of its host."""

    host_ref: HostRef
    dpu: str

    def run(self) -> Procedure:
        """See `calls.Task`."""
        node = yield from read_node(self.dpu)
        read = yield from read_budget(self.host_ref, self.dpu)
        if node is None or read is None or not node.cordoned or node.override is not DrainOverride.FORCE:
            return Done(Result.STALE, f"{self.dpu}: it is not forced any more")
        own = read.cycle is not None and read.cycle.term == self.host_ref.author.term
        if not own or not read.ours or read.is_open or read.serves != self.host_ref.host:
            return Done(Result.STALE, f"{self.dpu}: the budget has changed since it was looked at")
        yield from store(write_budget(self.host_ref, read, _opened(read)))
        words = f"{self.dpu} may be drained and rebooted by force, whether host {self.host_ref.host} is drained or not"
        yield from tell_dpu(self.dpu, DRAIN_FORCED, f"{words}: the host has no network until {self.dpu} is back")
        return Done(Result.DONE, f"{self.dpu}: opened by force")


@dataclass(frozen=True, slots=True)
class Close:
    """Close the budget of a DPU, then remove its mark.

    Guarantees: closing needs no call to the tenant; the mark is removed only after the API server has confirmed that
        the budget is closed.
    """

    host_ref: HostRef
    dpu: str
    tenant: TenantSeen | Blind
    budget: Budget
    """As a cache shows it: open."""
    taken_back: Cycle | None = None
    """The record as it was seen, if its cordon is gone: the write that closes the budget records that too, if the
    record is unchanged."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        if not (yield from attempt(self._closed(self.budget))):
            read = yield from read_budget(self.host_ref, self.dpu)
            if read is None or not read.ours or not read.serves:
                return Done(Result.STALE, f"{self.dpu}: there is no protection to close")
            if not read.is_open:
                return Done(Result.DONE, f"{self.dpu}: is closed already")
            yield from store(self._closed(read))
        if not isinstance(self.tenant, Blind):
            yield from _take_off(self.host_ref, open_for(self.dpu), State.DRAINING)
        return Done(Result.DONE, f"{self.dpu}: closed")

    def _closed(self, read: Budget) -> Apply:
        cycle = read.cycle
        if cycle is not None and cycle == self.taken_back:
            cycle = replace(cycle, state=State.RETURNING)
        return write_budget(self.host_ref, read, replace(state_of(read), form=Form.CLOSED, cycle=cycle))


@dataclass(frozen=True, slots=True)
class Unmark:
    """Remove a mark that a crash, a time-out or an unknown answer has left, if there is one.

    An opening may still be under way: so the record is written first, as read with the budget closed, which makes the
    opening fail.
    """

    host_ref: HostRef
    dpu: str
    mark: str
    """Name of its annotation; it names the DPU unless another client wrote it."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        found = yield from read_maintenance(self.host_ref)
        if found is None or not found.ours or found.terminating or self.mark not in found.marks:
            return Done(Result.STALE, f"{self.dpu}: there is no mark to take off")
        read = yield from read_budget(self.host_ref, self.dpu)
        if read is not None and read.is_open and read.serves == self.host_ref.host:
            return Done(Result.STALE, f"{self.dpu}: the budget is open")
        if read is not None and read.ours and read.serves == self.host_ref.host:
            yield from store(write_budget(self.host_ref, read, self._fenced(read)))
        state = read.cycle.state if read is not None and read.cycle is not None else None
        yield from _take_off(self.host_ref, self.mark, state)
        return Done(Result.DONE, f"{self.dpu}: took a mark off that was left")

    def _fenced(self, read: Budget) -> BudgetState:
        # The mark shows that the budget may have been open, whatever the record says, also without a record.
        found = read.cycle or lost_record(State.RETURNING, self.host_ref.author.term)
        return replace(state_of(read), cycle=replace(found, opened=True))


def marked_dpu(text: str) -> str:
    """Name of the DPU that a mark is for; empty if it names none: any client of the tenant may have written it."""
    name = text.partition(" ")[0]
    return name if is_node_name(name) else ""


def _opened(read: Budget) -> BudgetState:
    assert read.cycle is not None
    return replace(state_of(read), form=Form.OPEN, cycle=replace(read.cycle, opened=True))


def _is_record_of(read: Budget, host_ref: HostRef, cycle: Cycle) -> bool:
    found = read.cycle
    return (
        found is not None
        and found.term == host_ref.author.term
        and found.state is State.DRAINING
        and found.maintenance == cycle.maintenance
    )


def _take_off(host_ref: HostRef, name: str, state: State | None) -> Steps[None]:
    """Remove the mark, but not before the host's uncordon is dealt with: a write to the maintenance makes its operator
    cordon the host again, and it shows `Succeeded` while it drains. `state` is that of the record; None: there is no
    record."""
    found, host = yield from side_by_side(read_maintenance(host_ref), read_host(host_ref))
    if found is None or not found.ours or found.terminating or name not in found.marks:
        return
    if state is State.DRAINING and host is not None and is_uncordoned(found, host):
        return
    yield from store(_marking(host_ref, found, name, None))


def _marking(host_ref: HostRef, found: Maintenance, name: str, mark: str | None) -> Patch:
    change = {"metadata": {"annotations": {name: mark}}}
    return Patch(host_ref.tenant_cluster, NODEMAINTENANCES, found.live, change)
