"""Two operators, one leader: the hand-over when it ends, is killed or is stopped, with the times it takes.

Who wrote what is taken from the audit log of the API server, where each process shows by its User-Agent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import SERVICEACCOUNTS
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support import audit, election, oplog
from support.audit import Asked, Audit
from support.election import LEASE_SECONDS, RETRY_SECONDS
from support.faultproxy import FaultProxy
from support.faults import Phase, kill, stop
from support.measuring import Measured
from support.trace import is_review
from support.trial import Trial, eventually

NewTrial = Callable[..., Trial]

pytestmark = pytest.mark.timeout(900)

LOST = 3
"""Exit code of a process that may not write any more."""
ACCOUNT = f"serviceaccounts/{names.OVNKUBE_SERVICE_ACCOUNT}"
TAKEN_OVER_SECONDS = LEASE_SECONDS + 4.4 * RETRY_SECONDS
SLACK_SECONDS = 30.0
"""For a machine on which everything else runs too."""


@dataclass
class Duo:
    """A leader, behind a proxy of its own, and a standby with warm caches."""

    world: World
    leader: OperatorProcess
    standby: OperatorProcess
    proxy: FaultProxy
    audit: Audit
    old: str
    """Identity of the leader."""

    def holder(self) -> str:
        lease = self.world.infra.admin.get_or_empty(election.LEASE_PATH)
        return str((lease.get("spec") or {}).get("holderIdentity") or "")

    def wait_taken_over(self) -> str:
        """Wait for another holder than the first leader; its identity."""
        return eventually(self.holder, lambda holder: holder not in ("", self.old))

    def by(self, identity: str) -> list[Asked]:
        """The writes of one process that were done, in order; not its Events: it may tell of its last deeds after it
        has given the Lease back."""
        done = [a for a in self.audit.requests() if a.is_write and not a.is_failed and a.resource != "events"]
        return sorted((asked for asked in done if identity in asked.agent), key=lambda asked: asked.received)


@pytest.fixture
def trial(new_trial: NewTrial) -> Trial:
    return new_trial()


@pytest.fixture
def duo(world: World, trial: Trial, request: pytest.FixtureRequest) -> Iterator[Duo]:
    token = world.operator_kubeconfig()["users"][0]["user"]["token"]
    env = election.environment(trial.namespace)
    log = audit.of_operator(world.infra)
    with FaultProxy.before(world.infra) as proxy:
        leader = OperatorProcess(proxy.kubeconfig(token), name="leader", env=env, flags=election.FLAGS)
        standby = OperatorProcess(world.operator_kubeconfig(), name="standby", env=env, flags=election.FLAGS)
        duo = Duo(world, leader, standby, proxy, log, "")
        try:
            leader.start()
            leader.wait_ready()
            duo.old = eventually(duo.holder, lambda holder: leads(leader, holder))
            standby.start()
            standby.wait_ready()
            yield duo
            standby.terminate()
            assert standby.wait(120.0) == 0
            assert oplog.alarms(standby) == []
        finally:
            for operator in (leader, standby):
                request.node.add_report_section("teardown", operator.name, operator.log_text()[-20_000:])
                operator.close()


def leads(operator: OperatorProcess, holder: str) -> bool:
    """Whether the process itself says that it is that holder."""
    own = [line["identity"] for line in oplog.lines(operator) if line["event"] == "election"]
    return holder != "" and holder in own


def seconds_between(before: str, after: str) -> float:
    return (datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds()


def repaired(trial: Trial) -> None:
    """Have something to do for whoever leads, and wait until it is done."""
    path = trial.path(SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT)
    before = trial.infra.get(path)["metadata"]["uid"]
    trial.infra.delete(path)
    trial.infra.wait_for(path, lambda seen: seen.get("metadata", {}).get("uid") not in (None, before))


def assert_never_two_writers(duo: Duo, new: str) -> None:
    """Nothing by the old leader after the first write of the new one."""
    first = duo.by(new)[0]
    assert (first.verb, first.resource) == ("update", "leases")
    assert [asked for asked in duo.by(duo.old) if asked.received >= first.received] == []


def test_a_leader_that_ends_gives_the_lease_back_last_and_the_other_takes_it_at_once(
    duo: Duo, trial: Trial, measured: Measured
) -> None:
    trial.ready()
    begun = time.monotonic()
    duo.leader.terminate()
    assert duo.leader.wait(120.0) == 0
    ended = time.monotonic() - begun
    new = duo.wait_taken_over()
    repaired(trial)

    released, taken = duo.by(duo.old)[-1], duo.by(new)[0]
    assert released.resource == "leases"
    handed_over = seconds_between(released.received, taken.received)
    measured(f"SIGTERM: ended after {ended:.2f} s, handed over in {handed_over:.3f} s")
    assert handed_over < LEASE_SECONDS - RETRY_SECONDS  # nobody waits for what is given back to run out
    assert_never_two_writers(duo, new)
    assert oplog.alarms(duo.leader) == []


def test_after_a_leader_was_killed_the_other_leads_once_the_lease_has_run_out(
    duo: Duo, trial: Trial, measured: Measured
) -> None:
    trial.ready()
    last = duo.by(duo.old)[-1]
    begun = time.monotonic()
    duo.leader.kill()
    new = duo.wait_taken_over()
    seen = time.monotonic() - begun
    repaired(trial)
    measured(f"SIGKILL: taken over after {seen:.2f} s")
    assert seen <= TAKEN_OVER_SECONDS + SLACK_SECONDS
    assert seconds_between(last.received, duo.by(new)[0].received) >= LEASE_SECONDS - RETRY_SECONDS
    assert_never_two_writers(duo, new)


def test_a_leader_that_is_killed_in_the_middle_leaves_the_rest_to_the_other(
    duo: Duo, trial: Trial, measured: Measured
) -> None:
    struck = duo.proxy.counter.arm(kill(8, Phase.COMMITTED_NOT_ANSWERED, lambda: duo.leader.pid))
    trial.quick_start()
    assert struck.fired.wait(120.0)
    begun = time.monotonic()
    new = duo.wait_taken_over()
    trial.wait("Ready", "True")
    measured(f"SIGKILL in the middle: Ready after {time.monotonic() - begun:.2f} s")
    assert_never_two_writers(duo, new)


STOPS = [
    (3, Phase.BEFORE_FORWARD),
    (9, Phase.COMMITTED_NOT_ANSWERED),
    (12, Phase.ANSWERED),
    (15, Phase.BEFORE_FORWARD),
]


@pytest.mark.parametrize(("write", "phase"), STOPS, ids=lambda value: getattr(value, "value", str(value)))
def test_a_leader_that_resumes_after_its_lease_expired_exits_without_a_write(
    duo: Duo, trial: Trial, measured: Measured, write: int, phase: Phase
) -> None:
    """What it still has under way arrives after the other one has done the same work, and is refused for its fence."""
    fault = duo.proxy.counter.arm(stop(write, phase, lambda: duo.leader.pid))
    trial.quick_start()
    assert fault.fired.wait(120.0)
    new = duo.wait_taken_over()
    trial.settled()
    before = trial.dpu_status()

    asked = fault.struck
    assert asked is not None
    fault.release()
    duo.proxy.trace.wait_for(lambda entry: entry.seq == asked.seq, 60)
    woken = time.monotonic()
    duo.leader.resume()
    assert duo.leader.wait(60) == LOST
    measured(f"SIGCONT: gone after {time.monotonic() - woken:.2f} s")
    # One may have been let through the gate just before the stop, and be sent only now.
    assert [entry for entry in duo.proxy.trace.effective_writes() if entry.t > woken] == []
    writes = [entry for entry in duo.proxy.trace.writes() if not is_review(entry)]
    unfenced = [entry.path for entry in writes if not (entry.uid or entry.resource_version)]
    assert [path for path in unfenced if not path.endswith("/events")] == []
    assert duo.holder() == new
    assert trial.dpu_status() == before
    repaired(trial)


def test_a_leader_whose_way_to_infra_ends_with_a_certificate_leaves_the_work_to_the_other(
    duo: Duo, trial: Trial
) -> None:
    trial.ready()
    duo.proxy.certify(timedelta(seconds=12))
    duo.proxy.refuse()  # so that it connects anew, and sees that certificate
    duo.proxy.restore()
    new = duo.wait_taken_over()
    assert duo.leader.wait(60) == LOST
    assert "its certificate has expired; its administrator has to renew it" in duo.leader.log_text()
    repaired(trial)
    assert_never_two_writers(duo, new)
