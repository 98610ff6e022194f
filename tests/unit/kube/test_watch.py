from typing import Any

import pytest

from dpunetop.kube.errors import ApiError, Gone
from dpunetop.kube.watch import INITIAL_EVENTS_END, Drop, Progress, Put, WatchEvent, interpret


def obj(version: str = "7", **annotations: str) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version, **({"annotations": annotations} if annotations else {})}}


MEANINGS = {
    "ADDED": (WatchEvent("ADDED", obj()), Put(obj())),
    "MODIFIED": (WatchEvent("MODIFIED", obj()), Put(obj())),
    "DELETED": (WatchEvent("DELETED", obj()), Drop(obj())),
    "BOOKMARK": (WatchEvent("BOOKMARK", obj()), Progress(False)),
    "the last initial event": (WatchEvent("BOOKMARK", obj(**{INITIAL_EVENTS_END: "true"})), Progress(True)),
    "not the last initial event": (WatchEvent("BOOKMARK", obj(**{INITIAL_EVENTS_END: "false"})), Progress(False)),
}


@pytest.mark.parametrize(("event", "change"), MEANINGS.values(), ids=MEANINGS.keys())
def test_an_event_says_where_to_resume_and_what_changed(event: WatchEvent, change: Drop | Progress | Put) -> None:
    assert interpret(event) == ("7", change)


def test_an_expired_version_is_gone() -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    with pytest.raises(Gone) as caught:
        interpret(WatchEvent("ERROR", status))
    assert caught.value.reason == "Expired"


def test_an_error_without_a_code_is_one_of_the_server() -> None:
    with pytest.raises(ApiError) as caught:
        interpret(WatchEvent("ERROR", {}))
    assert caught.value.code == 500


BAD = {
    "unknown type": WatchEvent("RENAMED", obj()),
    "no version": WatchEvent("ADDED", {"metadata": {}}),
    "no metadata": WatchEvent("ADDED", {}),
    "a bookmark without a version": WatchEvent("BOOKMARK", {"metadata": {}}),
}


@pytest.mark.parametrize("event", BAD.values(), ids=BAD.keys())
def test_an_event_that_makes_no_sense_is_an_error(event: WatchEvent) -> None:
    with pytest.raises(ApiError) as caught:
        interpret(event)
    assert (caught.value.code, caught.value.reason) == (0, "BadAnswer")
