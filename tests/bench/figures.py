"""What is said of a row of measurements: few numbers, and honest ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the part `q` of all do not exceed; always one that was measured.

    Raises: ValueError, of nothing there is no quantile.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(math.ceil(q * len(values)) - 1, 0)]


@dataclass(frozen=True)
class Spread:
    """A row of measurements in short."""

    count: int
    median: float
    p25: float
    p75: float
    p99: float
    worst: float


def spread(values: Sequence[float]) -> Spread:
    """Raises: ValueError, as `quantile`."""
    p25, median, p75, p99 = (quantile(values, q) for q in (0.25, 0.5, 0.75, 0.99))
    return Spread(len(values), median, p25, p75, p99, max(values))


def rate(times: Sequence[float]) -> float:
    """Events per second from the first to the last of them; 0 if that is no time."""
    span = max(times) - min(times) if times else 0.0
    return len(times) / span if span > 0 else 0.0


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least squares: by how much y grows with x. Raises: ValueError without two different x."""
    count = len(points)
    x0 = sum(x for x, _ in points) / count if count else 0.0
    y0 = sum(y for _, y in points) / count if count else 0.0
    square = sum((x - x0) ** 2 for x, _ in points)
    if not square:
        raise ValueError("a slope needs two different x")
    return sum((x - x0) * (y - y0) for x, y in points) / square
