from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import DrainOverride, MaintenancePhase, Mco, Templates
from dpunetop.domain.drain.model.maintenances import is_taken_back, is_uncordoned
from dpunetop.domain.drain.model.readers import budget, dpu_node, host_node, is_ready_pod, maintenance, ovn_pod
from dpunetop.domain.drain.model.times import as_seconds
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    CURRENT_CONFIG_ANNOTATION,
    CURRENT_IMAGE_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    DESIRED_IMAGE_ANNOTATION,
    DRAIN_ANNOTATION,
    HOST_ANNOTATIONS,
    HOST_UPDATE_ANNOTATION,
    LAST_APPLIED_DRAIN_ANNOTATION,
    MACHINE_ANNOTATIONS,
    MACHINE_CONFIG_STATE_ANNOTATION,
    OUTDATED_DRAIN_ANNOTATION,
    OWNER_LABEL,
    SINCE_ANNOTATION,
    TEMPLATE_HASH_ANNOTATION,
    maintenance_name,
    open_for,
)
from dpunetop.kube.meta import Obj


def node(annotations: dict[str, str] | None = None, **spec: Any) -> Obj:
    status = {"nodeInfo": {"bootID": "b1"}, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"metadata": {"name": "n", "uid": "u", "annotations": annotations or {}}, "spec": spec, "status": status}


ORDERS = {
    "": DrainOverride.NONE,
    "skip": DrainOverride.SKIP,
    "hold": DrainOverride.HOLD,
    "force:b1": DrainOverride.FORCE,
    "force:b0": DrainOverride.NONE,
    "force:": DrainOverride.UNKNOWN,
    "force": DrainOverride.UNKNOWN,
    "Skip": DrainOverride.UNKNOWN,
    "skip:now": DrainOverride.UNKNOWN,
}


@pytest.mark.parametrize(("text", "order"), ORDERS.items(), ids=[text or "none" for text in ORDERS])
def test_the_annotation_drain_is_read_strictly(text: str, order: DrainOverride) -> None:
    assert dpu_node(node({DRAIN_ANNOTATION: text})).override is order


def test_an_unknown_value_of_the_drain_annotation_holds_the_drain() -> None:
    assert dpu_node(node({DRAIN_ANNOTATION: "stop"})).held is True
    assert dpu_node(node({DRAIN_ANNOTATION: "skip"})).held is False


def marks(
    current: str = "c", desired: str = "c", state: str = "Done", drain: str = "", applied: str = ""
) -> dict[str, str]:
    return {
        CURRENT_CONFIG_ANNOTATION: current,
        DESIRED_CONFIG_ANNOTATION: desired,
        MACHINE_CONFIG_STATE_ANNOTATION: state,
        **({DESIRED_DRAIN_ANNOTATION: drain} if drain else {}),
        **({LAST_APPLIED_DRAIN_ANNOTATION: applied} if applied else {}),
    }


def images(current: str | None, desired: str | None) -> dict[str, str]:
    found = {CURRENT_IMAGE_ANNOTATION: current, DESIRED_IMAGE_ANNOTATION: desired}
    return {name: image for name, image in found.items() if image is not None}


MCO = {
    "is not there": ({}, Mco.IDLE),
    "is done": (marks(), Mco.IDLE),
    "has given back": (marks(drain="uncordon-c", applied="uncordon-c"), Mco.IDLE),
    "is degraded where it is": (marks(state="Degraded"), Mco.IDLE),
    "has a new configuration": (marks(desired="d"), Mco.PENDING),
    "works": (marks(state="Working"), Mco.PENDING),
    "has a new image": ({**marks(), **images("i1", "i2")}, Mco.PENDING),
    "has its first image": ({**marks(), **images(None, "i1")}, Mco.PENDING),
    "takes its image away": ({**marks(), **images("i1", None)}, Mco.PENDING),
    "runs its image": ({**marks(), **images("i1", "i1")}, Mco.IDLE),
    "is degraded on its way": (marks(desired="d", state="Degraded"), Mco.PENDING),
    "has yet to uncordon": (marks(drain="uncordon-c", applied="drain-c"), Mco.PENDING),
    "asks for a drain": (marks(desired="d", drain="drain-d", applied="uncordon-c"), Mco.DRAINS),
    "has drained": (marks(desired="d", drain="drain-d", applied="drain-d"), Mco.DRAINED),
    "has drained for what runs already": (marks(drain="drain-c", applied="drain-c"), Mco.DRAINED),
}


@pytest.mark.parametrize(("annotations", "mco"), MCO.values(), ids=MCO.keys())
def test_the_machine_config_operator(annotations: dict[str, str], mco: Mco) -> None:
    assert dpu_node(node(annotations)).mco is mco


BUDGETS = {
    "closed": ({"maxUnavailable": 0}, False),
    "closed as text": ({"maxUnavailable": "0%"}, False),
    "open": ({"maxUnavailable": 1}, True),
    "open as text": ({"maxUnavailable": "10%"}, True),
    "of another kind": ({"minAvailable": 1}, True),
    "of both kinds": ({"maxUnavailable": 0, "minAvailable": 0}, True),
    "empty": ({}, True),
}


@pytest.mark.parametrize(("spec", "is_open"), BUDGETS.values(), ids=BUDGETS.keys())
def test_a_budget_is_closed_only_if_it_is_plainly_so(spec: dict[str, Any], is_open: bool) -> None:
    assert budget({"metadata": {"name": "b"}, "spec": spec}, "owner").is_open is is_open


EARLY, LATE = "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
# what a budget records, when it was made, and since when its host is taken to be its own
SINCES: dict[str, tuple[str, str, str]] = {
    "it records an earlier time than that at which it was made": (EARLY, LATE, EARLY),
    "it records a later one": (LATE, EARLY, LATE),
    "it records none": ("", LATE, LATE),
    "it records what is no time": ("yesterday", LATE, LATE),
}


@pytest.mark.parametrize(("recorded", "made", "since"), SINCES.values(), ids=SINCES.keys())
def test_a_budget_names_its_host_since_it_says_so_or_else_since_it_was_made_where(
    recorded: str, made: str, since: str
) -> None:
    metadata = {"name": "b", "creationTimestamp": made, "annotations": {SINCE_ANNOTATION: recorded}}
    assert budget({"metadata": metadata, "spec": {}}, "owner").since == as_seconds(since)


def nm(name: str = maintenance_name("h"), host: str = "h", owner: str = "owner", **more: Any) -> Obj:
    return {"metadata": {"name": name, "uid": "u", "labels": {OWNER_LABEL: owner}, **more}, "spec": {"nodeName": host}}


OURS = {
    "our label and our name": (nm(), True),
    "another label": (nm(owner="other"), False),
    "another name": (nm(name="other"), False),
    "our name for another host": (nm(host="g"), False),
}


@pytest.mark.parametrize(("obj", "ours"), OURS.values(), ids=OURS.keys())
def test_a_maintenance_is_ours_by(obj: Obj, ours: bool) -> None:
    assert maintenance(obj, "owner").ours is ours


DRAINED_AT = "2026-01-02T00:00:00Z"
# phase, `lastUpdate`, the update that is outdated -> phase as it counts, whether the host is drained once more
RENEWED: dict[str, tuple[str, str, str, MaintenancePhase, bool]] = {
    "it drains for the first time": ("Running", "", "", MaintenancePhase.RUNNING, False),
    "it has drained": ("Succeeded", DRAINED_AT, "", MaintenancePhase.SUCCEEDED, False),
    "it is to drain once more": ("Succeeded", DRAINED_AT, DRAINED_AT, MaintenancePhase.RUNNING, True),
    "it has drained once more": ("Succeeded", EARLY, LATE, MaintenancePhase.SUCCEEDED, False),
    "it says that it drains once more": ("Running", DRAINED_AT, DRAINED_AT, MaintenancePhase.RUNNING, False),
    "it has failed to": ("Failed", DRAINED_AT, DRAINED_AT, MaintenancePhase.FAILED, False),
}


@pytest.mark.parametrize(("said", "update", "outdated", "phase", "renewed"), RENEWED.values(), ids=RENEWED.keys())
def test_a_maintenance_is_renewed_until_its_operator_has_drained_the_host_again(
    said: str, update: str, outdated: str, phase: MaintenancePhase, renewed: bool
) -> None:
    obj = nm(annotations={OUTDATED_DRAIN_ANNOTATION: outdated})
    found = maintenance({**obj, "status": {"phase": said, "lastUpdate": update}}, "owner")
    assert (found.phase, found.is_renewed) == (phase, renewed)


def test_a_maintenance_says_what_it_carries() -> None:
    notes = {open_for("d"): "d x1", CORDONED_BEFORE_ANNOTATION: "yes", "other": "y"}
    found = maintenance(nm(annotations=notes), "owner")
    assert (found.mark_of("d"), found.mark_of("e"), found.cordoned_before) == ("d x1", "", True)
    assert found.phase is MaintenancePhase.NEW


def drained(phase: str, **metadata: Any) -> Any:
    return maintenance({**nm(**metadata), "status": {"phase": phase}}, "owner")


TAINT = [{"key": "medik8s.io/drain"}]
TAKEN = {
    "uncordoned under its taint once drained": (drained("Succeeded"), node(taints=TAINT), True),
    "uncordoned while it is being drained": (drained("Running"), node(taints=TAINT), False),
    "uncordoned after the taint": (drained("Succeeded"), node(), False),
    "still cordoned": (drained("Succeeded"), node(taints=TAINT, unschedulable=True), False),
    "uncordoned as the maintenance ends": (drained("Succeeded", deletionTimestamp="x"), node(taints=TAINT), False),
    "uncordoned because it failed": (drained("Failed"), node(), False),
}


@pytest.mark.parametrize(("found", "host", "taken"), TAKEN.values(), ids=TAKEN.keys())
def test_a_person_has_taken_the_host_back_if_it_is(found: Any, host: Obj, taken: bool) -> None:
    assert is_taken_back(found, host_node(host)) is taken


UPDATED = marks(current="d", desired="d", drain="uncordon-d", applied="uncordon-d")
BY_WHOM = {
    "a person": (marks(), marks(), True, False),
    "a person, as far as an older maintenance tells": (None, UPDATED, True, False),
    "its operator, which has yet to say that it is done": (
        marks(),
        marks(desired="d", state="Working", drain="uncordon-d", applied="uncordon-d"),
        False,
        True,
    ),
    "its operator, which is at work still": (None, marks(state="Working"), False, True),
    "its operator, which is done": (marks(), UPDATED, False, True),
    "its operator, for another image of the same configuration": (
        {**UPDATED, **images("i1", "i1")},
        {**UPDATED, **images("i2", "i2")},
        False,
        True,
    ),
}


@pytest.mark.parametrize(("before", "now", "taken", "undone"), BY_WHOM.values(), ids=BY_WHOM.keys())
def test_who_has_uncordoned_a_drained_host(
    before: dict[str, str] | None, now: dict[str, str], taken: bool, undone: bool
) -> None:
    notes = {} if before is None else {HOST_UPDATE_ANNOTATION: host_node(node(before)).machine.update}
    found, host = drained("Succeeded", annotations=notes), host_node(node(now, taints=TAINT))
    assert is_taken_back(found, host) is taken
    assert (is_uncordoned(found, host) and not is_taken_back(found, host)) is undone


def test_a_drain_that_counts_no_more_goes_on_until_its_operator_has_ended_another() -> None:
    obj = nm(annotations={OUTDATED_DRAIN_ANNOTATION: "t1"})
    assert (
        maintenance({**obj, "status": {"phase": "Succeeded", "lastUpdate": "t1"}}, "owner").phase
        is MaintenancePhase.RUNNING
    )
    assert (
        maintenance({**obj, "status": {"phase": "Succeeded", "lastUpdate": "t2"}}, "owner").phase
        is MaintenancePhase.SUCCEEDED
    )
    assert (
        maintenance({**obj, "status": {"phase": "Failed", "lastUpdate": "t1"}}, "owner").phase
        is MaintenancePhase.FAILED
    )


HOST_DRAINS = {
    "none": ({}, False),
    "done": (marks(), False),
    "asked": (marks(desired="d", state="Working", drain="drain-d", applied="x"), True),
    "drained": (marks(desired="d", state="Working", drain="drain-d", applied="drain-d"), True),
    "about to be given back": (marks(desired="d", state="Working", drain="uncordon-d", applied="drain-d"), True),
    "given back, not done yet": (marks(desired="d", state="Working", drain="uncordon-d", applied="uncordon-d"), True),
    "given back": (marks(current="d", desired="d", drain="uncordon-d", applied="uncordon-d"), False),
    "chosen": (marks(desired="d"), True),
    "chosen for another image": ({**marks(), **images("i1", "i2")}, True),
    "chosen for its first image": ({**marks(), **images(None, "i1")}, True),
    "chosen to leave its image": ({**marks(), **images("i1", None)}, True),
    "done with its image": ({**marks(), **images("i1", "i1")}, False),
    "works": (marks(state="Working"), True),
    "has given up before it drained": (marks(desired="d", state="Degraded"), False),
    "cannot be reconciled": (marks(desired="d", state="Unreconcilable"), False),
    "has given up its drain": (marks(desired="d", state="Degraded", drain="drain-d", applied="x"), True),
    "has given up once it was drained": (
        marks(desired="d", state="Degraded", drain="drain-d", applied="drain-d"),
        True,
    ),
    "has given up its uncordon": (marks(desired="d", state="Degraded", drain="uncordon-d", applied="drain-d"), True),
    "has given up an update after another": (
        marks(current="c", desired="d", state="Degraded", drain="uncordon-c", applied="uncordon-c"),
        False,
    ),
    "asks although it is done": (marks(drain="drain-d", applied="x"), True),
}


@pytest.mark.parametrize(("annotations", "drains"), HOST_DRAINS.values(), ids=HOST_DRAINS.keys())
def test_a_machine_config_operator_is_at_work_on_a_host(annotations: dict[str, str], drains: bool) -> None:
    assert host_node(node(annotations)).in_own_drain is drains


def test_nothing_that_a_machine_config_operator_says_of_a_host_is_cut_off_before_it_is_read() -> None:
    assert set(MACHINE_ANNOTATIONS) <= set(HOST_ANNOTATIONS)


READY = [{"type": "Ready", "status": "True"}]
PODS = {
    "runs and is Ready": ({"phase": "Running", "conditions": READY}, {}, True),
    "runs": ({"phase": "Running"}, {}, False),
    "waits": ({"phase": "Pending", "conditions": READY}, {}, False),
    "is ending": ({"phase": "Running", "conditions": READY}, {"deletionTimestamp": "x"}, False),
}


@pytest.mark.parametrize(("status", "metadata", "ready"), PODS.values(), ids=PODS.keys())
def test_a_pod_counts_as_ready_only_if_it_stays(status: dict[str, Any], metadata: dict[str, Any], ready: bool) -> None:
    assert is_ready_pod({"metadata": {"name": "p", **metadata}, "status": status}) is ready


def test_a_pod_is_current_by_the_hash_of_its_template() -> None:
    obj = {
        "metadata": {"name": "p", "uid": "u", "annotations": {TEMPLATE_HASH_ANNOTATION: "r2"}},
        "status": {"containerStatuses": [{"containerID": "b"}, {"containerID": "a"}, {"containerID": ""}, {}]},
    }
    pod = ovn_pod(obj, Templates("r2", "r1"))
    assert (pod.current, pod.containers) == (True, ("a", "b"))
    assert (pod.newest, ovn_pod(obj, Templates("r3", "r2")).newest) == (True, False)
    assert ovn_pod(obj, Templates("r3", "r3")).current is False
    assert ovn_pod(obj).current is False


PENDING: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "names with namespaces": (
        {"pendingPods": ["a"], "pendingPodsRefs": [{"namespace": "shop", "name": "a"}]},
        ("shop/a",),
    ),
    "an operator that gives names alone": ({"pendingPods": ["a", "b"]}, ("a", "b")),
    "none": ({}, ()),
    "no list": ({"pendingPods": "a", "pendingPodsRefs": 7}, ()),
    "no pod": ({"pendingPods": [7], "pendingPodsRefs": ["a", {"namespace": "shop"}]}, ("7",)),
    "more than are named": ({"pendingPods": [f"p{n}" for n in range(9)]}, ("p0", "p1", "p2", "p3", "p4")),
}


@pytest.mark.parametrize(("status", "expected"), PENDING.values(), ids=PENDING.keys())
def test_the_pods_that_a_host_is_not_drained_of_are_read(status: dict[str, Any], expected: tuple[str, ...]) -> None:
    found = maintenance({"metadata": {"name": "n"}, "spec": {"nodeName": "h"}, "status": status}, "owner")
    assert tuple(str(pod) for pod in found.pods) == expected


def test_times_are_read_as_the_api_writes_them_and_nothing_else_is_one() -> None:
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": "1970-01-01T00:00:07Z"}
    assert dpu_node({"metadata": {"name": "d", "uid": "u"}, "status": {"conditions": [ready]}}).ready_since == 7
    for odd in (None, 7, "noon", "1970-01-01T00:00:07", "x" * 1000):
        broken = {"conditions": [{**ready, "lastTransitionTime": odd}]}
        assert dpu_node({"metadata": {"name": "d", "uid": "u"}, "status": broken}).ready_since == 0


def test_a_pod_of_no_template_is_current_neither_with_a_daemonset_nor_without_one() -> None:
    assert [Templates(newest, proven).counts("") for newest in ("", "t1") for proven in ("", "t0")] == [False] * 4
    assert [Templates("t1", "t0").counts(found) for found in ("t1", "t0", "t2")] == [True, True, False]
