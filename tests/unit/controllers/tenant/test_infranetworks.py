"""What is known of infra's networks while infra answers, does not, or never has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from dpunetop.controllers.tenant.infranetworks import AGAIN_SECONDS, InfraNetworks
from dpunetop.domain.names import NETWORKS
from dpunetop.kube.errors import ApiError, Forbidden
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, ENDPOINTSLICES, SERVICECIDRS, Resource
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.documents import Page
from support.clock import FakeClock


class Infra:
    """A server that shows what a test puts here; whatever is asked of it beyond that is a mistake of ours."""

    def __init__(self) -> None:
        self.shows: dict[Resource, list[dict[str, Any]]] = {
            ENDPOINTSLICES: [{"endpoints": [{"addresses": ["10.0.0.1"]}]}],
            CUSTOMRESOURCEDEFINITIONS: [],
        }
        self.error: ApiError | None = None
        self.asked: list[str] = []

    def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
        self.asked.append(str(selection))
        if self.error is not None:
            raise self.error
        yield Page(self.shows[selection.resource], "1", False)

    def serves(self, resource: Resource) -> bool:
        return resource in self.shows


NODES = [{"spec": {"podCIDRs": ["10.244.1.0/24"]}}]


@pytest.fixture
def infra() -> Infra:
    return Infra()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def networks(infra: Infra, clock: FakeClock) -> InfraNetworks:
    return InfraNetworks(lambda: cast(Client, infra), lambda: NODES, clock)


def known(networks: InfraNetworks) -> set[str]:
    return {str(network) for network in networks.current()}


def test_a_plain_cluster_is_asked_for_nothing_that_it_does_not_serve(networks: InfraNetworks) -> None:
    networks.refresh()
    assert known(networks) == {"10.0.0.1/32", "10.244.1.0/24"}


def test_what_the_cluster_serves_is_read(infra: Infra, networks: InfraNetworks) -> None:
    infra.shows[SERVICECIDRS] = [{"spec": {"cidrs": ["10.96.0.0/16"]}}]
    infra.shows[CUSTOMRESOURCEDEFINITIONS] = [{"metadata": {}}]
    infra.shows[NETWORKS] = [{"status": {"clusterNetwork": [{"cidr": "10.128.0.0/14"}]}}]
    networks.refresh()
    assert known(networks) >= {"10.96.0.0/16", "10.128.0.0/14"}


def test_where_infra_was_reached_itself_no_tenant_is_looked_for(networks: InfraNetworks) -> None:
    networks.see("192.0.2.1")
    networks.see("192.0.2.2")
    assert known(networks) >= {"192.0.2.1/32", "192.0.2.2/32"}


def test_of_addresses_without_end_the_last_ones_are_kept(networks: InfraNetworks) -> None:
    for number in range(1000):
        networks.see(f"192.0.{2 + number // 256}.{number % 256}")
        networks.see("198.51.100.1")
    assert len(known(networks)) <= 65
    assert known(networks) >= {"198.51.100.1/32", "192.0.5.231/32"}


def test_an_answer_is_used_for_a_while(infra: Infra, networks: InfraNetworks, clock: FakeClock) -> None:
    networks.refresh()
    asked = len(infra.asked)
    networks.refresh()
    assert len(infra.asked) == asked
    clock.step(AGAIN_SECONDS)
    infra.shows[ENDPOINTSLICES] = [{"endpoints": [{"addresses": ["10.0.0.2"]}]}]
    networks.refresh()
    assert known(networks) == {"10.0.0.2/32", "10.244.1.0/24"}


def test_before_infra_has_ever_answered_no_tenant_is_connected_to(infra: Infra, networks: InfraNetworks) -> None:
    infra.error = Forbidden(403, "Forbidden", "cannot list endpointslices")
    for _ in range(2):
        with pytest.raises(Forbidden):
            networks.refresh()


def test_what_was_known_stays_when_infra_does_not_answer(
    infra: Infra, networks: InfraNetworks, clock: FakeClock
) -> None:
    networks.refresh()
    clock.step(AGAIN_SECONDS)
    infra.error = Forbidden(403, "Forbidden", "cannot list endpointslices")
    networks.refresh()
    assert "10.0.0.1/32" in known(networks)
