"""Plugin of figures: what a test has measured, printed at the end of the run, whether or not tests failed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Measured = Callable[[str], None]

_MEASURED = "measured"


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Takes figures to be printed at the end of the run, in whichever process the test runs."""
    return lambda line: request.node.user_properties.append((_MEASURED, line))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    for name, line in (each for report in reports if report.when == "call" for each in report.user_properties):
        if name == _MEASURED:
            terminalreporter.write_line(f"measured: {line}")
