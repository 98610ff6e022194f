"""The identity of the DPU pods in the tenant: our ServiceAccount, whose token is renewed in time, or the user of the
given kubeconfig.

Nothing about it is kept in memory alone: which credential there is, since when and until when, stands in our Secret.
What pods hold stays until something better is certain; silence of the tenant changes nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, assert_never

from dpunetop.base.sensitive import Sensitive
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.status import CREDENTIAL_EXPIRES_SOON, CREDENTIAL_SHORT_LIVED, report
from dpunetop.domain.clusterconfig.types import CredentialChoice, DpuClusterConfig
from dpunetop.domain.credential.account import OPENSHIFT_ACCOUNT, RIGHTS_OF_PODS, Account, TenantSide, named, parse_time
from dpunetop.domain.credential.nodeidentity import UNASKED, Identity, next_try, told
from dpunetop.domain.names import (
    CREDENTIAL_ANNOTATION,
    CREDENTIAL_FILE_KEY,
    DPU_ACCOUNT,
    DPU_ROLE,
    EXPIRES_AT_ANNOTATION,
    MINTED_AT_ANNOTATION,
    MINTED_FOR_ANNOTATION,
    MINTED_IN_ANNOTATION,
    PROVIDED,
    TENANT_CREDENTIAL,
    TENANT_CREDENTIAL_KEY,
    TENANT_KUBECONFIG,
)
from dpunetop.domain.ovnkube.pod import CREDENTIAL_FOLDER
from dpunetop.domain.reasons import CREDENTIALS_VALID, DPU_CREDENTIAL_VALID
from dpunetop.domain.tenant.credentialend import end_of
from dpunetop.domain.tenant.kubeconfig import TenantKubeconfig, render_with_token_aside, render_with_token_file
from dpunetop.domain.tenant.pem import PEM_LIMIT_BYTES
from dpunetop.kube.conditions import Condition, condition_of
from dpunetop.kube.keys import INFRA, SECRETS, Resource
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, new_object
from dpunetop.kube.plan import Apply, Delete, Ownership, Plan, Step

RENEW_AFTER = timedelta(days=1)
"""Age at which a token is replaced; one that lives for less than two such is replaced at half of its life."""
SLACK = timedelta(hours=72)
"""How long the operator may be down before a host loses its network."""
TRY_SECONDS = 300.0
"""Pause between trials of what pods hold, and before the tenant is asked again for what it refused."""

_SOONEST = timedelta(minutes=1)
_RETRY_SECONDS = 30.0
_PREPARING_SECONDS = 1.0
_LEAST_SECONDS = 1.0
_TOKEN_PATH = f"{CREDENTIAL_FOLDER}/{CREDENTIAL_FILE_KEY}"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


# --- what pods hold ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Minted:
    """A token of our ServiceAccount: when it was asked for, by our clock, and until when the server says it is good."""

    token: Sensitive
    minted_at: datetime
    expires_at: datetime
    account_uid: str
    """UID of the ServiceAccount; with another one under its name the token is dead, although a server may not notice
    for some seconds."""

    @property
    def renewal(self) -> datetime:
        """From when on it is to be replaced."""
        life = self.expires_at - self.minted_at
        return self.minted_at + max(min(RENEW_AFTER, life / 2), _SOONEST)

    def is_due(self, now: datetime) -> bool:
        """Whether it is to be replaced; so is one from the future, since our clock must have been wrong then."""
        return now < self.minted_at or now >= self.renewal

    def slack(self, now: datetime) -> timedelta:
        """For how long it stays good without us, if we vanish at the worst moment from now on."""
        return self.expires_at - max(now, self.renewal)


@dataclass(frozen=True, slots=True)
class Provided:
    """The credential of the given kubeconfig itself."""


Held = Minted | Provided | None
"""What our Secret gives to the pods; None: nothing of use."""


def parse_held(secret: Obj | None, owner: Owner) -> Held:
    """Read what our Secret holds; what a person has damaged counts as nothing."""
    if secret is None or not owner.owns(secret):
        return None
    data, marks = secret.get("data") or {}, annotations_of(secret)
    # Versions that marked nothing wrote what was given without a token file.
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
    """Until when the credential of the pods is good; None: unknown."""
    match held:
        case Minted(expires_at=expires_at):
            return expires_at
        case Provided():
            end = end_of(kubeconfig)
            return None if end is None else end.at
        case None:
            return None
    assert_never(held)


def minted_in(stored: Obj) -> tuple[tuple[str, str], ...]:
    """Namespaces of the tenant in which we have, or had, an account, and its name there; from the Secret of the last
    kubeconfig."""
    places = (place.partition("/") for place in annotations_of(stored).get(MINTED_IN_ANNOTATION, "").split(","))
    return tuple((namespace, name or DPU_ACCOUNT) for namespace, _, name in places if namespace)


def _noted(places: Iterable[tuple[str, str]]) -> str:
    return ",".join(sorted(ns if name == DPU_ACCOUNT else f"{ns}/{name}" for ns, name in places))


def as_dpu(kubeconfig: TenantKubeconfig, minted: Minted) -> TenantKubeconfig:
    """The same way to the tenant, as the pods go it."""
    return replace(kubeconfig, token=minted.token, client_cert_pem=None, client_key_pem=None)


# --- what came of asking the tenant -----------------------------------------------------------------------------------


class TokenTrial(Enum):
    """What the tenant says to a minted token."""

    UNTRIED = auto()
    ACCEPTED = auto()
    POWERLESS = auto()
    """Known, but without the rights that its bindings should give."""
    REJECTED = auto()


@dataclass(frozen=True, slots=True)
class NotAsked:
    """The given kubeconfig is what is wanted."""


@dataclass(frozen=True, slots=True)
class TokenRefused:
    """The tenant gave a clear answer, and it is no."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class TokenUnanswered:
    """Nothing is known now."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Preparing:
    """ServiceAccount and bindings are being made, or do not work yet."""


@dataclass(frozen=True, slots=True)
class TokenKept:
    """The minted token that pods hold stays as it is."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new token that the tenant has accepted, with the rights that it must have."""

    minted: Minted


Finding = NotAsked | TokenRefused | TokenUnanswered | Preparing | TokenKept | Fresh


def powerless(who: Account) -> TokenRefused:
    """A token was minted, and its bindings do not give the rights that pods need."""
    lacking = f"ServiceAccount {who.name} lacks permissions in the tenant; it needs {named(RIGHTS_OF_PODS)}"
    advice = f"check that ClusterRole {DPU_ROLE} exists there, else apply deploy/tenant-rights.yaml in the tenant again"
    return TokenRefused("MintedWithoutRights", f"{lacking}; {advice}")


@dataclass(frozen=True, slots=True)
class CredentialView:
    """All that the decision looks at.

    `kubeconfig` is the one that worked last, from the Secret `stored`. `secret` is what pods mount, `held` what is in
    it, `trial` what the tenant says to that. `tenant` is given with Preparing, Standing and Fresh.
    """

    config: DpuClusterConfig
    owner: Owner
    kubeconfig: TenantKubeconfig | None
    stored: Obj | None
    secret: Obj | None
    held: Held
    trial: TokenTrial
    finding: Finding
    tenant: TenantSide | None
    now: datetime
    field_manager: str
    who: Account = OPENSHIFT_ACCOUNT
    """Our account in the tenant."""
    superseded: tuple[tuple[Resource, Obj], ...] = ()
    """What is left of ours in the tenant under another name, in the order in which it goes."""
    identity: Identity = UNASKED
    """Whether the tenant's admission lets pods write with what they hold."""


# --- the decision -----------------------------------------------------------------------------------------------------


def plan_credential(view: CredentialView) -> Plan:
    """Bring the Secret that pods mount to the best credential that is certain.

    Guarantees: where we shall have to clean up is written down before anything is written to the tenant; a minted token
        reaches the pods only after the tenant has accepted it; one that works is never given up for another kind.
    """
    for name, secret in ((TENANT_KUBECONFIG, view.stored), (TENANT_CREDENTIAL, view.secret)):
        if not view.owner.owns(secret):
            message = f"Secret {name} exists and is not ours; it is left as it is. Remove it first"
            return _say(view, (), _false("NotOurs", message), None)
    if view.kubeconfig is None:
        known = condition_of(view.config.live, CREDENTIALS_VALID) or {"status": "True"}
        if known["status"] == "True":
            return Plan()  # about to be written, which wakes us; a condition for that moment would be noise
        return _say(view, (), _unknown("NoKubeconfig", "no kubeconfig has worked yet"), None)
    if view.secret is not None and is_terminating(view.secret):
        message = f"Secret {TENANT_CREDENTIAL} is being deleted; it is written again once it is gone"
        return _say(view, (), _unknown("Terminating", message), None)
    return _decide(view, view.kubeconfig)


def _decide(view: CredentialView, kubeconfig: TenantKubeconfig) -> Plan:
    match view.finding:
        case NotAsked():
            return _say(view, (_provided(view, kubeconfig),), _given(view, "Provided", ""), TRY_SECONDS)
        case TokenRefused() as refused:
            return _refused(view, kubeconfig, refused)
        case TokenUnanswered() as unanswered:
            is_given = view.config.tenant_credential is CredentialChoice.PROVIDED
            steps = (_provided(view, kubeconfig),) if is_given else _keep(view, kubeconfig)
            return _say(view, steps, _unanswered(view, unanswered), _RETRY_SECONDS)
        case Preparing():
            condition = _lacking(view, "Progressing", f"ServiceAccount {view.who.name} is being made in the tenant")
            return _say(view, (*_tenant(view), *_keep(view, kubeconfig)), condition, _PREPARING_SECONDS)
        case TokenKept():
            return _dpu_status(view, kubeconfig)
        case Fresh(minted):
            steps = (_minted(view, kubeconfig, minted), *_tenant(view))
            return _say(view, steps, _good(view, minted), _pause(minted, view.now))
    assert_never(view.finding)


def _dpu_status(view: CredentialView, kubeconfig: TenantKubeconfig) -> Plan:
    assert isinstance(view.held, Minted)
    condition = _good(view, view.held)
    if view.trial is TokenTrial.POWERLESS:
        condition = _false((lacking := powerless(view.who)).reason, lacking.message)
    return _say(view, (*_keep(view, kubeconfig), *_tenant(view), *_part(view)), condition, _pause(view.held, view.now))


def _refused(view: CredentialView, kubeconfig: TenantKubeconfig, refused: TokenRefused) -> Plan:
    """What works stays; what does not makes way for the given kubeconfig, where that is left to us."""
    if _works(view) or view.config.tenant_credential is CredentialChoice.MINTED:
        condition = _lacking(view, refused.reason, refused.message)
        return _say(view, _keep(view, kubeconfig), condition, TRY_SECONDS)
    condition = _given(view, refused.reason, refused.message)
    return _say(view, (_provided(view, kubeconfig),), condition, TRY_SECONDS)


def _works(view: CredentialView) -> bool:
    """Whether pods hold a minted token that is good as far as is known."""
    if not isinstance(view.held, Minted):
        return False
    match view.trial:
        case TokenTrial.ACCEPTED | TokenTrial.POWERLESS:
            return True
        case TokenTrial.REJECTED:
            return False
        case TokenTrial.UNTRIED:
            return view.now < view.held.expires_at
    assert_never(view.trial)


def _pause(minted: Minted, now: datetime) -> float:
    return max(min(TRY_SECONDS, (minted.renewal - now).total_seconds()), _LEAST_SECONDS)


# --- what is said -----------------------------------------------------------------------------------------------------


def _good(view: CredentialView, minted: Minted) -> Condition:
    token = f"the token of ServiceAccount {view.who.name} in Secret {TENANT_CREDENTIAL}"
    until = f"{token} is good until {_text(minted.expires_at)}"
    if minted.slack(view.now) >= SLACK:
        return Condition(DPU_CREDENTIAL_VALID, "True", "Minted", until)
    message = f"{until}: an operator that is down for {SLACK // timedelta(hours=1)} hours costs hosts their network"
    return Condition(DPU_CREDENTIAL_VALID, "True", CREDENTIAL_SHORT_LIVED, message)


def _given(view: CredentialView, reason: str, message: str) -> Condition:
    """Of the given kubeconfig, which we cannot renew."""
    end, secret = end_of(view.kubeconfig), f"Secret {view.config.kubeconfig_secret}"
    words = f"{message}; the pods use" if message else "the pods use"
    words = f"{words} the given kubeconfig of {secret} itself"
    if view.trial is TokenTrial.REJECTED and not isinstance(view.held, Minted):  # else it is about that token
        return _false("Revoked", f"{words}, which the tenant rejects; put a good one into {secret}")
    if end is None:
        return Condition(DPU_CREDENTIAL_VALID, "True", reason, f"{words}, which does not say until when it is good")
    if view.now >= end.at:
        return _false("Expired", f"{words}, which ended at {end.text}; put a new one into {secret}")
    if view.now >= end.warn_from:
        said = f"{words}, which ends soon, at {end.text}; put a new one into {secret} before"
        return Condition(DPU_CREDENTIAL_VALID, "True", CREDENTIAL_EXPIRES_SOON, said)
    return Condition(DPU_CREDENTIAL_VALID, "True", reason, f"{words}, which is good until {end.text}")


def _lacking(view: CredentialView, reason: str, message: str) -> Condition:
    """Of what pods have instead of what is wanted."""
    match view.held:
        case Minted() as held if _works(view):
            return _false(reason, f"{message}; the pods keep their token, which is good until {_text(held.expires_at)}")
        case Minted() if view.trial is TokenTrial.REJECTED:
            return _false("Revoked", f"the tenant rejects the token of the pods, and there is no new one: {message}")
        case Minted() as held:
            ended = f"the token of the pods ended at {_text(held.expires_at)}"
            return _false("Expired", f"{ended}, and there is no new one: {message}")
        case Provided():
            return _false(reason, f"{message}; the pods keep the given kubeconfig itself")
        case None:
            return _false(reason, message)
    assert_never(view.held)


def _unanswered(view: CredentialView, unanswered: TokenUnanswered) -> Condition:
    held = view.held
    if isinstance(held, Minted) and not _works(view):
        return _lacking(view, unanswered.reason, unanswered.message)
    if isinstance(held, Minted) and view.trial is TokenTrial.ACCEPTED:
        good = _good(view, held)
        return replace(good, message=f"{good.message}; a new one could not be had yet: {unanswered.message}")
    kept = "; the pods keep what they have" if held is not None else ""
    return _unknown(unanswered.reason, f"{unanswered.message}{kept}")


def _say(view: CredentialView, steps: tuple[Step, ...], condition: Condition, again_seconds: float | None) -> Plan:
    said, again = told(condition, view.identity), next_try(view.identity)
    pause = min((each for each in (again_seconds, again) if each is not None), default=None)
    return Plan((*steps, *report(INFRA, view.config.live, (said,), view.field_manager)), pause)


def _false(reason: str, message: str) -> Condition:
    return Condition(DPU_CREDENTIAL_VALID, "False", reason, message)


def _unknown(reason: str, message: str) -> Condition:
    return Condition(DPU_CREDENTIAL_VALID, "Unknown", reason, message)


# --- what is written --------------------------------------------------------------------------------------------------


def _keep(view: CredentialView, kubeconfig: TenantKubeconfig) -> tuple[Step, ...]:
    """The same credential by today's way to the tenant, once it is known to work there."""
    match view.held:
        case Minted() as held if view.trial in (TokenTrial.ACCEPTED, TokenTrial.POWERLESS):
            return (_minted(view, kubeconfig, held),)
        case Provided():
            return (_provided(view, kubeconfig),)
        case _:
            return ()


def _minted(view: CredentialView, kubeconfig: TenantKubeconfig, minted: Minted) -> Step:
    data = {
        TENANT_CREDENTIAL_KEY: render_with_token_file(kubeconfig, _TOKEN_PATH),
        CREDENTIAL_FILE_KEY: minted.token.reveal().encode(),
    }
    marks = {
        MINTED_AT_ANNOTATION: _text(minted.minted_at),
        EXPIRES_AT_ANNOTATION: _text(minted.expires_at),
        MINTED_FOR_ANNOTATION: minted.account_uid,
    }
    return _secret(view, data, {"annotations": marks})


def _provided(view: CredentialView, kubeconfig: TenantKubeconfig) -> Step:
    """A new token rolls nothing: only what stands in the kubeconfig is read once, and hashed into the DaemonSet."""
    data = {TENANT_CREDENTIAL_KEY: render_with_token_aside(kubeconfig, _TOKEN_PATH)}
    if kubeconfig.token is not None:
        data[CREDENTIAL_FILE_KEY] = kubeconfig.token.reveal().encode()
    return _secret(view, data, {"annotations": {CREDENTIAL_ANNOTATION: PROVIDED}})


def _secret(view: CredentialView, data: Mapping[str, bytes], metadata: Mapping[str, Any]) -> Step:
    encoded = {key: base64.b64encode(content).decode() for key, content in data.items()}
    desired = new_object(SECRETS, view.config.namespace, TENANT_CREDENTIAL, type="Opaque", data=encoded)
    desired["metadata"].update(metadata)
    marked = view.owner.mark(desired)
    return Apply(INFRA, SECRETS, marked, view.secret, view.field_manager, ownership=Ownership.WHOLE)


def _tenant(view: CredentialView) -> tuple[Step, ...]:
    """First the note where we shall have to clean up, then the account and what binds it."""
    side, stored = view.tenant, view.stored
    assert side is not None
    assert stored is not None
    note = new_object(SECRETS, view.config.namespace, TENANT_KUBECONFIG)
    places = {*minted_in(stored), (side.namespace, side.who.name)}
    note["metadata"]["annotations"] = {MINTED_IN_ANNOTATION: _noted(places)}
    tenant, misbound = view.config.tenant_cluster, side.misbound()
    applies = (
        Apply(tenant, resource, desired, live, view.field_manager, ownership=Ownership.WHOLE)
        for resource, desired, live in side.objects(view.owner.hash)
        if (resource, live) not in misbound
    )
    # What is deleted is made again as soon as the caches show that it is gone.
    deletes = (Delete(tenant, resource, live) for resource, live in misbound)
    return (Apply(INFRA, SECRETS, note, stored, view.field_manager), *applies, *deletes)


def _part(view: CredentialView) -> Iterator[Step]:
    """Nobody holds a token of the account of another name any more."""
    if view.trial is TokenTrial.ACCEPTED:
        yield from (Delete(view.config.tenant_cluster, resource, obj) for resource, obj in view.superseded)


# --- text and time ----------------------------------------------------------------------------------------------------


def _decoded(text: object) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode("ascii") if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def _token(text: object) -> Sensitive | None:
    if not isinstance(text, str) or len(text) > PEM_LIMIT_BYTES or _TOKEN.fullmatch(text) is None:
        return None
    return Sensitive(text)


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
