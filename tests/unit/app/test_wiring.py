"""Each controller has the workers and the lanes that its calls need."""

from __future__ import annotations

import inspect
import threading
from types import SimpleNamespace
from typing import Any, cast

import structlog

from dpunetop.app import wiring
from dpunetop.base.stop import Stop
from dpunetop.controllers.dpunodes import DpuNodes
from dpunetop.controllers.drain.hosts import Hosts
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.controllers.reconciler import ConfigReconciler
from dpunetop.controllers.tenant.credential import DpuCredential
from dpunetop.controllers.tenant.link import TenantLink
from dpunetop.kube.keys import INFRA, Key
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.transport import Pool, Transport
from dpunetop.runtime.controller import Controller
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.serving.reviews import Verdict
from support.clock import FakeClock
from support.scriptedtransport import ScriptedTransport, response


def kinds(kind: type = ConfigReconciler) -> list[type[Any]]:
    """All controllers of DpuClusterConfigs that there are."""
    subclasses: list[type[Any]] = kind.__subclasses__()
    below = [each for sub in subclasses for each in kinds(sub)]
    return below if inspect.isabstract(kind) else [kind, *below]


def test_who_is_handed_a_way_to_call_tenants_has_a_lane_for_each() -> None:
    callers = {kind for kind in kinds() if "build_tenant" in inspect.signature(kind.__init__).parameters}
    assert callers == {kind for kind in kinds() if wiring.workers(kind, 16) != 16} == {TenantLink, DpuCredential}
    assert {wiring.workers(kind, 300) for kind in kinds()} == {300}


def test_the_controller_that_nobody_waits_for_keeps_few_threads_and_connections() -> None:
    assert (wiring.workers(DpuNodes, 16), wiring.workers(DpuNodes, 2)) == (4, 2)
    assert wiring.workers(Hosts, 16) == 16


def test_every_key_of_a_tenant_is_of_the_lane_that_its_cluster_is_named_after() -> None:
    config, host = Key(INFRA, "ns", "sample"), Key("tenant/ns/sample", "host", "h")
    lanes = {kind.lane(object.__new__(kind), config) for kind in kinds() if not inspect.isabstract(kind)}
    lanes |= {Hosts.lane(object.__new__(Hosts), host), Inquiries.lane(object.__new__(Inquiries), host)}
    assert lanes == {host.cluster}


def test_reviews_of_those_who_ask_for_metrics_take_no_connection_of_reconcilers() -> None:
    clock, metrics = FakeClock(), Metrics()
    transport = ScriptedTransport(response(201, {"status": {"authenticated": False}}))
    client = Client(cast(Transport, transport), clock=clock, metrics=metrics.client("h"), name=INFRA)
    wired: Any = object.__new__(wiring._Wiring)
    wired._clock, wired._metrics, wired._infra = clock, metrics, SimpleNamespace(client=client)
    wired._settings = SimpleNamespace(metrics_secure=True, metrics_cert_path=None)
    assert wired._new_door().reviewer.judge("token", "/metrics", "get", Stop(clock), peer="p") is Verdict.UNKNOWN_CALLER
    assert [sent.options.pool for sent in transport.sent] == [Pool.REVIEWS]


def test_tenants_that_hang_hold_up_no_other() -> None:
    reached, released = threading.Event(), threading.Event()

    class Hanging:
        def reconcile(self, key: Key, stop: Stop) -> float | None:
            reached.set() if key.name == "healthy" else released.wait(60)
            return None

    clock, stop, lanes = FakeClock(), Stop(), wiring.workers(TenantLink, 16)
    log = structlog.get_logger().bind()
    controller = Controller("c", Hanging(), clock=clock, metrics=Metrics(), workers=lanes, logger=log)
    for number in range(lanes - 1):
        controller.queue.add(Key(INFRA, "ns", f"slow-{number}"))
    controller.queue.add(Key(INFRA, "ns", "healthy"))
    running = threading.Thread(target=controller.run, args=(stop,))
    running.start()
    assert reached.wait(60)
    released.set()
    stop.set()
    running.join()
