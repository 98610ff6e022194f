"""The command `sandbox`: two real API servers with stand-ins, on which it runs the quick start step by step."""

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
from dpunetop.sandbox import binaries, byhand, cards, seed
from dpunetop.sandbox.components import Component, Spec
from dpunetop.sandbox.controlplanerun import StartFailed
from dpunetop.sandbox.operatorprocess import OperatorFailed, OperatorProcess
from dpunetop.sandbox.processes import ReaperError, RunFolder
from dpunetop.sandbox.realovn.packages import Unavailable
from dpunetop.sandbox.realovn.rootfs import Failed
from dpunetop.sandbox.realovnkube.program import VARIABLE, ovnkube_at
from dpunetop.sandbox.realovnkube.testbed import RealTestbed
from dpunetop.sandbox.scenarios import SCENARIOS, ScenarioRun
from dpunetop.sandbox.seed import QuickStart
from dpunetop.sandbox.view import View
from dpunetop.sandbox.world import TENANT, World

_LOOK_SECONDS = 0.2
_BOOT_SECONDS, _RETRY_SECONDS = 0.1, 0.05
"""Times of the stand-ins, shorter than those of real DPUs."""
_ENDING = (signal.SIGINT, signal.SIGTERM)
_OPERATOR_SECONDS = 60.0
_MOST_DPUS = 200
_TAIL_CHARACTERS = 4000
DEFAULT_SCENARIO, NO_SCENARIO = "drain", "none"
_END = "Ctrl-C stops everything."


def sandbox(arguments: Sequence[str]) -> int:
    """Run a sandbox until SIGINT or SIGTERM; returns the exit code.

    Guarantees: when this returns, no process of it is left. The code is 0 on success, 1 if the sandbox could not start
        or, with `--exit-when-ready`, was not Ready in time, and 2 for an invalid flag.
    Threads: the main one, since only it may install signal handlers.
    """
    options = parser().parse_args(list(arguments))
    # SIGINT too: a shell starts background jobs with it ignored.
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


def parser() -> argparse.ArgumentParser:
    """The flags and arguments of the command."""
    made = argparse.ArgumentParser(
        prog="dpunetop sandbox",
        description="Run the quick start on two real API servers, with stand-ins for what does not fit on one machine.",
    )
    made.add_argument(
        "--no-operator", action="store_true", help="start no operator; the steps of the quick start are yours"
    )
    made.add_argument(
        "--dpus", type=_count, metavar="N", help="number of DPUs; default 3, or 1 as in README.md with --no-operator"
    )
    made.add_argument(
        "--scenario",
        choices=[*SCENARIOS, NO_SCENARIO],
        default=DEFAULT_SCENARIO,
        help=f"the scenario to play once everything is Ready; default {DEFAULT_SCENARIO}",
    )
    made.add_argument(
        "--real",
        action="store_true",
        help=f"one DPU, with the ovnkube that {VARIABLE} names; run by `make sandbox REAL=1`, see docs/real-ovn.md",
    )
    made.add_argument("--exit-when-ready", action="store_true", help="end as soon as the DpuClusterConfig is Ready")
    made.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="seconds until Ready must be True; default 300"
    )
    return made


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_DPUS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_DPUS}")
    return int(text)


class _Sandbox:
    """One run. Threads: one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._started = time.monotonic()
        self._testbed: RealTestbed | None = None

    def run(self) -> int:
        seed.check()
        programs = binaries.find()
        self._started = time.monotonic()  # a build of the binaries, once per machine, does not count
        opened = contextlib.ExitStack()
        try:
            return self._open(programs, opened)
        finally:
            self._close(opened)

    def _open(self, programs: binaries.Binaries, opened: contextlib.ExitStack) -> int:
        log = self._log_to_file(opened)
        world = self._world(opened)
        self._say("both clusters are up")
        view = View(world.infra, world.quick_start.namespace, world.quick_start.pool)
        opened.callback(view.close)
        if self._options.no_operator:
            return self._leave_to_you(world, view, programs, opened)
        operator = self._follow_quick_start(world, opened)
        return self._watch(world, view, operator, self._manual(world, programs, operator, log))

    def _world(self, opened: contextlib.ExitStack) -> World:
        if not self._options.real:
            dpus = self._options.dpus or (1 if self._options.no_operator else 3)
            world = World(
                dpus=dpus,
                tenant=Spec(TENANT),
                boot_seconds=_BOOT_SECONDS,
                retry_seconds=_RETRY_SECONDS,
                say=self._say,
            )
            return opened.enter_context(world)
        quick_start = QuickStart(dpus=1)
        [(dpu, host)] = quick_start.pairs.items()
        ovnkube = ovnkube_at(os.environ.get(VARIABLE, ""))
        testbed = opened.enter_context(RealTestbed(ovnkube, dpu, host, quick_start=quick_start, say=self._say))
        self._say("starting cluster manager and the host's ovnkube in the tenant")
        testbed.start_tenant(quick_start.tenant_namespace)
        self._testbed = testbed
        return testbed.world

    def _close(self, opened: contextlib.ExitStack) -> None:
        """Stop everything; further signals are ignored."""
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

    def _follow_quick_start(self, world: World, opened: contextlib.ExitStack) -> OperatorProcess:
        """Follow the steps; the operator starts meanwhile, since it waits for its DpuClusterConfig anyway."""
        names = world.quick_start
        self._say("starting the operator with the rights of config/rbac")
        process = OperatorProcess(world.operator_kubeconfig(), env=world.operator_environment)
        operator = opened.enter_context(process)
        self._say(f"storing the tenant's kubeconfig in Secret {names.namespace}/{names.secret}")
        if self._testbed is None:
            world.store_entitled_kubeconfig()
        else:
            world.store_kubeconfig()
        self._say(f"creating ConfigMap {names.namespace}/env-overrides: {len(names.pairs)} DPUs and their hosts")
        world.store_overrides()
        operator.wait_ready(_OPERATOR_SECONDS)
        self._say("the operator is ready")
        self._say(f"creating DpuClusterConfig {names.namespace}/{names.name}")
        world.create_config()
        return operator

    def _leave_to_you(self, world: World, view: View, programs: binaries.Binaries, opened: contextlib.ExitStack) -> int:
        """Print what the user needs for the quick start, and then the changes that follow."""
        kubeconfig = opened.enter_context(byhand.tenant_kubeconfig(world))
        lines = ["", *byhand.steps(world, kubeconfig, programs.path("kubectl")), "", _END, ""]
        return self._watch(world, view, None, "\n".join(lines))

    def _manual(self, world: World, programs: binaries.Binaries, operator: OperatorProcess, log: str) -> str:
        servers = ", ".join(f"{c.folder}/{Component.APISERVER.value}.log" for c in (world.infra, world.tenant))
        dpu, host = next(iter(world.quick_start.pairs.items()))
        lines = [
            "",
            f"export PATH={programs.path('kubectl').parent}:$PATH",
            f"export KUBECONFIG={world.infra.admin_kubeconfig}   # infra",
            f"export KUBECONFIG={world.tenant.admin_kubeconfig}   # tenant",
            "",
            "Try, in infra:",
            f"kubectl describe dcc {world.quick_start.name}   # the conditions",
            f"kubectl cordon {dpu}   # drains host {host} in the tenant; uncordon gives it back",
            "kubectl get events --sort-by=.lastTimestamp   # the history",
            "",
            f"operator   {operator.log}",
            f"stand-ins  {log}",
            f"servers    {servers}",
            "",
            _END,
            "",
        ]
        return "\n".join(lines)

    def _watch(self, world: World, view: View, operator: OperatorProcess | None, manual: str) -> int:
        """Print what changes until the user, or the end of the run, stops it."""
        try:
            is_ready = self._until_ready(world, view, operator)
            if self._options.exit_when_ready:
                return 0 if is_ready else 1
            if operator is not None and is_ready and self._testbed is None:
                self._play(world, view, operator)
            print(manual, flush=True)
            while True:
                self._say_lines(view)
        except KeyboardInterrupt:
            return 130 if self._options.exit_when_ready else 0

    def _play(self, world: World, view: View, operator: OperatorProcess) -> None:
        """Play the chosen scenario, with a table of all DPUs below it."""
        if (scenario := SCENARIOS.get(self._options.scenario)) is None:
            return
        self._say(f"SCENARIO={self._options.scenario}: {scenario.title}")
        with cards.watching(world) as draw:

            def look() -> None:
                self._say_lines(view, 0.0)
                draw()

            try:
                scenario.play(ScenarioRun(world, operator, self._say, look))
            except (TimeoutError, ApiError, OSError, OperatorFailed) as err:
                self._say(f"the scenario stops here: {err}")
        print("", *cards.lines(cards.of(world)), sep="\n", flush=True)

    def _until_ready(self, world: World, view: View, operator: OperatorProcess | None) -> bool:
        """Wait until the quick start succeeds or fails; returns whether it succeeded."""
        deadline = time.monotonic() + self._options.timeout
        while operator is not None or self._options.exit_when_ready:
            self._say_lines(view)
            if _is_ready(world):
                self._say_lines(view, 0.0)
                since = f"{world.up_seconds:.1f} s after both API servers were ready"
                self._say(f"Ready: every DPU serves its host, {since}")
                if self._testbed is not None:
                    self._say(self._testbed.try_out())
                return True
            if operator is not None and operator.returncode is not None:
                self._say(f"the operator ended with code {operator.returncode}; the end of its log:")
                print(operator.log_text()[-_TAIL_CHARACTERS:], flush=True)
                return False
            if time.monotonic() > deadline:
                self._say(f"not Ready after {self._options.timeout:g} s")
                return False
        return False

    def _say_lines(self, view: View, within: float = _LOOK_SECONDS) -> None:
        line = view.next_line(within)
        while line is not None:
            self._say(line)
            line = view.next_line(0.0)

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._started:7.1f} s  {text}", flush=True)


def _is_ready(world: World) -> bool:
    return (condition_of(world.config(), "Ready") or {}).get("status") == "True"
