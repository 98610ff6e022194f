"""What a tenant's server shows may have any shape beneath its metadata; every reading of it takes that."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.credential.account import TenantSide, account_for, is_allowed
from dpunetop.domain.drain.model.facts import MaintenancePhase
from dpunetop.domain.drain.model.readers import dpu_node, host_node, maintenance
from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    DESIRED_DRAIN_ANNOTATION,
    DRAIN_ANNOTATION,
    OVNKUBE_MASTER,
    open_for,
)
from dpunetop.domain.ovnkube.copies import SOURCES, CopyRefused, copy_of
from dpunetop.domain.ovnkube.databases import NoDatabases, databases
from dpunetop.domain.ovnkube.image import ImageView, NoImage, choose_image
from dpunetop.domain.ovnkube.release import release_of, variables
from dpunetop.domain.ovnkube.topology import container_names
from dpunetop.kube.conditions import condition_of
from support.objects import config

_KEYS = st.sampled_from(
    ["spec", "status", "data", "template", "containers", "conditions", "podIP", "hostIP", "name", "image", "env",
     "type", "desired", "nodeName", "pendingPods", "lastError", "phase", "taints", "unschedulable", "nodeInfo",
     "bootID", "version", "tls.crt", "ca-bundle.crt", "ovnkube.conf", "allowed"]
)  # fmt: skip
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 9) | st.text("ab1.:=[]\n", max_size=8) | st.just("Ready"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_OWNER = {"controller": True, "kind": "DaemonSet", "name": OVNKUBE_MASTER}
_METADATA = st.fixed_dictionaries(
    {"name": st.just("x"), "namespace": st.just("ovn"), "labels": st.just({"app": OVNKUBE_MASTER})},
    optional={"ownerReferences": st.lists(_JSON | st.just(_OWNER), max_size=3)},
)
_OBJECTS: st.SearchStrategy[dict[str, Any]] = st.builds(
    lambda metadata, rest: {**rest, "metadata": metadata}, _METADATA, st.dictionaries(_KEYS, _JSON, max_size=5)
)


@given(_OBJECTS)
def test_an_object_of_any_shape_is_read_as_saying_nothing(seen: dict[str, Any]) -> None:
    assert isinstance(databases([seen], "ovn"), NoDatabases)
    assert container_names(seen) is not None
    variables(seen)
    release_of(seen, seen)
    assert isinstance(choose_image(ImageView(None, None, "Multi", seen, None)), NoImage)
    for source in SOURCES:
        assert isinstance(copy_of(source, seen, "ns", Owner(config(), "0123")), CopyRefused)
    assert TenantSide(account_for("ovn", None), seen, None, None).stranger("0123") is not None
    assert is_allowed(seen) in (True, False)


_NOTES = st.dictionaries(
    st.sampled_from([DRAIN_ANNOTATION, DESIRED_DRAIN_ANNOTATION, CORDONED_BEFORE_ANNOTATION, open_for("d")]), _JSON
)


@given(_OBJECTS, _NOTES)
def test_a_host_or_a_maintenance_of_any_shape_is_read(seen: dict[str, Any], notes: dict[str, Any]) -> None:
    seen["metadata"] = {**seen["metadata"], "annotations": notes}
    assert host_node(seen).uid == dpu_node(seen).uid == ""
    found = maintenance(seen, "owner")
    assert (found.ours, found.phase in MaintenancePhase, len(found.error) <= 200) == (False, True, True)
    condition_of(seen, "Ready")
