"""Network namespaces beside the DPU's, and the veth pairs between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dpunetop.sandbox.realovn.rootfs import Root


@dataclass(frozen=True)
class NetworkNamespace:
    """A network namespace: the DPU's own, or one beside it by name, such as the fabric and the host."""

    node: Root
    name: str | None = None

    def __str__(self) -> str:
        return self.name or "the DPU"

    def ip(self, *arguments: str) -> str:
        """Run `ip` in this namespace. Raises: Failed."""
        return self.node.run("ip", *(("-n", self.name) if self.name else ()), *arguments)

    def run(self, *command: str) -> str:
        """Run a command of the DPU's root in this namespace. Raises: Failed."""
        return self.node.run(*self._enter(), *command)

    def argv(self, command: Sequence[str]) -> list[str]:
        """The argv that runs a command of this machine, such as this Python, in this namespace."""
        if self.name is None:
            return list(command)
        return ["nsenter", f"--net={self.node.inside(f'/run/netns/{self.name}')}", "--", *command]

    def _enter(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.name) if self.name else ()


@dataclass(frozen=True)
class CableEnd:
    """One end of a veth pair."""

    place: NetworkNamespace
    name: str
    address: str | None = None
    """With its prefix length."""
    mac: str | None = None


def add_network_namespace(node: Root, name: str) -> NetworkNamespace:
    """Create a network namespace of this name with loopback up; the DPU's root shows it below `/run/netns`."""
    node.run("ip", "netns", "add", name)
    place = NetworkNamespace(node, name)
    place.ip("link", "set", "lo", "up")
    return place


def connect(one: CableEnd, other: CableEnd) -> None:
    """Create a veth pair between two network namespaces, both ends up.

    Both ends compute checksums in software: Open vSwitch's userspace datapath drops frames whose checksum a kernel left
    to the network card.
    """
    one.place.ip("link", "add", one.name, "type", "veth", "peer", "name", other.name, *_netns(other))
    for end in (one, other):
        if end.mac is not None:
            end.place.ip("link", "set", end.name, "address", end.mac)
        if end.address is not None:
            end.place.ip("address", "add", end.address, "dev", end.name)
        end.place.run("ethtool", "-K", end.name, "tx", "off")
        end.place.ip("link", "set", end.name, "up")


def _netns(end: CableEnd) -> tuple[str, ...]:
    # Process 1 is in the DPU's.
    return ("netns", end.place.name or "1")
