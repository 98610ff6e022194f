"""What is said of each DPU: a phase, every condition, and a line with what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.dpunode.judge import dpu_node_statuses, unseen_statuses
from dpunetop.domain.dpunode.status import IN_DRAIN, DpuNodeStatus, DrainTimes, Phase
from dpunetop.domain.drain.fleet.roster import Member, Mode, PodEntry, Roster, Slot
from dpunetop.domain.drain.host import HostDecision, decide_host
from dpunetop.domain.drain.hostreport import HostReport, report_host
from dpunetop.domain.drain.model.facts import DpuNode, DpuView, HoldReason, HostView, NodeGone, Reason
from dpunetop.domain.drain.outages.detection import Outage
from dpunetop.domain.drain.outages.unplanned import NetworkReason, NetworkState
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus, OverdueStep
from dpunetop.domain.hostconfig.machinestate import MachineState
from dpunetop.domain.reasons import DPU_NODE_CONDITIONS, REASONS
from dpunetop.kube.conditions import Status
from support.drainviews import CYCLE, OPENED, closed, cordoned, dpu, view
from support.objects import condition, node
from support.rosters import DPU, ENTRY, HOST, member, roster, scope, slot, snapshot

NO_ENTRY: dict[str, Any] = {"entry": PodEntry()}
UNPAIRED: dict[str, Any] = {"pairing": None, "text": "", **NO_ENTRY}
OTHER = member("d2", is_home=True)
GIVEN = roster(image="quay.io/ovn@sha256:1")


RUNS = {"phase": "Running", "conditions": [condition("Ready", "True", "")]}
READY = {"conditions": [condition("Ready", "True", "KubeletReady")]}


def working(found: DpuView) -> DpuView:
    """The same, as infra shows it where the pods are Ready."""
    pods = (
        replace(pod, live={**pod.live, "metadata": {**pod.live["metadata"], "uid": pod.uid}, "status": RUNS})
        for pod in found.pods
    )
    return replace(found, pods=tuple(pods))


def decide(of: Roster, at: Slot, *dpus: DpuView, seen: HostView | None = None) -> HostDecision:
    shown = tuple(map(working, dpus))
    nodes = {each.name: {**node(each.name), "status": READY} for each in shown}
    return decide_host(snapshot(*shown, view=seen or view(*shown), nodes=nodes, scope=scope(of, at)))


def judged(decided: HostDecision, report: HostReport | None = None) -> DpuNodeStatus:
    found = dpu_node_statuses(decided, report or report_host(decided, None, {}))
    return next(each for each in found if each.dpu == DPU)


def at_rest(of: Roster = GIVEN, *, at: Slot | None = None, dpus: tuple[DpuView, ...] = ()) -> DpuNodeStatus:
    return judged(decide(of, at or slot(), *(dpus or (dpu(),))))


def statuses(found: DpuNodeStatus) -> dict[str, Status]:
    return {each.type: each.status for each in found.conditions}


def staged(stage: DpuPhase, reason: str = "", **but: Any) -> DpuStatus:
    return replace(DpuStatus(DPU, stage, reason, "2 pods are left"), **but)


def in_stage(status: DpuStatus, network: NetworkState | None = None, outage: Outage | None = None) -> DpuNodeStatus:
    decided = replace(decide(GIVEN, slot(), dpu()), outage=outage)
    return judged(decided, replace(report_host(decided, None, {}), dpu_statuses=(status,), network=network))


def test_a_pair_that_serves_is_good_in_every_condition_but_that_it_may_be_drained() -> None:
    found = at_rest()
    assert (found.phase, found.host, found.reason, found.message) == (Phase.SERVING, HOST, "Serving", "")
    assert found.has_network == "True"
    assert found.ovn_image == "quay.io/ovn@sha256:1"
    assert statuses(found) == {
        "Paired": "True",
        "Protected": "True",
        "HostConfigured": "True",
        "NetworkReady": "True",
        "CredentialCurrent": "Unknown",
        "DrainAllowed": "False",
    }


def test_a_host_that_was_not_looked_at_yet_is_not_spoken_of() -> None:
    decided = decide_host(snapshot(dpu(), scope=scope(GIVEN)))
    assert dpu_node_statuses(decided, report_host(decided, None, {})) == ()


@pytest.mark.parametrize("stage", DpuPhase)
def test_each_stage_of_a_drain_is_a_phase_and_nothing_but_rest_is_called_serving(stage: DpuPhase) -> None:
    found = in_stage(staged(stage))
    assert (found.phase is Phase.SERVING) == (stage is DpuPhase.IDLE)
    assert (found.phase is Phase.HELD) == (stage in (DpuPhase.HELD, DpuPhase.FAILED))
    assert (found.phase in IN_DRAIN) == (found.phase not in (Phase.SERVING, Phase.HELD))


@pytest.mark.parametrize("reason", NetworkReason)
def test_whatever_is_wrong_with_a_network_comes_before_the_drain(reason: NetworkReason) -> None:
    network = NetworkState(HOST, "" if reason is NetworkReason.HOST_NOT_SERVED else DPU, reason, "the node is down")
    found = in_stage(staged(DpuPhase.HELD), network, Outage(HOST, DPU, 900, "the node is down", 900))
    assert found.phase in (Phase.NO_NETWORK, Phase.VERIFYING, Phase.HELD)
    assert (found.reason, found.has_network, found.lacks_network) == (str(reason), "False", True)
    assert "the node is down" in found.message


def test_a_cordon_that_outlives_its_outage_is_a_network_yet_to_be_proven() -> None:
    for reason in (NetworkReason.NETWORK_UNPROVEN, NetworkReason.INFRA_SUSPECT):
        found = in_stage(staged(DpuPhase.IDLE), NetworkState(HOST, DPU, reason, "Lease is missing"))
        assert (found.phase, found.has_network) == (Phase.VERIFYING, "Unknown")


def test_a_dpu_that_is_down_in_its_drain_gives_no_network_and_after_it_none_that_is_proven() -> None:
    outage = Outage(HOST, DPU, 900, "DPU node d1 is not Ready", 900)
    assert in_stage(staged(DpuPhase.DPU_DOWN), outage=outage).has_network == "False"
    for stage in (DpuPhase.DPU_RECOVERING, DpuPhase.VERIFYING):
        assert in_stage(staged(stage, "ProofMissing")).has_network == "Unknown"


def test_a_pod_that_may_only_be_starting_is_neither_a_network_nor_none() -> None:
    found = in_stage(staged(DpuPhase.IDLE), outage=Outage(HOST, DPU, 999, "no pod runs", told_from=1100))
    assert (found.phase, found.has_network) == (Phase.SERVING, "Unknown")


def test_what_is_late_is_told_in_place_of_what_is_waited_for() -> None:
    late = OverdueStep("HostDrainOverdue", "host host-1: longer than 1h")
    found = in_stage(staged(DpuPhase.HOST_DRAINING, "HostDraining", late=late))
    assert (found.phase, found.reason) == (Phase.DRAINING, "HostDrainOverdue")
    assert found.message == f"{late.message}; {REASONS['HostDrainOverdue'].next_step}"


def test_a_dpu_without_a_host_is_unpaired_and_may_be_drained() -> None:
    idle = replace(dpu(), budget=replace(closed(), serves="", is_open=True), paired=False)
    found = at_rest(at=slot(member(**UNPAIRED), host=""), dpus=(idle,))
    assert (found.phase, found.reason, found.host) == (Phase.UNPAIRED, "NotPaired", "")
    assert statuses(found)["DrainAllowed"] == "True"
    assert (found.has_network, found.lacks_network) == ("False", False)


def test_why_a_pair_is_not_followed_is_told() -> None:
    found = at_rest(at=slot(member(**UNPAIRED, problem="d1: two hosts"), host=""), dpus=(dpu(read=closed(serves="")),))
    assert (found.reason, found.message.split(";")[0]) == ("PairingConflict", "d1: two hosts")
    dropped = at_rest(at=slot(member(**UNPAIRED, is_dropped=True, configured=False), host=""))
    assert dropped.condition("HostConfigured").reason == "DpuNotSelected"


@pytest.mark.parametrize(
    ("case", "seen", "reason"),
    [
        (member(**NO_ENTRY, configured=False), dpu(), "HostNotConfigured"),
        (member(**NO_ENTRY, configured=False, stuck="gave up"), dpu(), "MachineConfigStuck"),
        (member(**NO_ENTRY), replace(dpu(), blocker="", trouble="no room"), "BlockerNotReady"),
        (member(**NO_ENTRY), dpu(cordoned=True), "ProtectionPending"),
        (member(**NO_ENTRY), dpu(), "ProtectionPending"),
        (member(**NO_ENTRY), replace(dpu(), node=NodeGone(False)), "DpuGone"),
    ],
)
def test_a_pair_that_comes_to_serve_says_what_it_waits_for(case: Member, seen: DpuView, reason: str) -> None:
    idle = replace(seen, budget=closed(serves="") if reason != "ProtectionPending" else seen.budget)
    decided = decide(GIVEN, slot(case), idle)
    quiet = replace(report_host(decided, None, {}), dpu_statuses=())
    found = judged(decided, quiet)
    assert (found.phase, found.reason, found.has_network) == (Phase.WAITING, reason, "False")


def test_a_second_dpu_of_a_host_is_spare_and_tells_of_the_network_that_the_host_has() -> None:
    pair = slot(member(**NO_ENTRY, is_home=True), replace(OTHER, entry=PodEntry(ENTRY)))
    found = at_rest(at=pair, dpus=(dpu(), dpu("d2")))
    assert (found.phase, found.reason, found.has_network) == (Phase.SPARE, "HostServedByOther", "True")


def test_one_that_serves_over_a_blocker_that_is_not_ready_is_unprotected() -> None:
    found = at_rest(dpus=(replace(dpu(), blocker="", trouble="no room"),))
    assert (found.phase, statuses(found)["Protected"]) == (Phase.UNPROTECTED, "False")
    assert found.message.startswith("no room; ")


def test_an_open_budget_allows_the_drain_and_protects_nothing() -> None:
    opened = at_rest(dpus=(cordoned(OPENED, is_open=True),))
    assert (statuses(opened)["DrainAllowed"], statuses(opened)["Protected"]) == ("True", "False")
    assert opened.drain == DrainTimes(900)


def test_a_drain_that_waits_says_why_it_is_not_allowed() -> None:
    found = in_stage(staged(DpuPhase.HOST_DRAINING, "HostDraining"))
    assert found.condition("DrainAllowed").message == "2 pods are left"


def test_at_the_end_hosts_are_led_out_and_nothing_is_claimed_of_what_may_not_be_read() -> None:
    ends = replace(GIVEN, mode=Mode.LEADING_OUT, access=Access.TAKEN)
    found = judged(decide(ends, slot(member(pairing=None, text="")), replace(dpu(), parting=True)))
    assert statuses(found)["NetworkReady"] == statuses(found)["HostConfigured"] == "Unknown"
    assert found.condition("Paired").reason == "LeadingOut"


def test_a_blocker_of_another_owner_holds() -> None:
    found = at_rest(dpus=(dpu(read=replace(closed(), ours=False)),))
    assert (found.phase, found.reason) == (Phase.HELD, "NotOurs")
    assert decide(GIVEN, slot(), dpu(read=replace(closed(), ours=False))).protections[DPU].guarding is (
        ProtectionPhase.NOT_OURS
    )


def test_of_what_could_not_be_looked_at_every_condition_is_unknown() -> None:
    (found,) = unseen_statuses(GIVEN, slot(), "InternalError", "it met a bug")
    assert (found.phase, found.host) == (Phase.UNKNOWN, HOST)
    assert set(statuses(found).values()) == {"Unknown"}


def test_every_type_of_condition_is_there_once() -> None:
    (unseen,) = unseen_statuses(GIVEN, slot(), "InternalError", "")
    for found in (at_rest(), unseen):
        assert [each.type for each in found.conditions] == list(DPU_NODE_CONDITIONS)


def test_a_hold_that_is_not_of_the_drain_shows_as_well() -> None:
    decided = decide(GIVEN, slot(), cordoned(CYCLE))
    report = report_host(decided, None, {DPU: HoldReason(Reason.TENANT_UNAUTHORIZED, "may not patch nodes")})
    found = judged(decided, report)
    assert (found.phase, found.reason) == (Phase.HELD, "TenantUnauthorized")


def test_thousands_that_say_the_same_share_it() -> None:
    assert at_rest().conditions is at_rest().conditions


HINDERED = {  # a condition of the DpuClusterConfig, whether pods are deployed -> why the DPU does not serve
    "the tenant cannot be seen": (("TenantReachable", "False", "TLS"), True, "TLS"),
    "the kubeconfig is refused": (("CredentialsValid", "False", "Unauthorized"), True, "Unauthorized"),
    "the kubeconfig is not there": (("CredentialsValid", "False", "SecretNotFound"), True, "SecretNotFound"),
    "a copy is not made": (("TenantObjsSynced", "False", "Forbidden"), True, "Forbidden"),
    "the pods hold no credential": (("DpuCredentialValid", "False", "Revoked"), True, "Revoked"),
    "no image is known": (("OvnKubeReady", "False", "NoImage"), False, "NoImage"),
    "a pod of another DPU fails": (("OvnKubeReady", "False", "NoImage"), True, "ProtectionPending"),
    "it passes": (("TenantObjsSynced", "False", "WaitingForTenantObjects"), True, "ProtectionPending"),
    "it is not known yet": (("TenantReachable", "Unknown", "NoCredentials"), True, "ProtectionPending"),
}


@pytest.mark.parametrize(("said", "has_pods", "reason"), HINDERED.values(), ids=HINDERED)
def test_a_pair_that_does_not_serve_yet_names_what_keeps_every_new_pair_from_it(
    said: tuple[str, str, str], has_pods: bool, reason: str
) -> None:
    live = GIVEN.config.live
    told = {**live, "status": {**live["status"], "conditions": [condition(*said, "the cause")]}}
    kept = replace(GIVEN, config=parse_config(told), has_entries=has_pods)
    decided = decide(kept, slot(member(**NO_ENTRY)), dpu())
    found = judged(decided, replace(report_host(decided, None, {}), dpu_statuses=()))
    assert (found.phase, found.reason) == (Phase.WAITING, reason)
    if reason != "ProtectionPending":
        assert found.message.startswith(f"{said[0]}: the cause; ")


UNCONFIGURED = {  # McpReady of the DpuClusterConfig -> why the DPU is not configured
    "its pool is paused": ("PoolPaused", "PoolPaused"),
    "its pool is another's": ("PoolTaken", "PoolTaken"),
    "another machine is degraded": ("PoolDegraded", "PoolDegraded"),
    "it is rolled out": ("RollingOut", "HostNotConfigured"),
}


@pytest.mark.parametrize(("said", "reason"), UNCONFIGURED.values(), ids=UNCONFIGURED)
def test_a_dpu_that_is_not_configured_names_what_keeps_its_pool_from_it(said: str, reason: str) -> None:
    live = GIVEN.config.live
    told = {**live, "status": {**live["status"], "conditions": [condition("McpReady", "False", said, "the cause")]}}
    kept = replace(GIVEN, config=parse_config(told))
    decided = decide(kept, slot(member(**NO_ENTRY, configured=False)), dpu())
    found = judged(decided, replace(report_host(decided, None, {}), dpu_statuses=()))
    assert (found.phase, found.reason) == (Phase.WAITING, reason)
    assert found.condition("HostConfigured").reason == reason


def test_a_dpu_whose_own_machine_config_daemon_gave_up_says_so_in_its_words() -> None:
    seen = dpu()
    assert isinstance(seen.node, DpuNode)
    failing = MachineState(state="Degraded", reason="no space left")
    broken = replace(seen, node=replace(seen.node, machine=failing))
    decided = decide(GIVEN, slot(member(**NO_ENTRY, configured=False)), broken)
    found = judged(decided, replace(report_host(decided, None, {}), dpu_statuses=()))
    assert (found.reason, "node d1 is Degraded: " in found.message) == ("MachineConfigStuck", True)
    assert "no space left" in found.message
