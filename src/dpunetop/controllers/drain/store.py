"""Shared state of the two drain controllers: rosters one way, reports the other, and the statuses of the DPUs.

All of it is in memory, and follows from the clusters' objects.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dpunetop.domain.clusterconfig.types import tenant_cluster_name
from dpunetop.domain.dpunode.judge import credential_current
from dpunetop.domain.dpunode.status import DpuNodeStatus, DrainStep
from dpunetop.domain.drain.fleet.roster import HostScope, Place, Roster
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.kube.keys import INFRA, Key

Shift = tuple[DpuNodeStatus | None, DpuNodeStatus]
"""The former status of a DPU, if it was known, and the present one."""

StepOver = Callable[[DrainStep, int], None]
"""Callback for a step of a drain that is over, with the seconds that it took."""


@dataclass(frozen=True, slots=True)
class ShownDpu:
    """One DPU with its status from the drain."""

    roster: Roster
    is_listed: bool
    """Whether it is in the roster, with or without a host."""
    status: DpuNodeStatus | None
    """None: it was not looked at yet."""


class DrainStore:
    """Threads: any; the callbacks are called without a lock."""

    def __init__(self) -> None:
        self._guard = threading.Lock()  # guards all below
        self._rosters: dict[str, Roster] = {}  # by the name of the tenant's cluster
        self._reports: dict[Key, HostReport] = {}
        self._homes: dict[str, Mapping[str, Place]] = {}  # of each DPU, by the name of the tenant's cluster
        self._statuses: dict[Key, tuple[DpuNodeStatus, ...]] = {}  # of the DPUs whose home is a host
        self._wake_host: Callable[[Key], None] = lambda _: None
        self._wake_config: Callable[[Key], None] = lambda _: None
        self._wake_dpu: Callable[[Key], None] = lambda _: None
        self._step_over: StepOver = lambda *_: None

    def connect(
        self,
        wake_host: Callable[[Key], None],
        wake_config: Callable[[Key], None],
        wake_dpu: Callable[[Key], None] = lambda _: None,
        step_over: StepOver = lambda *_: None,
    ) -> None:
        """Take the callbacks that enqueue keys, and the one for steps of drains; once, before anything is published.
        The key of a DPU is that of its `DpuNode`."""
        self._step_over = step_over
        self._wake_host, self._wake_config, self._wake_dpu = wake_host, wake_config, wake_dpu

    # --- of a whole DpuClusterConfig --------------------------------------------------------------------------------

    def publish(self, roster: Roster) -> None:
        """Publish `roster`; wake the hosts whose part of it changes, and the DpuClusterConfigs that share the tenant's
        limit."""
        cluster, homes = roster.config.tenant_cluster, _homes(roster)
        with self._guard:
            before = self._rosters.get(cluster)
            housed = self._homes.get(cluster, {})
            self._rosters[cluster] = roster
            self._homes[cluster] = homes
        for place in _changed(before, roster):
            self._wake_host(key_of(cluster, place))
        self._wake_dpus(roster, _moved(before, roster, housed, homes))
        if before is None or before.slots.keys() != roster.slots.keys():
            self._wake_siblings(roster)

    def drop(self, cluster: str) -> None:
        """Drop the state of a DpuClusterConfig that is gone or no longer served."""
        with self._guard:
            before = self._rosters.pop(cluster, None)
            homes = self._homes.pop(cluster, {})
        if before is not None:
            self._wake_dpus(before, homes)
        for place in before.slots if before is not None else ():
            self._wake_host(key_of(cluster, place))

    def roster(self, cluster: str) -> Roster | None:
        """The newest roster of that tenant."""
        with self._guard:
            return self._rosters.get(cluster)

    def rosters(self) -> list[Roster]:
        """All rosters."""
        with self._guard:
            return list(self._rosters.values())

    def scope(self, key: Key) -> HostScope | None:
        """The facts known about the host of `key`; None: it is in no roster."""
        with self._guard:
            roster, report = self._rosters.get(key.cluster), self._reports.get(key)
        slot = roster.slots.get((key.namespace, key.name)) if roster is not None else None
        if roster is None or slot is None:
            return None
        return (
            HostScope(roster, slot)
            if report is None
            else HostScope(roster, slot, report.outage, report.abandoned_since)
        )

    def dpu_keys(self) -> list[Key]:
        """The key of every DPU."""
        with self._guard:
            found = [(roster, self._homes[cluster]) for cluster, roster in self._rosters.items()]
        return [_dpu_key(roster, dpu) for roster, homes in found for dpu in homes]

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
        """Publish the report of a host; returns the previous one."""
        with self._guard:
            before = self._reports.get(key)
            self._reports[key] = report
            roster = self._rosters.get(key.cluster)
        if roster is not None and (before is None or before.outcome() != report.outcome()):
            self._wake_config(Key(INFRA, roster.config.namespace, roster.config.name))
        return before

    def forget(self, key: Key) -> None:
        """Drop the state of a host that is gone from its roster."""
        with self._guard:
            self._reports.pop(key, None)
            self._statuses.pop(key, None)

    def reports(self, roster: Roster) -> list[HostReport | None]:
        """The report of each slot of `roster`; None: none yet."""
        keys = [key_of(roster.config.tenant_cluster, place) for place in roster.slots]
        with self._guard:
            return [self._reports.get(key) for key in keys]

    # --- of a single DPU --------------------------------------------------------------------------------------------

    def show(self, key: Key, statuses: tuple[DpuNodeStatus, ...], now: int) -> list[Shift]:
        """Publish the statuses of the DPUs whose home is a host; the others keep theirs. Returns the changes."""
        if not statuses:
            return []
        with self._guard:
            before = {each.dpu: each for each in self._statuses.get(key, ())}
            shown = tuple(each.after(before.get(each.dpu), now) for each in statuses)
            self._statuses[key] = shown
            roster = self._rosters.get(key.cluster)
        changes = [(before.get(each.dpu), each) for each in shown if each != before.get(each.dpu)]
        if roster is not None:
            self._wake_dpus(roster, [each.dpu for _, each in changes])
        self._tell_steps(changes)
        return changes

    def _tell_steps(self, changes: Iterable[Shift]) -> None:
        """Report the steps that ended; those that ended before this process saw the DPU were reported by an earlier
        one."""
        for before, now in changes:
            if before is not None and now.drain is not None:
                for step, seconds in now.drain.steps_since(before.drain).items():
                    self._step_over(step, seconds)

    def dpu(self, namespace: str, name: str) -> ShownDpu | None:
        """One DPU of the DpuClusterConfig that is served in that namespace; None: none is served there."""
        with self._guard:
            found = next((each for each in self._rosters.values() if each.config.namespace == namespace), None)
            if found is None:
                return None
            cluster = found.config.tenant_cluster
            home = self._homes[cluster].get(name)
            shown = () if home is None else self._statuses.get(key_of(cluster, home), ())
        return ShownDpu(found, home is not None, next((each for each in shown if each.dpu == name), None))

    def _wake_dpus(self, roster: Roster, dpus: Iterable[str]) -> None:
        for dpu in dpus:
            self._wake_dpu(_dpu_key(roster, dpu))

    def statuses(self, roster: Roster) -> list[DpuNodeStatus] | None:
        """All DPUs of a roster; None: not all of them were looked at yet."""
        found = self.dpus(roster)
        seen = [each for each in found if each is not None]
        return seen if len(seen) == len(found) else None

    def dpus(self, roster: Roster) -> list[DpuNodeStatus | None]:
        """Each DPU of a roster; None: not looked at yet."""
        cluster = roster.config.tenant_cluster
        with self._guard:
            shown = {
                each.dpu: each for place in roster.slots for each in self._statuses.get(key_of(cluster, place), ())
            }
            homes = self._homes.get(cluster, {})
        return [shown.get(dpu) for dpu in homes]


def key_of(cluster: str, place: Place) -> Key:
    """The key of the worker of a host, or of a DPU that has none."""
    return Key(cluster, *place)


def _dpu_key(roster: Roster, dpu: str) -> Key:
    return Key(INFRA, roster.config.namespace, dpu)


def subject(key: Key) -> dict[str, str]:
    """The subject of a log line: the tenant's cluster, the DpuClusterConfig, and the host or the DPU if the key is of
    one."""
    if key.cluster == INFRA:
        return {"cluster": tenant_cluster_name(key.namespace, key.name), "config": f"{key.namespace}/{key.name}"}
    return {"cluster": key.cluster, "config": key.cluster.removeprefix("tenant/"), key.namespace: key.name}


def _changed(before: Roster | None, now: Roster) -> Iterable[Place]:
    if before is None or before.shared() != now.shared():
        return {*now.slots, *(before.slots if before is not None else ())}
    places = {*before.slots, *now.slots}
    return [place for place in places if before.slots.get(place) != now.slots.get(place)]


def _homes(roster: Roster) -> Mapping[str, Place]:
    """For each DPU, the slot that is its home."""
    return {member.dpu: place for place, slot in roster.slots.items() for member in slot.members if member.is_home}


def _moved(
    before: Roster | None, now: Roster, housed: Mapping[str, Place], homes: Mapping[str, Place]
) -> Iterable[str]:
    """DPUs whose DpuNode changes although no host reports it: all of them, if the credential changes."""
    if before is None or credential_current(before.config) != credential_current(now.config):
        return {*housed, *homes}
    return [dpu for dpu in {*housed, *homes} if housed.get(dpu) != homes.get(dpu)]
