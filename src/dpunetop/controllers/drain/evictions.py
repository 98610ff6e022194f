"""Asks a tenant what keeps the pods of a host, once that takes too long."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dpunetop.base.clock import Clock
from dpunetop.domain.drain.host import Finding
from dpunetop.domain.drain.model.facts import HostView
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.report.evictions import in_the_way, is_late, namespaces, unread
from dpunetop.domain.names import PODDISRUPTIONBUDGETS
from dpunetop.kube.errors import ApiError, Forbidden
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client

_APART_SECONDS = 60.0
_PAGE = 500
"""So many budgets of a namespace are looked at."""


class Evictions:
    """Remembers for each host what was found last, and when.

    Guarantees: asks only about hosts that are late, once a minute each, and a bounded number of namespaces; a tenant
        that answers slowly is not asked: what is to be done for the host would wait for words.
    Threads: any; one at a time a host.
    """

    def __init__(self, clients: Callable[[str], Client], clock: Clock, is_slow: Callable[[str], bool]) -> None:
        self._clients = clients
        self._is_slow = is_slow
        self._clock = clock
        self._guard = threading.Lock()  # guards _found
        self._found: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}  # tenant cluster and host -> when, what

    def look(self, view: HostView) -> Finding[tuple[str, ...]]:
        """What is in the way, for a person. Raises: NotEngaged."""
        cluster, host, own = view.host_ref.tenant_cluster, view.host_ref.host, HostState(view).own
        if own is None or not is_late(view):
            self.forget(cluster, host)
            return Finding(())
        now = self._clock.monotonic()
        with self._guard:
            looked_at, said = self._found.get((cluster, host), (None, ()))
        is_due = looked_at is None or now - looked_at >= _APART_SECONDS
        if is_due and self._is_slow(cluster):
            return Finding(tuple(words for words in said if words), _APART_SECONDS)
        if looked_at is None or is_due:
            looked_at, said = now, tuple(self._ask(cluster, each) for each in namespaces(own.pods))
            with self._guard:
                self._found[cluster, host] = (now, said)
        return Finding(tuple(words for words in said if words), looked_at + _APART_SECONDS - now)

    def forget(self, cluster: str, host: str) -> None:
        """The host is not late, or no longer ours."""
        with self._guard:
            self._found.pop((cluster, host), None)

    def _ask(self, cluster: str, namespace: str) -> str:
        try:
            page = next(iter(self._clients(cluster).pages(Selection(PODDISRUPTIONBUDGETS, namespace), _PAGE)))
        except Forbidden as refusal:
            return unread(namespace, refusal.message)
        except ApiError:
            return ""
        return in_the_way(namespace, page.items)
