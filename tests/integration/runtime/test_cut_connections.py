"""Caches behind something that forgets connections: it cuts what is idle, or loses everything without a word."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.keys import CONFIGMAPS
from dpunetop.kube.meta import name_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.listwatch import LIVED_SECONDS
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.transport import Connection, Redacted, StaticToken, Transport
from dpunetop.runtime.cluster import PROBE_SECONDS, Cluster, Reach
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.metrics import Metrics
from dpunetop.sandbox.binaries import Binaries
from dpunetop.sandbox.components import API_ONLY, Spec, User
from dpunetop.sandbox.controlplane import ControlPlane
from support.tcpproxy import Cut, TcpProxy
from support.told import Told

ADMIN = User("admin", ("system:masters",))
SELECTIONS = [Selection(CONFIGMAPS, "default", label_selector=f"mine=n{number}") for number in range(20)]
IDLE_SECONDS = LIVED_SECONDS + 1.5
WITHIN = 60.0
AT_ONCE = 10.0


@pytest.fixture(scope="module")
def own(programs: Binaries) -> Iterator[ControlPlane]:
    with ControlPlane(Spec("own", API_ONLY, (ADMIN,)), programs) as running:
        yield running


@dataclass
class Behind:
    """A cluster of many watches behind a proxy."""

    proxy: TcpProxy
    cluster: Cluster
    clusters: Clusters
    told: Told = field(default_factory=Told)

    def follow(self) -> None:
        for selection in SELECTIONS:
            self.cluster.share_informer(selection, self.told.change, self.told.filled, self.told.trouble)
        self.told.until(lambda told: told.synced == len(SELECTIONS), WITHIN)


@pytest.fixture
def behind(own: ControlPlane) -> Iterator[Callable[..., Behind]]:
    with ExitStack() as stack:

        def make(**settings: Any) -> Behind:
            server = urlsplit(own.url)
            proxy = stack.enter_context(TcpProxy(str(server.hostname), server.port or 0, **settings))
            stop, clock, metrics = Stop(), RealClock(), Metrics()
            connection = Connection(
                f"https://127.0.0.1:{proxy.port}", own.ca_pem.decode(), StaticToken(Redacted(ADMIN.token))
            )
            recorder = metrics.client("own")
            transport = Transport(connection, stop, user_agent="dpunetop-test", metrics=recorder, clock=clock)
            client = Client(transport, clock=clock, metrics=recorder, name="own")
            cluster = Cluster("own", client, clock=clock, metrics=metrics, random=lambda: 0.5, stop=stop)
            clusters = Clusters()
            clusters.engage(cluster)
            stack.callback(clusters.disengage, "own")
            return Behind(proxy, cluster, clusters)

        yield make


def write(own: ControlPlane, name: str, number: int = 0) -> None:
    path = f"/api/v1/namespaces/default/configmaps/{name}"
    metadata = {"name": name, "namespace": "default", "labels": {"mine": f"n{number}"}}
    own.admin.apply_at(path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})


def seen(name: str, told: Told) -> bool:
    return any(name_of(change.new or {}) == name for change in told.changes)


def test_events_come_at_once_however_often_what_is_idle_is_cut(
    own: ControlPlane, behind: Callable[..., Behind]
) -> None:
    each = [behind(idle_seconds=IDLE_SECONDS, how=how) for how in Cut]
    for one in each:
        one.follow()
    took = []
    for round_number in range(5):  # pauses that grew would be 13 s and more by then
        time.sleep(IDLE_SECONDS + 1.0)
        name = f"idle-{round_number}"
        began = time.monotonic()
        write(own, name)
        for one in each:
            one.told.until(partial(seen, name), WITHIN)
        took.append(time.monotonic() - began)
    assert min(took[3:]) < AT_ONCE  # a busy machine holds up one or the other
    for one in each:
        assert one.proxy.cuts >= 4 * len(SELECTIONS)
        assert (one.told.troubles, one.cluster.health.reach) == (0, Reach.REACHABLE)


def test_a_connection_that_silently_drops_everything_is_left_long_before_the_kernel_gives_it_up(
    own: ControlPlane, behind: Callable[..., Behind]
) -> None:
    one = behind()
    one.follow()
    time.sleep(PROBE_SECONDS / 2)
    assert one.proxy.swallow() > len(SELECTIONS)
    write(own, "swallowed", 7)
    one.told.until(partial(seen, "swallowed"), 60)
    assert (one.told.troubles, one.cluster.health.reach) == (0, Reach.REACHABLE)


def test_twenty_caches_at_rest_take_three_threads_and_their_sockets(
    own: ControlPlane, behind: Callable[..., Behind]
) -> None:
    before = set(threading.enumerate())
    one = behind()
    one.follow()
    deadline = time.monotonic() + WITHIN

    def ours() -> list[str]:
        found = set(threading.enumerate()) - before
        return sorted(thread.name.split(" ")[0] for thread in found if thread.name != "tcp-proxy")

    while ours() != ["caches", "cluster", "streams"]:
        assert time.monotonic() < deadline, ours()
        time.sleep(0.05)
    write(own, "rest", 3)
    one.told.until(partial(seen, "rest"), WITHIN)
    assert "streams" in ours()
    sockets = len(one.cluster.client._transport._sockets)
    assert len(SELECTIONS) < sockets <= len(SELECTIONS) + 4 + 8  # calls keep one connection a thread that made one
