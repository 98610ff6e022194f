from __future__ import annotations

from typing import Any, cast

import pytest

from dpunetop.controllers.hostclaims import gather_claims
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.grants import Rights
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, parse_config
from dpunetop.domain.pairing.pairing import Claims
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.runtime.reading import NotSynced, Reader
from support.readers import ReadsByName

SERVED, ASKED = "ovnkube-node-entries", "env-overrides"
LABELS = {"dpu": "", names.DPU_WORKER_LABEL: "", names.DPU_NODE_LABEL: ""}


class Caches(ReadsByName):
    """ConfigMaps by namespace and name, Nodes, and namespaces that may not be read."""

    def __init__(
        self, maps: dict[tuple[str, str], dict[str, str]], *forbidden: str, annotated: str = "", protected: str = ""
    ) -> None:
        self._maps = maps
        self._forbidden = forbidden
        self._annotated = annotated
        self._protected = protected

    def get(self, _: str, selection: Any, namespace: str, name: str) -> Any:
        if namespace in self._forbidden:
            raise NotSynced(INFRA, selection, Forbidden(403, "Forbidden", "no"))
        if (namespace, name) == ("unread", ASKED):
            raise NotSynced(INFRA, selection, None)
        data = self._maps.get((namespace, name))
        return None if data is None else {"metadata": {"name": name}, "data": data}

    def list(self, _: str, selection: Any) -> Any:
        if selection.resource is names.PODDISRUPTIONBUDGETS:
            labels, notes = {names.OWNER_LABEL: "owner-of-a"}, {names.SERVES_ANNOTATION: self._protected}
            return [{"metadata": {"name": "b", "labels": labels, "annotations": notes}}] if self._protected else []
        assert selection.resource is NODES
        notes = {"dpu.openshift.io/tenant-node": self._annotated} if self._annotated else {}
        return [
            {"metadata": {"name": "d", "labels": LABELS, "annotations": notes}},
            {"metadata": {"name": "e", "labels": LABELS}},
            {"metadata": {"name": "stranger", "labels": {"dpu": ""}, "annotations": notes}},
        ]


def config(namespace: str, *, ends: bool = False) -> DpuClusterConfig:
    metadata: dict[str, Any] = {"namespace": namespace, "name": "c", "uid": namespace}
    if ends:
        metadata["deletionTimestamp"] = "2025-01-01T00:00:00Z"
    spec = {"nodeSelector": {"matchLabels": {"dpu": ""}}}
    return parse_config({"metadata": metadata, "spec": spec})


def claimed(caches: Caches, *siblings: DpuClusterConfig) -> Any:
    return claims(caches, *siblings).held


def claims(caches: Caches, *siblings: DpuClusterConfig) -> Claims:
    def rights(each: DpuClusterConfig) -> Rights:
        return Rights(owner=f"owner-of-{each.namespace}")

    return gather_claims(cast(Reader, caches), siblings, rights, "dpunetop")


def entries(**hosts: str) -> dict[str, str]:
    return {dpu: f"TENANT_K8S_NODE={host}\n" for dpu, host in hosts.items()}


def test_what_a_sibling_serves_and_what_it_asks_for_is_claimed() -> None:
    maps = {("a", SERVED): entries(d="x"), ("a", ASKED): entries(d="y", e="z")}
    assert claimed(Caches(maps), config("a")) == dict.fromkeys("xyz", "a/c")


def test_what_only_an_annotation_names_is_told_apart() -> None:
    maps = {("a", SERVED): entries(d="x"), ("a", ASKED): entries(d="y", e="z")}
    assert claims(Caches(maps, annotated="w"), config("a")) == Claims(dict.fromkeys("xyz", "a/c"), {"w": "a/c"})


def test_what_is_written_for_a_node_that_is_not_its_own_claims_nobody() -> None:
    maps = {("a", SERVED): entries(stranger="x"), ("a", ASKED): entries(stranger="y", absent="z")}
    assert claimed(Caches(maps), config("a")) == {}


def test_whom_it_protects_is_claimed_whatever_people_write() -> None:
    assert claimed(Caches({}, protected="x"), config("a"), config("b")) == {"x": "a/c"}


def test_one_that_ends_claims_only_whom_it_serves() -> None:
    maps = {("a", SERVED): entries(d="x"), ("a", ASKED): entries(d="y")}
    assert claims(Caches(maps, annotated="w"), config("a", ends=True)) == Claims({"x": "a/c"})


def test_of_two_siblings_the_first_by_name_is_told() -> None:
    maps = {("b", SERVED): entries(d="x"), ("a", ASKED): entries(d="x"), ("b", ASKED): entries(e="y")}
    assert claimed(Caches(maps), config("b"), config("a")) == {"x": "a/c", "y": "b/c"}


def test_what_is_not_understood_claims_nobody() -> None:
    assert claimed(Caches({("a", ASKED): {"d": "no host at all"}}), config("a")) == {}


def test_a_sibling_whose_namespace_may_not_be_read_holds_nobody_up() -> None:
    assert claimed(Caches({("b", ASKED): entries(d="x")}, "a"), config("a"), config("b")) == {"x": "b/c"}


def test_a_sibling_that_is_not_read_yet_is_waited_for() -> None:
    with pytest.raises(NotSynced):
        claimed(Caches({}), config("unread"))
