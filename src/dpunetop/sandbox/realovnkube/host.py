"""The tenant host with a DPU: a network namespace whose interfaces are paired with representors on the DPU."""

from __future__ import annotations

import contextlib
import hashlib

from dpunetop.sandbox.realovn.datapath import EXTERNAL_BRIDGE, Dpu
from dpunetop.sandbox.realovn.network import CableEnd, NetworkNamespace, add_network_namespace, connect
from dpunetop.sandbox.realovn.rootfs import Failed

NAME = "host"
"""Of the network namespace."""
GATEWAY, MANAGEMENT = "eth0-0", "eth0-1"
"""The host's uplink to the fabric, and the interface of OVN-Kubernetes' management port."""
_FIRST_OF_PODS = 2


class TenantHost:
    """A host and its interfaces; all after the first two are for pods.

    Raises: Failed.
    """

    def __init__(self, dpu: Dpu, name: str, address: str, functions: int = 6) -> None:
        """`name` and `address` are those of its Node; the address is on the fabric."""
        self.name = name
        self._dpu = dpu
        self._functions = functions
        self._free = list(range(_FIRST_OF_PODS, functions))
        self.place = add_network_namespace(dpu.root, NAME)
        for number in range(functions):
            self._connect(number, f"{address}/{dpu.addresses.prefix}" if number == 0 else None)
        self.place.ip("route", "add", "default", "via", dpu.addresses.fabric, "dev", GATEWAY)

    def plug(self, namespace: str, mac: str, address: str, gateway: str, function: int) -> NetworkNamespace:
        """Move one interface into a new network namespace, which is the pod's, and configure it as OVN chose."""
        pod, interface = add_network_namespace(self._dpu.root, namespace), interface_of(function)
        self.place.ip("link", "set", interface, "netns", namespace)
        pod.ip("link", "set", interface, "address", mac, "up")
        pod.ip("address", "add", address, "dev", interface)
        pod.ip("route", "add", "default", "via", gateway, "dev", interface)
        return pod

    def close(self) -> None:
        """Remove the interfaces."""
        for number in range(self._functions):
            with contextlib.suppress(Failed):
                self._dpu.here.ip("link", "delete", f"rep0-{number}")

    def take_function(self) -> int:
        """The number of an unused interface. Raises: IndexError."""
        return self._free.pop(0)

    def plug_in(self) -> None:
        """Add the representor of the host's uplink to the bridge, as the DPU's administrator does."""
        self._dpu.add_to_bridge(EXTERNAL_BRIDGE, "rep0-0")

    def _connect(self, number: int, address: str | None) -> None:
        connect(
            CableEnd(self._dpu.here, f"rep0-{number}", mac=mac_of(self.name, "dpu", number)),
            CableEnd(self.place, interface_of(number), address, mac_of(self.name, "host", number)),
        )


def interface_of(function: int) -> str:
    """The name of one of the host's interfaces, as `--simulate-dpu` has it."""
    return f"eth0-{function}"


def mac_of(host: str, role: str, number: int) -> str:
    """The MAC address that `--simulate-dpu` expects.

    Source: OVN-Kubernetes at 8871cd9ce, go-controller/pkg/util/dpuops_linux.go `generateMACForHostToDpu`.
    """
    first, second, *_ = hashlib.sha256(f"{host}\0{role}".encode()).digest()
    return f"52:54:00:{first:02x}:{second:02x}:{number:02x}"
