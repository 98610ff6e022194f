"""All commands: name, one line of help, and the module, which is imported only when the command runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

Function = Callable[[Sequence[str]], int]


@dataclass(frozen=True, slots=True)
class Command:
    """One command; `module` has a function of the command's name (with `_` for `-`) and one named `parser`."""

    name: str
    summary: str
    module: str

    def function(self) -> Function:
        """The function, imported now: arguments in, exit code out."""
        found: Function = getattr(import_module(self.module), self.name.replace("-", "_"))
        return found

    def parser(self) -> argparse.ArgumentParser:
        """The parser of its flags and arguments, imported now."""
        found: argparse.ArgumentParser = import_module(self.module).parser()
        return found


COMMANDS = (
    Command("run", "the operator; `run --help` lists its flags", "dpunetop.app.cli"),
    Command(
        "status", "all DPUs of all tenants, worst first: which hosts have no network, and why", f"{__package__}.status"
    ),
    Command("explain", "one DPU or host: where it stands, what it waits for, what to do", f"{__package__}.explain"),
    Command("doctor", "whether both clusters are as the operator needs them", f"{__package__}.doctor"),
    Command("render", "what a DpuClusterConfig would write, offline or as a diff", f"{__package__}.render"),
    Command(
        "tenant-kubeconfig",
        "make the kubeconfig that the operator is given for a tenant",
        f"{__package__}.tenantkubeconfig",
    ),
    Command("collect", "make a support archive of both clusters, without secrets", f"{__package__}.collect"),
    Command("completion", "completion for bash, zsh or fish", f"{__package__}.completion"),
    Command("sweep", "remove what is left of DpuClusterConfigs that are gone", "dpunetop.app.sweepcli"),
    Command("sandbox", "two real API servers with stand-ins, to play with", "dpunetop.sandbox.cli"),
)
"""In the order of the help."""


def find_command(name: str) -> Command | None:
    """The command of that name, if there is one."""
    return next((each for each in COMMANDS if each.name == name), None)
