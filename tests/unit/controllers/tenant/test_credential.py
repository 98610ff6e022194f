"""The credential of the DPU pods against scripted clusters: its way there, whatever ends a process on the way."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.controllers.reconciler import Installation
from dpunetop.controllers.tenant.credential import DpuCredential
from dpunetop.controllers.tenant.routes import BuildTenant
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.names import (
    CREDENTIAL_ANNOTATION,
    DPU_ACCOUNT,
    DPU_ROLE,
    DPUCLUSTERCONFIGS,
    MINTED_AT_ANNOTATION,
    MINTED_IN_ANNOTATION,
    OWNER_LABEL,
    TENANT_CREDENTIAL,
    TENANT_KUBECONFIG,
    UPSTREAM_DPU_ACCOUNT,
    owner_hash,
)
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig, render_kubeconfig
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import ApiError, Forbidden, Invalid, NotFound, Unauthorized, Unreachable
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    DAEMONSETS,
    INFRA,
    NAMESPACES,
    ROLEBINDINGS,
    SECRETS,
    SELFSUBJECTACCESSREVIEWS,
    SERVICEACCOUNTS,
    Key,
    Resource,
)
from dpunetop.kube.meta import Obj, annotations_of
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.election.gate import LeadershipLost, OpenGate, WriteGate
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.reading import DynamicWatches, Reader
from support.clock import EPOCH, FakeClock
from support.kubeconfigs import good_kubeconfig
from support.objects import NAMESPACE, config
from support.scriptedcluster import Crash, Fuse, ScriptedCluster, ScriptedWatches, executor_over

KEY = Key(INFRA, NAMESPACE, "sample")
TENANT = f"tenant/{NAMESPACE}/sample"
OVN = "openshift-ovn-kubernetes"
OWNER = owner_hash("infra-uid", NAMESPACE, "sample")
GIVEN = render_kubeconfig(parse_kubeconfig(good_kubeconfig()))
_CLAIMS = base64.urlsafe_b64encode(b'{"exp": 2000000000}').decode().rstrip("=")
DATED = render_kubeconfig(parse_kubeconfig(good_kubeconfig(token=f"head.{_CLAIMS}.tail")))
"""A kubeconfig whose token says until when it is good."""
_SOON = base64.urlsafe_b64encode(json.dumps({"exp": int(EPOCH.timestamp()) + 400}).encode()).decode().rstrip("=")
SOON_OVER = f"head.{_SOON}.tail"
"""A token that ends 400 s after a World begins."""
WEEK, DAY, HOUR, MINUTE = 604_800, 86_400, 3_600, 60
METRIC = "dpunetop_tenant_credential_expiry_timestamp_seconds"
OF_AUTHORITY = datetime(3000, 1, 1, tzinfo=UTC).timestamp()
"""When the authority of the given kubeconfig ends, whose token does not say when it does."""
KUBECONFIG_METRIC = "dpunetop_tenant_kubeconfig_expiry_timestamp_seconds"


class Process:
    """One run of the operator's credential controller: what it holds in memory begins empty."""

    def __init__(self, world: World, gate: WriteGate | None = None) -> None:
        gate = gate or OpenGate()
        executor = executor_over(world.client, gate, world.clock)
        self.metrics = Metrics()
        installation = Installation(None, OVN, None, "dpunetop")
        self.controller = DpuCredential(
            installation,
            executor,
            cast(Callable[[str], Client], world.client),
            cast(BuildTenant, world.as_token),
            world.clock,
            gate,
            self.metrics,
        )
        self.controller.read_through(cast(DynamicWatches, world.watches))

    def once(self) -> float | None:
        return self.controller.reconcile(KEY, Stop())

    def until_quiet(self, world: World) -> float | None:
        """Pass after pass, as changes of what it reads would wake it, until one writes nothing; its pause then."""
        for _ in range(20):
            before = world.writes()
            try:
                pause = self.once()
            except ApiError:
                continue
            if world.writes() == before:
                return pause
        raise AssertionError("it never comes to rest")

    def expiry(self, metric: str = METRIC) -> float | None:
        return self.metrics.registry.get_sample_value(metric, {"namespace": NAMESPACE, "name": "sample"})


class World:
    """Two clusters. The tenant knows the tokens that it has given, until their ServiceAccount is another one."""

    def __init__(self, **spec: str) -> None:
        self.clock, self.fuse = FakeClock(), Fuse()
        self.infra, self.tenant = (ScriptedCluster(name, self.fuse, self._time) for name in (INFRA, TENANT))
        self.watches = ScriptedWatches(self.infra, self.tenant)
        self.tokens: dict[str, tuple[str, float]] = {}  # token -> uid of its ServiceAccount, end
        self.asked: list[str] = []
        self.denied: set[str] = set()  # verb resource
        self.powerless = False
        self.is_given_dead = False
        self.lifetime = WEEK
        self.account = DPU_ACCOUNT
        self.infra.put(DPUCLUSTERCONFIGS, config(**spec))
        self.infra.put(NAMESPACES, named("kube-system", uid="infra-uid"))
        self.tenant.put(NAMESPACES, named("kube-system", uid="tenant-uid"))
        self.tenant.put(CLUSTERROLES, named(DPU_ROLE))
        self.give(GIVEN)
        self.tenant.creates, self.tenant.subs = self._review, self._token
        self._numbers = itertools.count(1)

    def give(self, kubeconfig: bytes) -> None:
        secret = named(TENANT_KUBECONFIG, NAMESPACE, {OWNER_LABEL: OWNER})
        live = self.infra.shown(SECRETS, NAMESPACE, TENANT_KUBECONFIG)
        secret["metadata"] = live["metadata"] if live else secret["metadata"]
        self.infra.put(SECRETS, {**secret, "data": {"kubeconfig": base64.b64encode(kubeconfig).decode()}})

    def client(self, name: str) -> ScriptedCluster:
        return self.watches.clusters[name]

    def as_token(self, name: str, kubeconfig: TenantKubeconfig) -> SimpleNamespace:
        """The tenant as the bearer of that token sees it."""
        seen = ScriptedCluster(name, self.fuse, self._time)
        assert kubeconfig.token is not None
        token = kubeconfig.token.reveal()
        seen.creates = lambda resource, obj: self._review_of(token, resource, obj)
        return SimpleNamespace(cluster=SimpleNamespace(client=seen, stop=Stop()))

    def writes(self) -> list[str]:
        return [*self.infra.writes, *self.tenant.writes]

    def secret(self) -> dict[str, Any]:
        found = self.infra.shown(SECRETS, NAMESPACE, TENANT_CREDENTIAL) or {}
        return {key: base64.b64decode(text).decode() for key, text in found.get("data", {}).items()}

    def said(self) -> tuple[str, str]:
        found = condition_of(self.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "DpuCredentialValid")
        assert found is not None
        return found["status"], found["reason"]

    def said_or_nothing(self) -> tuple[str, str] | None:
        found = condition_of(self.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "DpuCredentialValid")
        return (found["status"], found["reason"]) if found else None

    def message(self) -> str:
        found = condition_of(self.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample"), "DpuCredentialValid")
        return str(found and found["message"])

    def is_accepted(self, token: str) -> bool:
        if token in ("token-of-a-test", SOON_OVER):
            return not self.is_given_dead
        uid, end = self.tokens.get(token, ("", 0.0))
        account = self.tenant.shown(SERVICEACCOUNTS, OVN, self.account)
        return account is not None and account["metadata"]["uid"] == uid and self.clock.monotonic() < end

    def content(self) -> str:
        """Both clusters, but for which of the tokens it is."""
        content = {**self.infra.content(), **self.tenant.content()}
        text = json.dumps([[*place, value] for place, value in sorted(content.items())], sort_keys=True)
        for token in self.tokens:
            text = text.replace(base64.b64encode(token.encode()).decode(), "TOKEN")
        return text

    def _time(self) -> str:
        return self.clock.now().isoformat()

    def _review(self, resource: Resource, obj: Obj) -> Obj:
        assert resource == SELFSUBJECTACCESSREVIEWS
        attributes = obj["spec"]["resourceAttributes"]
        what = "/".join(filter(None, (attributes["resource"], attributes.get("subresource"))))
        self.asked.append(f"{attributes['verb']} {what}")
        return {"status": {"allowed": self.asked[-1] not in self.denied}}

    def _review_of(self, token: str, resource: Resource, obj: Obj) -> Obj:
        self.asked.append(f"{resource.kind} of the pods")
        if not self.is_accepted(token):
            raise Unauthorized(401, "Unauthorized", "")
        return {"status": {"allowed": not self.powerless}}

    def _token(self, resource: Resource, namespace: str, name: str) -> dict[str, dict[str, str]]:
        token = f"token.{next(self._numbers)}"
        uid = self.tenant.shown(resource, namespace, name)["metadata"]["uid"]
        self.tokens[token] = uid, self.clock.monotonic() + self.lifetime
        end = self.clock.now() + timedelta(seconds=self.lifetime)
        return {"status": {"token": token, "expirationTimestamp": end.isoformat()}}


def named(name: str, namespace: str = "", labels: dict[str, str] | None = None, **metadata: str) -> dict[str, Any]:
    where = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": "X", "metadata": {"name": name, **where, "labels": labels or {}, **metadata}}


def settled(**spec: str) -> tuple[World, Process]:
    world = World(**spec)
    process = Process(world)
    process.until_quiet(world)
    return world, process


def user(world: World) -> Any:
    return json.loads(world.secret()["kubeconfig"])["users"][0]["user"]


def kind(world: World) -> str:
    """Whose credential pods hold, as the mark on the Secret says."""
    marks = annotations_of(world.infra.shown(SECRETS, NAMESPACE, TENANT_CREDENTIAL))
    return (
        "given" if marks.get(CREDENTIAL_ANNOTATION) == "Provided" else "minted" if MINTED_AT_ANNOTATION in marks else ""
    )


TOKEN_FILE = {"tokenFile": "/var/run/secrets/tenant-kubeconfig/token"}


def given(world: World) -> str | None:
    """The token of the given kubeconfig, as pods hold it; None: they hold something else."""
    return world.secret()["token"] if (kind(world), user(world)) == ("given", TOKEN_FILE) else None


# --- the way there ----------------------------------------------------------------------------------------------------


def test_a_credential_is_minted_in_the_one_order_that_is_safe() -> None:
    world, process = settled()
    assert world.tenant.writes == [
        f"{TENANT} apply serviceaccounts/{DPU_ACCOUNT}",
        f"{TENANT} apply rolebindings/{DPU_ACCOUNT}",
        f"{TENANT} apply clusterrolebindings/{DPU_ACCOUNT}",
    ]
    assert [write for write in world.infra.writes if "secrets" in write] == [
        f"{INFRA} apply secrets/{TENANT_KUBECONFIG}",  # where to clean up, before anything is there
        f"{INFRA} apply secrets/{TENANT_CREDENTIAL}",
    ]
    assert world.secret()["token"] == "token.1"
    assert (kind(world), user(world)) == ("minted", TOKEN_FILE)
    assert world.said() == ("True", "Minted")
    assert process.expiry() == world.clock.now().timestamp() + WEEK
    note = world.infra.shown(SECRETS, NAMESPACE, TENANT_KUBECONFIG)["metadata"]["annotations"]
    assert note == {MINTED_IN_ANNOTATION: OVN}


def test_nothing_is_written_at_rest_and_little_is_asked() -> None:
    world, process = settled()
    world.asked.clear()
    before = world.writes()
    assert [process.once() for _ in range(50)] == [300.0] * 50
    assert (world.writes(), world.asked) == (before, [])
    world.clock.step(301)
    process.once()
    assert world.writes() == before
    assert world.asked.count("SelfSubjectReview of the pods") == 1


STOPS = [(at, is_carried_out) for at in range(1, 31) for is_carried_out in (False, True)]


@pytest.mark.parametrize(("at", "is_carried_out"), STOPS)
def test_a_process_may_end_at_any_request(at: int, is_carried_out: bool) -> None:
    reference, _ = settled()
    world = World()
    world.fuse.arm(at, is_carried_out)
    try:
        Process(world).until_quiet(world)
    except Crash:
        pass
    else:
        raise AssertionError("there is no such request")
    world.fuse.arm(0, False)
    successor = Process(world)
    successor.until_quiet(world)
    assert world.content() == reference.content()
    assert world.is_accepted(world.secret()["token"])
    before = world.writes()
    Process(world).once()
    assert world.writes() == before


def test_every_request_on_the_way_is_one_that_the_crash_test_ends_at() -> None:
    world, _ = settled()
    assert world.fuse.requests == STOPS[-1][0]


def test_pods_never_get_a_token_that_the_tenant_has_not_accepted() -> None:
    world = World()
    world.powerless = True
    process = Process(world)
    process.once()
    assert process.once() == 1.0  # too young to be judged
    assert (world.secret(), world.said()) == ({}, ("False", "Progressing"))
    world.powerless = False
    process.until_quiet(world)
    assert world.said() == ("True", "Minted")


# --- time -------------------------------------------------------------------------------------------------------------


def test_the_token_is_renewed_daily_and_pods_follow_without_a_restart() -> None:
    world, process = settled()
    kubeconfig = world.secret()["kubeconfig"]
    world.clock.step(DAY - MINUTE)
    assert process.once() == MINUTE
    assert world.secret()["token"] == "token.1"
    world.clock.step(MINUTE)
    process.until_quiet(world)
    assert world.secret() == {"kubeconfig": kubeconfig, "token": "token.2"}
    assert [write for write in world.infra.writes if "secrets" in write][2:] == [
        f"{INFRA} apply secrets/{TENANT_CREDENTIAL}"
    ]
    assert process.expiry() == world.clock.now().timestamp() + WEEK


def test_an_operator_that_is_down_for_three_days_costs_nothing() -> None:
    world, _ = settled()
    world.clock.step(DAY - 1)  # the worst moment: just before the renewal
    world.clock.step(72 * HOUR)
    assert world.is_accepted(world.secret()["token"])
    Process(world).until_quiet(world)
    assert (world.secret()["token"], world.said()) == ("token.2", ("True", "Minted"))


@pytest.mark.parametrize("lifetime", [WEEK, 96 * HOUR], ids=["a week", "the least that is enough"])
def test_a_downtime_of_three_days_at_any_hour_leaves_every_token_valid(lifetime: int) -> None:
    world = World()
    world.lifetime = lifetime
    process = Process(world)
    process.until_quiet(world)
    for _ in range(8 * 24):
        _, end = world.tokens[world.secret()["token"]]
        assert end - world.clock.monotonic() >= 72 * HOUR
        assert world.said() == ("True", "Minted")
        world.clock.step(HOUR)
        _, end = world.tokens[world.secret()["token"]]
        assert end - world.clock.monotonic() >= 72 * HOUR  # the last moment before it is looked at again
        process.until_quiet(world)
    assert len(world.tokens) == 1 + 8


def test_what_has_expired_meanwhile_is_minted_anew() -> None:
    world, _ = settled()
    world.clock.step(WEEK + 1)
    Process(world).until_quiet(world)
    assert (world.secret()["token"], world.said()) == ("token.2", ("True", "Minted"))


def test_a_server_that_gives_less_is_believed_and_named() -> None:
    world = World()
    world.lifetime = 48 * HOUR
    process = Process(world)
    process.until_quiet(world)
    assert world.said() == ("True", "CredentialShortLived")
    world.clock.step(24 * HOUR)
    process.until_quiet(world)
    assert world.secret()["token"] == "token.2"


# --- trust that is taken back -----------------------------------------------------------------------------------------


def test_a_token_that_is_rejected_is_minted_anew() -> None:
    world, process = settled()
    world.tokens.clear()
    process.once()
    assert world.secret()["token"] == "token.1"  # tried every five minutes
    world.clock.step(301)
    process.until_quiet(world)
    assert (world.secret()["token"], world.said()) == ("token.2", ("True", "Minted"))


def test_a_deleted_service_account_is_made_anew_and_so_is_the_token() -> None:
    world, process = settled()
    world.tenant.drop(SERVICEACCOUNTS, OVN, DPU_ACCOUNT)
    process.until_quiet(world)
    assert world.secret()["token"] == "token.2"
    assert world.is_accepted("token.2")


def test_a_deleted_service_account_is_noticed_although_the_tenant_still_accepts_its_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, process = settled()
    world.tenant.drop(SERVICEACCOUNTS, OVN, DPU_ACCOUNT)
    with monkeypatch.context() as patched:
        patched.setattr(world, "is_accepted", lambda token: True)
        process.until_quiet(world)
    assert world.is_accepted(world.secret()["token"])


def test_a_right_that_is_lost_costs_no_pod_its_token() -> None:
    world, process = settled()
    before = world.secret()
    world.denied = {"create serviceaccounts/token"}
    world.clock.step(2 * DAY)
    process.until_quiet(world)
    assert world.secret() == before
    assert world.said() == ("False", "MintingForbidden")
    assert "create serviceaccounts/token dpunetop-dpu in openshift-ovn-kubernetes" in world.message()
    assert "2026-01-08T00:00:00Z" in world.message()
    world.denied = set()
    world.clock.step(301)
    process.until_quiet(world)
    assert (world.secret()["token"], world.said()) == ("token.2", ("True", "Minted"))


def test_a_dead_token_that_cannot_be_replaced_makes_way_for_the_given_kubeconfig() -> None:
    world, process = settled()
    world.denied = {"create serviceaccounts/token"}
    world.tokens.clear()
    world.clock.step(301)
    process.until_quiet(world)
    assert given(world) == "token-of-a-test"
    assert world.said() == ("True", "MintingForbidden")
    assert process.expiry() == OF_AUTHORITY


def soon_over() -> tuple[World, Process]:
    """A given kubeconfig that the tenant has just accepted, a hundred seconds before its end."""
    world = World(tenantCredential="Provided")
    world.give(render_kubeconfig(parse_kubeconfig(good_kubeconfig(token=SOON_OVER))))
    process = Process(world)
    process.until_quiet(world)
    world.clock.step(301)
    process.until_quiet(world)
    return world, process


def test_that_a_given_kubeconfig_was_accepted_before_its_end_does_not_count_after_it() -> None:
    world, process = soon_over()
    assert world.said() == ("True", "CredentialExpiresSoon")
    world.clock.step(100)
    process.until_quiet(world)
    assert world.said() == ("True", "CredentialExpiresSoon")
    assert "ended at 2026-01-01T00:06:40Z by the operator's clock, and the tenant still accepts it" in world.message()
    world.is_given_dead = True
    world.clock.step(301)
    process.until_quiet(world)
    assert world.said() == ("False", "Expired")


def test_a_given_kubeconfig_that_ends_between_two_trials_is_tried_at_its_end() -> None:
    world, process = soon_over()
    world.is_given_dead = True
    world.clock.step(100)  # the last trial is not five minutes old
    process.until_quiet(world)
    assert world.said() == ("False", "Expired")


def test_a_dead_token_stays_where_only_minted_ones_are_wanted() -> None:
    world, process = settled(tenantCredential="Minted")
    before = world.secret()
    world.denied = {"create serviceaccounts/token"}
    world.tokens.clear()
    world.clock.step(301)
    process.until_quiet(world)
    assert (world.secret(), world.said()) == (before, ("False", "Revoked"))


def test_a_silent_tenant_changes_nothing() -> None:
    world, process = settled()
    before = world.secret()
    silence = Unreachable(0, "Timeout", "")
    world.tenant.creates = lambda *_: _raise(silence)
    world.clock.step(3 * DAY)
    assert process.until_quiet(world) == 30.0
    assert (world.secret(), world.said()) == (before, ("Unknown", "TenantUnanswered"))
    world.clock.step(5 * DAY)
    process.until_quiet(world)
    assert (world.secret(), world.said()) == (before, ("False", "Expired"))


# --- which kind -------------------------------------------------------------------------------------------------------

KINDS = {  # spec, what is denied -> what pods hold, what is said
    "may mint": ("Auto", set(), "minted", ("True", "Minted")),
    "may not mint": ("Auto", {"bind clusterroles"}, "given", ("True", "MintingForbidden")),
    "minted wanted, may not": ("Minted", {"bind clusterroles"}, None, ("False", "MintingForbidden")),
    "given wanted, may mint": ("Provided", set(), "given", ("True", "Provided")),
}


@pytest.mark.parametrize(("choice", "denied", "holds", "said"), KINDS.values(), ids=KINDS.keys())
def test_the_kind_is_chosen_by_spec_and_rights(
    choice: str, denied: set[str], holds: str | None, said: tuple[str, str]
) -> None:
    world = World(tenantCredential=choice)
    world.denied = denied
    Process(world).until_quiet(world)
    data = world.secret()
    assert (kind(world) if data else None, world.said()) == (holds, said)
    assert bool(world.tenant.writes) == (holds == "minted")


def test_a_given_kubeconfig_is_tried_and_its_end_is_told_with_its_secret() -> None:
    world, process = settled(tenantCredential="Provided")
    assert "SelfSubjectReview of the pods" in world.asked
    assert (
        "tenant-cluster-1-kubeconf itself, which is good until 3000-01-01T00:00:00Z (certificate-auth"
        in world.message()
    )
    world.is_given_dead = True
    world.clock.step(301)
    process.until_quiet(world)
    assert world.said() == ("False", "Revoked")
    assert "which the tenant rejects: its credential was revoked, or the server does not know it" in world.message()
    assert given(world) == "token-of-a-test"
    world.is_given_dead = False
    world.clock.step(301)
    process.until_quiet(world)
    assert world.said() == ("True", "Provided")


def test_a_given_kubeconfig_that_is_used_for_want_of_rights_is_tried_too() -> None:
    world = World()
    world.denied = {"bind clusterroles"}
    process = Process(world)
    process.until_quiet(world)
    world.is_given_dead = True
    world.clock.step(301)
    process.until_quiet(world)
    assert world.said() == ("False", "Revoked")


def test_rights_that_come_later_are_used() -> None:
    world = World()
    world.denied = {"bind roles"}
    process = Process(world)
    process.until_quiet(world)
    assert given(world) == "token-of-a-test"
    world.denied = set()
    world.clock.step(301)
    process.until_quiet(world)
    assert world.secret()["token"] == "token.1"
    assert "token-of-a-test" not in world.secret()["kubeconfig"]


def upstream(world: World) -> None:
    """The tenant has OVN-Kubernetes from its own charts."""
    world.account = UPSTREAM_DPU_ACCOUNT
    variable = {"name": "OVN_DAEMONSET_VERSION", "value": "1.3.0"}
    template = {"spec": {"containers": [{"name": "ovnkube-controller", "env": [variable]}]}}
    world.tenant.put(DAEMONSETS, {**named("ovnkube-node", OVN), "spec": {"template": template}})


def in_tenant(world: World) -> list[str]:
    kinds = (SERVICEACCOUNTS, ROLEBINDINGS, CLUSTERROLEBINDINGS)
    places = [(each, OVN if each.namespaced else "") for each in kinds]
    accounts = (DPU_ACCOUNT, UPSTREAM_DPU_ACCOUNT)
    return [name for name in accounts for each, place in places if world.tenant.shown(each, place, name)]


def test_whom_pods_are_follows_the_release_of_the_tenant() -> None:
    world = World()
    upstream(world)
    Process(world).until_quiet(world)
    assert world.said() == ("True", "Minted")
    assert f"ServiceAccount {UPSTREAM_DPU_ACCOUNT} in Secret {TENANT_CREDENTIAL} is good until" in world.message()
    assert in_tenant(world) == [UPSTREAM_DPU_ACCOUNT] * 3
    note = world.infra.shown(SECRETS, NAMESPACE, TENANT_KUBECONFIG)["metadata"]["annotations"]
    assert note == {MINTED_IN_ANNOTATION: f"{OVN}/{UPSTREAM_DPU_ACCOUNT}"}


def test_an_account_of_the_name_before_is_taken_away_once_pods_hold_the_new_token() -> None:
    world, process = settled()
    before = world.secret()["token"]
    upstream(world)
    process.until_quiet(world)
    assert world.secret()["token"] != before
    assert in_tenant(world) == [UPSTREAM_DPU_ACCOUNT] * 3
    assert world.said() == ("True", "Minted")
    writes = world.writes()
    process.once()
    assert world.writes() == writes


def test_the_tenants_own_account_for_dpus_is_left_alone_and_the_way_out_is_told() -> None:
    world = World()
    upstream(world)
    world.tenant.put(SERVICEACCOUNTS, named(UPSTREAM_DPU_ACCOUNT, OVN))
    Process(world).until_quiet(world)
    assert (world.secret()["token"], world.said()) == ("token-of-a-test", ("True", "NotOurs"))
    assert "give a kubeconfig of that account with spec.tenantCredential: Provided" in world.message()
    assert world.tenant.writes == []


@pytest.mark.parametrize("resource", [SERVICEACCOUNTS, ROLEBINDINGS, CLUSTERROLEBINDINGS], ids=str)
def test_what_a_stranger_has_made_is_left_alone_and_named(resource: Resource) -> None:
    world = World()
    namespace = OVN if resource.namespaced else ""
    world.tenant.put(resource, named(DPU_ACCOUNT, namespace))
    process = Process(world)
    process.until_quiet(world)
    assert (given(world), world.said()) == ("token-of-a-test", ("True", "NotOurs"))
    assert f"{resource.kind} {DPU_ACCOUNT} exists and is not ours" in world.message()
    assert world.tenant.writes == []


def test_a_role_that_does_not_give_what_pods_need_leads_to_the_given_kubeconfig() -> None:
    world = World()
    world.powerless = True
    process = Process(world)
    process.once()
    world.clock.step(11)
    process.until_quiet(world)
    assert (given(world), world.said()) == ("token-of-a-test", ("True", "MintedWithoutRights"))
    assert len(world.tokens) == 1


def test_a_role_that_the_tenant_does_not_have_leads_to_the_given_kubeconfig_at_once() -> None:
    world = World()
    world.tenant.drop(CLUSTERROLES, "", DPU_ROLE)
    world.powerless = True
    before = world.clock.monotonic()
    Process(world).until_quiet(world)
    assert (given(world), world.said()) == ("token-of-a-test", ("True", "MintedWithoutRights"))
    assert (len(world.tokens), world.clock.monotonic()) == (1, before)


def test_who_may_not_look_whether_the_role_is_there_waits_as_for_one_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    monkeypatch.setattr(world.tenant, "get", lambda *_: _raise(Forbidden(403, "Forbidden", "no")))
    world.powerless = True
    process = Process(world)
    process.once()
    assert process.once() == 1.0
    assert (world.secret(), world.said()) == ({}, ("False", "Progressing"))


@pytest.mark.parametrize(
    "error",
    [Forbidden(403, "Forbidden", "a webhook says no"), Invalid(422, "Invalid", "a policy says no")],
    ids=str,
)
def test_a_tenant_that_gives_no_token_although_one_may_ask_gets_the_given_kubeconfig(
    error: Forbidden | Invalid,
) -> None:
    world = World()
    world.tenant.subs = lambda *_: _raise(error)
    process = Process(world)
    assert process.until_quiet(world) == 300.0
    assert (given(world), world.said()) == ("token-of-a-test", ("True", "MintingForbidden"))


@pytest.mark.parametrize(
    "status",
    [{}, {"token": "t"}, {"token": "a b", "expirationTimestamp": "2026-02-01T00:00:00Z"},
     {"token": "t", "expirationTimestamp": "soon"}, "status"],
    ids=str,
)  # fmt: skip
def test_a_tenant_that_answers_nonsense_when_asked_for_a_token_is_asked_again(status: str | dict[str, Any]) -> None:
    world = World()
    honest, world.tenant.subs = world.tenant.subs, lambda *_: {"status": status}
    process = Process(world)
    assert process.until_quiet(world) == 30.0
    assert (world.secret(), world.said()) == ({}, ("Unknown", "BadAnswer"))
    world.tenant.subs = honest
    process.until_quiet(world)
    assert world.said() == ("True", "Minted")


def test_bindings_that_a_tenant_acts_by_only_after_a_while_are_waited_for_whatever_its_clock_says() -> None:
    world = World()
    world.powerless, world.tenant._now = True, lambda: "2001-01-01T00:00:00Z"
    process = Process(world)
    for _ in range(8):
        process.once()
        assert world.secret() == {}
        world.clock.step(1)
    world.powerless = False
    process.until_quiet(world)
    assert world.said() == ("True", "Minted")
    assert [write for write in world.infra.writes if TENANT_CREDENTIAL in write] == [
        f"{INFRA} apply secrets/{TENANT_CREDENTIAL}"
    ]


def test_a_tenant_that_is_slow_is_asked_in_parts_until_it_has_said_everything() -> None:
    world = World()
    answer = world.tenant.creates

    def slowly(resource: Resource, obj: Obj) -> Obj:
        world.clock.step(4.0)
        return answer(resource, obj)

    world.tenant.creates = slowly
    process = Process(world)
    pauses: list[float] = []
    while world.said_or_nothing() != ("True", "Minted"):
        assert len(pauses) < 20
        pauses.append(process.once() or 0.0)
        world.clock.step(pauses[-1])
    assert world.asked.count("create serviceaccounts/token") == 1


def test_a_given_credential_that_was_revoked_says_so_and_costs_no_pod_its_token() -> None:
    world, process = settled()
    world.tenant.creates = lambda *_: _raise(Unauthorized(401, "Unauthorized", ""))
    world.clock.step(301)
    process.until_quiet(world)
    assert (world.secret()["token"], world.said()) == ("token.1", ("True", "Minted"))
    assert "401" in world.message()


@pytest.mark.parametrize(
    "error",
    [Forbidden(403, "Forbidden", "a webhook says no"), NotFound(404, "NotFound", "there is no such namespace")],
    ids=str,
)
def test_a_tenant_that_refuses_what_it_said_it_allows_gets_the_given_kubeconfig(error: Forbidden | NotFound) -> None:
    world = World()
    world.tenant.refuses["rolebindings"] = error
    Process(world).until_quiet(world)
    assert (given(world), world.said()) == ("token-of-a-test", ("True", "MintingForbidden"))


def test_a_refusal_of_infra_is_no_refusal_of_the_tenant() -> None:
    world = World()
    process = Process(world)
    process.once()
    world.infra.refuses["secrets"] = Forbidden(403, "Forbidden", "")
    with pytest.raises(Forbidden):
        process.once()
    assert world.said() == ("False", "Forbidden")
    world.infra.refuses.clear()
    process.until_quiet(world)
    assert world.said() == ("True", "Minted")


def test_a_refusal_of_infra_before_anything_is_written_is_not_laid_to_the_tenant() -> None:
    world = World()
    world.infra.refuses["secrets"] = Forbidden(403, "Forbidden", "")
    process = Process(world)
    for _ in range(2):
        with pytest.raises(Forbidden):
            process.once()
        assert world.said() == ("False", "Forbidden")
    world.infra.refuses.clear()
    process.until_quiet(world)
    assert world.said() == ("True", "Minted")
    assert [write for write in world.infra.writes if TENANT_CREDENTIAL in write] == [
        f"{INFRA} apply secrets/{TENANT_CREDENTIAL}"
    ]


def test_a_new_way_to_the_tenant_reaches_the_pods_with_the_same_token() -> None:
    world, process = settled()
    world.give(render_kubeconfig(parse_kubeconfig(good_kubeconfig("https://elsewhere.example:6443"))))
    process.until_quiet(world)
    assert "https://elsewhere.example:6443" in world.secret()["kubeconfig"]
    assert world.secret()["token"] == "token.1"


def test_a_new_given_credential_reaches_the_pods_although_the_tenant_is_silent() -> None:
    world, process = settled(tenantCredential="Auto")
    world = World()
    world.denied = {"bind roles"}
    process = Process(world)
    process.until_quiet(world)
    world.tenant.creates = lambda *_: _raise(Unreachable(0, "Timeout", ""))
    world.give(render_kubeconfig(parse_kubeconfig(good_kubeconfig(token="another"))))
    process.until_quiet(world)
    assert given(world) == "another"


def test_a_token_that_an_earlier_version_wrote_inline_moves_to_its_file_even_if_the_tenant_is_silent() -> None:
    world = World()
    world.denied = {"bind roles"}
    process = Process(world)
    process.until_quiet(world)
    inline = named(TENANT_CREDENTIAL, NAMESPACE, {OWNER_LABEL: OWNER})
    live = world.infra.shown(SECRETS, NAMESPACE, TENANT_CREDENTIAL)
    data = {"kubeconfig": base64.b64encode(GIVEN).decode()}
    world.infra.put(SECRETS, {**live, "metadata": {**live["metadata"], **inline["metadata"]}, "data": data})
    world.tenant.creates = lambda *_: _raise(Unreachable(0, "Timeout", ""))
    process = Process(world)
    process.until_quiet(world)
    assert given(world) == "token-of-a-test"


def test_until_when_the_kubeconfig_is_good_is_told_where_it_says_so() -> None:
    world, process = settled()
    assert process.expiry(KUBECONFIG_METRIC) == OF_AUTHORITY
    world.give(DATED)
    process.until_quiet(world)
    assert process.expiry(KUBECONFIG_METRIC) == 2_000_000_000
    world.give(GIVEN)
    process.until_quiet(world)
    assert process.expiry(KUBECONFIG_METRIC) == OF_AUTHORITY


def test_what_is_not_served_any_more_leaves_no_series() -> None:
    world, process = settled()
    world.give(DATED)
    process.until_quiet(world)
    for metric in (METRIC, KUBECONFIG_METRIC):
        assert process.expiry(metric) is not None
    process.controller.forget(KEY)
    for metric in (METRIC, KUBECONFIG_METRIC):
        assert process.expiry(metric) is None


def test_a_secret_of_somebody_else_is_left_alone() -> None:
    world = World()
    world.infra.put(SECRETS, named(TENANT_CREDENTIAL, NAMESPACE))
    Process(world).until_quiet(world)
    assert (world.secret(), world.said()) == ({}, ("False", "NotOurs"))


def test_the_status_holds_no_token() -> None:
    world, _ = settled()
    assert "token.1" not in json.dumps(world.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample"))


def _raise(error: ApiError | Forbidden | Invalid | Unauthorized | Unreachable) -> NoReturn:
    raise error


# --- bad days ---------------------------------------------------------------------------------------------------------


class LapsingGate:
    """Leadership that is lost after so many permits, for good."""

    def __init__(self, permits: int) -> None:
        self.permits = permits

    def seconds_left(self) -> float:
        self.permits -= 1
        if self.permits < 0:
            raise LeadershipLost("another process may be writing")
        return 30.0


@pytest.mark.parametrize("permits", range(30))
def test_once_leadership_is_lost_no_token_is_minted_and_nothing_is_asked_or_written(permits: int) -> None:
    world = World()
    gate = LapsingGate(permits)
    process = Process(world, gate)
    for _ in range(20):
        try:
            process.once()
        except LeadershipLost:
            break
    before = world.writes(), list(world.tokens), list(world.asked)
    for _ in range(3):
        with suppress(LeadershipLost):
            process.once()
    assert gate.permits < 0
    assert (world.writes(), list(world.tokens), list(world.asked)) == before


def test_what_is_gathered_comes_from_caches_alone() -> None:
    world, process = settled()
    world.tenant.asked.clear()
    asked, writes = list(world.asked), world.writes()
    with world.watches.reading(KEY) as reader:
        process.controller.gather(
            cast(Reader, reader), parse_config(world.infra.shown(DPUCLUSTERCONFIGS, NAMESPACE, "sample"))
        )
        assert {cluster for cluster, _ in world.watches.asked} == {INFRA}
    assert (world.asked, world.writes(), world.tenant.asked) == (asked, writes, [])


def test_a_tenant_that_answers_500_for_ever_is_asked_once_a_pass_and_costs_pods_nothing() -> None:
    world, process = settled()
    calls = []

    def failing(resource: Resource, _: Obj) -> NoReturn:
        calls.append(resource.kind)
        raise ApiError(500, "InternalError", "")

    world.tenant.creates = failing
    world.clock.step(301)
    token, passes = world.secret()["token"], 10
    for _ in range(passes):
        process.once()
        world.clock.step(301)
    assert len(calls) == passes
    assert (world.secret()["token"], world.said()) == (token, ("True", "Minted"))


def test_a_tenant_that_hangs_nine_seconds_at_each_call_ends_each_pass_in_bounded_time() -> None:
    world, process = settled()
    world.clock.step(301)

    def hang(*_: Obj | Resource) -> NoReturn:
        world.clock.step(9.0)
        raise Unreachable(0, "Timeout", "")

    world.tenant.creates = hang
    begun = world.clock.monotonic()
    process.once()
    assert world.clock.monotonic() - begun <= 18.0
    assert world.secret()["token"] == "token.1"


def test_a_kubeconfig_that_is_rotated_while_a_token_is_minted_reaches_the_pods_with_one_token() -> None:
    world = World()
    process, mint = Process(world), world.tenant.subs

    def rotating(resource: Resource, namespace: str, name: str) -> Obj:
        world.give(render_kubeconfig(parse_kubeconfig(good_kubeconfig("https://elsewhere.example:6443"))))
        return mint(resource, namespace, name)

    world.tenant.subs = rotating
    process.until_quiet(world)
    assert "https://elsewhere.example:6443" in world.secret()["kubeconfig"]
    assert world.secret()["token"] in world.tokens
    assert world.said() == ("True", "Minted")
