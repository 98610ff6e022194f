from __future__ import annotations

import json

from bench.report import Bar, Report, shown


def report() -> Report:
    made = Report({"cores": 2})
    made.add("P1", "writes", 340, bar=Bar(most=340))
    made.add("P1", "efficiency", 0.4567, bar=Bar(least=0.5))
    made.add("P1", "rate", 123.4, "1/s")
    return made


def test_a_bar_that_does_not_hold_is_named() -> None:
    assert [figure.what for figure in report().broken] == ["efficiency"]


def test_the_table_shows_value_bar_and_verdict_in_columns() -> None:
    assert report().table().splitlines() == [
        "| part | figure     | value | unit | bar   |        |",
        "| ---- | ------     | ----- | ---- | ---   |        |",
        "| P1   | writes     |   340 |      | ≤ 340 | kept   |",
        "| P1   | efficiency | 0.457 |      | ≥ 0.5 | BROKEN |",
        "| P1   | rate       |   123 | 1/s  |       |        |",
    ]


def test_the_json_holds_all_figures() -> None:
    written = json.loads(report().json())
    assert written["machine"] == {"cores": 2}
    assert written["figures"][1] == {
        "part": "P1",
        "what": "efficiency",
        "value": 0.4567,
        "unit": "",
        "bar": {"most": None, "least": 0.5},
        "better": "less",
    }


def test_numbers_are_shown_with_the_digits_that_say_something() -> None:
    assert [shown(value) for value in (0.0, 12.0, 0.01234, 9.876, 1234.5)] == ["0", "12", "0.0123", "9.88", "1234"]
