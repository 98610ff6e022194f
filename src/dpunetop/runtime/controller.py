"""A controller: its workers take keys from a work queue, call the reconciler, and forget or requeue each key."""

from __future__ import annotations

import random as _random
import threading
from collections.abc import Callable
from typing import Protocol

from structlog.contextvars import bound_contextvars
from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop, Stopped
from dpunetop.kube.errors import ApiError, Conflict
from dpunetop.kube.keys import Key
from dpunetop.runtime.election.gate import LeadershipLost
from dpunetop.runtime.flowcontrol import ItemBackoff, no_rest
from dpunetop.runtime.lanes import Lanes
from dpunetop.runtime.metrics import Metrics, Result
from dpunetop.runtime.reading import NotEngaged, NotSynced
from dpunetop.runtime.resync import RESYNC_SECONDS, Resync
from dpunetop.runtime.workqueue import WorkQueue

_REFRESH_SECONDS = 0.5
_USUAL_CONFLICTS = 3
_MOST_WAITING = 2
"""So many workers wait for the next keys however long there are none: making one takes a moment."""


class Terminal(Exception):
    """A retry is pointless until something changes, which enqueues the key (TerminalError of controller-runtime)."""


class Reconciler(Protocol):
    """Brings the state of one key closer to the desired one, from whatever state it is in."""

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """Reconcile `key` once, whatever event enqueued it.

        Returns None if only the next change matters, or the seconds after which to requeue the key (0: with backoff).
        Threads: any worker; never two at once for one key.
        Raises: ApiError to retry with backoff; Terminal not to retry; NotSynced and NotEngaged if a cache that it reads
            is not there yet and will enqueue it; Stopped and LeadershipLost if it must not go on.
        """


class Controller:
    """A work queue and its workers: as many as were busy at once a moment ago, and one that waits; above two, workers
    that had nothing to do between two rounds of `run` end.

    Workers that wait for slow lanes, beyond their limit, are replaced by others until they return: so a lane that
    becomes slow delays the others for at most two rounds, not until its cluster answers.

    Guarantees: each added key is reconciled afterwards; a failed reconcile is retried with growing backoff until one
        succeeds; each key is reconciled once per resync period, behind all others, until it is forgotten; after `stop`
        is set no reconcile begins; a key whose reconcile used much CPU rests before the next; each line that is logged
        during a reconcile, in any module, carries controller, cluster, namespace and name of its key.
    Threads: `queue` from any thread; call `run` once.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        *,
        clock: Clock,
        metrics: Metrics,
        workers: int,
        logger: FilteringBoundLogger,
        rest: Callable[[float], float] = no_rest,
        debounce_seconds: float = 0.0,
        resync_seconds: float = RESYNC_SECONDS,
        random: Callable[[], float] = _random.random,
        lanes: Lanes[Key] | None = None,
    ) -> None:
        """`rest` maps the CPU seconds of a reconcile to the seconds that its key rests; `debounce_seconds` is the delay
        of `debounce`; `resync_seconds` is the longest time without a reconcile; without `lanes` all keys share one."""
        self.name = name
        self._lanes: Lanes[Key] = lanes or Lanes()
        self.queue: WorkQueue[Key] = WorkQueue(clock, metrics.workqueue(name), ItemBackoff(), self._lanes)
        self._reconciler = reconciler
        self._clock = clock
        self._metrics = metrics.controller(name)
        self._metrics.max_concurrent(workers)
        self._most_workers = workers
        self._rest = rest
        self._debounce_seconds = debounce_seconds
        self._resync: Resync[Key] = Resync(resync_seconds, random)
        self._log: FilteringBoundLogger = logger
        self._guard = threading.Lock()  # guards all below
        self._workers: list[threading.Thread] = []  # a worker lists those that it starts, so joining all misses none
        self._staff = 0  # workers that are to stay
        self._active = 0
        self._most_staff = workers
        self._least_waiting = 0  # since the last look

    def debounce(self, key: Key) -> None:
        """One of the many objects of `key` has changed: enqueue it after a delay, in which others may change too.

        Threads: any.
        """
        self.queue.add_after(key, self._debounce_seconds)

    def forget(self, key: Key) -> None:
        """`key` is gone: no resync enqueues it again.

        Threads: any; a reconcile that finds it gone calls it from its worker.
        """
        self._resync.forget(key)

    def run(self, stop: Stop) -> None:
        """Work until `stop` is set and the running reconciles have ended.

        Raises: RuntimeError if a worker died, which is a bug; the interpreter has shown its traceback.
        """
        ended = stop.child()
        with self._guard:
            self._add_worker_locked(stop, ended)
        while not ended.wait(_REFRESH_SECONDS):
            self.queue.refresh()
            now = self._clock.monotonic()
            for key in self._resync.take(now):
                if not self.queue.add_behind(key):  # in hand: try again, or it would be its last resync
                    self._resync.looked(key, now)
            self._relieve(stop, ended)
        self.queue.shut_down()
        for worker in self._workers:
            worker.join()
        if not stop.is_set():
            raise RuntimeError(f"a worker of controller {self.name} died")

    def _add_worker_locked(self, stop: Stop, ended: Stop) -> None:
        name = f"{self.name}-{self._staff}"
        worker = threading.Thread(target=self._work, args=(stop, ended), name=name)
        worker.start()
        self._workers.append(worker)
        self._staff += 1

    def _relieve(self, stop: Stop, ended: Stop) -> None:
        """Replace the workers that wait for slow lanes."""
        excess = self.queue.slow_in_hand() - self._lanes.relieved_from
        with self._guard:
            self._workers[:] = [worker for worker in self._workers if worker.is_alive()]
            self._most_staff = self._most_workers + max(0, excess)
            if self._active == self._staff < self._most_staff:
                self._add_worker_locked(stop, ended)
            unneeded = max(0, self._least_waiting - _MOST_WAITING)
            self._least_waiting = self._staff - self._active
        self.queue.thin_out(unneeded)

    def _work(self, stop: Stop, ended: Stop) -> None:
        is_needed = True

        def may_leave() -> bool:
            nonlocal is_needed
            is_needed = not self._leaves()
            return not is_needed

        try:
            while is_needed and (key := self.queue.get(stop, may_leave)) is not None:
                self._take_up(stop, ended)
                begun = self._clock.thread_cpu()
                try:
                    self._process(key, stop)
                finally:
                    self.queue.done(key, self._rest(self._clock.thread_cpu() - begun))
                    is_needed = self._put_down()
        finally:
            if is_needed:
                ended.set()  # workers end together: with `stop`, or because one of them died

    def _take_up(self, stop: Stop, ended: Stop) -> None:
        """A worker has taken a key: start another one if none waits for the next key."""
        with self._guard:
            self._active += 1
            self._metrics.active(self._active)
            if self._active == self._staff < self._most_staff:
                self._add_worker_locked(stop, ended)
            self._least_waiting = min(self._least_waiting, self._staff - self._active)

    def _leaves(self) -> bool:
        """Whether a worker that waits is to end. One that has a key by now, but has not taken it up, counts as one that
        waits, and leaves another one waiting when it does."""
        with self._guard:
            is_unneeded = self._staff - self._active > _MOST_WAITING
            self._staff -= 1 if is_unneeded else 0
            return is_unneeded

    def _put_down(self) -> bool:
        """A worker is done with its key; return whether it stays."""
        with self._guard:
            self._active -= 1
            self._metrics.active(self._active)
            is_needed = self._staff <= self._most_staff
            self._staff -= 0 if is_needed else 1
            return is_needed

    def _process(self, key: Key, stop: Stop) -> None:
        started = self._clock.monotonic()
        self._resync.looked(key, started)  # before the reconcile, which may forget the key
        with bound_contextvars(controller=self.name, cluster=key.cluster, namespace=key.namespace, name=key.name):
            result = self._outcome(key, stop)
        if result is not None:
            self._metrics.reconciled(result, self._clock.monotonic() - started)

    def _outcome(self, key: Key, stop: Stop) -> Result | None:
        try:
            return self._succeeded(key, self._reconciler.reconcile(key, stop))
        except (NotSynced, NotEngaged) as err:
            self._log.debug("waiting for a cache", reason=str(err))
            return "requeue"
        except (Stopped, LeadershipLost):
            return None
        except Terminal as err:
            self._log.error("reconcile gave up", error=str(err))
            self._metrics.terminal_error()
        except ApiError as err:
            if stop.is_set():
                return None  # its connections were closed on purpose
            self._failed(key, err)
        # The one broad except of the engine: any other exception is a bug about one key. It is counted, logged with its
        # traceback and retried; it must not end the worker that all other keys need.
        except Exception as err:  # noqa: BLE001
            self._log.exception("reconcile panicked", kind=type(err).__name__)
            self._metrics.panicked()
            self.queue.add_rate_limited(key)
        return "error"

    def _succeeded(self, key: Key, again_seconds: float | None) -> Result:
        if again_seconds is not None and again_seconds <= 0:
            self.queue.add_rate_limited(key)
            return "requeue"
        self.queue.forget(key)
        if again_seconds is None:
            return "success"
        self.queue.add_after(key, again_seconds)
        return "requeue_after"

    def _failed(self, key: Key, err: ApiError) -> None:
        self.queue.add_rate_limited(key, err.retry_after_seconds or 0.0)
        retries = self.queue.retries(key)
        # A stale cache causes a conflict now and then; only a lasting one is worth a warning.
        is_usual = isinstance(err, Conflict) and retries <= _USUAL_CONFLICTS
        tell = self._log.info if is_usual else self._log.warning
        tell(
            "reconcile failed",
            code=err.code,
            reason=err.reason,
            error=err.message,
            retries=retries,
        )
