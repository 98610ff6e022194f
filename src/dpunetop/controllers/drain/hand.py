"""Carries out the tasks of the drain, one call at a time: reads from the servers themselves, writes that are always
sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import structlog

from dpunetop.base.stop import Stop, Stopped
from dpunetop.domain.drain.calls import Answer, Call, Done, QuorumGet, QuorumList, Task, Write, drive
from dpunetop.kube.errors import ApiError, Forbidden, NotFound, Unauthorized
from dpunetop.kube.keys import INFRA
from dpunetop.kube.plan import Emit, Plan
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.executor import Executor

_PAGE = 500


class TenantRefused(Exception):
    """The tenant refuses a call for want of a right, and the task knows no other way; `error` names the right."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error)
        self.error = error


class Hand:
    """Threads: any."""

    def __init__(self, executor: Executor, clients: Callable[[str], Client]) -> None:
        self._executor = executor
        self._clients = clients
        self._log = structlog.get_logger().bind()

    def carry_out(self, task: Task, stop: Stop) -> Done:
        """Do all of a task.

        Raises: ApiError; TenantRefused; NotEngaged when a cluster has gone; Stopped; LeadershipLost.
        """
        refused: list[ApiError] = []

        def perform(call: Call) -> Answer:
            if stop.is_set():
                raise Stopped
            try:
                return self._perform(call, stop)
            except (Forbidden, Unauthorized) as err:
                if not isinstance(call, Emit) and _cluster_of(call) != INFRA:
                    refused.append(err)
                raise

        try:
            done = drive(task, perform)
        except (Forbidden, Unauthorized) as err:
            if err in refused:
                raise TenantRefused(err) from err
            raise
        self._log.info("drain task", task=type(task).__name__, result=done.result.name, note=done.note)
        return done

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


def _cluster_of(call: QuorumGet | QuorumList | Write) -> str:
    return call.step.cluster if isinstance(call, Write) else call.cluster
