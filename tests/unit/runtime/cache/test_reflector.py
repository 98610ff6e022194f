from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dpunetop.base import jsonio
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Gone, TooManyRequests, Unreachable
from dpunetop.kube.keys import CONFIGMAPS, NODES
from dpunetop.kube.meta import name_of
from dpunetop.kube.requests import Selection, one
from dpunetop.kube.selectors import by_name
from dpunetop.kube.watch import WatchEvent
from dpunetop.runtime.cache import listwatch
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cache.history import History
from dpunetop.runtime.cache.listwatch import (
    BRIEF_SECONDS,
    LIVED_SECONDS,
    Action,
    ListPages,
    ListWatchState,
    Pause,
    ProbeVersion,
    Watch,
    WatchList,
)
from dpunetop.runtime.cache.reflector import Reflector
from dpunetop.runtime.cache.store import Feed, Store
from dpunetop.runtime.cache.workers import Workers
from dpunetop.runtime.flowcontrol import Backoff
from support.clock import FakeClock
from support.scriptedsource import (
    NOT_SERVED,
    Hang,
    Page,
    ScriptedSource,
    added,
    bookmark,
    deleted,
    expired,
    modified,
    obj,
    pages,
    until_ended,
)

SELECTION = Selection(CONFIGMAPS, "ns")
REFUSED = Unreachable(0, "Refused", "connection refused")
CUT = Unreachable(0, "Reset", "connection reset")
SILENT = Unreachable(0, "IdleTimeout", "nothing came for 90 s")
TOO_LARGE_VERSION = ApiError(504, "Timeout", "too large", causes=({"reason": "ResourceVersionTooLarge"},))


class Following:
    """A ListWatchState without a server: the test plays the answers."""

    def __init__(
        self, most_weight: int | None = None, selection: Selection = SELECTION, history: History | None = None
    ) -> None:
        self.history = history or History()
        self.store = Store()
        self.reports: list[tuple[int, int]] = []
        self.state = ListWatchState(
            selection,
            self.store.writer,
            lambda o: o,
            Backoff(0.8, 2.0, 30.0, 1.0, lambda: 0.0),
            self.history,
            lambda _, seen, got: self.reports.append((seen, got)),
            most_weight,
        )

    def filled(self, version: int, *parts: list[dict[str, Any]]) -> None:
        if isinstance(self.read_anew(), WatchList):
            self.state.failed(NOT_SERVED)
            assert self.state.next() == ListPages()
        for page in pages(version, *parts):
            self.state.take(page)
        self.state.ended(0.1)

    def read_anew(self) -> Action:
        """How all is read next, after the pause before it if this is not the first time."""
        action = self.state.next()
        if isinstance(action, Pause):
            assert action.seconds >= 0.8
            action = self.state.next()
        return action

    def watching(self, version: int, *events: WatchEvent) -> None:
        assert self.resumed() == Watch(str(version))
        for event in events:
            self.state.take(event)

    def resumed(self, present: int = 10**9) -> Action:
        """What comes next, after the server has said how far it is if that is asked first."""
        action = self.state.next()
        if not isinstance(action, ProbeVersion):
            return action
        self.state.answered(str(present))
        return self.state.next()

    def feed(self) -> Feed:
        feed = self.store.subscribe()
        feed.clear()
        return feed

    def names(self) -> list[str]:
        return sorted(name_of(o) for o in self.store.lister.list())


@pytest.fixture
def following() -> Following:
    following = Following()
    following.filled(10, [obj("a", 5)], [obj("b", 7)])
    return following


# --- how much there may be --------------------------------------------------------------------------------------------

WEIGHT = jsonio.weigh(jsonio.dumps(obj("a", 10)))
DEEP = jsonio.loads(b'{"x":' * 300 + b"1" + b"}" * 300)


def overfull(following: Following, event: WatchEvent) -> None:
    with pytest.raises(ApiError) as caught:
        following.state.take(event)
    assert caught.value.reason == "TooLarge"
    following.state.failed(caught.value)


def test_a_list_that_weighs_too_much_is_not_stored_and_not_asked_for_again_at_once() -> None:
    following = Following(3 * WEIGHT)
    following.filled(10, [obj("a", 5), obj("b", 6)])
    following.watching(10, modified("b", 11))
    following.state.failed(Gone(410, "Expired", ""))
    assert following.read_anew() == ListPages()
    (page,) = pages(20, [obj(name, 12) for name in "cdef"])
    with pytest.raises(ApiError) as caught:
        following.state.take(page)
    following.state.failed(caught.value)
    assert following.names() == ["a", "b"]
    assert isinstance(following.state.next(), Pause)


def test_events_that_add_up_to_too_much_end_the_watch_with_a_pause() -> None:
    following = Following(3 * WEIGHT)
    following.filled(10, [obj("a", 5)])
    following.watching(10, added("b", 11), added("c", 12))
    overfull(following, added("d", 13))
    assert following.names() == ["a", "b", "c"]
    assert isinstance(following.state.next(), Pause)


def test_what_goes_or_shrinks_makes_room_again() -> None:
    following = Following(3 * WEIGHT)
    following.filled(10, [obj("a", 5)])
    following.watching(10, added("b", 11), added("c", 12), deleted("b", 13), added("d", 14), modified("d", 15))
    assert following.names() == ["a", "c", "d"]
    overfull(following, modified("d", 16, data={"k": "x" * WEIGHT}))


def test_what_is_nested_too_deep_to_be_compared_is_not_stored() -> None:
    following = Following(1 << 20)
    following.filled(10, [obj("a", 5)])
    following.watching(10)
    overfull(following, modified("a", 11, **DEEP))
    assert following.names() == ["a"]


@pytest.mark.parametrize("event", [added("b", 11), modified("b", 11), deleted("b", 11)])
def test_an_object_that_was_not_asked_for_is_no_answer(event: WatchEvent) -> None:
    following = Following(selection=Selection(CONFIGMAPS, "ns", by_name("a")))
    following.filled(10, [obj("a", 5)])
    assert following.resumed() == Watch("10")
    following.state.take(modified("a", 11))
    with pytest.raises(Unreachable, match="outside the selection") as caught:
        following.state.take(event)
    assert caught.value.reason == "BadAnswer"
    assert following.names() == ["a"]


def test_a_list_with_an_object_that_was_not_asked_for_changes_nothing() -> None:
    following = Following(selection=Selection(CONFIGMAPS, "ns", by_name("a")))
    with pytest.raises(Unreachable, match="outside the selection"):
        following.filled(10, [obj("b", 6)])
    assert following.names() == []


@pytest.mark.parametrize("parts", [([obj("a", 5), obj("a", 6)],), ([obj("a", 5)], [obj("a", 6)])], ids=["page", "list"])
@pytest.mark.parametrize("selection", [one(CONFIGMAPS, "ns", "a"), one(NODES, "", "a")], ids=str)
def test_a_crowd_of_the_one_name_that_was_asked_for_is_not_read_to_its_end(
    selection: Selection, parts: tuple[list[dict[str, Any]], ...]
) -> None:
    following = Following(selection=selection)
    with pytest.raises(Unreachable, match="several objects") as caught:
        following.filled(10, *parts)
    assert caught.value.reason == "BadAnswer"
    assert following.names() == []


def test_objects_of_one_name_in_all_namespaces_are_several() -> None:
    following = Following(selection=Selection(CONFIGMAPS, "", by_name("a")))
    following.filled(
        10, [obj("a", 5)], [{**obj("a", 6), "metadata": {**obj("a", 6)["metadata"], "namespace": "other"}}]
    )
    assert following.names() == ["a", "a"]


def test_deletions_without_end_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listwatch, "MOST_TOMBSTONES", 3)
    following = Following()
    following.filled(10, [obj("a", 5)])
    following.watching(10, *(deleted(f"x{n}", n) for n in range(11, 14)), bookmark(14))
    following.state.take(deleted("y", 15))
    for number in (16, 17):
        following.state.take(deleted(f"z{number}", number))
    overfull(following, deleted("last", 18))


def test_the_first_thing_asked_is_a_stream_of_all_there_is() -> None:
    assert Following().state.next() == WatchList()


def test_a_stream_fills_the_store_only_at_its_closing_bookmark() -> None:
    following = Following()
    following.state.next()
    for event in (added("a", 5), bookmark(8), added("b", 7), deleted("a", 9)):
        following.state.take(event)
    assert (following.names(), following.store.is_filled()) == ([], False)
    following.state.take(bookmark(10, ends_initial=True))
    assert (following.names(), following.store.is_filled()) == (["b"], True)
    following.state.take(added("c", 11))
    following.state.ended(300)
    assert following.resumed() == Watch("11")


def test_a_refused_stream_is_replaced_by_a_list_at_once_and_for_good() -> None:
    following = Following()
    following.filled(10, [obj("a", 5)])
    following.watching(10)
    following.state.failed(SILENT)
    assert following.read_anew() == ListPages()


def test_a_stream_that_ends_before_its_closing_bookmark_is_replaced_by_a_list_and_leaves_nothing() -> None:
    following = Following()
    following.state.next()
    following.state.take(added("a", 5))
    following.state.ended(300)
    assert following.state.next() == ListPages()
    assert not following.store.is_filled()


def test_a_stream_that_was_cut_is_followed_by_a_pause_and_a_list_then_streams_are_wanted_again() -> None:
    following = Following()
    following.state.next()
    following.state.failed(REFUSED)
    assert following.state.next() == Pause(0.8)
    following.filled(10, [obj("a", 5)])
    following.watching(10, modified("a", 11))
    following.state.failed(SILENT)
    assert following.read_anew() == WatchList()


def test_all_pages_of_a_list_become_visible_together(following: Following) -> None:
    following.watching(10)
    following.state.failed(SILENT)
    following.read_anew()
    first, second = pages(20, [obj("a", 5)], [obj("c", 12)])
    following.state.take(first)
    following.state.take(second)
    assert following.names() == ["a", "b"]
    following.state.ended(0.1)
    assert following.names() == ["a", "c"]


def test_a_list_keeps_the_objects_that_have_not_changed(following: Following) -> None:
    before = following.store.lister.get("ns", "a")
    following.watching(10)
    following.state.failed(SILENT)
    following.filled(20, [obj("a", 5), obj("b", 12)])
    assert following.store.lister.get("ns", "a") is before


def test_events_are_stored_and_the_watch_resumes_at_the_last(following: Following) -> None:
    following.watching(10, modified("a", 11, x=1), added("c", 12), deleted("b", 13))
    following.state.ended(300)
    assert following.resumed() == Watch("13")
    assert following.names() == ["a", "c"]
    assert following.store.lister.get("ns", "a") == obj("a", 11, x=1)


def test_a_bookmark_moves_the_version_to_resume_from(following: Following) -> None:
    following.watching(10, bookmark(50))
    following.state.failed(REFUSED)
    assert following.state.next() == Pause(0.8)
    assert following.resumed() == Watch("50")


def test_repeated_and_overtaken_events_change_nothing(following: Following) -> None:
    following.watching(10, modified("a", 11, x=1), modified("a", 12, x=2), deleted("b", 13))
    feed = following.feed()
    for repeated in (modified("a", 11, x=1), modified("a", 12, x=2), modified("b", 9), deleted("b", 13), added("b", 7)):
        following.state.take(repeated)
    assert (list(feed), following.names()) == ([], ["a"])


def test_an_object_created_anew_after_its_deletion_is_stored_whatever_was_repeated(following: Following) -> None:
    following.watching(10, deleted("a", 11), added("a", 12, uid="new"), deleted("a", 11))
    assert following.store.lister.get("ns", "a") == obj("a", 12, uid="new")


@pytest.mark.parametrize(
    "error",
    [REFUSED, TooManyRequests(429, "TooManyRequests", ""), ApiError(503, "ServiceUnavailable", "")],
    ids=["refused", "429", "503"],
)
def test_a_server_that_is_not_there_is_watched_again_after_a_pause_without_a_list(
    following: Following, error: ApiError
) -> None:
    following.watching(10)
    following.state.failed(error)
    assert following.state.next() == Pause(0.8)
    assert following.resumed() == Watch("10")
    following.state.failed(error)
    assert following.state.next() == Pause(1.6)


@pytest.mark.parametrize(
    "error",
    [
        SILENT,
        Gone(410, "Expired", ""),
        TOO_LARGE_VERSION,
        Unreachable(0, "TooLarge", ""),
        ApiError(0, "BadAnswer", "unknown watch event type"),
    ],
    ids=["silence", "410", "too large version", "too large event", "nonsense"],
)
def test_a_watch_that_may_have_missed_something_is_followed_by_a_pause_and_a_list(
    following: Following, error: ApiError
) -> None:
    following.watching(10, bookmark(11))
    following.state.failed(error)
    assert (following.state.next(), following.state.next()) == (Pause(0.8), ListPages())


def told(code: int, reason: str) -> WatchEvent:
    """The server's word within a watch that it cannot go on."""
    return WatchEvent("ERROR", {"kind": "Status", "code": code, "reason": reason, "message": "no"})


@pytest.mark.parametrize(
    "event",
    [
        told(500, "InternalError"),
        told(500, "StorageReadError"),
        told(503, "ServiceUnavailable"),
        told(504, "Timeout"),
        told(401, "Unauthorized"),
        told(403, "Forbidden"),
        told(404, "NotFound"),
        told(410, "Expired"),
        told(0, "Unknown"),
        WatchEvent("ERROR", {}),
    ],
    ids=lambda event: str(event.object.get("reason")),
)
def test_an_error_that_comes_as_an_event_is_followed_by_a_pause_and_a_list(
    following: Following, event: WatchEvent
) -> None:
    following.watching(10, bookmark(11))
    with pytest.raises(ApiError) as caught:
        following.state.take(event)
    following.state.failed(caught.value, 100.0)
    assert (following.state.next(), following.state.next()) == (Pause(0.8), ListPages())


def test_a_later_that_comes_as_an_event_is_followed_by_the_same_watch(following: Following) -> None:
    following.watching(10, bookmark(11))
    with pytest.raises(TooManyRequests) as caught:
        following.state.take(told(429, "TooManyRequests"))
    following.state.failed(caught.value, 100.0)
    assert (following.state.next(), following.resumed()) == (Pause(0.8), Watch("11"))


def test_the_same_errors_as_the_answer_s_status_are_followed_by_the_same_watch(following: Following) -> None:
    following.watching(10, bookmark(11))
    following.state.failed(ApiError(500, "InternalError", "no"))
    assert (following.state.next(), following.resumed()) == (Pause(0.8), Watch("11"))


def test_an_error_within_the_stream_of_a_list_does_not_say_that_streams_are_not_served() -> None:
    following = Following()
    assert following.state.next() == WatchList()
    with pytest.raises(ApiError) as caught:
        following.state.take(told(403, "Forbidden"))
    following.state.failed(caught.value)
    assert (following.state.next(), following.state.next()) == (Pause(0.8), ListPages())
    for page in pages(10, []):
        following.state.take(page)
    following.state.ended(0.1)
    following.watching(10, bookmark(11))
    following.state.failed(Gone(410, "Expired", ""))
    assert following.read_anew() == WatchList()


def test_all_of_a_cluster_pause_before_they_read_a_restored_server_anew() -> None:
    history = History()
    others = [Following(history=history) for _ in range(3)]
    for each in others:
        each.filled(10, [])
    history.turn(0)
    for each in others:
        assert (each.state.next(), each.state.next()) == (Pause(0.8), ListPages())


def test_silence_that_comes_again_and_again_is_followed_by_no_longer_pause(following: Following) -> None:
    for _ in range(4):
        following.watching(10)
        following.state.failed(SILENT, 90.0)
        assert following.state.next() == Pause(0.8)
        following.filled(10, [])


def test_lists_that_lead_nowhere_are_spaced(following: Following) -> None:
    pauses = []
    for _ in range(8):
        following.watching(10)
        following.state.failed(Gone(410, "Expired", ""))
        rest = following.state.next()
        assert isinstance(rest, Pause)
        pauses.append(rest.seconds)
        following.filled(10, [])
    assert pauses == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_an_expired_watch_says_so_within_its_stream_or_by_its_status(following: Following) -> None:
    following.watching(10, bookmark(11))
    with pytest.raises(Gone):
        following.state.take(expired())


@pytest.mark.parametrize(
    "event",
    [WatchEvent("MOVED", obj("a", 11)), WatchEvent("ADDED", {"metadata": {"name": "x"}}), modified("a", 11, uid="u")],
    ids=["unknown type", "no version", "version that is no number"],
)
def test_an_event_that_makes_no_sense_is_an_error(following: Following, event: WatchEvent) -> None:
    if event.type == "MODIFIED":
        event.object["metadata"]["resourceVersion"] = "eleven"
    following.watching(10)
    with pytest.raises(ApiError):
        following.state.take(event)


def test_progress_makes_pauses_short_again_and_a_mere_connection_does_not(following: Following) -> None:
    def pause() -> float:
        following.state.failed(REFUSED)
        rest = following.state.next()
        assert isinstance(rest, Pause)
        return rest.seconds

    following.watching(10)
    assert pause() == 0.8
    following.watching(10)
    assert pause() == 1.6
    following.watching(10, bookmark(11))
    assert pause() == 0.8


def test_a_watch_that_the_server_ends_in_time_is_resumed_at_once_and_an_empty_brief_one_after_a_pause(
    following: Following,
) -> None:
    following.watching(10)
    following.state.ended(BRIEF_SECONDS)
    following.watching(10, bookmark(11))
    following.state.ended(0.0)
    following.watching(11)
    following.state.ended(0.0)
    assert following.state.next() == Pause(0.8)


def test_a_watch_that_is_cut_when_it_had_lived_is_resumed_at_once_however_often(following: Following) -> None:
    following.watching(10)
    following.state.failed(REFUSED)  # the pauses grow, until a watch lives
    assert following.state.next() == Pause(0.8)
    for _ in range(5):
        following.watching(10)
        assert not following.state.failed(CUT, LIVED_SECONDS)
        assert following.state.next() == ProbeVersion()
    following.watching(10)
    following.state.failed(CUT, 0.1)
    assert following.state.next() == Pause(0.8)


@pytest.mark.parametrize(("error", "lasted"), [(CUT, LIVED_SECONDS - 0.1), (REFUSED, 60.0)])
def test_a_watch_that_did_not_live_is_resumed_after_pauses_that_grow(
    following: Following, error: ApiError, lasted: float
) -> None:
    for pause in (0.8, 1.6):
        following.watching(10)
        assert following.state.failed(error, lasted)
        assert following.state.next() == Pause(pause)


def test_what_is_cut_before_all_was_read_is_no_watch_that_lived() -> None:
    following = Following()
    assert following.state.next() == WatchList()
    assert following.state.failed(CUT, 60.0)
    assert following.state.next() == Pause(0.8)


def test_a_list_that_loses_its_continue_token_starts_anew_and_changes_nothing(following: Following) -> None:
    following.watching(10)
    following.state.failed(SILENT)
    following.state.next()
    following.state.next()
    following.state.take(pages(20, [obj("z", 15)], [])[0])
    following.state.failed(Gone(410, "Expired", "continue token too old"))
    assert following.names() == ["a", "b"]
    assert isinstance(following.state.next(), Pause)
    following.filled(21, [obj("c", 12)])
    assert following.names() == ["c"]


def test_a_list_older_than_what_was_seen_is_reported_and_replaces_everything(following: Following) -> None:
    following.watching(10, modified("a", 30))
    following.state.failed(SILENT)
    following.filled(20, [obj("a", 4, restored=True)])
    assert following.reports == [(30, 20)]
    assert following.store.lister.list() == [obj("a", 4, restored=True)]
    following.watching(20, modified("a", 21))
    assert following.store.lister.get("ns", "a") == obj("a", 21)


def test_a_restored_server_that_gives_a_version_out_twice_is_believed(following: Following) -> None:
    following.watching(10, bookmark(11))
    following.state.failed(SILENT)
    following.filled(9, [obj("a", 5, restored=True)])
    assert following.store.lister.list() == [obj("a", 5, restored=True)]


def test_before_a_watch_is_resumed_the_server_is_asked_how_far_it_has_come(following: Following) -> None:
    following.watching(10, bookmark(50))
    reached = [following.state.reached]
    following.state.ended(300)
    assert following.state.next() == ProbeVersion()
    reached.append(following.state.reached)
    following.state.answered("50")
    assert following.state.next() == Watch("50")
    reached.append(following.state.reached)
    assert reached == [50, None, 50]


def test_a_server_that_has_not_come_as_far_as_we_have_is_read_anew_and_reported(following: Following) -> None:
    following.watching(10, bookmark(50))
    following.state.failed(REFUSED)
    following.state.next()
    assert following.resumed(present=49) == ListPages()
    following.state.take(pages(60, [obj("a", 4, restored=True)])[0])  # it has come past us in the meantime
    assert (following.reports, following.names()) == ([], ["a", "b"])
    following.state.ended(0.1)
    assert (following.reports, following.names()) == ([(50, 49)], ["a"])
    assert following.state.next() == Watch("60")


def test_what_one_finds_out_of_a_restored_server_all_of_its_cluster_take_to_heart_once() -> None:
    turns: list[str] = []
    history = History(lambda: turns.append("turn"))
    busy, quiet = Following(history=history), Following(history=history)
    for each in (busy, quiet):
        each.filled(10, [obj("a", 5)])
    busy.watching(10, bookmark(90))
    busy.state.failed(REFUSED)
    busy.state.next()
    assert busy.resumed(present=40) == ListPages()
    assert turns == ["turn"]
    assert quiet.state.reached is None
    quiet.state.ended(300)
    for each in (quiet, busy):
        each.filled(41, [obj("b", 6)])
        assert each.names() == ["b"]
        assert each.state.next() == Watch("41")
    assert (quiet.reports, busy.reports, turns) == ([], [(90, 40)], ["turn"])


def test_a_list_that_shows_another_history_is_not_read_twice() -> None:
    one, other = (Following(history=history) for history in [History()] * 2)
    for each in (one, other):
        each.filled(10, [obj("a", 5)])
        each.watching(10, bookmark(30))
        each.state.failed(SILENT)
    for each in (one, other):
        each.filled(20, [])
        each.watching(20)
    assert (one.reports, other.reports) == ([(30, 20)], [(30, 20)])
    assert one.history.number == 1


def test_a_server_that_says_of_itself_now_this_now_that_gets_no_list_without_a_pause(following: Following) -> None:
    pauses = []
    for _ in range(3):
        following.watching(10)
        following.state.ended(BRIEF_SECONDS)
        rest = following.resumed(present=9)
        assert isinstance(rest, Pause)
        pauses.append(rest.seconds)
        following.filled(10, [])
    assert pauses == [0.8, 1.6, 3.2]


@pytest.mark.parametrize("error", [REFUSED, ApiError(403, "Forbidden", ""), Gone(410, "Expired", "")])
def test_a_server_that_does_not_say_how_far_it_has_come_is_asked_again_after_a_pause(
    following: Following, error: ApiError
) -> None:
    following.watching(10, bookmark(11))
    following.state.ended(300)
    for pause in (0.8, 1.6):
        assert following.state.next() == ProbeVersion()
        assert following.state.failed(error)
        assert following.state.next() == Pause(pause)
    assert following.resumed() == Watch("11")


def test_a_version_that_makes_no_sense_is_an_error(following: Following) -> None:
    following.watching(10, bookmark(11))
    following.state.ended(300)
    assert following.state.next() == ProbeVersion()
    with pytest.raises(ApiError) as raised:
        following.state.answered("eleven")
    following.state.failed(raised.value)
    assert following.state.next() == Pause(0.8)


def test_a_bookmark_below_what_was_seen_means_another_history(following: Following) -> None:
    following.watching(10)
    with pytest.raises(Gone):
        following.state.take(bookmark(9))


def test_the_server_may_ask_for_a_longer_pause_within_reason(following: Following) -> None:
    following.watching(10)
    following.state.failed(TooManyRequests(429, "TooManyRequests", "", retry_after_seconds=7))
    assert following.state.next() == Pause(7)
    following.watching(10)
    following.state.failed(TooManyRequests(429, "TooManyRequests", "", retry_after_seconds=86400))
    assert following.state.next() == Pause(60)


def test_a_list_without_a_version_is_no_list() -> None:
    following = Following()
    following.state.next()
    following.state.failed(NOT_SERVED)
    following.state.next()
    with pytest.raises(ApiError):
        following.state.ended(0.1)
    assert not following.store.is_filled()


# ---- the reflector at work


class Reflecting:
    """A reflector that the test steps itself."""

    def __init__(self, source: ScriptedSource) -> None:
        self.source = source
        self.clock = FakeClock()
        self.store = Store()
        self.feed = self.store.subscribe()
        self.errors: list[ApiError] = []
        self.went_back: list[tuple[int, int]] = []
        self.stop = Stop(self.clock)
        self.reflector = Reflector(
            source,
            SELECTION,
            self.store.writer,
            wake=self.wake,
            transform=lambda o: o,
            page_size=2,
            clock=self.clock,
            random=lambda: 0.0,
            on_stored=lambda _: None,
            on_trouble=self.errors.append,
            history=History(),
            on_time_went_back=lambda _, seen, got: self.went_back.append((seen, got)),
        )

    @property
    def troubles(self) -> list[str]:
        return [error.reason for error in self.errors]

    def wake(self) -> None:
        pass


class Running(Reflecting):
    """A reflector at work in a thread."""

    def __init__(self, source: ScriptedSource) -> None:
        super().__init__(source)
        self.workers: Workers[Reflector] = Workers(
            "infra", self.clock, lambda each: each.step(self.stop), lambda _: self.stop.set()
        )
        self.workers.add(self.reflector)

    def wake(self) -> None:
        self.workers.add(self.reflector)

    def end(self) -> None:
        self.stop.set()
        self.workers.add(self.reflector)
        self.workers.end()
        self.source.close_connections()
        until_ended(self.workers)


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(**scripts: Any) -> Running:
        started.append(Running(ScriptedSource(**scripts)))
        return started[-1]

    yield start
    for each in started:
        each.end()


def test_a_reflector_lists_then_watches(running: Callable[..., Running]) -> None:
    at_work = running(lists=[pages(10, [obj("a", 5)], [obj("b", 6)])], watches=[[added("c", 11), Hang()]])
    assert at_work.source.until_asked(3) == ["stream", "list", "watch 10"]
    at_work.source.until_hanging()
    assert sorted(name_of(o) for o in at_work.store.lister.list()) == ["a", "b", "c"]


def test_a_reflector_follows_the_stream_that_it_read(running: Callable[..., Running]) -> None:
    at_work = running(streams=[[added("a", 5), bookmark(10, ends_initial=True), modified("a", 11), Hang()]])
    at_work.source.until_hanging()
    assert at_work.source.asked == ["stream"]
    assert at_work.store.lister.get("ns", "a") == obj("a", 11)


def test_an_expired_watch_costs_one_list_that_announces_what_was_missed(running: Callable[..., Running]) -> None:
    at_work = running(
        lists=[pages(10, [obj("a", 5), obj("b", 6)]), pages(20, [obj("b", 6), obj("c", 15)])],
        watches=[[bookmark(11), expired()], [Hang()]],
    )
    at_work.clock.until_parked(1)
    at_work.clock.step(0.8)
    assert at_work.source.until_asked(5) == ["stream", "list", "watch 10", "list", "watch 20"]
    at_work.source.until_hanging()
    changes = [item for item in at_work.feed if isinstance(item, Change)]
    assert changes[2:] == [Change(obj("a", 5), None, final_state_unknown=True), Change(None, obj("c", 15))]


def test_a_reflector_whose_server_was_set_back_while_it_was_away_reads_anew(running: Callable[..., Running]) -> None:
    at_work = running(
        lists=[pages(10, [obj("a", 5)]), pages(9, [obj("b", 6)])],
        watches=[[bookmark(30), REFUSED], [Hang()]],
        versions=[REFUSED, "8"],
    )
    for pause in (0.8, 1.6):
        at_work.clock.until_parked(1)
        at_work.clock.step(pause)
    asked = ["stream", "list", "watch 10", "version", "version", "list", "watch 9"]
    assert at_work.source.until_asked(7) == asked
    at_work.source.until_hanging()
    assert [name_of(o) for o in at_work.store.lister.list()] == ["b"]
    assert at_work.went_back == [(30, 8)]
    assert at_work.troubles == ["Refused"]


def test_a_reflector_rests_between_failures_and_warns_once_for_each_cause(running: Callable[..., Running]) -> None:
    at_work = running(lists=[[REFUSED], [REFUSED], pages(10, [])])
    at_work.clock.until_parked(1)
    assert at_work.source.asked == ["stream", "list"]
    at_work.clock.step(0.8)
    at_work.source.until_asked(3)
    at_work.clock.until_parked(1)
    assert at_work.troubles == ["Refused"]
    at_work.clock.step(1.6)
    assert at_work.source.until_asked(5) == ["stream", "list", "list", "list", "watch 10"]


def test_a_pause_is_cut_short_when_the_server_is_known_to_answer_again(running: Callable[..., Running]) -> None:
    at_work = running(lists=[pages(10, [])], watches=[[bookmark(11), REFUSED], [Hang()]], versions=[REFUSED, "11"])
    at_work.clock.until_parked(1)
    at_work.clock.step(0.8)
    at_work.source.until_asked(4)
    at_work.clock.until_parked(1)
    at_work.reflector.hasten()
    assert at_work.source.until_asked(6) == ["stream", "list", "watch 10", "version", "version", "watch 11"]


def test_a_pause_before_a_list_is_cut_to_that_of_a_first_failure() -> None:
    """Stepped by the test: two threads that wait on a fake clock cannot be told apart."""
    at_work = Reflecting(ScriptedSource(lists=[[REFUSED], [REFUSED], [REFUSED], pages(10, [])], watches=[[]]))
    for pause in (0.8, 1.6):
        assert at_work.reflector.step(at_work.stop) == pytest.approx(pause)
        at_work.clock.step(pause)
    assert at_work.reflector.step(at_work.stop) == pytest.approx(3.2)
    at_work.reflector.hasten()
    assert at_work.reflector.step(at_work.stop) == pytest.approx(0.8)
    at_work.clock.step(0.7)
    assert at_work.reflector.step(at_work.stop) == pytest.approx(0.1)
    assert len(at_work.source.asked) == 4
    at_work.clock.step(0.11)  # a little more: sums of tenths are not exact
    at_work.reflector.step(at_work.stop)
    assert at_work.source.asked[4:] == ["list", "watch 10"]


def test_reflector_replaces_store_on_unsafe_delete(running: Callable[..., Running]) -> None:
    """As client-go's TestReflectorReplacesStoreOnUnsafeDelete: the deletion of an object that the server cannot decode
    comes as an error within the watch, and only a list shows that the object is gone."""
    at_work = running(
        lists=[pages(10, [obj("foo", 5), obj("bar", 6)]), pages(12, [obj("bar", 6)])],
        watches=[[told(500, "InternalError")], [Hang()]],
    )
    at_work.source.until_asked(3)
    at_work.clock.until_parked(1)
    at_work.clock.step(0.8)
    assert at_work.source.until_asked(5) == ["stream", "list", "watch 10", "list", "watch 12"]
    at_work.source.until_hanging()
    changes = [item for item in at_work.feed if isinstance(item, Change)]
    assert changes[2:] == [Change(obj("foo", 5), None, final_state_unknown=True)]


def test_a_page_is_gone_before_the_next_one_is_asked_for() -> None:
    class Fresh(ScriptedSource):
        def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
            for number in range(3):
                alive.append(sum(isinstance(each, Page) for each in gc.get_objects()))
                yield Page([obj(f"o{number}", 5)], "10", number < 2)

    alive: list[int] = []
    at_work = Running(Fresh())
    at_work.source.until_asked(2)
    at_work.source.until_hanging()
    at_work.end()
    assert alive == [alive[0]] * 3
    assert len(at_work.store.lister.list()) == 3


def test_an_error_that_is_kept_keeps_no_page() -> None:
    at_work = Running(ScriptedSource(lists=[[REFUSED]]))
    at_work.clock.until_parked(1)
    at_work.end()
    assert [error.__traceback__ for error in at_work.errors] == [None]


def test_a_reflector_that_rests_ends_when_it_is_told_to(running: Callable[..., Running]) -> None:
    at_work = running(lists=[[REFUSED]])
    at_work.clock.until_parked(1)
    at_work.end()
    assert at_work.source.asked == ["stream", "list"]
