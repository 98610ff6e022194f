"""Dry runs in a tenant, with the credential of the DPU pods, that show whether admission accepts their writes."""

from __future__ import annotations

from collections.abc import Sequence

from dpunetop.controllers.tenant.answercache import Question
from dpunetop.controllers.tenant.calls import TenantCalls
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
    unauthorized,
    unclear,
    without_pod,
)
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig
from dpunetop.kube.errors import ApiError, Forbidden, Invalid, Unreachable
from dpunetop.runtime.client.client import Client

_REMEMBERED_SECONDS = 7 * 24 * 3600.0
_ASKED: Question[Identity] = Question("admission")
_LAST: Question[Identity] = Question("last admission")


class IdentityReviewer:
    """Tries the writes of DPU pods in dry runs. Threads: one.

    Guarantees: nothing is written, whatever the tenant does; ends in bounded time. If a tenant does not answer, its
        last answer stays.
    """

    def __init__(self, calls: TenantCalls, field_manager: str, who: TenantKubeconfig, user: str) -> None:
        """`who` is the credential of the pods, `user` its name if that is known."""
        self._calls = calls
        self._answers = calls.answers
        self._manager = field_manager
        self._who = who
        self._user = user

    def ask(self, about: object, hosts: Sequence[str]) -> Identity:
        """The tenant's answer, new or cached; `about` identifies the credential."""
        tried = tuple(sorted(hosts)[:TRIED_HOSTS])
        known = self._answers.get(_ASKED, (about, tried))
        if known is not None:
            return known
        found = self._tried(tried)
        if found is None:
            found = self._answers.get(_LAST, about) or Untried(
                "whether the DPU pods may write what they must is not known: no answer"
            )
        else:
            self._answers.put(_LAST, about, found, _REMEMBERED_SECONDS)
        self._answers.put(_ASKED, (about, tried), found, next_try(found) or 0.0)
        return found

    def _tried(self, hosts: Sequence[str]) -> Identity | None:
        """None: the tenant does not answer."""
        try:
            with self._calls.client_of(self._who) as client:
                answers = (self._on(client, host) for host in hosts)
                return next((answer for answer in answers if not isinstance(answer, Admitted)), Admitted())
        except Unreachable:
            return None
        except ApiError as err:
            return Untried(f"whether the DPU pods may write what they must is not known: the tenant answers {err.code}")

    def _on(self, client: Client, host: str) -> Identity:
        found = self._try(client, on_node(host))
        if not isinstance(found, Admitted):
            return found
        pods = client.some(pods_of(host), PODS_LOOKED_AT, timeout_seconds=self._calls.left())
        attempt = on_a_pod(host, pods)
        return without_pod(host) if attempt is None else self._try(client, attempt)

    def _try(self, client: Client, attempt: Attempt) -> Identity:
        at_what = (attempt.resource, attempt.namespace, attempt.name, STATUS)
        try:
            client.dry_run(*at_what, attempt.patch, self._manager, timeout_seconds=self._calls.left())
        except Unreachable:
            raise
        except (Forbidden, Invalid) as err:
            return self._refused(client, attempt, err)
        except ApiError as err:
            return unclear(attempt, err)
        return Admitted()

    def _refused(self, client: Client, attempt: Attempt, err: ApiError) -> AdmissionDenied:
        """Admission and RBAC refuse with the same code; an access review tells which it was."""
        name = self._user or self._calls.user(client)
        return denied(attempt, name, err) if self._calls.allows(client, attempt.right) else unauthorized(attempt, name)
