"""The stand-in of the node-identity webhook judges as the real one."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.sandbox.standins.nodeidentity import CHASSIS, CONNECTION_STATUS, POD_NETWORKS, ZONE, NodeIdentity, RuleSet

ENCAP = "k8s.ovn.org/node-encap-ips"
OURS, DPU = (f"system:serviceaccount:ovn:{name}" for name in ("dpunetop-dpu", "ovnkube-node-dpu"))


def asked(user: str, before: dict[str, str], after: dict[str, str]) -> dict[str, Any]:
    old, new = ({"metadata": {"name": "h", "annotations": notes}} for notes in (before, after))
    return {"userInfo": {"username": user}, "oldObject": old, "object": new}


NODES: dict[str, tuple[str, dict[str, str], dict[str, str], str | None]] = {
    "a stranger who changes what is guarded": ("u", {ENCAP: "a"}, {ENCAP: "b"}, "is not allowed to set"),
    "a stranger who adds it": ("u", {}, {ENCAP: "b"}, f'on node: "h": [{ENCAP}]'),
    "a stranger who removes it": ("u", {ENCAP: "a"}, {}, "is not allowed to set"),
    "a stranger who writes the same": ("u", {ENCAP: "a"}, {ENCAP: "a"}, None),
    "a stranger who changes something else": ("u", {}, {"x": "y"}, None),
    "who is named": (OURS, {ENCAP: "a"}, {ENCAP: "b"}, None),
    "a first chassis": (OURS, {}, {CHASSIS: "a"}, None),
    "another chassis": (OURS, {CHASSIS: "a"}, {CHASSIS: "b"}, "cannot be changed once set"),
    "its own zone": (OURS, {}, {ZONE: "h"}, None),
    "another zone": (OURS, {}, {ZONE: "global"}, "can only be set to h"),
}


@pytest.mark.parametrize(("user", "before", "after", "says"), NODES.values(), ids=NODES.keys())
def test_of_a_node(user: str, before: dict[str, str], after: dict[str, str], says: str | None) -> None:
    with NodeIdentity({OURS}) as identity:
        found = identity.judge("/node", asked(user, before, after))
    assert found is None if says is None else says in (found or "")


PODS: dict[str, tuple[RuleSet, str, str, bool]] = {
    "who is named": (RuleSet.ANY_USER, OURS, CONNECTION_STATUS, True),
    "who is not": (RuleSet.ANY_USER, "u", CONNECTION_STATUS, False),
    "who is named, of addresses": (RuleSet.ANY_USER, OURS, POD_NETWORKS, False),
    "by name, another one": (RuleSet.DPU_BY_NAME, OURS, CONNECTION_STATUS, False),
    "by name": (RuleSet.DPU_BY_NAME, DPU, CONNECTION_STATUS, True),
    "by name, of no ServiceAccount": (RuleSet.DPU_BY_NAME, "a:b:c:ovnkube-node-dpu", CONNECTION_STATUS, False),
}


@pytest.mark.parametrize(("played", "user", "key", "is_allowed"), PODS.values(), ids=PODS.keys())
def test_of_a_pod(played: RuleSet, user: str, key: str, is_allowed: bool) -> None:
    with NodeIdentity({OURS, DPU, "a:b:c:ovnkube-node-dpu"}, played) as identity:
        found = identity.judge("/pod", asked(user, {}, {key: "x"}))
    assert (found is None) == is_allowed
