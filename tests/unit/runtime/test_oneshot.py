"""One look: each collection is listed once, and one that cannot be listed is never taken for empty."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from dpunetop.kube.errors import ApiError, Forbidden
from dpunetop.kube.keys import INFRA, NODES, PODS
from dpunetop.kube.meta import Obj, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.oneshot import OneShotListers
from dpunetop.runtime.reading import NotEngaged, NotSynced

OBJECTS: list[Obj] = [{"metadata": {"name": "a", "namespace": "n"}}, {"metadata": {"name": "b", "namespace": "m"}}]


class Server:
    """Lists pods, refuses Nodes, and counts."""

    def __init__(self) -> None:
        self.asked: list[Selection] = []

    def list(self, cluster: str, selection: Selection) -> Iterable[Obj]:
        self.asked.append(selection)
        if cluster != INFRA:
            raise NotEngaged(cluster)
        if selection.resource == NODES:
            raise Forbidden(403, "Forbidden", "nodes is forbidden")
        return OBJECTS


def look(server: Server) -> OneShotListers:
    return OneShotListers(server.list, {PODS: {"home": lambda obj: [namespace_of(obj)]}})


def test_a_collection_is_listed_once_however_often_it_is_read() -> None:
    server = Server()
    reader = look(server).reader()
    assert reader.get(INFRA, Selection(PODS), "n", "a") == OBJECTS[0]
    assert reader.get(INFRA, Selection(PODS), "n", "b") is None
    assert reader.list(INFRA, Selection(PODS)) == OBJECTS
    assert reader.by_index(INFRA, Selection(PODS), "home", "m") == [OBJECTS[1]]
    assert reader.unwoken(INFRA, Selection(PODS)).get("n", "a") == OBJECTS[0]
    assert server.asked == [Selection(PODS)]
    assert reader.refusal() is None


def test_what_cannot_be_listed_is_not_synced_with_the_error_and_is_not_asked_for_again() -> None:
    server = Server()
    once = look(server)
    for _ in range(2):
        with pytest.raises(NotSynced) as raised:
            once.reader().list(INFRA, Selection(NODES))
        assert isinstance(raised.value.error, ApiError)
    assert server.asked == [Selection(NODES)]
    assert [*once.failures()] == [(INFRA, Selection(NODES))]


def test_a_cluster_that_is_not_looked_at_is_not_engaged() -> None:
    with pytest.raises(NotEngaged):
        look(Server()).reader().list("tenant/n/a", Selection(PODS))
