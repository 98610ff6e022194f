"""Where the central databases of a tenant are, from its master pods. The addresses reach a privileged pod."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from dpunetop.domain.names import OVNKUBE_MASTER
from dpunetop.domain.tenant.addresses import Address, Network, may_be_a_host
from dpunetop.kube.meta import Obj, is_terminating, labels_of, namespace_of
from dpunetop.kube.shapes import at, mappings

_NB_PORT = 9641
_SB_PORT = 9642
_MOST = 9


@dataclass(frozen=True, slots=True)
class DatabaseList:
    """Comma-separated `ssl:` addresses of all members, in the same order; never empty."""

    nb: str
    sb: str


class DatabaseProblem(StrEnum):
    """Why there is no list; the caller keeps the last list."""

    NO_MASTERS = "NoMasters"
    NO_ADDRESS = "NoMasterAddress"
    TOO_MANY = "TooManyMasters"


@dataclass(frozen=True, slots=True)
class NoDatabases:
    """The reason, and one line that says which pods were looked for."""

    reason: DatabaseProblem
    message: str


def databases(
    pods: Iterable[Obj], tenant_namespace: str, last: DatabaseList | None = None, allowed: tuple[Network, ...] = ()
) -> DatabaseList | NoDatabases:
    """The addresses of the tenant's databases.

    Guarantees: only pods of the DaemonSet `ovnkube-master` in `tenant_namespace` count, so that no tenant user can
        join the list; an address enters it when its pod is Ready, and leaves it when another has taken its place, so
        that masters that restart, or are rolled one by one, change nothing (`last`); sorted and without duplicates, so
        that equal sets give equal text. Special addresses are dropped unless `allowed`.
    """
    masters = [pod for pod in pods if _is_master(pod, tenant_namespace)]
    if not masters:
        words = f"the tenant has no pod of DaemonSet {OVNKUBE_MASTER} in namespace {tenant_namespace}"
        return NoDatabases(DatabaseProblem.NO_MASTERS, words)
    known = _hosts(last)
    found = {address for pod in masters for address in _addresses(pod, known) if may_be_a_host(address, allowed)}
    if not found:
        words = f"none of the tenant's {len(masters)} pods {OVNKUBE_MASTER} is Ready with a usable address"
        return NoDatabases(DatabaseProblem.NO_ADDRESS, words)
    found |= set(_kept(known - found, len(known) - len(found), allowed))
    if len(found) > _MOST:
        words = f"the tenant's pods {OVNKUBE_MASTER} have more than {_MOST} addresses"
        return NoDatabases(DatabaseProblem.TOO_MANY, words)
    ordered = sorted(found, key=_order)
    return DatabaseList(_listed(ordered, _NB_PORT), _listed(ordered, _SB_PORT))


def _kept(missing: Iterable[Address], most: int, allowed: tuple[Network, ...]) -> list[Address]:
    """Addresses of the last list whose pods are gone, kept as long as nothing replaces them: clients skip a database
    that does not answer."""
    return sorted((address for address in missing if may_be_a_host(address, allowed)), key=_order)[: max(most, 0)]


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)


def _is_master(pod: Obj, namespace: str) -> bool:
    if namespace_of(pod) != namespace or labels_of(pod).get("app") != OVNKUBE_MASTER:
        return False
    return any(
        reference.get("controller") and reference.get("kind") == "DaemonSet" and reference.get("name") == OVNKUBE_MASTER
        for reference in mappings(pod["metadata"].get("ownerReferences"))
    )


def _addresses(pod: Obj, known: frozenset[Address]) -> Iterable[Address]:
    pod_ip = _parsed(at(pod, "status", "podIP"))
    if pod_ip is not None and (pod_ip in known or (_is_ready(pod) and not is_terminating(pod))):
        yield pod_ip
    # A master that reboots may lose its podIP for a while; on the host network it then has its host's address again.
    host_ip = _parsed(at(pod, "status", "hostIP"))
    if pod_ip is None and host_ip in known:
        yield host_ip


def _is_ready(pod: Obj) -> bool:
    conditions = mappings(at(pod, "status", "conditions"))
    return any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions)


def _parsed(text: object) -> Address | None:
    if not isinstance(text, str) or "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _listed(addresses: Iterable[Address], port: int) -> str:
    hosts = (f"[{address}]" if address.version == 6 else str(address) for address in addresses)
    return ",".join(f"ssl:{host}:{port}" for host in hosts)


def _hosts(last: DatabaseList | None) -> frozenset[Address]:
    if last is None:
        return frozenset()
    members = (member.removeprefix("ssl:").rpartition(":")[0].strip("[]") for member in last.nb.split(","))
    return frozenset(address for address in map(_parsed, members) if address is not None)
