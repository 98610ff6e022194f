"""What a support archive takes of each kind that the operator knows, and why it takes nothing of some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dpunetop.domain import names
from dpunetop.kube import keys
from dpunetop.kube.keys import Resource
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_name


class Where(Enum):
    """Where objects are looked for."""

    INFRA = "of infra, in no namespace"
    OPERATOR = "in the operator's namespace"
    SERVED = "in each namespace with a DpuClusterConfig"
    TENANT = "of a tenant, in no namespace"
    OVN = "in the namespace of OVN-Kubernetes in a tenant"


@dataclass(frozen=True, slots=True)
class Taken:
    """Objects of a kind that are taken, in those places; with names, those alone."""

    where: frozenset[Where]
    only: tuple[str, ...] = ()


def _taken(*where: Where, only: tuple[str, ...] = ()) -> Taken:
    return Taken(frozenset(where), only)


_ACCOUNTS = names.DPU_ACCOUNT, names.UPSTREAM_DPU_ACCOUNT
_HOMES = Where.OPERATOR, Where.SERVED
COLLECTED: Final[Mapping[Resource, Taken | str]] = {
    names.DPUCLUSTERCONFIGS: _taken(Where.SERVED),
    names.DPUNODES: _taken(Where.SERVED),
    names.MACHINECONFIGPOOLS: _taken(Where.INFRA),
    names.MACHINECONFIGS: _taken(Where.INFRA),
    names.NODEMAINTENANCES: _taken(Where.TENANT),
    names.PODDISRUPTIONBUDGETS: _taken(*_HOMES),
    names.CLUSTERVERSIONS: "not every tenant has it; doctor.txt tells its release",
    names.NETWORKS: "not every cluster has it; doctor.txt tells its MTU",
    keys.NODES: _taken(Where.INFRA, Where.TENANT),
    keys.NAMESPACES: "those that are looked into are taken beside what is in them",
    keys.PODS: _taken(*_HOMES, Where.OVN),
    keys.SECRETS: _taken(*_HOMES, Where.OVN),
    keys.CONFIGMAPS: _taken(*_HOMES, Where.OVN),
    keys.SERVICEACCOUNTS: _taken(*_HOMES, Where.OVN),
    keys.DAEMONSETS: _taken(*_HOMES, Where.OVN),
    keys.DEPLOYMENTS: _taken(*_HOMES, Where.OVN),
    keys.LEASES: _taken(Where.OPERATOR, Where.OVN),
    keys.EVENTS: "they are one file for each namespace",
    keys.SERVICECIDRS: "they tell networks of infra and nothing of a DPU",
    keys.ENDPOINTSLICES: "they tell addresses of infra's API servers and nothing of a DPU",
    keys.TOKENREVIEWS: "no server stores them",
    keys.SUBJECTACCESSREVIEWS: "no server stores them",
    keys.SELFSUBJECTREVIEWS: "no server stores them",
    keys.SELFSUBJECTACCESSREVIEWS: "no server stores them",
    keys.ROLES: _taken(*_HOMES, Where.OVN),
    keys.ROLEBINDINGS: _taken(*_HOMES, Where.OVN),
    keys.CLUSTERROLES: _taken(Where.TENANT, only=(names.DPU_ROLE,)),
    keys.CLUSTERROLEBINDINGS: _taken(Where.TENANT, only=_ACCOUNTS),
    keys.CUSTOMRESOURCEDEFINITIONS: _taken(
        Where.INFRA, only=(keys.crd_name(names.DPUCLUSTERCONFIGS), keys.crd_name(names.DPUNODES))
    ),
}
"""Every kind that the operator knows: what is taken of it, or why nothing is."""


def in_no_namespace(where: Where) -> tuple[Selection, ...]:
    """What to list there, of `Where.INFRA` or `Where.TENANT`."""
    return tuple(
        Selection(resource, "", by_name(name) if name else "")
        for resource, taken in _rows(where)
        for name in taken.only or ("",)
    )


def in_a_namespace(*where: Where) -> tuple[Resource, ...]:
    """The kinds to list in a namespace that is each of these."""
    return tuple(dict.fromkeys(resource for each in where for resource, _ in _rows(each)))


def _rows(where: Where) -> Iterator[tuple[Resource, Taken]]:
    for resource, taken in COLLECTED.items():
        if isinstance(taken, Taken) and where in taken.where:
            yield resource, taken
