"""The client of one API server: objects in, objects out, errors as types."""

from __future__ import annotations

import math
import random as _random
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
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
from dpunetop.kube.validity import Validity
from dpunetop.kube.watch import INITIAL_EVENTS_END, QUIET, Quiet, WatchEvent
from dpunetop.runtime.client.attempts import Attempts, is_another_worth_it, pause_seconds
from dpunetop.runtime.client.documents import Page, checked_object, document_of, event_of, items_of, page_of
from dpunetop.runtime.client.probe import Probe
from dpunetop.runtime.client.streamdeadline import StreamDeadline
from dpunetop.runtime.client.streams import Wake
from dpunetop.runtime.client.transport import Pool, Response, Transport
from dpunetop.runtime.flowcontrol import TokenBucket
from dpunetop.runtime.metrics import ClientMetrics

CALL_SECONDS = 10.0
PAGE_SECONDS = 30.0
LIST_SECONDS = 300.0
"""Limit of all pages of a list together: by then etcd has compacted the revision of the first page."""
WATCH_LIST_SECONDS = 60.0
"""Limit of the initial list of a WatchList stream; a slower one is read in pages."""
WATCH_SECONDS = (300, 600)
"""The timeoutSeconds of a watch, drawn at random so that watches do not all end at once."""

WATCH_GRACE_SECONDS = 30.0
"""The client ends a watch this much later, if the server has not."""

RETRY_RATE_PER_SECOND = 1.0
RETRY_BURST = 10


class Client:
    """Requests to one API server.

    Guarantees: the metadata of each returned object is validated, whatever the server sent. A request is retried only
        if the server did not carry it out: after 429 or 503 with a Retry-After that fits into the call's timeout, from
        a retry budget that all calls share; or after 401 if the token was renewed. The effect of a request without a
        response is unknown; the caller must find out.
    Threads: any; an iterator belongs to the thread that made it, and holds a connection until it ends or is closed.
    Raises: the ApiError of each unsuccessful response; Unreachable if there was none or an invalid one.
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
        """`most_weight` limits the weight (`jsonio.weigh`) of one response; None: only its size is limited.
        `around` is entered for each call except watches."""
        self.name = name
        self._most_weight = most_weight
        self._one_page: AbstractContextManager[object] = nullcontext() if most_weight is None else threading.Lock()
        self._around = around
        self._transport = transport
        self._clock = clock
        self._metrics = metrics
        self._random = random
        self._pool = pool
        self._retry_budget = TokenBucket(RETRY_RATE_PER_SECOND, RETRY_BURST, clock)
        # One for all requests, since it keeps their states apart. One per request would form a reference cycle, which
        # keeps the request in memory until the next garbage collection.
        self._retrying = Retrying(retry=is_another_worth_it, wait=pause_seconds, sleep=self._pause, reraise=True)

    def __repr__(self) -> str:
        return f"<Client {self.name} {self._pool.name.lower()} {self._transport!r}>"

    def for_lease(self) -> Client:
        """The same server over two connections of its own, so that a renewal waits for no other call. It does not
        retry: the elector gets the Retry-After and has its own retry period."""
        return self._over(Pool.LEASE)

    def for_reviews(self) -> Client:
        """The same server over four connections of its own, so that no call waits for reviews; with its own retry
        budget."""
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
        """Read one object, with a quorum read. Raises: NotFound."""
        return self._object(requests.get(resource, namespace, name), timeout_seconds)

    def pages(self, selection: Selection, page_size: int) -> Generator[Page, None, None]:
        """All objects of a selection at one resourceVersion, page by page, each with its type filled in.

        Guarantees: a page that exceeds the size limit is requested again with fewer objects. With `most_weight`, one
            page at a time is decoded: the next one, of this list or another, only after the caller asks for more. So
            a caller must not begin a second list while it holds a page.
        Raises: Gone if the resourceVersion was compacted meanwhile; Unreachable `Timeout` after LIST_SECONDS.
        """
        token, deadline = "", self._clock.monotonic() + LIST_SECONDS
        while True:
            answer, page_size = self._page(selection, page_size, token)
            with self._one_page:
                page, following = page_of(selection.resource, document_of(answer))
                del answer
                yield page
                del page  # else it stays in memory until the next one is decoded
            if not following:
                return
            if following == token:
                raise Unreachable(0, "BadAnswer", "the server sent the same continue token twice")
            if self._clock.monotonic() >= deadline:
                raise Unreachable(0, "Timeout", f"a list that was not complete in {LIST_SECONDS:g} s")
            token = following

    def some(self, selection: Selection, limit: int, timeout_seconds: float = CALL_SECONDS) -> list[dict[str, Any]]:
        """The first objects of a selection, at most `limit`, each with its type filled in."""
        document = self._document(requests.list_page(selection, limit, ""), timeout_seconds)
        return page_of(selection.resource, document)[0].items

    def present_version(self, selection: Selection) -> str:
        """The current resourceVersion of a collection, by a quorum read of one object.

        Guarantees: one more try if its connection was reset, since idle connections are cut along with the watch.
        """
        try:
            answer, _ = self._page(selection, 1, "")
        except Unreachable as error:
            if error.reason != "Reset":
                raise
            answer, _ = self._page(selection, 1, "")
        return page_of(selection.resource, document_of(answer))[0].resource_version

    def watch(self, selection: Selection, resource_version: str) -> Generator[WatchEvent, None, None]:
        """Changes after `resource_version`, until the server or the idle limit ends the watch."""
        return _waiting(self.follow(selection, resource_version, None))

    def watch_list(self, selection: Selection) -> Generator[WatchEvent, None, None]:
        """The present state as ADDED events up to a marked BOOKMARK, then changes.

        Raises: ApiError if the server does not support WatchList; list and watch instead.
        """
        return _waiting(self.follow_list(selection, None))

    def follow(self, selection: Selection, resource_version: str, wake: Wake | None) -> Iterator[WatchEvent | Quiet]:
        """As `watch`; with `wake` it does not block, see `Transport.stream`."""
        seconds = self._watch_seconds()
        return self._follow(requests.watch(selection, resource_version, seconds), wake, seconds)

    def follow_list(self, selection: Selection, wake: Wake | None) -> Iterator[WatchEvent | Quiet]:
        """As `watch_list`; with `wake` it does not block, see `Transport.stream`."""
        seconds = self._watch_seconds()
        return self._follow(requests.watch_list(selection, seconds), wake, seconds, WATCH_LIST_SECONDS)

    def apply(
        self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """Server-side apply; uid and resourceVersion in the body's metadata are preconditions.

        Raises: Conflict if a precondition fails; Invalid with cause `metadata.uid` if it is another object.
        """
        request = requests.apply(resource, namespace_of(body), name_of(body), body, field_manager)
        return self._object(request, timeout_seconds)

    def rehearse(
        self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = CALL_SECONDS
    ) -> None:
        """Dry run of `apply`: returns if it would succeed, writes nothing. Raises: as `apply`."""
        request = requests.rehearse(resource, namespace_of(body), name_of(body), body, field_manager)
        self._document(request, timeout_seconds)

    def preview(
        self, resource: Resource, body: Obj, field_manager: str, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """Dry run of `apply`: the object as it would be; writes nothing. Raises: as `apply`."""
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
        """JSON merge patch; uid and resourceVersion in it are preconditions."""
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
        """Dry run of a JSON merge patch to a subresource: returns if it would succeed, writes nothing."""
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
        """Delete the object of that uid (and resourceVersion). Raises: NotFound; Conflict if it is another one."""
        self._document(requests.delete(resource, namespace, name, uid, resource_version), timeout_seconds)

    def create(
        self, resource: Resource, namespace: str, obj: Obj, timeout_seconds: float = CALL_SECONDS
    ) -> dict[str, Any]:
        """POST to the collection: reviews, Events."""
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
        """Whether the server serves the resource in that API version."""
        root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        try:
            found = self._document(Request("GET", root), timeout_seconds).get("resources")
        except NotFound:
            return False
        return any(isinstance(r, dict) and r.get("name") == resource.plural for r in items_of(found))

    def release(self, timeout_seconds: float = CALL_SECONDS) -> str:
        """The server's release: `gitVersion` of /version."""
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
        """The last lines of a container's log, or of its predecessor's; the server sends at most `most_bytes`."""
        request = requests.log(namespace, pod, container, lines, most_bytes, is_previous)
        return self._answer(request, timeout_seconds).body.decode("utf-8", "replace")

    def probe(self, timeout_seconds: float) -> None:
        """See `Probe.run`; the response of its second request may take as long as one to a call."""
        Probe(self._transport, self._clock, self._around).run(timeout_seconds, CALL_SECONDS)

    @property
    def heard_at(self) -> float:
        """See `Transport.heard_at`."""
        return self._transport.heard_at

    @property
    def anchor_pem(self) -> bytes:
        """See `Transport.anchor_pem`."""
        return self._transport.anchor_pem

    @property
    def server_ahead(self) -> timedelta | None:
        """See `Transport.server_ahead`."""
        return self._transport.server_ahead

    @property
    def serving(self) -> Validity | None:
        """See `Transport.serving`."""
        return self._transport.serving

    def close_connections(self) -> None:
        """See `Transport.close_connections`."""
        self._transport.close_connections()

    def _page(self, selection: Selection, size: int, token: str) -> tuple[Response, int]:
        """The response with the page, and the page size that fitted."""
        while True:
            try:
                return self._weighed(requests.list_page(selection, size, token), PAGE_SECONDS), size
            except Unreachable as err:
                if err.reason != "TooLarge" or size <= 1:
                    raise
                size = max(1, size // 4)

    def _follow(
        self, request: Request, wake: Wake | None, seconds: float, listing_seconds: float = math.inf
    ) -> Iterator[WatchEvent | Quiet]:
        def deadline() -> StreamDeadline:
            return StreamDeadline(self._clock, seconds + WATCH_GRACE_SECONDS, listing_seconds)

        credential = self._transport.credential_number
        try:
            yield from self._events(request, deadline(), wake)
        except Unauthorized:
            if not self._transport.renew_credential(credential):
                raise
            yield from self._events(request, deadline(), wake)

    def _events(self, request: Request, deadline: StreamDeadline, wake: Wake | None) -> Iterator[WatchEvent | Quiet]:
        with self._transport.stream(request, deadline, wake) as lines:
            for line in lines:
                yield line if isinstance(line, Quiet) else self._told(line, deadline)

    def _told(self, line: bytes, deadline: StreamDeadline) -> WatchEvent:
        self._check_weight(line)
        event = self._event(line)
        if event.type == "BOOKMARK" and INITIAL_EVENTS_END in (event.object["metadata"].get("annotations") or {}):
            deadline.listed()
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
        return document_of(self._weighed(request, timeout_seconds))

    def _weighed(self, request: Request, timeout_seconds: float) -> Response:
        response = self._answer(request, timeout_seconds)
        self._check_weight(response.body)
        return response

    def _check_weight(self, data: bytes) -> None:
        if self._most_weight is not None and jsonio.weigh(data) > self._most_weight:
            raise Unreachable(0, "TooLarge", "the response would take too much memory when decoded")

    def _answer(self, request: Request, timeout_seconds: float) -> Response:
        attempts = Attempts(
            request, self._transport, self._pool, self._clock, timeout_seconds, self._metrics, self._may_retry
        )
        try:
            with self._around():
                return self._retrying(Attempts.once, attempts)
        except ApiError as err:
            err.cluster = self.name
            err.__traceback__ = None  # it references the tries, which hold the error: a cycle until the next collection
            raise

    def _may_retry(self) -> bool:
        return self._pool is not Pool.LEASE and self._retry_budget.take()

    def _pause(self, seconds: float) -> None:
        self._transport.stop.wait(seconds)  # when the stop is set, the transport refuses the next try


def _waiting(events: Iterator[WatchEvent | Quiet]) -> Generator[WatchEvent, None, None]:
    for event in events:
        assert event is not QUIET, "an iterator without a waker blocks"
        yield event
