"""The unit tests that planted bugs have to get past: which of them call what, and whether one falls."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType, FrameType

import pytest
from _pytest.runner import runtestprotocol

Place = tuple[str, str]
"""Path of a module, and the qualified name of a function in it."""


class Fate(Enum):
    """What became of a planted bug."""

    KILLED = "killed"
    SURVIVED = "survived"


@dataclass
class Tests:
    """The tests that were collected, and which of them call what."""

    items: list[pytest.Item]
    modules: frozenset[str]
    """Paths of the modules that bugs are planted in."""
    seconds: dict[int, float] = field(default_factory=dict)
    callers: dict[Place, set[int]] = field(default_factory=dict)

    def learn(self) -> str | None:
        """Run all tests once, as they are; one that falls already, None: none does."""
        answer = in_child(self._learned, seconds=1800)
        if not isinstance(answer, tuple):
            return str(answer)
        self.seconds, self.callers = answer
        return None

    def fate(self, plant: Callable[[], None], place: Place) -> Fate:
        """Plant a bug in a process of its own and run what calls the place until a test falls, the quickest first."""
        chosen = sorted(self._callers(place), key=lambda index: self.seconds[index])
        usual = sum(self.seconds[index] for index in chosen)
        stands = in_child(lambda: self._stands(plant, chosen), seconds=int(10 + 10 * usual))
        return Fate.SURVIVED if stands is True else Fate.KILLED

    def _callers(self, place: Place) -> set[int]:
        """Whatever calls anything of the module, where the place is a constant."""
        path, name = place
        if place in self.callers or "." in name or not (name.isupper() or name.lstrip("_").isupper()):
            return self.callers.get(place, set())
        return set().union(*(found for (module, _), found in self.callers.items() if module == path))

    def _stands(self, plant: Callable[[], None], chosen: list[int]) -> bool:
        plant()
        return all(_passes(self.items[index]) for index in chosen)

    def _learned(self) -> object:
        seconds: dict[int, float] = {}
        callers: dict[Place, set[int]] = {}
        for index, item in enumerate(self.items):
            begun = time.process_time()
            with _Listening(self.modules) as heard:
                if not _passes(item):
                    return item.nodeid
            seconds[index] = time.process_time() - begun
            for place in heard.places:
                callers.setdefault(place, set()).add(index)
        return seconds, callers


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


def in_child(body: Callable[[], object], seconds: int) -> object:
    """What `body` returns in a process of its own; None if that dies, or uses so much of a processor's time."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(receiver)
        try:
            _be_quiet(seconds)
            os.write(sender, pickle.dumps(body()))
        finally:
            os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return pickle.loads(answer) if answer else None


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
        threading.setprofile(self._hear)
        sys.setprofile(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)
        heard = [code for code in self._heard if code.co_filename in self._modules]
        self.places = {(code.co_filename, code.co_qualname.partition(".<locals>")[0]) for code in heard}

    def _hear(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            self._heard.add(frame.f_code)
