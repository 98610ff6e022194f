"""The unit tests that may catch planted bugs: the functions that each test calls, and whether one fails."""

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
"""The path of a module, and the qualified name of a function in it."""


@dataclass(frozen=True, slots=True)
class Known:
    """The facts from a run of one test without a bug."""

    seconds: float
    """Processor time."""
    places: frozenset[Place]
    """The functions that it calls."""


@dataclass
class Tests:
    """The collected tests, and the functions that each calls."""

    items: list[pytest.Item]
    modules: frozenset[str]
    """The paths of the modules with planted bugs."""
    digests: Digests
    known: dict[int, Known] = field(default_factory=dict)
    callers: dict[Place, set[int]] = field(default_factory=dict)

    def learn(self, store: Path, jobs: int) -> str | None:
        """Run each test once without a bug, unless the store has its result; returns the first that fails, or None.

        The results are in the store afterwards.
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
        """The digest of the tests that call that place; once it changes, they may catch a survivor."""
        return digest("\n".join(sorted(self.digests.of_test(self.items[i]) for i in self._callers(place))))

    def begin(self, plant: Callable[[], None], place: Place) -> Child:
        """Plant a bug in a process of its own, and run the tests that call the place, quickest first, until one fails.

        Its answer is True if none fails.
        """
        chosen = sorted(self._callers(place), key=lambda i: self.known[i].seconds)
        usual = sum(self.known[i].seconds for i in chosen)
        return begun(lambda: self._stands(plant, chosen), seconds=int(10 + 10 * usual))

    def _callers(self, place: Place) -> set[int]:
        """The tests that call the place; for a constant, those that call any function of its module."""
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
    """Digests of tests: a stored result is valid as long as the test's file, and the files that all tests use, are."""

    used: str
    """The digest of the files that all tests use."""
    files: dict[Path, str] = field(default_factory=dict)

    def of_test(self, item: pytest.Item) -> str:
        """The digest of a test: its name, its file, and the common files."""
        if item.path not in self.files:
            self.files[item.path] = digest(item.path.read_text())
        return f"{item.nodeid} {self.files[item.path]} {self.used}"


def digest(text: str) -> str:
    """A short digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def collected(paths: list[str], body: Callable[[list[pytest.Item]], int]) -> int:
    """Collect tests as pytest does, and call `body` with them; returns its exit code."""

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
    """A child process that computes one answer."""

    pid: int
    receiver: int
    """The descriptor of its answer."""

    def fileno(self) -> int:
        """For `select`: readable once the answer is there, or the process has ended."""
        return self.receiver

    def answer(self) -> object:
        """Wait for the answer; None if the process died or used too much processor time."""
        with os.fdopen(self.receiver, "rb") as stream:
            found = stream.read()
        os.waitpid(self.pid, 0)
        return pickle.loads(found) if found else None


def begun(body: Callable[[], object], seconds: int) -> Child:
    """Start a process whose answer is the result of `body`."""
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
    """Discard the output of tests, and end a test that loops or waits for ever."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.alarm(10 * seconds)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    sys.stdout = sys.stderr = os.fdopen(nothing, "w")


def _passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


class _Listening:
    """Records which functions of some modules are called, in any thread."""

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
        """Trace calls only: the result None turns tracing of lines off."""
        self._heard.add(frame.f_code)
