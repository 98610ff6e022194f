"""Electors on a real API server, with no more rights than the Lease's name."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import structlog
from structlog.testing import LogCapture

from dpunetop.base.clock import RealClock
from dpunetop.base.stop import Stop
from dpunetop.kube.keys import INFRA
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import Transport
from dpunetop.runtime.election.election import Timings
from dpunetop.runtime.election.elector import Elector
from dpunetop.runtime.election.gate import LeadershipLost
from dpunetop.runtime.metrics import Metrics
from dpunetop.sandbox.controlplane import ControlPlane

LEASE = "dpunetop"
PATIENCE = 60.0
RBAC = "rbac.authorization.k8s.io"
TIMINGS = Timings(10.0, 8.0, 0.5)
"""A leader is not lost by a machine that is busy for some seconds."""


class Candidate:
    """An elector with its own connections, which may be cut."""

    def __init__(self, kubeconfig: str, namespace: str, identity: str) -> None:
        clock, metrics = RealClock(), Metrics()
        recorder = metrics.client("infra")
        self.closed = Stop()
        transport = Transport(
            infra_connection(kubeconfig), self.closed, user_agent=identity, metrics=recorder, clock=clock
        )
        client = Client(transport, clock=clock, metrics=recorder, name=INFRA)
        self.log = LogCapture()
        self.identity = identity
        self.elector = Elector(
            client.for_lease(),
            namespace,
            LEASE,
            identity,
            TIMINGS,
            clock=clock,
            metrics=metrics.elector(LEASE),
            random=random.random,
            logger=structlog.wrap_logger(
                None, processors=[self.log], wrapper_class=structlog.make_filtering_bound_logger(0)
            ),
        )
        self.stop = Stop()
        self.lost_at: list[float] = []
        self.threads = [
            threading.Thread(target=self._run, name=f"{identity}-run"),
            threading.Thread(target=self.elector.watch, args=(self.closed,), name=f"{identity}-watch"),
        ]

    def start(self) -> Candidate:
        for thread in self.threads:
            thread.start()
        return self

    def end(self) -> None:
        self.stop.set()
        self.threads[0].join(60)
        self.closed.set()
        self.threads[1].join(60)

    def _run(self) -> None:
        try:
            self.elector.run(self.stop)
        except LeadershipLost:
            self.lost_at.append(time.monotonic())


@pytest.fixture
def candidate(infra: ControlPlane, namespace: str) -> Iterator[Callable[[str], Candidate]]:
    verbs = ["get", "list", "watch", "create", "update", "patch"]
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [LEASE], "verbs": verbs}
    metadata = {"name": "elector", "namespace": namespace}
    infra.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]},
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "elector"},
                "subjects": [{"kind": "ServiceAccount", **metadata}],
            },
        ]
    )
    token = infra.service_account_token(namespace, "elector")
    kubeconfig = str(infra.write_kubeconfig(infra.token_kubeconfig(token), "elector"))
    started: list[Candidate] = []

    def start(identity: str) -> Candidate:
        started.append(Candidate(kubeconfig, namespace, identity))
        return started[-1].start()

    yield start
    for one in started:
        one.end()


def until(holds: Callable[[], bool]) -> float:
    """Wait until something holds; how long it took."""
    began, pause = time.monotonic(), threading.Event()
    while not holds():
        assert time.monotonic() - began < PATIENCE
        pause.wait(0.01)
    return time.monotonic() - began


def lease(infra: ControlPlane, namespace: str) -> dict[str, str | int]:
    found = infra.admin.get_or_empty(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}")
    return dict(found.get("spec") or {})


def test_the_lease_is_handed_over_at_once_on_release_and_in_time_after_a_silent_death(
    infra: ControlPlane,
    namespace: str,
    candidate: Callable[[str], Candidate],
    record_property: Callable[[str, object], None],
) -> None:
    first = candidate("first")
    created = until(lambda: first.elector.is_leader)
    second = candidate("second")
    until(lambda: any(e.get("holder") == "first" for e in second.log.entries))

    first.end()
    released = until(lambda: second.elector.is_leader)
    assert first.lost_at == []
    assert lease(infra, namespace)["leaseTransitions"] == 1

    third = candidate("third")
    until(lambda: any(e.get("holder") == "second" for e in third.log.entries))
    second.closed.set()
    cut_at = time.monotonic()
    died = until(lambda: third.elector.is_leader)
    assert second.lost_at
    assert second.lost_at[0] < cut_at + died
    assert lease(infra, namespace)["holderIdentity"] == "third"
    assert lease(infra, namespace)["leaseTransitions"] == 2

    record_property("lead_after_seconds", {"creation": created, "release": released, "death": died})
    assert created >= TIMINGS.lease_duration_seconds
    assert released < TIMINGS.lease_duration_seconds  # what is not released is waited for as long, see `died`
    assert died >= TIMINGS.lease_duration_seconds - TIMINGS.renew_deadline_seconds


def test_a_leader_survives_the_deletion_of_its_lease_and_ends_when_another_takes_it(
    infra: ControlPlane, namespace: str, candidate: Callable[[str], Candidate]
) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{LEASE}"
    leader = candidate("leader")
    standby = candidate("standby")
    until(lambda: leader.elector.is_leader or standby.elector.is_leader)
    if standby.elector.is_leader:
        leader, standby = standby, leader
    infra.admin.delete(path)
    until(lambda: bool(lease(infra, namespace)))
    until(lambda: lease(infra, namespace)["holderIdentity"] == leader.identity)
    assert (leader.elector.is_leader, standby.elector.is_leader) == (True, False)

    infra.admin.patch(path, {"spec": {"holderIdentity": "somebody"}})
    until(lambda: bool(leader.lost_at))
    assert not leader.elector.is_leader
