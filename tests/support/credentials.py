"""Credentials of DPU pods, and the view of a decision about them."""

import base64
from datetime import datetime, timedelta
from typing import Any

from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.credential.account import TOKEN_SECONDS, TenantSide, account_for
from dpunetop.domain.credential.facts import (
    CredentialView,
    Fresh,
    Minted,
    NotAsked,
    Preparing,
    Provided,
    TokenKept,
    TokenRefused,
    TokenTrial,
    TokenUnanswered,
)
from dpunetop.domain.names import (
    CREDENTIAL_ANNOTATION,
    EXPIRES_AT_ANNOTATION,
    MINTED_AT_ANNOTATION,
    MINTED_FOR_ANNOTATION,
    OWNER_LABEL,
)
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.kube.plan import ApplyStatus, Plan
from support.clock import EPOCH
from support.kubeconfigs import good_kubeconfig
from support.objects import config

OWNER = Owner(config(), "0123")
MODEL = parse_kubeconfig(good_kubeconfig())
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEK = timedelta(seconds=TOKEN_SECONDS)


def minted(life: timedelta = WEEK, at: datetime = EPOCH) -> Minted:
    return Minted(Sensitive("to.ken"), at, at + life, "uid-of-account")


def secret(data: dict[str, Any], annotations: dict[str, str] | None = None, owner: str = "0123") -> dict[str, Any]:
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    metadata = {"name": "s", "namespace": "dpu-one", "uid": "u", "labels": {OWNER_LABEL: owner}}
    return {"metadata": {**metadata, "annotations": annotations or {}}, "data": encoded}


TIMES = {
    MINTED_AT_ANNOTATION: "2026-01-01T00:00:00Z",
    EXPIRES_AT_ANNOTATION: "2026-01-08T00:00:00Z",
    MINTED_FOR_ANNOTATION: "uid-of-account",
}
GIVEN_MARK = {CREDENTIAL_ANNOTATION: "Provided"}
FULL = {"kubeconfig": "{}", "token": "to.ken"}

STORED = secret({"kubeconfig": "{}"})
ACCOUNT = account_for("ovn", None)
SIDE = TenantSide(ACCOUNT, None, None, None)


def view(
    finding: Fresh | NotAsked | Preparing | TokenKept | TokenRefused | TokenUnanswered,
    held: Minted | Provided | None = None,
    trial: TokenTrial = TokenTrial.UNTRIED,
    now: datetime = EPOCH,
    choice: str = "Auto",
    **changes: Any,
) -> CredentialView:
    given: dict[str, Any] = {
        "config": parse_config(config(tenantCredential=choice)),
        "owner": OWNER,
        "last_good": MODEL,
        "stored": STORED,
        "secret": secret(FULL, TIMES) if held else None,
        "held": held,
        "trial": trial,
        "finding": finding,
        "tenant": SIDE,
        "now": now,
        "field_manager": "dpunetop-credential",
        "account": ACCOUNT,
    }
    return CredentialView(**{**given, **changes})


def said(plan: Plan) -> tuple[str, str]:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    (condition,) = status.conditions
    return condition.status, condition.reason
