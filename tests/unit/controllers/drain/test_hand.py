"""A task's calls go to the servers themselves; what the tenant refuses for want of a right has a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop, Stopped
from dpunetop.controllers.drain.hand import Hand, TenantRefused
from dpunetop.domain.drain.calls import Done, Procedure, QuorumGet, QuorumList, Result, Write
from dpunetop.kube.errors import ApiError, Forbidden, NotFound
from dpunetop.kube.keys import INFRA, NODES, PODS
from dpunetop.kube.plan import Delete
from dpunetop.runtime.client.client import Client, Page
from dpunetop.runtime.executor import Executor

NODE = {"metadata": {"name": "n"}}
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


def carry_out(script: Script, *calls: Any, stop: Stop | None = None) -> Done:
    hand = Hand(cast(Executor, script), lambda _: cast(Client, script))
    return hand.carry_out(Calls(*calls), stop or Stop())


def test_what_is_not_there_is_an_answer_and_lists_are_complete() -> None:
    assert carry_out(Script(NotFound(404, "NotFound", "")), QuorumGet(INFRA, NODES, "", "n")).note == "None"
    listed = carry_out(script := Script(), QuorumList(INFRA, PODS, "ns", "app=x", "spec.nodeName=n"))
    assert listed.note == "({'metadata': {'name': 'a'}}, {'metadata': {'name': 'b'}})"
    assert script.asked == ["list pods/ns/spec.nodeName=n/app=x"]


def test_a_right_that_the_tenant_does_not_give_is_told_from_one_that_infra_does_not() -> None:
    with pytest.raises(TenantRefused) as told:
        carry_out(Script(REFUSED), Write(Delete("tenant/a/b", NODES, NODE)))
    assert told.value.error is REFUSED
    with pytest.raises(Forbidden):
        carry_out(Script(REFUSED), Write(Delete(INFRA, NODES, NODE)))


def test_no_call_is_made_once_the_process_is_to_end() -> None:
    stop = Stop()
    stop.set()
    script = Script()
    with pytest.raises(Stopped):
        carry_out(script, QuorumGet(INFRA, NODES, "", "n"), stop=stop)
    assert script.asked == []
