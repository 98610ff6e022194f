"""The link to each tenant: from the kubeconfig Secret to an engaged Cluster, changed while everything runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from dpunetop.base.clock import Clock
from dpunetop.controllers.reconciler import Installation, TenantReconciler, probed
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.names import KUBE_SYSTEM, TENANT_KUBECONFIG
from dpunetop.domain.reasons import CREDENTIALS_VALID
from dpunetop.domain.tenant.kubeconfig import TenantKubeconfig, fingerprint
from dpunetop.domain.tenant.link import (
    Attempt,
    KubeconfigChoice,
    Linked,
    LinkView,
    Proven,
    TenantDenied,
    TenantUnanswered,
    Unlinked,
    WrongCluster,
    choose,
    identity_problem,
    plan_link,
    root_print,
    told,
)
from dpunetop.domain.tenant.visibility import Answer, Probed
from dpunetop.kube.conditions import Condition
from dpunetop.kube.errors import ApiError, Forbidden, Unauthorized
from dpunetop.kube.keys import INFRA, NAMESPACES, SECRETS, Key
from dpunetop.kube.meta import Obj, uid_of
from dpunetop.kube.plan import Plan
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.cluster import Cluster, Clusters
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader

_VERIFY_SECONDS = 5.0
_TOLD_AGAIN_SECONDS = 600.0
"""The log repeats that a tenant cannot be reached, for the same reason, only after this time."""
_DOUBT_SECONDS = 30.0
"""A server that answers as another cluster twice within this time is not used for as long."""

BuildTenant = Callable[[str, TenantKubeconfig], Cluster]
"""Makes the Cluster of that name, not yet running, behind that kubeconfig."""


class Routes(Protocol):
    """The addresses that lead to tenants; see `routes.TenantRoutes`."""

    def engage(self, name: str) -> None:
        """The Cluster that was built last is the one in use."""

    def tells(self, name: str) -> bool:
        """Whether it may be told why the Cluster that was built last did not answer."""

    def trouble(self, name: str) -> str:
        """What is wrong with the address of the Cluster in use."""

    def recall(self, name: str, proven: Proven) -> None:
        """What an earlier process has noted of where the Cluster is."""

    def proven(self, name: str) -> Proven | None:
        """Where the Cluster in use has proved who it is."""

    def forget(self, name: str) -> None:
        """The tenant is let go."""


@dataclass(frozen=True, slots=True)
class Engagement:
    """What the engaged Cluster of a tenant was verified with, and as what."""

    fingerprint: str
    """Of its kubeconfig."""
    uid: str
    root: str
    """See `link.root_print`."""


@dataclass(frozen=True, slots=True)
class _Tenant:
    """What this process knows of the link to one tenant."""

    engagement: Engagement | None = None
    changed_at: float | None = None
    """When it last showed itself as another cluster, on the monotonic clock as all below."""
    doubted: str = ""
    """Fingerprint of a kubeconfig that is not used for a while, since its server says now this, now that."""
    doubted_until: float = 0.0
    unreached: str = ""
    """The reason that the log was told last."""
    quiet_until: float = 0.0

    def changed(self, engaged: Engagement | None, now: float) -> _Tenant:
        """The tenant has shown itself as another cluster than the one that was `engaged`."""
        noted = replace(self, changed_at=now)
        if engaged is None or self.changed_at is None or now - self.changed_at >= _DOUBT_SECONDS:
            return noted
        return replace(noted, doubted=engaged.fingerprint, doubted_until=now + _DOUBT_SECONDS)


_UNKNOWN = _Tenant()


class TenantLink(TenantReconciler[LinkView]):
    """Sees to the tenant's Cluster, our copy of its kubeconfig, `CredentialsValid` and `TenantReachable`.

    Guarantees: a new kubeconfig takes over only after its cluster has answered and proved to be the remembered one;
        until then, and when the Secret is bad or gone, the last good link stays.
    """

    name = "tenantlink"
    condition = CREDENTIALS_VALID

    def __init__(
        self,
        installation: Installation,
        executor: Executor,
        clusters: Clusters,
        build_tenant: BuildTenant,
        clock: Clock,
        routes: Routes,
    ) -> None:
        super().__init__(installation, executor)
        self._clusters = clusters
        self._build_tenant = build_tenant
        self._clock = clock
        self._routes = routes
        self._log = structlog.get_logger().bind(controller=self.name)
        self._lock = threading.Lock()  # guards _tenants
        self._tenants: dict[str, _Tenant] = {}  # by cluster name; of one key only one pass at a time changes it

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigReconciler.serves`; also to the very end, since what we made in the tenant is removed then."""
        return config.refused is None and config.has_finalizer

    def gather(self, reader: Reader, config: DpuClusterConfig) -> LinkView:
        """See `ConfigReconciler.gather`: the kubeconfig to use, and which other configs have the same tenant."""
        owner = Owner(config.live, self.owner(reader, config))
        stored = self._secret(reader, config.namespace, TENANT_KUBECONFIG)
        given = config.kubeconfig_secret and self._secret(reader, config.namespace, config.kubeconfig_secret)
        choice = choose(config, given or None, stored, owner)
        strangers = tuple(f"{each.namespace}/{each.name}" for each in self.strangers(reader, config))
        return LinkView(config, owner, choice, Unlinked(), None, stored, self.manager, strangers)

    def probe(self, reader: Reader, view: LinkView) -> LinkView:
        """See `TenantReconciler.probe`: ask the tenant who it is, and engage it if it is the one."""
        config, name = view.config, view.config.tenant_cluster
        infra_uid = self.infra_uid(reader)
        self._check_identity(reader, name)
        if config.tenant_server:
            self._routes.recall(name, Proven(config.tenant_server, config.tenant_addresses))
        attempt = self._attempt(config, view.choice, infra_uid)
        kept = None if isinstance(attempt, Linked) else self._kept(name)
        return replace(
            view,
            attempt=attempt,
            kept=kept,
            address_trouble=self._routes.trouble(name),
            now=self._clock.now(),
            has_fallback=kept is not None and self._goes_by_another(name, view.choice),
            proven=self._routes.proven(name),
        )

    def plan(self, view: LinkView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_link(view)

    def _goes_by_another(self, name: str, choice: KubeconfigChoice) -> bool:
        """Whether the link in use goes by another kubeconfig than the chosen one."""
        engaged = self._engagement(name)
        if engaged is None or choice.kubeconfig is None:
            return False
        return engaged.fingerprint != fingerprint(choice.kubeconfig)

    def _refused(self, err: ApiError, doing: str) -> Condition:
        """The shipped rights name one Secret: wider ones would let the operator read the whole namespace."""
        said = super()._refused(err, doing)
        is_given = doing.startswith(f"cannot watch {SECRETS.plural}/") and TENANT_KUBECONFIG not in doing
        if not isinstance(err, Forbidden) or not is_given:
            return said
        words = "the operator may not read the Secret that spec.kubeConfigFile names; its rights name one Secret: write"
        do = "that name as kubeConfigFile into parameters.yaml of the namespace and apply it anew, or rename the Secret"
        return replace(said, message=f"{words} {do} ({said.message})")

    def forget(self, key: Key) -> None:
        """See `ConfigReconciler.forget`: the tenant is let go."""
        name = tenant_cluster_name(key.namespace, key.name)
        self._disengage(name)
        with self._lock:
            self._tenants.pop(name, None)
        self._routes.forget(name)

    def _secret(self, reader: Reader, namespace: str, name: str) -> Obj | None:
        return reader.one(INFRA, SECRETS, namespace, name)

    def _check_identity(self, reader: Reader, name: str) -> None:
        """Disengage a cluster that is not the verified one. Reading it wakes the key when its health changes."""
        try:
            kube_system = reader.one(name, NAMESPACES, "", KUBE_SYSTEM)
        except (NotEngaged, NotSynced):
            return
        engaged = self._engagement(name)
        if kube_system is None or (engaged is not None and uid_of(kube_system) == engaged.uid):
            return
        self._disengage(name)
        now = self._clock.monotonic()
        self._note(name, lambda known: known.changed(engaged, now))

    def _is_doubted(self, name: str, print_: str) -> bool:
        known = self._known(name)
        return known.doubted == print_ and self._clock.monotonic() < known.doubted_until

    def _attempt(self, config: DpuClusterConfig, choice: KubeconfigChoice, infra_uid: str) -> Attempt:
        if choice.kubeconfig is None:
            if config.kubeconfig_secret is None:
                self._disengage(config.tenant_cluster)
            return Unlinked()
        if self._is_doubted(config.tenant_cluster, fingerprint(choice.kubeconfig)):
            words = "the tenant shows itself now as one cluster, now as another; nothing of it is used"
            return WrongCluster("IdentityInDoubt", words)
        engaged = self._engagement(config.tenant_cluster)
        if engaged is not None and engaged.fingerprint == fingerprint(choice.kubeconfig):
            if denied := self._denied(config.tenant_cluster):
                return denied
            if kept := self._kept(config.tenant_cluster):
                return kept
        return self._connect(config, choice.kubeconfig, infra_uid)

    def _kept(self, name: str) -> Linked | None:
        cluster, engaged = self._clusters.get(name), self._engagement(name)
        if cluster is None or engaged is None:
            return None
        return Linked(engaged.uid, _silence(probed(cluster)), engaged.root)

    def _denied(self, name: str) -> TenantDenied | None:
        """What an engaged tenant answers to its probe, if it no longer accepts the credential."""
        probe = probed(self._clusters.get(name))
        if probe is None or probe.answer is not Answer.REFUSED:
            return None
        return TenantDenied(probe.reason, probe.message)

    def _connect(self, config: DpuClusterConfig, kubeconfig: TenantKubeconfig, infra_uid: str) -> Attempt:
        """Verify, then swap."""
        try:
            candidate = self._build_tenant(config.tenant_cluster, kubeconfig)
        except ConfigurationError as err:
            return TenantDenied("InvalidKubeconfig", str(err))
        try:
            uid = uid_of(candidate.client.get(NAMESPACES, "", KUBE_SYSTEM, _VERIFY_SECONDS))
        except (Unauthorized, Forbidden) as err:
            candidate.stop.set()
            return TenantDenied(err.reason, err.message)
        except ApiError as err:
            candidate.stop.set()
            return self._unanswered(config.tenant_cluster, err)
        if problem := identity_problem(config, infra_uid, uid):
            candidate.stop.set()
            return problem
        root = root_print(candidate.client.anchor_pem)
        self._engage(candidate, Engagement(fingerprint(kubeconfig), uid, root))
        return Linked(uid, None, root)

    def _unanswered(self, name: str, err: ApiError) -> TenantUnanswered:
        """The log has the whole error; the condition says only what the author of the kubeconfig may know."""
        tell = self._log.warning if self._is_news(name, err.reason) else self._log.debug
        tell("tenant not reached", cluster=name, reason=err.reason, error=err.message)
        return told(TenantUnanswered(err.reason, err.message), self._routes.tells(name))

    def _is_news(self, name: str, reason: str) -> bool:
        """Whether the log has not said this of the tenant lately: it is asked every few seconds."""
        now, known = self._clock.monotonic(), self._known(name)
        if known.unreached == reason and now < known.quiet_until:
            return False
        self._note(name, lambda known: replace(known, unreached=reason, quiet_until=now + _TOLD_AGAIN_SECONDS))
        return True

    def _engage(self, cluster: Cluster, engagement: Engagement) -> None:
        self._clusters.disengage(cluster.name)
        self._note(cluster.name, lambda known: replace(known, engagement=engagement, unreached=""))
        self._routes.engage(cluster.name)
        self._clusters.engage(cluster)

    def _disengage(self, name: str) -> None:
        self._note(name, lambda known: replace(known, engagement=None))
        self._clusters.disengage(name)

    def _engagement(self, name: str) -> Engagement | None:
        return self._known(name).engagement

    def _known(self, name: str) -> _Tenant:
        with self._lock:
            return self._tenants.get(name, _UNKNOWN)

    def _note(self, name: str, change: Callable[[_Tenant], _Tenant]) -> None:
        with self._lock:
            self._tenants[name] = change(self._tenants.get(name, _UNKNOWN))


def _silence(probe: Probed | None) -> str | None:
    """Why a connected tenant does not answer; None: it does."""
    if probe is None or probe.answer is not Answer.NONE:
        return None
    return f"{probe.reason}: {probe.message}"
