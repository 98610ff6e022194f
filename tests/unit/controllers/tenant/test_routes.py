"""What the author of a kubeconfig is told of addresses, and what becomes of a link whose address is refused later."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from dpunetop.controllers.tenant.routes import Candidate, TenantRoute, TenantRoutes
from dpunetop.domain.clusterconfig.types import Proven
from dpunetop.domain.tenant.addresses import Network
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import server_print
from dpunetop.runtime.cluster import Cluster
from support.kubeconfigs import good_kubeconfig

NAME = "tenant/dpu-one/sample"
KUBECONFIG = parse_kubeconfig(good_kubeconfig())
ANOTHER = replace(KUBECONFIG, host="another.example")
SERVER = server_print(KUBECONFIG)
ALLOWED = [ipaddress.ip_network("10.1.0.0/16")]


class World:
    def __init__(self) -> None:
        self.denied: list[Network] = []
        self.routes = TenantRoutes(ALLOWED, lambda: self.denied)

    def tells(self, way: TenantRoute) -> bool:
        return way.tells(self.routes.in_use(NAME))

    def engage(self, way: TenantRoute, name: str = NAME) -> None:
        self.routes.engage(Candidate(cast(Cluster, SimpleNamespace(name=name)), way))


@pytest.fixture
def world() -> World:
    return World()


def test_of_an_address_that_nobody_knows_nothing_is_told(world: World) -> None:
    way = world.routes.begin(NAME, KUBECONFIG)
    assert way.refusal("10.9.9.9") is None
    assert not world.tells(way)


def test_where_nothing_was_tried_nothing_is_told(world: World) -> None:
    assert not world.tells(world.routes.begin(NAME, KUBECONFIG))


def test_of_an_address_that_is_allowed_by_name_all_is_told(world: World) -> None:
    way = world.routes.begin(NAME, KUBECONFIG)
    assert way.refusal("10.1.2.3") is None
    assert world.tells(way)


def test_one_address_that_nobody_knows_among_others_is_enough_to_be_silent(world: World) -> None:
    way = world.routes.begin(NAME, KUBECONFIG)
    for address in ("10.1.2.3", "10.9.9.9"):
        way.refusal(address)
    assert not world.tells(way)


def test_of_an_address_where_the_tenant_was_engaged_all_is_told(world: World) -> None:
    first = world.routes.begin(NAME, KUBECONFIG)
    first.refusal("10.9.9.9")
    assert not world.tells(first)
    first.verify("10.9.9.9")
    assert world.tells(first)
    world.engage(first)
    second = world.routes.begin(NAME, KUBECONFIG)
    second.refusal("10.9.9.9")
    assert world.tells(second)
    second.refusal("10.9.9.10")
    assert not world.tells(second)


def test_an_address_that_only_handshook_for_another_tenant_counts_for_that_one(world: World) -> None:
    way = world.routes.begin("other", KUBECONFIG)
    way.verify("10.9.9.9")
    world.engage(way, "other")
    own = world.routes.begin(NAME, KUBECONFIG)
    own.refusal("10.9.9.9")
    assert not world.tells(own)


def test_an_engaged_link_stays_and_says_so_when_its_address_is_refused_later(world: World) -> None:
    way = world.routes.begin(NAME, KUBECONFIG)
    way.refusal("10.9.9.9")
    way.verify("10.9.9.9")
    world.engage(way)
    assert world.routes.in_use(NAME).trouble() == ""
    world.denied.append(ipaddress.ip_network("10.9.9.9/32"))
    assert way.refusal("10.9.9.9") is None
    assert "address 10.9.9.9 is of the infra cluster by now" in world.routes.in_use(NAME).trouble()
    assert "--tenant-allowed-cidrs" in world.routes.in_use(NAME).trouble()
    assert world.routes.begin(NAME, KUBECONFIG).refusal("10.9.9.9") is None  # as for a new token of the pods
    assert world.routes.begin(NAME, ANOTHER).refusal("10.9.9.9") == "of the infra cluster"
    assert world.routes.begin("other", KUBECONFIG).refusal("10.9.9.9") == "of the infra cluster"


def test_an_address_that_an_earlier_process_engaged_is_open_to_the_same_server_alone(world: World) -> None:
    world.denied.append(ipaddress.ip_network("10.9.9.9/32"))
    world.routes.recall(NAME, Proven(SERVER, ("10.9.9.9",)))
    assert world.routes.begin(NAME, ANOTHER).refusal("10.9.9.9") == "of the infra cluster"
    assert world.routes.begin("other", KUBECONFIG).refusal("10.9.9.9") == "of the infra cluster"
    way = world.routes.begin(NAME, KUBECONFIG)
    assert way.refusal("10.9.9.9") is None
    assert way.refusal("10.9.9.10") is None
    assert way.refusal("169.254.169.254") == "link-local"
    way.verify("10.9.9.9")
    world.engage(way)
    assert "is of the infra cluster by now" in world.routes.in_use(NAME).trouble()
    assert world.routes.in_use(NAME).proven() == Proven(SERVER, ("10.9.9.9",))


def test_what_is_remembered_is_short_and_in_one_order(world: World) -> None:
    way = world.routes.begin(NAME, KUBECONFIG)
    assert world.routes.in_use(NAME).proven() is None
    for number in (3, 1, 2):
        way.verify(f"10.9.9.{number}")
    world.engage(way)
    assert world.routes.in_use(NAME).proven() == Proven(SERVER, ("10.9.9.1", "10.9.9.2", "10.9.9.3"))
    for number in range(100, 120):
        way.verify(f"10.9.9.{number}")
    assert world.routes.in_use(NAME).proven() == Proven(SERVER, tuple(f"10.9.9.{number}" for number in range(112, 120)))


def test_an_engaged_link_does_not_follow_its_name_to_an_address_that_is_refused(world: World) -> None:
    way = world.routes.begin(NAME, KUBECONFIG)
    way.refusal("10.9.9.9")
    way.verify("10.9.9.9")
    world.engage(way)
    assert way.refusal("169.254.169.254") == "link-local"


def test_of_one_that_is_let_go_nothing_is_known(world: World) -> None:
    way = world.routes.begin(NAME, KUBECONFIG)
    way.verify("10.9.9.9")
    world.engage(way)
    world.routes.forget(NAME)
    world.denied.append(ipaddress.ip_network("10.9.9.9/32"))
    assert world.routes.in_use(NAME).trouble() == ""


def test_of_addresses_without_end_the_last_ones_are_kept(world: World) -> None:
    way = world.routes.begin(NAME, KUBECONFIG)
    for number in range(1000):
        way.verify(f"10.9.{number // 256}.{number % 256}")
    assert len(way.verified()) == 64
