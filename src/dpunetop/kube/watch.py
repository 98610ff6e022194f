"""Watch events and their meaning for a cache."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from dpunetop.base.quoting import printable
from dpunetop.kube.errors import ApiError, error_from_status
from dpunetop.kube.meta import version_of

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""Annotation of the bookmark that ends the initial part of a WatchList stream."""


class Quiet(Enum):
    """A marker between the events of a watch that is read without blocking."""

    QUIET = auto()
    """No event has arrived yet."""


QUIET = Quiet.QUIET


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch: its type and its object, as sent."""

    type: str
    object: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Put:
    """The object was added or changed; its new state."""

    object: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drop:
    """The object was deleted; its last state."""

    object: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """A bookmark: all changes up to this version were sent; `is_initial_end` ends the initial part of a WatchList."""

    is_initial_end: bool


def interpret(event: WatchEvent) -> tuple[str, Put | Drop | Progress]:
    """Translate one watch event into the resourceVersion to resume from and the change to make.

    Raises: the ApiError that an ERROR event carries (Gone when the resume version is too old); ApiError `BadAnswer` for
        an event type that the API does not know or an object without a version.
    Source: Kubernetes API Concepts, "Efficient detection of changes".
    """
    if event.type == "ERROR":
        raise error_from_status(event.object, code=500)
    version = version_of(event.object)
    if not version:
        raise ApiError(0, "BadAnswer", f"watch event {printable(event.type, 20)!r} carries no resourceVersion")
    match event.type:
        case "ADDED" | "MODIFIED":
            return version, Put(event.object)
        case "DELETED":
            return version, Drop(event.object)
        case "BOOKMARK":
            marks = event.object["metadata"].get("annotations") or {}
            return version, Progress(marks.get(INITIAL_EVENTS_END) == "true")
    raise ApiError(0, "BadAnswer", f"unknown watch event type {printable(event.type, 20)!r}")
