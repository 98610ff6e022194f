from __future__ import annotations

import re

import pytest

from support.expressions import faults


@pytest.mark.parametrize(
    "text",
    [
        r"(a*)*",
        r"(?:a|a)*",
        r"(?:a{1,9}){1,9}",
        r"\s*;",  # is looked for
        r"[ab]*[bc]*",
        r"[ab]{0,62}[bc]{0,62}",
        r"(?:[a-z]+-?)*",
        r"(?:x(?:a?|b?))*",
        r"a*?a*?b",
        r"\d+(?:\.\d+)?s",
        r"key\s*=\s*(.*?)\s*$",
        r"(?=a*b)a*c",
    ],
)
def test_what_may_take_more_than_linear_time_is_found(text: str) -> None:
    assert faults(re.compile(text), searched=True)


@pytest.mark.parametrize(
    "text",
    [
        r"[a-z]*",
        r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*",
        r"(?=.{1,253}$)[a-z]+",
        r"(?:/[a-z]*)*",
        r"([A-Z][A-Z0-9_]*)=([A-Za-z0-9._:,-]*)",
        r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}/[0-9]{1,2}",
        r"true|false",
    ],
)
def test_a_match_with_one_way_to_go_on_is_none(text: str) -> None:
    assert faults(re.compile(text), searched=False) == []


@pytest.mark.parametrize(
    "text",
    [
        r"[^ -~]+",  # whatever it begins with, it finds
        r"(?<![\w-])--([a-z][a-z0-9-]*)",  # begins once a word
        r"-----(BEGIN|END) ([A-Z0-9 ]{1,64})-----",
        r"(\d{1,9})(h|m|s)",
        r"^ipsec=(true|false)$",
    ],
)
def test_a_search_that_gives_up_soon_is_none(text: str) -> None:
    assert faults(re.compile(text, re.MULTILINE), searched=True) == []
