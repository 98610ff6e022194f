"""What config/ and deploy/ say agrees with the code and asks for no more rights than it must."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dpunetop.app.settings import DEFAULT_HEALTH_PORT, DEFAULT_METRICS_PORT, parse_settings
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.types import CredentialChoice, DeletionPolicy, TopologyChoice
from dpunetop.domain.credential.account import ACCOUNTS, Account, rights_to_mint
from dpunetop.domain.dpunode.status import Phase
from dpunetop.domain.ovnkube.copies import SOURCES
from dpunetop.domain.reasons import DPU_NODE_CONDITIONS
from dpunetop.domain.tenant.addresses import REFUSED
from dpunetop.kube.keys import crd_name
from support.sources import documents_in

ROOT = Path(__file__).parents[3]
OPERATOR_NAMESPACE = "openshift-dpu-network-operator"
ALL_OF_ONES_OWN = {"get", "list", "watch", "create", "patch", "delete"}
READ = {"get", "list", "watch"}

Obj = dict[str, Any]


def documents(*patterns: str) -> Iterator[Obj]:
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            yield from (document for document in documents_in(path) if document)


def of_kind(kind: str, *patterns: str) -> list[Obj]:
    return [document for document in documents(*patterns) if document["kind"] == kind]


def one(kind: str, name: str, pattern: str) -> Obj:
    [found] = [document for document in of_kind(kind, pattern) if document["metadata"]["name"] == name]
    return found


def verbs(role: Obj, resource: str, name: str | None = None) -> set[str]:
    """What a role grants on a resource as a whole, or on one object of it."""
    granted: set[str] = set()
    for rule in role["rules"]:
        names_match = name in rule["resourceNames"] if "resourceNames" in rule else name is None
        if resource in rule.get("resources", ()) and names_match:
            granted |= set(rule["verbs"])
    return granted


def tenant_role() -> Obj:
    return one("Role", "dpunetop-tenant", "config/tenant-namespace/*.yaml")


@pytest.mark.parametrize("path", sorted(ROOT.glob("config/**/*.yaml")) + sorted(ROOT.glob("deploy/*.yaml")), ids=str)
def test_every_manifest_parses_and_has_a_kind(path: Path) -> None:
    assert all(document["apiVersion"] and document["kind"] for document in documents_in(path))


def test_the_definitions_are_those_of_the_kinds_that_the_code_reads() -> None:
    crds = of_kind("CustomResourceDefinition", "config/**/*.yaml")
    kinds = (names.DPUCLUSTERCONFIGS, names.DPUNODES)
    found = {(crd["metadata"]["name"], crd["spec"]["names"]["kind"]) for crd in crds}
    assert found == {(crd_name(each), each.kind) for each in kinds}


def test_the_schema_knows_the_choices_that_the_code_knows() -> None:
    [crd] = of_kind("CustomResourceDefinition", "config/crd/dpu*_dpuclusterconfigs.yaml")
    fields = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert fields["topology"]["enum"] == [choice.value for choice in TopologyChoice]
    assert fields["tenantCredential"]["enum"] == [choice.value for choice in CredentialChoice]
    assert fields["deletionPolicy"]["enum"] == [choice.value for choice in DeletionPolicy]


def test_the_schema_of_a_dpu_node_knows_what_the_code_says_of_one() -> None:
    [crd] = of_kind("CustomResourceDefinition", "config/crd/dpu*_dpunodes.yaml")
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    assert status["phase"]["enum"] == [phase.value for phase in Phase]
    (text,) = [status["conditions"]["items"]["properties"]["type"]["description"]]
    assert re.findall(r"[A-Z]\w+", text)[1:] == list(DPU_NODE_CONDITIONS)


GRANTED: list[tuple[str, str | None, set[str]]] = [
    ("secrets", "tenant-cluster-1-kubeconf", READ),
    ("secrets", names.OVN_CERT, ALL_OF_ONES_OWN),
    ("secrets", names.TENANT_CREDENTIAL, ALL_OF_ONES_OWN),
    ("secrets", names.TENANT_KUBECONFIG, ALL_OF_ONES_OWN),
    ("secrets", None, set()),
    ("configmaps", names.ENV_OVERRIDES, READ),
    ("configmaps", names.OVN_CA, ALL_OF_ONES_OWN),
    ("configmaps", names.OVNKUBE_CONFIG, ALL_OF_ONES_OWN),
    ("configmaps", names.OVNKUBE_NODE_ENTRIES, ALL_OF_ONES_OWN),
    ("configmaps", None, set()),
    ("serviceaccounts", names.OVNKUBE_SERVICE_ACCOUNT, ALL_OF_ONES_OWN),
    ("daemonsets", names.OVNKUBE_NODE, ALL_OF_ONES_OWN),
    ("daemonsets", None, set()),
    ("pods", None, {*READ, "delete"}),
    (names.DPUNODES.plural, None, ALL_OF_ONES_OWN),
    (f"{names.DPUNODES.plural}/status", None, {"patch"}),
    ("events", None, {"list", "watch", "create", "patch"}),
]


@pytest.mark.parametrize(
    ("resource", "name", "expected"), GRANTED, ids=[f"{resource}-{name}" for resource, name, _ in GRANTED]
)
def test_a_served_namespace_grants(resource: str, name: str | None, expected: set[str]) -> None:
    assert verbs(tenant_role(), resource, name) == expected


def test_nothing_more_is_granted_there_than_by_the_names_that_the_code_uses() -> None:
    granted = {name for rule in tenant_role()["rules"] for name in rule.get("resourceNames", ())}
    assert granted == {
        "tenant-cluster-1-kubeconf",
        names.ENV_OVERRIDES,
        names.OVN_CERT,
        names.OVN_CA,
        names.OVNKUBE_CONFIG,
        names.OVNKUBE_NODE,
        names.OVNKUBE_NODE_ENTRIES,
        names.OVNKUBE_SERVICE_ACCOUNT,
        names.TENANT_CREDENTIAL,
        names.TENANT_KUBECONFIG,
    }


def test_the_cluster_grants_the_operator_what_has_no_namespace() -> None:
    role = one("ClusterRole", "dpunetop", "config/rbac/*.yaml")
    assert verbs(role, "nodes") == READ
    assert verbs(role, "namespaces", names.KUBE_SYSTEM) == READ
    assert verbs(role, "machineconfigs") == verbs(role, "machineconfigpools") == ALL_OF_ONES_OWN
    for resource in (names.DPUCLUSTERCONFIGS, names.MACHINECONFIGPOOLS):
        assert verbs(role, "customresourcedefinitions", crd_name(resource)) == READ
    assert {resource for rule in role["rules"] for resource in rule["resources"]}.isdisjoint({"secrets", "configmaps"})


def of_tenant(role: Obj) -> bool:
    return role in list(documents("config/tenant/*.yaml"))


def of_dpus(role: Obj) -> bool:
    return bool(role["metadata"]["name"] == names.DPU_ROLE)


def roles() -> list[Obj]:
    return of_kind("Role", "config/**/*.yaml") + of_kind("ClusterRole", "config/**/*.yaml")


def words(rules: list[Obj]) -> set[str]:
    return {word for rule in rules for named in rule.values() for word in named}


def test_no_role_holds_a_wildcard_or_a_right_to_more_rights() -> None:
    infra = [rule for role in roles() if not of_tenant(role) for rule in role["rules"]]
    assert words(infra).isdisjoint({"*", "escalate", "bind", "impersonate", "serviceaccounts/token", "pods/exec"})


def test_in_the_tenant_rights_to_more_rights_are_those_by_name_that_minting_takes() -> None:
    rules = [rule for role in roles() if of_tenant(role) for rule in role["rules"]]
    assert words(rules).isdisjoint({"*", "escalate", "impersonate", "pods/exec"})
    mighty = [rule for rule in rules if {"bind", "serviceaccounts/token"} & words([rule])]
    assert sorted((rule["resources"], rule["resourceNames"], rule["verbs"]) for rule in mighty) == [
        (["clusterroles"], [names.DPU_ROLE], ["bind"]),
        (["roles"], [names.DPU_ROLE], ["bind"]),
        (["serviceaccounts/token"], list(ACCOUNTS.values()), ["create"]),
    ]
    own = [rule for role in roles() if of_tenant(role) and not of_dpus(role) for rule in role["rules"]]
    unnamed = [(rule["resources"], set(rule["verbs"])) for rule in own if "resourceNames" not in rule]
    assert unnamed == [
        (["pods"], READ),
        (["leases"], READ),
        (["nodes"], {*READ, "patch"}),
        (["poddisruptionbudgets"], {"list"}),
        (["nodemaintenances"], ALL_OF_ONES_OWN),
    ]


def granted_to_dpus() -> set[str]:
    """As the recorded list has it."""
    found = set()
    for role in (role for role in roles() if of_dpus(role)):
        within = " in the namespace of OVN-Kubernetes" if role["kind"] == "Role" else ""
        for rule in role["rules"]:
            assert "resourceNames" not in rule
            for group, resource, verb in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                found.add(f"{verb} {resource}{'.' if group else ''}{group}{within}")
    return found


def test_a_dpu_may_in_the_tenant_what_ovnkube_was_seen_to_use_and_nothing_else() -> None:
    text = (ROOT / "tests" / "data" / "ovnkube-rights" / "8871cd9ce.txt").read_text()
    lines = [line.split(maxsplit=2) for line in text.splitlines() if not line.startswith("#")]
    assert {how for how, _, _ in lines} == {"audit", "fallback", "informer", "write"}
    used = {f"{verb} {what}" for _, verb, what in lines}
    assert len(used) == len(lines)
    assert granted_to_dpus() - used == set()
    assert used - granted_to_dpus() == set()
    forbidden = {"configmaps", "secrets", "customresourcedefinitions", "certificatesigningrequests"}
    assert not any(word in right for right in used for word in forbidden)
    assert "create leases.coordination.k8s.io in the namespace of OVN-Kubernetes" not in used


def test_a_tenant_grants_what_minting_and_its_end_take() -> None:
    local, wide = (one(kind, "dpunetop-operator", "config/tenant/*.yaml") for kind in ("Role", "ClusterRole"))
    for name in ACCOUNTS.values():
        for right in rights_to_mint(Account(names.OVN_KUBERNETES_NAMESPACE, name)):
            assert right.verb in verbs(local if right.namespace else wide, right.resource, right.name), right
        for role, resource in ((local, "serviceaccounts"), (local, "rolebindings"), (wide, "clusterrolebindings")):
            assert verbs(role, resource, name) == ALL_OF_ONES_OWN


def test_a_tenant_grants_what_is_read() -> None:
    local, wide = (one(kind, "dpunetop-operator", "config/tenant/*.yaml") for kind in ("Role", "ClusterRole"))
    for source in SOURCES:
        assert verbs(local, source.resource.plural, source.name) == READ
    assert verbs(local, "configmaps", names.OVNKUBE_SCRIPT_LIB) == READ
    for daemonset in (names.OVNKUBE_NODE, names.OVNKUBE_NODE_DPU_HOST):
        assert verbs(local, "daemonsets", daemonset) == READ
    assert verbs(local, "deployments", names.OVNKUBE_CONTROL_PLANE) == READ
    assert verbs(local, "pods") == READ
    assert verbs(wide, "namespaces", names.KUBE_SYSTEM) == READ
    assert verbs(wide, "customresourcedefinitions", crd_name(names.CLUSTERVERSIONS)) == READ
    assert verbs(wide, "clusterversions", names.CLUSTERVERSION) == READ


def test_beside_the_operator_it_may_keep_blockers() -> None:
    role = one("Role", "dpunetop-blockers", "config/rbac/*.yaml")
    assert role["metadata"]["namespace"] == OPERATOR_NAMESPACE
    assert verbs(role, "deployments") == verbs(role, "poddisruptionbudgets") == ALL_OF_ONES_OWN
    assert verbs(role, "pods") == READ
    assert verbs(role, "serviceaccounts", names.DRAIN_BLOCKER) == ALL_OF_ONES_OWN
    assert {resource for rule in role["rules"] for resource in rule["resources"]}.isdisjoint({"secrets", "configmaps"})


def test_a_tenant_lets_its_hosts_be_drained() -> None:
    wide = one("ClusterRole", "dpunetop-operator", "config/tenant/*.yaml")
    assert verbs(wide, "nodemaintenances") == ALL_OF_ONES_OWN
    assert verbs(wide, "customresourcedefinitions", crd_name(names.NODEMAINTENANCES)) == READ


def test_a_tenant_lets_the_leases_of_its_hosts_be_followed() -> None:
    local = one("Role", "dpunetop-operator", "config/tenant/*.yaml")
    assert verbs(local, "leases") == READ


@pytest.mark.parametrize("pattern", ["config/rbac/*.yaml", "deploy/dpunetop.yaml"])
def test_who_may_merely_edit_a_namespace_may_make_no_dpuclusterconfig_there(pattern: str) -> None:
    edit = one("ClusterRole", "dpunetop-edit", pattern)
    assert set(edit["metadata"]["labels"]) == {"rbac.authorization.k8s.io/aggregate-to-admin"}


def test_no_role_for_the_whole_cluster_reads_secrets() -> None:
    wide = of_kind("ClusterRole", "config/**/*.yaml")
    assert not [rule for role in wide for rule in role["rules"] if "secrets" in rule.get("resources", ())]


def manager() -> Obj:
    return one("Deployment", "dpunetop", "config/manager/*.yaml")


def container() -> Obj:
    [found] = manager()["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_the_pod_starts_with_settings_that_are_accepted() -> None:
    environment = {entry["name"]: entry.get("value", OPERATOR_NAMESPACE) for entry in container()["env"]}
    settings = parse_settings(container()["args"][1:], environment)
    assert (settings.leader_election is not None, settings.watch_namespaces, settings.tenant_namespace) == (
        True,
        None,
        "openshift-ovn-kubernetes",
    )


def test_ports_and_probes_are_those_that_the_operator_listens_on() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert ports == {"metrics": DEFAULT_METRICS_PORT, "health": DEFAULT_HEALTH_PORT}
    probes = [container()[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")]
    assert probes == [{"path": "/healthz", "port": "health"}, {"path": "/readyz", "port": "health"}]
    settings = parse_settings(container()["args"][1:], {"NAMESPACE": "x"})
    listening = [address.port for address in (settings.metrics, settings.health) if address]
    assert listening == [DEFAULT_METRICS_PORT, DEFAULT_HEALTH_PORT]
    [port] = one("Service", "dpunetop-metrics", "config/manager/*.yaml")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (DEFAULT_METRICS_PORT, "metrics")


def test_the_pod_is_restricted_and_writes_to_memory_only() -> None:
    pod = manager()["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert [volume["emptyDir"]["medium"] for volume in pod["volumes"] if "emptyDir" in volume] == ["Memory"]


def test_the_pods_keep_off_the_dpus() -> None:
    affinity = manager()["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {"key": names.DPU_NODE_LABEL, "operator": "DoesNotExist"} in term["matchExpressions"]


def test_two_replicas_of_which_one_always_stays() -> None:
    [budget] = of_kind("PodDisruptionBudget", "config/manager/*.yaml")
    assert (manager()["spec"]["replicas"], budget["spec"]["maxUnavailable"]) == (2, 1)
    assert budget["spec"]["selector"] == manager()["spec"]["selector"]


def test_every_binding_of_the_operator_names_its_own_account() -> None:
    account = one("ServiceAccount", "dpunetop", "config/rbac/*.yaml")["metadata"]
    bindings = [*of_kind("RoleBinding", "config/**/*.yaml"), *of_kind("ClusterRoleBinding", "config/**/*.yaml")]
    subjects = [subject for binding in bindings for subject in binding["subjects"] if subject["name"] == "dpunetop"]
    assert subjects
    assert all(subject["namespace"] == account["namespace"] for subject in subjects)
    assert manager()["spec"]["template"]["spec"]["serviceAccountName"] == account["name"]


def test_only_who_monitors_reaches_the_metrics_and_nobody_else_anything() -> None:
    policy = one("NetworkPolicy", "dpunetop", "config/manager/*.yaml")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-monitoring"}}}
    assert policy["spec"]["ingress"] == [{"from": [monitoring], "ports": [{"port": "metrics", "protocol": "TCP"}]}]


def test_those_who_may_scrape_are_those_who_are_let_through() -> None:
    bindings = of_kind("ClusterRoleBinding", "config/prometheus/*.yaml")
    assert {subject["namespace"] for binding in bindings for subject in binding["subjects"]} == {"openshift-monitoring"}


def collapsed(texts: list[str], version: int) -> list[str]:
    """As few networks as cover them."""
    if version == 4:
        return [str(network) for network in ipaddress.collapse_addresses(map(ipaddress.IPv4Network, texts))]
    return [str(network) for network in ipaddress.collapse_addresses(map(ipaddress.IPv6Network, texts))]


def egress() -> Obj:
    spec: Obj = one("NetworkPolicy", "dpunetop-egress", "config/egress/*.yaml")["spec"]
    return spec


def test_outward_it_reaches_all_but_what_it_refuses_itself() -> None:
    blocks = [peer["ipBlock"] for peer in egress()["egress"][1]["to"]]
    assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "::/0"]
    for block in blocks:
        version = ipaddress.ip_network(block["cidr"]).version
        texts = [str(row.network) for row in REFUSED if row.network.version == version]
        assert block["except"] == collapsed(texts, version)


def test_outward_it_asks_for_names_and_talks_to_api_servers_and_to_nobody_else() -> None:
    assert egress()["policyTypes"] == ["Egress"]
    ports = [[(port["port"], port["protocol"]) for port in rule["ports"]] for rule in egress()["egress"]]
    assert ports == [[(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP")], [(443, "TCP"), (6443, "TCP")]]


def test_the_policies_are_about_the_pods_of_the_operator_alone() -> None:
    labels = manager()["spec"]["template"]["metadata"]["labels"]
    policies = of_kind("NetworkPolicy", "config/**/*.yaml")
    assert len(policies) == 2
    assert [policy["spec"]["podSelector"] for policy in policies] == [{"matchLabels": labels}] * 2
