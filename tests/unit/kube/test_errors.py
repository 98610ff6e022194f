from typing import Any

import pytest

from dpunetop.kube.errors import (
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    error_from_status,
)

KINDS = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
    400: ApiError,
    500: ApiError,
    503: ApiError,
    504: ApiError,
}


@pytest.mark.parametrize(("code", "kind"), KINDS.items())
def test_the_code_decides_what_kind_of_error_it_is(code: int, kind: object) -> None:
    assert type(error_from_status({"code": code})) is kind


def test_an_error_carries_what_the_server_says() -> None:
    causes = [{"field": "metadata.uid", "message": "no"}]
    err = error_from_status(
        {
            "kind": "Status",
            "code": 422,
            "reason": "Invalid",
            "message": "it is not",
            "details": {"causes": causes, "retryAfterSeconds": 2},
        }
    )
    assert (err.code, err.reason, err.message) == (422, "Invalid", "it is not")
    assert (err.retry_after_seconds, err.causes) == (2.0, tuple(causes))


@pytest.mark.parametrize("status", [{}, {"code": 0}, {"code": None}, {"code": "410"}])
def test_the_http_status_counts_where_the_object_names_none(status: dict[str, Any]) -> None:
    err = error_from_status(status, code=410)
    assert (type(err), err.code, err.reason) == (Gone, 410, "Unknown")


def test_the_header_wins_over_the_body_in_when_to_come_back() -> None:
    err = error_from_status({"code": 429, "details": {"retryAfterSeconds": 2}}, retry_after_seconds=7.0)
    assert err.retry_after_seconds == 7.0


MALFORMED = {
    "details is a list": {"code": 500, "details": []},
    "details is null": {"code": 500, "details": None},
    "causes is a map": {"code": 500, "details": {"causes": {}}},
    "causes holds anything": {"code": 500, "details": {"causes": [1, None, "x"]}},
    "the pause is a text": {"code": 500, "details": {"retryAfterSeconds": "soon"}},
    "reason and message are maps": {"code": 500, "reason": {}, "message": {}},
}


@pytest.mark.parametrize("status", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_status_is_an_error_like_others(status: dict[str, Any]) -> None:
    err = error_from_status(status)
    assert (err.code, err.retry_after_seconds, err.causes) == (500, None, ())


def test_long_texts_are_cut() -> None:
    err = error_from_status({"code": 500, "reason": "r" * 5000, "message": "m" * 5000})
    assert (len(err.reason), len(err.message)) == (100, 1000)


def test_of_a_server_that_is_not_trusted_less_is_passed_on() -> None:
    assert error_from_status({"code": 403, "message": "m" * 5000}, most_chars=200).message == "m" * 196 + " ..."


def test_what_is_cut_is_cut_between_words() -> None:
    said = error_from_status({"code": 403, "message": "a right is missing " * 50}, most_chars=50).message
    assert said == "a right is missing a right is missing a right ..."
    assert len(said) <= 50


@pytest.mark.parametrize(
    ("asked", "granted"), [(7, 7.0), (10**12, 60.0), (float("inf"), 60.0), (float("nan"), 0.0), (-5, 0.0)]
)
def test_no_server_puts_us_off_for_long(asked: float, granted: float) -> None:
    assert error_from_status({"code": 429, "details": {"retryAfterSeconds": asked}}).retry_after_seconds == granted
    assert error_from_status({"code": 429}, 429, float(asked)).retry_after_seconds == granted


HOSTILE = ["a b", "x\ny", "\x1b[2J", "-x", "9", "Foo'", "\u043edd", "", "$(id)", "a/b"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_reason_is_a_word_that_a_condition_may_bear(text: str) -> None:
    assert error_from_status({"code": 403, "reason": text}).reason == "Unknown"


@pytest.mark.parametrize("text", HOSTILE)
def test_a_message_is_one_line_that_no_terminal_obeys(text: str) -> None:
    message = error_from_status({"code": 403, "message": f"a {text}\n\x1b]0;b\x07"}).message
    assert message.isascii()
    assert message.isprintable()


TEXTS = {
    "403 Forbidden: no": Forbidden(403, "Forbidden", "no"),
    "Timeout: nobody answers": Unreachable(0, "Timeout", "nobody answers"),
}


@pytest.mark.parametrize(("text", "err"), TEXTS.items(), ids=TEXTS.keys())
def test_an_error_reads_as_one_line(text: str, err: Forbidden | Unreachable) -> None:
    assert str(err) == text
