"""Informers on a real API server: what they show, and what restarts, silence and narrow rights do to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, cast

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.keys import CONFIGMAPS, SECRETS
from dpunetop.kube.meta import name_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_name
from dpunetop.runtime.cache.informer import Informer
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.transport import Connection, Redacted, StaticToken, Transport
from dpunetop.runtime.cluster import Cluster, Reach
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.metrics import Metrics
from dpunetop.sandbox.binaries import Binaries
from dpunetop.sandbox.components import API_ONLY, Component, Spec, User
from dpunetop.sandbox.controlplane import ControlPlane
from support.told import Told

ADMIN = User("admin", ("system:masters",))
WATCHER = User("watcher")
NAMESPACE = "default"
MAPS = Selection(CONFIGMAPS, NAMESPACE, label_selector="mine=yes")
WITHIN = 60.0
STREAMS_ALONE = pytest.mark.parametrize("own", ["streams"], indirect=True)


@pytest.fixture(scope="module", params=["streams", "pages"])
def own(request: pytest.FixtureRequest, programs: Binaries) -> Iterator[ControlPlane]:
    """An API server that these tests may break; one that has WatchList, and one that does not."""
    flags = ("--feature-gates=WatchList=false",) if request.param == "pages" else ()
    with ControlPlane(Spec("own", API_ONLY, (ADMIN, WATCHER), apiserver_flags=flags), programs) as running:
        yield running


class Gated:
    """A client that counts what is asked, and asks nothing while its gate is shut."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._cond = threading.Condition()  # guards the three below
        self._is_open = True
        self._waiting = 0
        self.asked: list[str] = []
        self.ahead = 0  # added to the version of the next watch

    def hold_back(self) -> None:
        """Shut the gate and cut what is open, until the reader stands before the gate."""
        with self._cond:
            self._is_open = False
            while not self._waiting:
                self._client.close_connections()
                self._cond.wait(0.05)

    def open(self) -> None:
        with self._cond:
            self._is_open = True
            self._cond.notify_all()

    def _pass(self, what: str) -> None:
        with self._cond:
            self._waiting += 1
            self._cond.notify_all()
            assert self._cond.wait_for(lambda: self._is_open, timeout=60)
            self._waiting -= 1
            self.asked.append(what)

    def present_version(self, selection: Selection) -> str:
        self._pass("version")
        return self._client.present_version(selection)

    def pages(self, selection: Selection, page_size: int) -> Any:
        self._pass("list")
        return self._client.pages(selection, page_size)

    def follow(self, selection: Selection, resource_version: str, wake: Any) -> Any:
        self._pass("watch")
        ahead, self.ahead = self.ahead, 0
        return self._client.follow(selection, str(int(resource_version) + ahead), wake)

    def follow_list(self, selection: Selection, wake: Any) -> Any:
        self._pass("stream")
        return self._client.follow_list(selection, wake)

    def probe(self, timeout_seconds: float) -> None:
        self._client.probe(timeout_seconds)

    @property
    def heard_at(self) -> float:
        return self._client.heard_at

    def close_connections(self) -> None:
        self._client.close_connections()


class Engaged:
    """One cluster that runs, and what its informer tells."""

    def __init__(self, control_plane: ControlPlane, user: User, **settings: Any) -> None:
        self.stop, clock, metrics = Stop(), RealClock(), Metrics()
        recorder = metrics.client("own")
        connection = Connection(control_plane.url, control_plane.ca_pem.decode(), StaticToken(Redacted(user.token)))
        transport = Transport(
            connection, self.stop, user_agent="dpunetop-test", metrics=recorder, clock=clock, **settings
        )
        self.source = Gated(Client(transport, clock=clock, metrics=recorder, name="own"))
        self.cluster = Cluster(
            "own",
            cast(Client, self.source),
            clock=clock,
            metrics=metrics,
            random=lambda: 0.0,
            stop=self.stop,
            page_sizes={CONFIGMAPS: 10},
        )
        self.clusters = Clusters()
        self.clusters.engage(self.cluster)
        self.told = Told()

    def follow(self, selection: Selection = MAPS) -> Informer:
        informer = self.cluster.informer(selection)
        informer.add_handler(self.told.change, self.told.filled, self.told.trouble)
        assert informer.wait_synced(self.stop, WITHIN)
        return informer

    def until_reach(self, reach: Reach) -> None:
        """Wait for that state."""
        changed = threading.Condition()

        def notify() -> None:
            with changed:
                changed.notify_all()

        forget = self.cluster.on_health(notify)
        with changed:
            assert changed.wait_for(lambda: self.cluster.health.reach is reach, timeout=120), self.cluster.health
        forget()


@pytest.fixture
def engage(own: ControlPlane) -> Iterator[Callable[..., Engaged]]:
    made: list[Engaged] = []

    def make(user: User = ADMIN, **settings: Any) -> Engaged:
        made.append(Engaged(own, user, **settings))
        return made[-1]

    yield make
    for each in made:
        each.source.open()
        each.clusters.disengage("own")


@pytest.fixture
def maps(own: ControlPlane) -> Iterator[Callable[..., dict[str, Any]]]:
    """Writes ConfigMaps, and removes them at the end."""
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps"

    def write(name: str, value: str = "v") -> dict[str, Any]:
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {"mine": "yes"}}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"k": value}}
        return own.admin.apply_at(f"{path}/{name}", body)

    yield write
    for item in own.admin.list_all(path, labelSelector="mine=yes"):
        own.admin.delete(f"{path}/{name_of(item)}")


def remove(own: ControlPlane, name: str) -> None:
    own.admin.delete(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}")


def names(informer: Informer) -> set[str]:
    return {name_of(obj) for obj in informer.lister.list()}


def is_streaming(own: ControlPlane) -> bool:
    return not own.spec.apiserver_flags


def test_an_informer_shows_what_there_is_and_follows_every_change(
    own: ControlPlane, engage: Callable[..., Engaged], maps: Callable[..., dict[str, Any]]
) -> None:
    first = {f"m-{number:02}" for number in range(25)}
    for name in first:
        maps(name)
    engaged = engage()
    informer = engaged.follow()
    assert names(informer) == first
    assert len(engaged.told.changes) == 25
    maps("m-00", "changed")
    maps("m-99")
    remove(own, "m-01")
    engaged.told.until(lambda t: len(t.changes) == 28, WITHIN)
    assert engaged.told.names()[25:] == ["m-00", "m-99", "m-01"]
    assert names(informer) == first - {"m-01"} | {"m-99"}
    changed = informer.lister.get(NAMESPACE, "m-00")
    assert changed is not None
    assert (changed["data"], changed["apiVersion"], changed["kind"]) == ({"k": "changed"}, "v1", "ConfigMap")
    assert "managedFields" not in changed["metadata"]
    assert engaged.source.asked == (["stream"] if is_streaming(own) else ["stream", "list", "watch"])


def test_after_a_restart_what_was_missed_is_found_by_one_list_and_only_that_is_announced(
    own: ControlPlane, engage: Callable[..., Engaged], maps: Callable[..., dict[str, Any]]
) -> None:
    for name in ("kept", "gone", "changed"):
        maps(name)
    engaged = engage()
    informer = engaged.follow()
    engaged.source.hold_back()
    remove(own, "gone")
    maps("changed", "while nobody looked")
    maps("new")
    own.restart(Component.APISERVER)
    asked = len(engaged.source.asked)
    engaged.source.open()
    engaged.told.until(lambda t: len(t.changes) == 6, WITHIN)
    missed = {name_of(c.new or c.old or {}): c for c in engaged.told.changes[3:]}
    assert missed["gone"].final_state_unknown
    assert missed["gone"].new is None
    assert missed["new"].old is None
    assert missed["changed"].new is not None
    assert missed["changed"].new["data"] == {"k": "while nobody looked"}
    assert names(informer) == {"kept", "changed", "new"}
    reads = [what for what in engaged.source.asked[asked:] if what not in ("version", "watch")]
    assert reads == (["stream"] if is_streaming(own) else ["list"])


@STREAMS_ALONE
def test_a_server_that_falls_silent_is_found_out_and_work_goes_on_when_it_is_back(
    own: ControlPlane, engage: Callable[..., Engaged], maps: Callable[..., dict[str, Any]]
) -> None:
    maps("before")
    engaged = engage()
    engaged.follow()
    engaged.until_reach(Reach.REACHABLE)
    own.pause(Component.APISERVER)
    try:
        engaged.until_reach(Reach.UNREACHABLE)
        assert engaged.cluster.health.reason == "Timeout"
    finally:
        own.resume(Component.APISERVER)
    engaged.until_reach(Reach.REACHABLE)
    maps("after")
    engaged.told.until(lambda t: t.names()[-1] == "after")
    assert engaged.told.names() == ["before", "after"]


@STREAMS_ALONE
def test_a_watch_ahead_of_the_server_is_silent_and_the_idle_limit_leads_to_a_fresh_list(
    own: ControlPlane, engage: Callable[..., Engaged], maps: Callable[..., dict[str, Any]]
) -> None:
    engaged = engage(idle_seconds=2.0)
    engaged.follow()
    engaged.source.ahead = 1_000_000
    engaged.source.close_connections()
    deadline = time.monotonic() + WITHIN
    while engaged.source.ahead and time.monotonic() < deadline:
        engaged.stop.wait(0.05)
    maps("unseen-by-the-watch")
    engaged.told.until(lambda t: len(t.changes) == 1, WITHIN)


@STREAMS_ALONE
def test_a_secret_is_watched_with_rights_on_its_name_alone(own: ControlPlane, engage: Callable[..., Engaged]) -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mine"], "verbs": ["get", "list", "watch"]}
    rights: dict[str, Any] = {"name": "one-secret", "namespace": NAMESPACE}
    group = "rbac.authorization.k8s.io"
    own.apply({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": rights, "rules": [rule]})
    own.apply(
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": rights,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "one-secret"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": WATCHER.name}],
        }
    )
    engaged = engage(WATCHER)
    informer = engaged.follow(Selection(SECRETS, NAMESPACE, by_name("mine")))
    own.apply(
        [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}}
            for name in ("another", "mine")
        ]
    )
    engaged.told.until(lambda t: len(t.changes) == 1, WITHIN)
    assert names(informer) == {"mine"}
    refused = engaged.cluster.informer(Selection(SECRETS, NAMESPACE))
    with closing(_Troubles(refused)) as troubles:
        troubles.told.until(lambda t: t.troubles >= 1, WITHIN)  # it is told twice if it comes meanwhile
    assert refused.trouble is not None
    assert refused.trouble.reason == "Forbidden"
    assert not refused.has_synced()


class _Troubles:
    def __init__(self, informer: Informer) -> None:
        self.told = Told()
        self.close = informer.add_handler(self.told.change, self.told.filled, self.told.trouble)
        if informer.trouble is not None:
            self.told.trouble()
