"""What is written for all pairs together, and what `PairsHealthy` says of their reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.fleet.roster import Mode, PodEntry, Slot
from dpunetop.domain.drain.hostreport import HostReport
from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.domain.drain.outages.unplanned import NetworkReason, NetworkState
from dpunetop.domain.drain.pairs import PairsView, pairs_healthy, plan_pairs
from dpunetop.domain.drain.protection.blockers import service_account
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus
from dpunetop.domain.names import IDLE_PODS_ANNOTATION, OWNER_LABEL
from dpunetop.domain.pairing.entries import render_idle_pods
from dpunetop.kube.plan import Apply, ApplyStatus, Patch
from support.rosters import BLOCKERS, DPU, HOST, member, roster, slot

SERVES = HostReport(((DPU, ProtectionPhase.SERVING, HOST),), (), ())
HELD = DpuStatus(DPU, DpuPhase.HELD, "HostAbsent", "there is no such host")
FAILS = HoldReason(Reason.TENANT_UNAUTHORIZED, "may not write the entries")
DOWN = NetworkState(HOST, DPU, NetworkReason.HOST_WITHOUT_NETWORK, "the node is down")
UNSEEN = HoldReason(Reason.TENANT_UNREACHABLE, "it does not answer")


def view(*reports: HostReport | None, mode: Mode = Mode.SERVING, **but: Any) -> PairsView:
    slots = {("host", f"{HOST}-{i}"): slot() for i in range(len(reports))}
    shared = roster(mode, slots=slots)
    return replace(PairsView(shared.config, shared, "", None, (), reports, None, None, "dpunetop-pairs"), **but)


CASES: dict[str, tuple[PairsView, tuple[str, str] | None]] = {
    "all serve": (view(SERVES), ("True", "AllProtected")),
    "a host has not reported yet": (view(SERVES, None), None),
    "a host has not been looked at yet": (view(replace(SERVES, is_looked_at=False)), None),
    "a DPU is held": (view(replace(SERVES, dpu_statuses=(HELD,))), ("False", "HostAbsent")),
    "the entries cannot be written": (view(SERVES, failing=FAILS), ("False", str(FAILS.reason))),
    "a host waits, and no DPU shows it": (view(replace(SERVES, stray=UNSEEN)), ("False", str(UNSEEN.reason))),
    "a host has no network": (view(replace(SERVES, network=DOWN)), ("False", "HostWithoutNetwork")),
    "no host was seen by this process": (view(replace(SERVES, unseen=UNSEEN)), ("Unknown", str(UNSEEN.reason))),
    "hosts are led out": (view(SERVES, mode=Mode.LEADING_OUT), ("False", "LeadingOut")),
    "one that is led out is held": (
        view(replace(SERVES, dpu_statuses=(HELD,)), mode=Mode.LEADING_OUT),
        ("False", "HostAbsent"),
    ),
    "one that is led out has failed, and does not say why": (
        view(replace(SERVES, dpu_statuses=(DpuStatus(DPU, DpuPhase.FAILED, "", ""),)), mode=Mode.LEADING_OUT),
        ("False", "Failed"),
    ),
    "no host is waited for": (view(None, mode=Mode.LEAVING), ("False", "LeadingOut")),
}


@pytest.mark.parametrize(("seen", "expected"), CASES.values(), ids=CASES.keys())
def test_pairs_healthy_says_what_the_reports_of_all_hosts_say(
    seen: PairsView, expected: tuple[str, str] | None
) -> None:
    assert seen.roster is not None
    found = pairs_healthy(seen, seen.roster)
    assert (None if found is None else (found.status, found.reason)) == expected
    statuses = [step for step in plan_pairs(seen).steps if isinstance(step, ApplyStatus)]
    assert len(statuses) == (expected is not None)


def test_a_host_of_which_only_a_trace_is_left_is_not_told_as_one_that_is_led_out() -> None:
    slots = {("host", HOST): slot(), ("host", "host-9"): Slot("host-9", ()), ("dpu", "d9"): slot(host="")}
    nothing = HostReport((), (), ())
    healthy = pairs_healthy(view(SERVES, nothing, nothing), roster(Mode.LEADING_OUT, slots=slots))
    assert healthy is not None
    assert healthy.message == f"hosts are led out: {HOST}: is about to be drained"


def test_a_dpu_counts_as_a_pair_if_it_is_paired_has_an_entry_or_is_held() -> None:
    alone = HostReport(((DPU, ProtectionPhase.NOT_SERVING, None),), (), ())
    nobody = replace(member(), pairing=None, entry=PodEntry())
    for report, seen, counted in (
        (alone, nobody, "0 pairs"),
        (SERVES, nobody, "1 pairs"),
        (replace(alone, guardings=((DPU, ProtectionPhase.SERVING, None),)), member(), "1 pairs"),
    ):
        healthy = pairs_healthy(view(report), roster(slots={("host", HOST): slot(seen)}))
        assert healthy is not None
        assert healthy.message == counted


# how many DPUs stand where by the status that is there and by what was looked at, and what is written
COUNTED: dict[str, tuple[dict[str, int] | None, dict[str, int] | None, dict[str, Any]]] = {
    "nothing was looked at yet, and nothing was written": (None, None, {}),
    "nothing was looked at yet": ({"Idle": 2}, None, {"dpus": {"Idle": 2}}),
    "all were looked at": ({"Idle": 2}, {"Idle": 1, "Held": 1}, {"dpus": {"Idle": 1, "Held": 1}}),
    "there are none any more": ({"Idle": 2}, {}, {}),
}


@pytest.mark.parametrize(("written", "seen", "members"), COUNTED.values(), ids=COUNTED.keys())
def test_the_count_of_dpus_stands_until_all_were_looked_at(
    written: dict[str, int] | None, seen: dict[str, int] | None, members: dict[str, Any]
) -> None:
    known = view(SERVES, dpus=seen)
    live = {**known.config.live, "status": {} if written is None else {"dpus": written}}
    (status,) = (
        step
        for step in plan_pairs(replace(known, config=replace(known.config, live=live))).steps
        if isinstance(step, ApplyStatus)
    )
    assert status.members == members


def test_without_an_image_only_that_is_reported() -> None:
    (step,) = plan_pairs(view(roster=None, lacking="no image is known")).steps
    assert isinstance(step, ApplyStatus)
    assert [(each.reason, each.message) for each in step.conditions] == [("NoImage", "no image is known")]


def test_the_account_of_the_blockers_keeps_the_label_of_who_made_it_and_is_not_made_at_the_end() -> None:
    theirs = service_account(replace(BLOCKERS, owner="another"))
    for live, owner in ((None, "owner"), (theirs, "another")):
        account = plan_pairs(view(SERVES, account=live)).steps[0]
        assert isinstance(account, Apply)
        assert account.desired["metadata"]["labels"][OWNER_LABEL] == owner
    assert not any(isinstance(step, Apply) for step in plan_pairs(view(None, mode=Mode.LEAVING)).steps)


def test_an_idle_pod_that_another_has_followed_is_forgotten_in_one_patch() -> None:
    notes = {IDLE_PODS_ANNOTATION: render_idle_pods({DPU: "gone"})}
    live = {"metadata": {"name": "e", "namespace": "ns", "uid": "u", "annotations": notes}, "data": {}}
    follower = {"metadata": {"name": "p", "namespace": "ns", "uid": "next"}, "spec": {"nodeName": DPU}}
    (patch,) = (
        step for step in plan_pairs(view(SERVES, entries=live, pods=(follower,))).steps if isinstance(step, Patch)
    )
    assert patch.live is live
