from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dpunetop.base import jsonio
from dpunetop.runtime.cache.sharing import Commons

WORDS = st.sampled_from(["", "a", "b", "a longer one", "\N{SNOWMAN}"])
DOCUMENTS = st.dictionaries(
    WORDS,
    st.recursive(
        st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False, width=16) | WORDS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    ),
)


def fresh(document: Any) -> Any:
    return jsonio.loads(jsonio.dumps(document))


@given(st.lists(DOCUMENTS))
def test_what_comes_back_is_equal_down_to_types_and_order(documents: list[dict[str, Any]]) -> None:
    commons = Commons(most_parts=4, longest_bytes=20)
    for document in documents:
        assert jsonio.dumps(commons.share(fresh(document))) == jsonio.dumps(document)


def test_what_was_given_is_left_as_it_is() -> None:
    given = {"spec": {"x": [1]}}
    commons = Commons()
    commons.share(fresh(given))
    shared = commons.share(given)
    assert given == {"spec": {"x": [1]}}
    assert shared["spec"] is not given["spec"]


def test_documents_that_differ_in_a_name_have_the_rest_in_common() -> None:
    commons = Commons()
    one, other = (commons.share(fresh({"name": name, "spec": {"of": name, "x": {"y": ["z" * 9]}}})) for name in "ab")
    assert one["spec"]["x"] is other["spec"]["x"]
    assert next(iter(one)) is next(iter(other))


def test_an_equal_document_is_the_same_object() -> None:
    commons = Commons()
    assert commons.share(fresh({"a": {"b": 1}})) is commons.share(fresh({"a": {"b": 1}}))


def test_what_is_met_again_stays_and_what_is_not_is_forgotten() -> None:
    commons = Commons(most_parts=8)
    first = commons.share({"a": [1]})
    once = commons.share({"once": [2]})
    for number in range(100):
        commons.share({"n": number})
        assert commons.share({"a": [1]}) is first
    assert commons.share({"once": [2]}) is not once


def test_of_what_is_too_long_the_parts_are_shared() -> None:
    commons = Commons(longest_bytes=20)
    one, other = (commons.share(fresh({"x" * 20: {"a": 1}})) for _ in range(2))
    assert one is not other
    assert one["x" * 20] is other["x" * 20]


def test_what_is_nested_too_deep_comes_back_as_it_is() -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    assert Commons().share(deep) is deep
