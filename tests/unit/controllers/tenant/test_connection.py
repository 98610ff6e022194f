"""The connection to one tenant, while others call the same tenant at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
import structlog

from dpunetop.controllers.tenant.connection import TenantConnection
from dpunetop.controllers.tenant.routes import Candidate, TenantRoutes
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import Proven, parse_config
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig, server_print
from dpunetop.domain.tenant.link import NO_LINK, Attempt, KubeconfigChoice, Linked, LinkView, Unlinked
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.metrics import Metrics
from support.clock import EPOCH, FakeClock
from support.kubeconfigs import good_kubeconfig
from support.objects import config
from support.scriptedsource import LossySource

CONFIG = parse_config(config())
NAME = CONFIG.tenant_cluster
KUBECONFIG = parse_kubeconfig(good_kubeconfig())
EARLIER = replace(KUBECONFIG, host="earlier.example")
OF_TENANT, OF_NETWORK = "10.9.9.1", "10.9.9.2"
REFUSED = Unreachable(0, "Refused", f"{OF_NETWORK}: connection refused")


class Server(LossySource):
    """Answers who it is; what else happens in the meantime is up to the test."""

    anchor_pem = b""
    serving = None

    def __init__(self, meanwhile: Callable[[], object], error: ApiError | None) -> None:
        super().__init__()
        self.meanwhile, self.error = meanwhile, error

    def get(self, *_: object) -> dict[str, Any]:
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return {"metadata": {"name": "kube-system", "uid": "uid-of-the-tenant"}}


class World:
    """A tenant whose pods' credential is tried, at the earlier server, while the link tries a new kubeconfig."""

    def __init__(self) -> None:
        self.clusters, self.routes = Clusters(), TenantRoutes((), lambda: ())
        self.error: ApiError | None = None
        self.address = OF_TENANT
        self.connection = TenantConnection(NAME, self.clusters, self._build, FakeClock(), self.routes)

    def attempt(self) -> Attempt:
        choice = KubeconfigChoice(KUBECONFIG, None)
        return self.connection.attempt(
            LinkView(CONFIG, Owner(CONFIG.live, "0123"), choice, Unlinked(), None, None, "m", EPOCH, infra_uid="infra")
        )

    def _build(self, name: str, kubeconfig: TenantKubeconfig) -> Candidate:
        route = self.routes.begin(name, kubeconfig)
        assert route.refusal(self.address) is None
        if self.error is None:
            route.verify(self.address)
        server = cast(Client, Server(self._try_the_credential, self.error))
        return Candidate(Cluster(name, server, clock=FakeClock(), metrics=Metrics(), random=lambda: 0.0), route)

    def _try_the_credential(self) -> None:
        route = self.routes.begin(NAME, EARLIER)
        route.refusal(OF_TENANT)
        route.verify(OF_TENANT)


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.connection.end()


def test_a_trial_of_the_credential_meanwhile_tells_nothing_of_a_network_that_the_kubeconfig_leads_to(
    world: World,
) -> None:
    world.error, world.address = REFUSED, OF_NETWORK
    assert world.attempt() == NO_LINK


def test_a_trial_of_the_credential_meanwhile_changes_nothing_of_where_the_tenant_has_proved_who_it_is(
    world: World,
) -> None:
    world.error, world.address = None, OF_NETWORK
    assert isinstance(world.attempt(), Linked)
    assert world.routes.in_use(NAME).proven() == Proven(server_print(KUBECONFIG), (OF_NETWORK,))


def test_the_same_failure_is_a_warning_once(world: World) -> None:
    world.error = REFUSED
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            world.attempt()
    assert [line["log_level"] for line in logs] == ["warning", "debug", "debug"]
