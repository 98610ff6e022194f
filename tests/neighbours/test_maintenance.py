"""A real node maintenance operator that cannot: its lease is held, its webhook is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import LEASES
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox.realneighbours.maintenance import LEASES_NAMESPACE, NodeMaintenanceNeighbour
from support import audit
from support.drains import Drains
from support.measuring import Measured
from support.neighbours import Neighbours, holds_for, told, wanted, watched
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

HOLDER = "somebody"
LIMIT = "30s"
SAID_SECONDS = 120.0
BACK_SECONDS = 300.0
"""The pause between two tries has grown by then."""
LOOKED_SECONDS = 60.0
WRITES = 15
"""Of a minute without a webhook, Events and what a DpuNode says left out; there were 424."""
STORIES = 4
"""Of a DpuNode in that minute: that its DPU waits for its host, and why the host is not drained; twice that at most."""
STORY, EVENT = "dpunodes/status", "events"


@pytest.fixture
def maintenance(neighbours: Neighbours) -> NodeMaintenanceNeighbour:
    """The real operator."""
    if neighbours.maintenance is None:  # the machine-config-controller alone is tested, which is a use of its own
        pytest.skip("NMO names no node maintenance operator")
    return neighbours.maintenance


def test_a_lease_that_somebody_holds_is_told_once_the_host_takes_too_long_and_keeps_nothing_open(
    trial: Trial, drains: Drains, maintenance: NodeMaintenanceNeighbour
) -> None:
    [dpu, host] = next(iter(drains.pairs.items()))
    trial.patch_config({"spec": {"drain": {"limits": {"hostDrain": LIMIT}}}})
    with wanted(drains, dpu), taken_lease(trial, host):
        eventually(lambda: status(drains, host).get("lastError"), bool, SAID_SECONDS)
        assert status(drains, host)["phase"] == "Running"
        said = trial.wait("PairsHealthy", "False", within=SAID_SECONDS)
        assert host in said["message"]
        assert HOLDER in said["message"]
        holds_for(lambda: not drains.is_open(dpu), 5.0)
    trial.patch_config({"spec": {"drain": None}})
    drains.until_idle(SAID_SECONDS)


def test_without_the_webhook_nothing_is_written_in_a_hurry_and_it_is_told(
    trial: Trial, drains: Drains, maintenance: NodeMaintenanceNeighbour, measured: Measured
) -> None:
    dpu = trial.nodes[0]
    look = audit.of_tenant_reader(trial.world.tenant, trial.tenant_namespace)
    own = audit.of_operator(trial.world.infra)
    maintenance.stop()
    with wanted(drains, dpu), watched(drains) as story:
        try:
            trial.wait("PairsHealthy", "False", within=SAID_SECONDS)
            holds_for(lambda: not drains.is_open(dpu), LOOKED_SECONDS)
            asked = [each for each in (*look.requests(), *own.requests()) if each.is_write]
            writes = Counter(each.resource for each in asked)
            measured(f"writes without the webhook, in a minute: {dict(writes)}")
            said = [status for status, *_ in told(story(), trial, "PairsHealthy")]
            assert "True" not in said[said.index("False") :]
            assert writes[STORY] <= STORIES, asked
            assert sum(count for what, count in writes.items() if what not in (STORY, EVENT)) < WRITES, asked
        finally:
            maintenance.start()
        drains.until_open(dpu, BACK_SECONDS)
    drains.until_idle(BACK_SECONDS)
    trial.wait("PairsHealthy", "True", within=SAID_SECONDS)


def test_its_webhook_refuses_a_second_maintenance_and_a_host_that_does_not_exist(
    trial: Trial, maintenance: NodeMaintenanceNeighbour
) -> None:
    collection = "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances"
    body = {"apiVersion": "nodemaintenance.medik8s.io/v1beta1", "kind": "NodeMaintenance"}
    with pytest.raises(ApiError, match="no node with name nobody"):
        trial.tenant.create(collection, {**body, "metadata": {"name": "x"}, "spec": {"nodeName": "nobody"}})


def status(drains: Drains, host: str) -> dict[str, Any]:
    return dict(drains.maintenance(host).get("status") or {})


@contextmanager
def taken_lease(trial: Trial, host: str) -> Iterator[None]:
    """Somebody else has the host for an hour."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    spec = {"holderIdentity": HOLDER, "leaseDurationSeconds": 3600, "acquireTime": now, "renewTime": now}
    name = f"node-{host}"
    trial.world.tenant.apply(new_object(LEASES, LEASES_NAMESPACE, name, spec=spec))
    try:
        yield
    finally:
        trial.tenant.delete(get(LEASES, LEASES_NAMESPACE, name).target)
