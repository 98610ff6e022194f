import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import Proven, parse_config
from dpunetop.domain.names import OWNER_LABEL, TENANT_CREDENTIAL_KEY
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import fingerprint, render_kubeconfig
from dpunetop.domain.tenant.link import (
    KubeconfigChoice,
    Linked,
    LinkView,
    TenantDenied,
    TenantUnanswered,
    WrongCluster,
    choose,
    identity_problem,
    plan_link,
    root_print,
    told,
)
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Apply, ApplyStatus, Plan
from dpunetop.kube.validity import Validity
from dpunetop.sandbox.pki import Authority
from support.kubeconfigs import good_kubeconfig
from support.objects import config
from support.pki import pair

OWNER = Owner(config(), "0123")
GOOD = good_kubeconfig()
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = parse_kubeconfig(GOOD)


def secret(data: bytes | None, labels: dict[str, Any] | None = None, key: str = "config") -> dict[str, Any]:
    encoded = {key: base64.b64encode(data).decode()} if data is not None else {}
    return {"metadata": {"name": "s", "namespace": "dpu-one", "uid": "u", "labels": labels or {}}, "data": encoded}


STORED = secret(render_kubeconfig(MODEL), {OWNER_LABEL: "0123"}, TENANT_CREDENTIAL_KEY)


def view(
    choice: KubeconfigChoice,
    attempt: Linked | TenantDenied | TenantUnanswered | WrongCluster,
    kept: Linked | None = None,
    stored: dict[str, Any] | None = None,
    **spec: Any,
) -> LinkView:
    return LinkView(parse_config(config(**spec)), OWNER, choice, attempt, kept, stored, "dpunetop-tenantlink", NOW)


def said(plan: Plan) -> dict[str, Any]:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


CHOICES = {  # given, stored -> kubeconfig used, reason
    "good": (secret(GOOD), None, True, None),
    "good, and an old one": (secret(GOOD), STORED, True, None),
    "absent": (None, None, False, "SecretNotFound"),
    "absent, last good kept": (None, STORED, True, "SecretNotFound"),
    "without key": (secret(None), None, False, "InvalidKubeconfig"),
    "garbage": (secret(b"\x00\xff"), None, False, "InvalidKubeconfig"),
    "garbage, last good kept": (secret(b"{"), STORED, True, "InvalidKubeconfig"),
    "garbage, and a stranger's Secret in our place": (
        secret(b"{"),
        secret(GOOD, {}, TENANT_CREDENTIAL_KEY),
        False,
        "InvalidKubeconfig",
    ),
}


@pytest.mark.parametrize(("given", "stored", "usable", "reason"), CHOICES.values(), ids=CHOICES.keys())
def test_which_kubeconfig_is_used(
    given: dict[str, Any] | None, stored: dict[str, Any] | None, usable: bool, reason: str | None
) -> None:
    choice = choose(parse_config(config()), given, stored, OWNER)
    assert (choice.kubeconfig is not None) == usable
    assert (choice.problem.reason if choice.problem else None) == reason
    if choice.problem and usable:
        assert "last good one stays in use" in choice.problem.message


IDENTITIES = {  # remembered, accepted, seen -> reason
    "first seen": (None, None, "t1", None),
    "same again": ("t1", None, "t1", None),
    "infra itself": (None, None, "infra", "TenantIsInfra"),
    "infra itself, accepted by mistake": ("t1", "infra", "infra", "TenantIsInfra"),
    "another": ("t1", None, "t2", "TenantSwapped"),
    "nobody": (None, None, "", "BadAnswer"),
    "one that would like to be obeyed": (None, None, "a\x1b[2J", "BadAnswer"),
    "one of many words": (None, None, "a" * 65, "BadAnswer"),
    "another, accepted": ("t1", "t2", "t2", None),
    "another, a third one accepted": ("t1", "t3", "t2", "TenantSwapped"),
}


@pytest.mark.parametrize(("remembered", "accepted", "seen", "reason"), IDENTITIES.values(), ids=IDENTITIES.keys())
def test_which_cluster_may_be_the_tenant(
    remembered: str | None, accepted: str | None, seen: str, reason: str | None
) -> None:
    obj = {**config(), "status": {"tenantUID": remembered}}
    if accepted:
        obj["metadata"]["annotations"] = {"dpu.openshift.io/accept-tenant": accepted}
    problem = identity_problem(parse_config(obj), "infra", seen)
    assert (problem.reason if problem else None) == reason


GOOD_CHOICE = KubeconfigChoice(MODEL, None)
LINKS = {   # attempt, kept -> CredentialsValid, TenantReachable, seconds to the next try
    "linked": (Linked("t1", None), None, ("True", "Verified"), ("True", "Reachable"), 21601.0),
    "linked, silent": (Linked("t1", "Timeout"), None, ("True", "Verified"), ("False", "Unreachable"), 21601.0),
    "refused": (TenantUnanswered("Refused", "m"), None, ("Unknown", "NotVerified"), ("False", "Refused"), 3.0),
    "refused, old link kept": (
        TenantUnanswered("Refused", "m"), Linked("t1", None), ("Unknown", "NotVerified"), ("True", "Reachable"), 3.0,
    ),
    "bad token": (TenantDenied("Unauthorized", "m"), None, ("False", "Unauthorized"), ("True", "Answered"), 30.0),
    "swapped": (
        WrongCluster("TenantSwapped", "m"), None, ("False", "TenantSwapped"), ("Unknown", "TenantSwapped"), 30.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("attempt", "kept", "valid", "reachable", "retry"), LINKS.values(), ids=LINKS.keys())
def test_what_is_said_of_the_link(
    attempt: Linked | TenantDenied | TenantUnanswered | WrongCluster,
    kept: Linked | None,
    valid: tuple[str, str],
    reachable: tuple[str, str],
    retry: float | None,
) -> None:
    plan = plan_link(view(GOOD_CHOICE, attempt, kept))
    assert said(plan) == {"CredentialsValid": valid, "TenantReachable": reachable}
    assert plan.requeue_after_seconds == retry


def test_without_a_secret_asked_for_nothing_is_said() -> None:
    assert said(plan_link(view(KubeconfigChoice(None, None), Linked("t1", None), kubeConfigFile=None))) == {}


def test_a_kubeconfig_that_worked_is_kept_rebuilt() -> None:
    (apply,) = [step for step in plan_link(view(GOOD_CHOICE, Linked("t1", None))).steps if isinstance(step, Apply)]
    assert base64.b64decode(apply.desired["data"][TENANT_CREDENTIAL_KEY]) == render_kubeconfig(MODEL)
    assert apply.live is None


@pytest.mark.parametrize(
    ("attempt", "stored"),
    {
        "did not answer": (TenantUnanswered("Timeout", "m"), None),
        "wrong cluster": (WrongCluster("TenantSwapped", "m"), None),
        "a stranger's Secret in our place": (Linked("t1", None), secret(b"x")),
    }.values(),
)
def test_a_kubeconfig_that_did_not_prove_itself_replaces_nothing(
    attempt: Linked | TenantUnanswered | WrongCluster, stored: dict[str, Any] | None
) -> None:
    plan = plan_link(view(GOOD_CHOICE, attempt, stored=stored))
    assert not [step for step in plan.steps if isinstance(step, Apply)]


def test_once_the_end_has_begun_no_kubeconfig_is_kept_any_more() -> None:
    linked = replace(view(GOOD_CHOICE, Linked("t1", None)), config=replace(parse_config(config()), terminating=True))
    plan = plan_link(linked)
    assert not [step for step in plan.steps if isinstance(step, Apply)]
    assert said(plan)["TenantReachable"] == ("True", "Reachable")


def test_the_kubeconfig_that_is_kept_is_mounted_by_no_pod() -> None:
    (apply,) = [step for step in plan_link(view(GOOD_CHOICE, Linked("t1", None))).steps if isinstance(step, Apply)]
    assert apply.desired["metadata"]["name"] == "dpunetop-tenant-kubeconfig"


def test_the_authority_of_the_tenant_is_remembered_and_a_namesake_behind_another_is_told() -> None:
    linked = plan_link(replace(view(GOOD_CHOICE, Linked("t1", None, "r1")), strangers=("b/c",)))
    (status,) = [step for step in linked.steps if isinstance(step, ApplyStatus)]
    assert status.members == {"tenantUID": "t1", "tenantRoot": "r1"}
    (message,) = [each.message for each in status.conditions if each.type == "TenantReachable"]
    assert message.startswith("the cluster of DpuClusterConfig b/c gives the same UID behind another authority")
    obj = {**config(), "status": {"tenantUID": "t1", "tenantRoot": "r1"}}
    silent = LinkView(parse_config(obj), OWNER, GOOD_CHOICE, TenantUnanswered("Timeout", "m"), None, None, "m", NOW)
    (status,) = [step for step in plan_link(silent).steps if isinstance(step, ApplyStatus)]
    assert status.members == {"tenantUID": "t1", "tenantRoot": "r1"}


def test_the_authority_is_known_by_its_key_and_nothing_is_known_of_what_is_no_certificate() -> None:
    one, other = Authority("a"), Authority("a")
    assert root_print(one.pem) == root_print(one.pem) != root_print(other.pem)
    assert len(root_print(one.pem)) == 64
    assert root_print(b"") == root_print(b"no certificate") == ""


def test_the_identity_of_the_tenant_is_remembered_and_stays_while_it_is_silent() -> None:
    linked = plan_link(view(GOOD_CHOICE, Linked("t1", None)))
    assert [step.members for step in linked.steps if isinstance(step, ApplyStatus)] == [{"tenantUID": "t1"}]
    obj = {**config(), "status": {"tenantUID": "t1"}}
    silent = LinkView(parse_config(obj), OWNER, GOOD_CHOICE, TenantUnanswered("Timeout", "m"), None, None, "m", NOW)
    assert [s.members for s in plan_link(silent).steps if isinstance(s, ApplyStatus)] == [{"tenantUID": "t1"}]


UNKNOWN = ["Refused", "Timeout", "TLS", "Reset", "BadAnswer", "TooLarge"]


@pytest.mark.parametrize("reason", UNKNOWN)
def test_what_is_at_an_address_that_nobody_knows_is_not_told(reason: str) -> None:
    failure = TenantUnanswered(reason, f"10.0.0.1:22: {reason}")
    assert told(failure, True) is failure
    assert told(failure, False) == told(TenantUnanswered("Refused", "x"), False)


@pytest.mark.parametrize("reason", ["DNS", "AddressRefused", "Forbidden"])
def test_what_says_nothing_of_an_address_is_told(reason: str) -> None:
    failure = TenantUnanswered(reason, "why")
    assert told(failure, False) is failure


def test_a_link_at_an_address_that_is_refused_by_now_stays_and_says_so() -> None:
    shown = replace(
        view(KubeconfigChoice(MODEL, None), Linked("t", None)), address_trouble="address 10.0.0.1 is loopback by now"
    )
    assert said(plan_link(shown))["TenantReachable"] == ("True", "AddressRefused")
    assert said(plan_link(shown))["CredentialsValid"] == ("True", "Verified")


def jwt(**claims: int | str) -> str:
    def part(obj: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(obj).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part(claims)}.sig"


YEAR, HOUR = 365 * 86_400, 3600


def message_of(plan: Plan, type_: str = "CredentialsValid") -> str:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    return next(c.message for c in status.conditions if c.type == type_)


ENDS = {  # token lives from, to (seconds from NOW) -> status, reason, words, seconds until it changes
    "far off": (-HOUR, YEAR, "True", "Verified", "is good until 2027-01-01T00:00:00Z", 6 * HOUR + 1.0),
    "in eight days": (-YEAR, 8 * 86_400, "True", "Verified", "is good until 2026-01-09T00:00:00Z", 6 * HOUR + 1.0),
    "in six days": (-YEAR, 6 * 86_400, "True", "CredentialExpiresSoon", "ends soon, at 2026-01-07", 6 * HOUR + 1.0),
    "now, by our clock": (
        -YEAR,
        0,
        "True",
        "CredentialExpiresSoon",
        "and the tenant still accepts it; put a new",
        None,
    ),
    "of an hour, just given": (0, HOUR, "True", "Verified", "is good until 2026-01-01T01:00:00Z", 2401.0),
    "of an hour, nearly over": (-3000, 600, "True", "CredentialExpiresSoon", "ends soon", 601.0),
}


@pytest.mark.parametrize(("begins", "ends", "status", "reason", "words", "again"), ENDS.values(), ids=ENDS.keys())
def test_until_when_a_kubeconfig_is_good_is_told_with_its_secret(
    begins: int, ends: int, status: str, reason: str, words: str, again: float | None
) -> None:
    at = NOW.timestamp()
    token = jwt(iat=int(at + begins), exp=int(at + ends))
    model = parse_kubeconfig(good_kubeconfig(token=token))
    given = view(KubeconfigChoice(model, None), Linked("t1", None))
    plan = plan_link(given)
    assert said(plan)["CredentialsValid"] == (status, reason)
    assert message_of(plan).startswith("the kubeconfig of Secret tenant-cluster-1-kubeconf ")
    assert words in message_of(plan)
    assert plan.requeue_after_seconds == again


LONG_GONE = KubeconfigChoice(parse_kubeconfig(good_kubeconfig(token=jwt(exp=int(NOW.timestamp()) - 60))), None)


def test_a_kubeconfig_that_has_ended_is_called_so_while_the_tenant_cannot_be_asked() -> None:
    plan = plan_link(view(LONG_GONE, Linked("t1", "Timeout")))
    assert said(plan)["CredentialsValid"] == ("False", "Expired")
    assert "ended at 2025-12-31T23:59:00Z; put a new one into it" in message_of(plan)


def test_an_authority_that_has_ended_is_told_whoever_answers_since_it_is_we_who_look_at_it() -> None:
    linked = view(KubeconfigChoice(replace(MODEL, ca_pem=pair("ended", 1).cert.decode()), None), Linked("t1", None))
    plan = plan_link(replace(linked, now=NOW + timedelta(days=2)))
    assert said(plan)["CredentialsValid"] == ("False", "Expired")


REFUSED = {  # token of the refused kubeconfig -> reason, words
    "ended": (jwt(exp=int(NOW.timestamp()) - 60), "Expired", "its token ended on 2025-12-31T23:59:00Z"),
    "not valid yet": (
        jwt(nbf=int(NOW.timestamp()) + 60, exp=int(NOW.timestamp()) + 999),
        "Unauthorized",
        "its token is valid only from 2026-01-01T00:01:00Z on; compare the clocks of both sides, or wait",
    ),
    "issued in the future": (
        jwt(iat=int(NOW.timestamp()) + 60, exp=int(NOW.timestamp()) + 999),
        "Unauthorized",
        "its token is valid only from 2026-01-01T00:01:00Z on",
    ),
    "good by itself": (
        jwt(exp=int(NOW.timestamp()) + 60),
        "Unauthorized",
        "its token is good until 2026-01-01T00:01:00Z, so it was revoked, or is another cluster's",
    ),
    "opaque": ("opaque", "Unauthorized", "its token was revoked, or the server does not know it"),
}


@pytest.mark.parametrize(("token", "reason", "words"), REFUSED.values(), ids=REFUSED)
def test_a_refused_kubeconfig_says_why_as_far_as_it_knows(token: str, reason: str, words: str) -> None:
    model = parse_kubeconfig(good_kubeconfig(token=token))
    plan = plan_link(view(KubeconfigChoice(model, None), TenantDenied("Unauthorized", "Unauthorized")))
    assert said(plan) == {"CredentialsValid": ("False", reason), "TenantReachable": ("True", "Answered")}
    assert f"refuses the kubeconfig of Secret tenant-cluster-1-kubeconf: Unauthorized: {words}" in message_of(plan)
    assert message_of(plan, "TenantReachable").startswith("the tenant answers, and refuses the kubeconfig")


def test_a_right_that_lacks_is_not_laid_to_the_credential() -> None:
    plan = plan_link(view(LONG_GONE, TenantDenied("Forbidden", "namespaces is forbidden")))
    assert said(plan)["CredentialsValid"] == ("False", "Forbidden")
    assert "Forbidden: namespaces is forbidden; put a good one into it" in message_of(plan)


NO_END = ("opaque", "a.b", "a.b.c", f"a.{'x' * 20_000}.c", jwt(exp="soon"), jwt(exp=True), jwt(exp=10**30), "a.W10.c")


@pytest.mark.parametrize("token", NO_END)
def test_a_token_that_says_no_end_is_accepted_and_that_is_told(token: str) -> None:
    model = parse_kubeconfig(good_kubeconfig(token=token))
    plan = plan_link(view(KubeconfigChoice(model, None), Linked("t1", None)))
    assert said(plan)["CredentialsValid"] == ("True", "Verified")
    assert "does not say until when" in message_of(plan)


KEPT = {
    "none": (None, False),
    "of the same kubeconfig": (Linked("t1", None, fingerprint=fingerprint(MODEL)), False),
    "of another": (Linked("t1", None, fingerprint="other"), True),
}


@pytest.mark.parametrize(("kept", "has_fallback"), KEPT.values(), ids=KEPT)
@pytest.mark.parametrize(
    "attempt", [TenantDenied("Unauthorized", "m"), TenantUnanswered("Timeout", "m"), WrongCluster("W", "m")]
)
def test_a_kubeconfig_that_does_not_serve_is_told_with_its_secret_and_what_stays_in_use(
    attempt: TenantDenied | TenantUnanswered | WrongCluster, kept: Linked | None, has_fallback: bool
) -> None:
    message = message_of(plan_link(view(GOOD_CHOICE, attempt, kept)))
    assert "Secret tenant-cluster-1-kubeconf" in message
    assert message.endswith("The last good one stays in use") is has_fallback


PRINT = {"tenantServer": "print", "tenantAddresses": ["10.0.0.1"]}


@pytest.mark.parametrize(
    "attempt", [Linked("t", None), TenantUnanswered("Refused", "m"), TenantDenied("Unauthorized", "m")]
)
def test_where_the_tenant_has_proved_who_it_is_stands_in_the_status_whatever_comes(
    attempt: Linked | TenantDenied | TenantUnanswered,
) -> None:
    proven = replace(view(KubeconfigChoice(MODEL, None), attempt), proven=Proven("print", ("10.0.0.1",)))
    assert {key: members(plan_link(proven))[key] for key in PRINT} == PRINT
    started_anew = view(KubeconfigChoice(MODEL, None), attempt)
    remembered = parse_config({**config(), "status": PRINT})
    assert {key: members(plan_link(replace(started_anew, config=remembered)))[key] for key in PRINT} == PRINT
    assert PRINT.keys().isdisjoint(members(plan_link(started_anew)))


def members(plan: Plan) -> Obj:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    return status.members


ENDING = Validity(NOW - timedelta(days=365), NOW + timedelta(days=6))


@pytest.mark.parametrize("kept", [None, Linked("t1", None, serving=ENDING)], ids=["chosen", "kept"])
def test_the_end_of_the_servers_certificate_is_told_before_it_comes(kept: Linked | None) -> None:
    attempt = TenantUnanswered("Timeout", "m") if kept else Linked("t1", None, serving=ENDING)
    plan = plan_link(view(GOOD_CHOICE, attempt, kept))
    assert said(plan)["TenantReachable"] == ("True", "ServingCertificateExpiresSoon")
    assert "ends at 2026-01-07T00:00:00Z" in message_of(plan, "TenantReachable")


def test_the_end_of_the_servers_certificate_is_looked_at_again_before_that_of_the_kubeconfig() -> None:
    assert plan_link(view(GOOD_CHOICE, Linked("t1", None, serving=ENDING))).requeue_after_seconds == 600.0


def test_a_refused_address_comes_before_the_end_of_the_servers_certificate_and_both_are_told() -> None:
    shown = replace(
        view(GOOD_CHOICE, Linked("t1", None, serving=ENDING)), address_trouble="address 10.0.0.1 is loopback"
    )
    assert said(plan_link(shown))["TenantReachable"] == ("True", "AddressRefused")
    assert "loopback; the certificate" in message_of(plan_link(shown), "TenantReachable")
