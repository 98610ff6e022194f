"""Plant small bugs in the rules of the drain and of pairing, and see whether a unit test falls: `make test-mutants`."""

from __future__ import annotations

import argparse
import ast
import gc
import importlib
import json
import select
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile
from pathlib import Path

import pytest
from hack.mutants.changes import Change, changes_of, enums_of, owners
from hack.mutants.planting import plant
from hack.mutants.survivors import MOST_OPEN, Survivors
from hack.mutants.tests import Child, Digests, Place, Tests, collected, digest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dpunetop"
MODULES = sorted([*(SOURCE / "domain" / "drain").rglob("*.py"), *(SOURCE / "domain" / "pairing").glob("*.py")])
PAIRING_TESTS = ["tests/unit/domain/pairing"]
TESTS = ["tests/unit/domain/drain", *PAIRING_TESTS, "tests/unit/controllers/drain"]
LIST = ROOT / "tests" / "data" / "mutants.txt"
KEPT = ROOT / ".mutants"
"""The results of earlier runs, and the facts about the tests; remove the folder to start over."""
USED = [SOURCE, ROOT / "tests" / "support"]
"""The files that all tests use beside their own."""
_WALKING = "_model.py"
"""The names of the files with random walks."""


class Fate(Enum):
    """The result of a planted bug."""

    KILLED = "killed"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True, eq=False)
class Bug:
    """One bug to plant."""

    module: Path
    tree: ast.Module
    change: Change
    name: str
    """Its name in the list."""
    digest: str
    """The digest of its name and of the source around it; a stored result is valid as long as this stays the same."""

    @property
    def place(self) -> Place:
        """The function or constant in which it is planted."""
        return str(self.module), self.change.owner

    def put(self) -> None:
        """Plant it in this process."""
        self.change.apply()
        name = ".".join(self.module.relative_to(SOURCE.parent).with_suffix("").parts)
        plant(importlib.import_module(name), self.tree, self.change.owner)


def bugs(modules: list[Path] = MODULES) -> list[Bug]:
    """All bugs that can be planted, in a random but fixed order, so that any first part is a fair sample."""
    enums = enums_of(modules)
    found: list[Bug] = []
    for module in modules:
        tree = ast.parse(module.read_text())
        texts = {owner: ast.unparse(node) for owner, node in owners(tree)}
        place = module.relative_to(SOURCE).with_suffix("")
        for change in changes_of(tree, enums):
            name = f"{place}:{change.owner}: {change.name}"
            found.append(Bug(module, tree, change, name, digest(f"{name}\n{texts[change.owner]}")))
    return sorted(found, key=lambda bug: bug.digest)


@dataclass
class Results:
    """The results of bugs, in this run and in earlier ones; each is stored at once."""

    path: Path
    kept: dict[str, list[str]] = field(default_factory=dict)
    """The digest of a bug to its result, and to the digest of the tests that it survived."""

    @classmethod
    def read(cls, path: Path) -> Results:
        """The results of earlier runs."""
        return cls(path, json.loads(path.read_text()) if path.exists() else {})

    def fate(self, bug: Bug, tests: Tests) -> Fate | None:
        """The result; a killed bug stays killed, and a survivor is unknown (None) once the tests changed."""
        fate, asked = self.kept.get(bug.digest, ("", ""))
        if fate == Fate.KILLED.value:
            return Fate.KILLED
        return Fate.SURVIVED if fate and asked == tests.asked(bug.place) else None

    def add(self, bug: Bug, tests: Tests, fate: Fate) -> None:
        """Store a result."""
        self.kept[bug.digest] = [fate.value, tests.asked(bug.place)]
        self.path.write_text(json.dumps(self.kept))


def play(tests: Tests, wanted: list[Bug], results: Results, until: float, jobs: int) -> Iterator[tuple[Bug, Fate]]:
    """Run the bugs without a result, several at a time, until the time is up."""
    gc.freeze()  # so that children share the memory
    running: dict[Child, Bug] = {}
    todo = iter([bug for bug in wanted if results.fate(bug, tests) is None])
    while True:
        while len(running) < jobs and time.monotonic() < until and (bug := next(todo, None)) is not None:
            running[tests.begin(bug.put, bug.place)] = bug
        if not running:
            return
        for child in select.select(list(running), [], [])[0]:
            bug, fate = running.pop(child), Fate.SURVIVED if child.answer() is True else Fate.KILLED
            results.add(bug, tests, fate)
            yield bug, fate


def sample(fates: Iterable[tuple[Bug, Fate | None]]) -> dict[Bug, Fate]:
    """The results up to the first bug without one. Behind it only kills of earlier runs are known, and counting them
    without the survivors would make the share of survivors too small."""
    return {bug: fate for bug, fate in takewhile(lambda found: found[1] is not None, fates) if fate is not None}


def judge(every: list[Bug], fates: dict[Bug, Fate], known: Survivors) -> int:
    """Print the results; returns the exit code."""
    names = {bug.name for bug, fate in fates.items() if fate is Fate.SURVIVED}
    new = sorted(names - known.reasons.keys())
    is_open = [name for name in names if known.is_open(name)]
    gone = sorted(known.reasons.keys() - {bug.name for bug in every})
    killed = sorted(known.reasons.keys() & {bug.name for bug, fate in fates.items() if fate is Fate.KILLED})
    for words, found in (("new", new), ("not there any more", gone), ("caught now", killed)):
        print("".join(f"{words}: {name}\n" for name in found), end="")
    share = len(is_open) / max(1, len(fates))
    print(f"{len(every)} bugs, {len(fates)} planted, {len(fates) - len(names)} caught, {len(names)} survive: ", end="")
    print(f"{len(names) - len(is_open)} change nothing, {len(is_open)} are open ({share:.1%}), {len(new)} are new")
    return 1 if new or share > MOST_OPEN else 0


def used() -> str:
    """The digest of all files that tests use."""
    return digest("\n".join(path.read_text() for root in USED for path in sorted(root.rglob("*.py"))))


def main() -> int:
    """Plant bugs as the arguments say."""
    parser = argparse.ArgumentParser(prog="make test-mutants", description=__doc__)
    parser.add_argument("--share", type=int, default=100, help="percent of all bugs to plant, always the same ones")
    parser.add_argument(
        "--minutes", type=float, default=60, help="start no more bugs after that time; the next run continues"
    )
    parser.add_argument("--only", default="", help="plant only bugs with this text in their names")
    parser.add_argument(
        "--tests", nargs="+", default=TESTS, help="run only these tests; others may catch what they miss"
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of bugs at a time")
    parser.add_argument(
        "--walks", action=argparse.BooleanOptionalAction, default=True, help="run the slow random walks too"
    )
    asked = parser.parse_args()
    every = bugs()
    wanted = [bug for bug in every[: len(every) * asked.share // 100] if asked.only in bug.name]
    until = time.monotonic() + 60 * asked.minutes

    def body(items: list[pytest.Item]) -> int:
        chosen = [item for item in items if asked.walks or _WALKING not in item.nodeid]
        tests = Tests(chosen, frozenset(map(str, MODULES)), Digests(used()))
        if (fallen := tests.learn(KEPT / "tests.pickle", asked.jobs)) is not None:
            print(f"nothing was planted: without a bug this test fails: {fallen}")
            return 2
        results = Results.read(KEPT / "results.json")
        for bug, fate in play(tests, wanted, results, until, asked.jobs):
            if fate is Fate.SURVIVED:
                print(f"survives: {bug.name}", flush=True)
        return judge(every, sample((bug, results.fate(bug, tests)) for bug in wanted), Survivors.read(LIST))

    return collected(asked.tests, body)


if __name__ == "__main__":
    sys.exit(main())
