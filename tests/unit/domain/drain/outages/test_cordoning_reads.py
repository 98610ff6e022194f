"""What changes between a decision about an outage and its write is seen before that write: each task, each change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Done, Result, Task
from dpunetop.domain.drain.model.cordonmark import CordonMark, CordonProgress
from dpunetop.domain.drain.outages.cordoning import CordonHost, MarkHost, Overrule, Server, Uncordon, Withdraw
from dpunetop.domain.drain.rules.returning import DpuCheck
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    NODEMAINTENANCES,
    UNPLANNED_ANNOTATION,
)
from dpunetop.kube.keys import NODES, PODS
from support.outageworld import OPERATOR_NAMESPACE, PODS_NAMESPACE, OutageWorld
from unit.domain.drain.outages.test_cordoning import carry_out, host_ref, mark, outage, server

AFTER = 300
Change = Callable[[OutageWorld], object]


def seen(world: OutageWorld) -> CordonMark:
    found = mark(world, "h1")
    assert found is not None
    return found


def failing() -> OutageWorld:
    """A host has been without a network for long enough."""
    world = OutageWorld(limit=1)
    world.fail("h1", node=True)
    world.tick(400)
    return world


def marked() -> OutageWorld:
    world = failing()
    assert carry_out(world, marks(world)).result is Result.DONE
    return world


def cordoned() -> OutageWorld:
    world = marked()
    assert carry_out(world, cordons(world)).result is Result.DONE
    return world


def proven() -> OutageWorld:
    world = cordoned()
    world.recover("h1")
    return world


def uncordoned() -> OutageWorld:
    world = cordoned()
    world.person("h1", cordons=False)
    return world


def marks(world: OutageWorld) -> MarkHost:
    return MarkHost(host_ref(world, "h1"), server("h1"), outage(world, "h1"), AFTER)


def cordons(world: OutageWorld) -> CordonHost:
    return CordonHost(host_ref(world, "h1"), server("h1"), seen(world), outage(world, "h1"), AFTER, 1)


def uncordons(world: OutageWorld) -> Uncordon:
    checks = DpuCheck("d1", "blocker-d1", proven_boot="d1-b1"), DpuCheck("d1b", "blocker-d1b")
    return Uncordon(host_ref(world, "h1"), server("h1"), seen(world), checks)


def withdraws(world: OutageWorld) -> Withdraw:
    return Withdraw(host_ref(world, "h1"), seen(world))


def overrules(world: OutageWorld) -> Overrule:
    return Overrule(host_ref(world, "h1"), seen(world))


TASKS: dict[str, tuple[Callable[[], OutageWorld], Callable[[OutageWorld], Task]]] = {
    "mark": (failing, marks),
    "cordon": (marked, cordons),
    "uncordon": (proven, uncordons),
    "withdraw": (marked, withdraws),
    "overrule": (uncordoned, overrules),
}
AFTERWARDS: dict[str, tuple[bool, CordonProgress | None]] = {
    "mark": (False, CordonProgress.WANTED),
    "cordon": (True, CordonProgress.CORDONED),
    "uncordon": (False, None),
    "withdraw": (False, None),
    "overrule": (False, CordonProgress.OVERRULED),
}


def state(world: OutageWorld) -> Any:
    node = world.tenant.get(NODES, "", "h1")
    return None if node is None else (node["spec"], node["metadata"].get("annotations"))


@pytest.mark.parametrize("what", TASKS)
def test_a_task_is_done_when_nothing_has_changed(what: str) -> None:
    where, task = TASKS[what]
    world = where()
    assert carry_out(world, task(world)).result is Result.DONE
    found = mark(world, "h1")
    assert (world._host("h1").cordoned, None if found is None else found.stage) == AFTERWARDS[what]


def host(world: OutageWorld, change: dict[str, Any]) -> None:
    world.tenant.change(NODES, "", "h1", change)


def note(name: str, word: str | None) -> Change:
    return lambda world: host(world, {"metadata": {"annotations": {name: word}}})


def maintenance(world: OutageWorld) -> None:
    world.tenant.put(NODEMAINTENANCES, {"metadata": {"name": "theirs"}, "spec": {"nodeName": "h1"}})


def disrupt(world: OutageWorld) -> None:
    for name in ("master-0", "master-1", "master-2"):
        world.infra.change(NODES, "", name, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})


def not_ready(world: OutageWorld, name: str, namespace: str = OPERATOR_NAMESPACE) -> None:
    world.infra.change(PODS, namespace, name, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})


HINDERED = ("mark", "cordon", "uncordon")
CHANGES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "the host is gone": (lambda w: w.tenant.remove(NODES, "", "h1"), tuple(TASKS)),
    "somebody has cordoned the host": (
        lambda w: host(w, {"spec": {"unschedulable": True}}),
        ("mark", "cordon", "overrule"),
    ),
    "the host is marked": (
        note(UNPLANNED_ANNOTATION, '{"owner":"owner-hash","stage":"wanted","since":7}'),
        tuple(TASKS),
    ),
    "the mark is gone": (note(UNPLANNED_ANNOTATION, None), ("cordon", "uncordon", "withdraw", "overrule")),
    "a drain is about to begin": (note(CORDONED_BEFORE_ANNOTATION, "no"), HINDERED),
    "the host is in a drain of its own cluster": (note(DESIRED_DRAIN_ANNOTATION, "drain-x"), HINDERED),
    "the host is about to go": (
        lambda w: host(w, {"metadata": {"deletionTimestamp": "t", "finalizers": ["x"]}}),
        HINDERED,
    ),
    "there is a maintenance": (maintenance, HINDERED),
    "infra is suspect": (disrupt, HINDERED),
    "the network is back": (lambda w: w.recover("h1"), ("mark", "cordon")),
    "the network is back, and fails again": (
        lambda w: (w.recover("h1"), w.fail("h1", node=True)),
        ("mark", "cordon"),
    ),
    "the blocker is not Ready": (lambda w: not_ready(w, "blocker-d1"), ("uncordon",)),
    "the blocker of the other DPU is not Ready": (lambda w: not_ready(w, "blocker-d1b"), ("uncordon",)),
    "the DPU has rebooted": (
        lambda w: w.infra.change(NODES, "", "d1", {"status": {"nodeInfo": {"bootID": "d1-b2"}}}),
        ("uncordon",),
    ),
    "the pod is not Ready": (lambda w: not_ready(w, "ovn-d1", PODS_NAMESPACE), ("uncordon",)),
    "the pod is gone": (lambda w: w.infra.remove(PODS, PODS_NAMESPACE, "ovn-d1"), ("uncordon",)),
}


@pytest.mark.parametrize(
    ("what", "change"), [(what, change) for change, (_, whats) in CHANGES.items() for what in whats]
)
def test_nothing_is_written_when_before_the_write(what: str, change: str) -> None:
    where, task = TASKS[what]
    world = where()
    decided = task(world)
    CHANGES[change][0](world)
    before = state(world)
    assert carry_out(world, decided).result is Result.STALE
    assert state(world) == before


def test_a_mark_of_a_cordon_of_ours_is_not_withdrawn_and_one_of_somebody_elses_is() -> None:
    world = cordoned()
    assert carry_out(world, withdraws(world)).result is Result.STALE
    world.tool("h1")
    assert carry_out(world, withdraws(world)).result is Result.DONE
    assert (world._host("h1").cordoned, mark(world, "h1")) == (True, None)


# --- how long, and what is remembered ---------------------------------------------------------------------------------


def marked_after(seconds: int, *, node: bool = True) -> Done:
    world = OutageWorld(limit=1)
    world.fail("h1", node=node)
    world.tick(seconds)
    return carry_out(world, replace(marks(world), outage=replace(outage(world, "h1"), since=world.now - seconds)))


@pytest.mark.parametrize(("seconds", "result"), [(AFTER - 1, Result.STALE), (AFTER, Result.DONE)])
def test_a_host_is_marked_in_the_second_in_which_it_is_due(seconds: int, result: Result) -> None:
    assert marked_after(seconds).result is result
    assert marked_after(seconds, node=False).result is result


def test_a_host_whose_pod_starts_anew_is_not_marked() -> None:
    world = failing()
    world.recover("h1")
    world.infra.remove(PODS, PODS_NAMESPACE, "ovn-d1")
    decided = replace(
        marks(world), after_seconds=0, outage=replace(outage(world, "h1"), since=world.now, told_from=world.now + 9)
    )
    assert carry_out(world, decided).result is Result.STALE


def test_a_mark_says_in_which_boot_and_with_which_containers_the_network_failed() -> None:
    world = marked()
    found = seen(world)
    assert (found.owner, found.dpu, found.boot, found.containers) == ("owner-hash", "d1", "d1-b1", ("i-o://ovn-d1",))
    assert found.since == world.now - 400


def test_a_mark_of_a_host_whose_dpu_is_gone_names_no_boot() -> None:
    world = OutageWorld(limit=1)
    world.infra.remove(NODES, "", "d1")
    decided = replace(marks(world), outage=replace(outage(world, "h1"), is_dated=False))
    assert carry_out(world, decided).result is Result.DONE
    assert seen(world).boot == ""


def test_of_two_pods_one_that_is_ready_is_enough_to_take_the_cordon_back() -> None:
    world = proven()
    pod = world.infra.get(PODS, PODS_NAMESPACE, "ovn-d1")
    assert pod is not None
    world.infra.put(PODS, {**pod, "metadata": {**pod["metadata"], "name": "old", "uid": ""}})
    not_ready(world, "old", PODS_NAMESPACE)
    both = replace(uncordons(world), server=Server("d1", PODS_NAMESPACE, ("old", "ovn-d1")))
    assert carry_out(world, both).result is Result.DONE
