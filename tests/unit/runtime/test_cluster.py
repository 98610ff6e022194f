from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from dpunetop.base import jsonio
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError, Unauthorized, Unreachable
from dpunetop.kube.keys import CONFIGMAPS, NODES
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cache.informer import Absence, Broken, Informer
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import PROBE_AGAIN_SECONDS, PROBE_SECONDS, Cluster, Health, Reach
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.metrics import Metrics
from support.clock import EPOCH, FakeClock
from support.scriptedsource import Hang, LossySource, ScriptedSource, bookmark, obj, pages

MAPS = Selection(CONFIGMAPS, "ns")
REFUSED = Unreachable(0, "Refused", "connection refused")
SILENT = Unreachable(0, "Timeout", "no answer within 10 s")
NOT_READY = ApiError(500, "InternalError", "not ready")


class Probed(threading.Thread):
    """A cluster that runs; `probe` lets the next one happen and waits until it is over."""

    def __init__(self, source: Any) -> None:
        super().__init__(name="cluster")
        self.source = source
        self.clock = FakeClock()
        self.stop = Stop(self.clock)
        self.cluster = made("infra", source, self.clock)
        self.heard: list[Reach] = []
        self.cluster.on_health(lambda: self.heard.append(self.cluster.health.reach))

    def run(self) -> None:
        self.cluster.run(self.stop)

    def begun(self) -> Probed:
        self.start()
        self.clock.until_parked(1)
        return self

    def probe(self, after_seconds: float) -> Health:
        self.clock.until_parked(1)
        done = threading.Event()
        self.source.on_probe = done.set
        self.clock.step(after_seconds)
        assert done.wait(60)
        self.clock.until_parked(1)
        return self.cluster.health

    def end(self) -> None:
        self.stop.set()
        self.join(60)
        assert not self.is_alive()


class ProbedSource(ScriptedSource):
    on_probe: Callable[[], None] | None = None

    def probe(self, timeout_seconds: float) -> None:
        try:
            super().probe(timeout_seconds)
        finally:
            if self.on_probe is not None:
                self.on_probe()


def made(name: str, source: Any, clock: FakeClock) -> Cluster:
    return Cluster(name, cast(Client, source), clock=clock, metrics=Metrics(), random=lambda: 0.0)


@pytest.fixture
def begun() -> Iterator[Callable[[Any], Probed]]:
    started: list[Probed] = []

    def begin(source: Any) -> Probed:
        started.append(Probed(source).begun())
        return started[-1]

    yield begin
    for each in started:
        each.end()


def test_an_answer_is_kept_as_the_very_object_that_the_cache_shows(begun: Callable[[Any], Probed]) -> None:
    answer = obj("a", 5, data={"k": "v"})
    answer["metadata"]["managedFields"] = [{"manager": "kubectl"}, {"manager": "dpunetop-drain"}]
    probed, synced = begun(ProbedSource(lists=[pages(10, [jsonio.deep_copy(answer)])])), threading.Event()
    handle = probed.cluster.share_informer(MAPS, lambda _: None, synced.set)
    assert synced.wait(60)
    before = jsonio.deep_copy(answer)
    kept = probed.cluster.kept(CONFIGMAPS, answer)
    assert kept is handle.lister.get("ns", "a")
    assert kept["metadata"]["managedFields"] == [{"manager": "dpunetop-drain"}]
    assert answer == before


def test_a_cluster_is_unknown_before_its_first_probe() -> None:
    health = made("infra", ScriptedSource(), FakeClock()).health
    assert health == Health(Reach.UNKNOWN, "NotProbed", "", EPOCH)


def test_a_cluster_that_never_answered_is_unreachable_after_one_failure(begun: Callable[[Any], Probed]) -> None:
    probed = begun(ProbedSource(probes=[REFUSED]))
    assert (probed.cluster.health.reach, probed.cluster.health.reason) == (Reach.UNREACHABLE, "Refused")


def refusing() -> Iterator[Any]:
    """A list that does not begin."""
    yield from ()
    raise REFUSED


def test_a_server_that_does_not_answer_is_one_warning_however_much_of_it_is_watched(
    begun: Callable[[Any], Probed],
) -> None:
    with capture_logs() as logs:
        probed = begun(ProbedSource(probes=[REFUSED], lists=[refusing(), refusing()]))
        for namespace in ("a", "b"):
            probed.cluster.share_informer(Selection(CONFIGMAPS, namespace), lambda _: None, lambda: None)
        probed.source.until_asked(4)
        probed.clock.until_parked(2)
    assert len([each for each in logs if each["event"] == "reading failed"]) == 2
    warned = [each["event"] for each in logs if each["log_level"] == "warning"]
    assert warned == ["health changed"]


def test_a_cluster_that_answered_is_unreachable_after_three_failures_and_loses_its_connections(
    begun: Callable[[Any], Probed],
) -> None:
    probed = begun(ProbedSource(probes=[None, REFUSED, REFUSED, REFUSED, None]))
    assert probed.probe(PROBE_SECONDS).reach is Reach.REACHABLE
    assert probed.probe(PROBE_AGAIN_SECONDS).reach is Reach.REACHABLE
    assert probed.source.closings == 0
    health = probed.probe(PROBE_AGAIN_SECONDS)
    assert (health.reach, health.reason, probed.source.closings) == (Reach.UNREACHABLE, "Refused", 1)
    assert (health.since - EPOCH).total_seconds() == PROBE_SECONDS + 2 * PROBE_AGAIN_SECONDS
    assert probed.probe(PROBE_AGAIN_SECONDS).reach is Reach.REACHABLE
    assert probed.heard == [Reach.REACHABLE, Reach.UNREACHABLE, Reach.REACHABLE]


def test_a_server_that_says_it_is_not_ready_keeps_its_connections(begun: Callable[[Any], Probed]) -> None:
    probed = begun(ProbedSource(probes=[None, NOT_READY, NOT_READY, NOT_READY]))
    for pause in (PROBE_SECONDS, PROBE_AGAIN_SECONDS, PROBE_AGAIN_SECONDS):
        health = probed.probe(pause)
    assert (health.reach, health.reason, probed.source.closings) == (Reach.UNREACHABLE, "InternalError", 1)


def test_a_server_that_is_not_ready_and_does_what_it_is_asked_for_is_reachable(
    begun: Callable[[ProbedSource], Probed],
) -> None:
    probed = begun(ProbedSource(probes=[None, *[NOT_READY] * 7]))
    for pause in (PROBE_SECONDS, *[PROBE_SECONDS] * 3):
        probed.source.heard_at = probed.clock.monotonic() + 1.0
        assert probed.probe(pause).reach is Reach.REACHABLE
    for pause in (PROBE_SECONDS, PROBE_AGAIN_SECONDS, PROBE_AGAIN_SECONDS):  # and then it does nothing any more
        health = probed.probe(pause)
    assert health.reach is Reach.UNREACHABLE


def test_one_that_is_not_there_is_unreachable_whatever_it_did_before(begun: Callable[[ProbedSource], Probed]) -> None:
    probed = begun(ProbedSource(probes=[None, *[REFUSED] * 3]))
    for pause in (PROBE_SECONDS, PROBE_AGAIN_SECONDS, PROBE_AGAIN_SECONDS):
        probed.source.heard_at = probed.clock.monotonic() + 1.0
        health = probed.probe(pause)
    assert health.reach is Reach.UNREACHABLE


@pytest.mark.parametrize(("answers_others", "reach"), [(0.5, Reach.REACHABLE), (-0.5, Reach.UNREACHABLE)])
def test_a_server_that_lets_probes_wait_is_there_as_long_as_it_answers_others_meanwhile(
    begun: Callable[[ProbedSource], Probed], answers_others: float, reach: Reach
) -> None:
    probed = begun(ProbedSource(probes=[None, *[SILENT] * 5]))
    for _ in range(5):
        probed.source.heard_at = probed.clock.monotonic() + PROBE_SECONDS + answers_others
        health = probed.probe(PROBE_SECONDS)
    assert (health.reach, probed.source.closings) == (reach, 1 if reach is Reach.UNREACHABLE else 0)


FAILURES = [REFUSED, SILENT, NOT_READY, Unreachable(0, "Reset", "r"), Unreachable(0, "TLS", "t")]


@pytest.mark.parametrize("third", FAILURES, ids=lambda each: each.reason)
def test_connections_are_closed_whatever_the_third_failure_was(
    begun: Callable[[ProbedSource], Probed], third: ApiError
) -> None:
    probed = begun(ProbedSource(probes=[None, REFUSED, REFUSED, third]))
    for pause in (PROBE_SECONDS, PROBE_AGAIN_SECONDS, PROBE_AGAIN_SECONDS):
        health = probed.probe(pause)
    assert (health.reason, probed.source.closings) == (third.reason, 1)


def test_a_server_that_refuses_the_credential_is_reachable_and_says_why(begun: Callable[[Any], Probed]) -> None:
    probed = begun(ProbedSource(probes=[Unauthorized(401, "Unauthorized", "who?"), None]))
    assert (probed.cluster.health.reach, probed.cluster.health.reason) == (Reach.REACHABLE, "Unauthorized")
    assert probed.probe(PROBE_SECONDS).reason == ""
    assert len(probed.heard) == 2


def test_informers_stop_waiting_when_the_server_answers_again(begun: Callable[[Any], Probed]) -> None:
    probed = begun(ProbedSource(probes=[REFUSED, None], lists=[[REFUSED], pages(10, [])]))
    informer = probed.cluster.informer(MAPS)
    probed.clock.until_parked(2)
    probed.source.on_probe = None
    probed.clock.step(0.1)  # too early for the informer's next try, and for the probe
    probed.clock.until_parked(2)
    assert not informer.has_synced()
    probed.clock.step(PROBE_AGAIN_SECONDS - 0.1)
    assert informer.wait_synced(probed.stop, 60)


def test_informers_stop_waiting_too_after_an_outage_that_was_too_short_to_be_told(
    begun: Callable[[Any], Probed], monkeypatch: pytest.MonkeyPatch
) -> None:
    hastened: list[Informer] = []
    monkeypatch.setattr(Informer, "hasten", lambda informer: hastened.append(informer))
    probed = begun(ProbedSource(probes=[None, REFUSED, None], lists=[pages(10, [])]))
    informer = probed.cluster.informer(MAPS)
    probed.probe(PROBE_SECONDS)
    assert hastened == []
    probed.probe(PROBE_AGAIN_SECONDS)
    assert (hastened, probed.heard) == ([informer], [Reach.REACHABLE])


def test_one_selection_has_one_informer_however_many_hold_it(begun: Callable[[Any], Probed]) -> None:
    probed = begun(ProbedSource(lists=[pages(10, [obj("a", 5)])]))
    told: list[Change] = []
    synced = threading.Event()
    first = probed.cluster.share_informer(MAPS, told.append, synced.set)
    assert synced.wait(60)
    second = probed.cluster.share_informer(MAPS, told.append)
    assert told == [Change(None, obj("a", 5))] * 2
    assert second.has_synced()
    assert second.lister.get("ns", "a") == obj("a", 5)
    assert probed.source.asked.count("list") == 1
    first.release()
    first.release()
    assert "1 informers" in repr(probed.cluster)
    second.release()
    assert "0 informers" in repr(probed.cluster)


def test_an_informer_that_was_released_by_all_is_made_anew_when_wanted_again(begun: Callable[[Any], Probed]) -> None:
    probed = begun(ProbedSource(lists=[pages(10, [obj("a", 5)]), pages(11, [obj("b", 6)])]))
    for name in ("a", "b"):
        synced = threading.Event()
        handle = probed.cluster.share_informer(MAPS, lambda _: None, synced.set)
        assert synced.wait(60)
        assert handle.lister.get("ns", name) is not None
        handle.release()


def test_an_informer_asked_for_by_itself_outlives_its_holds(begun: Callable[[Any], Probed]) -> None:
    probed = begun(ProbedSource(lists=[pages(10, [])]))
    informer = probed.cluster.informer(MAPS)
    probed.cluster.share_informer(MAPS, lambda _: None).release()
    assert probed.cluster.informer(MAPS) is informer


def test_informers_asked_for_before_the_cluster_runs_start_with_it() -> None:
    probed = Probed(ProbedSource(lists=[pages(10, [])]))
    informer = probed.cluster.informer(MAPS)
    probed.begun()
    assert informer.wait_synced(probed.stop, 60)
    probed.end()


def test_nodes_are_listed_in_small_pages_and_stripped(begun: Callable[[Any], Probed]) -> None:
    asked: list[int] = []

    class Counting(ProbedSource):
        def pages(self, selection: Selection, page_size: int) -> Any:
            asked.append(page_size)
            return super().pages(selection, page_size)

    probed = begun(Counting(lists=[pages(10, [obj("n", 5, status={"images": ["big"]})])]))
    informer = probed.cluster.informer(Selection(NODES))
    assert informer.wait_synced(probed.stop, 60)
    node = informer.lister.get("", "n")
    assert asked == [100]
    assert node is not None
    assert node["status"] == {}


def test_no_thread_and_no_callback_is_left_when_a_cluster_has_ended(begun: Callable[[Any], Probed]) -> None:
    source = LossySource()
    probed = begun(source)
    told: list[Change] = []
    handle = probed.cluster.share_informer(MAPS, told.append)
    source.until_open()
    probed.end()
    source.put("late")
    assert (told, source.open) == ([], 0)
    probed.cluster.share_informer(MAPS, told.append)
    assert (told, handle.has_synced()) == ([], True)


def test_a_restored_server_is_told_before_its_list_shows(begun: Callable[[Any], Probed]) -> None:
    silence = Unreachable(0, "IdleTimeout", "")
    source = ProbedSource(lists=[pages(10, [obj("a", 5)]), pages(4, [])], watches=[[silence]])
    clock = FakeClock()
    cluster = made("infra", source, clock)
    shown: list[int] = []
    cluster.on_time_went_back(lambda: shown.append(len(cluster.informer(MAPS).lister.list())))
    cluster.informer(MAPS)
    clusters = Clusters()
    clusters.engage(cluster)
    source.until_asked(3)
    clock.until_parked(2)
    clock.step(0.8)
    source.until_hanging()
    clusters.disengage("infra")
    assert shown == [1]


def test_who_waits_on_a_watch_of_a_history_that_is_over_is_woken_and_reads_anew(begun: Callable[[Any], Probed]) -> None:
    source = ProbedSource(
        lists=[pages(10, [obj("a", 5)]), pages(10, [obj("a", 5)]), pages(9, []), pages(9, [])],
        watches=[[Hang()], [bookmark(30), Unreachable(0, "IdleTimeout", "")]],
    )
    probed = begun(source)
    quiet = probed.cluster.informer(MAPS)
    source.until_hanging()
    probed.cluster.informer(Selection(MAPS.resource, "ns", "metadata.name=a"))
    assert source.until_asked(6)[3:] == ["stream", "list", "watch 10"]
    probed.clock.until_parked(2)
    probed.clock.step(0.8)
    assert source.until_asked(8)[6:] == ["list", "watch 9"]
    probed.clock.until_parked(2)
    assert [name_of(each) for each in quiet.lister.list()] == ["a"]
    probed.clock.step(0.8)
    assert source.until_asked(10)[8:] == ["list", "watch 9"]
    assert quiet.lister.list() == []
    assert source.closings == 1


def test_in_doubt_all_is_read_anew_and_who_waits_for_a_turn_of_time_is_told_first(
    begun: Callable[[Any], Probed],
) -> None:
    source = ProbedSource(lists=[pages(10, [obj("a", 5)]), pages(12, [obj("b", 6)])], watches=[[Hang()]])
    probed = begun(source)
    shown: list[list[str]] = []
    informer = probed.cluster.informer(MAPS)
    probed.cluster.on_time_went_back(lambda: shown.append([name_of(each) for each in informer.lister.list()]))
    source.until_hanging()
    probed.cluster.read_anew()
    probed.clock.until_parked(2)
    probed.clock.step(0.8)
    source.until_asked(5)
    assert source.closings == 1
    assert shown == [["a"]]
    assert informer.lister.get("ns", "b") is not None


# ---- clusters that come and go


def test_a_cluster_is_found_while_it_is_engaged_and_everyone_hears_of_it() -> None:
    clusters = Clusters()
    heard: list[tuple[str, bool]] = []
    clusters.on_change(lambda name: heard.append((name, clusters.get(name) is not None)))
    cluster = made("tenant/a/b", LossySource(), FakeClock())
    clusters.engage(cluster)
    assert clusters.get("tenant/a/b") is cluster
    with pytest.raises(ValueError, match="engaged already"):
        clusters.engage(cluster)
    clusters.disengage("tenant/a/b")
    clusters.disengage("tenant/a/b")
    assert clusters.get("tenant/a/b") is None
    assert heard[0] == ("tenant/a/b", True)
    assert heard[-1] == ("tenant/a/b", False)


def test_a_change_of_health_is_heard_with_the_name_of_the_cluster() -> None:
    clusters = Clusters()
    heard: list[Reach] = []
    reached = threading.Event()

    def hear(name: str) -> None:
        cluster = clusters.get(name)
        heard.append(cluster.health.reach if cluster else Reach.UNKNOWN)
        if heard[-1] is Reach.REACHABLE:
            reached.set()

    clusters.on_change(hear)
    clusters.engage(made("infra", LossySource(), FakeClock()))
    assert reached.wait(60)
    clusters.disengage("infra")


def test_stopping_ends_all_clusters_the_last_engaged_first() -> None:
    clusters, stop = Clusters(), Stop()
    for name in ("infra", "tenant/a/b"):
        clusters.engage(made(name, LossySource(), FakeClock()))
    ended: list[str] = []
    clusters.on_change(lambda name: ended.append(name) if clusters.get(name) is None else None)
    runner = threading.Thread(target=clusters.run, args=(stop,), name="clusters")
    runner.start()
    stop.set()
    runner.join(60)
    assert list(dict.fromkeys(ended)) == ["tenant/a/b", "infra"]  # a last change of health may be among them
    assert repr(clusters) == "<Clusters []>"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("name", ["infra", "tenant/a/b"])
def test_an_informer_that_breaks_is_told_and_begun_again_and_ends_nothing(name: str) -> None:
    class Bug(ScriptedSource):
        """Its first streams meet a bug of ours."""

        bugs = 2

        def follow_list(self, selection: Selection, wake: Any) -> Any:
            self.bugs -= 1
            if self.bugs >= 0:
                raise ZeroDivisionError
            return super().follow_list(selection, wake)

    clusters, clock, troubles, synced = Clusters(), FakeClock(), list[ApiError | None](), threading.Event()
    source = Bug(lists=[pages(10, [obj("a", 5)])], watches=[[Hang()]])
    cluster = made(name, source, clock)
    handle = cluster.share_informer(MAPS, lambda _: None, synced.set, lambda: troubles.append(handle.trouble))
    with capture_logs() as logs:
        clusters.engage(cluster)
        for _ in range(400):  # it may be hastened by the first probe, or not
            if synced.wait(0.05):
                break
            clock.step(1.0)
        source.until_hanging()
    assert [type(each) for each in troubles] == [Broken, Broken, type(None)]
    assert handle.has_synced()
    assert [name_of(each) for each in handle.lister.list()] == ["a"]
    assert sum(line["event"].startswith("an informer ended by an exception") for line in logs) == 2
    assert clusters.names() == [name]
    clusters.disengage(name)


def test_a_cluster_whose_thread_cannot_be_started_can_be_engaged_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clusters, cluster = Clusters(), made("tenant/a/b", ScriptedSource(), FakeClock())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            clusters.engage(cluster)
    assert clusters.names() == []
    clusters.engage(cluster)
    clusters.disengage("tenant/a/b")


def looked(monkeypatch: pytest.MonkeyPatch, *reached: int | None) -> Obj | Absence:
    """What a cluster says of an object that was there in version 11, with caches that have come so far."""
    cluster = made("infra", ScriptedSource(), FakeClock())
    for number, version in enumerate(reached):
        selection = [MAPS, Selection(MAPS.resource), Selection(MAPS.resource, "ns", "metadata.name=a")][number]
        informer = cluster.informer(selection)
        said = Absence.UNCERTAIN if version is None else Absence.GONE if version >= 11 else Absence.BEHIND
        monkeypatch.setattr(informer, "look", lambda *_, said=said: said)
    return cluster.look(MAPS.resource, "ns", "a", 11)


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        ((), Absence.UNCERTAIN),
        ((11,), Absence.GONE),
        ((10,), Absence.BEHIND),
        ((None,), Absence.UNCERTAIN),
        ((10, 11, None), Absence.GONE),
        ((10, None), Absence.UNCERTAIN),
        ((10, 9), Absence.BEHIND),
    ],
)
def test_one_cache_that_has_come_past_an_object_knows_that_it_is_gone_and_all_must_be_behind_for_it_to_come(
    monkeypatch: pytest.MonkeyPatch, reached: tuple[int | None, ...], said: Absence
) -> None:
    assert looked(monkeypatch, *reached) is said


def test_a_cache_of_some_objects_of_a_place_says_nothing_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = made("infra", ScriptedSource(), FakeClock())
    for selection in (
        Selection(MAPS.resource, "ns", "", "app=x"),
        Selection(MAPS.resource, "ns", "metadata.name=b"),
        Selection(MAPS.resource, "other"),
    ):
        monkeypatch.setattr(cluster.informer(selection), "look", lambda *_: Absence.GONE)
    assert cluster.look(MAPS.resource, "ns", "a", 11) is Absence.UNCERTAIN
