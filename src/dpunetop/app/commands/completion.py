"""The command `completion`: what bash and zsh need to complete `dpunetop` and `kubectl dpu`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.table import COMMANDS

SHARED = (
    "--kubeconfig",
    "--context",
    "--tenant-kubeconfig",
    "--namespace",
    "--operator-namespace",
    "--output",
    "--watch",
    "--no-color",
    "--help",
)
_AFTER = {
    "--output": ("table", "wide", "json", "yaml"),
    "-o": ("table", "wide", "json", "yaml"),
    "completion": ("bash", "zsh"),
}
_NOT_FOR_PEOPLE = ("run", "sweep", "sandbox", "completion")
_BASH = """_dpunetop() {
    local IFS=$'\\n'
    COMPREPLY=($(dpunetop __complete "${COMP_WORDS[@]:1:COMP_CWORD}"))
}
complete -o default -F _dpunetop dpunetop
"""
_ZSH = """#compdef dpunetop
_dpunetop() {
    local -a found
    found=("${(@f)$(dpunetop __complete "${(@)words[2,CURRENT]}")}")
    compadd -a found || _files
}
compdef _dpunetop dpunetop
"""
_SHELLS = {"bash": _BASH, "zsh": _ZSH}
_FILES_TOO = ":0"
"""What kubectl asks of its plug-ins: files complete what we do not. Source: ShellCompDirectiveDefault of cobra."""


def completion(arguments: Sequence[str]) -> int:
    """Print the script for a shell: `source <(dpunetop completion bash)`."""
    match list(arguments):
        case [shell] if shell in _SHELLS:
            sys.stdout.write(_SHELLS[shell])
            return Exit.GOOD
        case ["-h" | "--help"]:
            print("usage: dpunetop completion bash|zsh\n\nsource <(dpunetop completion bash)")
            return Exit.GOOD
        case _:
            print("dpunetop: completion takes one of bash, zsh", file=sys.stderr)
            return Exit.USAGE


def complete(words: Sequence[str]) -> list[str]:
    """What the last of the words may become; the words before it are complete."""
    *before, last = words or [""]
    return [each for each in _candidates(before) if each.startswith(last)]


def _candidates(before: list[str]) -> Sequence[str]:
    if not before:
        return [each.name for each in COMMANDS]
    if before[-1] in _AFTER:
        return _AFTER[before[-1]]
    return () if before[0] in _NOT_FOR_PEOPLE else SHARED


def print_completions(arguments: Sequence[str]) -> int:
    """For the scripts above: one candidate a line."""
    print("\n".join(complete(arguments)))
    return Exit.GOOD


def kubectl_complete_dpu() -> int:
    """The program `kubectl_complete-dpu`, which kubectl runs with the words behind `kubectl dpu`.

    Source: https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/, and kubectl's plugin_completion.go.
    """
    print("\n".join([*complete(sys.argv[1:]), _FILES_TOO]))
    return Exit.GOOD
