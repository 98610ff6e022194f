from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dpunetop.domain.tenant.servingcertificate import pause, warning
from dpunetop.kube.validity import Validity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = {  # hours lived, hours left -> whether a person is warned, seconds until that may change
    "a year, fresh": (1, 8760, False, (8760 - 168) * 3600.0),
    "a year, eight days left": (8000, 192, False, 24 * 3600.0),
    "a year, six days left": (8000, 144, True, 600.0),
    "thirty days, four left, as an automation may leave it": (26 * 24, 4 * 24, False, 24 * 3600.0),
    "thirty days, two left": (28 * 24, 2 * 24, True, 600.0),
    "a day, three hours left": (21, 3, False, 0.6 * 3600),
    "a day, two hours left": (22, 2, True, 600.0),
    "ended": (100, -1, True, 600.0),
}


@pytest.mark.parametrize(("lived", "left", "is_warned", "seconds"), HOURS.values(), ids=HOURS)
def test_a_person_is_warned_once_a_tenth_of_its_life_is_left_or_seven_days(
    lived: int, left: int, is_warned: bool, seconds: float
) -> None:
    serving = Validity(NOW - timedelta(hours=lived), NOW + timedelta(hours=left))
    assert bool(warning(serving, NOW)) is is_warned
    assert pause(serving, NOW) == pytest.approx(seconds)


def test_the_warning_says_when_it_ends_and_who_renews_it() -> None:
    words = warning(Validity(NOW - timedelta(days=365), NOW + timedelta(days=1)), NOW)
    assert words == (
        "the certificate of the tenant's API server ends at 2026-01-02T00:00:00Z, and nothing connects to it from then "
        "on; its administrator has to renew it before"
    )


def test_nothing_is_said_of_a_certificate_that_is_not_known() -> None:
    assert (warning(None, NOW), pause(None, NOW)) == ("", None)
