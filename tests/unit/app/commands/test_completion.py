"""What a shell completes: whatever the parsers know, and names that infra knows."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from dpunetop.__main__ import main
from dpunetop.app.commands import completion, suggested
from dpunetop.app.commands.completion import complete
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.table import COMMANDS, Command
from dpunetop.domain.names import DPU_NODE_LABEL, DPUCLUSTERCONFIGS, DPUNODES
from dpunetop.kube.errors import Forbidden, NotFound
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.connection import ConfigurationError

FOR_PEOPLE = [each for each in COMMANDS if each.name != "run"]
FILES = {"--kubeconfig", "--tenant-kubeconfig", "--file", "--tenant-dir"}
FREE = {
    *("--context", "--operator-namespace", "--tenant-namespace", "--service-account", "--duration", "--server"),
    *("--secret", "--owner", "--dpus", "--timeout"),
}
"""Flags for whose values nothing is suggested: nobody lists them, or a person gives them once."""


def values_of(command: Command) -> Iterator[tuple[list[str], argparse.Action]]:
    """Each flag and argument that takes a value, and the words after which it comes."""
    left: list[str] = []
    for action in command.parser()._actions:
        if action.nargs is None:
            yield [command.name, *left, *action.option_strings[-1:]], action
            left += [] if action.option_strings else ["given"]


@pytest.fixture
def infra(monkeypatch: pytest.MonkeyPatch) -> dict[Selection, Any]:
    """What infra answers, by selection."""
    answers: dict[Selection, Any] = {}

    def some(selection: Selection, most: int, seconds: float) -> Sequence[Mapping[str, Any]]:
        found = answers.get(selection, NotFound(404, "NotFound", str(selection)))
        if isinstance(found, Exception):
            raise found
        return list(found)

    @contextmanager
    def opened(clock: object) -> Iterator[Any]:
        yield lambda name, path, context: SimpleNamespace(some=some)

    monkeypatch.setattr(suggested, "opened", opened)
    return answers


def test_the_first_word_becomes_a_command() -> None:
    assert complete([]) == [each.name for each in COMMANDS]
    assert complete(["exp"]) == ["explain"]
    assert complete(["nonsense", ""]) == []


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.name)
def test_each_flag_of_each_command_is_completed(command: Command) -> None:
    known = {flag for action in command.parser()._actions for flag in action.option_strings if flag[:2] == "--"}
    assert "--help" in known
    assert set(complete([command.name, "--"])) == known
    assert set(complete([command.name, "--he"])) == {flag for flag in known if flag.startswith("--he")}


@pytest.mark.parametrize("command", FOR_PEOPLE, ids=lambda each: each.name)
def test_of_each_value_it_is_known_what_completes_it(command: Command) -> None:
    for words, action in values_of(command):
        if action.choices is not None:
            assert complete([*words, ""]) == [str(each) for each in action.choices]
        else:
            assert (action.option_strings or [str(action.metavar)])[-1] in {*suggested.VALUES, *FILES, *FREE}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["status", "-o", "js"], ["json"]),
        (["status", "--output=js"], ["json"]),
        (["status", "--output", "=", "js"], ["json"]),
        (["status", "--output", "="], ["table", "wide", "json", "yaml"]),
        (["status", "--output="], ["table", "wide", "json", "yaml"]),
        (["status", "--context", "x", "--no"], ["--no-color"]),
        (["status", "--context", "--watch", "--wat"], ["--watch"]),
        (["completion", "z"], ["zsh"]),
        (["render", "--di"], ["--diff"]),
        (["render", "-f", ""], []),
        (["status", "x"], []),
    ],
)
def test_the_word_at_the_cursor_is_understood_by_those_before_it(words: list[str], found: list[str]) -> None:
    assert complete(words) == found


def test_explain_is_completed_with_the_dpus_and_hosts_that_the_operator_has_written_of(infra: dict[Any, Any]) -> None:
    cards = [{**new_object(DPUNODES, "ns", "dpu-1"), "status": {"host": "host-1"}}, new_object(DPUNODES, "ns", "dpu-2")]
    infra[Selection(DPUNODES)] = cards
    infra[Selection(DPUNODES, "ns")] = cards[1:]
    assert complete(["explain", ""]) == ["dpu-1", "dpu-2", "host-1"]
    assert complete(["explain", "--kubeconfig", "a b", "ho"]) == ["host-1"]
    assert complete(["explain", "-n", "ns", ""]) == ["dpu-2"]
    assert complete(["explain", "-"])[:1] == ["--help"]
    assert complete(["explain", "dpu-1", ""]) == complete(["explain", "--"])


@pytest.mark.parametrize("answer", [NotFound(404, "NotFound", "x"), Forbidden(403, "Forbidden", "x"), []])
def test_explain_is_completed_with_the_labelled_nodes_where_there_are_no_dpunodes(
    infra: dict[Any, Any], answer: Any
) -> None:
    infra[Selection(DPUNODES)] = answer
    infra[Selection(NODES, label_selector=DPU_NODE_LABEL)] = [new_object(NODES, "", "dpu-9")]
    assert complete(["explain", ""]) == ["dpu-9"]


def test_a_namespace_is_one_that_has_a_dpuclusterconfig(infra: dict[Any, Any]) -> None:
    infra[Selection(DPUCLUSTERCONFIGS)] = [new_object(DPUCLUSTERCONFIGS, each, "c") for each in ("red", "blue", "red")]
    assert complete(["status", "-n", ""]) == ["blue", "red"]


@pytest.mark.parametrize("name", ["*", "a;b", "$(x)", "a b", "-rf", "", "x\ny", "\x1b[2J"])
def test_a_shell_is_given_nothing_but_names(infra: dict[Any, Any], name: str) -> None:
    infra[Selection(DPUNODES)] = [{**new_object(DPUNODES, "ns", "dpu-1"), "status": {"host": name}}]
    assert complete(["explain", ""]) == ["dpu-1"]


def test_completion_prints_no_errors(monkeypatch: pytest.MonkeyPatch, infra: dict[Any, Any]) -> None:
    assert complete(["explain", ""]) == []

    @contextmanager
    def opened(clock: object) -> Iterator[Any]:
        def make(*_: object) -> None:
            raise ConfigurationError("no such file")

        yield make

    monkeypatch.setattr(suggested, "opened", opened)
    assert complete(["explain", ""]) == []


def test_kubectl_gets_candidates_and_a_directive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-dpu", "comp"])
    assert completion.kubectl_complete_dpu() == 0
    assert capsys.readouterr().out == "completion\n:0\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_asks_for_candidates(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "dpunetop __complete" in capsys.readouterr().out


def test_another_shell_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "powershell"]) == Exit.USAGE
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("dpunetop stat", ["status"]),
        ("dpunetop render --d", ["--diff"]),
        ("dpunetop status --output=", ["table", "wide", "json", "yaml"]),
        ("dpunetop status -o j", ["json"]),
        ("dpunetop sweep --dry", ["--dry-run"]),
    ],
)
def test_bash_completes_what_stands_on_its_line(
    line: str, found: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Words are split as readline splits them: at blanks, and around each `=`."""
    main(["completion", "bash"])
    words = " ".join(f"'{word}'" for word in line.replace("=", " = ").split())
    program = f'dpunetop() {{ "{sys.executable}" -m dpunetop "$@"; }}'
    asked = f'COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _dpunetop; echo "${{COMPREPLY[*]}}"'
    script = f"{capsys.readouterr().out}{program}; {asked}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout.split() == found
