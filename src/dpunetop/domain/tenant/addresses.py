"""Addresses at which no tenant's API server may be: one table of networks with a reason for each, and all forms of IPv6
addresses that lead to an IPv4 one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

METADATA = "of a cloud's metadata service"
"""Refused because it hands out the credentials of the machine that asks."""


@dataclass(frozen=True, slots=True)
class RefusedNetwork:
    """A network, and why no tenant may be there, in words that follow an address in a message."""

    network: Network
    why: str


def _row(network: str, why: str) -> RefusedNetwork:
    return RefusedNetwork(ipaddress.ip_network(network), why)


NO_SERVERS: tuple[RefusedNetwork, ...] = (
    _row("0.0.0.0/8", "unspecified"),
    _row("127.0.0.0/8", "loopback"),
    _row("169.254.0.0/16", "link-local"),  # with the metadata service of most clouds
    _row("224.0.0.0/4", "multicast"),
    _row("240.0.0.0/4", "reserved"),
    _row("::/128", "unspecified"),
    _row("::1/128", "loopback"),
    _row("fe80::/10", "link-local"),
    _row("ff00::/8", "multicast"),
)
"""No host of another cluster has such an address. Source: RFC 6890 and the IANA registries of special addresses."""

REFUSED: tuple[RefusedNetwork, ...] = (
    *NO_SERVERS,
    _row("100.100.100.200/32", METADATA),  # Alibaba Cloud
    _row("168.63.129.16/32", METADATA),  # Azure: the platform's own server on each machine
    _row("192.0.0.192/32", METADATA),  # Oracle Cloud, classic
    _row("fd00:ec2::/32", METADATA),  # AWS: metadata, DNS, time, credentials of pods
    _row("fd20:ce::254/128", METADATA),  # Google Cloud
    _row("fd00:c1::a9fe:a9fe/128", METADATA),  # Oracle Cloud
    _row("fd00:42::42/128", METADATA),  # Scaleway
    _row("100.64.0.0/10", "shared among a provider's machines"),  # RFC 6598; also for networks within a node
    _row("192.0.0.0/24", "set aside for protocols"),  # RFC 6890
    _row("fec0::/10", "site-local"),  # RFC 3879
    _row("64:ff9b:1::/48", "translated to IPv4 by a local rule"),  # RFC 8215
)
"""The whole table; the first row that holds an address says why."""

_LOW_BITS: tuple[ipaddress.IPv6Network, ...] = (
    ipaddress.IPv6Network("::/96"),  # compatible, RFC 4291
    ipaddress.IPv6Network("::ffff:0:0/96"),  # mapped, RFC 4291
    ipaddress.IPv6Network("::ffff:0:0:0/96"),  # translated, RFC 2765
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
)
"""Forms with the IPv4 address in the last 32 bits."""
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")  # RFC 3056
_TEREDO = ipaddress.IPv6Network("2001::/32")  # RFC 4380
_ISATAP = 0x5EFE  # RFC 5214; the bit before it says whether the address is unique in the world
_WORD = 0xFFFFFFFF


def embedded(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address may lead to, in any of these forms."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    bits = int(address)
    if any(address in form for form in _LOW_BITS) or (bits >> 32) & 0xFDFFFFFF == _ISATAP:
        yield ipaddress.IPv4Address(bits & _WORD)
    if address in _SIX_TO_FOUR:
        yield ipaddress.IPv4Address((bits >> 80) & _WORD)
    if address in _TEREDO:
        yield ipaddress.IPv4Address((bits >> 64) & _WORD)  # the server
        yield ipaddress.IPv4Address(~bits & _WORD)  # the client, with each bit inverted


def refused_address(address: str, allowed: Sequence[Network], denied: Sequence[Network] = ()) -> str | None:
    """Why a tenant's API server must not be at `address` (words such as `loopback`), or None if it may be.

    `allowed` overrules everything; `denied` are networks of the infra cluster. An IPv4 address that is wrapped into
    an IPv6 one counts as both. Asked for each address at each connection, after the name was resolved.
    """
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return "not an address"
    if any(given in network for network in allowed):
        return None
    for candidate in (given, *embedded(given)):
        if (why := _why(candidate, REFUSED)) is not None:
            return why
        if any(candidate in network for network in denied):
            return "of the infra cluster"
    return None


def is_allowed(address: str, allowed: Sequence[Network]) -> bool:
    """Whether one of these networks, which an administrator has named, holds the address."""
    return any(ipaddress.ip_address(address) in network for network in allowed)


def may_be_a_host(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether an address of this kind may belong to a machine of the tenant; `allowed` overrules the table."""
    if any(address in network for network in allowed):
        return True
    return all(_why(candidate, NO_SERVERS) is None for candidate in (address, *embedded(address)))


def _why(address: Address, table: Sequence[RefusedNetwork]) -> str | None:
    return next((row.why for row in table if address in row.network), None)
