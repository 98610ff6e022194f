"""Carries out the tasks of the drain: reads go to the servers, several at once, and writes are always sent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import assert_never

import structlog

from dpunetop.base.stop import Stop, Stopped
from dpunetop.controllers.drain.store import subject
from dpunetop.domain.drain.model.calls import (
    Answer,
    Answers,
    Call,
    Done,
    QuorumGet,
    QuorumList,
    Read,
    Result,
    Task,
    Write,
    answer_or_error,
    drive,
)
from dpunetop.kube.errors import ApiError, NotFound
from dpunetop.kube.keys import INFRA, Key
from dpunetop.kube.plan import Apply, Emit, Plan
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.latency import Bulkhead, Visit

_PAGE = 500


class CallFailed(Exception):
    """A call failed, and its task does not handle the error. Raised from the error."""

    def __init__(self, call: Call, error: ApiError) -> None:
        super().__init__(call, error)
        self.call = call
        self.error = error


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """The outcome of a task."""

    done: Done
    wrote: bool
    """Whether one of its writes succeeded."""
    minded: CallFailed | None = None
    """The last error that the task handled."""


class TaskRunner:
    """Carries out tasks against the servers themselves.

    Guarantees: all tasks that call slow tenants together use at most the workers of `bulkhead`; one that finds no room
        ends between two calls, where any task may end; a call to infra never waits for room, so that a budget is closed
        even if its tenant is slow. Threads: any.
    """

    def __init__(self, executor: Executor, clients: Callable[[str], Client], bulkhead: Bulkhead) -> None:
        self._executor = executor
        self._clients = clients
        self._bulkhead = bulkhead
        self._log = structlog.get_logger().bind()

    def carry_out(self, key: Key, task: Task, stop: Stop, rehearsed: Apply | None = None) -> TaskOutcome:
        """Carry out a whole task; `key` is its subject for the log. `rehearsed` is tried in a dry run before.

        Raises: CallFailed; Delayed; NotEngaged when a cluster has gone; Stopped; LeadershipLost.
        """
        with self._bulkhead.visit() as visit:
            if rehearsed is not None:
                visit.call(rehearsed.cluster)
                self._rehearse(rehearsed)
            return self._carry_out(key, task, stop, visit)

    def _carry_out(self, key: Key, task: Task, stop: Stop, visit: Visit) -> TaskOutcome:
        failed: list[CallFailed] = []
        wrote = False

        def perform(call: Call) -> Answer:
            nonlocal wrote
            if stop.is_set():
                raise Stopped
            visit.call(_cluster_of(call))
            try:
                answer = self._perform(call, stop)
            except ApiError as err:
                failed.append(CallFailed(call, err))
                raise
            wrote = wrote or isinstance(call, Write)
            return answer

        def read_all(reads: tuple[Read, ...]) -> Answers:
            if stop.is_set():
                raise Stopped
            for read in reads:
                visit.call(read.cluster)
            answers = self._read_all(reads, stop)
            pairs = zip(reads, answers.each, strict=True)
            failed.extend(CallFailed(read, err) for read, err in pairs if isinstance(err, ApiError))
            return answers

        try:
            done = drive(task, perform, read_all)
        except ApiError as err:
            raise next(each for each in reversed(failed) if each.error is err) from err
        tell = self._log.debug if done.result is Result.STALE and not wrote else self._log.info
        tell("drain task", **subject(key), task=type(task).__name__, result=done.result.name, note=done.note)
        return TaskOutcome(done, wrote, failed[-1] if failed else None)

    def _rehearse(self, step: Apply) -> None:
        """Return unless a write is known to fail as before: a refusal, or a server that does not support dry runs, does
        not show that. Raises: CallFailed; NotEngaged; LeadershipLost."""
        try:
            self._executor.rehearse(step)
        except ApiError as err:
            if not 400 <= err.code < 500:
                raise CallFailed(Write(step), err) from err

    def _read_all(self, reads: tuple[Read, ...], stop: Stop) -> Answers:
        """In threads of their own, but for the first: they end with the reads, which all have their limits."""
        ask = partial(answer_or_error, partial(self._perform, stop=stop))
        first, *others = reads
        with ThreadPoolExecutor(max(1, len(others)), "drain-reads") as threads:
            asked = [threads.submit(copy_context().run, ask, read) for read in others]
            answer = ask(first)
        return Answers((answer, *(each.result() for each in asked)))

    def _perform(self, call: Call, stop: Stop) -> Answer:
        match call:
            case QuorumGet():
                try:
                    return self._clients(call.cluster).get(call.resource, call.namespace, call.name)
                except NotFound:
                    return None
            case QuorumList():
                selection = Selection(call.resource, call.namespace, call.fields, call.labels)
                pages = self._clients(call.cluster).pages(selection, _PAGE)
                return tuple(item for page in pages for item in page.items)
            case Write():
                return self._executor.send(call.step)
            case Emit():
                self._executor.execute(Plan((call,)), stop)
                return None
        assert_never(call)


def _cluster_of(call: Call) -> str:
    match call:
        case QuorumGet() | QuorumList():
            return call.cluster
        case Write():
            return call.step.cluster
        case Emit():
            return INFRA  # for any cluster: it only goes to the recorder
    assert_never(call)
