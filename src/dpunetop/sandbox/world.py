"""Two clusters with all programs beside the operator, real or stand-ins, as one context manager."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import INFRA
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.components import WITH_CONTROLLERS, Component, Spec
from dpunetop.sandbox.controlplane import ControlPlanePair
from dpunetop.sandbox.lifecycle import Composite
from dpunetop.sandbox.realneighbours.daemon import MachineConfigDaemon
from dpunetop.sandbox.realneighbours.machineconfig import MachineConfigNeighbour
from dpunetop.sandbox.realneighbours.maintenance import NodeMaintenanceNeighbour
from dpunetop.sandbox.seed import QuickStart
from dpunetop.sandbox.standins.engine import StandIns
from dpunetop.sandbox.standins.kubelet import Kubelet
from dpunetop.sandbox.standins.mco import MachineConfigOperator
from dpunetop.sandbox.standins.nodemaintenance import NodeMaintenanceOperator
from dpunetop.sandbox.standins.ovnkube import Shows, central_tenant
from dpunetop.sandbox.standins.runtime import Runtime
from dpunetop.sandbox.standins.zones import Zones

TENANT = "tenant"
_POLL_SECONDS = 0.1


class World(Composite):
    """Both control planes, their stand-ins, and the objects that the quick start assumes; the user's steps are methods.

    Guarantees: when `start` returns, nodes are Ready, pools are rendered or soon will be, and the tenant's masters run
        soon; after `close` no process, thread or file is left.
    Threads: one.
    Raises: as `ControlPlanePair.start`; TimeoutError, from `start`.
    """

    def __init__(
        self,
        *,
        dpus: int = 3,
        infra: Spec | None = None,
        tenant: Spec | None = None,
        quick_start: QuickStart | None = None,
        heartbeat_seconds: float = 10.0,
        boot_seconds: float = 1.0,
        retry_seconds: float = 1.0,
        runtime: Runtime | None = None,
        machine_config: MachineConfigNeighbour | None = None,
        maintenance: NodeMaintenanceNeighbour | None = None,
        shows: Shows = central_tenant,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`dpus` applies without `quick_start`; `say` is called at each step.

        `runtime` runs the pods of infra's nodes as processes; then no stand-in plays OVN-Kubernetes.
        `machine_config`, `maintenance`: real programs in place of the stand-ins; they end with this world.
        `shows`: the objects of the tenant's own OVN-Kubernetes.
        """
        super().__init__()
        self.quick_start = quick_start or QuickStart(dpus=dpus)
        tenant = tenant or Spec(TENANT, WITH_CONTROLLERS)
        self.pair = ControlPlanePair(infra, tenant)
        self.infra, self.tenant = self.pair.infra, self.pair.tenant
        self.infra_kubelet = Kubelet(heartbeat_seconds=heartbeat_seconds, boot_seconds=boot_seconds, runtime=runtime)
        self.tenant_kubelet = Kubelet(
            heartbeat_seconds=heartbeat_seconds,
            boot_seconds=boot_seconds,
            binds_daemon_pods=Component.SCHEDULER not in tenant.components,
        )
        self._machine_config, self._maintenance = machine_config, maintenance
        self._mco = MachineConfigDaemon() if machine_config else MachineConfigOperator(retry_seconds=retry_seconds)
        self._zones = () if runtime is not None else (Zones(self.tenant),)
        self._shows = shows
        self._nmo = () if maintenance else (NodeMaintenanceOperator(retry_seconds=retry_seconds),)
        self._say = say
        self._up_at = time.monotonic()

    # --- the user's steps -------------------------------------------------------------------------------------------

    def store_kubeconfig(self) -> None:
        """Store the tenant's kubeconfig in the Secret."""
        kubeconfig = seed.tenant_kubeconfig(self.tenant, self.quick_start)
        self.infra.apply(seed.kubeconfig_secret(self.quick_start, kubeconfig))

    def store_entitled_kubeconfig(self) -> None:
        """Store a new kubeconfig with the rights of deploy/tenant-rights.yaml in the Secret."""
        kubeconfig = seed.entitled_kubeconfig(self.tenant)
        self.infra.apply(seed.kubeconfig_secret(self.quick_start, kubeconfig))

    def store_overrides(self) -> None:
        """Store the ConfigMap that pairs DPUs with hosts."""
        self.infra.apply(seed.env_overrides(self.quick_start))

    def create_config(self) -> None:
        """Create the DpuClusterConfig."""
        self.infra.apply(seed.dpu_cluster_config(self.quick_start))

    # --- for the operator -------------------------------------------------------------------------------------------

    def operator_kubeconfig(self) -> dict[str, Any]:
        """A kubeconfig for infra with the operator's own rights."""
        return self.infra.token_kubeconfig(seed.operator_token(self.pair))

    @property
    def operator_environment(self) -> dict[str, str]:
        """The environment variables of the quick start."""
        return {"TENANT_NAMESPACE": self.quick_start.tenant_namespace, "NAMESPACE": self.quick_start.namespace}

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def up_seconds(self) -> float:
        """Seconds since both API servers became ready."""
        return time.monotonic() - self._up_at

    def config(self) -> Obj:
        """The DpuClusterConfig; `{}` if it does not exist."""
        path = get(DPUCLUSTERCONFIGS, self.quick_start.namespace, self.quick_start.name).target
        return self.infra.admin.get_or_empty(path)

    def wait_condition(self, type_: str = "Ready", status: str = "True", timeout: float = 120.0) -> dict[str, Any]:
        """Wait until that condition has that status; returns it. Raises: TimeoutError, with all conditions."""
        deadline = time.monotonic() + timeout
        while True:
            config = self.config()
            condition = condition_of(config, type_) or {}
            if condition.get("status") == status:
                return condition
            if time.monotonic() > deadline:
                raise TimeoutError(f"{type_} is not {status} after {timeout:g} s: {_conditions(config)}")
            time.sleep(_POLL_SECONDS)

    def _start(self) -> None:
        self._say("starting two control planes")
        self._open.enter_context(self.pair)
        self._up_at = time.monotonic()
        self._say("creating the objects that the quick start assumes")
        self._install_neighbours()
        with ThreadPoolExecutor(2, thread_name_prefix="seed") as pool:  # neither cluster's seed needs the other's
            infra = pool.submit(seed.seed_infra, self.pair, self.quick_start)
            tenant = pool.submit(seed.seed_tenant, self.pair, self.quick_start, self._shows)
            infra.result()
            tenant.result()
        self._say("starting the stand-ins")
        self._start_stand_ins()
        for neighbour in (self._machine_config, self._maintenance):
            if neighbour is not None:
                self._say(f"starting {neighbour.program.path.name}")
                self._open.enter_context(neighbour)

    def _start_stand_ins(self) -> None:
        infra = StandIns(self.infra, INFRA, (self.infra_kubelet, self._mco, *self._zones))
        tenant = StandIns(self.tenant, TENANT, (self.tenant_kubelet, *self._nmo))
        with ThreadPoolExecutor(2, thread_name_prefix="stand-ins") as pool:
            started = [pool.submit(each.start) for each in (infra, tenant)]
            for each in (infra, tenant):
                self._open.callback(each.close)
        for start in started:
            start.result()

    def _install_neighbours(self) -> None:
        """Install the CRDs of real programs first: the seed skips CRDs that exist."""
        if self._machine_config is not None:
            self._machine_config.install(self.infra)
        if self._maintenance is not None:
            self._maintenance.install(self.tenant)


def _conditions(config: Obj) -> list[str]:
    found = (config.get("status") or {}).get("conditions") or []
    return [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in found]
