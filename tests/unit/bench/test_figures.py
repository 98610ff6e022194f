from __future__ import annotations

import pytest

from bench.figures import Spread, quantile, rate, slope, spread


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [([5.0], 0.99, 5.0), ([4.0, 1.0, 3.0, 2.0], 0.5, 2.0), ([1.0, 2.0, 3.0], 0.5, 2.0), ([1.0, 2.0], 0.0, 1.0)],
)
def test_a_quantile_is_a_value_that_was_measured(values: list[float], q: float, expected: float) -> None:
    assert quantile(values, q) == expected


def test_the_p99_of_a_hundred_values_is_the_last_but_one() -> None:
    values = [float(value) for value in range(1, 101)]
    assert spread(values) == Spread(count=100, median=50.0, p25=25.0, p75=75.0, p99=99.0, worst=100.0)


def test_an_empty_measurement_has_no_percentiles() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)
    assert rate([]) == 0.0


def test_a_rate_is_taken_from_the_first_to_the_last_event() -> None:
    assert rate([10.0, 12.0, 11.0, 10.5]) == 2.0
    assert rate([10.0]) == 0.0


def test_a_slope_is_that_of_the_line_through_the_points() -> None:
    assert slope([(0.0, 100.0), (10.0, 120.0), (20.0, 140.0)]) == 2.0
    with pytest.raises(ValueError, match="two different x"):
        slope([(1.0, 1.0), (1.0, 2.0)])
