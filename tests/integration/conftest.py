"""The order of the files: what waits longest begins first, so that no process works on alone at the end."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

_OPERATOR = Path(__file__).parent / "operator"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that run the operator, some seconds a test, and with the largest of each sort.

    Runs last, so that only the tests count that were selected. The tests of a file keep their order.
    """
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (_OPERATOR not in item.path.parents, -sizes[item.path], str(item.path)))
