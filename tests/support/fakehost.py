"""A DPU's system as the host scripts see it: a tree like /sys and commands that record how they were called."""

import os
import subprocess
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path

NVIDIA = "0x15b3"
BLUEFIELD_2 = "0xa2d6"
BLUEFIELD_3 = "0xa2dc"
SWITCH = "8eae470003bba0b8"


@dataclass
class FakeHost:
    """Build interfaces and commands below `root`, then run a script that takes them for the real ones."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in ("sys/class/net", "sys/bus/pci/devices", "bin", "state"):
            (self.root / folder).mkdir(parents=True)
        self.calls_file.touch()

    @property
    def calls_file(self) -> Path:
        return self.root / "calls"

    def pci(self, address: str, vendor: str = NVIDIA, device: str = BLUEFIELD_2) -> Path:
        """A PCI device; its ports hang on it."""
        folder = self.root / "sys/bus/pci/devices" / address
        folder.mkdir()
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "device").write_text(f"{device}\n")
        return folder

    def interface(self, name: str, pci: Path | None = None, **attributes: str) -> None:
        """An interface; without `pci` a virtual one."""
        folder = self.root / "sys/class/net" / name
        folder.mkdir()
        if pci is not None:
            (folder / "device").symlink_to(pci)
        for attribute, value in attributes.items():
            (folder / attribute).write_text(f"{value}\n")

    def stack(self, upper: str, *lowers: str) -> None:
        """Say that `upper` (a bond, a VLAN) stands on `lowers`."""
        for lower in lowers:
            (self.root / "sys/class/net" / upper / f"lower_{lower}").symlink_to(self.root / "sys/class/net" / lower)

    def bluefield(self, representor: str = "c1pf{}", names: tuple[str, str] = ("p0", "p1")) -> None:
        """A card with two ports in switchdev mode; `representor` is what its kernel calls the host's functions."""
        for number, name in enumerate(names):
            pci = self.pci(f"0000:03:00.{number}")
            self.interface(name, pci, phys_port_name=f"p{number}", phys_switch_id=SWITCH)
            self.interface(f"rep{number}", pci, phys_port_name=representor.format(number), phys_switch_id=SWITCH)

    def command(self, name: str, body: str = "") -> None:
        """A command that records its arguments and runs `body`, which may keep files in `$STATE`."""
        path = self.root / "bin" / name
        path.write_text(f'#!/bin/bash\nprintf "%s\\n" "{name} $*" >>"$CALLS"\n{body}\n')
        path.chmod(0o755)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a shipped script to its end."""
        with as_file(files("dpunetop.app.assets") / "host" / script) as path:
            return subprocess.run(
                ["bash", str(path), *arguments],
                env=self._environment(),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

    def calls(self, command: str) -> list[str]:
        """The arguments of each call of a command, oldest first."""
        lines = self.calls_file.read_text().splitlines()
        return [line.removeprefix(f"{command} ") for line in lines if line.startswith(f"{command} ")]

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "DPU_SYSFS": str(self.root / "sys"),
            "DPU_CONFIG": str(self.root / "dpu-network"),
            "DPU_TRIES": "3",
            "DPU_PAUSE_SECONDS": "0",
            "CALLS": str(self.calls_file),
            "STATE": str(self.root / "state"),
        } | self.environment
