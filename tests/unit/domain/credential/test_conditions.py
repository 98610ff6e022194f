import base64

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


def test_a_given_certificate_that_has_ended_is_named() -> None:
    material = pair()
    user = {
        "client-certificate-data": base64.b64encode(material.cert).decode(),
        "client-key-data": base64.b64encode(material.key).decode(),
    }
    model = parse_kubeconfig(good_kubeconfig(**user))
    end = expiry(Provided(), model)
    assert end is not None
    assert said(plan_credential(view(NotAsked(), last_good=model, now=end))) == ("False", "Expired")
    assert said(plan_credential(view(NotAsked(), last_good=model, now=end - DAY))) == ("True", "CredentialExpiresSoon")
    assert said(plan_credential(view(NotAsked(), last_good=model, now=end - 8 * DAY))) == ("True", "Provided")
