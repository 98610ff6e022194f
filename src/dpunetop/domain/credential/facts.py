"""The facts of the decision about the DPU pods' credential: the one that they hold, and the tenant's answers.

Nothing about it is kept in memory alone: our Secret says which credential there is, since when and until when.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, assert_never

from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.credential.account import Account, TenantSide, parse_time
from dpunetop.domain.credential.nodeidentity import UNASKED, Identity
from dpunetop.domain.names import (
    CREDENTIAL_ANNOTATION,
    CREDENTIAL_FILE_KEY,
    DPU_ACCOUNT,
    EXPIRES_AT_ANNOTATION,
    MINTED_AT_ANNOTATION,
    MINTED_FOR_ANNOTATION,
    MINTED_IN_ANNOTATION,
    PROVIDED,
    TENANT_CREDENTIAL_KEY,
)
from dpunetop.domain.tenant.credentialend import end_of
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig
from dpunetop.domain.tenant.pem import PEM_LIMIT_BYTES
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, annotations_of

RENEW_AFTER = timedelta(days=1)
"""Age at which a token is replaced; one that lives for less than twice as long is replaced at half of its life."""

_SOONEST = timedelta(minutes=1)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


@dataclass(frozen=True, slots=True)
class Minted:
    """A token of our ServiceAccount: when it was asked for, by our clock, and until when the server says it is good."""

    token: Sensitive
    minted_at: datetime
    expires_at: datetime
    account_uid: str
    """UID of the ServiceAccount; if another one has its name the token is invalid, although a server may accept it for
    some seconds more."""

    @property
    def renewal(self) -> datetime:
        """When it is to be replaced."""
        life = self.expires_at - self.minted_at
        return self.minted_at + max(min(RENEW_AFTER, life / 2), _SOONEST)

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be replaced. One that was requested in the future is replaced too: our clock was wrong
        then."""
        return now < self.minted_at or now >= self.renewal

    def slack(self, now: datetime) -> timedelta:
        """For how long it stays good without the operator, if that stops at the worst moment from now on."""
        return self.expires_at - max(now, self.renewal)


@dataclass(frozen=True, slots=True)
class Provided:
    """The credential of the given kubeconfig itself."""


Held = Minted | Provided | None
"""The credential that our Secret gives to the pods; None: nothing of use."""


def parse_held(secret: Obj | None, owner: Owner) -> Held:
    """Read our Secret; a content that a person has damaged counts as none."""
    if secret is None or not owner.owns(secret):
        return None
    data, marks = secret.get("data") or {}, annotations_of(secret)
    # Older versions set no mark, and wrote the given kubeconfig without a token file.
    if marks.get(CREDENTIAL_ANNOTATION) == PROVIDED or CREDENTIAL_FILE_KEY not in data:
        return Provided() if TENANT_CREDENTIAL_KEY in data else None
    token = _token(_decoded(data[CREDENTIAL_FILE_KEY]))
    minted_at, expires_at = parse_time(marks.get(MINTED_AT_ANNOTATION)), parse_time(marks.get(EXPIRES_AT_ANNOTATION))
    if token is None or minted_at is None or expires_at is None:
        return None
    return Minted(token, minted_at, expires_at, marks.get(MINTED_FOR_ANNOTATION, ""))


def parse_minted(answer: Mapping[str, Any], asked_at: datetime, account_uid: str) -> Minted | TokenUnanswered:
    """Read the answer to a TokenRequest. Guarantees: takes any mapping, however malformed."""
    status = answer.get("status")
    status = status if isinstance(status, Mapping) else {}
    token, expires_at = _token(status.get("token")), parse_time(status.get("expirationTimestamp"))
    if token is None or expires_at is None:
        return TokenUnanswered("BadAnswer", "the tenant's answer to a TokenRequest says no token, or not until when")
    return Minted(token, asked_at.replace(microsecond=0), expires_at, account_uid)


def expiry(held: Held, kubeconfig: TenantKubeconfig | None) -> datetime | None:
    """When the credential of the pods expires; None: unknown."""
    match held:
        case Minted(expires_at=expires_at):
            return expires_at
        case Provided():
            end = end_of(kubeconfig)
            return None if end is None else end.at
        case None:
            return None
    assert_never(held)


def minted_in(stored: Obj) -> tuple[Account, ...]:
    """Each account that we have, or had, in the tenant; from the Secret of the last kubeconfig."""
    places = (place.partition("/") for place in annotations_of(stored).get(MINTED_IN_ANNOTATION, "").split(","))
    return tuple(Account(namespace, name or DPU_ACCOUNT) for namespace, _, name in places if namespace)


def as_dpu(kubeconfig: TenantKubeconfig, minted: Minted) -> TenantKubeconfig:
    """The same kubeconfig with the credential of the pods."""
    return replace(kubeconfig, token=minted.token, client_cert_pem=None, client_key_pem=None)


# --- the tenant's answers ---------------------------------------------------------------------------------------------


class TokenTrial(Enum):
    """The tenant's answer to a minted token."""

    UNTRIED = auto()
    ACCEPTED = auto()
    POWERLESS = auto()
    """Known, but without the rights that its bindings should give."""
    REJECTED = auto()


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The given kubeconfig is to be used."""


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """The tenant refused."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TokenUnanswered:
    """The tenant did not answer."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Preparing:
    """ServiceAccount and bindings are being made, or do not work yet."""


@dataclass(frozen=True, slots=True)
class TokenKept:
    """The pods keep their minted token."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new token that the tenant has accepted, and that has the rights it must have."""

    minted: Minted


Finding = NotAsked | TokenRefused | TokenUnanswered | Preparing | TokenKept | Fresh


@dataclass(frozen=True, slots=True)
class CredentialView:
    """All that the decision looks at.

    `last_good` is the kubeconfig that worked last, from the Secret `stored`. Pods mount `secret`; `held` is its
    content, `trial` the tenant's answer to that. `tenant` is given with Preparing, TokenKept and Fresh.
    """

    config: DpuClusterConfig
    owner: Owner
    last_good: TenantKubeconfig | None
    stored: Obj | None
    secret: Obj | None
    held: Held
    trial: TokenTrial
    finding: Finding
    tenant: TenantSide | None
    now: datetime
    field_manager: str
    account: Account
    """Ours in the tenant."""
    superseded: tuple[tuple[Resource, Obj], ...] = ()
    """Our objects in the tenant under another name, in the order of removal."""
    identity: Identity = UNASKED
    """Whether the tenant's admission accepts writes with the pods' credential."""

    @property
    def kubeconfig(self) -> TenantKubeconfig:
        """The one that worked last, where there is one: without it nothing is asked, and nothing given to pods."""
        assert self.last_good is not None
        return self.last_good

    def works(self) -> bool:
        """Whether the pods' minted token is good as far as is known."""
        if not isinstance(self.held, Minted):
            return False
        match self.trial:
            case TokenTrial.ACCEPTED | TokenTrial.POWERLESS:
                return True
            case TokenTrial.REJECTED:
                return False
            case TokenTrial.UNTRIED:
                return self.now < self.held.expires_at
        assert_never(self.trial)


def _decoded(text: object) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode("ascii") if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def _token(text: object) -> Sensitive | None:
    if not isinstance(text, str) or len(text) > PEM_LIMIT_BYTES or _TOKEN.fullmatch(text) is None:
        return None
    return Sensitive(text)
