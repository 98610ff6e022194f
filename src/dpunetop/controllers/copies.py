"""Copies of the tenant's OVN configuration and certificates in the namespace of the DpuClusterConfig."""

from __future__ import annotations

from functools import partial

from dpunetop.controllers.reconciler import ConfigReconciler, blindness
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.ovnkube.copies import Source, needed_sources
from dpunetop.domain.ovnkube.copying import CopiedObject, TenantObjectsView, plan_tenant_objects
from dpunetop.domain.ovnkube.release import flavour_of, release_of
from dpunetop.domain.ovnkube.topology import candidates
from dpunetop.domain.reasons import TENANT_OBJS_SYNCED
from dpunetop.kube.keys import DAEMONSETS, INFRA
from dpunetop.kube.plan import Plan
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader, begin


class TenantObjects(ConfigReconciler[TenantObjectsView]):
    """Sees to the three copies and `TenantObjsSynced`."""

    name = "tenantobjects"
    condition = TENANT_OBJS_SYNCED

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigReconciler.serves`: host configuration alone needs no tenant."""
        return super().serves(config) and config.kubeconfig_secret is not None

    def gather(self, reader: Reader, config: DpuClusterConfig) -> TenantObjectsView:
        """See `ConfigReconciler.gather`."""
        owner = Owner(config.live, self.owner(reader, config))
        try:
            sources = self._sources(reader, config)
            begin(*(partial(self._pair, reader, config, source) for source in sources))
            pairs = tuple(self._pair(reader, config, source) for source in sources)
            blind = None
        except (NotEngaged, NotSynced) as err:
            pairs, blind = (), blindness(config, err)
        return TenantObjectsView(config, owner, pairs, blind, self.manager)

    def plan(self, view: TenantObjectsView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_tenant_objects(view)

    def _sources(self, reader: Reader, config: DpuClusterConfig) -> tuple[Source, ...]:
        """What a tenant of this topology shares; what our pods were last written for counts too."""
        here, there = config.namespace, self._tenant_namespace(config)
        name = names.OVNKUBE_NODE
        live = reader.one(INFRA, DAEMONSETS, here, name)
        theirs = reader.one(config.tenant_cluster, DAEMONSETS, there, name)
        topologies = candidates(config.topology, theirs, live)
        return needed_sources(topologies, flavour_of(release_of(theirs, None), there))

    def _tenant_namespace(self, config: DpuClusterConfig) -> str:
        return config.tenant_namespace or self.installation.tenant_namespace

    def _pair(self, reader: Reader, config: DpuClusterConfig, source: Source) -> CopiedObject:
        here, there = config.namespace, self._tenant_namespace(config)
        live = reader.one(INFRA, source.resource, here, source.name)
        seen = reader.one(config.tenant_cluster, source.resource, there, source.name)
        return CopiedObject(source, seen, live)
