"""What a request asks for, what it changed, and what a proxy has learnt of versions by then."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from support.trace import (
    Asked,
    Tap,
    Target,
    Trace,
    TraceEntry,
    Versions,
    is_counted,
    is_effective,
    preconditions,
    target_of,
)

CONFIG_MAPS = "/api/v1/namespaces/a/configmaps"
ASKED = Asked("infra", 1, 0.5, "op/1", "PATCH", f"{CONFIG_MAPS}/c", "", "", "", "", "7")


def asked(method: str, path: str, query: str = "", version_before: str = "7") -> Asked:
    return dataclasses.replace(ASKED, method=method, path=path, query=query, version_before=version_before)


TARGETS = {
    "/api/v1/nodes": Target("", "nodes", "", "", ""),
    "/api/v1/nodes/n%2F1": Target("", "nodes", "", "n/1", ""),
    "/api/v1/nodes/n/status": Target("", "nodes", "", "n", "status"),
    "/api/v1/namespaces": Target("", "namespaces", "", "", ""),
    "/api/v1/namespaces/a": Target("", "namespaces", "", "a", ""),
    "/api/v1/namespaces/a/finalize": Target("", "namespaces", "", "a", "finalize"),
    "/api/v1/namespaces/a/pods/p/eviction": Target("", "pods", "a", "p", "eviction"),
    "/apis/apps/v1/daemonsets": Target("apps", "daemonsets", "", "", ""),
    "/apis/apps/v1/namespaces/a/daemonsets/d": Target("apps", "daemonsets", "a", "d", ""),
    "/readyz": None,
    "/apis/apps/v1": None,
    "/api/v1": None,
}


@pytest.mark.parametrize(("path", "target"), TARGETS.items())
def test_a_path_names_its_target(path: str, target: Target | None) -> None:
    assert target_of(path) == target


COUNTED = {
    "an apply": (asked("PATCH", f"{CONFIG_MAPS}/c"), True),
    "a status": (asked("PATCH", "/apis/x/v1/namespaces/a/things/t/status"), True),
    "an eviction": (asked("POST", "/api/v1/namespaces/a/pods/p/eviction"), True),
    "a read": (asked("GET", f"{CONFIG_MAPS}/c"), False),
    "a dry run": (asked("PATCH", f"{CONFIG_MAPS}/c", "force=true&dryRun=All"), False),
    "a Lease": (asked("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/l"), False),
    "an Event": (asked("POST", "/apis/events.k8s.io/v1/namespaces/a/events"), False),
    "a review": (asked("POST", "/apis/authentication.k8s.io/v1/tokenreviews"), False),
    "a token": (asked("POST", "/api/v1/namespaces/a/serviceaccounts/s/token"), False),
    "no resource": (asked("POST", "/readyz"), False),
}


@pytest.mark.parametrize(("request_", "counted"), COUNTED.values(), ids=COUNTED.keys())
def test_what_counts_as_a_write(request_: Asked, counted: bool) -> None:
    assert is_counted(request_) is counted


EFFECTIVE = {
    "created": ("PATCH", 201, "8", True),
    "changed": ("PATCH", 200, "8", True),
    "unchanged": ("PATCH", 200, "7", False),
    "deleted": ("DELETE", 200, "", True),
    "deletion accepted": ("DELETE", 202, "7", True),
    "conflict": ("PATCH", 409, "", False),
    "gone already": ("DELETE", 404, "", False),
    "never answered": ("PATCH", 0, "", False),
}


@pytest.mark.parametrize(("method", "status", "version", "effective"), EFFECTIVE.values(), ids=EFFECTIVE.keys())
def test_what_is_effective(method: str, status: int, version: str, effective: bool) -> None:
    assert is_effective(asked(method, f"{CONFIG_MAPS}/c"), status, version) is effective


PRECONDITIONS: dict[str, tuple[Any, tuple[str, str]]] = {
    "apply": ({"metadata": {"uid": "u", "resourceVersion": "1"}}, ("u", "1")),
    "delete": ({"kind": "DeleteOptions", "preconditions": {"uid": "u"}}, ("u", "")),
    "eviction": ({"metadata": {"name": "p"}, "deleteOptions": {"preconditions": {"uid": "u"}}}, ("u", "")),
    "none": ({"data": {}}, ("", "")),
    "a list": ([1], ("", "")),
}


@pytest.mark.parametrize(("body", "found"), PRECONDITIONS.values(), ids=PRECONDITIONS.keys())
def test_preconditions_are_found_in_the_body(body: Any, found: tuple[str, str]) -> None:
    assert preconditions(json.dumps(body).encode()) == found


def test_a_body_that_is_no_json_has_no_preconditions() -> None:
    assert preconditions(b"kind: ConfigMap") == ("", "")


def obj(name: str, version: str, namespace: str = "a") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": version}}


def heard(path: str, query: str, *parts: bytes, encoding: str = "") -> tuple[Versions, str]:
    versions = Versions()
    tap = Tap(asked("GET", path, query), encoding, versions)
    for part in parts:
        tap.hear(part)
    tap.end()
    return versions, tap.version


def test_the_version_of_an_object_is_learnt_from_a_get() -> None:
    versions, version = heard(f"{CONFIG_MAPS}/c", "", json.dumps(obj("c", "7")).encode())
    assert (versions.last(f"{CONFIG_MAPS}/c"), version) == ("7", "7")
    assert versions.last(f"{CONFIG_MAPS}/d") == ""


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_versions_are_learnt_from_a_list_over_all_namespaces(encoding: str) -> None:
    body = json.dumps({"metadata": {"resourceVersion": "9"}, "items": [obj("c", "7"), obj("c", "8", "b")]}).encode()
    body = gzip.compress(body) if encoding else body
    versions, version = heard("/api/v1/configmaps", "limit=2", body[:30], body[30:], encoding=encoding)
    assert (versions.last(f"{CONFIG_MAPS}/c"), version) == ("7", "9")
    assert versions.last("/api/v1/namespaces/b/configmaps/c/status") == "8"


def test_versions_are_learnt_from_a_watch_as_its_lines_end() -> None:
    lines = [
        {"type": "ADDED", "object": obj("c", "7")},
        {"type": "MODIFIED", "object": obj("c", "8")},
        {"type": "ADDED", "object": obj("d", "9")},
        {"type": "DELETED", "object": obj("d", "10")},
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "11"}}},
        {"type": "ERROR", "object": {"kind": "Status", "code": 410}},
    ]
    text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    unfinished = json.dumps({"type": "MODIFIED", "object": obj("c", "12")}).encode()
    versions, _ = heard(CONFIG_MAPS, "watch=1", text[:20], text[20:], unfinished)
    assert (versions.last(f"{CONFIG_MAPS}/c"), versions.last(f"{CONFIG_MAPS}/d")) == ("8", "")


def entry(seq: int, method: str, write: int = 0) -> TraceEntry:
    known = dataclasses.asdict(dataclasses.replace(ASKED, seq=seq, method=method))
    return TraceEntry(**known, status=200, version_after="8", duration_seconds=0.25, write=write)


def test_a_trace_tells_reads_writes_and_effective_writes_apart() -> None:
    trace = Trace()
    trace.add(entry(1, "GET"))
    trace.add(entry(2, "PATCH"))
    trace.add(entry(3, "PATCH", write=1))
    assert [each.seq for each in trace.entries()] == [1, 2, 3]
    assert [each.seq for each in trace.writes()] == [2, 3]
    assert [each.seq for each in trace.effective_writes()] == [3]


def test_a_trace_is_on_disk_at_once(tmp_path: Path) -> None:
    with Trace(tmp_path / "trace.jsonl") as trace:
        trace.add(entry(1, "GET"))
        [line] = (tmp_path / "trace.jsonl").read_text().splitlines()
    assert json.loads(line) == dataclasses.asdict(entry(1, "GET"))


def test_waiting_for_what_never_comes_ends() -> None:
    with pytest.raises(TimeoutError):
        Trace().wait_for(lambda _: True, 0.01)
