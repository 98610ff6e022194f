from __future__ import annotations

import pytest

from dpunetop.domain.topology import Topology, TopologyView, container_names, detect
from dpunetop.domain.types import TopologyChoice

AUTO = TopologyChoice.AUTO
OLD = frozenset({"ovn-controller", "ovn-acl-logging", "kube-rbac-proxy", "ovnkube-node"})
NEW = frozenset({"ovn-controller", "northd", "nbdb", "sbdb", "ovnkube-controller"})
NONE: frozenset[str] = frozenset()

CASES = {  # (choice, containers, masters, control plane, script lib) -> topology
    "up to 4.13": ((AUTO, OLD, True, False, False), Topology.CENTRAL),
    "up to 4.13, masters restarting": ((AUTO, OLD, False, False, False), Topology.CENTRAL),
    "from 4.15": ((AUTO, NEW, False, True, True), Topology.INTERCONNECT),
    "hosted control plane": ((AUTO, NEW, False, False, True), Topology.INTERCONNECT),
    "4.14 underway, old nodes": ((AUTO, OLD, True, True, True), Topology.MIGRATING),
    "4.14 underway, only the library": ((AUTO, OLD, True, False, True), Topology.MIGRATING),
    "4.14 underway, new nodes": ((AUTO, NEW, True, True, True), Topology.MIGRATING),
    "nothing read": ((AUTO, None, None, None, None), Topology.UNKNOWN),
    "DaemonSet not read": ((AUTO, None, True, False, False), Topology.UNKNOWN),
    "control plane not read": ((AUTO, OLD, True, None, False), Topology.UNKNOWN),
    "library not read": ((AUTO, OLD, True, False, None), Topology.UNKNOWN),
    "masters not read": ((AUTO, NEW, None, True, True), Topology.UNKNOWN),
    "no such DaemonSet": ((AUTO, NONE, False, False, False), Topology.UNKNOWN),
    "another network": ((AUTO, frozenset({"sdn"}), False, False, False), Topology.UNKNOWN),
    "central by choice": ((TopologyChoice.CENTRAL, NEW, False, True, True), Topology.CENTRAL),
    "interconnect by choice, blind": ((TopologyChoice.INTERCONNECT, None, None, None, None), Topology.INTERCONNECT),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_a_topology_is_found_only_on_clear_signs(
    given: tuple[TopologyChoice, frozenset[str] | None, bool | None, bool | None, bool | None], expected: Topology
) -> None:
    finding = detect(TopologyView(*given))
    assert finding.topology is expected
    assert finding.message


def test_containers_are_read_by_name() -> None:
    daemonset = {"spec": {"template": {"spec": {"containers": [{"name": "nbdb"}, {"name": "sbdb"}]}}}}
    assert container_names(daemonset) == {"nbdb", "sbdb"}
    assert container_names(None) == NONE
    assert container_names({"spec": {}}) == NONE
