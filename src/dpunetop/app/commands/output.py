"""What a command prints: tables, lines and documents, none of which a terminal obeys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, TextIO

import yaml

_CONTROL = re.compile(r"[^\x20-\x7e]+")
_GAP = "  "


class Format(StrEnum):
    """The values of `--output`."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"

    @property
    def is_document(self) -> bool:
        """Whether a program reads it."""
        return self in (Format.JSON, Format.YAML)


class Tone(Enum):
    """What a piece of text says beside its words: a style of `rich`, and the ANSI code of the same colour."""

    PLAIN = ("", "")
    GOOD = ("green", "32")
    WARN = ("yellow", "33")
    BAD = ("bold red", "1;31")
    DIM = ("dim", "2")


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `is_wide`: shown with `--output wide` alone."""

    title: str
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; each row has a cell for each column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Output:
    """Prints to one stream.

    Guarantees: whatever the text is, only printable ASCII and our own colours leave, and colours only if asked for; a
        document keeps each character of what it holds, as an escape where a terminal might obey it.
    Threads: one.
    """

    def __init__(self, stream: TextIO, form: Format, has_colour: bool, is_terminal: bool) -> None:
        """On a terminal tables are drawn by `rich` if it is installed, and fold their cells to the terminal's width."""
        self.format = form
        self._stream = stream
        self._has_colour = has_colour
        self._is_terminal = is_terminal

    def line(self, text: str = "", tone: Tone = Tone.PLAIN) -> None:
        """One line of text."""
        self._stream.write(self._toned(clean(text), tone) + "\n")
        self._stream.flush()

    def table(self, table: Table) -> None:
        """A table, its wide columns only where the format is wide."""
        shown = _shown(table, self.format)
        if not (self._is_terminal and self._drawn_by_rich(shown)):
            for line in self._aligned(shown):
                self._stream.write(line + "\n")
        self._stream.flush()

    def document(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """A value as JSON or YAML, whichever the format is; several YAML documents are a caller's business."""
        self._stream.write(as_json(value) if self.format is Format.JSON else as_yaml(value))
        self._stream.flush()

    def verbatim(self, text: str) -> None:
        """Text of several lines that `as_yaml` or `as_json` made, or that is ours."""
        self._stream.write(text)
        self._stream.flush()

    def clear(self) -> None:
        """Empty the terminal; elsewhere a line that parts one picture from the next."""
        self._stream.write("\x1b[H\x1b[2J" if self._is_terminal else "---\n")

    def _toned(self, text: str, tone: Tone) -> str:
        _, code = tone.value
        return f"\x1b[{code}m{text}\x1b[0m" if code and self._has_colour else text

    def _aligned(self, table: Table) -> list[str]:
        header = tuple(Cell(column.title) for column in table.columns)
        rows = [header, *table.rows]
        widths = [max(len(row[i].text) for row in rows) for i in range(len(header))]
        return [self._row(row, widths) for row in rows]

    def _row(self, row: tuple[Cell, ...], widths: list[int]) -> str:
        *before, last = zip(row, widths, strict=True)
        padded = [self._toned(cell.text, cell.tone) + " " * (width - len(cell.text)) for cell, width in before]
        return _GAP.join([*padded, self._toned(last[0].text, last[0].tone)]).rstrip()

    def _drawn_by_rich(self, table: Table) -> bool:
        """Whether `rich` was there to draw it: it comes with the extra `cli`, and is loaded for a table alone."""
        try:
            from rich.console import Console
            from rich.table import Table as Drawn
            from rich.text import Text
        except ImportError:
            return False
        drawn = Drawn(box=None, pad_edge=False, header_style="bold")
        for column in table.columns:
            drawn.add_column(column.title, overflow="fold")
        for row in table.rows:
            drawn.add_row(*(Text(cell.text, cell.tone.value[0]) for cell in row))
        Console(file=self._stream, no_color=not self._has_colour, highlight=False).print(drawn)
        return True


def clean(text: str) -> str:
    """One line of printable ASCII: each run of anything else becomes a blank."""
    return _CONTROL.sub(" ", text)


def as_json(value: Any) -> str:
    """JSON in ASCII, with each control character as an escape."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f") + "\n"


def as_yaml(value: Any) -> str:
    """YAML in ASCII, with each control character as an escape; members in the order of `value`."""
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=120)


def _shown(table: Table, form: Format) -> Table:
    kept = [i for i, column in enumerate(table.columns) if form is Format.WIDE or not column.is_wide]
    rows = tuple(tuple(Cell(clean(row[i].text), row[i].tone) for i in kept) for row in table.rows)
    return Table(tuple(table.columns[i] for i in kept), rows)
