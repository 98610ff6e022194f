"""What the objects of both clusters show before anything is decided: topology, pairs, and what the rollout looks at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.app.assets import interconnect_scripts, ovnkube_scripts
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import TopologyChoice, parse_config
from dpunetop.domain.ovnkube.topology import Settled, Topology
from dpunetop.domain.ovnkube.view import InfraObjects, OvnKubeView, PodScripts, TenantSigns
from dpunetop.domain.pairing.entries import judge_entries
from dpunetop.domain.pairing.pairing import Claims
from support.objects import config, node

ABSENT = TenantSigns(None, None, (), None, None, None, None, None)
NODE: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [{"name": "ovnkube-node"}]}}}}
SIGNS = {
    "masters and their nodes": (replace(ABSENT, node_daemonset=NODE, masters=({},)), Topology.CENTRAL),
    "nothing": (ABSENT, Topology.UNKNOWN),
}


@pytest.mark.parametrize(("tenant", "topology"), SIGNS.values(), ids=SIGNS)
def test_the_topology_is_the_one_that_the_tenants_objects_show(tenant: TenantSigns, topology: Topology) -> None:
    assert tenant.topology(TopologyChoice.AUTO).topology is topology


def seen(*nodes: dict[str, Any], overrides: dict[str, str] | None) -> OvnKubeView:
    """A view in which nothing is written yet."""
    return OvnKubeView(
        config=parse_config(config()),
        owner=Owner(config(), "0123"),
        tenant_namespace="ovn",
        tenant=ABSENT,
        blind="",
        settled=Settled(Topology.CENTRAL),
        infra=InfraObjects(
            service_account=None,
            daemonset=None,
            entries=None,
            pods=(),
            overrides=None if overrides is None else {"metadata": {"name": "env-overrides"}, "data": overrides},
            mounted={},
            nodes=nodes,
            pool=None,
            has_machine_configs=False,
            infra_daemonset=None,
        ),
        claimed=Claims(),
        environment_image=None,
        scripts=PodScripts(ovnkube_scripts(), interconnect_scripts()),
        allowed_networks=(),
        field_manager="m",
    )


def test_a_dpu_is_paired_by_its_entry_and_by_its_annotation() -> None:
    annotated = node("bf2-2", **{"dpu.openshift.io/tenant-node": "host-2"})
    view = seen(node("bf2-1"), annotated, overrides={"bf2-1": "TENANT_K8S_NODE=host-1"})
    known = replace(view, hosts={"host-2": ""})
    assert {dpu: pair.host for dpu, pair in known.pairs().items()} == {"bf2-1": "host-1", "bf2-2": "host-2"}
    assert {dpu: pair.host for dpu, pair in view.pairs().items()} == {"bf2-1": "host-1", "bf2-2": None}
    assert known.dropped() == []


@pytest.mark.parametrize(("overrides", "has_pairing"), [(None, False), ({}, True)])
def test_without_entries_and_annotations_nobody_has_paired_anything(
    overrides: dict[str, str] | None, has_pairing: bool
) -> None:
    view = seen(node("bf2-1"), overrides=overrides)
    assert view.rollout(judge_entries(view.entries())).has_pairing is has_pairing
