"""The write that has a DPU serve: which pods idle with it, which forbid it, and what stops one DPU and not the others.

One table of all that can be there: the entry, who wrote it, and the pods.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Call, Done, Result, Write, drive
from dpunetop.domain.drain.model.facts import Author, HostRef
from dpunetop.domain.drain.model.readers import budget
from dpunetop.domain.drain.protection.blockers import BlockerSettings, BudgetState, Form, first_budget
from dpunetop.domain.drain.protection.blockers import write_budget as budget_step
from dpunetop.domain.drain.protection.tasks import DesiredEntry, PutEntries
from dpunetop.domain.names import (
    IDLE_PODS_ANNOTATION,
    OVNKUBE_NODE_ENTRIES,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    UNSURE_PODS_ANNOTATION,
    blocker_labels,
    blocker_name,
)
from dpunetop.domain.pairing.entries import entries_of, idle_pods
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES, PODS
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Apply
from support.twoclusters import Server

SETTINGS = BlockerSettings("dpunetop", "image", "owner", has_scc=True)
READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
NEW = "TENANT_K8S_NODE=host-1\nOVN_LOG_LEVEL=dbg\n"
SAME_HOST, OTHER_HOST = "TENANT_K8S_NODE=host-1\n", "TENANT_K8S_NODE=host-9\n"


class Infra:
    """DPUs that are protected, each for a host of its own, and the ConfigMap of entries."""

    def __init__(self, *dpus: str) -> None:
        self.server = Server()
        for number, dpu in enumerate(dpus, 1):
            self.server.put(NODES, {"metadata": {"name": dpu}, "spec": {}, "status": READY})
            step = Apply(
                INFRA, PODDISRUPTIONBUDGETS, first_budget(SETTINGS, dpu, f"host-{number}"), None, "dpunetop-drain"
            )
            self.server.perform(Write(step))
            metadata = {"name": f"blocker-{dpu}", "namespace": "dpunetop", "labels": dict(blocker_labels(dpu))}
            self.server.put(PODS, {"metadata": metadata, "spec": {"nodeName": dpu}, "status": READY})
        self.entries = tuple(
            DesiredEntry(host_ref(f"host-{number}"), dpu, NEW.replace("host-1", f"host-{number}"))
            for number, dpu in enumerate(dpus, 1)
        )
        self.config_map({})

    def config_map(
        self, data: Mapping[str, str], notes: Mapping[str, str] | None = None, by: str = "dpunetop-drain"
    ) -> None:
        fields: dict[str, Any] = {"f:data": {f"f:{name}": {} for name in data}}
        metadata = {
            "name": OVNKUBE_NODE_ENTRIES,
            "namespace": "ns",
            "labels": {OWNER_LABEL: "owner"},
            "annotations": dict(notes or {}),
            "managedFields": [{"manager": by, "fieldsV1": fields}],
        }
        self.server.put(CONFIGMAPS, {"metadata": metadata, "data": dict(data)})

    def pod(self, name: str, dpu: str = "d", **but: Any) -> str:
        """A pod of the DaemonSet; its UID."""
        metadata = {"name": name, "namespace": "ns", "labels": {"app": "ovnkube-node"}, **but.pop("metadata", {})}
        put = self.server.put(PODS, {"metadata": metadata, "spec": {"nodeName": dpu}, "status": {**READY, **but}})
        return str(put["metadata"]["uid"])

    def live(self) -> Obj:
        found = self.server.get(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES)
        assert found is not None
        return found

    def put(self) -> Done:
        return drive(PutEntries("ns", self.entries), self.server.perform)

    def change_budget(self, dpu: str, state: BudgetState) -> None:
        found = self.server.get(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name(dpu))
        assert found is not None
        self.server.perform(Write(budget_step(host_ref("host-1"), budget(found, "owner"), state)))


def host_ref(host: str) -> HostRef:
    return HostRef(host, "tenant/a/b", "dpunetop", "owner", Author("dpunetop-drain", "t", "x", 0))


PODS_THERE: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "no pod": (),
    "one": (("p", {}),),
    "one on its way out": (("p", {"metadata": {"deletionTimestamp": "t", "finalizers": ["x"]}}),),
    "one that has ended": (("p", {"phase": "Failed"}),),
    "two": (("p", {}), ("q", {})),
    "one beside one on its way out": (("p", {}), ("q", {"metadata": {"deletionTimestamp": "t", "finalizers": ["x"]}})),
}
SERVES, IDLES = ("one", "two", "one beside one on its way out"), ("one", "one beside one on its way out")


@pytest.mark.parametrize("there", PODS_THERE)
@pytest.mark.parametrize("is_unsure", [False, True])
def test_the_one_pod_that_is_there_before_the_entry_idles_with_it(there: str, is_unsure: bool) -> None:
    """Unless it was there when the ConfigMap was made: nobody knows what it has read."""
    infra = Infra("d")
    uids = [infra.pod(name, **but) for name, but in PODS_THERE[there]]
    infra.config_map({}, {UNSURE_PODS_ANNOTATION: uids[0]} if is_unsure and uids else {})
    done = infra.put()
    if there == "two":
        assert (done.result, entries_of(infra.live())) == (Result.STALE, {})
        return
    assert (done.result, entries_of(infra.live())) == (Result.DONE, {"d": NEW})
    assert idle_pods(infra.live()) == ({"d": uids[0]} if there in IDLES and not is_unsure else {})


@pytest.mark.parametrize("there", PODS_THERE)
@pytest.mark.parametrize("known", ["idle", "not idle"])
@pytest.mark.parametrize("by", ["dpunetop-drain", "kubectl-edit"])
@pytest.mark.parametrize("text", [SAME_HOST, OTHER_HOST])
def test_an_entry_that_a_pod_has_read_is_not_changed_unless_somebody_else_has_written_it(
    there: str, known: str, by: str, text: str
) -> None:
    """Another host is no change of an entry: that DPU is not protected for it, so nobody was served by that."""
    infra = Infra("d")
    uids = [infra.pod(name, **but) for name, but in PODS_THERE[there]]
    notes = {IDLE_PODS_ANNOTATION: json.dumps({"d": uids[0]})} if known == "idle" and uids else {}
    infra.config_map({"d": text}, notes, by)
    before = idle_pods(infra.live())
    infra.put()
    has_read = there == "two" or (there in SERVES and known == "not idle")
    is_kept = has_read and by == "dpunetop-drain" and text == SAME_HOST
    assert entries_of(infra.live()) == {"d": text if is_kept else NEW}
    assert idle_pods(infra.live()) == before


STOPS: dict[str, Any] = {
    "its budget is open": lambda infra: infra.change_budget("a", BudgetState(Form.OPEN, "host-1", None)),
    "its budget is for another host": lambda infra: infra.change_budget("a", BudgetState(Form.CLOSED, "host-7", None)),
    "pods of it are leaving": lambda infra: infra.change_budget("a", BudgetState(Form.CLOSED, "host-1", None, ("u",))),
    "its budget is gone": lambda infra: infra.server.remove(PODDISRUPTIONBUDGETS, "dpunetop", blocker_name("a")),
    "its budget is somebody else's": lambda infra: infra.server.change(
        PODDISRUPTIONBUDGETS, "dpunetop", blocker_name("a"), {"metadata": {"labels": {OWNER_LABEL: "x"}}}
    ),
    "its blocker is gone": lambda infra: infra.server.remove(PODS, "dpunetop", "blocker-a"),
    "it is cordoned": lambda infra: infra.server.change(NODES, "", "a", {"spec": {"unschedulable": True}}),
    "its node is deleted": lambda infra: infra.server.change(
        NODES, "", "a", {"metadata": {"deletionTimestamp": "t", "finalizers": ["x"]}}
    ),
    "its node is gone": lambda infra: infra.server.remove(NODES, "", "a"),
    "it has its entry": lambda infra: infra.config_map({"a": NEW}),
    "another serves its host": lambda infra: infra.config_map({"z": SAME_HOST}),
    "two pods are there": lambda infra: (infra.pod("p", "a"), infra.pod("q", "a")),
}


@pytest.mark.parametrize("why", STOPS)
def test_what_stops_one_dpu_stops_no_other(why: str) -> None:
    infra = Infra("a", "b")
    STOPS[why](infra)
    before = entries_of(infra.live())
    done = infra.put()
    assert (done.result, done.note) == (Result.DONE, "serve now: b")
    assert entries_of(infra.live()) == {**before, "b": NEW.replace("host-1", "host-2")}


def test_two_dpus_that_are_to_serve_one_host_do_not_get_their_entries_in_one_write() -> None:
    infra = Infra("a", "b")
    infra.entries = (infra.entries[0], replace(infra.entries[1], host_ref=host_ref("host-1"), text=NEW))
    infra.change_budget("b", BudgetState(Form.CLOSED, "host-1", None))
    assert infra.put().note == "serve now: a"


@pytest.mark.parametrize("of", ["nobody", "another"])
def test_without_a_config_map_of_ours_nothing_is_written(of: str) -> None:
    infra = Infra("d")
    infra.server.remove(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES)
    if of == "another":
        infra.config_map({})
        infra.server.change(CONFIGMAPS, "ns", OVNKUBE_NODE_ENTRIES, {"metadata": {"labels": {OWNER_LABEL: "x"}}})
    writes: list[Call] = []

    def perform(call: Call) -> Any:
        if isinstance(call, Write):
            writes.append(call)
        return infra.server.perform(call)

    assert drive(PutEntries("ns", infra.entries), perform).result is Result.STALE
    assert writes == []
