"""OVN-Kubernetes on the DPUs: ServiceAccount, per-node entries, DaemonSet."""

from __future__ import annotations

from dpunetop.controllers.flow import ConfigController, Installation, blindness, one
from dpunetop.domain import names
from dpunetop.domain.daemonset import OvnkubeScripts
from dpunetop.domain.ovnkube import OvnKubeView, Stage, TenantSigns, plan_ovnkube
from dpunetop.domain.ownership import Owner
from dpunetop.domain.status import OVN_KUBE_READY
from dpunetop.domain.tenantkubeconfig import Network
from dpunetop.domain.types import DpuClusterConfig
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    DEPLOYMENTS,
    INFRA,
    NODES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    Resource,
    crd_name,
)
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Plan
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import NotEngaged, NotSynced, Reader


class OvnKube(ConfigController[OvnKubeView]):
    """Sees to ServiceAccount, entries, DaemonSet, restarts of idle pods, and `OvnKubeReady`."""

    name = "ovnkube"
    condition = OVN_KUBE_READY

    def __init__(
        self,
        installation: Installation,
        executor: Executor,
        scripts: OvnkubeScripts,
        allowed_networks: tuple[Network, ...],
    ) -> None:
        super().__init__(installation, executor)
        self._scripts = scripts
        self._allowed_networks = allowed_networks

    def serves(self, config: DpuClusterConfig) -> bool:
        """See `ConfigController.serves`: host configuration alone needs no pods."""
        return super().serves(config) and config.kubeconfig_secret is not None

    def gather(self, reader: Reader, config: DpuClusterConfig) -> OvnKubeView:
        """See `ConfigController.gather`."""
        blind, tenant = "", None
        tenant_namespace = config.tenant_namespace or self.installation.tenant_namespace
        try:
            tenant = self._tenant(reader, config, tenant_namespace)
        except (NotEngaged, NotSynced) as err:
            blind = blindness(config, err)
        return OvnKubeView(
            config=config,
            owner=Owner(config.live, self.owner(reader, config)),
            tenant_namespace=tenant_namespace,
            tenant=tenant,
            blind=blind,
            stage=self._stage(reader, config),
            environment_image=self.installation.ovnkube_image,
            scripts=self._scripts,
            allowed_networks=self._allowed_networks,
            field_manager=self.manager,
        )

    def plan(self, view: OvnKubeView) -> Plan:
        """See `ConfigController.plan`."""
        return plan_ovnkube(view)

    def _needs_image(self, config: DpuClusterConfig) -> bool:
        return not (config.image or self.installation.ovnkube_image)

    def _tenant(self, reader: Reader, config: DpuClusterConfig, namespace: str) -> TenantSigns:
        cluster = config.tenant_cluster

        def get(resource: Resource, name: str) -> Obj | None:
            return reader.get(cluster, one(resource, namespace, name), namespace, name)

        masters = Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_MASTER}))
        return TenantSigns(
            daemonset=get(DAEMONSETS, names.OVNKUBE_NODE),
            masters=tuple(reader.list(cluster, masters)),
            control_plane=get(DEPLOYMENTS, names.OVNKUBE_CONTROL_PLANE),
            script_lib=get(CONFIGMAPS, names.OVNKUBE_SCRIPT_LIB),
            architecture=self._architecture(reader, cluster) if self._needs_image(config) else None,
        )

    def _architecture(self, reader: Reader, cluster: str) -> str | None:
        """What the tenant's release is built for; None where it is no OpenShift cluster.

        Asked of the definition first: a list of what is not served would fail, again and again.
        """
        crd = crd_name(names.CLUSTERVERSIONS)
        try:
            if reader.get(cluster, one(CUSTOMRESOURCEDEFINITIONS, "", crd), "", crd) is None:
                return None
        except NotSynced as err:
            if isinstance(err.error, Forbidden):
                return None  # whoever may not look gets infra's image, as on any other cluster
            raise
        version = one(names.CLUSTERVERSIONS, "", names.CLUSTERVERSION)
        found = reader.get(cluster, version, "", names.CLUSTERVERSION) or {}
        desired = (found.get("status") or {}).get("desired") or {}
        return desired.get("architecture") or None

    def _stage(self, reader: Reader, config: DpuClusterConfig) -> Stage:
        namespace = config.namespace

        def get(resource: Resource, name: str, namespace: str = namespace) -> Obj | None:
            return reader.get(INFRA, one(resource, namespace, name), namespace, name)

        has_machine_configs = get(CUSTOMRESOURCEDEFINITIONS, crd_name(names.MACHINECONFIGPOOLS), "") is not None
        pods = Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_NODE}))
        own = names.OVN_KUBERNETES_NAMESPACE
        return Stage(
            service_account=get(SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT),
            daemonset=get(DAEMONSETS, names.OVNKUBE_NODE),
            entries=get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES),
            pods=tuple(reader.list(INFRA, pods)),
            overrides=get(CONFIGMAPS, names.ENV_OVERRIDES),
            mounted={
                names.OVN_CERT: get(SECRETS, names.OVN_CERT),
                names.OVN_CA: get(CONFIGMAPS, names.OVN_CA),
                names.OVNKUBE_CONFIG: get(CONFIGMAPS, names.OVNKUBE_CONFIG),
                names.TENANT_CREDENTIAL: get(SECRETS, names.TENANT_CREDENTIAL),
            },
            nodes=tuple(reader.list(INFRA, Selection(NODES))),
            pool=self._pool(reader, config) if has_machine_configs else None,
            has_machine_configs=has_machine_configs,
            infra_daemonset=get(DAEMONSETS, names.OVNKUBE_NODE, own) if self._needs_image(config) else None,
        )

    def _pool(self, reader: Reader, config: DpuClusterConfig) -> Obj | None:
        return reader.get(INFRA, Selection(names.MACHINECONFIGPOOLS), "", config.pool_name)
