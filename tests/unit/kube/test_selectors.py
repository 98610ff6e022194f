from typing import Any

import pytest

from dpunetop.kube.selectors import by_labels, by_name, matches, parse_selector

LABELS = {"role": "dpu", "zone": "a"}


def expression(key: str, operator: str, *values: str) -> dict[str, list[dict[str, Any]]]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


SELECTORS = {
    "nothing": ({}, False),
    "empty members": ({"matchLabels": {}, "matchExpressions": []}, False),
    "null members": ({"matchLabels": None, "matchExpressions": None}, False),
    "a label": ({"matchLabels": {"role": "dpu"}}, True),
    "another value": ({"matchLabels": {"role": "host"}}, False),
    "a label that is not there": ({"matchLabels": {"rack": ""}}, False),
    "one of two": ({"matchLabels": {"role": "dpu", "zone": "b"}}, False),
    "In": (expression("zone", "In", "a", "b"), True),
    "In, others": (expression("zone", "In", "b"), False),
    "In, not there": (expression("rack", "In", "a"), False),
    "NotIn": (expression("zone", "NotIn", "b"), True),
    "NotIn, there": (expression("zone", "NotIn", "a"), False),
    "NotIn, not there": (expression("rack", "NotIn", "a"), True),
    "Exists": (expression("zone", "Exists"), True),
    "Exists, not there": (expression("rack", "Exists"), False),
    "DoesNotExist": (expression("rack", "DoesNotExist"), True),
    "DoesNotExist, there": (expression("zone", "DoesNotExist"), False),
    "an unknown operator": (expression("zone", "Like", "a"), False),
    "no operator": ({"matchExpressions": [{"key": "zone"}]}, False),
    "labels and expressions": ({"matchLabels": {"role": "dpu"}, **expression("zone", "In", "b")}, False),
}


@pytest.mark.parametrize(("selector", "expected"), SELECTORS.values(), ids=SELECTORS.keys())
def test_a_selector_matches_as_the_api_says(selector: dict[str, Any], expected: bool) -> None:
    assert matches(selector, LABELS) is expected


def test_selectors_are_written_as_the_server_reads_them() -> None:
    assert by_name("ovn-ca") == "metadata.name=ovn-ca"
    assert by_labels({"b": "2", "a": "1"}) == "a=1,b=2"


TEXTS = {
    "a label": ("role=dpu", True),
    "two signs": ("role == dpu", True),
    "another value": ("role=host", False),
    "not that value": ("role!=host", True),
    "not that value, there": ("zone != a", False),
    "not that value, not there": ("rack!=a", True),
    "that is there": ("zone", True),
    "that is not there": ("rack", False),
    "that may not be there": ("!zone", False),
    "that is indeed not there": ("! rack", True),
    "one of": ("zone in (a, b)", True),
    "one of others": ("zone in (b,c)", False),
    "none of": ("zone notin (b)", True),
    "none of, there": ("zone  notin ( a , b )", False),
    "several": ("role=dpu,zone in (a,b),!rack", True),
    "several, one wrong": ("role=dpu,zone in (b,c),!rack", False),
    "a prefix": ("example.com/role", False),
    "an empty value": ("role=", False),
    "nothing": ("", False),
    "blanks": ("  ", False),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS.keys())
def test_a_selector_in_words_matches_as_kubectl_reads_it(text: str, expected: bool) -> None:
    selector = parse_selector(text)
    assert selector is not None
    assert matches(selector, LABELS) is expected


@pytest.mark.parametrize(
    "text",
    [
        "a=b=c",
        "a in b",
        "a in (b",
        "a in (b))",
        ",",
        "a,",
        "=b",
        "a>1",
        "a b",
        "a in (b c)",
        "a;b",
        "\u00e4=b",
        "a" * 2001,
    ],
)
def test_what_is_no_selector_is_none(text: str) -> None:
    assert parse_selector(text) is None
