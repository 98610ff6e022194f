"""Requests to a tenant, with the credential of a kubeconfig or of its DPU pods: bounded in time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dpunetop.base.clock import Clock
from dpunetop.controllers.tenant.answercache import ExpiringCache
from dpunetop.controllers.tenant.routes import BuildTenant
from dpunetop.domain.credential.account import WHO_AM_I, Right, access_review, is_allowed
from dpunetop.domain.credential.nodeidentity import shown_user
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig
from dpunetop.kube.errors import Forbidden, NotFound, Unreachable
from dpunetop.kube.keys import SELFSUBJECTACCESSREVIEWS, SELFSUBJECTREVIEWS
from dpunetop.kube.shapes import at
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.election.gate import WriteGate

_CALL_SECONDS = 5.0
_ALL_SECONDS = 15.0


class TenantCalls:
    """The requests of one pass to one tenant about one subject. Threads: one.

    Guarantees: all of them together end in bounded time, whatever the tenant does; each asks the write gate, so that
        nothing is sent once leadership is lost.
    Raises: Unreachable, once the time is over; LeadershipLost; ApiError, as the tenant answers.
    """

    def __init__(
        self, cluster: str, build_tenant: BuildTenant, answers: ExpiringCache, clock: Clock, gate: WriteGate
    ) -> None:
        self._cluster = cluster
        self._build_tenant = build_tenant
        self.answers = answers
        self.clock = clock
        self._gate = gate
        self._deadline = clock.monotonic() + _ALL_SECONDS

    def left(self) -> float:
        """The most seconds that the next request may take."""
        left = self._deadline - self.clock.monotonic()
        if left <= 0:
            raise Unreachable(0, "Timeout", f"the tenant has not answered everything in {_ALL_SECONDS:g} s")
        return min(left, _CALL_SECONDS, self._gate.seconds_left())

    @contextmanager
    def client_of(self, kubeconfig: TenantKubeconfig) -> Iterator[Client]:
        """A client with this credential, for a few requests. Raises: ConfigurationError."""
        cluster = self._build_tenant(self._cluster, kubeconfig).cluster
        try:
            yield cluster.client
        finally:
            cluster.stop.set()

    def allows(self, client: Client, right: Right) -> bool:
        """Whether the user of `client` has the right; anything but a clear yes is a no."""
        review = access_review(right)
        return is_allowed(client.create(SELFSUBJECTACCESSREVIEWS, "", review, timeout_seconds=self.left()))

    def user(self, client: Client) -> str:
        """The user of `client`; empty: unknown, as Kubernetes before 1.28 does not have this review. A credential that
        is not accepted is Unauthorized there too."""
        try:
            answer: Any = client.create(SELFSUBJECTREVIEWS, "", WHO_AM_I, timeout_seconds=self.left())
        except (Forbidden, NotFound):
            return ""
        return shown_user(at(answer, "status", "userInfo", "username"))
