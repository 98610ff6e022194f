"""`DpuCredentialValid`: the condition for each credential that the DPU pods hold, or lack."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import assert_never

from dpunetop.domain.clusterconfig.status import CREDENTIAL_EXPIRES_SOON, CREDENTIAL_SHORT_LIVED
from dpunetop.domain.credential.account import (
    RIGHTS_OF_PODS,
    Account,
    named,
    render_time,
)
from dpunetop.domain.credential.facts import CredentialView, Minted, Provided, TokenRefused, TokenTrial, TokenUnanswered
from dpunetop.domain.names import (
    DPU_ROLE,
    TENANT_CREDENTIAL,
)
from dpunetop.domain.reasons import DPU_CREDENTIAL_VALID
from dpunetop.domain.tenant.credentialend import End, end_of, end_of_own, why_refused
from dpunetop.kube.conditions import Condition

SLACK = timedelta(hours=72)
"""How long the operator may be down before a host loses its network."""


def powerless(account: Account) -> TokenRefused:
    """The refusal for a minted token whose bindings do not give the rights that pods need."""
    lacking = f"ServiceAccount {account.name} lacks permissions in the tenant; it needs {named(RIGHTS_OF_PODS)}"
    advice = f"check that ClusterRole {DPU_ROLE} exists there, else apply deploy/tenant-rights.yaml in the tenant again"
    return TokenRefused("MintedWithoutRights", f"{lacking}; {advice}")


def good(view: CredentialView, minted: Minted) -> Condition:
    """The condition for a minted token that the tenant accepts."""
    token = f"the token of ServiceAccount {view.account.name} in Secret {TENANT_CREDENTIAL}"
    until = f"{token} is good until {render_time(minted.expires_at)}"
    if minted.slack(view.now) >= SLACK:
        return Condition(DPU_CREDENTIAL_VALID, "True", "Minted", until)
    message = f"{until}: an operator that is down for {SLACK // timedelta(hours=1)} hours costs hosts their network"
    return Condition(DPU_CREDENTIAL_VALID, "True", CREDENTIAL_SHORT_LIVED, message)


def given(view: CredentialView, reason: str, message: str) -> Condition:
    """The condition for the given kubeconfig, which we cannot renew."""
    end, secret = end_of(view.kubeconfig), f"Secret {view.config.kubeconfig_secret}"
    words = f"{message}; the pods use" if message else "the pods use"
    words = f"{words} the given kubeconfig of {secret} itself"
    if view.trial is TokenTrial.REJECTED and not isinstance(view.held, Minted):  # else the trial is of that token
        return _rejected(view, words, secret)
    if end is None:
        return Condition(DPU_CREDENTIAL_VALID, "True", reason, f"{words}, which does not say until when it is good")
    if view.now >= end.at:
        return _overdue(view, end, words, secret)
    if view.now >= end.warn_from:
        said = f"{words}, which ends soon, at {end.text}; put a new one into {secret} before"
        return Condition(DPU_CREDENTIAL_VALID, "True", CREDENTIAL_EXPIRES_SOON, said)
    return Condition(DPU_CREDENTIAL_VALID, "True", reason, f"{words}, which is good until {end.text}")


def _overdue(view: CredentialView, end: End, words: str, secret: str) -> Condition:
    """By the operator's clock it has ended. A tenant that still accepts it knows better."""
    if end.of or view.trial is not TokenTrial.ACCEPTED or isinstance(view.held, Minted):
        return false("Expired", f"{words}, which ended at {end.text}; put a new one into {secret}")
    said = f"{words}, which ended at {end.text} by the operator's clock, and the tenant still accepts it"
    advice = f"put a new one into {secret}, and compare the clocks of both sides"
    return Condition(DPU_CREDENTIAL_VALID, "True", CREDENTIAL_EXPIRES_SOON, f"{said}; {advice}")


def _rejected(view: CredentialView, words: str, secret: str) -> Condition:
    """The condition for a given kubeconfig that the tenant rejects, with why, as far as it says itself."""
    own = None if view.kubeconfig is None else end_of_own(view.kubeconfig)
    reason = "Expired" if own is not None and own.at <= view.now else "Revoked"
    why = why_refused("its credential", own, view.now)
    return false(reason, f"{words}, which the tenant rejects: {why}; put a good one into {secret}")


def lacking(view: CredentialView, reason: str, message: str) -> Condition:
    """The condition while pods have another credential than the one that is wanted."""
    match view.held:
        case Minted() as held if view.works():
            kept = f"the pods keep their token, which is good until {render_time(held.expires_at)}"
            return false(reason, f"{message}; {kept}")
        case Minted() if view.trial is TokenTrial.REJECTED:
            return false("Revoked", f"the tenant rejects the token of the pods, and there is no new one: {message}")
        case Minted() as held:
            ended = f"the token of the pods ended at {render_time(held.expires_at)}"
            return false("Expired", f"{ended}, and there is no new one: {message}")
        case Provided():
            return false(reason, f"{message}; the pods keep the given kubeconfig itself")
        case None:
            return false(reason, message)
    assert_never(view.held)


def unanswered(view: CredentialView, silence: TokenUnanswered) -> Condition:
    """The condition while the tenant does not answer."""
    held = view.held
    if isinstance(held, Minted) and not view.works():
        return lacking(view, silence.reason, silence.message)
    if isinstance(held, Minted) and view.trial is TokenTrial.ACCEPTED:
        minted = good(view, held)
        return replace(minted, message=f"{minted.message}; a new one could not be had yet: {silence.message}")
    kept = "; the pods keep what they have" if held is not None else ""
    return unknown(silence.reason, f"{silence.message}{kept}")


def false(reason: str, message: str) -> Condition:
    """`DpuCredentialValid` False."""
    return Condition(DPU_CREDENTIAL_VALID, "False", reason, message)


def unknown(reason: str, message: str) -> Condition:
    """`DpuCredentialValid` Unknown."""
    return Condition(DPU_CREDENTIAL_VALID, "Unknown", reason, message)
