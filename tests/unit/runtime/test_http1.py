from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.runtime.http1 import MAX_HEADERS, Answer, Refusal, Request, parse, refused, render

NOW = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)


def head(*lines: str) -> bytes:
    return "\r\n".join(lines).encode("latin-1")


PROPER = {
    "as the kubelet asks": (
        ("GET /healthz HTTP/1.1", "Host: 10.0.0.1:49556", "User-Agent: kube-probe/1.31", "Accept: */*"),
        ("GET", "/healthz", ""),
    ),
    "of the old version": (("GET /readyz HTTP/1.0",), ("GET", "/readyz", "")),
    "with a query": (("GET /metrics?name=x HTTP/1.1",), ("GET", "/metrics", "")),
    "with a token": (("GET /metrics HTTP/1.1", "authorization:\t Bearer t "), ("GET", "/metrics", "Bearer t")),
    "of any method": (("BREW / HTTP/1.1",), ("BREW", "/", "")),
    "with an empty header": (("GET / HTTP/1.1", "X-Empty:"), ("GET", "/", "")),
    "with as many headers as may be": (("GET / HTTP/1.1", *["a: b"] * MAX_HEADERS), ("GET", "/", "")),
}


@pytest.mark.parametrize(("lines", "found"), PROPER.values(), ids=PROPER.keys())
def test_a_proper_head_says_what_is_asked_for(lines: tuple[str, ...], found: tuple[str, str, str]) -> None:
    assert parse(head(*lines), "192.0.2.1") == Request(*found, "192.0.2.1")


IMPROPER = {
    "nothing": ("",),
    "one word": ("GET",),
    "two words, as before there were versions": ("GET /",),
    "a version that is not ours": ("PRI * HTTP/2.0",),
    "another protocol": ("GET / RTSP/1.0",),
    "two blanks": ("GET  / HTTP/1.1",),
    "a whole address": ("GET http://10.0.0.1/healthz HTTP/1.1",),
    "a method that is no word": ("G(T / HTTP/1.1",),
    "a header without a colon": ("GET / HTTP/1.1", "Host"),
    "a header without a name": ("GET / HTTP/1.1", ": x"),
    "a blank before the colon": ("GET / HTTP/1.1", "Host : x"),
    "a header that goes on": ("GET / HTTP/1.1", "X: a", " b"),
    "a control character": ("GET / HTTP/1.1", "X: a\x00b"),
    "a line end that is none": ("GET / HTTP/1.1", "X: a\nAuthorization: Bearer t"),
    "two tokens": ("GET / HTTP/1.1", "Authorization: Bearer a", "Authorization: Bearer b"),
}


@pytest.mark.parametrize("lines", IMPROPER.values(), ids=IMPROPER.keys())
def test_an_improper_head_is_refused(lines: tuple[str, str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        parse(head(*lines), "")
    assert caught.value.status == 400


def test_more_headers_than_may_be_are_refused_as_such() -> None:
    with pytest.raises(Refusal) as caught:
        parse(head("GET / HTTP/1.1", *["a: b"] * (MAX_HEADERS + 1)), "")
    assert caught.value.status == 431


PIECES = ["GET ", "/", " HTTP/1.1", "\r\n", "\r", "\n", ":", " ", "a", "Authorization: Bearer t", "\x00", "\xff", "\t"]


def outcome(given: bytes) -> Request | int:
    """What was asked for, or the status of the refusal."""
    try:
        return parse(given, "")
    except Refusal as refusal:
        return refusal.status


@given(
    st.binary(max_size=200) | st.lists(st.sampled_from(PIECES)).map(lambda pieces: "".join(pieces).encode("latin-1"))
)
def test_whatever_comes_is_understood_or_refused(given: bytes) -> None:
    found = outcome(given)
    if isinstance(found, Request):
        assert found.path.startswith("/")
        assert not {"\r", "\n", "\x00"} & set(found.method + found.authorization)
    else:
        assert found in (400, 431)


def test_an_answer_is_whole_and_the_last_one() -> None:
    answer = Answer(405, b"no\n", headers=(("Allow", "GET, HEAD"),))
    assert render(answer, NOW) == (
        b"HTTP/1.1 405 Method Not Allowed\r\nDate: Mon, 30 Nov 2026 02:00:00 GMT\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\nConnection: close\r\n"
        b"Allow: GET, HEAD\r\n\r\nno\n"
    )


def test_to_head_goes_the_head() -> None:
    whole = render(Answer(200, b"ok\n"), NOW)
    assert render(Answer(200, b"ok\n"), NOW, method="HEAD") == whole.removesuffix(b"ok\n")


@pytest.mark.parametrize("status", [400, 431, 500])
def test_a_refusal_repeats_nothing(status: int) -> None:
    assert refused(status).body.startswith(f"{status} ".encode())
