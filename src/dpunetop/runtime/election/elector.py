"""The leader elector over one Lease: the requests, threads and clocks around `election.Election`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Conflict, NotFound
from dpunetop.kube.keys import LEASES, Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_name
from dpunetop.kube.watch import Drop, Progress, Put, WatchEvent, interpret
from dpunetop.runtime.election.election import (
    Create,
    Election,
    End,
    Phase,
    Read,
    Request,
    Timings,
    Update,
    Wait,
    version_number,
)
from dpunetop.runtime.election.gate import LeadershipLost
from dpunetop.runtime.flowcontrol import Backoff
from dpunetop.runtime.metrics import ElectorMetrics

FIELD_MANAGER = "dpunetop-leaderelection"


class LeaseClient(Protocol):
    """The client of an elector, on its own connections."""

    def get(self, resource: Resource, namespace: str, name: str, timeout_seconds: float) -> dict[str, Any]:
        """A quorum read. Raises: ApiError."""

    def apply(self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float) -> dict[str, Any]:
        """Server-side apply, which RBAC can allow for this one name. Raises: ApiError."""

    def update(self, resource: Resource, namespace: str, name: str, obj: Obj, timeout_seconds: float) -> dict[str, Any]:
        """Put the whole object. Raises: ApiError."""

    def watch(self, selection: Selection, resource_version: str) -> Iterator[WatchEvent]:
        """Watch a selection. Raises: ApiError."""


class Elector:
    """One candidate for one Lease, and the gate of all writes that only the leader may make.

    Guarantees: of all electors on one Lease with different identities at most one has an open gate, also if a request
        hangs, a response is lost, the process was paused or the Lease was deleted (`Election` names the clocks that
        this needs). Lost leadership is never won back: the process ends.
    Threads: call `run` and `watch` once each, `watch` in a thread of its own; the rest from any thread.
    """

    def __init__(
        self,
        client: LeaseClient,
        namespace: str,
        name: str,
        identity: str,
        timings: Timings,
        *,
        clock: Clock,
        metrics: ElectorMetrics,
        random: Callable[[], float],
        logger: FilteringBoundLogger,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._metrics = metrics
        self._backoff = Backoff(0.5, 2.0, 30.0, 1.0, random)  # only the thread in watch uses it
        self._log: FilteringBoundLogger = logger.bind(lease=f"{namespace}/{name}", identity=identity)
        self._cond = threading.Condition()  # guards the fields below; told when one of them may have changed
        self._election = Election(identity, namespace, name, timings, random, clock.monotonic())
        self._phase = Phase.STANDBY  # as last reported to metrics and log
        self._holder = ""  # as last logged
        self._answered_at = clock.monotonic()  # when a request last succeeded or lost a race
        self._refusal = "none was sent"  # why the last request failed
        self._lease_seconds = timings.lease_duration_seconds
        self._has_ended = False  # no further request will be made

    def __repr__(self) -> str:
        with self._cond:
            return f"<Elector {self._election.identity} {self._election.phase.name}>"

    @property
    def is_leader(self) -> bool:
        """Whether the gate is open now."""
        with self._cond:
            return self._election.seconds_left(self._clock.monotonic()) > 0

    def trouble(self) -> str:
        """Why this standby could not take over, or empty; a line for /readyz.

        Threads: any. A leader is always ready: what would make it unready ends the process.
        """
        with self._cond:
            silent = self._clock.monotonic() - self._answered_at
            if self._election.phase is not Phase.STANDBY or silent <= self._lease_seconds:
                return ""
            return (
                f"for {silent:.0f} s no request about the Lease has succeeded at the infra API server: {self._refusal}"
            )

    @property
    def gate(self) -> Elector:
        """The gate to ask before each write, see `WriteGate`."""
        return self

    def seconds_left(self) -> float:
        """How long a write may still take; see `WriteGate`. Raises: LeadershipLost."""
        with self._cond:
            left = self._election.seconds_left(self._clock.monotonic())
        if left <= 0:
            raise LeadershipLost("this process does not lead")
        return left

    def wait_leading(self, stop: Stop) -> bool:
        """Wait until this candidate leads, `stop` is set, or it can never lead; return whether it leads."""
        forget_wake = stop.on_set(self._wake)
        try:
            with self._cond:
                while not (stop.is_set() or self._has_ended or self._election.phase is not Phase.STANDBY):
                    self._clock.wait(self._cond, None)
                return self._election.phase is Phase.LEADING
        finally:
            forget_wake()

    def run(self, stop: Stop) -> None:
        """Stand by, lead and renew until `stop` is set; then release the Lease.

        Set `stop` only after everything that writes as leader has ended. The calling thread only watches the time, so
        it ends even if a request hangs.
        Raises: LeadershipLost when the renew deadline passes or another holder is seen; a request may still be running
            in its own thread then.
        """
        campaign = threading.Thread(target=self._campaign, args=(stop,), name="elector-campaign")
        campaign.start()
        with self._cond:
            while not (self._has_ended or self._election.is_lost(self._clock.monotonic())):
                self._clock.wait(self._cond, self._election.seconds_left(self._clock.monotonic()) or None)
            is_lost = self._election.is_lost(self._clock.monotonic())
        self._report()
        if is_lost:
            raise LeadershipLost("the lease could not be renewed in time, or has another holder")
        campaign.join()
        if not stop.is_set():
            raise LeadershipLost("the campaign ended by itself")

    def watch(self, stop: Stop) -> None:
        """Watch the Lease until `stop` is set, so that a release or another holder is seen at once.

        Optional: without it the Lease is polled. It ends when the connections of its client are closed, so `stop` is
        that of the thread that closes them.
        """
        selection = Selection(LEASES, self._namespace, by_name(self._name))
        while not stop.is_set():
            try:
                for event in self._client.watch(selection, ""):
                    self._notice(event)
            except ApiError as err:
                if not stop.is_set():
                    self._log.warning("lease watch failed", code=err.code, reason=err.reason, error=err.message)
            stop.wait(self._backoff.next())

    def _notice(self, event: WatchEvent) -> None:
        _, change = interpret(event)
        if isinstance(change, Progress):
            return
        version = version_number(change.object)
        with self._cond:
            match change:
                case Put(lease):
                    self._election.noticed(lease, version, self._clock.monotonic())
                case Drop():
                    self._election.noticed(None, version, self._clock.monotonic())
            self._cond.notify_all()
        self._report()
        self._backoff.reset()

    def _campaign(self, stop: Stop) -> None:
        forget_wake = stop.on_set(self._wake)
        try:
            while (request := self._next_request(stop)) is not None:
                self._carry_out(*request)
                self._report()
        finally:
            self._report()
            forget_wake()
            with self._cond:
                self._has_ended = True
                self._cond.notify_all()

    def _next_request(self, stop: Stop) -> tuple[Request, float] | None:
        """Wait for the next request; returned with its send time, which is taken before it is sent."""
        with self._cond:
            while True:
                now = self._clock.monotonic()
                if stop.is_set():
                    self._election.resign(now)
                step = self._election.ask(now, self._clock.now())
                match step:
                    case Wait(until):
                        self._clock.wait(self._cond, until - now)
                    case End():
                        return None
                    case _:
                        return step, now

    def _carry_out(self, request: Request, sent_at: float) -> None:
        try:
            answer = self._send(request)
        except ApiError as err:
            self._failed(request, err, sent_at)
            return
        with self._cond:
            now = self._answered_at = self._clock.monotonic()
            if isinstance(request, Read):
                self._election.read(answer, now)
            else:
                assert answer is not None
                self._election.wrote(request, answer, sent_at, now)
            self._cond.notify_all()

    def _send(self, request: Request) -> dict[str, Any] | None:
        match request:
            case Read(timeout_seconds):
                try:
                    return self._client.get(LEASES, self._namespace, self._name, timeout_seconds=timeout_seconds)
                except NotFound:
                    return None
            case Create(lease, timeout_seconds):
                return self._client.apply(LEASES, _create_only(lease), FIELD_MANAGER, timeout_seconds=timeout_seconds)
            case Update(lease, timeout_seconds):
                return self._client.update(LEASES, self._namespace, self._name, lease, timeout_seconds=timeout_seconds)

    def _failed(self, request: Request, err: ApiError, sent_at: float) -> None:
        with self._cond:
            now = self._clock.monotonic()
            self._refusal = str(err)
            if isinstance(err, Conflict | NotFound):
                self._answered_at = now
            is_slow_path = self._election.failed(request, err, sent_at, now)
            self._cond.notify_all()
        if is_slow_path:
            self._metrics.slow_path()
        else:
            self._log.warning(
                "lease request failed", kind=type(request).__name__, code=err.code, reason=err.reason, error=err.message
            )

    def _report(self) -> None:
        """Report changes to metrics and log; without the lock, since logging may block."""
        with self._cond:
            before = self._phase, self._holder
            self._phase, self._holder = self._election.phase, self._election.holder
            phase, holder = self._phase, self._holder
            self._metrics.leading(phase is Phase.LEADING)
        if (phase, holder) != before:
            self._log.info("election", phase=phase.name, holder=holder)

    def _wake(self) -> None:
        with self._cond:
            self._cond.notify_all()


def _create_only(lease: dict[str, Any]) -> dict[str, Any]:
    """The same Lease with a precondition that holds only if no such object exists."""
    return {**lease, "metadata": {**lease["metadata"], "resourceVersion": "1"}}
