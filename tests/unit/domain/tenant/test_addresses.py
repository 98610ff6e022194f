"""Where no tenant's API server may be, however the address is written."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

import pytest

from dpunetop.domain.tenant.addresses import (
    METADATA,
    NO_SERVERS,
    REFUSED,
    Network,
    RefusedNetwork,
    may_be_a_host,
    refused_address,
)

INFRA = [ipaddress.ip_network("172.30.0.0/16")]
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]
ADDRESSES = {
    "127.0.0.1": "loopback",
    "127.9.9.9": "loopback",
    "::1": "loopback",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "::": "unspecified",
    "169.254.169.254": "link-local",
    "169.254.170.23": "link-local",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "fe80::a9fe:a9fe": "link-local",
    "224.0.0.1": "multicast",
    "ff02::1": "multicast",
    "255.255.255.255": "reserved",
    "100.100.100.200": METADATA,
    "168.63.129.16": METADATA,
    "192.0.0.192": METADATA,
    "fd00:ec2::254": METADATA,
    "fd00:ec2::23": METADATA,
    "fd20:ce::254": METADATA,
    "fd00:c1::a9fe:a9fe": METADATA,
    "fd00:42::42": METADATA,
    "100.64.0.1": "shared among a provider's machines",
    "100.127.255.255": "shared among a provider's machines",
    "192.0.0.8": "set aside for protocols",
    "fec0::1": "site-local",
    "64:ff9b:1::a00:1": "translated to IPv4 by a local rule",
    "172.30.0.1": "of the infra cluster",
    "2001:0:a9fe:a9fe::": "link-local",
    "localhost": "not an address",
    "": "not an address",
    "10.0.0.1": None,
    "100.63.255.255": None,
    "100.128.0.0": None,
    "192.0.1.1": None,
    "168.63.129.17": None,
    "203.0.113.9": None,
    "fd00::1": None,
    "fd00:ec3::254": None,
    "2001:4860::8888": None,
    "64:ff9b::cb00:7109": None,
    "2002:cb00:7109::1": None,
}


@pytest.mark.parametrize(("address", "expected"), ADDRESSES.items())
def test_addresses_where_no_tenant_may_be_are_named(address: str, expected: str | None) -> None:
    assert refused_address(address, [], INFRA) == expected


FORMS: Mapping[str, Callable[[int], int]] = {
    "compatible": lambda v4: v4,
    "mapped": lambda v4: (0xFFFF << 32) | v4,
    "translated": lambda v4: (0xFFFF << 48) | v4,
    "NAT64": lambda v4: (0x0064FF9B << 96) | v4,
    "NAT64 by a local rule": lambda v4: (0x0064FF9B0001 << 80) | v4,
    "6to4": lambda v4: (0x2002 << 112) | (v4 << 80) | 1,
    "Teredo, server": lambda v4: (0x20010000 << 96) | (v4 << 64) | 0x1234,
    "Teredo, client": lambda v4: (0x20010000 << 96) | (0xCB007109 << 64) | (v4 ^ 0xFFFFFFFF),
    "ISATAP": lambda v4: (0x20010DB8 << 96) | (0x00005EFE << 32) | v4,
    "ISATAP, unique": lambda v4: (0x20010DB8 << 96) | (0x02005EFE << 32) | v4,
}
OF_IPV4 = [row for row in (*REFUSED, RefusedNetwork(INFRA[0], "of the infra cluster")) if row.network.version == 4]


@pytest.mark.parametrize("row", OF_IPV4, ids=[str(row.network) for row in OF_IPV4])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_an_address_that_is_refused_is_so_in_each_form_of_ipv6(form: Callable[[int], int], row: RefusedNetwork) -> None:
    for address in (row.network.network_address, row.network.broadcast_address):
        assert refused_address(str(ipaddress.IPv6Address(form(int(address)))), [], INFRA) is not None


@pytest.mark.parametrize("row", REFUSED, ids=[str(row.network) for row in REFUSED])
def test_each_row_is_needed_and_ends_where_it_says(row: RefusedNetwork) -> None:
    for address in (row.network.network_address, row.network.broadcast_address):
        assert refused_address(str(address), []) is not None
    assert refused_address(str(row.network[0]), [row.network]) is None


def test_an_allowed_network_overrules_but_only_there() -> None:
    assert refused_address("127.0.0.1", LOOPBACK) is None
    assert refused_address("::1", LOOPBACK) == "loopback"
    assert refused_address("::ffff:127.0.0.1", LOOPBACK) == "loopback"
    assert refused_address("172.30.0.1", INFRA, INFRA) is None


@pytest.mark.parametrize("row", NO_SERVERS, ids=[str(row.network) for row in NO_SERVERS])
def test_no_machine_of_a_tenant_has_an_address_of_another_kind(row: RefusedNetwork) -> None:
    allowed: list[Network] = [row.network]
    assert not may_be_a_host(row.network.network_address, [])
    assert may_be_a_host(row.network.network_address, allowed)


def test_a_machine_of_a_tenant_may_have_an_address_that_providers_share() -> None:
    assert may_be_a_host(ipaddress.ip_address("100.64.0.1"), [])
    assert not may_be_a_host(ipaddress.ip_address("::ffff:127.0.0.1"), [])
