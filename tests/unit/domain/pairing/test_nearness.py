"""Which names are suggested for one that nothing has: those that are like it, and no more than a person reads."""

from __future__ import annotations

import pytest

from dpunetop.domain.pairing.nearness import did_you_mean

LONG = "n" * 80
# a name, those that are there, and what is said
NAMES: dict[str, tuple[str, list[str], str]] = {
    "nothing is there": ("host-1", [], ""),
    "nothing is like it": ("host-1", ["dpu-a", "worker"], ""),
    "one is like it": ("hots-1", ["host-1", "worker"], " (did you mean host-1?)"),
    "two are, the nearer one first": ("host-11", ["hast-11", "host-1", "x"], " (did you mean host-1 or hast-11?)"),
    "more are": ("host-1", ["host-1a", "host-1b", "host-1c"], " (did you mean host-1c or host-1b?)"),
    "one of 80 characters": (f"{LONG[:-1]}m", [LONG], f" (did you mean {LONG}?)"),
    "none that is there is of more": (f"{LONG}m", [f"{LONG}n"], ""),
    "it goes on for as long as a name that is there may": (f"{LONG}{'m' * 20}", [LONG], f" (did you mean {LONG}?)"),
    "it goes on for longer": (f"{LONG}{'m' * 21}", [LONG], ""),
    "20 characters lack": (LONG, ["n" * 60], f" (did you mean {'n' * 60}?)"),
    "more of them lack": (LONG, ["n" * 59], ""),
}


@pytest.mark.parametrize(("name", "known", "words"), NAMES.values(), ids=NAMES.keys())
def test_the_name_closest_to_a_typo_is_suggested(name: str, known: list[str], words: str) -> None:
    assert did_you_mean(name, known) == words


@pytest.mark.parametrize(("others", "words"), [(1999, " (did you mean zebra-2?)"), (2000, "")])
def test_of_very_many_names_the_first_2000_are_compared(others: int, words: str) -> None:
    assert did_you_mean("zebra-1", [*(f"host-{number:04}" for number in range(others)), "zebra-2"]) == words
