"""Who has which node: a selector takes nothing by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.grants import (
    Candidate,
    ClaimStrength,
    ClaimsView,
    Grant,
    Rights,
    grant_of,
    judge_nodes,
    weigh_claims,
)
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.names import (
    CONTROL_PLANE_LABELS,
    CURRENT_CONFIG_ANNOTATION,
    DPU_NODE_LABEL,
    DPU_WORKER_LABEL,
    NODE_GRANT_ANNOTATION,
    OWNER_LABEL,
    SERVES_ANNOTATION,
    blocker_name,
)
from support.objects import config, node

EVERYTHING = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "Exists"}]}
OS = {"kubernetes.io/os": "linux"}
DPU = {**OS, DPU_WORKER_LABEL: "", DPU_NODE_LABEL: ""}
MINE, THEIRS = "owner-of-mine", "owner-of-theirs"


def candidate(owner: str, selector: dict[str, Any] = EVERYTHING, created: str = "2026-01-01", **more: Any) -> Candidate:
    live = config(owner, f"in-{owner}", nodeSelector=selector)
    live["metadata"] |= {"creationTimestamp": created, **more}
    return Candidate(parse_config(live), owner, Grant(f"in-{owner}"))


def pool(owner: str, selector: dict[str, Any] = EVERYTHING, name: str = "dpu") -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {OWNER_LABEL: owner}}, "spec": {"nodeSelector": selector}}


def budget(owner: str, dpu: str) -> dict[str, Any]:
    labels, notes = {OWNER_LABEL: owner}, {SERVES_ANNOTATION: "host-1"}
    return {"metadata": {"name": blocker_name(dpu), "labels": labels, "annotations": notes}}


GRANTED = {
    "the label": (None, DPU, ""),
    "no label": (None, OS, "has no label node-role.kubernetes.io/dpu-worker, and namespace ns no annotation"),
    "what a kubelet may set itself": (None, {**OS, DPU_NODE_LABEL: ""}, "has no label"),
    "a master with the label": (None, {**DPU, CONTROL_PLANE_LABELS[1]: ""}, "is a node of the control plane"),
    "a control-plane node that is named": ("kubernetes.io/os", {**OS, CONTROL_PLANE_LABELS[0]: ""}, "is a node of the"),
    "another role that is named": ("role=bf", {**OS, "role": "bf"}, ""),
    "another role": (None, {**OS, "role": "bf"}, "has no label"),
    "narrower": (
        "rack=a",
        {**DPU, "rack": "b"},
        "is not granted by annotation dpu.openshift.io/node-grant of namespace ns",
    ),
    "one of the narrower": ("rack=a", {**DPU, "rack": "a"}, ""),
    "nothing": ("", DPU, "is not granted by annotation"),
    "no selector": ("a=b=c", DPU, "is not granted: annotation dpu.openshift.io/node-grant of namespace ns is no label"),
}


@pytest.mark.parametrize(("text", "labels", "why"), GRANTED.values(), ids=GRANTED.keys())
def test_what_a_namespace_grants(text: str | None, labels: dict[str, str], why: str) -> None:
    notes = {} if text is None else {NODE_GRANT_ANNOTATION: text}
    refusal = grant_of("ns", {"metadata": {"name": "ns", "annotations": notes}}).refusal(node("n", labels))
    assert refusal.startswith(why)
    assert bool(refusal) is bool(why)


def test_a_selector_of_everything_has_what_is_granted_and_names_the_rest() -> None:
    nodes = [node("m", {**DPU, CONTROL_PLANE_LABELS[1]: ""}), node("w", OS), node("d", DPU), node("x", {"dpu": ""})]
    judged = judge_nodes(candidate(MINE).config, nodes, Rights(Grant("ns")))
    assert (set(judged.had), set(judged.dpus), set(judged.refused)) == ({"d"}, {"d"}, {"m", "w"})
    assert judged.refusal().startswith("m is a node of the control plane; w has no label")


def test_a_node_whose_network_is_not_left_to_us_is_for_the_pool_alone() -> None:
    judged = judge_nodes(candidate(MINE).config, [node("d", {**OS, DPU_WORKER_LABEL: ""})], Rights())
    assert (set(judged.had), set(judged.dpus), set(judged.refused)) == ({"d"}, set(), set())
    assert judged.why_not_paired() == {"d": "has no label network.operator.openshift.io/dpu"}


def test_pods_are_kept_off_by_name_where_they_would_come() -> None:
    other = {**OS, DPU_NODE_LABEL: ""}
    nodes = [node("b", other), node("a", other), node("w", OS), node("m", {**other, CONTROL_PLANE_LABELS[0]: ""})]
    assert judge_nodes(candidate(MINE).config, nodes, Rights(owner=MINE)).closed == ("a", "b")
    claims = weigh_claims(ClaimsView(tuple(nodes), (), (), {blocker_name("a"): budget(MINE, "a")}))
    assert judge_nodes(candidate(MINE).config, nodes, Rights(owner=MINE, claims=claims)).closed == ("b",)


YOUNG = candidate(THEIRS, created="2026-02-01")
OLD = candidate(THEIRS, created="2025-01-01")
VIEW = ClaimsView((node("d", DPU),), (candidate(MINE), OLD), (), {})
RENDERED = node("d", DPU, **{CURRENT_CONFIG_ANNOTATION: "rendered-mine-0"})

HELD = {
    "nobody holds it, ours is older": (replace(VIEW, candidates=(candidate(MINE), YOUNG)), True),
    "nobody holds it, ours is younger": (VIEW, False),
    "ours is in our pool": (replace(VIEW, pools=(pool(MINE),)), True),
    "theirs is in their pool": (replace(VIEW, candidates=(candidate(MINE), YOUNG), pools=(pool(THEIRS),)), False),
    "their pool picks others": (
        replace(VIEW, candidates=(candidate(MINE), YOUNG), pools=(pool(THEIRS, {"matchLabels": {"no": "such"}}),)),
        True,
    ),
    "both pools pick it, it runs ours": (
        replace(VIEW, nodes=(RENDERED,), pools=(pool(THEIRS), pool(MINE, name="mine"))),
        True,
    ),
    "both pools pick it, theirs is older": (replace(VIEW, pools=(pool(THEIRS), pool(MINE, name="mine"))), False),
    "it serves for us": (replace(VIEW, pools=(pool(THEIRS),), budgets={blocker_name("d"): budget(MINE, "d")}), True),
    "it serves for them": (
        replace(
            VIEW, nodes=(RENDERED,), pools=(pool(MINE, name="mine"),), budgets={blocker_name("d"): budget(THEIRS, "d")}
        ),
        False,
    ),
    "it serves for one that selects it no more": (
        replace(VIEW, candidates=(candidate(MINE),), budgets={blocker_name("d"): budget("another", "d")}),
        False,
    ),
    "a budget that serves nobody": (
        replace(VIEW, candidates=(candidate(MINE),), budgets={blocker_name("d"): {"metadata": {"name": "b"}}}),
        True,
    ),
    "the other ends": (replace(VIEW, candidates=(candidate(MINE), candidate(THEIRS, deletionTimestamp="now"))), True),
    "the other was granted something else": (
        replace(VIEW, candidates=(candidate(MINE), replace(OLD, grant=Grant("x", "rack=b")))),
        True,
    ),
    "a pool of nobody": (replace(VIEW, candidates=(candidate(MINE),), pools=(pool(""),)), True),
}


@pytest.mark.parametrize(("view", "had"), HELD.values(), ids=HELD.keys())
def test_a_config_that_holds_a_node_keeps_it_and_age_decides_about_the_others(view: ClaimsView, had: bool) -> None:
    judged = judge_nodes(candidate(MINE).config, view.nodes, Rights(Grant("ns"), MINE, weigh_claims(view)))
    assert ("d" in judged.had) is had
    assert ("d" in judged.refused) is not had


def test_two_configs_that_want_one_node_each_name_the_other() -> None:
    claims = weigh_claims(replace(VIEW, pools=(pool(MINE),)))
    ours = judge_nodes(candidate(MINE).config, VIEW.nodes, Rights(Grant("a"), MINE, claims))
    theirs = judge_nodes(OLD.config, VIEW.nodes, Rights(Grant("b"), THEIRS, claims))
    assert ours.sought == {"d": f"DpuClusterConfig in-{THEIRS}/{THEIRS}"}
    assert theirs.refused == {"d": f"is held by DpuClusterConfig in-{MINE}/{MINE}"}


def test_of_everything_that_one_has_of_a_node_the_strongest_counts() -> None:
    view = replace(VIEW, nodes=(RENDERED,), pools=(pool(MINE, name="mine"),))
    assert {claim.owner: claim.strength for claim in weigh_claims(view)["d"]} == {
        MINE: ClaimStrength.CONFIGURED,
        THEIRS: ClaimStrength.WISH,
    }
    view = replace(view, budgets={blocker_name("d"): budget(MINE, "d")})
    assert {claim.owner: claim.strength for claim in weigh_claims(view)["d"]} == {
        MINE: ClaimStrength.SERVES,
        THEIRS: ClaimStrength.WISH,
    }
