from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

import pytest
from structlog.testing import capture_logs

from dpunetop.base.stop import Stop, Stopped
from dpunetop.kube.conditions import Condition, Status
from dpunetop.kube.errors import ApiError, Conflict, Invalid, NotFound, Unreachable
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES, Resource
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Emit, Fence, Ownership, Patch, Plan
from dpunetop.runtime.cache.informer import Absence
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.election.gate import LeadershipLost, OpenGate
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import BEHIND_SECONDS, STATUS_TRIES, Executed, Executor
from dpunetop.runtime.writememory import SETTLED_SECONDS
from support.clock import FakeClock

US = "dpunetop-ovnkube"
CONFIGS = Resource("dpu.openshift.io", "v1alpha1", "dpuclusterconfigs", "DpuClusterConfig", True)


class Script:
    """A client that answers with what the test prepared, in order, and notes what it was asked."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any] | ApiError | None] = []
        self.asked: list[tuple[Any, ...]] = []
        self.timeouts: list[float] = []

    def get(self, resource: Resource, namespace: str, name: str, timeout_seconds: float) -> dict[str, Any] | None:
        return self._answer(timeout_seconds, "get", name)

    def apply(
        self, resource: Resource, body: dict[str, Any], field_manager: str, timeout_seconds: float
    ) -> dict[str, Any] | None:
        return self._answer(timeout_seconds, "apply", body)

    def apply_status(
        self, resource: Resource, body: dict[str, Any], field_manager: str, timeout_seconds: float
    ) -> dict[str, Any] | None:
        return self._answer(timeout_seconds, "apply_status", body)

    def merge_patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: dict[str, Any],
        field_manager: str,
        timeout_seconds: float,
    ) -> dict[str, Any] | None:
        return self._answer(timeout_seconds, "merge_patch", patch)

    def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, resource_version: str, timeout_seconds: float
    ) -> None:
        self._answer(timeout_seconds, "delete", uid, resource_version)

    def _answer(self, timeout_seconds: float, *request: str | dict[str, Any]) -> dict[str, Any] | None:
        self.asked.append(request)
        self.timeouts.append(timeout_seconds)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Recorder:
    def __init__(self) -> None:
        self.emitted: list[Emit] = []

    def emit(self, step: Emit) -> None:
        self.emitted.append(step)


class Gate:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def seconds_left(self) -> float:
        if self.seconds <= 0:
            raise LeadershipLost
        return self.seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server() -> Script:
    return Script()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def executor(server: Script, recorder: Recorder, clock: FakeClock) -> Executor:
    return Executor(lambda _: cast(Client, server), OpenGate(), cast(EventRecorder, recorder), clock)


@pytest.fixture
def execute(executor: Executor) -> Callable[..., bool]:
    return lambda *steps: Executed.WROTE in executor.execute(Plan(steps), Stop())


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}, "data": data}


def stored(version: str, uid: str = "u-1", owned: tuple[str, ...] = ("a",), **data: str) -> dict[str, Any]:
    """`config_map` as the server shows it; we own the keys `owned`."""
    obj = config_map(**data)
    entry = {
        "manager": US,
        "operation": "Apply",
        "apiVersion": "v1",
        "fieldsV1": {"f:data": {f"f:{key}": {} for key in owned}} if owned else {},
    }
    obj["metadata"].update(uid=uid, resourceVersion=version, managedFields=[entry])
    return obj


def apply(live: dict[str, Any] | None, fence: Fence = Fence.UID, **data: str) -> Apply:
    return Apply(INFRA, CONFIGMAPS, config_map(**data), live, US, fence)


def expectations(request: tuple[str, dict[str, Any]]) -> dict[str, str]:
    """What an apply says of the live object."""
    return {name: value for name, value in request[1]["metadata"].items() if name in ("uid", "resourceVersion")}


EXPECTATIONS = {
    "nothing there": (None, Fence.UID, {"resourceVersion": "1"}),
    "nothing there, fenced": (None, Fence.VERSION, {"resourceVersion": "1"}),
    "the same object": (stored("7", a="0"), Fence.UID, {"uid": "u-1"}),
    "the same object, unchanged": (stored("7", a="0"), Fence.VERSION, {"uid": "u-1", "resourceVersion": "7"}),
}


def test_of_an_answer_is_remembered_what_its_cache_will_keep(
    server: Script, recorder: Recorder, clock: FakeClock
) -> None:
    def kept(cluster: str, resource: Resource, answer: dict[str, Any]) -> dict[str, Any]:
        assert (cluster, resource) == (INFRA, CONFIGMAPS)
        return {**answer, "data": {"a": answer["data"]["a"]}}

    executor = Executor(lambda _: cast(Client, server), OpenGate(), cast(EventRecorder, recorder), clock, kept=kept)
    server.answers = [stored("8", a="1", theirs="x"), stored("9", a="2")]
    executor.execute(Plan((apply(stored("7", a="0"), a="1"),)), Stop())
    executor.execute(Plan((Patch(INFRA, CONFIGMAPS, stored("7", a="0"), {"data": {"theirs": None}}),)), Stop())
    assert [request[0] for request in server.asked] == ["apply"]


@pytest.mark.parametrize(("live", "fence", "expected"), EXPECTATIONS.values(), ids=EXPECTATIONS.keys())
def test_an_apply_says_what_it_expects(
    execute: Callable[..., bool], server: Script, live: dict[str, Any] | None, fence: Fence, expected: dict[str, str]
) -> None:
    server.answers = [stored("8", a="1")]
    assert execute(apply(live, fence, a="1"))
    assert expectations(server.asked[0]) == expected


def test_an_apply_sends_what_is_wanted_and_nothing_else(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [stored("8", a="1")]
    execute(apply(stored("7", a="0"), a="1"))
    expected = config_map(a="1")
    expected["metadata"]["uid"] = "u-1"
    assert server.asked == [("apply", expected)]


def test_an_apply_that_would_change_nothing_is_not_sent(execute: Callable[..., bool], server: Script) -> None:
    assert not execute(apply(stored("7", a="1"), a="1"))
    assert server.asked == []


def test_our_last_write_is_known_before_the_cache_shows_it(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [stored("8", a="1")]
    behind = stored("7", a="0")
    execute(apply(behind, a="1"))
    assert [execute(apply(behind, a="1")) for _ in range(100)] == [False] * 100
    assert len(server.asked) == 1


def test_what_our_last_write_left_is_newer_than_a_cache_that_is_behind_it(
    executor: Executor, execute: Callable[..., bool], server: Script
) -> None:
    server.answers = [stored("8", a="1")]
    execute(apply(stored("7", a="0"), a="1"))
    assert executor.newest(INFRA, CONFIGMAPS, stored("7", a="0")) == stored("8", a="1")
    assert executor.newest(INFRA, CONFIGMAPS, stored("9", a="2")) == stored("9", a="2")
    assert executor.newest(INFRA, CONFIGMAPS, stored("7", uid="u-2", a="0")) == stored("7", uid="u-2", a="0")


@pytest.mark.parametrize("seen", [None, "5"], ids=["not there", "older"])
def test_a_step_that_is_left_out_because_of_our_own_last_write_is_looked_at_again(
    executor: Executor, server: Script, seen: str | None
) -> None:
    live = None if seen is None else stored(seen, a="0")
    server.answers = [stored("8", a="1"), stored("8", a="1")]
    first, second = (executor.execute(Plan((apply(live, a="1"),)), Stop()) for _ in range(2))
    shown = executor.execute(Plan((apply(stored("8", a="1"), a="1"),)), Stop())
    assert (first, second, shown) == (Executed.WROTE, Executed.BEHIND, Executed.NOTHING)
    assert [each.again_seconds for each in (first, second, shown)] == [None, BEHIND_SECONDS, None]


def test_a_delete_that_the_cache_does_not_show_is_looked_at_again(executor: Executor, server: Script) -> None:
    server.answers = [None]
    delete = Plan((Delete(INFRA, CONFIGMAPS, stored("7")),))
    assert [executor.execute(delete, Stop()) for _ in range(2)] == [Executed.WROTE, Executed.BEHIND]


def test_a_cache_that_is_past_our_last_write_is_believed(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [stored("8", a="1"), stored("10", a="1")]
    execute(apply(stored("7", a="0"), a="1"))
    assert execute(apply(stored("9", a="0"), a="1"))


def test_a_view_that_was_gathered_before_another_caught_up_does_not_repeat_a_write(
    execute: Callable[..., bool], server: Script
) -> None:
    server.answers = [stored("7", a="2")]
    assert execute(apply(stored("5", a="1"), a="2"))
    assert not execute(apply(stored("8", a="2"), a="2"))
    assert not execute(apply(stored("5", a="1"), a="2"))
    assert len(server.asked) == 1


def test_a_cache_that_stays_behind_is_believed_in_the_end(
    execute: Callable[..., bool], server: Script, clock: FakeClock
) -> None:
    server.answers = [stored("8", a="1"), stored("8", a="1")]
    execute(apply(stored("7", a="0"), a="1"))
    clock.step(30)
    assert execute(apply(stored("7", a="0"), a="1"))


def test_what_was_written_costs_nothing_any_more_once_anybody_looks_after_its_time(
    execute: Callable[..., bool], executor: Executor, server: Script, clock: FakeClock
) -> None:
    server.answers = [stored("8", a="1")]
    execute(apply(stored("7", a="0"), a="1"))
    assert len(executor._memory._written) == 1
    clock.step(30)
    executor.newest(INFRA, NODES, {"metadata": {"name": "other", "resourceVersion": "3"}})
    assert not executor._memory._written


def test_a_cluster_whose_time_went_back_is_believed_at_once(
    execute: Callable[..., bool], executor: Executor, server: Script
) -> None:
    server.answers = [stored("8", a="1"), stored("8", a="1")]
    execute(apply(stored("7", a="0"), a="1"))
    executor.forget("tenant/n/t")
    assert not execute(apply(stored("7", a="0"), a="1"))
    executor.forget(INFRA)
    assert execute(apply(stored("7", a="0"), a="1"))


def test_another_object_under_the_name_is_not_taken_for_our_last_write(
    execute: Callable[..., bool], server: Script
) -> None:
    server.answers = [stored("8", a="1"), stored("12", uid="u-2", a="1")]
    execute(apply(stored("7", a="0"), a="1"))
    execute(apply(stored("10", uid="u-2", a="0"), a="1"))
    assert expectations(server.asked[1]) == {"uid": "u-2"}


def test_a_fence_names_the_version_that_the_decision_saw(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [stored("8", a="1"), Conflict(409, "Conflict", "")]
    behind = stored("7", a="0")
    execute(apply(behind, a="1"))
    with pytest.raises(Conflict):
        execute(apply(behind, Fence.VERSION, a="2"))
    assert expectations(server.asked[1]) == {"uid": "u-1", "resourceVersion": "7"}


def test_an_object_that_we_made_and_the_cache_does_not_show_is_asked_for_and_not_made_again(
    execute: Callable[..., bool], server: Script
) -> None:
    server.answers = [stored("8", a="1"), stored("8", a="1")]
    execute(apply(None, a="1"))
    assert not execute(apply(None, a="1"))
    assert server.asked[1:] == [("get", "m")]


LOOKED = {
    "it is yet to come": (Absence.BEHIND, []),
    "it is shown by now": (stored("8", a="1"), []),
    "it is gone": (Absence.GONE, [{"resourceVersion": "1"}]),
    "another one is there": (stored("12", uid="u-2", a="1"), [{"resourceVersion": "1"}]),
}


@pytest.mark.parametrize(("looked", "sent"), LOOKED.values(), ids=LOOKED.keys())
def test_of_an_object_that_we_made_and_the_view_does_not_show_the_caches_know_more(
    server: Script, recorder: Recorder, clock: FakeClock, looked: dict[str, Any] | Absence, sent: list[dict[str, str]]
) -> None:
    asked = []

    def look(*place: Resource | int | str) -> dict[str, Any] | Absence:
        asked.append(place)
        return looked

    executor = Executor(lambda _: cast(Client, server), OpenGate(), cast(EventRecorder, recorder), clock, look)
    server.answers = [stored("8", a="1"), stored("11", uid="u-3", a="1")]
    for _ in range(2):
        executor.execute(Plan((apply(None, a="1"),)), Stop())
    assert asked == [(INFRA, CONFIGMAPS, "n", "m", 8)]
    assert [expectations(request) for request in server.asked[1:]] == sent


def test_a_version_that_is_no_number_cannot_be_compared(server: Script, recorder: Recorder, clock: FakeClock) -> None:
    executor = Executor(
        lambda _: cast(Client, server), OpenGate(), cast(EventRecorder, recorder), clock, lambda *_: Absence.GONE
    )
    server.answers = [stored("x8", a="1"), stored("x8", a="1")]
    for _ in range(2):
        executor.execute(Plan((apply(None, a="1"),)), Stop())
    assert server.asked[1:] == [("get", "m")]


def test_an_object_that_we_made_and_someone_deleted_is_made_again(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [stored("8", a="1"), NotFound(404, "NotFound", ""), stored("11", uid="u-2", a="1")]
    execute(apply(None, a="1"))
    assert execute(apply(None, a="1"))
    assert expectations(server.asked[2]) == {"resourceVersion": "1"}


def test_a_stranger_in_the_place_of_what_we_made_is_not_touched(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [stored("8", a="1"), stored("12", uid="u-2", owned=(), b="1"), Conflict(409, "Conflict", "")]
    execute(apply(None, a="1"))
    with pytest.raises(Conflict):
        execute(apply(None, a="1"))
    assert expectations(server.asked[2]) == {"resourceVersion": "1"}


def test_what_the_server_makes_something_else_of_is_written_once(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [stored("8", owned=(), a="changed by a webhook")]
    execute(apply(stored("7", a="0"), a="1"))
    assert not execute(apply(stored("8", owned=(), a="changed by a webhook"), a="1"))
    assert not execute(apply(stored("9", owned=(), a="changed by a webhook", b="foreign"), a="1"))
    assert len(server.asked) == 1


def test_what_the_server_makes_something_else_of_is_written_again_after_half_an_hour(
    execute: Callable[..., bool], server: Script, clock: FakeClock
) -> None:
    changed = stored("8", owned=(), a="changed by a webhook")
    server.answers = [changed, stored("9", a="1")]
    execute(apply(stored("7", a="0"), a="1"))
    clock.step(SETTLED_SECONDS - 1.0)
    assert not execute(apply(changed, a="1"))
    clock.step(1.0)
    assert execute(apply(changed, a="1"))


def test_what_would_stay_when_we_give_it_up_is_claimed_once(execute: Callable[..., bool], server: Script) -> None:
    before = {"manager": "before-first-apply", "operation": "Update", "apiVersion": "v1"}
    shadowed, plain = stored("8", a="1", b="1"), stored("10", a="1")
    shadowed["metadata"]["managedFields"].append({**before, "fieldsV1": {"f:data": {".": {}, "f:a": {}, "f:b": {}}}})
    both = stored("9", owned=("a", "b"), a="1", b="1")
    server.answers = [shadowed, both, plain]
    whole = replace(apply(shadowed, a="1"), ownership=Ownership.WHOLE)
    assert execute(whole)
    assert [request[0] for request in server.asked] == ["apply", "merge_patch", "apply"]
    [entry] = server.asked[1][1]["metadata"]["managedFields"]
    assert (entry["manager"], entry["fieldsV1"]) == (US, {"f:data": {"f:a": {}, ".": {}, "f:b": {}}})
    assert not execute(replace(whole, live=plain))


CONFLICT = Conflict(409, "Conflict", "the object has been modified")


@pytest.mark.parametrize("patched", [False, True], ids=["before the claim", "after it"])
def test_a_claim_that_another_writer_comes_between_is_made_at_the_next_pass(
    execute: Callable[..., bool], server: Script, patched: bool
) -> None:
    before = {"manager": "before-first-apply", "operation": "Update", "apiVersion": "v1"}
    shadowed, both, plain = stored("8", a="1", b="1"), stored("9", owned=("a", "b"), a="1", b="1"), stored("12", a="1")
    shadowed["metadata"]["managedFields"].append({**before, "fieldsV1": {"f:data": {".": {}, "f:a": {}, "f:b": {}}}})
    whole = replace(apply(shadowed, a="1"), ownership=Ownership.WHOLE)
    server.answers = [shadowed, both, CONFLICT] if patched else [shadowed, CONFLICT]
    with pytest.raises(Conflict):
        execute(whole)
    server.asked.clear()
    server.answers = [plain] if patched else [shadowed, both, plain]
    meanwhile = versioned(both if patched else shadowed, "11")
    assert execute(replace(whole, live=meanwhile))
    assert [request[0] for request in server.asked][-1] == "apply"
    assert not execute(replace(whole, live=plain))


def versioned(obj: dict[str, Any], version: str) -> dict[str, Any]:
    """The same after a write of somebody else's field."""
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}


CHANGES = {
    "our field changes": (stored("9", owned=("a",), a="other"), "01"),
    "we want something else": (stored("8", a="1"), "02"),
}


@pytest.mark.parametrize(("live", "wanted"), CHANGES.values(), ids=CHANGES.keys())
def test_it_is_written_again_once(
    execute: Callable[..., bool], server: Script, live: dict[str, Any], wanted: str
) -> None:
    server.answers = [stored("8", a="1"), stored("10", a="1")]
    execute(apply(stored("7", a="0"), a="01"))
    assert execute(apply(live, a=wanted))
    assert not execute(apply(stored("10", a="1"), a=wanted))


def test_an_apply_to_another_object_than_the_expected_is_a_conflict(
    execute: Callable[..., bool], server: Script
) -> None:
    server.answers = [Invalid(422, "Invalid", "no", causes=({"field": "metadata.uid"},))]
    with pytest.raises(Conflict):
        execute(apply(stored("7", a="0"), a="1"))


def test_an_invalid_object_stays_invalid(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [Invalid(422, "Invalid", "no", causes=({"field": "data"},))]
    with pytest.raises(Invalid):
        execute(apply(stored("7", a="0"), a="1"))


def test_an_unknown_outcome_is_not_tried_again_by_itself(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [Unreachable(0, "Timeout", "")]
    with pytest.raises(Unreachable):
        execute(apply(stored("7", a="0"), a="1"))
    assert len(server.asked) == 1


def custom_resource(version: str = "5", *conditions: dict[str, Any]) -> dict[str, Any]:
    entry = {
        "manager": US,
        "operation": "Apply",
        "apiVersion": "dpu.openshift.io/v1alpha1",
        "subresource": "status",
        "fieldsV1": {
            "f:status": {
                "f:conditions": {
                    f'k:{{"type":"{condition["type"]}"}}': {
                        ".": {},
                        **{f"f:{member}": {} for member in condition},
                    }
                    for condition in conditions
                }
            }
        },
    }
    return {
        "apiVersion": "dpu.openshift.io/v1alpha1",
        "kind": "DpuClusterConfig",
        "metadata": {
            "name": "c",
            "namespace": "n",
            "uid": "u-1",
            "resourceVersion": version,
            "generation": 3,
            "managedFields": [entry] if conditions else [],
        },
        "spec": {"poolName": "dpu"},
        "status": {"conditions": list(conditions)} if conditions else {},
    }


def condition(status: str, since: str, generation: int = 3) -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": status,
        "reason": "Good",
        "message": "",
        "observedGeneration": generation,
        "lastTransitionTime": since,
    }


def ready(live: dict[str, Any], status: Status = "True") -> ApplyStatus:
    return ApplyStatus(INFRA, CONFIGS, live, (Condition("Ready", status, "Good"),), US)


def test_a_status_is_stamped_with_time_and_generation(
    execute: Callable[..., bool], server: Script, clock: FakeClock
) -> None:
    clock.step(60)
    server.answers = [custom_resource("6")]
    assert execute(ready(custom_resource()))
    assert server.asked == [
        (
            "apply_status",
            {
                "apiVersion": "dpu.openshift.io/v1alpha1",
                "kind": "DpuClusterConfig",
                "metadata": {"name": "c", "namespace": "n", "uid": "u-1", "resourceVersion": "5"},
                "status": {"conditions": [condition("True", "2026-01-01T00:01:00Z")]},
            },
        )
    ]


def test_a_status_that_says_so_already_is_not_written(
    execute: Callable[..., bool], server: Script, clock: FakeClock
) -> None:
    clock.step(60)
    assert not execute(ready(custom_resource("5", condition("True", "2025-12-31T00:00:00Z"))))
    assert server.asked == []


def test_a_status_keeps_its_transition_time_while_only_the_generation_changes(
    execute: Callable[..., bool], server: Script, clock: FakeClock
) -> None:
    clock.step(60)
    server.answers = [custom_resource("6")]
    execute(ready(custom_resource("5", condition("True", "2025-12-31T00:00:00Z", generation=2))))
    written = server.asked[0][1]["status"]["conditions"][0]
    assert (written["observedGeneration"], written["lastTransitionTime"]) == (3, "2025-12-31T00:00:00Z")


def test_a_status_that_we_wrote_keeps_its_time_before_the_cache_shows_it(
    execute: Callable[..., bool], server: Script, clock: FakeClock
) -> None:
    server.answers = [custom_resource("6", condition("True", "2026-01-01T00:00:00Z"))]
    execute(ready(custom_resource()))
    clock.step(10)
    assert not execute(ready(custom_resource()))


def test_a_status_is_tried_on_what_others_have_made_of_the_object(execute: Callable[..., bool], server: Script) -> None:
    other = {**condition("True", "2025-12-31T00:00:00Z"), "type": "McpReady"}
    theirs = {**custom_resource("6"), "status": {"conditions": [other]}}
    server.answers = [Conflict(409, "Conflict", ""), theirs, custom_resource("7")]
    assert execute(ready(custom_resource("5")))
    assert [request[0] for request in server.asked] == ["apply_status", "get", "apply_status"]
    assert [request[1]["metadata"]["resourceVersion"] for request in server.asked[::2]] == ["5", "6"]


def test_a_status_that_others_have_written_for_us_stands(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [Conflict(409, "Conflict", ""), custom_resource("6", condition("True", "2025-12-31T00:00:00Z"))]
    assert not execute(ready(custom_resource("5")))


BEATEN = {
    "the object is gone": (NotFound(404, "NotFound", ""), 1),
    "another has its name": ({**custom_resource(), "metadata": {**custom_resource()["metadata"], "uid": "u-2"}}, 1),
    "others write without end": (custom_resource("9"), STATUS_TRIES),
}


@pytest.mark.parametrize(("found", "tries"), BEATEN.values(), ids=BEATEN.keys())
def test_a_status_that_cannot_be_written_is_a_conflict_in_the_end(
    execute: Callable[..., bool], server: Script, found: dict[str, Any] | NotFound, tries: int
) -> None:
    server.answers = [Conflict(409, "Conflict", ""), found] * STATUS_TRIES
    with pytest.raises(Conflict):
        execute(ready(custom_resource("5")))
    written = [request for request in server.asked if request[0] == "apply_status"]
    assert [request[1]["metadata"]["uid"] for request in written] == ["u-1"] * tries


def telling(live: dict[str, Any], status: Status = "True") -> tuple[ApplyStatus, Emit]:
    event = Emit(INFRA, CONFIGS, live, "Normal", "Good", f"Ready is {status}")
    return replace(ready(live, status), telling={"Ready": event}), event


def test_a_status_is_told_of_when_it_is_written(
    execute: Callable[..., bool], server: Script, recorder: Recorder
) -> None:
    server.answers = [custom_resource("6", condition("True", "2026-01-01T00:00:00Z"))]
    step, event = telling(custom_resource())
    execute(step)
    assert recorder.emitted == [event]


LOGGED = {  # what stood before, what is written, type of its Event -> level of the line
    "it turns": (None, ("True", "Good"), "Normal", "info"),
    "it turns back": ("False", ("True", "Good"), "Normal", "info"),
    "only its reason changes": ("True", ("True", "Better"), "Normal", "debug"),
    "only its reason changes, for the worse": ("False", ("False", "Stuck"), "Warning", "info"),
}


@pytest.mark.parametrize(("before", "after", "event", "level"), LOGGED.values(), ids=LOGGED.keys())
def test_a_status_that_is_written_is_logged_with_what_each_condition_became(
    execute: Callable[..., bool],
    server: Script,
    before: str | None,
    after: tuple[Status, str],
    event: Literal["Normal", "Warning"],
    level: str,
) -> None:
    live = custom_resource("5", *([{"type": "Ready", "status": before, "reason": "Old"}] if before else []))
    became = Condition("Ready", *after)
    telling = {"Ready": Emit(INFRA, CONFIGS, live, event, after[1], "note")}
    server.answers = [custom_resource("6")]
    with capture_logs() as lines:
        execute(ApplyStatus(INFRA, CONFIGS, live, (became,), US, {}, telling))
    (line,) = [line for line in lines if line["event"] == "conditions changed"]
    assert (line["conditions"], line["log_level"]) == (f"Ready={after[0]} {after[1]}", level)


def test_a_status_that_is_not_written_is_not_told_of(
    execute: Callable[..., bool], server: Script, recorder: Recorder
) -> None:
    step, _ = telling(custom_resource("5", condition("True", "2025-12-31T00:00:00Z")))
    execute(step)
    assert recorder.emitted == []


def test_a_status_that_cannot_be_written_is_not_told_of(
    execute: Callable[..., bool], server: Script, recorder: Recorder
) -> None:
    server.answers = [Unreachable(0, "Timeout", "")]
    step, _ = telling(custom_resource())
    with pytest.raises(Unreachable):
        execute(step)
    assert recorder.emitted == []


def test_other_words_for_the_same_are_written_and_not_told(
    execute: Callable[..., bool], server: Script, recorder: Recorder
) -> None:
    before = {**condition("True", "2025-12-31T00:00:00Z"), "message": "in other words"}
    server.answers = [custom_resource("6", condition("True", "2025-12-31T00:00:00Z"))]
    step, _ = telling(custom_resource("5", before))
    assert execute(step)
    assert recorder.emitted == []


def test_a_view_that_was_gathered_before_our_last_write_tells_nothing_again(
    execute: Callable[..., bool], server: Script, recorder: Recorder
) -> None:
    server.answers = [custom_resource("6", condition("True", "2026-01-01T00:00:00Z"))]
    step, event = telling(custom_resource("5"))
    execute(step)
    execute(step)
    assert recorder.emitted == [event]


def test_other_members_of_the_status_are_written_with_it(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [custom_resource("6")]
    execute(ApplyStatus(INFRA, CONFIGS, custom_resource(), (), US, {"tenantUID": "t"}))
    assert server.asked[0][1]["status"] == {"tenantUID": "t"}


def node(version: str = "5", **spec: bool) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "dpu-1", "uid": "u-1", "resourceVersion": version, "annotations": {"a": "1"}},
        "spec": spec,
    }


PATCHES = {
    "value as it is": ({"spec": {"unschedulable": True}}, False),
    "value changed": ({"spec": {"unschedulable": False}}, True),
    "absent member set": ({"spec": {"podCIDR": "x"}}, True),
    "absent map set": ({"status": {"x": 1}}, True),
    "present member removed": ({"metadata": {"annotations": {"a": None}}}, True),
    "absent member removed": ({"metadata": {"annotations": {"b": None}}}, False),
    "member of a scalar": ({"spec": {"unschedulable": {"x": 1}}}, True),
}


@pytest.mark.parametrize(("patch", "sent"), PATCHES.values(), ids=PATCHES.keys())
def test_a_patch_is_sent_if_it_changes_something(
    execute: Callable[..., bool], server: Script, patch: dict[str, Any], sent: bool
) -> None:
    server.answers = [node("6")]
    assert execute(Patch(INFRA, NODES, node(unschedulable=True), patch)) is sent
    assert len(server.asked) == sent


def test_a_patch_is_for_exactly_the_state_that_was_seen(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [node("6")]
    execute(Patch(INFRA, NODES, node(), {"metadata": {"annotations": {"a": "2"}}, "spec": {"unschedulable": True}}))
    assert server.asked == [
        (
            "merge_patch",
            {
                "metadata": {"annotations": {"a": "2"}, "uid": "u-1", "resourceVersion": "5"},
                "spec": {"unschedulable": True},
            },
        )
    ]


FENCES = {"object": (Fence.UID, ""), "state": (Fence.VERSION, "7")}


@pytest.mark.parametrize(("fence", "version"), FENCES.values(), ids=FENCES.keys())
def test_a_delete_is_for_exactly_the_object_or_state_that_was_seen(
    execute: Callable[..., bool], server: Script, fence: Fence, version: str
) -> None:
    server.answers = [None]
    assert execute(Delete(INFRA, CONFIGMAPS, stored("7"), fence))
    assert server.asked == [("delete", "u-1", version)]


def test_what_is_gone_counts_as_deleted(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [NotFound(404, "NotFound", "")]
    assert not execute(Delete(INFRA, CONFIGMAPS, stored("7")))


def test_what_is_terminating_counts_as_deleted(execute: Callable[..., bool], server: Script) -> None:
    live = stored("7")
    live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not execute(Delete(INFRA, CONFIGMAPS, live))
    assert server.asked == []


def test_a_delete_is_known_before_the_cache_shows_it(execute: Callable[..., bool], server: Script) -> None:
    server.answers = [None, None]
    execute(Delete(INFRA, CONFIGMAPS, stored("7")))
    assert not execute(Delete(INFRA, CONFIGMAPS, stored("7")))
    assert execute(Delete(INFRA, CONFIGMAPS, stored("9", uid="u-2")))


def test_an_object_that_we_made_and_deleted_is_made_again_without_asking(
    execute: Callable[..., bool], server: Script
) -> None:
    server.answers = [stored("8", a="1"), None, stored("11", uid="u-2", a="1")]
    execute(apply(None, a="1"))
    execute(Delete(INFRA, CONFIGMAPS, stored("8", a="1")))
    execute(apply(None, a="1"))
    assert [request[0] for request in server.asked] == ["apply", "delete", "apply"]


def test_steps_are_carried_out_in_order_and_end_at_the_first_that_fails(
    execute: Callable[..., bool], server: Script
) -> None:
    server.answers = [stored("8", a="1"), Conflict(409, "Conflict", "")]
    with pytest.raises(Conflict):
        execute(apply(None, a="1"), Delete(INFRA, NODES, node()), ready(custom_resource()))
    assert [request[0] for request in server.asked] == ["apply", "delete"]


def test_no_step_begins_once_it_is_time_to_stop(executor: Executor, server: Script) -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        executor.execute(Plan((apply(None, a="1"),)), stop)
    assert server.asked == []


def test_an_empty_plan_writes_nothing(execute: Callable[..., bool]) -> None:
    assert not execute()


def test_an_event_goes_to_the_recorder_and_is_no_write(execute: Callable[..., bool], recorder: Recorder) -> None:
    step = Emit(INFRA, NODES, node(), "Normal", "Opened", "")
    assert not execute(step)
    assert recorder.emitted == [step]


@pytest.mark.parametrize(("left", "timeout"), [(100.0, 10.0), (2.5, 2.5)])
def test_no_request_lasts_longer_than_the_gate_allows(
    server: Script, recorder: Recorder, clock: FakeClock, left: float, timeout: float
) -> None:
    server.answers = [stored("8", a="1")]
    Executor(lambda _: cast(Client, server), Gate(left), cast(EventRecorder, recorder), clock).execute(
        Plan((apply(None, a="1"),)), Stop()
    )
    assert server.timeouts == [timeout]


def test_nothing_is_written_once_the_gate_is_closed(server: Script, recorder: Recorder, clock: FakeClock) -> None:
    steps = (apply(None, a="1"),)
    with pytest.raises(LeadershipLost):
        Executor(lambda _: cast(Client, server), Gate(0.0), cast(EventRecorder, recorder), clock).execute(
            Plan(steps), Stop()
        )
    assert server.asked == []


def test_the_objects_of_a_plan_are_left_as_they_are(execute: Callable[..., bool], server: Script) -> None:
    live = stored("7", a="0")
    step = apply(live, a="1")
    before = copy.deepcopy(step)
    server.answers = [stored("8", a="1")]
    execute(step)
    assert step == before


def test_what_is_sent_is_sent_even_if_it_changes_nothing(executor: Executor, server: Script) -> None:
    live = stored("7", a="1")
    server.answers = [live, live, None]
    assert executor.send(apply(live, Fence.VERSION, a="1")) == live
    assert executor.send(Patch(INFRA, CONFIGMAPS, live, {"data": {"a": "1"}})) == live
    assert executor.send(Delete(INFRA, CONFIGMAPS, live, Fence.VERSION)) is None
    assert [request[0] for request in server.asked] == ["apply", "merge_patch", "delete"]
    assert expectations(server.asked[0]) == {"uid": "u-1", "resourceVersion": "7"}
    assert server.asked[2][1:] == ("u-1", "7")


def test_what_is_sent_expects_what_it_carries_and_not_what_we_wrote_last(executor: Executor, server: Script) -> None:
    server.answers = [stored("8", a="1"), Conflict(409, "Conflict", "changed")]
    executor.send(apply(stored("7", a="0"), Fence.VERSION, a="1"))
    with pytest.raises(Conflict):
        executor.send(apply(stored("7", a="0"), Fence.VERSION, a="2"))
    assert expectations(server.asked[1]) == {"uid": "u-1", "resourceVersion": "7"}


def test_what_was_sent_is_known_before_the_cache_shows_it(
    executor: Executor, execute: Callable[..., bool], server: Script
) -> None:
    server.answers = [stored("8", a="1")]
    executor.send(apply(stored("7", a="0"), a="1"))
    assert execute(apply(stored("7", a="0"), a="1")) is False


def test_what_is_gone_counts_as_deleted_and_nothing_is_sent_without_leadership(
    executor: Executor, server: Script, recorder: Recorder, clock: FakeClock
) -> None:
    server.answers = [NotFound(404, "NotFound", "")]
    assert executor.send(Delete(INFRA, CONFIGMAPS, stored("7"))) is None
    deposed = Executor(lambda _: cast(Client, server), Gate(0), cast(EventRecorder, recorder), clock)
    with pytest.raises(LeadershipLost):
        deposed.send(Patch(INFRA, CONFIGMAPS, stored("7"), {}))
    assert len(server.asked) == 1


@pytest.mark.parametrize(("fence", "is_applied"), [(Fence.UID, True), (Fence.VERSION, False)])
def test_what_this_process_made_and_no_cache_shows_yet_is_applied_to_unless_it_is_made_once(
    executor: Executor, server: Script, fence: Fence, is_applied: bool
) -> None:
    server.answers = [stored("7", a="1"), stored("7", a="1"), stored("8", a="2")]
    assert executor.execute(Plan((apply(None, fence, a="1"),)), Stop()) is Executed.WROTE
    again = executor.execute(Plan((apply(None, fence, a="2"),)), Stop())
    assert again is (Executed.WROTE if is_applied else Executed.BEHIND)
    sent = [asked[1] for asked in server.asked if asked[0] == "apply"]
    assert [expectations(("apply", body)) for body in sent[1:]] == ([{"uid": "u-1"}] if is_applied else [])
