"""What a pass asks a tenant about the admission of the DPU pods: dry runs with their own credential."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dpunetop.base.clock import Clock
from dpunetop.controllers.tenant.answercache import ExpiringCache, Question
from dpunetop.domain.credential.account import WHO_AM_I, access_review, is_allowed
from dpunetop.domain.credential.nodeidentity import (
    PODS_LOOKED_AT,
    STATUS,
    TRIED_HOSTS,
    AdmissionDenied,
    Admitted,
    Attempt,
    Identity,
    Untried,
    denied,
    next_try,
    on_a_pod,
    on_node,
    pods_of,
    shown_user,
    unauthorized,
    unclear,
    without_pod,
)
from dpunetop.domain.tenant.kubeconfig import TenantKubeconfig
from dpunetop.kube.errors import ApiError, Forbidden, Invalid, NotFound, Unreachable
from dpunetop.kube.keys import SELFSUBJECTACCESSREVIEWS, SELFSUBJECTREVIEWS
from dpunetop.kube.shapes import at
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.election.gate import WriteGate

_REMEMBERED_SECONDS = 7 * 24 * 3600.0
_CALL_SECONDS = 5.0
_TALK_SECONDS = 15.0
_ASKED: Question[Identity] = Question("admission")
_LAST: Question[Identity] = Question("last admission")

BuildTenant = Callable[[str, TenantKubeconfig], Cluster]


class IdentityReviewer:
    """Tries what DPU pods write, as a dry run. Threads: one.

    Guarantees: nothing is written, whatever the tenant does; ends in bounded time. A tenant that does not answer leaves
        what it said last as it is.
    """

    def __init__(
        self,
        cluster: str,
        build_tenant: BuildTenant,
        answers: ExpiringCache,
        clock: Clock,
        gate: WriteGate,
        field_manager: str,
    ) -> None:
        self._cluster = cluster
        self._build_tenant = build_tenant
        self._answers = answers
        self._clock = clock
        self._gate = gate
        self._manager = field_manager
        self._deadline = clock.monotonic() + _TALK_SECONDS

    def ask(self, who: TenantKubeconfig, about: object, user: str, hosts: Sequence[str]) -> Identity:
        """What the tenant says to `who`, now or a while ago; `about` tells one credential from another, `user` is its
        name as far as it is known."""
        tried = tuple(sorted(hosts)[:TRIED_HOSTS])
        known = self._answers.get(self._cluster, _ASKED, (about, tried))
        if known is not None:
            return known
        found = self._tried(who, user, tried)
        if found is None:
            found = self._answers.get(self._cluster, _LAST, about) or Untried(
                "whether the DPU pods may write what they must is not known: no answer"
            )
        else:
            self._answers.put(self._cluster, _LAST, about, found, _REMEMBERED_SECONDS)
        self._answers.put(self._cluster, _ASKED, (about, tried), found, next_try(found) or 0.0)
        return found

    def _tried(self, who: TenantKubeconfig, user: str, hosts: Sequence[str]) -> Identity | None:
        """None: the tenant does not answer."""
        candidate = self._build_tenant(self._cluster, who)
        try:
            answers = (self._on(candidate.client, user, host) for host in hosts)
            return next((answer for answer in answers if not isinstance(answer, Admitted)), Admitted())
        except Unreachable:
            return None
        except ApiError as err:
            return Untried(f"whether the DPU pods may write what they must is not known: the tenant answers {err.code}")
        finally:
            candidate.stop.set()

    def _on(self, client: Client, user: str, host: str) -> Identity:
        found = self._try(client, user, on_node(host))
        if not isinstance(found, Admitted):
            return found
        pods = client.some(pods_of(host), PODS_LOOKED_AT, timeout_seconds=self._left())
        attempt = on_a_pod(host, pods)
        return without_pod(host) if attempt is None else self._try(client, user, attempt)

    def _try(self, client: Client, user: str, attempt: Attempt) -> Identity:
        at_what = (attempt.resource, attempt.namespace, attempt.name, STATUS)
        try:
            client.dry_run(*at_what, attempt.patch, self._manager, timeout_seconds=self._left())
        except Unreachable:
            raise
        except (Forbidden, Invalid) as err:
            return self._refused(client, user, attempt, err)
        except ApiError as err:
            return unclear(attempt, err)
        return Admitted()

    def _refused(self, client: Client, user: str, attempt: Attempt, err: ApiError) -> AdmissionDenied:
        """Admission and RBAC answer with the same code; RBAC can be asked."""
        name = user or self._whoever(client)
        review = client.create(SELFSUBJECTACCESSREVIEWS, "", access_review(attempt.right), timeout_seconds=self._left())
        return denied(attempt, name, err) if is_allowed(review) else unauthorized(attempt, name)

    def _whoever(self, client: Client) -> str:
        """Kubernetes before 1.28 does not have this review."""
        try:
            answer: Any = client.create(SELFSUBJECTREVIEWS, "", WHO_AM_I, timeout_seconds=self._left())
        except (Forbidden, NotFound):
            return ""
        return shown_user(at(answer, "status", "userInfo", "username"))

    def _left(self) -> float:
        left = self._deadline - self._clock.monotonic()
        if left <= 0:
            raise Unreachable(0, "Timeout", f"the tenant has not answered everything in {_TALK_SECONDS:g} s")
        return min(left, _CALL_SECONDS, self._gate.seconds_left())
