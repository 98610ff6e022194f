"""Draw docs/plots/*.svg from the stored baseline of the benchmarks: python hack/plots.py [FOLDER]

Run it after `make bench-compare ARGS=--store`; `make bench-plots` does, in the environment of the docs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
BASELINE = ROOT / "tests" / "bench" / "baseline.json"
PLOTS = ROOT / "docs" / "plots"
KEPT, BROKEN, LINE = "#2a78b8", "#c0392b", "#555555"
INCHES_A_ROW, WIDTH_INCHES = 0.28, 9.0
MOST_SHARE = 3.0
"""The longest bar; a larger figure is cut here, and its number is printed."""


@dataclass(frozen=True)
class Row:
    """A figure as a share of its limit: 1 is exactly the limit, more exceeds it."""

    label: str
    share: float
    text: str

    @property
    def color(self) -> str:
        """The color that shows whether the limit is kept."""
        return KEPT if self.share <= 1.0 else BROKEN


def rows(figures: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row for each figure with a limit, in the order of the baseline."""
    return [_row(figure) for figure in figures if figure["bar"] is not None and figure["value"] > 0]


def _row(figure: Mapping[str, Any]) -> Row:
    value, most, least = figure["value"], figure["bar"]["most"], figure["bar"]["least"]
    share, sign = (value / most, f"≤ {most:g}") if most else (least / value, f"≥ {least:g}")
    return Row(f"{figure['part']}: {figure['what']}", share, f"{value:.3g} {figure['unit']} ({sign})")


def draw(found: Sequence[Row], machine: Mapping[str, Any]) -> Figure:
    """A bar chart of the share of each figure."""
    figure = Figure(figsize=(WIDTH_INCHES, 1.0 + INCHES_A_ROW * len(found)), layout="constrained")
    axes = figure.subplots()
    places = range(len(found))
    axes.barh(places, [min(row.share, MOST_SHARE) for row in found], color=[row.color for row in found], height=0.7)
    axes.axvline(1.0, color=LINE, linewidth=1.0)
    for place, row in zip(places, found, strict=True):
        axes.text(min(row.share, MOST_SHARE) + 0.02, place, row.text, va="center", fontsize=7)
    axes.set_yticks(places, [row.label for row in found], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlim(0.0, MOST_SHARE + 0.5)
    axes.set_xlabel("share of the bar (1: just kept)", fontsize=8)
    axes.set_title(f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}", fontsize=8)
    return figure


def main(folder: Path) -> None:
    """Draw the charts into that folder. The same baseline gives the same bytes."""
    matplotlib.rcParams.update({"svg.hashsalt": "dpunetop", "svg.fonttype": "none"})
    baseline = json.loads(BASELINE.read_text())
    figure = draw(rows(baseline["figures"]), baseline["machine"])
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / "bars.svg", metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PLOTS)
