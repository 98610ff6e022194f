"""What `doctor` makes of two clusters that answer from a dictionary: each question denied, and faults of each kind."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from dpunetop.app import assets
from dpunetop.app.commands.doctor import exit_of, report
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.facts import TenantLook, facts, look_at_infra, look_at_tenant
from dpunetop.app.commands.looking import FactGatherer
from dpunetop.app.commands.output import Format, Output
from dpunetop.domain import names
from dpunetop.domain.doctor.cluster import ENFORCE_LABEL
from dpunetop.domain.doctor.examine import examine
from dpunetop.domain.doctor.model import Outcome, Place, Unseen, Verdict
from dpunetop.domain.doctor.table import CHECKS
from dpunetop.kube.errors import Forbidden, Invalid
from dpunetop.kube.keys import (
    CLUSTERROLES,
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    INFRA,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    ROLES,
    SECRETS,
    SERVICEACCOUNTS,
)
from dpunetop.kube.meta import Obj, new_object
from dpunetop.sandbox.standins.ovnkube import infra_network, interconnect_tenant
from support.kubeconfigs import good_kubeconfig
from support.lookedat import LookedAt
from support.objects import NAMESPACE, condition, config, node
from support.strangeimages import IMAGE

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
OPERATOR, OVN = "openshift-dpu-network-operator", names.OVN_KUBERNETES_NAMESPACE
SECRET = "tenant-cluster-1-kubeconf"


def text(time: datetime) -> str:
    """A time as the API writes it."""
    return time.isoformat().replace("+00:00", "Z")


def in_order() -> tuple[LookedAt, LookedAt]:
    """Infra and tenant as they should be."""
    return LookedAt(dict(an_infra().objects)), LookedAt(dict(a_tenant().objects))


@cache
def an_infra() -> LookedAt:
    infra = LookedAt()
    shipped = {obj["kind"]: obj for obj in assets.operator_manifests()}
    definitions = [obj for obj in assets.operator_manifests() if obj["kind"] == "CustomResourceDefinition"]
    infra.put(CUSTOMRESOURCEDEFINITIONS, definitions)
    deployment = {**shipped["Deployment"], "status": {"readyReplicas": 2}}
    infra.put(DEPLOYMENTS, [deployment])
    infra.put(NAMESPACES, [namespace(name) for name in (OPERATOR, NAMESPACE)])
    infra.put(NAMESPACES, [kube_system("uid-of-infra")])
    lease = {"holderIdentity": "dpunetop-0", "renewTime": text(NOW - timedelta(seconds=2))}
    infra.put(LEASES, [new_object(LEASES, OPERATOR, names.OPERATOR_LEASE, spec=lease)])
    infra.put(NODES, [{**node("dpu-1"), "status": on_arm()}])
    accounts = ((OPERATOR, "dpunetop"), (OPERATOR, "dpu-drain-blocker"), (NAMESPACE, "ovn-kubernetes-node"))
    infra.put(SERVICEACCOUNTS, [new_object(SERVICEACCOUNTS, *each) for each in accounts])
    infra.put(names.NETWORKS, [new_object(names.NETWORKS, "", "cluster", status={"clusterNetworkMTU": 1400})])
    infra.put(DAEMONSETS, [with_image(infra_network(OVN))])
    served = config()
    served["status"] |= {
        "tenantUID": "uid-of-tenant",
        "conditions": [condition("DpuCredentialValid", "True", "Minted")],
    }
    infra.put(names.DPUCLUSTERCONFIGS, [served])
    infra.put(SECRETS, [secret(good_kubeconfig()), credential(NOW + timedelta(days=6))])
    entries = {"dpu-1": f"{names.TENANT_NODE_ENV}=host-1\n"}
    infra.put(CONFIGMAPS, [new_object(CONFIGMAPS, NAMESPACE, names.ENV_OVERRIDES, data=entries)])
    return infra


@cache
def a_tenant() -> LookedAt:
    tenant = LookedAt()
    tenant.put(NAMESPACES, [kube_system("uid-of-tenant")])
    tenant.put(NODES, [node("host-1", {names.DPU_HOST_LABEL: ""})])
    kinds = {each.kind: each for each in (DAEMONSETS, DEPLOYMENTS, CONFIGMAPS, ROLES, CLUSTERROLES)}
    for obj in (*interconnect_tenant(OVN, "4.23.0", 10), *assets.tenant_manifests()):
        if obj["kind"] in kinds:
            tenant.put(kinds[obj["kind"]], [obj])
    return tenant


def namespace(name: str, **annotations: str) -> dict[str, Any]:
    made = new_object(NAMESPACES, "", name)
    made["metadata"] |= {"labels": {ENFORCE_LABEL: "privileged"}, "annotations": annotations}
    return made


def kube_system(uid: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system", "uid": uid}}


def on_arm() -> dict[str, Any]:
    return {"nodeInfo": {"architecture": "arm64"}, "images": [{"names": [IMAGE]}]}


def with_image(objects: list[dict[str, Any]]) -> dict[str, Any]:
    [daemonset] = [obj for obj in objects if obj["kind"] == "DaemonSet"]
    for container in daemonset["spec"]["template"]["spec"]["containers"]:
        container["image"] = IMAGE
    return daemonset


def secret(kubeconfig: bytes) -> dict[str, Any]:
    return new_object(SECRETS, NAMESPACE, SECRET, data={"config": base64.b64encode(kubeconfig).decode()})


def credential(ends: datetime) -> dict[str, Any]:
    made = new_object(SECRETS, NAMESPACE, names.TENANT_CREDENTIAL, data={"token": "dG9rZW4="})
    made["metadata"]["annotations"] = {names.EXPIRES_AT_ANNOTATION: text(ends)}
    return made


def outcomes(infra: LookedAt, tenant: LookedAt | None) -> tuple[Outcome, ...]:
    """What the checks find."""
    look = look_at_infra(FactGatherer(infra, INFRA), OPERATOR, "dpunetop")
    seen = (
        Unseen("no kubeconfig", "give one") if tenant is None else look_at_tenant(FactGatherer(tenant, "tenant"), OVN)
    )
    return examine(CHECKS, [facts(look, TenantLook(seen, OVN, "the tenant", None), NOW, OPERATOR)])


def shown(found: tuple[Outcome, ...], form: Format = Format.TABLE) -> str:
    """What a person reads."""
    stream = io.StringIO()
    report(Output(stream, form, False, False), found)
    return stream.getvalue()


def test_clusters_in_order_are_found_in_order() -> None:
    found = outcomes(*in_order())
    assert exit_of(found) is Exit.GOOD, shown(found)
    assert {each.verdict for each in found} == {Verdict.OK}, shown(found)


def questions() -> list[tuple[int, object]]:
    """Everything that a preflight asks of clusters in order; of rights one for each user and verb."""
    clusters = in_order()
    outcomes(*clusters)
    found: dict[object, tuple[int, object]] = {}
    for side, cluster in enumerate(clusters):
        for each in cluster.asked:
            match each:
                case ("may", user, (verb, _)):
                    found[side, user, verb] = side, each
                case _:
                    found[side, each, ""] = side, each
    return list(found.values())


def test_whatever_single_question_is_not_permitted_not_everything_is_in_order() -> None:
    for side, question in questions():
        clusters = in_order()
        clusters[side].forbidden.add(question)
        found = outcomes(*clusters)
        assert exit_of(found) is not Exit.GOOD, question
        if isinstance(question, tuple) and question[0] == "rehearse":
            continue  # who has the rights for it and is refused, is refused by admission
        assert Verdict.NOT_LOOKED_AT in {each.verdict for outcome in found for each in outcome.findings}, question


def test_where_nothing_may_be_asked_nothing_is_in_order() -> None:
    clusters = in_order()
    for side in range(2):
        outcomes(*(asked := in_order()))
        clusters[side].forbidden.update(asked[side].asked)
        clusters[side].serving = clusters[side].server_ahead = None  # not even a handshake
    assert {each.verdict for each in outcomes(*clusters)} == {Verdict.NOT_LOOKED_AT}


def test_every_check_that_is_of_a_tenant_is_not_looked_at_without_its_kubeconfig() -> None:
    found = outcomes(an_infra(), None)
    assert {each.check.side.value: each.verdict for each in found} == {
        "infra": Verdict.OK,
        "tenant": Verdict.NOT_LOOKED_AT,
    }


def drop(side: int, resource: Any, namespace: str, name: str) -> Callable[[LookedAt, LookedAt], None]:
    """An object is missing."""
    return lambda *clusters: clusters[side].objects.__delitem__(Place(resource, namespace, name)) or None


def old_maintenance(infra: LookedAt, tenant: LookedAt) -> None:
    made = new_object(names.NODEMAINTENANCES, "", "hers", spec={"nodeName": "host-1"})
    made["metadata"]["creationTimestamp"] = text(NOW - timedelta(minutes=5))
    tenant.put(names.NODEMAINTENANCES, [made])
    tenant.put(NODES, [node("host-2", {})])


def stuck_maintenance(infra: LookedAt, tenant: LookedAt) -> None:
    made = new_object(names.NODEMAINTENANCES, "", "hers", spec={"nodeName": "host-1"})
    made["status"] = {"phase": "Running", "lastError": "lease is held by another"}
    tenant.put(names.NODEMAINTENANCES, [made])
    tenant.put(NODES, [node("host-2", {})])  # to try one with


def no_constraints(infra: LookedAt, tenant: LookedAt) -> None:
    infra.lacking.add(("use", "securitycontextconstraints"))


def over_quota(infra: LookedAt, tenant: LookedAt) -> None:
    infra.refuses["Pod"] = Forbidden(403, "Forbidden", "exceeded quota: pods=1")


def released(version: str) -> Callable[[LookedAt, LookedAt], None]:
    return lambda infra, tenant: setattr(infra, "gitversion", version)


def other_leases(infra: LookedAt, tenant: LookedAt) -> None:
    container = {"name": "ovnkube-controller", "image": IMAGE, "args": ["--dpu-node-lease-renew-interval=30"]}
    spec = {"template": {"spec": {"containers": [container]}}}
    infra.put(DAEMONSETS, [new_object(DAEMONSETS, NAMESPACE, "ovnkube-node", spec=spec)])


def unpulled(infra: LookedAt, tenant: LookedAt) -> None:
    amd = {"nodeInfo": {"architecture": "amd64"}, "images": [{"names": [IMAGE]}]}
    infra.put(NODES, [{**node("dpu-1"), "status": {"nodeInfo": {"architecture": "arm64"}}}])
    infra.put(NODES, [{**node("master", {}), "status": amd}])


def migrating(infra: LookedAt, tenant: LookedAt) -> None:
    tenant.put(PODS, [pod := new_object(PODS, OVN, "ovnkube-master-0")])
    pod["metadata"]["labels"] = {"app": "ovnkube-master"}


def unserved_release(infra: LookedAt, tenant: LookedAt) -> None:
    for obj in interconnect_tenant(OVN, "4.16.0"):
        if obj["kind"] == "DaemonSet":
            tenant.put(DAEMONSETS, [obj])


def token_ends_soon(infra: LookedAt, tenant: LookedAt) -> None:
    infra.put(SECRETS, [credential(NOW + timedelta(hours=3))])


def provided(ends: datetime) -> Callable[[LookedAt, LookedAt], None]:
    """Pods have the given kubeconfig itself, with a token until then."""

    def plant(infra: LookedAt, tenant: LookedAt) -> None:
        claims = json.dumps({"exp": int(ends.timestamp())}).encode()
        token = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"
        given = base64.b64encode(good_kubeconfig(token=token)).decode()
        own = new_object(SECRETS, NAMESPACE, names.TENANT_KUBECONFIG, data={names.TENANT_CREDENTIAL_KEY: given})
        infra.put(SECRETS, [own, new_object(SECRETS, NAMESPACE, names.TENANT_CREDENTIAL, data={})])

    return plant


def own_kubeconfig(infra: LookedAt, tenant: LookedAt) -> None:
    place = Place(DEPLOYMENTS, OPERATOR, "dpunetop")
    pod = {"containers": [{"name": "operator", "args": ["run", "--kubeconfig=/etc/kubeconfig"]}]}
    infra.objects[place] = {**infra.objects[place], "spec": {"replicas": 1, "template": {"spec": pod}}}


def bad_grant(infra: LookedAt, tenant: LookedAt) -> None:
    infra.put(NAMESPACES, [namespace(NAMESPACE, **{names.NODE_GRANT_ANNOTATION: "a b c"})])


def no_dpus(infra: LookedAt, tenant: LookedAt) -> None:
    infra.put(NODES, [node("dpu-1", {})])


def narrow_role(infra: LookedAt, tenant: LookedAt) -> None:
    place = Place(CLUSTERROLES, "", "dpunetop-dpu")
    rules = [rule for rule in tenant.objects[place]["rules"] if "nodes/status" not in rule["resources"]]
    tenant.objects[place] = {**tenant.objects[place], "rules": rules}


FAULTS: dict[str, tuple[Callable[[LookedAt, LookedAt], None], Exit, tuple[str, ...]]] = {
    "an old Kubernetes": (released("v1.26.9+x"), Exit.WRONG, ("the API server of infra: is v1.26", "v1.27 or later")),
    "no definition": (
        drop(0, CUSTOMRESOURCEDEFINITIONS, "", "dpuclusterconfigs.dpu.openshift.io"),
        Exit.WRONG,
        ("CustomResourceDefinition dpuclusterconfigs.dpu.openshift.io: does not exist", "-> kubectl apply"),
    ),
    "budgets not served": (
        lambda infra, tenant: infra.unserved.add(names.PODDISRUPTIONBUDGETS),
        Exit.WRONG,
        ("API poddisruptionbudgets.policy of infra: is not served in version v1",),
    ),
    "no pools": (
        lambda infra, tenant: infra.unserved.add(names.MACHINECONFIGPOOLS),
        Exit.GOOD,
        ("another controller has to configure the DPUs", "docs/install.md"),
    ),
    "SCC": (
        no_constraints,
        Exit.WRONG,
        (
            "system:serviceaccount:dpu-one:ovn-kubernetes-node: may not use SecurityContextConstraints privileged",
            "-> oc adm policy add-scc-to-user privileged --serviceaccount ovn-kubernetes-node --namespace dpu-one",
            "may not use SecurityContextConstraints hostnetwork-v2",
        ),
    ),
    "quota": (
        over_quota,
        Exit.WRONG,
        ("namespace dpu-one: does not admit pods", "exceeded quota", "-> kubectl describe resourcequota"),
    ),
    "a maintenance that nobody begins with": (
        old_maintenance,
        Exit.WRONG,
        ("NodeMaintenance hers of the tenant: no controller has begun with it", "grep node-maintenance"),
    ),
    "a maintenance with an error": (
        stuck_maintenance,
        Exit.GOOD,
        ('could not go on: "lease is held by another"', "describe nodemaintenance hers"),
    ),
    "other Leases": (
        other_leases,
        Exit.WRONG,
        (
            "DaemonSet dpu-one/ovnkube-node: its pods renew the Leases of their hosts by renew-interval 30",
            "hosts go by",
        ),
    ),
    "an image of another architecture": (
        unpulled,
        Exit.UNSEEN,
        ("whether it is built for arm64", "only nodes of amd64 have it", "-> skopeo inspect --raw docker://quay.io"),
    ),
    "a tenant on its way to another topology": (migrating, Exit.WRONG, ("topology Migrating", "ovnkube-master exist")),
    "a release that is not served": (
        unserved_release,
        Exit.WRONG,
        ("OpenShift 4.16 with topology Interconnect is not supported", "docs/limits.md"),
    ),
    "a minted token that is not renewed": (
        token_ends_soon,
        Exit.GOOD,
        ("its token ends on 2026-12-01T15:00:00Z, and is renewed daily: the operator does not get to it",),
    ),
    "a provided credential that ends": (
        provided(NOW + timedelta(days=3)),
        Exit.GOOD,
        ("dpunetop-tenant-credential, of the DPU pods: its credential ends on 2026-12-04T12:00:00Z",),
    ),
    "a provided credential that has ended": (
        provided(NOW - timedelta(days=3)),
        Exit.WRONG,
        ("its credential ended on 2026-11-28T12:00:00Z", "-> python -m dpunetop tenant-kubeconfig"),
    ),
    "an operator with a kubeconfig": (own_kubeconfig, Exit.UNSEEN, ("runs with a kubeconfig of its own",)),
    "a grant that is no selector": (
        bad_grant,
        Exit.WRONG,
        ("namespace dpu-one: its annotation dpu.openshift.io/node-grant is no label selector", "-> kubectl annotate"),
    ),
    "no DPU": (no_dpus, Exit.WRONG, ("none has the label network.operator.openshift.io/dpu", "-> kubectl label node")),
    "a role of the pods that lacks a rule": (
        narrow_role,
        Exit.WRONG,
        ("ClusterRole dpunetop-dpu of the tenant: does not give the pods of the DPUs: patch nodes/status",),
    ),
    "a served namespace that is gone": (
        drop(0, NAMESPACES, "", NAMESPACE),
        Exit.WRONG,
        ("namespace dpu-one: does not exist",),
    ),
    "a webhook that refuses the maintenance": (
        lambda infra, tenant: tenant.refuses.__setitem__("NodeMaintenance", Invalid(422, "Invalid", "no quorum")),
        Exit.WRONG,
        ("does not take a NodeMaintenance", "no quorum"),
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_object_cause_and_mend(name: str) -> None:
    plant, code, says = FAULTS[name]
    clusters = in_order()
    plant(*clusters)
    found = outcomes(*clusters)
    assert exit_of(found) is code, shown(found)
    assert [words for words in says if words not in shown(found)] == [], shown(found)


def test_documents_hold_every_check_with_what_it_looked_at() -> None:
    found = json.loads(shown(outcomes(*in_order()), Format.JSON))["checks"]
    assert [each["id"] for each in found] == [check.id for check in CHECKS]
    assert all(each["looksAt"] and each["findings"] for each in found)


def test_nothing_of_a_secret_is_shown() -> None:
    told = shown(outcomes(*in_order()), Format.WIDE) + shown(outcomes(*in_order()), Format.YAML)
    assert "token-of-a-test" not in told
    assert "dG9rZW4=" not in told


def test_ids_and_titles_are_unique() -> None:
    assert len({check.id for check in CHECKS}) == len({check.title for check in CHECKS}) == len(CHECKS)
