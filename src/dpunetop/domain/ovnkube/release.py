"""Which release of OVN-Kubernetes a tenant runs, and whether we can run our half of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dpunetop.domain.ovnkube.image import ChosenImage, ImageSource, is_pinned, running_image
from dpunetop.domain.ovnkube.topology import Topology
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings

RELEASE_ANNOTATION = "release.openshift.io/version"
"""On objects that the cluster network operator renders: its release. During an upgrade some still have the old one."""

_RELEASE_VARIABLE = "OVN_DAEMONSET_VERSION"
_VERSION = re.compile(r"([0-9]{1,3})\.([0-9]{1,3})(?:[.+-][0-9A-Za-z.+-]{0,60})?")
_LONGEST_COMMANDS = 128 * 1024
_LAST_CENTRAL = (4, 13)
_FIRST_INTERCONNECT = (4, 20)
_FIRST_UPSTREAM = (1, 3)


@dataclass(frozen=True, slots=True)
class SettingsFinding:
    """A finding: a reason for a condition, and one line."""

    reason: str
    message: str


class Flavour(Enum):
    """The program that renders OVN-Kubernetes in the tenant, which decides where its settings are."""

    OPENSHIFT = "OpenShift"
    UPSTREAM = "OVN-Kubernetes"


@dataclass(frozen=True, slots=True)
class Release:
    """A release, as far as it matters here."""

    flavour: Flavour
    version: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.flavour.value} {self.version[0]}.{self.version[1]}"


def release_of(node_daemonset: Obj | None, cluster_version: Obj | None) -> Release | None:
    """The release of the tenant's `ovnkube-node`; None: not known.

    Guarantees: the DaemonSet's own annotation comes first, because in an upgrade the ClusterVersion is ahead of it.
    """
    annotated = _parsed(at(node_daemonset, "metadata", "annotations", RELEASE_ANNOTATION))
    found = annotated or _parsed(at(cluster_version, "status", "desired", "version"))
    if found is not None:
        return Release(Flavour.OPENSHIFT, found)
    upstream = _parsed(variables(node_daemonset).get(_RELEASE_VARIABLE, {}).get("value"))
    return None if upstream is None else Release(Flavour.UPSTREAM, upstream)


def release_of_image(image: str | None, daemonsets: Iterable[Obj | None]) -> Release | None:
    """The release of an image, from the DaemonSet that runs the same image; None: none does, or it does not name its
    release.

    Guarantees: an image without a digest has no release, since its tag may be moved.
    """
    if image is None or not is_pinned(image):
        return None
    same = (daemonset for daemonset in daemonsets if running_image(daemonset) == image)
    return next(filter(None, (release_of(daemonset, None) for daemonset in same)), None)


def flavour_of(release: Release | None, tenant_namespace: str) -> Flavour:
    """The flavour of a release; without a release, that of the tenant's namespace."""
    if release is not None:
        return release.flavour
    return Flavour.OPENSHIFT if tenant_namespace.startswith("openshift-") else Flavour.UPSTREAM


def unsupported(topology: Topology, release: Release | None) -> SettingsFinding | None:
    """Why a tenant of this release is not served, for `TopologySupported`; None: it is, or its release is not known.

    Guarantees: an unknown release does not stop running pods.
    """
    if release is None or _is_supported(topology, release):
        return None
    served = "central up to OpenShift 4.13; interconnect from OpenShift 4.20 and OVN-Kubernetes 1.3"
    words = f"{release} with topology {topology.value} is not supported ({served}); what runs is kept as it is"
    return SettingsFinding("VersionNotSupported", words)


def image_skew(image: ChosenImage, tenant: Release | None, infra: Release | None) -> SettingsFinding | None:
    """The finding about an image of another release than the tenant's; None: they are equal, or a release is not
    known."""
    if image.source is not ImageSource.INFRA or tenant is None or infra is None or tenant == infra:
        return None
    words = f"the DPUs run the image of infra, {infra}, for a tenant of {tenant}; set spec.image to one of its release"
    return SettingsFinding("ImageSkew", words)


def _is_supported(topology: Topology, release: Release) -> bool:
    if release.flavour is Flavour.UPSTREAM:
        return topology is Topology.INTERCONNECT and release.version >= _FIRST_UPSTREAM
    if topology is Topology.CENTRAL:
        return release.version <= _LAST_CENTRAL
    return topology is Topology.INTERCONNECT and release.version >= _FIRST_INTERCONNECT


def _parsed(text: object) -> tuple[int, int] | None:
    match = _VERSION.fullmatch(text) if isinstance(text, str) else None
    return None if match is None else (int(match.group(1)), int(match.group(2)))


def variables(daemonset: Obj | None) -> Mapping[str, Mapping[str, Any]]:
    """Environment variables of a DaemonSet's containers, by name; the first of each name.

    Raises: nothing, whatever the shape of what a tenant sent.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for container in containers(daemonset):
        for variable in mappings(container.get("env")):
            name = variable.get("name")
            if isinstance(name, str):
                found.setdefault(name, variable)
    return found


def containers(daemonset: Obj | None) -> Iterator[Mapping[str, Any]]:
    """The containers of a DaemonSet.

    Raises: nothing, whatever the shape of what a tenant sent.
    """
    return iter(mappings(at(daemonset, "spec", "template", "spec", "containers")))


def commands(daemonset: Obj | None) -> str:
    """The commands, arguments and lifecycle hooks of a DaemonSet's containers; at most 128 KiB of text.

    Raises: nothing, whatever the shape of what a tenant sent.
    """
    places = (("command",), ("args",), ("lifecycle", "postStart", "exec", "command"))
    lists = (at(container, *place) for container in containers(daemonset) for place in places)
    words = (word for found in lists if isinstance(found, list) for word in found if isinstance(word, str))
    return "\n".join(words)[:_LONGEST_COMMANDS]
