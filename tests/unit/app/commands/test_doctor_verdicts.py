"""Each place in which `doctor` reaches a verdict is come to by a fault that is planted: the next one has to be too."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from dpunetop.app.commands.output import Format
from dpunetop.domain import names
from dpunetop.domain.doctor.cluster import SCC
from dpunetop.domain.doctor.model import Outcome, Place, Verdict
from dpunetop.domain.doctor.table import CHECKS
from dpunetop.kube.keys import (
    CLUSTERROLES,
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NODES,
    SECRETS,
    SERVICEACCOUNTS,
)
from dpunetop.kube.meta import new_object
from dpunetop.kube.validity import Validity
from dpunetop.sandbox.standins.ovnkube import central_tenant
from support.kubeconfigs import good_kubeconfig
from support.lookedat import LookedAt
from support.objects import NAMESPACE, condition, config, node
from support.pki import pair
from support.strangeimages import WRONG_MACHINE, pulls
from support.verdicts import Site, recorded, sites
from unit.app.commands import test_doctor as preflight
from unit.app.commands.test_doctor import FAULTS, NOW, OPERATOR, OVN, SECRET, drop, in_order, outcomes, provided

Plant = Callable[[LookedAt, LookedAt], object]
SAYS_IDENTITY = "start the tenant's ovnkube-identity with --extra-allowed-user=x"


def in_order_already(infra: LookedAt, tenant: LookedAt) -> None:
    """Nothing is planted."""


def older(kind: Any) -> Plant:
    """The definition of a release that did not know a field."""

    def plant(infra: LookedAt, tenant: LookedAt) -> None:
        place = Place(CUSTOMRESOURCEDEFINITIONS, "", f"{kind.plural}.{kind.group}")
        made: Any = copy.deepcopy(infra.objects[place])
        del made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
        infra.objects[place] = made

    return plant


def unready(infra: LookedAt, tenant: LookedAt) -> None:
    place = Place(DEPLOYMENTS, OPERATOR, "dpunetop")
    refused = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    infra.objects[place] = {**infra.objects[place], "status": {"conditions": [refused]}}


def stale(infra: LookedAt, tenant: LookedAt) -> None:
    spec = {"holderIdentity": "dpunetop-0", "renewTime": preflight.text(NOW - timedelta(hours=1))}
    infra.put(LEASES, [new_object(LEASES, OPERATOR, names.OPERATOR_LEASE, spec=spec)])


def no_token(infra: LookedAt, tenant: LookedAt) -> None:
    place = Place(DEPLOYMENTS, OPERATOR, "dpunetop")
    spec = {"replicas": 1, "template": {"spec": {"automountServiceAccountToken": False, "containers": []}}}
    infra.objects[place] = {**infra.objects[place], "spec": spec}


def holds(**data: str) -> Plant:
    """The pods have the given kubeconfig itself; this is the operator's own copy of it."""

    def plant(infra: LookedAt, tenant: LookedAt) -> None:
        own = new_object(SECRETS, NAMESPACE, names.TENANT_KUBECONFIG, data=data)
        infra.put(SECRETS, [own, new_object(SECRETS, NAMESPACE, names.TENANT_CREDENTIAL, data={})])

    return plant


def asks(**but: Any) -> Plant:
    """A DpuClusterConfig that says something else."""
    return lambda infra, tenant: infra.put(names.DPUCLUSTERCONFIGS, [{**config(), **but}])


def judged(*conditions: dict[str, Any], tenant_uid: str = "uid-of-tenant") -> Plant:
    """What the operator has written of its DpuClusterConfig."""
    return asks(status={**config()["status"], "tenantUID": tenant_uid, "conditions": list(conditions)})


def unlabelled(infra: LookedAt, tenant: LookedAt) -> None:
    infra.put(NODES, [node("dpu-2", {names.DPU_WORKER_LABEL: ""})])


def may_not_be_asked(infra: LookedAt, tenant: LookedAt) -> None:
    outcomes(*(asked := in_order()))
    infra.forbidden.add(next(each for each in asked[0].asked if isinstance(each, tuple) and each[0] == "may"))


def conf(text: str) -> Plant:
    """Another `ovnkube.conf` of the tenant."""

    def plant(infra: LookedAt, tenant: LookedAt) -> None:
        place = Place(CONFIGMAPS, OVN, names.OVNKUBE_CONFIG)
        held = dict(tenant.objects[place]["data"])
        tenant.objects[place] = {**tenant.objects[place], "data": {**held, "ovnkube.conf": text}}

    return plant


def more_conf(text: str) -> Plant:
    """The same, with more in it."""

    def plant(infra: LookedAt, tenant: LookedAt) -> None:
        held = tenant.objects[Place(CONFIGMAPS, OVN, names.OVNKUBE_CONFIG)]["data"]["ovnkube.conf"]
        conf(f"{held}\n{text}\n")(infra, tenant)

    return plant


def centrally(infra: LookedAt, tenant: LookedAt) -> None:
    for kind, name in ((DEPLOYMENTS, names.OVNKUBE_CONTROL_PLANE), (CONFIGMAPS, names.OVNKUBE_SCRIPT_LIB)):
        tenant.objects.pop(Place(kind, OVN, name))
    for obj in central_tenant(OVN):
        resource = {"DaemonSet": DAEMONSETS, "ConfigMap": CONFIGMAPS}.get(obj["kind"])
        if resource is not None:
            tenant.put(resource, [obj])
    preflight.migrating(infra, tenant)


def same_leases(infra: LookedAt, tenant: LookedAt) -> None:
    words = ["--dpu-node-lease-duration=40", "--dpu-node-lease-renew-interval=10"]
    spec = {"template": {"spec": {"containers": [{"name": "ovnkube-controller", "args": words}]}}}
    infra.put(DAEMONSETS, [new_object(DAEMONSETS, NAMESPACE, "ovnkube-node", spec=spec)])


def nameless_release(infra: LookedAt, tenant: LookedAt) -> None:
    place: Any = Place(DAEMONSETS, OVN, "ovnkube-node")
    made: Any = copy.deepcopy(tenant.objects[place])
    made["metadata"].pop("annotations", None)
    tenant.objects[place] = made
    tenant.unserved.add(names.CLUSTERVERSIONS)


def small_uplinks(infra: LookedAt, tenant: LookedAt) -> None:
    infra.put(names.NETWORKS, [new_object(names.NETWORKS, "", "cluster", status={"clusterNetworkMTU": 1200})])


def pooled(*conditions: tuple[str, str], updated: int = 1, paused: bool = False, **notes: str) -> Plant:
    """The pool of the one DPU, all of it updated or not; `notes` are annotations of the machine-config operator."""
    ours = [{"name": names.machine_config_name("dpu")}]
    spec = {"nodeSelector": {"matchLabels": {names.DPU_WORKER_LABEL: ""}}, "paused": paused}
    status: dict[str, Any] = {
        "observedGeneration": 1,
        "machineCount": 1,
        "updatedMachineCount": updated,
        "configuration": {"name": "rendered-1", "source": ours},
        "conditions": [{"type": kind, "status": "True", "message": words} for kind, words in conditions],
    }
    live = new_object(names.MACHINECONFIGPOOLS, "", "dpu", status=status)
    live["spec"] = {**spec, "configuration": {"name": "rendered-1", "source": ours}}
    live["metadata"]["generation"] = 1

    def plant(infra: LookedAt, tenant: LookedAt) -> None:
        infra.put(names.MACHINECONFIGPOOLS, [live])
        dpu = copy.deepcopy(infra.objects[Place(NODES, "", "dpu-1")])
        annotations = {f"machineconfiguration.openshift.io/{key}": text for key, text in notes.items()}
        assert dpu is not None
        infra.put(NODES, [{**dpu, "metadata": {**dpu["metadata"], "annotations": annotations}}])

    return plant


def without_pools(infra: LookedAt, tenant: LookedAt) -> None:
    """A machine-config operator has configured the DPU, and is gone with its kinds."""
    pooled(currentConfig="rendered-dpu-1", desiredConfig="rendered-dpu-1")(infra, tenant)
    infra.unserved |= {names.MACHINECONFIGPOOLS, names.MACHINECONFIGS}


def copied(days: int) -> Plant:
    """Copies of the tenant's certificates that end so many days after the first of January."""

    def plant(infra: LookedAt, tenant: LookedAt) -> None:
        certificate = pair(f"copied{days}", days).cert
        tls = {"tls.crt": base64.b64encode(certificate).decode()}
        infra.put(SECRETS, [new_object(SECRETS, NAMESPACE, names.OVN_CERT, data=tls)])
        infra.put(
            CONFIGMAPS, [new_object(CONFIGMAPS, NAMESPACE, names.OVN_CA, data={"ca-bundle.crt": pair().cert.decode()})]
        )

    return plant


def served_with(certificate: bytes) -> Plant:
    """The Secret that the shipped Deployment mounts for /metrics."""
    tls = {"tls.crt": base64.b64encode(certificate).decode()}
    return lambda infra, tenant: infra.put(SECRETS, [new_object(SECRETS, OPERATOR, "dpunetop-metrics-tls", data=tls)])


def known_by(authority: bytes) -> bytes:
    """A kubeconfig that knows its server by that authority alone."""
    document = json.loads(good_kubeconfig())
    document["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(authority).decode()
    return json.dumps(document).encode()


def own_clock_is_wrong(infra: LookedAt, tenant: LookedAt) -> None:
    """Both servers agree, and this machine does not."""
    infra.server_ahead = tenant.server_ahead = timedelta(hours=-3)


def valid_between(begin: int, end: int) -> bytes:
    """A kubeconfig with a token that is valid between so many days after now."""
    claims = {name: int((NOW + timedelta(days=days)).timestamp()) for name, days in {"nbf": begin, "exp": end}.items()}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return good_kubeconfig(token=f"e30.{body}.c2ln")


BAD = preflight.secret(b"kind: Config")
MORE: dict[str, tuple[Plant, str, Verdict, str]] = {
    "a definition of another release": (
        older(names.DPUCLUSTERCONFIGS),
        "definition",
        Verdict.FAIL,
        "it lacks v1alpha1.status.conditions",
    ),
    "a definition of DpuNode of another release": (
        older(names.DPUNODES),
        "definition",
        Verdict.WARN,
        "it lacks v1alpha1.status.conditions",
    ),
    "no definition of DpuNode": (
        drop(0, CUSTOMRESOURCEDEFINITIONS, "", "dpunodes.dpu.openshift.io"),
        "definition",
        Verdict.WARN,
        "the operator writes nothing of single DPUs",
    ),
    "a release that nobody understands": (
        preflight.released("main"),
        "infra-release",
        Verdict.WARN,
        "is not understood",
    ),
    "no constraints to use": (
        lambda infra, tenant: infra.unserved.add(SCC),
        "infra-apis",
        Verdict.OK,
        "pods are admitted by Pod Security alone",
    ),
    "a pool that is not made yet": (in_order_already, "pools", Verdict.OK, "is not there yet: the operator makes it"),
    "no pools": (
        lambda infra, tenant: infra.unserved.add(names.MACHINECONFIGPOOLS),
        "pools",
        Verdict.OK,
        "infra does not serve them",
    ),
    "no pools any more": (
        without_pools,
        "infra-apis",
        Verdict.FAIL,
        "although 1 DPUs run what it gave them",
    ),
    "a pool that is rolled out": (pooled(), "pools", Verdict.OK, "RolledOut: all 1 machines run rendered-1"),
    "a pool that is paused after that": (
        pooled(paused=True),
        "pools",
        Verdict.WARN,
        "kubectl patch machineconfigpool dpu --type merge --patch",
    ),
    "a pool that is paused before that": (
        pooled(paused=True, updated=0),
        "pools",
        Verdict.FAIL,
        "PoolPaused: the pool is paused; rolling",
    ),
    "a pool that cannot be rendered": (
        pooled(("RenderDegraded", "bad ignition")),
        "pools",
        Verdict.FAIL,
        "PoolDegraded: RenderDegraded: bad ignition",
    ),
    "a DPU whose machine-config daemon has given up": (
        pooled(state="Degraded", reason="disk is full"),
        "pools",
        Verdict.FAIL,
        "Node dpu-1 of infra its machine-config daemon is Degraded: ",
    ),
    "an operator that is not Ready": (unready, "operator", Verdict.FAIL, "none of its 2 pods is Ready"),
    "no operator": (drop(0, DEPLOYMENTS, OPERATOR, "dpunetop"), "operator", Verdict.WARN, "is not installed here"),
    "no operator whose credential could be looked at": (
        drop(0, DEPLOYMENTS, OPERATOR, "dpunetop"),
        "operator-credential",
        Verdict.NOT_LOOKED_AT,
        "an operator elsewhere has a credential of its own",
    ),
    "nobody has ever led": (drop(0, LEASES, OPERATOR, "dpunetop"), "operator", Verdict.WARN, "has never been held"),
    "nobody leads any more": (stale, "operator", Verdict.FAIL, "was last renewed 60 min ago"),
    "pods of the operator without a token": (
        no_token,
        "operator-credential",
        Verdict.FAIL,
        "its pods mount no token of a ServiceAccount",
    ),
    "a config that asks for no tenant": (
        asks(spec={"poolName": "dpu", "nodeSelector": {"matchLabels": {names.DPU_WORKER_LABEL: ""}}}),
        "tenant-kubeconfig",
        Verdict.OK,
        "asks for no tenant",
    ),
    "no kubeconfig": (drop(0, SECRETS, NAMESPACE, SECRET), "tenant-kubeconfig", Verdict.FAIL, "does not exist"),
    "a kubeconfig that is none": (
        lambda infra, tenant: infra.put(SECRETS, [BAD]),
        "tenant-kubeconfig",
        Verdict.FAIL,
        "is not taken",
    ),
    "no credential of the pods": (
        drop(0, SECRETS, NAMESPACE, names.TENANT_CREDENTIAL),
        "pod-credential",
        Verdict.NOT_LOOKED_AT,
        "the operator has not made it yet",
    ),
    "a token that was not renewed": (
        lambda infra, tenant: infra.put(SECRETS, [preflight.credential(NOW - timedelta(hours=1))]),
        "pod-credential",
        Verdict.FAIL,
        "the operator did not renew it",
    ),
    "a copy that is not made yet": (holds(), "pod-credential", Verdict.NOT_LOOKED_AT, "it has not been made yet"),
    "a copy that is none": (
        holds(**{names.TENANT_CREDENTIAL_KEY: "!"}),
        "pod-credential",
        Verdict.NOT_LOOKED_AT,
        "it cannot be read",
    ),
    "a provided credential that lasts": (
        provided(NOW + timedelta(days=300)),
        "pod-credential",
        Verdict.OK,
        "its credential is good until",
    ),
    "an authority of the tenant that ends before the token": (
        lambda infra, tenant: infra.put(SECRETS, [preflight.secret(known_by(pair("soon", 336).cert))]),
        "tenant-kubeconfig",
        Verdict.WARN,
        "ends on 2026-12-03T00:00:00Z (certificate-authority-data",
    ),
    "a token that is not valid yet": (
        lambda infra, tenant: infra.put(SECRETS, [preflight.secret(valid_between(1, 30))]),
        "tenant-kubeconfig",
        Verdict.FAIL,
        "its credential is valid only from 2026-12-02T12:00:00Z on; compare the clocks of both sides",
    ),
    "a certificate of the tenant's API server that ends soon": (
        lambda infra, tenant: setattr(tenant, "serving", Validity(NOW - timedelta(days=365), NOW + timedelta(days=2))),
        "tenant-server",
        Verdict.WARN,
        "the certificate of the tenant's API server ends at 2026-12-03T12:00:00Z",
    ),
    "a certificate of the tenant's API server that was not seen": (
        lambda infra, tenant: setattr(tenant, "serving", None),
        "tenant-server",
        Verdict.NOT_LOOKED_AT,
        "its certificate is not known",
    ),
    "a tenant whose clock is ahead": (
        lambda infra, tenant: setattr(tenant, "server_ahead", timedelta(seconds=31)),
        "tenant-server",
        Verdict.WARN,
        "its clock is 31 s ahead of that of infra's",
    ),
    "a tenant whose clock is behind": (
        lambda infra, tenant: setattr(infra, "server_ahead", timedelta(minutes=2)),
        "tenant-server",
        Verdict.WARN,
        "its clock is 120 s behind that of infra's",
    ),
    "a machine of a person whose clock is wrong": (
        own_clock_is_wrong,
        "tenant-server",
        Verdict.OK,
        "its clock is that of infra's",
    ),
    "a server that says no time": (
        lambda infra, tenant: setattr(tenant, "server_ahead", None),
        "tenant-server",
        Verdict.NOT_LOOKED_AT,
        "say no time",
    ),
    "nothing that is copied": (
        in_order_already,
        "copied-certificates",
        Verdict.OK,
        "only a tenant with central databases",
    ),
    "a copied certificate that lasts": (
        copied(365),
        "copied-certificates",
        Verdict.OK,
        "its certificate is good until",
    ),
    "a copied certificate that ends soon": (
        copied(336),
        "copied-certificates",
        Verdict.WARN,
        "its certificate ends on 2026-12-03T00:00:00Z",
    ),
    "a copied certificate that has ended": (
        copied(300),
        "copied-certificates",
        Verdict.FAIL,
        "its certificate ended on",
    ),
    "a copied certificate that is none": (
        lambda infra, tenant: infra.put(
            SECRETS, [new_object(SECRETS, NAMESPACE, names.OVN_CERT, data={"tls.crt": "!"})]
        ),
        "copied-certificates",
        Verdict.FAIL,
        "its tls.crt cannot be read",
    ),
    "no certificate of metrics": (
        in_order_already,
        "operator-credential",
        Verdict.OK,
        "the operator signs a certificate itself",
    ),
    "a certificate of metrics that ends soon": (
        served_with(pair("copied336", 336).cert),
        "operator-credential",
        Verdict.WARN,
        "its certificate ends on 2026-12-03T00:00:00Z",
    ),
    "a certificate of metrics that is none": (
        served_with(b"none"),
        "operator-credential",
        Verdict.FAIL,
        "its tls.crt cannot be read",
    ),
    "a DPU without its label": (
        unlabelled,
        "dpu-nodes",
        Verdict.FAIL,
        "but not network.operator.openshift.io/dpu",
    ),
    "a right that may not be asked about": (
        may_not_be_asked,
        "operator-rights",
        Verdict.NOT_LOOKED_AT,
        "rights of ",
    ),
    "a right of the operator that is missing": (
        lambda infra, tenant: infra.lacking.add(("patch", "machineconfigs")),
        "operator-rights",
        Verdict.FAIL,
        "may not patch machineconfigs",
    ),
    "an operator that is run by hand": (
        drop(0, SERVICEACCOUNTS, OPERATOR, "dpunetop"),
        "operator-rights",
        Verdict.NOT_LOOKED_AT,
        "an operator that is run by hand has the rights of its own kubeconfig",
    ),
    "a right in the tenant that is missing": (
        lambda infra, tenant: tenant.lacking.add(("create", "nodemaintenances")),
        "tenant-rights",
        Verdict.FAIL,
        "may not create nodemaintenances",
    ),
    "no role of the pods": (
        drop(1, CLUSTERROLES, "", "dpunetop-dpu"),
        "pod-rights",
        Verdict.FAIL,
        "the pods of the DPUs may do nothing in the tenant",
    ),
    "a tenant of topology Central": (centrally, "leases", Verdict.OK, "a tenant of topology Central has none"),
    "a release that nothing tells": (
        nameless_release,
        "topology",
        Verdict.WARN,
        "which release it is, nothing says",
    ),
    "a setting that no DPU can have": (
        more_conf("[hybridoverlay]\nenabled=true"),
        "settings",
        Verdict.FAIL,
        "[hybridoverlay]",
    ),
    "a setting that no DPU follows": (more_conf("[default]\nunheard-of=1"), "settings", Verdict.WARN, "unheard-of"),
    "no OVN-Kubernetes on the DPUs yet": (
        lambda infra, tenant: infra.objects.pop(Place(DAEMONSETS, NAMESPACE, "ovnkube-node"), None),
        "leases",
        Verdict.OK,
        "is not there yet",
    ),
    "Leases as the hosts expect them": (same_leases, "leases", Verdict.OK, "its pods and their hosts go by"),
    "uplinks that are too small": (small_uplinks, "mtu", Verdict.WARN, "kubectl debug node/dpu-1 -- chroot"),
    "a tenant that says no MTU": (
        conf("[default]\n"),
        "mtu",
        Verdict.NOT_LOOKED_AT,
        "in the tenant says it",
    ),
    "an infra that says no MTU": (
        lambda infra, tenant: infra.unserved.add(names.NETWORKS),
        "mtu",
        Verdict.NOT_LOOKED_AT,
        "infra has no Network cluster that says its MTU",
    ),
    "no node maintenance operator": (
        lambda infra, tenant: tenant.unserved.add(names.NODEMAINTENANCES),
        "maintenance",
        Verdict.FAIL,
        "no host can be drained before its DPU",
    ),
    "an identity webhook that refuses the pods": (
        judged(condition("DpuCredentialValid", "False", "NotAdmitted", SAYS_IDENTITY)),
        "node-identity",
        Verdict.FAIL,
        "--extra-allowed-user=x",
    ),
    "an identity webhook that nobody has tried": (
        judged(),
        "node-identity",
        Verdict.NOT_LOOKED_AT,
        "the operator has not done so yet",
    ),
    "an identity webhook that did not answer": (
        judged(condition("DpuCredentialValid", "Unknown", "TenantUnreachable", "nobody answers")),
        "node-identity",
        Verdict.NOT_LOOKED_AT,
        "nobody answers",
    ),
    "another tenant than before": (
        judged(tenant_uid="somebody-else"),
        "node-identity",
        Verdict.NOT_LOOKED_AT,
        "no DpuClusterConfig is of the tenant",
    ),
    "a tenant without kube-system": (
        drop(1, NAMESPACES, "", "kube-system"),
        "mapping",
        Verdict.NOT_LOOKED_AT,
        "it does not exist",
    ),
}


PLANTS: list[Plant] = [each[0] for each in FAULTS.values()] + [each[0] for each in MORE.values()]
PLANTS += [pulls(state) for state in WRONG_MACHINE.values()]


@dataclass(frozen=True)
class Examined:
    """What a preflight finds once a fault is planted, and at which sites."""

    outcomes: tuple[Outcome, ...]
    sites: frozenset[Site]


@cache
def examined(plant: Plant) -> Examined:
    """Once a process, whatever number of tests ask."""
    plant(*(clusters := in_order()))
    with recorded() as found:
        return Examined(outcomes(*clusters), frozenset(found))


def nothing(infra: LookedAt, tenant: LookedAt) -> None:
    """No fault at all."""


@pytest.mark.parametrize("name", MORE)
def test_a_check_says_of_a_fault_what_is_wrong_and_what_to_do(name: str) -> None:
    plant, check, verdict, says = MORE[name]
    [found] = [each for each in examined(plant).outcomes if each.check.id == check]
    told = [each for each in found.findings if each.verdict is verdict and says in " ".join(map(str, astuple(each)))]
    assert told, preflight.shown(examined(plant).outcomes, Format.WIDE)
    assert all(each.mend for each in told if verdict in (Verdict.FAIL, Verdict.WARN))


def test_each_place_that_reaches_a_verdict_is_come_to() -> None:
    found = set().union(*(examined(plant).sites for plant in (nothing, *PLANTS)))
    assert sorted(sites() - found) == []


def test_each_check_is_found_in_order_and_at_fault() -> None:
    told = [each for plant in (nothing, *PLANTS) for each in examined(plant).outcomes]
    seen = {(each.check.id, finding.verdict) for each in told for finding in each.findings}
    bad = {check for check, verdict in seen if verdict in (Verdict.FAIL, Verdict.WARN)}
    assert {check for check, verdict in seen if verdict is Verdict.OK} == {check.id for check in CHECKS}
    assert {check.id for check in CHECKS} - bad == set()
