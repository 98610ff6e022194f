"""`python -m dpunetop [run|sweep|sandbox]`: the operator, what removes what is left of it, or a playground for it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from dpunetop import __version__

_USAGE = """usage: python -m dpunetop [run] [flags]     the operator; `run --help` lists its flags
       python -m dpunetop sweep [flags]     remove what is left of DpuClusterConfigs that are gone
       python -m dpunetop sandbox [flags]   two real API servers with stand-ins, to play with
       python -m dpunetop --version"""
_NO_SANDBOX = "the sandbox is not part of the installed package; run `make sandbox` in a checkout of the project"


def main(arguments: Sequence[str] | None = None) -> int:
    """Pick the command and run it; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    match given:
        case ["--version", *_]:
            print(f"dpunetop {__version__}")
            return 0
        case ["-h" | "--help", *_]:
            print(_USAGE)
            return 0
        case ["sandbox", *rest]:
            return _sandbox(rest)
        case ["run", *rest]:
            return _run(rest)
        case ["sweep", *rest]:
            return _sweep(rest)
        case [str(word), *_] if not word.startswith("-"):
            print(f"dpunetop: unknown command {word!r}; there are run, sweep and sandbox", file=sys.stderr)
            return 2
        case _:
            return _run(given)


def _run(arguments: Sequence[str]) -> int:
    from dpunetop.app.cli import run

    return run(arguments)


def _sweep(arguments: Sequence[str]) -> int:
    from dpunetop.app.sweepcli import sweep

    return sweep(arguments)


def _sandbox(arguments: Sequence[str]) -> int:
    if find_spec("dpunetop.sandbox") is None:
        print(f"dpunetop: {_NO_SANDBOX}", file=sys.stderr)
        return 2
    from dpunetop.sandbox.cli import sandbox  # only here: the operator never needs its sandbox

    return sandbox(arguments)


if __name__ == "__main__":
    sys.exit(main())
