"""The unit tests that planted bugs have to get past: which of them call what, and whether one falls."""

from __future__ import annotations

import hashlib
import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import CodeType, FrameType

import pytest
from _pytest.runner import runtestprotocol

Place = tuple[str, str]
"""Path of a module, and the qualified name of a function in it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a run of one test, as it is, has shown."""

    seconds: float
    """Of a processor."""
    places: frozenset[Place]
    """What it calls."""


@dataclass
class Tests:
    """The tests that were collected, and which of them call what."""

    items: list[pytest.Item]
    modules: frozenset[str]
    """Paths of the modules that bugs are planted in."""
    digests: Digests
    known: dict[int, Known] = field(default_factory=dict)
    callers: dict[Place, set[int]] = field(default_factory=dict)

    def learn(self, store: Path, jobs: int) -> str | None:
        """Run each test once, as it is, unless the store has what it showed; one that falls already, None: none does.

        What was learned is in the store then.
        """
        kept: dict[str, Known] = pickle.loads(store.read_bytes()) if store.exists() else {}
        keys = dict(enumerate(map(self.digests.of_test, self.items)))
        todo = [i for i in keys if keys[i] not in kept]
        parts = [begun(partial(self._learned, todo[part::jobs]), seconds=1800) for part in range(jobs)]
        learned: dict[int, Known] = {}
        for answer in [part.answer() for part in parts]:
            if not isinstance(answer, dict):
                return str(answer)
            learned |= answer
        self.known = {i: learned[i] if i in learned else kept[key] for i, key in keys.items()}
        store.parent.mkdir(exist_ok=True)
        others = {key: each for key, each in kept.items() if key.endswith(self.digests.used)}
        store.write_bytes(pickle.dumps(others | {key: self.known[i] for i, key in keys.items()}))
        for i, each in self.known.items():
            for place in each.places:
                self.callers.setdefault(place, set()).add(i)
        return None

    def asked(self, place: Place) -> str:
        """Digest of the tests that a bug in that place has to get past: of another text they may find it."""
        return digest("\n".join(sorted(self.digests.of_test(self.items[i]) for i in self._callers(place))))

    def begin(self, plant: Callable[[], None], place: Place) -> Child:
        """Plant a bug in a process of its own and run what calls the place until a test falls, the quickest first.

        Its answer is True if none falls.
        """
        chosen = sorted(self._callers(place), key=lambda i: self.known[i].seconds)
        usual = sum(self.known[i].seconds for i in chosen)
        return begun(lambda: self._stands(plant, chosen), seconds=int(10 + 10 * usual))

    def _callers(self, place: Place) -> set[int]:
        """Whatever calls anything of the module, where the place is a constant."""
        path, name = place
        if place in self.callers or "." in name or not (name.isupper() or name.lstrip("_").isupper()):
            return self.callers.get(place, set())
        return set().union(*(found for (module, _), found in self.callers.items() if module == path))

    def _stands(self, plant: Callable[[], None], chosen: list[int]) -> bool:
        plant()
        return all(_passes(self.items[i]) for i in chosen)

    def _learned(self, todo: list[int]) -> object:
        found: dict[int, Known] = {}
        for i in todo:
            begun_at = time.process_time()
            with _Listening(self.modules) as heard:
                if not _passes(self.items[i]):
                    return self.items[i].nodeid
            found[i] = Known(time.process_time() - begun_at, frozenset(heard.places))
        return found


@dataclass
class Digests:
    """What a test shows stays the same as long as its file does, and all that tests may use."""

    used: str
    """Digest of that."""
    files: dict[Path, str] = field(default_factory=dict)

    def of_test(self, item: pytest.Item) -> str:
        """Its name, and what it depends on."""
        if item.path not in self.files:
            self.files[item.path] = digest(item.path.read_text())
        return f"{item.nodeid} {self.files[item.path]} {self.used}"


def digest(text: str) -> str:
    """Short, and another one for another text."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def collected(paths: list[str], body: Callable[[list[pytest.Item]], int]) -> int:
    """Collect tests as pytest does, and go on with them in `body`; its exit code."""

    class Plugin:
        code = 2

        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            self.code = body(session.items)
            return True

    plugin = Plugin()
    pytest.main(["-q", "-s", "-n", "0", "-p", "no:cacheprovider", "--timeout", "0", *paths], [plugin])
    return plugin.code


@dataclass(frozen=True, slots=True)
class Child:
    """A process that works something out."""

    pid: int
    receiver: int
    """The descriptor that it answers on."""

    def fileno(self) -> int:
        """For `select`: readable once there is an answer, or none is to come."""
        return self.receiver

    def answer(self) -> object:
        """Waits for it; None if it has died, or has used too much of a processor's time."""
        with os.fdopen(self.receiver, "rb") as stream:
            found = stream.read()
        os.waitpid(self.pid, 0)
        return pickle.loads(found) if found else None


def begun(body: Callable[[], object], seconds: int) -> Child:
    """A process of its own that answers what `body` returns."""
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receiver)
        try:
            _be_quiet(seconds)
            with os.fdopen(sender, "wb") as stream:
                stream.write(pickle.dumps(body()))
        finally:
            os._exit(0)
    os.close(sender)
    return Child(pid, receiver)


def _be_quiet(seconds: int) -> None:
    """A test that falls tells nobody; one that loops or waits for ever ends."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.alarm(10 * seconds)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    sys.stdout = sys.stderr = os.fdopen(nothing, "w")


def _passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


class _Listening:
    """Remembers which functions of some modules are called, in any thread."""

    def __init__(self, modules: frozenset[str]) -> None:
        self._modules = modules
        self._heard: set[CodeType] = set()
        self.places: set[Place] = set()

    def __enter__(self) -> _Listening:
        threading.settrace(self._hear)
        sys.settrace(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)
        heard = [code for code in self._heard if code.co_filename in self._modules]
        self.places = {(code.co_filename, code.co_qualname.partition(".<locals>")[0]) for code in heard}

    def _hear(self, frame: FrameType, _: str, __: object) -> None:
        """Told of calls alone: who returns nothing here is not told of the lines of a function."""
        self._heard.add(frame.f_code)
