"""What a drain says of the machine-config operator of its DPU, in that one's words, and the ways out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.fleet.roster import Mode, RosterView, slots
from dpunetop.domain.drain.model.facts import DpuView, DrainOverride, HostView, Mco, Reason
from dpunetop.domain.drain.report.dpustatus import DpuPhase, dpu_statuses
from dpunetop.domain.drain.rules.cycle import decide
from dpunetop.domain.hostconfig.machinestate import MachineState
from dpunetop.domain.names import MACHINE_CONFIG_REASON_ANNOTATION, MACHINE_CONFIG_STATE_ANNOTATION
from dpunetop.domain.pairing.pairing import Pair
from dpunetop.kube.keys import NODES
from support.drainviews import CYCLE, DONE, DRAINED_HOST, HOST, OPENED, RETURNING, cordoned, free, nm, view
from support.drainworld import World, finish

DPU = "dpu-1"
FAILED = MachineState("c", "d", state="Degraded", reason="disk is full", asked="drain-d", applied="drain-d")
LATE = replace(FAILED, reason="failed to drain node", applied="uncordon-c")
BEFORE = replace(FAILED, asked="", applied="")
TWO = "node d1 belongs to 2 custom roles (dpu, gpu)"
DRAINED: dict[str, Any] = {"maintenances": (DONE,), "host": DRAINED_HOST}


def two_pools(dpu: DpuView) -> DpuView:
    return replace(dpu, stuck=TWO)


WORDS: dict[str, tuple[HostView, Reason, str]] = {
    "failed after the drain": (
        view(cordoned(OPENED, is_open=True, mco=Mco.DRAINED, machine=FAILED), **DRAINED),
        Reason.MACHINE_CONFIG_STUCK,
        'the machine-config daemon of d1 is Degraded: "disk is full"; repair it, or uncordon d1 and annotate it '
        "dpu.openshift.io/drain=force:b1",
    ),
    "failed after the drain, which is not wanted any more": (
        view(free(RETURNING, mco=Mco.DRAINED, machine=FAILED), **DRAINED),
        Reason.MACHINE_CONFIG_STUCK,
        'the machine-config daemon of d1 is Degraded: "disk is full"; repair it, or annotate it '
        "dpu.openshift.io/drain=force:b1",
    ),
    "failed before a drain": (
        view(free(RETURNING, mco=Mco.PENDING, machine=BEFORE), **DRAINED),
        Reason.MACHINE_CONFIG_STUCK,
        "is Degraded",
    ),
    "failed before a person cordoned it": (
        view(cordoned(OPENED, is_open=True, mco=Mco.PENDING, machine=BEFORE), **DRAINED),
        Reason.DPU_DRAINING,
        "host-1 is drained; d1 may be drained and rebooted",
    ),
    "waited for its drain for more than an hour": (
        view(cordoned(CYCLE, mco=Mco.DRAINS, machine=LATE), maintenances=(nm(),)),
        Reason.HOST_DRAINING,
        'host-1 is being drained, 3 pods are left; the machine-config daemon of d1 is Degraded: "failed to drain '
        'node"; that ends by itself once it is drained, which its controller tries every 5 minutes',
    ),
    "may be drained after more than an hour": (
        view(cordoned(OPENED, is_open=True, mco=Mco.DRAINS, machine=LATE), **DRAINED),
        Reason.DPU_DRAINING,
        'host-1 is drained; d1 may be drained and rebooted; the machine-config daemon of d1 is Degraded: "failed to '
        'drain node"; that ends by itself once it is drained, which its controller tries every 5 minutes',
    ),
    "in two custom pools before its drain": (
        view(two_pools(cordoned(OPENED, is_open=True, mco=Mco.DRAINS)), **DRAINED),
        Reason.MACHINE_CONFIG_STUCK,
        f"{TWO}; repair it, or uncordon d1",
    ),
    "in two custom pools before its uncordon": (
        view(two_pools(free(RETURNING, mco=Mco.PENDING)), **DRAINED),
        Reason.MACHINE_CONFIG_STUCK,
        f"{TWO}; repair it",
    ),
    "works": (
        view(free(RETURNING, mco=Mco.PENDING, machine=MachineState("c", "d", state="Working")), **DRAINED),
        Reason.MACHINE_CONFIG_PENDING,
        'the machine-config operator is not done with d1: it is to go to "d"',
    ),
    "its host's daemon has given up": (
        view(cordoned(CYCLE), maintenances=(nm(),), host=replace(HOST, mark=False, machine=BEFORE)),
        Reason.HOST_DRAINING,
        'host-1 is being drained, 3 pods are left; its machine-config daemon is Degraded: "disk is full"',
    ),
}


@pytest.mark.parametrize(("given", "reason", "words"), WORDS.values(), ids=WORDS.keys())
def test_a_drain_says_what_the_machine_config_operator_says(given: HostView, reason: Reason, words: str) -> None:
    hold = decide(given).hold
    assert hold is not None
    assert (hold.reason, words in hold.message) == (reason, True), hold


def test_what_the_operator_cannot_go_on_with_is_no_wait_of_every_drain() -> None:
    given, _, _ = WORDS["failed after the drain"]
    (found,) = dpu_statuses(given, decide(given))
    assert (found.stage, found.reason) == (DpuPhase.HELD, "MachineConfigStuck")


def test_a_pair_that_rests_is_not_told_of_its_pools() -> None:
    assert decide(view(two_pools(free()))).hold is None


def test_what_holds_a_node_reaches_each_host_that_has_to_do_with_it() -> None:
    given = RosterView(
        mode=Mode.SERVING,
        pairs={"d1": Pair("d1", "host-1", "", "d1")},
        selected=frozenset({"d1", "d2"}),
        dropped=frozenset(),
        guarded=frozenset(),
        serves={"d1": "host-0"},
        entries={},
        configured=frozenset(),
        left=frozenset(),
        stuck={"d1": TWO},
    )
    found = {member.dpu: member.stuck for slot in slots(given).values() for member in slot.members}
    assert found == {"d1": TWO, "d2": ""}


def failed_after_the_drain() -> World:
    """The DPU is drained, and its daemon fails before it reboots."""
    world = World()
    world.mco_begins(DPU)
    world.drained()
    world.work()
    while world.node(DPU).mco is not Mco.DRAINED:
        world.mco(DPU)
    notes = {MACHINE_CONFIG_STATE_ANNOTATION: "Degraded", MACHINE_CONFIG_REASON_ANNOTATION: "disk is full"}
    world.infra.change(NODES, "", DPU, {"metadata": {"annotations": notes}})
    world.kubelet(DPU)
    world.work()
    assert world.last is not None
    assert world.last.hold is not None
    assert world.last.hold.reason is Reason.MACHINE_CONFIG_STUCK
    return world


def test_force_on_an_uncordoned_dpu_ends_a_drain_whose_daemon_failed() -> None:
    world = failed_after_the_drain()
    world.infra.change(NODES, "", DPU, {"spec": {"unschedulable": None}})
    world.force(DPU)
    world.work()
    while world.step(world.nmo, "nmo"):
        world.work()
    world.work()
    assert (world.own(), world.node(DPU).override) == (None, DrainOverride.FORCE)
    assert world.host().cordoned, "nothing has shown that its network works"
    assert not world.violations


def test_a_daemon_that_is_repaired_goes_on_with_the_drain() -> None:
    world = failed_after_the_drain()
    notes = {MACHINE_CONFIG_STATE_ANNOTATION: "Working"}
    world.infra.change(NODES, "", DPU, {"metadata": {"annotations": notes}})
    world.settle()
    finish(world)
