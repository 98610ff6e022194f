"""One operator, three tenants: central databases, a zone on each node, and one that goes from the first to the second
while the operator runs. Each comes to Ready, and then nobody writes anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import DAEMONSETS, SECRETS
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.standins.ovnkube import interconnect_tenant
from dpunetop.sandbox.world import World
from support import audit, election, oplog
from support.measuring import Measured
from support.minting import minting_allowed
from support.trial import Trial, decoded, eventually

pytestmark = pytest.mark.timeout(2000)

DPUS = 2
READY_SECONDS = 180.0
REST_SECONDS = 100.0
"""Longer than a watch may be quiet."""
ZONE = {"nbdb", "sbdb", "northd", "ovn-controller", "ovn-acl-logging", "ovnkube-controller"}


def containers(trial: Trial) -> set[str]:
    """Names of the containers of our DaemonSet."""
    spec: dict[str, Any] = trial.get(DAEMONSETS, names.OVNKUBE_NODE).get("spec") or {}
    return {container["name"] for container in spec.get("template", {}).get("spec", {}).get("containers", [])}


def migrate(trial: Trial) -> None:
    """The tenant's upgrade: first everything of the new topology appears, then the central databases go."""
    for obj in interconnect_tenant(trial.tenant_namespace):
        if obj["kind"] != "Namespace" and obj["metadata"]["name"] not in (names.OVN_CERT, names.OVN_CA):
            trial.world.tenant.apply(obj)
    trial.wait("OvnKubeReady", "False", "TopologyMigrating")
    trial.tenant.delete(trial.tenant_path(DAEMONSETS, names.OVNKUBE_MASTER))


def test_three_kinds_of_tenants_side_by_side(world: World, new_trial: Callable[..., Trial], measured: Measured) -> None:
    central, zones, moving = new_trial(DPUS), new_trial(DPUS, interconnect_tenant), new_trial(DPUS)
    trials = central, zones, moving
    env = {**world.operator_environment, **election.environment("*")}
    infra = audit.of_operator(world.infra)
    tenants = [audit.of_tenant_reader(world.tenant, trial.tenant_namespace) for trial in trials]
    with (
        minting_allowed(zones),
        OperatorProcess(world.operator_kubeconfig(), env=env, flags=election.FLAGS) as operator,
    ):
        began = time.monotonic()
        for trial in trials:
            trial.quick_start()
        for trial in trials:
            trial.wait("Ready", "True", within=READY_SECONDS)
        measured(f"three tenants with {DPUS} DPUs each were Ready after {time.monotonic() - began:.1f} s")
        for trial in trials:
            trial.settled()
        assert [containers(trial) == ZONE for trial in trials] == [False, True, False]
        assert zones.condition("DpuCredentialValid")["reason"] == "Minted"
        assert decoded(zones.get(SECRETS, names.TENANT_CREDENTIAL), names.CREDENTIAL_FILE_KEY)
        others = central.dpu_status(), zones.dpu_status()
        began = time.monotonic()
        migrate(moving)
        eventually(lambda: containers(moving), lambda found: found == ZONE, within=READY_SECONDS)
        for trial in trials:
            trial.wait("Ready", "True", within=READY_SECONDS)
        measured(f"the one that migrates was Ready again after {time.monotonic() - began:.1f} s")
        assert (central.dpu_status(), zones.dpu_status()) == others  # a neighbour's migration is nobody's business
        assert moving.condition("TopologySupported")["reason"] == "Interconnect"
        audit.until_rest(infra, *tenants)
        assert audit.work_within(REST_SECONDS, infra, *tenants) == []
        assert any(asked.resource == "leases" for asked in infra.requests())
        assert oplog.alarms(operator) == []
        for trial in trials:
            trial.delete_config()
        for trial in trials:
            eventually(trial.config, lambda config: not config, within=READY_SECONDS)
