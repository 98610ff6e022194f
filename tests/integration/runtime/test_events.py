"""Events as a real API server takes them, and as people then see them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES
from dpunetop.kube.plan import Emit
from dpunetop.runtime import events
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Transport
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.metrics import Metrics
from dpunetop.sandbox.controlplane import ControlPlane


@pytest.fixture
def recorder(infra: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventRecorder]:
    monkeypatch.setattr(events, "REFRESH_SECONDS", 0.2)
    stop, clock, metrics = Stop(), RealClock(), Metrics().client("infra")
    connection = infra_connection(str(infra.admin_kubeconfig))
    transport = Transport(connection, stop, user_agent="dpunetop-test", metrics=metrics, clock=clock)
    client = Client(transport, clock=clock, metrics=metrics, name=INFRA)
    running = EventRecorder(lambda _: client, "dpunetop", clock, instance="pod-1")
    thread = threading.Thread(target=running.run, args=(stop,), name="events")
    thread.start()
    yield running
    stop.set()
    thread.join(60)


def told(event: dict[str, Any]) -> int:
    """How often; that is counted later than the first time is told, and maybe in two steps."""
    return int((event.get("series") or {}).get("count", 1))


def test_an_event_is_stored_and_its_like_are_counted(
    infra: ControlPlane, namespace: str, recorder: EventRecorder
) -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": namespace}}
    about = infra.apply(config_map)[0]
    for _ in range(3):
        recorder.emit(Emit(INFRA, CONFIGMAPS, about, "Warning", "Refused", "not ours"))
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    seen = infra.admin.wait_for(path, lambda found: [told(item) for item in found["items"]] == [3])
    (event,) = seen["items"]
    assert (event["reason"], event["note"]) == ("Refused", "not ours")
    assert event["regarding"]["uid"] == about["metadata"]["uid"]
    assert "not ours" in infra.kubectl("get", "events", "-n", namespace)


def test_an_event_about_a_node_is_shown_with_the_node(
    infra: ControlPlane, namespace: str, recorder: EventRecorder
) -> None:
    node = infra.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": namespace}})[0]
    recorder.emit(Emit(INFRA, NODES, node, "Normal", "DrainHeld", "its host is not drained"))
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    infra.admin.wait_for(path, lambda found: any(item["regarding"]["name"] == namespace for item in found["items"]))
    assert "its host is not drained" in infra.kubectl("describe", "node", namespace)
