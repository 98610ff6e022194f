"""Fits tables and prose to a terminal: names stay whole, and text that does not fit is folded, never cut."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

GAP = "  "
_LEAST_PROSE = 30
"""The narrowest column for a sentence."""
_LEAST_WIDTH = 40
_BELOW = "    "


class Tone(Enum):
    """The style of a text, as an ANSI code."""

    PLAIN = ""
    GOOD = "32"
    WARN = "33"
    BAD = "1;31"
    DIM = "2"
    COMMAND = "1"
    """A command: it stays on one line, so that it can be copied."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One piece of text, such as a cell of a table."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Column:
    """One column; `is_wide`: shown with `--output wide` alone."""

    title: str
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows; each row has a cell for each column, and the last one holds prose."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def header(self) -> tuple[Cell, ...]:
        """The titles."""
        return tuple(Cell(column.title) for column in self.columns)


Line = Sequence[Cell]
"""Pieces that follow each other on one line."""


def folded(text: str, width: int) -> list[str]:
    """The text in lines of that width, those after the first indented further; a word is never broken."""
    lead = len(text) - len(text.lstrip(" "))
    lines = textwrap.wrap(
        text,
        max(width, _LEAST_WIDTH),
        subsequent_indent=" " * lead + _BELOW,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [""]


def laid_out(table: Table, width: int | None) -> Iterator[Line]:
    """The lines of a table for a terminal of that width; None: for a program, aligned at any width.

    Guarantees: every cell is whole. If a row does not fit, the prose of the last column is folded; then it goes below
        its row; then each cell stands behind its title, as many on a line as fit.
    """
    widths = [max(len(row[at].text) for row in (table.header, *table.rows)) for at in range(len(table.columns))]
    names = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    if width is None or names + widths[-1] <= width:
        yield from (_aligned(row, widths) for row in (table.header, *table.rows))
    elif width - names >= _LEAST_PROSE:
        for row in (table.header, *table.rows):
            yield from _beside(row, widths, width - names)
    elif names - len(GAP) <= width:
        yield _aligned(table.header[:-1], widths)
        for row in table.rows:
            yield _aligned(row[:-1], widths)
            yield from _prose(row[-1], width)
    else:
        for row in table.rows:
            yield from _titled(table.header[:-1], row[:-1], width)
            yield from _prose(row[-1], width)


def _aligned(row: Line, widths: Sequence[int]) -> Line:
    padded = [each for cell, width in zip(row[:-1], widths, strict=False) for each in _padded(cell, width)]
    return [*padded, row[-1]]


def _padded(cell: Cell, width: int) -> tuple[Cell, Cell]:
    """The cell and its padding, which has no colour."""
    return cell, Cell(" " * (width - len(cell.text)) + GAP)


def _beside(row: Line, widths: Sequence[int], width: int) -> Iterator[Line]:
    first, *others = textwrap.wrap(row[-1].text, width, break_long_words=False, break_on_hyphens=False) or [""]
    yield _aligned([*row[:-1], Cell(first, row[-1].tone)], widths)
    indent = Cell(" " * (sum(widths[:-1]) + len(GAP) * (len(widths) - 1)))
    yield from ([indent, Cell(each, row[-1].tone)] for each in others)


def _prose(cell: Cell, width: int) -> Iterator[Line]:
    if cell.text:
        yield from ([Cell(each, cell.tone)] for each in folded(_BELOW + cell.text, width))


def _titled(titles: Line, row: Line, width: int) -> Iterator[Line]:
    line: list[Cell] = []
    filled = 0
    for title, cell in zip(titles, row, strict=True):
        needed = len(title.text) + 1 + len(cell.text)
        if line and filled + len(GAP) + needed > width:
            yield line
            line, filled = [], 0
        gap = (GAP if filled else "") if line else ("" if title is titles[0] else GAP)
        line += [Cell(f"{gap}{title.text} "), cell]
        filled += len(gap) + needed
    yield line
