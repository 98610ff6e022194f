"""The connection to one tenant: which Cluster is engaged for it, and what this process remembers of its answers."""

from __future__ import annotations

from dataclasses import replace

import structlog

from dpunetop.base.clock import Clock
from dpunetop.controllers.reconciler import probed
from dpunetop.controllers.tenant.routes import BuildTenant, Candidate, TenantRoute, TenantRoutes
from dpunetop.domain.names import KUBE_SYSTEM
from dpunetop.domain.reasons import reason_of, server_reason
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig, fingerprint
from dpunetop.domain.tenant.link import (
    Attempt,
    Linked,
    LinkView,
    TenantDenied,
    TenantUnanswered,
    Unlinked,
    WrongCluster,
    identity_problem,
    root_print,
    told,
)
from dpunetop.domain.tenant.visibility import Answer
from dpunetop.kube.errors import ApiError, Forbidden, Unauthorized
from dpunetop.kube.keys import NAMESPACES
from dpunetop.kube.meta import uid_of
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

_VERIFY_SECONDS = 5.0
_TOLD_AGAIN_SECONDS = 600.0
"""The log repeats that a tenant cannot be reached, for the same reason, only after this time."""
_DOUBT_SECONDS = 30.0
"""A server that answers as another cluster twice within this time is then not used for this time."""


class TenantConnection:
    """The Cluster of one tenant, engaged only after it has answered and proved to be that tenant.

    Guarantees: at most one Cluster lives; a new one replaces it only once it is verified.
    Threads: one at a time, see `Controller`.
    """

    def __init__(
        self, name: str, clusters: Clusters, build_tenant: BuildTenant, clock: Clock, routes: TenantRoutes
    ) -> None:
        self._name = name
        self._clusters = clusters
        self._build_tenant = build_tenant
        self._clock = clock
        self._routes = routes
        self._log = structlog.get_logger().bind(controller="tenantlink")
        self._linked: Linked | None = None  # as the engaged Cluster was verified
        self._changed_at: float | None = None  # when it last answered as another cluster; all times are monotonic
        self._doubted = ""  # fingerprint of a kubeconfig whose server answers with changing identities
        self._doubted_until = 0.0
        self._unreached = ""  # the reason that was logged last
        self._quiet_until = 0.0

    @property
    def route(self) -> TenantRoute:
        """The route in use; see `TenantRoutes.in_use`."""
        return self._routes.in_use(self._name)

    def in_use(self) -> Linked | None:
        """The link of the engaged Cluster; None: there is none."""
        cluster = self._clusters.get(self._name)
        if cluster is None or self._linked is None:
            return None
        probe = probed(cluster)
        is_silent = probe is not None and probe.answer is Answer.NONE
        silent = f"{probe.reason}: {probe.message}" if probe and is_silent else None
        return replace(self._linked, silent=silent, serving=cluster.client.serving)

    def check_identity(self, reader: Reader) -> None:
        """Disengage a cluster that is not the verified one. The read also subscribes the key to changes of its
        health."""
        try:
            kube_system = reader.one(self._name, NAMESPACES, "", KUBE_SYSTEM)
        except (NotEngaged, NotSynced):
            return
        linked = self._linked
        if kube_system is None or (linked is not None and uid_of(kube_system) == linked.tenant_uid):
            return
        self._disengage()
        now, before = self._clock.monotonic(), self._changed_at
        self._changed_at = now
        if linked is not None and before is not None and now - before < _DOUBT_SECONDS:
            self._doubted, self._doubted_until = linked.fingerprint, now + _DOUBT_SECONDS

    def attempt(self, view: LinkView) -> Attempt:
        """The result of the chosen kubeconfig: the link in use if that is of it, else of a new connection."""
        if view.config.proven is not None:
            self._routes.recall(self._name, view.config.proven)
        kubeconfig = view.choice.kubeconfig
        if kubeconfig is None:
            if view.config.kubeconfig_secret is None:
                self._disengage()
            return Unlinked()
        chosen = fingerprint(kubeconfig)
        if self._doubted == chosen and self._clock.monotonic() < self._doubted_until:
            words = "the tenant shows itself now as one cluster, now as another; nothing of it is used"
            return WrongCluster("IdentityInDoubt", words)
        is_linked = self._linked is not None and self._linked.fingerprint == chosen
        known = (self._denied() or self.in_use()) if is_linked else None
        return known or self._connect(view, kubeconfig)

    def end(self) -> None:
        """The tenant is let go: its Cluster ends, and its addresses are forgotten."""
        self._disengage()
        self._routes.forget(self._name)

    def _disengage(self) -> None:
        self._linked = None
        self._clusters.disengage(self._name)

    def _denied(self) -> TenantDenied | None:
        """The answer of an engaged tenant to its probe, if it no longer accepts the credential."""
        probe = probed(self._clusters.get(self._name))
        if probe is None or probe.answer is not Answer.REFUSED:
            return None
        return TenantDenied(server_reason(probe.reason), probe.message)

    def _connect(self, view: LinkView, kubeconfig: TenantKubeconfig) -> Attempt:
        """Connect and verify the tenant, then engage it in place of the old Cluster."""
        try:
            candidate = self._build_tenant(self._name, kubeconfig)
        except ConfigurationError as err:
            return TenantDenied("InvalidKubeconfig", str(err))
        found = self._verified(view, candidate)
        if not isinstance(found, Linked):
            candidate.cluster.stop.set()
            return found
        self._clusters.disengage(self._name)
        self._linked, self._unreached = replace(found, fingerprint=fingerprint(kubeconfig)), ""
        self._routes.engage(candidate)
        self._clusters.engage(candidate.cluster)
        return self._linked

    def _verified(self, view: LinkView, candidate: Candidate) -> Attempt:
        client = candidate.cluster.client
        try:
            uid = uid_of(client.get(NAMESPACES, "", KUBE_SYSTEM, _VERIFY_SECONDS))
        except (Unauthorized, Forbidden) as err:
            return TenantDenied(reason_of(err), err.message)
        except ApiError as err:
            return self._unanswered(candidate, err)
        return identity_problem(view.config, view.infra_uid, uid) or Linked(
            uid, None, root_print(client.anchor_pem), serving=client.serving
        )

    def _unanswered(self, candidate: Candidate, err: ApiError) -> TenantUnanswered:
        """The log gets the whole error; the condition only the part that the author of the kubeconfig may know."""
        now = self._clock.monotonic()
        is_news = self._unreached != err.reason or now >= self._quiet_until  # it is asked every few seconds
        if is_news:
            self._unreached, self._quiet_until = err.reason, now + _TOLD_AGAIN_SECONDS
        tell = self._log.warning if is_news else self._log.debug
        tell("tenant not reached", cluster=self._name, reason=err.reason, error=err.message)
        return told(TenantUnanswered(reason_of(err), err.message), candidate.route.tells(self.route))
