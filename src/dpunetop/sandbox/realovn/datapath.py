"""The DPU below our pods: its root file system, Open vSwitch with the userspace datapath, and an uplink to a fabric.

It lacks hardware representors, offload, and the kernel's datapath.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dpunetop.sandbox.realovn import packages
from dpunetop.sandbox.realovn.network import CableEnd, NetworkNamespace, add_network_namespace, connect
from dpunetop.sandbox.realovn.packages import Image
from dpunetop.sandbox.realovn.rootfs import Failed, Root

UPLINK = "p0"
EXTERNAL_BRIDGE = "br-ex"

_SWITCH = "ovs-vswitchd"
_START_SECONDS = 120.0
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_OVSDB = "/run/openvswitch/db.sock"
_FOLDERS = ("run/openvswitch", "run/netns", "var/log/ovn", "var/log/openvswitch", "etc/openvswitch")


@dataclass(frozen=True)
class Addresses:
    """The addresses on the fabric, all in one network."""

    dpu: str = "192.168.50.2"
    fabric: str = "192.168.50.1"
    prefix: int = 24


class Dpu:
    """A running DPU: a context manager.

    Guarantees: the network namespace of this process is the DPU's; `fabric` is at the other end of its uplink. All
        files are in memory below `folder`, and disappear with the namespaces.
    Raises: Unavailable; Failed.
    """

    def __init__(self, folder: Path, addresses: Addresses | None = None, image: Image | None = None) -> None:
        self.addresses = addresses or Addresses()
        self.folder = folder
        self.image = image or packages.find()
        self.root = Root(self.image, folder / "dpu")
        self.here = NetworkNamespace(self.root)
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._prepare()
        self.fabric = add_network_namespace(self.root, "fabric")

    def __enter__(self) -> Self:
        try:
            self.root.run("ovsdb-tool", "create", "/etc/openvswitch/conf.db", _SCHEMA)
            prefix = self.addresses.prefix
            connect(CableEnd(self.here, UPLINK), CableEnd(self.fabric, "f0", f"{self.addresses.fabric}/{prefix}"))
            self.power_on()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End Open vSwitch and remove its interfaces, so that another DPU can start in these namespaces."""
        if _SWITCH in self._daemons:
            # Its interfaces outlive it unless --cleanup removes them.
            self.root.run("ovs-appctl", "--timeout=20", "exit", "--cleanup")
            self._daemons.pop(_SWITCH).wait(20)
        self._kill_daemons()
        with contextlib.suppress(Failed):
            self.here.ip("link", "delete", UPLINK)
        self.root.close()

    def power_off(self) -> None:
        """End Open vSwitch as a loss of power does, and lose the memory; interfaces stay."""
        self._kill_daemons()
        for folder in self.root.inside("/run").iterdir():
            if folder.is_dir() and folder.name != "netns":
                shutil.rmtree(folder)

    def power_on(self) -> None:
        """Start Open vSwitch with its stored database, and give the external bridge its address."""
        self._prepare()
        self._start_open_vswitch()
        self._plug_in()

    def _kill_daemons(self) -> None:
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait(20)
        self._daemons.clear()

    def vsctl(self, *arguments: str) -> str:
        """Run `ovs-vsctl`, which waits until Open vSwitch has applied the change. Raises: Failed."""
        return self.root.run("ovs-vsctl", "--timeout=20", *arguments)

    def add_to_bridge(self, bridge: str, interface: str) -> None:
        """Add an interface of the DPU to a bridge with the userspace datapath."""
        self.vsctl("--may-exist", "add-port", bridge, interface, "--", "set", "Interface", interface, "type=system")

    def _prepare(self) -> None:
        for name in _FOLDERS:
            (self.root.path / name).mkdir(parents=True, exist_ok=True)
        (self.root.path / "etc" / "resolv.conf").touch()
        (self.root.path / "etc" / "hosts").write_text("127.0.0.1 localhost\n")

    def _start_open_vswitch(self) -> None:
        self._daemon("ovsdb-server", "/etc/openvswitch/conf.db", f"--remote=punix:{_OVSDB}")
        self._until_answered("--no-wait", "init")
        facts = ("external_ids:ovn-bridge-datapath-type=netdev", "external_ids:system-id=chassis-of-the-dpu")
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", *facts)
        # No kernel datapath: not every machine has it, and it would be shared with the machine.
        self._daemon(_SWITCH, f"unix:{_OVSDB}", "--disable-system")

    def _daemon(self, program: str, *arguments: str) -> None:
        pidfile = f"--pidfile=/run/openvswitch/{program}.pid"
        command = [program, *arguments, pidfile, "-vconsole:info", "-vfile:off", "-vsyslog:off"]
        self._daemons[program] = self.root.spawn(command, self.folder / f"{program}.log")

    def _until_answered(self, *arguments: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.root.run("ovs-vsctl", "--timeout=2", *arguments)
            except Failed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def _plug_in(self) -> None:
        prefix = self.addresses.prefix
        self.vsctl(
            "--may-exist", "add-br", EXTERNAL_BRIDGE, "--", "set", "Bridge", EXTERNAL_BRIDGE, "datapath_type=netdev"
        )
        self.add_to_bridge(EXTERNAL_BRIDGE, UPLINK)
        self.here.ip("address", "replace", f"{self.addresses.dpu}/{prefix}", "dev", EXTERNAL_BRIDGE)
        self.here.ip("link", "set", EXTERNAL_BRIDGE, "up")
        self.here.ip("route", "replace", "default", "via", self.addresses.fabric, "dev", EXTERNAL_BRIDGE)
