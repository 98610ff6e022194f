"""`python -m dpunetop.sandbox.realneighbours COMMAND…` runs a command with the programs in NMO and MCC.

If one of the two is not set, it prints so and uses the stand-in; without both it runs nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from dpunetop.sandbox.realneighbours.program import Program, Unavailable, from_environment

VARIABLES = {"NMO": "node maintenance operator", "MCC": "machine-config-controller"}


def main(command: Sequence[str]) -> int:
    """The exit code of the command; 0 if neither variable is set, 1 if a named program cannot be used."""
    try:
        named = {variable: from_environment(variable) for variable in VARIABLES}
    except Unavailable as err:
        print(err, file=sys.stderr)
        return 1
    for variable, program in named.items():
        _say(variable, program)
    if not any(named.values()):
        return 0
    return subprocess.run(command, check=False).returncode


def _say(variable: str, program: Program | None) -> None:
    if program is not None:
        print(f"{VARIABLES[variable]}: {program.path}, sha256 {program.digest}", file=sys.stderr, flush=True)
        return
    line = "=" * 100
    print(
        f"{line}\nSKIPPED: the real {VARIABLES[variable]} was not run. Name one: {variable}=/path/to/it; "
        f"docs/real-neighbours.md says where to get it.\n{line}",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
