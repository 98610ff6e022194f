"""`python -m bench [parts]`: measure, print a table, write JSON; exit code 1 if a bar is broken."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import coldstart, cut, drain, memory, parsers, rest, slowtenants, strangers, tenants
from bench.benchworld import BenchWorld
from bench.machine import Cores, description
from bench.report import Report
from dpunetop import __version__
from dpunetop.sandbox import binaries

PARTS = ("parsers", "p1", "configs", "strangers", "drain", "tenants", "slow-tenants", "cut", "p3", "p8")


def main(arguments: Sequence[str]) -> int:
    """Run the parts asked for."""
    given = _parser().parse_args(arguments)
    parts = given.parts or list(PARTS)
    binaries.find()
    cores = Cores.of_this_machine()
    report = Report({**description(cores), "version": __version__, "repeat": given.repeat})
    for part in parts:
        _run(part, cores, report, given)
    report.machine = {**report.machine, "load_after": os.getloadavg()[0]}
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_bytes(report.json())
    print(report.table())
    print(f"\nAll of it: {given.json}")
    return 1 if report.broken else 0


def _run(part: str, cores: Cores, report: Report, given: argparse.Namespace) -> None:
    print(f"bench: {part}", file=sys.stderr)
    match part:
        case "parsers":
            parsers.run(report)
        case "p1":
            for size in given.nodes:
                with BenchWorld(cores, dpus=size) as seeded:
                    coldstart.run(seeded, report, f"P1 N={size}", given.repeat, given.within, given.sample)
        case "configs":
            with BenchWorld(cores, dpus=0, configs=given.configs) as seeded:
                coldstart.run(seeded, report, f"configs N={given.configs}", given.repeat, given.within, given.sample)
        case "strangers":
            strangers.run(cores, report, given.strangers, given.within)
        case "drain":
            drain.run(cores, report, given.cycles)
        case "tenants":
            tenants.run(cores, report, given.tenants, given.within, given.rest)
        case "slow-tenants":
            slowtenants.run(cores, report, given.tenants, given.slow, given.cordons)
        case "cut":
            cut.run(cores, report, given.rounds, given.gap, given.within)
        case "p3":
            for size in given.nodes:
                with BenchWorld(cores, dpus=size) as seeded:
                    rest.run(seeded, report, given.within, given.rest)
        case "p8":
            memory.run(cores, report, given.nodes, given.within)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description="Benchmarks; docs/performance.md says what.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which of {', '.join(PARTS)}; default: all")
    parser.add_argument("--nodes", type=_sizes, default=[100, 1000], help="numbers of pairs; default 100,1000")
    parser.add_argument("--configs", type=int, default=100, help="DpuClusterConfigs without a tenant; default 100")
    parser.add_argument("--strangers", type=int, default=2500, help="those in namespaces without rights; default 2500")
    parser.add_argument("--cycles", type=int, default=100, help="drains of one DPU; default 100")
    parser.add_argument("--tenants", type=int, default=50, help="tenants of the parts of that name; default 50")
    parser.add_argument("--slow", type=_sizes, default=[1, 5, 20], help="how many of them are slow; default 1,5,20")
    parser.add_argument("--cordons", type=int, default=50, help="cordons beside each of these numbers; default 50")
    parser.add_argument("--rounds", type=int, default=10, help="events over each way that is cut; default 10")
    parser.add_argument("--gap", type=float, default=60.0, help="seconds of silence before each; default 60")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds for which these are left alone; default 60")
    parser.add_argument("--repeat", type=int, default=3, help="measurements of each; default 3")
    parser.add_argument("--within", type=float, default=300.0, help="seconds that a start may take; default 300")
    parser.add_argument("--sample", type=Path, help="where to leave stacks of the operator; falsifies all figures")
    parser.add_argument(
        "--json", type=Path, default=Path("build/bench.json"), help="where to; default build/bench.json"
    )
    return parser


def _sizes(text: str) -> list[int]:
    return [int(size) for size in text.split(",")]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
