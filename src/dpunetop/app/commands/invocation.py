"""One call of a command: flags in, its body run with clients that only read, exit code out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dpunetop.app.commands.clients import Open, opened
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import CommandParser, Flags, UsageError, read_flags
from dpunetop.app.commands.output import Output, clean
from dpunetop.base.clock import Clock, RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import INFRA
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import ConfigurationError

WATCH_SECONDS = 2.0
INTERRUPTED = 128 + 2


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the body of a command works with."""

    flags: Flags
    given: argparse.Namespace
    """The flags of the command's own, and its arguments."""
    out: Output
    clock: Clock
    open: Open

    def infra(self) -> Client:
        """The infra cluster, as whoever calls. Raises: ConfigurationError."""
        return self.open(INFRA, self.flags.kubeconfig, self.flags.context)

    def tenant(self, namespace: str, name: str, cluster: str) -> Client | None:
        """The tenant of one DpuClusterConfig, under the name that the operator has for it; None: no kubeconfig was
        given, so it is not looked at. Raises: ConfigurationError."""
        path = self.flags.tenants.of(namespace, name)
        return None if path is None else self.open(cluster, path, None)


Body = Callable[[Invocation], Exit]


def invoke(parser: CommandParser, arguments: Sequence[str], body: Body) -> int:
    """Run the body, again and again with `--watch`; returns the exit code.

    Guarantees: what cannot be used, and a cluster that does not answer, is one line on stderr.
    """
    clock = RealClock()
    try:
        given = parser.parse_args(list(arguments))
        flags = read_flags(given, os.environ, sys.stdout.isatty())
        out = Output(sys.stdout, flags.output, flags.colour, sys.stdout.isatty())
        with opened(clock) as make:
            return _run(Invocation(flags, given, out, clock, make), body)
    except (UsageError, ConfigurationError) as err:
        return _failed(str(err), Exit.USAGE)
    except ApiError as err:
        cluster = f" of cluster {err.cluster}" if err.cluster else ""
        return _failed(f"the API server{cluster} did not carry out a request: {err}", Exit.UNSEEN)
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
