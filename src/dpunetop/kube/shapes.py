"""Reading what a server has sent that is not trusted to send what the API promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def at(value: object, *path: str) -> object:
    """What is under these keys, one within the other; None as soon as something on the way is no mapping."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The members of a list that are mappings; none, if it is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
