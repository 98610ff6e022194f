"""Authenticates and authorizes callers by the API server, with a cache."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

import structlog
from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.keys import SUBJECTACCESSREVIEWS, TOKENREVIEWS, Resource
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.flowcontrol import Backoff, TokenBucket

TOKEN_SECONDS = 60.0
ALLOWED_SECONDS = 300.0
DENIED_SECONDS = 30.0
"""How long each result is cached."""
DEADLINE_SECONDS = 10.0
TRIES = 5
"""Timeout and number of tries of one review while the API server does not answer."""
MAX_TOKEN_BYTES = 16 << 10
REVIEWS_PER_SECOND = 10.0
REVIEWS_AT_ONCE = 40
PEER_REVIEWS_PER_SECOND = 2.0
PEER_REVIEWS_AT_ONCE = 20
"""Budgets of refused reviews of unknown callers, from all addresses and from one."""
STRANGERS = 8
"""Limit of unknown callers that wait at once; below the number of answering threads, so that known ones never wait."""

_REMEMBERED = 1024
_WELCOME = 256
_PEERS = 256

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Verdict(Enum):
    """The verdict on a caller; the value is the HTTP status."""

    ALLOWED = 200
    UNKNOWN_CALLER = 401
    DENIED = 403
    CROWDED = 429
    """Too many unknown callers at once; the API server was not asked."""
    UNDECIDED = 500
    """The API server did not answer, so access is denied."""


@dataclass(frozen=True, slots=True)
class _User:
    name: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(slots=True)
class _Caller:
    """The current caller. Threads: the one in `judge`."""

    token: str = field(repr=False)
    digest: bytes = field(repr=False)
    peer: str
    is_welcome: bool
    """Whether it was allowed the last time; any other caller is a stranger."""
    spent: int = 0
    """How many reviews it has taken from the budgets for strangers."""


class Reviewer:
    """Judges callers by TokenReview and SubjectAccessReview.

    Guarantees: fails closed; a token is reviewed at most once a minute, however many requests carry it at once; a
        caller that was allowed the last time is always reviewed, others (strangers) within the budgets above; neither
        tokens nor their hashes are logged.
    Threads: any; `judge` blocks up to twice the deadline.
    Source: Kubernetes API reference, TokenReview v1 and SubjectAccessReview v1.
    """

    def __init__(self, client: Client, clock: Clock, random: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._users: _Answers[bytes, _User | None] = _Answers(clock)
        self._rights: _Answers[tuple[_User, str, str], bool] = _Answers(clock)
        self._budget = _Budget(clock)
        self._strangers = threading.BoundedSemaphore(STRANGERS)
        self._guard = threading.Lock()  # guards _welcome: hashes of the tokens allowed last, the newest at the end
        self._welcome: OrderedDict[bytes, None] = OrderedDict()
        self._log: FilteringBoundLogger = structlog.get_logger().bind()

    def judge(self, token: str, path: str, verb: str, stop: Stop, *, peer: str) -> Verdict:
        """Whether the bearer of `token`, who calls from `peer`, may `verb` (lower case) the non-resource `path`."""
        if not token or len(token) > MAX_TOKEN_BYTES:
            return Verdict.UNKNOWN_CALLER
        caller = self._caller(token, peer)
        try:
            with self._place(caller):
                verdict = self._judge(caller, path, verb, stop)
        except _Overloaded:
            return Verdict.CROWDED
        except ApiError as err:
            self._log.warning("review failed", code=err.code, reason=err.reason, error=err.message)
            return Verdict.UNDECIDED
        self._note(caller, verdict)
        return verdict

    def _judge(self, caller: _Caller, path: str, verb: str, stop: Stop) -> Verdict:
        user = self._users.get(caller.digest, lambda: self._authenticate(caller, stop))
        if user is None:
            return Verdict.UNKNOWN_CALLER
        is_allowed = self._rights.get((user, path, verb), lambda: self._authorize(caller, user, path, verb, stop))
        return Verdict.ALLOWED if is_allowed else Verdict.DENIED

    def _caller(self, token: str, peer: str) -> _Caller:
        digest = hashlib.sha256(token.encode()).digest()
        with self._guard:
            return _Caller(token, digest, peer, digest in self._welcome)

    def _note(self, caller: _Caller, verdict: Verdict) -> None:
        if verdict is Verdict.ALLOWED:  # a scraper with a new token: only refused reviews count
            self._budget.give_back(caller.peer, caller.spent)
        with self._guard:
            self._welcome.pop(caller.digest, None)
            if verdict is Verdict.ALLOWED:
                self._welcome[caller.digest] = None
            while len(self._welcome) > _WELCOME:
                self._welcome.popitem(last=False)

    @contextmanager
    def _place(self, caller: _Caller) -> Iterator[None]:
        """A place to wait in. Raises: _Overloaded."""
        if caller.is_welcome:
            yield
            return
        if not self._strangers.acquire(blocking=False):
            raise _Overloaded
        try:
            yield
        finally:
            self._strangers.release()

    def _spend(self, caller: _Caller) -> None:
        """Take one review from the budgets. Raises: _Overloaded."""
        if caller.is_welcome:
            return
        if not self._budget.take(caller.peer):
            raise _Overloaded
        caller.spent += 1

    def _authenticate(self, caller: _Caller, stop: Stop) -> tuple[_User | None, float]:
        self._spend(caller)
        status = self._review(TOKENREVIEWS, {"token": caller.token}, stop)
        # Without audiences in the review the API server accepts only its own.
        user = _user(status.get("user")) if status.get("authenticated") is True else None
        return user, TOKEN_SECONDS

    def _authorize(self, caller: _Caller, user: _User, path: str, verb: str, stop: Stop) -> tuple[bool, float]:
        self._spend(caller)
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra},
            "nonResourceAttributes": {"path": path, "verb": verb},
        }
        is_allowed = self._review(SUBJECTACCESSREVIEWS, spec, stop).get("allowed") is True
        return is_allowed, ALLOWED_SECONDS if is_allowed else DENIED_SECONDS

    def _review(self, resource: Resource, spec: Mapping[str, Any], stop: Stop) -> Mapping[str, Any]:
        review = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, "spec": spec}
        deadline = self._clock.monotonic() + DEADLINE_SECONDS
        backoff = Backoff(0.5, 1.5, DEADLINE_SECONDS, 0.2, self._random)
        tries = TRIES
        while True:
            timeout = max(0.1, deadline - self._clock.monotonic())
            try:
                return _status(self._client.create(resource, "", review, timeout_seconds=timeout))
            except ApiError as err:
                tries -= 1
                if not (tries and _is_passing(err) and self._pause(backoff.next(), deadline, stop)):
                    raise

    def _pause(self, seconds: float, deadline: float, stop: Stop) -> bool:
        """Wait before another try; False if no time is left for one."""
        return self._clock.monotonic() + seconds < deadline and not stop.wait(seconds)


class _Overloaded(ApiError):
    """The API server was not asked, to protect it and our threads."""

    def __init__(self) -> None:
        super().__init__(429, "TooManyRequests", "too many strangers")


class _Budget:
    """The budgets of reviews for strangers. Threads: any."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._all = TokenBucket(REVIEWS_PER_SECOND, REVIEWS_AT_ONCE, clock)
        self._guard = threading.Lock()  # guards _peers, least recently used first
        self._peers: OrderedDict[str, TokenBucket] = OrderedDict()

    def take(self, peer: str) -> bool:
        """Take one review; one address cannot use up the budget of all."""
        return self._of(peer).take() and self._all.take()

    def give_back(self, peer: str, count: int) -> None:
        """Return `count` reviews of a caller that turned out to be allowed."""
        for _ in range(count):
            self._of(peer).give_back()
            self._all.give_back()

    def _of(self, peer: str) -> TokenBucket:
        with self._guard:
            bucket = self._peers.pop(peer, None)
            self._peers[peer] = bucket or TokenBucket(PEER_REVIEWS_PER_SECOND, PEER_REVIEWS_AT_ONCE, self._clock)
            while len(self._peers) > _PEERS:
                self._peers.popitem(last=False)
            return self._peers[peer]


@dataclass(frozen=True, slots=True)
class _Known(Generic[V]):
    value: V
    until: float


class _Answers(Generic[K, V]):
    """A cache with expiry; a request for a key whose review is running waits for its result."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._guard = threading.Lock()  # guards both below
        self._known: OrderedDict[K, _Known[V]] = OrderedDict()
        self._flights: dict[K, Future[V]] = {}

    def get(self, key: K, ask: Callable[[], tuple[V, float]]) -> V:
        """The result for `key`: cached, or from `ask`, which also returns how many seconds it is valid.

        Raises: the ApiError of `ask`, also in the threads that waited for it.
        """
        with self._guard:
            known = self._known.get(key)
            if known is not None and self._clock.monotonic() < known.until:
                return known.value
            flight = self._flights.get(key)
            mine: Future[V] = Future()
            if flight is None:
                self._flights[key] = mine
        if flight is None:
            return self._ask(key, mine, ask)
        try:
            return flight.result(DEADLINE_SECONDS + 1)
        except (TimeoutError, CancelledError) as err:
            raise Unreachable(0, "Timeout", "the API server gave no answer in time") from err

    def _ask(self, key: K, flight: Future[V], ask: Callable[[], tuple[V, float]]) -> V:
        try:
            value, seconds = ask()
            self._remember(key, _Known(value, self._clock.monotonic() + seconds))
            flight.set_result(value)
            return value
        except ApiError as err:
            flight.set_exception(err)
            raise
        finally:
            flight.cancel()  # releases waiting threads if another exception was raised; else it does nothing
            with self._guard:
                del self._flights[key]

    def _remember(self, key: K, known: _Known[V]) -> None:
        with self._guard:
            self._known[key] = known
            self._known.move_to_end(key)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _is_passing(err: ApiError) -> bool:
    return isinstance(err, Unreachable) or err.code == 429 or err.code >= 500


def _status(review: Mapping[str, Any]) -> Mapping[str, Any]:
    status = review.get("status")
    return status if isinstance(status, Mapping) else {}


def _user(given: Any) -> _User | None:
    if not isinstance(given, Mapping) or not given.get("username"):
        return None
    extra = given.get("extra") or {}
    return _User(
        str(given["username"]),
        str(given.get("uid") or ""),
        tuple(given.get("groups") or ()),
        tuple((key, tuple(values)) for key, values in sorted(extra.items())),
    )
