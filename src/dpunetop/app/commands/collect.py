"""The command `collect`: a support archive of both clusters, without the content of any Secret."""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dpunetop import __version__
from dpunetop.app.commands.archive import Archive
from dpunetop.app.commands.collected import Scope, in_a_namespace, in_no_namespace
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import CommandParser
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.table import find_command
from dpunetop.app.commands.tenantkubeconfig import new_file
from dpunetop.base.clock import Clock
from dpunetop.base.quoting import sentence
from dpunetop.domain import names
from dpunetop.domain.support.scrubbing import Scrubber
from dpunetop.domain.support.shown import shown, shown_event
from dpunetop.kube.errors import ApiError, NotFound
from dpunetop.kube.keys import EVENTS, NAMESPACES, PODS, SECRETS, Resource
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.shapes import at, mappings
from dpunetop.runtime.client.documents import Page

SECONDS = 300.0
MOST_OBJECTS = 2000
MOST_LOGS = 200
LOG_LINES = 5000
LOG_BYTES = 4 << 20
"""Of one container, as the server sends it; the archive keeps the end of it."""
_PAGE = 250
_COMMANDS = ("doctor", "status")
_ABOUT = """It reads what concerns DPUs: objects, events, logs, what doctor and status print, and all releases. Of each
kind only members are kept that are known to hold no secret; of Secrets the keys and the length of each value. The
file left-out.txt in the archive says what is not in it, and why. Look into the archive before you send it."""


class Read(Protocol):
    """The reads of a cluster; see `Client`."""

    def release(self) -> str:
        """See `Client.release`."""

    def pages(self, selection: Selection, page_size: int) -> Iterable[Page]:
        """See `Client.pages`."""

    def log(
        self, namespace: str, pod: str, container: str, lines: int, most_bytes: int, is_previous: bool = False
    ) -> str:
        """See `Client.log`."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of one cluster. The namespaces are those whose pod logs are read."""

    folder: str
    client: Read
    selections: Sequence[Selection]
    """Of the whole cluster."""
    namespaces: Sequence[tuple[str, Sequence[Resource]]]


def collect(arguments: Sequence[str]) -> int:
    """Make the archive; 0: it is complete; 3: something was left out."""
    return invoke(parser(), arguments, _body)


def parser() -> CommandParser:
    """The flags and arguments of the command."""
    made = CommandParser("collect", "Make a support archive of both clusters, without secrets.", _ABOUT)
    made.add_argument("--file", default="dpunetop-support.tar.gz", help="is made, with mode 0600; default %(default)s")
    made.add_argument(
        "--tenant-namespace",
        default=names.OVN_KUBERNETES_NAMESPACE,
        help="of OVN-Kubernetes in tenants, where no DpuClusterConfig says another; default %(default)s",
    )
    return made


def _body(invocation: Invocation) -> Exit:
    path = Path(invocation.given.file)
    descriptor = new_file(path)
    try:
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
            collector = Collector(invocation.clock)
            parts = list(_parts(invocation, collector))
            archive = collector.archive(tar, parts, invocation.clock.now().timestamp())
            for name in _COMMANDS:
                _output(archive, name, invocation)
            collector.put(archive, parts)
            archive.close()
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    invocation.out.line(f"made {path} (mode 0600): {archive.files} files")
    for line in archive.left_out:
        invocation.out.line(f"left out: {line}")
    return Exit.UNSEEN if archive.left_out else Exit.GOOD


def _parts(invocation: Invocation, collector: Collector) -> Iterator[Part]:
    infra = invocation.infra()
    configs = collector.all(infra, Selection(names.DPUCLUSTERCONFIGS, invocation.flags.namespace), "infra")
    operator = invocation.operator_namespace(infra)
    served = sorted({namespace_of(config) for config in configs} - {operator})
    homes = [
        (operator, in_a_namespace(Scope.OPERATOR, Scope.SERVED)),
        *((home, in_a_namespace(Scope.SERVED)) for home in served),
    ]
    yield Part("infra", infra, in_no_namespace(Scope.INFRA), homes)
    done = set()
    for config in configs:
        given = invocation.flags.tenants.of(namespace_of(config), name_of(config))
        home = str(at(config, "spec", "tenantNamespace") or invocation.given.tenant_namespace)
        if at(config, "spec", "kubeConfigFile") and (given, home) not in done:
            done.add((given, home))
            yield from _tenant(invocation, collector, config, home)


def _tenant(invocation: Invocation, collector: Collector, config: Obj, home: str) -> Iterator[Part]:
    whose = f"{namespace_of(config)}/{name_of(config)}"
    client = invocation.tenant(namespace_of(config), name_of(config), "tenant")
    if client is None:
        collector.leave_out(f"the tenant of {whose}", "no --tenant-kubeconfig was given")
        return
    kinds = in_a_namespace(Scope.OVN)
    yield Part(f"tenant/{whose}", client, in_no_namespace(Scope.TENANT), ((home, kinds),))


class Collector:
    """Reads clusters within `SECONDS` and writes what they show into an archive.

    Guarantees: an unreadable or too large part is listed and does not stop the others. Values of Secrets are kept only
        to scrub them from everything else.
    Threads: one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = clock.monotonic() + SECONDS
        self._left_out: list[tuple[str, str]] = []
        self._secrets: dict[str, tuple[Obj, ...]] = {}
        """By folder and namespace."""
        self._logs = 0

    def leave_out(self, what: str, why: str) -> None:
        """Note that something is not in the archive."""
        self._left_out.append((what, why))

    def archive(self, tar: tarfile.TarFile, parts: Sequence[Part], time: float) -> Archive:
        """The archive; it knows the values of all readable Secrets before anything is added."""
        for part in parts:
            for home, kinds in part.namespaces:
                if SECRETS in kinds:
                    self._secrets[f"{part.folder}/{home}"] = self.all(
                        part.client, Selection(SECRETS, home), part.folder
                    )
        values = (each for found in self._secrets.values() for secret in found for each in _values(secret))
        return Archive(tar, Scrubber(values), "dpunetop-support", time)

    def put(self, archive: Archive, parts: Sequence[Part]) -> None:
        """Add the parts of both clusters."""
        releases = {"dpunetop": __version__}
        for part in parts:
            releases[part.folder] = self._release(part)
            self._put(archive, part)
        archive.document("releases.json", releases)
        for what, why in self._left_out:
            archive.leave_out(what, why)

    def _put(self, archive: Archive, part: Part) -> None:
        for selection in part.selections:
            self._objects(archive, part, selection)
        for home, kinds in part.namespaces:
            self._objects(archive, part, Selection(NAMESPACES, "", f"metadata.name={home}"))
            for resource in kinds:
                self._objects(archive, part, Selection(resource, home))
            self._events(archive, part, home)
            self._pod_logs(archive, part, home)
        self._events(archive, part, "default")

    def _objects(self, archive: Archive, part: Part, selection: Selection) -> None:
        held = self._secrets.get(f"{part.folder}/{selection.namespace}") if selection.resource == SECRETS else None
        for obj in held if held is not None else self.all(part.client, selection, part.folder):
            place = "/".join(each for each in (namespace_of(obj), str(selection.resource), name_of(obj)) if each)
            archive.document(f"{part.folder}/{place}.json", shown({**obj, "kind": selection.resource.kind}))

    def _events(self, archive: Archive, part: Part, home: str) -> None:
        found = [shown_event(each) for each in self.all(part.client, Selection(EVENTS, home), part.folder)]
        archive.document(f"{part.folder}/{home}/events.json", found)

    def _pod_logs(self, archive: Archive, part: Part, home: str) -> None:
        for pod in self.all(part.client, Selection(PODS, home), part.folder):
            for status in mappings(at(pod, "status", "containerStatuses")):
                container = str(status.get("name"))
                self._log(archive, part, pod, container, is_previous=False)
                if status.get("restartCount"):
                    self._log(archive, part, pod, container, is_previous=True)

    def _log(self, archive: Archive, part: Part, pod: Obj, container: str, *, is_previous: bool) -> None:
        home, name = namespace_of(pod), name_of(pod)
        path = f"{part.folder}/{home}/logs/{name}/{container}{'.previous' if is_previous else ''}.log"
        self._logs += 1
        if self._logs > MOST_LOGS:
            self.leave_out(path, f"there are {MOST_LOGS} logs already")
            return
        if self._is_late(path):
            return
        try:
            archive.text(path, part.client.log(home, name, container, LOG_LINES, LOG_BYTES, is_previous))
        except ApiError as err:
            self.leave_out(path, f"{err.code or err.reason} {sentence(err.message)}")

    def _release(self, part: Part) -> str:
        try:
            return part.client.release()
        except ApiError as err:
            return f"not known: {err.code or err.reason}"

    def all(self, client: Read, selection: Selection, folder: str) -> tuple[Obj, ...]:
        """All readable objects of a selection."""
        what, found = f"{folder}: {selection}", list[Obj]()
        if self._is_late(what):
            return ()
        try:
            for page in client.pages(selection, _PAGE):
                found += page.items
                if len(found) > MOST_OBJECTS:
                    self.leave_out(what, f"all but the first {MOST_OBJECTS}")
                    break
        except NotFound:
            self.leave_out(what, "is not served")
        except ApiError as err:
            self.leave_out(what, f"{err.code or err.reason} {sentence(err.message)}")
        return tuple(found[:MOST_OBJECTS])

    def _is_late(self, what: str) -> bool:
        is_late = self._clock.monotonic() >= self._until
        if is_late:
            self.leave_out(what, f"{SECONDS:g} s were over")
        return is_late


def _values(secret: Obj) -> Iterator[str]:
    """Each value of a Secret, in base64 and decoded."""
    data = secret.get("data")
    for key, stored in data.items() if isinstance(data, dict) else ():
        if key == "namespace":  # of a token Secret; not secret
            continue
        yield str(stored)
        with contextlib.suppress(binascii.Error, ValueError):
            yield base64.b64decode(str(stored)).decode("utf-8", "replace")


def _output(archive: Archive, name: str, invocation: Invocation) -> None:
    """Add the output of another command with the same flags."""
    command = find_command(name)
    if command is None:
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = command.function()([*_shared(invocation), "--output=wide", "--no-color"])
    archive.text(f"{name}.txt", f"{printed.getvalue()}exit code {int(code)}\n")


def _shared(invocation: Invocation) -> Iterator[str]:
    flags = invocation.flags
    single = (f"{whose}={path}" for whose, path in flags.tenants.for_one.items())
    tenants = (*single, *((flags.tenants.for_all,) if flags.tenants.for_all else ()))
    given = {
        "--kubeconfig": flags.kubeconfig,
        "--context": flags.context,
        "--namespace": flags.namespace,
        "--operator-namespace": flags.operator_namespace,
    }
    yield from (f"{flag}={text}" for flag, text in given.items() if text)
    yield from (f"--tenant-kubeconfig={each}" for each in tenants)
