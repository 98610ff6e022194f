"""What the operator's Lease says, whoever wrote it: `render` is given files that no API server has checked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dpunetop.app.commands.lease import OperatorSeen, see_operator
from dpunetop.domain.names import OPERATOR_LEASE
from dpunetop.kube.keys import LEASES
from dpunetop.kube.meta import Obj, new_object
from dpunetop.kube.requests import Selection
from dpunetop.runtime.oneshot import OneShotListers

NOW = datetime(2026, 11, 30, 20, 0, tzinfo=UTC)


def seen(**spec: Any) -> OperatorSeen:
    lease = new_object(LEASES, "op", OPERATOR_LEASE, spec=spec)

    def listed(_: str, selection: Selection) -> list[Obj]:
        return [lease] if selection.resource == LEASES else []

    return see_operator(OneShotListers(listed, {}).reader(), lambda: NOW, None)


def test_an_operator_that_has_just_renewed_its_lease_is_at_work() -> None:
    renewed = (NOW - timedelta(seconds=4)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    found = seen(holderIdentity="pod-0", renewTime=renewed, leaseDurationSeconds=15)
    assert (found.namespace, found.is_alive) == ("op", True)
    assert "4 s ago" in found.words


@pytest.mark.parametrize(
    "time", ["2026-11-30T19:59:59", "2026-11-30", "soon", "", 7, None, True, [], "0001-01-01T00:00:00+14:00", "9" * 99]
)
def test_a_lease_with_an_invalid_time_counts_as_never_renewed(time: Any) -> None:
    found = seen(holderIdentity="pod-0", renewTime=time, leaseDurationSeconds=15)
    assert (found.is_alive, found.words) == (
        False,
        f"no operator is at work: Lease op/{OPERATOR_LEASE} was never renewed",
    )


@pytest.mark.parametrize("duration", [0, -5, "15", None, 1.5])
def test_a_lease_with_an_invalid_duration_counts_with_the_default(duration: Any) -> None:
    renewed = (NOW - timedelta(seconds=20)).isoformat()
    assert seen(holderIdentity="pod-0", renewTime=renewed, leaseDurationSeconds=duration).is_alive
