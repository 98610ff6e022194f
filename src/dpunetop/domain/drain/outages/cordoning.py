"""Cordon a host whose network failed outside a drain, and uncordon it again.

The mark is written first and counted: a worker that cordons has seen all marks written before. So two workers that
decide at once, in one process or in two, never exceed the limit of cordoned hosts. Each write carries the version of
the host that was read first: if a drain or a person changes it meanwhile, the write fails.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.calls import (
    Done,
    Procedure,
    QuorumGet,
    QuorumList,
    Result,
    Steps,
    fetch,
    fetch_all,
    store,
)
from dpunetop.domain.drain.model.cordonmark import CordonMark, CordonProgress, mark_of, short_ids, write_mark
from dpunetop.domain.drain.model.facts import HostNode, HostRef
from dpunetop.domain.drain.model.readers import dpu_node, host_node, is_ready_pod, ovn_pod
from dpunetop.domain.drain.model.reads import read_host, read_maintenances, read_pods
from dpunetop.domain.drain.outages.detection import Outage, Serving, find_outage, is_disrupted
from dpunetop.domain.drain.rules.returning import DpuCheck, first_broken
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.shapes import at


@dataclass(frozen=True, slots=True)
class Server:
    """The DPU that serves the host, and its pods."""

    dpu: str
    namespace: str
    pods: tuple[str, ...]
    """Names of its pods, from a cache."""


@dataclass(frozen=True, slots=True)
class MarkHost:
    """Record on the host that it is to be cordoned, with the boot and containers of its DPU now."""

    host_ref: HostRef
    server: Server
    outage: Outage
    after_seconds: int
    """How long the network must have been failing."""

    @property
    def dpu(self) -> str:
        """The DPU that serves the host."""
        return self.server.dpu

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from read_host(self.host_ref)
        if host is None or host.unplanned is not None or host.cordoned:
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was looked at")
        if why := (yield from _hindrance(self.host_ref, host)):
            return Done(Result.STALE, f"{self.host_ref.host}: {why}")
        node, pods = yield from _read_server(self.server)
        if not _is_due(self.host_ref, self.outage, self.after_seconds, node, pods):
            return Done(Result.STALE, f"{self.host_ref.host}: has not been without a network for so long")
        containers = (each for pod in pods for each in ovn_pod(pod).containers)
        mark = CordonMark(
            owner=self.host_ref.owner,
            stage=CordonProgress.WANTED,
            since=self.outage.since,
            dpu=self.server.dpu,
            boot="" if node is None else dpu_node(node).boot_id,
            containers=short_ids(tuple(containers)),
        )
        yield from store(write_mark(self.host_ref.tenant_cluster, host.live, mark))
        return Done(Result.DONE, f"{self.host_ref.host}: is to be cordoned")


@dataclass(frozen=True, slots=True)
class CordonHost:
    """Cordon a host that is marked, unless the limit of cordoned hosts is reached."""

    host_ref: HostRef
    server: Server
    seen: CordonMark
    outage: Outage
    after_seconds: int
    limit: int

    @property
    def dpu(self) -> str:
        """The DPU that serves the host."""
        return self.server.dpu

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from _read_marked(self.host_ref, self.seen)
        if host is None or host.cordoned:
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was looked at")
        if why := (yield from _hindrance(self.host_ref, host)):
            return Done(Result.STALE, f"{self.host_ref.host}: {why}")
        if not _is_due(self.host_ref, self.outage, self.after_seconds, *(yield from _read_server(self.server))):
            return Done(Result.STALE, f"{self.host_ref.host}: has not been without a network for so long")
        nodes = yield from fetch_all(QuorumList(self.host_ref.tenant_cluster, NODES, ""))
        others = [node for node in nodes if name_of(node) != self.host_ref.host and takes_place(node)]
        if len(others) < self.limit:
            yield from store(
                write_mark(self.host_ref.tenant_cluster, host.live, replace(self.seen, stage=CordonProgress.CORDONED))
            )
            return Done(Result.DONE, f"{self.host_ref.host}: is cordoned, because it has no network")
        if self._is_first(others):
            return Done(Result.STALE, f"{self.host_ref.host}: waits for others that are marked to draw back")
        yield from store(write_mark(self.host_ref.tenant_cluster, host.live, None))
        return Done(Result.REFUSED, f"{self.host_ref.host}: {len(others)} hosts are cordoned, as many as may be")

    def _is_first(self, others: Iterable[Obj]) -> bool:
        """If several are marked and together exceed the limit, one of them has to keep its mark."""
        marks = ((mark_of(node), name_of(node)) for node in others)
        wanted = [
            (mark.since, name) for mark, name in marks if mark is not None and mark.stage is CordonProgress.WANTED
        ]
        return bool(wanted) and (self.seen.since, self.host_ref.host) < min(wanted)


@dataclass(frozen=True, slots=True)
class Uncordon:
    """Remove mark and cordon of a host whose network is proven.

    Guarantees: all guards of giving back held, and no maintenance existed, after the read of the host whose version the
        write carries.
    """

    host_ref: HostRef
    server: Server
    seen: CordonMark
    dpu_checks: tuple[DpuCheck, ...]

    @property
    def dpu(self) -> str:
        """The DPU that serves the host."""
        return self.server.dpu

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from _read_marked(self.host_ref, self.seen)
        if host is None:
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was looked at")
        if (broken := (yield from first_broken(self.host_ref, self.dpu_checks))) is not None:
            return broken
        pods = yield from read_pods(self.server.namespace, self.server.dpu, self.server.pods)
        if not any(is_ready_pod(pod) for pod in pods):
            return Done(Result.STALE, f"{self.server.dpu}: no ovnkube-node pod is Ready")
        if why := (yield from _hindrance(self.host_ref, host)):
            return Done(Result.STALE, f"{self.host_ref.host}: {why}")
        yield from store(write_mark(self.host_ref.tenant_cluster, host.live, None))
        return Done(Result.DONE, f"{self.host_ref.host}: its network works again, our cordon is taken back")


@dataclass(frozen=True, slots=True)
class Withdraw:
    """Remove a mark without a cordon of ours; the host stays schedulable or not."""

    host_ref: HostRef
    seen: CordonMark

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from _read_marked(self.host_ref, self.seen)
        if host is None or (host.cordoned and host.has_outage_cordon):
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was looked at")
        yield from store(write_mark(self.host_ref.tenant_cluster, host.live, None))
        return Done(Result.DONE, f"{self.host_ref.host}: its mark is taken off")


@dataclass(frozen=True, slots=True)
class Overrule:
    """Record that another client uncordoned the host although it has no network."""

    host_ref: HostRef
    seen: CordonMark

    def run(self) -> Procedure:
        """See `calls.Task`."""
        host = yield from _read_marked(self.host_ref, self.seen)
        if host is None or host.cordoned:
            return Done(Result.STALE, f"{self.host_ref.host}: has changed since it was looked at")
        overruled = replace(self.seen, stage=CordonProgress.OVERRULED)
        yield from store(write_mark(self.host_ref.tenant_cluster, host.live, overruled))
        return Done(Result.DONE, f"{self.host_ref.host}: another writer made it schedulable, and it stays so")


def takes_place(node: Obj) -> bool:
    """Whether a tenant Node counts among the hosts that are cordoned or about to be, for any DpuClusterConfig."""
    mark = mark_of(node)
    if mark is None or mark.stage is CordonProgress.OVERRULED:
        return False
    return mark.stage is CordonProgress.WANTED or bool(at(node, "spec", "unschedulable"))


def _read_marked(host_ref: HostRef, seen: CordonMark) -> Steps[HostNode | None]:
    """The host, if it has exactly that mark."""
    obj = yield from fetch(QuorumGet(host_ref.tenant_cluster, NODES, "", host_ref.host))
    host = None if obj is None else host_node(obj)
    return host if host is not None and host.unplanned == seen else None


def _hindrance(host_ref: HostRef, host: HostNode) -> Steps[str]:
    """Why the host is not changed now; empty: it may be."""
    if host.mark is not None or host.terminating or host.in_own_drain:
        return "is in a drain, or about to go"
    if (yield from read_maintenances(host_ref)):
        return "there is a maintenance"
    if is_disrupted((yield from fetch_all(QuorumList(INFRA, NODES, "")))):
        return "infra itself is suspect: too many of its Nodes are not Ready"
    return ""


def _read_server(server: Server) -> Steps[tuple[Obj | None, tuple[Obj, ...]]]:
    """The Node and the ovnkube-node pods of a DPU."""
    node = yield from fetch(QuorumGet(INFRA, NODES, "", server.dpu))
    pods = yield from read_pods(server.namespace, server.dpu, server.pods)
    return node, pods


def _is_due(host_ref: HostRef, seen: Outage, after_seconds: int, node: Obj | None, pods: tuple[Obj, ...]) -> bool:
    """Whether the same outage still lasts, and for long enough; a new one starts its own count."""
    now = host_ref.author.now
    found = find_outage(Serving(host_ref.host, seen.dpu, node, pods), now, seen)
    return found is not None and found.is_told(now) and found.since + after_seconds <= now
