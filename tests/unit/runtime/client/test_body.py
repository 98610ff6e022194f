from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.kube.errors import Unreachable
from dpunetop.runtime.client.body import MOST_FRAME_BYTES, Body, ChunkedBody, CloseDelimitedBody, ContentLengthBody


def chunked(*parts: bytes, end: bytes = b"\r\n", extension: bytes = b"", trailers: bytes = b"") -> bytes:
    chunks = b"".join(b"%x%b%b%b%b" % (len(part), extension, end, part, end) for part in parts)
    return chunks + b"0" + end + trailers + end


def read(body: Body, data: bytes, pieces: list[int]) -> bytes:
    content, at = b"", 0
    for size in [*pieces, len(data)]:
        if at < len(data):
            content += body.take(data[at : at + size])
        at += size
    return content


PIECES = st.lists(st.integers(1, 9), max_size=80)
PARTS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


@given(PARTS, PIECES, st.sampled_from([b"\r\n", b"\n"]), st.sampled_from([b"", b";a=b", b' ; a="1"']))
def test_what_comes_in_chunks_is_the_same_however_it_is_cut(
    parts: list[bytes], pieces: list[int], end: bytes, extension: bytes
) -> None:
    body = ChunkedBody()
    data = chunked(*parts, end=end, extension=extension, trailers=b"X-One: 1" + end)
    assert read(body, data, pieces) == b"".join(parts)
    assert body.is_complete


@given(PARTS, PIECES, st.data())
def test_the_end_of_the_connection_before_that_of_the_body_is_known_for_one(
    parts: list[bytes], pieces: list[int], data: st.DataObject
) -> None:
    whole = chunked(*parts)
    body = ChunkedBody()
    content = read(body, whole[: data.draw(st.integers(0, len(whole) - 1))], pieces)
    assert b"".join(parts).startswith(content)
    assert (body.is_complete, body.may_end_here) == (False, False)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\r\n",
        b"-1\r\n",
        b"0x10\r\n",
        b"1_0\r\n",
        b"+1\r\n",
        b"g\r\n",
        b" \r\n",
        "١\r\n".encode(),
        b"f" * 16 + b"\r\n",
        b"1" * (MOST_FRAME_BYTES + 1),
        b"1;" + b"x" * MOST_FRAME_BYTES + b"\r\n",
        b"1\r\nab\r\n",
        b"1\r\na" + b"b" * (MOST_FRAME_BYTES + 1),
        b"0\r\n" + b"A: b\r\n" * MOST_FRAME_BYTES,
        b"0\r\n\r\nmore",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
@pytest.mark.parametrize("size", [1, 10**6])
def test_what_is_no_chunk_is_a_bad_answer_and_nothing_is_hoarded(garbage: bytes, size: int) -> None:
    body = ChunkedBody()
    with pytest.raises(Unreachable) as caught:
        read(body, garbage, [size] * len(garbage))
    assert caught.value.reason == "BadAnswer"


def test_a_body_of_a_known_length_ends_there_and_nowhere_else() -> None:
    body = ContentLengthBody(3)
    assert body.take(b"ab") == b"ab"
    assert (body.is_complete, body.may_end_here) == (False, False)
    assert body.take(b"c") == b"c"
    assert (body.is_complete, body.may_end_here) == (True, True)
    with pytest.raises(Unreachable):
        body.take(b"d")


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    body = CloseDelimitedBody()
    assert body.take(b"abc") == b"abc"
    assert (body.is_complete, body.may_end_here) == (False, True)
