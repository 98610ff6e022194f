"""Which image runs on the DPUs. Containers are found by name, and nothing asks a registry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from dpunetop.domain.names import OVN_KUBERNETES_NAMESPACE, OVNKUBE_NODE
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings

_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}(?:@sha256:[0-9a-f]{64})?")
_PINNED = re.compile(r".*@sha256:[0-9a-f]{64}")
_CONTAINERS = ("ovnkube-node", "ovnkube-controller")
"""The container that runs ovnkube: first its name in a central cluster, then in an interconnect one."""


class ImageSource(Enum):
    """Who said it."""

    SPEC = "spec.image"
    ENVIRONMENT = "OVNKUBE_IMAGE"
    TENANT = "the tenant's DaemonSet ovnkube-node"
    INFRA = "the infra cluster's DaemonSet ovnkube-node"


@dataclass(frozen=True, slots=True)
class ImageView:
    """What may name an image. None means that it was not given, or not found."""

    spec_image: str | None
    environment_image: str | None
    tenant_architecture: str | None
    """`status.desired.architecture` of the tenant's ClusterVersion."""
    tenant_daemonset: Obj | None
    infra_daemonset: Obj | None


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """A reference that may be written into a pod, and who said it."""

    reference: str
    source: ImageSource


@dataclass(frozen=True, slots=True)
class NoImage:
    """One line that says what was looked at and what to do."""

    message: str


def choose_image(view: ImageView) -> ChosenImage | NoImage:
    """The first of: `spec.image`, `OVNKUBE_IMAGE`, the tenant's own if it is built for all architectures, infra's.

    Guarantees: what a person said is taken or refused, never passed over; the tenant's is taken only if it is pinned by
        digest, because it runs privileged here and a tag may be moved.
    """
    for text, source in ((view.spec_image, ImageSource.SPEC), (view.environment_image, ImageSource.ENVIRONMENT)):
        if text:
            return _said(text, source)
    tenant = _container_image(view.tenant_daemonset)
    if view.tenant_architecture == "Multi" and tenant is not None and _PINNED.fullmatch(tenant):
        return ChosenImage(tenant, ImageSource.TENANT)
    infra = _container_image(view.infra_daemonset)
    if infra is not None:
        return ChosenImage(infra, ImageSource.INFRA)
    place = f"{OVN_KUBERNETES_NAMESPACE}/{OVNKUBE_NODE}"
    return NoImage(f"no image: infra has no DaemonSet {place} to take it from; set spec.image or OVNKUBE_IMAGE")


def running_image(daemonset: Obj | None) -> str | None:
    """The image that a DaemonSet of OVN-Kubernetes runs; None if there is none."""
    return _container_image(daemonset)


def _container_image(daemonset: Obj | None) -> str | None:
    """The image of the container that runs ovnkube, found by name; None if there is none or it is no reference."""
    containers = mappings(at(daemonset, "spec", "template", "spec", "containers"))
    images = {str(container.get("name")): container.get("image") for container in containers}
    for name in _CONTAINERS:
        image = images.get(name)
        if isinstance(image, str) and _REFERENCE.fullmatch(image):
            return image
    return None


def _said(text: str, source: ImageSource) -> ChosenImage | NoImage:
    if _REFERENCE.fullmatch(text) is None:
        return NoImage(f"{source.value} is not an image reference such as registry.example.com/ovnkube@sha256:…")
    return ChosenImage(text, source)
