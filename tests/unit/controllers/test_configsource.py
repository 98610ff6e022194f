from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from dpunetop.controllers.configsource import ConfigSource
from dpunetop.controllers.reconciler import CONFIG_INDEXERS
from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.kube.keys import INFRA, Key
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cluster import Cluster as RealCluster
from support.objects import config

ESTABLISHED = {
    "metadata": {"name": "dpuclusterconfigs.dpu.openshift.io"},
    "status": {"conditions": [{"type": "Established", "status": "True"}]},
}
NOT_YET = {"metadata": {"name": "dpuclusterconfigs.dpu.openshift.io"}, "status": {"conditions": None}}


class FakeHandle:
    def __init__(self, cluster: Cluster, selection: Selection) -> None:
        self.cluster, self.selection = cluster, selection
        self.lister = self

    def by_index(self, index: str, value: str) -> list[Obj]:
        return [obj for obj in self.cluster.objects if value in CONFIG_INDEXERS[index](obj)]

    def has_synced(self) -> bool:
        return self.selection in self.cluster.synced


Handler = Callable[[Change], None]


class Cluster:
    """Holds what it is asked to, and is told what to tell."""

    def __init__(self) -> None:
        self.handlers: dict[Selection, tuple[Handler, Callable[[], None]]] = {}
        self.synced: set[Selection] = set()
        self.objects: list[Obj] = []
        self.judged: list[Key] = []

    def share_informer(
        self, selection: Selection, handler: Handler, on_synced: Callable[[], None] = lambda: None
    ) -> FakeHandle:
        self.handlers[selection] = handler, on_synced
        return FakeHandle(self, selection)

    def shows(self, selection: Selection, obj: dict[str, Any]) -> None:
        self.handlers[selection][0](Change(None, obj, False))

    def has_read(self, selection: Selection) -> None:
        self.synced.add(selection)
        self.handlers[selection][1]()


CONFIGS = (Selection(DPUCLUSTERCONFIGS, "a"), Selection(DPUCLUSTERCONFIGS, "b"))


def started() -> tuple[Cluster, ConfigSource, list[Key], Selection]:
    cluster = Cluster()
    woken: list[Key] = []
    source = ConfigSource(cast(RealCluster, cluster), CONFIGS, woken.append, cluster.judged.append)
    source.start()
    (definition,) = cluster.handlers
    return cluster, source, woken, definition


def test_only_the_definition_is_watched_until_it_is_established() -> None:
    cluster, source, _, definition = started()
    cluster.shows(definition, NOT_YET)
    cluster.has_read(definition)
    assert list(cluster.handlers) == [definition]
    assert "waiting for the CustomResourceDefinition" in (source.trouble() or "")


def test_configs_are_watched_once_the_definition_is_established() -> None:
    cluster, source, _, definition = started()
    cluster.has_read(definition)
    cluster.shows(definition, ESTABLISHED)
    cluster.shows(definition, ESTABLISHED)
    assert list(cluster.handlers) == [definition, *CONFIGS]
    assert source.trouble() == "DpuClusterConfigs have not been read yet"


def test_there_is_no_trouble_once_all_has_been_read() -> None:
    cluster, source, _, definition = started()
    cluster.shows(definition, ESTABLISHED)
    for selection in (definition, *CONFIGS):
        cluster.has_read(selection)
    assert source.trouble() is None


def test_before_anything_was_read_that_is_the_trouble() -> None:
    _, source, _, _ = started()
    assert source.trouble() == "the infra API server has not been read yet"


def test_every_change_of_a_config_wakes_its_key_and_its_end_does_too() -> None:
    cluster, _, woken, definition = started()
    cluster.shows(definition, ESTABLISHED)
    cluster.shows(CONFIGS[0], config())
    cluster.handlers[CONFIGS[0]][0](Change(config(), None, False))
    assert woken == [Key(INFRA, "dpu-one", "sample")] * 2


def fresh(name: str, namespace: str = "a", **spec: str) -> dict[str, Any]:
    """One that was never served."""
    return {**config(name, namespace, **spec), "status": {}}


def test_one_that_was_never_served_wakes_whoever_judges_it_alone() -> None:
    cluster, _, woken, definition = started()
    cluster.shows(definition, ESTABLISHED)
    cluster.shows(CONFIGS[0], fresh("new"))
    assert (woken, cluster.judged) == ([], [Key(INFRA, "a", "new")])
    cluster.handlers[CONFIGS[0]][0](Change(fresh("new"), config("new", "a"), False))
    assert woken == [Key(INFRA, "a", "new")]


def test_the_end_of_one_that_was_served_has_those_judged_that_wait_for_what_it_had() -> None:
    cluster, _, _, definition = started()
    cluster.shows(definition, ESTABLISHED)
    cluster.objects = [
        fresh("in-its-namespace", poolName="other"),
        fresh("for-its-pool", "b"),
        fresh("x", "b", poolName="y"),
    ]
    cluster.handlers[CONFIGS[0]][0](Change(config("old", "a"), None, False))
    assert set(cluster.judged) == {Key(INFRA, "a", "in-its-namespace"), Key(INFRA, "b", "for-its-pool")}
