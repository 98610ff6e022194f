"""A task's calls go to the servers themselves; of one that fails it is known which."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars
from structlog.testing import capture_logs

from dpunetop.base.stop import Stop, Stopped
from dpunetop.controllers.drain.taskrunner import CallFailed, TaskRunner
from dpunetop.domain.drain.model.calls import (
    Answers,
    Done,
    Procedure,
    QuorumGet,
    QuorumList,
    Result,
    SideBySide,
    Task,
    Write,
)
from dpunetop.kube.errors import ApiError, Conflict, Forbidden, NotFound
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES, PODS, Key
from dpunetop.kube.plan import Apply, Delete, Emit, Fence, Patch
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.documents import Page
from dpunetop.runtime.election.gate import LeadershipLost, OpenGate
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.latency import Bulkhead, Delayed
from dpunetop.runtime.reading import NotEngaged
from support.clock import FakeClock
from support.scriptedcluster import Fuse, ScriptedCluster

KEY = Key("tenant/a/b", "host", "host-1")
NODE = {"metadata": {"name": "n"}}
ROOMY = Bulkhead(1, lambda _: False)
REFUSED = Forbidden(403, "Forbidden", "cannot patch nodes")


class Script:
    """A client and an executor in one: answers what it is told to, and notes what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def get(self, resource: Any, namespace: str, name: str) -> Any:
        return self._answer(f"get {name}")

    def pages(self, selection: Any, size: int) -> Iterator[Page]:
        self.asked.append(f"list {selection}")
        yield Page([{"metadata": {"name": "a"}}], "1", True)
        yield Page([{"metadata": {"name": "b"}}], "1", False)

    def send(self, step: Any) -> Any:
        return self._answer(type(step).__name__)

    def _answer(self, what: str) -> Any:
        self.asked.append(what)
        answer = self.answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        return answer


class Calls:
    """A task of given calls, whose last answer is its note."""

    def __init__(self, *calls: Any) -> None:
        self.calls = calls

    def run(self) -> Procedure:
        answer = None
        for call in self.calls:
            answer = yield call
        return Done(Result.DONE, repr(answer))


class Minds(Calls):
    """The same, but an error of a call is an answer like any other."""

    def run(self) -> Procedure:
        told = []
        for call in self.calls:
            try:
                yield call
            except ApiError as err:
                told.append(err.reason)
        return Done(Result.REFUSED, " ".join(told))


def carry_out(script: Script, *calls: Any, stop: Stop | None = None) -> Done:
    task_runner = TaskRunner(cast(Executor, script), lambda _: cast(Client, script), ROOMY)
    return task_runner.carry_out(KEY, Calls(*calls), stop or Stop()).done


def test_what_is_not_there_is_an_answer_and_lists_are_complete() -> None:
    assert carry_out(Script(NotFound(404, "NotFound", "")), QuorumGet(INFRA, NODES, "", "n")).note == "None"
    listed = carry_out(script := Script(), QuorumList(INFRA, PODS, "ns", "app=x", "spec.nodeName=n"))
    assert listed.note == "({'metadata': {'name': 'a'}}, {'metadata': {'name': 'b'}})"
    assert script.asked == ["list pods/ns/spec.nodeName=n/app=x"]


def test_the_call_that_failed_is_named_with_its_error() -> None:
    for cluster in ("tenant/a/b", INFRA):
        call = Write(Delete(cluster, NODES, NODE))
        with pytest.raises(CallFailed) as told:
            carry_out(Script(REFUSED), call)
        assert (told.value.call, told.value.error) == (call, REFUSED)


def test_no_call_is_made_once_the_process_is_to_end() -> None:
    stop = Stop()
    stop.set()
    script = Script()
    with pytest.raises(Stopped):
        carry_out(script, QuorumGet(INFRA, NODES, "", "n"), stop=stop)
    assert script.asked == []


def test_a_refusal_that_the_task_minds_is_its_own_affair() -> None:
    task_runner = TaskRunner(cast(Executor, script := Script(REFUSED, REFUSED)), lambda _: cast(Client, script), ROOMY)
    delete = Write(Delete("tenant/a/b", NODES, NODE))
    carried = task_runner.carry_out(KEY, Minds(delete, delete), Stop())
    assert (carried.done, carried.wrote) == (Done(Result.REFUSED, "Forbidden Forbidden"), False)
    assert carried.minded is not None
    assert carried.minded.error is REFUSED


def test_a_refusal_of_infra_is_not_laid_to_a_tenant_that_has_refused_before() -> None:
    class MindsTheFirst(Calls):
        def run(self) -> Procedure:
            try:
                yield self.calls[0]
            except Forbidden:
                yield self.calls[1]
            return Done(Result.DONE)

    script = Script(REFUSED, Forbidden(403, "Forbidden", "here too"))
    task_runner = TaskRunner(cast(Executor, script), lambda _: cast(Client, script), ROOMY)
    there, here = (Write(Delete(cluster, NODES, NODE)) for cluster in ("tenant/a/b", INFRA))
    with pytest.raises(CallFailed) as told:
        task_runner.carry_out(KEY, MindsTheFirst(there, here), Stop())
    assert (told.value.call, told.value.error.message) == (here, "here too")


@pytest.mark.parametrize("error", [Conflict(409, "Conflict", ""), NotFound(404, "NotFound", "")])
def test_another_error_ends_the_task_as_it_is(error: ApiError) -> None:
    script = Script(error)
    with pytest.raises(CallFailed):
        carry_out(script, Write(Delete("tenant/a/b", NODES, NODE)), QuorumGet(INFRA, NODES, "", "n"))
    assert script.asked == ["Delete"]


def test_a_cluster_that_has_gone_ends_the_task() -> None:
    def nobody(name: str) -> Client:
        raise NotEngaged(name)

    with pytest.raises(NotEngaged):
        TaskRunner(cast(Executor, Script()), nobody, ROOMY).carry_out(
            KEY, Calls(QuorumGet("tenant/a/b", NODES, "", "n")), Stop()
        )


def test_a_stop_between_two_calls_is_heeded_before_the_second() -> None:
    stop = Stop()

    class Stopping(Script):
        def send(self, step: Any) -> Any:
            stop.set()
            return super().send(step)

    script = Stopping(None)
    with pytest.raises(Stopped):
        carry_out(script, Write(Delete(INFRA, NODES, NODE)), QuorumGet(INFRA, NODES, "", "n"), stop=stop)
    assert script.asked == ["Delete"]


# --- with the executor that writes ------------------------------------------------------------------------------------


class Lost:
    """The gate of a process that leads no more."""

    def seconds_left(self) -> float:
        raise LeadershipLost


class Desk:
    """A hand over one scripted cluster with one ConfigMap."""

    def __init__(self, gate: Any = None) -> None:
        self.told: list[Emit] = []
        self.cluster = ScriptedCluster(INFRA, Fuse(), lambda: "now")
        self.cluster.put(CONFIGMAPS, {"metadata": {"name": "c", "namespace": "ns"}, "data": {"a": "1"}})
        recorder = cast(Any, SimpleNamespace(emit=self.told.append))
        client = cast(Client, self.cluster)
        self.task_runner = TaskRunner(
            Executor(lambda _: client, gate or OpenGate(), recorder, FakeClock()), lambda _: client, ROOMY
        )

    @property
    def live(self) -> Any:
        return self.cluster.shown(CONFIGMAPS, "ns", "c")

    def do(self, *calls: Any) -> Done:
        return self.task_runner.carry_out(KEY, Calls(*calls), Stop()).done


def patch(desk: Desk) -> Write:
    return Write(Patch(INFRA, CONFIGMAPS, desk.live, {"data": {"a": "1"}}))


def apply(desk: Desk) -> Write:
    desired = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}}
    return Write(Apply(INFRA, CONFIGMAPS, {**desired, "data": {"a": "1"}}, desk.live, "m", Fence.VERSION))


@pytest.mark.parametrize("write", [patch, apply])
def test_a_write_is_sent_although_it_would_change_nothing(write: Any) -> None:
    desk = Desk()
    desk.do(write(desk))
    desk.do(write(desk))
    assert len(desk.cluster.writes) == 2


@pytest.mark.parametrize("write", [patch, apply])
def test_a_write_fails_if_anybody_has_written_since_it_was_read(write: Any) -> None:
    desk = Desk()
    late = write(desk)
    desk.cluster.put(CONFIGMAPS, desk.live)
    with pytest.raises(CallFailed) as told:
        desk.do(late)
    assert isinstance(told.value.error, Conflict)
    assert desk.cluster.writes == []


def test_nothing_is_written_by_one_that_leads_no_more() -> None:
    desk = Desk(Lost())
    with pytest.raises(LeadershipLost):
        desk.do(patch(desk))
    assert desk.cluster.writes == []


def test_an_event_needs_no_response() -> None:
    desk = Desk()
    told = Emit(INFRA, CONFIGMAPS, desk.live, "Normal", "Reason", "note")
    assert desk.do(patch(desk), told).note == "None"
    assert desk.told == [told]


def in_tenant(name: str) -> QuorumGet:
    return QuorumGet(KEY.cluster, NODES, "", name)


class Outdated(Calls):
    """Finds after its calls that what it was decided on has changed."""

    def run(self) -> Procedure:
        yield from super().run()
        return Done(Result.STALE, "n: has changed since it was looked at")


READ = QuorumGet(INFRA, NODES, "", "n")
WRITE = Write(Delete(INFRA, NODES, NODE))


@pytest.mark.parametrize(
    ("task", "level"), [(Outdated(READ), "debug"), (Outdated(WRITE), "info"), (Calls(READ), "info")]
)
def test_only_a_task_that_did_nothing_because_its_view_was_old_is_no_line_of_info(task: Task, level: str) -> None:
    with capture_logs() as lines:
        script = Script(NODE)
        TaskRunner(cast(Executor, script), lambda _: cast(Client, script), ROOMY).carry_out(KEY, task, Stop())
    assert [line["log_level"] for line in lines if line["event"] == "drain task"] == [level]


class Meeting:
    """A client whose reads all wait until so many are under way."""

    def __init__(self, parties: int, errors: dict[str, Exception] | None = None) -> None:
        self.barrier = threading.Barrier(parties)
        self.errors = errors or {}
        self.contexts: set[str] = set()

    def get(self, resource: Any, namespace: str, name: str) -> Any:
        self.barrier.wait(60.0)
        self.contexts.add(str(get_contextvars().get("controller")))
        if name in self.errors:
            raise self.errors[name]
        return {"metadata": {"name": name}}


class Beside(Calls):
    """Reads side by side; what they answered, an error by its reason."""

    def run(self) -> Procedure:
        answers = yield SideBySide(self.calls)
        assert isinstance(answers, Answers)
        if error := next((each for each in answers.each if isinstance(each, Conflict)), None):
            raise error
        return Done(Result.DONE, ", ".join(getattr(each, "reason", str(each)) for each in answers.each))


NAMES = ("a", "b", "c", "d")


def beside(client: Meeting, stop: Stop | None = None) -> Done:
    task_runner = TaskRunner(cast(Executor, client), lambda _: cast(Client, client), ROOMY)
    task = Beside(*(QuorumGet(INFRA, NODES, "", name) for name in NAMES))
    return task_runner.carry_out(KEY, task, stop or Stop()).done


def test_reads_side_by_side_are_under_way_at_once_and_answered_in_their_order() -> None:
    before = threading.active_count()
    assert beside(Meeting(4)).note == ", ".join(str({"metadata": {"name": name}}) for name in NAMES)
    assert threading.active_count() == before


def test_the_log_lines_of_reads_side_by_side_name_the_controller_and_the_key() -> None:
    client = Meeting(4)
    with bound_contextvars(controller="drain"):
        beside(client)
    assert client.contexts == {"drain"}


def test_what_is_gone_and_what_is_refused_are_answers_of_reads_side_by_side() -> None:
    client = Meeting(4, {"b": NotFound(404, "NotFound", ""), "d": REFUSED})
    assert beside(client).note == "{'metadata': {'name': 'a'}}, None, {'metadata': {'name': 'c'}}, Forbidden"


def test_the_read_that_ended_a_task_is_named_among_those_side_by_side() -> None:
    error = Conflict(409, "Conflict", "")
    with pytest.raises(CallFailed) as told:
        beside(Meeting(4, {"c": error, "d": REFUSED}))
    assert (told.value.call, told.value.error) == (QuorumGet(INFRA, NODES, "", "c"), error)


def test_a_cluster_that_has_gone_ends_reads_side_by_side_after_the_others() -> None:
    with pytest.raises(NotEngaged):
        beside(Meeting(4, {"b": NotEngaged("tenant/a/b")}))


def test_no_read_side_by_side_is_sent_once_the_process_is_to_end() -> None:
    stop = Stop()
    stop.set()
    with pytest.raises(Stopped):
        beside(Meeting(5), stop)


def test_reads_side_by_side_find_room_among_slow_tenants_or_none_is_sent() -> None:
    bulkhead = Bulkhead(1, lambda cluster: cluster != INFRA)
    client = Meeting(5)
    task_runner = TaskRunner(cast(Executor, client), lambda _: cast(Client, client), bulkhead)
    with bulkhead.visit() as other:
        other.call("tenant/another/one")
        with pytest.raises(Delayed):
            task_runner.carry_out(KEY, Beside(READ, in_tenant("h")), Stop())
    assert client.contexts == set()


def test_a_task_that_finds_no_room_among_slow_tenants_calls_none_and_is_no_failure_of_a_call() -> None:
    bulkhead = Bulkhead(1, lambda cluster: cluster != INFRA)
    script = Script(NODE, NODE)
    task_runner = TaskRunner(cast(Executor, script), lambda _: cast(Client, script), bulkhead)
    with bulkhead.visit() as other:
        other.call("tenant/another/one")
        with pytest.raises(Delayed):
            task_runner.carry_out(KEY, Calls(in_tenant("h")), Stop())
    assert script.asked == []
    assert task_runner.carry_out(KEY, Calls(in_tenant("h"), in_tenant("i")), Stop()).done.result is Result.DONE


def test_what_a_task_does_in_infra_before_its_first_call_to_a_slow_tenant_is_done_without_room() -> None:
    bulkhead = Bulkhead(1, lambda cluster: cluster != INFRA)
    script = Script(NODE)
    task_runner = TaskRunner(cast(Executor, script), lambda _: cast(Client, script), bulkhead)
    closing = Write(Delete(INFRA, CONFIGMAPS, {"metadata": {"name": "c", "namespace": "ns"}}))
    with bulkhead.visit() as other:
        other.call("tenant/another/one")
        with pytest.raises(Delayed):
            task_runner.carry_out(KEY, Calls(closing, in_tenant("h")), Stop())
    assert script.asked == ["Delete"]
