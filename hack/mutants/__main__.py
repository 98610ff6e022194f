"""Plant small bugs in the rules of the drain and of pairing, and see whether a unit test falls: `make test-mutants`."""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hack.mutants.changes import Change, changes_of, enums_of, owners
from hack.mutants.planting import plant
from hack.mutants.survivors import MOST_OPEN, Survivors
from hack.mutants.tests import Fate, Tests, collected

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dpunetop"
MODULES = sorted([*(SOURCE / "domain" / "drain").rglob("*.py"), *(SOURCE / "domain" / "pairing").glob("*.py")])
PAIRING_TESTS = ["tests/unit/domain/pairing"]
TESTS = ["tests/unit/domain/drain", *PAIRING_TESTS, "tests/unit/controllers/drain"]
LIST = ROOT / "tests" / "data" / "mutants.txt"
KEPT = ROOT / ".mutants" / "results.json"
"""What was found out before; remove it to begin anew."""
_WALKING = "_model.py"
"""What the files of tests are called that walk at random."""


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
            digest = hashlib.sha256(f"{name}\n{texts[change.owner]}".encode()).hexdigest()[:24]
            found.append(Bug(module, tree, change, name, digest))
    return sorted(found, key=lambda bug: bug.digest)


def play(tests: Tests, wanted: list[Bug], until: float) -> Iterator[tuple[Bug, Fate]]:
    """What becomes of each, as far as the time goes. One that was killed before stays so; survivors are tried again."""
    kept: dict[str, str] = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for bug in wanted:
        if kept.get(bug.digest) == Fate.KILLED.value:
            yield bug, Fate.KILLED
        elif time.monotonic() < until:
            fate = tests.fate(bug.put, (str(bug.module), bug.change.owner))
            kept[bug.digest] = fate.value
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps(kept))
            yield bug, fate


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


def main() -> int:
    """Plant as many as the arguments say."""
    parser = argparse.ArgumentParser(prog="make test-mutants", description=__doc__)
    parser.add_argument("--share", type=int, default=100, help="per cent of all, always the same ones")
    parser.add_argument(
        "--minutes", type=float, default=60, help="no more are begun after that; go on with another run"
    )
    parser.add_argument("--only", default="", help="those with this text in their names")
    parser.add_argument(
        "--walks", action=argparse.BooleanOptionalAction, default=True, help="also the slow random walks"
    )
    asked = parser.parse_args()
    every = bugs()
    wanted = [bug for bug in every[: len(every) * asked.share // 100] if asked.only in bug.name]
    until = time.monotonic() + 60 * asked.minutes

    def body(items: list[pytest.Item]) -> int:
        chosen = [item for item in items if asked.walks or _WALKING not in item.nodeid]
        tests = Tests(chosen, frozenset(map(str, MODULES)))
        if (fallen := tests.learn()) is not None:
            print(f"nothing was planted: as it is there falls {fallen}")
            return 2
        fates = {}
        for bug, fate in play(tests, wanted, until):
            fates[bug] = fate
            if fate is Fate.SURVIVED:
                print(f"survives: {bug.name}", flush=True)
        return judge(every, fates, Survivors.read(LIST))

    return collected(TESTS, body)


if __name__ == "__main__":
    sys.exit(main())
