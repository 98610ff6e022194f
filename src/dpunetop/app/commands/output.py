"""The output of a command: tables, lines and documents, free of foreign control sequences."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, TextIO

import yaml

from dpunetop.app.commands.layout import Cell, Table, Tone, folded, laid_out

_CONTROL = re.compile(r"[^\x20-\x7e]+")


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


class Output:
    """Prints to one stream.

    Guarantees: only printable ASCII and our own colours are printed, colours only if requested; a document keeps each
        character of its values, as an escape if it is a control character.
    Threads: one.
    """

    def __init__(self, stream: TextIO, form: Format, has_colour: bool, is_terminal: bool) -> None:
        """On a terminal lines and tables are folded to its width."""
        self.format = form
        self._stream = stream
        self._has_colour = has_colour
        self._is_terminal = is_terminal

    def line(self, text: str = "", tone: Tone = Tone.PLAIN) -> None:
        """A line of prose, folded on a terminal; a command stays as it is."""
        width, plain = self._width(), clean(text)
        for each in [plain] if width is None or tone is Tone.COMMAND else folded(plain, width):
            self.exact(each, tone)

    def exact(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        """One line as it is, such as a line of YAML."""
        self._stream.write(self._toned(clean(text), tone) + "\n")
        self._stream.flush()

    def table(self, table: Table) -> None:
        """A table, its wide columns only where the format is wide."""
        for line in laid_out(_shown(table, self.format), self._width()):
            self._stream.write("".join(self._toned(cell.text, cell.tone) for cell in line).rstrip() + "\n")
        self._stream.flush()

    def document(self, value: Mapping[str, Any] | Sequence[Any]) -> None:
        """A value as JSON or YAML, by the format; the caller separates several YAML documents."""
        self._stream.write(as_json(value) if self.format is Format.JSON else as_yaml(value))
        self._stream.flush()

    def verbatim(self, text: str) -> None:
        """Text of several lines from `as_yaml` or `as_json`, or our own."""
        self._stream.write(text)
        self._stream.flush()

    def clear(self) -> None:
        """Clear the terminal; elsewhere print a separator line."""
        self._stream.write("\x1b[H\x1b[2J" if self._is_terminal else "---\n")

    def _width(self) -> int | None:
        """The current width of the terminal; None: the output is no terminal."""
        return shutil.get_terminal_size().columns if self._is_terminal else None

    def _toned(self, text: str, tone: Tone) -> str:
        return f"\x1b[{tone.value}m{text}\x1b[0m" if tone.value and text and self._has_colour else text


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
