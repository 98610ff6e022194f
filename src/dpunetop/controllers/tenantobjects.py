"""Copies of the tenant's OVN configuration and certificates in the namespace of the DpuClusterConfig."""

from __future__ import annotations

from dpunetop.controllers.flow import ConfigController, blindness, one
from dpunetop.domain.copies import SOURCES, Source
from dpunetop.domain.ownership import Owner
from dpunetop.domain.status import TENANT_OBJS_SYNCED
from dpunetop.domain.tenantobjects import Pair, TenantObjectsView, plan_tenant_objects
from dpunetop.domain.types import DpuClusterConfig
from dpunetop.kube.keys import INFRA
from dpunetop.kube.plan import Plan
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader


class TenantObjects(ConfigController[TenantObjectsView]):
    """Sees to the three copies and `TenantObjsSynced`."""

    name = "tenantobjects"
    condition = TENANT_OBJS_SYNCED

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigController.serves`: host configuration alone needs no tenant."""
        return super().serves(config) and config.kubeconfig_secret is not None

    def gather(self, reader: Reader, config: DpuClusterConfig) -> TenantObjectsView:
        """See `ConfigController.gather`."""
        owner = Owner(config.live, self.owner(reader, config))
        blind, pairs = None, []
        for source in SOURCES:
            try:
                pairs.append(self._pair(reader, config, source))
            except (NotEngaged, NotSynced) as err:
                blind = blindness(config, err)
        return TenantObjectsView(config, owner, () if blind else tuple(pairs), blind, self.manager)

    def plan(self, view: TenantObjectsView) -> Plan:
        """See `ConfigController.plan`."""
        return plan_tenant_objects(view)

    def _pair(self, reader: Reader, config: DpuClusterConfig, source: Source) -> Pair:
        here, there = config.namespace, config.tenant_namespace or self.installation.tenant_namespace
        live = reader.get(INFRA, one(source.resource, here, source.name), here, source.name)
        seen = reader.get(config.tenant_cluster, one(source.resource, there, source.name), there, source.name)
        return Pair(source, seen, live)
