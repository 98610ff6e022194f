"""Facts derived from a view, without a decision: which drains are wanted, and which maintenance is ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dpunetop.domain.drain.model.calls import Task
from dpunetop.domain.drain.model.facts import (
    Blind,
    DpuNode,
    DpuView,
    DrainOverride,
    HoldReason,
    HostNode,
    HostView,
    Maintenance,
    NodeGone,
    Reason,
)
from dpunetop.domain.drain.model.maintenances import (
    has_drained,
    is_abandoned,
    is_drained,
    is_in_use,
    is_left_over,
    is_outdated,
    is_taken_back,
)
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.kube.meta import is_terminating

Move = Task | HoldReason
"""The result of a rule: the next task, or why the host waits."""


@dataclass(frozen=True)
class HostState:
    """One view, with the derived facts that several rules need."""

    view: HostView

    @cached_property
    def maintenances(self) -> tuple[Maintenance, ...]:
        """The known maintenances of the host; empty also when the tenant is not known."""
        tenant = self.view.tenant
        return () if isinstance(tenant, Blind) or tenant.maintenances is None else tenant.maintenances

    @cached_property
    def own(self) -> Maintenance | None:
        """Our maintenance, being deleted or not."""
        return next((found for found in self.maintenances if found.ours), None)

    @cached_property
    def foreign(self) -> Maintenance | None:
        """A NodeMaintenance of another owner, which may uncordon the host at any time."""
        return next((found for found in self.maintenances if not found.ours), None)

    @cached_property
    def host(self) -> HostNode | NodeGone | None:
        """The tenant Node; None: unknown."""
        return None if isinstance(self.view.tenant, Blind) else self.view.tenant.node

    @cached_property
    def active(self) -> tuple[DpuView, ...]:
        """DPUs whose drain is wanted and not aborted."""
        return tuple(dpu for dpu in self.view.dpus if self.is_active(dpu))

    @cached_property
    def cycles(self) -> tuple[tuple[DpuView, Cycle], ...]:
        """DPUs with a record, in order."""
        found = ((dpu, self.cycle(dpu)) for dpu in self.view.dpus)
        return tuple((dpu, cycle) for dpu, cycle in found if cycle is not None)

    @cached_property
    def is_quiet(self) -> bool:
        """Whether there is no trace of a drain: none is wanted, and there is no record, maintenance or mark of ours."""
        marked = isinstance(self.host, HostNode) and (self.host.mark is not None or self._is_left_by_us)
        marked = marked or self.is_abandoned
        return not self.active and not self.cycles and self.own is None and not marked

    @cached_property
    def taken_back(self) -> bool:
        """Whether a person seems to have uncordoned the drained host."""
        return self.own is not None and isinstance(self.host, HostNode) and is_taken_back(self.own, self.host)

    @property
    def is_outdated(self) -> bool:
        """Whether the host has to be drained once more: its own machine-config operator is, or was, at work under our
        maintenance, or its Node was registered again."""
        return self.own is not None and isinstance(self.host, HostNode) and is_outdated(self.own, self.host)

    @property
    def is_in_use(self) -> bool:
        """Whether the host runs workloads although our maintenance has drained it."""
        return self.own is not None and isinstance(self.host, HostNode) and is_in_use(self.own, self.host)

    @property
    def is_in_own_drain(self) -> bool:
        """Whether the host's own machine-config operator is at work there."""
        return isinstance(self.host, HostNode) and self.host.in_own_drain

    @cached_property
    def is_left_over(self) -> bool:
        """Whether the host is still cordoned for a maintenance of ours that is gone."""
        return not self.maintenances and isinstance(self.host, HostNode) and is_left_over(self.host)

    @cached_property
    def is_abandoned(self) -> bool:
        """Whether the host has the taint of a maintenance that is gone, and its earlier cordon is not known."""
        return not self.maintenances and isinstance(self.host, HostNode) and is_abandoned(self.host)

    @property
    def is_to_be_returned(self) -> bool:
        """Whether a maintenance of ours holds the host, or a cordon that it left."""
        return self.own is not None or self.is_left_over

    def serves(self, dpu: DpuView) -> bool:
        """Whether the DPU serves this host under a budget of ours."""
        return dpu.budget is not None and dpu.budget.ours and dpu.budget.serves == self.view.host_ref.host

    def cycle(self, dpu: DpuView) -> Cycle | None:
        """The record of the DPU's cycle on this host."""
        return dpu.budget.cycle if dpu.budget is not None and self.serves(dpu) else None

    def wants_drain(self, dpu: DpuView) -> bool:
        """Whether the host is to be drained for it: because its pair ends, or because the DPU is cordoned. A cordon
        asks for a drain only where the DPU serves under protection, and no person overrides it."""
        node = dpu.node
        if not self.serves(dpu) or not isinstance(node, DpuNode):
            return False
        return dpu.parting or (node.cordoned and node.override is not DrainOverride.SKIP)

    def is_skipped(self, dpu: DpuView) -> bool:
        """Whether a person has set `skip`, so that its cordon asks for no drain."""
        node = dpu.node
        is_cordoned = self.serves(dpu) and isinstance(node, DpuNode) and node.cordoned
        return is_cordoned and isinstance(node, DpuNode) and node.override is DrainOverride.SKIP and not dpu.parting

    def is_parting(self, dpu: DpuView) -> bool:
        """Whether the host is drained because the pair ends: afterwards the DPU no longer serves it, and its budget is
        not opened before."""
        return dpu.parting and self.wants_drain(dpu)

    def is_active(self, dpu: DpuView) -> bool:
        """Whether its drain is wanted and not aborted."""
        cycle = self.cycle(dpu)
        return self.wants_drain(dpu) and (cycle is None or cycle.state is not State.ABORTED)

    def is_open(self, dpu: DpuView) -> bool:
        """Whether its budget lets its blocker be evicted."""
        return dpu.budget is not None and dpu.budget.is_open

    @cached_property
    def is_drained(self) -> bool:
        """Whether our maintenance has drained the host and still holds it."""
        return is_drained(self.own, self.host)

    def is_drained_for(self, dpu: DpuView) -> bool:
        """Whether the NodeMaintenance of the DPU's cycle has drained the host, and no other maintenance does."""
        own, cycle = self.own, self.cycle(dpu)
        if own is None or cycle is None or self.foreign is not None or self.is_outdated:
            return False
        return self.is_drained and cycle.state is State.DRAINING and cycle.maintenance == own.uid

    def is_forced(self, dpu: DpuView) -> bool:
        """Whether a person named the boot ID that the DPU runs in."""
        return isinstance(dpu.node, DpuNode) and dpu.node.override is DrainOverride.FORCE

    def is_held(self, dpu: DpuView) -> bool:
        """Whether a person forbids to open a budget or to give the host back."""
        return isinstance(dpu.node, DpuNode) and dpu.node.held

    def may_be_open(self, dpu: DpuView) -> bool:
        """Whether an open budget may stay open, as far as the caches show."""
        if dpu.parting:
            return False
        cycle = self.cycle(dpu)
        going = cycle is not None and cycle.state in (State.STARTING, State.DRAINING)
        if not going or not self.is_active(dpu) or self.is_held(dpu):
            return False
        return self.is_forced(dpu) or self.is_drained_for(dpu)

    def prover(self) -> DpuView | None:
        """The DPU that serves the host, and so has to prove its network; None: no DPU does."""
        return next((dpu for dpu in self.view.dpus if dpu.name == self.view.serving), None)

    @property
    def is_asked(self) -> bool:
        """Whether a maintenance of ours exists and is not being deleted."""
        return self.own is not None and not self.own.terminating

    @property
    def has_lost_record(self) -> bool:
        """Whether a DPU without a record must have lost it: each gets one before the host is drained."""
        return self.is_asked and (not self.cycles or (self.own is not None and has_drained(self.own)))

    @property
    def was_uncordoned(self) -> bool:
        """Whether the drain was aborted because a person uncordoned the host."""
        return any(cycle.reason == Reason.HOST_UNCORDONED for _, cycle in self.cycles)

    @property
    def is_parted(self) -> bool:
        """Whether no DPU serves the host or is paired with it, or the DpuClusterConfig is being deleted; the next pair
        takes the host over."""
        is_unserved = self.view.serving is None and not any(dpu.paired for dpu in self.view.dpus)
        return is_unserved or is_terminating(self.view.config)

    @cached_property
    def is_to_be_lifted(self) -> bool:
        """Whether the host is served again after a DpuClusterConfig of our name left it, and only its cordon
        remains."""
        host, prover = self.host, self.prover()
        if not isinstance(host, HostNode) or not self._is_left_by_us or host.mark is not None or self.maintenances:
            return False
        return not self.active and prover is not None and prover.paired and self.serves(prover)

    @property
    def _is_left_by_us(self) -> bool:
        return isinstance(self.host, HostNode) and self.host.left_by == self.view.host_ref.owner
