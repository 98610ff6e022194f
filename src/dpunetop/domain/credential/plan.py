"""The decision about the DPU pods' credential in the tenant, and its writes: a token of our ServiceAccount, renewed in
time, or the credential of the given kubeconfig.

The pods keep their credential until a better one is certain; a tenant that does not answer changes nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, assert_never

from dpunetop.domain.clusterconfig.status import report
from dpunetop.domain.clusterconfig.types import CredentialChoice
from dpunetop.domain.credential.account import Account, render_time
from dpunetop.domain.credential.conditions import false, given, good, lacking, powerless, unanswered, unknown
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
    minted_in,
)
from dpunetop.domain.credential.nodeidentity import next_try, told
from dpunetop.domain.names import (
    CREDENTIAL_ANNOTATION,
    CREDENTIAL_FILE_KEY,
    DPU_ACCOUNT,
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
from dpunetop.domain.reasons import CREDENTIALS_VALID
from dpunetop.domain.tenant.kubeconfigmodel import render_with_token_aside, render_with_token_file
from dpunetop.kube.conditions import Condition, condition_of
from dpunetop.kube.keys import INFRA, SECRETS
from dpunetop.kube.meta import is_terminating, new_object
from dpunetop.kube.plan import Apply, Delete, Ownership, Plan, Step

TRY_SECONDS = 300.0
"""Pause between trials of what pods hold, and before the tenant is asked again for what it refused."""

_RETRY_SECONDS = 30.0
_PREPARING_SECONDS = 1.0
_LEAST_SECONDS = 1.0
_TOKEN_PATH = f"{CREDENTIAL_FOLDER}/{CREDENTIAL_FILE_KEY}"


# --- the decision -----------------------------------------------------------------------------------------------------


def plan_credential(view: CredentialView) -> Plan:
    """Bring the Secret that pods mount to the best credential that is certain.

    Guarantees: the place to clean up is recorded before anything is written to the tenant; a minted token reaches the
        pods only after the tenant has accepted it; one that works is never replaced by another kind.
    """
    for name, secret in ((TENANT_KUBECONFIG, view.stored), (TENANT_CREDENTIAL, view.secret)):
        if not view.owner.owns(secret):
            message = f"Secret {name} exists and is not ours; it is left as it is. Remove it first"
            return _say(view, (), false("NotOurs", message), None)
    if view.last_good is None:
        known = condition_of(view.config.live, CREDENTIALS_VALID) or {"status": "True"}
        if known["status"] == "True":
            return Plan()  # it is about to be written, which wakes us; a condition for that moment would be noise
        return _say(view, (), unknown("NoKubeconfig", "no kubeconfig has worked yet"), None)
    if view.secret is not None and is_terminating(view.secret):
        message = f"Secret {TENANT_CREDENTIAL} is being deleted; it is written again once it is gone"
        return _say(view, (), unknown("Terminating", message), None)
    return _decide(view)


def _decide(view: CredentialView) -> Plan:
    match view.finding:
        case NotAsked():
            return _say(view, (_provided(view),), given(view, "Provided", ""), TRY_SECONDS)
        case TokenRefused() as refused:
            return _refused(view, refused)
        case TokenUnanswered() as silence:
            is_given = view.config.tenant_credential is CredentialChoice.PROVIDED
            steps = (_provided(view),) if is_given else _keep(view)
            return _say(view, steps, unanswered(view, silence), _RETRY_SECONDS)
        case Preparing():
            condition = lacking(view, "Progressing", f"ServiceAccount {view.account.name} is being made in the tenant")
            return _say(view, (*_tenant(view), *_keep(view)), condition, _PREPARING_SECONDS)
        case TokenKept():
            return _dpu_status(view)
        case Fresh(minted):
            steps = (_minted(view, minted), *_tenant(view))
            return _say(view, steps, good(view, minted), _pause(minted, view.now))
    assert_never(view.finding)


def _dpu_status(view: CredentialView) -> Plan:
    assert isinstance(view.held, Minted)
    condition = good(view, view.held)
    if view.trial is TokenTrial.POWERLESS:
        condition = false((refusal := powerless(view.account)).reason, refusal.message)
    return _say(view, (*_keep(view), *_tenant(view), *_part(view)), condition, _pause(view.held, view.now))


def _refused(view: CredentialView, refused: TokenRefused) -> Plan:
    """A credential that works stays; with Auto, one that does not is replaced by the given kubeconfig."""
    if view.works() or view.config.tenant_credential is CredentialChoice.MINTED:
        condition = lacking(view, refused.reason, refused.message)
        return _say(view, _keep(view), condition, TRY_SECONDS)
    condition = given(view, refused.reason, refused.message)
    return _say(view, (_provided(view),), condition, TRY_SECONDS)


def _pause(minted: Minted, now: datetime) -> float:
    return max(min(TRY_SECONDS, (minted.renewal - now).total_seconds()), _LEAST_SECONDS)


def _say(view: CredentialView, steps: tuple[Step, ...], condition: Condition, again_seconds: float | None) -> Plan:
    said, again = told(condition, view.identity), next_try(view.identity)
    pause = min((each for each in (again_seconds, again) if each is not None), default=None)
    return Plan((*steps, *report(view.config.live, (said,), view.field_manager)), pause)


# --- the writes -------------------------------------------------------------------------------------------------------


def _keep(view: CredentialView) -> tuple[Step, ...]:
    """The same credential with the current kubeconfig's server, once it is known to work there."""
    match view.held:
        case Minted() as held if view.trial in (TokenTrial.ACCEPTED, TokenTrial.POWERLESS):
            return (_minted(view, held),)
        case Provided():
            return (_provided(view),)
        case _:
            return ()


def _minted(view: CredentialView, minted: Minted) -> Step:
    data = {
        TENANT_CREDENTIAL_KEY: render_with_token_file(view.kubeconfig, _TOKEN_PATH),
        CREDENTIAL_FILE_KEY: minted.token.reveal().encode(),
    }
    marks = {
        MINTED_AT_ANNOTATION: render_time(minted.minted_at),
        EXPIRES_AT_ANNOTATION: render_time(minted.expires_at),
        MINTED_FOR_ANNOTATION: minted.account_uid,
    }
    return _secret(view, data, {"annotations": marks})


def _provided(view: CredentialView) -> Step:
    """A new token restarts no pod: pods read only the kubeconfig itself once, and only its hash is in the DaemonSet."""
    data = {TENANT_CREDENTIAL_KEY: render_with_token_aside(view.kubeconfig, _TOKEN_PATH)}
    if (token := view.kubeconfig.token) is not None:
        data[CREDENTIAL_FILE_KEY] = token.reveal().encode()
    return _secret(view, data, {"annotations": {CREDENTIAL_ANNOTATION: PROVIDED}})


def _secret(view: CredentialView, data: Mapping[str, bytes], metadata: Mapping[str, Any]) -> Step:
    encoded = {key: base64.b64encode(content).decode() for key, content in data.items()}
    desired = new_object(SECRETS, view.config.namespace, TENANT_CREDENTIAL, type="Opaque", data=encoded)
    desired["metadata"].update(metadata)
    marked = view.owner.mark(desired)
    return Apply(INFRA, SECRETS, marked, view.secret, view.field_manager, ownership=Ownership.WHOLE)


def _tenant(view: CredentialView) -> tuple[Step, ...]:
    """First the record of where to clean up, then the account and its bindings."""
    side, stored = view.tenant, view.stored
    assert side is not None
    assert stored is not None
    note = new_object(SECRETS, view.config.namespace, TENANT_KUBECONFIG)
    note["metadata"]["annotations"] = {MINTED_IN_ANNOTATION: _noted({*minted_in(stored), side.account})}
    tenant, misbound = view.config.tenant_cluster, side.misbound()
    applies = (
        Apply(tenant, resource, desired, live, view.field_manager, ownership=Ownership.WHOLE)
        for resource, desired, live in side.objects(view.owner.hash)
        if (resource, live) not in misbound
    )
    # A deleted object is created again once the caches show that it is gone.
    deletes = (Delete(tenant, resource, live) for resource, live in misbound)
    return (Apply(INFRA, SECRETS, note, stored, view.field_manager), *applies, *deletes)


def _noted(accounts: Iterable[Account]) -> str:
    """See `minted_in`."""
    places = (each.namespace if each.name == DPU_ACCOUNT else f"{each.namespace}/{each.name}" for each in accounts)
    return ",".join(sorted(places))


def _part(view: CredentialView) -> Iterator[Step]:
    """No pod has a token of the account of another name any more."""
    if view.trial is TokenTrial.ACCEPTED:
        yield from (Delete(view.config.tenant_cluster, resource, obj) for resource, obj in view.superseded)
