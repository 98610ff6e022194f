"""Conditions: what is true of an object, since when, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from dpunetop.base.quoting import printable
from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings

Status = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT = 1000
"""Longest message that we write; the API allows 32,768 characters, more than anyone reads."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of an object, as a decision makes it; the times are added when it is written (`stamp`).

    Guarantees: the message is one printable line of ASCII, at most `MESSAGE_LIMIT` long, also with foreign text in it.
        This is the last line of defence: the code that inserts foreign text also puts it in quotes.
    """

    type: str
    status: Status
    reason: str
    message: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message, MESSAGE_LIMIT))


def condition_of(obj: Obj, type_: str) -> dict[str, Any] | None:
    """The condition of type `type_` in the object's status, as stored; None if it has none."""
    for condition in mappings(at(obj, "status", "conditions")):
        if condition.get("type") == type_:
            return dict(condition)
    return None


def changed(live: Obj, conditions: Iterable[Condition]) -> list[Condition]:
    """The conditions whose status or reason differs from `live`; a new message alone is no change."""
    return [
        condition
        for condition in conditions
        if not _says(condition_of(live, condition.type) or {}, condition.status, condition.reason)
    ]


def _says(stored: dict[str, Any], status: str, reason: str) -> bool:
    return (stored.get("status"), stored.get("reason")) == (status, reason)


def stamp(live: Obj, conditions: Iterable[Condition], observed_generation: int, now: str) -> list[dict[str, Any]]:
    """The conditions as stored in `live`'s status, sorted by type.

    Guarantees: lastTransitionTime is kept from `live` while the status value is the same, else it is `now` (RFC 3339);
        equal input gives equal output.
    Source: Kubernetes API conventions, "Typical status properties".
    """
    return [
        _stamped(condition_of(live, condition.type), condition, observed_generation, now)
        for condition in sorted(conditions, key=lambda c: c.type)
    ]


def _stamped(old: dict[str, Any] | None, condition: Condition, observed_generation: int, now: str) -> dict[str, Any]:
    unchanged = old is not None and old.get("status") == condition.status and old.get("lastTransitionTime")
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": observed_generation,
        "lastTransitionTime": old["lastTransitionTime"] if old is not None and unchanged else now,
    }
