"""The order of the tests, and how they are shared out: no process works on alone at the end."""

from __future__ import annotations

from collections import Counter
from importlib import import_module
from typing import Any

import pytest

from support.controlplanes import OPERATOR, shared_out_with


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that need no operator, which one process runs; then with those that have most time.

    Runs last, so that only the tests count that were selected. The tests of a file keep their order.
    """
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (OPERATOR in item.path.parents, -_seconds(item), -sizes[item.path], str(item.path)))


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share out what `shared_out_with` says, in place of whole files. Source: `LoadFileScheduling` of xdist, which has
    no types."""
    if config.getoption("dist") != "loadfile":
        return None
    scheduler = import_module("xdist.scheduler").LoadFileScheduling(config, log)
    scheduler._split_scope = shared_out_with
    return scheduler


def _seconds(item: pytest.Item) -> float:
    """How much time a test has: what needs more says so."""
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark is not None else 0.0
