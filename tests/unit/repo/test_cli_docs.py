"""docs/cli.md lists commands, flags, exit codes and the checks of `doctor` as they are."""

from __future__ import annotations

import re
from pathlib import Path

from dpunetop.app import assets
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import CommandParser
from dpunetop.app.commands.table import COMMANDS
from dpunetop.domain.doctor.table import CHECKS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "cli.md").read_text()


def test_the_page_lists_each_check_of_doctor() -> None:
    rows = [f"| `{check.id}` | {check.title} | {check.looks_at} |" for check in CHECKS]
    assert "\n".join(rows) in PAGE, "\n".join(rows)


def test_the_manifests_that_commands_ask_for_are_those_of_deploy() -> None:
    folder = ROOT / "src" / "dpunetop" / "app" / "assets" / "manifests"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["dpunetop.yaml", "tenant-namespace.yaml", "tenant-rights.yaml"]
    assert all((folder / name).read_bytes() == (ROOT / "deploy" / name).read_bytes() for name in names), (
        "make manifests"
    )
    assert assets.operator_manifests()


def test_the_page_names_each_command() -> None:
    named = set(re.findall(r"`([a-z][a-z-]+)(?: [^`]*)?`", PAGE.partition("## Five questions")[0]))
    assert {command.name for command in COMMANDS} <= named


def test_the_page_lists_each_flag_that_all_commands_share() -> None:
    table = PAGE.partition("| flag | does |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"--[a-z][a-z-]+", "".join(row.split("|")[1] for row in table.splitlines() if "|" in row)))
    shared = {flag for flag in CommandParser("", "")._option_string_actions if flag.startswith("--")}
    assert listed == shared - {"--help"}


def test_the_page_lists_each_exit_code() -> None:
    table = PAGE.partition("| exit code | means |")[2].partition("\n\n")[0]
    assert [int(code) for code in re.findall(r"^\| (\d) \|", table, re.MULTILINE)] == list(Exit)
