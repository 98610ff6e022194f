from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dpunetop.kube.errors import ApiError, Conflict, NotFound, Unreachable
from dpunetop.runtime.election.election import Create, Election, End, Phase, Read, Timings, Update, Wait, version_number

WALL = datetime(2026, 1, 1, tzinfo=UTC)
TIMED_OUT = Unreachable(0, "Timeout", "")
CONFLICT = Conflict(409, "Conflict", "")


def election(random: float = 0.0) -> Election:
    return Election("me", "ns", "lease", Timings(), lambda: random, 0.0)


def lease(holder: str, version: int, **spec: Any) -> dict[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "leaseTransitions": 3, **spec}
    return {"metadata": {"name": "lease", "namespace": "ns", "resourceVersion": str(version)}, "spec": spec}


def answered(request: Update | Create, version: int) -> dict[str, Any]:
    return {**request.lease, "metadata": {**request.lease["metadata"], "resourceVersion": str(version)}}


def update(candidate: Election, now: float) -> Update:
    request = candidate.ask(now, WALL)
    assert isinstance(request, Update)
    return request


def leader(now: float = 0.0) -> Election:
    """A candidate that took a free Lease at `now`; its version is 11."""
    candidate = election()
    candidate.read(lease("", 10), now)
    request = update(candidate, now)
    candidate.wrote(request, answered(request, 11), now, now)
    assert candidate.phase is Phase.LEADING
    return candidate


@pytest.mark.parametrize(("timings"), [(10, 10, 2), (15, 10, 9), (15, 10, 0), (15, 2.4, 2)])
def test_timings_that_cannot_be_safe_are_refused(timings: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be longer"):
        Timings(*timings)


def test_a_candidate_looks_before_it_writes() -> None:
    assert election().ask(0.0, WALL) == Read(5.0)


def test_a_released_lease_is_taken_at_once_and_counts_one_more_transition() -> None:
    candidate = election()
    candidate.read(lease("", 10, acquireTime="then", renewTime="then"), 1.0)
    request = update(candidate, 1.0)
    assert request.lease == lease(
        "me",
        10,
        leaseTransitions=4,
        acquireTime="2026-01-01T00:00:00.000000Z",
        renewTime="2026-01-01T00:00:00.000000Z",
    )
    candidate.wrote(request, answered(request, 11), 1.0, 1.2)
    assert (candidate.phase, round(candidate.seconds_left(1.2), 6)) == (Phase.LEADING, 9.8)


def test_what_else_is_in_the_lease_stays() -> None:
    candidate = election()
    live = lease("", 10, strategy="OldestEmulationVersion")
    live["metadata"]["labels"] = {"a": "b"}
    candidate.read(live, 0.0)
    request = update(candidate, 0.0)
    assert (request.lease["spec"]["strategy"], request.lease["metadata"]) == (
        "OldestEmulationVersion",
        live["metadata"],
    )


def test_a_held_lease_is_free_when_it_has_not_changed_for_its_own_duration_on_our_clock() -> None:
    candidate = election()
    candidate.read(lease("other", 10, leaseDurationSeconds=30, renewTime="1970-01-01T00:00:00.000000Z"), 5.0)
    candidate.read(lease("other", 10, leaseDurationSeconds=30), 20.0)
    assert isinstance(candidate.ask(34.9, WALL), Wait | Read)
    assert isinstance(candidate.ask(35.0, WALL), Update)


@pytest.mark.parametrize("duration", [None, 0, -5, "soon"])
def test_a_lease_without_a_usable_duration_is_held_for_ours(duration: object) -> None:
    candidate = election()
    candidate.read(lease("other", 10, leaseDurationSeconds=duration), 0.0)
    assert isinstance(candidate.ask(14.9, WALL), Wait | Read)
    assert isinstance(candidate.ask(15.0, WALL), Update)


def test_each_change_of_the_lease_starts_its_time_anew() -> None:
    candidate = election()
    candidate.read(lease("other", 10), 0.0)
    candidate.noticed(lease("other", 11), 11, 14.0)
    assert isinstance(candidate.ask(28.9, WALL), Wait | Read)
    assert isinstance(candidate.ask(29.0, WALL), Update)


def test_a_standby_polls_at_jittered_intervals() -> None:
    candidate = election(random=0.5)
    candidate.read(lease("other", 10), 0.0)
    assert candidate.ask(0.0, WALL) == Wait(3.2)
    assert candidate.ask(3.2, WALL) == Read(5.0)


def test_a_standby_that_sees_renewals_does_not_poll() -> None:
    candidate = election()
    candidate.read(lease("other", 10), 0.0)
    candidate.noticed(lease("other", 11), 11, 1.9)
    assert candidate.ask(2.0, WALL) == Wait(3.9)


def test_a_standby_wakes_exactly_when_the_lease_runs_out() -> None:
    candidate = election()
    candidate.read(lease("other", 10), 0.0)
    candidate.read(lease("other", 10), 14.0)
    assert candidate.ask(14.0, WALL) == Wait(15.0)


def test_a_release_that_is_noticed_is_acted_on_at_once() -> None:
    candidate = election()
    candidate.read(lease("other", 10), 0.0)
    candidate.noticed(lease("", 11), 11, 0.5)
    assert update(candidate, 0.5).lease["metadata"]["resourceVersion"] == "11"


def test_late_and_repeated_news_change_nothing() -> None:
    candidate = leader()
    candidate.noticed(lease("other", 9), 9, 0.5)
    candidate.noticed(lease("other", 11), 11, 0.5)
    assert (candidate.phase, candidate.holder) == (Phase.LEADING, "me")


def test_news_before_the_first_look_are_ignored() -> None:
    candidate = election()
    candidate.noticed(lease("", 10), 10, 0.0)
    assert candidate.ask(0.0, WALL) == Read(5.0)


def test_a_lease_that_is_not_there_is_created_but_leads_only_after_it_has_stood_for_its_duration() -> None:
    candidate = election()
    candidate.read(None, 0.0)
    request = candidate.ask(0.0, WALL)
    assert isinstance(request, Create)
    assert request.lease["spec"]["leaseTransitions"] == 0
    candidate.wrote(request, answered(request, 11), 0.0, 0.5)
    assert (candidate.phase, candidate.seconds_left(0.5)) == (Phase.STANDBY, 0.0)
    candidate.read(answered(request, 11), 14.0)
    assert candidate.ask(15.4, WALL) == Wait(15.5)
    renewal = update(candidate, 15.5)
    assert renewal.lease["spec"]["leaseTransitions"] == 0
    candidate.wrote(renewal, answered(renewal, 12), 15.5, 15.6)
    assert candidate.phase is Phase.LEADING


def test_a_standby_leaves_a_leader_the_time_to_create_its_deleted_lease_anew() -> None:
    candidate = election()
    candidate.read(lease("other", 10), 0.0)
    candidate.noticed(None, 11, 1.0)
    assert isinstance(candidate.ask(4.9, WALL), Wait | Read)
    candidate.read(None, 4.9)
    assert isinstance(candidate.ask(5.0, WALL), Create)


def test_a_leader_whose_lease_was_deleted_creates_it_and_goes_on() -> None:
    candidate = leader()
    candidate.noticed(None, 12, 1.0)
    request = candidate.ask(1.0, WALL)
    assert isinstance(request, Create)
    candidate.wrote(request, answered(request, 13), 1.0, 1.1)
    assert candidate.seconds_left(1.1) == pytest.approx(9.9)


def test_a_leader_renews_each_retry_period_by_one_write() -> None:
    candidate = leader()
    assert candidate.ask(0.1, WALL) == Wait(2.0)
    request = update(candidate, 2.0)
    assert request.lease["metadata"]["resourceVersion"] == "11"
    candidate.wrote(request, answered(request, 12), 2.0, 2.3)
    assert candidate.seconds_left(2.3) == pytest.approx(9.7)
    assert candidate.ask(2.3, WALL) == Wait(4.0)


def test_a_renewal_keeps_when_and_how_often_the_lease_was_taken() -> None:
    spec = update(leader(), 2.0).lease["spec"]
    assert (spec["acquireTime"], spec["leaseTransitions"]) == ("2026-01-01T00:00:00.000000Z", 4)


def test_a_renewal_always_changes_the_lease_even_if_the_wall_clock_stands_still() -> None:
    assert update(leader(), 2.0).lease["spec"]["renewTime"] == "2026-01-01T00:00:00.000001Z"


def test_the_deadline_counts_from_before_the_request_was_sent() -> None:
    candidate = leader()
    request = update(candidate, 2.0)
    candidate.wrote(request, answered(request, 12), 2.0, 9.0)
    assert candidate.seconds_left(9.0) == 3.0


def test_no_request_of_a_leader_may_take_longer_than_it_has_left() -> None:
    candidate = leader()
    request = update(candidate, 9.5)
    assert request.timeout_seconds == 0.5


def test_an_answer_after_the_deadline_does_not_bring_leadership_back() -> None:
    candidate = leader()
    request = update(candidate, 9.0)
    candidate.wrote(request, answered(request, 12), 9.0, 10.0)
    assert (candidate.phase, candidate.ask(10.0, WALL)) == (Phase.LOST, End())


def test_a_claim_that_is_answered_too_late_is_made_again() -> None:
    candidate = election()
    candidate.read(lease("", 10), 0.0)
    request = update(candidate, 0.0)
    candidate.wrote(request, answered(request, 11), 0.0, 12.0)
    assert candidate.phase is Phase.STANDBY
    assert update(candidate, 12.0).lease["metadata"]["resourceVersion"] == "11"


def test_a_claim_that_was_overwritten_before_its_answer_came_is_none() -> None:
    candidate = election()
    candidate.read(lease("", 10), 0.0)
    request = update(candidate, 0.0)
    candidate.noticed(lease("third", 12), 12, 0.5)
    candidate.wrote(request, answered(request, 11), 0.0, 0.6)
    assert (candidate.phase, candidate.ask(5.0, WALL)) == (Phase.STANDBY, Read(5.0))


def test_a_lost_answer_is_found_out_by_reading_that_we_hold_the_lease() -> None:
    candidate = leader()
    lost = update(candidate, 2.0)
    assert candidate.failed(lost, TIMED_OUT, 2.0, 4.0) is False
    assert candidate.ask(4.0, WALL) == Read(5.0)
    candidate.read(answered(lost, 12), 4.1)
    request = update(candidate, 4.1)
    assert request.lease["metadata"]["resourceVersion"] == "12"
    candidate.wrote(request, answered(request, 13), 4.1, 4.2)
    assert candidate.seconds_left(4.2) == pytest.approx(9.9)


def test_a_conflict_with_our_own_lost_write_falls_back_to_reading_at_once() -> None:
    candidate = leader()
    request = update(candidate, 2.0)
    assert candidate.failed(request, CONFLICT, 2.0, 2.1) is True
    assert isinstance(candidate.ask(2.1, WALL), Read)
    candidate.read(lease("me", 12), 2.2)
    assert update(candidate, 2.2).lease["metadata"]["resourceVersion"] == "12"


@pytest.mark.parametrize("error", [CONFLICT, NotFound(404, "NotFound", "")])
def test_the_slow_path_is_taken_once_and_then_paced(error: ApiError) -> None:
    candidate = leader()
    assert candidate.failed(update(candidate, 2.0), error, 2.0, 2.1) is True
    candidate.ask(2.1, WALL)
    candidate.read(lease("me", 12), 2.2)
    assert candidate.failed(update(candidate, 2.2), error, 2.2, 2.3) is False
    assert candidate.ask(2.3, WALL) == Wait(4.2)


def test_a_standby_that_lost_a_race_goes_back_to_polling() -> None:
    candidate = election()
    candidate.read(lease("", 10), 0.0)
    candidate.failed(update(candidate, 0.0), CONFLICT, 0.0, 0.1)
    candidate.read(lease("other", 11), 0.2)
    assert candidate.ask(0.2, WALL) == Wait(2.2)


def test_a_leader_that_cannot_renew_is_lost_at_its_deadline() -> None:
    candidate = leader()
    for now in (2.0, 4.0, 6.0, 8.0):
        request = candidate.ask(now, WALL)
        assert isinstance(request, Update | Read)
        candidate.failed(request, ApiError(500, "InternalError", ""), now, now + 0.1)
    assert (candidate.is_lost(9.9), candidate.is_lost(10.0)) == (False, True)
    assert candidate.ask(10.0, WALL) == End()


@pytest.mark.parametrize("how", ["read", "noticed"])
def test_another_holder_ends_leadership_at_once(how: str) -> None:
    candidate = leader()
    if how == "read":
        candidate.read(lease("third", 12), 0.5)
    else:
        candidate.noticed(lease("third", 12), 12, 0.5)
    assert (candidate.is_lost(0.5), candidate.seconds_left(0.5)) == (True, 0.0)


def test_versions_that_went_back_are_believed_when_read() -> None:
    candidate = election()
    candidate.read(lease("other", 1000), 0.0)
    candidate.read(lease("other", 10), 14.0)
    assert isinstance(candidate.ask(28.9, WALL), Wait | Read)
    assert update(candidate, 29.0).lease["metadata"]["resourceVersion"] == "10"


def test_a_release_empties_the_holder_and_closes_the_gate_first() -> None:
    candidate = leader()
    candidate.resign(1.0)
    assert candidate.seconds_left(1.0) == 0.0
    request = update(candidate, 1.0)
    spec = request.lease["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("", 1, 4)
    candidate.wrote(request, answered(request, 12), 1.0, 1.1)
    assert (candidate.phase, candidate.ask(1.1, WALL)) == (Phase.ENDED, End())


def test_a_release_is_tried_again_after_a_conflict_if_the_lease_is_still_ours() -> None:
    candidate = leader()
    candidate.resign(1.0)
    assert candidate.failed(update(candidate, 1.0), CONFLICT, 1.0, 1.1) is True
    assert isinstance(candidate.ask(1.1, WALL), Read)
    candidate.read(lease("me", 12), 1.2)
    candidate.resign(1.2)
    assert update(candidate, 1.2).lease["metadata"]["resourceVersion"] == "12"


@pytest.mark.parametrize("found", [lease("other", 12), None])
def test_a_lease_that_is_not_ours_is_not_released(found: dict[str, Any] | None) -> None:
    candidate = leader()
    candidate.resign(1.0)
    candidate.failed(update(candidate, 1.0), CONFLICT, 1.0, 1.1)
    candidate.resign(1.1)
    candidate.ask(1.1, WALL)
    candidate.read(found, 1.2)
    assert candidate.ask(1.2, WALL) == End()


def test_a_release_that_fails_otherwise_is_left_to_run_out() -> None:
    candidate = leader()
    candidate.resign(1.0)
    candidate.failed(update(candidate, 1.0), TIMED_OUT, 1.0, 3.0)
    assert candidate.ask(3.0, WALL) == End()


def test_a_release_after_the_deadline_is_not_sent() -> None:
    candidate = leader()
    candidate.resign(9.0)
    assert candidate.ask(10.0, WALL) == End()


def test_a_lost_leader_releases_nothing() -> None:
    candidate = leader()
    candidate.resign(10.0)
    assert (candidate.phase, candidate.ask(10.0, WALL)) == (Phase.LOST, End())


def test_a_standby_that_resigns_has_nothing_more_to_do() -> None:
    candidate = election()
    candidate.resign(0.0)
    assert candidate.ask(0.0, WALL) == End()


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("", 0), ("x1", 0), (None, 0)])
def test_a_version_is_ordered_as_a_number(text: str | None, number: int) -> None:
    assert version_number({"metadata": {"resourceVersion": text}}) == number
