"""What one asks of an API server: objects in, objects out, errors as types."""

from __future__ import annotations

import math
import random as _random
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from tenacity import Retrying

from dpunetop.base import jsonio
from dpunetop.base.clock import Clock
from dpunetop.base.quoting import printable
from dpunetop.kube import requests
from dpunetop.kube.errors import ApiError, NotFound, Unauthorized, Unreachable
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Request, Selection
from dpunetop.kube.watch import INITIAL_EVENTS_END, QUIET, Quiet, WatchEvent
from dpunetop.runtime.client.attempts import Attempts, is_another_worth_it, pause_seconds
from dpunetop.runtime.client.documents import Page, checked_object, document_of, event_of, items_of, page_of
from dpunetop.runtime.client.pace import Pace
from dpunetop.runtime.client.streams import Wake
from dpunetop.runtime.client.transport import Pool, Response, Transport, error_of
from dpunetop.runtime.flowcontrol import TokenBucket
from dpunetop.runtime.metrics import ClientMetrics

CALL_SECONDS = 10.0
PAGE_SECONDS = 30.0
LIST_SECONDS = 300.0
"""For all pages of a list together: by then the server has forgotten the moment that it began at."""
WATCH_LIST_SECONDS = 60.0
"""For a list that comes as a stream; what is slower is read in pages."""
WATCH_SECONDS = (300, 600)
"""How long the server is asked to keep a watch open; drawn anew each time, so that watches do not end all at once."""

WATCH_GRACE_SECONDS = 30.0
"""How much later we end it, if the server does not."""

RETRY_RATE_PER_SECOND = 1.0
RETRY_BURST = 10
_KEPT_PROBE_SHARE = 0.4
"""Of a probe's time: what a connection that is kept may take of it."""


class Client:
    """Requests to one API server.

    Guarantees: an object handed out has the shape of an object in its metadata, whatever the server sent. A request is
        sent again only when the server said that it was not carried out: with 429 or 503 and a time to come back that
        fits into the call's own, out of a budget that all calls share; or with 401 when the token was renewed. What
        became of a request that got no answer is not known, and is the caller's to find out.
    Threads: any; an iterator belongs to the thread that made it, and holds a connection until it ends or is closed.
    Raises: the ApiError of each answer that is not success; Unreachable where there was none, or none of use.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Clock,
        metrics: ClientMetrics,
        name: str,
        random: Callable[[], float] = _random.random,
        pool: Pool = Pool.CALLS,
        most_weight: int | None = None,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`most_weight` is what one document of the server's may weigh (`jsonio.weigh`); None: as much as its size.
        `around` is entered for each call, watches left out."""
        self.name = name
        self._most_weight = most_weight
        self._around = around
        self._transport = transport
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._pool = pool
        self._retry_budget = TokenBucket(RETRY_RATE_PER_SECOND, RETRY_BURST, clock)
        # One for all requests, whose state it keeps apart: one for each would keep its request until garbage is next
        # collected, since it refers to itself.
        self._retrying = Retrying(retry=is_another_worth_it, wait=pause_seconds, sleep=self._pause, reraise=True)

    def __repr__(self) -> str:
        return f"<Client {self.name} {self._pool.name.lower()} {self._transport!r}>"

    def for_lease(self) -> Client:
        """The same server over two connections of its own, so that a renewal waits for no other call; Retry-After is
        passed on instead of waited for, since an elector has its own pace."""
        return self._over(Pool.LEASE)

    def for_reviews(self) -> Client:
        """The same server over four connections, so that no call waits for reviews; with its own budget of retries."""
        return self._over(Pool.REVIEWS)

    def _over(self, pool: Pool) -> Client:
        return Client(
            self._transport,
            clock=self._clock,
            metrics=self._metrics,
            name=self.name,
            random=self._random,
            pool=pool,
            most_weight=self._most_weight,
            around=self._around,
        )

    def get(
        self, resource: Resource, namespace: str, name: str, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """The object as a quorum read shows it. Raises: NotFound."""
        return self._object(requests.get(resource, namespace, name), timeout_seconds)

    def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
        """All objects of a selection as of one moment, page by page, each with its type filled in.

        Guarantees: a page that is too large for one answer is asked for again, smaller.
        Raises: Gone when reading took so long that the moment is forgotten, Unreachable `Timeout` at the latest then.
        """
        token, deadline = "", self._clock.monotonic() + LIST_SECONDS
        while True:
            page, following, page_size = self._page(selection, page_size, token)
            yield page
            if not following:
                return
            if following == token:
                raise Unreachable(0, "BadAnswer", "the list goes in circles: the same continue token again")
            if self._clock.monotonic() >= deadline:
                raise Unreachable(0, "Timeout", f"a list that was not complete in {LIST_SECONDS:g} s")
            token = following

    def some(self, selection: Selection, limit: int, timeout_seconds: float = CALL_SECONDS) -> list[dict[str, Any]]:
        """The first objects of a selection, at most `limit`, each with its type filled in."""
        document = self._document(requests.list_page(selection, limit, ""), timeout_seconds)
        return page_of(selection.resource, document)[0].items

    def present_version(self, selection: Selection) -> str:
        """The version that a collection has by now, from quorum, at the cost of one object.

        Guarantees: asked once more if its connection was gone: what cut the watch has cut the others that were idle.
        """
        try:
            page, _, _ = self._page(selection, 1, "")
        except Unreachable as error:
            if error.reason != "Reset":
                raise
            page, _, _ = self._page(selection, 1, "")
        return page.resource_version

    def watch(self, selection: Selection, resource_version: str) -> Generator[WatchEvent, None, None]:
        """Changes after `resource_version`, until the server or the idle limit ends it."""
        return _waiting(self.follow(selection, resource_version, None))

    def watch_list(self, selection: Selection) -> Generator[WatchEvent, None, None]:
        """The present state as ADDED events up to a marked BOOKMARK, then changes.

        Raises: ApiError where the server does not have this; then list and watch.
        """
        return _waiting(self.follow_list(selection, None))

    def follow(self, selection: Selection, resource_version: str, wake: Wake | None) -> Iterator[WatchEvent | Quiet]:
        """As `watch`; with `wake` it does not wait for an event, see `Transport.stream`."""
        seconds = self._watch_seconds()
        return self._follow(requests.watch(selection, resource_version, seconds), wake, seconds)

    def follow_list(self, selection: Selection, wake: Wake | None) -> Iterator[WatchEvent | Quiet]:
        """As `watch_list`; with `wake` it does not wait for an event, see `Transport.stream`."""
        seconds = self._watch_seconds()
        return self._follow(requests.watch_list(selection, seconds), wake, seconds, WATCH_LIST_SECONDS)

    def apply(
        self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """Server-side apply; what is expected of the live object is in the body's metadata.

        Raises: Conflict when it is not as expected; Invalid with cause `metadata.uid` when it is another object.
        """
        request = requests.apply(resource, namespace_of(body), name_of(body), body, field_manager)
        return self._object(request, timeout_seconds)

    def rehearse(
        self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = CALL_SECONDS
    ) -> None:
        """Return if `apply` would be taken; whatever comes of it, nothing is written. Raises: as `apply`."""
        request = requests.rehearse(resource, namespace_of(body), name_of(body), body, field_manager)
        self._document(request, timeout_seconds)

    def preview(
        self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """What `apply` would leave; nothing is written. Raises: as `apply`."""
        request = requests.rehearse(resource, namespace_of(body), name_of(body), body, field_manager)
        return self._object(request, timeout_seconds)

    def apply_status(
        self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """Server-side apply to the status; as `apply`."""
        request = requests.apply_status(resource, namespace_of(body), name_of(body), body, field_manager)
        return self._object(request, timeout_seconds)

    def merge_patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Obj,
        field_manager: str,
        timeout_seconds: float = CALL_SECONDS,
    ) -> dict[str, Any]:
        """JSON merge patch; with uid and resourceVersion in it, only of that very state."""
        return self._object(requests.merge_patch(resource, namespace, name, patch, field_manager), timeout_seconds)

    def dry_run(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        sub: str,
        patch: Obj,
        field_manager: str,
        timeout_seconds: float = CALL_SECONDS,
    ) -> None:
        """Return if a JSON merge patch to a subresource would be taken; whatever comes of it, nothing is written."""
        self._document(requests.dry_run(resource, namespace, name, sub, patch, field_manager), timeout_seconds)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        uid: str,
        resource_version: str = "",
        timeout_seconds: float = CALL_SECONDS,
    ) -> None:
        """Delete the object of that uid (and version). Raises: NotFound; Conflict when it is another one."""
        self._document(requests.delete(resource, namespace, name, uid, resource_version), timeout_seconds)

    def create(
        self, resource: Resource, namespace: str, obj: Obj, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """POST to the collection: reviews, events."""
        return self._document(requests.create(resource, namespace, obj), timeout_seconds)

    def create_sub(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        sub: str,
        obj: Obj,
        timeout_seconds: float = CALL_SECONDS,
    ) -> dict[str, Any]:
        """POST to a subresource: `eviction`, `token`, `binding`. Raises: TooManyRequests when a budget forbids it."""
        return self._document(requests.create_sub(resource, namespace, name, sub, obj), timeout_seconds)

    def update(
        self, resource: Resource, namespace: str, name: str, obj: Obj, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """PUT the whole object. Raises: Conflict when it changed since it was read."""
        return self._object(requests.update(resource, namespace, name, obj), timeout_seconds)

    def serves(self, resource: Resource, timeout_seconds: float = CALL_SECONDS) -> bool:
        """Whether the server knows the resource in that version."""
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        try:
            found = self._document(Request("GET", root), timeout_seconds).get("resources")
        except NotFound:
            return False
        return any(isinstance(r, dict) and r.get("name") == resource.plural for r in items_of(found))

    def release(self, timeout_seconds: float = CALL_SECONDS) -> str:
        """Which release the server says it is: `gitVersion` of /version."""
        return str(self._document(Request("GET", "/version"), timeout_seconds).get("gitVersion"))

    def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        lines: int,
        most_bytes: int,
        is_previous: bool = False,
        timeout_seconds: float = CALL_SECONDS,
    ) -> str:
        """The last lines of a container, or of the one that ran before it; `most_bytes` is what the server sends."""
        request = requests.log(namespace, pod, container, lines, most_bytes, is_previous)
        return self._answer(request, timeout_seconds).body.decode("utf-8", "replace")

    def probe(self, timeout_seconds: float) -> None:
        """Return if the server is there and does what it is asked for.

        Guarantees: one request, and where that fails a second one on a connection that is dialed for it; that has what
            is left of `timeout_seconds` to stand, and then the time of a call to be answered: slow is not away. A
            server that does not let us ask, or has no such path, is there; so is one that is not ready and lives, as
            one that shuts down gracefully, which serves until it has ended. If the first request met silence and the
            second an answer at once, something in between has forgotten its connections: streams that were silent too
            are cut.
        Raises: Unreachable; Unauthorized; ApiError for a server that says it is not ready, and does not live.
        """
        began = self._clock.monotonic()
        try:
            self._ask_ready(Pool.PROBE, timeout_seconds * _KEPT_PROBE_SHARE)
        except Unauthorized:
            raise
        except ApiError as error:
            again = self._clock.monotonic()
            self._probe_anew(max(0.001, began + timeout_seconds - again))
            took = self._clock.monotonic() - again
            if error.reason == "Timeout" and took < timeout_seconds * _KEPT_PROBE_SHARE / 2:
                self._transport.cut_silent_streams(began)

    def _probe_anew(self, connect_seconds: float) -> None:
        try:
            self._ask_ready(Pool.NEW_PROBE, CALL_SECONDS, connect_seconds)
        except ApiError as error:
            if error.code < 500 or not self._lives(connect_seconds):
                raise

    def _ask_ready(self, pool: Pool, timeout_seconds: float, connect_seconds: float | None = None) -> None:
        request, deadline = Request("GET", "/readyz"), self._clock.monotonic() + timeout_seconds
        credential = self._transport.credential_number
        with self._around():
            response = self._transport.call(request, timeout_seconds, pool, connect_seconds)
            if response.status == 401 and self._transport.renew_credential(credential):
                left = max(deadline - self._clock.monotonic(), 0.001)
                response = self._transport.call(request, left, pool, connect_seconds)
        if response.status == 401 or response.status >= 500:
            raise error_of(response, self._transport.max_error_chars)

    def _lives(self, connect_seconds: float) -> bool:
        """Whether the server says that it lives: its etcd answers, whether it is ready or not.

        Source: kube-apiserver's /livez has the checks of /readyz but those of a shutdown and of informers.
        """
        try:
            with self._around():
                response = self._transport.call(Request("GET", "/livez"), CALL_SECONDS, Pool.NEW_PROBE, connect_seconds)
        except ApiError:
            return False
        return response.status == 200

    @property
    def heard_at(self) -> float:
        """See `Transport.heard_at`."""
        return self._transport.heard_at

    @property
    def anchor_pem(self) -> bytes:
        """See `Transport.anchor_pem`."""
        return self._transport.anchor_pem

    def close_connections(self) -> None:
        """Give up on all connections to the server at once; see `Transport.close_connections`."""
        self._transport.close_connections()

    def _page(self, selection: Selection, size: int, token: str) -> tuple[Page, str, int]:
        while True:
            try:
                document = self._document(requests.list_page(selection, size, token), PAGE_SECONDS)
            except Unreachable as err:
                if err.reason != "TooLarge" or size <= 1:
                    raise
                size = max(1, size // 4)
                continue
            page, following = page_of(selection.resource, document)
            return page, following, size

    def _follow(
        self, request: Request, wake: Wake | None, seconds: float, listing_seconds: float = math.inf
    ) -> Iterator[WatchEvent | Quiet]:
        def pace() -> Pace:
            return Pace(self._clock, seconds + WATCH_GRACE_SECONDS, listing_seconds)

        credential = self._transport.credential_number
        try:
            yield from self._events(request, pace(), wake)
        except Unauthorized:
            if not self._transport.renew_credential(credential):
                raise
            yield from self._events(request, pace(), wake)

    def _events(self, request: Request, pace: Pace, wake: Wake | None) -> Iterator[WatchEvent | Quiet]:
        with self._transport.stream(request, pace, wake) as lines:
            for line in lines:
                yield line if isinstance(line, Quiet) else self._told(line, pace)

    def _told(self, line: bytes, pace: Pace) -> WatchEvent:
        self._check_weight(line)
        event = self._event(line)
        if event.type == "BOOKMARK" and INITIAL_EVENTS_END in (event.object["metadata"].get("annotations") or {}):
            pace.listed()
        return event

    def _event(self, line: bytes) -> WatchEvent:
        event = event_of(line)
        if event.type != "ERROR" or "message" not in event.object:
            return event
        words = printable(str(event.object["message"]), self._transport.max_error_chars)
        return WatchEvent("ERROR", {**event.object, "message": words})

    def _watch_seconds(self) -> int:
        least, most = WATCH_SECONDS
        return least + int((most - least) * self._random())

    def _object(self, request: Request, timeout_seconds: float) -> dict[str, Any]:
        return checked_object(self._document(request, timeout_seconds))

    def _document(self, request: Request, timeout_seconds: float) -> dict[str, Any]:
        response = self._answer(request, timeout_seconds)
        self._check_weight(response.body)
        return document_of(response)

    def _check_weight(self, data: bytes) -> None:
        if self._most_weight is not None and jsonio.weigh(data) > self._most_weight:
            raise Unreachable(0, "TooLarge", "an answer that would take too much memory when decoded")

    def _answer(self, request: Request, timeout_seconds: float) -> Response:
        attempts = Attempts(
            request, self._transport, self._pool, self._clock, timeout_seconds, self._metrics, self._may_retry
        )
        try:
            with self._around():
                return self._retrying(Attempts.once, attempts)
        except ApiError as err:
            err.cluster = self.name
            err.__traceback__ = None  # it leads to the tries, which hold the error: all would wait to be collected
            raise

    def _may_retry(self) -> bool:
        return self._pool is not Pool.LEASE and self._retry_budget.take()

    def _pause(self, seconds: float) -> None:
        self._transport.stop.wait(seconds)  # once it is set, the transport refuses the next try


def _waiting(events: Iterator[WatchEvent | Quiet]) -> Generator[WatchEvent, None, None]:
    for event in events:
        assert event is not QUIET, "an iterator without a waker waits"
        yield event
