"""The networks of infra's own servers, Services and pods: no tenant's API server may be there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from dpunetop.domain.tenant.addresses import Network
from dpunetop.kube.compact import addresses_of
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings


def networks_of_services(service_cidrs: Iterable[Obj]) -> Iterator[Network]:
    """Networks of the ServiceCIDRs of infra; Kubernetes has them from 1.33 on."""
    return _networks(text for each in service_cidrs for text in _list(at(each, "spec", "cidrs")))


def networks_of_openshift(configs: Iterable[Obj]) -> Iterator[Network]:
    """Networks of pods and Services, from the spec and the status of an OpenShift cluster's Network."""
    return _networks(text for each in configs for part in ("spec", "status") for text in _said(at(each, part)))


def networks_of_nodes(nodes: Iterable[Obj]) -> Iterator[Network]:
    """The addresses of each Node, and its pod CIDRs where it has some."""
    for each in nodes:
        yield from _networks(_list(at(each, "spec", "podCIDRs")))
        yield from _networks(addresses_of(each))


def addresses_of_servers(slices: Iterable[Obj]) -> Iterator[Network]:
    """Where the API servers themselves listen, from the EndpointSlices of Service `kubernetes`."""
    endpoints = (endpoint for each in slices for endpoint in mappings(each.get("endpoints")))
    return _networks(text for endpoint in endpoints for text in _list(endpoint.get("addresses")))


def networks_of_addresses(addresses: Iterable[str]) -> Iterator[Network]:
    """Networks that hold these addresses and no others."""
    return _networks(addresses)


def _said(networks: object) -> Iterator[object]:
    yield from _list(at(networks, "serviceNetwork"))
    yield from (each.get("cidr") for each in mappings(at(networks, "clusterNetwork")))


def _networks(texts: Iterable[object]) -> Iterator[Network]:
    for text in texts:
        try:
            yield ipaddress.ip_network(str(text), strict=False)
        except ValueError:
            continue  # infra's text is not a network: nothing can be in it


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
