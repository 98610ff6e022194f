from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.drain.model.record import (
    LONG_AGO,
    STALE_LIMIT,
    Cycle,
    State,
    begun_anew,
    parse_cycle,
    render_cycle,
    seen_in_boot,
    stamped,
)

TEXTS = st.text(max_size=20)
LISTS = st.lists(TEXTS, max_size=4).map(tuple)
REASONS = st.sampled_from(["", "HostUncordoned", "DrainTimeout"])
COUNTS = st.integers(min_value=0, max_value=2**40)
CYCLES = st.builds(
    Cycle,
    state=st.sampled_from(State),
    term=TEXTS,
    number=TEXTS,
    reason=REASONS,
    maintenance=TEXTS,
    opened=st.booleans(),
    disturbed=st.booleans(),
    node=TEXTS,
    boot=TEXTS,
    pod=TEXTS,
    containers=LISTS,
    stale=LISTS,
    booted_at=COUNTS,
    since=COUNTS,
    asked_at=COUNTS,
    opened_at=COUNTS,
    returned_at=COUNTS,
    failures=COUNTS,
    failed_at=COUNTS,
    failed=TEXTS,
    note=TEXTS,
)


@given(CYCLES)
def test_a_record_is_read_as_it_was_written(cycle: Cycle) -> None:
    assert parse_cycle(render_cycle(cycle)) == cycle


def test_the_text_is_short_and_always_the_same() -> None:
    cycle = Cycle(State.ABORTED, term="t", number="x.1", reason="DrainTimeout", opened=True)
    assert render_cycle(cycle) == '{"number":"x.1","opened":true,"state":"aborted/DrainTimeout","term":"t","v":2}'


def test_no_annotation_is_no_record() -> None:
    assert parse_cycle(None) is None


@given(
    st.one_of(
        TEXTS,
        st.sampled_from(
            [
                "{}",
                "[]",
                "null",
                '{"state":"odd"}',
                '{"state":1}',
                '{"state":"starting","since":"x"}',
                '{"v":[],"state":"starting"}',
                '{"v":3,"state":"starting"}',
                '{"v":2,"state":"starting","containers":"c1"}',
            ]
        ),
    )
)
def test_any_other_text_is_a_cycle_of_unknown_past(text: str) -> None:
    assert parse_cycle(text) == Cycle(State.STARTING, term="", opened=True)


FIRST_FORM = (
    '{"boot":"b1","containers":["c1"],"maintenance":"m1","node":"n1","number":"x1.7","opened":true,"since":900,'
    '"state":"draining","term":"t1"}'
)


def test_a_record_in_the_form_before_goes_on_where_it_was_and_what_it_did_not_remember_may_have_been() -> None:
    expected = Cycle(
        State.DRAINING,
        "t1",
        "x1.7",
        maintenance="m1",
        opened=True,
        disturbed=True,
        node="n1",
        boot="b1",
        containers=("c1",),
        since=900,
        asked_at=900,
        opened_at=900,
    )
    assert parse_cycle(FIRST_FORM) == expected


FORMS = {
    "the form before": '{"reason":"","since":5,"state":"aborted/HostUncordoned","term":"t"}',
    "a newer form": '{"v":9,"state":"aborted/HostUncordoned","term":"t","since":{"at":5},"more":[1]}',
    "a newer form with members of other types": '{"v":9,"state":"aborted/HostUncordoned","stale":7,"booted_at":"noon"}',
    "a member that somebody broke": '{"v":2,"state":"aborted/HostUncordoned","failures":"many"}',
    "a version that is no number": '{"v":"two","state":"aborted/HostUncordoned"}',
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
def test_a_drain_that_was_given_up_stays_so_in_any_form(text: str) -> None:
    found = parse_cycle(text)
    assert found is not None
    assert (found.state, found.reason) == (State.ABORTED, "HostUncordoned")
    assert found.may_have_been_down


def test_a_record_of_a_newer_form_keeps_what_is_readable_and_must_be_taken_over() -> None:
    found = parse_cycle('{"v":3,"state":"draining","term":"t","maintenance":"m1","stale":["c0"],"boot":"b1","x":1}')
    assert found == Cycle(State.DRAINING, "", maintenance="m1", stale=("c0",), boot="b1", opened=True)


TIMES = {  # before, after -> asked, returned
    "a record that begins": (None, State.STARTING, (0, 0)),
    "the host is asked for": (State.STARTING, State.DRAINING, (7, 0)),
    "it is asked for already": (State.DRAINING, State.DRAINING, (3, 0)),
    "the cordon is taken back": (State.DRAINING, State.RETURNING, (3, 7)),
    "it was taken back already": (State.RETURNING, State.RETURNING, (3, 5)),
    "given up": (State.DRAINING, State.ABORTED, (3, 0)),
    "a record that is begun when the host is to be given back": (None, State.RETURNING, (0, 7)),
}


@pytest.mark.parametrize(("before", "after", "expected"), TIMES.values(), ids=TIMES.keys())
def test_a_record_says_since_when(before: State | None, after: State, expected: tuple[int, int]) -> None:
    asked = 3 if before in (State.DRAINING, State.RETURNING) else 0
    old = None if before is None else Cycle(before, "t", asked_at=asked, returned_at=5 * (before is State.RETURNING))
    found = stamped(old, replace(old or Cycle(after, "t"), state=after), now=7)
    assert (found.asked_at, found.returned_at) == expected


DOWN = {
    "a cycle in which nothing happened": (Cycle(State.RETURNING, "t", boot="b1"), False),
    "a cycle that opened": (Cycle(State.RETURNING, "t", opened=True), True),
    "a cycle in which containers started anew": (Cycle(State.RETURNING, "t", disturbed=True), True),
    "a cycle that saw another boot, written before that was remembered": (
        Cycle(State.RETURNING, "t", booted_at=5),
        True,
    ),
}


@pytest.mark.parametrize(("cycle", "expected"), DOWN.values(), ids=DOWN.keys())
def test_a_dpu_may_have_been_down_in(cycle: Cycle, expected: bool) -> None:
    assert cycle.may_have_been_down is expected


BEFORE = Cycle(State.DRAINING, "t", boot="b1", pod="p1", containers=("c1",))
SEEN = {  # boot, pod, containers -> boot, containers, stale
    "nothing changed": (("b1", "p1", ("c1",)), ("b1", ("c1",), ())),
    "a container started anew in the same boot": (("b1", "p1", ("c2",)), ("b1", ("c2",), ())),
    "no pod is seen": (("b1", "", ()), ("b1", ("c1",), ())),
    "no boot is known": (("", "p1", ("c2",)), ("b1", ("c1",), ())),
    "a reboot, the old containers still shown": (("b2", "p1", ("c1",)), ("b2", (), ("c1",))),
    "a reboot, new containers shown already": (("b2", "p1", ("c2",)), ("b2", (), ("c1",))),
}


@pytest.mark.parametrize(("seen", "becomes"), SEEN.values(), ids=SEEN.keys())
def test_the_record_follows_what_is_seen_when(
    seen: tuple[str, str, tuple[str, ...]], becomes: tuple[str, tuple[str, ...], tuple[str, ...]]
) -> None:
    after = seen_in_boot(BEFORE, *seen, 7)
    assert (after.boot, after.containers, after.stale) == becomes


def test_containers_of_an_earlier_boot_never_become_current_again() -> None:
    rebooted = seen_in_boot(BEFORE, "b2", "p1", ("c1",), now=7)
    assert rebooted.booted_at == 7
    assert seen_in_boot(rebooted, "b2", "p1", ("c1",), now=8) == rebooted
    assert seen_in_boot(rebooted, "b2", "p1", ("c1", "c2"), now=8).containers == ("c2",)


def test_after_a_second_reboot_what_is_seen_first_is_stale_too() -> None:
    rebooted = seen_in_boot(BEFORE, "b2", "p1", (), now=7)
    assert seen_in_boot(rebooted, "b3", "p1", ("c2",), now=9).stale == ("c1", "c2")


def test_a_drain_that_is_wanted_once_more_has_its_own_times_and_failures_and_keeps_what_happened_to_the_dpu() -> None:
    kept = replace(BEFORE, opened=True, disturbed=True, stale=("c0",), booted_at=1)
    over = replace(kept, state=State.RETURNING, asked_at=2, opened_at=3, returned_at=4, failures=5, note="no")
    assert begun_anew(replace(over, reason="DrainTimeout"), now=9) == replace(kept, state=State.STARTING, since=9)


def test_after_a_second_reboot_new_containers_count_where_those_of_the_first_were_recorded() -> None:
    rebooted = seen_in_boot(seen_in_boot(BEFORE, "b2", "p1", (), now=7), "b2", "p1", ("c2",), now=8)
    again = seen_in_boot(rebooted, "b3", "p1", ("c3",), now=9)
    assert again.stale == ("c1", "c2")
    assert seen_in_boot(again, "b3", "p1", ("c3",), now=10).containers == ("c3",)


def test_stale_containers_are_kept_to_a_limit_the_youngest_last() -> None:
    cycle = BEFORE
    for number in range(STALE_LIMIT + 10):
        cycle = seen_in_boot(cycle, f"boot-{number}", "p", (f"c-{number}",), now=number)
    assert len(cycle.stale) == STALE_LIMIT
    assert cycle.stale[-1] == f"c-{STALE_LIMIT + 9}"


KNOWN = Cycle(State.DRAINING, term="t", node="n", boot="b1", pod="p1", containers=("c1",))
UNKNOWN = Cycle(State.DRAINING, term="t", node="n")
BECOMES: dict[str, tuple[Cycle, tuple[str, str, tuple[str, ...]], Cycle]] = {  # before, what is seen, after
    "nothing": (KNOWN, ("", "p2", ("c2",)), KNOWN),
    "no container": (KNOWN, ("b1", "", ()), KNOWN),
    "the same": (KNOWN, ("b1", "p1", ("c1",)), KNOWN),
    "the same in another pod": (KNOWN, ("b1", "p2", ("c1",)), replace(KNOWN, pod="p2")),
    "others": (KNOWN, ("b1", "p2", ("c3", "c2")), replace(KNOWN, pod="p2", containers=("c2", "c3"), disturbed=True)),
    "those that are stale, and others": (
        replace(KNOWN, stale=("c0",)),
        ("b1", "p1", ("c0", "c1")),
        replace(KNOWN, stale=("c0",)),
    ),
    "those that are stale alone": (
        replace(KNOWN, pod="", containers=(), stale=("c0",)),
        ("b1", "p1", ("c0",)),
        replace(KNOWN, pod="", containers=(), stale=("c0",)),
    ),
    "another boot": (
        KNOWN,
        ("b2", "p1", ("c1",)),
        replace(KNOWN, boot="b2", booted_at=7, pod="", containers=(), stale=("c1",), disturbed=True),
    ),
    "another boot, when none was recorded before": (
        replace(KNOWN, pod="", containers=()),
        ("b2", "p1", ("c1",)),
        replace(KNOWN, boot="b2", booted_at=7, pod="", containers=(), stale=("c1",), disturbed=True),
    ),
    "another boot, when none was recorded since the one before": (
        replace(KNOWN, containers=(), stale=("c0",)),
        ("b2", "p1", ("c1",)),
        replace(KNOWN, boot="b2", booted_at=7, pod="", containers=(), stale=("c0", "c1"), disturbed=True),
    ),
    "another boot, when some were recorded since the one before": (
        replace(KNOWN, stale=("c0",)),
        ("b2", "p1", ("c2",)),
        replace(KNOWN, boot="b2", booted_at=7, pod="", containers=(), stale=("c0", "c1"), disturbed=True),
    ),
    "a first boot": (UNKNOWN, ("b1", "p1", ("c1",)), replace(KNOWN, disturbed=True)),
    "a first boot without containers": (UNKNOWN, ("b1", "", ()), replace(UNKNOWN, boot="b1")),
    "a first boot after an opening": (
        replace(UNKNOWN, opened=True),
        ("b1", "p1", ("c2", "c1")),
        replace(UNKNOWN, opened=True, boot="b1", booted_at=LONG_AGO, stale=("c1", "c2")),
    ),
}


@pytest.mark.parametrize(("before", "seen", "after"), BECOMES.values(), ids=BECOMES.keys())
def test_what_a_record_becomes_when_this_is_seen(
    before: Cycle, seen: tuple[str, str, tuple[str, ...]], after: Cycle
) -> None:
    assert seen_in_boot(before, *seen, now=7) == after
