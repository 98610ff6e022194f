"""The command `completion`: scripts by which bash, zsh and fish complete `dpunetop` and `kubectl dpu`.

Candidates come from the parser of each command, so that a new flag completes at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import PlainParser, UsageError
from dpunetop.app.commands.table import COMMANDS, find_command

SUMMARY = "Print what a shell needs to complete dpunetop."
_HOW = "source <(dpunetop completion bash)      for fish: dpunetop completion fish | source"
_BASH = """_dpunetop() {
    local IFS=$'\\n'
    COMPREPLY=($(dpunetop __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _dpunetop dpunetop
"""
_ZSH = """#compdef dpunetop
_dpunetop() {
    local -a found
    found=(${(f)"$(dpunetop __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    compset -P '--*='
    (( $#found )) && compadd -a found || _files
}
compdef _dpunetop dpunetop
"""
_FISH = """function __dpunetop
    set -l typed (commandline -opc) (commandline -ct)
    set -l found (dpunetop __complete $typed[2..-1] 2>/dev/null)
    set -l before (string match -r -- '^--[^=]*=' $typed[-1])
    test (count $found) -gt 0; and printf "$before%s\\n" $found; or __fish_complete_path $typed[-1]
end
complete -c dpunetop -f -a '(__dpunetop)'
"""
_SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_FILES_TOO = ":0"
"""The directive for kubectl: without candidates, complete file names. Source: ShellCompDirectiveDefault of cobra."""


def completion(arguments: Sequence[str]) -> int:
    """Print the script for a shell: `source <(dpunetop completion bash)`."""
    try:
        sys.stdout.write(_SHELLS[parser().parse_args(list(arguments)).shell])
    except UsageError as err:
        print(f"dpunetop: {err}", file=sys.stderr)
        return Exit.USAGE
    return Exit.GOOD


def parser() -> PlainParser:
    """The flags and arguments of the command."""
    made = PlainParser("completion", SUMMARY, _HOW)
    made.add_argument("shell", choices=tuple(_SHELLS))
    return made


@dataclass
class Typed:
    """The parsed words before the one to complete."""

    waiting: argparse.Action | None = None
    """The flag whose value comes next."""
    left: list[argparse.Action] = field(default_factory=list)
    """Arguments that are not given yet."""
    given: dict[str, str] = field(default_factory=dict)
    """Values of flags, by their destination."""


def complete(words: Sequence[str]) -> list[str]:
    """The candidates for the last word; the words before it are complete. For `--flag=value` only the value, as bash
    and cobra expect."""
    *before, last = _split(words) or [""]
    return [each for each in _candidates(before, last) if each.startswith(last)]


def _split(words: Sequence[str]) -> list[str]:
    """The words, with each `--flag=value` as two; bash splits it into three, of which the last may be missing."""
    found: list[str] = []
    for word in words:
        flag, equals, value = word.partition("=")
        if word != "=":
            found += [flag, value] if equals and flag.startswith("--") else [word]
    return [*found, ""] if list(words[-1:]) == ["="] else found


def _candidates(before: Sequence[str], last: str) -> Iterable[str]:
    if not before:
        return [each.name for each in COMMANDS]
    command = find_command(before[0])
    if command is None:
        return ()
    made = command.parser()
    typed = _typed(made, before[1:])
    if typed.waiting is not None:
        return _values(typed.waiting, typed)
    if typed.left and not last.startswith("-"):
        return _values(typed.left[0], typed)
    return _flags(made)


def _flags(made: argparse.ArgumentParser) -> Iterable[str]:
    return [flag for action in made._actions for flag in action.option_strings if flag.startswith("--")]


def _typed(made: argparse.ArgumentParser, words: Iterable[str]) -> Typed:
    by_flag = {flag: action for action in made._actions for flag in action.option_strings}
    typed = Typed(left=[action for action in made._actions if not action.option_strings])
    for word in words:
        if typed.waiting is not None:
            typed.given[typed.waiting.dest] = word
            typed.waiting = None
        elif word in by_flag:
            typed.waiting = by_flag[word] if by_flag[word].nargs is None else None
        elif typed.left and not word.startswith("-"):
            typed.left.pop(0)
    return typed


def _values(action: argparse.Action, typed: Typed) -> Iterable[str]:
    """The values of a flag; empty to let the shell complete file names."""
    if action.choices is not None:
        return [str(each) for each in action.choices]
    from dpunetop.app.commands.suggested import suggested  # it loads what talks to clusters

    return suggested((action.option_strings or [str(action.metavar)])[-1], typed.given)


def print_completions(arguments: Sequence[str]) -> int:
    """Print one candidate per line, for the scripts above."""
    for each in complete(arguments):
        print(each)
    return Exit.GOOD


def kubectl_complete_dpu() -> int:
    """The program `kubectl_complete-dpu`, which kubectl runs with the words behind `kubectl dpu`.

    Source: https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/, and kubectl's plugin_completion.go.
    """
    print("\n".join([*complete(sys.argv[1:]), _FILES_TOO]))
    return Exit.GOOD
