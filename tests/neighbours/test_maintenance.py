"""A real node maintenance operator that cannot: its lease is held, its webhook is away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from dpunetop.domain.names import CORDONED_BEFORE_ANNOTATION, MAINTENANCE_TAINT, NODEMAINTENANCES, maintenance_name
from dpunetop.kube.errors import ApiError, NotFound
from dpunetop.kube.keys import LEASES, NODES
from dpunetop.kube.meta import annotations_of, name_of, new_object, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.realneighbours.maintenance import LEASES_NAMESPACE, NodeMaintenanceNeighbour
from support import audit
from support.drainrules import is_cordoned
from support.drains import Drains
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
"""Of a minute without a webhook; there were 424."""


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
    trial: Trial, drains: Drains, maintenance: NodeMaintenanceNeighbour, measured: Callable[[str], None]
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
            writes = Counter(f"{each.verb} {each.resource} {each.code}" for each in asked)
            measured(f"writes without the webhook, in a minute: {dict(writes)}")
            said = [status for status, *_ in told(story(), trial, "PairsHealthy")]
            assert "True" not in said[said.index("False") :]
            assert sum(count for what, count in writes.items() if " events " not in what) < WRITES, asked
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


def test_a_host_that_is_registered_anew_in_its_drain_is_led_out_though_its_maintenance_is_removed_by_force(
    trial: Trial, drains: Drains, maintenance: NodeMaintenanceNeighbour
) -> None:
    [dpu, host] = next(iter(drains.pairs.items()))
    with ExitStack() as gone:
        with wanted(drains, dpu):
            drains.until_open(dpu)
            before = uid_of(drains.host(host))
            trial.tenant.delete(get(NODES, "", host).target)
            trial.world.tenant.apply(seed.host_node(host))
            eventually(lambda: drained_anew(drains, host, before), bool, SAID_SECONDS)
            drains.until_open(dpu, SAID_SECONDS)
            gone.enter_context(uninstalled(trial, maintenance))
        strip(trial, drains, host)
        drains.until_idle(SAID_SECONDS)
        assert not any(taint["key"] == MAINTENANCE_TAINT for taint in drains.host(host)["spec"].get("taints") or ())
    trial.wait("PairsHealthy", "True", within=SAID_SECONDS)


def drained_anew(drains: Drains, host: str, before: str) -> bool:
    """Whether another Node than before is drained, and bears our mark."""
    node = drains.host(host)
    is_another = bool(node) and uid_of(node) != before and CORDONED_BEFORE_ANNOTATION in annotations_of(node)
    return is_another and is_cordoned(node) and status(drains, host).get("phase") == "Succeeded"


@contextmanager
def uninstalled(trial: Trial, maintenance: NodeMaintenanceNeighbour) -> Iterator[None]:
    """Its program and its webhook are gone, and nothing else."""
    collection = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    hooks = [each for each in trial.tenant.list_all(collection) if "nodemaintenances" in str(each["webhooks"])]
    maintenance.stop()
    for hook in hooks:
        trial.tenant.delete(f"{collection}/{name_of(hook)}")
    try:
        yield
    finally:
        maintenance.start()
        for hook in hooks:
            trial.tenant.create(collection, {**hook, "metadata": {"name": name_of(hook)}})


def strip(trial: Trial, drains: Drains, host: str) -> None:
    """Remove the maintenance of a host by force, be it deleted already or not."""
    path = get(NODEMAINTENANCES, "", maintenance_name(host)).target
    with suppress(NotFound):
        trial.tenant.patch(path, {"metadata": {"finalizers": None}})
        trial.tenant.delete(path)
    eventually(lambda: drains.maintenance(host), lambda found: not found, SAID_SECONDS)


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
