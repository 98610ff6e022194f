"""What went through a proxy: one record a request, in memory and as JSON lines, and what of it changed the cluster."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self
from urllib.parse import parse_qs, unquote

from dpunetop.base import jsonio

_MUTATING = ("POST", "PUT", "PATCH", "DELETE")
_UNCOUNTED_PLURALS = ("leases", "events")
_GROUPS_OF_REVIEWS = ("authentication.k8s.io", "authorization.k8s.io")


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names; an empty name is a whole collection."""

    group: str
    plural: str
    namespace: str
    name: str
    subresource: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a request before it is answered.

    `uid` and `resource_version` are the preconditions in its body. `version_before` is the last resourceVersion of the
    object that the proxy had seen, in any answer or watch event; empty if it had seen none.
    """

    cluster: str
    seq: int
    t: float
    user_agent: str
    method: str
    path: str
    query: str
    uid: str
    resource_version: str
    body_sha256: str
    version_before: str

    @property
    def is_mutating(self) -> bool:
        """Whether it asks for a change."""
        return self.method in _MUTATING


@dataclass(frozen=True, slots=True)
class TraceEntry(Asked):
    """One request and what became of it.

    `status` is 0 if no answer came. `write` is its number among the effective writes of both clusters, 0 if it is none.
    """

    status: int
    version_after: str
    duration_seconds: float
    write: int

    @property
    def is_effective(self) -> bool:
        """Whether it changed an object other than a Lease or an Event."""
        return self.write > 0


class Trace:
    """The records of one proxy, in the order in which the answers ended; also written to `file` at once, if given.

    Threads: any.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._changed = threading.Condition()  # guards _entries and the order of lines
        self._entries: list[TraceEntry] = []
        self._file: BinaryIO | None = None if file is None else file.open("ab", buffering=0)  # until `close`

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is in memory stays."""
        with self._changed:
            if self._file is not None:
                self._file.close()
                self._file = None

    def add(self, entry: TraceEntry) -> None:
        """Record a request that is over."""
        with self._changed:
            self._entries.append(entry)
            if self._file is not None:
                self._file.write(jsonio.dumps(dataclasses.asdict(entry)) + b"\n")
            self._changed.notify_all()

    def entries(self) -> list[TraceEntry]:
        """All records so far."""
        with self._changed:
            return list(self._entries)

    def writes(self) -> list[TraceEntry]:
        """The requests that asked for a change, whatever came of them."""
        return [entry for entry in self.entries() if entry.is_mutating]

    def effective_writes(self) -> list[TraceEntry]:
        """The requests that changed something; see `is_effective`."""
        return [entry for entry in self.entries() if entry.is_effective]

    def wait_for(self, holds: Callable[[TraceEntry], bool], timeout: float) -> TraceEntry:
        """The first record that `holds`, now or within `timeout` seconds. Raises: TimeoutError."""
        deadline = time.monotonic() + timeout
        looked_at = 0
        with self._changed:
            while True:
                for entry in self._entries[looked_at:]:
                    if holds(entry):
                        return entry
                looked_at = len(self._entries)
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"none of {looked_at} requests is the one waited for")


def target_of(path: str) -> Target | None:
    """What a path of the API names; None for paths that name no resource, such as /readyz."""
    match [unquote(part) for part in path.strip("/").split("/")]:
        case ["api", _, *rest]:
            return _target("", rest)
        case ["apis", group, _, *rest]:
            return _target(group, rest)
    return None


def _target(group: str, parts: list[str]) -> Target | None:
    match parts:
        case ["namespaces", name, "status" | "finalize" as sub]:
            return Target(group, "namespaces", "", name, sub)
        case ["namespaces", namespace, plural, *rest]:
            return _within(group, plural, namespace, rest)
        case [plural, *rest]:
            return _within(group, plural, "", rest)
    return None


def _within(group: str, plural: str, namespace: str, rest: list[str]) -> Target:
    name, subresource = (*rest, "", "")[:2]
    return Target(group, plural, namespace, name, subresource)


def is_review(asked: Asked) -> bool:
    """Whether a request asks the API server about somebody: a POST that leaves nothing behind."""
    target = target_of(asked.path)
    return target is not None and target.group in _GROUPS_OF_REVIEWS


def is_counted(asked: Asked) -> bool:
    """Whether a request is a write in the sense of fault plans: not of a Lease or an Event, and not a mere question.

    Reviews, tokens and dry runs are POSTs that leave nothing behind.
    """
    target = target_of(asked.path)
    if target is None or not asked.is_mutating or "dryRun" in parse_qs(asked.query):
        return False
    if target.plural in _UNCOUNTED_PLURALS or is_review(asked):
        return False
    return (target.plural, target.subresource) != ("serviceaccounts", "token")


def is_effective(asked: Asked, status: int, version_after: str) -> bool:
    """Whether a counted write changed something: it created, deleted, or gave the object another resourceVersion.

    Guarantees: a change is never missed, since its resourceVersion is newer than all that was seen before the request
        was sent on. A write that changes nothing is taken for a change only if the proxy had never seen the object as
        it then was. A DELETE of what is already terminating counts.
    Source: an apply that changes nothing keeps the resourceVersion (Kubernetes API server).
    """
    if not 200 <= status < 300:
        return False
    if asked.method == "DELETE" or status == 201:
        return True
    return version_after != asked.version_before


def preconditions(body: bytes) -> tuple[str, str]:
    """The uid and resourceVersion that a request's body insists on: in its metadata, or in DeleteOptions."""
    document = decoded(body)
    options = document.get("deleteOptions") or document
    expected = options.get("preconditions") or document.get("metadata") or {}
    return str(expected.get("uid") or ""), str(expected.get("resourceVersion") or "")


def version_of(document: Mapping[str, Any]) -> str:
    """The resourceVersion of an object or a list; empty for what has none."""
    return str((document.get("metadata") or {}).get("resourceVersion") or "")


def decoded(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; empty if it holds anything else."""
    try:
        document = jsonio.loads(body)
    except jsonio.DecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def sha256(body: bytes) -> str:
    """Hash of a body in hex; empty for an empty one."""
    return hashlib.sha256(body).hexdigest() if body else ""


_Place = tuple[str, str, str, str]  # group, plural, namespace, name


class Versions:
    """The last resourceVersion seen of each object of one cluster.

    Threads: one, the proxy's.
    """

    def __init__(self) -> None:
        self._seen: dict[_Place, str] = {}

    def last(self, path: str) -> str:
        """Of the object that a path names; empty if it was never seen, or is deleted."""
        target = target_of(path)
        return "" if target is None else self._seen.get(_place(target, {}), "")

    def answered(self, path: str, document: Mapping[str, Any]) -> None:
        """Learn from the answer to a request for a path: an object, or a list."""
        target = target_of(path)
        if target is None:
            return
        items = document.get("items")
        for item in items if isinstance(items, list) else [document]:
            self._learn(target, item)

    def watched(self, path: str, event: Mapping[str, Any]) -> None:
        """Learn from one event of a watch of a path."""
        target = target_of(path)
        if target is None or event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
            return
        place = self._learn(target, event.get("object") or {})
        if event["type"] == "DELETED":
            self._seen.pop(place, None)

    def _learn(self, target: Target, item: Mapping[str, Any]) -> _Place:
        place = _place(target, item.get("metadata") or {})
        if version_of(item) and place[3]:
            self._seen[place] = version_of(item)
        return place


def _place(target: Target, metadata: Mapping[str, Any]) -> _Place:
    namespace = target.namespace or metadata.get("namespace") or ""
    return target.group, target.plural, namespace, target.name or metadata.get("name") or ""


class Tap:
    """Listens to the body of an answer as it passes, and teaches Versions what it says.

    Threads: one, the proxy's.
    """

    def __init__(self, asked: Asked, content_encoding: str, versions: Versions) -> None:
        self._asked = asked
        self._versions = versions
        self._is_watch = parse_qs(asked.query).get("watch", [""])[0] in ("1", "true", "True")
        self._unpack = zlib.decompressobj(wbits=31).decompress if content_encoding == "gzip" else bytes
        self._pending: list[bytes] = []
        self.version = ""

    def hear(self, payload: bytes) -> None:
        """Take the next bytes."""
        self._pending.append(self._unpack(payload))
        if self._is_watch and b"\n" in self._pending[-1]:
            self._hear_lines()

    def end(self) -> None:
        """The body is complete."""
        if self._is_watch:
            return
        document = decoded(b"".join(self._pending))
        self.version = version_of(document)
        self._versions.answered(self._asked.path, document)

    def _hear_lines(self) -> None:
        *lines, rest = b"".join(self._pending).split(b"\n")
        self._pending = [rest]
        for line in lines:
            self._versions.watched(self._asked.path, decoded(line))
