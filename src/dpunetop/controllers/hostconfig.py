"""Host configuration: the pool of the DPU nodes and the MachineConfig that turns them into offload nodes."""

from __future__ import annotations

from dpunetop.controllers.reconciler import ConfigReconciler, Installation
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.hostconfig.machineconfig import HostAssets
from dpunetop.domain.hostconfig.plan import HostConfigView, plan_host_config
from dpunetop.domain.pairing.entries import serving_nodes
from dpunetop.domain.reasons import MCP_READY
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES, PODS
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Plan
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import Reader


class HostConfig(ConfigReconciler[HostConfigView]):
    """Manages MachineConfigPool, MachineConfig and `McpReady`."""

    name = "hostconfig"
    condition = MCP_READY

    def __init__(self, installation: Installation, executor: Executor, assets: HostAssets) -> None:
        super().__init__(installation, executor)
        self._assets = assets

    def gather(self, reader: Reader, config: DpuClusterConfig) -> HostConfigView:
        """See `ConfigReconciler.gather`."""
        machine_config = names.machine_config_name(config.pool_name)
        served = reader.serves(INFRA, names.MACHINECONFIGPOOLS)
        return HostConfigView(
            config=config,
            owner=self.owner(reader, config),
            assets=self._assets,
            pools=tuple(reader.list(INFRA, Selection(names.MACHINECONFIGPOOLS))) if served else None,
            machine_config=self._machine_config(reader, machine_config) if served else None,
            nodes=tuple(reader.list(INFRA, Selection(NODES))),
            serving=self._serving(reader, config.namespace),
            field_manager=self.manager,
            rights=self.rights(reader, config),
        )

    def plan(self, view: HostConfigView) -> Plan:
        """See `ConfigReconciler.plan`."""
        return plan_host_config(view)

    def _machine_config(self, reader: Reader, name: str) -> Obj | None:
        return reader.one(INFRA, names.MACHINECONFIGS, "", name)

    def _serving(self, reader: Reader, namespace: str) -> frozenset[str]:
        entries = names.OVNKUBE_NODE_ENTRIES
        pods = Selection(PODS, namespace, "", by_labels({"app": names.OVNKUBE_NODE}))
        return serving_nodes(
            reader.one(INFRA, CONFIGMAPS, namespace, entries),
            reader.list(INFRA, pods),
        )
