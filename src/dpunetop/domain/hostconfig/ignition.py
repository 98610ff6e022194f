"""Files and systemd units as an Ignition document, always in the same form.

The machine-config operator reboots a node whenever the document changes in substance, so it must follow from the
files alone: no clock, no environment, no order of a directory listing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

VERSION: Final = "3.2.0"
"""The newest version that every supported machine-config operator reads; newer ones convert it."""

# Characters that a data URL does not escape, beside letters and digits.
_LITERAL: Final = "-_.!~*'()"


@dataclass(frozen=True)
class File:
    """A file of the host that is overwritten."""

    path: str
    mode: int
    content: str


@dataclass(frozen=True)
class DropIn:
    """A fragment that extends a unit of the host."""

    name: str
    content: str


@dataclass(frozen=True)
class Unit:
    """A systemd unit: with `content` it is ours and enabled; without, it is one of the host that drop-ins extend."""

    name: str
    content: str | None = None
    drop_ins: tuple[DropIn, ...] = ()


def document(files: Iterable[File], units: Iterable[Unit]) -> dict[str, Any]:
    """The Ignition document that holds these files and units.

    Guarantees: the same for the same files and units in any order; members in the order of the Ignition types; nothing
    that is empty.
    Source: Ignition configuration specification v3.2.0.
    """
    parts: dict[str, Any] = {"ignition": {"version": VERSION}}
    if rendered := [_file(file) for file in sorted(files, key=_file_order)]:
        parts["storage"] = {"files": rendered}
    if rendered := [_unit(unit) for unit in sorted(units, key=lambda unit: unit.name)]:
        parts["systemd"] = {"units": rendered}
    return parts


def encode(config: dict[str, Any]) -> bytes:
    """The document as compact JSON; equal documents made by `document` give equal bytes."""
    return json.dumps(config, separators=(",", ":"), ensure_ascii=False).encode()


def data_url(text: str) -> str:
    """Text as a data URL with an empty media type, percent-encoded, neither base64 nor compressed."""
    return "data:," + quote(text, safe=_LITERAL)


def _file_order(file: File) -> tuple[str, str]:
    return PurePosixPath(file.path).name, file.path


def _file(file: File) -> dict[str, Any]:
    return {
        "overwrite": True,
        "path": file.path,
        "contents": {"source": data_url(file.content)},
        "mode": file.mode,
    }


def _unit(unit: Unit) -> dict[str, Any]:
    rendered: dict[str, Any] = {}
    if unit.content is not None:
        rendered["contents"] = unit.content
    if unit.drop_ins:
        rendered["dropins"] = [_drop_in(each) for each in sorted(unit.drop_ins, key=lambda each: each.name)]
    if unit.content is not None:
        rendered["enabled"] = True
    return rendered | {"name": unit.name}


def _drop_in(drop_in: DropIn) -> dict[str, str]:
    return {"name": drop_in.name, "contents": drop_in.content}
