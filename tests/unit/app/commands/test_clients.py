"""The clients of commands: how long a person waits for a cluster, and what is said of one that cannot be asked."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from dpunetop.app.commands.clients import MOST_SECONDS, ReadingTransport
from dpunetop.app.commands.unlooked import next_step, unlooked_words
from dpunetop.base.stop import Stop
from dpunetop.kube import requests
from dpunetop.kube.errors import ApiError, Forbidden, Unauthorized, Unreachable
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.connection import (
    Anonymous,
    ClientCertificate,
    Connection,
    Credential,
    Redacted,
    StaticToken,
    TokenSource,
)
from dpunetop.runtime.client.transport import CallOptions, Response, Transport
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.reading import NotEngaged, NotSynced
from support.clock import EPOCH, FakeClock
from support.pki import pair

READ = requests.get(NODES, "", "n")


class ScriptedReads:
    """A transport of commands over a server that answers as it is told; `asked` are the time-outs of its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, credential: Credential, *answers: int | Unreachable) -> None:
        self.clock, self.asked, self._answers = FakeClock(), list[float](), iter(answers)
        self._heard = -float("inf")
        monkeypatch.setattr(Transport, "call", self._call)
        monkeypatch.setattr(Transport, "heard_at", property(lambda _: self._heard))
        self.transport = ReadingTransport(
            Connection("https://10.0.0.1:6443", None, credential),
            Stop(self.clock),
            user_agent="test",
            metrics=Metrics().client("10.0.0.1:6443"),
            clock=self.clock,
            whose="kubeconfig blue.yaml",
        )

    def read(self, seconds: float = 30.0) -> str:
        """What a read comes to."""
        try:
            return str(self.transport.call(READ, CallOptions(seconds)).status)
        except ApiError as err:
            return f"{type(err).__name__} {err.reason}: {err.message}"

    def _call(self, request: Any, options: CallOptions) -> Response:
        self.asked.append(options.timeout_seconds)
        answer = next(self._answers)
        if isinstance(answer, Unreachable):
            raise answer
        self._heard = self.clock.monotonic()
        return Response(answer, {}, b"")


def silence(reason: str = "Timeout") -> Unreachable:
    return Unreachable(0, reason, "10.0.0.1:6443: no answer within 15 s")


def test_a_server_that_never_answers_is_waited_for_once_however_much_is_to_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted = ScriptedReads(monkeypatch, Anonymous(), silence())
    said = {scripted.read() for _ in range(100)}
    assert said == {"Unreachable Timeout: 10.0.0.1:6443: no answer within 15 s (kubeconfig blue.yaml)"}
    assert scripted.asked == [MOST_SECONDS]


def test_a_server_that_falls_silent_is_waited_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = ScriptedReads(monkeypatch, Anonymous(), 200, silence("Reset"), 200, silence(), silence())
    found = [scripted.read().split()[0] for _ in range(20)]
    assert found == ["200", "Unreachable", "200", *["Unreachable"] * 17]
    assert len(scripted.asked) == 5


@pytest.mark.parametrize("reason", ["TooLarge", "BadAnswer"])
def test_a_server_that_answers_too_much_is_no_silent_one(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    scripted = ScriptedReads(monkeypatch, Anonymous(), *[silence(reason)] * 3, 200)
    assert [scripted.read().split()[0] for _ in range(4)] == [*["Unreachable"] * 3, "200"]


def test_a_shorter_timeout_of_the_caller_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = ScriptedReads(monkeypatch, Anonymous(), 200, 200)
    scripted.read(3.0)
    scripted.read(300.0)
    assert scripted.asked == [3.0, MOST_SECONDS]


CERTIFICATE = ClientCertificate(pair().cert.decode(), Redacted(pair().key.decode()))
LIFETIME = timedelta(days=900)
"""After it none of these is good."""


def jwt(ends: datetime) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(ends.timestamp())}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


TOKEN = jwt(EPOCH + timedelta(days=1))


@pytest.mark.parametrize(
    ("credential", "age", "words"),
    [
        (CERTIFICATE, LIFETIME, "its client certificate ended on 2027-01-01T00:00:00Z"),
        (CERTIFICATE, timedelta(1), "its client certificate is good until 2027-01-01T00:00:00Z, so it was revoked"),
        (CERTIFICATE, timedelta(-1), "its client certificate is valid only from 2026-01-01T00:00:00Z on; compare"),
        (TokenSource(lambda: TOKEN), LIFETIME, "its token ended on 2026-01-02T00:00:00Z"),
        (StaticToken(Redacted(TOKEN)), LIFETIME, "its token ended on 2026-01-02T00:00:00Z"),
        (StaticToken(Redacted("opaque")), LIFETIME, "its token was revoked, or the server does not know it"),
        (Anonymous(), LIFETIME, "it holds neither a token nor a client certificate"),
    ],
    ids=("ended", "revoked", "not valid yet", "token ended", "static token ended", "opaque token", "none"),
)
def test_a_kubeconfig_that_is_not_accepted_is_named_with_its_end(
    monkeypatch: pytest.MonkeyPatch, credential: Credential, age: timedelta, words: str
) -> None:
    scripted = ScriptedReads(monkeypatch, credential, 401)
    scripted.clock.step(age.total_seconds())
    said = scripted.read()
    assert said.startswith(f"Unauthorized Unauthorized: the server does not accept kubeconfig blue.yaml: {words}")
    assert not any(secret in said for secret in ("opaque", "PRIVATE KEY", TOKEN))


def test_what_was_not_looked_at_is_told_with_the_cluster_the_cause_and_the_next_step() -> None:
    refused = Forbidden(403, "Forbidden", "nodes is forbidden")
    assert unlooked_words(NotSynced(INFRA, Selection(NODES), refused)) == (
        "nodes of infra: 403 Forbidden: nodes is forbidden; give a kubeconfig that may do this, as an administrator's"
    )
    assert unlooked_words(NotSynced("tenant/blue/cards", Selection(NODES), silence())).startswith(
        "nodes of the tenant: Timeout: 10.0.0.1:6443: no answer within 15 s; see whether the server is up"
    )
    assert "--tenant-kubeconfig" in unlooked_words(NotEngaged("tenant/blue/cards"))


@pytest.mark.parametrize(
    "error", [Unauthorized(401, "U", ""), Forbidden(403, "F", ""), silence(), silence("TLS"), ApiError(500, "I", "")]
)
def test_each_kind_of_failure_has_a_next_step(error: ApiError) -> None:
    assert next_step(error)
