from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.base import jsonio
from dpunetop.runtime.cache.interning import Interner

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
    interner = Interner(most_parts=4, longest_bytes=20)
    for document in documents:
        assert jsonio.dumps(interner.share(fresh(document))) == jsonio.dumps(document)


def test_what_was_given_is_left_as_it_is() -> None:
    given = {"spec": {"x": [1]}}
    interner = Interner()
    interner.share(fresh(given))
    shared = interner.share(given)
    assert given == {"spec": {"x": [1]}}
    assert shared["spec"] is not given["spec"]


def test_documents_that_differ_in_a_name_have_the_rest_in_common() -> None:
    interner = Interner()
    one, other = (interner.share(fresh({"name": name, "spec": {"of": name, "x": {"y": ["z" * 9]}}})) for name in "ab")
    assert one["spec"]["x"] is other["spec"]["x"]
    assert next(iter(one)) is next(iter(other))


def test_an_equal_document_is_the_same_object() -> None:
    interner = Interner()
    assert interner.share(fresh({"a": {"b": 1}})) is interner.share(fresh({"a": {"b": 1}}))


def test_what_is_met_again_stays_and_what_is_not_is_forgotten() -> None:
    interner = Interner(most_parts=8)
    first = interner.share({"a": [1]})
    once = interner.share({"once": [2]})
    for number in range(100):
        interner.share({"n": number})
        assert interner.share({"a": [1]}) is first
    assert interner.share({"once": [2]}) is not once


def test_of_what_is_too_long_the_parts_are_shared() -> None:
    interner = Interner(longest_bytes=20)
    one, other = (interner.share(fresh({"x" * 20: {"a": 1}})) for _ in range(2))
    assert one is not other
    assert one["x" * 20] is other["x" * 20]


def test_what_is_nested_too_deep_comes_back_as_it_is() -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    assert Interner().share(deep) is deep


@pytest.mark.parametrize("member", ["uid", "resourceVersion", "containerID"])
def test_what_only_one_object_says_is_not_put_among_the_interned_strings(member: str) -> None:
    text = "".join(["0b1c-", member])
    interner = Interner(longest_bytes=8)
    shared = interner.share({"metadata": {member: text}})
    assert shared["metadata"][member] is text
    assert sys.intern("".join(["0b1c-", member])) is not text


def test_an_owner_that_many_objects_name_is_kept_once() -> None:
    interner = Interner()
    one, other = (interner.share(fresh({"metadata": {"ownerReferences": [{"uid": "0b1c"}]}})) for _ in range(2))
    assert one["metadata"]["ownerReferences"] is other["metadata"]["ownerReferences"]
