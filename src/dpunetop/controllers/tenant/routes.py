"""The addresses of each tenant: which may be connected to, and which details of a failure may be reported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from dpunetop.domain.clusterconfig.types import Proven
from dpunetop.domain.tenant.addresses import Network, is_allowed, refused_address
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig, server_print
from dpunetop.runtime.cluster import Cluster

_MOST_ADDRESSES = 64
_MOST_REMEMBERED = 8


class TenantRoute:
    """The addresses of one Cluster of a tenant, while it is tried and while it is engaged.

    Guarantees: an address at which the tenant once proved its identity by TLS stays allowed for the same Cluster, even
        if it is refused to others later.
    Threads: any.
    """

    def __init__(self, allowed: Sequence[Network], denied: Callable[[], Sequence[Network]], known: Proven) -> None:
        """`known` names the server, and the addresses at which it has proved its identity earlier."""
        self._allowed = allowed
        self._denied = denied
        self._known = known
        self._guard = threading.Lock()  # guards the two below
        self._tried: dict[str, None] = {}
        self._verified: dict[str, None] = {}  # the newest at the end

    def refusal(self, address: str) -> str | None:
        """An address policy, see `Connection`."""
        with self._guard:
            is_proven = address in self._verified or address in self._known.addresses
        why = None if is_proven else self._why(address)
        if why is None:
            self._note(self._tried, address)
        return why

    def verify(self, address: str) -> None:
        """Record that the tenant has proved its identity by TLS at this address."""
        self._note(self._verified, address)

    def verified(self) -> frozenset[str]:
        """The addresses at which the tenant has proved its identity."""
        with self._guard:
            return frozenset(self._verified)

    def proven(self) -> Proven | None:
        """The newest of them, with those that were known before; None behind a proxy, which alone knows them."""
        with self._guard:
            found = [*(each for each in self._known.addresses if each not in self._verified), *self._verified]
        return Proven(self._known.server, tuple(sorted(found[-_MOST_REMEMBERED:]))) if found else None

    def tells(self, in_use: TenantRoute) -> bool:
        """Whether the author of the kubeconfig may know why the Cluster did not answer: every tried address is allowed
        by name, or is the tenant's, proved here or on the route `in_use`. The details, such as a refused connection or
        a time-out, would reveal networks that are not his."""
        known = in_use.verified()
        with self._guard:
            tried = self._tried.keys() - self._verified.keys()
        # Behind a proxy no address is tried here, and errors are about addresses that only the proxy knows.
        return bool(self._tried) and all(address in known or is_allowed(address, self._allowed) for address in tried)

    def trouble(self) -> str:
        """Why the address at which the tenant was reached last is not good; empty: it is."""
        with self._guard:
            newest = next(reversed(self._verified), None)
        why = None if newest is None else self._why(newest)
        if why is None:
            return ""
        return (
            f"address {newest} is {why} by now; the link stays until the kubeconfig names another server or "
            "authority, and comes back then only if --tenant-allowed-cidrs names the address"
        )

    def _why(self, address: str) -> str | None:
        return refused_address(address, self._allowed, self._denied())

    def _note(self, seen: dict[str, None], address: str) -> None:
        with self._guard:
            seen.pop(address, None)
            seen[address] = None
            if len(seen) > _MOST_ADDRESSES:
                del seen[next(iter(seen))]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Cluster of a tenant that is not engaged yet, with the route that leads to it."""

    cluster: Cluster
    route: TenantRoute


BuildTenant = Callable[[str, TenantKubeconfig], Candidate]
"""Makes the Cluster of that name from that kubeconfig; it is not running yet."""


class TenantRoutes:
    """The route in use to each tenant, by the name of its cluster.

    Threads: any.
    """

    def __init__(self, allowed: Sequence[Network], denied: Callable[[], Sequence[Network]]) -> None:
        self._route = partial(TenantRoute, allowed, denied)
        self._guard = threading.Lock()  # guards _in_use
        self._in_use: dict[str, TenantRoute] = {}

    def begin(self, name: str, kubeconfig: TenantKubeconfig) -> TenantRoute:
        """A route for a Cluster that is about to be tried. Addresses at which its server has proved its identity
        already, also to an earlier process, are allowed even if they are refused by now."""
        server, proven = server_print(kubeconfig), self.in_use(name).proven()
        return self._route(Proven(server, proven.addresses if proven is not None and proven.server == server else ()))

    def in_use(self, name: str) -> TenantRoute:
        """The route of the Cluster that was engaged last; one without addresses, if there was none."""
        with self._guard:
            return self._in_use.get(name) or self._route(Proven("", ()))

    def engage(self, candidate: Candidate) -> None:
        """Note that this Cluster is now in use."""
        with self._guard:
            self._in_use[candidate.cluster.name] = candidate.route

    def recall(self, name: str, proven: Proven) -> None:
        """Take the record of an earlier process, unless a Cluster of that name was engaged in this one."""
        with self._guard:
            self._in_use.setdefault(name, self._route(proven))

    def forget(self, name: str) -> None:
        """The tenant is let go."""
        with self._guard:
            self._in_use.pop(name, None)
