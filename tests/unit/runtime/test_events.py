from __future__ import annotations

import dataclasses
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Forbidden, NotFound, Unreachable
from dpunetop.kube.keys import EVENTS, INFRA, NODES, PODS, Resource
from dpunetop.kube.plan import Emit
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.events import EVENTS_LEFT_OUT, EventBook, EventRecorder, Post
from dpunetop.runtime.reading import NotEngaged
from support.clock import FakeClock


def emit(reason: str = "Held", note: str = "host is not drained", uid: str = "u-1", cluster: str = INFRA) -> Emit:
    return Emit(cluster, NODES, {"metadata": {"name": "dpu-1", "uid": uid}}, "Warning", reason, note)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def book(clock: FakeClock) -> EventBook:
    return EventBook(clock, "dpunetop", "pod-1")


def counts(posts: list[Post]) -> list[tuple[str, int]]:
    return [(post.event["reason"], post.count) for post in posts]


def test_what_goes_well_never_takes_the_place_of_what_does_not(book: EventBook) -> None:
    for number in range(100):
        book.saw(dataclasses.replace(emit(note=f"step {number}"), type="Normal"))
    assert len(book.take_due()) == 26
    book.saw(emit())
    assert counts(book.take_due()) == [("Held", 1)]


def test_an_event_is_due_at_once(book: EventBook) -> None:
    book.saw(emit())
    assert counts(book.take_due()) == [("Held", 1)]
    assert book.take_due() == []


def test_an_event_says_what_happened_to_what_and_who_says_so(book: EventBook) -> None:
    book.saw(emit())
    event = book.take_due()[0].event
    assert event["metadata"].pop("name").startswith("dpu-1.")
    assert event == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Warning",
        "reason": "Held",
        "action": "Reconcile",
        "note": "host is not drained",
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": "dpu-1", "uid": "u-1"},
        "reportingController": "dpunetop",
        "reportingInstance": "pod-1",
    }


def test_an_event_about_a_namespaced_object_lies_in_its_namespace(book: EventBook) -> None:
    pod = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}}
    book.saw(Emit(INFRA, PODS, pod, "Normal", "Started", ""))
    event = book.take_due()[0].event
    assert (event["metadata"]["namespace"], event["regarding"]["namespace"]) == ("n", "n")


@pytest.mark.parametrize("cut", ["n", "-", "."])
def test_an_event_about_a_node_with_the_longest_name_has_a_valid_one(book: EventBook, cut: str) -> None:
    node = {"metadata": {"name": "n" * 199 + cut + "n" * 53, "uid": "u-1"}}
    book.saw(dataclasses.replace(emit(), regarding=node))
    name = book.take_due()[0].event["metadata"]["name"]
    assert len(name) <= 253
    assert all(part[0].isalnum() and part[-1].isalnum() for part in name.split("."))


def test_a_note_is_cut_to_what_the_api_takes(book: EventBook) -> None:
    book.saw(emit(note="x" * 5000))
    assert len(book.take_due()[0].event["note"]) == 1024


def test_alike_events_become_one_with_a_count(book: EventBook, clock: FakeClock) -> None:
    book.saw(emit())
    book.take_due()
    for _ in range(99):
        book.saw(emit())
    assert book.take_due() == []
    clock.step(60)
    assert counts(book.take_due()) == [("Held", 100)]


def test_what_is_counted_before_the_event_exists_follows_later(book: EventBook, clock: FakeClock) -> None:
    book.saw(emit())
    book.saw(emit())
    assert counts(book.take_due()) == [("Held", 1)]
    clock.step(60)
    assert counts(book.take_due()) == [("Held", 2)]
    clock.step(60)
    assert book.take_due() == []


def test_an_unlike_event_is_another_one(book: EventBook) -> None:
    for step in (emit(), emit(reason="Opened"), emit(note="other"), emit(uid="u-2"), emit(cluster="tenant/n/t")):
        book.saw(step)
    assert len(book.take_due()) == 5


def test_a_series_ends_after_ten_quiet_minutes(book: EventBook, clock: FakeClock) -> None:
    book.saw(emit())
    first = book.take_due()[0]
    clock.step(600)
    book.saw(emit())
    second = book.take_due()[0]
    assert second.count == 1
    assert second.event["metadata"]["name"] != first.event["metadata"]["name"]


def test_one_object_cannot_flood_the_cluster(book: EventBook, clock: FakeClock) -> None:
    for number in range(100):
        book.saw(emit(note=str(number)))
    book.saw(emit(uid="u-2"))
    posted = book.take_due()
    assert len(posted) == 27
    left_out = [post for post in posted if post.event["reason"] == EVENTS_LEFT_OUT]
    assert [(post.event["type"], post.event["regarding"]["uid"]) for post in left_out] == [("Warning", "u-1")]
    clock.step(300)
    for number in range(100, 200):
        book.saw(emit(note=str(number)))
    assert counts(book.take_due()) == [("EventsLeftOut", 174), ("Held", 1)]


def test_a_cluster_that_refuses_events_gets_none_for_a_while(book: EventBook, clock: FakeClock) -> None:
    book.saw(emit())
    book.failed(book.take_due()[0])
    book.saw(emit())
    assert book.take_due() == []
    clock.step(30)
    book.saw(emit())
    assert counts(book.take_due()) == [("Held", 1)]


def test_a_namespace_that_refuses_events_silences_no_other(book: EventBook, clock: FakeClock) -> None:
    def about(namespace: str) -> Emit:
        return Emit(
            INFRA, PODS, {"metadata": {"name": "p", "namespace": namespace, "uid": namespace}}, "Normal", "A", ""
        )

    book.saw(about("ending"))
    book.refused(book.take_due()[0])
    for namespace in ("ending", "other"):
        book.saw(about(namespace))
    assert [post.event["metadata"]["namespace"] for post in book.take_due()] == ["other"]
    clock.step(30)
    book.saw(about("ending"))
    assert [post.event["metadata"]["namespace"] for post in book.take_due()] == ["ending"]


def test_only_so_many_series_are_remembered(book: EventBook) -> None:
    for number in range(5000):
        book.saw(emit(uid=str(number)))
        book.take_due()
    assert len(book) == 4096


def test_a_series_has_the_time_of_what_was_seen_first(book: EventBook, clock: FakeClock) -> None:
    seen = clock.now()
    book.saw(emit())
    clock.step(5)
    book.saw(emit())
    assert book.take_due()[0].event["eventTime"] == seen.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def test_the_post_of_a_series_names_the_event_that_was_made(book: EventBook, clock: FakeClock) -> None:
    book.saw(emit())
    made = book.take_due()[0].event
    book.saw(emit())
    clock.step(60)
    series = book.take_due()[0].event
    assert series["metadata"] == made["metadata"]
    assert (series["reason"], series["reportingController"]) == (made["reason"], made["reportingController"])


def test_thousands_of_events_that_are_written_are_remembered_in_little_memory(clock: FakeClock) -> None:
    book = EventBook(clock, "dpunetop", "pod-1")
    names = [f"bf2-worker-{number}" for number in range(1000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for name in names:
            note = f"Waiting: the blocker of {name} is to be Ready before its host is served; nothing is to be done"
            book.saw(Emit(INFRA, NODES, {"metadata": {"name": name, "uid": name}}, "Normal", "Waiting", note))
            book.take_due()
        bytes_an_event = (tracemalloc.get_traced_memory()[0] - before) / len(names)
    finally:
        tracemalloc.stop()
    assert bytes_an_event < 600


def test_what_was_not_seen_for_ten_minutes_is_forgotten_when_something_else_is_seen(
    book: EventBook, clock: FakeClock
) -> None:
    for number in range(10):
        book.saw(emit(uid=str(number)))
    book.take_due()
    clock.step(599)
    book.saw(emit(uid="5"))
    assert len(book) == 10
    clock.step(1)
    book.saw(emit(uid="other"))
    assert len(book) == 2


def test_what_is_due_of_a_series_is_written_however_long_that_takes(book: EventBook, clock: FakeClock) -> None:
    book.saw(emit(uid="a"))
    clock.step(700)
    book.saw(emit(uid="b"))
    assert [post.event["regarding"]["uid"] for post in book.take_due()] == ["a", "b"]


class Lost(dict[str, float]):
    """How many events of each cluster are lost, as a metric has it."""

    def set(self, value: float, *labels: str) -> None:
        self[labels[0]] = value

    def clear(self, *labels: str) -> None:
        self.pop(labels[0], None)


TENANT = "tenant/n/t"


class Server:
    """Notes what it is sent, and fails with what it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.got_one = threading.Event()
        self.failure: ApiError | None = None
        self.lost = Lost()
        self.engaged = {INFRA}
        self.meanwhile: Callable[[], None] = lambda: None

    def create(self, resource: Resource, namespace: str, obj: dict[str, Any], timeout_seconds: float) -> None:
        self._take("create", resource, namespace, obj["metadata"]["name"], obj)

    def merge_patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: dict[str, dict[str, Any]],
        field_manager: str,
        timeout_seconds: float,
    ) -> None:
        self._take("patch", resource, namespace, name, patch)

    def _take(self, *request: Resource | str | dict[str, Any]) -> None:
        self.sent.append(request)
        self.meanwhile()
        self.got_one.set()
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def running(clock: FakeClock, server: Server) -> Iterator[EventRecorder]:
    def clients(cluster: str) -> Client:
        if cluster not in server.engaged:
            raise NotEngaged(cluster)
        return cast(Client, server)

    recorder = EventRecorder(clients, "dpunetop", clock, instance="pod-1", lost=server.lost)
    stop = Stop()
    thread = threading.Thread(target=recorder.run, args=(stop,), name="events")
    thread.start()
    clock.until_parked(1)
    yield recorder
    stop.set()
    thread.join(60)
    assert not thread.is_alive()


def test_an_emitted_event_is_created_and_its_series_patched(
    running: EventRecorder, server: Server, clock: FakeClock
) -> None:
    running.emit(emit())
    assert server.got_one.wait(60)
    clock.until_parked(1)
    server.got_one.clear()
    running.emit(emit())
    clock.until_parked(1)
    clock.step(60)
    assert server.got_one.wait(60)
    (create, *_, event), (patch, resource, namespace, name, body) = server.sent
    assert (create, patch) == ("create", "patch")
    assert (resource, namespace, name) == (EVENTS, "default", event["metadata"]["name"])
    assert body == {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}}


@pytest.mark.parametrize(
    "failure", [Forbidden(403, "Forbidden", "no"), NotFound(404, "NotFound", ""), Unreachable(0, "Timeout", "")]
)
def test_a_refused_event_is_dropped_and_the_next_one_written(
    running: EventRecorder, server: Server, clock: FakeClock, failure: Forbidden | NotFound | Unreachable
) -> None:
    server.failure = failure
    running.emit(emit())
    assert server.got_one.wait(60)
    clock.until_parked(1)
    server.failure = None
    server.got_one.clear()
    clock.step(30)
    running.emit(emit())
    assert server.got_one.wait(60)
    assert [request[0] for request in server.sent] == ["create", "create"]


def test_a_refusal_is_known_until_an_event_is_taken_and_what_is_lost_is_counted(
    running: EventRecorder, server: Server, clock: FakeClock
) -> None:
    server.failure = Forbidden(403, "Forbidden", "events is forbidden")
    running.emit(emit())
    assert server.got_one.wait(60)
    clock.until_parked(1)
    assert running.refusal(INFRA, "other", "default") == "events is forbidden"
    assert (running.refusal(INFRA, "other"), server.lost) == ("", {INFRA: 1})
    server.failure = None
    server.got_one.clear()
    clock.step(30)
    running.emit(emit())
    assert server.got_one.wait(60)
    clock.until_parked(1)
    assert (running.refusal(INFRA, "default"), server.lost) == ("", {INFRA: 1})


def test_an_event_for_a_cluster_that_is_gone_is_dropped(
    running: EventRecorder, server: Server, clock: FakeClock
) -> None:
    running.emit(emit(cluster=TENANT))
    running.emit(emit())
    assert server.got_one.wait(60)
    assert len(server.sent) == 1
    clock.until_parked(1)
    assert server.lost == {}


def test_what_is_known_of_a_cluster_ends_with_it_and_begins_anew_when_it_comes_back(
    running: EventRecorder, server: Server, clock: FakeClock
) -> None:
    def refused() -> None:
        server.got_one.clear()
        running.emit(emit(cluster=TENANT, uid=str(len(server.sent))))
        assert server.got_one.wait(60)
        clock.until_parked(1)

    server.failure = Forbidden(403, "Forbidden", "events is forbidden")
    server.engaged.add(TENANT)
    refused()
    running.emit(emit(cluster=TENANT, uid="muted"))
    assert (running.refusal(TENANT, "default"), server.lost) == ("events is forbidden", {TENANT: 1})
    server.engaged.remove(TENANT)
    running.forget(TENANT)
    assert (running.refusal(TENANT, "default"), server.lost) == ("", {})
    server.engaged.add(TENANT)
    refused()
    assert server.lost == {TENANT: 1}


def test_an_event_under_way_to_a_cluster_that_goes_meanwhile_leaves_no_number(
    running: EventRecorder, server: Server, clock: FakeClock
) -> None:
    def go() -> None:
        server.engaged.remove(TENANT)
        running.forget(TENANT)

    server.engaged.add(TENANT)
    server.failure, server.meanwhile = Unreachable(0, "Timeout", ""), go
    running.emit(emit(cluster=TENANT))
    assert server.got_one.wait(60)
    clock.until_parked(1)
    assert server.lost == {}
