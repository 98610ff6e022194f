"""One call of a command: parses flags, runs its body with read-only clients, returns the exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dpunetop.app.commands.clients import Open, opened
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import CommandParser, Flags, UsageError, read_flags
from dpunetop.app.commands.lease import operator_namespace
from dpunetop.app.commands.output import Output, clean
from dpunetop.app.commands.serverclock import ServerClock, skew_words
from dpunetop.app.commands.unlooked import unlooked_words
from dpunetop.base.clock import Clock, RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import ConfigurationError

WATCH_SECONDS = 2.0
INTERRUPTED = 128 + 2
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Invocation:
    """The input of a command's body."""

    flags: Flags
    given: argparse.Namespace
    """The flags of the command's own, and its arguments."""
    out: Output
    clock: Clock
    open: Open

    def infra(self) -> Client:
        """A client of infra with the caller's credentials. Raises: ConfigurationError."""
        return self.open(INFRA, self.flags.kubeconfig, self.flags.context)

    def tenant(self, namespace: str, name: str, cluster: str) -> Client | None:
        """A client of the tenant of one DpuClusterConfig, under the operator's name for it; None: no kubeconfig was
        given, so it is not looked at. Raises: ConfigurationError."""
        path = self.flags.tenants.of(namespace, name)
        return None if path is None else self.open(cluster, path, None)

    def operator_namespace(self, infra: Client) -> str:
        """The operator's namespace: see `lease.operator_namespace`."""

        def listed(_: str, selection: Selection) -> Iterable[Obj]:
            return (obj for page in infra.pages(selection, _PAGE) for obj in page.items)

        return operator_namespace(listed, self.clock.now, self.flags.operator_namespace)


Body = Callable[[Invocation], Exit]


def invoke(parser: CommandParser, arguments: Sequence[str], body: Body) -> int:
    """Run the body, repeatedly with `--watch`; returns the exit code.

    Guarantees: an invalid flag, and a cluster that does not answer, is one line on stderr.
    """
    clock = ServerClock(RealClock())
    try:
        given = parser.parse_args(list(arguments))
        flags = read_flags(given, os.environ, sys.stdout.isatty())
        out = Output(sys.stdout, flags.output, flags.colour, sys.stdout.isatty())
        with opened(clock) as make:
            code = _run(Invocation(flags, given, out, clock, make), body)
        if words := skew_words(clock.ahead):
            print(f"dpunetop: {words}", file=sys.stderr)
        return code
    except (UsageError, ConfigurationError) as err:
        return _failed(str(err), Exit.USAGE)
    except ApiError as err:
        cluster = f" of cluster {err.cluster}" if err.cluster else ""
        return _failed(f"the API server{cluster} did not carry out a request: {unlooked_words(err)}", Exit.UNSEEN)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.GOOD
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(invocation: Invocation, body: Body) -> Exit:
    found = body(invocation)
    pause = Stop(invocation.clock)
    while invocation.flags.watch:
        pause.wait(WATCH_SECONDS)
        invocation.out.clear()
        found = body(invocation)
    return found


def _failed(words: str, code: Exit) -> int:
    print(f"dpunetop: {clean(words)}", file=sys.stderr)
    return code
