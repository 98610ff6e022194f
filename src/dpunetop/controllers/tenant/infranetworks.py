"""Infra's own networks, into which no tenant's kubeconfig may lead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

from dpunetop.base.clock import Clock
from dpunetop.domain.names import CLUSTER_NETWORK, NETWORKS
from dpunetop.domain.tenant.addresses import Network
from dpunetop.domain.tenant.infranetworks import (
    addresses_of_servers,
    networks_of_addresses,
    networks_of_nodes,
    networks_of_openshift,
    networks_of_services,
)
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, ENDPOINTSLICES, SERVICECIDRS, crd_name
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection, one
from dpunetop.runtime.client.client import Client

AGAIN_SECONDS = 300.0
"""How long an answer is used before infra is asked again."""
_PAGE = 100
_MOST_SEEN = 64
_SERVERS = ("default", "kubernetes")


class InfraNetworks:
    """Networks that belong to infra: of its API servers, its Services and its pods.

    Guarantees: `refresh` raises until infra has answered once; infra is asked again after 5 minutes, at the next use of
        a tenant's kubeconfig, and the last answer stays if it does not answer then.
    Threads: any.
    """

    def __init__(self, infra: Callable[[], Client], nodes: Callable[[], Iterable[Obj]], clock: Clock) -> None:
        """`nodes` shows infra's Nodes from a cache."""
        self._infra = infra
        self._nodes = nodes
        self._clock = clock
        self._guard = threading.Lock()  # guards the three below
        self._seen: dict[str, None] = {}  # addresses at which infra was reached, the newest at the end
        self._known: tuple[Network, ...] | None = None
        self._until = 0.0

    def see(self, address: str) -> None:
        """Note an address at which infra is about to be reached; see `Connection.on_connect`."""
        with self._guard:
            self._seen.pop(address, None)
            self._seen[address] = None
            if len(self._seen) > _MOST_SEEN:
                del self._seen[next(iter(self._seen))]

    def refresh(self) -> None:
        """Ask infra, unless its answer is recent. Raises: ApiError, if it never answered."""
        with self._guard:
            if self._known is not None and self._clock.monotonic() < self._until:
                return
        try:
            found = tuple(self._asked(self._infra()))
        except ApiError:
            with self._guard:
                if self._known is None:
                    raise
            return
        with self._guard:
            self._known, self._until = found, self._clock.monotonic() + AGAIN_SECONDS

    def current(self) -> tuple[Network, ...]:
        """All known networks."""
        with self._guard:
            known, seen = self._known or (), list(self._seen)
        return (*known, *networks_of_addresses(seen), *networks_of_nodes(self._nodes()))

    def _asked(self, infra: Client) -> Iterator[Network]:
        yield from addresses_of_servers(_all(infra, one(ENDPOINTSLICES, *_SERVERS)))
        if infra.serves(SERVICECIDRS):
            yield from networks_of_services(_all(infra, Selection(SERVICECIDRS)))
        # The definition first, and by list, so that a missing one is no failed request.
        if list(_all(infra, one(CUSTOMRESOURCEDEFINITIONS, "", crd_name(NETWORKS)))):
            yield from networks_of_openshift(_all(infra, one(NETWORKS, "", CLUSTER_NETWORK)))


def _all(client: Client, selection: Selection) -> Iterator[Obj]:
    for page in client.pages(selection, _PAGE):
        yield from page.items
