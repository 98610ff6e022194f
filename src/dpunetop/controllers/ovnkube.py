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
from dpunetop.domain.ovnkube.plan import InfraObjects, OvnKubeView, PodScripts, TenantSigns, plan_ovnkube
from dpunetop.domain.ovnkube.release import Flavour, flavour_of, release_of
from dpunetop.domain.ovnkube.topology import Settled, running_topology, settle
from dpunetop.domain.pairing.entries import entries_of
from dpunetop.domain.pairing.pairing import hosts_to_annotate
from dpunetop.domain.reasons import OVN_KUBE_READY
from dpunetop.domain.tenant.addresses import Network
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
"""What is read by name of every tenant."""
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
"""What is read by name of the namespace of every DpuClusterConfig."""


class OvnKube(ConfigReconciler[OvnKubeView]):
    """Sees to ServiceAccount, entries, DaemonSet, restarts of idle pods, and `OvnKubeReady`."""

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
        self._settled: dict[Key, Settled] = {}  # what the last look at each tenant's topology has settled to

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
        tenant_namespace = config.tenant_namespace or self.installation.tenant_namespace
        try:
            tenant = self._tenant(reader, config, tenant_namespace)
        except (NotEngaged, NotSynced) as err:
            blind = blindness(config, err)
        stage = self._stage(reader, config)
        return OvnKubeView(
            config=config,
            owner=Owner(config.live, self.owner(reader, config)),
            tenant_namespace=tenant_namespace,
            tenant=tenant,
            blind=blind,
            settled=self._settle(config, tenant, stage),
            stage=stage,
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
            hosts=self._hosts(reader, config, stage.nodes),
        )

    def plan(self, view: OvnKubeView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_ovnkube(view)

    def _hosts(self, reader: Reader, config: DpuClusterConfig, nodes: Iterable[Obj]) -> Mapping[str, str] | None:
        """Only where it matters: a key that reads the tenant's Nodes is woken by each of them."""
        if not any(names.TENANT_NODE_ANNOTATION in annotations_of(node) for node in nodes):
            return None
        try:
            return hosts_to_annotate(reader.list(config.tenant_cluster, Selection(NODES)))
        except (NotEngaged, NotSynced):
            return None

    def _settle(self, config: DpuClusterConfig, tenant: TenantSigns | None, stage: InfraObjects) -> Settled:
        """Weigh this look at the topology against those before; one that sees no tenant ends a count."""
        key = Key(INFRA, config.namespace, config.name)
        with self._lock:
            previous = self._settled.get(key)
        if tenant is None:
            settled = Settled(None, "TenantNotRead")
        else:
            running = running_topology(stage.daemonset)
            settled = settle(previous, tenant.topology(config.topology), running, self._clock.monotonic())
        with self._lock:
            self._settled[key] = settled
        return settled

    def _infra_daemonset(self, reader: Reader, config: DpuClusterConfig) -> Obj | None:
        """Infra's own `ovnkube-node`, if its image is what runs, or says what `spec.image` may name."""
        told = self.installation.allowed_images if config.image else self.installation.ovnkube_image
        if told:
            return None
        namespace, name = names.OVN_KUBERNETES_NAMESPACE, names.OVNKUBE_NODE
        try:
            return reader.one(INFRA, DAEMONSETS, namespace, name)
        except NotSynced as err:
            if config.image and isinstance(err.error, Forbidden):
                return None  # a cluster without that namespace has no role there either; it allows nothing then
            raise

    def _tenant(self, reader: Reader, config: DpuClusterConfig, namespace: str) -> TenantSigns:
        cluster = config.tenant_cluster

        def get(resource: Resource, name: str) -> Obj | None:
            return reader.one(cluster, resource, namespace, name)

        masters = Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_MASTER}))
        begin(*(partial(get, *each) for each in _OF_TENANT), lambda: reader.list(cluster, masters))
        node_daemonset = get(DAEMONSETS, names.OVNKUBE_NODE)
        cluster_version = self._cluster_version(reader, cluster)
        # An older right of ours in an OpenShift tenant does not name it, and it is not there.
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
        """What the tenant's release is, and what it is built for; None where it is no OpenShift cluster.

        Asked of the definition first: a list of what is not served would fail, again and again.
        """
        try:
            if not reader.serves(cluster, names.CLUSTERVERSIONS):
                return None
        except NotSynced as err:
            if isinstance(err.error, Forbidden):
                return None  # without the right to read it the pods get infra's image, as on any other cluster
            raise
        return reader.one(cluster, names.CLUSTERVERSIONS, "", names.CLUSTERVERSION)

    def _stage(self, reader: Reader, config: DpuClusterConfig) -> InfraObjects:
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
    there = {str((pod.get("spec") or {}).get("nodeName", "")) for pod in pods}
    return not entries_of(entries).keys() <= there


def _refusals(reader: Reader, namespace: str) -> tuple[Obj, ...]:
    """Events that say why the DaemonSet has no pods; none where rights of an older release do not let us look."""
    about = f"regarding.kind=DaemonSet,regarding.name={names.OVNKUBE_NODE},reason={FAILED_CREATE}"
    try:
        return tuple(reader.list(INFRA, Selection(EVENTS, namespace, about)))
    except NotSynced:
        return ()
