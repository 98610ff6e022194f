"""Asks a tenant why the pods of a host are not evicted, once its drain is late."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dpunetop.base.clock import Clock
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.domain.drain.host import Finding
from dpunetop.domain.drain.model.facts import HostView
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.report.evictions import in_the_way, is_late, namespaces, unread
from dpunetop.domain.names import PODDISRUPTIONBUDGETS
from dpunetop.kube.errors import ApiError, Forbidden
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.reading import Waker

_APART_SECONDS = 60.0
_PAGE = 500
"""The number of budgets of a namespace that are read."""


class Evictions:
    """Remembers the last result for each host, and its time.

    Guarantees: asks only about hosts that are late, once a minute each, and a bounded number of namespaces; a tenant
        that answers slowly is not asked, so that no task of the host waits for a message.
    Threads: any; one at a time a host.
    """

    def __init__(self, inquiries: Inquiries, clients: Callable[[str], Client], clock: Clock) -> None:
        self._inquiries = inquiries
        self._clients = clients
        self._clock = clock
        self._guard = threading.Lock()  # guards _found
        self._found: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}  # tenant cluster and host -> when, what

    def look(self, view: HostView, waker: Waker) -> Finding[tuple[str, ...] | None]:
        """What blocked evictions when the tenant was last asked, for a person; None: it has not answered yet. If the
        answer is old, the tenant is asked again, and `waker` is called once it has answered."""
        cluster, host, own = view.host_ref.tenant_cluster, view.host_ref.host, HostState(view).own
        if own is None or not is_late(view):
            self.forget(cluster, host)
            return Finding(())
        with self._guard:
            looked_at, said = self._found.get((cluster, host), (None, None))
        left = 0.0 if looked_at is None else looked_at + _APART_SECONDS - self._clock.monotonic()
        if left > 0.0:
            return Finding(said, left)
        where = namespaces(own.pods)
        self._inquiries.put(cluster, ("evictions", host), lambda: self._ask(cluster, host, where), waker)
        return Finding(said)

    def forget(self, cluster: str, host: str) -> None:
        """Drop the result: the host is not late, or no longer ours."""
        with self._guard:
            self._found.pop((cluster, host), None)

    def _ask(self, cluster: str, host: str, where: tuple[str, ...]) -> None:
        """Raises: NotEngaged."""
        said = (self._words(cluster, each) for each in where)
        found = self._clock.monotonic(), tuple(words for words in said if words)
        with self._guard:
            self._found[cluster, host] = found

    def _words(self, cluster: str, namespace: str) -> str:
        try:
            page = next(iter(self._clients(cluster).pages(Selection(PODDISRUPTIONBUDGETS, namespace), _PAGE)))
        except Forbidden as refusal:
            return unread(namespace, refusal.message)
        except ApiError:
            return ""
        return in_the_way(namespace, page.items)
