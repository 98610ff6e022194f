from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.drain.record import STALE_LIMIT, Cycle, State, parse_cycle, render_cycle, seen_in_boot

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
    node=TEXTS,
    boot=TEXTS,
    pod=TEXTS,
    containers=LISTS,
    stale=LISTS,
    booted_at=COUNTS,
    since=COUNTS,
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
    assert render_cycle(cycle) == '{"number":"x.1","opened":true,"state":"aborted/DrainTimeout","term":"t"}'


def test_no_annotation_is_no_record() -> None:
    assert parse_cycle(None) is None


@given(
    st.one_of(
        TEXTS,
        st.sampled_from(["{}", "[]", "null", '{"state":"odd"}', '{"state":1}', '{"state":"starting","since":"x"}']),
    )
)
def test_any_other_text_is_a_cycle_of_unknown_past(text: str) -> None:
    assert parse_cycle(text) == Cycle(State.STARTING, term="", opened=True)


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
def test_the_record_follows_what_is_seen_when(seen: tuple, becomes: tuple) -> None:
    after = seen_in_boot(BEFORE, *seen, now=7)
    assert (after.boot, after.containers, after.stale) == becomes


def test_containers_of_an_earlier_boot_never_become_current_again() -> None:
    rebooted = seen_in_boot(BEFORE, "b2", "p1", ("c1",), now=7)
    assert rebooted.booted_at == 7
    assert seen_in_boot(rebooted, "b2", "p1", ("c1",), now=8) == rebooted
    assert seen_in_boot(rebooted, "b2", "p1", ("c1", "c2"), now=8).containers == ("c2",)


def test_after_a_second_reboot_what_is_seen_first_is_stale_too() -> None:
    rebooted = seen_in_boot(BEFORE, "b2", "p1", (), now=7)
    assert seen_in_boot(rebooted, "b3", "p1", ("c2",), now=9).stale == ("c1", "c2")


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
