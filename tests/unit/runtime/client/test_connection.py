from __future__ import annotations

from pathlib import Path

import pytest

from dpunetop.kube.errors import Unauthorized
from dpunetop.runtime.client.connection import (
    Anonymous,
    Bearer,
    ClientCertificate,
    Redacted,
    StaticToken,
    TokenFile,
    TokenSource,
)
from support.clock import FakeClock


def test_a_secret_is_compared_and_handed_out_but_not_shown() -> None:
    secret = Redacted("hunter2")
    assert (secret == Redacted("hunter2"), secret.reveal()) == (True, "hunter2")
    shown = f"{secret} {secret!r} {StaticToken(secret)} {ClientCertificate('PEM', secret)}"
    assert "hunter2" not in shown
    assert "PEM" not in shown


def test_only_tokens_make_a_header() -> None:
    clock = FakeClock()
    assert Bearer(Anonymous(), clock).header() is None
    assert Bearer(ClientCertificate("", Redacted("")), clock).header() is None
    assert Bearer(StaticToken(Redacted("abc")), clock).header() == "Bearer abc"


def test_a_token_file_is_read_again_after_half_a_minute(tmp_path: Path) -> None:
    clock, file = FakeClock(), tmp_path / "token"
    file.write_text("one\n")
    bearer = Bearer(TokenFile(str(file)), clock)
    assert bearer.header() == "Bearer one"
    file.write_text("two\n")
    clock.step(30.0)
    assert bearer.header() == "Bearer one"
    clock.step(0.1)
    assert bearer.header() == "Bearer two"


def test_renewing_reads_at_once_and_says_whether_there_is_another_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    bearer = Bearer(TokenFile(str(file)), FakeClock())
    assert (bearer.header(), bearer.number) == ("Bearer one", 0)
    assert bearer.renew(0) is False
    file.write_text("two")
    assert bearer.renew(0) is True
    assert (bearer.header(), bearer.number) == ("Bearer two", 1)
    assert Bearer(Anonymous(), FakeClock()).renew(0) is False
    fixed = Bearer(StaticToken(Redacted("abc")), FakeClock())
    assert (fixed.header(), fixed.renew(fixed.number)) == ("Bearer abc", False)


def test_of_many_whose_token_was_refused_each_hears_of_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    bearer = Bearer(TokenFile(str(file)), FakeClock())
    bearer.header()
    under_way = [bearer.number] * 8
    file.write_text("two")
    assert [bearer.renew(number) for number in under_way] == [True] * 8
    assert bearer.renew(bearer.number) is False


def test_a_token_that_cannot_be_read_any_more_stays_in_use(tmp_path: Path) -> None:
    clock, file = FakeClock(), tmp_path / "token"
    file.write_text("one")
    bearer = Bearer(TokenFile(str(file)), clock)
    bearer.header()
    file.unlink()
    clock.step(100.0)
    assert bearer.header() == "Bearer one"
    file.write_text("")  # being written
    clock.step(100.0)
    assert bearer.header() == "Bearer one"


@pytest.mark.parametrize("text", ["", "two words", "a\r\nX-Injected: b", "tökén"])
def test_what_is_no_token_is_not_sent(text: str) -> None:
    bearer = Bearer(TokenSource(lambda: text), FakeClock())
    with pytest.raises(Unauthorized) as caught:
        bearer.header()
    assert (caught.value.code, caught.value.reason) == (0, "TokenUnreadable")


def test_a_missing_token_file_names_itself() -> None:
    with pytest.raises(Unauthorized, match="/nowhere/token"):
        Bearer(TokenFile("/nowhere/token"), FakeClock()).header()
