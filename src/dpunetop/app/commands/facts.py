"""Gathers the facts that the checks of `doctor` judge, in both clusters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dpunetop.app import assets
from dpunetop.app.commands.looking import FactGatherer
from dpunetop.base.quoting import quoted
from dpunetop.domain.doctor import cluster, credentials, rehearsals, tenants
from dpunetop.domain.doctor.model import ClusterFacts, Facts, Grants, Place, Unseen, annotation
from dpunetop.domain.doctor.nodes import own_pods
from dpunetop.domain.doctor.rights import APPLY_TENANT, INSTALL, grants, renamed, role_place, roles_of, user_of
from dpunetop.domain.names import (
    CLUSTER_NETWORK,
    CLUSTERVERSION,
    CLUSTERVERSIONS,
    DPU_ROLE,
    DPUCLUSTERCONFIGS,
    DPUNODES,
    DRAIN_BLOCKER,
    ENV_OVERRIDES,
    EXPIRES_AT_ANNOTATION,
    KUBE_SYSTEM,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    NETWORKS,
    NODEMAINTENANCES,
    OPERATOR_LEASE,
    OVN_CA,
    OVN_CERT,
    OVN_CONFIG,
    OVN_KUBERNETES_NAMESPACE,
    OVNKUBE_CONFIG,
    OVNKUBE_CONTROL_PLANE,
    OVNKUBE_NODE,
    OVNKUBE_NODE_DPU_HOST,
    OVNKUBE_NODE_ENTRIES,
    OVNKUBE_SCRIPT_LIB,
    OVNKUBE_SERVICE_ACCOUNT,
    PODDISRUPTIONBUDGETS,
    TENANT_CREDENTIAL,
    TENANT_KUBECONFIG,
)
from dpunetop.kube.keys import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NODES,
    SECRETS,
    SERVICEACCOUNTS,
    crd_name,
)
from dpunetop.kube.meta import Obj, name_of, namespace_of, uid_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.shapes import at

OPERATOR_ACCOUNT = "dpunetop"
TENANT_ACCOUNT = "dpunetop-operator"
_SHIPPED_NAMESPACE = "openshift-dpu-network-operator"
_OUR_KINDS = (DPUCLUSTERCONFIGS, DPUNODES)


@dataclass(frozen=True, slots=True)
class InfraLook:
    """The facts of infra, and the parameters of its checks."""

    seen: ClusterFacts
    grants: tuple[Grants, ...]
    configs: tuple[Obj, ...]


@dataclass(frozen=True, slots=True)
class TenantLook:
    """The facts of a tenant, and the parameters of its checks; `namespace` is that of its OVN-Kubernetes."""

    seen: ClusterFacts | Unseen
    namespace: str
    whose: str
    configs: frozenset[tuple[str, str]] | None
    """See `Facts.configs`."""


def look_at_infra(gatherer: FactGatherer, namespace: str, account: str) -> InfraLook:
    """Look at infra. `namespace` is the operator's, `account` its ServiceAccount's name there.

    Raises: ApiError if infra does not answer.
    """
    gatherer.meet()
    configs = _infra_kinds(gatherer)
    _operator(gatherer, namespace)
    homes = sorted({namespace_of(config) for config in configs})
    for home in homes:
        _served_namespace(gatherer, home, _secrets(configs, home))
    given = _infra_grants(_home_of(gatherer, namespace, account), account, configs)
    gatherer.ask_rights((each.user, right) for each in given for right in each.rights)
    if gatherer.serves(cluster.SCC):
        gatherer.ask_rights(cluster.constraints_rights(namespace, homes))
    for selection in own_pods(namespace, homes):
        gatherer.list(selection)
    _rehearse_pods(gatherer, namespace, homes)
    return InfraLook(gatherer.seen(), given, configs)


def _infra_kinds(gatherer: FactGatherer) -> tuple[Obj, ...]:
    gatherer.serves(cluster.SCC)
    gatherer.serves(PODDISRUPTIONBUDGETS)
    gatherer.serves(MACHINECONFIGS)
    for kind in _OUR_KINDS:
        gatherer.get(CUSTOMRESOURCEDEFINITIONS, "", crd_name(kind))
    gatherer.list(Selection(NODES))
    gatherer.get(NAMESPACES, "", KUBE_SYSTEM)
    gatherer.get(DAEMONSETS, OVN_KUBERNETES_NAMESPACE, OVNKUBE_NODE)
    if gatherer.serves(MACHINECONFIGPOOLS):
        gatherer.list(Selection(MACHINECONFIGPOOLS))
    if gatherer.serves(NETWORKS):
        gatherer.get(NETWORKS, "", CLUSTER_NETWORK)
    return gatherer.list(Selection(DPUCLUSTERCONFIGS)) if gatherer.serves(DPUCLUSTERCONFIGS) else ()


def _operator(gatherer: FactGatherer, namespace: str) -> None:
    gatherer.get(NAMESPACES, "", namespace)
    deployment = gatherer.get(DEPLOYMENTS, namespace, cluster.OPERATOR_DEPLOYMENT)
    if serving := credentials.serving_secret(deployment):
        gatherer.get(SECRETS, namespace, serving)
    gatherer.get(LEASES, namespace, OPERATOR_LEASE)
    gatherer.list(Selection(PODDISRUPTIONBUDGETS, namespace))


def _served_namespace(gatherer: FactGatherer, home: str, secrets: Iterable[str]) -> None:
    gatherer.get(NAMESPACES, "", home)
    for name in secrets:
        gatherer.get(SECRETS, home, name)
    held = gatherer.get(SECRETS, home, TENANT_CREDENTIAL)
    if held is not None and not annotation(held, EXPIRES_AT_ANNOTATION):
        gatherer.get(SECRETS, home, TENANT_KUBECONFIG)  # the pods mount this Secret
    gatherer.get(SECRETS, home, OVN_CERT)
    for name in (ENV_OVERRIDES, OVNKUBE_NODE_ENTRIES, OVN_CA):
        gatherer.get(CONFIGMAPS, home, name)
    gatherer.get(DAEMONSETS, home, OVNKUBE_NODE)


def _secrets(configs: Iterable[Obj], home: str) -> list[str]:
    found = {at(config, "spec", "kubeConfigFile") for config in configs if namespace_of(config) == home}
    return sorted(name for name in found if isinstance(name, str) and name)


def _home_of(gatherer: FactGatherer, namespace: str, account: str) -> str:
    """The namespace of the operator's ServiceAccount: the operator's own, unless it runs by hand elsewhere."""
    homes = dict.fromkeys((namespace, _SHIPPED_NAMESPACE))
    return next((home for home in homes if gatherer.get(SERVICEACCOUNTS, home, account) is not None), namespace)


def _infra_grants(namespace: str, account: str, configs: Iterable[Obj]) -> tuple[Grants, ...]:
    user, shipped = user_of(namespace, account), (namespace, OPERATOR_ACCOUNT)
    moved = {_SHIPPED_NAMESPACE: namespace}
    found = list(grants(renamed(assets.operator_manifests(), moved), shipped, user, INSTALL))
    places = {(namespace_of(each), name) for each in configs for name in _secrets((each,), namespace_of(each))}
    for home, secret in sorted(places):
        names = {**moved, assets.SAMPLE_NAMESPACE: home, assets.SAMPLE_SECRET: secret}
        found += grants(renamed(assets.namespace_manifests(), names), shipped, user, _namespace_mend(home, secret))
    return tuple(found)


def _namespace_mend(home: str, secret: str) -> str:
    copy = f"cp -r config/samples/tenant-namespace {home}"
    edit = f"edit {home}/parameters.yaml: namespace: {home}, kubeConfigFile: {secret}"
    return f"{copy}; {edit}; kubectl apply -k {home}"


def _rehearse_pods(gatherer: FactGatherer, namespace: str, homes: Iterable[str]) -> None:
    blockers = rehearsals.blocker_spec(namespace, gatherer.serves(cluster.SCC))
    _rehearse_pod(gatherer, cluster.blocker_rehearsal(namespace), DRAIN_BLOCKER, blockers)
    for home in homes:
        live = gatherer.get(DAEMONSETS, home, OVNKUBE_NODE)
        spec = rehearsals.ovnkube_spec(live)
        _rehearse_pod(gatherer, cluster.pod_rehearsal(home), OVNKUBE_SERVICE_ACCOUNT, spec)


def _rehearse_pod(gatherer: FactGatherer, place: Place, account: str, spec: Mapping[str, Any]) -> None:
    """Rehearse with the real pod's ServiceAccount, or with the namespace's default before it exists."""
    names = (account, "default")
    found = next((name for name in names if gatherer.get(SERVICEACCOUNTS, place.namespace, name) is not None), None)
    if found is None:
        why = f"namespace {place.namespace} has no ServiceAccount that a dry run could use"
        mend = f"kubectl get serviceaccounts --namespace {place.namespace}: its controller makes one named default"
        gatherer.not_rehearsed(place, Unseen(why, mend))
    else:
        gatherer.rehearse(place, rehearsals.pod(place, found, spec))


# --- tenants ---


def look_at_tenant(gatherer: FactGatherer, namespace: str) -> ClusterFacts:
    """Look at a tenant. `namespace` is that of its OVN-Kubernetes.

    Raises: ApiError if it does not answer.
    """
    gatherer.meet()
    gatherer.get(NAMESPACES, "", KUBE_SYSTEM)
    hosts = gatherer.list(Selection(NODES))
    if gatherer.serves(CLUSTERVERSIONS):
        gatherer.get(CLUSTERVERSIONS, "", CLUSTERVERSION)
    for name in (OVNKUBE_NODE, OVNKUBE_NODE_DPU_HOST):
        gatherer.get(DAEMONSETS, namespace, name)
    gatherer.get(DEPLOYMENTS, namespace, OVNKUBE_CONTROL_PLANE)
    for name in (OVNKUBE_CONFIG, OVN_CONFIG, OVNKUBE_SCRIPT_LIB):
        gatherer.get(CONFIGMAPS, namespace, name)
    gatherer.list(tenants.masters(namespace))
    _maintenances(gatherer, hosts)
    gatherer.ask_rights((each.user, right) for each in tenant_grants(namespace) for right in each.rights)
    for role in _pod_roles(namespace):
        place = role_place(role)
        gatherer.get(place.resource, place.namespace, place.name)
    return gatherer.seen()


def _maintenances(gatherer: FactGatherer, hosts: Sequence[Obj]) -> None:
    if not gatherer.serves(NODEMAINTENANCES):
        return
    under_way = {at(each, "spec", "nodeName") for each in gatherer.list(Selection(NODEMAINTENANCES))}
    place = tenants.maintenance_rehearsal()
    body = rehearsals.maintenance(place, hosts, under_way)
    if body is None:
        why = "the tenant has no host that is not in maintenance, to try it with"
        gatherer.not_rehearsed(place, Unseen(why, "kubectl --kubeconfig TENANT get nodes,nodemaintenances"))
    else:
        gatherer.rehearse(place, body)


def tenant_grants(namespace: str) -> tuple[Grants, ...]:
    """The permissions of deploy/tenant-rights.yaml. `namespace` is that of OVN-Kubernetes in the tenant."""
    return grants(_tenant_manifests(namespace), (namespace, TENANT_ACCOUNT), "", APPLY_TENANT)


def _pod_roles(namespace: str) -> tuple[Obj, ...]:
    return roles_of(_tenant_manifests(namespace), DPU_ROLE)


def _tenant_manifests(namespace: str) -> tuple[Obj, ...]:
    return renamed(assets.tenant_manifests(), {OVN_KUBERNETES_NAMESPACE: namespace})


def _identified(infra: InfraLook, tenant: TenantLook) -> ClusterFacts | Unseen:
    """What was seen, unless the kubeconfig leads to another cluster: what that has says nothing of the tenant."""
    seen, chosen = tenant.seen, tenant.configs
    asking = [each for each in infra.configs if at(each, "spec", "kubeConfigFile")]
    mine = [each for each in asking if chosen is None or (namespace_of(each), name_of(each)) in chosen]
    known = {str(at(each, "status", "tenantUID") or "") for each in mine}
    found = "" if isinstance(seen, Unseen) else _uid(seen)
    if isinstance(seen, Unseen) or not found or not known or known & {"", found}:
        return seen
    where = "it is infra itself" if found == _uid(infra.seen) else "it is another cluster"
    words = f"no DpuClusterConfig is of the tenant whose namespace {KUBE_SYSTEM} has the UID {quoted(found)}: {where}"
    return Unseen(words, "give the tenant's kubeconfig: --tenant-kubeconfig NAMESPACE/NAME=PATH")


def _uid(seen: ClusterFacts) -> str:
    found = seen.objects.get(Place(NAMESPACES, "", KUBE_SYSTEM))
    return "" if found is None or isinstance(found, Unseen) else uid_of(found)


def facts(infra: InfraLook, tenant: TenantLook, now: datetime, namespace: str) -> Facts:
    """The facts for the checks. `namespace` is the operator's."""
    shipped = {name_of(obj): obj for obj in assets.operator_manifests()}
    return Facts(
        infra=infra.seen,
        tenant=_identified(infra, tenant),
        now=now,
        namespace=namespace,
        tenant_namespace=tenant.namespace,
        definitions=tuple(shipped[crd_name(kind)] for kind in _OUR_KINDS),
        whose=tenant.whose,
        configs=tenant.configs,
        infra_grants=infra.grants,
        tenant_grants=tenant_grants(tenant.namespace),
        pod_roles=_pod_roles(tenant.namespace),
    )
