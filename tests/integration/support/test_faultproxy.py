"""Before a real API server a fault proxy changes nothing, sees everything, and strikes where told."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dpunetop.kube.errors import Unreachable
from dpunetop.sandbox.admin import AdminClient, Credential
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.operatorprocess import OperatorProcess
from support.faultproxy import FaultProxy, FaultProxyPair
from support.faults import Phase, drop_ack, kill
from support.trial import eventually

SECONDS = 60.0


@pytest.fixture
def token(infra: ControlPlane, namespace: str) -> str:
    return token_of_an_admin(infra, namespace)


@pytest.fixture
def proxy(infra: ControlPlane, tmp_path: Path) -> Iterator[FaultProxy]:
    with FaultProxy.before(infra, folder=tmp_path) as running:
        yield running


@pytest.fixture
def client(proxy: FaultProxy, token: str, tmp_path: Path) -> Iterator[AdminClient]:
    through = client_of(proxy, token, tmp_path)
    yield through
    through.close()


def token_of_an_admin(cluster: ControlPlane, namespace: str) -> str:
    """A token of a ServiceAccount that may do everything in its namespace."""
    metadata = {"name": "op", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "op", "namespace": namespace}],
    }
    cluster.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}, binding])
    return cluster.service_account_token(namespace, "op")


def client_of(proxy: FaultProxy, token: str, folder: Path) -> AdminClient:
    ca = folder / f"{proxy.name}.pem"
    ca.write_bytes(proxy.ca_pem)
    return AdminClient(proxy.url, ca, Credential(token=token), timeout=SECONDS)


def config_map(namespace: str, name: str = "settings", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def path_of(namespace: str, name: str = "settings") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{name}"


# --- transparent ----------------------------------------------------------------------------------------------------


REQUESTS = {
    "an object": "GET {path} HTTP/1.1",
    "a list": "GET /api/v1/namespaces/{namespace}/configmaps?limit=1 HTTP/1.1",
    "all kinds, in chunks": "GET /openapi/v2 HTTP/1.1",
    "nothing there": "GET {path}x HTTP/1.1",
    "text": "GET /readyz?verbose HTTP/1.1",
    "an apply that changes nothing": "PATCH {path}?fieldManager=sandbox&force=true HTTP/1.1",
}


@pytest.mark.parametrize("line", REQUESTS.values(), ids=REQUESTS.keys())
def test_an_answer_of_the_server_arrives_byte_for_byte(
    infra: ControlPlane, proxy: FaultProxy, token: str, namespace: str, line: str
) -> None:
    """But for the second in which it was written: the header Date stands where it stood."""
    infra.apply(config_map(namespace, a="1"))
    request = request_bytes(
        line.format(path=path_of(namespace), namespace=namespace),
        token,
        json.dumps(config_map(namespace, a="1")).encode(),
    )

    def direct() -> bytes:
        return without_date(exchange(infra.url, infra.ca_pem, request))

    def three() -> tuple[bytes, bytes, bytes]:
        return direct(), without_date(exchange(proxy.url, proxy.ca_pem, request)), direct()

    before, proxied, after = eventually(
        three, lambda answers: answers[0] == answers[2]
    )  # nothing was written meanwhile
    assert len(before) > 100
    assert proxied == before == after


def request_bytes(line: str, token: str, body: bytes) -> bytes:
    """The server gives an answer the audit id that was asked for, so that two answers can be the same."""
    body = body if line.startswith("PATCH") else b""
    headers = {
        "Host": "kubernetes",
        "Authorization": f"Bearer {token}",
        "Audit-ID": "11111111-2222-3333-4444-555555555555",
        "Accept": "application/json, */*",
        "Content-Type": "application/apply-patch+yaml",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line}\r\n{lines}\r\n".encode() + body


def exchange(url: str, ca_pem: bytes, request: bytes) -> bytes:
    trust = ssl.create_default_context(cadata=ca_pem.decode())
    port = int(url.rsplit(":", 1)[1])
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as plain,
        trust.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
        sock.makefile("rb") as stream,
    ):
        sock.sendall(request)
        return stream.read()


def without_date(answer: bytes) -> bytes:
    head, empty, body = answer.partition(b"\r\n\r\n")
    lines = [b"Date: now" if line.lower().startswith(b"date:") else line for line in head.split(b"\r\n")]
    assert b"Date: now" in lines
    return b"\r\n".join(lines) + empty + body


# --- seen -----------------------------------------------------------------------------------------------------------


def test_only_writes_that_changed_something_are_effective(
    proxy: FaultProxy, client: AdminClient, namespace: str
) -> None:
    path = path_of(namespace)
    created = client.apply_at(path, config_map(namespace, a="1"))
    client.apply_at(path, config_map(namespace, a="1"))
    client.apply_at(path, config_map(namespace, a="2"))
    uid = created["metadata"]["uid"]
    client.delete(path, {"preconditions": {"uid": uid}})
    writes = [(entry.method, entry.status, entry.write) for entry in proxy.trace.writes()]
    assert writes == [("PATCH", 201, 1), ("PATCH", 200, 0), ("PATCH", 200, 2), ("DELETE", 200, 3)]
    assert proxy.trace.writes()[-1].uid == uid


def test_a_change_by_someone_else_that_a_watch_showed_does_not_make_a_write_effective(
    infra: ControlPlane, proxy: FaultProxy, client: AdminClient, token: str, namespace: str
) -> None:
    path = path_of(namespace)
    client.apply_at(path, config_map(namespace, a="1"))
    infra.admin.patch(path, {"metadata": {"labels": {"by": "someone-else"}}})
    watch = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&timeoutSeconds=1"
    exchange(proxy.url, proxy.ca_pem, request_bytes(f"GET {watch} HTTP/1.1", token, b""))
    client.apply_at(path, config_map(namespace, a="1"))
    assert [entry.write for entry in proxy.trace.writes()] == [1, 0]


def test_kubectl_works_through_the_proxy(infra: ControlPlane, proxy: FaultProxy, token: str, namespace: str) -> None:
    kubeconfig = infra.write_kubeconfig(proxy.kubeconfig(token, namespace), f"{namespace}-proxied")
    infra.kubectl(f"--kubeconfig={kubeconfig}", "create", "configmap", "settings", "--from-literal=a=1")
    shown = infra.kubectl(f"--kubeconfig={kubeconfig}", "get", "configmap", "settings", "-o", "jsonpath={.data}")
    assert shown == '{"a":"1"}'
    [created] = proxy.trace.effective_writes()
    assert created.user_agent.startswith("kubectl/")


# --- struck ---------------------------------------------------------------------------------------------------------


def test_a_dropped_acknowledgement_leaves_the_object_and_no_answer(
    infra: ControlPlane, proxy: FaultProxy, client: AdminClient, namespace: str
) -> None:
    fault = proxy.counter.arm(drop_ack(1))
    with pytest.raises(Unreachable):
        client.apply_at(path_of(namespace), config_map(namespace, a="1"))
    assert fault.fired.is_set()
    assert infra.admin.get(path_of(namespace))["data"] == {"a": "1"}


def test_a_black_hole_is_silence_until_it_is_lifted(proxy: FaultProxy, client: AdminClient, namespace: str) -> None:
    client.apply_at(path_of(namespace), config_map(namespace, a="1"))
    proxy.black_hole()
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(client.get(path_of(namespace))))
    asking.start()
    asking.join(0.3)
    assert answers == []
    proxy.restore()
    asking.join(SECONDS)
    assert [answer["data"] for answer in answers] == [{"a": "1"}]


def test_a_pair_counts_the_writes_to_both_clusters(
    infra: ControlPlane, tenant: ControlPlane, namespace: str, tenant_namespace: str, tmp_path: Path
) -> None:
    with FaultProxyPair(infra, tenant, tmp_path) as pair:
        one = client_of(pair.infra, token_of_an_admin(infra, namespace), tmp_path)
        two = client_of(pair.tenant, token_of_an_admin(tenant, tenant_namespace), tmp_path)
        one.apply_at(path_of(namespace), config_map(namespace, a="1"))
        two.apply_at(path_of(tenant_namespace), config_map(tenant_namespace, a="1"))
        one.apply_at(path_of(namespace), config_map(namespace, a="2"))
        one.close()
        two.close()
        writes = [(entry.write, entry.cluster) for entry in pair.effective_writes()]
    assert writes == [(1, "infra"), (2, "tenant"), (3, "infra")]
    assert len((tmp_path / "tenant.trace.jsonl").read_text().splitlines()) == 1


WRITER = """
import base64, json, ssl, sys, urllib.request, yaml
config = yaml.safe_load(open(next(a for a in sys.argv if a.startswith("--kubeconfig=")).split("=")[1]))
cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
namespace = config["contexts"][0]["context"]["namespace"]
for number in range(4):
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}", "namespace": namespace}}
    url = f"{cluster['server']}/api/v1/namespaces/{namespace}/configmaps/c{number}?fieldManager=w&force=true"
    request = urllib.request.Request(url, json.dumps(obj).encode(), method="PATCH")
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/apply-patch+yaml")
    opener.open(request, timeout=60).read()
"""


@pytest.mark.parametrize("phase", Phase)
def test_a_process_killed_at_a_write_and_started_anew_ends_in_the_same_world(
    infra: ControlPlane, proxy: FaultProxy, token: str, namespace: str, tmp_path: Path, phase: Phase
) -> None:
    writer = tmp_path / "writer.py"
    writer.write_text(WRITER)
    operator = OperatorProcess(proxy.kubeconfig(token, namespace), program=(sys.executable, str(writer)))
    fault = proxy.counter.arm(kill(2, phase, lambda: operator.pid))
    with operator:
        assert operator.wait(SECONDS) == -9
        assert fault.fired.wait(SECONDS)
        assert proxy.counter.effective == (1 if phase is Phase.BEFORE_FORWARD else 2)
        operator.start()
        assert operator.wait(SECONDS) == 0
    names = {item["metadata"]["name"] for item in infra.admin.list_all(f"/api/v1/namespaces/{namespace}/configmaps")}
    assert names - {"kube-root-ca.crt"} == {"c0", "c1", "c2", "c3"}
    assert proxy.counter.effective == 4
