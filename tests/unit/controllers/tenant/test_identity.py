"""Dry runs with the pods' credential, against a tenant that answers as a test says."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.controllers.tenant.answercache import ExpiringCache
from dpunetop.controllers.tenant.calls import TenantCalls
from dpunetop.controllers.tenant.identity import IdentityReviewer
from dpunetop.domain.credential.nodeidentity import TRIED_HOSTS, AdmissionDenied, Admitted, Identity, Untried
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.kube.errors import ApiError, Forbidden, Invalid, NotFound, Unauthorized, Unreachable
from dpunetop.kube.keys import SELFSUBJECTACCESSREVIEWS, SELFSUBJECTREVIEWS, Resource
from dpunetop.kube.requests import Selection
from dpunetop.runtime.election.gate import OpenGate
from support.clock import FakeClock
from support.kubeconfigs import good_kubeconfig

USER = "system:serviceaccount:ovn:dpunetop-dpu"
WHO = parse_kubeconfig(good_kubeconfig())
REFUSED = Forbidden(403, "Forbidden", 'admission webhook "w" denied the request: user "u" is not allowed')


class Tenant:
    """Knows nothing but dry runs and questions: whatever else is asked of it is no attribute."""

    def __init__(self) -> None:
        self.errors: dict[str, ApiError] = {}  # by the plural of what is tried
        self.may = True
        self.pods = [{"metadata": {"namespace": "n", "name": "p"}, "spec": {"nodeName": "h1"}}]
        self.tried: list[tuple[str, str]] = []
        self.has_reviews = True
        self.wait: Callable[[float], object] = lambda seconds: None

    def dry_run(
        self, resource: Resource, namespace: str, name: str, sub: str, *_: object, timeout_seconds: float
    ) -> None:
        assert (sub, timeout_seconds > 0) == ("status", True)
        self.tried.append((resource.plural, name))
        if (error := self.errors.get(resource.plural)) is not None:
            raise error

    def some(self, selection: Selection, limit: int, timeout_seconds: float) -> list[Any]:
        host = selection.field_selector.partition("=")[2]
        return [{**pod, "spec": {"nodeName": host}} for pod in self.pods]

    def create(self, resource: Resource, namespace: str, obj: Any, timeout_seconds: float) -> Any:
        if resource == SELFSUBJECTREVIEWS and self.has_reviews:
            return {"status": {"userInfo": {"username": "somebody"}}}
        if resource == SELFSUBJECTACCESSREVIEWS:
            return {"status": {"allowed": self.may}}
        raise NotFound(404, "NotFound", "")


class Desk:
    def __init__(self) -> None:
        self.tenant, self.clock = Tenant(), FakeClock()
        self.answers = ExpiringCache(self.clock)
        self.stops: list[Stop] = []

    def ask(self, *hosts: str, user: str = USER, about: object = "a") -> Identity:
        calls = TenantCalls("tenant/x", cast(Any, self._candidate), self.answers, self.clock, OpenGate())
        return IdentityReviewer(calls, "m", WHO, user).ask(about, hosts or ("h1",))

    def _candidate(self, *_: object) -> SimpleNamespace:
        self.stops.append(Stop())
        return SimpleNamespace(cluster=SimpleNamespace(client=self.tenant, stop=self.stops[-1]))


def test_a_host_and_a_pod_of_it_are_tried() -> None:
    desk = Desk()
    assert desk.ask() == Admitted()
    assert desk.tenant.tried == [("nodes", "h1"), ("pods", "p")]
    assert [stop.is_set() for stop in desk.stops] == [True]


def test_of_many_hosts_as_many_are_tried_as_tell_an_identity_of_a_node_from_another() -> None:
    desk = Desk()
    assert desk.ask("h3", "h1", "h2") == Admitted()
    assert [name for plural, name in desk.tenant.tried if plural == "nodes"] == ["h1", "h2"][:TRIED_HOSTS]


ANSWERS: dict[str, tuple[str, ApiError, bool, type[Identity], str]] = {
    "the webhook of nodes": ("nodes", REFUSED, True, AdmissionDenied, f"--extra-allowed-user={USER}"),
    "the webhook of pods": ("pods", REFUSED, True, AdmissionDenied, "dpu.connection-status onto Pod n/p"),
    "a policy": ("nodes", Invalid(422, "Invalid", "not you"), True, AdmissionDenied, '"not you"'),
    "no right": ("pods", REFUSED, False, AdmissionDenied, "may not patch pods/status p in n"),
    "a webhook that takes no dry runs": ("nodes", ApiError(400, "BadRequest", "dry run"), True, Untried, "answers 400"),
    "a webhook that is down": ("nodes", ApiError(500, "InternalError", "failed calling"), True, Untried, "answers 500"),
    "no such host": ("nodes", NotFound(404, "NotFound", "h1"), True, Untried, "answers 404"),
    "a token that is not known": ("nodes", Unauthorized(401, "Unauthorized", ""), True, Untried, "answers 401"),
    "silence": ("nodes", Unreachable(0, "Timeout", ""), True, Untried, "no answer"),
}


@pytest.mark.parametrize(("plural", "error", "may", "kind", "words"), ANSWERS.values(), ids=ANSWERS.keys())
def test_an_answer_is_told(plural: str, error: ApiError, may: bool, kind: type[Identity], words: str) -> None:
    desk = Desk()
    desk.tenant.errors[plural], desk.tenant.may = error, may
    found = desk.ask()
    assert isinstance(found, kind)
    assert words in getattr(found, "message", "")
    assert all(stop.is_set() for stop in desk.stops)


def test_a_host_without_pods_leaves_it_unknown() -> None:
    desk = Desk()
    desk.tenant.pods = []
    found = desk.ask()
    assert isinstance(found, Untried)
    assert "no pod runs there" in found.message


@pytest.mark.parametrize(("has_reviews", "name"), [(True, "somebody"), (False, "<user of the kubeconfig>")])
def test_whoever_the_given_kubeconfig_is_is_asked_where_that_can_be(has_reviews: bool, name: str) -> None:
    desk = Desk()
    desk.tenant.errors["nodes"], desk.tenant.has_reviews = REFUSED, has_reviews
    found = desk.ask(user="")
    assert isinstance(found, AdmissionDenied)
    assert f"--extra-allowed-user={name}" in found.message


PAUSES = {"admitted": (None, 3600.0), "denied": (REFUSED, 300.0), "unclear": (ApiError(500, "X", ""), 30.0)}


@pytest.mark.parametrize(("error", "seconds"), PAUSES.values(), ids=PAUSES.keys())
def test_an_answer_is_taken_for_granted_for_a_while(error: ApiError | None, seconds: float) -> None:
    desk = Desk()
    if error is not None:
        desk.tenant.errors["nodes"] = error
    first = desk.ask()
    asked = len(desk.tenant.tried)
    desk.clock.step(seconds - 1)
    assert [desk.ask() for _ in range(20)] == [first] * 20
    assert len(desk.tenant.tried) == asked
    desk.clock.step(1)
    desk.ask()
    assert len(desk.tenant.tried) == 2 * asked


def test_another_credential_or_another_host_is_another_question() -> None:
    desk = Desk()
    desk.ask()
    desk.ask(about="b")
    desk.ask("h9", about="b")
    assert [name for plural, name in desk.tenant.tried if plural == "nodes"] == ["h1", "h1", "h9"]


def test_a_tenant_that_falls_silent_leaves_what_it_said_last() -> None:
    desk = Desk()
    assert desk.ask() == Admitted()
    desk.clock.step(3600.0)
    desk.tenant.errors["nodes"] = Unreachable(0, "Timeout", "")
    assert desk.ask() == Admitted()
    assert isinstance(desk.ask(about="b"), Untried)


def test_a_tenant_that_answers_slowly_is_not_waited_for_without_end() -> None:
    desk = Desk()
    desk.tenant.wait = desk.clock.step
    before = desk.clock.monotonic()
    desk.ask("h1", "h2")
    assert desk.clock.monotonic() - before <= 15.0
