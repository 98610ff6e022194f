from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from dpunetop.base.stop import Stop
from dpunetop.kube.errors import Forbidden, Gone, Unreachable
from dpunetop.kube.keys import CONFIGMAPS
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cache.history import History
from dpunetop.runtime.cache.informer import Absence, Informer
from dpunetop.runtime.cache.reflector import ListWatch
from dpunetop.runtime.cache.transform import strip_foreign_managed_fields
from dpunetop.runtime.cache.workers import Workers
from dpunetop.runtime.metrics import Metrics
from support.clock import FakeClock
from support.scriptedsource import (
    Gate,
    Hang,
    LossySource,
    Part,
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
from support.told import Told

SELECTION = Selection(CONFIGMAPS, "ns")
CUT = Unreachable(0, "Reset", "cut")


def by_color(o: Obj) -> Iterable[str]:
    return [o["color"]] if "color" in o else []


class AtWork:
    """An informer at work."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.clock = FakeClock()
        self.stop = Stop(self.clock)
        self.metrics = Metrics()
        self.went_back: list[tuple[int, int]] = []
        self.broken: list[Informer] = []
        listwatch: ListWatch = source
        self.informer = Informer(
            listwatch,
            SELECTION,
            wake=lambda: self.workers.add(self.informer),
            transform=strip_foreign_managed_fields(),
            indexers={"color": by_color},
            page_size=2,
            clock=self.clock,
            random=lambda: 0.0,
            metrics=self.metrics.informer("infra", CONFIGMAPS),
            history=History(),
            on_time_went_back=lambda _, seen, got: self.went_back.append((seen, got)),
        )
        self.workers: Workers[Informer] = Workers(
            "infra", self.clock, lambda each: each.step(self.stop), self.broken.append
        )

    def start(self) -> AtWork:
        self.workers.add(self.informer)
        return self

    def end(self) -> None:
        self.stop.set()
        self.workers.add(self.informer)
        self.workers.end()
        self.source.close_connections()
        until_ended(self.workers)


@pytest.fixture
def at_work() -> Iterator[Callable[[Any], AtWork]]:
    made: list[AtWork] = []

    def make(source: Any) -> AtWork:
        made.append(AtWork(source))
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_a_handler_sees_the_store_and_its_index_as_the_change_left_them(at_work: Callable[[Any], AtWork]) -> None:
    work = at_work(ScriptedSource(lists=[pages(10, [])], watches=[[added("a", 11, color="red"), Hang()]]))
    seen: list[list[str]] = []
    told = Told()

    def look(change: Change) -> None:
        seen.append([name_of(o) for o in work.informer.lister.by_index("color", "red")])
        told.change(change)

    work.informer.add_handler(look)
    work.start()
    told.until(lambda t: len(t.changes) == 1)
    assert seen == [["a"]]


def test_handlers_hear_all_there_is_then_that_it_is_complete(at_work: Callable[[Any], AtWork]) -> None:
    work = at_work(ScriptedSource(lists=[pages(10, [obj("a", 5), obj("b", 6)])]))
    told = Told()
    work.informer.add_handler(told.change, told.filled)
    assert not work.informer.has_synced()
    work.start()
    told.until(lambda t: t.synced == 1)
    assert told.names() == ["a", "b"]
    assert work.informer.has_synced()


def test_a_late_handler_is_told_what_is_there_before_it_is_added(at_work: Callable[[Any], AtWork]) -> None:
    work = at_work(ScriptedSource(lists=[pages(10, [obj("a", 5)])])).start()
    assert work.informer.wait_synced(work.stop, 60)
    told = Told()
    work.informer.add_handler(told.change, told.filled)
    assert (told.changes, told.synced) == ([Change(None, obj("a", 5))], 1)


def test_a_removed_handler_is_not_called_again(at_work: Callable[[Any], AtWork]) -> None:
    source = LossySource()
    work = at_work(source).start()
    first, second = Told(), Told()
    remove = work.informer.add_handler(first.change)
    work.informer.add_handler(second.change)
    source.until_open()
    source.put("a")
    first.until(lambda t: len(t.changes) == 1)
    remove()
    source.put("b")
    second.until(lambda t: len(t.changes) == 2)
    assert first.names() == ["a"]


def test_removing_waits_for_the_call_under_way(at_work: Callable[[Any], AtWork]) -> None:
    work = at_work(ScriptedSource(lists=[pages(10, [obj("a", 5)])]))
    entered, leave, removed = threading.Event(), threading.Event(), threading.Event()

    def slow(_: Change) -> None:
        entered.set()
        assert leave.wait(60)

    remove = work.informer.add_handler(slow)
    work.start()
    assert entered.wait(60)

    def take_away() -> None:
        remove()
        removed.set()

    remover = threading.Thread(target=take_away, name="remover")
    remover.start()
    assert not removed.wait(0.05)
    leave.set()
    assert removed.wait(60)
    remover.join(60)


def test_a_handler_may_remove_itself(at_work: Callable[[Any], AtWork]) -> None:
    work = at_work(ScriptedSource(lists=[pages(10, [obj("a", 5), obj("b", 6)])]))
    told = Told()
    removal: list[Callable[[], None]] = []

    def once(change: Change) -> None:
        told.change(change)
        removal[0]()

    removal.append(work.informer.add_handler(once))
    work.start()
    assert work.informer.wait_synced(work.stop, 60)
    assert told.names() == ["a"]


def test_two_threads_never_call_a_handler_at_once_and_lose_nothing(at_work: Callable[[Any], AtWork]) -> None:
    source = LossySource(window=1000)
    for number in range(50):
        source.put(f"early-{number}")
    work = at_work(source).start()
    assert work.informer.wait_synced(work.stop, 60)
    source.until_open()
    told, inside = Told(), threading.Lock()

    def exclusive(change: Change) -> None:
        assert inside.acquire(blocking=False)
        told.change(change)
        inside.release()

    writer = threading.Thread(target=lambda: [source.put(f"late-{n}") for n in range(50)], name="writer")
    writer.start()
    work.informer.add_handler(exclusive)
    writer.join(60)
    told.until(lambda t: len(t.changes) == 100)
    assert sorted(told.names()) == sorted([f"early-{n}" for n in range(50)] + [f"late-{n}" for n in range(50)])


def test_what_a_cut_watch_missed_is_announced_after_the_list_and_nothing_else(at_work: Callable[[Any], AtWork]) -> None:
    source = LossySource()
    source.put("kept")
    source.put("gone")
    work = at_work(source).start()
    told = Told()
    work.informer.add_handler(told.change)
    source.until_open()
    source.delete_silently("gone")
    source.put_silently("new")
    source.forget_history()
    source.cut(Gone(410, "Expired", "too old"))
    work.clock.until_parked(1)  # a list that led nowhere is followed by a pause
    work.clock.step(0.8)
    told.until(lambda t: len(t.changes) == 4)
    assert [(c.final_state_unknown, name_of(c.new or c.old or {})) for c in told.changes[2:]] == [
        (True, "gone"),
        (False, "new"),
    ]


def test_a_beat_is_stored_and_not_announced(at_work: Callable[[Any], AtWork]) -> None:
    beats: list[Part] = [modified("a", 11), modified("a", 12), modified("a", 13, color="red"), Hang()]
    work = at_work(ScriptedSource(lists=[pages(10, [obj("a", 5)])], watches=[beats]))
    told = Told()
    work.informer.add_handler(told.change)
    work.start()
    told.until(lambda t: len(t.changes) == 2)
    assert told.changes[1] == Change(obj("a", 12), obj("a", 13, color="red"))


def test_what_keeps_it_from_reading_is_told_once_and_forgotten_when_it_reads(at_work: Callable[[Any], AtWork]) -> None:
    forbidden = Forbidden(403, "Forbidden", "cannot list")
    work = at_work(ScriptedSource(lists=[[forbidden], [forbidden], pages(10, [])], streams=[[forbidden]]))
    told = Told()
    work.informer.add_handler(told.change, told.filled, told.trouble)
    work.start()
    work.clock.until_parked(1)
    troubles = [work.informer.trouble]
    work.clock.step(0.8)
    work.source.until_asked(3)
    work.clock.until_parked(1)
    assert told.troubles == 1
    work.clock.step(1.6)
    told.until(lambda t: t.synced == 1)
    assert [*troubles, work.informer.trouble] == [forbidden, None]
    assert told.troubles == 2  # that it is over is told, too


def test_trouble_ends_only_when_the_list_is_complete(at_work: Callable[[Any], AtWork]) -> None:
    gone, gate = expired(), Gate()
    first, second = pages(20, [obj("a", 5)], [obj("b", 6)])
    work = at_work(ScriptedSource(lists=[pages(10, []), [first, gate, second]], watches=[[gone], [Hang()]]))
    told = Told()
    work.informer.add_handler(told.change, told.filled, told.trouble)
    work.start()
    told.until(lambda t: t.troubles == 1)
    work.clock.until_parked(1)
    work.clock.step(0.8)
    work.source.until_asked(4)
    assert work.informer.trouble is not None
    assert told.troubles == 1
    gate.open()
    told.until(lambda t: t.troubles == 2)
    assert work.informer.trouble is None


def test_a_stream_that_ends_before_all_was_read_ends_no_trouble(at_work: Callable[[Any], AtWork]) -> None:
    cut, gate = Unreachable(0, "Reset", "cut"), Gate()
    (page,) = pages(10, [obj("a", 5)])
    work = at_work(ScriptedSource(streams=[[cut], [added("a", 5)]], lists=[[cut], [gate, page]], watches=[[Hang()]]))
    told = Told()
    work.informer.add_handler(told.change, told.filled, told.trouble)
    work.start()
    for pause in (0.8, 1.6):
        work.clock.until_parked(1)
        work.clock.step(pause)
    work.source.until_asked(3)
    assert work.informer.trouble is cut
    gate.open()
    told.until(lambda t: t.synced == 1)
    assert work.informer.trouble is None


def test_waiting_for_the_first_list_ends_with_the_stop_and_with_the_time(at_work: Callable[[Any], AtWork]) -> None:
    work = at_work(ScriptedSource())
    assert not work.informer.wait_synced(work.stop, 0)
    waiting = Stop(work.clock)
    waiter = threading.Thread(target=work.informer.wait_synced, args=(waiting, 60), name="waiter")
    waiter.start()
    work.clock.until_parked(1)
    waiting.set()
    waiter.join(60)
    assert not waiter.is_alive()


def test_a_closed_informer_calls_nobody(at_work: Callable[[Any], AtWork]) -> None:
    work = at_work(ScriptedSource(lists=[pages(10, [obj("a", 5)])])).start()
    assert work.informer.wait_synced(work.stop, 60)
    work.informer.close()
    told = Told()
    work.informer.add_handler(told.change, told.filled)
    assert (told.changes, told.synced) == ([], 0)


def test_a_restored_server_is_reported(at_work: Callable[[Any], AtWork]) -> None:
    silence = Unreachable(0, "IdleTimeout", "")
    work = at_work(ScriptedSource(lists=[pages(10, []), pages(4, [])], watches=[[bookmark(12), silence]])).start()
    work.clock.until_parked(1)
    work.clock.step(0.8)
    work.source.until_asked(5)
    assert work.went_back == [(12, 4)]


def test_the_version_reached_is_a_metric(at_work: Callable[[Any], AtWork]) -> None:
    work = at_work(ScriptedSource(lists=[pages(10, [])], watches=[[bookmark(12), Hang()]])).start()
    work.source.until_hanging()
    sample = work.metrics.registry.get_sample_value(
        "informer_store_resource_version",
        {"name": "infra", "group": "", "version": "v1", "resource": "configmaps"},
    )
    assert sample == 12


def test_absence_means_nothing_before_the_first_list_and_while_all_is_read_anew(
    at_work: Callable[[Any], AtWork],
) -> None:
    gate = Gate()
    work = at_work(ScriptedSource(lists=[pages(10, []), [gate]], watches=[[expired()]]))
    assert work.informer.look("ns", "a", 5) is Absence.UNCERTAIN
    work.start()
    work.source.until_asked(3)
    assert work.informer.look("ns", "a", 5) is Absence.UNCERTAIN
    gate.open()


def test_an_object_that_a_cache_does_not_show_is_gone_if_the_cache_is_past_it_and_else_yet_to_come(
    at_work: Callable[[Any], AtWork],
) -> None:
    script: list[Part] = [added("a", 11), deleted("a", 12), added("b", 13), bookmark(14), Hang()]
    work = at_work(ScriptedSource(lists=[pages(10, [])], watches=[script])).start()
    work.source.until_hanging()
    assert work.informer.look("ns", "a", 11) is Absence.GONE
    assert work.informer.look("ns", "c", 14) is Absence.GONE
    assert work.informer.look("ns", "c", 15) is Absence.BEHIND
    assert work.informer.look("ns", "b", 13) == obj("b", 13)
