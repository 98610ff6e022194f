"""A pool of DPUs with a zone each is updated, and no host is given back before its DPU was seen to renew its Lease. The
release writes no zone onto hosts any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import LEASES
from dpunetop.kube.meta import annotations_of
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.standins.ovnkube import interconnect_tenant
from dpunetop.sandbox.world import World
from support import audit, drainrules, oplog
from support.drains import WORKLOAD, Drains
from support.measuring import Measured
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(1200)

NewTrial = Callable[..., Trial]

DPUS = 2
ROLL_SECONDS = 300.0
LEASED = partial(interconnect_tenant, release="4.23.0", lease_seconds=1)


@pytest.fixture
def drains(new_trial: NewTrial) -> Drains:
    return Drains(new_trial(DPUS, LEASED))


@pytest.fixture
def operator(world: World, drains: Drains, request: pytest.FixtureRequest) -> Iterator[OperatorProcess]:
    with OperatorProcess(world.operator_kubeconfig(), env=drains.environment) as running:
        yield running
        request.node.add_report_section("teardown", "operator", running.log_text()[-20_000:])
    drains.close()


def test_hosts_are_given_back_once_their_leases_are_renewed_and_those_are_watched_no_longer(
    operator: OperatorProcess, world: World, drains: Drains, measured: Measured
) -> None:
    tenant = audit.of_tenant_reader(world.tenant, drains.trial.tenant_namespace)
    drains.serve()
    drains.run_workloads()
    before = drains.state()
    assert leases_asked(tenant) == []
    with drains.watch_log(LEASES) as log:
        drains.roll("2")
        drains.until_rolled(ROLL_SECONDS)
        story = log.story()
    assert drains.state() == before
    shown = [annotations_of(drains.host(host)) for host in drains.pairs.values()]
    assert [names.ZONE_ANNOTATION in notes for notes in shown] == [False] * DPUS
    assert [names.GATEWAY_ANNOTATION in notes for notes in shown] == [True] * DPUS
    assert drainrules.broken(story, drains.hosts, drains.trial.namespace) == []
    assert drainrules.openings(story, drains.hosts) >= DPUS
    assert drainrules.cut_off_seconds(story, drains.hosts, WORKLOAD) == {}
    assert drainrules.given_back_unrenewed(story, drains.hosts, drains.trial.tenant_namespace) == []
    waited = ", ".join(f"{each:.1f} s" for each in drainrules.verified_seconds(story, drains.hosts))
    measured(f"Leases renewed each second: hosts were given back {waited} after the DPU was up")
    followed = {parse_qs(urlsplit(asked.uri).query)["fieldSelector"][0] for asked in leases_asked(tenant)}
    assert followed == {f"metadata.name={names.LEASE_PREFIX}{host}" for host in drains.pairs.values()}
    eventually(lambda: tenant.open_watches("leases"), lambda left: not left)
    assert oplog.alarms(operator) == []


def leases_asked(tenant: audit.Audit) -> list[audit.Asked]:
    return [asked for asked in tenant.requests() if asked.resource == "leases"]
