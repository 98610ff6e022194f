"""The command `sandbox`: two real API servers with stand-ins, the quick start done before your eyes."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence

import structlog

from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import ApiError
from dpunetop.sandbox import binaries, seed
from dpunetop.sandbox.controlplane import Component, StartFailed
from dpunetop.sandbox.operatorprocess import OperatorFailed, OperatorProcess
from dpunetop.sandbox.processes import ReaperError, RunFolder
from dpunetop.sandbox.realovn.packages import Unavailable
from dpunetop.sandbox.realovn.rootfs import Failed
from dpunetop.sandbox.realovnkube.bed import Bed
from dpunetop.sandbox.realovnkube.program import VARIABLE, ovnkube_at
from dpunetop.sandbox.seed import QuickStart
from dpunetop.sandbox.view import View
from dpunetop.sandbox.world import World

_LOOK_SECONDS = 0.2
_ENDING = (signal.SIGINT, signal.SIGTERM)
_OPERATOR_SECONDS = 60.0
_MOST_DPUS = 200
_TAIL_CHARACTERS = 4000


def sandbox(arguments: Sequence[str]) -> int:
    """Run a sandbox until it is told to end by SIGINT or SIGTERM; the exit code.

    Guarantees: when this returns, nothing that it started is left. 0 if all went well, 1 if it could not be started or,
        with `--exit-when-ready`, did not become Ready in time, 2 for a flag that cannot be used.
    Threads: the main one, which alone may set up signals.
    """
    options = _parser().parse_args(list(arguments))
    # SIGINT too: a shell starts what runs in the background with it ignored.
    before = [(number, signal.signal(number, signal.default_int_handler)) for number in _ENDING]
    try:
        return _Sandbox(options).run()
    except KeyboardInterrupt:
        return 130
    except (binaries.BinariesNotFound, seed.NoCheckout, StartFailed, OperatorFailed, Unavailable, Failed) as err:
        print(f"dpunetop sandbox: {err}", file=sys.stderr)
    except (ReaperError, ApiError, TimeoutError, OSError) as err:
        print(f"dpunetop sandbox: {type(err).__name__}: {err}", file=sys.stderr)
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dpunetop sandbox",
        description="Two real API servers with stand-ins for what has no place on one machine, and the quick start.",
    )
    parser.add_argument("--no-operator", action="store_true", help="leave the operator to you; says how to run it")
    parser.add_argument("--dpus", type=_count, default=3, metavar="N", help="how many DPUs; default 3")
    parser.add_argument(
        "--real",
        action="store_true",
        help=f"one DPU, with the ovnkube that {VARIABLE} names; run by `make sandbox REAL=1`, see docs/real-ovn.md",
    )
    parser.add_argument("--exit-when-ready", action="store_true", help="end as soon as the DpuClusterConfig is Ready")
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="how many seconds Ready may take; default 300"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_DPUS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_DPUS}")
    return int(text)


class _Sandbox:
    """One run. Threads: one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._started = time.monotonic()
        self._bed: Bed | None = None

    def run(self) -> int:
        seed.check()
        programs = binaries.find()
        self._started = time.monotonic()  # the building, once a machine, is not what one waits for
        opened = contextlib.ExitStack()
        try:
            return self._play(programs, opened)
        finally:
            self._close(opened)

    def _play(self, programs: binaries.Binaries, opened: contextlib.ExitStack) -> int:
        log = self._log_to_file(opened)
        world = self._world(opened)
        self._say("both clusters are up")
        view = View(world.infra, world.quick_start.namespace, world.quick_start.pool)
        opened.callback(view.close)
        operator = self._follow_quick_start(world, opened)
        return self._watch(world, view, operator, self._manual(world, programs, operator, log))

    def _world(self, opened: contextlib.ExitStack) -> World:
        if not self._options.real:
            return opened.enter_context(World(dpus=self._options.dpus, say=self._say))
        quick_start = QuickStart(dpus=1)
        [(dpu, host)] = quick_start.pairs.items()
        ovnkube = ovnkube_at(os.environ.get(VARIABLE, ""))
        bed = opened.enter_context(Bed(ovnkube, dpu, host, quick_start=quick_start, say=self._say))
        self._say("starting cluster manager and the host's ovnkube in the tenant")
        bed.start_tenant(quick_start.tenant_namespace)
        self._bed = bed
        return bed.world

    def _close(self, opened: contextlib.ExitStack) -> None:
        """Stop everything; no further signal stops the stopping."""
        before = [(number, signal.signal(number, signal.SIG_IGN)) for number in _ENDING]
        self._say("stopping")
        opened.close()
        self._say("stopped")
        for number, handler in before:
            signal.signal(number, handler)

    def _log_to_file(self, opened: contextlib.ExitStack) -> str:
        folder = RunFolder("sandbox")
        opened.callback(folder.close)
        path = folder.path / "standins.log"
        file = opened.enter_context(path.open("w", buffering=1, encoding="utf-8"))
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file))
        opened.callback(structlog.reset_defaults)
        return str(path)

    def _follow_quick_start(self, world: World, opened: contextlib.ExitStack) -> OperatorProcess | None:
        names = world.quick_start
        self._say(f"storing the tenant's kubeconfig in Secret {names.namespace}/{names.secret}")
        world.store_kubeconfig()
        self._say(f"creating ConfigMap {names.namespace}/env-overrides: {len(names.pairs)} DPUs and their hosts")
        world.store_overrides()
        operator = None if self._options.no_operator else self._start_operator(world, opened)
        self._say(f"creating DpuClusterConfig {names.namespace}/{names.name}")
        world.create_config()
        return operator

    def _start_operator(self, world: World, opened: contextlib.ExitStack) -> OperatorProcess:
        self._say("starting the operator with the rights of config/rbac")
        process = OperatorProcess(world.operator_kubeconfig(), env=world.operator_environment)
        operator = opened.enter_context(process)
        operator.wait_ready(_OPERATOR_SECONDS)
        self._say("the operator is ready")
        return operator

    def _manual(self, world: World, programs: binaries.Binaries, operator: OperatorProcess | None, log: str) -> str:
        servers = ", ".join(f"{c.folder}/{Component.APISERVER.value}.log" for c in (world.infra, world.tenant))
        lines = [
            "",
            f"export KUBECONFIG={world.infra.admin_kubeconfig}   # infra",
            f"export KUBECONFIG={world.tenant.admin_kubeconfig}   # tenant",
            "",
            f"kubectl    {programs.path('kubectl')}",
            f"operator   {operator.log if operator else self._run_line(world)}",
            f"stand-ins  {log}",
            f"servers    {servers}",
            "",
            "Ctrl-C stops everything.",
            "",
        ]
        return "\n".join(lines)

    def _run_line(self, world: World) -> str:
        kubeconfig = world.infra.write_kubeconfig(world.operator_kubeconfig(), "operator")
        settings = " ".join(f"{name}={value}" for name, value in world.operator_environment.items())
        return f"KUBECONFIG={kubeconfig} {settings} make run"

    def _watch(self, world: World, view: View, operator: OperatorProcess | None, manual: str) -> int:
        """Say what changes until it is time to end."""
        try:
            is_ready = self._until_ready(world, view, operator)
            if self._options.exit_when_ready:
                return 0 if is_ready else 1
            print(manual, flush=True)
            while True:
                self._say_lines(view)
        except KeyboardInterrupt:
            return 130 if self._options.exit_when_ready else 0

    def _until_ready(self, world: World, view: View, operator: OperatorProcess | None) -> bool:
        """Follow the quick start to its end, in good or in bad; whoever runs the operator himself is told how first."""
        deadline = time.monotonic() + self._options.timeout
        while operator is not None or self._options.exit_when_ready:
            self._say_lines(view)
            if _is_ready(world):
                self._say_lines(view)
                self._say("Ready: every DPU serves its host")
                if self._bed is not None:
                    self._say(self._bed.try_out())
                return True
            if operator is not None and operator.returncode is not None:
                self._say(f"the operator ended with code {operator.returncode}; the end of its log:")
                print(operator.log_text()[-_TAIL_CHARACTERS:], flush=True)
                return False
            if time.monotonic() > deadline:
                self._say(f"not Ready after {self._options.timeout:g} s")
                return False
        return False

    def _say_lines(self, view: View) -> None:
        line = view.next_line(_LOOK_SECONDS)
        while line is not None:
            self._say(line)
            line = view.next_line(0.0)

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._started:7.1f} s  {text}", flush=True)


def _is_ready(world: World) -> bool:
    return (condition_of(world.config(), "Ready") or {}).get("status") == "True"
