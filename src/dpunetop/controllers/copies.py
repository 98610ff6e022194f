"""Copies of the tenant's OVN configuration and certificates in the namespace of the DpuClusterConfig."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from dpunetop.base.clock import Clock
from dpunetop.controllers.reconciler import ConfigReconciler, Installation, blindness
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.ovnkube.copies import Source, needed_sources
from dpunetop.domain.ovnkube.copying import CopiedObject, TenantObjectsView, ends_of, plan_tenant_objects
from dpunetop.domain.ovnkube.release import flavour_of, release_of
from dpunetop.domain.ovnkube.topology import candidates
from dpunetop.domain.reasons import TENANT_OBJS_SYNCED
from dpunetop.kube.keys import DAEMONSETS, INFRA, Key
from dpunetop.kube.plan import Plan
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader, begin

Ends = Mapping[tuple[str, str], Mapping[str, datetime]]
"""When each certificate expires, by namespace and name of the DpuClusterConfig, and by its object's name."""


class TenantObjects(ConfigReconciler[TenantObjectsView]):
    """Manages the three copies and `TenantObjsSynced`."""

    name = "tenantobjects"
    condition = TENANT_OBJS_SYNCED

    def __init__(self, installation: Installation, executor: Executor, clock: Clock) -> None:
        super().__init__(installation, executor)
        self._clock = clock
        self._ends: dict[tuple[str, str], Mapping[str, datetime]] = {}  # its items are replaced whole, one at a time

    @property
    def ends(self) -> Ends:
        """When the mounted certificates expire, as far as known; a tenant that cannot be read changes nothing."""
        return dict(self._ends)

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
        return TenantObjectsView(config, owner, pairs, blind, self.manager, self._clock.now())

    def plan(self, view: TenantObjectsView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_tenant_objects(view)

    def publish(self, view: TenantObjectsView) -> None:
        """See `ConfigReconciler.publish`."""
        if view.blind is None:
            self._ends[view.config.namespace, view.config.name] = ends_of(view)

    def forget(self, key: Key) -> None:
        """See `ConfigReconciler.forget`."""
        self._ends.pop((key.namespace, key.name), None)

    def _sources(self, reader: Reader, config: DpuClusterConfig) -> tuple[Source, ...]:
        """The objects to copy for a tenant of this topology, or of the one that our pods were last written for."""
        here, there = config.namespace, self.installation.home(config)
        name = names.OVNKUBE_NODE
        live = reader.one(INFRA, DAEMONSETS, here, name)
        theirs = reader.one(config.tenant_cluster, DAEMONSETS, there, name)
        topologies = candidates(config.topology, theirs, live)
        return needed_sources(topologies, flavour_of(release_of(theirs, None), there))

    def _pair(self, reader: Reader, config: DpuClusterConfig, source: Source) -> CopiedObject:
        here, there = config.namespace, self.installation.home(config)
        live = reader.one(INFRA, source.resource, here, source.name)
        seen = reader.one(config.tenant_cluster, source.resource, there, source.name)
        return CopiedObject(source, seen, live)
