import base64
from datetime import datetime

import pytest

from dpunetop.domain.credential.facts import (
    NotAsked,
    Provided,
    TokenKept,
    TokenTrial,
    expiry,
)
from dpunetop.domain.credential.nodeidentity import AdmissionDenied, Admitted, Untried
from dpunetop.domain.credential.plan import plan_credential
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig
from dpunetop.kube.plan import ApplyStatus
from support.credentials import (
    DAY,
    minted,
    said,
    view,
)
from support.kubeconfigs import good_kubeconfig
from support.pki import pair

ASKED = {
    "denied": (AdmissionDenied("no"), ("False", "NotAdmitted"), 300.0),
    "not tried": (Untried("no pod"), ("Unknown", "AdmissionNotTried"), 30.0),
    "admitted": (Admitted(), ("True", "Minted"), 300.0),
}


@pytest.mark.parametrize(("identity", "expected", "pause"), ASKED.values(), ids=ASKED.keys())
def test_what_admission_says_of_the_pods_is_part_of_it(
    identity: AdmissionDenied | Admitted | Untried, expected: tuple[str, str], pause: float
) -> None:
    plan = plan_credential(view(TokenKept(), held=minted(), trial=TokenTrial.ACCEPTED, identity=identity))
    assert (said(plan), plan.requeue_after_seconds) == (expected, pause)


def certified() -> tuple[TenantKubeconfig, datetime]:
    """A kubeconfig with a client certificate, and when that ends."""
    user = {
        "client-certificate-data": base64.b64encode(pair().cert).decode(),
        "client-key-data": base64.b64encode(pair().key).decode(),
    }
    model = parse_kubeconfig(good_kubeconfig(**user))
    end = expiry(Provided(), model)
    assert end is not None
    return model, end


def test_a_given_certificate_that_has_ended_is_named() -> None:
    model, end = certified()
    assert said(plan_credential(view(NotAsked(), last_good=model, now=end))) == ("False", "Expired")
    assert said(plan_credential(view(NotAsked(), last_good=model, now=end - DAY))) == ("True", "CredentialExpiresSoon")
    assert said(plan_credential(view(NotAsked(), last_good=model, now=end - 8 * DAY))) == ("True", "Provided")


@pytest.mark.parametrize(
    ("days", "reason", "words"),
    [
        (0, "Expired", "which the tenant rejects: its credential ended on 2027-01-01T00:00:00Z; put a good one into"),
        (
            -1,
            "Revoked",
            "its credential is good until 2027-01-01T00:00:00Z, so it was revoked, or is another cluster's",
        ),
        (
            -366,
            "Revoked",
            "its credential is valid only from 2026-01-01T00:00:00Z on; compare the clocks of both sides",
        ),
    ],
    ids=["ended", "good by itself", "not valid yet"],
)
def test_a_given_certificate_that_is_rejected_says_why_as_far_as_it_knows(days: int, reason: str, words: str) -> None:
    model, end = certified()
    rejected = view(NotAsked(), held=Provided(), trial=TokenTrial.REJECTED, last_good=model, now=end + days * DAY)
    (status,) = (step for step in plan_credential(rejected).steps if isinstance(step, ApplyStatus))
    (condition,) = status.conditions
    assert (condition.status, condition.reason) == ("False", reason)
    assert words in condition.message


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        (TokenTrial.ACCEPTED, ("True", "CredentialExpiresSoon")),
        (TokenTrial.REJECTED, ("False", "Expired")),
    ],
)
def test_a_given_certificate_that_has_ended_by_our_clock_is_good_while_the_tenant_accepts_it(
    trial: TokenTrial, expected: tuple[str, str]
) -> None:
    model, end = certified()
    assert said(plan_credential(view(NotAsked(), held=Provided(), trial=trial, last_good=model, now=end))) == expected
