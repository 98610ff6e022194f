"""Tenants whose nodes have a zone each, and one that becomes such a tenant while the operator runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, SECRETS
from dpunetop.sandbox.standins.ovnkube import interconnect_tenant, upstream_tenant
from support.trial import Trial, eventually

NewTrial = Callable[..., Trial]

ZONE = {"nbdb", "sbdb", "northd", "ovn-controller", "ovn-acl-logging", "ovnkube-controller"}


def containers(trial: Trial) -> set[str]:
    """Names of the containers of our DaemonSet."""
    spec: dict[str, Any] = trial.get(DAEMONSETS, names.OVNKUBE_NODE).get("spec") or {}
    return {container["name"] for container in spec.get("template", {}).get("spec", {}).get("containers", [])}


def test_an_interconnect_tenant_is_served_by_zones_on_its_dpus(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=2, shows=interconnect_tenant)
    trial.ready()
    assert containers(trial) == ZONE
    assert trial.condition("TopologySupported")["reason"] == "Interconnect"
    assert trial.get(CONFIGMAPS, names.OVNKUBE_CONFIG)
    assert not trial.get(SECRETS, names.OVN_CERT)
    assert not trial.get(CONFIGMAPS, names.OVN_CA)


def test_settings_of_the_tenant_reach_the_command_of_the_zone(new_trial: NewTrial) -> None:
    trial = new_trial(shows=interconnect_tenant)
    trial.ready()
    pods = trial.get(DAEMONSETS, names.OVNKUBE_NODE)["spec"]["template"]["spec"]
    (controller,) = [each for each in pods["containers"] if each["name"] == "ovnkube-controller"]
    assert {"--enable-multicast", "--acl-logging-rate-limit=20"} <= set(controller["args"])


def test_a_tenant_of_the_chart_is_served_with_the_rights_that_are_shipped(new_trial: NewTrial) -> None:
    trial = new_trial(shows=upstream_tenant)
    trial.ready()
    pods = trial.get(DAEMONSETS, names.OVNKUBE_NODE)["spec"]["template"]["spec"]
    (controller,) = [each for each in pods["containers"] if each["name"] == "ovnkube-controller"]
    assert {"--cluster-subnets=10.244.0.0/16/24", "--mtu=1400", "--nodeport"} <= set(controller["args"])
    assert not any("healthcheck" in option for option in controller["args"])


def test_an_unsupported_release_is_named_and_gets_nothing(new_trial: NewTrial) -> None:
    trial = new_trial(shows=lambda namespace: interconnect_tenant(namespace, "4.16.2"))
    trial.quick_start()
    trial.wait("TopologySupported", "False", "VersionNotSupported")
    trial.wait("OvnKubeReady", "False", "VersionNotSupported")
    assert not trial.get(DAEMONSETS, names.OVNKUBE_NODE)


def test_a_chosen_topology_is_written_at_once(new_trial: NewTrial) -> None:
    trial = new_trial(shows=lambda namespace: interconnect_tenant(namespace, "4.16.2"))
    trial.quick_start(topology="Interconnect")
    trial.wait("OvnKubeReady", "True")
    assert containers(trial) == ZONE


@pytest.mark.timeout(900)
def test_a_tenant_that_migrates_keeps_what_runs_until_that_is_certain(new_trial: NewTrial) -> None:
    trial = new_trial()
    trial.ready()
    before = trial.roll_mark()
    mounted = (names.OVN_CERT, names.OVN_CA)  # another content of theirs rolls the pods, whatever the topology
    for obj in interconnect_tenant(trial.tenant_namespace):
        if obj["kind"] != "Namespace" and obj["metadata"]["name"] not in mounted:
            trial.world.tenant.apply(obj)
    trial.wait("OvnKubeReady", "False", "TopologyMigrating")
    assert trial.roll_mark() == before
    trial.tenant.delete(trial.tenant_path(DAEMONSETS, names.OVNKUBE_MASTER))
    trial.wait("OvnKubeReady", "False", "TopologyConfirming")
    assert trial.roll_mark() == before
    began = time.monotonic()
    eventually(lambda: containers(trial), lambda found: found == ZONE)
    assert time.monotonic() - began > 30.0
    trial.wait("OvnKubeReady", "True")
    assert trial.tenant.get(trial.tenant_path(DEPLOYMENTS, names.OVNKUBE_CONTROL_PLANE))
