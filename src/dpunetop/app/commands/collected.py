"""Which objects of each kind go into a support archive, and why those of some kinds do not."""

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


class Scope(Enum):
    """Where objects are collected."""

    INFRA = "of infra, in no namespace"
    OPERATOR = "in the operator's namespace"
    SERVED = "in each namespace with a DpuClusterConfig"
    TENANT = "of a tenant, in no namespace"
    OVN = "in the namespace of OVN-Kubernetes in a tenant"


@dataclass(frozen=True, slots=True)
class CollectedKind:
    """The collected objects of a kind, by place; `only`, if given, by name."""

    where: frozenset[Scope]
    only: tuple[str, ...] = ()


def _collected(*where: Scope, only: tuple[str, ...] = ()) -> CollectedKind:
    return CollectedKind(frozenset(where), only)


_ACCOUNTS = names.DPU_ACCOUNT, names.UPSTREAM_DPU_ACCOUNT
_HOMES = Scope.OPERATOR, Scope.SERVED
COLLECTED: Final[Mapping[Resource, CollectedKind | str]] = {
    names.DPUCLUSTERCONFIGS: _collected(Scope.SERVED),
    names.DPUNODES: _collected(Scope.SERVED),
    names.MACHINECONFIGPOOLS: _collected(Scope.INFRA),
    names.MACHINECONFIGS: _collected(Scope.INFRA),
    names.NODEMAINTENANCES: _collected(Scope.TENANT),
    names.PODDISRUPTIONBUDGETS: _collected(*_HOMES),
    names.CLUSTERVERSIONS: "not every tenant has it; doctor.txt tells its release",
    names.NETWORKS: "not every cluster has it; doctor.txt tells its MTU",
    keys.NODES: _collected(Scope.INFRA, Scope.TENANT),
    keys.NAMESPACES: "those that are looked into are taken beside what is in them",
    keys.PODS: _collected(*_HOMES, Scope.OVN),
    keys.SECRETS: _collected(*_HOMES, Scope.OVN),
    keys.CONFIGMAPS: _collected(*_HOMES, Scope.OVN),
    keys.SERVICEACCOUNTS: _collected(*_HOMES, Scope.OVN),
    keys.DAEMONSETS: _collected(*_HOMES, Scope.OVN),
    keys.DEPLOYMENTS: _collected(*_HOMES, Scope.OVN),
    keys.LEASES: _collected(Scope.OPERATOR, Scope.OVN),
    keys.EVENTS: "they are one file for each namespace",
    keys.SERVICECIDRS: "they tell networks of infra and nothing of a DPU",
    keys.ENDPOINTSLICES: "they tell addresses of infra's API servers and nothing of a DPU",
    keys.TOKENREVIEWS: "no server stores them",
    keys.SUBJECTACCESSREVIEWS: "no server stores them",
    keys.SELFSUBJECTREVIEWS: "no server stores them",
    keys.SELFSUBJECTACCESSREVIEWS: "no server stores them",
    keys.ROLES: _collected(*_HOMES, Scope.OVN),
    keys.ROLEBINDINGS: _collected(*_HOMES, Scope.OVN),
    keys.CLUSTERROLES: _collected(Scope.TENANT, only=(names.DPU_ROLE,)),
    keys.CLUSTERROLEBINDINGS: _collected(Scope.TENANT, only=_ACCOUNTS),
    keys.CUSTOMRESOURCEDEFINITIONS: _collected(
        Scope.INFRA, only=(keys.crd_name(names.DPUCLUSTERCONFIGS), keys.crd_name(names.DPUNODES))
    ),
}
"""Every kind that the operator knows: what is collected, or why nothing is."""


def in_no_namespace(where: Scope) -> tuple[Selection, ...]:
    """The selections to list in `Scope.INFRA` or `Scope.TENANT`."""
    return tuple(
        Selection(resource, "", by_name(name) if name else "")
        for resource, taken in _rows(where)
        for name in taken.only or ("",)
    )


def in_a_namespace(*where: Scope) -> tuple[Resource, ...]:
    """The kinds to list in a namespace of these places."""
    return tuple(dict.fromkeys(resource for each in where for resource, _ in _rows(each)))


def _rows(where: Scope) -> Iterator[tuple[Resource, CollectedKind]]:
    for resource, taken in COLLECTED.items():
        if isinstance(taken, CollectedKind) and where in taken.where:
            yield resource, taken
