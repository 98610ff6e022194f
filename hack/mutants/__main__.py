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
"""What was found out before, and what is known of the tests; remove it to begin anew."""
USED = [SOURCE, ROOT / "tests" / "support"]
"""What tests use beside their own files."""
_WALKING = "_model.py"
"""What the files of tests are called that walk at random."""


class Fate(Enum):
    """What became of a planted bug."""

    KILLED = "killed"
    SURVIVED = "survived"


@dataclass(frozen=True, slots=True, eq=False)
class Bug:
    """One bug to be planted."""

    module: Path
    tree: ast.Module
    change: Change
    name: str
    """What it is called in the list."""
    digest: str
    """Of its name and of the text that it is planted in: what is known of it holds as long as that stays."""

    @property
    def place(self) -> Place:
        """Where it is planted."""
        return str(self.module), self.change.owner

    def put(self) -> None:
        """Plant it in this process."""
        self.change.apply()
        name = ".".join(self.module.relative_to(SOURCE.parent).with_suffix("").parts)
        plant(importlib.import_module(name), self.tree, self.change.owner)


def bugs() -> list[Bug]:
    """All that can be planted, in an order that says nothing: so the first of them are a fair sample."""
    enums = enums_of(MODULES)
    found: list[Bug] = []
    for module in MODULES:
        tree = ast.parse(module.read_text())
        texts = {owner: ast.unparse(node) for owner, node in owners(tree)}
        place = module.relative_to(SOURCE).with_suffix("")
        for change in changes_of(tree, enums):
            name = f"{place}:{change.owner}: {change.name}"
            found.append(Bug(module, tree, change, name, digest(f"{name}\n{texts[change.owner]}")))
    return sorted(found, key=lambda bug: bug.digest)


@dataclass
class Results:
    """What became of bugs, in this run and before; written down as soon as it is known."""

    path: Path
    kept: dict[str, list[str]] = field(default_factory=dict)
    """Digest of a bug to its fate, and to the digest of the tests that it got past."""

    @classmethod
    def read(cls, path: Path) -> Results:
        """Those of earlier runs."""
        return cls(path, json.loads(path.read_text()) if path.exists() else {})

    def fate(self, bug: Bug, tests: Tests) -> Fate | None:
        """One that was killed stays so; what has survived may not, once other tests ask. None: not known."""
        fate, asked = self.kept.get(bug.digest, ("", ""))
        if fate == Fate.KILLED.value:
            return Fate.KILLED
        return Fate.SURVIVED if fate and asked == tests.asked(bug.place) else None

    def add(self, bug: Bug, tests: Tests, fate: Fate) -> None:
        """Remember it."""
        self.kept[bug.digest] = [fate.value, tests.asked(bug.place)]
        self.path.write_text(json.dumps(self.kept))


def play(tests: Tests, wanted: list[Bug], results: Results, until: float, jobs: int) -> Iterator[tuple[Bug, Fate]]:
    """What becomes of those of which it is not known, as far as the time goes, so many at once."""
    gc.freeze()  # so that children share what is there
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
    """What is known of all bugs before the first of which it is not. Behind that one there are kills of earlier runs,
    but no survivor that other tests are still to be asked about: to count them would make the share too small."""
    return {bug: fate for bug, fate in takewhile(lambda found: found[1] is not None, fates) if fate is not None}


def judge(every: list[Bug], fates: dict[Bug, Fate], known: Survivors) -> int:
    """Tell what was found; the exit code."""
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
    """Digest of all that tests use."""
    return digest("\n".join(path.read_text() for root in USED for path in sorted(root.rglob("*.py"))))


def main() -> int:
    """Plant as many as the arguments say."""
    parser = argparse.ArgumentParser(prog="make test-mutants", description=__doc__)
    parser.add_argument("--share", type=int, default=100, help="per cent of all, always the same ones")
    parser.add_argument(
        "--minutes", type=float, default=60, help="no more are begun after that; go on with another run"
    )
    parser.add_argument("--only", default="", help="those with this text in their names")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="these tests alone: what they miss, others may catch")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once")
    parser.add_argument(
        "--walks", action=argparse.BooleanOptionalAction, default=True, help="also the slow random walks"
    )
    asked = parser.parse_args()
    every = bugs()
    wanted = [bug for bug in every[: len(every) * asked.share // 100] if asked.only in bug.name]
    until = time.monotonic() + 60 * asked.minutes

    def body(items: list[pytest.Item]) -> int:
        chosen = [item for item in items if asked.walks or _WALKING not in item.nodeid]
        tests = Tests(chosen, frozenset(map(str, MODULES)), Digests(used()))
        if (fallen := tests.learn(KEPT / "tests.pickle", asked.jobs)) is not None:
            print(f"nothing was planted: as it is there falls {fallen}")
            return 2
        results = Results.read(KEPT / "results.json")
        for bug, fate in play(tests, wanted, results, until, asked.jobs):
            if fate is Fate.SURVIVED:
                print(f"survives: {bug.name}", flush=True)
        return judge(every, sample((bug, results.fate(bug, tests)) for bug in wanted), Survivors.read(LIST))

    return collected(asked.tests, body)


if __name__ == "__main__":
    sys.exit(main())
