"""Two API servers behind a balancer, of which one shuts down as Kubernetes does it: nobody may call that an outage."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import CONFIGMAPS
from dpunetop.kube.meta import name_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.transport import Connection, Redacted, StaticToken, Transport
from dpunetop.runtime.cluster import PROBE_FAILURES, PROBE_SECONDS, Cluster, Reach
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.metrics import Metrics
from dpunetop.sandbox.binaries import Binaries
from dpunetop.sandbox.components import API_ONLY, Component, Spec, User
from dpunetop.sandbox.controlplane import ControlPlane
from support.tcpproxy import TcpProxy
from support.told import Told

ADMIN = User("admin", ("system:masters",))
DELAY_SECONDS = PROBE_SECONDS * (PROBE_FAILURES + 1)
MAPS = Selection(CONFIGMAPS, "default")
WITHIN = 60.0


@pytest.fixture(scope="module")
def leaving(programs: Binaries) -> Iterator[ControlPlane]:
    """Says that it is not ready for so long after SIGTERM, and serves on meanwhile."""
    flags = (f"--shutdown-delay-duration={DELAY_SECONDS:g}s", "--shutdown-watch-termination-grace-period=5s")
    with ControlPlane(Spec("leaving", API_ONLY, (ADMIN,), apiserver_flags=flags), programs) as running:
        yield running


@pytest.fixture(scope="module")
def staying(programs: Binaries, leaving: ControlPlane) -> Iterator[ControlPlane]:
    """Another API server on the same data."""
    flags = (f"--etcd-servers={leaving.etcd_url}",)
    with ControlPlane(Spec("staying", (Component.APISERVER,), (ADMIN,), apiserver_flags=flags), programs) as running:
        yield running


def address(plane: ControlPlane) -> tuple[str, int]:
    server = urlsplit(plane.url)
    return str(server.hostname), server.port or 0


def cluster_behind(proxy: TcpProxy, *planes: ControlPlane) -> Cluster:
    stop, clock, metrics = Stop(), RealClock(), Metrics()
    trust = "".join(plane.ca_pem.decode() for plane in planes)
    connection = Connection(f"https://127.0.0.1:{proxy.port}", trust, StaticToken(Redacted(ADMIN.token)))
    recorder = metrics.client("both")
    transport = Transport(connection, stop, user_agent="dpunetop-test", metrics=recorder, clock=clock)
    client = Client(transport, clock=clock, metrics=recorder, name="both")
    return Cluster("both", client, clock=clock, metrics=metrics, random=lambda: 0.5, stop=stop)


def code_of_readyz(plane: ControlPlane) -> int:
    try:
        plane.admin.text("/readyz")
    except ApiError as err:
        return err.code
    return 200


def test_a_server_that_shuts_down_behind_a_balancer_is_never_unreachable_and_no_event_is_lost(
    leaving: ControlPlane, staying: ControlPlane
) -> None:
    """For all of its delay the balancer has not noticed: each connection, new ones too, leads to the one that leaves,
    which does what it is asked for. At rest nothing else than probes is asked."""
    clusters, told, seen = Clusters(), Told(), list[Reach]()
    with TcpProxy(*address(leaving)) as balancer:
        cluster = cluster_behind(balancer, leaving, staying)
        cluster.on_health(lambda: seen.append(cluster.health.reach))
        clusters.engage(cluster)
        try:
            cluster.share_informer(MAPS, told.change, told.filled, told.trouble)
            told.until(lambda all_: all_.synced == 1, WITHIN)
            process = leaving.process(Component.APISERVER)
            process.signal(signal.SIGTERM)
            began, refusals = time.monotonic(), 0
            while time.monotonic() - began < DELAY_SECONDS - PROBE_SECONDS:
                refusals += code_of_readyz(leaving) >= 500
                threading.Event().wait(0.5)
            balancer.turn_to(*address(staying))
            assert process.wait(WITHIN) is not None
            staying.admin.apply_at(
                "/api/v1/namespaces/default/configmaps/after",
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after", "namespace": "default"}},
            )
            told.until(lambda all_: any(name_of(each.new or {}) == "after" for each in all_.changes), WITHIN)
        finally:
            clusters.disengage("both")
    assert refusals > PROBE_FAILURES
    assert (seen, told.troubles) == ([Reach.REACHABLE], 0)
