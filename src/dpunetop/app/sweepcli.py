"""The command `sweep`: parses flags, removes what an installation has left behind, returns the exit code."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn
from urllib.parse import urlsplit

from dpunetop import __version__
from dpunetop.app.settings import SettingsError
from dpunetop.app.sweep import LEFT_EXIT, Busy, Sweeper, SweepSettings
from dpunetop.base.clock import Clock, RealClock
from dpunetop.base.stop import Stop
from dpunetop.domain import names
from dpunetop.domain.sweep import TENANT, Ending, SweepChoice
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import INFRA
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Transport
from dpunetop.runtime.metrics import Metrics

USAGE_EXIT, REFUSED_EXIT = 2, 3
DEFAULT_NAMESPACE = "openshift-dpu-network-operator"
_OWNER = re.compile(r"[0-9a-f]{32}")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def sweep(arguments: Sequence[str]) -> int:
    """Remove leftovers of deleted DpuClusterConfigs; see `Sweeper.run` for the exit code.

    Guarantees: exit code 2 and one line on stderr for an invalid flag, 3 while an operator is at work; after any
        interruption the next sweep continues.
    """
    try:
        settings = parse_sweep(arguments, os.environ)
        return _sweeper(settings).run()
    except (SettingsError, ConfigurationError) as err:
        return _failed(str(err), USAGE_EXIT)
    except Busy as err:
        return _failed(str(err), REFUSED_EXIT)
    except ApiError as err:
        cluster = f" of cluster {err.cluster}" if err.cluster else ""
        return _failed(f"the API server{cluster} did not carry out a request: {err}; run it again", LEFT_EXIT)
    except KeyboardInterrupt:
        return _failed("stopped half-way; the next sweep goes on", LEFT_EXIT)


def parse_sweep(arguments: Sequence[str], environment: Mapping[str, str]) -> SweepSettings:
    """Read the flags of `sweep`. Raises: SettingsError for the first invalid value."""
    given = parser().parse_args(list(arguments))
    if not _LABEL.fullmatch(given.namespace):
        raise SettingsError(f"--namespace: {given.namespace!r} is not the name of a namespace")
    for owner in given.owner:
        if not _OWNER.fullmatch(owner):
            raise SettingsError(f"--owner: {owner!r} is not a value of the label {names.OWNER_LABEL}")
    return SweepSettings(
        kubeconfig=given.kubeconfig or environment.get("KUBECONFIG") or None,
        tenant_kubeconfig=given.tenant_kubeconfig,
        namespace=given.namespace,
        choice=SweepChoice(Ending.FINISH if given.terminating else Ending.KEEP, frozenset(given.owner)),
        dry_run=given.dry_run,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"{message}; `python -m dpunetop sweep --help` lists the flags")


def parser() -> argparse.ArgumentParser:
    """The flags and arguments of the command."""
    what = "Remove what is left of DpuClusterConfigs that are gone, once no operator is there to do it."
    made = _Parser(prog="dpunetop sweep", allow_abbrev=False, description=what)
    made.add_argument("--kubeconfig", help="of infra [KUBECONFIG]; default: the pod's ServiceAccount")
    made.add_argument("--tenant-kubeconfig", help="of a tenant that is to be swept too; default: none is")
    made.add_argument("--namespace", default=DEFAULT_NAMESPACE, help="of the operator; default %(default)s")
    made.add_argument("--dry-run", action="store_true", help="say what would go, and write nothing")
    made.add_argument(
        "--terminating",
        action="store_true",
        help="DpuClusterConfigs that are being deleted count as gone: cut their hosts off, take our finalizer off",
    )
    made.add_argument(
        "--owner",
        action="append",
        default=[],
        help=f"value of the label {names.OWNER_LABEL}: what bears it in the tenant goes, though infra does not know it",
    )
    return made


def _sweeper(settings: SweepSettings) -> Sweeper:
    clock = RealClock()
    doors = {INFRA: _client(INFRA, settings.kubeconfig, clock)}
    if settings.tenant_kubeconfig is not None:
        doors[TENANT] = _client(TENANT, settings.tenant_kubeconfig, clock)
    return Sweeper(doors, settings, clock, lambda text, end: print(text, end=end, flush=True))


def _client(name: str, kubeconfig: str | None, clock: Clock) -> Client:
    """A client of either cluster by the kubeconfig of the person who sweeps, which is trusted."""
    connection = infra_connection(kubeconfig)
    metrics = Metrics().client(urlsplit(connection.url).netloc)
    agent = f"dpunetop-sweep/{__version__}"
    transport = Transport(connection, Stop(clock), user_agent=agent, metrics=metrics, clock=clock)
    return Client(transport, clock=clock, metrics=metrics, name=name)


def _failed(words: str, code: int) -> int:
    print(f"dpunetop: {words}", file=sys.stderr)
    return code
