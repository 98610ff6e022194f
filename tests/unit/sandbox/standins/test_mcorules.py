"""What the stand-in for the Machine Config Operator decides."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from dpunetop.domain.drain.model import readers
from dpunetop.domain.hostconfig.machineconfig import PoolReason, PoolView, node_configured
from dpunetop.domain.hostconfig.machineconfig import pool_status as judged
from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    CURRENT_IMAGE_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DESIRED_IMAGE_ANNOTATION,
    MACHINE_CONFIG_REASON_ANNOTATION,
    MACHINE_CONFIG_ROLE_LABEL,
    MACHINE_CONFIG_STATE_ANNOTATION,
)
from dpunetop.sandbox.standins import mcorules
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION
from dpunetop.sandbox.standins.mcorules import REAL_INTERVALS, Action, Delays, Drain

NOW = "2026-01-01T00:00:00Z"
OLD, NEW = "rendered-worker-1", "rendered-dpu-2"


def config(name: str, role: str, content: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {MACHINE_CONFIG_ROLE_LABEL: role}}, "spec": {"config": content}}


def pool(name: str, label: str, **spec: Any) -> dict[str, Any]:
    selector = {"matchLabels": {label: ""}}
    return {"metadata": {"name": name, "generation": 4}, "spec": {"nodeSelector": selector, **spec}}


def node(name: str, *labels: str, **facts: Any) -> dict[str, Any]:
    marks = {
        CURRENT_CONFIG_ANNOTATION: facts.get("current", OLD),
        DESIRED_CONFIG_ANNOTATION: facts.get("desired", facts.get("current", OLD)),
        MACHINE_CONFIG_STATE_ANNOTATION: facts.get("state", "Done"),
        mcorules.DESIRED_DRAIN_ANNOTATION: facts.get("wanted"),
        mcorules.LAST_APPLIED_DRAIN_ANNOTATION: facts.get("applied"),
        REBOOT_ANNOTATION: facts.get("reboot"),
        MACHINE_CONFIG_REASON_ANNOTATION: facts.get("reason"),
        CURRENT_IMAGE_ANNOTATION: facts.get("image"),
        DESIRED_IMAGE_ANNOTATION: facts.get("wanted_image"),
    }
    ready = {"type": "Ready", "status": str(facts.get("ready", True))}
    return {
        "metadata": {
            "name": name,
            "labels": dict.fromkeys(labels, ""),
            "annotations": {key: value for key, value in marks.items() if value is not None},
        },
        "spec": {"unschedulable": True} if facts.get("cordoned") else {},
        "status": {"conditions": [ready], "nodeInfo": {"bootID": facts.get("boot", "boot-1")}},
    }


def test_a_rendered_name_changes_with_content_and_pool_and_not_with_order() -> None:
    first, second = config("00-a", "dpu"), config("01-b", "dpu")
    name = mcorules.rendered_name("dpu", [first, second])
    assert name == mcorules.rendered_name("dpu", [dict(first), dict(second)])
    assert name.startswith("rendered-dpu-")
    assert len(name) == len("rendered-dpu-") + 32
    others = [
        mcorules.rendered_name("dpu", [first]),
        mcorules.rendered_name("dpu", [first, config("01-b", "dpu", "changed")]),
        mcorules.rendered_name("worker", [first, second]),
    ]
    assert len({name, *others}) == 4


def test_a_rendered_configuration_belongs_to_its_pool_and_is_no_source() -> None:
    owner = pool("dpu", "d", machineConfigSelector={"matchLabels": {MACHINE_CONFIG_ROLE_LABEL: "dpu"}})
    owner["metadata"]["uid"] = "u1"
    made = mcorules.rendered_config(owner, "rendered-dpu-1")
    assert (mcorules.owning_pool(made), mcorules.owning_pool(config("00-dpu", "dpu"))) == ("u1", "")
    assert mcorules.selected(owner, [made, config("00-dpu", "dpu")]) == [config("00-dpu", "dpu")]


def test_machine_configs_are_laid_over_each_other_by_name() -> None:
    roles = {"key": MACHINE_CONFIG_ROLE_LABEL, "operator": "In", "values": ["dpu", "worker"]}
    dpu = pool("dpu", "dpu", machineConfigSelector={"matchExpressions": [roles]})
    configs = [config("99-z", "dpu"), config("00-w", "worker"), config("00-m", "master"), config("01-d", "dpu")]
    assert [c["metadata"]["name"] for c in mcorules.selected(dpu, configs)] == ["00-w", "01-d", "99-z"]


def test_a_pool_without_selector_takes_nothing() -> None:
    assert mcorules.selected(pool("dpu", "dpu"), [config("00-d", "dpu")]) == []


POOLS = [pool("master", "m"), pool("worker", "w"), pool("dpu", "d"), pool("other", "o")]
HOMES = {
    "a worker": (("w",), "worker"),
    "a custom pool beats worker": (("w", "d"), "dpu"),
    "master beats a custom pool": (("m", "d"), "master"),
    "two custom pools are an error": (("w", "d", "o"), None),
    "no pool at all": (("x",), None),
}


@pytest.mark.parametrize(("labels", "home"), HOMES.values(), ids=HOMES.keys())
def test_each_node_has_one_pool(labels: tuple[str, ...], home: str | None) -> None:
    assert mcorules.pool_of(node("n", *labels), POOLS) == home


TURNS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], list[str]]] = {
    "one at a time, by name": ([node("b"), node("a"), node("c")], {}, ["a"]),
    "as many as the pool allows": ([node("a"), node("b"), node("c")], {"maxUnavailable": 2}, ["a", "b"]),
    "a share, rounded down": ([node(n) for n in "abcde"], {"maxUnavailable": "50%"}, ["a", "b"]),
    "a share is one at least": ([node("a"), node("b")], {"maxUnavailable": "10%"}, ["a"]),
    "paused": ([node("a")], {"paused": True}, []),
    "one is at it": ([node("a", desired=NEW, state="Working"), node("b")], {}, []),
    "somebody has cordoned another": ([node("a"), node("b", current=NEW, cordoned=True)], {}, []),
    "not with a cordoned one": ([node("a", cordoned=True), node("b")], {"maxUnavailable": 2}, ["b"]),
    "not with one that is down": ([node("a", ready=False), node("b")], {"maxUnavailable": 2}, ["b"]),
    "all have arrived": ([node("a", current=NEW), node("b", current=NEW)], {}, []),
}


@pytest.mark.parametrize(("members", "spec", "expected"), TURNS.values(), ids=TURNS.keys())
def test_whose_turn_it_is(members: list[dict[str, Any]], spec: dict[str, Any], expected: list[str]) -> None:
    turn = mcorules.next_nodes(pool("dpu", "d", **spec), members, NEW)
    assert [each["metadata"]["name"] for each in turn] == expected


DRAIN, UNCORDON = mcorules.drain_mark(NEW), mcorules.uncordon_mark(NEW)
REST, FOR_IMAGE = mcorules.uncordon_mark(OLD), mcorules.drain_mark(OLD)
STEPS: dict[str, tuple[dict[str, Any], Action]] = {
    "has arrived": ({"current": NEW}, Action.NOTHING),
    "is to begin": ({"desired": NEW}, Action.BEGIN),
    "a mark of an earlier update is no mark": ({"desired": NEW, "wanted": "uncordon-other"}, Action.BEGIN),
    "is to be drained": ({"desired": NEW, "state": "Working", "wanted": DRAIN}, Action.DRAIN),
    "is drained": ({"desired": NEW, "state": "Working", "wanted": DRAIN, "applied": DRAIN}, Action.REBOOT),
    "is rebooting": (
        {"desired": NEW, "state": "Working", "wanted": DRAIN, "applied": DRAIN, "reboot": "boot-1"},
        Action.WAIT_FOR_BOOT,
    ),
    "is up but not Ready": (
        {"desired": NEW, "state": "Working", "wanted": DRAIN, "applied": DRAIN, "reboot": "boot-0", "ready": False},
        Action.WAIT_FOR_BOOT,
    ),
    "is up": (
        {"desired": NEW, "state": "Working", "wanted": DRAIN, "applied": DRAIN, "reboot": "boot-0", "cordoned": True},
        Action.ASK_UNCORDON,
    ),
    "is to be uncordoned": (
        {"desired": NEW, "state": "Working", "wanted": UNCORDON, "applied": DRAIN},
        Action.UNCORDON,
    ),
    "is uncordoned": ({"desired": NEW, "state": "Working", "wanted": UNCORDON, "applied": UNCORDON}, Action.FINISH),
    "an image is built for it": ({"wanted_image": "i1", "wanted": REST, "applied": REST}, Action.BEGIN),
    "another image is": ({"image": "i1", "wanted_image": "i2", "wanted": REST, "applied": REST}, Action.BEGIN),
    "none is any more": ({"image": "i1", "wanted": REST, "applied": REST}, Action.BEGIN),
    "has its image": ({"image": "i1", "wanted_image": "i1", "wanted": REST, "applied": REST}, Action.NOTHING),
    "is drained for its image": (
        {"wanted_image": "i1", "state": "Working", "wanted": FOR_IMAGE, "applied": FOR_IMAGE},
        Action.REBOOT,
    ),
    "is uncordoned with its image": (
        {"wanted_image": "i1", "state": "Working", "wanted": REST, "applied": REST},
        Action.FINISH,
    ),
    "is degraded": ({"desired": NEW, "state": "Degraded"}, Action.NOTHING),
    "is degraded while it is drained": ({"desired": NEW, "state": "Degraded", "wanted": DRAIN}, Action.DRAIN),
    "is degraded by a drain that is over": (
        {"desired": NEW, "state": "Degraded", "wanted": DRAIN, "applied": DRAIN, "reason": mcorules.drain_failure("n")},
        Action.RESUME,
    ),
    "is degraded by something else once it is drained": (
        {"desired": NEW, "state": "Degraded", "wanted": DRAIN, "applied": DRAIN, "reason": "disk is full"},
        Action.NOTHING,
    ),
}


@pytest.mark.parametrize(("facts", "expected"), STEPS.values(), ids=STEPS.keys())
def test_what_is_next_on_a_node(facts: dict[str, Any], expected: Action) -> None:
    assert mcorules.next_action(node("n", **facts)) is expected


IMAGES: dict[str, tuple[str | None, str | None]] = {
    "to its first image": (None, "i1"),
    "to another image": ("i1", "i2"),
    "back to none": ("i1", None),
}


def written(at: dict[str, Any], marks: Mapping[str, str | None], spec: dict[str, Any]) -> dict[str, Any]:
    old = {**at["metadata"]["annotations"], **marks}
    notes = {name: value for name, value in old.items() if value is not None}
    return {**at, "metadata": {**at["metadata"], "annotations": notes}, "spec": spec}


@pytest.mark.parametrize(("before", "after"), IMAGES.values(), ids=IMAGES.keys())
def test_a_node_whose_image_alone_changes_goes_all_the_way_and_its_host_is_in_its_own_drain_until_it_is_done(
    before: str | None, after: str | None
) -> None:
    at = node("n", image=before, wanted_image=after, wanted=REST, applied=REST)
    seen: list[Action] = []
    while (action := mcorules.next_action(at)) is not Action.NOTHING:
        assert readers.host_node(at).in_own_drain
        seen.append(action)
        marks, spec = mcorules.daemon_marks(at, action), at["spec"]
        match action:
            case Action.DRAIN:
                marks, spec = {mcorules.LAST_APPLIED_DRAIN_ANNOTATION: FOR_IMAGE}, {"unschedulable": True}
            case Action.UNCORDON:
                marks, spec = {mcorules.LAST_APPLIED_DRAIN_ANNOTATION: REST}, {}
            case Action.WAIT_FOR_BOOT:
                at["status"]["nodeInfo"]["bootID"] = "boot-2"
        at = written(at, marks, spec)
        assert len(seen) < 10
    steps = [Action.BEGIN, Action.DRAIN, Action.REBOOT, Action.WAIT_FOR_BOOT, Action.ASK_UNCORDON, Action.UNCORDON]
    assert seen == [*steps, Action.FINISH]
    assert not readers.host_node(at).in_own_drain
    found = at["metadata"]["annotations"]
    assert (found.get(CURRENT_IMAGE_ANNOTATION), found.get(DESIRED_IMAGE_ANNOTATION)) == (after, after)
    assert found[CURRENT_CONFIG_ANNOTATION] == OLD


def test_a_pool_counts_a_node_as_updated_only_with_its_image() -> None:
    members = [node("a", current=NEW, wanted_image="i1"), node("b", current=NEW, image="i1", wanted_image="i1")]
    assert (status_of(members)["updatedMachineCount"], status_of(members)["unavailableMachineCount"]) == (1, 1)
    assert mcorules.next_nodes(pool("dpu", "d"), [members[0], node("c")], NEW) == []


POD = {"metadata": {"name": "p", "namespace": "ns", "uid": "p1"}}


def test_an_eviction_that_is_refused_is_tried_every_5_s_for_90_s_then_after_a_minute_and_late_after_five() -> None:
    drain, now, tries = Drain(DRAIN, 0.0), 0.0, []
    while now < 1800:
        if drain.pods is None and now >= drain.next:
            drain.begin_round([POD], REAL_INTERVALS, now)
        if drain.pods is not None and drain.is_due(POD, REAL_INTERVALS, now):
            tries.append(now)
        if drain.pods is not None and now >= drain.ends:
            drain.end_round(REAL_INTERVALS, now)
        now += 1.0
    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses[:18] == [5.0] * 18
    assert [pause for pause in pauses if pause > 5.0] == [60.0] * 5 + [300.0] * 2


def test_what_a_change_asks_for_is_done_5_s_after_the_first_one_and_not_once_it_is_wanted_no_more() -> None:
    delays, done = Delays(), []
    for now in range(13):
        delays.begin_pass()
        if delays.is_due("drain of n", REAL_INTERVALS, float(now)):
            done.append(now)
    assert done == [5, 11]
    delays.begin_pass()
    delays.begin_pass()
    assert delays.since == {}


def test_all_pauses_shrink_alike() -> None:
    quick = REAL_INTERVALS.scaled(0.5)
    assert (quick.retry, quick.window, quick.pause, quick.late_pause, quick.timeout) == (0.5, 9.0, 6.0, 30.0, 360.0)


def status_of(members: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    target = mcorules.configuration(NEW, ["00-dpu"])
    before = pool("dpu", "d", configuration=target, **spec)
    return mcorules.pool_status(mcorules.PoolView(before, members, ["00-dpu"], NOW))


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {c["type"]: c["status"] for c in status["conditions"]}


def test_a_rolling_pool_counts_and_keeps_its_old_configuration() -> None:
    members = [node("a", current=NEW), node("b", desired=NEW, state="Working", cordoned=True), node("c")]
    status = status_of(members)
    kinds = ("machine", "updatedMachine", "readyMachine", "unavailableMachine", "degradedMachine")
    counts = [status[f"{kind}Count"] for kind in kinds]
    assert (counts, status["configuration"], status["observedGeneration"]) == ([3, 1, 1, 1, 0], {}, 4)
    assert conditions(status) == {
        "Updated": "False",
        "Updating": "True",
        "NodeDegraded": "False",
        "RenderDegraded": "False",
        "Degraded": "False",
    }


def test_a_pool_that_has_arrived_is_what_the_operator_calls_rolled_out() -> None:
    rolled = pool("dpu", "d", configuration=mcorules.configuration(NEW, ["00-dpu"]))
    rolled["status"] = status_of([node("a", current=NEW)])
    marks = node("a", current=NEW)["metadata"]["annotations"]
    assert judged(PoolView(rolled, "00-dpu")).reason is PoolReason.ROLLED_OUT
    assert node_configured(marks, rolled, "00-dpu")


def test_a_pool_without_machines_says_updated_all_the_same() -> None:
    assert conditions(status_of([]))["Updated"] == "True"


def test_a_paused_pool_is_neither_updated_nor_updating() -> None:
    found = conditions(status_of([node("a")], paused=True))
    assert (found["Updated"], found["Updating"]) == ("False", "False")


def test_a_degraded_machine_degrades_its_pool() -> None:
    status = status_of([node("a", desired=NEW, state="Degraded")])
    found = conditions(status)
    assert (status["degradedMachineCount"], found["NodeDegraded"], found["Degraded"]) == (1, "True", "True")


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    target = mcorules.configuration(NEW, ["00-dpu"])
    before = pool("dpu", "d", configuration=target)
    before["status"] = {"conditions": [{"type": "Updated", "status": "True", "lastTransitionTime": "then"}]}
    view = mcorules.PoolView(before, [node("a", current=NEW)], ["00-dpu"], NOW)
    times = {c["type"]: c["lastTransitionTime"] for c in mcorules.pool_status(view)["conditions"]}
    assert (times["Updated"], times["Degraded"]) == ("then", NOW)
