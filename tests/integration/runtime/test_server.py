"""`/metrics` before a real API server: who may read it is decided by its tokens and its RBAC."""

from __future__ import annotations

import http.client
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.transport import Connection, Redacted, StaticToken, Transport
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.serving.reviews import PEER_REVIEWS_AT_ONCE, PEER_REVIEWS_PER_SECOND, Reviewer
from dpunetop.runtime.serving.server import Certificate, Guarded, MetricsServer
from dpunetop.sandbox.controlplane import ControlPlane

RBAC = "rbac.authorization.k8s.io"
Serve = Callable[..., tuple[str, int]]


def account(infra: ControlPlane, namespace: str, name: str) -> str:
    """A new ServiceAccount; its token."""
    infra.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}})
    return infra.service_account_token(namespace, name)


def bind(infra: ControlPlane, namespace: str, name: str, role: str) -> None:
    infra.apply(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{namespace}-{name}"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
        }
    )


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts metrics servers whose own rights are those of a token."""
    stop, threads = Stop(), []

    def start(url: str, ca_pem: str, token: str) -> tuple[str, int]:
        metrics, clock = Metrics(), RealClock()
        recorder = metrics.client("infra")
        connection = Connection(url, ca_pem, StaticToken(Redacted(token)))
        transport = Transport(connection, stop, user_agent="dpunetop-test", metrics=recorder, clock=clock)
        client = Client(transport, clock=clock, metrics=recorder, name="infra")
        door = Guarded(
            Reviewer(client.for_reviews(), clock, random.random), Certificate(None, metrics.certificate(), clock)
        )
        server = MetricsServer(("127.0.0.1", 0), metrics, door, clock=clock)
        threads.append(threading.Thread(target=server.run, args=(stop,), name="metrics"))
        threads[-1].start()
        return server.address

    yield start
    stop.set()
    for thread in threads:
        thread.join(60)


@pytest.fixture
def reviewing(infra: ControlPlane, namespace: str, serve: Serve) -> tuple[str, int]:
    """A metrics server with the right to make reviews, and no other."""
    token = account(infra, namespace, "operator")
    bind(infra, namespace, "operator", "system:auth-delegator")
    return serve(infra.url, infra.ca_pem.decode(), token)


@pytest.fixture
def scraper(infra: ControlPlane, namespace: str) -> str:
    """Token of someone who may read metrics."""
    token = account(infra, namespace, "scraper")
    rule = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": f"{namespace}-metrics"}}
    infra.apply({**role, "rules": [rule]})
    bind(infra, namespace, "scraper", f"{namespace}-metrics")
    return token


def ask(address: tuple[str, int], token: str | None, method: str = "GET") -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(*address, timeout=60, context=context)
    try:
        connection.request(method, "/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_user_who_may_get_the_path_reads_the_metrics(reviewing: tuple[str, int], scraper: str) -> None:
    assert ask(reviewing, scraper) == 200


@pytest.mark.parametrize("token", [None, "garbage"])
def test_an_unknown_user_is_refused(reviewing: tuple[str, int], token: str | None) -> None:
    assert ask(reviewing, token) == 401


def test_a_user_without_the_right_is_refused(reviewing: tuple[str, int], infra: ControlPlane, namespace: str) -> None:
    assert ask(reviewing, account(infra, namespace, "nobody")) == 403


def test_a_token_for_someone_else_is_refused(
    reviewing: tuple[str, int], scraper: str, infra: ControlPlane, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/scraper/token"
    request: dict[str, Any] = {"spec": {"audiences": ["https://vault.example"], "expirationSeconds": 600}}
    assert ask(reviewing, infra.admin.create(path, request)["status"]["token"]) == 401


def test_only_get_is_served(reviewing: tuple[str, int], scraper: str) -> None:
    assert ask(reviewing, scraper, "POST") == 405


def test_a_hundred_scrapes_cost_one_review(
    reviewing: tuple[str, int], scraper: str, infra: ControlPlane, namespace: str
) -> None:
    mark = infra.audit_mark()
    assert [ask(reviewing, scraper) for _ in range(100)] == [200] * 100
    us = f"system:serviceaccount:{namespace}:operator"
    made = [event["objectRef"]["resource"] for event in infra.audit_events(user=us, verb="create", since=mark)]
    assert sorted(made) == ["subjectaccessreviews", "tokenreviews"]


def test_a_flood_of_unknown_tokens_costs_few_reviews_and_stops_no_scrape(
    reviewing: tuple[str, int], scraper: str, infra: ControlPlane, namespace: str
) -> None:
    assert ask(reviewing, scraper) == 200
    mark, began = infra.audit_mark(), time.monotonic()
    answers = Counter(ask(reviewing, f"unknown-{n}") for n in range(100))
    took = time.monotonic() - began
    assert answers.keys() <= {401, 429}
    assert answers[401] <= PEER_REVIEWS_AT_ONCE + PEER_REVIEWS_PER_SECOND * took
    us = f"system:serviceaccount:{namespace}:operator"
    made = len(list(infra.audit_events(user=us, verb="create", since=mark)))
    assert made <= PEER_REVIEWS_AT_ONCE + PEER_REVIEWS_PER_SECOND * (time.monotonic() - began)
    assert ask(reviewing, scraper) == 200


def test_without_the_right_to_create_reviews_every_scrape_is_refused(
    serve: Serve, infra: ControlPlane, namespace: str, scraper: str
) -> None:
    weak = serve(infra.url, infra.ca_pem.decode(), account(infra, namespace, "weak"))
    assert ask(weak, scraper) == 500


def test_while_the_api_server_is_down_every_scrape_is_refused(serve: Serve, infra: ControlPlane, scraper: str) -> None:
    nowhere = serve("https://127.0.0.1:1", infra.ca_pem.decode(), "x")
    assert ask(nowhere, scraper) == 500
