"""The link to each tenant: from the kubeconfig Secret to an engaged Cluster, which changes at run time."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

from dpunetop.base.clock import Clock
from dpunetop.controllers.reconciler import Installation, TenantReconciler
from dpunetop.controllers.tenant.connection import TenantConnection
from dpunetop.controllers.tenant.routes import BuildTenant, TenantRoutes
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.names import TENANT_KUBECONFIG
from dpunetop.domain.reasons import CREDENTIALS_VALID
from dpunetop.domain.tenant.link import Linked, LinkView, Unlinked, choose, plan_link
from dpunetop.kube.conditions import Condition
from dpunetop.kube.errors import ApiError, Forbidden
from dpunetop.kube.keys import INFRA, SECRETS, Key
from dpunetop.kube.plan import Plan
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import Reader


class TenantLink(TenantReconciler[LinkView]):
    """Manages the tenant's Cluster, our copy of its kubeconfig, `CredentialsValid` and `TenantReachable`.

    Guarantees: a new kubeconfig replaces the old one only after its cluster has answered and proved to be the same;
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
        routes: TenantRoutes,
    ) -> None:
        super().__init__(installation, executor)
        self._clock = clock
        self._new = partial(TenantConnection, clusters=clusters, build_tenant=build_tenant, clock=clock, routes=routes)
        self._lock = threading.Lock()  # guards _connections
        self._connections: dict[str, TenantConnection] = {}  # by cluster name

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigReconciler.serves`; until its deletion ends, since our objects in the tenant are removed then."""
        return config.refused is None and config.has_finalizer

    def gather(self, reader: Reader, config: DpuClusterConfig) -> LinkView:
        """See `ConfigReconciler.gather`: the kubeconfig to use, and the other configs of the same tenant."""
        owner = Owner(config.live, self.owner(reader, config))
        stored = reader.one(INFRA, SECRETS, config.namespace, TENANT_KUBECONFIG)
        secret = config.kubeconfig_secret
        given = reader.one(INFRA, SECRETS, config.namespace, secret) if secret is not None else None
        return LinkView(
            config=config,
            owner=owner,
            choice=choose(config, given, stored, owner),
            attempt=Unlinked(),
            kept=None,
            stored=stored,
            field_manager=self.manager,
            now=self._clock.now(),
            strangers=tuple(f"{each.namespace}/{each.name}" for each in self.strangers(reader, config)),
            infra_uid=self.infra_uid(reader),
        )

    def probe(self, reader: Reader, view: LinkView) -> LinkView:
        """See `TenantReconciler.probe`: ask the tenant for its identity, and engage it if that is right."""
        connection = self._connection(view.config.tenant_cluster)
        connection.check_identity(reader)
        attempt = connection.attempt(view)
        return replace(
            view,
            attempt=attempt,
            kept=None if isinstance(attempt, Linked) else connection.in_use(),
            address_trouble=connection.route.trouble(),
            now=self._clock.now(),
            proven=connection.route.proven(),
        )

    def plan(self, view: LinkView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_link(view)

    def _refused(self, err: ApiError, doing: str) -> Condition:
        """The condition; the shipped rights name one Secret, since wider ones would let the operator read the whole
        namespace."""
        said = super()._refused(err, doing)
        is_given = doing.startswith(f"cannot watch {SECRETS.plural}/") and TENANT_KUBECONFIG not in doing
        if not isinstance(err, Forbidden) or not is_given:
            return said
        words = "the operator may not read the Secret that spec.kubeConfigFile names; its rights name one Secret: write"
        do = (
            "that name as kubeConfigFile into parameters.yaml of the namespace and apply it again, or rename the Secret"
        )
        return replace(said, message=f"{words} {do} ({said.message})")

    def forget(self, key: Key) -> None:
        """See `ConfigReconciler.forget`: the tenant is disengaged."""
        name = tenant_cluster_name(key.namespace, key.name)
        with self._lock:
            connection = self._connections.pop(name, None)
        if connection is not None:
            connection.end()

    def _connection(self, name: str) -> TenantConnection:
        with self._lock:
            return self._connections.setdefault(name, self._new(name))
