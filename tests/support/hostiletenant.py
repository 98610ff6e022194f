"""A tenant's API server that answers honestly until it is told how to lie."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.lyingserver import Asked, LyingServer, Wire, ca_pem, head

Lie = Callable[[Wire, Asked], None]

_HONEST = ("/readyz", "/version", "/api/v1/namespaces/kube-system")


class HostileTenant:
    """Serves an empty cluster over HTTPS; `lie`, once told, answers all that it is about.

    Threads: the test's; the lie runs in those of the server.
    """

    def __init__(self, uid: str = "") -> None:
        """`uid` is the one that it gives for its `kube-system`, as if it were that cluster; empty: one of its own."""
        self._lie: Lie | None = None
        self._lies_about: Callable[[Asked], bool] = lambda _: True
        self._uid = uid or str(uuid.uuid4())
        self.server = LyingServer(self._answer)

    def __enter__(self) -> HostileTenant:
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._lie = None
        self.server.__exit__()

    def kubeconfig(self, token: str = "token-of-a-hostile-tenant") -> dict[str, Any]:
        """A kubeconfig that leads here."""
        authority = base64.b64encode(ca_pem().encode()).decode()
        cluster = {"server": self.server.url, "certificate-authority-data": authority}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
            "users": [{"name": "u", "user": {"token": token}}],
        }

    def tell_only_lists(self, lie: Lie) -> None:
        """Lie about lists and watches; who it is, and that it lives, stays true."""
        self._lies_about = lambda asked: asked.target.partition("?")[0] not in _HONEST
        self._lie = lie

    def tell_everything(self, lie: Lie) -> None:
        """Lie about everything."""
        self._lies_about = lambda _: True
        self._lie = lie

    def wait_for_requests(self, count: int, within: float = 120.0) -> None:
        """Wait until so many more requests have arrived. Raises: TimeoutError."""
        wanted, deadline = len(self.server.asked) + count, time.monotonic() + within
        while len(self.server.asked) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {len(self.server.asked)} of {wanted} requests have arrived")
            time.sleep(0.05)

    def _answer(self, wire: Wire, asked: Asked) -> None:
        lie = self._lie
        if lie is not None and self._lies_about(asked):
            lie(wire, asked)
        else:
            self._tell_the_truth(wire, asked)

    def _tell_the_truth(self, wire: Wire, asked: Asked) -> None:
        path = urlsplit(asked.target).path
        if path.endswith("/namespaces/kube-system"):
            wire.json(200, {"kind": "Namespace", "apiVersion": "v1", "metadata": _named("kube-system", self._uid)})
        elif path in _HONEST:
            wire.answer(200, b"ok")
        elif is_watch(asked):
            quiet_watch(wire, asked)
        elif asked.method == "GET":
            wire.json(200, _list_of())
        else:
            wire.json(403, {"kind": "Status", "apiVersion": "v1", "code": 403, "reason": "Forbidden", "message": "no"})


def is_watch(asked: Asked) -> bool:
    """Whether a stream is asked for."""
    return parse_qs(urlsplit(asked.target).query).get("watch") in (["true"], ["1"])


def quiet_watch(wire: Wire, asked: Asked) -> None:
    """A stream to which nothing happens; one that is to begin with all there is, is not served."""
    if "sendInitialEvents" in asked.target:
        wire.json(422, {"kind": "Status", "code": 422, "reason": "Invalid", "message": "no WatchList here"})
        return
    wire.begin_stream()
    wire.silence()


def _named(name: str, uid: str) -> dict[str, Any]:
    return {"name": name, "uid": uid, "resourceVersion": "10"}


def _list_of(*items: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "10"}, "items": list(items)}


def _placed(asked: Asked, number: int, version: int = 10) -> dict[str, Any]:
    """Metadata of one of many objects, each of which may be among the answers to what is asked: a lie that names
    others is seen through at once."""
    url = urlsplit(asked.target)
    wanted = parse_qs(url.query).get("fieldSelector", [""])[0].partition("metadata.name=")[2]
    metadata = {**_named(wanted or f"o-{number}", f"u-{number}"), "resourceVersion": str(version)}
    if "/namespaces/" in url.path:
        metadata["namespace"] = url.path.split("/namespaces/")[1].split("/")[0]
    return metadata


# --- lies -------------------------------------------------------------------------------------------------------------


def redirect_to(url: str) -> Lie:
    """Send whoever asks to another server, with their credential."""
    return lambda wire, asked: wire.answer(307, b"", {"Location": f"{url}{asked.target}"})


def drip(wire: Wire, _: Asked) -> None:
    """One byte a second."""
    wire.send(head(200, {"Content-Type": "application/json", "Content-Length": "100000"}))
    wire.drip(b" " * 100_000, 1.0)


def trickle(wire: Wire, asked: Asked) -> None:
    """A list as a stream to which there is always one more object, none of them late; in pages, one byte a second."""
    if not is_watch(asked):
        drip(wire, asked)
        return
    wire.begin_stream()
    for number in itertools.count():
        if not wire.pause(0.5):
            return
        wire.chunk(_event("ADDED", _placed(asked, number, 11 + number)))


_BOMB = gzip.compress(b"[" + b" " * 200_000_000 + b"]")


def bomb(wire: Wire, _: Asked) -> None:
    """A few bytes that grow to 200 MB."""
    wire.answer(200, _BOMB, {"Content-Encoding": "gzip"})


def announce(wire: Wire, _: Asked) -> None:
    """Two gigabytes, as fast as they go."""
    wire.send(head(200, {"Content-Type": "application/json", "Content-Length": str(2 << 30)}))
    while True:
        wire.send(b'{"items":[' + b" " * (1 << 20))


def unframed(wire: Wire, _: Asked) -> None:
    """A body without an end."""
    wire.begin_stream()
    while True:
        wire.chunk(b" " * (1 << 20))


def deep(wire: Wire, _: Asked) -> None:
    """Lists within lists, as many as fit."""
    wire.answer(200, b"[" * 100_000 + b"]" * 100_000)


def nested(wire: Wire, asked: Asked) -> None:
    """An object that can just be decoded, and is too deep to be compared."""
    if is_watch(asked):
        quiet_watch(wire, asked)
        return
    depth = 1015
    stuffed = json.dumps({**_list_of({"metadata": _placed(asked, 0), "data": {}}), "x": "HERE"})
    inside = stuffed.replace('"data": {}', f'"data": {"[" * depth}{"]" * depth}')
    wire.answer(200, inside.encode())


def wide(wire: Wire, _: Asked) -> None:
    """The most expensive document to decode that fits: nothing but empty objects."""
    items = b"[" + b"{}," * 290_000 + b"{}]"
    wire.answer(200, b'{"metadata":{"resourceVersion":"10"},"x":' + items + b',"items":[]}')


def two_faced(wire: Wire, asked: Asked) -> None:
    """In lists it is another cluster than when asked for itself."""
    if is_watch(asked) or asked.method != "GET":
        quiet_watch(wire, asked)
    elif "kube-system" in asked.target:
        wire.json(200, _list_of({"metadata": _named("kube-system", "another")}))
    else:
        wire.json(200, _list_of())


def shapeless(wire: Wire, asked: Asked) -> None:
    """Whatever is asked for is there, and nothing in it is what the API says that it is."""
    if is_watch(asked) or asked.method != "GET":
        quiet_watch(wire, asked)
        return
    place = _placed(asked, 0)
    if place["name"] == "kube-system":
        wire.json(200, _list_of())
        return
    labels = {"app": "ovnkube-master"}
    metadata = {**place, "labels": labels, "ownerReferences": ["x"], "finalizers": [7]}
    wire.json(200, _list_of({"metadata": metadata, "data": "x", "spec": "x", "status": [7], "rules": 7}))


def heavy(wire: Wire, asked: Asked) -> None:
    """One object as large as it may be, of nothing but empty objects, and it is a good answer to a list."""
    if is_watch(asked):
        quiet_watch(wire, asked)
        return
    wire.json(200, _list_of({"metadata": _placed(asked, 0), "data": {}, "x": [{} for _ in range(150_000)]}))


def garbage(wire: Wire, _: Asked) -> None:
    """No HTTP at all."""
    wire.send(b"\x00\xff\r\n" * 5000)


def refuse_in_hostile_words(wire: Wire, _: Asked) -> None:
    """An error that would like to be obeyed."""
    message = "\x1b]0;pwned\x07 $(reboot)\nlevel=info " + "x" * 50_000
    wire.json(403, {"kind": "Status", "code": 200, "reason": "All Ready\n", "message": message})


def pods(most: int | None) -> Lie:
    """That many pods, or no end of them, in pages."""

    def lie(wire: Wire, asked: Asked) -> None:
        if is_watch(asked):
            quiet_watch(wire, asked)
            return
        query = parse_qs(urlsplit(asked.target).query)
        begin, size = int(query.get("continue", ["0"])[0]), int(query.get("limit", ["500"])[0])
        page = _list_of(*(_pod(asked, begin + number) for number in range(size)))
        if most is None or begin + size < most:
            page["metadata"]["continue"] = str(begin + size)
        wire.json(200, page)

    return lie


def _pod(asked: Asked, number: int) -> dict[str, Any]:
    """A pod with as much in it as pods have."""
    labels = {"app": "ovnkube-master", **{f"label-{n}": f"value-{number}-{n}" for n in range(20)}}
    metadata = {**_placed(asked, number), "labels": labels}
    spec = {"containers": [{"name": f"c{n}", "image": f"image-{number}-{n}"} for n in range(6)]}
    return {"metadata": metadata, "spec": spec, "status": {"podIP": f"10.{number % 256}.0.1"}}


def flood(wire: Wire, asked: Asked) -> None:
    """Changes without a pause, each to another object."""
    _stream(wire, asked, lambda number: _event("ADDED", _placed(asked, number, 11 + number)))


def churn(wire: Wire, asked: Asked) -> None:
    """The same object, changed without a pause."""
    _stream(wire, asked, lambda number: _event("MODIFIED", _placed(asked, 0, 11 + number)))


def bury(wire: Wire, asked: Asked) -> None:
    """Deletions without a pause, of objects that never were."""
    _stream(wire, asked, lambda number: _event("DELETED", _placed(asked, number, 11 + number)))


def _stream(wire: Wire, asked: Asked, event: Callable[[int], bytes]) -> None:
    if not is_watch(asked):
        wire.json(200, _list_of())
        return
    if "sendInitialEvents" in asked.target:
        quiet_watch(wire, asked)
        return
    wire.begin_stream()
    for begin in itertools.count(0, 500):
        wire.chunk(b"".join(event(begin + number) for number in range(500)))


def _event(kind: str, metadata: Mapping[str, Any]) -> bytes:
    data = {"k": metadata["resourceVersion"]}
    return json.dumps({"type": kind, "object": {"metadata": metadata, "data": data}}).encode() + b"\n"
