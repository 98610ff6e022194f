from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from dpunetop.base import jsonio
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Conflict, Gone, Invalid, NotFound, TooManyRequests, Unauthorized, Unreachable
from dpunetop.kube.keys import CONFIGMAPS, NODES, PODS, SECRETS, Resource
from dpunetop.kube.requests import Request, Selection
from dpunetop.kube.watch import WatchEvent
from dpunetop.runtime.client.client import CALL_SECONDS, Client
from dpunetop.runtime.client.documents import Page
from dpunetop.runtime.client.transport import CallOptions, Pool, Response, Transport
from dpunetop.runtime.metrics import Metrics
from support.clock import FakeClock
from support.scriptedtransport import ScriptedTransport, response, status_object

NODE = {"metadata": {"name": "dpu-1", "resourceVersion": "7"}}
LATER = response(429, b"Too many requests", Retry_After="2")
UNREACHABLE = Unreachable(0, "Reset", "gone")


def over(transport: ScriptedTransport, clock: FakeClock, name: str = "t", **options: Any) -> Client:
    """A client of a transport that only looks like one."""
    return Client(cast(Transport, transport), clock=clock, metrics=Metrics().client("h"), name=name, **options)


def client(*answers: Any, **options: Any) -> tuple[Client, ScriptedTransport, FakeClock]:
    clock = FakeClock()
    transport = ScriptedTransport(*answers, **options)
    transport.stop = Stop(clock)
    return over(transport, clock, "infra", random=lambda: 0.5), transport, clock


def page(*names: str, version: str = "9", following: str = "") -> Any:
    items = [{"metadata": {"name": name, "resourceVersion": "1"}} for name in names]
    return response(200, {"metadata": {"resourceVersion": version, "continue": following}, "items": items})


def line(kind: str, obj: Any) -> bytes:
    return jsonio.dumps({"type": kind, "object": obj})


# -- lists and watches -------------------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page_and_its_items_know_their_type() -> None:
    made, transport, _ = client(page("a", "b", following="t=="), page("c"))
    pages = list(made.pages(Selection(CONFIGMAPS, "ns", "metadata.name=a"), 2))
    assert [(p.resource_version, p.remaining) for p in pages] == [("9", True), ("9", False)]
    assert [i["metadata"]["name"] for p in pages for i in p.items] == ["a", "b", "c"]
    assert {(i["apiVersion"], i["kind"]) for p in pages for i in p.items} == {("v1", "ConfigMap")}
    assert transport.targets == [
        "/api/v1/namespaces/ns/configmaps?limit=2&fieldSelector=metadata.name%3Da",
        "/api/v1/namespaces/ns/configmaps?limit=2&continue=t%3D%3D&fieldSelector=metadata.name%3Da",
    ]


def test_the_version_of_a_collection_costs_one_object() -> None:
    made, transport, _ = client(page("a", version="77", following="t"))
    assert made.present_version(Selection(CONFIGMAPS, "ns", "metadata.name=a")) == "77"
    assert transport.targets == ["/api/v1/namespaces/ns/configmaps?limit=1&fieldSelector=metadata.name%3Da"]


def test_a_list_without_items_is_empty() -> None:
    made, _, _ = client(response(200, {"metadata": {"resourceVersion": "9"}, "items": None}))
    assert [p.items for p in made.pages(Selection(NODES), 5)] == [[]]


def test_a_page_that_is_too_large_is_asked_for_again_smaller() -> None:
    too_large = Unreachable(0, "TooLarge", "")
    made, transport, _ = client(too_large, too_large, page("a", following="t"), page("b"))
    assert [len(p.items) for p in made.pages(Selection(NODES), 100)] == [1, 1]
    assert [t.split("limit=")[1] for t in transport.targets] == ["100", "25", "6", "6&continue=t"]


def frugal(*answers: Any) -> tuple[Client, ScriptedTransport]:
    """A client that decodes nothing that would take more than 10 kB."""
    transport = ScriptedTransport(*answers)
    return over(transport, FakeClock(), most_weight=10_000), transport


def test_a_page_that_would_take_too_much_memory_is_asked_for_again_smaller() -> None:
    made, transport = frugal(page(*map(str, range(100))), page("a", following="t"), page("b"))
    assert [len(p.items) for p in made.pages(Selection(NODES), 100)] == [1, 1]
    assert [t.split("limit=")[1] for t in transport.targets] == ["100", "25", "25&continue=t"]


def test_an_object_or_event_that_would_take_too_much_memory_is_an_error() -> None:
    stuffed = {**NODE, "x": [{}] * 200}
    made, _ = frugal(response(200, stuffed))
    with pytest.raises(Unreachable, match="TooLarge"):
        made.get(NODES, "", "dpu-1")
    made, _ = frugal([line("ADDED", NODE), line("ADDED", stuffed)])
    with pytest.raises(Unreachable, match="TooLarge"):
        list(made.watch(Selection(NODES), "7"))


def test_of_a_limited_server_one_page_at_a_time_is_decoded_whatever_list_it_belongs_to() -> None:
    made, transport = frugal(page("a", following="t"), page("b"), page("c"))
    first, second, read = made.pages(Selection(NODES), 100), made.pages(Selection(PODS), 100), threading.Event()

    def read_second() -> None:
        for _ in second:
            read.set()

    next(first)
    other = threading.Thread(target=read_second)
    other.start()
    assert not read.wait(0.2)
    assert len(list(first)) == 1  # whichever list comes next, the other one waits until its caller goes on
    assert read.wait(60)
    other.join()
    assert len(transport.targets) == 3


def test_a_list_that_is_given_up_or_refused_lets_the_next_one_be_read() -> None:
    made, _ = frugal(page("a", following="t"), response(200, {"items": []}), page("b"))
    with contextlib.closing(made.pages(Selection(NODES), 100)) as given_up:
        next(given_up)
    with pytest.raises(Unreachable, match="resourceVersion"):
        next(made.pages(Selection(NODES), 100))
    assert len(list(made.pages(Selection(NODES), 100))) == 1


def test_of_a_server_without_limits_lists_are_read_side_by_side() -> None:
    made, _, _ = client(page("a", following="t"), page("b"))
    pages = [made.pages(Selection(NODES), 100) for _ in range(2)]
    assert [next(each).items[0]["metadata"]["name"] for each in pages] == ["a", "b"]


def test_a_page_is_gone_before_the_next_one_is_asked_for() -> None:
    class Looking(ScriptedTransport):
        def call(self, request: Request, options: CallOptions) -> Response:
            alive.append(sum(isinstance(each, Page) for each in gc.get_objects()))
            return super().call(request, options)

    alive: list[int] = []
    made = over(cast(Any, Looking(page("a", following="t"), page("b", following="u"), page("c"))), FakeClock())
    for each in made.pages(Selection(NODES), 100):
        del each
    assert alive == [alive[0]] * 3


def test_one_object_that_is_too_large_is_an_error() -> None:
    made, _, _ = client(Unreachable(0, "TooLarge", ""))
    with pytest.raises(Unreachable, match="TooLarge"):
        list(made.pages(Selection(NODES), 1))


def test_a_list_that_goes_in_circles_ends() -> None:
    made, _, _ = client(page("a", following="t"), page("b", following="t"))
    with pytest.raises(Unreachable, match="BadAnswer"):
        list(made.pages(Selection(NODES), 1))


class Endless(ScriptedTransport):
    """One empty page after the other, each in its time."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def call(self, request: Any, options: CallOptions) -> Any:
        self._clock.step(20.0)
        self._answers.append(page(following=f"t{len(self.sent)}"))
        return super().call(request, options)


def test_a_list_that_never_ends_is_given_up() -> None:
    clock = FakeClock()
    transport = Endless(clock)
    made = over(transport, clock)
    with pytest.raises(Unreachable, match="a list that was not complete in 300 s"):
        list(made.pages(Selection(NODES), 1))
    assert len(transport.sent) == 15


def test_what_a_server_says_when_it_refuses_is_cut_as_its_transport_wants() -> None:
    words = status_object(500, "InternalError", message="m" * 500)
    made, transport, _ = client(*[response(500, words)] * 4, [line("ERROR", words)])
    transport.max_error_chars = 200
    for ask in (lambda: made.get(NODES, "", "n"), lambda: made.probe(5.0)):
        with pytest.raises(ApiError) as caught:
            ask()
        assert caught.value.message == "m" * 196 + " ..."
    [event] = made.watch(Selection(NODES), "7")
    assert event.object["message"] == "m" * 196 + " ..."


def test_a_continue_token_that_expired_is_gone() -> None:
    made, _, _ = client(page("a", following="t"), response(410, status_object(410, "Expired")))
    with pytest.raises(Gone):
        list(made.pages(Selection(NODES), 1))


def test_a_watch_asks_for_bookmarks_and_an_end_and_hands_out_events() -> None:
    made, transport, _ = client([line("ADDED", NODE), line("BOOKMARK", {"metadata": {"resourceVersion": "8"}})])
    assert list(made.watch(Selection(NODES), "7")) == [
        WatchEvent("ADDED", NODE),
        WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "8"}}),
    ]
    assert transport.targets == ["/api/v1/nodes?watch=1&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=450"]


def test_an_error_in_a_watch_is_an_event_for_whoever_interprets_events() -> None:
    status = status_object(410, "Expired")
    made, _, _ = client([line("ERROR", status)])
    assert list(made.watch(Selection(NODES), "7")) == [WatchEvent("ERROR", dict(status))]


def test_a_watch_list_that_the_server_refuses_is_its_error() -> None:
    made, transport, _ = client(response(422, status_object(422, "Invalid")))
    with pytest.raises(Invalid):
        next(made.watch_list(Selection(NODES)))
    assert "sendInitialEvents=true&resourceVersionMatch=NotOlderThan" in transport.targets[0]


def test_a_watch_is_opened_once_more_with_a_new_token() -> None:
    refused = Unauthorized(401, "Unauthorized", "")
    made, transport, _ = client(refused, [line("ADDED", NODE)], renewals=(True,))
    assert len(list(made.watch(Selection(NODES), "7"))) == 1
    made, transport, _ = client(refused, renewals=(False,))
    with pytest.raises(Unauthorized):
        list(made.watch(Selection(NODES), "7"))
    assert len(transport.sent) == 1


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"null",
        b'{"type":"ADDED"}',
        b'{"type":1,"object":{}}',
        b'{"type":"ADDED","object":{}}',
        b'{"type":"ADDED","object":{"metadata":[]}}',
        b'{"type":"ADDED","object":{"metadata":{}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":1}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","labels":[]}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","labels":{"x":1}}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","annotations":{"x":null}}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","uid":{}}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","ownerReferences":"x"}}}',
        b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":1}}}',
        b'{"type":"ADDED","object":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda bad: bad[:60].decode(),
)
def test_a_watch_line_without_the_shape_of_an_event_is_a_bad_answer(bad: bytes) -> None:
    made, _, _ = client([bad])
    with pytest.raises(Unreachable, match="BadAnswer"):
        list(made.watch(Selection(NODES), "7"))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[]",
        b'{"metadata":{"resourceVersion":"9"},"items":{}}',
        b'{"metadata":{"resourceVersion":"9"},"items":[1]}',
        b'{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"namespace":"x"}}]}',
        b'{"metadata":{"resourceVersion":9},"items":[]}',
        b'{"metadata":{},"items":[]}',
        b'{"metadata":"x","items":[]}',
        b'{"items":[]}',
        b'{"metadata":{"resourceVersion":"9","continue":1},"items":[]}',
    ],
)
def test_a_page_without_the_shape_of_a_list_is_a_bad_answer(bad: bytes) -> None:
    made, _, _ = client(response(200, bad))
    with pytest.raises(Unreachable, match="BadAnswer"):
        list(made.pages(Selection(NODES), 1))


# -- single objects ----------------------------------------------------------------------------------------------------


def test_an_apply_names_itself_by_the_body_and_goes_by_its_manager() -> None:
    body = {"metadata": {"name": "a/b", "namespace": "ns", "resourceVersion": "1"}, "data": {"k": "v"}}
    made, transport, _ = client(response(201, NODE), response(200, NODE))
    assert made.apply(CONFIGMAPS, body, "dpunetop-x", 3.0) == NODE
    made.apply_status(CONFIGMAPS, body, "dpunetop-x")
    assert transport.targets == [
        "/api/v1/namespaces/ns/configmaps/a%2Fb?fieldManager=dpunetop-x&force=true",
        "/api/v1/namespaces/ns/configmaps/a%2Fb/status?fieldManager=dpunetop-x&force=true",
    ]
    [sent, _] = transport.sent
    assert (sent.request.method, jsonio.loads(sent.request.body or b"")) == ("PATCH", body)
    assert sent.options.timeout_seconds == 3.0


def test_a_delete_says_which_object_it_means() -> None:
    made, transport, _ = client(response(200, {}), response(200, {}))
    made.delete(PODS, "ns", "p", "uid-1")
    made.delete(PODS, "ns", "p", "uid-1", "17")
    assert [jsonio.loads(sent.request.body or b"")["preconditions"] for sent in transport.sent] == [
        {"uid": "uid-1"},
        {"uid": "uid-1", "resourceVersion": "17"},
    ]


def test_what_is_created_need_not_have_a_name() -> None:
    made, transport, _ = client(response(201, {"metadata": {}, "status": {"allowed": True}}), response(201, {}))
    assert made.create(NODES, "", {})["status"] == {"allowed": True}
    made.create_sub(PODS, "ns", "p", "eviction", {})
    assert transport.targets == ["/api/v1/nodes", "/api/v1/namespaces/ns/pods/p/eviction"]


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (422, "Invalid", Invalid),
        (500, "InternalError", ApiError),
    ],
)
def test_an_answer_that_is_no_success_is_an_error_of_its_kind(
    code: int, reason: str, kind: type[ApiError] | type[Conflict] | type[Invalid] | type[NotFound]
) -> None:
    causes = [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]
    made, _, _ = client(response(code, status_object(code, reason, message="m\x00m", details={"causes": causes})))
    with pytest.raises(kind) as caught:
        made.get(NODES, "", "dpu-1")
    error = caught.value
    assert (error.code, error.reason, error.message, error.causes) == (code, reason, "m m", tuple(causes))


ASKED = "/api/v1/nodes/m"
OTHERS = {
    "an API that is not served": (404, b"404 page not found\n", "PATCH {}: 404 page not found"),
    "a proxy": (502, b"<html>\x1b[31mBad Gateway</html>", "PATCH {}: <html> [31mBad Gateway</html>"),
    "nothing": (500, b"", "PATCH {}"),
}


@pytest.mark.parametrize("who", OTHERS)
def test_an_answer_that_does_not_say_what_it_is_about_is_told_with_what_was_asked(who: str) -> None:
    code, body, told = OTHERS[who]
    made, _, _ = client(response(code, body))
    with pytest.raises(ApiError) as caught:
        made.apply(NODES, {"metadata": {"name": "m"}}, "manager")
    assert (caught.value.code, caught.value.message) == (code, told.format(ASKED))


def test_the_code_of_an_error_is_that_of_the_answer_whatever_its_body_claims() -> None:
    made, _, _ = client(response(403, status_object(404, "NotFound")))
    with pytest.raises(ApiError) as caught:
        made.get(NODES, "", "dpu-1")
    assert caught.value.code == 403


def test_a_success_with_a_truncated_body_is_a_bad_answer_and_is_not_repeated() -> None:
    made, transport, _ = client(response(200, b'{"metadata":{"na'))
    with pytest.raises(Unreachable, match="BadAnswer"):
        made.update(SECRETS, "ns", "s", {})
    assert len(transport.sent) == 1


def test_a_resource_is_served_if_its_version_lists_it() -> None:
    things = Resource("example.test", "v1", "things", "Thing", True)
    listing = response(200, {"resources": [{"name": "others"}, {"name": "things"}, 3]})
    made, transport, _ = client(listing, response(200, {"resources": []}), response(404, b"404 page not found"))
    assert [made.serves(things), made.serves(things), made.serves(NODES)] == [True, False, False]
    assert transport.targets == ["/apis/example.test/v1", "/apis/example.test/v1", "/api/v1"]


RESET = Unreachable(0, "Reset", "reset")


def test_the_version_is_asked_for_once_more_where_the_connection_was_gone_and_not_where_none_answers() -> None:
    listing = response(200, {"metadata": {"resourceVersion": "9"}, "items": []})
    made, _, _ = client(RESET, listing)
    assert made.present_version(Selection(NODES)) == "9"
    for answers in ([RESET, RESET], [Unreachable(0, "Timeout", "late")]):
        made, transport, _ = client(*answers)
        with pytest.raises(Unreachable):
            made.present_version(Selection(NODES))
        assert len(transport.sent) == len(answers)


SILENCE = Unreachable(0, "Timeout", "silence")


@pytest.mark.parametrize(
    ("first", "second_took", "cut"),
    [(SILENCE, 0.9, [0.0]), (SILENCE, 1.1, []), (RESET, 0.1, []), (response(500, b"etcd failed"), 0.1, [])],
)
def test_streams_that_are_silent_are_cut_where_only_a_new_connection_is_answered_at_once(
    first: Unreachable | Response, second_took: float, cut: list[float]
) -> None:
    made, transport, clock = client(first, response(200, b"ok"))
    transport.took = [0.0, second_took]
    transport.clock = clock
    made.probe(5.0)
    assert transport.cut_silent == cut


@pytest.mark.parametrize("status", [200, 403, 404])
def test_a_probe_is_content_with_a_server_that_answers(status: int) -> None:
    made, transport, _ = client(response(status, b"ok"))
    made.probe(5.0)
    assert (transport.targets, transport.sent[0].options.timeout_seconds) == (["/readyz"], 2.0)
    assert transport.sent[0].options.pool is Pool.PROBE
    assert transport.closed_unused == 1


FAILURES = [(response(500, b"etcd failed"), ApiError), (UNREACHABLE, Unreachable)]


@pytest.mark.parametrize("first", [answer for answer, _ in FAILURES])
def test_a_probe_that_fails_is_sent_once_more_on_a_new_connection_with_the_time_of_a_call(
    first: Unreachable | Response,
) -> None:
    made, transport, _ = client(first, response(200, b"ok"))
    made.probe(5.0)
    sent = [each.options for each in transport.sent]
    assert sent == [CallOptions(2.0, Pool.PROBE), CallOptions(CALL_SECONDS, Pool.NEW_PROBE, 5.0)]


def test_a_connection_that_is_dialed_has_what_is_left_of_the_time_and_its_answer_that_of_a_call() -> None:
    made, transport, clock = client(SILENCE, response(200, b"ok"))
    transport.took, transport.clock = [2.0, 9.0], clock
    made.probe(5.0)
    assert transport.sent[1].options == CallOptions(CALL_SECONDS, Pool.NEW_PROBE, 3.0)


NOT_READY = response(500, b"[-]shutdown failed")


def test_a_server_that_is_not_ready_and_lives_is_there() -> None:
    made, transport, _ = client(NOT_READY, NOT_READY, response(200, b"ok"))
    made.probe(5.0)
    assert transport.targets == ["/readyz", "/readyz", "/livez"]
    assert {each.options.pool for each in transport.sent} == {Pool.PROBE, Pool.NEW_PROBE}


@pytest.mark.parametrize("said", [*(response(status, b"") for status in (401, 403, 404, 500, 503)), UNREACHABLE])
def test_a_server_that_is_not_ready_and_does_not_say_that_it_lives_is_told_as_not_ready(
    said: Unreachable | Response,
) -> None:
    made, _, _ = client(UNREACHABLE, NOT_READY, said)
    with pytest.raises(ApiError, match="shutdown failed"):
        made.probe(5.0)


@pytest.mark.parametrize(("answer", "kind"), FAILURES)
def test_a_probe_says_when_the_server_is_not_there_or_not_ready(
    answer: Unreachable | Response, kind: type[ApiError] | type[Unreachable]
) -> None:
    made, transport, _ = client(response(503, b""), answer, UNREACHABLE)
    with pytest.raises(kind):
        made.probe(5.0)
    assert {each.options.pool for each in transport.sent[1:]} == {Pool.NEW_PROBE}


def test_a_probe_without_a_valid_credential_is_not_repeated() -> None:
    made, transport, _ = client(response(401, b""), renewals=(False,))
    with pytest.raises(Unauthorized):
        made.probe(5.0)
    assert len(transport.sent) == 1


# -- trying again ------------------------------------------------------------------------------------------------------


def test_a_request_without_an_answer_is_never_sent_again() -> None:
    made, transport, _ = client(UNREACHABLE)
    with pytest.raises(Unreachable):
        made.get(NODES, "", "dpu-1")
    assert len(transport.sent) == 1


def test_an_overloaded_server_is_asked_again_when_it_said() -> None:
    made, transport, clock = client(LATER, response(503, b"", Retry_After="1"), response(200, NODE))
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(made.get(NODES, "", "dpu-1")))
    thread.start()
    for seconds in (2.0, 1.0):
        clock.until_parked(1)
        clock.step(seconds)
        wait_for(transport, int(3 - seconds) + 1)
    thread.join(60)
    assert got == [NODE]
    assert [sent.options.timeout_seconds for sent in transport.sent] == [10.0, 8.0, 7.0]


def wait_for(transport: ScriptedTransport, requests: int) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if len(transport.sent) >= requests:
            return
        pause.wait(0.005)
    raise AssertionError(f"{len(transport.sent)} requests")


@pytest.mark.parametrize(
    "answer",
    [
        response(429, b"later"),
        response(503, b"down"),
        response(500, b"oops", Retry_After="1"),
        response(429, b"later", Retry_After="10"),
        response(429, b"later", Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
    ],
    ids=["429 without a time", "503 without a time", "500", "a time beyond the call's own", "a date"],
)
def test_nothing_else_is_asked_again(answer: Response) -> None:
    made, transport, _ = client(answer)
    with pytest.raises(ApiError):
        made.get(NODES, "", "dpu-1")
    assert len(transport.sent) == 1


def test_a_call_is_asked_again_only_so_often() -> None:
    now = response(429, b"later", Retry_After="0")
    made, transport, _ = client(*[now] * 10)
    with pytest.raises(TooManyRequests):
        made.get(NODES, "", "dpu-1")
    assert len(transport.sent) == 4


def test_all_calls_together_have_one_budget_of_retries() -> None:
    now = response(429, b"later", Retry_After="0")
    made, transport, clock = client(*[now] * 100)
    for _ in range(20):
        with pytest.raises(TooManyRequests):
            made.get(NODES, "", "dpu-1")
    assert len(transport.sent) == 20 + 10
    clock.step(2.0)
    with pytest.raises(TooManyRequests):
        made.get(NODES, "", "dpu-1")
    assert len(transport.sent) == 20 + 10 + 1 + 2


def test_a_refused_token_is_read_again_and_tried_once() -> None:
    refused = response(401, status_object(401, "Unauthorized"))
    made, transport, _ = client(refused, response(200, NODE), renewals=(True,))
    assert made.get(NODES, "", "dpu-1") == NODE
    made, transport, _ = client(refused, refused, renewals=(True,))
    with pytest.raises(Unauthorized):
        made.get(NODES, "", "dpu-1")
    made, transport, _ = client(refused, renewals=(False,))
    with pytest.raises(Unauthorized):
        made.get(NODES, "", "dpu-1")
    assert len(transport.sent) == 1


def test_the_lease_has_connections_of_its_own_and_waits_for_nothing() -> None:
    made, transport, _ = client(response(429, b"later", Retry_After="0"))
    with pytest.raises(TooManyRequests):
        made.for_lease().get(NODES, "", "dpu-1")
    assert [sent.options.pool for sent in transport.sent] == [Pool.LEASE]


def test_a_stop_ends_the_waiting() -> None:
    made, transport, clock = client(LATER, Unreachable(0, "Stopped", ""))
    errors: list[ApiError] = []

    def ask() -> None:
        with pytest.raises(Unreachable) as caught:
            made.get(NODES, "", "dpu-1")
        errors.append(caught.value)

    thread = threading.Thread(target=ask)
    thread.start()
    clock.until_parked(1)
    transport.stop.set()
    thread.join(60)
    assert [error.reason for error in errors] == ["Stopped"]


def ask(client: Client) -> None:
    with contextlib.suppress(NotFound):
        client.get(NODES, "", "dpu-1")


@pytest.mark.parametrize(
    "answer", [response(200, NODE), response(404, status_object(404, "NotFound"))], ids=["answered", "refused"]
)
def test_a_request_leaves_nothing_behind_that_only_the_garbage_collector_can_free(answer: Response) -> None:
    asking = client(*[answer] * 11)[0]
    ask(asking)  # what is made once
    gc.collect()
    gc.freeze()  # what other tests keep is no part of the search
    gc.disable()
    try:
        for _ in range(10):
            ask(asking)
        left = gc.collect()
    finally:
        gc.enable()
    assert left == 0


def test_each_call_and_each_probe_is_made_within_what_is_given_for_around_it() -> None:
    around: list[str] = []

    @contextlib.contextmanager
    def note() -> Iterator[None]:
        around.append("begin")
        yield
        around.append("end")

    clock = FakeClock()
    transport = ScriptedTransport(response(200, NODE), response(200, {}), response(200, NODE))
    transport.stop = Stop(clock)
    made = over(transport, clock, around=note)
    made.get(NODES, "", "dpu-1")
    made.probe(5.0)
    made.for_reviews().get(NODES, "", "dpu-1")
    assert around == ["begin", "end"] * 3
