"""A program that the user provides, with its manifests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpunetop.sandbox.admin import Obj, objects_of

_KINDS = {
    "CustomResourceDefinition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
}
_KEPT = ("name", "labels", "annotations")


class Unavailable(Exception):
    """The named program cannot be used; the text says what to do."""


@dataclass(frozen=True)
class Program:
    """A program and its manifests."""

    path: Path
    manifests: Path
    """A folder."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the program, which identifies the build."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]

    def objects(self, *kinds: str) -> list[Obj]:
        """The objects of these kinds in the folder, as written in files or as exported from a cluster."""
        return [obj for obj in self._all() if obj["kind"] in kinds]

    def _all(self) -> Iterator[Obj]:
        for file in sorted(self.manifests.glob("*.y*ml")):
            for document in objects_of(file):
                yield from (_bare(obj) for obj in _flat(document) if obj["kind"] in _KINDS)


def program_at(variable: str, given: str, manifests: str = "") -> Program:
    """Look at a program. Raises: Unavailable."""
    path = Path(given).resolve()
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise Unavailable(f"{variable}: {given} is not an executable program; see docs/real-neighbours.md")
    folder = Path(manifests or f"{given}.manifests").resolve()
    if not any(folder.glob("*.y*ml")):
        raise Unavailable(f"{variable}_CRDS: {folder} holds no manifests; docs/real-neighbours.md lists them")
    return Program(path, folder)


def from_environment(variable: str) -> Program | None:
    """The program that a variable names, with the manifests that `<variable>_CRDS` names. Raises: Unavailable."""
    given = os.environ.get(variable, "")
    return program_at(variable, given, os.environ.get(f"{variable}_CRDS", "")) if given else None


def _flat(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if document.get("kind", "").endswith("List"):
        yield from document.get("items") or ()
    else:
        yield document


def _bare(obj: Mapping[str, Any]) -> Obj:
    metadata = {key: obj["metadata"][key] for key in _KEPT if obj["metadata"].get(key)}
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
