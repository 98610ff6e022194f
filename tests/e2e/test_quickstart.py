"""The quick start, as a new user types it, against two real clusters, by the operator with its own rights alone.

The tests follow each other: one World, one run, looked at from all sides, then left at rest for a minute.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.domain import names
from dpunetop.domain.pairing.entries import idle_pods, serving_nodes
from dpunetop.domain.reasons import (
    CREDENTIALS_VALID,
    DPU_CREDENTIAL_VALID,
    FEATURE_PARITY,
    MCP_READY,
    OVN_KUBE_READY,
    PAIRS_HEALTHY,
    READY,
    TENANT_OBJS_SYNCED,
    TENANT_REACHABLE,
    TOPOLOGY_SUPPORTED,
)
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, NAMESPACES, SECRETS, SERVICEACCOUNTS, Resource
from dpunetop.kube.requests import get
from dpunetop.sandbox import binaries
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.components import WITH_CONTROLLERS, Spec
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.seed import OPERATOR_NAMESPACE
from dpunetop.sandbox.standins.ovnkube import IMAGE
from dpunetop.sandbox.world import World
from support import audit, election, oplog
from support.audit import Audit
from support.history import History
from support.trial import eventually

pytestmark = pytest.mark.timeout(1500)

REST_SECONDS = 60.0
MOST_LINES = 30
"""Of level info: what somebody reads who wants to know how it went."""
HEARTBEAT_SECONDS = 5.0
GOLDEN = Path(__file__).parents[1] / "unit/domain/hostconfig/golden/machineconfig.json"
CONDITIONS = {
    READY,
    MCP_READY,
    TENANT_REACHABLE,
    CREDENTIALS_VALID,
    DPU_CREDENTIAL_VALID,
    TENANT_OBJS_SYNCED,
    OVN_KUBE_READY,
    PAIRS_HEALTHY,
    TOPOLOGY_SUPPORTED,
    FEATURE_PARITY,
}
POOL = "dpu"
MACHINE_CONFIG = "00-dpu-bluefield-switchdev"
DPUS = {
    "bf2-worker-advnetlab13": "worker-advnetlab13",
    "bf2-worker-advnetlab14": "worker-advnetlab14",
    "bf2-worker-advnetlab15": "worker-advnetlab15",
}
BLOCKERS = [f"{OPERATOR_NAMESPACE}/dpu-drain-blocker-{dpu}" for dpu in DPUS]
WRITES_ONCE = {
    ("machineconfigs", MACHINE_CONFIG),
    ("machineconfigpools", POOL),
    ("secrets", "default/dpunetop-tenant-credential"),
    ("secrets", "default/dpunetop-tenant-kubeconfig"),
    ("secrets", "default/ovn-cert"),
    ("configmaps", "default/ovn-ca"),
    ("configmaps", "default/ovnkube-config"),
    ("serviceaccounts", "default/ovn-kubernetes-node"),
    ("dpuclusterconfigs", "default/dpuclusterconfig-sample"),
    ("serviceaccounts", f"{OPERATOR_NAMESPACE}/dpu-drain-blocker"),
    *(("deployments", blocker) for blocker in BLOCKERS),
    *(("dpunodes", f"default/{dpu}") for dpu in DPUS),
}
"""What one write each must do; the entries follow the DPUs, the status follows all."""
MOST_STATUSES = 8
"""Of a DpuNode: one a second at most, and no more than there are things to be said on the way to serving."""


@dataclass
class Run:
    """The quick start, done: the World as it stands, who did it, and what the servers noted meanwhile."""

    world: World
    operator: OperatorProcess
    infra: Audit
    tenant: Audit
    history: History

    def get(self, resource: Resource, name: str) -> Obj:
        return self.world.infra.admin.get(get(resource, "default" if resource.namespaced else "", name).target)

    def tenant_get(self, resource: Resource, name: str) -> Obj:
        path = get(resource, names.OVN_KUBERNETES_NAMESPACE if resource.namespaced else "", name).target
        return self.world.tenant.admin.get(path)

    def pods(self) -> list[Obj]:
        path = "/api/v1/namespaces/default/pods"
        return self.world.infra.admin.list_all(path, labelSelector=f"app={names.OVNKUBE_NODE}")

    def owner(self) -> str:
        uid = self.get(NAMESPACES, names.KUBE_SYSTEM)["metadata"]["uid"]
        return names.owner_hash(uid, "default", "dpuclusterconfig-sample")


@pytest.fixture(scope="module")
def run(programs: binaries.Binaries) -> Iterator[Run]:
    """The user's steps in the order of the quick start, with the operator in its in-cluster form."""
    infra, tenant = Spec("infra", audit=True), Spec("tenant", WITH_CONTROLLERS, audit=True)
    with World(dpus=len(DPUS), infra=infra, tenant=tenant, heartbeat_seconds=HEARTBEAT_SECONDS) as world:
        env = {**world.operator_environment, **election.environment("default")}
        audits = audit.of_operator(world.infra), audit.of_tenant_reader(world.tenant, names.OVN_KUBERNETES_NAMESPACE)
        world.store_kubeconfig()
        world.store_overrides()
        history = History(world.infra.admin, "default")
        with OperatorProcess(world.operator_kubeconfig(), env=env, flags=election.FLAGS) as operator:
            world.create_config()
            world.wait_condition(READY, "True")
            run = Run(world, operator, *audits, history)
            eventually(lambda: idle_pods(run.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)), lambda left: not left)
            yield run


def condition(run: Run, type_: str) -> dict[str, Any]:
    return dict(condition_of(run.world.config(), type_) or {})


def test_every_condition_is_true_for_the_generation_that_was_asked_for(run: Run) -> None:
    config = run.world.config()
    found = {c["type"]: (c["status"], c["observedGeneration"]) for c in config["status"]["conditions"]}
    assert set(found.values()) == {("True", 1)}
    assert set(found) >= CONDITIONS
    assert config["metadata"]["generation"] == 1
    assert config["status"]["observedGeneration"] == 1
    assert config["metadata"]["finalizers"] == [names.FINALIZER]
    assert config["status"]["tenantUID"] == run.tenant_get(NAMESPACES, names.KUBE_SYSTEM)["metadata"]["uid"]
    assert condition(run, READY)["reason"] == "AllReady"
    assert condition(run, OVN_KUBE_READY)["message"] == "3 DPUs serve their hosts"


def test_the_pool_selects_the_dpus_and_all_of_them_run_its_configuration(run: Run) -> None:
    pool = run.get(names.MACHINECONFIGPOOLS, POOL)
    assert pool["metadata"]["labels"] == {names.OWNER_LABEL: run.owner()}
    assert pool["spec"]["nodeSelector"] == {"matchLabels": {names.DPU_WORKER_LABEL: ""}}
    assert pool["spec"]["machineConfigSelector"] == {
        "matchExpressions": [
            {"key": names.MACHINE_CONFIG_ROLE_LABEL, "operator": "In", "values": [POOL, "worker"]},
        ]
    }
    assert (pool["status"]["machineCount"], pool["status"]["updatedMachineCount"]) == (3, 3)
    nodes = [run.world.infra.admin.get(f"/api/v1/nodes/{name}") for name in DPUS]
    rendered = pool["spec"]["configuration"]["name"]
    assert {node["metadata"]["annotations"][names.CURRENT_CONFIG_ANNOTATION] for node in nodes} == {rendered}
    assert not any(node["spec"].get("unschedulable") for node in nodes)


def test_the_machine_config_has_the_content_that_never_changes_by_itself(run: Run) -> None:
    live = run.get(names.MACHINECONFIGS, MACHINE_CONFIG)
    assert live["spec"]["config"] == json.loads(GOLDEN.read_text())["spec"]["config"]
    assert live["metadata"]["labels"] == {
        names.MACHINE_CONFIG_ROLE_LABEL: POOL,
        names.OWNER_LABEL: run.owner(),
    }
    assert live["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    ("resource", "name"), [(SECRETS, "ovn-cert"), (CONFIGMAPS, "ovn-ca")], ids=["certificate", "authority"]
)
def test_what_the_pods_trust_is_the_tenants(run: Run, resource: Resource, name: str) -> None:
    here, there = run.get(resource, name), run.tenant_get(resource, name)
    assert here["data"] == there["data"]
    assert here["metadata"]["labels"] == {names.OWNER_LABEL: run.owner()}


def test_the_configuration_of_the_pods_is_rendered_from_the_tenants(run: Run) -> None:
    here = run.get(CONFIGMAPS, "ovnkube-config")["data"]["ovnkube.conf"]
    there = run.tenant_get(CONFIGMAPS, "ovnkube-config")["data"]["ovnkube.conf"]
    assert set(here.split()) <= set(there.replace('"', "").split()) | set(there.split())
    assert "cluster-subnets" in here


def test_the_pods_credential_is_the_users_kubeconfig_rebuilt(run: Run) -> None:
    data = run.get(SECRETS, names.TENANT_CREDENTIAL)["data"]
    ours, token = yaml.safe_load(base64.b64decode(data["kubeconfig"])), base64.b64decode(data["token"]).decode()
    theirs = json.loads(base64.b64decode(run.get(SECRETS, run.world.quick_start.secret)["data"]["config"]))
    assert ours["clusters"][0]["cluster"]["server"] == run.world.tenant.url
    assert ours["users"][0]["user"] == {"tokenFile": "/var/run/secrets/tenant-kubeconfig/token"}
    assert token == theirs["users"][0]["user"]["token"]
    assert run.get(SECRETS, names.TENANT_CREDENTIAL)["metadata"]["labels"] == {names.OWNER_LABEL: run.owner()}


def test_the_pods_account_has_no_rights_and_no_token(run: Run) -> None:
    account = run.get(SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT)
    assert account["automountServiceAccountToken"] is False
    template = run.get(DAEMONSETS, names.OVNKUBE_NODE)["spec"]["template"]["spec"]
    assert template["serviceAccountName"] == names.OVNKUBE_SERVICE_ACCOUNT
    assert template["automountServiceAccountToken"] is False


def test_each_dpu_has_the_entry_of_its_host_and_a_pod_that_serves_it(run: Run) -> None:
    entries = run.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)
    assert sorted(entries["data"]) == sorted(DPUS)
    assert [node for node, host in DPUS.items() if host not in entries["data"][node]] == []
    assert names.IDLE_PODS_ANNOTATION not in entries["metadata"].get("annotations", {})
    assert serving_nodes(entries, run.pods()) == frozenset(DPUS)


def test_each_dpu_serves_under_protection(run: Run) -> None:
    for dpu, host in DPUS.items():
        name = names.blocker_name(dpu)
        budget = run.world.infra.admin.get(get(names.PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, name).target)
        assert budget["spec"]["maxUnavailable"] == 0
        notes = budget["metadata"]["annotations"]
        assert notes[names.SERVES_ANNOTATION] == host
        assert notes.keys() <= {names.SERVES_ANNOTATION, names.SINCE_ANNOTATION}  # made closed, it says when by itself
        blocker = run.world.infra.admin.get(get(DEPLOYMENTS, OPERATOR_NAMESPACE, name).target)
        assert blocker["status"]["readyReplicas"] == 1
        assert blocker["metadata"]["labels"][names.OWNER_LABEL] == run.owner()


def test_the_daemonset_runs_on_every_dpu_and_nowhere_else(run: Run) -> None:
    daemonset = run.get(DAEMONSETS, names.OVNKUBE_NODE)
    pods = run.pods()
    assert sorted(pod["spec"]["nodeName"] for pod in pods) == sorted(DPUS)
    assert {(condition_of(pod, "Ready") or {}).get("status") for pod in pods} == {"True"}
    assert daemonset["status"]["numberReady"] == daemonset["status"]["desiredNumberScheduled"] == 3
    assert {c["image"] for c in daemonset["spec"]["template"]["spec"]["containers"]} == {IMAGE}
    assert daemonset["metadata"]["generation"] == 1
    assert daemonset["metadata"]["ownerReferences"][0]["uid"] == run.world.config()["metadata"]["uid"]


def test_the_pods_find_the_tenants_databases(run: Run) -> None:
    masters = run.world.tenant.admin.list_all(
        f"/api/v1/namespaces/{names.OVN_KUBERNETES_NAMESPACE}/pods", labelSelector=f"app={names.OVNKUBE_MASTER}"
    )
    containers = run.get(DAEMONSETS, names.OVNKUBE_NODE)["spec"]["template"]["spec"]["containers"]
    environment = {v["name"]: v.get("value") for c in containers for v in c["env"]}
    addresses = sorted(pod["status"]["hostIP"] for pod in masters)
    assert len(addresses) == 3
    assert sorted(environment["OVN_NB_DB_LIST"].split(",")) == [f"ssl:{address}:9641" for address in addresses]
    assert sorted(environment["OVN_SB_DB_LIST"].split(",")) == [f"ssl:{address}:9642" for address in addresses]


def test_events_tell_of_each_step_and_none_of_a_failure(run: Run) -> None:
    def told() -> list[Obj]:
        every = run.world.infra.admin.list_all("/apis/events.k8s.io/v1/namespaces/default/events")
        return [event for event in every if event["regarding"]["kind"] == "DpuClusterConfig"]

    events = eventually(told, lambda found: "AllReady" in {event["reason"] for event in found})
    reasons = {event["reason"] for event in events}
    assert {"Verified", "Reachable", "Synced", "RolledOut", "Serving", "AllReady"} <= reasons
    assert {event["reportingController"] for event in events} == {"dpunetop"}
    assert {(event["reason"], event["note"]) for event in events if event["type"] == "Warning"} == set()


def test_no_condition_goes_back_to_what_it_said_before(run: Run) -> None:
    assert run.history.returns() == {}
    assert run.history.said()[READY][-1].meaning == ("True", "AllReady")


def test_each_object_is_written_once(run: Run) -> None:
    writes = [asked for asked in run.infra.requests() if asked.is_write and not asked.is_failed]
    counts = Counter((asked.resource, asked.place) for asked in writes)
    assert {key: counts[key] for key in WRITES_ONCE} == dict.fromkeys(WRITES_ONCE, 1)
    assert counts[("daemonsets", "default/ovnkube-node")] == 2  # made, and its template noted once a DPU serves with it
    assert counts[("configmaps", "default/ovnkube-node-entries")] <= 1 + 2 * len(DPUS)  # an entry comes, its pod goes
    assert sum(counts[key] for key in counts if key[0] == "pods") <= len(DPUS)
    assert max(counts["dpunodes/status", f"default/{dpu}"] for dpu in DPUS) <= MOST_STATUSES
    # Made open, then closed; or closed at once, if all is known when it is made.
    assert {counts["poddisruptionbudgets", blocker] for blocker in BLOCKERS} <= {1, 2}


def test_nothing_else_is_written_and_in_the_tenant_nothing_at_all(run: Run) -> None:
    kinds = {asked.resource for asked in run.infra.requests() if asked.is_write}
    allowed = {resource for resource, _ in WRITES_ONCE} | {"daemonsets", "poddisruptionbudgets"}
    assert kinds <= allowed | {"dpuclusterconfigs/status", "dpunodes/status", "pods", "events", "leases"}
    assert [asked for asked in run.tenant.requests() if asked.is_write] == []


def test_no_request_fails_except_a_late_one(run: Run) -> None:
    refused = [asked for asked in run.infra.requests() if asked.is_failed]
    late = {("dpuclusterconfigs/status", 409), ("configmaps", 409)}  # entries come while their ConfigMap is tidied
    assert {(asked.resource, asked.code) for asked in refused} <= {*late, ("leases", 404)}
    assert [asked for asked in run.tenant.requests() if asked.is_failed] == []


def test_at_rest_nothing_is_written_and_nothing_fails_while_nodes_beat(run: Run) -> None:
    eventually(lambda: phases(run), lambda found: found == ["Serving"] * len(DPUS))  # which is said after Ready
    audit.until_rest(run.infra, run.tenant)
    marks = run.world.infra.audit_mark(), run.world.tenant.audit_mark()
    assert audit.work_within(REST_SECONDS, run.infra, run.tenant) == []
    beats = [heartbeats(run.world.infra, marks[0]), heartbeats(run.world.tenant, marks[1])]
    assert min(beats) >= (len(DPUS) + 1) * REST_SECONDS / HEARTBEAT_SECONDS / 2
    renewals = [asked for asked in run.infra.requests() if asked.is_write and not audit.is_count(asked)]
    assert {(asked.resource, asked.place) for asked in renewals} == {("leases", f"{OPERATOR_NAMESPACE}/dpunetop")}


def phases(run: Run) -> list[str]:
    """What the DpuNodes say."""
    found = (run.world.infra.admin.get_or_empty(get(names.DPUNODES, "default", dpu).target) for dpu in DPUS)
    return [str((each.get("status") or {}).get("phase")) for each in found]


def heartbeats(control_plane: ControlPlane, since: int) -> int:
    """How many Node statuses were written."""
    refs = (event.get("objectRef") or {} for event in control_plane.audit_events(verb="patch", since=since))
    return sum((ref.get("resource"), ref.get("subresource")) == ("nodes", "status") for ref in refs)


def test_it_ends_by_sigterm_having_logged_nothing_alarming(run: Run) -> None:
    run.operator.terminate()
    assert run.operator.wait(120.0) == 0
    assert oplog.alarms(run.operator) == []


def test_its_log_tells_the_story_in_a_few_lines_from_the_first_to_the_last(run: Run) -> None:
    lines = [line for line in oplog.lines(run.operator) if line["level"] == "info"]
    assert (lines[0]["event"], lines[-1]["event"]) == ("starting", "ended")
    assert lines[0]["settings"]["namespace"] == OPERATOR_NAMESPACE
    assert len(lines) <= MOST_LINES, "\n".join(map(str, lines))
    of_passes = [line for line in lines if line["event"] == "conditions changed"]
    assert of_passes
    assert all({"controller", "cluster", "namespace", "name"} <= line.keys() for line in of_passes)
    said = " ".join(line["conditions"] for line in of_passes)
    assert "Ready=True AllReady" in said
    assert "TenantReachable=True Reachable" in said
