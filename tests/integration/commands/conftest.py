"""One installation in order, for all tests of commands that look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dpunetop.sandbox import binaries
from support.clinic import Clinic, planes


@pytest.fixture(scope="package")
def clinic(programs: binaries.Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    """Whoever plants a fault heals it."""
    with planes() as pair:
        yield Clinic(pair, Path(tmp_path_factory.mktemp("clinic")))


@pytest.fixture(autouse=True)
def whoever_leads_has_just_renewed(clinic: Clinic) -> None:
    """However long the tests before have taken."""
    clinic.lead(datetime.now(UTC))
