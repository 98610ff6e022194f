"""What a run of benchmarks leaves: a table for people, JSON for whatever compares runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from dpunetop.base import jsonio


@dataclass(frozen=True)
class Bar:
    """What a figure has to keep: at most, or at least; None: there is no bar on that side."""

    most: float | None = None
    least: float | None = None

    def holds(self, value: float) -> bool:
        """Whether `value` keeps it."""
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    def __str__(self) -> str:
        return f"≤ {shown(self.most)}" if self.most is not None else f"≥ {shown(self.least or 0.0)}"


class Better(Enum):
    """Which of two values of one figure is the better one."""

    LESS = "less"
    MORE = "more"
    NEITHER = "neither"
    """It tells of the machine, or is a tail that a run of few measurements does not show: bars judge tails."""


@dataclass(frozen=True)
class Figure:
    """One measured number."""

    part: str
    what: str
    value: float
    unit: str = ""
    bar: Bar | None = None
    better: Better = Better.LESS

    @property
    def is_kept(self) -> bool:
        """Whether its bar holds; what has none is kept."""
        return self.bar is None or self.bar.holds(self.value)


@dataclass
class Report:
    """All figures of a run, with what is needed to read them and the measurements behind them."""

    machine: Mapping[str, Any]
    figures: list[Figure] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def add(
        self,
        part: str,
        what: str,
        value: float,
        unit: str = "",
        bar: Bar | None = None,
        better: Better = Better.LESS,
    ) -> None:
        """Add a figure."""
        self.figures.append(Figure(part, what, value, unit, bar, better))

    @property
    def broken(self) -> list[Figure]:
        """The figures whose bar does not hold."""
        return [figure for figure in self.figures if not figure.is_kept]

    def json(self) -> bytes:
        """All of it, for machines."""
        return jsonio.dumps(dataclasses.asdict(self)) + b"\n"

    def table(self) -> str:
        """The figures, as a table that Markdown renders too."""
        return table(("part", "figure", "value", "unit", "bar", ""), map(_row, self.figures))


def table(head: Sequence[str], lines: Iterable[Sequence[str]], numbers: Sequence[int] = (2,)) -> str:
    """A table that Markdown renders too; the columns of `numbers` end at the right."""
    rows = [head, ["-" * len(name) for name in head], *lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    return "\n".join(_line(row, widths, numbers) for row in rows)


def shown(value: float) -> str:
    """A number with as many digits as say something."""
    if value == int(value) and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = "" if figure.bar is None else "kept" if figure.is_kept else "BROKEN"
    bar = "" if figure.bar is None else str(figure.bar)
    return figure.part, figure.what, shown(figure.value), figure.unit, bar, verdict


def _line(row: Sequence[str], widths: Sequence[int], numbers: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if i in numbers else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "| " + " | ".join(cells) + " |"
