"""What a command prints: aligned or drawn, in colour or not, and never what a terminal would obey."""

from __future__ import annotations

import io
import json

import pytest
import yaml

from dpunetop.app.commands.layout import Cell, Column, Table, Tone
from dpunetop.app.commands.output import Format, Output, as_json, as_yaml

HOSTILE = "a\x1b[2Jb\x07c\nd\x9b31m\u202ee\x7f"
"""Clears the screen, rings, breaks the line, sets a colour by the 8-bit CSI, turns the direction, deletes."""
TABLE = Table(
    (Column("HOST"), Column("WHY"), Column("POD", is_wide=True)),
    ((Cell("host-1", Tone.BAD), Cell("no network"), Cell("p-1")), (Cell("h"), Cell(HOSTILE), Cell("p-22"))),
)


def printed(form: Format = Format.TABLE, *, colour: bool = False, terminal: bool = False) -> str:
    stream = io.StringIO()
    Output(stream, form, colour, terminal).table(TABLE)
    return stream.getvalue()


def test_columns_are_aligned_and_those_for_wide_are_left_out() -> None:
    assert printed().splitlines() == ["HOST    WHY", "host-1  no network", "h       a [2Jb c d 31m e "[:-1]]


def test_wide_shows_all_columns() -> None:
    assert printed(Format.WIDE).splitlines()[0].split() == ["HOST", "WHY", "POD"]


def test_a_tone_is_a_colour_only_if_asked_for() -> None:
    assert "\x1b[1;31mhost-1\x1b[0m" in printed(colour=True)
    assert "\x1b" not in printed()


def test_on_a_terminal_the_same_table_is_as_wide_as_it_is() -> None:
    assert printed(terminal=True) == printed()


@pytest.mark.parametrize("terminal", [True, False])
def test_no_text_of_strangers_is_obeyed_by_a_terminal(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    out = Output(stream, Format.WIDE, False, terminal)
    out.line(HOSTILE, Tone.BAD)
    out.table(Table((Column("A"),), ((Cell(HOSTILE),),)))
    assert all(" " <= each <= "~" or each == "\n" for each in stream.getvalue())


def test_a_document_keeps_each_character_as_an_escape() -> None:
    for text, read in ((as_json({"a": HOSTILE}), json.loads), (as_yaml({"a": HOSTILE}), yaml.safe_load)):
        assert read(text) == {"a": HOSTILE}
        assert all(" " <= each <= "~" or each == "\n" for each in text)


@pytest.mark.parametrize(("form", "expected"), [(Format.JSON, '{\n  "b": 1\n}\n'), (Format.YAML, "b: 1\n")])
def test_a_document_has_the_format_that_was_asked_for(form: Format, expected: str) -> None:
    stream = io.StringIO()
    Output(stream, form, True, True).document({"b": 1})
    assert stream.getvalue() == expected
