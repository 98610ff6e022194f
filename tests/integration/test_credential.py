"""The credential of the DPU pods on two real API servers: rights by name, TokenRequest, rejected tokens."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from operator import not_
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.controllers.reconciler import CONFIG_INDEXERS, Installation
from dpunetop.controllers.tenant.credential import DpuCredential
from dpunetop.controllers.tenant.routes import Candidate, TenantRoutes
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.types import tenant_cluster_name
from dpunetop.domain.credential.account import ACCOUNTS, Account
from dpunetop.domain.names import ENCAP_IPS_ANNOTATION
from dpunetop.domain.ovnkube.pod import CREDENTIAL_FOLDER
from dpunetop.domain.ovnkube.release import Flavour
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig, render_kubeconfig, render_with_token_file
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import Conflict, Forbidden, NotFound, Unauthorized
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    DAEMONSETS,
    INFRA,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    ROLEBINDINGS,
    SECRETS,
    SERVICEACCOUNTS,
    Key,
    Resource,
)
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import Connection, StaticToken
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Transport
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.election.gate import OpenGate
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.reading import DynamicWatches, NotEngaged, NotSynced
from dpunetop.sandbox.components import WITH_CONTROLLERS, Spec
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.standins.nodeidentity import WEBHOOKS, NodeIdentity, RuleSet
from support.agedtoken import aged
from support.controlplanes import StartControlPlane
from support.trial import eventually

ROOT = Path(__file__).parents[2]
CRD_FILE = ROOT / "config" / "crd" / "dpu.openshift.io_dpuclusterconfigs.yaml"
OVN = names.OVN_KUBERNETES_NAMESPACE
RBAC = "rbac.authorization.k8s.io"
TOKEN_PATH = "/var/run/secrets/tenant-kubeconfig/token"
OURS: tuple[Resource, ...] = (SERVICEACCOUNTS, ROLEBINDINGS, CLUSTERROLEBINDINGS)


class Operator:
    """The credential controller with real caches, as the process would run it, pass by pass."""

    def __init__(self, infra: ControlPlane, namespace: str) -> None:
        self._clock = RealClock()
        self._stop = Stop()
        self.metrics = Metrics()
        self._clusters = Clusters()
        self._woken = threading.Event()
        recorder = EventRecorder(self._client, "dpunetop", self._clock, instance="test")
        executor = Executor(self._client, OpenGate(), recorder, self._clock)
        installation = Installation((namespace,), OVN, None, "dpunetop")
        self.key = Key(INFRA, namespace, "c")
        self.controller = DpuCredential(
            installation, executor, self._client, self.candidate, self._clock, OpenGate(), self.metrics
        )
        self.controller.read_through(DynamicWatches(self._clusters, lambda _: self._woken.set()))
        self._engage(INFRA, infra_connection(str(infra.admin_kubeconfig)))

    def candidate(self, name: str, kubeconfig: TenantKubeconfig) -> Candidate:
        assert kubeconfig.token is not None
        connection = Connection(kubeconfig.server, kubeconfig.ca_pem, StaticToken(kubeconfig.token))
        return Candidate(self._cluster(name, connection), TenantRoutes((), lambda: ()).in_use(name))

    def engage(self, kubeconfig: TenantKubeconfig) -> None:
        """As the tenant link does."""
        name = tenant_cluster_name(self.key.namespace, self.key.name)
        self._clusters.engage(self.candidate(name, kubeconfig).cluster)

    def settle(self, holds: Callable[[], bool] = lambda: True) -> float | None:
        """Pass after pass until nothing wakes it any more, and what is expected in the end is so."""
        pause, deadline = self._pass(), time.monotonic() + 60.0
        while pause == 1.0 or self._woken.wait(0.5) or not holds():
            assert time.monotonic() < deadline, f"it never comes to rest, and would look again in {pause} s"
            self._woken.wait(0.5)
            pause = self._pass()
        return pause

    def _pass(self) -> float | None:
        while True:
            self._woken.clear()
            try:
                return self.controller.reconcile(self.key, self._stop)
            except (NotSynced, NotEngaged, Conflict):  # of a conflict: the caches are behind, and will wake it
                assert self._woken.wait(60), "nobody wakes it"

    def wait_woken(self) -> None:
        """Wait for a change of what it reads."""
        assert self._woken.wait(60), "nothing wakes it"

    def close(self) -> None:
        self._stop.set()
        for name in reversed(self._clusters.names()):
            self._clusters.disengage(name)

    def _engage(self, name: str, connection: Connection) -> None:
        self._clusters.engage(self._cluster(name, connection))

    def _cluster(self, name: str, connection: Connection) -> Cluster:
        stop, metrics = Stop(self._clock), self.metrics.client(name)
        transport = Transport(connection, stop, user_agent="dpunetop-test", metrics=metrics, clock=self._clock)
        client = Client(transport, clock=self._clock, metrics=metrics, name=name)
        return Cluster(
            name,
            client,
            clock=self._clock,
            metrics=self.metrics,
            random=lambda: 0.5,
            stop=stop,
            indexers={names.DPUCLUSTERCONFIGS: CONFIG_INDEXERS},
        )

    def _client(self, name: str) -> Client:
        cluster = self._clusters.get(name)
        if cluster is None:
            raise NotEngaged(name)
        return cluster.client


class Place:
    """Both clusters as the test sees them."""

    def __init__(self, infra: ControlPlane, tenant: ControlPlane, namespace: str) -> None:
        self.infra, self.tenant, self.namespace = infra.admin, tenant.admin, namespace
        self._control_plane = tenant
        token = tenant.service_account_token(OVN, "dpunetop-operator")
        self.given = parse_kubeconfig(json.dumps(tenant.token_kubeconfig(token)).encode())
        self.owner = names.owner_hash(self._infra_uid(), namespace, "c")

    def store(self) -> None:
        """What the user and the tenant link have done before."""
        spec = {"poolName": "dpu", "kubeConfigFile": "given", "nodeSelector": {"matchLabels": {"a": "b"}}}
        config = new_object(names.DPUCLUSTERCONFIGS, self.namespace, "c", spec=spec)
        config["metadata"]["finalizers"] = [names.FINALIZER]
        self.infra.apply(config)
        status = {"status": {names.CLAIMED_POOL: "dpu"}}
        self.infra.patch(f"{get(names.DPUCLUSTERCONFIGS, self.namespace, 'c').target}/status", status)
        data = {names.TENANT_CREDENTIAL_KEY: base64.b64encode(render_kubeconfig(self.given)).decode()}
        secret = new_object(SECRETS, self.namespace, names.TENANT_KUBECONFIG, type="Opaque", data=data)
        secret["metadata"]["labels"] = {names.OWNER_LABEL: self.owner}
        self.infra.apply(secret)

    def as_given(self) -> dict[str, str]:
        """What pods mount of the given credential."""
        assert self.given.token is not None
        file = f"{CREDENTIAL_FOLDER}/{names.CREDENTIAL_FILE_KEY}"
        kubeconfig = render_with_token_file(self.given, file).decode()
        return {names.TENANT_CREDENTIAL_KEY: kubeconfig, names.CREDENTIAL_FILE_KEY: self.given.token.reveal()}

    def secret(self) -> dict[str, str]:
        path = get(SECRETS, self.namespace, names.TENANT_CREDENTIAL).target
        data = self.infra.get_or_empty(path).get("data") or {}
        return {key: base64.b64decode(text).decode() for key, text in data.items()}

    def annotations(self) -> dict[str, str]:
        path = get(SECRETS, self.namespace, names.TENANT_CREDENTIAL).target
        return dict(self.infra.get(path)["metadata"]["annotations"])

    def said(self) -> tuple[str, str, str]:
        config = self.infra.get(get(names.DPUCLUSTERCONFIGS, self.namespace, "c").target)
        found = condition_of(config, "DpuCredentialValid") or {}
        return found.get("status", ""), found.get("reason", ""), found.get("message", "")

    def says(self, status: str, reason: str) -> Callable[[], bool]:
        """Whether that is what it says."""
        return lambda: self.said()[:2] == (status, reason)

    def account(self) -> str:
        return get(SERVICEACCOUNTS, OVN, names.DPU_ACCOUNT).target

    def drop(self) -> None:
        """Everything of ours in the tenant."""
        for resource in OURS:
            path = get(resource, OVN if resource.namespaced else "", names.DPU_ACCOUNT).target
            if self.tenant.get_or_empty(path):
                self.tenant.delete(path)

    def as_pods(self) -> Any:
        """The tenant as the pods see it."""
        return self._control_plane.client(self.secret()["token"])

    def _infra_uid(self) -> str:
        return str(self.infra.get(get(NAMESPACES, "", names.KUBE_SYSTEM).target)["metadata"]["uid"])


@pytest.fixture(scope="module", autouse=True)
def prepared(infra: ControlPlane, tenant: ControlPlane) -> None:
    """The kind in infra; in the tenant the roles of a node, and the rights that we ship."""
    infra.apply(CRD_FILE)
    prepare(tenant)


def prepare(tenant: ControlPlane) -> None:
    tenant.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OVN}})
    tenant.apply(rights())


def rights() -> list[dict[str, Any]]:
    return [obj for obj in yaml.safe_load_all((ROOT / "deploy" / "tenant-rights.yaml").read_text()) if obj]


@pytest.fixture
def place(infra: ControlPlane, tenant: ControlPlane, namespace: str) -> Iterator[Place]:
    found = Place(infra, tenant, namespace)
    found.store()
    yield found
    found.drop()
    path = get(names.DPUCLUSTERCONFIGS, namespace, "c").target
    infra.admin.patch(path, {"metadata": {"finalizers": None}})


@pytest.fixture
def operator(infra: ControlPlane, place: Place) -> Iterator[Operator]:
    running = Operator(infra, place.namespace)
    running.engage(place.given)
    yield running
    running.close()


def test_the_shipped_rights_are_enough_to_mint_and_the_token_does_what_a_node_must(
    operator: Operator, place: Place
) -> None:
    before = datetime.now(UTC)
    pause = operator.settle(place.says("True", "Minted"))
    assert place.said()[:2] == ("True", "Minted")
    assert pause == 300.0
    times = place.annotations()
    minted_at, expires_at = (
        datetime.fromisoformat(times[mark]) for mark in (names.MINTED_AT_ANNOTATION, names.EXPIRES_AT_ANNOTATION)
    )
    assert before - timedelta(seconds=1) <= minted_at <= datetime.now(UTC)
    assert abs(expires_at - minted_at - timedelta(days=7)) < timedelta(seconds=30)
    user = json.loads(place.secret()["kubeconfig"])["users"][0]["user"]
    assert user == {"tokenFile": TOKEN_PATH}
    pods = place.as_pods()
    assert pods.get("/api/v1/nodes")["kind"] == "NodeList"
    assert pods.get("/api/v1/pods")["kind"] == "PodList"
    with pytest.raises(NotFound):
        pods.get(get(LEASES, OVN, "ovn-dpu-nobody").target)
    for path in ("/api/v1/secrets", f"/api/v1/namespaces/{OVN}/secrets", f"/api/v1/namespaces/{OVN}/configmaps"):
        with pytest.raises(Forbidden):
            pods.get(path)
    pods.close()


def test_at_rest_nothing_is_written_to_either_cluster(operator: Operator, place: Place) -> None:
    operator.settle(place.says("True", "Minted"))
    paths = [place.account(), get(CLUSTERROLEBINDINGS, "", names.DPU_ACCOUNT).target]
    before = [place.tenant.get(path)["metadata"]["resourceVersion"] for path in paths]
    secret = place.infra.get(get(SECRETS, place.namespace, names.TENANT_CREDENTIAL).target)
    config = place.infra.get(get(names.DPUCLUSTERCONFIGS, place.namespace, "c").target)
    for _ in range(3):
        operator.settle()
    assert [place.tenant.get(path)["metadata"]["resourceVersion"] for path in paths] == before
    assert place.infra.get(get(SECRETS, place.namespace, names.TENANT_CREDENTIAL).target) == secret
    assert place.infra.get(get(names.DPUCLUSTERCONFIGS, place.namespace, "c").target) == config


def test_a_token_of_a_deleted_account_is_told_so_and_minted_anew(operator: Operator, place: Place) -> None:
    operator.settle(place.says("True", "Minted"))
    old = place.as_pods()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    who = old.create(path, review)["status"]["userInfo"]["username"]
    assert who == f"system:serviceaccount:{OVN}:{names.DPU_ACCOUNT}"
    before = place.secret()
    place.tenant.delete(place.account())
    eventually_unknown(lambda: old.create(path, review))
    with pytest.raises(Unauthorized):  # so a server that lacks the review tells the same
        old.create("/apis/authentication.k8s.io/v1/there-is-no-such-thing", review)
    old.close()
    operator.wait_woken()
    operator.settle(lambda: place.secret()["token"] != before["token"])
    after = place.secret()
    assert after["token"] != before["token"]
    assert after["kubeconfig"] == before["kubeconfig"]
    assert place.as_pods().get("/api/v1/nodes")["kind"] == "NodeList"
    assert place.said()[:2] == ("True", "Minted")


def test_a_new_account_gets_a_new_token_before_the_server_has_forgotten_the_old_one(
    operator: Operator, place: Place
) -> None:
    operator.settle(place.says("True", "Minted"))
    before = place.secret()["token"]
    place.tenant.delete(place.account())
    operator.wait_woken()
    operator.settle(lambda: place.secret()["token"] != before)
    assert place.secret()["token"] != before
    assert place.annotations()[names.MINTED_FOR_ANNOTATION] == place.tenant.get(place.account())["metadata"]["uid"]


def test_a_successor_takes_over_what_there_is(infra: ControlPlane, operator: Operator, place: Place) -> None:
    operator.settle(place.says("True", "Minted"))
    before = place.secret()
    successor = Operator(infra, place.namespace)
    successor.engage(place.given)
    assert successor.settle(place.says("True", "Minted")) == 300.0
    successor.close()
    assert place.secret() == before


def test_without_one_of_the_rights_the_given_kubeconfig_serves_until_it_comes(
    operator: Operator, place: Place, tenant: ControlPlane
) -> None:
    path = f"/apis/{RBAC}/v1/clusterroles/dpunetop-operator"
    rules = tenant.admin.get(path)["rules"]
    lesser = [rule for rule in rules if "bind" not in rule["verbs"]]
    tenant.admin.patch(path, {"rules": lesser})
    try:
        operator.settle(place.says("True", "MintingForbidden"))
        status, reason, message = place.said()
        assert (status, reason) == ("True", "MintingForbidden")
        assert f"may not bind clusterroles {names.DPU_ROLE}" in message
        assert place.secret() == place.as_given()
        assert place.tenant.get_or_empty(place.account()) == {}
    finally:
        tenant.admin.patch(path, {"rules": rules})


def eventually_unknown(ask: Callable[[], object]) -> None:
    """Wait for a 401; the server believes for ten seconds in a token that it has seen."""
    for _ in range(600):
        try:
            ask()
        except Unauthorized:
            return
        threading.Event().wait(0.1)
    raise AssertionError("the token is still accepted")


def test_what_a_stranger_has_made_is_not_touched(operator: Operator, place: Place) -> None:
    stranger = new_object(CLUSTERROLEBINDINGS, "", names.DPU_ACCOUNT)
    stranger["roleRef"] = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}
    place.tenant.apply(stranger)
    path = get(CLUSTERROLEBINDINGS, "", names.DPU_ACCOUNT).target
    before = place.tenant.get(path)
    operator.settle(place.says("True", "NotOurs"))
    status, reason, message = place.said()
    assert (status, reason) == ("True", "NotOurs")
    assert f"ClusterRoleBinding {names.DPU_ACCOUNT}" in message
    assert place.tenant.get(path) == before
    assert place.tenant.get_or_empty(place.account()) == {}


def test_a_binding_to_a_role_that_is_not_there_never_reaches_the_pods(
    operator: Operator, place: Place, tenant: ControlPlane
) -> None:
    [wide] = [each for each in rights() if (each["kind"], each["metadata"]["name"]) == ("ClusterRole", names.DPU_ROLE)]
    tenant.admin.delete(f"/apis/{RBAC}/v1/clusterroles/{names.DPU_ROLE}")
    try:
        operator.settle(place.says("True", "MintedWithoutRights"))
        assert place.said()[:2] == ("True", "MintedWithoutRights")
        assert place.secret() == place.as_given()
    finally:
        tenant.apply(wide)


def test_a_token_shorter_than_the_longest_operator_downtime_is_reported(
    infra: ControlPlane, namespace: str, start_control_plane: StartControlPlane
) -> None:
    """And rightly so: 72 hours later that server does not accept the token any more."""
    limit = "--service-account-max-token-expiration=48h"
    mean = start_control_plane(Spec("mean", WITH_CONTROLLERS, apiserver_flags=(limit,)))
    prepare(mean)
    place = Place(infra, mean, namespace)
    place.store()
    operator = Operator(infra, namespace)
    try:
        operator.engage(place.given)
        operator.settle(place.says("True", "CredentialShortLived"))
        assert place.said()[:2] == ("True", "CredentialShortLived")
        token, key = place.secret()["token"], (mean.folder / "sa.key").read_bytes()
        with contextlib.closing(mean.client(aged(token, key, timedelta(hours=47)))) as pods:
            assert pods.get("/api/v1/nodes")["kind"] == "NodeList"
        with (
            contextlib.closing(mean.client(aged(token, key, timedelta(hours=72)))) as pods,
            pytest.raises(Unauthorized),
        ):
            pods.get("/api/v1/nodes")
    finally:
        operator.close()
        infra.admin.patch(get(names.DPUCLUSTERCONFIGS, namespace, "c").target, {"metadata": {"finalizers": None}})


# --- the tenant's admission -------------------------------------------------------------------------------------------

HOST = "host-of-identity"
CENTRAL_PARTS, ZONE_PARTS = ("ovn-controller", "ovnkube-node"), ("nbdb", "ovnkube-controller")


@pytest.fixture
def host(tenant: ControlPlane) -> Iterator[str]:
    """A paired host in the tenant, which runs a pod."""
    tenant.apply(new_object(NODES, "", HOST))
    pod = new_object(PODS, OVN, "runs-there", spec={"nodeName": HOST, "containers": [{"name": "x", "image": "x"}]})
    tenant.apply({**pod, "spec": {**pod["spec"], "tolerations": [{"operator": "Exists"}], "hostNetwork": True}})
    yield HOST
    tenant.admin.delete(get(PODS, OVN, "runs-there").target + "?gracePeriodSeconds=0")
    tenant.admin.delete(get(NODES, "", HOST).target)


@pytest.fixture
def identity(tenant: ControlPlane, host: str) -> Iterator[NodeIdentity]:
    """The tenant's node-identity webhook, which knows only the control plane's own user, as on OpenShift."""
    with NodeIdentity({f"system:serviceaccount:{OVN}:ovn-kubernetes-control-plane"}) as running:
        configured = list(running.configurations())
        node, change = get(NODES, "", host).target, {"metadata": {"annotations": {ENCAP_IPS_ANNOTATION: "[]"}}}
        with asked(tenant, configured, f"{node}/status", change):
            yield running


@contextlib.contextmanager
def asked(tenant: ControlPlane, webhooks: list[dict[str, Any]], path: str, change: dict[str, Any]) -> Iterator[None]:
    """The API server asks the webhooks, from when they refuse that change until they no longer do."""

    def is_refused() -> bool:
        try:
            tenant.admin.patch(f"{path}?dryRun=All", change)
        except Forbidden:
            return True
        return False

    tenant.apply(webhooks)
    try:
        eventually(is_refused, bool)
        yield
    finally:
        for obj in webhooks:
            tenant.admin.delete(get(WEBHOOKS, "", obj["metadata"]["name"]).target)
        eventually(is_refused, not_)


def pair(place: Place, parts: tuple[str, ...] = ZONE_PARTS, host: str = HOST) -> None:
    """Our DaemonSet runs, and a DPU serves the host."""
    labels = {"app": names.OVNKUBE_NODE}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": n, "image": "x"} for n in parts]}}
    spec = {"selector": {"matchLabels": labels}, "template": {**template}}
    place.infra.apply(new_object(DAEMONSETS, place.namespace, names.OVNKUBE_NODE, spec=spec))
    data = {"dpu-1": f"{names.TENANT_NODE_ENV}={host}\n"}
    place.infra.apply(new_object(CONFIGMAPS, place.namespace, names.OVNKUBE_NODE_ENTRIES, data=data))


def shown(place: Place, host: str) -> list[Any]:
    """What a dry run must leave as it is; the platform's controllers write other things meanwhile."""
    paths = get(NODES, "", host).target, get(PODS, OVN, "runs-there").target
    return [tried(place.tenant.get(path)) for path in paths]


def tried(obj: dict[str, Any]) -> Any:
    """What is written to an object in order to try that, and by whom."""
    notes = obj["metadata"].get("annotations") or {}
    managers = {entry["manager"] for entry in obj["metadata"].get("managedFields", ())}
    return (
        {key: text for key, text in notes.items() if "ovn" in key},
        {name for name in managers if not name.startswith("kube-")},
    )


def test_a_token_whose_writes_admission_denies_is_reported_with_the_remedy(
    operator: Operator, place: Place, identity: NodeIdentity, host: str
) -> None:
    pair(place)
    before = shown(place, host)
    operator.settle(place.says("False", "NotAdmitted"))
    status, reason, message = place.said()
    user = f"system:serviceaccount:{OVN}:{names.DPU_ACCOUNT}"
    assert (status, reason) == ("False", "NotAdmitted")
    assert f"write {ENCAP_IPS_ANNOTATION} onto Node {host}" in message
    assert "ovn-kubernetes-admission-webhook-node.k8s.io' denied the request" in message
    assert f"--extra-allowed-user={user}" in message
    assert place.secret()["token"]  # the pods keep it: without one they would have nothing
    assert shown(place, host) == before


def test_a_token_that_admission_takes_is_valid_and_nothing_was_written_to_find_out(
    operator: Operator, place: Place, identity: NodeIdentity, host: str
) -> None:
    identity.allowed.add(f"system:serviceaccount:{OVN}:{names.DPU_ACCOUNT}")
    pair(place)
    before = shown(place, host)
    operator.settle(place.says("True", "Minted"))
    assert place.said()[:2] == ("True", "Minted")
    assert shown(place, host) == before


def test_a_webhook_that_lets_only_the_dpu_account_write_pod_annotations_is_detected(
    operator: Operator, place: Place, tenant: ControlPlane, host: str
) -> None:
    user = f"system:serviceaccount:{OVN}:{names.DPU_ACCOUNT}"
    with NodeIdentity({user}, RuleSet.DPU_BY_NAME) as strict:
        status = get(PODS, OVN, "runs-there").target + "/status"
        change = {"metadata": {"annotations": {names.CONNECTION_STATUS_ANNOTATION: "{}"}}}
        with asked(tenant, list(strict.configurations()), status, change):
            pair(place)
            operator.settle(place.says("False", "NotAdmitted"))
    assert place.said()[:2] == ("False", "NotAdmitted")
    assert f"write {names.CONNECTION_STATUS_ANNOTATION} onto Pod {OVN}/runs-there" in place.said()[2]


def test_upstreams_account_is_the_one_that_such_a_webhook_lets_write(
    operator: Operator, place: Place, tenant: ControlPlane, host: str
) -> None:
    who = Account(OVN, ACCOUNTS[Flavour.UPSTREAM])
    tenant.apply(upstream())
    with NodeIdentity({who.user}, RuleSet.DPU_BY_NAME) as strict:
        status = get(PODS, OVN, "runs-there").target + "/status"
        change = {"metadata": {"annotations": {names.CONNECTION_STATUS_ANNOTATION: "{}"}}}
        try:
            with asked(tenant, list(strict.configurations()), status, change):
                pair(place)
                operator.settle(place.says("True", "Minted"))
        finally:
            tenant.admin.delete(get(DAEMONSETS, OVN, names.OVNKUBE_NODE).target)
            for resource in OURS:
                tenant.admin.delete(get(resource, OVN if resource.namespaced else "", who.name).target)
    assert place.said()[:2] == ("True", "Minted")
    assert who.name in place.said()[2]


def upstream() -> Iterator[dict[str, Any]]:
    """What a tenant with OVN-Kubernetes' own charts shows."""
    labels = {"app": names.OVNKUBE_NODE}
    variable = {"name": "OVN_DAEMONSET_VERSION", "value": "1.3.0"}
    container = {"name": "ovnkube-controller", "image": "x", "env": [variable]}
    pod = {"containers": [container], "nodeSelector": {"no": "where"}}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    yield new_object(DAEMONSETS, OVN, names.OVNKUBE_NODE, spec=spec)


def test_a_host_without_a_pod_leaves_it_unknown(operator: Operator, place: Place, tenant: ControlPlane) -> None:
    tenant.apply(new_object(NODES, "", "empty-host"))
    try:
        pair(place, host="empty-host")
        assert operator.settle(place.says("Unknown", "AdmissionNotTried")) == 30.0
        assert place.said()[:2] == ("Unknown", "AdmissionNotTried")
        assert "no pod runs there to try it with" in place.said()[2]
    finally:
        tenant.admin.delete(get(NODES, "", "empty-host").target)


def test_a_given_kubeconfig_without_the_rights_of_a_node_is_told_which(
    operator: Operator, place: Place, host: str
) -> None:
    place.infra.patch(
        get(names.DPUCLUSTERCONFIGS, place.namespace, "c").target, {"spec": {"tenantCredential": "Provided"}}
    )
    pair(place)
    operator.settle(place.says("False", "NotAdmitted"))
    assert place.said()[:2] == ("False", "NotAdmitted")
    user = f"system:serviceaccount:{OVN}:dpunetop-operator"
    assert f"{user} may not patch nodes/status {host}" in place.said()[2]


def test_a_central_tenant_which_has_no_such_webhook_is_asked_nothing(
    operator: Operator, place: Place, identity: NodeIdentity
) -> None:
    pair(place, CENTRAL_PARTS)
    operator.settle(place.says("True", "Minted"))
    assert place.said()[:2] == ("True", "Minted")


def test_a_binding_that_an_older_release_made_to_another_role_is_made_anew(
    operator: Operator, place: Place, tenant: ControlPlane
) -> None:
    operator.settle(place.says("True", "Minted"))
    assert place.said()[:2] == ("True", "Minted"), place.said()
    before = place.secret()
    path = get(CLUSTERROLEBINDINGS, "", names.DPU_ACCOUNT).target
    live = tenant.admin.get(path)
    tenant.admin.delete(path)
    older = {key: live[key] for key in ("apiVersion", "kind", "subjects")}
    metadata = {"name": names.DPU_ACCOUNT, "labels": live["metadata"]["labels"]}
    tenant.apply({**older, "metadata": metadata, "roleRef": {**live["roleRef"], "name": "view"}})
    operator.settle(lambda: tenant.admin.get(path)["roleRef"]["name"] == names.DPU_ROLE)
    assert tenant.admin.get(path)["roleRef"]["name"] == names.DPU_ROLE
    assert place.said()[:2] == ("True", "Minted")
    assert place.secret() == before
