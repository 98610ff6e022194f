"""What holds for every test: nothing outlives it, and nobody writes into a cache."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from dpunetop.base import jsonio
from dpunetop.runtime.cache.store import Place, Writer
from support.effort import leave_to_more, times

pytest_plugins = ["support.controlplanes", "support.measuring"]

settings.register_profile(
    "gate", derandomize=True, deadline=None, max_examples=times(25), suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

JOIN_SECONDS = 60.0


gc.disable()  # until all tests are known: what is made meanwhile stays


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test` leaves to `make test-more`."""
    leave_to_more(items)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was collected out of every later search for cycles: thousands of tests stay until the end."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def no_thread_outlives_the_test() -> Iterator[None]:
    """Fail a test that leaves a thread behind: something was not stopped, or not joined.

    Threads come and go in a cluster that was there before the test, and are its own affair.
    """
    before = set(threading.enumerate())
    staffed = {thread.name for thread in before if thread.name.startswith(("caches ", "streams "))}
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name not in staffed]
    left = [thread for thread in left if not thread.name.startswith("pytest_timeout")]
    for thread in left:
        if thread.ident is not None:  # else it is about to begin
            thread.join(JOIN_SECONDS)
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"threads left behind: {alive}"


@pytest.fixture(autouse=True)
def no_reader_changes_a_cached_object(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which an object changed after it was stored: caches are shared, and read-only."""
    stored: list[tuple[Any, bytes]] = []
    put, replace = Writer.put, Writer.replace

    def remember(obj: Any) -> None:
        stored.append((obj, jsonio.canonical(obj)))

    def put_and_remember(self: Writer, obj: Any) -> None:
        remember(obj)
        put(self, obj)

    def replace_and_remember(self: Writer, objects: Mapping[Place, Any]) -> None:
        for obj in objects.values():
            remember(obj)
        replace(self, objects)

    monkeypatch.setattr(Writer, "put", put_and_remember)
    monkeypatch.setattr(Writer, "replace", replace_and_remember)
    yield
    changed = [obj["metadata"]["name"] for obj, before in stored if jsonio.canonical(obj) != before]
    assert not changed, f"cached objects were changed: {changed}"
