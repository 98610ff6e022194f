"""Requests to a tenant about the credential of the DPU pods: access reviews, TokenRequests, and trials of tokens."""

from __future__ import annotations

from typing import assert_never

from dpunetop.base.quoting import quoted
from dpunetop.controllers.tenant.answercache import ExpiringCache, Question
from dpunetop.controllers.tenant.calls import TenantCalls
from dpunetop.domain.credential.account import (
    RIGHTS_OF_PODS,
    TOKEN_REQUEST,
    Right,
    TenantSide,
    named,
    rights_to_mint,
)
from dpunetop.domain.credential.conditions import powerless
from dpunetop.domain.credential.facts import (
    CredentialView,
    Finding,
    Fresh,
    Minted,
    Preparing,
    TokenKept,
    TokenRefused,
    TokenTrial,
    TokenUnanswered,
    as_dpu,
    parse_minted,
)
from dpunetop.domain.credential.plan import TRY_SECONDS
from dpunetop.domain.names import DPU_ROLE
from dpunetop.domain.tenant.credentialend import end_of_own
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig, fingerprint
from dpunetop.kube.errors import ApiError, Forbidden, Invalid, NotFound, Unauthorized
from dpunetop.kube.keys import CLUSTERROLES, SERVICEACCOUNTS
from dpunetop.runtime.client.client import Client

_REUSE_SECONDS = 60.0
_FRESH_SECONDS = 10.0
"""How long a tenant may take until new bindings have an effect."""

_TRIAL: Question[TokenTrial] = Question("trial")
"""The trial of the pods' token."""
_PROVIDED: Question[TokenTrial] = Question("provided")
"""The trial of the given kubeconfig."""
_MINTING: Question[Fresh | TokenRefused] = Question("minting")
_BINDINGS_MADE: Question[bool] = Question("bindings made")
"""Whether bindings are so new that they may have no effect yet."""
_WRITES: Question[TokenRefused] = Question("writes")
"""A write that the tenant refused although its access review allowed it."""


def _may(right: Right) -> Question[bool]:
    return Question(f"may {right}")


def write_refused(answers: ExpiringCache, err: ApiError) -> None:
    """Remember that a tenant refuses a write that its access review allows: the review no longer counts."""
    message = f"the tenant answers {err.code} to our ServiceAccount or one of its bindings"
    answers.put(_WRITES, "", TokenRefused("MintingForbidden", message), TRY_SECONDS)


class TokenRequester:
    """The requests of one pass to one tenant. Threads: one.

    Guarantees: as `TenantCalls`, so that no token is minted once leadership is lost; only codes of its answers are
        passed on.
    Raises: LeadershipLost, every method.
    """

    def __init__(self, calls: TenantCalls, client: Client, view: CredentialView) -> None:
        self._calls = calls
        self._answers = calls.answers
        self._client = client
        self._view = view
        self._about = (fingerprint(view.kubeconfig), view.account)
        self.is_silent = False  # whether the review got no answer: then no other request will

    def review(self) -> TokenRefused | TokenUnanswered | None:
        """Why the given kubeconfig may not mint; None: it may.

        Guarantees: completes however slow the tenant is: each pass goes on where the last one ran out of time.
        """
        try:
            lacking = tuple(right for right in rights_to_mint(self._view.account) if not self._may(right))
        except Forbidden:
            return TokenRefused("MintingForbidden", "the given kubeconfig may not even ask what it may do")
        except ApiError as err:
            self.is_silent = not err.code
            return _unanswered(err)
        if lacking:
            return TokenRefused("MintingForbidden", f"the given kubeconfig may not {named(lacking)}")
        return None

    def trial(self, side: TenantSide | None) -> TokenTrial:
        """The tenant's answer to the pods' token, new or a few minutes old."""
        held = self._view.held
        if not isinstance(held, Minted):
            return TokenTrial.UNTRIED
        if side is not None and side.account_uid != held.account_uid:
            return TokenTrial.REJECTED  # the tenant might still accept it for some seconds
        return self._tried(_TRIAL, (*self._about, held.token), as_dpu(self._view.kubeconfig, held))

    def provided(self) -> TokenTrial:
        """The tenant's answer to the given kubeconfig itself, new or a few minutes old; one of before its end does not
        count after it."""
        end = None if self._view.kubeconfig is None else end_of_own(self._view.kubeconfig)
        is_over = end is not None and end.at <= self._view.now
        return self._tried(_PROVIDED, (*self._about, is_over), self._view.kubeconfig)

    def minting(self, trial: TokenTrial, side: TenantSide) -> Finding:
        """The finding about the minted token, with a new one if that is due."""
        held = self._view.held
        if stranger := side.stranger(self._view.owner.hash):
            return TokenRefused("NotOurs", stranger)
        if not side.is_complete():
            self._answers.put(_BINDINGS_MADE, self._about, value=True, seconds=_FRESH_SECONDS)
            return self._answers.get(_WRITES, "") or Preparing()
        if isinstance(held, Minted) and not held.is_due(self._calls.clock.now()) and trial is not TokenTrial.REJECTED:
            silent = trial is TokenTrial.UNTRIED
            return (
                TokenUnanswered("NotTried", "the tenant could not be asked about the token") if silent else TokenKept()
            )
        return self._new(side)

    def _new(self, side: TenantSide) -> Finding:
        """A new token, or why there is none; either may be a cached answer."""
        held = self._view.held
        about = (*self._about, side.account_uid, held if isinstance(held, Minted) else None)
        known = self._answers.get(_MINTING, about)
        if known is not None:
            return known
        found = self._mint(side)
        match found:
            case Fresh(minted):
                # Our own write, until the cache shows it: a pass in between must not mint again.
                self._answers.put(_MINTING, about, found, _REUSE_SECONDS)
                self._answers.put(_TRIAL, (*self._about, minted.token), TokenTrial.ACCEPTED, TRY_SECONDS)
            case TokenRefused():
                self._answers.put(_MINTING, about, found, TRY_SECONDS)
        return found

    def _mint(self, side: TenantSide) -> Finding:
        try:
            minted = self._request(side.account_uid)
        except (Forbidden, Invalid):
            return TokenRefused(
                "MintingForbidden", f"the tenant gives no token of ServiceAccount {self._view.account.name}"
            )
        except NotFound:
            return Preparing()
        except ApiError as err:
            return _unanswered(err)
        return minted if isinstance(minted, TokenUnanswered) else self._judge(minted)

    def _request(self, account_uid: str) -> Minted | TokenUnanswered:
        now, place = self._calls.clock.now(), (SERVICEACCOUNTS, self._view.account.namespace, self._view.account.name)
        answer = self._client.create_sub(*place, "token", TOKEN_REQUEST, timeout_seconds=self._calls.left())
        return parse_minted(answer, now, account_uid)

    def _judge(self, minted: Minted) -> Finding:
        try:
            trial = self._try(as_dpu(self._view.kubeconfig, minted))
        except ApiError as err:
            return _unanswered(err)
        match trial:
            case TokenTrial.ACCEPTED:
                return Fresh(minted)
            case TokenTrial.POWERLESS:
                return Preparing() if self._may_get_power() else powerless(self._view.account)
            case TokenTrial.REJECTED | TokenTrial.UNTRIED:
                return TokenUnanswered(
                    "TokenNotAccepted", "the tenant does not accept the token that it has just given"
                )
        assert_never(trial)

    def _may_get_power(self) -> bool:
        """Whether new bindings may only need time to have an effect; False if the role that they name is known to be
        absent. Without the right to read the role that is unknown."""
        if not self._answers.get(_BINDINGS_MADE, self._about):
            return False
        try:
            self._client.get(CLUSTERROLES, "", DPU_ROLE, self._calls.left())
        except NotFound:
            return False
        except ApiError:
            return True
        return True

    def _tried(self, question: Question[TokenTrial], about: object, kubeconfig: TenantKubeconfig) -> TokenTrial:
        try:
            return self._answers.cached(question, about, lambda: self._try(kubeconfig), TRY_SECONDS)
        except ApiError:
            return TokenTrial.UNTRIED

    def _try(self, kubeconfig: TenantKubeconfig) -> TokenTrial:
        """Ask with the credential itself. Raises: ApiError, if there is no clear answer."""
        with self._calls.client_of(kubeconfig) as client:
            try:
                self._calls.user(client)
                able = all(self._calls.allows(client, right) for right in RIGHTS_OF_PODS)
            except Unauthorized:
                return TokenTrial.REJECTED
        return TokenTrial.ACCEPTED if able else TokenTrial.POWERLESS

    def _may(self, right: Right) -> bool:
        return self._answers.cached(
            _may(right), self._about, lambda: self._calls.allows(self._client, right), TRY_SECONDS
        )


def _unanswered(err: ApiError) -> TokenUnanswered:
    says = f"the tenant answers {err.code}" if err.code else "the tenant does not answer"
    return TokenUnanswered("TenantUnanswered", f"{says}: {quoted(err.reason)}")
