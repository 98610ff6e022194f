"""`python -m dpunetop [COMMAND]`: the operator, questions about it, what removes what it left, a playground."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from dpunetop import __version__
from dpunetop.app.commands.table import COMMANDS, Command, find_command
from dpunetop.base.quoting import quoted

_NO_SANDBOX = "the sandbox is not part of the installed package; run `make sandbox` in a checkout of the project"
_USAGE_EXIT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Pick the command and run it, without one `run`; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    match given:
        case ["--version", *_]:
            print(f"dpunetop {__version__}")
            return 0
        case ["-h" | "--help" | "help", *_]:
            print(_usage())
            return 0
        case ["__complete", *rest]:
            return _complete(rest)
        case [str(word), *rest] if not word.startswith("-"):
            return _command(word, rest)
        case _:
            return _command("run", given)


def kubectl_dpu() -> int:
    """The program `kubectl-dpu`, as which kubectl runs `kubectl dpu …`; without a command it lists them."""
    return main(sys.argv[1:] or ["--help"])


def _command(name: str, arguments: Sequence[str]) -> int:
    command = find_command(name)
    if command is None:
        there_are = ", ".join(each.name for each in COMMANDS)
        print(f"dpunetop: unknown command {quoted(name)}; there are {there_are}", file=sys.stderr)
        return _USAGE_EXIT
    if find_spec(command.module.rpartition(".")[0]) is None:
        print(f"dpunetop: {_NO_SANDBOX}", file=sys.stderr)
        return _USAGE_EXIT
    return _loaded(command)(arguments)


def _loaded(command: Command) -> Callable[[Sequence[str]], int]:
    """What the command runs. Whatever its modules make stays, so that to look for garbage meanwhile is in vain, and
    takes a seventh of the time."""
    gc.disable()
    try:
        return command.function()
    finally:
        gc.enable()


def _complete(arguments: Sequence[str]) -> int:
    from dpunetop.app.commands.completion import print_completions

    return print_completions(arguments)


def _usage() -> str:
    lines = [f"  {each.name:<20}{each.summary}" for each in COMMANDS]
    return "\n".join(
        [
            "usage: python -m dpunetop [COMMAND] [flags]     without a command: run",
            "",
            *lines,
            "",
            "COMMAND --help lists its flags",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
