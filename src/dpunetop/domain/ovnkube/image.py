"""The image that runs on the DPUs: infra's administrator has to allow it, because these pods are root there.

Containers are found by name, and nothing asks a registry. References are compared as text: each node decides for itself
what a short name, another spelling of a registry or another port means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from dpunetop.base.quoting import quoted
from dpunetop.domain.names import OVN_KUBERNETES_NAMESPACE, OVNKUBE_NODE
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings

ALLOWED_IMAGES_SETTING = "--allowed-images [ALLOWED_IMAGES]"
NOT_ALLOWED = "ImageNotAllowed"
"""Reason of `OvnKubeReady` where an image is named that infra's administrator does not allow."""

_MOST_CHARS = 512
_SHOWN_CHARS = 200
_SHOWN_ENTRIES = 5
_REGISTRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}(?::[0-9]{1,5})?")
_COMPONENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CONTAINERS = ("ovnkube-node", "ovnkube-controller")
"""The container that runs ovnkube: first its name in a central cluster, then in an interconnect one."""
_INFRA = f"{OVN_KUBERNETES_NAMESPACE}/{OVNKUBE_NODE}"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image by its parts; empty: the reference does not have that part."""

    repository: str
    """With its registry, where one is named."""
    tag: str
    digest: str


def parse_reference(text: str) -> Reference | None:
    """Take a reference apart; None: not a reference, or an ambiguous one.

    Source: the grammar of github.com/distribution/reference; narrower where that takes capitals for a registry.
    """
    if len(text) > _MOST_CHARS:
        return None
    named, at_sign, digest = text.partition("@")
    path, slash, last = named.rpartition("/")
    last, colon, tag = last.partition(":")
    repository = path + slash + last
    if (colon and not _TAG.fullmatch(tag)) or (at_sign and not _DIGEST.fullmatch(digest)):
        return None
    return Reference(repository, tag, digest) if _is_repository(repository) else None


@dataclass(frozen=True, slots=True)
class AllowedImages:
    """Repositories, and paths that end in `/` with all that is under them."""

    entries: tuple[str, ...]

    def admit(self, reference: Reference) -> bool:
        """Whether its repository is one of these, or under one of the paths."""
        repository = reference.repository
        return any(
            repository.startswith(entry) if entry.endswith("/") else repository == entry for entry in self.entries
        )

    def __str__(self) -> str:
        rest = len(self.entries) - _SHOWN_ENTRIES
        return ", ".join(self.entries[:_SHOWN_ENTRIES]) + (f" and {rest} more" if rest > 0 else "")


def entry_problem(entry: str) -> str:
    """Why `entry` cannot stand among allowed images; empty: it can."""
    example = f"{entry}x" if entry.endswith("/") else entry
    reference = parse_reference(example)
    if reference is None:
        return "is no repository such as registry.example/team/ovnkube, and no path that ends in /"
    if reference.repository != example:
        return "has a tag or a digest: give the repository alone"
    if not _names_registry(example):
        return "names no registry: each node would decide which one that is"
    return ""


class ImageSource(Enum):
    """Who named the image."""

    SPEC = "spec.image"
    ENVIRONMENT = "OVNKUBE_IMAGE"
    TENANT = "the tenant's DaemonSet ovnkube-node"
    INFRA = "the infra cluster's DaemonSet ovnkube-node"


@dataclass(frozen=True, slots=True)
class ImageView:
    """The places that may name an image. None: not set, or not found."""

    spec_image: str | None
    environment_image: str | None
    tenant_architecture: str | None
    """`status.desired.architecture` of the tenant's ClusterVersion."""
    tenant_daemonset: Obj | None
    infra_daemonset: Obj | None
    allowed: AllowedImages | None = None
    """The repositories that infra's administrator lets others name; None: `spec.image` may name one that infra itself
    uses."""


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """A reference that may be written into a pod, and who named it."""

    reference: str
    source: ImageSource


@dataclass(frozen=True, slots=True)
class NoImage:
    """One line that says which places were looked at and what to do."""

    message: str
    reason: str = "NoImage"


def choose_image(view: ImageView) -> ChosenImage | NoImage:
    """The first of: `spec.image`, `OVNKUBE_IMAGE`, the tenant's own if it is built for all architectures, infra's.

    Guarantees: the first one that is set is taken or refused, never skipped. An image that infra's administrator did
        not name himself is taken only from repositories that he allows. The tenant's is taken only if he named its
        repository, since one repository has all releases, and only by digest, since a tag may be moved.
    """
    if view.spec_image:
        return _from_spec(view, view.spec_image)
    if view.environment_image:
        return _said(view.environment_image, ImageSource.ENVIRONMENT)
    tenant = running_image(view.tenant_daemonset)
    if view.tenant_architecture == "Multi" and tenant is not None:
        return _from_tenant(view, tenant)
    return _from_infra(view.infra_daemonset, "spec.image or OVNKUBE_IMAGE")


def blocker_image(operator: str | None, environment: str | None, infra_daemonset: Obj | None) -> str | NoImage:
    """The image of the blockers: `OPERATOR_IMAGE`, `OVNKUBE_IMAGE`, or infra's own, whatever runs on the DPUs."""
    if operator:
        return operator
    found = _said(environment, ImageSource.ENVIRONMENT) if environment else None
    found = found or _from_infra(infra_daemonset, "OPERATOR_IMAGE or OVNKUBE_IMAGE")
    return found if isinstance(found, NoImage) else found.reference


def is_pinned(image: str) -> bool:
    """Whether a reference always names the same image."""
    found = parse_reference(image)
    return found is not None and bool(found.digest)


def running_image(daemonset: Obj | None) -> str | None:
    """The image of the container that runs ovnkube, found by name; None without one, or where it is not a reference."""
    containers = mappings(at(daemonset, "spec", "template", "spec", "containers"))
    images = {str(container.get("name")): container.get("image") for container in containers}
    for name in _CONTAINERS:
        image = images.get(name)
        if isinstance(image, str) and parse_reference(image):
            return image
    return None


def _from_spec(view: ImageView, text: str) -> ChosenImage | NoImage:
    chosen, reference = _said(text, ImageSource.SPEC), parse_reference(text)
    allowed = view.allowed or _in_use(view)
    if reference is None or allowed.admit(reference):
        return chosen
    words = (
        f"spec.image {quoted(text, _SHOWN_CHARS)} is not used: {ALLOWED_IMAGES_SETTING} does not name its repository "
        f"({_list(view.allowed, allowed)}); what runs stays as it is"
    )
    return NoImage(words, NOT_ALLOWED)


def _from_tenant(view: ImageView, text: str) -> ChosenImage | NoImage:
    reference = parse_reference(text)
    if reference and reference.digest and view.allowed and view.allowed.admit(reference):
        return ChosenImage(text, ImageSource.TENANT)
    words = (
        f"the tenant is built for all architectures, but its image {quoted(text, _SHOWN_CHARS)} is not used: it needs "
        f"a digest, and {ALLOWED_IMAGES_SETTING} has to name its repository; do so, or set spec.image; what runs stays"
        " as it is"
    )
    return NoImage(words, NOT_ALLOWED)


def _from_infra(daemonset: Obj | None, settings: str) -> ChosenImage | NoImage:
    if image := running_image(daemonset):
        return ChosenImage(image, ImageSource.INFRA)
    return NoImage(f"no image: infra has no DaemonSet {_INFRA} to take it from; set {settings}")


def _in_use(view: ImageView) -> AllowedImages:
    """The repositories that infra's administrator runs himself."""
    images = (view.environment_image or "", running_image(view.infra_daemonset) or "")
    references = (parse_reference(image) for image in images)
    return AllowedImages(tuple(dict.fromkeys(each.repository for each in references if each is not None)))


def _list(given: AllowedImages | None, allowed: AllowedImages) -> str:
    if given is not None:
        return f"it says {given}"
    return f"it is not set, so that only {allowed} is" if allowed.entries else "it is not set"


def _said(text: str, source: ImageSource) -> ChosenImage | NoImage:
    if parse_reference(text) is None:
        return NoImage(f"{source.value} is not an image reference such as registry.example.com/ovnkube@sha256:...")
    return ChosenImage(text, source)


def _is_repository(text: str) -> bool:
    first, *rest = text.split("/")
    is_registry = _names_registry(text)
    if is_registry and not (_REGISTRY.fullmatch(first) and _is_plain(first)):
        return False
    return all(_COMPONENT.fullmatch(each) and _is_plain(each) for each in (rest if is_registry else (first, *rest)))


def _names_registry(repository: str) -> bool:
    first, slash, _ = repository.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost")


def _is_plain(part: str) -> bool:
    """Whether its dots can be read in one way only."""
    return ".." not in part and part[-1] not in "._-"
