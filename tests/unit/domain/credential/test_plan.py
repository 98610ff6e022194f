import base64
import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from dpunetop.domain.clusterconfig.types import CredentialChoice, parse_config
from dpunetop.domain.credential.account import ACCOUNTS, Account, TenantSide
from dpunetop.domain.credential.facts import (
    Fresh,
    Minted,
    NotAsked,
    Preparing,
    Provided,
    TokenKept,
    TokenRefused,
    TokenTrial,
    TokenUnanswered,
    minted_in,
    parse_held,
)
from dpunetop.domain.credential.plan import plan_credential
from dpunetop.domain.names import (
    MINTED_AT_ANNOTATION,
    MINTED_IN_ANNOTATION,
)
from dpunetop.domain.ovnkube.interconnect import credential_digest
from dpunetop.domain.ovnkube.release import Flavour
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import render_with_token_file
from dpunetop.kube.keys import CLUSTERROLEBINDINGS, ROLEBINDINGS, SECRETS, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Apply, Delete, Plan
from support.clock import EPOCH
from support.credentials import (
    ACCOUNT,
    DAY,
    FULL,
    GIVEN_MARK,
    MODEL,
    OWNER,
    TIMES,
    WEEK,
    minted,
    said,
    secret,
    view,
)
from support.kubeconfigs import good_kubeconfig
from support.objects import condition, config
from support.pki import pair


def first(plan: Plan) -> Obj:
    """What the first step applies."""
    step = plan.steps[0]
    assert isinstance(step, Apply)
    return step.desired


def written(plan: Plan) -> list[str]:
    """Cluster and name of each object, in order; of the pods' Secret, which kind it is."""
    names = []
    for step in plan.steps:
        if isinstance(step, Apply):
            name = step.desired["metadata"]["name"]
            marks = step.desired["metadata"].get("annotations", {})
            kind = " minted" if MINTED_AT_ANNOTATION in marks else " given" if marks == GIVEN_MARK else ""
            names.append(name.removeprefix("dpunetop-") + (kind if name == "dpunetop-tenant-credential" else ""))
    return names


MADE = ["tenant-kubeconfig", "dpu", "dpu", "dpu"]
NO, SILENCE = TokenRefused("MintingForbidden", "no"), TokenUnanswered("TenantUnanswered", "silence")
ACCEPTED, REJECTED, UNTRIED, POWERLESS = (
    TokenTrial.ACCEPTED,
    TokenTrial.REJECTED,
    TokenTrial.UNTRIED,
    TokenTrial.POWERLESS,
)
DECISIONS = {  # finding, held, trial, now -> written, said, pause
    "given wanted": (NotAsked(), None, ACCEPTED, EPOCH, ["tenant-credential given"], ("True", "Provided"), 300.0),
    "given wanted, and dead": (
        NotAsked(), Provided(), REJECTED, EPOCH, ["tenant-credential given"], ("False", "Revoked"), 300.0,
    ),
    "given wanted, minted there": (
        NotAsked(), minted(), ACCEPTED, EPOCH, ["tenant-credential given"], ("True", "Provided"), 300.0,
    ),
    "being made": (Preparing(), None, UNTRIED, EPOCH, MADE, ("False", "Progressing"), 1.0),
    "being made, given there": (
        Preparing(), Provided(), UNTRIED, EPOCH, [*MADE, "tenant-credential given"], ("False", "Progressing"), 1.0,
    ),
    "made anew under a dead token": (Preparing(), minted(), REJECTED, EPOCH, MADE, ("False", "Revoked"), 1.0),
    "fresh": (Fresh(minted()), None, UNTRIED, EPOCH, ["tenant-credential minted", *MADE], ("True", "Minted"), 300.0),
    "kept": (TokenKept(), minted(), ACCEPTED, EPOCH, ["tenant-credential minted", *MADE], ("True", "Minted"), 300.0),
    "standing, nearly due": (
        TokenKept(), minted(), ACCEPTED, EPOCH + DAY - timedelta(seconds=7),
        ["tenant-credential minted", *MADE], ("True", "Minted"), 7.0,
    ),
    "standing, short-lived": (
        TokenKept(), minted(DAY), ACCEPTED, EPOCH,
        ["tenant-credential minted", *MADE], ("True", "CredentialShortLived"), 300.0,
    ),
    "standing, without rights": (
        TokenKept(), minted(), POWERLESS, EPOCH,
        ["tenant-credential minted", *MADE], ("False", "MintedWithoutRights"), 300.0,
    ),
    "refused": (NO, None, UNTRIED, EPOCH, ["tenant-credential given"], ("True", "MintingForbidden"), 300.0),
    "refused, a good token there": (
        NO, minted(), ACCEPTED, EPOCH + 2 * DAY, ["tenant-credential minted"], ("False", "MintingForbidden"), 300.0,
    ),
    "refused, a token there that was not tried": (
        NO, minted(), UNTRIED, EPOCH, [], ("False", "MintingForbidden"), 300.0,
    ),
    "refused, a dead token there": (
        NO, minted(), REJECTED, EPOCH, ["tenant-credential given"], ("True", "MintingForbidden"), 300.0,
    ),
    "refused, an expired token there": (
        NO, minted(), UNTRIED, EPOCH + WEEK, ["tenant-credential given"], ("True", "MintingForbidden"), 300.0,
    ),
    "silent": (SILENCE, None, UNTRIED, EPOCH, [], ("Unknown", "TenantUnanswered"), 30.0),
    "silent, given there": (
        SILENCE, Provided(), UNTRIED, EPOCH, ["tenant-credential given"], ("Unknown", "TenantUnanswered"), 30.0,
    ),
    "silent, a token there": (SILENCE, minted(), UNTRIED, EPOCH, [], ("Unknown", "TenantUnanswered"), 30.0),
    "silent, an expired token there": (SILENCE, minted(), UNTRIED, EPOCH + WEEK, [], ("False", "Expired"), 30.0),
    "no new one yet": (
        SILENCE, minted(), ACCEPTED, EPOCH + 2 * DAY, ["tenant-credential minted"], ("True", "Minted"), 30.0,
    ),
    "no new one for long": (
        SILENCE, minted(), ACCEPTED, EPOCH + 5 * DAY,
        ["tenant-credential minted"], ("True", "CredentialShortLived"), 30.0,
    ),
    "no new one for a dead token": (SILENCE, minted(), REJECTED, EPOCH, [], ("False", "Revoked"), 30.0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("finding", "held", "trial", "now", "writes", "says", "pause"), DECISIONS.values(), ids=DECISIONS.keys()
)
def test_what_is_written_and_said(
    finding: Fresh | NotAsked | Preparing | TokenKept | TokenRefused | TokenUnanswered,
    held: Minted | Provided | None,
    trial: TokenTrial,
    now: datetime,
    writes: list[str],
    says: tuple[str, str],
    pause: float,
) -> None:
    plan = plan_credential(view(finding, held, trial, now))
    assert (written(plan), said(plan), plan.requeue_after_seconds) == (writes, says, pause)


MINTED_ONLY = {
    "nothing there": (None, UNTRIED, [], ("False", "MintingForbidden")),
    "given there": (Provided(), UNTRIED, ["tenant-credential given"], ("False", "MintingForbidden")),
    "a dead token there": (minted(), REJECTED, [], ("False", "Revoked")),
}


@pytest.mark.parametrize(("held", "trial", "writes", "says"), MINTED_ONLY.values(), ids=MINTED_ONLY.keys())
def test_where_only_a_minted_one_is_wanted_nothing_makes_way_for_the_given_one(
    held: Minted | Provided | None, trial: TokenTrial, writes: list[str], says: tuple[str, str]
) -> None:
    plan = plan_credential(view(NO, held, trial, choice="Minted"))
    assert (written(plan), said(plan)) == (writes, says)


def test_without_a_kubeconfig_nothing_is_written_and_nothing_said_unless_it_is_not_coming() -> None:
    assert plan_credential(view(NotAsked(), last_good=None, stored=None)) == Plan()
    refused = {**config(), "status": {"conditions": [condition("CredentialsValid", "False", "SecretNotFound")]}}
    plan = plan_credential(view(NotAsked(), last_good=None, stored=None, config=parse_config(refused)))
    assert (written(plan), said(plan)) == ([], ("Unknown", "NoKubeconfig"))


def test_a_secret_of_another_owner_or_a_terminating_one_is_left_alone() -> None:
    strangers = secret(FULL, owner="other")
    for plan in (
        plan_credential(view(Fresh(minted()), secret=strangers)),
        plan_credential(view(NotAsked(), last_good=None, stored=strangers)),
    ):
        assert (written(plan), said(plan)) == ([], ("False", "NotOurs"))
    leaving = secret(FULL, TIMES)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    plan = plan_credential(view(Fresh(minted()), secret=leaving))
    assert (written(plan), said(plan)) == ([], ("Unknown", "Terminating"))


def test_the_pods_secret_names_the_token_file_and_when_it_ends() -> None:
    plan = plan_credential(view(Fresh(minted())))
    desired = first(plan)
    files = {key: base64.b64decode(text) for key, text in desired["data"].items()}
    assert files == {
        "kubeconfig": render_with_token_file(MODEL, "/var/run/secrets/tenant-kubeconfig/token"),
        "token": b"to.ken",
    }
    assert desired["metadata"]["annotations"] == TIMES
    assert b"token-of-a-test" not in files["kubeconfig"]


def files_given(**user: str) -> dict[str, bytes]:
    """The given credential as pods mount it."""
    model = replace(parse_kubeconfig(good_kubeconfig(**user)), ca_pem=MODEL.ca_pem)
    desired = first(plan_credential(view(NotAsked(), last_good=model)))
    assert parse_held({**secret({}, GIVEN_MARK), "data": desired["data"]}, OWNER) == Provided()
    return {key: base64.b64decode(text) for key, text in desired["data"].items()}


def certificate_of(name: str) -> dict[str, str]:
    material = pair(name)
    return {
        "client-certificate-data": base64.b64encode(material.cert).decode(),
        "client-key-data": base64.b64encode(material.key).decode(),
    }


def digest(files: dict[str, bytes]) -> str:
    return credential_digest(secret({key: content.decode() for key, content in files.items()}))


def test_a_given_token_is_a_file_of_its_own_and_a_new_one_rolls_nothing() -> None:
    one, other = files_given(token="token-of-one"), files_given(token="token-of-another")
    assert (one["token"], other["token"]) == (b"token-of-one", b"token-of-another")
    assert one["kubeconfig"] == other["kubeconfig"]
    assert json.loads(one["kubeconfig"])["users"][0]["user"] == {
        "tokenFile": "/var/run/secrets/tenant-kubeconfig/token"
    }
    assert digest(one) == digest(other)


def test_a_given_certificate_stands_in_the_kubeconfig_and_a_new_one_is_rolled_out() -> None:
    one, other = files_given(**certificate_of("one")), files_given(**certificate_of("other"))
    assert set(one) == set(other) == {"kubeconfig"}
    assert set(json.loads(one["kubeconfig"])["users"][0]["user"]) == set(certificate_of("one"))
    assert digest(one) != digest(other)


def test_a_given_token_beside_a_certificate_rolls_nothing_and_the_certificate_does() -> None:
    one = files_given(token="token-of-one", **certificate_of("one"))
    assert digest(one) == digest(files_given(token="token-of-another", **certificate_of("one")))
    assert digest(one) != digest(files_given(token="token-of-one", **certificate_of("other")))
    assert b"token-of-one" not in one["kubeconfig"]


def test_every_namespace_that_held_an_account_is_remembered() -> None:
    stored = secret({"kubeconfig": "{}"}, {MINTED_IN_ANNOTATION: "before"})
    plan = plan_credential(view(Preparing(), stored=stored))
    note = first(plan)["metadata"]["annotations"]
    assert note == {MINTED_IN_ANNOTATION: "before,ovn"}


def test_an_account_of_another_name_is_remembered_by_it() -> None:
    stored = secret({"kubeconfig": "{}"}, {MINTED_IN_ANNOTATION: "before,ovn"})
    side = TenantSide(Account("ovn", ACCOUNTS[Flavour.UPSTREAM]), None, None, None)
    plan = plan_credential(view(Preparing(), stored=stored, tenant=side, account=side.account))
    note = first(plan)["metadata"]["annotations"]
    assert note == {MINTED_IN_ANNOTATION: "before,ovn,ovn/ovnkube-node-dpu"}
    noted = minted_in(secret({}, note))
    assert noted == (
        Account("before", "dpunetop-dpu"),
        Account("ovn", "dpunetop-dpu"),
        Account("ovn", "ovnkube-node-dpu"),
    )
    assert minted_in(secret({})) == ()


@pytest.mark.parametrize(("trial", "goes"), [(trial, trial is TokenTrial.ACCEPTED) for trial in TokenTrial], ids=str)
def test_an_account_of_another_name_goes_once_pods_hold_a_token_that_works(trial: TokenTrial, goes: bool) -> None:
    left = ((SERVICEACCOUNTS, {"metadata": {"name": "dpunetop-dpu", "namespace": "ovn", "uid": "u"}}),)
    plan = plan_credential(view(TokenKept(), held=minted(), trial=trial, superseded=left))
    assert [step.live["metadata"]["name"] for step in plan.steps if isinstance(step, Delete)] == ["dpunetop-dpu"] * goes


def test_a_binding_to_another_role_is_deleted_and_what_else_there_is_stays() -> None:
    old = {"metadata": {"name": "dpunetop-dpu", "uid": "u"}, "roleRef": {"name": "another"}}
    side = TenantSide(ACCOUNT, None, None, old)
    plan = plan_credential(view(Preparing(), held=minted(), trial=TokenTrial.ACCEPTED, tenant=side))
    assert [step.live for step in plan.steps if isinstance(step, Delete)] == [old]
    applied = [step.resource for step in plan.steps if isinstance(step, Apply)]
    assert CLUSTERROLEBINDINGS not in applied
    assert {SERVICEACCOUNTS, ROLEBINDINGS, SECRETS} <= set(applied)


def test_the_choice_is_auto_unless_something_else_is_said() -> None:
    assert parse_config(config()).tenant_credential is CredentialChoice.AUTO
    assert parse_config(config(tenantCredential="Minted")).tenant_credential is CredentialChoice.MINTED
