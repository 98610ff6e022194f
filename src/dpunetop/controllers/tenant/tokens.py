"""What a pass asks a tenant about the credential of the DPU pods: rights, tokens, and what a token is good for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar, assert_never

from dpunetop.base.clock import Clock
from dpunetop.base.quoting import quoted
from dpunetop.controllers.tenant.answercache import ExpiringCache, Question
from dpunetop.domain.credential.account import (
    RIGHTS_OF_PODS,
    TOKEN_REQUEST,
    WHO_AM_I,
    Account,
    Right,
    TenantSide,
    access_review,
    is_allowed,
    named,
    rights_to_mint,
)
from dpunetop.domain.credential.plan import (
    TRY_SECONDS,
    Finding,
    Fresh,
    Held,
    Minted,
    Preparing,
    TokenKept,
    TokenRefused,
    TokenTrial,
    TokenUnanswered,
    as_dpu,
    parse_minted,
    powerless,
)
from dpunetop.domain.names import DPU_ROLE
from dpunetop.domain.tenant.kubeconfig import TenantKubeconfig, fingerprint
from dpunetop.kube.errors import ApiError, Forbidden, Invalid, NotFound, Unauthorized, Unreachable
from dpunetop.kube.keys import CLUSTERROLES, SELFSUBJECTACCESSREVIEWS, SELFSUBJECTREVIEWS, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.election.gate import WriteGate

_CALL_SECONDS = 5.0
_TALK_SECONDS = 15.0
_REUSE_SECONDS = 60.0
_FRESH_SECONDS = 10.0
"""A tenant may take this long until new bindings have an effect."""

_TRIAL: Question[TokenTrial] = Question("trial")
"""Of the token that pods hold."""
_PROVIDED: Question[TokenTrial] = Question("provided")
"""Of the given kubeconfig."""
_MINTING: Question[Fresh | TokenRefused] = Question("minting")
_BINDINGS_MADE: Question[bool] = Question("bindings made")
"""Whether bindings were made a moment ago, by which the tenant may not act yet."""
_WRITES: Question[TokenRefused] = Question("writes")
"""Whether the tenant has refused a write that it had said it allows."""


def _may(right: Right) -> Question[bool]:
    return Question(f"may {right}")


T = TypeVar("T")

BuildTenant = Callable[[str, TenantKubeconfig], Cluster]
"""Makes the Cluster of that name, not yet running, behind that kubeconfig."""


def write_refused(answers: ExpiringCache, cluster: str, err: ApiError) -> None:
    """Remember that a tenant refuses a write that its access review allows: the review no longer counts."""
    message = f"the tenant answers {err.code} to our ServiceAccount or one of its bindings"
    answers.put(cluster, _WRITES, "", TokenRefused("MintingForbidden", message), TRY_SECONDS)


class TokenRequester:
    """What one pass asks one tenant. Threads: one.

    Guarantees: ends in bounded time, whatever the tenant does; of what it says, only codes are passed on; each request
        asks the write gate, so no token is minted once leadership is lost.
    Raises, all of it: LeadershipLost.
    """

    def __init__(
        self,
        client: Client,
        build_tenant: BuildTenant,
        answers: ExpiringCache,
        clock: Clock,
        gate: WriteGate,
        kubeconfig: TenantKubeconfig,
        namespace: str,
        who: Account,
    ) -> None:
        self._client = client
        self._build_tenant = build_tenant
        self._answers = answers
        self._clock = clock
        self._gate = gate
        self._kubeconfig = kubeconfig
        self._namespace = namespace
        self._who = who
        self._about = (fingerprint(kubeconfig), namespace, who)
        self._deadline = clock.monotonic() + _TALK_SECONDS
        self.is_silent = False  # whether the review got no answer: then nothing else will

    def review(self) -> TokenRefused | TokenUnanswered | None:
        """Whether the given kubeconfig has what minting takes; None: it has.

        Guarantees: comes to an end however slow the tenant is: each pass goes on where the last one ran out of time.
        """
        try:
            lacking = tuple(right for right in rights_to_mint(self._namespace, self._who) if not self._may(right))
        except Forbidden:
            return TokenRefused("MintingForbidden", "the given kubeconfig may not even ask what it may do")
        except ApiError as err:
            self.is_silent = not err.code
            return _unanswered(err)
        if lacking:
            return TokenRefused("MintingForbidden", f"the given kubeconfig may not {named(lacking)}")
        return None

    def trial(self, held: Held, side: TenantSide | None) -> TokenTrial:
        """What the tenant says to the token that pods hold, now or a few minutes ago."""
        if not isinstance(held, Minted):
            return TokenTrial.UNTRIED
        if side is not None and side.account_uid != held.account_uid:
            return TokenTrial.REJECTED  # asked, the tenant might still say yes for some seconds
        about = (*self._about, held.token)
        known = self._get(_TRIAL, about)
        if known is not None:
            return known
        try:
            trial = self._try(as_dpu(self._kubeconfig, held))
        except ApiError:
            return TokenTrial.UNTRIED
        self._put(_TRIAL, about, trial, TRY_SECONDS)
        return trial

    def provided(self) -> TokenTrial:
        """What the tenant says to the given kubeconfig itself, now or a few minutes ago."""
        known = self._get(_PROVIDED, self._about)
        if known is not None:
            return known
        try:
            trial = self._try(self._kubeconfig)
        except ApiError:
            return TokenTrial.UNTRIED
        self._put(_PROVIDED, self._about, trial, TRY_SECONDS)
        return trial

    def minting(self, held: Held, trial: TokenTrial, side: TenantSide, owner_hash: str) -> Finding:
        """What is to be done about a minted token, with a new one if that is what it takes."""
        if stranger := side.stranger(owner_hash):
            return TokenRefused("NotOurs", stranger)
        if not side.is_complete():
            self._put(_BINDINGS_MADE, self._about, value=True, seconds=_FRESH_SECONDS)
            return self._get(_WRITES, "") or Preparing()
        if isinstance(held, Minted) and not held.is_due(self._clock.now()) and trial is not TokenTrial.REJECTED:
            silent = trial is TokenTrial.UNTRIED
            return (
                TokenUnanswered("NotTried", "the tenant could not be asked about the token") if silent else TokenKept()
            )
        return self._new(held, side)

    def _new(self, held: Held, side: TenantSide) -> Finding:
        """A new token, or why there is none, now or a moment ago."""
        about = (*self._about, side.account_uid, held if isinstance(held, Minted) else None)
        known = self._get(_MINTING, about)
        if known is not None:
            return known
        found = self._mint(side)
        match found:
            case Fresh(minted):
                # Our own write, until the cache shows it: a pass in between must not mint once more.
                self._put(_MINTING, about, found, _REUSE_SECONDS)
                self._put(_TRIAL, (*self._about, minted.token), TokenTrial.ACCEPTED, TRY_SECONDS)
            case TokenRefused():
                self._put(_MINTING, about, found, TRY_SECONDS)
        return found

    def _mint(self, side: TenantSide) -> Finding:
        try:
            minted = self._request(side.account_uid)
        except (Forbidden, Invalid):
            return TokenRefused("MintingForbidden", f"the tenant gives no token of ServiceAccount {self._who.name}")
        except NotFound:
            return Preparing()
        except ApiError as err:
            return _unanswered(err)
        return minted if isinstance(minted, TokenUnanswered) else self._judge(minted)

    def _request(self, account_uid: str) -> Minted | TokenUnanswered:
        now, name = self._clock.now(), self._who.name
        return parse_minted(
            self._client.create_sub(
                SERVICEACCOUNTS, self._namespace, name, "token", TOKEN_REQUEST, timeout_seconds=self._left()
            ),
            now,
            account_uid,
        )

    def _judge(self, minted: Minted) -> Finding:
        try:
            trial = self._try(as_dpu(self._kubeconfig, minted))
        except ApiError as err:
            return _unanswered(err)
        match trial:
            case TokenTrial.ACCEPTED:
                return Fresh(minted)
            case TokenTrial.POWERLESS:
                return Preparing() if self._may_get_power() else powerless(self._who)
            case TokenTrial.REJECTED | TokenTrial.UNTRIED:
                return TokenUnanswered(
                    "TokenNotAccepted", "the tenant does not accept the token that it has just given"
                )
        assert_never(trial)

    def _may_get_power(self) -> bool:
        """Whether it takes the tenant only a moment to act by the bindings that it has shown: not where the role that
        they name is known to be absent. Without the right to read the role it is unknown."""
        if not self._get(_BINDINGS_MADE, self._about):
            return False
        try:
            self._client.get(CLUSTERROLES, "", DPU_ROLE, self._left())
        except NotFound:
            return False
        except ApiError:
            return True
        return True

    def _try(self, kubeconfig: TenantKubeconfig) -> TokenTrial:
        """Ask with the credential itself. Raises: ApiError, when nothing can be said."""
        candidate = self._build_tenant(self._client.name, kubeconfig)
        try:
            self._introduce(candidate.client)
            able = all(is_allowed(self._ask(candidate.client, access_review(right))) for right in RIGHTS_OF_PODS)
            return TokenTrial.ACCEPTED if able else TokenTrial.POWERLESS
        except Unauthorized:
            return TokenTrial.REJECTED
        finally:
            candidate.stop.set()

    def _introduce(self, client: Client) -> None:
        # Kubernetes before 1.28 does not have this review; whom it does not know it tells 401 all the same.
        with suppress(Forbidden, NotFound):
            client.create(SELFSUBJECTREVIEWS, "", WHO_AM_I, timeout_seconds=self._left())

    def _may(self, right: Right) -> bool:
        question = _may(right)
        known = self._get(question, self._about)
        if known is None:
            known = is_allowed(self._ask(self._client, access_review(right)))
            self._put(question, self._about, known, TRY_SECONDS)
        return known

    def _ask(self, client: Client, review: Obj) -> Mapping[str, Any]:
        return client.create(SELFSUBJECTACCESSREVIEWS, "", review, timeout_seconds=self._left())

    def _left(self) -> float:
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise Unreachable(0, "Timeout", f"the tenant has not answered everything in {_TALK_SECONDS:g} s")
        return min(left, _CALL_SECONDS, self._gate.seconds_left())

    def _get(self, question: Question[T], about: object) -> T | None:
        return self._answers.get(self._client.name, question, about)

    def _put(self, question: Question[T], about: object, value: T, seconds: float) -> None:
        self._answers.put(self._client.name, question, about, value, seconds)


def _unanswered(err: ApiError) -> TokenUnanswered:
    says = f"the tenant answers {err.code}" if err.code else "the tenant does not answer"
    return TokenUnanswered("TenantUnanswered", f"{says}: {quoted(err.reason)}")
