"""The client against a real API server: what `Client` promises, and the answers that the engine builds on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from dpunetop.kube.keys import CONFIGMAPS, NODES, PODS, SERVICEACCOUNTS, SUBJECTACCESSREVIEWS, Resource
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_name
from dpunetop.kube.watch import Progress, Put, WatchEvent, interpret
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Connection, Redacted, StaticToken, Transport
from dpunetop.runtime.metrics import Metrics
from dpunetop.sandbox.components import API_ONLY, Component, Spec
from dpunetop.sandbox.controlplane import ControlPlane

BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True)
NOWHERE = Resource("example.test", "v1", "things", "Thing", True)
MANAGER = "dpunetop-test"
StartControlPlane = Callable[[Spec], ControlPlane]


@pytest.fixture
def open_client() -> Iterator[Callable[[Connection], Client]]:
    """Makes clients, and closes their connections at the end."""
    stop = Stop()

    def make(connection: Connection, **settings: Any) -> Client:
        clock, metrics = RealClock(), Metrics().client("infra")
        transport = Transport(connection, stop, user_agent="dpunetop-test", metrics=metrics, clock=clock, **settings)
        return Client(transport, clock=clock, metrics=metrics, name="infra")

    yield make
    stop.set()


@pytest.fixture
def client(infra: ControlPlane, open_client: Callable[[Connection], Client]) -> Client:
    return open_client(infra_connection(str(infra.admin_kubeconfig)))


def config_map(namespace: str, name: str, data: dict[str, str] | None = None, **metadata: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": data or {"k": "v"},
    }


def applied(client: Client, body: dict[str, Any], resource: Resource = CONFIGMAPS) -> dict[str, Any]:
    return client.apply(resource, body, MANAGER)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_list_in_pages_is_complete_and_of_one_version(client: Client, namespace: str) -> None:
    for number in range(5):
        applied(client, config_map(namespace, f"c-{number}"))
    mine = [f"c-{number}" for number in range(5)]
    pages = list(client.pages(Selection(CONFIGMAPS, namespace), 2))
    assert [page.remaining for page in pages] == [True] * (len(pages) - 1) + [False]
    assert len(pages) >= 3
    assert len({page.resource_version for page in pages}) == 1
    items = [item for page in pages for item in page.items]
    assert [item["metadata"]["name"] for item in items if item["metadata"]["name"] in mine] == mine
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "ConfigMap")}


def test_a_watch_delivers_what_happened_after_the_version_it_was_given(client: Client, namespace: str) -> None:
    first = applied(client, config_map(namespace, "seen", {"k": "1"}))
    applied(client, config_map(namespace, "other"))
    applied(client, config_map(namespace, "seen", {"k": "2"}))
    client.delete(CONFIGMAPS, namespace, "seen", first["metadata"]["uid"])
    selection = Selection(CONFIGMAPS, namespace, by_name("seen"))
    with closing(client.watch(selection, first["metadata"]["resourceVersion"])) as events:
        modified, deleted = next(events), next(events)
    assert (modified.type, modified.object["data"]) == ("MODIFIED", {"k": "2"})
    assert (deleted.type, deleted.object["metadata"]["name"]) == ("DELETED", "seen")


def test_a_watch_list_begins_with_what_there_is_and_says_where_that_ends(client: Client, namespace: str) -> None:
    applied(client, config_map(namespace, "there"))
    events = client.watch_list(Selection(CONFIGMAPS, namespace, by_name("there")))
    with closing(events):
        _, put = interpret(next(events))
        version, end = interpret(next(events))
        applied(client, config_map(namespace, "there", {"k": "2"}))
        later, change = interpret(next(events))
    assert isinstance(put, Put)
    assert put.object["metadata"]["name"] == "there"
    assert end == Progress(is_initial_end=True)
    assert isinstance(change, Put)
    assert change.object["data"] == {"k": "2"}
    assert int(later) > int(version)


def test_what_is_not_there_is_not_found_and_what_is_not_served_is_not_served(client: Client, namespace: str) -> None:
    with pytest.raises(NotFound):
        client.get(CONFIGMAPS, namespace, "nothing")
    with pytest.raises(NotFound):
        client.delete(CONFIGMAPS, namespace, "nothing", "uid")
    assert [client.serves(resource) for resource in (CONFIGMAPS, BUDGETS, NOWHERE)] == [True, True, False]


# -- writing -----------------------------------------------------------------------------------------------------------


def test_an_apply_with_version_1_creates_or_conflicts(client: Client, namespace: str) -> None:
    created = applied(client, config_map(namespace, "one", resourceVersion="1"))
    assert created["data"] == {"k": "v"}
    with pytest.raises(Conflict):
        applied(client, config_map(namespace, "one", {"k": "other"}, resourceVersion="1"))
    assert client.get(CONFIGMAPS, namespace, "one")["data"] == {"k": "v"}


def test_an_apply_with_the_uid_of_another_object_is_invalid_and_says_why(client: Client, namespace: str) -> None:
    applied(client, config_map(namespace, "one"))
    with pytest.raises(Invalid) as caught:
        applied(client, config_map(namespace, "one", {"k": "x"}, uid="11111111-1111-1111-1111-111111111111"))
    assert [cause["field"] for cause in caught.value.causes] == ["metadata.uid"]


def test_an_apply_with_uid_never_revives_what_is_gone(client: Client, namespace: str) -> None:
    uid = applied(client, config_map(namespace, "one"))["metadata"]["uid"]
    client.delete(CONFIGMAPS, namespace, "one", uid)
    with pytest.raises(Conflict):
        applied(client, config_map(namespace, "one", uid=uid))


def test_an_apply_with_a_stale_version_conflicts(client: Client, namespace: str) -> None:
    stale = applied(client, config_map(namespace, "one"))["metadata"]
    applied(client, config_map(namespace, "one", {"k": "2"}))
    with pytest.raises(Conflict):
        applied(
            client, config_map(namespace, "one", {"k": "3"}, uid=stale["uid"], resourceVersion=stale["resourceVersion"])
        )


def test_a_delete_only_hits_the_object_it_means(client: Client, namespace: str) -> None:
    old = applied(client, config_map(namespace, "one"))["metadata"]
    new = applied(client, config_map(namespace, "one", {"k": "2"}))["metadata"]
    with pytest.raises(Conflict):
        client.delete(CONFIGMAPS, namespace, "one", "11111111-1111-1111-1111-111111111111")
    with pytest.raises(Conflict):
        client.delete(CONFIGMAPS, namespace, "one", old["uid"], old["resourceVersion"])
    client.delete(CONFIGMAPS, namespace, "one", new["uid"], new["resourceVersion"])
    with pytest.raises(NotFound):
        client.get(CONFIGMAPS, namespace, "one")


def test_a_merge_patch_holds_to_uid_and_version(client: Client, namespace: str) -> None:
    live = applied(client, config_map(namespace, "one"))["metadata"]
    fence = {"uid": live["uid"], "resourceVersion": live["resourceVersion"]}
    patched = client.merge_patch(CONFIGMAPS, namespace, "one", {"metadata": fence, "data": {"k": None}}, MANAGER)
    assert "data" not in patched
    with pytest.raises(Conflict):
        client.merge_patch(CONFIGMAPS, namespace, "one", {"metadata": fence, "data": {"k": "2"}}, MANAGER)


def test_an_update_of_what_changed_meanwhile_conflicts(client: Client, namespace: str) -> None:
    stale = applied(client, config_map(namespace, "one"))
    client.update(CONFIGMAPS, namespace, "one", {**stale, "data": {"k": "2"}})
    with pytest.raises(Conflict):
        client.update(CONFIGMAPS, namespace, "one", {**stale, "data": {"k": "3"}})


def test_a_status_is_applied_beside_the_conditions_of_others(client: Client, namespace: str) -> None:
    name = f"node-{namespace}"
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
    uid = applied(client, node, NODES)["metadata"]["uid"]

    def condition(kind: str, manager: str) -> dict[str, Any]:
        status = {"conditions": [{"type": kind, "status": "True"}]}
        return client.apply_status(NODES, {**node, "metadata": {"name": name, "uid": uid}, "status": status}, manager)

    condition("Ready", "someone")
    live = condition("DpuReady", MANAGER)
    assert [(c["type"], c["status"]) for c in live["status"]["conditions"]] == [("Ready", "True"), ("DpuReady", "True")]
    client.delete(NODES, "", name, uid)


# -- subresources and reviews ------------------------------------------------------------------------------------------


def test_a_token_is_requested_and_works_with_no_more_than_its_rights(
    client: Client, infra: ControlPlane, namespace: str, open_client: Callable[[Connection], Client]
) -> None:
    applied(
        client,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": namespace}},
        SERVICEACCOUNTS,
    )
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    token = client.create_sub(SERVICEACCOUNTS, namespace, "robot", "token", request)["status"]["token"]
    robot = open_client(Connection(infra.url, infra.ca_pem.decode(), StaticToken(Redacted(token))))
    robot.probe(60.0)
    with pytest.raises(Forbidden, match=r"cannot get resource \"configmaps\""):
        robot.get(CONFIGMAPS, namespace, "one")
    with pytest.raises(Forbidden):
        next(robot.watch(Selection(CONFIGMAPS, namespace), "1"))
    with pytest.raises(Invalid):
        client.create_sub(SERVICEACCOUNTS, namespace, "robot", "token", {**request, "spec": {"expirationSeconds": 60}})


def test_an_invalid_token_is_unauthorized(infra: ControlPlane, open_client: Callable[[Connection], Client]) -> None:
    stranger = open_client(Connection(infra.url, infra.ca_pem.decode(), StaticToken(Redacted("nonsense"))))
    with pytest.raises(Unauthorized):
        stranger.get(NODES, "", "one")
    with pytest.raises(Unauthorized):
        stranger.probe(60.0)


def test_a_review_has_no_name_and_is_answered(client: Client, namespace: str) -> None:
    spec = {
        "user": f"system:serviceaccount:{namespace}:robot",
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
    }
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    assert client.create(SUBJECTACCESSREVIEWS, "", review)["status"]["allowed"] is False


def test_an_eviction_is_refused_by_a_closed_budget_and_granted_by_an_open_one(client: Client, namespace: str) -> None:
    run_pod(client, namespace)
    budget = closed_budget(client, namespace)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p", "namespace": namespace}}
    with pytest.raises(TooManyRequests) as caught:
        client.create_sub(PODS, namespace, "p", "eviction", eviction)
    assert [cause["reason"] for cause in caught.value.causes] == ["DisruptionBudget"]
    client.delete(BUDGETS, namespace, "b", budget["metadata"]["uid"])
    client.create_sub(PODS, namespace, "p", "eviction", eviction)
    with pytest.raises(NotFound):
        client.get(PODS, namespace, "p")


def run_pod(client: Client, namespace: str) -> None:
    settled(lambda: client.get(SERVICEACCOUNTS, namespace, "default"))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": namespace, "labels": {"app": "p"}},
        "spec": {
            "nodeName": "nowhere",
            "containers": [{"name": "c", "image": "i"}],
            "terminationGracePeriodSeconds": 0,
        },
    }
    applied(client, pod, PODS)
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    client.apply_status(PODS, {**pod, "spec": {}, "status": status}, MANAGER)


def closed_budget(client: Client, namespace: str) -> dict[str, Any]:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "namespace": namespace},
        "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"app": "p"}}},
    }
    applied(client, budget, BUDGETS)

    def seen_by_its_controller() -> dict[str, Any]:
        live = client.get(BUDGETS, namespace, "b")
        if live.get("status", {}).get("observedGeneration") != live["metadata"]["generation"]:
            raise NotFound(404, "NotYet", "")
        return live

    return settled(seen_by_its_controller)


def settled(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    pause, deadline = threading.Event(), time.monotonic() + 60.0
    while True:
        try:
            return read()
        except NotFound:
            assert time.monotonic() < deadline
            pause.wait(0.05)


# -- faults ------------------------------------------------------------------------------------------------------------


def third_or_gone(event: WatchEvent) -> bool:
    """Whether a resumed watch misses nothing unsaid: a new process may have filled its cache only after the change."""
    try:
        _, change = interpret(event)
    except Gone:
        return True
    return isinstance(change, Put) and change.object["data"] == {"k": "3"}


@contextmanager
def closing_connections(client: Client) -> Iterator[None]:
    """Again and again, in another thread: who does not know when there is one closes one in the end."""
    over = threading.Event()

    def close() -> None:
        while not over.wait(0.05):
            client.close_connections()

    closer = threading.Thread(target=close)
    closer.start()
    yield
    over.set()
    closer.join()


def test_a_server_that_dies_and_comes_back_is_met_again_where_it_was_left(
    start_control_plane: StartControlPlane, open_client: Callable[..., Client]
) -> None:
    server = start_control_plane(Spec("restarted", API_ONLY, apiserver_flags=("--feature-gates=WatchList=false",)))
    client = open_client(infra_connection(str(server.admin_kubeconfig)))
    selection = Selection(CONFIGMAPS, "default", by_name("one"))

    with pytest.raises(ApiError) as refused:  # the sign to list and watch instead
        next(client.watch_list(selection))
    assert not isinstance(refused.value, Unreachable)

    first = applied(client, config_map("default", "one", {"k": "1"}))
    events = client.watch(selection, first["metadata"]["resourceVersion"])
    second = applied(client, config_map("default", "one", {"k": "2"}))
    assert next(events).object["data"] == {"k": "2"}

    server.kill(Component.APISERVER)
    with pytest.raises(Unreachable) as cut:
        next(events)
    assert cut.value.reason == "Reset"
    with pytest.raises(Unreachable) as away:
        client.probe(60.0)
    assert away.value.reason == "Refused"

    server.restart(Component.APISERVER)
    client.probe(60.0)
    applied(client, config_map("default", "one", {"k": "3"}))
    with closing(client.watch(selection, second["metadata"]["resourceVersion"])) as resumed:
        assert third_or_gone(next(resumed))
    with pytest.raises(Gone):
        interpret(next(client.watch(selection, first["metadata"]["resourceVersion"])))

    server.pause(Component.APISERVER)
    with pytest.raises(Unreachable) as mute:
        client.probe(0.5)
    assert mute.value.reason == "Timeout"
    with closing_connections(client), pytest.raises(Unreachable) as given_up:
        client.get(CONFIGMAPS, "default", "one", timeout_seconds=60.0)
    assert given_up.value.reason == "Reset"
    server.resume(Component.APISERVER)
    assert client.get(CONFIGMAPS, "default", "one")["data"] == {"k": "3"}
