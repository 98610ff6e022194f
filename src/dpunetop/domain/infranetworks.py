"""Where infra's own servers, Services and pods are: no tenant's API server is looked for there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping

from dpunetop.domain.tenantkubeconfig import Network
from dpunetop.kube.meta import Obj


def networks_of_services(service_cidrs: Iterable[Obj]) -> Iterator[Network]:
    """What the ServiceCIDRs of infra say; Kubernetes has them from 1.33 on."""
    return _networks(text for each in service_cidrs for text in _texts(each, "spec", "cidrs"))


def networks_of_openshift(configs: Iterable[Obj]) -> Iterator[Network]:
    """Networks of pods and Services, from the Network of an OpenShift cluster; what is and what is to be."""
    return _networks(text for each in configs for part in ("spec", "status") for text in _cluster_networks(each, part))


def networks_of_nodes(nodes: Iterable[Obj]) -> Iterator[Network]:
    """Networks of pods, where the cluster gives each node its part by the Node itself."""
    return _networks(text for each in nodes for text in _texts(each, "spec", "podCIDRs"))


def addresses_of_servers(slices: Iterable[Obj]) -> Iterator[Network]:
    """Where the API servers themselves listen, from the EndpointSlices of Service `kubernetes`."""
    endpoints = (endpoint for each in slices for endpoint in _list(each.get("endpoints")))
    return _networks(text for endpoint in endpoints for text in _list(_mapping(endpoint).get("addresses")))


def networks_of_addresses(addresses: Iterable[str]) -> Iterator[Network]:
    """Networks that hold these addresses and no others."""
    return _networks(addresses)


def _cluster_networks(config: Obj, part: str) -> Iterator[object]:
    yield from _texts(config, part, "serviceNetwork")
    yield from (_mapping(each).get("cidr") for each in _texts(config, part, "clusterNetwork"))


def _networks(texts: Iterable[object]) -> Iterator[Network]:
    for text in texts:
        try:
            yield ipaddress.ip_network(str(text), strict=False)
        except ValueError:
            continue  # infra has said something that is no network: then nothing is in it


def _texts(obj: Obj, part: str, member: str) -> list[object]:
    return _list(_mapping(obj.get(part)).get(member))


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
