"""Look up each package of requirements files at an advisory service: python hack/audit.py SERVICE requirements.txt ...

The exit code is 0 if every package was looked up and none has a known vulnerability, 1 if one has, and 2 if one was not
looked up: pip-audit itself reports success if the service knows no package at all.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = ("-m", "pip_audit", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The exit code, and the text to print."""

    code: int
    lines: tuple[str, ...]


def pinned(requirements: str) -> set[str]:
    """The names of the packages that a file pins."""
    return set(re.findall(r"^([a-z0-9._-]+)==", requirements, re.MULTILINE))


def verdict(name: str, wanted: set[str], report: Mapping[str, Any] | None) -> Verdict:
    """The verdict on one file from pip-audit's report; a report of None means that no service answered."""
    found = {package["name"]: package for package in report["dependencies"]} if report else {}
    holes = tuple(line for package in found.values() for line in _holes(package))
    missed = sorted(wanted - {each for each, package in found.items() if "vulns" in package})
    if holes:
        return Verdict(1, (f"{name}: known holes", *holes, *_unaudited(name, missed)))
    if missed:
        return Verdict(2, _unaudited(name, missed))
    return Verdict(0, (f"{name}: no known hole in {len(wanted)} packages",))


def _holes(package: Mapping[str, Any]) -> list[str]:
    what = f"{package['name']} {package.get('version', '')}"
    return [f"  {what}: {hole['id']}, mended in {hole['fix_versions'] or 'none'}" for hole in package.get("vulns", ())]


def _unaudited(name: str, missed: list[str]) -> tuple[str, ...]:
    if not missed:
        return ()
    return (
        f"{name}: NOT AUDITED: the advisory service does not answer, or does not know {len(missed)} packages: "
        f"{', '.join(missed)}",
        "  run it where the service is reachable; ADVISORIES=osv asks another one",
    )


def _ask(path: Path, service: str) -> Mapping[str, Any] | None:
    """Raises: OSError if there is no pip-audit to run."""
    asked = subprocess.run(
        [sys.executable, *COMMAND, "--vulnerability-service", service, "--requirement", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report: Mapping[str, Any] = json.loads(asked.stdout)
    except ValueError:
        print("\n".join(asked.stderr.splitlines()[-1:]), file=sys.stderr)
        return None
    return report


def main(service: str, *files: str) -> int:
    """Look up each file; the worst verdict counts, and a vulnerability is the worst."""
    verdicts = [verdict(name, pinned(Path(name).read_text()), _ask(Path(name), service)) for name in files]
    print("\n".join(line for each in verdicts for line in each.lines))
    codes = {each.code for each in verdicts}
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
