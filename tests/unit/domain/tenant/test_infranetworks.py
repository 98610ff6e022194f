from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from dpunetop.domain.tenant.addresses import Network, refused_address
from dpunetop.domain.tenant.infranetworks import (
    addresses_of_servers,
    networks_of_addresses,
    networks_of_nodes,
    networks_of_openshift,
    networks_of_services,
)


def texts(networks: Iterable[Network]) -> list[str]:
    return [str(network) for network in networks]


def test_a_service_cidr_names_each_of_its_networks() -> None:
    found = networks_of_services([{"spec": {"cidrs": ["10.96.0.0/16", "fd00::/112"]}}, {"spec": {}}])
    assert texts(found) == ["10.96.0.0/16", "fd00::/112"]


def test_openshift_names_networks_of_pods_and_services_that_are_and_that_are_to_be() -> None:
    now = {"clusterNetwork": [{"cidr": "10.128.0.0/14", "hostPrefix": 23}], "serviceNetwork": ["172.30.0.0/16"]}
    soon = {"clusterNetwork": [{"cidr": "10.132.0.0/14"}], "serviceNetwork": ["172.30.0.0/16"]}
    found = networks_of_openshift([{"spec": soon, "status": now}])
    assert set(texts(found)) == {"10.128.0.0/14", "10.132.0.0/14", "172.30.0.0/16"}


def test_each_node_names_its_part_of_the_pods_network() -> None:
    assert texts(networks_of_nodes([{"spec": {"podCIDRs": ["10.244.1.0/24", "fd01::/64"]}}, {"spec": {}}, {}])) == [
        "10.244.1.0/24",
        "fd01::/64",
    ]


def test_the_servers_are_where_their_endpoints_are() -> None:
    slices: list[dict[str, Any]] = [
        {"endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["fd00::1"]}]},
        {"endpoints": None},
    ]
    assert texts(addresses_of_servers(slices)) == ["10.0.0.1/32", "fd00::1/128"]


@pytest.mark.parametrize("odd", ["", "x", "10.0.0.0/33", None, 7.5, [7], {"cidr": 1}])
def test_what_is_no_network_is_passed_over(odd: object) -> None:
    assert texts(networks_of_services([{"spec": {"cidrs": [odd, "10.96.0.0/16"]}}])) == ["10.96.0.0/16"]
    assert texts(networks_of_openshift([{"spec": {"clusterNetwork": odd, "serviceNetwork": odd}, "status": odd}])) == []
    assert texts(addresses_of_servers([{"endpoints": [odd, {"addresses": odd}]}])) == []


def test_no_tenant_is_looked_for_in_networks_of_infra_however_its_address_is_written() -> None:
    denied = tuple(networks_of_addresses(["172.30.0.1", "fe80::1%eth0"]))
    for written in ("172.30.0.1", "::ffff:172.30.0.1", "64:ff9b::ac1e:1"):
        assert refused_address(written, (), denied) == "of the infra cluster"
    assert refused_address("172.30.0.2", (), denied) is None
    assert refused_address("172.30.0.1", denied, denied) is None
