"""A leadership has one term, until a cluster's time goes back."""

from __future__ import annotations

from dpunetop.controllers.drain.epoch import Epoch
from support.clock import FakeClock


def test_decisions_of_one_leadership_share_its_term_and_nothing_that_is_drawn() -> None:
    terms = Epoch(FakeClock(), "dpunetop-drain")
    one, two = terms.author(), terms.author()
    assert (one.term, one.field_manager) == (two.term, "dpunetop-drain")
    assert one.draw != two.draw
    assert Epoch(FakeClock(), "dpunetop-drain").author().term != one.term


def test_when_time_goes_back_there_is_another_term_until_which_nothing_is_settled() -> None:
    terms = Epoch(FakeClock(), "dpunetop-drain")

    def needs_takeover() -> bool:
        return terms.needs_takeover

    before = terms.author().term
    assert not needs_takeover()
    terms.advance()
    assert needs_takeover()
    assert terms.author().term != before
    terms.confirmed(before)
    assert needs_takeover()
    terms.confirmed(terms.author().term)
    assert not needs_takeover()
