"""Messages are cut at their ends, whatever the cuts of the network, and no byte is changed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.httpwire import MalformedMessage, Piece, parse_head, read_request, response_body, status_of

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def body_of(head: bytes, body: bytes, cuts: list[int], method: str = "GET") -> list[Piece]:
    """The pieces of a body that arrives in parts, followed by the next message."""
    stream = asyncio.StreamReader()
    feeder = asyncio.create_task(feed(stream, body + b"HTTP/1.1 ", sorted(cuts)))
    pieces = [piece async for piece in response_body(parse_head(head), method, stream)]
    await feeder
    return pieces


async def feed(stream: asyncio.StreamReader, data: bytes, cuts: list[int]) -> None:
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        stream.feed_data(data[start:end])
        await asyncio.sleep(0)
    stream.feed_eof()


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.lists(st.integers(0, 60), max_size=6))
def test_chunks_are_passed_on_as_they_came(chunks: list[bytes], cuts: list[int]) -> None:
    body = b"".join(b"%X;x=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nT: 1\r\n\r\n"
    pieces = asyncio.run(body_of(CHUNKED, body, cuts))
    assert b"".join(piece.raw for piece in pieces) == body
    assert b"".join(piece.payload for piece in pieces) == b"".join(chunks)
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@given(st.binary(max_size=50), st.lists(st.integers(0, 60), max_size=6))
def test_a_body_ends_after_its_length(body: bytes, cuts: list[int]) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    pieces = asyncio.run(body_of(head, body, cuts))
    assert b"".join(piece.raw for piece in pieces) == body
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]


@pytest.mark.parametrize(("first", "method"), [(b"204 No Content", "GET"), (b"304 X", "GET"), (b"200 OK", "HEAD")])
def test_some_answers_have_no_body(first: bytes, method: str) -> None:
    head = b"HTTP/1.1 %b\r\nContent-Length: 3\r\n\r\n" % first
    assert asyncio.run(body_of(head, b"", [], method)) == [Piece(b"", b"", True)]


@pytest.mark.parametrize("body", [b"", b"3\r\nab", b"0\r\n"])
def test_a_body_that_is_cut_off_is_an_error(body: bytes) -> None:
    async def read() -> list[Piece]:
        stream = asyncio.StreamReader()
        stream.feed_data(body)
        stream.feed_eof()
        return [piece async for piece in response_body(parse_head(CHUNKED), "GET", stream)]

    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(read())


def test_a_request_is_taken_apart_and_kept_whole() -> None:
    async def read() -> None:
        stream = asyncio.StreamReader()
        raw = b"PATCH /a%20b?x=1 HTTP/1.1\r\nContent-LENGTH: 2\r\nUser-Agent: op/1\r\n\r\n{}"
        stream.feed_data(raw)
        stream.feed_eof()
        request = await read_request(stream)
        assert request is not None
        assert (request.method, request.path, request.query, request.body) == ("PATCH", "/a%20b", "x=1", b"{}")
        assert request.head.headers["user-agent"] == "op/1"
        assert request.raw == raw
        assert await read_request(stream) is None

    asyncio.run(read())


@pytest.mark.parametrize("head", [b"HTTP/1.1\r\n\r\n", b"\r\n\r\n"])
def test_a_first_line_without_words_is_malformed(head: bytes) -> None:
    with pytest.raises(MalformedMessage):
        parse_head(head)


def test_a_status_that_is_no_number_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        status_of(parse_head(b"HTTP/1.1 OK 200\r\n\r\n"))
