"""A real node maintenance operator that cannot: its lease is held, its webhook is away."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import LEASES
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox.realneighbours.maintenance import LEASES_NAMESPACE, NodeMaintenanceNeighbour
from support import audit
from support.drains import Drains
from support.neighbours import Neighbours, holds_for
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

SAID_SECONDS = 120.0
LOOKED_SECONDS = 60.0
WRITES = 20
"""Of a minute without a webhook; there were 424."""


@pytest.fixture
def maintenance(neighbours: Neighbours) -> NodeMaintenanceNeighbour:
    """The real operator."""
    if neighbours.maintenance is None:
        pytest.skip("NMO names no node maintenance operator")
    return neighbours.maintenance


def test_a_lease_that_somebody_holds_is_told_and_once_it_is_free_the_drain_goes_on(
    trial: Trial, drains: Drains, maintenance: NodeMaintenanceNeighbour
) -> None:
    [dpu, host] = next(iter(drains.pairs.items()))
    path = get(LEASES, LEASES_NAMESPACE, f"node-{host}").target
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 3600, "acquireTime": now, "renewTime": now}
    trial.world.tenant.apply(new_object(LEASES, LEASES_NAMESPACE, f"node-{host}", spec=spec))
    drains.cordon(dpu)
    eventually(
        lambda: drains.maintenance(host), lambda found: (found.get("status") or {}).get("lastError"), SAID_SECONDS
    )
    assert drains.maintenance(host)["status"]["phase"] == "Running"
    eventually(trial.told, lambda lines: any("somebody" in line for line in lines), SAID_SECONDS)
    holds_for(lambda: not drains.is_open(dpu), 5.0)
    trial.tenant.delete(path)
    drains.until_open(dpu, SAID_SECONDS)
    drains.cordon(dpu, yes=False)
    drains.until_idle(SAID_SECONDS)


def test_without_the_webhook_nothing_is_written_in_a_hurry_and_it_is_told(
    trial: Trial, drains: Drains, maintenance: NodeMaintenanceNeighbour
) -> None:
    dpu = trial.nodes[0]
    maintenance.stop()
    try:
        look = audit.of_tenant_reader(trial.world.tenant, trial.tenant_namespace)
        own = audit.of_operator(trial.world.infra)
        drains.cordon(dpu)
        trial.wait("PairsHealthy", "False", within=SAID_SECONDS)
        holds_for(lambda: not drains.is_open(dpu), LOOKED_SECONDS)
        asked = [each for each in (*look.requests(), *own.requests()) if each.is_write and each.resource != "events"]
        assert len(asked) < WRITES, asked
    finally:
        maintenance.start()
    drains.until_open(dpu, 240.0)
    drains.cordon(dpu, yes=False)
    drains.until_idle(240.0)


def test_its_webhook_refuses_a_second_maintenance_and_a_host_that_does_not_exist(
    trial: Trial, maintenance: NodeMaintenanceNeighbour
) -> None:
    collection = "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances"
    body = {"apiVersion": "nodemaintenance.medik8s.io/v1beta1", "kind": "NodeMaintenance"}
    with pytest.raises(ApiError, match="no node with name nobody"):
        trial.tenant.create(collection, {**body, "metadata": {"name": "x"}, "spec": {"nodeName": "nobody"}})
