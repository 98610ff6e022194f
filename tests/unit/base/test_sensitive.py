from __future__ import annotations

import dataclasses
import json

import orjson
import pytest

from dpunetop.base.sensitive import Sensitive


@dataclasses.dataclass(frozen=True)
class Holder:
    token: Sensitive


HOLDER = Holder(Sensitive("canary"))


def test_sensitive_text_is_shown_as_stars() -> None:
    token = HOLDER.token
    shown = [f"{token}", repr(token), str(token), repr(HOLDER), repr(dataclasses.asdict(HOLDER))]
    assert shown == ["***", "***", "***", "Holder(token=***)", "{'token': ***}"]


def test_sensitive_text_is_not_encoded_by_accident() -> None:
    with pytest.raises(TypeError):
        orjson.dumps(HOLDER)
    with pytest.raises(TypeError):
        json.dumps(HOLDER.token)


def test_sensitive_text_is_compared_like_text() -> None:
    assert Sensitive("a") == Sensitive("a") != Sensitive("b")
    assert len({Sensitive("a"), Sensitive("a")}) == 1
    assert Sensitive("a") != "a"
