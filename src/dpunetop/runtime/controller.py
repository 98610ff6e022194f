"""Workers that take keys from a queue, have them reconciled, and decide what becomes of each: done, later, or again."""

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


class Terminal(Exception):
    """Trying again is pointless until something changes; whatever changes wakes the key by itself."""


class Reconciler(Protocol):
    """Brings the world of one key closer to what it should be, from whatever state it is in."""

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """Look at `key` once; never told why.

        Returns None when there is nothing to do until something changes, or in how many seconds to look again without
        being woken (0: soon, with a growing pause).
        Threads: any worker; never two at once for one key.
        Raises: ApiError to be tried again with a growing pause; Terminal not to be; NotSynced and NotEngaged when what
            it reads is not there yet and will wake it; Stopped and LeadershipLost when it may not go on.
        """


class Controller:
    """A queue and its workers, of which there are no more than have ever been busy at once, and one that waits.

    Workers that are found to wait for slow lanes, beyond those that may, have others in their place, until they come
    back: so a lane that becomes slow delays the others for two looks at most, not until it answers.

    Guarantees: each key that is added is reconciled after that; a pass that fails, in whatever way, is tried again with
        a pause that grows until a pass succeeds; a key is looked at again before the resync period is over, behind all
        that is woken, until it is forgotten; after `stop` is set no new pass begins; a key that was costly rests; each
        line that a pass logs, in any module, carries controller, cluster, namespace and name of its key.
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
        """`rest` says how long a key rests after a pass, given the CPU seconds that it took; `debounce_seconds` is how
        long it waits after `debounce`; `resync_seconds` after how long it is looked at unwoken, at the latest; without
        `lanes` no key is told from another."""
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
        self._workers: list[threading.Thread] = []  # a worker that makes one is in it, so a join of all sees all
        self._staff = 0  # workers that have not been told to end
        self._active = 0
        self._most_staff = workers

    def debounce(self, key: Key) -> None:
        """Something of all that `key` is about has changed: enqueue it after a moment, in which more may change.

        Threads: any.
        """
        self.queue.add_after(key, self._debounce_seconds)

    def forget(self, key: Key) -> None:
        """`key` is gone: it is not looked at any more unless it is woken.

        Threads: any; for the pass that finds it out the one that makes it.
        """
        self._resync.forget(key)

    def run(self, stop: Stop) -> None:
        """Work until `stop` is set and the passes under way have ended.

        Raises: RuntimeError when a worker died, which is a bug; its own traceback was shown when it did.
        """
        ended = stop.child()
        with self._guard:
            self._add_worker_locked(stop, ended)
        while not ended.wait(_REFRESH_SECONDS):
            self.queue.refresh()
            now = self._clock.monotonic()
            for key in self._resync.take(now):
                if not self.queue.add_behind(key):  # a pass that takes longer than the period must not be its last
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
        """Keep up how many workers there are for lanes that are not slow."""
        excess = self.queue.slow_in_hand() - self._lanes.relieved_from
        with self._guard:
            self._workers[:] = [worker for worker in self._workers if worker.is_alive()]
            self._most_staff = self._most_workers + max(0, excess)
            if self._active == self._staff < self._most_staff:
                self._add_worker_locked(stop, ended)

    def _work(self, stop: Stop, ended: Stop) -> None:
        is_needed = True
        try:
            while is_needed and (key := self.queue.get(stop)) is not None:
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
        """A worker that takes a key leaves another one waiting for the next key."""
        with self._guard:
            self._active += 1
            self._metrics.active(self._active)
            if self._active == self._staff < self._most_staff:
                self._add_worker_locked(stop, ended)

    def _put_down(self) -> bool:
        """Whether the worker is to stay."""
        with self._guard:
            self._active -= 1
            self._metrics.active(self._active)
            is_needed = self._staff <= self._most_staff
            self._staff -= 0 if is_needed else 1
            return is_needed

    def _process(self, key: Key, stop: Stop) -> None:
        started = self._clock.monotonic()
        self._resync.looked(key, started)  # first: the pass may find that it is gone
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
        # The one broad except of the engine: whatever else is raised is a bug about one key, which is counted, logged
        # with its traceback and tried again; it must not end the worker that all other keys need.
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
        # A cache that is behind leads to a conflict now and then; only one that stays is anybody's business.
        is_usual = isinstance(err, Conflict) and retries <= _USUAL_CONFLICTS
        tell = self._log.info if is_usual else self._log.warning
        tell(
            "reconcile failed",
            code=err.code,
            reason=err.reason,
            error=err.message,
            retries=retries,
        )
