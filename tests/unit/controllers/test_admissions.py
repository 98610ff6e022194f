"""Who of the DpuClusterConfigs that were never served is served next."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

import pytest

from dpunetop.base import jsonio
from dpunetop.controllers.admissions import Admissions
from dpunetop.controllers.reconciler import CONFIG_INDEXERS, SERVED, WAITING, key_of
from dpunetop.domain.clusterconfig.admission import MOST_WAITING
from dpunetop.kube.keys import Key
from dpunetop.kube.meta import Obj
from dpunetop.runtime.reading import Waker
from support.objects import config


class CountedDict(dict[str, Any]):
    """A resource that counts how often anybody looks into it."""

    looks = 0

    def __getitem__(self, key: str) -> Any:
        CountedDict.looks += 1
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None, /) -> Any:
        CountedDict.looks += 1
        return super().get(key, default)


class ConfigLister:
    """The caches, indexed as the real ones are."""

    def __init__(self, *objects: dict[str, Any]) -> None:
        self.objects: dict[Key, CountedDict] = {}
        self.index: dict[str, dict[str, dict[Key, Obj]]] = {SERVED: {}, WAITING: {}}
        for obj in objects:
            self.put(obj)

    def put(self, obj: dict[str, Any]) -> None:
        key = key_of(obj)
        self.drop(key)
        self.objects[key] = CountedDict(obj)
        for name, values in self.index.items():
            for value in CONFIG_INDEXERS[name](obj):
                values.setdefault(value, {})[key] = self.objects[key]

    def drop(self, key: Key) -> None:
        self.objects.pop(key, None)
        for values in self.index.values():
            for found in values.values():
                found.pop(key, None)

    def one(self, key: Key) -> Obj | None:
        return self.objects.get(key)

    def served(self, claim: str) -> list[Obj]:
        return list(self.index[SERVED].get(claim, {}).values())

    def waiting(self, claim: str) -> list[Obj]:
        return list(self.index[WAITING].get(claim, {}).values())


def waiting(namespace: str, name: str = "c", second: int = 0, **spec: str) -> dict[str, Any]:
    """One that was never served."""
    made = jsonio.deep_copy(config(name, namespace, **spec))
    made["metadata"] |= {"finalizers": [], "creationTimestamp": f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}Z"}
    return {**made, "status": {}}


def served(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "status": {"claimedPool": obj["spec"]["poolName"]}}


NOBODY = Waker(lambda _: None, Key("", "", ""))


class Judge:
    def __init__(self, *objects: dict[str, Any], without: Collection[str] = ()) -> None:
        self.shown = ConfigLister(*objects)
        self.asked: list[str] = []
        self.woken: list[Key] = []
        self.known: set[str] = set()
        self.without = set(without)
        self.admissions = Admissions(self.ask, lambda namespace: namespace in self.known, self.woken.append)

    def ask(self, namespaces: Iterable[str], _: Waker) -> None:
        for namespace in namespaces:
            self.asked.append(namespace)
            if namespace not in self.without:
                self.known.add(namespace)

    def __call__(self, obj: dict[str, Any]) -> str | None:
        judged = self.admissions.judge(self.shown.objects.get(key_of(obj), obj), self.shown, NOBODY)
        return judged.refused.reason if judged.refused else None


A, B = waiting("ns-a"), waiting("ns-b")


@pytest.mark.parametrize("order", [(A, B), (B, A)], ids=["the winner is looked at first", "and last"])
def test_of_two_made_in_one_second_the_first_by_name_is_served_whoever_is_looked_at_first(
    order: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    judge = Judge(A, B)
    assert {obj["metadata"]["namespace"]: judge(obj) for obj in order} == {"ns-a": None, "ns-b": "PoolTaken"}


def test_the_other_of_two_is_told_who_has_won_and_the_winner_is_looked_at() -> None:
    judge = Judge(A, B)
    refused = judge.admissions.judge(judge.shown.objects[key_of(B)], judge.shown, NOBODY).refused
    assert refused is not None
    assert "belongs to ns-a/c" in refused.message
    assert judge.woken == [key_of(A)]


def test_an_admitted_config_stays_admitted_when_an_older_one_appears_before_the_caches_show_it_as_served() -> None:
    judge = Judge(B)
    assert judge(B) is None
    judge.shown.put(A)
    assert (judge(A), judge(B)) == ("PoolTaken", None)
    judge.shown.put(served(B))
    assert judge(A) == "PoolTaken"


@pytest.mark.parametrize("end", ["gone", "made anew", "terminating", "without rights"])
def test_an_admission_ends_when_its_config_can_no_longer_be_served(end: str) -> None:
    judge = Judge(B)
    assert judge(B) is None
    judge.shown.put(A)
    if end == "gone":
        judge.shown.drop(key_of(B))
    elif end == "made anew":
        judge.shown.put({**B, "metadata": {**B["metadata"], "uid": "another"}})
    elif end == "terminating":
        judge.shown.put({**B, "metadata": {**B["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}})
    else:
        judge.known.discard("ns-b")
        judge.without.add("ns-b")
    assert judge(A) is None


def test_an_older_one_that_could_not_be_served_is_not_in_the_way() -> None:
    older = waiting("ns-0"), waiting("ns-1", poolName="master"), waiting("ns-a", "a", poolName="taken")
    judge = Judge(*older, A, served(waiting("ns-x", poolName="taken")), without={"ns-0"})
    assert judge(A) is None


@pytest.mark.parametrize("holder", [served(waiting("ns-z")), served(waiting("ns-a", "z", poolName="other"))])
def test_one_that_is_served_keeps_what_it_has_from_an_older_one(holder: dict[str, Any]) -> None:
    assert Judge(A, holder)(A) in {"PoolTaken", "NamespaceTaken"}


def test_of_very_many_in_one_namespace_the_oldest_alone_are_looked_at_and_the_others_are_told() -> None:
    many = [waiting("ns-a", f"c{n}", n, poolName=f"p{n}") for n in range(MOST_WAITING + 3)]
    judge = Judge(*many, without={"ns-a"})
    said = [judge(obj) for obj in many]
    assert said == ["NamespaceNotServed"] * MOST_WAITING + ["TooManyInNamespace"] * 3
    judge.shown.drop(key_of(many[0]))
    assert judge(many[MOST_WAITING]) == "NamespaceNotServed"


def one_pool(number: int) -> list[dict[str, Any]]:
    return [waiting(f"ns-{n:04d}", second=n) for n in range(number)]


def one_namespace(number: int) -> list[dict[str, Any]]:
    return [waiting("ns", f"c{n:04d}", n, poolName=f"p{n}") for n in range(number)]


CROWDS = {
    "of strangers that name one pool": (one_pool, lambda objects: {obj["metadata"]["namespace"] for obj in objects}),
    "that could all be served, of one pool": (one_pool, lambda _: ()),
    "of strangers in one namespace": (one_namespace, lambda _: {"ns"}),
    "that could all be served, in one namespace": (one_namespace, lambda _: ()),
}


@pytest.mark.parametrize(("crowd", "without"), CROWDS.values(), ids=CROWDS)
@pytest.mark.parametrize("backwards", [False, True], ids=["the oldest first", "the youngest first"])
def test_the_cost_of_admission_grows_hardly_faster_than_the_number_of_configs_in_a_namespace(
    crowd: Callable[[int], list[dict[str, Any]]],
    without: Callable[[list[dict[str, Any]]], Collection[str]],
    backwards: bool,
) -> None:
    def steps(number: int) -> int:
        objects = crowd(number)
        judge = Judge(*objects, without=without(objects))
        CountedDict.looks = 0
        for obj in reversed(objects) if backwards else objects:
            judge(obj)
        return CountedDict.looks + len(judge.asked)

    few, lots = steps(100), steps(1600)
    assert few > 0
    assert lots <= few * 16 * math.log(1600) / math.log(100) * 1.1


def test_one_that_is_served_looks_at_none_that_never_was() -> None:
    victim, crowd = served(waiting("ns-v")), one_pool(500)
    for value in CONFIG_INDEXERS[SERVED](victim):
        assert [obj for obj in crowd if value in CONFIG_INDEXERS[SERVED](obj)] == []
