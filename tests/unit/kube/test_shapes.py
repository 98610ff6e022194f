from __future__ import annotations

import pytest

from dpunetop.kube.shapes import at, mappings


@pytest.mark.parametrize(
    ("value", "found"),
    [({"a": {"b": 1}}, 1), ({"a": {}}, None), ({"a": "b"}, None), ({"a": [{"b": 1}]}, None), ("a", None), (None, None)],
)
def test_what_lies_deeper_is_found_or_is_nothing(value: object, found: object) -> None:
    assert at(value, "a", "b") == found


def test_of_a_list_only_mappings_are_members() -> None:
    assert mappings([{"a": 1}, "b", None, ["c"], {}]) == [{"a": 1}, {}]
    assert mappings({"a": 1}) == mappings("ab") == mappings(None) == []
