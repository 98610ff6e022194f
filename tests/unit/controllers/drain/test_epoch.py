"""A leadership has one term, until a cluster's time goes back."""

from __future__ import annotations

from dpunetop.controllers.drain.epoch import Terms
from support.clock import FakeClock


def test_decisions_of_one_leadership_share_its_term_and_nothing_that_is_drawn() -> None:
    terms = Terms(FakeClock(), "dpunetop-drain")
    one, two = terms.author(), terms.author()
    assert (one.term, one.field_manager) == (two.term, "dpunetop-drain")
    assert one.draw != two.draw
    assert Terms(FakeClock(), "dpunetop-drain").author().term != one.term


def test_when_time_goes_back_there_is_another_term_until_which_nothing_is_settled() -> None:
    terms = Terms(FakeClock(), "dpunetop-drain")
    before = terms.author().term
    assert not terms.is_shaken
    terms.shake()
    assert terms.is_shaken
    assert terms.author().term != before
    terms.settled(before)
    assert terms.is_shaken
    terms.settled(terms.author().term)
    assert not terms.is_shaken
