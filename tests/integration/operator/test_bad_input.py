"""Bad input: each gets a clear condition and an Event, loses nothing, and heals live when it is repaired."""

from __future__ import annotations

import contextlib
import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.errors import Invalid
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, NAMESPACES, PODS, SECRETS, crd_name
from dpunetop.kube.meta import new_object
from dpunetop.sandbox import seed
from dpunetop.sandbox.components import API_ONLY, Spec, User
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.world import World
from support.trial import Trial, decoded, encoded, eventually

pytestmark = pytest.mark.timeout(600)

READER = User("reader", ("system:masters",))
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def other_cluster(world: World) -> Iterator[ControlPlane]:
    """A third cluster, which is nobody's tenant."""
    with ControlPlane(Spec("other", API_ONLY, (READER,))) as running:
        yield running


def user_of(kubeconfig: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = kubeconfig["users"][0]["user"]
    return found


def cluster_of(kubeconfig: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = kubeconfig["clusters"][0]["cluster"]
    return found


# --- the kubeconfig Secret --------------------------------------------------------------------------------------------

BAD_KUBECONFIGS: dict[str, tuple[Change, str, str]] = {
    "with exec": (lambda k: user_of(k).update(exec={"command": "sh"}), "Exec", "user.exec would run a program"),
    "with a path to a certificate": (
        lambda k: user_of(k).update({"client-certificate": "/etc/passwd"}),
        "FileReference",
        "user.client-certificate names a file",
    ),
    "with a path to a token": (
        lambda k: user_of(k).update(tokenFile="/var/run/secrets/token"),
        "FileReference",
        "user.tokenFile names a file",
    ),
    "with a path to a CA": (
        lambda k: cluster_of(k).update({"certificate-authority": "/ca.pem"}),
        "FileReference",
        "cluster.certificate-authority names a file",
    ),
    "over http": (
        lambda k: cluster_of(k).update(server=cluster_of(k)["server"].replace("https", "http")),
        "NotHttps",
        "cluster.server is not https",
    ),
    "without a CA": (
        lambda k: cluster_of(k).pop("certificate-authority-data"),
        "Insecure",
        "cluster.certificate-authority-data is missing",
    ),
}


@pytest.mark.parametrize(("spoil", "word", "words"), BAD_KUBECONFIGS.values(), ids=BAD_KUBECONFIGS.keys())
def test_a_kubeconfig_that_is_refused_is_named_and_its_repair_is_seen(
    trial: Trial, spoil: Change, word: str, words: str
) -> None:
    bad = copy.deepcopy(trial.kubeconfig())
    spoil(bad)
    trial.store_kubeconfig(bad)
    trial.store_overrides()
    trial.create_config()
    condition = trial.wait("CredentialsValid", "False", "InvalidKubeconfig")
    assert words in condition["message"]
    assert f"({word})" in condition["message"]
    assert condition["message"].startswith(f"Secret {trial.names.secret}: ")
    trial.wait_event("InvalidKubeconfig", words)
    trial.wait("Ready", "False", "InvalidKubeconfig")
    trial.wait("McpReady", "True")
    trial.store_kubeconfig()
    trial.wait("Ready", "True")


BAD_SECRETS = {
    "no key": ({"kubeconfig": encoded("x")}, 'the Secret has no key "config"', "MissingKey"),
    "garbage": ({"config": encoded("{]\x00")}, "is not valid YAML", "NotYaml"),
    "empty": ({"config": ""}, "is empty", "NotYaml"),
    "something else": ({"config": encoded("apiVersion: v1\nkind: Pod\n")}, "this is not a kubeconfig", "WrongType"),
}


@pytest.mark.parametrize(("data", "words", "word"), BAD_SECRETS.values(), ids=BAD_SECRETS.keys())
def test_a_secret_without_a_kubeconfig_is_reported_until_it_is_repaired(
    trial: Trial, data: dict[str, str], words: str, word: str
) -> None:
    trial.store_secret(data)
    trial.store_overrides()
    trial.create_config()
    condition = trial.wait("CredentialsValid", "False", "InvalidKubeconfig")
    assert words in condition["message"]
    assert f"({word})" in condition["message"]
    trial.wait_event("InvalidKubeconfig", words)
    trial.wait("TenantReachable", "Unknown", "NoCredentials")
    trial.store_kubeconfig()
    trial.wait("Ready", "True")


def test_a_missing_secret_is_reported_until_it_exists(trial: Trial) -> None:
    trial.store_overrides()
    trial.create_config()
    condition = trial.wait("CredentialsValid", "False", "SecretNotFound")
    assert condition["message"] == f"Secret {trial.names.secret} does not exist; create it with the key config"
    trial.wait_event("SecretNotFound", trial.names.secret)
    trial.wait("McpReady", "True")
    assert trial.get(DAEMONSETS, names.OVNKUBE_NODE) == {}
    trial.store_kubeconfig()
    trial.wait("Ready", "True")


def test_nothing_of_a_refused_kubeconfig_is_shown(trial: Trial) -> None:
    secret = "hush" * 10
    trial.store_kubeconfig(f"users: [{{user: {{token: {secret}, password: {secret}}}}}]\nmine: {secret}\n")
    trial.create_config()
    trial.wait("CredentialsValid", "False")
    trial.wait_event("InvalidKubeconfig")
    shown = [*trial.told(), *(event.get("note", "") for event in trial.events())]
    assert not [text for text in shown if secret in text]


def test_another_cluster_than_before_is_not_used_until_it_is_accepted(
    trial: Trial, other_cluster: ControlPlane
) -> None:
    trial.ready()
    before, good = trial.dpu_status(), trial.kubeconfig()
    known = trial.config()["status"]["tenantUID"]
    trial.store_kubeconfig(other_cluster.token_kubeconfig(READER.token))
    condition = trial.wait("CredentialsValid", "False", "TenantSwapped")
    uid = other_cluster.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
    assert f"leads to cluster {uid}, not to {known} as before" in condition["message"]
    assert f"annotate {names.ACCEPT_TENANT_ANNOTATION}={uid}" in condition["message"]
    trial.wait_event("TenantSwapped", uid)
    assert trial.config()["status"]["tenantUID"] == known
    assert trial.dpu_status() == before
    trial.annotate(accept_tenant=uid)
    trial.wait("CredentialsValid", "True")
    assert trial.config()["status"]["tenantUID"] == uid
    trial.wait("TenantObjsSynced", "False", "NotFound")
    trial.wait("OvnKubeReady", "False", "TopologyUnknown")
    mounted = trial.path(SECRETS, names.TENANT_CREDENTIAL)
    trial.infra.wait_for(mounted, lambda secret: other_cluster.url in decoded(secret, names.TENANT_CREDENTIAL_KEY))
    kept = trial.dpu_status()
    for secret in (names.TENANT_CREDENTIAL, names.TENANT_KUBECONFIG):
        assert kept.pop(f"secrets/{secret}") != before.pop(f"secrets/{secret}")
    assert kept == before
    trial.annotate(accept_tenant=known)
    trial.store_kubeconfig(good)
    trial.wait("Ready", "True")


def test_the_infra_cluster_is_no_tenant(trial: Trial, world: World) -> None:
    token = seed.operator_token(world.pair)
    trial.store_kubeconfig(world.infra.token_kubeconfig(token))
    trial.store_overrides()
    trial.create_config()
    condition = trial.wait("CredentialsValid", "False", "TenantIsInfra")
    assert "leads to the infra cluster itself" in condition["message"]
    trial.wait_event("TenantIsInfra", "infra cluster itself")
    assert "tenantUID" not in trial.config()["status"]
    assert trial.get(SECRETS, names.TENANT_CREDENTIAL) == {}
    trial.store_kubeconfig()
    trial.wait("Ready", "True")


# --- the DpuClusterConfig ---------------------------------------------------------------------------------------------


def test_without_a_node_selector_nothing_is_written_until_it_is_given(trial: Trial) -> None:
    trial.quick_start(nodeSelector=None)
    condition = trial.wait("McpReady", "False", "NodeSelectorMissing")
    assert condition["message"].startswith("spec.nodeSelector is missing: say which nodes are the DPUs")
    trial.wait("OvnKubeReady", "False", "NodeSelectorMissing")
    trial.wait_event("NodeSelectorMissing", "spec.nodeSelector is missing")
    trial.wait("TenantObjsSynced", "True")
    assert trial.pool_objects() == ({}, {})
    assert trial.get(DAEMONSETS, names.OVNKUBE_NODE) == {}
    trial.patch_config({"spec": {"nodeSelector": {"matchLabels": {trial.label: ""}}}})
    trial.wait("Ready", "True")


def test_a_selector_of_expressions_only_selects(trial: Trial) -> None:
    expressions = [
        {"key": trial.label, "operator": "Exists"},
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]},
    ]
    trial.ready(nodeSelector={"matchExpressions": expressions})
    pool, _ = trial.pool_objects()
    assert pool["spec"]["nodeSelector"] == {"matchExpressions": expressions}
    assert {pod["spec"]["nodeName"] for pod in trial.pods()} == set(trial.nodes)


REFUSED_SPECS: dict[str, tuple[dict[str, Any], str]] = {
    "pool master": ({"poolName": "master"}, "spec.poolName must not be master or worker"),
    "pool worker": ({"poolName": "worker"}, "spec.poolName must not be master or worker"),
    "no DNS label": ({"poolName": "DPU_1"}, "spec.poolName must be a DNS label"),
    "empty selector": ({"nodeSelector": {}}, "spec.nodeSelector must not be empty"),
    "empty labels": ({"nodeSelector": {"matchLabels": {}}}, "spec.nodeSelector must not be empty"),
    "unknown operator": (
        {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "Like", "values": ["b"]}]}},
        "operator must be In or NotIn with values",
    ),
    "no Secret name": ({"kubeConfigFile": "/etc/kubeconfig"}, "spec.kubeConfigFile must be the name of a Secret"),
    "unknown topology": ({"topology": "Ring"}, 'supported values: "Auto", "Central", "Interconnect"'),
}


@pytest.mark.parametrize(("spec", "words"), REFUSED_SPECS.values(), ids=REFUSED_SPECS.keys())
def test_what_can_never_work_is_refused_when_it_is_applied(
    world: World, namespace_of_infra: str, spec: dict[str, Any], words: str
) -> None:
    body = new_object(names.DPUCLUSTERCONFIGS, namespace_of_infra, "bad", spec={"poolName": "p", **spec})
    with pytest.raises(Invalid, match=words):
        world.infra.admin.create(
            f"/apis/dpu.openshift.io/v1alpha1/namespaces/{namespace_of_infra}/dpuclusterconfigs", body
        )


def test_kubectl_shows_why_a_pool_of_the_platform_is_refused(world: World, namespace_of_infra: str) -> None:
    manifest = f"""
apiVersion: dpu.openshift.io/v1alpha1
kind: DpuClusterConfig
metadata: {{name: bad, namespace: {namespace_of_infra}}}
spec: {{poolName: master}}
"""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        world.infra.kubectl("apply", "-f", "-", stdin=manifest)
    assert "those pools belong to the platform; name a new pool" in failed.value.stderr


@pytest.fixture(scope="module")
def namespace_of_infra(world: World) -> str:
    """A namespace for objects that are refused."""
    world.infra.apply(new_object(NAMESPACES, "", "refused"))
    return "refused"


def test_what_was_decided_once_cannot_be_changed(trial: Trial) -> None:
    trial.create_config()
    for spec, words in (
        ({"poolName": "another"}, "poolName is immutable"),
        ({"kubeConfigFile": None}, "kubeConfigFile may be added and changed, not removed"),
    ):
        with pytest.raises(Invalid, match=words):
            trial.patch_config({"spec": spec})


def test_a_pool_of_someone_else_is_left_alone_until_it_is_gone(trial: Trial, world: World) -> None:
    theirs = new_object(
        names.MACHINECONFIGPOOLS,
        "",
        trial.pool,
        spec={
            "machineConfigSelector": {"matchLabels": {"theirs": "yes"}},
            "nodeSelector": {"matchLabels": {"theirs": "yes"}},
        },
    )
    [before] = world.infra.apply(theirs)
    trial.quick_start()
    condition = trial.wait("McpReady", "False", "NotOurs")
    assert condition["message"].startswith(f"MachineConfigPool {trial.pool} exists and is not ours")
    trial.wait_event("NotOurs", f"MachineConfigPool {trial.pool}")
    trial.wait("TenantObjsSynced", "True")
    pool, config = trial.pool_objects()
    kept = {member: pool["spec"].get(member) for member in before["spec"]}  # theirs; the configuration is MCO's
    assert (pool["metadata"]["uid"], kept, config) == (before["metadata"]["uid"], before["spec"], {})
    trial.infra.delete(trial.path(names.MACHINECONFIGPOOLS, trial.pool))
    trial.wait("Ready", "True")


def test_of_two_for_one_pool_the_older_is_served_and_then_the_other(new_trial: Callable[..., Trial]) -> None:
    first, second = sorted((new_trial(), new_trial()), key=lambda trial: trial.namespace)
    first.ready(deletionPolicy="Delete")
    before = first.dpu_status()
    second.quick_start(poolName=first.pool)
    condition = second.wait("Ready", "False", "PoolTaken")
    assert f"belongs to {first.namespace}/{first.names.name}, which is older" in condition["message"]
    second.wait_event("PoolTaken", first.namespace)
    assert "finalizers" not in second.config()["metadata"]
    assert set(second.dpu_status().values()) == {("", "")}
    assert first.dpu_status() == before
    assert first.condition("Ready")["status"] == "True"
    first.delete_config()
    first.take_nodes_out()
    eventually(first.config, lambda config: not config)
    second.wait("McpReady", "True")


def test_of_two_in_one_namespace_the_older_is_served_and_then_the_other(new_trial: Callable[..., Trial]) -> None:
    first = new_trial()
    second = new_trial(namespace=first.namespace)
    second.names = second.names.__class__(**{**vars(second.names), "name": f"{first.names.name}-z"})
    first.ready()
    before = first.dpu_status()
    second.create_config(tenantNamespace=first.tenant_namespace)
    condition = second.wait("Ready", "False", "NamespaceTaken")
    assert f"{first.names.name} in this namespace is older and is served" in condition["message"]
    second.wait_event("NamespaceTaken", first.names.name)
    assert second.pool_objects() == ({}, {})
    assert first.dpu_status() == before
    first.delete_config()
    eventually(first.config, lambda config: not config)
    second.wait("McpReady", "True")
    second.wait("TenantObjsSynced", "True")


@pytest.mark.parametrize("namespace", ["openshift-ovn-kubernetes", "kube-public"])
def test_a_namespace_of_the_platform_is_refused_and_untouched(world: World, namespace: str, trial: Trial) -> None:
    def content() -> list[Any]:
        kinds = (
            ("api/v1", "secrets"),
            ("api/v1", "configmaps"),
            ("api/v1", "serviceaccounts"),
            ("apis/apps/v1", "daemonsets"),
        )
        found = [world.infra.admin.list_all(f"/{api}/namespaces/{namespace}/{kind}") for api, kind in kinds]
        return [(obj["metadata"]["uid"], obj["metadata"].get("generation")) for each in found for obj in each]

    before = content()
    path = f"/apis/dpu.openshift.io/v1alpha1/namespaces/{namespace}/dpuclusterconfigs"
    body = trial.config_body()
    body["metadata"]["namespace"] = namespace
    world.infra.admin.create(path, body)

    def ready() -> dict[str, Any]:
        config = world.infra.admin.get(f"{path}/{trial.names.name}")
        found = (config.get("status") or {}).get("conditions") or [{}]
        return dict(found[0])

    condition = eventually(ready, lambda condition: condition.get("reason") == "ReservedNamespace")
    assert (condition["type"], condition["status"]) == ("Ready", "False")
    assert f"namespace {namespace} belongs to the infra cluster's own network" in condition["message"]
    assert content() == before
    assert trial.pool_objects() == ({}, {})
    world.infra.admin.delete(f"{path}/{trial.names.name}")
    assert world.infra.admin.get_or_empty(f"{path}/{trial.names.name}") == {}


# --- what an older operator has stored --------------------------------------------------------------------------------


def without_rules(schema: Any) -> Any:
    """A schema as it was when nothing was refused."""
    match schema:
        case dict():
            return {key: without_rules(value) for key, value in schema.items() if key != "x-kubernetes-validations"}
        case list():
            return [without_rules(each) for each in schema]
    return schema


@contextlib.contextmanager
def as_of_old(world: World) -> Iterator[None]:
    """The API server refuses nothing, until the end of the block."""
    admin, path = world.infra.admin, f"{CRDS}/{crd_name(names.DPUCLUSTERCONFIGS)}"
    versions = admin.get(path)["spec"]["versions"]
    admin.patch(path, {"spec": {"versions": without_rules(versions)}})
    yield
    admin.patch(path, {"spec": {"versions": versions}})
    eventually(lambda: refuses(world), bool)


def refuses(world: World) -> bool:
    """Whether the API server goes by the rules of today, which it does a moment after it was told them."""
    body = new_object(names.DPUCLUSTERCONFIGS, "default", "probe", spec={"poolName": "master"})
    try:
        world.infra.admin.apply_at(world.infra.admin.path_of(body), body, dryRun="All")
    except Invalid:
        return True
    return False


def store(trial: Trial, **spec: Any) -> None:
    """Create the DpuClusterConfig as soon as the API server takes it."""

    def taken(_: None) -> bool:
        try:
            trial.create_config(**spec)
        except Invalid:
            return False
        return True

    eventually(lambda: None, taken)


OF_OLD = {
    "pool master": ("master", "PoolNameReserved", "spec.poolName: master is a pool of the platform; name a new one"),
    "no pool": ("", "PoolNameInvalid", "spec.poolName: '' is not a DNS label"),
    "no DNS label": ("DPU_1", "PoolNameInvalid", "spec.poolName: 'DPU_1' is not a DNS label"),
}


@pytest.mark.parametrize(("pool", "reason", "words"), OF_OLD.values(), ids=OF_OLD.keys())
def test_a_stored_pool_name_that_is_refused_today_is_named_and_nothing_is_written(
    trial: Trial, world: World, pool: str, reason: str, words: str
) -> None:
    before = world.infra.admin.list_all(trial.path(names.MACHINECONFIGPOOLS, "").rstrip("/"))
    with as_of_old(world):
        store(trial, poolName=pool)
    said = trial.wait("Ready", "False", reason)
    assert said["message"] == words
    trial.wait_event(reason, words)
    assert "finalizers" not in trial.config()["metadata"]
    assert set(trial.dpu_status().values()) == {("", "")}
    after = world.infra.admin.list_all(trial.path(names.MACHINECONFIGPOOLS, "").rstrip("/"))
    assert [each["spec"] for each in after] == [each["spec"] for each in before]
    trial.delete_config()
    assert trial.config() == {}


def test_a_stored_selector_that_is_empty_selects_nobody_until_it_is_given(trial: Trial, world: World) -> None:
    trial.store_kubeconfig()
    trial.store_overrides()
    with as_of_old(world):
        store(trial, nodeSelector={})
    trial.wait("McpReady", "False", "NodeSelectorMissing")
    trial.wait("OvnKubeReady", "False", "NodeSelectorMissing")
    assert trial.pool_objects() == ({}, {})
    assert trial.config()["metadata"]["finalizers"] == [names.FINALIZER]
    trial.patch_config({"spec": {"nodeSelector": {"matchLabels": {trial.label: ""}}}})
    trial.wait("Ready", "True")


# --- env-overrides ----------------------------------------------------------------------------------------------------


def test_missing_overrides_are_reported_until_they_exist(trial: Trial) -> None:
    trial.store_kubeconfig()
    trial.create_config()
    condition = trial.wait("OvnKubeReady", "False", "EnvOverridesMissing")
    assert condition["message"].startswith("ConfigMap env-overrides does not exist")
    trial.wait_event("EnvOverridesMissing", "env-overrides")
    eventually(trial.pods, lambda pods: len(pods) == 1)
    trial.store_overrides()
    trial.wait("Ready", "True")


BAD_ENTRIES = {
    "with a command": ("TENANT_K8S_NODE=$(id)\n", "line 1"),
    "with a command in backticks": ("# host\nTENANT_K8S_NODE=`id`\n", "line 2"),
    "without a value": ("TENANT_K8S_NODE\n", "line 1"),
    "with an unknown key": ("TENANT_K8S_NODE=h\nLD_PRELOAD=x\n", 'line 2: the key "LD_PRELOAD" is not known'),
    "without a host": ("OVN_KUBE_LOG_LEVEL=4\n", "has no TENANT_K8S_NODE=<tenant host>"),
    "as a shell has it": ("# mine\nexport TENANT_K8S_NODE='h' # h\n", "line 2: write KEY=value with plain"),
}


@pytest.mark.parametrize(("text", "words"), BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
def test_a_malformed_entry_is_reported_and_affects_its_node_alone(
    new_trial: Callable[..., Trial], text: str, words: str
) -> None:
    trial = new_trial(dpus=2)
    bad, good = trial.nodes
    trial.store_kubeconfig()
    trial.store_overrides({**trial.entries(), bad: text})
    trial.create_config()
    message = trial.wait("OvnKubeReady", "False", "EntryRejected")["message"]
    assert words in message
    assert bad in message
    trial.wait_event("EntryRejected", bad)
    served = trial.path(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)
    eventually(lambda: set(trial.infra.get_or_empty(served).get("data") or {}), {good}.__eq__)
    eventually(lambda: trial.condition("OvnKubeReady")["message"], lambda text: bad in text and good not in text)
    trial.store_overrides()
    trial.wait("Ready", "True")


def test_keys_of_unknown_nodes_are_reported_and_block_nothing(new_trial: Callable[..., Trial]) -> None:
    trial = new_trial(dpus=2)
    trial.store_kubeconfig()
    trial.store_overrides({**trial.entries(), "_master": "OVN_LOG_LEVEL=dbg\n", "_global": "export A='b'\n"})
    trial.create_config()
    trial.wait("Ready", "True")
    message = trial.wait("OvnKubeReady", "True", "Serving")["message"]
    assert message.startswith("2 DPUs serve their hosts. Ignored in env-overrides")
    assert message.endswith('"_global"; "_master"')
    served = trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)["data"]
    assert set(served) == set(trial.nodes)


def test_an_entry_that_goes_bad_leaves_its_node_serving(trial: Trial) -> None:
    trial.ready()
    before = trial.dpu_status()
    trial.store_overrides({trial.nodes[0]: "TENANT_K8S_NODE=$(id)\n"})
    trial.wait("OvnKubeReady", "False", "EntryRejected")
    assert trial.dpu_status() == before
    trial.store_overrides()
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before


def test_overrides_that_go_leave_all_nodes_serving(trial: Trial) -> None:
    trial.ready()
    before = trial.dpu_status()
    trial.infra.delete(trial.path(CONFIGMAPS, names.ENV_OVERRIDES))
    trial.wait("OvnKubeReady", "False", "EnvOverridesMissing")
    assert trial.dpu_status() == before
    trial.store_overrides()
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before


# --- the tenant's masters ---------------------------------------------------------------------------------------------


def test_a_tenant_without_masters_is_reported_until_it_has_some(trial: Trial) -> None:
    masters = trial.tenant_path(DAEMONSETS, names.OVNKUBE_MASTER)
    daemonset = trial.tenant.get(masters)
    trial.tenant.delete(masters)
    eventually(lambda: _masters(trial), lambda pods: not pods)
    trial.quick_start()
    condition = trial.wait("OvnKubeReady", "False", "NoMasters")
    assert f"no pod of DaemonSet ovnkube-master in namespace {trial.tenant_namespace}" in condition["message"]
    trial.wait_event("NoMasters", "ovnkube-master")
    assert trial.get(DAEMONSETS, names.OVNKUBE_NODE) == {}
    spec = daemonset["spec"]
    trial.world.tenant.apply(new_object(DAEMONSETS, trial.tenant_namespace, names.OVNKUBE_MASTER, spec=spec))
    trial.wait("Ready", "True")


def test_masters_without_an_address_are_reported_until_they_have_one(trial: Trial) -> None:
    masters = trial.tenant_path(DAEMONSETS, names.OVNKUBE_MASTER)
    trial.tenant.patch(masters, {"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "yes"}}}}})
    eventually(lambda: _masters(trial), lambda pods: not pods)
    owner = trial.tenant.get(masters)["metadata"]["uid"]
    reference = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "name": "ovnkube-master",
        "uid": owner,
        "controller": True,
    }
    pod = new_object(PODS, trial.tenant_namespace, "pending", spec={"containers": [{"name": "nbdb", "image": "x"}]})
    pod["metadata"] |= {"labels": {"app": names.OVNKUBE_MASTER}, "ownerReferences": [reference]}
    trial.world.tenant.apply(pod)
    trial.quick_start()
    condition = trial.wait("OvnKubeReady", "False", "NoMasterAddress")
    assert condition["message"] == "none of the tenant's 1 pods ovnkube-master is Ready with a usable address"
    trial.wait_event("NoMasterAddress", "ovnkube-master")
    assert trial.get(DAEMONSETS, names.OVNKUBE_NODE) == {}
    status = {"podIP": "10.9.8.7", "podIPs": [{"ip": "10.9.8.7"}], "conditions": [{"type": "Ready", "status": "True"}]}
    trial.tenant.patch(f"{trial.tenant_path(PODS, 'pending')}/status", {"status": {"phase": "Running", **status}})
    trial.wait("Ready", "True")
    assert "ssl:10.9.8.7:9641" in str(trial.get(DAEMONSETS, names.OVNKUBE_NODE))


def _masters(trial: Trial) -> list[Any]:
    path = f"/api/v1/namespaces/{trial.tenant_namespace}/pods"
    return trial.tenant.list_all(path, labelSelector="app=ovnkube-master")


def test_our_copy_of_the_kubeconfig_is_rebuilt_not_copied(trial: Trial) -> None:
    given = {**trial.kubeconfig(), "preferences": {}}
    trial.store_kubeconfig(given)
    trial.store_overrides()
    trial.create_config()
    trial.wait("DpuCredentialValid", "True")
    ours = decoded(trial.get(SECRETS, names.TENANT_CREDENTIAL), names.TENANT_CREDENTIAL_KEY)
    assert json.loads(ours)["users"][0]["user"] == {"tokenFile": "/var/run/secrets/tenant-kubeconfig/token"}
    assert decoded(trial.get(SECRETS, names.TENANT_CREDENTIAL), names.CREDENTIAL_FILE_KEY) == user_of(given)["token"]
    assert "preferences" not in ours
