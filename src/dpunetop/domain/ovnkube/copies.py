"""The copies of the tenant's objects: only listed keys, checked and rendered again."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from dpunetop.base import jsonio
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.names import (
    OVN_CA,
    OVN_CERT,
    OVNKUBE_CONFIG,
    TENANT_CREDENTIAL,
    TENANT_CREDENTIAL_KEY,
    field_manager,
)
from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, parse_ovnkube_conf, render_ovnkube_conf
from dpunetop.domain.ovnkube.release import Flavour
from dpunetop.domain.ovnkube.topology import Topology
from dpunetop.domain.tenant.pem import BadPem, certificates, private_key
from dpunetop.kube.fieldsets import projection
from dpunetop.kube.keys import CONFIGMAPS, SECRETS, Resource
from dpunetop.kube.meta import Obj, is_terminating, name_of, new_object
from dpunetop.kube.shapes import at

T = TypeVar("T")

_CERT_KEY, _PRIVATE_KEY, _CA_KEY, _CONF_KEY = "tls.crt", "tls.key", "ca-bundle.crt", "ovnkube.conf"
_NEEDED = {
    OVN_CERT: frozenset({_CERT_KEY, _PRIVATE_KEY}),
    OVN_CA: frozenset({_CA_KEY}),
    OVNKUBE_CONFIG: frozenset({_CONF_KEY}),
    TENANT_CREDENTIAL: frozenset({TENANT_CREDENTIAL_KEY}),
}


class CopyProblem(StrEnum):
    """Why there is no new copy; the last good copy stays."""

    ABSENT = "NotFound"
    TERMINATING = "Terminating"
    INVALID = "Invalid"


@dataclass(frozen=True, slots=True)
class CopyRefused:
    """The reason, and one line that names the object and the key."""

    reason: CopyProblem
    message: str


@dataclass(frozen=True, slots=True)
class Copy:
    """The desired object in infra."""

    desired: dict[str, Any]
    digest: str
    """Hash of the content alone: if it changes, pods that have read the old content must restart."""
    not_after: datetime | None = None
    """When its certificate expires, or the last of its CAs, UTC."""


@dataclass(frozen=True, slots=True)
class Source:
    """One object that is copied: where it is, and how its content is converted."""

    resource: Resource
    name: str
    convert: Callable[[Obj], Copy]
    """From the tenant's object to a copy whose `desired` has content only. Raises: BadPem, BadOvnkubeConf."""


def copy_of(source: Source, seen: Obj | None, namespace: str, owner: Owner) -> Copy | CopyRefused:
    """The copy of one tenant object, canonical for server-side apply; `seen` None means known to be absent.

    Guarantees: labels, annotations and all other fields of the tenant's object are dropped.
    """
    what = f"the tenant's {source.resource.kind} {source.name}"
    if seen is None:
        return CopyRefused(CopyProblem.ABSENT, f"{what} does not exist")
    if is_terminating(seen):
        return CopyRefused(CopyProblem.TERMINATING, f"{what} is being deleted")
    try:
        content = source.convert(seen)
    except (BadPem, BadOvnkubeConf) as problem:
        return CopyRefused(CopyProblem.INVALID, f"{what}: {problem}")
    desired = owner.mark(new_object(source.resource, namespace, source.name, **content.desired))
    return replace(content, desired=desired)


def as_written(live: Obj | None) -> Obj | None:
    """The copy as pods mount it: the data that our controllers wrote, without additions of others.

    None also while a foreign value replaces one of ours: it is corrected first, so that pods restart once. An object
    that no controller of ours wrote is returned as it is.
    """
    if live is None:
        return None
    written = [projection(live, manager) or {} for manager in _managers(live)]
    data = {key: value for part in written for key, value in (part.get("data") or {}).items()}
    if not written:
        return live
    return {**live, "data": data} if data.keys() >= _NEEDED.get(name_of(live), frozenset()) else None


def _managers(live: Obj) -> list[str]:
    entries = live["metadata"].get("managedFields") or ()
    ours = (entry["manager"] for entry in entries if entry.get("operation") == "Apply")
    return sorted(manager for manager in ours if manager.startswith(field_manager("")))


def content_digest(live: Obj) -> str:
    """The digest of a copy as it stands in infra; equal to `Copy.digest` if the content is equal."""
    return jsonio.digest(live.get("data") or {})


def _certificate(seen: Obj) -> Copy:
    cert, key = _named(_CERT_KEY, certificates, _secret(seen)), _named(_PRIVATE_KEY, private_key, _secret(seen))
    if key.public_key != cert.leaf_public_key:
        raise BadPem(f"{_PRIVATE_KEY} does not belong to {_CERT_KEY}")
    data = {_CERT_KEY: _base64(cert.pem), _PRIVATE_KEY: _base64(key.pem.reveal())}
    return Copy({"type": "kubernetes.io/tls", "data": data}, jsonio.digest(data), cert.not_after)


def _authority(seen: Obj) -> Copy:
    bundle = _named(_CA_KEY, certificates, _config_map(seen))
    data = {_CA_KEY: bundle.pem}
    return Copy({"data": data}, jsonio.digest(data), bundle.trusted_until)


def _configuration(seen: Obj) -> Copy:
    text = at(seen, "data", _CONF_KEY)
    if not isinstance(text, str):
        raise BadOvnkubeConf(f"has no key {_CONF_KEY}")
    data = {_CONF_KEY: render_ovnkube_conf(parse_ovnkube_conf(text))}
    return Copy({"data": data}, jsonio.digest(data))


CERTIFICATE = Source(SECRETS, OVN_CERT, _certificate)
AUTHORITY = Source(CONFIGMAPS, OVN_CA, _authority)
CONFIGURATION = Source(CONFIGMAPS, OVNKUBE_CONFIG, _configuration)
SOURCES = (CERTIFICATE, AUTHORITY, CONFIGURATION)
"""Every object that is copied."""


def needed_sources(topologies: Iterable[Topology], flavour: Flavour) -> tuple[Source, ...]:
    """The objects to copy for a tenant that may have any of these topologies, UNKNOWN among them.

    Guarantees: an interconnect tenant's certificate is not copied, since its DPUs do not use it.
    """
    if any(topology is not Topology.INTERCONNECT for topology in topologies):
        return SOURCES
    return (CONFIGURATION,) if flavour is Flavour.OPENSHIFT else ()


def _named(key: str, read: Callable[[bytes], T], member: Callable[[str], bytes | None]) -> T:
    data = member(key)
    if data is None:
        raise BadPem(f"has no key {key}")
    try:
        return read(data)
    except BadPem as problem:
        raise BadPem(f"{key} {problem}") from None


def _secret(seen: Obj) -> Callable[[str], bytes | None]:
    def member(key: str) -> bytes | None:
        text = at(seen, "data", key)
        try:
            return base64.b64decode(text, validate=True) if isinstance(text, str) else None
        except (binascii.Error, ValueError):
            raise BadPem(f"{key} is not base64") from None

    return member


def _config_map(seen: Obj) -> Callable[[str], bytes | None]:
    def member(key: str) -> bytes | None:
        text = at(seen, "data", key)
        return text.encode("utf-8", "replace") if isinstance(text, str) else None

    return member


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
