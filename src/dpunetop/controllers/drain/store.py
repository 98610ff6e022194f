"""What the two controllers of the drain know of each other: rosters one way, reports the other.

Nothing here outlives the process, and all of it follows from what the clusters show.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from dpunetop.domain.clusterconfig.types import tenant_cluster_name
from dpunetop.domain.drain.fleet.roster import HostScope, Place, Roster
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.kube.keys import INFRA, Key


class DrainStore:
    """Threads: any; the callbacks are called without a lock."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards all below
        self._rosters: dict[str, Roster] = {}  # by the name of the tenant's cluster
        self._reports: dict[Key, HostReport] = {}
        self._wake_host: Callable[[Key], None] = lambda _: None
        self._wake_config: Callable[[Key], None] = lambda _: None

    def connect(self, wake_host: Callable[[Key], None], wake_config: Callable[[Key], None]) -> None:
        """Take the callbacks that enqueue a key; once, before anything is published."""
        self._wake_host, self._wake_config = wake_host, wake_config

    # --- of a whole DpuClusterConfig --------------------------------------------------------------------------------

    def publish(self, roster: Roster) -> None:
        """Make `roster` known; wake the hosts that it says something new to, and those who share the tenant's limit."""
        cluster = roster.config.tenant_cluster
        with self._guard:
            before = self._rosters.get(cluster)
            self._rosters[cluster] = roster
        for place in _changed(before, roster):
            self._wake_host(key_of(cluster, place))
        if before is None or before.slots.keys() != roster.slots.keys():
            self._wake_siblings(roster)

    def drop(self, cluster: str) -> None:
        """The DpuClusterConfig of that tenant is gone or no longer served."""
        with self._guard:
            before = self._rosters.pop(cluster, None)
        for place in before.slots if before is not None else ():
            self._wake_host(key_of(cluster, place))

    def roster(self, cluster: str) -> Roster | None:
        """The newest roster of that tenant."""
        with self._guard:
            return self._rosters.get(cluster)

    def rosters(self) -> list[Roster]:
        """All of them."""
        with self._guard:
            return list(self._rosters.values())

    def scope(self, key: Key) -> HostScope | None:
        """What is known of the host of `key`; None: it is in no roster."""
        with self._guard:
            roster, report = self._rosters.get(key.cluster), self._reports.get(key)
        slot = roster.slots.get((key.namespace, key.name)) if roster is not None else None
        if roster is None or slot is None:
            return None
        return HostScope(roster, slot, report.outage if report is not None else None)

    def wake_all(self) -> None:
        """Enqueue every host."""
        for roster in self.rosters():
            for place in roster.slots:
                self._wake_host(key_of(roster.config.tenant_cluster, place))

    def _wake_siblings(self, roster: Roster) -> None:
        for each in self.rosters():
            config = each.config
            if config.uid != roster.config.uid and config.tenant_uid == roster.config.tenant_uid is not None:
                self._wake_config(Key(INFRA, config.namespace, config.name))

    # --- of a single host -------------------------------------------------------------------------------------------

    def report(self, key: Key, report: HostReport) -> HostReport | None:
        """Make known how far a host is; what was known before."""
        with self._guard:
            before = self._reports.get(key)
            self._reports[key] = report
            roster = self._rosters.get(key.cluster)
        if roster is not None and (before is None or before.outcome() != report.outcome()):
            self._wake_config(Key(INFRA, roster.config.namespace, roster.config.name))
        return before

    def forget(self, key: Key) -> None:
        """A host is gone from its roster."""
        with self._guard:
            self._reports.pop(key, None)

    def reports(self, roster: Roster) -> list[HostReport | None]:
        """What is known of each slot of `roster`; None: nothing yet."""
        keys = [key_of(roster.config.tenant_cluster, place) for place in roster.slots]
        with self._guard:
            return [self._reports.get(key) for key in keys]


def key_of(cluster: str, place: Place) -> Key:
    """The key of the worker of a host, or of a DPU that has none."""
    return Key(cluster, *place)


def subject(key: Key) -> dict[str, str]:
    """Whom a line of the log is about: the tenant's cluster, the DpuClusterConfig, and the host or the DPU if the key
    is of one."""
    if key.cluster == INFRA:
        return {"cluster": tenant_cluster_name(key.namespace, key.name), "config": f"{key.namespace}/{key.name}"}
    return {"cluster": key.cluster, "config": key.cluster.removeprefix("tenant/"), key.namespace: key.name}


def _changed(before: Roster | None, now: Roster) -> Iterable[Place]:
    if before is None or before.shared() != now.shared():
        return {*now.slots, *(before.slots if before is not None else ())}
    places = {*before.slots, *now.slots}
    return [place for place in places if before.slots.get(place) != now.slots.get(place)]
