"""Confirms that a Node which no cache shows is gone: by two quorum reads, far enough apart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dpunetop.base.clock import Clock
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.kube.errors import ApiError, NotFound
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import Obj
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.reading import Waker

DPU_SECONDS = 600.0
HOST_SECONDS = 60.0
_AGAIN_SECONDS = 5.0
"""Pause before the next read, after an answer that does not confirm that the Node is gone."""


@dataclass(frozen=True, slots=True)
class NodeAbsence:
    """A Node that a cache does not show. `found` is the object if the server has it all the same."""

    confirmed: bool = False
    found: Obj | None = None
    recheck_seconds: float | None = None
    error: ApiError | None = None
    """Why the server could not be asked."""
    is_unasked: bool = False
    """Whether the server has not answered yet; the answer wakes the key."""


@dataclass(frozen=True, slots=True)
class _Answer:
    at: float
    gone_since: float | None = None
    """When the server first confirmed that the Node is gone, if it has not shown it since."""
    confirmed: bool = False
    found: Obj | None = None
    error: ApiError | None = None

    def due(self, apart_seconds: float) -> float:
        """When to read again."""
        if self.gone_since is None or self.error is not None:
            return self.at + _AGAIN_SECONDS
        return self.gone_since + apart_seconds


class NodeAbsences:
    """Remembers for each Node since when it is known to be gone. Threads: any; one at a time for each Node."""

    def __init__(self, inquiries: Inquiries, clients: Callable[[str], Client], clock: Clock) -> None:
        self._inquiries = inquiries
        self._clients = clients
        self._clock = clock
        self._guard = threading.Lock()  # guards _answers
        self._answers: dict[tuple[str, str], _Answer] = {}  # the last one, by cluster and Node

    def seen(self, cluster: str, name: str) -> None:
        """Drop the answers about a Node that exists."""
        with self._guard:
            self._answers.pop((cluster, name), None)

    def look(self, cluster: str, name: str, apart_seconds: float, waker: Waker) -> NodeAbsence:
        """The last answer of the server. If it is due, the server is asked again, and the answer calls `waker`."""
        with self._guard:
            answer = self._answers.get((cluster, name))
        if answer is not None and answer.confirmed:
            return NodeAbsence(confirmed=True)
        left = 0.0 if answer is None else answer.due(apart_seconds) - self._clock.monotonic()
        if left <= 0.0:
            self._inquiries.put(cluster, ("node", name), lambda: self._ask(cluster, name, apart_seconds), waker)
        if answer is None:
            return NodeAbsence(is_unasked=True)
        is_woken = left <= 0.0 or answer.found is not None
        return NodeAbsence(found=answer.found, error=answer.error, recheck_seconds=None if is_woken else left)

    def _ask(self, cluster: str, name: str, apart_seconds: float) -> None:
        """Raises: NotEngaged."""
        now, place = self._clock.monotonic(), (cluster, name)
        with self._guard:
            since = before.gone_since if (before := self._answers.get(place)) is not None else None
        try:
            answer = _Answer(now, found=self._clients(cluster).get(NODES, "", name))
        except NotFound:
            is_second = since is not None and now - since >= apart_seconds
            answer = _Answer(now, now if since is None else since, confirmed=is_second)
        except ApiError as err:
            answer = _Answer(now, since, error=err)
        with self._guard:
            self._answers[place] = answer
