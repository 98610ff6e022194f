"""The shipped process on two real clusters: one World for all of it, a tenant of its own for each test."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.standins.ovnkube import Shows, central_tenant
from dpunetop.sandbox.world import World
from support.trial import Trial

NewTrial = Callable[..., Trial]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with files of few tests: those wait long, and a process that begins one last would work on alone."""
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: sizes[item.path])


@pytest.fixture(scope="session")
def world(programs: binaries.Binaries) -> Iterator[World]:
    """Two control planes with stand-ins, whose nodes and namespaces the tests bring; nodes boot fast."""
    with World(
        dpus=0,
        infra=Spec("infra", audit=True),
        tenant=Spec("tenant", audit=True),
        boot_seconds=0.2,
        retry_seconds=0.2,
    ) as running:
        yield running


@pytest.fixture
def new_trial(world: World) -> Iterator[NewTrial]:
    """Makes tenants."""
    made: list[Trial] = []

    def new(dpus: int = 1, shows: Shows = central_tenant) -> Trial:
        made.append(Trial(world, f"t-{secrets.token_hex(4)}", dpus, shows=shows))
        return made[-1]

    yield new
    for trial in made:
        trial.close()
