import tracemalloc
from typing import Any

import pytest

from dpunetop.base import jsonio

VALUE: dict[str, Any] = {"b": [1, 2.5, None, True], "a": {"ä": "“x”"}}


def test_what_is_encoded_is_decoded_to_the_same() -> None:
    assert jsonio.loads(jsonio.dumps(VALUE)) == VALUE
    assert jsonio.loads(jsonio.canonical(VALUE)) == VALUE


def test_equal_values_have_one_canonical_form_and_one_digest() -> None:
    turned = {"a": VALUE["a"], "b": VALUE["b"]}
    assert jsonio.canonical(turned) == jsonio.canonical(VALUE) == '{"a":{"ä":"“x”"},"b":[1,2.5,null,true]}'.encode()
    assert jsonio.digest(turned) == jsonio.digest(VALUE)


def test_unequal_values_have_other_digests_of_16_digits() -> None:
    values: tuple[object, ...] = ({}, [], "", 0, None, {"a": 1}, {"a": 2})
    digests = {jsonio.digest(value) for value in values}
    assert len(digests) == 7
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests)


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", "[1,]", "NaN", b"\xff"])
def test_invalid_json_is_an_error(text: bytes | str) -> None:
    with pytest.raises(jsonio.DecodeError):
        jsonio.loads(text)


def test_a_copy_is_equal_and_independent() -> None:
    copy = jsonio.deep_copy(VALUE)
    assert copy == VALUE
    copy["a"]["ä"] = "y"
    assert VALUE["a"]["ä"] == "“x”"


def decoded_bytes(data: bytes) -> int:
    tracemalloc.start()
    kept = jsonio.loads(data)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept is not None
    return size


DOCUMENTS = {
    "empty objects": b"[" + b"{}," * 20_000 + b"{}]",
    "empty lists": b"[" + b"[]," * 20_000 + b"[]]",
    "numbers": b"[" + b",".join(b"%d" % n for n in range(1000, 20_000)) + b"]",
    "members": b"{" + b",".join(b'"k%d":{"a":1}' % n for n in range(10_000)) + b"}",
    "text": b'"' + b"x" * 500_000 + b'"',
    "text of another script": ('"' + "\u4e2d" * 200_000 + '"').encode(),
}


@pytest.mark.parametrize("data", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_the_weight_of_a_document_is_about_what_it_takes_in_memory(data: bytes) -> None:
    assert decoded_bytes(data) <= 2 * jsonio.weigh(data)


def test_what_is_nested_too_deep_is_not_encoded() -> None:
    with pytest.raises(jsonio.EncodeError):
        jsonio.dumps(jsonio.loads(b"[" * 300 + b"]" * 300))
