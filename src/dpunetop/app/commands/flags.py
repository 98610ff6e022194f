"""The flags that all commands for people share, read once into one frozen value."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from dpunetop.app.commands.output import Format
from dpunetop.base.quoting import quoted

DEFAULT_OPERATOR_NAMESPACE = "openshift-dpu-network-operator"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FOR_ONE = re.compile(r"(?P<config>[a-z0-9][-a-z0-9.]*/[a-z0-9][-a-z0-9.]*)=(?P<path>.+)")


class UsageError(Exception):
    """A flag or a file that cannot be used; its text is the one line to show."""


@dataclass(frozen=True, slots=True)
class TenantKubeconfigs:
    """The kubeconfigs of tenants that were given: one for all DpuClusterConfigs, and some for single ones."""

    for_all: str | None
    for_one: Mapping[str, str]
    """By `namespace/name` of the DpuClusterConfig."""

    def of(self, namespace: str, name: str) -> str | None:
        """The file for the tenant of one DpuClusterConfig; None: that tenant is not looked at."""
        return self.for_one.get(f"{namespace}/{name}", self.for_all)


@dataclass(frozen=True, slots=True)
class Flags:
    """The shared flags. None: not given."""

    kubeconfig: str | None
    context: str | None
    tenants: TenantKubeconfigs
    namespace: str
    """Of the DpuClusterConfigs that are looked at; empty: all."""
    operator_namespace: str | None
    output: Format
    watch: bool
    colour: bool


class PlainParser(argparse.ArgumentParser):
    """The parser of one command. Raises: UsageError, where argparse would end the process."""

    def __init__(self, name: str, summary: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"dpunetop {name}",
            allow_abbrev=False,
            description=summary,
            epilog=epilog or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """See `argparse.ArgumentParser.error`."""
        raise UsageError(f"{message}; `{self.prog} --help` lists the flags")


class CommandParser(PlainParser):
    """The parser of a command that looks at clusters: with the flags that all of those share."""

    def __init__(self, name: str, summary: str, epilog: str = "") -> None:
        super().__init__(name, summary, epilog)
        _add_shared(self.add_argument_group("flags of all commands"))


def _add_shared(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--kubeconfig", metavar="PATH", help="of the infra cluster [KUBECONFIG]; else as kubectl finds it"
    )
    group.add_argument("--context", metavar="NAME", help="context in --kubeconfig; default: its current one")
    group.add_argument(
        "--tenant-kubeconfig",
        metavar="[NAMESPACE/NAME=]PATH",
        action="append",
        default=[],
        help="of the tenant of that DpuClusterConfig, or of all; without one the tenant is not looked at: exit code 3",
    )
    group.add_argument("-n", "--namespace", default="", help="of the DpuClusterConfigs; default: all namespaces")
    group.add_argument(
        "--operator-namespace", help=f"where the operator runs; default: found, else {DEFAULT_OPERATOR_NAMESPACE}"
    )
    group.add_argument("-o", "--output", default=Format.TABLE, choices=[str(each) for each in Format])
    group.add_argument("--watch", action="store_true", help="look again every few seconds, until Ctrl-C")
    group.add_argument(
        "--no-color", action="store_true", help="no colours [NO_COLOR]; off where the output is no terminal"
    )


def read_flags(given: argparse.Namespace, environment: Mapping[str, str], is_terminal: bool) -> Flags:
    """The shared flags of a parsed command line. Raises: UsageError for the first that cannot be used."""
    has_colour = is_terminal and not given.no_color and not environment.get("NO_COLOR")
    return Flags(
        kubeconfig=given.kubeconfig or environment.get("KUBECONFIG") or None,
        context=given.context,
        tenants=_tenants(given.tenant_kubeconfig),
        namespace=_label("--namespace", given.namespace) if given.namespace else "",
        operator_namespace=_label("--operator-namespace", given.operator_namespace)
        if given.operator_namespace
        else None,
        output=Format(given.output),
        watch=given.watch,
        colour=has_colour and environment.get("TERM") != "dumb",
    )


def _tenants(given: list[str]) -> TenantKubeconfigs:
    single = {found["config"]: found["path"] for text in given if (found := _FOR_ONE.fullmatch(text))}
    for_all = [text for text in given if not _FOR_ONE.fullmatch(text)]
    if len(for_all) > 1:
        raise UsageError("--tenant-kubeconfig: more than one for all; say whose each is: NAMESPACE/NAME=PATH")
    return TenantKubeconfigs(for_all[0] if for_all else None, single)


def _label(flag: str, text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise UsageError(f"{flag}: {quoted(text)} is not the name of a namespace")
    return text
