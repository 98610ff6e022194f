"""Killed at any write of a drain, or stopped there while another one goes on, the operator leaves what it should.

`DPUNETOP_CRASH_EVERY` says how many writes lie between two kills, as in `test_crash`. All kills play on one DPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support import drainrules, election, oplog, writelog
from support.drains import Drains
from support.faultproxy import FaultProxyPair
from support.faults import Phase, kill, stop
from support.trace import Asked, TraceEntry, is_counted, target_of
from support.trial import Trial, eventually

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1200)]

NewTrial = Callable[..., Trial]

EVERY = int(os.environ.get("DPUNETOP_CRASH_EVERY", "4"))
PHASES = tuple(Phase)
RUN = "drain"
LAST_WRITE = len(writelog.recorded(RUN))
OPENS = writelog.opening(writelog.recorded(RUN))
"""The write that opens the budget."""
STOPS = range(1, OPENS + 1) if EVERY == 1 else (OPENS,)
LOST = 3
"""Exit code of a process that may not write any more."""
AFTERMATH_SECONDS = 1.0
SLOW = 120.0


DRAINS = ("poddisruptionbudgets", "nodemaintenances", "nodes")


def drains_only(asked: Asked) -> bool:
    """Only these writes are counted: what is said about a drain, and how often, is not what it is about."""
    target = target_of(asked.path)
    return target is not None and target.plural in DRAINS and not target.subresource and is_counted(asked)


def notes_what_it_sees(write: str) -> bool:
    """Whether a drain may have more or fewer of it: boot and containers of the DPU are seen together or one by one."""
    return " poddisruptionbudgets/" in write


def kills() -> Iterator[tuple[int, Phase]]:
    """At which write to kill, and when exactly."""
    for turn, write in enumerate(range(1, LAST_WRITE + 1, EVERY)):
        yield from ((write, phase) for phase in (PHASES if EVERY == 1 else (PHASES[turn % len(PHASES)],)))


class CrashDrains:
    """One DPU that serves, whose drains all go through the proxies."""

    def __init__(self, world: World, trial: Trial, proxies: FaultProxyPair) -> None:
        self.proxies = proxies
        self.drains = Drains(trial)
        self.token = world.operator_kubeconfig()["users"][0]["user"]["token"]
        self.operator = OperatorProcess(proxies.infra.kubeconfig(self.token), env=self.drains.environment)
        self.revision = 0

    def start(self) -> None:
        self.operator.start()
        self.drains.serve(self.proxies.tenant.kubeconfig(self.drains.trial.token(24 * 3600)))
        self.drains.run_workloads()

    def roll(self) -> None:
        self.revision += 1
        self.drains.roll(str(self.revision))


@pytest.fixture(scope="module")
def crash_drains(world: World) -> Iterator[CrashDrains]:
    with FaultProxyPair(world.infra, world.tenant) as proxies:
        proxies.counter.counts = drains_only
        crash_drains = CrashDrains(world, Trial(world, "drain-crash"), proxies)
        try:
            crash_drains.start()
            yield crash_drains
        finally:
            crash_drains.operator.close()
            crash_drains.drains.close()
            crash_drains.drains.trial.close()


@pytest.fixture(scope="module")
def undisturbed(crash_drains: CrashDrains) -> dict[str, Any]:
    """What a drain that nobody disturbs leaves, and takes."""
    before, state = crash_drains.proxies.counter.effective, crash_drains.drains.state()
    crash_drains.roll()
    crash_drains.drains.until_rolled()
    assert crash_drains.drains.state() == state
    taken = [f"{entry.method} {what(entry)}" for entry in crash_drains.proxies.effective_writes()[before:]]
    assert writelog.differences(RUN, taken, notes_what_it_sees) == []
    assert tuple(taken[:OPENS]) == writelog.recorded(RUN)[:OPENS]
    return state


@pytest.fixture
def said(crash_drains: CrashDrains, request: pytest.FixtureRequest) -> Iterator[None]:
    """What the operator has logged is shown when the test fails."""
    before = len(crash_drains.operator.log_text())
    yield
    conditions = (crash_drains.drains.trial.config().get("status") or {}).get("conditions")
    text = f"{crash_drains.operator.log_text()[before:][-40_000:]}\n{conditions}"
    request.node.add_report_section("teardown", "operator", text)


@pytest.mark.usefixtures("undisturbed")
def test_an_undisturbed_drain_makes_the_writes_that_are_recorded(crash_drains: CrashDrains) -> None:
    assert unfenced(crash_drains.proxies) == []


@pytest.mark.usefixtures("said")
@pytest.mark.parametrize(("write", "phase"), list(kills()), ids=lambda value: getattr(value, "value", str(value)))
def test_killed_at_a_write_of_a_drain_it_ends_where_an_undisturbed_one_does(
    crash_drains: CrashDrains, undisturbed: dict[str, Any], write: int, phase: Phase
) -> None:
    drains, counter = crash_drains.drains, crash_drains.proxies.counter
    with drains.watch_log() as log:
        fault = counter.arm(kill(counter.effective + write, phase, lambda: crash_drains.operator.pid))
        crash_drains.roll()
        eventually(lambda: fault.fired.is_set() or is_over(crash_drains), bool, SLOW)
        if fault.fired.wait(AFTERMATH_SECONDS):  # the last write may be what ended the drain
            assert crash_drains.operator.wait(60) == -9
            crash_drains.operator.start()
        else:
            counter.struck(fault)  # this drain had fewer writes
        drains.until_rolled()
        story = log.story()
    assert drains.state() == undisturbed
    assert drainrules.broken(story, drains.hosts, drains.trial.namespace) == []
    assert drainrules.openings(story, drains.hosts) >= 1
    assert unfenced(crash_drains.proxies) == []
    assert oplog.alarms(crash_drains.operator) == []


def is_over(crash_drains: CrashDrains) -> bool:
    try:
        crash_drains.drains.until_rolled(0.0)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("write", STOPS)
@pytest.mark.parametrize("phase", PHASES[:2] if EVERY == 1 else PHASES[:1], ids=lambda phase: phase.value)
def test_a_leader_that_was_stopped_at_a_write_harms_nothing_when_it_goes_on(
    world: World, new_trial: NewTrial, request: pytest.FixtureRequest, write: int, phase: Phase
) -> None:
    drains = Drains(new_trial())
    [(dpu, host)] = drains.pairs.items()
    env = drains.environment
    token = world.operator_kubeconfig()["users"][0]["user"]["token"]
    with FaultProxyPair(world.infra, world.tenant) as proxies:
        proxies.counter.counts = drains_only
        leader = OperatorProcess(proxies.infra.kubeconfig(token), name="leader", env=env, flags=election.FLAGS)
        standby = OperatorProcess(world.operator_kubeconfig(), name="standby", env=env, flags=election.FLAGS)
        try:
            leader.start()
            drains.serve(proxies.tenant.kubeconfig(drains.trial.token()))
            drains.run_workloads()
            standby.start()
            standby.wait_ready()
            with drains.watch_log() as log:
                fault = proxies.counter.arm(stop(proxies.counter.effective + write, phase, lambda: leader.pid))
                drains.cordon(dpu)
                assert fault.fired.wait(SLOW), "there were fewer writes"
                # The standby takes over, gives the host back and begins anew; this time the host is not drained.
                drains.cordon(dpu, yes=False)
                drains.until_idle()
                drains.hold_host(host)
                drains.cordon(dpu)
                eventually(lambda: drains.maintenance(host), lambda seen: phase_of(seen) == "Running", SLOW)
                fault.release()
                leader.resume()
                assert leader.wait(120.0) == LOST
                assert not drains.is_open(dpu)
                drains.let_host_go(host)
                drains.until_open(dpu)
                drains.cordon(dpu, yes=False)
                drains.until_idle()
                story = log.story()
            assert drainrules.broken(story, drains.hosts, drains.trial.namespace) == []
            assert oplog.alarms(standby) == []
        finally:
            for operator in (leader, standby):
                request.node.add_report_section("teardown", operator.name, operator.log_text()[-20_000:])
                operator.close()
            drains.close()


def phase_of(maintenance: Mapping[str, Any]) -> str:
    return str((maintenance.get("status") or {}).get("phase", ""))


def unfenced(proxies: FaultProxyPair) -> list[str]:
    """Writes of protections and maintenances that did not name what they had read."""
    return [f"{entry.method} {what(entry)}" for entry in proxies.effective_writes() if is_loose(entry)]


def is_loose(entry: TraceEntry) -> bool:
    target = target_of(entry.path)
    if target is None or target.subresource or target.plural not in ("poddisruptionbudgets", "nodemaintenances"):
        return entry.method == "DELETE" and not entry.uid
    is_created = entry.resource_version == "1"
    return not is_created and not (entry.uid and entry.resource_version)


def what(entry: TraceEntry) -> str:
    target = target_of(entry.path)
    assert target is not None
    return "/".join(part for part in (target.plural, target.name, target.subresource) if part)
