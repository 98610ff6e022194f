"""JSON in and out, the fast way, behind the three functions that the engine needs."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import orjson

DecodeError = orjson.JSONDecodeError


def loads(data: bytes | str) -> Any:
    """Decode one JSON document. Raises: DecodeError (a ValueError)."""
    return orjson.loads(data)


def dumps(value: Any) -> bytes:
    """Encode in the order of insertion."""
    return orjson.dumps(value)


def canonical(value: Any) -> bytes:
    """Encode with sorted keys: equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: Any) -> str:
    """Short hash (16 hex digits) of a value: equal values give equal text."""
    return hashlib.sha256(canonical(value)).hexdigest()[:16]


def deep_copy(value: dict[str, Any]) -> dict[str, Any]:
    """An independent copy of JSON data; a good deal faster than copy.deepcopy."""
    return cast("dict[str, Any]", orjson.loads(orjson.dumps(value)))
