"""Rule 11: each wait says, in full, what is waited for, whose it is, and what a person can do; the whole of the module
as one table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import (
    Blind,
    DpuNode,
    DpuView,
    DrainOverride,
    DrainSettings,
    HoldReason,
    HostView,
    MaintenancePhase,
    Mco,
    NodeGone,
    Pod,
    Reason,
    TenantSeen,
)
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.rules import waiting
from dpunetop.domain.drain.rules.cycle import Rule
from dpunetop.domain.hostconfig.machinestate import MachineState
from support.drainviews import (
    ABORTED,
    BLIND,
    CYCLE,
    DONE,
    DRAINED_HOST,
    HOST,
    NODE,
    STARTING,
    cordoned,
    dpu,
    free,
    nm,
    view,
)

ASKED = MachineState(current="c1", desired="c2", state="Working", asked="drain-c2")
FAILED = MachineState(current="c1", desired="c2", state="Degraded", reason="no space", asked="drain-c2")
GIVEN_UP = replace(FAILED, applied="drain-c2")
TIMEOUT = DrainSettings(timeout_seconds=100)
FORCE = "repair it, or uncordon d1 and annotate it dpu.openshift.io/drain=force:b1"
LATE = (
    'the machine-config daemon of d1 is Degraded: "no space"; '
    "that ends by itself once it is drained, which its controller tries every 5 minutes"
)


def opened(**node: Any) -> HostView:
    return view(cordoned(CYCLE, is_open=True, **node), maintenances=(DONE,), host=DRAINED_HOST)


def draining(*dpus: DpuView, **but: Any) -> HostView:
    found = replace(nm(), pending=0, **but)
    return view(*(dpus or (cordoned(CYCLE),)), maintenances=(found,), host=DRAINED_HOST)


def with_tenant(given: HostView, maintenances: Any) -> HostView:
    return replace(given, tenant=TenantSeen(HOST, maintenances))


PODS = (Pod("ns", "a"), Pod("", "b"))
Case = tuple[Rule, HostView, Reason | None, str]
CASES: dict[str, Case] = {
    "a tenant that is seen": (waiting.wait_for_tenant, view(free()), None, ""),
    "a tenant that is not": (
        waiting.wait_for_tenant,
        view(free(), tenant=Blind(HoldReason(Reason.TENANT_NOT_SYNCED, "not yet"))),
        Reason.TENANT_NOT_SYNCED,
        "not yet",
    ),
    "time goes on": (waiting.wait_for_takeover, view(free()), None, ""),
    "time went back": (
        waiting.wait_for_takeover,
        view(free(), unverified=True),
        Reason.TIME_WENT_BACK,
        "an API server shows older data than before (was etcd restored?); drains wait until each is verified",
    ),
    "an operator that is there": (waiting.wait_for_operator, view(cordoned()), None, ""),
    "no operator, and none needed": (waiting.wait_for_operator, with_tenant(view(free()), None), None, ""),
    "no operator, of a tenant that is not seen": (waiting.wait_for_operator, view(cordoned(), tenant=BLIND), None, ""),
    "no operator": (
        waiting.wait_for_operator,
        with_tenant(view(cordoned()), None),
        Reason.NODE_MAINTENANCE_NOT_SERVED,
        "the tenant has no node maintenance operator, so that host-1 cannot be drained",
    ),
    "no maintenance to end": (waiting.wait_for_end, view(free()), None, ""),
    "a maintenance that stays": (waiting.wait_for_end, view(free(), maintenances=(nm(),)), None, ""),
    "a maintenance that ends": (
        waiting.wait_for_end,
        view(free(), maintenances=(nm(terminating=True),)),
        Reason.MAINTENANCE_TERMINATING,
        "the maintenance of host-1 is ending",
    ),
    "nobody wants the drain": (waiting.wait_for_drain, view(free(CYCLE), maintenances=(nm(),)), None, ""),
    "its drain was given up": (waiting.wait_for_drain, view(cordoned(ABORTED)), None, ""),
    "held": (
        waiting.wait_for_drain,
        view(cordoned(CYCLE, override=DrainOverride.HOLD)),
        Reason.HELD_BY_ANNOTATION,
        "a person holds the drain by annotation",
    ),
    "held on one of two": (
        waiting.wait_for_drain,
        view(cordoned(CYCLE), replace(cordoned(CYCLE, override=DrainOverride.HOLD), name="d2")),
        Reason.HELD_BY_ANNOTATION,
        "a person holds the drain by annotation",
    ),
    "held, and nobody wants it there": (
        waiting.wait_for_drain,
        view(cordoned(CYCLE), replace(free(override=DrainOverride.HOLD), name="d2")),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "late to the second": (
        waiting.wait_for_drain,
        view(cordoned(replace(CYCLE, since=900)), settings=TIMEOUT),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "late": (
        waiting.wait_for_drain,
        view(cordoned(replace(CYCLE, since=899)), settings=TIMEOUT),
        Reason.DRAIN_TIMEOUT,
        "the drain of host-1 takes longer than spec.drain.timeout",
    ),
    "late on one of two": (
        waiting.wait_for_drain,
        view(
            cordoned(replace(CYCLE, since=950)), replace(cordoned(replace(CYCLE, since=0)), name="d2"), settings=TIMEOUT
        ),
        Reason.DRAIN_TIMEOUT,
        "the drain of host-1 takes longer than spec.drain.timeout",
    ),
    "without a record, under a limit": (
        waiting.wait_for_drain,
        view(cordoned(), settings=TIMEOUT),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "failed": (
        waiting.wait_for_drain,
        view(cordoned(CYCLE), maintenances=(replace(nm(MaintenancePhase.FAILED), error="it hangs"),)),
        Reason.MAINTENANCE_FAILED,
        'the host could not be drained: "it hangs"',
    ),
    "failed without a word": (
        waiting.wait_for_drain,
        view(cordoned(CYCLE), maintenances=(nm(MaintenancePhase.FAILED),)),
        Reason.MAINTENANCE_FAILED,
        "the host could not be drained: no reason given",
    ),
    "nothing is said of pods": (
        waiting.wait_for_drain,
        draining(),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "pods are counted": (
        waiting.wait_for_drain,
        replace(draining(), tenant=TenantSeen(DRAINED_HOST, (replace(nm(), pending=3),))),
        Reason.HOST_DRAINING,
        "host-1 is being drained, 3 pods are left",
    ),
    "all pods are named": (
        waiting.wait_for_drain,
        replace(draining(), tenant=TenantSeen(DRAINED_HOST, (replace(nm(), pending=2, pods=PODS),))),
        Reason.HOST_DRAINING,
        "host-1 is being drained, 2 pods are left: ns/a, b",
    ),
    "one more than are named": (
        waiting.wait_for_drain,
        replace(draining(), tenant=TenantSeen(DRAINED_HOST, (replace(nm(), pending=3, pods=PODS),))),
        Reason.HOST_DRAINING,
        "host-1 is being drained, 3 pods are left: ns/a, b and 1 more",
    ),
    "pods are named, and none is counted": (
        waiting.wait_for_drain,
        draining(pods=PODS),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "its operator complains": (
        waiting.wait_for_drain,
        draining(error="webhook down"),
        Reason.HOST_DRAINING,
        'host-1 is being drained; the node maintenance operator says "webhook down"',
    ),
    "the host's own daemon fails": (
        waiting.wait_for_drain,
        view(
            cordoned(CYCLE),
            maintenances=(replace(nm(), pending=0),),
            host=replace(DRAINED_HOST, machine=replace(FAILED, reason="")),
        ),
        Reason.HOST_DRAINING,
        "host-1 is being drained; its machine-config daemon is Degraded",
    ),
    "the host is absent": (
        waiting.wait_for_drain,
        view(cordoned(CYCLE), host=NodeGone(True)),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "its daemon has given up the drain, which goes on": (
        waiting.wait_for_drain,
        draining(cordoned(CYCLE, mco=Mco.DRAINS, machine=FAILED)),
        Reason.HOST_DRAINING,
        f"host-1 is being drained; {LATE}",
    ),
    "its daemon asks for the drain": (
        waiting.wait_for_drain,
        draining(cordoned(CYCLE, mco=Mco.DRAINS, machine=ASKED)),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "its daemon has given up what follows the drain": (
        waiting.wait_for_drain,
        draining(cordoned(CYCLE, mco=Mco.DRAINED, machine=GIVEN_UP)),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "open": (
        waiting.wait_for_drain,
        opened(),
        Reason.DPU_DRAINING,
        "host-1 is drained; d1 may be drained and rebooted",
    ),
    "open, and late": (
        waiting.wait_for_drain,
        opened(mco=Mco.DRAINS, machine=FAILED),
        Reason.DPU_DRAINING,
        f"host-1 is drained; d1 may be drained and rebooted; {LATE}",
    ),
    "open, and given up after the drain": (
        waiting.wait_for_drain,
        opened(mco=Mco.DRAINED, machine=GIVEN_UP),
        Reason.MACHINE_CONFIG_STUCK,
        f'the machine-config daemon of d1 is Degraded: "no space"; {FORCE}',
    ),
    "open, and given up before it asked for one": (
        waiting.wait_for_drain,
        opened(mco=Mco.PENDING, machine=replace(FAILED, asked="")),
        Reason.DPU_DRAINING,
        "host-1 is drained; d1 may be drained and rebooted",
    ),
    "open, and its controller does nothing": (
        waiting.wait_for_drain,
        view(
            replace(opened(mco=Mco.DRAINS, machine=ASKED).dpus[0], stuck="paused"),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        Reason.MACHINE_CONFIG_STUCK,
        f"paused; {FORCE}",
    ),
    "both open, and the controller does nothing for the second": (
        waiting.wait_for_drain,
        view(
            *opened(mco=Mco.DRAINS, machine=ASKED).dpus,
            replace(opened(mco=Mco.DRAINS, machine=ASKED).dpus[0], name="d2", stuck="paused"),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        Reason.MACHINE_CONFIG_STUCK,
        f"paused; {FORCE}",
    ),
    "both open": (
        waiting.wait_for_drain,
        view(*opened().dpus, replace(opened().dpus[0], name="d2"), maintenances=(DONE,), host=DRAINED_HOST),
        Reason.DPU_DRAINING,
        "host-1 is drained; d1, d2 may be drained and rebooted",
    ),
    "the pair ends, and the host is drained": (
        waiting.wait_for_drain,
        view(replace(free(CYCLE), parting=True), maintenances=(DONE,), host=DRAINED_HOST),
        Reason.HOST_DRAINING,
        "host-1 is drained; its DPU lets it go once its pod has ended",
    ),
    "the pair ends of one of two, and the host is drained": (
        waiting.wait_for_drain,
        view(
            replace(free(CYCLE), parting=True),
            replace(cordoned(CYCLE), name="d2"),
            maintenances=(DONE,),
            host=DRAINED_HOST,
        ),
        Reason.HOST_DRAINING,
        "host-1 is drained; its DPU lets it go once its pod has ended",
    ),
    "the pair ends, and the host is not drained": (
        waiting.wait_for_drain,
        view(replace(free(CYCLE), parting=True), maintenances=(replace(nm(), pending=0),), host=DRAINED_HOST),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
    "drained, and not opened yet": (
        waiting.wait_for_drain,
        view(cordoned(CYCLE), maintenances=(replace(DONE, pending=0),), host=DRAINED_HOST),
        Reason.HOST_DRAINING,
        "host-1 is being drained",
    ),
}


@pytest.mark.parametrize(("rule", "given", "reason", "words"), CASES.values(), ids=CASES.keys())
def test_each_wait_says_what_for(rule: Rule, given: HostView, reason: Reason | None, words: str) -> None:
    assert rule(HostState(given)) == (None if reason is None else HoldReason(reason, words))


def test_every_rule_that_waits_is_in_the_table_waiting_and_not() -> None:
    rules = {rule for name, rule in vars(waiting).items() if name.startswith("wait_for_")}
    assert {case[0] for case in CASES.values() if case[2] is not None} == rules
    assert {case[0] for case in CASES.values() if case[2] is None} == rules


@pytest.mark.parametrize(("since", "late"), [(899, True), (900, False), (901, False)])
def test_a_drain_is_late_after_the_limit_if_it_is_wanted(since: int, late: bool) -> None:
    cycle = replace(STARTING, since=since)
    assert waiting.is_overdue(HostState(view(cordoned(cycle), settings=TIMEOUT))) is late
    assert not waiting.is_overdue(HostState(view(cordoned(cycle))))
    assert not waiting.is_overdue(HostState(view(free(cycle), settings=TIMEOUT)))
    assert not waiting.is_overdue(HostState(view(cordoned(), settings=TIMEOUT)))


AT_WORK = replace(HOST, in_own_drain=True, machine=ASKED)
WORDS = (
    "the machine-config operator of host-1's own cluster is at work there: "
    'it has asked for "drain-c2"; wait for it, or repair it'
)
CONCERNED: dict[str, tuple[tuple[DpuView, ...], str]] = {
    "the DPU": ((free(),), "; or annotate d1 dpu.openshift.io/drain=force:b1"),
    "the first of two": ((free(), dpu("d2")), "; or annotate d1 dpu.openshift.io/drain=force:b1"),
    "the one that wants a drain": (
        (free(), dpu("d2", cordoned=True)),
        "; or annotate d2 dpu.openshift.io/drain=force:b1",
    ),
    "the one that is there": (
        (replace(free(), node=NodeGone(True)), dpu("d2")),
        "; or annotate d2 dpu.openshift.io/drain=force:b1",
    ),
    "none": ((replace(free(), node=NodeGone(True)),), ""),
}


@pytest.mark.parametrize(("dpus", "way"), CONCERNED.values(), ids=CONCERNED.keys())
def test_of_a_host_in_its_own_drain_is_said_what_goes_on_and_which_dpu_can_be_forced(
    dpus: tuple[DpuView, ...], way: str
) -> None:
    found = waiting.in_own_drain(HostState(view(*dpus, host=AT_WORK)))
    assert found == HoldReason(Reason.HOST_IN_OWN_DRAIN, WORDS + way)


STUCK: dict[str, tuple[str, DpuNode, str | None]] = {
    "idle": ("", NODE, None),
    "idle, whatever is said of its pool": ("paused", NODE, None),
    "idle and failing": ("", replace(NODE, machine=FAILED), None),
    "at work": ("", replace(NODE, mco=Mco.PENDING, machine=ASKED), None),
    "paused": ("paused", replace(NODE, mco=Mco.PENDING, machine=ASKED), "paused"),
    "failing before": (
        "",
        replace(NODE, mco=Mco.PENDING, machine=FAILED),
        'the machine-config daemon of d1 is Degraded: "no space"',
    ),
    "late": ("", replace(NODE, mco=Mco.DRAINS, machine=FAILED), None),
    "late and paused": ("paused", replace(NODE, mco=Mco.DRAINS, machine=FAILED), "paused"),
    "failing after": (
        "",
        replace(NODE, mco=Mco.DRAINED, machine=GIVEN_UP),
        'the machine-config daemon of d1 is Degraded: "no space"',
    ),
}


@pytest.mark.parametrize(("stuck", "node", "words"), STUCK.values(), ids=STUCK.keys())
@pytest.mark.parametrize("is_cordoned", [True, False])
def test_what_the_machine_config_operator_cannot_go_on_with_is_said_with_how_to_force_it(
    stuck: str, node: DpuNode, words: str | None, is_cordoned: bool
) -> None:
    node = replace(node, cordoned=is_cordoned)
    found = waiting.stuck_update(replace(free(), stuck=stuck), node)
    uncordon = "uncordon d1 and " if is_cordoned else ""
    way = f"repair it, or {uncordon}annotate it dpu.openshift.io/drain=force:b1"
    assert found == (None if words is None else HoldReason(Reason.MACHINE_CONFIG_STUCK, f"{words}; {way}"))


@pytest.mark.parametrize(
    ("machine", "words"), [(MachineState(), ""), (ASKED, ': it has asked for "drain-c2"')], ids=["silent", "at work"]
)
def test_an_update_that_is_waited_for_is_told_as_its_operator_shows_it(machine: MachineState, words: str) -> None:
    found = waiting.pending_update(replace(NODE, machine=machine))
    said = f"the machine-config operator is not done with d1{words}"
    assert found == HoldReason(Reason.MACHINE_CONFIG_PENDING, said)
