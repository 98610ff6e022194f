"""How tables and prose fill a terminal: nothing is lost, whatever its width, and names stay whole."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios

import pytest

from dpunetop.app.commands.layout import Cell, Column, Table, folded, laid_out

WHY = "its pod db-0 is held by PodDisruptionBudget shop/db; kubectl --kubeconfig tenant -n shop describe pdb db"
ROWS = (
    ("worker-advnetlab13", "bf2-worker-advnetlab13", "default/dpuclusterconfig-sample", "Draining", "yes", WHY),
    ("worker-advnetlab14", "bf2-worker-advnetlab14", "default/dpuclusterconfig-sample", "Serving", "yes", ""),
)
TITLES = ("HOST", "DPU", "CONFIG", "PHASE", "NETWORK", "WHY")
TABLE = Table(tuple(map(Column, TITLES)), tuple(tuple(map(Cell, row)) for row in ROWS))
PROGRAM = """
import sys
from dpunetop.app.commands.layout import Cell, Column, Table, Tone
from dpunetop.app.commands.output import Format, Output
out = Output(sys.stdout, Format.TABLE, {colour}, sys.stdout.isatty())
out.table(Table({titles}, {rows}))
out.line("  why:       HostDraining: " + {why!r}, Tone.BAD)
out.line("    kubectl annotate node bf2-worker-advnetlab13 dpu.openshift.io/drain=force:2445226d-2a81", Tone.COMMAND)
"""


def drawn(width: int | None, table: Table = TABLE) -> list[str]:
    return ["".join(cell.text for cell in line).rstrip() for line in laid_out(table, width)]


@pytest.mark.parametrize("width", [1, 40, 60, 80, 100, 120, 140, 160, 240, None])
def test_every_word_is_there_at_every_width_and_no_name_is_broken(width: int | None) -> None:
    words = " ".join(drawn(width)).split()
    for row in ROWS:
        for cell in row[:-1]:
            assert cell in words
    assert WHY in " ".join(words)


@pytest.mark.parametrize("width", [80, 100, 120, 140, 160, 240])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, drawn(width))) <= width


def test_where_all_fits_it_is_one_line_a_row() -> None:
    assert len(drawn(240)) == 1 + len(ROWS)


def test_the_prose_is_folded_beside_its_row_while_there_is_room() -> None:
    lines = drawn(140)
    assert lines[0].endswith("WHY")
    assert lines[2].startswith(" " * 90)


def test_then_it_goes_below_its_row_and_a_row_without_prose_has_none() -> None:
    lines = drawn(110)
    assert lines[0].split() == [*TITLES[:-1]]
    assert lines[2] == f"    {WHY}"[: len(lines[2])]
    assert lines[-1].startswith("worker-advnetlab14")


def test_then_each_cell_stands_behind_its_title() -> None:
    lines = drawn(80)
    assert lines[0] == "HOST worker-advnetlab13  DPU bf2-worker-advnetlab13"
    assert lines[1] == "  CONFIG default/dpuclusterconfig-sample  PHASE Draining  NETWORK yes"


def test_a_table_without_rows_has_a_header_where_that_fits() -> None:
    assert drawn(80, Table(TABLE.columns, ())) == ["  ".join(TITLES)]


def test_prose_is_folded_at_blanks_and_indented_further() -> None:
    lines = folded("  why:       one two three four five six seven eight nine", 40)
    assert lines == ["  why:       one two three four five six", "      seven eight nine"]
    assert folded("", 80) == [""]


def on_a_terminal(width: int, colour: bool) -> str:
    """What a program writes to a terminal of that width."""
    titles = f"({', '.join(f'Column({each!r})' for each in TITLES)})"
    rows = f"({', '.join('(' + ', '.join(f'Cell({cell!r}, Tone.BAD)' for cell in row) + ')' for row in ROWS)})"
    program = PROGRAM.format(colour=colour, titles=titles, rows=rows, why=WHY)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", program],
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 1), (os.POSIX_SPAWN_CLOSE, ours)],
    )
    os.close(theirs)
    said = _all_of(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    return said.replace("\r\n", "\n")


def _all_of(terminal: int) -> str:
    """Everything until its other end is closed, which Linux tells as an error."""
    found = b""
    while True:
        try:
            read = os.read(terminal, 1 << 16)
        except OSError:
            read = b""
        if not read:
            os.close(terminal)
            return found.decode()
        found += read


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_real_terminal_no_reason_is_lost_and_a_command_is_one_line(width: int) -> None:
    said = on_a_terminal(width, colour=False)
    *prose, command = said.splitlines()
    assert "\x1b" not in said
    assert max(map(len, prose)) <= width
    assert " ".join(said.split()).count(WHY) == 2
    assert command.endswith("dpu.openshift.io/drain=force:2445226d-2a81")


def test_a_colour_covers_words_alone() -> None:
    said = on_a_terminal(240, colour=True)
    assert "\x1b[1;31mServing\x1b[0m" in said
    assert "\x1b[1;31m\x1b[0m" not in said
