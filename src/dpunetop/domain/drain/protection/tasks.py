"""Rule 1, a DPU serves only under protection: the writes of budget, entry and pods, after fresh reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from dpunetop.domain.drain.model.calls import (
    Done,
    Procedure,
    QuorumGet,
    QuorumList,
    Result,
    Steps,
    Write,
    fetch,
    fetch_all,
    store,
)
from dpunetop.domain.drain.model.facts import Budget, HostRef, Maintenance, OvnPod
from dpunetop.domain.drain.model.maintenances import is_drained
from dpunetop.domain.drain.model.readers import ovn_pod
from dpunetop.domain.drain.model.reads import (
    read_blocker_ready,
    read_budget,
    read_host,
    read_maintenance,
    read_node,
    tell_dpu,
)
from dpunetop.domain.drain.protection.blockers import BudgetState, Form, state_of, write_budget
from dpunetop.domain.names import (
    DPUCLUSTERCONFIGS,
    FENCE_ANNOTATION,
    FORCE_DELETE_ANNOTATION,
    IDLE_PODS_ANNOTATION,
    OVNKUBE_NODE,
    OVNKUBE_NODE_ENTRIES,
    OWNER_LABEL,
)
from dpunetop.domain.pairing.entries import entries_of, idle_pods, overwritten, render_idle_pods, unsure_pods
from dpunetop.domain.pairing.pairing import host_of
from dpunetop.kube.errors import Conflict
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NAMESPACES, PODS
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of
from dpunetop.kube.plan import Delete, Patch
from dpunetop.kube.selectors import by_labels, by_name

HOST_LET_GO, HOST_CUT_OFF = "HostLetGo", "HostCutOff"
"""Reasons of Events on the Node of a DPU that no longer serves its host: for a host that is drained, and for one that
is not."""
_GOING = ("entry",)
"""Stands for the pods that have to end, while the entry is about to be removed and they are not known yet."""


@dataclass(frozen=True, slots=True)
class ProtectDpu:
    """Close the budget of a DPU that is to serve, or is found serving, and record which host.

    Guarantees: the write carries the version that was seen, so no read is needed before.
    """

    host_ref: HostRef
    dpu: str
    host: str
    seen: Budget
    """A budget of ours that names no host."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        try:
            yield from store(write_budget(self.host_ref, self.seen, BudgetState(Form.CLOSED, self.host, None)))
        except Conflict:
            return Done(Result.STALE, f"{self.dpu}: the budget has changed since it was looked at")
        return Done(Result.DONE, f"{self.dpu}: is protected for {self.host}")


@dataclass(frozen=True, slots=True)
class KeepPods:
    """Keep the pods of a DPU whose entry exists again, or still exists.

    Guarantees: writes the ConfigMap first, so that a pending removal of the entry fails.
    """

    host_ref: HostRef
    dpu: str
    namespace: str

    def run(self) -> Procedure:
        """See `calls.Task`."""
        live = yield from _read_entries(self.namespace, self.host_ref.owner)
        if live is None or host_of(self.dpu, entries_of(live).get(self.dpu, "")) != self.host_ref.host:
            return Done(Result.STALE, f"{self.dpu}: its entry is not there")
        read = yield from read_budget(self.host_ref, self.dpu)
        if read is None or not read.ours or read.serves != self.host_ref.host or not read.leaving:
            return Done(Result.STALE, f"{self.dpu}: the budget has changed since it was looked at")
        yield from store(Patch(INFRA, CONFIGMAPS, live, {"metadata": _fenced(self.host_ref, self.dpu)}))
        yield from store(write_budget(self.host_ref, read, replace(state_of(read), leaving=())))
        return Done(Result.DONE, f"{self.dpu}: stays with {self.host_ref.host}")


@dataclass(frozen=True, slots=True)
class DesiredEntry:
    """One DPU that is to serve the host of its `host_ref`."""

    host_ref: HostRef
    dpu: str
    text: str
    blocker: str = ""
    """Name of its blocker pod that was Ready."""


@dataclass(frozen=True, slots=True)
class PutEntries:
    """Write the entries of DPUs that are protected, all in one write.

    The ConfigMap is read first and written with that version: a removal of an entry changes it, so no older write
    arrives later, and no host gets a second entry beside one from another process. The node is read after the budget: a
    drain that began before the budget closed still shows. A pod that exists before the entry is recorded as idle in the
    same write, and an entry that a pod has read is not changed.
    """

    namespace: str
    entries: tuple[DesiredEntry, ...]

    def run(self) -> Procedure:
        """See `calls.Task`."""
        live = yield from _read_entries(self.namespace, self.entries[0].host_ref.owner)
        if live is None:
            return Done(Result.STALE, "there are no entries to add to")
        data: dict[str, str] = {}
        idle = idle_pods(live)
        for entry in self.entries:
            texts = {**entries_of(live), **data}
            if texts.get(entry.dpu) == entry.text or _is_served_by_other(entry, texts):
                continue
            if not (yield from _is_guarded(entry)):
                continue
            pods = yield from _pods_on(self.namespace, entry.dpu)
            if (found := _idle_with(live, entry, pods, idle)) is not None:
                data[entry.dpu], idle = entry.text, found
        if not data:
            return Done(Result.STALE, "no DPU is protected")
        change: dict[str, object] = {"data": data}
        if idle != idle_pods(live):
            change["metadata"] = {"annotations": {IDLE_PODS_ANNOTATION: render_idle_pods(idle)}}
        yield from store(Patch(INFRA, CONFIGMAPS, live, change))
        return Done(Result.DONE, f"serve now: {', '.join(sorted(data))}")


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """Write a new entry for a DPU that keeps its host, which is drained, and restart its pod.

    Guarantees: the same write records the pod as idle: so it is deleted after a crash too, and proves nothing any more.
    """

    host_ref: HostRef
    dpu: str
    namespace: str
    text: str

    def run(self) -> Procedure:
        """See `calls.Task`."""
        live = yield from _read_entries(self.namespace, self.host_ref.owner)
        pods = yield from _pods_on(self.namespace, self.dpu)
        before = entries_of(live).get(self.dpu, "")
        if live is None or before == self.text or host_of(self.dpu, before) != self.host_ref.host:
            return Done(Result.STALE, f"{self.dpu}: the entry has changed since it was looked at")
        there = [pod for pod in pods if not pod.terminating]
        if len(there) > 1 or not (yield from _is_let_go(self.host_ref)):
            return Done(Result.STALE, f"{self.dpu}: {self.host_ref.host} is not drained, or several pods are there")
        idle = idle_pods(live)
        idle.update((self.dpu, pod.uid) for pod in there)
        notes = {IDLE_PODS_ANNOTATION: render_idle_pods(idle)}
        change = {"metadata": {"annotations": notes}, "data": {self.dpu: self.text}}
        yield from store(Patch(INFRA, CONFIGMAPS, live, change))
        for pod in there:
            yield Write(Delete(INFRA, PODS, pod.live))
        return Done(Result.DONE, f"{self.dpu}: has another entry, its pod is started again")


@dataclass(frozen=True, slots=True)
class TakeEntry:
    """Remove the entry of a DPU whose host is drained or gone, or that has no pod to read it.

    Guarantees: always writes the ConfigMap, so that an entry that was decided on before fails. Before that the budget
        records that the DPU is leaving, so the removal goes on even if the DPU is paired again meanwhile.
    """

    host_ref: HostRef
    dpu: str
    namespace: str
    drained: bool
    """Whether the host is known to be drained or absent; for the Event."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        live = yield from _read_entries(self.namespace, self.host_ref.owner)
        pods = yield from _pods_on(self.namespace, self.dpu)
        if live is None:
            return Done(Result.STALE, "there are no entries")
        if pods and not (yield from _is_let_go(self.host_ref)):
            return Done(Result.STALE, f"{self.dpu}: {self.host_ref.host} is not drained")
        node = yield from read_node(self.dpu)
        if pods and node is not None and node.held:
            return Done(Result.STALE, f"{self.dpu}: a person holds it")
        read = yield from read_budget(self.host_ref, self.dpu)
        if read is None or not read.ours or read.serves != self.host_ref.host:
            return Done(Result.STALE, f"{self.dpu}: the budget has changed since it was looked at")
        if read.leaving != _GOING:  # the recorded pods are not all that have read this entry
            yield from store(write_budget(self.host_ref, read, replace(state_of(read), leaving=_GOING)))
        yield from store(Patch(INFRA, CONFIGMAPS, live, _without(self.host_ref, self.dpu)))
        yield from _tell_parting(self.host_ref, self.dpu, self.drained)
        return Done(Result.DONE, f"{self.dpu}: no longer serves {self.host_ref.host}")


@dataclass(frozen=True, slots=True)
class StopServing:
    """After the entry is removed: record the pods that may have read it, wait for their end, then open the budget and
    clear its host."""

    host_ref: HostRef
    dpu: str
    namespace: str

    def run(self) -> Procedure:
        """See `calls.Task`."""
        live = yield from _read_entries(self.namespace, self.host_ref.owner)
        if live is not None and self.dpu in entries_of(live):
            return Done(Result.STALE, f"{self.dpu}: the entry is there")
        read = yield from read_budget(self.host_ref, self.dpu)
        pods = yield from _pods_on(self.namespace, self.dpu)
        if read is None or not read.ours or read.serves != self.host_ref.host or read.is_open:
            return Done(Result.STALE, f"{self.dpu}: the budget has changed since it was looked at")
        if not read.leaving:  # first, so that an entry that is decided on later sees it
            yield from store(write_budget(self.host_ref, read, replace(state_of(read), leaving=_GOING)))
            return Done(Result.DONE, f"{self.dpu}: leaves {self.host_ref.host}")
        if read.leaving == _GOING:
            return (yield from self._write_down(live, read, pods))
        staying = [pod for pod in pods if pod.uid in read.leaving]
        for pod in staying:
            if not pod.terminating:
                yield Write(Delete(INFRA, PODS, pod.live))
        if staying:
            return Done(Result.DONE, f"{self.dpu}: {len(staying)} pods have yet to go")
        yield from store(write_budget(self.host_ref, read, BudgetState(Form.OPEN, "", None)))
        return Done(Result.DONE, f"{self.dpu}: serves no host")

    def _write_down(self, live: Obj | None, read: Budget, pods: tuple[OvnPod, ...]) -> Steps[Done]:
        """A process that lost leadership may still send an entry: this write of the ConfigMap makes it fail, and a
        ConfigMap that is gone does too."""
        if live is not None:
            yield from store(Patch(INFRA, CONFIGMAPS, live, _without(self.host_ref, self.dpu)))
        uids = tuple(pod.uid for pod in pods) or ("none",)
        yield from store(write_budget(self.host_ref, read, replace(state_of(read), leaving=uids)))
        return Done(Result.DONE, f"{self.dpu}: its pods are to go")


@dataclass(frozen=True, slots=True)
class ReleaseBudget:
    """Open the budget of a DPU whose entry and pods stay out of reach: nothing else would ever open it.

    Guarantees: does so only for a host that is drained, or in a namespace that is being deleted, or by force.
    """

    host_ref: HostRef
    dpu: str
    namespace: str
    """Namespace of its DpuClusterConfig."""
    drained: bool
    """Whether the host is known to be drained or absent."""

    def run(self) -> Procedure:
        """See `calls.Task`."""
        read = yield from read_budget(self.host_ref, self.dpu)
        if read is None or not read.ours or read.serves != self.host_ref.host:
            return Done(Result.STALE, f"{self.dpu}: the budget has changed since it was looked at")
        if not (yield from (_is_let_go(self.host_ref) if self.drained else self._is_given_up())):
            return Done(Result.STALE, f"{self.dpu}: {self.host_ref.host} is to be drained first")
        yield from store(write_budget(self.host_ref, read, BudgetState(Form.OPEN, "", None)))
        yield from _tell_parting(self.host_ref, self.dpu, self.drained)
        return Done(Result.DONE, f"{self.dpu}: is let go, its namespace is out of reach")

    def _is_given_up(self) -> Steps[bool]:
        """Whether Kubernetes deletes the pod now, or a person forces the deletion regardless of the host."""
        namespaces = yield from fetch_all(QuorumList(INFRA, NAMESPACES, "", "", by_name(self.namespace)))
        if not namespaces or is_terminating(namespaces[0]):
            return True
        configs = yield from fetch_all(QuorumList(INFRA, DPUCLUSTERCONFIGS, self.namespace))
        return any(is_terminating(each) and FORCE_DELETE_ANNOTATION in annotations_of(each) for each in configs)


def _tell_parting(host_ref: HostRef, dpu: str, drained: bool) -> Steps[None]:
    if drained:
        words = f"{dpu} no longer serves host {host_ref.host}, which is drained or gone"
        yield from tell_dpu(dpu, HOST_LET_GO, words)
        return
    words = (
        f"{dpu} no longer serves host {host_ref.host}, which is not known to be drained: what runs there has no network"
    )
    yield from tell_dpu(dpu, HOST_CUT_OFF, f"{words}. Drain it, or have it served again")


def _without(host_ref: HostRef, dpu: str) -> Mapping[str, object]:
    return {"metadata": _fenced(host_ref, dpu), "data": {dpu: None}}


def _fenced(host_ref: HostRef, dpu: str) -> Mapping[str, object]:
    """An annotation that changes with every write, so that every other write that was decided before fails."""
    return {"annotations": {FENCE_ANNOTATION: f"{host_ref.author.term}.{host_ref.author.draw}.{dpu}"}}


def _read_entries(namespace: str, owner: str) -> Steps[Obj | None]:
    """Our ConfigMap; one of another owner counts as absent."""
    found = yield from fetch(QuorumGet(INFRA, CONFIGMAPS, namespace, OVNKUBE_NODE_ENTRIES))
    return found if found is not None and labels_of(found).get(OWNER_LABEL) == owner else None


def _pods_on(namespace: str, dpu: str) -> Steps[tuple[OvnPod, ...]]:
    """Every ovnkube-node pod on the node that has not ended."""
    labels, fields = by_labels({"app": OVNKUBE_NODE}), f"spec.nodeName={dpu}"
    objs = yield from fetch_all(QuorumList(INFRA, PODS, namespace, labels, fields))
    ended = ("Succeeded", "Failed")
    return tuple(ovn_pod(obj) for obj in objs if (obj.get("status") or {}).get("phase") not in ended)


def _idle_with(live: Obj, entry: DesiredEntry, pods: tuple[OvnPod, ...], idle: dict[str, str]) -> dict[str, str] | None:
    """The pods that are idle once the entry is written; None: it must not be written, because a pod serves."""
    there = [pod.uid for pod in pods if not pod.terminating]
    if entry.dpu in entries_of(live):
        changes = host_of(entry.dpu, entries_of(live)[entry.dpu]) == entry.host_ref.host
        reads = entry.dpu not in overwritten(live) and any(uid != idle.get(entry.dpu) for uid in there)
        return None if changes and reads else idle
    if len(there) > 1:
        return None
    if not there or there[0] in unsure_pods(live):
        return idle
    return {**idle, entry.dpu: there[0]}


def _is_served_by_other(entry: DesiredEntry, texts: Mapping[str, str]) -> bool:
    others = (host_of(dpu, text) for dpu, text in texts.items() if dpu != entry.dpu)
    return entry.host_ref.host in others


def _is_guarded(entry: DesiredEntry) -> Steps[bool]:
    read = yield from read_budget(entry.host_ref, entry.dpu)
    if read is None or not read.ours or read.serves != entry.host_ref.host or read.is_open or read.leaving:
        return False
    ready = yield from read_blocker_ready(entry.host_ref, entry.dpu, entry.blocker)
    node = yield from read_node(entry.dpu)
    return ready and node is not None and not node.cordoned and not node.terminating


def _is_let_go(host_ref: HostRef) -> Steps[bool]:
    host = yield from read_host(host_ref)
    if host is None:
        return True
    found: Maintenance | None = yield from read_maintenance(host_ref)
    return found is not None and found.ours and is_drained(found, host)
