"""Reading JSON from a server that is not trusted to keep to the API's schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def at(value: object, *path: str) -> object:
    """The value at this path of keys; None if a value on the way is no mapping."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The items of a list that are mappings; empty if `value` is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
