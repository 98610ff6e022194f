"""Killed at any write of the quick start, the operator starts anew and ends where an undisturbed one does.

`DPUNETOP_CRASH_EVERY` says how many writes lie between two kills: 1 takes each write, in all three phases; otherwise
the phases take turns. All cases play on one trial, which is cleared in between.
"""

from __future__ import annotations

import contextlib
import operator
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.domain.pairing.entries import serving_nodes
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, NODES, PODS, SECRETS, SERVICEACCOUNTS
from dpunetop.sandbox import seed
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support import oplog, writelog
from support.faultproxy import FaultProxyPair
from support.faults import Fault, Phase, kill
from support.history import History, Said
from support.trace import TraceEntry, is_counted, target_of
from support.trial import OUR_OBJECTS, Trial, eventually

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1200)]

NAME = "crash"
DPUS = 2
MOST = {
    "configmaps/ovnkube-node-entries": 1 + 2 * DPUS,  # for each DPU its entry, and that its idle pod is gone
    "pods": DPUS,  # each idle one
    "daemonsets/ovnkube-node": 2,  # made, then its template noted once a DPU serves with it
    **{f"poddisruptionbudgets/dpu-drain-blocker-{NAME}-dpu{n}": 2 for n in range(DPUS)},  # made open, then closed
    **{f"dpunodes/{NAME}-dpu{n}/status": 8 for n in range(DPUS)},  # one a second at most, on the way to serving
    "dpuclusterconfigs/crash/status": 32,  # what is seen of pool, pods and DPUs on their way
}
"""How many writes the quick start may take where it takes several; every other object takes one."""
RUN = "quick-start"
LAST_WRITE = len(writelog.recorded(RUN))
EVERY = int(os.environ.get("DPUNETOP_CRASH_EVERY", "4"))
RUNNING = (DAEMONSETS, DEPLOYMENTS)
PHASES = tuple(Phase)
READY_SECONDS = 120.0
QUIET_SECONDS = 2.0


def cases() -> Iterator[tuple[int, Phase]]:
    """At which write to kill, and when exactly."""
    for turn, write in enumerate(range(1, LAST_WRITE + 1, EVERY)):
        yield from ((write, phase) for phase in (PHASES if EVERY == 1 else (PHASES[turn % len(PHASES)],)))


@dataclass(frozen=True)
class Outcome:
    """Where a run has ended, and how many effective writes each object took."""

    state: dict[str, Any]
    writes: Counter[str]
    log: list[str]
    """The same in order, each with its method."""
    returns: dict[str, list[Said]]
    """Conditions that went back and forth."""


class CrashTrial:
    """One set of names that is used over and over, and the proxies that the operator alone goes through."""

    def __init__(self, world: World, proxies: FaultProxyPair) -> None:
        self.proxies = proxies
        self.trial = Trial(world, NAME, DPUS)
        world.infra.apply(seed.blocker_rights(NAME))
        self.token = world.operator_kubeconfig()["users"][0]["user"]["token"]
        self.tenant_kubeconfig = proxies.tenant.kubeconfig(self.trial.token(24 * 3600))
        self.await_nodes()

    def operator(self) -> OperatorProcess:
        return OperatorProcess(self.proxies.infra.kubeconfig(self.token), env={"NAMESPACE": NAME})

    def quick_start(self) -> None:
        self.history = History(self.trial.infra, NAME)
        self.trial.store_kubeconfig(self.tenant_kubeconfig)
        self.trial.store_overrides()
        self.trial.create_config()

    def outcome(self, since: int) -> Outcome:
        """What there is once the operator is done; `since` is the number of effective writes before it began."""
        self.trial.wait("Ready", "True", within=READY_SECONDS)
        self.await_quiet()
        writes = self.proxies.effective_writes()[since:]
        log = [f"{entry.method} {what(entry)}" for entry in writes]
        return Outcome(self.state(), Counter(map(what, writes)), log, self.history.returns())

    def await_quiet(self) -> None:
        """Wait until nothing was asked to change for a while."""
        seen = -1
        while seen != (seen := len(self.writes())):
            with contextlib.suppress(TimeoutError):
                eventually(lambda: len(self.writes()), partial(operator.ne, seen), QUIET_SECONDS)

    def writes(self) -> list[TraceEntry]:
        asked = self.proxies.infra.trace.writes() + self.proxies.tenant.trace.writes()
        return [entry for entry in asked if is_counted(entry)]  # reviews are questions

    def state(self) -> dict[str, Any]:
        """All that is there of it, without what differs from run to run."""
        objects = {place: self.trial.get(*place) for place in ((names.DPUCLUSTERCONFIGS, NAME), *OUR_OBJECTS)}
        found = {f"{resource.plural}/{name}": lasting(obj) for (resource, name), obj in objects.items()}
        for resource in (names.MACHINECONFIGPOOLS, names.MACHINECONFIGS):
            path = self.trial.path(resource, "").rstrip("/")
            for obj in self.trial.infra.list_all(path, labelSelector=names.OWNER_LABEL):
                found[f"{resource.plural}/{obj['metadata']['name']}"] = lasting(obj)
        entries, pods = self.trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES), self.trial.pods()
        for node in self.trial.nodes:
            place = names.PODDISRUPTIONBUDGETS, names.blocker_name(node)
            found["/".join(("budgets", node))] = lasting({**self.trial.get(*place), "status": None})
        found["pods"] = sorted((pod["spec"]["nodeName"], is_ready(pod)) for pod in pods)
        found["serving"] = sorted(serving_nodes(entries, pods))
        found["names"] = self.names()
        return found

    def names(self) -> list[str]:
        """Everything that stands in the namespace, so that nothing is there twice."""
        paths = [self.trial.path(resource, "") for resource in (SECRETS, CONFIGMAPS, SERVICEACCOUNTS, *RUNNING)]
        objects = [(path, obj) for path in paths for obj in self.trial.infra.list_all(path.rstrip("/"))]
        return sorted(path + obj["metadata"]["name"] for path, obj in objects)

    # --- clearing ---------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Take away all that a run has left, nodes included, and set the nodes up anew."""
        trial = self.trial
        self._delete(trial.path(names.DPUCLUSTERCONFIGS, NAME), finalized=True)
        for resource, name in OUR_OBJECTS:
            self._delete(trial.path(resource, name))
        for pod in trial.pods():
            self._delete(trial.path(PODS, pod["metadata"]["name"]), now=True)
        self._delete(trial.path(names.MACHINECONFIGPOOLS, trial.pool))
        self._delete(trial.path(names.MACHINECONFIGS, names.machine_config_name(trial.pool)))
        for node in trial.nodes:
            self._delete(trial.path(NODES, node))
            for resource in (names.PODDISRUPTIONBUDGETS, DEPLOYMENTS):
                self._delete(trial.path(resource, names.blocker_name(node)))
        self._delete(trial.path(SERVICEACCOUNTS, names.DRAIN_BLOCKER))
        eventually(self.left, lambda left: not left)
        for node in trial.nodes:
            trial.add_node(node)
        self.await_nodes()

    def left(self) -> list[str]:
        trial = self.trial
        places = [
            (names.DPUCLUSTERCONFIGS, NAME),
            *OUR_OBJECTS,
            (names.MACHINECONFIGPOOLS, trial.pool),
            (names.MACHINECONFIGS, names.machine_config_name(trial.pool)),
            *((NODES, node) for node in trial.nodes),
            *((names.PODDISRUPTIONBUDGETS, names.blocker_name(node)) for node in trial.nodes),
        ]
        return [name for resource, name in places if trial.get(resource, name)] + [
            pod["metadata"]["name"] for pod in trial.pods()
        ]

    def await_nodes(self) -> None:
        """Wait until the nodes are Ready and have a configuration, as before any quick start."""

        def is_usual(node: Obj) -> bool:
            annotations = node["metadata"].get("annotations") or {}
            return is_ready(node) and annotations.get(names.MACHINE_CONFIG_STATE_ANNOTATION) == "Done"

        nodes = [self.trial.path(NODES, node) for node in self.trial.nodes]
        eventually(lambda: [self.trial.infra.get(node) for node in nodes], lambda seen: all(map(is_usual, seen)))

    def _delete(self, path: str, *, finalized: bool = False, now: bool = False) -> None:
        with contextlib.suppress(NotFound):
            self.trial.infra.delete(path, {"gracePeriodSeconds": 0} if now else None)
            if finalized:
                self.trial.infra.patch(path, {"metadata": {"finalizers": None}})


@pytest.fixture(scope="module")
def crash_case(world: World) -> Iterator[CrashTrial]:
    with FaultProxyPair(world.infra, world.tenant) as proxies:
        crash_case = CrashTrial(world, proxies)
        yield crash_case
        crash_case.trial.close()


@pytest.fixture(scope="module")
def undisturbed(crash_case: CrashTrial) -> Outcome:
    """What an operator that nobody kills brings about."""
    before = crash_case.proxies.counter.effective
    with crash_case.operator() as operator:
        crash_case.quick_start()
        outcome = crash_case.outcome(before)
        assert oplog.alarms(operator) == []
    return outcome


@pytest.fixture
def clear_stage(crash_case: CrashTrial, undisturbed: Outcome) -> None:
    crash_case.clear()


def test_the_undisturbed_quick_start_writes_each_object_once(undisturbed: Outcome) -> None:
    assert too_many(undisturbed.writes) == {}
    assert undisturbed.returns == {}
    assert writelog.differences(RUN, undisturbed.log, varies) == []
    assert undisturbed.state["serving"] == ["crash-dpu0", "crash-dpu1"]


@pytest.mark.usefixtures("undisturbed")
def test_started_anew_after_the_last_write_it_asks_for_no_change(crash_case: CrashTrial) -> None:
    before, asked = crash_case.state(), len(crash_case.writes())
    with crash_case.operator() as operator:
        operator.wait_ready()
        crash_case.await_quiet()
        assert oplog.alarms(operator) == []
    assert crash_case.writes()[asked:] == []
    assert crash_case.state() == before


@pytest.mark.usefixtures("clear_stage")
@pytest.mark.parametrize(("write", "phase"), list(cases()), ids=lambda value: getattr(value, "value", str(value)))
def test_killed_at_a_write_it_ends_where_an_undisturbed_one_does(
    crash_case: CrashTrial, undisturbed: Outcome, write: int, phase: Phase
) -> None:
    before = crash_case.proxies.counter.effective
    with crash_case.operator() as operator:
        fault = crash_case.proxies.counter.arm(kill(before + write, phase, lambda: operator.pid))
        crash_case.quick_start()
        await_strike(crash_case, fault)
        done = Counter(map(what, crash_case.proxies.effective_writes()[before:]))
        if fault.fired.is_set():
            assert done.total() == (write - 1 if phase is Phase.BEFORE_FORWARD else write)
            assert operator.wait(60) == -9
            operator.start()
        else:
            crash_case.proxies.counter.struck(fault)  # the quick start had fewer writes this time
        outcome = crash_case.outcome(before)
        assert oplog.alarms(operator) == []
    assert outcome.state == undisturbed.state
    assert too_many(outcome.writes) == {}
    assert outcome.returns == {}


def await_strike(crash_case: CrashTrial, fault: Fault) -> None:
    """Wait until the operator is killed, or has nothing left to be killed at."""
    eventually(
        lambda: (
            fault.fired.is_set() or (condition_of(crash_case.trial.config(), "Ready") or {}).get("status") == "True"
        ),
        bool,
        READY_SECONDS,
    )
    if not fault.fired.is_set():
        crash_case.await_quiet()


def varies(write: str) -> bool:
    """Whether a run may have more or fewer of it: what may be written several times is, as others act sooner or later;
    `MOST` bounds it."""
    return MOST.get(write.partition(" ")[2], 1) > 1


def too_many(writes: Counter[str]) -> dict[str, int]:
    """Which objects were written more often than they need."""
    return {key: count for key, count in writes.items() if count > MOST.get(key, 1)}


def what(entry: TraceEntry) -> str:
    """Which object a write is about, whichever of its pods."""
    target = target_of(entry.path)
    assert target is not None
    if target.plural == "pods":
        return "pods"
    return "/".join(part for part in (target.plural, target.name, target.subresource) if part)


PASSING = {
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "lastTransitionTime",
    names.SINCE_ANNOTATION,
    "generation",
    "observedGeneration",
}


def lasting(value: Any) -> Any:
    """Without what names a moment or one life of an object."""
    match value:
        case dict():
            return {key: lasting(item) for key, item in value.items() if key not in PASSING}
        case list() if value and all(isinstance(item, dict) and "type" in item for item in value):
            return sorted(map(lasting, value), key=lambda item: str(item["type"]))
        case list():
            return [lasting(item) for item in value]
    return value


def is_ready(obj: Obj) -> bool:
    return (condition_of(obj, "Ready") or {}).get("status") == "True"
