"""A control plane is what its contract says, also when parts of it break and when its owner is killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dpunetop.kube.errors import Forbidden, Unauthorized, Unreachable
from dpunetop.sandbox.admin import AdminClient
from dpunetop.sandbox.components import API_ONLY, Component, Spec, User
from dpunetop.sandbox.controlplane import ControlPlane, ControlPlanePair
from dpunetop.sandbox.controlplanerun import StartFailed

StartControlPlane = Callable[[Spec], ControlPlane]


def config_map(namespace: str, **data: str) -> dict[str, Any]:
    metadata = {"name": "settings", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def path_of_config_map(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/settings"


def test_an_object_is_applied_and_owned_by_the_sandbox(infra: ControlPlane, namespace: str) -> None:
    [applied] = infra.apply(config_map(namespace, a="1"))
    assert applied["data"] == {"a": "1"}
    assert [(entry["manager"], entry["operation"]) for entry in applied["metadata"]["managedFields"]] == [
        ("sandbox", "Apply")
    ]


def test_a_crd_is_served_when_apply_returns(infra: ControlPlane) -> None:
    infra.apply([crd("gadgets", "Gadget"), {"apiVersion": "test.io/v1", "kind": "Gadget", "metadata": {"name": "one"}}])
    assert [gadget["metadata"]["name"] for gadget in infra.admin.list_all("/apis/test.io/v1/gadgets")] == ["one"]


def crd(plural: str, kind: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.test.io"},
        "spec": {
            "group": "test.io",
            "scope": "Cluster",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def test_a_service_account_has_the_rights_it_was_given_and_no_other(infra: ControlPlane, namespace: str) -> None:
    infra.apply(reader_of_config_maps(namespace))
    client = infra.client(infra.service_account_token(namespace, "reader"))
    try:
        assert client.list_all(f"/api/v1/namespaces/{namespace}/configmaps") != []
        with pytest.raises(Forbidden):
            client.list_all(f"/api/v1/namespaces/{namespace}/secrets")
    finally:
        client.close()


def test_rights_are_in_force_when_the_call_that_changed_them_returns(infra: ControlPlane, namespace: str) -> None:
    [_, _, role, binding] = infra.apply(reader_of_config_maps(namespace))
    of_role, of_binding = infra.admin.path_of(role), infra.admin.path_of(binding)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with closing(infra.client(infra.service_account_token(namespace, "reader"))) as client:
        for _ in range(10):
            infra.admin.patch(of_role, {"rules": []})
            with pytest.raises(Forbidden):
                client.list_all(path)
            infra.admin.patch(of_role, {"rules": role["rules"]})
            assert client.list_all(path)
            infra.admin.delete(of_binding)
            with pytest.raises(Forbidden):
                client.list_all(path)
            infra.apply(reader_of_config_maps(namespace)[-1])
            assert client.list_all(path)


def reader_of_config_maps(namespace: str) -> list[dict[str, Any]]:
    metadata = {"name": "reader", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    return [
        config_map(namespace, a="1"),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
        },
    ]


def test_a_certificate_of_a_chosen_group_is_taken_by_kubectl(infra: ControlPlane) -> None:
    kubeconfig = infra.write_kubeconfig(infra.certificate_kubeconfig("eve", ["system:masters"]), "eve")
    answer = infra.kubectl(f"--kubeconfig={kubeconfig}", "auth", "whoami", "-o", "jsonpath={.status.userInfo}")
    assert '"username":"eve"' in answer
    assert "system:masters" in answer


def test_kubectl_says_why_it_failed(infra: ControlPlane) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        infra.kubectl("get", "node", "nobody")
    assert failed.value.stderr == 'Error from server (NotFound): nodes "nobody" not found\n'


def test_the_audit_log_holds_a_request_as_soon_as_it_was_answered(infra: ControlPlane, namespace: str) -> None:
    mark = infra.audit_mark()
    infra.apply(config_map(namespace, a="1"))
    [event] = infra.audit_events(user="sandbox-admin", verb="patch", since=mark)
    assert event["objectRef"]["resource"] == "configmaps"
    assert event["objectRef"]["namespace"] == namespace
    assert event["responseStatus"]["code"] == 201


def test_a_pod_is_bound_to_a_node_by_the_scheduler(infra: ControlPlane, namespace: str) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": namespace}}
    infra.apply(node)
    ready = {
        "capacity": {"cpu": "4", "memory": "4Gi", "pods": "10"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    infra.admin.apply_at(f"/api/v1/nodes/{namespace}/status", {**node, "status": ready})
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
    infra.admin.wait_for(account, bool)
    pod = {"metadata": {"name": "pod"}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    infra.admin.create(f"/api/v1/namespaces/{namespace}/pods", pod)
    bound = infra.admin.wait_for(f"/api/v1/namespaces/{namespace}/pods/pod", lambda seen: "nodeName" in seen["spec"])
    infra.admin.delete(f"/api/v1/nodes/{namespace}")
    assert bound["spec"]["nodeName"] == namespace


def test_a_static_token_without_rights_is_forbidden_and_a_wrong_one_is_unauthorized(
    start_control_plane: StartControlPlane,
) -> None:
    mallory = User("mallory", ("strangers", "guests"))
    cluster = start_control_plane(Spec("static", API_ONLY, users=(mallory,)))
    client, stranger = cluster.client(mallory.token), cluster.client("wrong")
    try:
        with pytest.raises(Forbidden, match="mallory"):
            client.list_all("/api/v1/namespaces")
        review = client.create("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
        assert review["status"]["userInfo"]["groups"] == ["strangers", "guests", "system:authenticated"]
        with pytest.raises(Unauthorized):
            stranger.list_all("/api/v1/namespaces")
    finally:
        client.close()
        stranger.close()


def test_data_address_and_credentials_survive_a_restart_of_each_component(
    start_control_plane: StartControlPlane,
) -> None:
    cluster = start_control_plane(Spec("restarted", API_ONLY))
    url = cluster.url
    cluster.apply(config_map("default", kept="yes"))
    cluster.restart(Component.APISERVER, ["--watch-cache=false"])
    cluster.kill(Component.ETCD)
    cluster.restart(Component.ETCD)
    seen = cluster.admin.wait_for("/api/v1/namespaces/default/configmaps/settings", bool)
    assert (cluster.url, seen["data"]) == (url, {"kept": "yes"})


def test_a_killed_server_refuses_and_a_paused_one_is_silent_until_it_goes_on(
    start_control_plane: StartControlPlane,
) -> None:
    cluster = start_control_plane(Spec("broken", API_ONLY))
    impatient = AdminClient(cluster.url, cluster.folder / "ca.pem", cluster.admin.credential, timeout=0.5)
    cluster.pause(Component.APISERVER)
    with pytest.raises(Unreachable, match="timed out"):
        impatient.text("/readyz")
    cluster.resume(Component.APISERVER)
    assert cluster.admin.get("/api/v1/namespaces/default")
    cluster.kill(Component.APISERVER)
    with pytest.raises(Unreachable, match="refused"):
        cluster.admin.text("/readyz")
    assert cluster.process(Component.APISERVER).poll() == -signal.SIGKILL
    impatient.close()


def test_a_failed_start_shows_the_log_and_leaves_nothing(start_control_plane: StartControlPlane) -> None:
    with pytest.raises(StartFailed, match="unknown flag: --no-such-flag"):
        start_control_plane(Spec("refused", API_ONLY, apiserver_flags=("--no-such-flag",)))
    assert processes_that_mention("/refused-") == []


def test_the_two_clusters_of_a_pair_do_not_trust_each_other(programs: object) -> None:
    with ControlPlanePair(Spec("left", API_ONLY), Spec("right", API_ONLY)) as pair:
        crossed = AdminClient(pair.infra.url, pair.tenant.folder / "ca.pem", pair.tenant.admin.credential)
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            crossed.text("/readyz")
        crossed.close()
        uids = [one.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"] for one in (pair.infra, pair.tenant)]
    assert len(set(uids)) == 2


_OWNER = """
import sys
from dpunetop.sandbox.components import API_ONLY, Spec
from dpunetop.sandbox.controlplane import ControlPlane
cluster = ControlPlane(Spec("orphaned", API_ONLY))
cluster.start()
print(cluster.folder, flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_when_the_owner_is_killed(programs: object) -> None:
    with subprocess.Popen([sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().decode().strip())
        left = [os.pidfd_open(pid) for pid in processes_that_mention(str(folder))]
        owner.kill()
    assert len(left) == 3  # etcd, kube-apiserver and what watches over them
    assert all(has_ended(handle) for handle in left)
    assert not folder.exists()


def test_nothing_runs_on_when_owner_and_reaper_are_killed(programs: object) -> None:
    with subprocess.Popen([sys.executable, "-c", _OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        folder = Path(owner.stdout.readline().decode().strip())
        pids = processes_that_mention(str(folder))
        left = [os.pidfd_open(pid) for pid in pids]
        [reaper] = [pid for pid in pids if "reaper.py" in command_line(pid)]
        os.kill(reaper, signal.SIGKILL)
        owner.kill()
    assert all(has_ended(handle) for handle in left)
    with ControlPlane(Spec("next", API_ONLY)):
        assert not folder.exists()


def has_ended(handle: int) -> bool:
    ended = bool(select.select([handle], [], [], 60)[0])
    os.close(handle)
    return ended


def processes_that_mention(text: str) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if text in command_line(pid)]


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
