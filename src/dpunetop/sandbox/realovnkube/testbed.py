"""A testbed for our DaemonSet: one DPU and its host, both with a real OVN-Kubernetes, and two real control planes."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.lifecycle import Composite
from dpunetop.sandbox.processes import RunFolder
from dpunetop.sandbox.realovn import packages
from dpunetop.sandbox.realovn.datapath import EXTERNAL_BRIDGE, Addresses, Dpu
from dpunetop.sandbox.realovn.pods import Pod
from dpunetop.sandbox.realovnkube import tenant
from dpunetop.sandbox.realovnkube.host import NAME, TenantHost
from dpunetop.sandbox.realovnkube.portforward import PortForward
from dpunetop.sandbox.realovnkube.program import Ovnkube
from dpunetop.sandbox.realovnkube.runtime import DpuRuntime
from dpunetop.sandbox.realovnkube.traffic import EchoServer, ask
from dpunetop.sandbox.realovnkube.workload import wire
from dpunetop.sandbox.standins.kubelet import address
from dpunetop.sandbox.world import World

ENCAP = "198.51.100.10"
"""The Geneve address in the DPU's Open vSwitch, different from the Node's own address."""

# The network of all node addresses, see `kubelet.address`.
_FABRIC, _PREFIX = "10.64.0.1", 10
_PORT = 8080


class RealTestbed(Composite):
    """A `World` whose DPU runs the pods of our DaemonSet as processes: a context manager.

    Guarantees: after entry, DPU, host and both control planes run; `start_tenant` adds the tenant's OVN-Kubernetes.
        After exit, nothing is left.
    Threads: one.
    Raises: Unavailable, outside of namespaces of its own; Failed; as `World.start`.
    """

    def __init__(self, ovnkube: Ovnkube, dpu: str, host: str, **world: Any) -> None:
        """`dpu` and `host` are the names of the Nodes; `world` goes to `World`."""
        super().__init__()
        self.ovnkube = ovnkube
        self.names = (dpu, host)
        self._options = world

    def start_tenant(self, namespace: str) -> Pod:
        """Start cluster manager and the host's `ovnkube`; the host's Node and the objects in `namespace` must exist."""
        pod = tenant.programs(self.ovnkube, self.dpu, self.host, self.world.tenant, namespace)
        self._open.enter_context(pod)
        return pod

    def try_out(self, namespace: str = "default", name: str = "talks") -> str:
        """Connect a pod on the host, and let it talk to the fabric; returns a report. Raises: TimeoutError."""
        wired = wire(self.host, self.world.tenant.admin, namespace, name)
        fabric = self.dpu.addresses.fabric
        with EchoServer(self.dpu.fabric, fabric, _PORT):
            answers = ask(wired.place, fabric, _PORT)
        seconds = wired.seconds_to_address + wired.seconds_to_status
        return (
            f"pod {namespace}/{name} on {self.host.name} has {wired.address} and was wired by its DPU after "
            f"{seconds:.1f} s; {answers.count} answers from {fabric}, which saw {answers.seen_as or answers.trouble}"
        )

    def _start(self) -> None:
        dpu, host = self.names
        folder = RunFolder("testbed")
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
        self._open.enter_context(PortForward(self.dpu.root.inside(f"/run/netns/{NAME}"), port))

    def _dpu(self, folder: Path, name: str) -> Dpu:
        image = dataclasses.replace(packages.find(), programs=self.ovnkube.programs(folder / "programs"))
        return Dpu(folder, Addresses(address(name), _FABRIC, _PREFIX), image)

    def _power_on(self) -> None:
        self.dpu.power_on()
        self._set_up()

    def _set_up(self) -> None:
        """Set up the DPU as its administrator does: the host's uplink, and an address for Geneve."""
        self.host.plug_in()
        self.dpu.here.ip("address", "replace", f"{ENCAP}/32", "dev", EXTERNAL_BRIDGE)
        self.dpu.vsctl("set", "Open_vSwitch", ".", f"external_ids:ovn-encap-ip={ENCAP}")


def specs() -> dict[str, Spec]:
    """Specs of two control planes with an audit log."""
    return {"infra": Spec("infra", audit=True), "tenant": Spec("tenant", audit=True)}
