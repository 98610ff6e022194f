"""OVN-Kubernetes on the DPUs: ServiceAccount, per-node entries, DaemonSet."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from functools import partial

from dpunetop.base.clock import Clock
from dpunetop.controllers.hostclaims import gather_claims
from dpunetop.controllers.reconciler import ConfigReconciler, Installation, blindness
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.ovnkube.copies import as_written
from dpunetop.domain.ovnkube.notrunning import FAILED_CREATE
from dpunetop.domain.ovnkube.plan import plan_ovnkube
from dpunetop.domain.ovnkube.release import Flavour, flavour_of, release_of
from dpunetop.domain.ovnkube.topology import Settled, running_topology, settle
from dpunetop.domain.ovnkube.view import InfraObjects, OvnKubeView, PodScripts, TenantSigns
from dpunetop.domain.pairing.entries import entries_of
from dpunetop.domain.pairing.pairing import hosts_to_annotate
from dpunetop.domain.reasons import OVN_KUBE_READY
from dpunetop.domain.tenant.addresses import Network
from dpunetop.kube.compact import node_of
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import (
    CONFIGMAPS,
    DAEMONSETS,
    DEPLOYMENTS,
    EVENTS,
    INFRA,
    NODES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    Key,
    Resource,
)
from dpunetop.kube.meta import Obj, annotations_of
from dpunetop.kube.plan import Plan
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader, begin

_OF_TENANT = (
    (DAEMONSETS, names.OVNKUBE_NODE),
    (DAEMONSETS, names.OVNKUBE_NODE_DPU_HOST),
    (DEPLOYMENTS, names.OVNKUBE_CONTROL_PLANE),
    (CONFIGMAPS, names.OVNKUBE_SCRIPT_LIB),
    (CONFIGMAPS, names.OVNKUBE_CONFIG),
)
"""Objects that are read by name in every tenant."""
_OF_STAGE = (
    (CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES),
    (SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT),
    (DAEMONSETS, names.OVNKUBE_NODE),
    (CONFIGMAPS, names.ENV_OVERRIDES),
    (SECRETS, names.OVN_CERT),
    (CONFIGMAPS, names.OVN_CA),
    (CONFIGMAPS, names.OVNKUBE_CONFIG),
    (SECRETS, names.TENANT_CREDENTIAL),
)
"""Objects that are read by name in the namespace of every DpuClusterConfig."""


class OvnKube(ConfigReconciler[OvnKubeView]):
    """Manages ServiceAccount, entries, DaemonSet, restarts of idle pods, and `OvnKubeReady`."""

    name = "ovnkube"
    condition = OVN_KUBE_READY

    def __init__(
        self,
        installation: Installation,
        executor: Executor,
        scripts: PodScripts,
        allowed_networks: tuple[Network, ...],
        clock: Clock,
    ) -> None:
        super().__init__(installation, executor)
        self._scripts = scripts
        self._allowed_networks = allowed_networks
        self._clock = clock
        self._lock = threading.Lock()  # guards _settled
        self._settled: dict[Key, Settled] = {}  # of each tenant, the settled topology of the last pass

    def forget(self, key: Key) -> None:
        """See `ConfigReconciler.forget`."""
        with self._lock:
            self._settled.pop(key, None)

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigReconciler.serves`: host configuration alone needs no pods."""
        return super().serves(config) and config.kubeconfig_secret is not None

    def gather(self, reader: Reader, config: DpuClusterConfig) -> OvnKubeView:
        """See `ConfigReconciler.gather`."""
        blind, tenant = "", None
        tenant_namespace = self.installation.home(config)
        try:
            tenant = self._tenant(reader, config, tenant_namespace)
        except (NotEngaged, NotSynced) as err:
            blind = blindness(config, err)
        infra = self._infra_objects(reader, config)
        return OvnKubeView(
            config=config,
            owner=Owner(config.live, self.owner(reader, config)),
            tenant_namespace=tenant_namespace,
            tenant=tenant,
            blind=blind,
            settled=self._settle(config, tenant, infra),
            infra=infra,
            claimed=gather_claims(
                reader,
                self.siblings(reader, config),
                lambda each: self.rights(reader, each),
                self.installation.namespace,
            ),
            environment_image=self.installation.ovnkube_image,
            scripts=self._scripts,
            allowed_networks=self._allowed_networks,
            field_manager=self.manager,
            allowed_images=self.installation.allowed_images,
            rights=self.rights(reader, config),
            hosts=self._hosts(reader, config, infra.nodes),
        )

    def plan(self, view: OvnKubeView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_ovnkube(view)

    def _hosts(self, reader: Reader, config: DpuClusterConfig, nodes: Iterable[Obj]) -> Mapping[str, str] | None:
        """The tenant's Nodes, only where they matter: a key that reads them is woken by each change of one."""
        if not any(names.TENANT_NODE_ANNOTATION in annotations_of(node) for node in nodes):
            return None
        try:
            return hosts_to_annotate(reader.list(config.tenant_cluster, Selection(NODES)))
        except (NotEngaged, NotSynced):
            return None

    def _settle(self, config: DpuClusterConfig, tenant: TenantSigns | None, infra: InfraObjects) -> Settled:
        """Settle the topology with this look and earlier ones; a look without the tenant restarts the count."""
        key = Key(INFRA, config.namespace, config.name)
        with self._lock:
            previous = self._settled.get(key)
        if tenant is None:
            settled = Settled(None, "TenantNotRead")
        else:
            running = running_topology(infra.daemonset)
            settled = settle(previous, tenant.topology(config.topology), running, self._clock.monotonic())
        with self._lock:
            self._settled[key] = settled
        return settled

    def _infra_daemonset(self, reader: Reader, config: DpuClusterConfig) -> Obj | None:
        """Infra's own `ovnkube-node`, if its image runs on the DPUs, or limits `spec.image`."""
        told = self.installation.allowed_images if config.image else self.installation.ovnkube_image
        if told:
            return None
        namespace, name = names.OVN_KUBERNETES_NAMESPACE, names.OVNKUBE_NODE
        try:
            return reader.one(INFRA, DAEMONSETS, namespace, name)
        except NotSynced as err:
            if config.image and isinstance(err.error, Forbidden):
                return None  # a cluster without that namespace has no role there either; then it limits everything
            raise

    def _tenant(self, reader: Reader, config: DpuClusterConfig, namespace: str) -> TenantSigns:
        cluster = config.tenant_cluster

        def get(resource: Resource, name: str) -> Obj | None:
            return reader.one(cluster, resource, namespace, name)

        masters = Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_MASTER}))
        begin(*(partial(get, *each) for each in _OF_TENANT), lambda: reader.list(cluster, masters))
        node_daemonset = get(DAEMONSETS, names.OVNKUBE_NODE)
        cluster_version = self._cluster_version(reader, cluster)
        # In an OpenShift tenant it does not exist, and older roles of ours do not name it.
        is_openshift = flavour_of(release_of(node_daemonset, cluster_version), namespace) is Flavour.OPENSHIFT
        return TenantSigns(
            node_daemonset=node_daemonset,
            host_daemonset=get(DAEMONSETS, names.OVNKUBE_NODE_DPU_HOST),
            masters=tuple(reader.list(cluster, masters)),
            control_plane=get(DEPLOYMENTS, names.OVNKUBE_CONTROL_PLANE),
            script_lib=get(CONFIGMAPS, names.OVNKUBE_SCRIPT_LIB),
            config_map=get(CONFIGMAPS, names.OVNKUBE_CONFIG),
            chart_config_map=None if is_openshift else get(CONFIGMAPS, names.OVN_CONFIG),
            cluster_version=cluster_version,
        )

    def _cluster_version(self, reader: Reader, cluster: str) -> Obj | None:
        """The tenant's ClusterVersion, with its release and architecture; None where it is no OpenShift cluster.

        The definition is read first: a list of a kind that is not served would fail again and again.
        """
        try:
            if not reader.serves(cluster, names.CLUSTERVERSIONS):
                return None
        except NotSynced as err:
            if isinstance(err.error, Forbidden):
                return None  # without the right to read it, the pods get infra's image, as for any other cluster
            raise
        return reader.one(cluster, names.CLUSTERVERSIONS, "", names.CLUSTERVERSION)

    def _infra_objects(self, reader: Reader, config: DpuClusterConfig) -> InfraObjects:
        namespace = config.namespace

        def get(resource: Resource, name: str) -> Obj | None:
            return reader.one(INFRA, resource, namespace, name)

        selected = Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_NODE}))
        begin(*(partial(get, *each) for each in _OF_STAGE), lambda: reader.list(INFRA, selected))
        has_machine_configs = reader.serves(INFRA, names.MACHINECONFIGPOOLS)
        entries, pods = get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES), tuple(reader.list(INFRA, selected))
        return InfraObjects(
            service_account=get(SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT),
            daemonset=get(DAEMONSETS, names.OVNKUBE_NODE),
            entries=entries,
            pods=pods,
            overrides=get(CONFIGMAPS, names.ENV_OVERRIDES),
            mounted={
                names.OVN_CERT: as_written(get(SECRETS, names.OVN_CERT)),
                names.OVN_CA: as_written(get(CONFIGMAPS, names.OVN_CA)),
                names.OVNKUBE_CONFIG: as_written(get(CONFIGMAPS, names.OVNKUBE_CONFIG)),
                names.TENANT_CREDENTIAL: as_written(get(SECRETS, names.TENANT_CREDENTIAL)),
            },
            nodes=tuple(reader.list(INFRA, Selection(NODES))),
            pool=self._pool(reader, config) if has_machine_configs else None,
            has_machine_configs=has_machine_configs,
            infra_daemonset=self._infra_daemonset(reader, config),
            refusals=_refusals(reader, namespace) if _are_missing(entries, pods) else (),
        )

    def _pool(self, reader: Reader, config: DpuClusterConfig) -> Obj | None:
        return reader.get(INFRA, Selection(names.MACHINECONFIGPOOLS), "", config.pool_name)


def _are_missing(entries: Obj | None, pods: Iterable[Obj]) -> bool:
    """Whether a DPU that has an entry has no pod at all."""
    there = {node_of(pod) for pod in pods}
    return not entries_of(entries).keys() <= there


def _refusals(reader: Reader, namespace: str) -> tuple[Obj, ...]:
    """Events about why the DaemonSet has no pods; none where the rights of an older release do not allow to read
    them."""
    about = f"regarding.kind=DaemonSet,regarding.name={names.OVNKUBE_NODE},reason={FAILED_CREATE}"
    try:
        return tuple(reader.list(INFRA, Selection(EVENTS, namespace, about)))
    except NotSynced:
        return ()
