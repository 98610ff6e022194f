"""The writes of the operator as the API server's audit log has them, with what was sent."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import yaml

from dpunetop.sandbox.controlplane import ControlPlane
from support.trace import target_of

_READS = ("get", "list", "watch")
_UNCOUNTED = ("leases", "events", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews")
_OF_A_COLLECTION = ("watch", "fieldSelector", "labelSelector")
_POLL_SECONDS = 0.25


def write_policy(file: Path, user: str) -> Path:
    """An audit policy that keeps what `user` sends, and nothing of anybody else."""
    rules = [
        {"level": "Request", "users": [user], "verbs": ["create", "update", "patch", "delete"]},
        {"level": "Metadata", "users": [user]},
        {"level": "None"},
    ]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    file.write_text(yaml.dump(policy, Dumper=yaml.CSafeDumper))
    return file


@dataclass(frozen=True)
class Write:
    """One change that the server has taken."""

    verb: str
    path: str
    query: str
    plural: str
    """With `/subresource` if there is one."""
    code: int
    received: float
    answered: float
    body: Any

    @property
    def is_apply(self) -> bool:
        """Whether it is a server-side apply."""
        return self.verb == "patch" and "fieldManager=" in self.query and "force=" in self.query


@dataclass(frozen=True)
class Asked:
    """All that was asked in a stretch of time."""

    writes: tuple[Write, ...]
    """Those that were taken, in the order of the log."""
    requests: Counter[str]
    """By verb; Leases and Events left out."""
    refused: Counter[str]
    """By verb and code."""
    watched: frozenset[str] = frozenset()
    """The collections of which a watch was begun, as path and query without what differs from one watch to the next."""


class Log:
    """The audit log of one control plane from now on. Threads: one."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane = control_plane
        self._log = control_plane.audit_log
        self.reset()

    def reset(self) -> None:
        """Forget what was until now."""
        self._begin = self._log.end()

    def asked(self) -> Asked:
        """What was asked since."""
        return asked(self._log.lines(self._begin)[0])

    def await_quiet(self, quiet_seconds: float, within: float, is_enough: Callable[[], bool] = lambda: True) -> None:
        """Wait until there was no write for a while, and enough of them. Raises: TimeoutError."""
        deadline = time.monotonic() + within
        position, since = self._begin, time.monotonic()
        while True:
            lines, position = self._log.lines(position)
            if any(_is_write(line) for line in lines):
                since = time.monotonic()
            if time.monotonic() - since > quiet_seconds and is_enough():
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._control_plane.spec.name} has not come to rest after {within:g} s")
            time.sleep(_POLL_SECONDS)


def asked(lines: Iterable[bytes]) -> Asked:
    """Read lines of an audit log."""
    writes, requests, refused, watched = [], Counter[str](), Counter[str](), set[str]()
    for line in lines:
        event = json.loads(line)
        plural = _plural(event)
        if plural.split("/")[0] in _UNCOUNTED or plural == "serviceaccounts/token":
            continue
        verb, code = event["verb"], int((event.get("responseStatus") or {}).get("code", 0))
        requests[verb] += 1
        if verb == "watch":
            watched.add(_collection(event["requestURI"]))
        if code >= 400:
            refused[f"{verb} {code}"] += 1
        elif verb not in _READS:
            writes.append(_write(event, plural, code))
    return Asked(tuple(writes), requests, refused, frozenset(watched))


def _collection(uri: str) -> str:
    parts = urlsplit(uri)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key in _OF_A_COLLECTION]
    return f"{parts.path}?{urlencode(sorted(query))}"


def _write(event: dict[str, Any], plural: str, code: int) -> Write:
    uri = urlsplit(event["requestURI"])
    received, answered = (seconds(event[key]) for key in ("requestReceivedTimestamp", "stageTimestamp"))
    return Write(event["verb"], uri.path, uri.query, plural, code, received, answered, event.get("requestObject"))


def seconds(text: str) -> float:
    """A time of the audit log, in seconds since 1970."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _plural(event: dict[str, Any]) -> str:
    ref = event.get("objectRef") or {}
    return "/".join(part for part in (ref.get("resource"), ref.get("subresource")) if part)


def _is_write(line: bytes) -> bool:
    event = json.loads(line)
    target = target_of(urlsplit(event["requestURI"]).path)
    return event["verb"] not in _READS and target is not None and target.plural not in _UNCOUNTED
