"""Rule 4, proof: the annotations that a DPU's OVN-Kubernetes writes onto the Node of its host, by release.

The DPU's own image writes them, so its release counts, not the tenant's. The table leaves out: on a host with a DPU the
host's half writes `k8s.ovn.org/host-cidrs`, `k8s.ovn.org/primary-dpu-host-addr` and `k8s.ovn.org/node-mgmt-port`, and
the cluster manager subnets, transit addresses and `k8s.ovn.org/node-id`: they show nothing about the DPU.
`k8s.ovn.org/node-primary-ifaddr` comes in one patch with the gateway, copied from what the host wrote.
`k8s.ovn.org/gateway-mtu-support` is there only where something is not supported.

All of them stay on the Node when the DPU reboots, and it writes the same again: they describe the network, while the
containers of this boot and the Lease show that it works now.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dpunetop.base import jsonio
from dpunetop.domain.names import CHASSIS_ANNOTATION, ENCAP_IPS_ANNOTATION, GATEWAY_ANNOTATION, ZONE_ANNOTATION
from dpunetop.domain.ovnkube.release import Flavour, Release
from dpunetop.kube.shapes import at

_MOST_CHARS = 16_384


@dataclass(frozen=True, slots=True)
class EveryRelease:
    """Every known release gives it, so an unknown one is expected to give it too: a host that is held until a person
    forces it is safer than one that is given back without a network."""


@dataclass(frozen=True, slots=True)
class Between:
    """Releases from `first` to `last` give it for certain; any other or unknown release need not."""

    first: tuple[int, int]
    last: tuple[int, int]


@dataclass(frozen=True, slots=True)
class NotCertain:
    """The releases of the flavour that give it cannot be told from those that do not; it is not required."""


Given = EveryRelease | Between | NotCertain


@dataclass(frozen=True, slots=True)
class Sign:
    """One annotation on the Node of a host."""

    annotation: str
    shows: Callable[[str, str], bool]
    """Whether a value, of any shape, is one that the DPU of that host writes."""
    given: Mapping[Flavour, Given]
    """Which releases write it, for every flavour."""

    def is_demanded(self, release: Release | None) -> bool:
        """Whether a DPU that runs this release must have written it; None: the release is unknown."""
        if release is None:
            return all(isinstance(given, EveryRelease) for given in self.given.values())
        match self.given[release.flavour]:
            case Between(first, last):
                return first <= release.version <= last
            case EveryRelease():
                return True
            case NotCertain():
                return False


def _is_zone(value: str, host: str) -> bool:
    return value == host


def _has_address(value: str, _: str) -> bool:
    found = _parsed(value)
    return isinstance(found, list) and any(_is_address(each) for each in found)


def _is_gateway(value: str, host: str) -> bool:
    """The port of the gateway's bridge has the name of the host: `<bridge>_<host>`."""
    port = at(_parsed(value), "default", "interface-id")
    return isinstance(port, str) and port.endswith(f"_{host}")


def _is_there(value: str, _: str) -> bool:
    return bool(value.strip())


_ALL: Mapping[Flavour, Given] = {Flavour.OPENSHIFT: EveryRelease(), Flavour.UPSTREAM: EveryRelease()}

# In the order in which ovnkube writes them in mode `dpu`. Sources: go-controller/pkg/node of ovn-kubernetes at
# release-1.0 to release-1.3 and at 8871cd9ce (master, 2026-08-21); of OpenShift's own, which follows it, the options
# that the cluster network operator passes (bindata/network/ovn-kubernetes/common/008-script-lib.yaml, release-4.20 to
# release-5.2).
SIGNS: tuple[Sign, ...] = (
    # default_node_network_controller.go, Init: up to 1.3 in one patch with the next, once the databases had the zone.
    # Taken out by 41f539cb2 (on master since August 2026), whose charts go on saying OVN_DAEMONSET_VERSION 1.3.0: the
    # version does not tell. OpenShift's operator passes `--zone` without asking on all branches, but only those that
    # are out for good will not follow a master that has no such option any more. The host's half writes it too
    # (release-1.3, same place): it says whose the zone is, not that it works.
    Sign(
        ZONE_ANNOTATION,
        _is_zone,
        {Flavour.OPENSHIFT: Between((4, 20), (4, 22)), Flavour.UPSTREAM: NotCertain()},
    ),
    # default_node_network_controller.go, Init: not in mode `dpu-host`, which has no such address.
    Sign(ENCAP_IPS_ANNOTATION, _has_address, _ALL),
    # gateway.go, gatewayInitInternal, and gateway_init.go, initGatewayPreStart: once ovnkube has its subnets and the
    # bridge. In mode `dpu-host` it is not written. It names the host, as the zone did.
    Sign(GATEWAY_ANNOTATION, _is_gateway, _ALL),
    # util/node_annotations.go, SetL3GatewayConfig: in one patch with the gateway.
    Sign(CHASSIS_ANNOTATION, _is_there, _ALL),
)


def _parsed(value: str) -> object:
    """A JSON document of the tenant; None if it is not one, or is too long."""
    if len(value) > _MOST_CHARS:
        return None
    try:
        return jsonio.loads(value)
    except (jsonio.DecodeError, UnicodeEncodeError):
        return None


def _is_address(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(ipaddress.ip_address(value))
    except ValueError:
        return False
