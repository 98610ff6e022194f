"""Admits DpuClusterConfigs that were never served, one for each claim."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Protocol

from dpunetop.controllers.reconciler import key_of
from dpunetop.domain.clusterconfig.admission import MOST_WAITING, age_of, claims, hopeless, judge, too_many
from dpunetop.domain.clusterconfig.types import ConfigRefused, DpuClusterConfig, parse_config, was_served
from dpunetop.kube.keys import Key
from dpunetop.kube.meta import Obj, uid_of
from dpunetop.runtime.reading import Waker


class ConfigLister(Protocol):
    """The DpuClusterConfigs in infra's caches."""

    def one(self, key: Key) -> Obj | None:
        """The DpuClusterConfig of that key."""

    def served(self, claim: str) -> list[Obj]:
        """Those that are served and have `claim`."""

    def waiting(self, claim: str) -> list[Obj]:
        """Those that were never served and request `claim`."""


class Admissions:
    """Admits one that was never served; remembers it until the caches show that it is served.

    Guarantees: of several that request one namespace or one pool at most one is admitted, whatever the caches show when
        each of them is looked at: the oldest of those that could be served, by name where they have the same age.
        Judging `n` of them takes O(n log n).
    Threads: any.
    """

    def __init__(
        self,
        ask: Callable[[Iterable[str], Waker], None],
        has_rights: Callable[[str], bool],
        wake: Callable[[Key], None],
    ) -> None:
        """`ask` makes `has_rights` know these namespaces, see `NamespaceRights.look`; `wake` enqueues a key."""
        self._ask = ask
        self._has_rights = has_rights
        self._wake = wake
        self._guard = threading.Lock()  # guards _promised: claim -> the admitted one
        self._promised: dict[str, tuple[Key, str]] = {}

    def judge(self, own: Obj, shown: ConfigLister, waker: Waker) -> DpuClusterConfig:
        """Judge `own`, which was never served. Raises: NotSynced, until the rights are known, which calls `waker`;
        ApiError."""
        config = parse_config(own)
        if refused := hopeless(config) or self._beyond_the_cap(own, shown):
            return replace(config, refused=refused)
        self._ask((config.namespace,), waker)
        if (refused := self._in_the_way(config, shown)) is not None:
            return replace(config, refused=refused)
        older = self._older(own, shown)
        self._ask((rival.namespace for rival in older), waker)
        with self._guard:
            if (refused := self._in_the_way_locked(config, shown)) is not None:
                return replace(config, refused=refused)
            winner = next((rival for rival in older if self._in_the_way_locked(rival, shown) is None), config)
            for claim in claims(winner.live):
                self._promised[claim] = key_of(winner.live), winner.uid
            refused = None if winner is config else self._in_the_way_locked(config, shown)
        if winner is not config:
            self._wake(key_of(winner.live))
        return replace(config, refused=refused)

    def _beyond_the_cap(self, own: Obj, shown: ConfigLister) -> ConfigRefused | None:
        namespace = claims(own)[0]
        older = (each for each in shown.waiting(namespace) if age_of(each) < age_of(own))
        is_beyond = len(list(islice(older, MOST_WAITING))) == MOST_WAITING
        return too_many(own["metadata"]["namespace"]) if is_beyond else None

    def _in_the_way(self, config: DpuClusterConfig, shown: ConfigLister) -> ConfigRefused | None:
        with self._guard:
            return self._in_the_way_locked(config, shown)

    def _in_the_way_locked(self, config: DpuClusterConfig, shown: ConfigLister) -> ConfigRefused | None:
        """Why it cannot be admitted, regardless of others that wait."""
        holders = {key_of(each.live): each for each in self._holders_locked(config, shown)}
        return judge([config, *holders.values()], self._has_rights)[0].refused

    def _holders_locked(self, config: DpuClusterConfig, shown: ConfigLister) -> Iterator[DpuClusterConfig]:
        for claim in claims(config.live):
            yield from map(parse_config, shown.served(claim))
            promised = self._promised_locked(claim, shown)
            if promised is not None and promised.uid != config.uid:
                yield replace(promised, was_served=True)

    def _promised_locked(self, claim: str, shown: ConfigLister) -> DpuClusterConfig | None:
        """The one that was admitted for the claim and does not show it yet; a promise to one that cannot be served any
        more is void."""
        key, uid = self._promised.get(claim, (None, ""))
        if key is None:
            return None
        obj = shown.one(key)
        if obj is None or uid_of(obj) != uid or was_served(obj) or not self._can_be(parse_config(obj)):
            del self._promised[claim]
            return None
        return parse_config(obj)

    def _can_be(self, config: DpuClusterConfig) -> bool:
        return judge([config], self._has_rights)[0].refused is None

    def _older(self, own: Obj, shown: ConfigLister) -> list[DpuClusterConfig]:
        """Its rivals that come before it, the oldest first; of a namespace no more than can be looked at."""
        found = {
            key_of(each): each for claim in claims(own) for each in shown.waiting(claim) if age_of(each) < age_of(own)
        }
        seen: dict[str, int] = {}
        older = []
        for each in sorted(found.values(), key=age_of):
            namespace = claims(each)[0]
            seen[namespace] = seen.get(namespace, 0) + 1
            if seen[namespace] <= MOST_WAITING:
                older.append(parse_config(each))
        return older
