"""A Lease counts by when it is seen to change."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.drain.model.facts import Reason
from dpunetop.domain.drain.rules.leases import (
    NO_LEASE,
    Lease,
    ObservationPeriod,
    RenewalCount,
    count_renewals,
    lease,
    lease_signal,
)

HERE = ObservationPeriod("d1", "b1", "t1")
FIRST = Lease("u1", "10:00", 40)
NAME = "ovn-dpu-h1"


def renewed(time: str, **but: Any) -> Lease:
    return replace(FIRST, renewed=time, **but)


def counted(*seen: tuple[float, Lease], period: ObservationPeriod = HERE, is_due: bool = True) -> RenewalCount:
    """What looks at these moments come to."""
    found = None
    for now, each in seen:
        found = count_renewals(found, period, each, now, is_due=is_due)
    assert found is not None
    return found


COUNTS: dict[str, tuple[tuple[tuple[float, Lease], ...], int]] = {
    "what is seen first": (((0.0, FIRST),), 0),
    "the same again": (((0.0, FIRST), (10.0, FIRST)), 0),
    "one change": (((0.0, FIRST), (10.0, renewed("b"))), 1),
    "two changes": (((0.0, FIRST), (10.0, renewed("b")), (20.0, renewed("c"))), 2),
    "a change back in time": (((0.0, FIRST), (10.0, renewed("09:00")), (20.0, FIRST)), 2),
    "another Lease of that name": (((0.0, FIRST), (10.0, renewed("b")), (20.0, renewed("c", uid="u2"))), 0),
    "a Lease that was not there": (((0.0, NO_LEASE), (10.0, FIRST)), 0),
    "another validity alone": (((0.0, FIRST), (10.0, replace(FIRST, valid_seconds=60))), 0),
    "a change after its validity": (((0.0, FIRST), (40.0, renewed("b")), (80.1, renewed("c"))), 1),
    "a change at its end": (((0.0, FIRST), (40.0, renewed("b")), (80.0, renewed("c"))), 2),
}


@pytest.mark.parametrize(("seen", "changes"), COUNTS.values(), ids=COUNTS.keys())
def test_so_many_changes_are(seen: tuple[tuple[float, Lease], ...], changes: int) -> None:
    assert counted(*seen).changes == changes


@pytest.mark.parametrize(
    "other", [replace(HERE, dpu="d2"), replace(HERE, boot="b2"), replace(HERE, term="t2")], ids=str
)
def test_another_stretch_counts_anew(other: ObservationPeriod) -> None:
    before = counted((0.0, FIRST), (10.0, renewed("b")))
    after = count_renewals(before, other, renewed("c"), 20.0, is_due=True)
    assert (after.period, after.changes, after.since) == (other, 0, 20.0)


TWICE = counted((0.0, FIRST), (10.0, renewed("b")), (20.0, renewed("c")))


def test_two_changes_are_enough_for_as_long_as_the_lease_is_valid() -> None:
    assert not counted((0.0, FIRST), (10.0, renewed("b"))).is_enough(10.0)
    assert TWICE.is_enough(60.0)
    assert not TWICE.is_enough(60.1)


SHAPES: dict[str, tuple[Any, Lease]] = {
    "as it should be": ({"renewTime": "t", "leaseDurationSeconds": 90}, Lease("u", "t", 90)),
    "without a word": (None, Lease("u", "", 40)),
    "text": ("spec", Lease("u", "", 40)),
    "a time that is none": ({"renewTime": ["t"]}, Lease("u", "", 40)),
    "valid for ever": ({"leaseDurationSeconds": 10**30}, Lease("u", "", 600)),
    "never valid": ({"leaseDurationSeconds": -1}, Lease("u", "", 10)),
    "valid for no number": ({"leaseDurationSeconds": True}, Lease("u", "", 40)),
    "valid for a part": ({"leaseDurationSeconds": 0.5}, Lease("u", "", 40)),
}


@pytest.mark.parametrize(("spec", "read"), SHAPES.values(), ids=SHAPES.keys())
def test_a_lease_of_a_tenant_may_have_any_shape(spec: Any, read: Lease) -> None:
    assert lease({"metadata": {"name": NAME, "uid": "u"}, "spec": spec}) == read


def test_where_there_is_none_nothing_is_ever_renewed() -> None:
    assert lease(None) == NO_LEASE
    assert counted((0.0, NO_LEASE), (10.0, NO_LEASE), (20.0, NO_LEASE)).changes == 0


VAIN: dict[str, tuple[Lease, str, str]] = {
    "it stays as it is": (FIRST, "", f"the tenant's Lease {NAME} is not renewed"),
    "there is none": (NO_LEASE, "", f"the tenant has no Lease {NAME}"),
    "nobody could read it": (NO_LEASE, "timeout", f"the tenant's Lease {NAME} cannot be read: timeout"),
}


@pytest.mark.parametrize(("seen", "unread", "words"), VAIN.values(), ids=VAIN.keys())
def test_a_lease_is_named_after_three_times_its_validity_if(seen: Lease, unread: str, words: str) -> None:
    found = counted((0.0, seen), (119.0, seen))
    early = lease_signal(found, 119.0, NAME, unread)
    assert (early.holds, early.trouble, found.patience_left(119.0)) == (False, None, 1.0)
    late = lease_signal(found, 120.0, NAME, unread)
    assert late.trouble is not None
    assert (late.holds, late.trouble.reason, late.trouble.message) == (False, Reason.LEASE_NOT_RENEWED, words)


def test_a_lease_that_stopped_is_named_as_long_after_its_last_change() -> None:
    assert lease_signal(TWICE, 60.0, NAME).holds
    assert lease_signal(TWICE, 139.0, NAME).trouble is None
    assert lease_signal(TWICE, 140.0, NAME).trouble is not None


def test_a_lease_that_is_made_again_and_again_is_named_all_the_same() -> None:
    found = counted(*((float(now), renewed("a", uid=f"u{now}")) for now in range(0, 121, 10)))
    assert lease_signal(found, 120.0, NAME).trouble is not None


def test_nobody_waits_for_a_lease_before_the_dpu_has_shown_all_that_comes_before() -> None:
    assert (
        count_renewals(counted((0.0, FIRST), is_due=False), HERE, FIRST, 100.0, is_due=True).patience_left(100.0)
        == 120.0
    )
    early = counted((0.0, FIRST), (500.0, FIRST), is_due=False)
    assert lease_signal(early, 900.0, NAME).trouble is None
    due = count_renewals(early, HERE, FIRST, 1000.0, is_due=True)
    assert due.patience_left(1000.0) == 120.0
    late = count_renewals(due, HERE, FIRST, 1120.0, is_due=True)
    assert lease_signal(late, 1120.0, NAME).trouble is not None
    again = count_renewals(late, HERE, renewed("b"), 1130.0, is_due=False)
    assert lease_signal(again, 2000.0, NAME).trouble is None


LOOKS = st.lists(
    st.tuples(
        st.sampled_from([1.0, 10.0, 39.0, 41.0]),
        st.sampled_from([HERE, replace(HERE, boot="b2")]),
        st.builds(Lease, st.sampled_from(["u1", "u2"]), st.sampled_from(["a", "b"]), st.just(40)),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(LOOKS)
def test_whatever_is_seen_only_two_changes_of_one_lease_in_one_stretch_and_of_late_are_enough(looks: Any) -> None:
    found, now, seen = None, 0.0, []
    for pause, period, each, is_due in looks:
        now += pause
        seen.append((now, period, each))
        found = count_renewals(found, period, each, now, is_due=is_due)
    _, here, last = seen[-1]
    of_late = list(itertools.takewhile(lambda look: (look[1], look[2].uid) == (here, last.uid), reversed(seen)))
    changed = [late[0] for late, early in itertools.pairwise(of_late) if late[2].renewed != early[2].renewed]
    assert found is not None
    assert not found.is_enough(now) or (len(changed) >= 2 and now - changed[0] <= 40 >= changed[0] - changed[1])


OTHER_LEASE = replace(FIRST, uid="made-anew")
WAITS: dict[str, tuple[ObservationPeriod, Lease, bool]] = {  # where, what is seen, whether the wait goes on from before
    "in another period": (replace(HERE, boot="another"), FIRST, False),
    "a Lease that was made anew": (HERE, OTHER_LEASE, True),
    "not renewed": (HERE, FIRST, True),
    "renewed": (HERE, renewed("b"), False),
}


@pytest.mark.parametrize(("period", "seen", "goes_on"), WAITS.values(), ids=WAITS.keys())
@pytest.mark.parametrize("before", [None, 50.0])
def test_since_when_the_lease_alone_is_waited_for(
    period: ObservationPeriod, seen: Lease, goes_on: bool, before: float | None
) -> None:
    known = RenewalCount(HERE, FIRST, 0, 10.0, before)
    assert count_renewals(known, period, seen, 100.0, is_due=False).waiting is None
    expected = before if goes_on and before is not None else 100.0
    assert count_renewals(known, period, seen, 100.0, is_due=True).waiting == expected
