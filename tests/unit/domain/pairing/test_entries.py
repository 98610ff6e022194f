from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.pairing.entries import (
    EntriesState,
    EntriesView,
    EntryWait,
    entries_config_map,
    idle_pods,
    idle_pods_left,
    judge_entries,
    overwritten,
    render_idle_pods,
    serving_nodes,
    unsure_pods,
)
from dpunetop.domain.pairing.envfile import NodeEntry, parse_entries, render_entry
from dpunetop.domain.pairing.pairing import Claims, PairingView, pair_up
from dpunetop.kube.meta import uid_of

OWNER = Owner({"metadata": {"name": "c", "namespace": "ns", "uid": "cr"}}, "0123")
MANAGER = "dpunetop-ovnkube"


def pod(node: str, uid: str, **metadata: str) -> dict[str, Any]:
    return {"metadata": {"name": f"p-{uid}", "uid": uid, **metadata}, "spec": {"nodeName": node}, "status": {}}


def live(
    data: Mapping[str, str],
    idle: Mapping[str, str] | None = None,
    owned: Iterable[str] | None = None,
    by: str = MANAGER,
) -> dict[str, Any]:
    annotations = {"dpu.openshift.io/idle-pods": json.dumps(idle or {})}
    fields: dict[str, Any] = {"f:data": {f"f:{node}": {} for node in (data if owned is None else owned)}}
    entry = {"manager": by, "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}
    metadata = {"name": "ovnkube-node-entries", "annotations": annotations, "managedFields": [entry]}
    return {"apiVersion": "v1", "metadata": metadata, "data": {node: text(host) for node, host in data.items()}}


def text(host: str) -> str:
    return render_entry(NodeEntry(host))


def judged(
    wanted: Mapping[str, str], there: dict[str, Any] | None, pods: list[dict[str, Any]], configured: str = "abc"
) -> EntriesState:
    wishes = parse_entries({node: f"TENANT_K8S_NODE={host}" for node, host in wanted.items()})
    entries = (there or {}).get("data") or {}
    pairs = pair_up(PairingView(wishes, {}, frozenset(), entries, {}, frozenset(), Claims(), None))
    return judge_entries(EntriesView(pairs, there, frozenset(configured), tuple(pods)))


def summary(state: EntriesState) -> tuple[list[str], list[tuple[str, EntryWait]]]:
    return [uid_of(pod) for pod in state.restart], [(waiting.node, waiting.reason) for waiting in state.waiting]


CASES = {  # (wanted, live, pods) -> (restarted, waiting)
    "nothing at all": (({}, None, []), ([], [])),
    "before it is protected": (({"a": "x"}, live({}), []), ([], [("a", EntryWait.PROTECTION_PENDING)])),
    "beside an idle pod": (({"a": "x"}, live({"a": "x"}, {"a": "1"}), [pod("a", "1")]), (["1"], [])),
    "idle pod on its way out": (
        ({"a": "x"}, live({"a": "x"}, {"a": "1"}), [pod("a", "1", deletionTimestamp="t")]),
        ([], []),
    ),
    "replaced by a serving pod": (({"a": "x"}, live({"a": "x"}, {"a": "1"}), [pod("a", "2")]), ([], [])),
    "idle without an entry": (({}, live({}, {"a": "1"}), [pod("a", "1")]), ([], [])),
    "serving, change asked": (
        ({"a": "y"}, live({"a": "x"}), [pod("a", "2")]),
        ([], [("a", EntryWait.ENTRY_CHANGE_PENDING)]),
    ),
    "serving, removal asked": (({}, live({"a": "x"}), [pod("a", "2")]), ([], [("a", EntryWait.ENTRY_REMOVAL_PENDING)])),
    "serving pod terminating still serves": (
        ({}, live({"a": "x"}), [pod("a", "2", deletionTimestamp="t")]),
        ([], [("a", EntryWait.ENTRY_REMOVAL_PENDING)]),
    ),
    "idle, change asked": (
        ({"a": "y"}, live({"a": "x"}, {"a": "1"}), [pod("a", "1")]),
        (["1"], [("a", EntryWait.PROTECTION_PENDING)]),
    ),
    "entry malformed, last good kept": (
        ({"a": "$(id)"}, live({"a": "x"}), []),
        ([], [("a", EntryWait.PAIRING_CONFLICT)]),
    ),
    "host not configured": (({"z": "x"}, live({}), [pod("z", "1")]), ([], [("z", EntryWait.HOST_NOT_CONFIGURED)])),
    "two new for one host": (
        ({"a": "x", "b": "x"}, live({"a": "x"}), []),
        ([], [("b", EntryWait.HOST_SERVED_BY_OTHER)]),
    ),
    "one host, the one that has it stays": (
        ({"a": "x", "b": "x"}, live({"b": "x"}), [pod("b", "2")]),
        ([], [("a", EntryWait.HOST_SERVED_BY_OTHER)]),
    ),
    "swap of two that serve": (
        ({"a": "y", "b": "x"}, live({"a": "x", "b": "y"}), [pod("a", "1"), pod("b", "2")]),
        ([], [("a", EntryWait.ENTRY_CHANGE_PENDING), ("b", EntryWait.ENTRY_CHANGE_PENDING)]),
    ),
    "two pods for a moment": (
        ({"a": "x"}, live({}), [pod("a", "1"), pod("a", "2")]),
        ([], [("a", EntryWait.SEVERAL_PODS)]),
    ),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_what_entries_wait_for_is_said_and_only_idle_pods_are_restarted(given: Any, expected: Any) -> None:
    assert summary(judged(*given)) == expected


@pytest.mark.parametrize("broken", ["", "[", "[]", "null", '{"a": 1}', '{"a": ""}', '"x"'])
def test_a_broken_idle_annotation_says_of_no_pod_that_it_idles(broken: str) -> None:
    there = live({"a": "x"})
    there["metadata"]["annotations"]["dpu.openshift.io/idle-pods"] = broken
    assert serving_nodes(there, [pod("a", "1")]) == {"a"}
    assert judged({"a": "x"}, there, [pod("a", "1")]).restart == ()


def test_a_changed_setting_of_a_serving_node_waits_too() -> None:
    wishes = parse_entries({"a": "TENANT_K8S_NODE=x\nOVN_LOG_LEVEL=dbg"})
    pairs = pair_up(PairingView(wishes, {}, frozenset(), {"a": text("x")}, {}, frozenset(), Claims(), None))
    state = judge_entries(EntriesView(pairs, live({"a": "x"}), frozenset("a"), (pod("a", "1"),)))
    assert [waiting.message for waiting in state.waiting] == [
        "a keeps serving x with its old entry; the new one waits until x is drained"
    ]


def test_nodes_without_an_entry_or_with_an_idle_pod_do_not_serve() -> None:
    there = live({"a": "x", "b": "y"}, {"b": "2"})
    assert serving_nodes(there, [pod("a", "1"), pod("b", "2"), pod("c", "3")]) == {"a"}
    assert serving_nodes(None, [pod("a", "1")]) == frozenset()


def test_an_idle_pod_is_known_until_another_one_has_followed_it() -> None:
    there = live({"a": "x"}, {"a": "1", "b": "2"})
    assert idle_pods_left(there, [pod("a", "1")]) == {"a": "1", "b": "2"}
    assert idle_pods_left(there, [pod("a", "3"), pod("b", "2")]) == {"b": "2"}
    assert render_idle_pods({"b": "2", "a": "1"}) == '{"a":"1","b":"2"}'
    assert render_idle_pods({}) is None


def test_an_entry_that_another_client_overwrote_shows() -> None:
    assert overwritten(live({"a": "x", "b": "y"}, owned="a")) == {"b"}
    assert overwritten(live({"a": "x"}, by="kubectl-edit")) == {"a"}
    assert overwritten(None) == frozenset()


def test_the_config_map_is_created_without_entries_and_records_the_pods_that_run() -> None:
    made = entries_config_map("ns", None, [pod("a", "2"), pod("b", "1")], OWNER, MANAGER)
    assert "data" not in made
    assert unsure_pods(made) == {"1", "2"}
    assert made["metadata"]["labels"] == {"dpu.openshift.io/owner": "0123"}
    assert "blockOwnerDeletion" not in made["metadata"]["ownerReferences"][0]
    assert "annotations" not in entries_config_map("ns", None, [], OWNER, MANAGER)["metadata"]


def test_of_a_config_map_that_is_there_nothing_is_given_up_and_nothing_is_taken() -> None:
    there = live({"a": "x", "b": "y"}, owned="a")
    assert entries_config_map("ns", there, [pod("a", "2")], OWNER, MANAGER)["data"] == {"a": text("x")}
    others = live({"a": "x"}, by="dpunetop-patch")
    assert "data" not in entries_config_map("ns", others, [], OWNER, MANAGER)


@pytest.mark.parametrize(
    ("phase", "counts"), [("Running", True), ("Pending", True), ("Succeeded", False), ("Failed", False)]
)
def test_a_pod_that_has_ended_counts_nowhere(phase: str, counts: bool) -> None:
    """It serves nobody, follows no idle pod, is none of two, and has not read what is to come."""
    ended = {**pod("a", "2"), "status": {"phase": phase}}
    there = live({"a": "x"}, {"a": "1"})
    assert serving_nodes(there, [ended]) == ({"a"} if counts else frozenset())
    assert idle_pods_left(there, [ended]) == ({} if counts else {"a": "1"})
    assert summary(judged({"a": "x"}, live({}), [pod("a", "1"), ended])) == (
        [],
        [("a", EntryWait.SEVERAL_PODS if counts else EntryWait.PROTECTION_PENDING)],
    )
    made = entries_config_map("ns", None, [pod("a", "1"), ended], OWNER, MANAGER)
    assert unsure_pods(made) == ({"1", "2"} if counts else {"1"})
    lone = entries_config_map("ns", None, [ended], OWNER, MANAGER)
    assert ("annotations" in lone["metadata"]) is counts


def test_a_pod_that_says_nothing_runs_on_no_node() -> None:
    bare = {"metadata": {"name": "p", "uid": "u"}}
    assert serving_nodes(live({"a": "x"}), [bare]) == frozenset()
    assert unsure_pods(entries_config_map("ns", None, [bare], OWNER, MANAGER)) == {"u"}


@pytest.mark.parametrize(
    "fields", [None, [], [{"manager": MANAGER}], [{"manager": MANAGER, "fieldsV1": {"f:data": None}}]]
)
def test_an_entry_that_our_field_manager_does_not_own_is_another_clients(fields: Any) -> None:
    there = live({"a": "x"})
    there["metadata"]["managedFields"] = fields
    assert overwritten(there) == {"a"}


@pytest.mark.parametrize(
    ("written", "known"),
    [("", {}), ("[]", {}), ("null", {}), ('{"a": 1}', {}), ('{"a": ""}', {}), ('{"a": "1", "b": 2}', {"a": "1"})],
)
def test_of_the_idle_annotation_only_uids_count(written: str, known: dict[str, str]) -> None:
    there = live({"a": "x"})
    there["metadata"]["annotations"]["dpu.openshift.io/idle-pods"] = written
    assert idle_pods(there) == known
    assert idle_pods(None) == {}


def test_what_we_have_written_onto_the_config_map_stays() -> None:
    there = live({"a": "x"}, {"a": "1"})
    note = "dpu.openshift.io/idle-pods"
    there["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"] = {"f:annotations": {f"f:{note}": {}}}
    kept = entries_config_map("ns", there, [], OWNER, MANAGER)["metadata"]["annotations"]
    assert kept == {note: '{"a": "1"}'}
    assert "annotations" not in entries_config_map("ns", live({"a": "x"}), [], OWNER, MANAGER)["metadata"]


def test_idle_pods_are_restarted_in_the_order_of_their_names() -> None:
    there = live({"a": "x", "b": "y"}, {"a": "2", "b": "1"})
    assert summary(judged({"a": "x", "b": "y"}, there, [pod("a", "2"), pod("b", "1")]))[0] == ["1", "2"]


SEVERAL: dict[str, tuple[list[dict[str, Any]], EntryWait]] = {
    "two": ([pod("a", "1"), pod("a", "2")], EntryWait.SEVERAL_PODS),
    "one there and one elsewhere": ([pod("a", "1"), pod("b", "2")], EntryWait.PROTECTION_PENDING),
    "one on its way out": ([pod("a", "1"), pod("a", "2", deletionTimestamp="t")], EntryWait.PROTECTION_PENDING),
}


@pytest.mark.parametrize(("pods", "reason"), SEVERAL.values(), ids=SEVERAL.keys())
def test_only_one_pod_may_be_there_before_the_entry(pods: list[dict[str, Any]], reason: EntryWait) -> None:
    assert summary(judged({"a": "x"}, live({}), pods)) == ([], [("a", reason)])


def waits(nodes: frozenset[str] | None, wanted: str = "x", there: Mapping[str, str] | None = None) -> list[str]:
    wishes = parse_entries({"dpu-1": f"TENANT_K8S_NODE={wanted}"} if wanted else {})
    config_map = {**live({}), "data": dict(there or {})}
    pairs = pair_up(PairingView(wishes, {}, frozenset(), there or {}, {}, frozenset(), Claims(), None))
    pods = (pod("dpu-1", "1"),) if there else ()
    found = judge_entries(EntriesView(pairs, config_map, frozenset(), pods, nodes)).waiting
    return [f"{each.reason}: {each.message}" for each in found]


def test_an_entry_for_a_node_that_infra_does_not_have_is_told_with_what_may_be_meant() -> None:
    absent = "DpuAbsent: dpu-1 cannot serve x: infra has no Node of that name"
    (said,) = waits(frozenset({"dpu-2"}))
    assert said.startswith(absent)
    assert "dpu-2" in said
    assert said.endswith("; correct or remove its entry in ConfigMap env-overrides")
    configured = ["HostNotConfigured: dpu-1 gets its entry once its host configuration has arrived"]
    assert (waits(frozenset({"dpu-1"})), waits(None)) == (configured, configured)


def test_a_host_whose_entry_nobody_can_read_is_told_without_its_name() -> None:
    assert waits(None, "", {"dpu-1": "?"}) == [
        "EntryRemovalPending: dpu-1 keeps serving its host, although its entry was removed"
    ]
    assert waits(None, "", {"dpu-1": text("x")}) == [
        "EntryRemovalPending: dpu-1 keeps serving x, although its entry was removed"
    ]
