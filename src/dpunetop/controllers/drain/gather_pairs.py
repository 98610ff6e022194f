"""Reads the facts about the pairs of a DpuClusterConfig from the caches, once for all of its hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from dpunetop.controllers.drain.gather_host import Newest, serves_maintenances
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.store import DrainStore
from dpunetop.controllers.hostclaims import gather_claims
from dpunetop.controllers.reconciler import Installation
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.grants import Rights
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.drain.fleet.roster import Roster
from dpunetop.domain.drain.fleet.turns import by_name
from dpunetop.domain.drain.model import readers
from dpunetop.domain.drain.outages.unplanned import NetworkState
from dpunetop.domain.drain.protection.blockers import BlockerSettings
from dpunetop.domain.drain.rosters import FleetView, NamespaceView, TenantFleet
from dpunetop.domain.ovnkube.image import NoImage, blocker_image, running_image
from dpunetop.domain.ovnkube.release import release_of_image
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, INFRA, NODES, PODS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader, begin

_SCC = Resource("security.openshift.io", "v1", "securitycontextconstraints", "SecurityContextConstraints", False)
_RightsOf = Callable[[DpuClusterConfig], Rights]


class PairsGatherer:
    """Threads: any; one at a time for each DpuClusterConfig."""

    def __init__(
        self,
        drain_store: DrainStore,
        newest: Newest,
        installation: Installation,
        operator_image: str | None,
        infra: InfraHealth,
    ) -> None:
        """`newest` as for the `HostSources`."""
        self._drain_store = drain_store
        self._infra = infra
        self._newest = newest
        self._namespace = installation.namespace
        self._home = installation.home
        self._operator_image = operator_image
        self._ovnkube_image = installation.ovnkube_image

    # Each method raises NotSynced and NotEngaged about infra; a tenant that cannot be read is shown as not seen.

    def begin(self, reader: Reader, config: DpuClusterConfig) -> None:
        """Begin all that a first roster is made of, so that its caches sync at the same time."""
        if self._drain_store.roster(config.tenant_cluster) is not None:
            return
        own, home = self._namespace, config.namespace
        begin(
            lambda: reader.list(INFRA, Selection(NODES)),
            lambda: reader.list(INFRA, Selection(DEPLOYMENTS, own)),
            lambda: reader.list(INFRA, Selection(names.PODDISRUPTIONBUDGETS, own)),
            lambda: reader.one(INFRA, SERVICEACCOUNTS, own, names.DRAIN_BLOCKER),
            lambda: reader.serves(INFRA, _SCC),
            lambda: reader.serves(INFRA, names.MACHINECONFIGPOOLS),
            lambda: reader.one(INFRA, DAEMONSETS, home, names.OVNKUBE_NODE),
            *(
                partial(reader.one, INFRA, CONFIGMAPS, home, each)
                for each in (names.OVNKUBE_NODE_ENTRIES, names.ENV_OVERRIDES)
            ),
            lambda: self._image(reader),
            lambda: self.pods(reader, config),
            lambda: _tenant(reader, config, ""),
        )

    def fleet(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        access: Access,
        siblings: Sequence[DpuClusterConfig],
        rights: _RightsOf,
    ) -> FleetView | NoImage:
        """The facts of a roster; `siblings` share the tenant, `rights` gives those of one of them. NoImage: no image is
        known for the blockers."""
        own = rights(config)
        if access is not Access.GIVEN:
            return self._view(reader, config, access, siblings, BlockerSettings(self._namespace, "", own.owner, False))
        image = self._image(reader)
        if isinstance(image, NoImage):
            return image
        blockers = BlockerSettings(self._namespace, image, own.owner, reader.serves(INFRA, _SCC))
        view = self._view(reader, config, access, siblings, blockers)
        namespace = self._namespace_view(reader, config, siblings, own, rights)
        return replace(view, namespace=namespace, suspect=self._infra.see(view.nodes))

    def entries(self, reader: Reader, config: DpuClusterConfig, owner: str) -> Obj | None:
        """Our ConfigMap, as our own last write left it; one of another owner counts as absent."""
        found = reader.one(INFRA, CONFIGMAPS, config.namespace, names.OVNKUBE_NODE_ENTRIES)
        if found is None or labels_of(found).get(names.OWNER_LABEL) != owner:
            return None
        return self._newest(INFRA, CONFIGMAPS, found)

    def pods(self, reader: Reader, config: DpuClusterConfig) -> tuple[Obj, ...]:
        """All pods of ovnkube-node."""
        selection = Selection(PODS, config.namespace, "", by_labels({"app": names.OVNKUBE_NODE}))
        return tuple(reader.list(INFRA, selection))

    def _view(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        access: Access,
        siblings: Sequence[DpuClusterConfig],
        blockers: BlockerSettings,
    ) -> FleetView:
        before = self._drain_store.roster(config.tenant_cluster)
        rosters = {each.tenant_cluster: self._drain_store.roster(each.tenant_cluster) for each in siblings}
        return FleetView(
            config=config,
            access=access,
            siblings=siblings,
            blockers=blockers,
            nodes=reader.list(INFRA, Selection(NODES)),
            deployments=reader.list(INFRA, Selection(DEPLOYMENTS, self._namespace)),
            budgets=reader.list(INFRA, Selection(names.PODDISRUPTIONBUDGETS, self._namespace)),
            tenant=_tenant(reader, config, blockers.owner),
            tenant_namespace=self._home(config),
            before=before,
            rosters=rosters,
            networks=self._networks((*rosters.values(), before)),
        )

    def _namespace_view(
        self,
        reader: Reader,
        config: DpuClusterConfig,
        siblings: Sequence[DpuClusterConfig],
        own: Rights,
        rights: _RightsOf,
    ) -> NamespaceView:
        daemonset = reader.one(INFRA, DAEMONSETS, config.namespace, names.OVNKUBE_NODE)
        has_pools = reader.serves(INFRA, names.MACHINECONFIGPOOLS)
        return NamespaceView(
            rights=own,
            entries=self.entries(reader, config, own.owner),
            overrides=reader.one(INFRA, CONFIGMAPS, config.namespace, names.ENV_OVERRIDES),
            daemonset=daemonset,
            release=release_of_image(running_image(daemonset), self._neighbours(reader, config)),
            claims=gather_claims(reader, siblings, rights, self._namespace),
            pools=tuple(reader.list(INFRA, Selection(names.MACHINECONFIGPOOLS))) if has_pools else None,
        )

    def _image(self, reader: Reader) -> str | NoImage:
        """The image of the blockers: never one that a tenant or the author of a DpuClusterConfig names."""
        if self._operator_image or self._ovnkube_image:
            return blocker_image(self._operator_image, self._ovnkube_image, None)
        own, name = names.OVN_KUBERNETES_NAMESPACE, names.OVNKUBE_NODE
        return blocker_image(None, None, reader.one(INFRA, DAEMONSETS, own, name))

    def _networks(self, rosters: Sequence[Roster | None]) -> tuple[NetworkState, ...]:
        """The known hosts without a network, over all of these rosters."""
        reports = (each for roster in rosters if roster is not None for each in self._drain_store.reports(roster))
        return tuple(each.network for each in reports if each is not None and each.network is not None)

    def _neighbours(self, reader: Reader, config: DpuClusterConfig) -> Iterator[Obj | None]:
        """The DaemonSets that may have the same image as ours and name its release: infra's own and the tenant's."""
        name = names.OVNKUBE_NODE
        for cluster, home in ((INFRA, names.OVN_KUBERNETES_NAMESPACE), (config.tenant_cluster, self._home(config))):
            with suppress(NotEngaged, NotSynced):  # an unknown release only requires fewer signs
                yield reader.one(cluster, DAEMONSETS, home, name)


def _tenant(reader: Reader, config: DpuClusterConfig, owner: str) -> TenantFleet:
    cluster = config.tenant_cluster
    try:
        nodes = by_name(reader.list(cluster, Selection(NODES)))
        if not serves_maintenances(reader, cluster):
            return TenantFleet(nodes, can_drain=False)
        found = reader.list(cluster, Selection(names.NODEMAINTENANCES))
    except (NotEngaged, NotSynced) as err:
        if err.cluster == INFRA:
            raise
        return TenantFleet(is_seen=False)
    return TenantFleet(nodes, tuple(readers.maintenance(obj, owner) for obj in found))
