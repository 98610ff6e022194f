"""`python -m bench.compare [RUN] [--baseline FILE]`: what is worse than the stored baseline; exit code 1 if any.

What takes time or memory is compared between machines of one kind alone; numbers and ratios between all. `--store`
makes of a run the baseline, or puts its parts in the place of those that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import Better, shown, table

BASELINE = Path(__file__).parent / "baseline.json"
MOST_WORSE = 0.15
"""By so much a figure may be worse than the baseline's before it counts: medians of one machine differ by that."""
_KIND = ("cpu", "cores", "python")
_COUNTED_UNITS = ("", "×")


@dataclass(frozen=True)
class Change:
    """One figure of both runs."""

    part: str
    what: str
    unit: str
    before: float
    now: float
    better: Better

    @property
    def worse_by(self) -> float:
        """By what part of it the figure is worse than it was; below 0: better; without end where it was nothing."""
        if self.better is Better.NEITHER or self.now == self.before:
            return 0.0
        grown = (self.now - self.before) / self.before if self.before else float("inf")
        return grown if self.better is Better.LESS else -grown

    @property
    def is_worse(self) -> bool:
        """Whether that is more than a machine differs from itself."""
        return self.worse_by > MOST_WORSE


def changes(run: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[Change]:
    """The figures that are in both and can be compared, in the order of the run."""
    known = {(figure["part"], figure["what"]): figure for figure in baseline["figures"]}
    alike = kind(run["machine"]) == kind(baseline["machine"])
    return list(_changes(run["figures"], known, alike))


def kind(machine: Mapping[str, Any]) -> tuple[str, ...]:
    """What two machines have in common whose times can be compared; of Python the minor version."""
    cpu, cores, python = (str(machine.get(key)) for key in _KIND)
    return cpu, cores, ".".join(python.split(".")[:2])


def _changes(
    figures: Sequence[Mapping[str, Any]], known: Mapping[tuple[str, str], Mapping[str, Any]], alike: bool
) -> Iterator[Change]:
    for figure in figures:
        before = known.get((figure["part"], figure["what"]))
        if before is not None and (alike or figure["unit"] in _COUNTED_UNITS):
            yield Change(
                figure["part"],
                figure["what"],
                figure["unit"],
                before["value"],
                figure["value"],
                Better(figure["better"]),
            )


def stored(run: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> dict[str, Any]:
    """The baseline with the parts of this run in the place of its own: without what stands behind the figures.

    Raises: ValueError, it is of a machine of another kind.
    """
    if baseline is None:
        return {"machine": run["machine"], "figures": run["figures"]}
    if kind(run["machine"]) != kind(baseline["machine"]):
        raise ValueError("the stored baseline is of a machine of another kind: remove it first")
    parts = {figure["part"] for figure in run["figures"]}
    kept = [figure for figure in baseline["figures"] if figure["part"] not in parts]
    return {"machine": run["machine"], "figures": [*kept, *run["figures"]]}


def shown_changes(found: Sequence[Change]) -> str:
    """A table of all that was compared."""
    return table(("part", "figure", "before", "now", "unit", "by", ""), map(_row, found), (2, 3, 5))


def _row(change: Change) -> tuple[str, ...]:
    by = "" if change.before == 0 else f"{100 * (change.now / change.before - 1):+.0f} %"
    verdict = "WORSE" if change.is_worse else ""
    return change.part, change.what, shown(change.before), shown(change.now), change.unit, by, verdict


def main(arguments: Sequence[str]) -> int:
    """Compare, or store."""
    given = _parser().parse_args(arguments)
    run = json.loads(given.run.read_bytes())
    before = json.loads(given.baseline.read_bytes()) if given.baseline.exists() else None
    if given.store:
        given.baseline.write_text(json.dumps(stored(run, before), indent=1, ensure_ascii=False) + "\n")
        return 0
    if before is None:
        print(f"bench: there is no baseline {given.baseline}; --store makes one of a run", file=sys.stderr)
        return 2
    found = changes(run, before)
    print(shown_changes(found))
    if kind(run["machine"]) != kind(before["machine"]):
        print("\nThe baseline is of a machine of another kind: times and memory are not compared.")
    return 1 if any(each.is_worse for each in found) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-compare ARGS=…", description="A run beside the stored baseline.")
    parser.add_argument("run", nargs="?", type=Path, default=Path("build/bench.json"), help="default build/bench.json")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help=f"default {BASELINE.name} of the benchmarks")
    parser.add_argument("--store", action="store_true", help="make the run's figures those of the baseline")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
