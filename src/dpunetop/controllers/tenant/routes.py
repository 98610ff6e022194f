"""Which addresses the way to each tenant leads over: what may be connected to, and what may be told of that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from dpunetop.domain.tenant.addresses import Network, is_allowed, refused_address
from dpunetop.domain.tenant.link import Proven

_MOST_ADDRESSES = 64
_MOST_REMEMBERED = 8


class TenantRoute:
    """The addresses of one Cluster of a tenant, while it is tried and while it is engaged.

    Guarantees: an address at which the tenant once proved by TLS to be the one of its kubeconfig stays open to the same
        Cluster, also if it is refused to others from some moment on.
    Threads: any.
    """

    def __init__(
        self, allowed: Sequence[Network], denied: Callable[[], Sequence[Network]], server: str, known: Sequence[str]
    ) -> None:
        """`known` is where `server` has proved earlier that it is the tenant's."""
        self._allowed = allowed
        self._denied = denied
        self.server = server
        self._known = tuple(known)
        self._guard = threading.Lock()  # guards the two below
        self._tried: dict[str, None] = {}
        self._verified: dict[str, None] = {}  # the newest one at the end

    def refusal(self, address: str) -> str | None:
        """An address policy, see `Connection`."""
        with self._guard:
            is_proven = address in self._verified or address in self._known
        why = None if is_proven else self._why(address)
        if why is None:
            self._note(self._tried, address)
        return why

    def verify(self, address: str) -> None:
        """Take note that the tenant has proved by TLS who it is, at this address."""
        self._note(self._verified, address)

    def verified(self) -> frozenset[str]:
        """Where the tenant has proved who it is."""
        with self._guard:
            return frozenset(self._verified)

    def remembered(self) -> tuple[str, ...]:
        """The last of them, with those that were known before, in an order that depends on nothing."""
        with self._guard:
            found = [*(each for each in self._known if each not in self._verified), *self._verified]
        return tuple(sorted(found[-_MOST_REMEMBERED:]))

    def tells(self, known: frozenset[str]) -> bool:
        """Whether all that was tried is allowed by name, or the tenant's: as is `known`, or it has proved it."""
        with self._guard:
            tried = self._tried.keys() - self._verified.keys()
        # Behind a proxy nothing is tried here, and what is said is of addresses that only the proxy knows.
        return bool(self._tried) and all(address in known or is_allowed(address, self._allowed) for address in tried)

    def trouble(self) -> str:
        """What is wrong with the address that the tenant was reached at last; empty: nothing."""
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


class TenantRoutes:
    """The Way to each tenant, by the name of its cluster: the one that is tried, and the one that is in use.

    Threads: any.
    """

    def __init__(self, allowed: Sequence[Network], denied: Callable[[], Sequence[Network]]) -> None:
        self._allowed = allowed
        self._denied = denied
        self._guard = threading.Lock()  # guards the three below
        self._newest: dict[str, TenantRoute] = {}
        self._engaged: dict[str, TenantRoute] = {}
        self._recalled: dict[str, Proven] = {}

    def recall(self, name: str, proven: Proven) -> None:
        """What an earlier process has noted; counts while nothing of that name is engaged."""
        with self._guard:
            self._recalled[name] = proven

    def begin(self, name: str, server: str) -> TenantRoute:
        """A Way for a Cluster that is about to be tried, behind `server`, see `tenantkubeconfig.server_print`. Where
        that was proved already, be it by an earlier process, it may be looked for whatever is refused by now."""
        with self._guard:
            proven = self._proven_locked(name)
            known = proven.addresses if proven is not None and proven.server == server else ()
            way = self._newest[name] = TenantRoute(self._allowed, self._denied, server, known)
        return way

    def proven(self, name: str) -> Proven | None:
        """Where the Cluster in use has proved who it is; None behind a proxy, which alone knows that."""
        with self._guard:
            engaged = self._engaged.get(name)
        addresses = () if engaged is None else engaged.remembered()
        return Proven(engaged.server, addresses) if engaged is not None and addresses else None

    def _proven_locked(self, name: str) -> Proven | None:
        engaged = self._engaged.get(name)
        return self._recalled.get(name) if engaged is None else Proven(engaged.server, engaged.remembered())

    def engage(self, name: str) -> None:
        """The Cluster that was tried last is the one in use."""
        with self._guard:
            if (way := self._newest.get(name)) is not None:
                self._engaged[name] = way

    def tells(self, name: str) -> bool:
        """Whether the author of the kubeconfig may know why the Cluster that was tried last did not answer: whether
        nothing listens, nothing comes back or something else does, would show him networks that are not his."""
        newest, engaged = self._both(name)
        return newest is None or newest.tells(frozenset() if engaged is None else engaged.verified())

    def trouble(self, name: str) -> str:
        """What is wrong with the address of the Cluster in use; see `Way.trouble`."""
        engaged = self._both(name)[1]
        return "" if engaged is None else engaged.trouble()

    def forget(self, name: str) -> None:
        """The tenant is let go."""
        with self._guard:
            self._newest.pop(name, None)
            self._engaged.pop(name, None)
            self._recalled.pop(name, None)

    def _both(self, name: str) -> tuple[TenantRoute | None, TenantRoute | None]:
        with self._guard:
            return self._newest.get(name), self._engaged.get(name)
