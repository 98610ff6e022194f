from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.pairing.envfile import NodeEntry, parse_entries, render_entry
from dpunetop.domain.pairing.pairing import Claims, Pair, PairingView, host_of, hosts_to_annotate, pair_up, tenant_nodes

NOTE = "dpu.openshift.io/tenant-node"
FIT = {"x": "", "y": "", "z": ""}


def text(host: str, *tuning: tuple[str, str]) -> str:
    return render_entry(NodeEntry(host, tuning))


def view(
    wishes: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    *,
    dropped: str = "",
    entries: Mapping[str, str] | None = None,
    serves: Mapping[str, str] | None = None,
    leaving: str = "",
    claimed: Mapping[str, str] | None = None,
    noted: Mapping[str, str] | None = None,
    hosts: Mapping[str, str] | None = FIT,
) -> PairingView:
    """`wishes` are texts of `env-overrides`; those that begin with `>` name only a host, as do all `entries`."""
    written = {dpu: text(said[1:]) if said.startswith(">") else said for dpu, said in (wishes or {}).items()}
    return PairingView(
        wishes=parse_entries(written),
        annotations=annotations or {},
        dropped=frozenset(dropped.split()),
        entries={dpu: text(host) for dpu, host in (entries or {}).items()},
        serves=serves or {},
        leaving=frozenset(leaving.split()),
        claimed=Claims(claimed or {}, noted or {}),
        hosts=hosts,
    )


# --- what is said of one DPU ------------------------------------------------------------------------------------------

DIFFER = f"d: annotation {NOTE} says y, env-overrides says x"
NO_NAME = f'd: annotation {NOTE}: "X?y" is not the name of a node'
NO_ENTRY = (
    'env-overrides, entry of "d", line 1: write KEY=value with plain characters (A-Z a-z 0-9 . _ : , -): '
    "= after the key, the key in capitals"
)
NO_HOST = (
    'env-overrides, entry of "d" has no TENANT_K8S_NODE=<tenant host>, and its Node no annotation '
    "dpu.openshift.io/tenant-node: give one of them"
)
TAKEN = (
    "d: x is a host of DpuClusterConfig ns/c too; remove its entry there, and it passes on once it is drained; to "
    "exchange hosts, remove both entries, cordon both DPUs, then write the new entries"
)


def refused(why: str, dpu: str = "d", host: str = "x") -> str:
    advice = f"write an entry for {dpu} into env-overrides or remove the annotation"
    return f"{dpu}: annotation {NOTE} names {host}, which {why}: an annotation does not pair it; {advice}"


CLAIMED = refused("is a host of DpuClusterConfig ns/c too")

SAID: dict[str, tuple[PairingView, str | None, str]] = {  # -> host, problem
    "an entry": (view({"d": ">x"}), "x", ""),
    "an annotation": (view(annotations={"d": "x"}), "x", ""),
    "both, and they agree": (view({"d": ">x"}, {"d": "x"}), "x", ""),
    "both, and they differ": (view({"d": ">x"}, {"d": "y"}), None, DIFFER),
    "an entry with a typo": (view({"d": "x!"}), None, NO_ENTRY),
    "an entry with a typo beside an annotation": (view({"d": "x!"}, {"d": "x"}), None, NO_ENTRY),
    "an annotation with a typo": (view(annotations={"d": "X y"}), None, NO_NAME),
    "an annotation with a typo beside an entry": (view({"d": ">x"}, {"d": "X y"}), None, NO_NAME),
    "a typo in both": (view({"d": "x!"}, {"d": "X y"}), None, NO_ENTRY),
    "settings alone": (view({"d": "OVN_LOG_LEVEL=dbg"}), None, NO_HOST),
    "nothing": (view({"d": ""}), None, NO_HOST),
    "settings alone beside an annotation with a typo": (view({"d": ""}, {"d": "X y"}), None, NO_NAME),
    "nothing beside an annotation": (view({"d": ""}, {"d": "x"}), "x", ""),
    "settings alone for a node that is not picked": (view({"d": "OVN_LOG_LEVEL=dbg"}, dropped="d"), None, ""),
    "settings alone beside a host that another has": (
        view({"d": ""}, {"d": "x"}, claimed={"x": "ns/c"}),
        None,
        CLAIMED,
    ),
    "a key that is nobody's": (view({"_master": "OVN_LOG_LEVEL=dbg", "_global": ">y", "d": ">x"}), "x", ""),
    "a host that another has": (view({"d": ">x"}, claimed={"x": "ns/c"}), None, TAKEN),
    "a host that another has, by annotation": (view(annotations={"d": "x"}, claimed={"x": "ns/c"}), None, CLAIMED),
    "a host while another has a different one": (view({"d": ">x"}, claimed={"y": "ns/c"}), "x", ""),
    "an entry for a host that another is annotated with": (view({"d": ">x"}, noted={"x": "ns/c"}), "x", ""),
    "an entry for a host that no annotation may have": (view({"d": ">x"}, hosts=None), "x", ""),
    "an annotation that a Node of another names too": (
        view(annotations={"d": "x"}, noted={"x": "ns/c"}),
        None,
        refused("a Node of DpuClusterConfig ns/c is annotated with too"),
    ),
    "an annotation before the tenant was read": (
        view(annotations={"d": "x"}, hosts=None),
        None,
        refused("cannot be looked at, because the tenant's Nodes are not read yet"),
    ),
    "an annotation with a host that does not exist": (
        view(annotations={"d": "w"}),
        None,
        refused("does not exist in the tenant", host="w"),
    ),
    "an annotation with a host that is not fit": (
        view(annotations={"d": "x"}, hosts={"x": "is a node of the tenant's control plane"}),
        None,
        refused("is a node of the tenant's control plane"),
    ),
    "a node that is not picked": (view({"d": ">x"}, dropped="d"), None, ""),
    "an annotation of a node that is not picked": (view(annotations={"d": "x"}, dropped="d"), None, ""),
    "a typo for a node that is not picked": (view({"d": "x!"}, dropped="d"), None, ""),
}


@pytest.mark.parametrize(("said", "host", "problem"), SAID.values(), ids=SAID.keys())
def test_a_dpu_that_does_not_serve_is_paired_where_what_is_said_makes_sense(
    said: PairingView, host: str | None, problem: str
) -> None:
    server = "d" if host is not None else ""
    assert pair_up(said) == {"d": Pair("d", host, text(host) if host else "", server, problem)}


def test_the_annotation_of_a_node_that_is_not_picked_takes_a_host_from_no_dpu() -> None:
    found = pair_up(view(annotations={"a": "x", "d": "x"}, dropped="a"))
    assert {dpu: pair.host for dpu, pair in found.items()} == {"a": None, "d": "x"}


def test_settings_alone_go_with_the_host_of_the_annotation() -> None:
    found = pair_up(view({"d": "OVN_LOG_LEVEL=dbg"}, {"d": "x"}))
    assert found == {"d": Pair("d", "x", "TENANT_K8S_NODE=x\nOVN_LOG_LEVEL=dbg\n", "d")}


SERVING: dict[str, PairingView] = {
    "its entry has lost its host": view({"d": "OVN_LOG_LEVEL=dbg"}),
    "both say something else than it does": view({"d": ">y"}, {"d": "z"}),
    "a typo in the entry": view({"d": "x!"}),
    "a typo in the annotation": view(annotations={"d": "X y"}),
    "a typo in both": view({"d": "x!"}, {"d": "X y"}),
    "its host is another's too": view({"d": ">x"}, claimed={"x": "ns/c"}),
    "it is to move to a host that another has": view({"d": ">y"}, claimed={"y": "ns/c"}),
    "nothing has changed": view({"d": ">x"}),
    "the annotation says the same": view(annotations={"d": "x"}),
    "the annotation says the same, and the host is not fit for one any more": view(annotations={"d": "x"}, hosts={}),
    "the annotation says the same, and the tenant cannot be read": view(annotations={"d": "x"}, hosts=None),
    "the annotation says the same, and another is annotated with it": view(annotations={"d": "x", "e": "x"}),
    "the annotation says the same, and another comes to have an entry": view({"e": ">x"}, {"d": "x"}),
    "the annotation names a host that is not fit": view(annotations={"d": "w"}),
    "another is annotated with it": view({"d": ">x"}, {"e": "x"}),
}


@pytest.mark.parametrize("said", SERVING.values(), ids=SERVING.keys())
def test_a_pair_that_serves_stays_whatever_mistake_a_person_makes(said: PairingView) -> None:
    found = pair_up(replace(said, entries={"d": text("x")}, serves={"d": "x"}))["d"]
    assert (found.host, found.text, found.server) == ("x", text("x"), "d")


WHY = "is a node of the control plane"
SAID_OF_DROPPED: dict[str, PairingView] = {
    "an entry": view({"d": ">x"}, dropped="d"),
    "an entry without a host": view({"d": ""}, dropped="d"),
    "an entry that is a mistake": view({"d": "x!"}, dropped="d"),
    "an annotation": view(annotations={"d": "x"}, dropped="d"),
    "an annotation that is a mistake": view(annotations={"d": "X?y"}, dropped="d"),
    "both, and they differ": view({"d": ">x"}, {"d": "y"}, dropped="d"),
    "nothing, and it serves": view(entries={"d": "x"}, dropped="d"),
    "nothing, and it is protected": view(serves={"d": "x"}, dropped="d"),
    "an entry, and it serves": view({"d": ">x"}, entries={"d": "x"}, dropped="d"),
}


@pytest.mark.parametrize("why", ["", WHY])
@pytest.mark.parametrize("said", SAID_OF_DROPPED.values(), ids=SAID_OF_DROPPED.keys())
def test_a_dpu_that_may_not_be_paired_is_told_why_if_it_is_selected_and_that_it_serves_until_the_drain(
    said: PairingView, why: str
) -> None:
    """One that is not selected is nobody's affair."""
    given = replace(said, refused={"d": why, "e": "else"} if why else {"e": "else"})
    stays = "; it serves its host until that is drained" if given.entries else ""
    assert pair_up(given)["d"] == Pair("d", None, "", "", f"d is not paired: it {why}{stays}" if why else "")


def test_a_pair_that_serves_its_host_stays_when_another_claims_that_later() -> None:
    assert pair_up(view({"d": ">x"}, entries={"d": "x"}, serves={"d": "x"}, claimed={"x": "ns/c"}))["d"].problem == ""


def test_a_pair_that_serves_its_host_without_protection_stays_when_another_claims_that_later() -> None:
    found = pair_up(view({"d": ">x"}, entries={"d": "x"}, claimed={"x": "ns/c"}))
    assert found == {"d": Pair("d", "x", text("x"), "d")}


def test_a_dpu_that_is_only_protected_keeps_its_host_and_gets_no_entry_by_mistake() -> None:
    found = pair_up(view({"d": "x!"}, serves={"d": "x"}))["d"]
    assert (found.host, found.text, found.server, bool(found.problem)) == ("x", "", "", True)


def test_an_entry_that_nobody_can_read_is_left_as_it_is_while_the_wish_is_a_mistake() -> None:
    said = replace(view({"d": "x!"}, serves={"d": "x"}), entries={"d": "scribble"})
    assert pair_up(said)["d"] == Pair("d", "x", "scribble", "d", NO_ENTRY)


UNPAIRED: dict[str, PairingView] = {
    "nothing is said any more": view(entries={"d": "x"}, serves={"d": "x"}),
    "only its entry is left": view(entries={"d": "x"}),
    "only its mark is left": view(serves={"d": "x"}),
    "it is not picked any more": view({"d": ">x"}, dropped="d", entries={"d": "x"}, serves={"d": "x"}),
}


@pytest.mark.parametrize("said", UNPAIRED.values(), ids=UNPAIRED.keys())
def test_a_dpu_is_paired_with_none_when(said: PairingView) -> None:
    assert pair_up(said) == {"d": Pair("d", None, "", "")}


def test_a_dpu_that_is_to_move_is_paired_with_the_new_host_at_once() -> None:
    found = pair_up(view({"d": ">y"}, entries={"d": "x"}, serves={"d": "x"}))["d"]
    assert found == Pair("d", "y", text("y"), "d")


def test_settings_of_the_entry_stay_beside_an_annotation() -> None:
    said = view({"d": "TENANT_K8S_NODE=x\nOVN_KUBE_LOG_LEVEL=5"}, {"d": "x"})
    assert pair_up(said)["d"].text == text("x", ("OVN_KUBE_LOG_LEVEL", "5"))


def test_a_problem_names_its_dpu_in_one_short_line_whatever_was_written() -> None:
    (found,) = pair_up(view(annotations={"d": "a\n" * 5000})).values()
    assert found.problem.startswith("d: ")
    assert "\n" not in found.problem
    assert len(found.problem) < 400


# --- several DPUs that want one host ----------------------------------------------------------------------------------

BOTH = {"a": ">x", "b": ">x"}
RIVALS: dict[str, tuple[PairingView, str]] = {
    "the first by name": (view(BOTH), "a"),
    "an annotation beside an entry decides nothing": (view(BOTH, {"b": "x"}), "a"),
    "the one with an entry before the annotated one": (view({"b": ">x"}, {"a": "x"}), "b"),
    "the one with an entry before the annotated one that is protected": (
        view({"b": ">x"}, {"a": "x"}, entries={"a": "y"}, serves={"b": "x"}),
        "b",
    ),
    "the annotated one that serves, until its host is drained": (
        view({"b": ">x"}, {"a": "x"}, entries={"a": "x"}, serves={"a": "x", "b": "x"}),
        "a",
    ),
    "the annotated one that was first": (view(annotations={"a": "x", "b": "x"}, serves={"b": "x"}), "b"),
    "the one that is protected for it": (view(BOTH, serves={"b": "x"}), "b"),
    "the protected one, though the other is annotated besides": (view(BOTH, {"a": "x"}, serves={"b": "x"}), "b"),
    "the one that has the entry": (view(BOTH, entries={"b": "x"}), "b"),
    "the one that has the entry before the annotated one": (view(BOTH, {"a": "x"}, entries={"b": "x"}), "b"),
    "of two whose pods read one the first by name": (view(BOTH, {"b": "x"}, entries={"a": "x", "b": "x"}), "a"),
    "one whose entry is for another host does not count": (view(BOTH, entries={"b": "y"}), "a"),
    "one with a conflict does not count": (view(BOTH, {"a": "y"}), "b"),
    "one that is not picked does not count": (view(BOTH, dropped="a"), "b"),
    "one that serves by mistake goes on": (view({"a": ">x", "b": "x!"}, entries={"b": "x"}), "b"),
    "one that is no longer asked serves until it is drained": (view({"a": ">x"}, entries={"b": "x"}), "b"),
    "one that is not picked serves until it is drained": (view(BOTH, dropped="b", entries={"b": "x"}), "b"),
    "one that is to move serves until it is drained": (view({"a": ">x", "b": ">y"}, entries={"b": "x"}), "b"),
    "one whose pods have yet to go comes first": (view({"a": ">x"}, serves={"b": "x"}), "b"),
    "one whose pods have yet to go comes first though it is asked anew": (
        view(BOTH, {"a": "x", "b": "x"}, serves={"a": "x", "b": "x"}, leaving="b"),
        "b",
    ),
    "one that has never served stops nobody by mistake": (view({"a": ">x", "b": "x!"}, serves={"b": "x"}), "a"),
}


@pytest.mark.parametrize(("said", "server"), RIVALS.values(), ids=RIVALS.keys())
def test_of_several_dpus_a_host_is_served_by(said: PairingView, server: str) -> None:
    for pair in pair_up(said).values():
        if pair.host == "x" and not pair.problem:
            assert pair.server == server
            assert pair.text == (text("x") if pair.dpu == server else "")


GUARDED = {"a": "x", "b": "x"}
ONE = {"a": "x"}
AT_B = {"b": ">x"}
PASSED_ON: dict[str, tuple[PairingView, str | None]] = {  # -> host of a
    "serves by its annotation": (view(AT_B, {"a": "x"}, entries=ONE, serves=GUARDED), None),
    "has pods that have yet to go, and the other is not protected yet": (
        view(AT_B, {"a": "x"}, serves=ONE, leaving="a"),
        "x",
    ),
    "has pods that have yet to go": (view(AT_B, {"a": "x"}, serves=GUARDED, leaving="a"), None),
    "has lost its entry, and annotates itself": (
        view({"a": "", **AT_B}, {"a": "x"}, entries=ONE, serves=GUARDED),
        None,
    ),
    "has lost its entry": (view(AT_B, entries=ONE, serves=GUARDED), None),
    "is to serve another, and annotates itself": (
        view({"a": ">y", **AT_B}, {"a": "x"}, entries=ONE, serves=GUARDED),
        None,
    ),
    "is to serve another, and annotates itself with a third": (
        view({"a": ">y", **AT_B}, {"a": "z"}, entries=ONE, serves=GUARDED),
        None,
    ),
    "is only protected for its annotation": (view(AT_B, {"a": "x"}, serves=GUARDED), None),
    "has an entry too, and annotates itself with another": (view(BOTH, {"a": "z"}, entries=ONE, serves=GUARDED), "x"),
    "has an entry too": (view(BOTH, entries=ONE, serves=GUARDED), "x"),
    "has an entry too, and the other is annotated besides": (view(BOTH, {"b": "x"}, entries=ONE, serves=GUARDED), "x"),
    "serves by its annotation, and the other is not protected yet": (
        view(AT_B, {"a": "x"}, entries=ONE, serves=ONE),
        "x",
    ),
    "serves by its annotation, and the other is not picked": (
        view(AT_B, {"a": "x"}, entries=ONE, serves=GUARDED, dropped="b"),
        "x",
    ),
}


@pytest.mark.parametrize(("said", "host"), PASSED_ON.values(), ids=PASSED_ON.keys())
def test_a_host_passes_on_to_the_dpu_with_an_entry_from_one_that(said: PairingView, host: str | None) -> None:
    pairs = pair_up(said)
    assert pairs["a"].host == host
    if "b" not in said.dropped:
        assert pairs["b"].host == "x"
    if host is None:
        assert (pairs["b"].server, pairs["b"].text) == ("a", "")


def test_a_host_that_passes_on_is_reported_with_the_names_of_both_dpus() -> None:
    found = pair_up(view(AT_B, {"a": "x"}, entries=ONE, serves=GUARDED))["a"].problem
    assert found == f"a: annotation {NOTE} names x, which env-overrides gives to b: b serves it once that is drained"


ATTACKS: dict[str, tuple[PairingView, str]] = {  # the DPU `evil` annotates itself with the host of `good`
    "serves by its entry": (view({"good": ">x"}, {"evil": "x"}, entries={"good": "x"}, serves={"good": "x"}), "gives"),
    "serves by its annotation": (
        view(annotations={"good": "x", "evil": "x"}, entries={"good": "x"}, serves={"good": "x"}),
        "good serves",
    ),
    "is on its way out": (view(annotations={"evil": "x"}, entries={"good": "x"}, serves={"good": "x"}), "good serves"),
    "serves without protection": (view(annotations={"evil": "x"}, entries={"good": "x"}), "good serves"),
    "is still ending": (view(annotations={"evil": "x"}, serves={"good": "x"}, leaving="good"), "good serves"),
    "is protected": (view(annotations={"good": "x", "evil": "x"}, serves={"good": "x"}), "good serves"),
    "is yet to be protected": (view({"good": ">x"}, {"evil": "x"}), "gives to good"),
    "is only annotated": (view(annotations={"good": "x", "evil": "x"}), "the Node of good is annotated with too"),
    "serves, and it was protected by the rule of before": (
        view(annotations={"good": "x", "evil": "x"}, entries={"good": "x"}, serves={"good": "x", "evil": "x"}),
        "good serves",
    ),
    "serves, and it serves another itself": (
        view(annotations={"good": "x", "evil": "x"}, entries={"good": "x", "evil": "y"}, serves={"good": "x"}),
        "good serves",
    ),
}


@pytest.mark.parametrize(("said", "why"), ATTACKS.values(), ids=ATTACKS.keys())
def test_a_dpu_that_annotates_itself_does_not_get_the_host_of_one_that(said: PairingView, why: str) -> None:
    pairs = pair_up(said)
    assert (pairs["evil"].host, pairs["evil"].server == "good") != ("x", False)
    assert host_of("evil", pairs["evil"].text) != "x"
    assert pairs["evil"].problem.startswith(f"evil: annotation {NOTE} names x, which ")
    assert why in pairs["evil"].problem
    before = pair_up(replace(said, annotations={k: v for k, v in said.annotations.items() if k != "evil"}))
    if "is annotated with too" not in why:
        assert pairs["good"] == before["good"]


def test_two_that_swap_their_hosts_get_no_new_entry_before_the_old_ones_are_gone() -> None:
    said = view({"a": ">y", "b": ">x"}, entries={"a": "x", "b": "y"}, serves={"a": "x", "b": "y"})
    assert pair_up(said) == {"a": Pair("a", "y", "", "b"), "b": Pair("b", "x", "", "a")}


# --- what is read of Nodes and entries --------------------------------------------------------------------------------


def node(name: str, host: str | None) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": {} if host is None else {NOTE: host}}}


def test_annotations_count_on_nodes_that_may_be_paired() -> None:
    nodes = [node("a", "x"), node("b", "y"), node("c", None), node("e", "")]
    assert tenant_nodes({"a", "c", "e"}, nodes) == {"a": "x", "e": ""}


def test_an_annotation_pairs_hosts_that_carry_a_dpu_and_are_no_control_plane() -> None:
    host = "network.operator.openshift.io/dpu-host"
    labels: dict[str, dict[str, str]] = {
        "fit": {host: ""},
        "plain": {},
        "master": {host: "", "node-role.kubernetes.io/master": ""},
        "control": {host: "", "node-role.kubernetes.io/control-plane": ""},
    }
    found = hosts_to_annotate([{"metadata": {"name": name, "labels": each}} for name, each in labels.items()])
    assert found == {
        "fit": "",
        "plain": f"has no label {host} in the tenant",
        **dict.fromkeys(("master", "control"), "is a node of the tenant's control plane"),
    }


def test_the_host_of_an_entry_that_cannot_be_read_is_not_known() -> None:
    assert (host_of("d", text("x")), host_of("d", "scribble"), host_of("d", "")) == ("x", "", "")


# --- properties -------------------------------------------------------------------------------------------------------

DPUS, HOSTS = st.sampled_from("abc"), st.sampled_from("xyz")
MISTAKES = st.sampled_from(["x!", "TENANT_K8S_NODE=X y", "A=b"])
WISHES = st.dictionaries(DPUS, HOSTS.map(">".__add__) | st.sampled_from(["", "OVN_LOG_LEVEL=dbg"]) | MISTAKES)
ANNOTATIONS = st.dictionaries(DPUS, HOSTS | st.sampled_from(["", "X y", "\n"]))
VIEWS = st.builds(
    lambda wishes, annotations, dropped, entries, serves, claimed, noted, hosts: view(
        wishes,
        annotations,
        dropped=" ".join(dropped),
        entries=entries,
        serves=serves,
        claimed=dict.fromkeys(claimed, "ns/c"),
        noted=dict.fromkeys(noted, "ns/c"),
        hosts=hosts,
    ),
    WISHES,
    ANNOTATIONS,
    st.sets(DPUS),
    st.dictionaries(DPUS, HOSTS),
    st.dictionaries(DPUS, HOSTS),
    st.sets(HOSTS),
    st.sets(HOSTS),
    st.none() | st.dictionaries(HOSTS, st.sampled_from(["", "is not fit"])),
)


def concerns(said: PairingView, dpu: str) -> set[str]:
    """Every host that a DPU wants, has or had."""
    wish = said.wishes.get(dpu)
    named = (said.annotations.get(dpu), said.serves.get(dpu), host_of(dpu, said.entries.get(dpu, "")))
    return {host for host in (*named, wish.host if isinstance(wish, NodeEntry) else None) if host}


@given(VIEWS, VIEWS, DPUS)
def test_what_is_said_of_one_dpu_changes_nothing_for_another_that_has_to_do_with_other_hosts(
    said: PairingView, other: PairingView, dpu: str
) -> None:
    changed = replace(
        said,
        wishes={**{k: v for k, v in said.wishes.items() if k != dpu}, **_of(other.wishes, dpu)},
        annotations={**{k: v for k, v in said.annotations.items() if k != dpu}, **_of(other.annotations, dpu)},
    )
    before, after = pair_up(said), pair_up(changed)
    touched = concerns(said, dpu) | concerns(changed, dpu)
    for each in {*before, *after} - {dpu}:
        if not concerns(said, each) & touched:
            assert before.get(each) == after.get(each)


def _of(found: Mapping[str, Any], dpu: str) -> Mapping[str, Any]:
    return {dpu: found[dpu]} if dpu in found else {}


@given(VIEWS, DPUS, HOSTS, MISTAKES)
def test_a_mistake_never_changes_the_host_or_the_entry_of_a_pair_that_serves(
    said: PairingView, dpu: str, host: str, mistake: str
) -> None:
    serving = replace(
        said,
        dropped=said.dropped - {dpu},
        wishes={**said.wishes, dpu: parse_entries({dpu: mistake})[dpu]},
        entries={**said.entries, dpu: text(host)},
        serves={**said.serves, dpu: host},
    )
    found = pair_up(serving)[dpu]
    assert (found.host, found.text) == (host, text(host))
    assert found.problem


@given(VIEWS)
def test_no_dpu_is_given_the_entry_of_a_host_that_another_has(said: PairingView) -> None:
    has = {dpu: host_of(dpu, entry) for dpu, entry in said.entries.items()}
    gets = {pair.dpu: host_of(pair.dpu, pair.text) for pair in pair_up(said).values() if pair.text}
    new = {dpu: host for dpu, host in gets.items() if has.get(dpu) != host}
    for dpu, host in new.items():
        assert host not in [has[each] for each in has if each != dpu]
    assert len(set(new.values())) == len(new)


@given(VIEWS)
def test_an_annotation_gives_its_dpu_no_host_that_anybody_else_has_or_asks_for(said: PairingView) -> None:
    has = {dpu: host_of(dpu, entry) for dpu, entry in said.entries.items()}
    asked = {dpu: wish.host for dpu, wish in said.wishes.items() if isinstance(wish, NodeEntry)}
    for dpu, pair in pair_up(said).items():
        host = pair.host
        if host is None or dpu in asked or has.get(dpu) == host or said.serves.get(dpu) == host:
            continue
        assert host not in [each for who, each in asked.items() if who not in said.dropped]
        assert host not in [*has.values(), *said.serves.values()]
        assert host not in said.claimed.held
        assert host not in said.claimed.noted
        assert said.hosts is not None
        assert said.hosts[host] == ""


@given(VIEWS, DPUS, ANNOTATIONS)
def test_what_a_dpu_annotates_itself_with_changes_no_entry_of_a_pair_that_others_wrote(
    said: PairingView, dpu: str, notes: dict[str, str]
) -> None:
    others = {k: v for k, v in said.annotations.items() if k != dpu}
    silent = pair_up(replace(said, annotations=others))
    loud = pair_up(replace(said, annotations={**others, **_of(notes, dpu)}))
    for each in silent.keys() - {dpu}:
        if isinstance(said.wishes.get(each), NodeEntry):
            assert loud[each].host == silent[each].host


@given(VIEWS)
def test_every_dpu_that_anything_is_known_of_is_judged_and_told_why_not(said: PairingView) -> None:
    pairs = pair_up(said)
    assert set(pairs) == {*said.wishes, *said.annotations, *said.entries, *said.serves}
    for dpu, pair in pairs.items():
        assert pair.dpu == dpu
        assert pair.server in ("", *pairs)
        assert dpu not in said.dropped or pair == Pair(dpu, None, "", "")
        assert not pair.problem or dpu in said.wishes or dpu in said.annotations


def test_two_configs_exchange_their_hosts_as_the_message_says() -> None:
    one = view({"a": ">y"}, entries={"a": "x"}, serves={"a": "x"}, claimed={"y": "ns/two"})
    two = view({"b": ">x"}, entries={"b": "y"}, serves={"b": "y"}, claimed={"x": "ns/one"})
    assert ["remove both entries, cordon both DPUs" in pair.problem for pair in pair_up(one).values()] == [True]
    assert [(pair.host, pair.text) for pair in pair_up(one).values()] == [("x", text("x"))]
    removed = view(entries={"a": "x"}, serves={"a": "x"}, claimed={"y": "ns/two"})
    assert pair_up(removed)["a"].host is None  # it serves until x is drained
    still = view({"a": ">y"}, serves={"a": "x"}, leaving="a", claimed={"y": "ns/two"})
    assert pair_up(still)["a"].problem
    for free in (
        replace(one, entries={}, serves={}, claimed=Claims()),
        replace(two, entries={}, serves={}, claimed=Claims()),
    ):
        [found] = pair_up(free).values()
        assert (found.problem, bool(found.text)) == ("", True)
