"""Inquiries: facts that no cache shows are asked of the API servers here, as keyed work, so that no pass waits for an
answer.

A gatherer reads the answer from its store, puts its question if that is missing or too old, and is woken by the new
answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dpunetop.base.stop import Stop, Stopped
from dpunetop.kube.keys import Key
from dpunetop.runtime.reading import NotEngaged, Waker

Question = tuple[str, ...]
"""Words that identify a question to one cluster; the first is its subject."""


@dataclass(slots=True)
class _Inquiry:
    ask: Callable[[], None]
    wakers: set[Waker] = field(default_factory=set)


class Inquiries:
    """A Reconciler; its keys are clusters with a subject, and a pass asks all open questions about it.

    Guarantees: an open question is asked once, however many have put it, and the answer wakes all of them; a cluster is
        one lane, so that a slow one holds up no other; thousands of questions on one subject hold up no other subject;
        a question to a cluster that is gone is dropped, and the readers of that cluster are woken when it comes back.
    Threads: any; `reconcile` from any worker, one at a time for each key.
    """

    name = "inquiries"

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards _open
        self._open: dict[Key, dict[Question, _Inquiry]] = {}  # the oldest first
        self._enqueue: Callable[[Key], None] = lambda _: None
        self._forget: Callable[[Key], None] = lambda _: None

    def connect(self, enqueue: Callable[[Key], None], forget: Callable[[Key], None]) -> None:
        """Take the callbacks that enqueue a key of this controller, and that forget it; once, before anything is
        asked."""
        self._enqueue, self._forget = enqueue, forget

    def lane(self, key: Key) -> str:
        """See `ConfigReconciler.lane`."""
        return key.cluster

    def put(self, cluster: str, question: Question, ask: Callable[[], None], waker: Waker) -> None:
        """Have `ask` called soon, which stores the answer, and then `waker`.

        `ask` raises only NotEngaged, and ends in bounded time.
        """
        key = Key(cluster, "", question[0])
        with self._guard:
            inquiry = self._open.setdefault(key, {}).setdefault(question, _Inquiry(ask))
            inquiry.wakers.add(waker)
        self._enqueue(key)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `runtime.controller.Reconciler`. Raises: Stopped."""
        while (first := self._first(key)) is not None:
            if stop.is_set():
                raise Stopped
            question, inquiry = first
            try:
                inquiry.ask()
            except NotEngaged:
                self._close(key, question)
                continue
            for waker in self._close(key, question):
                waker()
        self._forget(key)
        return None

    def _first(self, key: Key) -> tuple[Question, _Inquiry] | None:
        with self._guard:
            return next(iter(self._open.get(key, {}).items()), None)

    def _close(self, key: Key, question: Question) -> set[Waker]:
        """Close the question; returns the wakers of all that put it. If it is put from now on, it is asked again."""
        with self._guard:
            still_open = self._open[key]
            wakers = still_open.pop(question).wakers
            if not still_open:
                del self._open[key]
            return wakers
