"""One DPU and its host with a real OVN-Kubernetes on both, and two real control planes: what our DaemonSet must fit."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from dpunetop.sandbox.controlplane import Spec
from dpunetop.sandbox.processes import RunFolder
from dpunetop.sandbox.realovn import packages
from dpunetop.sandbox.realovn.datapath import EXTERNAL_BRIDGE, Addresses, Dpu
from dpunetop.sandbox.realovn.pods import Pod
from dpunetop.sandbox.realovnkube import tenant
from dpunetop.sandbox.realovnkube.door import Door
from dpunetop.sandbox.realovnkube.host import NAME, TenantHost
from dpunetop.sandbox.realovnkube.program import Ovnkube
from dpunetop.sandbox.realovnkube.runtime import DpuRuntime
from dpunetop.sandbox.realovnkube.traffic import Echo, ask
from dpunetop.sandbox.realovnkube.workload import wire
from dpunetop.sandbox.standins.kubelet import address
from dpunetop.sandbox.world import World

ENCAP = "198.51.100.10"
"""What Open vSwitch of the DPU says that Geneve is to use, beside the Node's own address."""

# The network that has the addresses of all nodes, see `kubelet.address`.
_FABRIC, _PREFIX = "10.64.0.1", 10
_PORT = 8080


class Bed:
    """A `World` whose DPU runs the pods of our DaemonSet as processes: a context manager.

    Guarantees: when it is entered, DPU, host and both control planes run; `start_tenant` adds what OVN-Kubernetes runs
        in the tenant. After it is left, nothing is.
    Threads: one.
    Raises: Unavailable, outside of a world of namespaces; Failed; as `World.start`.
    """

    def __init__(self, ovnkube: Ovnkube, dpu: str, host: str, **world: Any) -> None:
        """`dpu` and `host` are the names of the Nodes; `world` goes to `World`."""
        self.ovnkube = ovnkube
        self.names = (dpu, host)
        self._options = world
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def start_tenant(self, namespace: str) -> Pod:
        """Start cluster manager and the host's `ovnkube`, once the host has its Node and `namespace` its objects."""
        pod = tenant.programs(self.ovnkube, self.dpu, self.host, self.world.tenant, namespace)
        self._open.enter_context(pod)
        return pod

    def try_out(self, namespace: str = "default", name: str = "talks") -> str:
        """Wire a pod on the host and let it talk to the fabric; what came of it, in words. Raises: TimeoutError."""
        wired = wire(self.host, self.world.tenant.admin, namespace, name)
        fabric = self.dpu.addresses.fabric
        with Echo(self.dpu.fabric, fabric, _PORT):
            answers = ask(wired.place, fabric, _PORT)
        seconds = wired.seconds_to_address + wired.seconds_to_status
        return (
            f"pod {namespace}/{name} on {self.host.name} has {wired.address} and was wired by its DPU after "
            f"{seconds:.1f} s; {answers.count} answers from {fabric}, which saw {answers.seen_as or answers.trouble}"
        )

    def _start(self) -> None:
        dpu, host = self.names
        folder = RunFolder("bed")
        self._open.callback(folder.close)
        self.dpu = self._open.enter_context(self._dpu(folder.path, dpu))
        self.host = TenantHost(self.dpu, host, address(host))
        self._open.callback(self.host.close)
        self._set_up()
        self.runtime = DpuRuntime(self.dpu, dpu, self._power_on)
        self.world = World(runtime=self.runtime, shows=tenant.shows, **self._options)
        self._open.callback(self.runtime.close)
        self._open.enter_context(self.world)
        self.runtime.use(self.world.infra.admin)
        port = urlsplit(self.world.tenant.url).port
        assert port is not None
        self._open.enter_context(Door(self.dpu.root.inside(f"/run/netns/{NAME}"), port))

    def _dpu(self, folder: Path, name: str) -> Dpu:
        image = dataclasses.replace(packages.find(), programs=self.ovnkube.programs(folder / "programs"))
        return Dpu(folder, Addresses(address(name), _FABRIC, _PREFIX), image)

    def _power_on(self) -> None:
        self.dpu.power_on()
        self._set_up()

    def _set_up(self) -> None:
        """What whoever sets up a DPU does: the host's way out, and an address of its own for Geneve."""
        self.host.plug_in()
        self.dpu.here.ip("address", "replace", f"{ENCAP}/32", "dev", EXTERNAL_BRIDGE)
        self.dpu.vsctl("set", "Open_vSwitch", ".", f"external_ids:ovn-encap-ip={ENCAP}")


def specs() -> dict[str, Spec]:
    """Control planes of which one can ask afterwards who did what."""
    return {"infra": Spec("infra", audit=True), "tenant": Spec("tenant", audit=True)}
