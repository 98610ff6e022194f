from __future__ import annotations

import gc
import sys
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import CONFIGMAPS, INFRA, SECRETS, Key, Resource, crd_name
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.cluster import Cluster
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.reading import DynamicWatches, NotEngaged, NotSynced, Reader, Unwatched, begin
from support.clock import FakeClock
from support.scriptedsource import Gate, Hang, LossySource, Part, ScriptedSource, modified, obj, pages

MAPS, OTHERS = Selection(CONFIGMAPS, "ns"), Selection(SECRETS, "ns")
ONE, TWO = Key(INFRA, "ns", "one"), Key(INFRA, "ns", "two")
TENANT = "tenant/ns/one"
NODEMAINTENANCES = Resource("nodemaintenance.medik8s.io", "v1beta1", "nodemaintenances", "NodeMaintenance", False)


class Desk:
    """Clusters, what is read through, and what was enqueued."""

    def __init__(self, settle: Callable[[Key], None] | None = None) -> None:
        self.clusters = Clusters()
        self.watches = DynamicWatches(self.clusters, self._enqueue, settle)
        self._cond = threading.Condition()  # guards _woken and _told
        self._woken: Counter[Key] = Counter()
        self._told: Counter[str] = Counter()
        self.clusters.on_change(self._tell)  # after the DynamicWatches, so that they know already

    def _tell(self, name: str) -> None:
        with self._cond:
            self._told[name] += 1
            self._cond.notify_all()

    def _enqueue(self, key: Key) -> None:
        with self._cond:
            self._woken[key] += 1
            self._cond.notify_all()

    def engage(self, name: str, source: Any) -> Cluster:
        cluster = Cluster(
            name, cast(Client, source), clock=FakeClock(), metrics=Metrics(), random=lambda: 0.0,
            indexers={CONFIGMAPS: {"color": lambda o: [o.get("color", "")]}},
        )  # fmt: skip
        with self._cond:
            told = self._told[name]
        self.clusters.engage(cluster)
        with self._cond:  # that it is there, then that it answers
            assert self._cond.wait_for(lambda: self._told[name] >= told + 2, timeout=30)
        return cluster

    def woken(self, key: Key) -> int:
        """How often the key was enqueued since last asked."""
        with self._cond:
            return self._woken.pop(key, 0)

    def until_woken(self, key: Key) -> int:
        with self._cond:
            assert self._cond.wait_for(lambda: self._woken[key] > 0, timeout=30)
        return self.woken(key)

    def read(self, key: Key, what: Callable[[Reader], Any]) -> Any:
        """Reconcile until the caches are filled."""
        for _ in range(10):
            try:
                with self.watches.reading(key) as reader:
                    return what(reader)
            except (NotSynced, NotEngaged):
                self.until_woken(key)
        raise AssertionError("never synced")


@pytest.fixture
def desk() -> Iterator[Desk]:
    yield from opened(Desk())


@pytest.fixture
def settled() -> list[Key]:
    return []


@pytest.fixture
def settling(settled: list[Key]) -> Iterator[Desk]:
    """A desk that has those who read all of a selection wait in `settled`."""
    yield from opened(Desk(settled.append))


def opened(desk: Desk) -> Iterator[Desk]:
    yield desk
    for name in desk.clusters.names():
        desk.clusters.disengage(name)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns after each microsecond."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def maps(reader: Reader) -> list[str]:
    return sorted(o["metadata"]["name"] for o in reader.list(INFRA, MAPS))


def test_a_key_that_came_before_its_cluster_is_woken_when_it_is_engaged(desk: Desk) -> None:
    with pytest.raises(NotEngaged) as refused, desk.watches.reading(ONE) as reader:
        reader.list(INFRA, MAPS)
    assert refused.value.cluster == INFRA
    source = LossySource()
    source.put("a")
    desk.engage(INFRA, source)
    desk.until_woken(ONE)
    assert desk.read(ONE, maps) == ["a"]


def test_a_cache_that_is_not_filled_refuses_and_wakes_once_it_is(desk: Desk) -> None:
    gate = Gate()
    desk.engage(INFRA, ScriptedSource(lists=[[gate, *pages(10, [obj("a", 5)], [obj("b", 6)])]]))
    with pytest.raises(NotSynced) as refused, desk.watches.reading(ONE) as reader:
        reader.list(INFRA, MAPS)
    assert (refused.value.cluster, refused.value.selection, refused.value.error) == (INFRA, MAPS, None)
    gate.open()
    assert desk.until_woken(ONE) == 1
    assert desk.read(ONE, maps) == ["a", "b"]


def test_why_a_cache_cannot_be_filled_is_said_and_wakes(desk: Desk) -> None:
    forbidden = Forbidden(403, "Forbidden", "cannot list")
    gate = Gate()
    desk.engage(INFRA, ScriptedSource(lists=[[gate, forbidden]]))
    with pytest.raises(NotSynced), desk.watches.reading(ONE) as reader:
        reader.list(INFRA, MAPS)
    desk.woken(ONE)
    gate.open()
    error = None
    while error is None:  # the cluster's health may wake it, too
        desk.until_woken(ONE)
        with pytest.raises(NotSynced) as refused, desk.watches.reading(ONE) as reader:
            reader.list(INFRA, MAPS)
        error = refused.value.error
    assert error is forbidden


def test_a_cache_that_may_no_longer_be_watched_is_named_and_wakes_when_that_begins_and_ends(desk: Desk) -> None:
    forbidden = Forbidden(403, "Forbidden", "cannot watch")
    refusing, granting = Gate(), Gate()
    watches: list[list[Part]] = [[refusing, forbidden], [granting, modified("a", 11), Hang()]]
    cluster = desk.engage(INFRA, ScriptedSource(lists=[pages(10, [obj("a", 5)])], watches=watches))
    assert desk.read(ONE, lambda reader: (maps(reader), reader.refusal())) == (["a"], None)
    desk.woken(ONE)
    refusing.open()
    desk.until_woken(ONE)
    with desk.watches.reading(ONE) as reader:
        assert maps(reader) == ["a"]
        refusal = reader.refusal()
    assert refusal == Unwatched(INFRA, MAPS, forbidden)
    desk.woken(ONE)
    granting.open()
    cluster.informer(MAPS).hasten()
    desk.until_woken(ONE)
    assert desk.read(ONE, lambda reader: (maps(reader), reader.refusal())) == (["a"], None)


def test_each_change_wakes_the_keys_that_read_it_and_no_others(desk: Desk) -> None:
    source = LossySource()
    desk.engage(INFRA, source)
    desk.read(ONE, maps)
    source.until_open()
    desk.read(TWO, lambda reader: reader.list(INFRA, OTHERS))
    source.until_open(2)
    desk.watches.forget(TWO)
    desk.woken(ONE)
    desk.woken(TWO)
    source.put("a")
    assert desk.until_woken(ONE) == 1
    assert desk.woken(TWO) == 0


def test_who_reads_all_of_a_selection_may_wait_until_it_settles_and_who_reads_one_object_of_it_does_not(
    settling: Desk, settled: list[Key]
) -> None:
    source = LossySource()
    source.put("a")
    settling.engage(INFRA, source)
    settling.read(ONE, lambda reader: reader.get(INFRA, MAPS, "ns", "a"))
    settling.read(TWO, lambda reader: (reader.get(INFRA, MAPS, "ns", "a"), reader.list(INFRA, MAPS)))
    settling.woken(ONE)
    settling.woken(TWO)
    source.put("a", color="red")
    source.put("b")
    source.put("a", color="blue")
    woken = settling.until_woken(ONE)
    while woken < 2:
        woken += settling.until_woken(ONE)
    assert settled[:2] == [TWO, TWO]
    assert settling.woken(TWO) == 0


def test_a_second_key_that_reads_a_filled_cache_is_answered_at_once_and_not_woken(desk: Desk) -> None:
    source = LossySource()
    source.put("a")
    desk.engage(INFRA, source)
    desk.read(ONE, maps)
    desk.woken(TWO)
    with desk.watches.reading(TWO) as reader:
        assert maps(reader) == ["a"]
    assert desk.woken(TWO) == 0


def test_what_a_later_pass_does_not_read_is_released(desk: Desk) -> None:
    source = LossySource()
    cluster = desk.engage(INFRA, source)
    desk.read(ONE, lambda reader: (reader.list(INFRA, MAPS), reader.list(INFRA, OTHERS)))
    assert "2 informers" in repr(cluster)
    desk.read(ONE, maps)
    assert "1 informers" in repr(cluster)
    desk.watches.forget(ONE)
    assert "0 informers" in repr(cluster)
    assert desk.watches.interested(INFRA) == set()


def test_a_pass_that_failed_releases_nothing(desk: Desk) -> None:
    source = LossySource()
    cluster = desk.engage(INFRA, source)
    desk.read(ONE, lambda reader: (reader.list(INFRA, MAPS), reader.list(INFRA, OTHERS)))
    with pytest.raises(ZeroDivisionError), desk.watches.reading(ONE):
        raise ZeroDivisionError
    assert "2 informers" in repr(cluster)
    assert desk.watches.interested(INFRA) == {ONE}


def test_what_another_key_still_reads_is_kept(desk: Desk) -> None:
    cluster = desk.engage(INFRA, LossySource())
    desk.read(ONE, maps)
    desk.read(TWO, maps)
    desk.watches.forget(ONE)
    assert "1 informers" in repr(cluster)
    assert desk.watches.interested(INFRA) == {TWO}


def test_a_cluster_that_goes_and_another_that_comes_in_its_name_wake_those_who_read_it(desk: Desk) -> None:
    def tenants(reader: Reader) -> list[str]:
        return sorted(o["metadata"]["name"] for o in reader.list(TENANT, MAPS))

    first, second = LossySource(), LossySource()
    first.put("old")
    second.put("new")
    desk.engage(TENANT, first)
    assert desk.read(ONE, tenants) == ["old"]
    desk.woken(ONE)
    desk.clusters.disengage(TENANT)
    assert desk.woken(ONE) == 1
    with pytest.raises(NotEngaged), desk.watches.reading(ONE) as reader:
        reader.list(TENANT, MAPS)
    desk.engage(TENANT, second)
    desk.until_woken(ONE)
    assert desk.read(ONE, tenants) == ["new"]


def test_an_object_is_read_by_name_and_by_index(desk: Desk) -> None:
    source = LossySource()
    made = source.put("a", color="red")
    desk.engage(INFRA, source)
    assert desk.read(ONE, lambda reader: reader.get(INFRA, MAPS, "ns", "a")) == made
    assert desk.read(ONE, lambda reader: reader.get(INFRA, MAPS, "ns", "b")) is None
    assert desk.read(ONE, lambda reader: reader.by_index(INFRA, MAPS, "color", "red")) == [made]


def test_one_object_is_watched_alone_so_that_rights_by_name_are_enough(desk: Desk) -> None:
    source = LossySource()
    made = source.put("a")
    desk.engage(INFRA, source)
    assert desk.read(ONE, lambda reader: (reader.one(INFRA, CONFIGMAPS, "ns", "a"), reader.dependencies)) == (
        made,
        {(INFRA, Selection(CONFIGMAPS, "ns", "metadata.name=a"), ("", "ns", "a"))},
    )


def test_a_resource_is_served_once_its_definition_is_there_and_who_asks_is_woken_when_it_comes(desk: Desk) -> None:
    source = LossySource()
    desk.engage(INFRA, source)
    assert not desk.read(ONE, lambda reader: reader.serves(INFRA, NODEMAINTENANCES))
    desk.woken(ONE)
    source.put(crd_name(NODEMAINTENANCES), namespace="")
    desk.until_woken(ONE)
    assert desk.read(ONE, lambda reader: reader.serves(INFRA, NODEMAINTENANCES))


def test_a_tenant_that_comes_and_goes_while_it_is_read_neither_blocks_nor_answers_from_the_past(
    desk: Desk, hasty_threads: None
) -> None:
    over, wrong = threading.Event(), list[str]()
    turns = iter(range(1000))
    current = [next(turns)]

    def work(key: Key) -> None:
        while not over.is_set():
            before = current[0]
            try:
                with desk.watches.reading(key) as reader:
                    seen = sorted(o["metadata"]["name"] for o in reader.list(TENANT, MAPS))
            except (NotSynced, NotEngaged):
                continue
            if int(seen[0]) < before:
                wrong.append(f"{seen} after turn {before}")

    workers = [threading.Thread(target=work, args=(key,), name=str(key)) for key in (ONE, TWO)]
    for worker in workers:
        worker.start()
    for _ in range(15):
        source = LossySource()
        source.put(str(current[0]))
        desk.engage(TENANT, source)
        desk.until_woken(ONE)
        desk.clusters.disengage(TENANT)
        current[0] = next(turns)
    over.set()
    for worker in workers:
        worker.join(60)
    assert wrong == []


def test_refusals_say_what_is_missing() -> None:
    assert str(NotEngaged(TENANT)) == "cluster tenant/ns/one is not engaged"
    assert str(NotSynced(INFRA, MAPS)) == "configmaps/ns of infra is not synced yet"


def test_a_change_of_one_object_wakes_only_those_who_asked_for_it(desk: Desk) -> None:
    source = LossySource()
    for name in ("a", "b"):
        source.put(name, color="red")
    desk.engage(INFRA, source)
    desk.read(ONE, lambda reader: reader.get(INFRA, MAPS, "ns", "a"))
    desk.read(TWO, maps)
    desk.woken(ONE)
    desk.woken(TWO)
    source.put("b", color="blue")
    desk.until_woken(TWO)
    assert desk.woken(ONE) == 0
    source.put("a", color="blue")
    desk.until_woken(ONE)


def test_who_asked_for_an_index_value_is_woken_by_what_comes_under_it_and_by_what_leaves_it(desk: Desk) -> None:
    source = LossySource()
    source.put("a", color="red")
    desk.engage(INFRA, source)

    def red(reader: Reader) -> list[str]:
        return sorted(o["metadata"]["name"] for o in reader.by_index(INFRA, MAPS, "color", "red"))

    assert desk.read(ONE, red) == ["a"]
    desk.woken(ONE)
    source.put("b", color="red")
    desk.until_woken(ONE)
    source.put("a", color="blue")
    desk.until_woken(ONE)
    source.put("c", color="green")
    source.put("b", color="blue")
    desk.until_woken(ONE)
    assert desk.read(ONE, red) == []


def test_what_thousands_of_keys_read_is_remembered_in_little_memory(desk: Desk) -> None:
    source = LossySource()
    desk.engage(INFRA, source)
    desk.read(ONE, maps)
    names = [f"dpu-{number}" for number in range(200)]

    def look(name: str) -> None:
        with desk.watches.reading(Key(INFRA, "host", name)) as reader:
            for kind in "abcdefgh":
                reader.get(INFRA, Selection(CONFIGMAPS, "ns"), "ns", f"{kind}-{name}")

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for name in names * 2:
            look(name)
        gc.collect()
        bytes_a_key = (tracemalloc.get_traced_memory()[0] - before) / len(names)
    finally:
        tracemalloc.stop()
    assert bytes_a_key < 3500


def test_a_part_that_many_read_wakes_them_all_and_those_alone_who_still_do(desk: Desk) -> None:
    source = LossySource()
    source.put("a")
    desk.engage(INFRA, source)
    desk.read(ONE, maps)
    keys = [Key(INFRA, "host", str(number)) for number in range(9)]
    for key in keys:
        desk.read(key, lambda reader: reader.get(INFRA, MAPS, "ns", "a"))
    for key in keys[:3]:
        desk.watches.forget(key)
    for key in (ONE, *keys):
        desk.woken(key)
    source.put("a", color="red")
    for key in keys[3:]:
        assert desk.until_woken(key) == 1
    assert not any(desk.woken(key) for key in keys[:3])


def test_caches_that_a_pass_begins_together_are_filled_without_waiting_for_each_other(desk: Desk) -> None:
    gates = Gate(), Gate()
    desk.engage(INFRA, ScriptedSource(lists=[[gate, *pages(10, [obj("a", 5)])] for gate in gates]))
    with desk.watches.reading(ONE) as reader:
        begin(lambda: reader.list(INFRA, MAPS), lambda: reader.list(INFRA, OTHERS))
    targets, _ = desk.watches._dependencies[ONE]
    assert {selection for _, selection in targets} == {MAPS, OTHERS}
    for gate in gates:
        gate.open()
    desk.read(ONE, lambda reader: (reader.list(INFRA, MAPS), reader.list(INFRA, OTHERS)))


def test_what_is_begun_fails_for_no_cache_and_for_no_cluster_and_for_whatever_else_goes_wrong() -> None:
    begun: list[str] = []

    def read(name: str, error: Exception) -> Callable[[], None]:
        def fail() -> None:
            begun.append(name)
            raise error

        return fail

    begin(read("a", NotSynced(INFRA, MAPS)), read("b", NotEngaged(TENANT)), read("c", NotSynced(INFRA, OTHERS)))
    with pytest.raises(ValueError, match="a bug"):
        begin(read("d", NotEngaged(TENANT)), read("e", ValueError("a bug")), read("f", ValueError("another")))
    assert begun == ["a", "b", "c", "d", "e"]
