import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dpunetop.domain.credential.conditions import SLACK
from dpunetop.domain.credential.facts import (
    Minted,
    Provided,
    TokenUnanswered,
    expiry,
    parse_held,
    parse_minted,
)
from dpunetop.domain.names import (
    CREDENTIAL_ANNOTATION,
    EXPIRES_AT_ANNOTATION,
    MINTED_AT_ANNOTATION,
)
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from support.clock import EPOCH
from support.credentials import (
    DAY,
    FULL,
    GIVEN_MARK,
    HOUR,
    MODEL,
    OWNER,
    TIMES,
    WEEK,
    minted,
    secret,
)
from support.kubeconfigs import good_kubeconfig
from support.pki import pair

HELD = {
    "no Secret": (None, None),
    "a stranger's": (secret(FULL, TIMES, owner="other"), None),
    "minted": (secret(FULL, TIMES), minted()),
    "given, with a certificate": (secret({"kubeconfig": "{}"}, GIVEN_MARK), Provided()),
    "given, with a token": (secret(FULL, GIVEN_MARK), Provided()),
    "given, with a token that is none": (secret({**FULL, "token": "a b"}, GIVEN_MARK), Provided()),
    "given, as earlier versions wrote it": (secret({"kubeconfig": "{}"}), Provided()),
    "given, without a kubeconfig": (secret({"token": "to.ken"}, GIVEN_MARK), None),
    "given, whose mark is gone": (secret(FULL), None),
    "given, whose mark is another": (secret(FULL, {CREDENTIAL_ANNOTATION: "Minted"}), None),
    "empty": (secret({}), None),
    "without some times": (secret(FULL, {MINTED_AT_ANNOTATION: TIMES[MINTED_AT_ANNOTATION]}), None),
    "with a time that is none": (secret(FULL, {**TIMES, EXPIRES_AT_ANNOTATION: "soon"}), None),
    "with a time of nowhere": (secret(FULL, {**TIMES, EXPIRES_AT_ANNOTATION: "2026-01-08T00:00:00"}), None),
    "with a token that is none": (secret({**FULL, "token": "a b"}, TIMES), None),
}


@pytest.mark.parametrize(("stored", "held"), HELD.values(), ids=HELD.keys())
def test_what_pods_hold_is_read_from_the_secret(stored: dict[str, Any] | None, held: Minted | Provided | None) -> None:
    assert parse_held(stored, OWNER) == held


ANSWERS = {
    "good": ({"token": "to.ken", "expirationTimestamp": "2026-01-08T00:00:00Z"}, True),
    "with another offset": ({"token": "to.ken", "expirationTimestamp": "2026-01-08T02:00:00+02:00"}, True),
    "no status": (None, False),
    "no token": ({"expirationTimestamp": "2026-01-08T00:00:00Z"}, False),
    "a token of two lines": ({"token": "a\nb", "expirationTimestamp": "2026-01-08T00:00:00Z"}, False),
    "a huge token": ({"token": "a" * 100_000, "expirationTimestamp": "2026-01-08T00:00:00Z"}, False),
    "no end": ({"token": "to.ken"}, False),
    "an end before all time": ({"token": "to.ken", "expirationTimestamp": "0001-01-01T00:00:00+14:00"}, False),
    "an end that is a number": ({"token": "to.ken", "expirationTimestamp": 7}, False),
}


@pytest.mark.parametrize(("status", "is_good"), ANSWERS.values(), ids=ANSWERS.keys())
def test_only_a_whole_answer_is_a_token(status: dict[str, Any] | None, is_good: bool) -> None:
    found = parse_minted({"status": status}, EPOCH + timedelta(milliseconds=7), "uid-of-account")
    assert found == minted() if is_good else isinstance(found, TokenUnanswered)


def test_the_end_of_the_credential_is_that_of_the_token_or_of_the_certificate() -> None:
    material = pair()
    certificate = parse_kubeconfig(
        good_kubeconfig(
            **{
                "client-certificate-data": base64.b64encode(material.cert).decode(),
                "client-key-data": base64.b64encode(material.key).decode(),
            }
        )
    )
    assert expiry(minted(), certificate) == EPOCH + WEEK
    assert (expiry(Provided(), certificate) or EPOCH) > EPOCH
    assert expiry(Provided(), MODEL) == datetime(3000, 1, 1, tzinfo=UTC)  # of its authority: its token does not say
    assert expiry(None, MODEL) is None


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_week_less_a_day_leaves_three_days() -> None:
    token = minted()
    assert token.renewal == EPOCH + DAY
    assert token.slack(EPOCH) == 6 * DAY >= SLACK
    assert token.slack(token.renewal) == 6 * DAY


LIVES = {  # life -> renewed after
    "a week": (WEEK, DAY),
    "four days": (4 * DAY, DAY),
    "a day": (DAY, DAY / 2),
    "an hour": (HOUR, HOUR / 2),
    "a moment": (timedelta(seconds=1), timedelta(minutes=1)),
    "none": (-DAY, timedelta(minutes=1)),
    "ages": (timedelta(days=36_500), DAY),
}


@pytest.mark.parametrize(("life", "renewed_after"), LIVES.values(), ids=LIVES.keys())
def test_a_token_is_renewed_long_before_its_end_but_not_all_the_time(life: timedelta, renewed_after: timedelta) -> None:
    token = minted(life)
    assert token.renewal - token.minted_at == renewed_after
    assert not token.is_due(token.renewal - timedelta(seconds=1))
    assert token.is_due(token.renewal)


def test_a_token_from_the_future_is_due() -> None:
    assert minted(at=EPOCH + DAY).is_due(EPOCH)
