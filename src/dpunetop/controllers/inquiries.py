"""What no cache shows is asked of the API servers here, as keyed work: the pass that needs an answer waits for none.

Whoever gathers looks at the answer that its store has, puts its question where that is missing or too old, and is woken
once a newer one is there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from dpunetop.base.stop import Stop, Stopped
from dpunetop.kube.keys import Key
from dpunetop.runtime.reading import NotEngaged, Waker

Question = tuple[str, ...]
"""What is asked about, in words that tell it from every other question to one cluster; the first is its subject."""


@dataclass(slots=True)
class _Inquiry:
    ask: Callable[[], None]
    wakers: set[Waker] = field(default_factory=set)


class Inquiries:
    """A Reconciler; its keys are clusters with a subject, and a pass asks all that is open about one.

    Guarantees: a question that waits is asked once, however many have put it, and all of them are woken by the answer;
        a cluster is one lane, so that one that is slow holds up no other; thousands of questions on one subject hold up
        no other subject; a question to a cluster that has gone is dropped, and whoever reads that cluster is woken by
        its coming.
    Threads: any; `reconcile` from any worker, one at a time a key.
    """

    name = "inquiries"

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards _open
        self._open: dict[Key, dict[Question, _Inquiry]] = {}  # the oldest first
        self._enqueue: Callable[[Key], None] = lambda _: None
        self._forget: Callable[[Key], None] = lambda _: None

    def connect(self, enqueue: Callable[[Key], None], forget: Callable[[Key], None]) -> None:
        """Take the callbacks that enqueue a key of this controller, and that end its being looked at unwoken; once,
        before anything is asked."""
        self._enqueue, self._forget = enqueue, forget

    def lane(self, key: Key) -> str:
        """See `ConfigReconciler.lane`."""
        return key.cluster

    def put(self, cluster: str, question: Question, ask: Callable[[], None], waker: Waker) -> None:
        """Have `ask` called soon, which keeps the answer, and then `waker`.

        `ask` raises nothing but NotEngaged, and ends in bounded time.
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
        """Who has put the question; whoever puts it from now on has it asked anew."""
        with self._guard:
            still_open = self._open[key]
            wakers = still_open.pop(question).wakers
            if not still_open:
                del self._open[key]
            return wakers
