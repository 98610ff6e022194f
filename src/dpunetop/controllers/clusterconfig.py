"""The DpuClusterConfig itself: its finalizer, its summary, and its end in order."""

from __future__ import annotations

from dpunetop.controllers.flow import ConfigController, one
from dpunetop.domain import names
from dpunetop.domain.lifecycle import ConfigView, Leftovers, plan_config
from dpunetop.domain.status import READY
from dpunetop.domain.types import DpuClusterConfig
from dpunetop.kube.keys import (
    CONFIGMAPS,
    CUSTOMRESOURCEDEFINITIONS,
    DAEMONSETS,
    INFRA,
    NODES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    Resource,
    crd_name,
)
from dpunetop.kube.meta import Obj, labels_of
from dpunetop.kube.plan import Plan
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.runtime.reading import Reader


class ClusterConfig(ConfigController[ConfigView]):
    """Sees to finalizer, `Ready` and teardown."""

    name = "clusterconfig"
    condition = READY

    def serves(self, config: DpuClusterConfig) -> bool:
        """Every one: somebody has to say why one is refused, and to take down one that is deleted."""
        return True

    def gather(self, reader: Reader, config: DpuClusterConfig) -> ConfigView:
        """See `ConfigController.gather`; what teardown has to remove is read only then."""
        leftovers = self._leftovers(reader, config) if config.terminating else None
        return ConfigView(config, leftovers, self.manager)

    def plan(self, view: ConfigView) -> Plan:
        """See `ConfigController.plan`."""
        return plan_config(view)

    def _leftovers(self, reader: Reader, config: DpuClusterConfig) -> Leftovers:
        owner = self.owner(reader, config)
        namespace = config.namespace

        def ours(resource: Resource, name: str, namespace: str = namespace) -> Obj | None:
            obj = reader.get(INFRA, one(resource, namespace, name), namespace, name)
            return obj if obj is not None and labels_of(obj).get(names.OWNER_LABEL) == owner else None

        served = self._host_configuration_is_served(reader)
        return Leftovers(
            pool=ours(names.MACHINECONFIGPOOLS, config.pool_name, "") if served else None,
            machine_config=ours(names.MACHINECONFIGS, names.machine_config_name(config.pool_name), "")
            if served
            else None,
            nodes=tuple(reader.list(INFRA, Selection(NODES))),
            daemonset=ours(DAEMONSETS, names.OVNKUBE_NODE),
            pods=tuple(reader.list(INFRA, Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_NODE})))),
            copies=tuple(
                (resource, obj)
                for resource, name in (
                    (SECRETS, names.OVN_CERT),
                    (SECRETS, names.TENANT_CREDENTIAL),
                    (CONFIGMAPS, names.OVN_CA),
                    (CONFIGMAPS, names.OVNKUBE_CONFIG),
                    (CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES),
                )
                if (obj := ours(resource, name)) is not None
            ),
            service_account=ours(SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT),
        )

    def _host_configuration_is_served(self, reader: Reader) -> bool:
        crd = crd_name(names.MACHINECONFIGPOOLS)
        return reader.get(INFRA, one(CUSTOMRESOURCEDEFINITIONS, "", crd), "", crd) is not None
