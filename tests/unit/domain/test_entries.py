from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.entries import (
    EntriesPlan,
    EntriesView,
    Wait,
    entries_config_map,
    plan_entries,
    serving_nodes,
)
from dpunetop.domain.envfile import NodeEntry, parse_entries, render_entry
from dpunetop.domain.ownership import Owner
from dpunetop.kube.meta import uid_of

OWNER = Owner({"metadata": {"name": "c", "namespace": "ns", "uid": "cr"}}, "0123")


def pod(node: str, uid: str, **metadata: str) -> dict[str, Any]:
    return {"metadata": {"name": f"p-{uid}", "uid": uid, **metadata}, "spec": {"nodeName": node}, "status": {}}


def live(data: Mapping[str, str], idle: Mapping[str, str] | None = None) -> dict[str, Any]:
    metadata = {"name": "ovnkube-node-entries", "annotations": {"dpu.openshift.io/idle-pods": json.dumps(idle or {})}}
    return {"metadata": metadata, "data": {node: text(host) for node, host in data.items()}}


def text(host: str) -> str:
    return render_entry(NodeEntry(host))


def planned(
    wanted: Mapping[str, str], there: dict[str, Any] | None, pods: list[dict[str, Any]], configured: str = "abc"
) -> EntriesPlan:
    desired = parse_entries({node: f"TENANT_K8S_NODE={host}" for node, host in wanted.items()})
    return plan_entries(EntriesView(desired, there, frozenset(configured), tuple(pods)))


def summary(plan: EntriesPlan) -> tuple[dict[str, str], dict[str, str], list[str], list[tuple[str, Wait]]]:
    hosts = {node: entry.removeprefix("TENANT_K8S_NODE=").rstrip("\n") for node, entry in plan.data.items()}
    waiting = [(waiting.node, waiting.reason) for waiting in plan.waiting]
    return hosts, dict(plan.idle_pods), [uid_of(pod) for pod in plan.restart], waiting


MANY = {f"n{i}": f"h{i}" for i in range(100)}

CASES = {  # (wanted, live, pods) -> (entries, idle pods, restarted, waiting)
    "nothing at all": (({}, None, []), ({}, {}, [], [])),
    "before the first pod": (({"a": "x"}, live({}), []), ({"a": "x"}, {}, [], [])),
    "beside an idle pod": (({"a": "x"}, live({}), [pod("a", "1")]), ({"a": "x"}, {"a": "1"}, ["1"], [])),
    "after a crash before the delete": (
        ({"a": "x"}, live({"a": "x"}, {"a": "1"}), [pod("a", "1")]),
        ({"a": "x"}, {"a": "1"}, ["1"], []),
    ),
    "idle pod on its way out": (
        ({"a": "x"}, live({"a": "x"}, {"a": "1"}), [pod("a", "1", deletionTimestamp="t")]),
        ({"a": "x"}, {"a": "1"}, [], []),
    ),
    "replaced by a serving pod": (
        ({"a": "x"}, live({"a": "x"}, {"a": "1"}), [pod("a", "2")]),
        ({"a": "x"}, {}, [], []),
    ),
    "serving, change asked": (
        ({"a": "y"}, live({"a": "x"}), [pod("a", "2")]),
        ({"a": "x"}, {}, [], [("a", Wait.ENTRY_CHANGE_PENDING)]),
    ),
    "serving, removal asked": (
        ({}, live({"a": "x"}), [pod("a", "2")]),
        ({"a": "x"}, {}, [], [("a", Wait.ENTRY_REMOVAL_PENDING)]),
    ),
    "serving pod terminating still serves": (
        ({}, live({"a": "x"}), [pod("a", "2", deletionTimestamp="t")]),
        ({"a": "x"}, {}, [], [("a", Wait.ENTRY_REMOVAL_PENDING)]),
    ),
    "idle, change asked": (
        ({"a": "y"}, live({"a": "x"}, {"a": "1"}), [pod("a", "1")]),
        ({"a": "y"}, {"a": "1"}, ["1"], []),
    ),
    "idle, removal asked": (({}, live({"a": "x"}, {"a": "1"}), [pod("a", "1")]), ({}, {}, ["1"], [])),
    "no pod, change asked": (({"a": "y"}, live({"a": "x"}), []), ({"a": "y"}, {}, [], [])),
    "ended pod does not serve": (
        ({}, live({"a": "x"}), [pod("a", "2") | {"status": {"phase": "Failed"}}]),
        ({}, {}, [], []),
    ),
    "entry malformed, last good kept": (
        ({"a": "$(id)"}, live({"a": "x"}), []),
        ({"a": "x"}, {}, [], []),
    ),
    "new entry malformed, others go on": (({"a": "$(id)", "b": "y"}, live({}), []), ({"b": "y"}, {}, [], [])),
    "host not configured": (
        ({"z": "x"}, live({}), [pod("z", "1")]),
        ({}, {}, [], [("z", Wait.HOST_NOT_CONFIGURED)]),
    ),
    "host configuration on its way again": (
        ({"z": "x"}, live({"z": "x"}), [pod("z", "1")]),
        ({"z": "x"}, {}, [], []),
    ),
    "two new for one host": (
        ({"a": "x", "b": "x"}, live({}), []),
        ({"a": "x"}, {}, [], [("b", Wait.HOST_SERVED_BY_OTHER)]),
    ),
    "one host, the one that has it stays": (
        ({"a": "x", "b": "x"}, live({"b": "x"}), [pod("b", "2")]),
        ({"b": "x"}, {}, [], [("a", Wait.HOST_SERVED_BY_OTHER)]),
    ),
    "swap of two that serve": (
        ({"a": "y", "b": "x"}, live({"a": "x", "b": "y"}), [pod("a", "1"), pod("b", "2")]),
        ({"a": "x", "b": "y"}, {}, [], [("a", Wait.ENTRY_CHANGE_PENDING), ("b", Wait.ENTRY_CHANGE_PENDING)]),
    ),
    "two pods for a moment": (
        ({"a": "x"}, live({}), [pod("a", "1"), pod("a", "2")]),
        ({}, {}, [], [("a", Wait.SEVERAL_PODS)]),
    ),
    "beside a pod on its way out": (
        ({"a": "x"}, live({}), [pod("a", "1", deletionTimestamp="t"), pod("a", "2")]),
        ({"a": "x"}, {"a": "2"}, ["2"], []),
    ),
    "ConfigMap deleted by somebody": (({"a": "x"}, None, [pod("a", "1")]), ({"a": "x"}, {}, [], [])),
    "hundred served, one added": (
        ({**MANY, "a": "x"}, live(MANY), [*(pod(node, f"u{node}") for node in MANY), pod("a", "1")]),
        ({**MANY, "a": "x"}, {"a": "1"}, ["1"], []),
    ),
}


OVERWRITTEN = {  # (wanted, live, overwritten) -> entries; the pod serves, and is never restarted
    "by somebody else": (({"a": "x"}, live({"a": "y"}), {"a"}), {"a": "x"}),
    "by somebody else, and nothing is wanted any more": (({}, live({"a": "y"}), {"a"}), {"a": "y"}),
    "not this one": (({"a": "x"}, live({"a": "y"}), {"b"}), {"a": "y"}),
}


@pytest.mark.parametrize(("given", "expected"), OVERWRITTEN.values(), ids=OVERWRITTEN.keys())
def test_what_somebody_else_wrote_over_an_entry_is_put_right(given, expected):
    wanted, there, overwritten = given
    desired = parse_entries({node: f"TENANT_K8S_NODE={host}" for node, host in wanted.items()})
    plan = plan_entries(EntriesView(desired, there, frozenset("abc"), (pod("a", "2"),), frozenset(overwritten)))
    assert summary(plan)[0] == expected
    assert plan.restart == ()


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_entries_follow_what_is_asked_without_touching_what_serves(given: Any, expected: Any) -> None:
    assert summary(planned(*given)) == expected


@pytest.mark.parametrize("broken", ["", "[", "[]", "null", '{"a": 1}', '{"a": ""}', '"x"'])
def test_a_broken_idle_annotation_says_of_no_pod_that_it_idles(broken: str) -> None:
    there = live({"a": "x"})
    there["metadata"]["annotations"]["dpu.openshift.io/idle-pods"] = broken
    assert serving_nodes(there, [pod("a", "1")]) == {"a"}
    assert summary(planned({}, there, [pod("a", "1")]))[0] == {"a": "x"}


def test_a_changed_setting_of_a_serving_node_waits_too() -> None:
    desired = parse_entries({"a": "TENANT_K8S_NODE=x\nOVN_LOG_LEVEL=dbg"})
    plan = plan_entries(EntriesView(desired, live({"a": "x"}), frozenset("a"), (pod("a", "1"),)))
    assert plan.data == {"a": text("x")}
    assert [waiting.message for waiting in plan.waiting] == [
        "a keeps serving x with its old entry; the new one waits until the node no longer serves"
    ]


def test_nodes_without_an_entry_or_with_an_idle_pod_do_not_serve() -> None:
    there = live({"a": "x", "b": "y"}, {"b": "2"})
    assert serving_nodes(there, [pod("a", "1"), pod("b", "2"), pod("c", "3")]) == {"a"}
    assert serving_nodes(None, [pod("a", "1")]) == frozenset()


def test_the_config_map_is_canonical() -> None:
    empty = entries_config_map("ns", EntriesPlan({}, {}, (), ()), OWNER)
    assert "data" not in empty
    assert "annotations" not in empty["metadata"]
    full = entries_config_map("ns", EntriesPlan({"a": text("x")}, {"b": "2", "a": "1"}, (), ()), OWNER)
    assert full["data"] == {"a": "TENANT_K8S_NODE=x\n"}
    assert full["metadata"]["annotations"] == {"dpu.openshift.io/idle-pods": '{"a":"1","b":"2"}'}
    assert full["metadata"]["labels"] == {"dpu.openshift.io/owner": "0123"}
    assert "blockOwnerDeletion" not in full["metadata"]["ownerReferences"][0]


NODES = st.sampled_from("abcd")
HOSTS = st.sampled_from(["x", "y", "$("])
PODS = st.lists(st.tuples(NODES, st.sampled_from("1234")), unique_by=lambda pair: pair[1], max_size=4)


@given(
    st.dictionaries(NODES, HOSTS),
    st.dictionaries(NODES, st.sampled_from("xyzw")).filter(lambda d: len(set(d.values())) == len(d)),
    st.dictionaries(NODES, st.sampled_from("1234")),
    PODS,
)
def test_whatever_is_asked_serving_nodes_keep_their_entry_and_the_plan_settles(
    wanted: dict[str, str], entries: dict[str, str], idle: dict[str, str], pods: list[tuple[str, str]]
) -> None:
    there, found = live(entries, idle), [pod(*pair) for pair in pods]
    serving = serving_nodes(there, found)
    plan = planned(wanted, there, found)
    assert {node: plan.data.get(node) for node in serving} == {node: text(entries[node]) for node in serving}
    assert not {pod["metadata"]["uid"] for pod in plan.restart} & {
        uid for node, uid in pods if node in serving and idle.get(node) != uid
    }
    hosts = list(plan.data.values())
    assert len(hosts) == len(set(hosts))
    again = plan_entries(
        EntriesView(
            parse_entries({node: f"TENANT_K8S_NODE={host}" for node, host in wanted.items()}),
            entries_config_map("ns", plan, OWNER),
            frozenset("abc"),
            tuple(found),
        )
    )
    assert (again.data, again.idle_pods) == (plan.data, plan.idle_pods)
