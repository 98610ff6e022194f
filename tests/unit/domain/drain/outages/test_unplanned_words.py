"""What is said of a host without a network, in full, and what each task about it carries along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.types import UnplannedSpec
from dpunetop.domain.drain.model.cordonmark import CordonProgress
from dpunetop.domain.drain.model.facts import NodeGone
from dpunetop.domain.drain.model.record import State
from dpunetop.domain.drain.outages.cordoning import CordonHost, MarkHost, Overrule, Server, Uncordon, Withdraw
from dpunetop.domain.drain.outages.unplanned import Cordons, OutageView, Turn, decide_outage
from dpunetop.domain.drain.rules.returning import DpuCheck
from support.drainviews import BLIND, CYCLE, HOST, OPENED, RETURNING, SITE, closed, cordoned, dpu, free, nm
from unit.domain.drain.outages.test_unplanned import DOWN, MARK, NOW, OURS, OUTAGE, OVERRULED, WANTED, outage_view

SINCE = "host host-1 has no network since 1970-01-01T00:10:00Z: pod p on DPU d1 is not Ready"
CORDONED = "host host-1 is cordoned because it had no network since 1970-01-01T00:10:00Z"
BEFORE = replace(MARK, since=NOW - 900)
OLDER = SINCE.replace("00:10:00", "00:01:40")
SUSPECT = "nothing is done to the host, because infra itself is suspect: x"
SAID: dict[str, tuple[OutageView, str]] = {
    "nothing is known of the host": (replace(outage_view(), host=None), f"{SINCE}; repair the DPU"),
    "it is cordoned": (
        outage_view(replace(HOST, cordoned=True)),
        f"{SINCE}; it is cordoned already; repair the DPU",
    ),
    "it is only reported": (
        outage_view(spec=UnplannedSpec()),
        f"{SINCE}; it stays schedulable; repair the DPU, or cordon the host",
    ),
    "others have to do with it": (
        outage_view(maintenances=(nm(),)),
        f"{SINCE}; a drain, a maintenance or another DpuClusterConfig has to do with it",
    ),
    "infra is suspect": (outage_view(suspect="x"), f"{SINCE}; {SUSPECT}"),
    "it is not to be cordoned yet": (
        outage_view(outage=replace(OUTAGE, since=NOW - 100)),
        f"{SINCE.replace('00:10:00', '00:15:00')}; it is to be cordoned at 1970-01-01T00:20:00Z; repair the DPU",
    ),
    "its turn is not decided": (
        outage_view(turn=Turn.UNDECIDED),
        f"{SINCE}; it is about to be cordoned; repair the DPU",
    ),
    "its turn has come": (outage_view(), f"{SINCE}; it is about to be cordoned; repair the DPU"),
    "as many as may be": (
        outage_view(turn=Turn.REFUSED),
        f"{SINCE}; 1 hosts are cordoned, as many as spec.unplanned.maxHosts allows: this one stays schedulable; "
        "repair the DPUs, or cordon the host",
    ),
    "it is marked": (
        outage_view(replace(HOST, unplanned=WANTED)),
        f"{SINCE}; it is about to be cordoned; repair the DPU",
    ),
    "it is marked, infra is suspect": (
        outage_view(replace(HOST, unplanned=WANTED), suspect="x"),
        f"{SINCE}; {SUSPECT}",
    ),
    "it was marked, and somebody has cordoned it": (
        outage_view(replace(HOST, unplanned=WANTED, cordoned=True)),
        f"{SINCE}; another writer has cordoned it, and it stays so; repair the DPU",
    ),
    "it is cordoned by us": (
        outage_view(OURS),
        f"{SINCE}; it is cordoned until its network is proven to work; repair the DPU",
    ),
    "it is cordoned by us, infra is suspect": (
        outage_view(OURS, suspect="x"),
        f"{SINCE}; it is cordoned until its network is proven to work; repair the DPU",
    ),
    "it was cordoned by us for an outage that began before": (
        outage_view(replace(OURS, unplanned=BEFORE)),
        f"{OLDER}; it is cordoned until its network is proven to work; repair the DPU",
    ),
    "it was cordoned by us for one that began later, as infra says": (
        outage_view(replace(OURS, unplanned=replace(MARK, since=NOW - 10))),
        f"{SINCE}; it is cordoned until its network is proven to work; repair the DPU",
    ),
    "it was cordoned by us, and nobody knows since when": (
        outage_view(replace(OURS, unplanned=replace(MARK, since=0))),
        f"{SINCE}; it is cordoned until its network is proven to work; repair the DPU",
    ),
    "a person has made it schedulable": (
        outage_view(replace(OURS, cordoned=False)),
        f"{SINCE}; another writer has made it schedulable, and it stays so; repair the DPU",
    ),
    "a person wants it schedulable": (
        outage_view(replace(HOST, unplanned=replace(OVERRULED, since=NOW - 900))),
        f"{SINCE}; another writer has made it schedulable, and it stays so; repair the DPU",
    ),
    "a person has cordoned it since": (
        outage_view(replace(OURS, unplanned=OVERRULED)),
        f"{SINCE}; another writer has cordoned it, and it stays so; repair the DPU",
    ),
    "it is to be proven": (
        outage_view(OURS, None, dpus=(replace(dpu(), blocker=""),)),
        f"{CORDONED}; d1 has yet to show: a blocker that is Ready on d1",
    ),
    "it is proven, infra is suspect": (
        outage_view(OURS, None, suspect="x"),
        f"{CORDONED}; it stays so while infra itself is suspect: x",
    ),
    "nobody serves it": (
        outage_view(OURS, None, serving=None),
        f"{CORDONED}; no DPU serves it any more: uncordon it yourself (kubectl uncordon host-1)",
    ),
}


@pytest.mark.parametrize(("given", "words"), SAID.values(), ids=SAID.keys())
def test_what_is_said_in_full(given: OutageView, words: str) -> None:
    state = decide_outage(given).state
    assert state is not None
    assert state.message == words


SILENT: dict[str, OutageView] = {
    "not cordoned any more": outage_view(replace(OURS, cordoned=False), None),
    "cordoned by somebody, and to be cordoned": outage_view(replace(OURS, unplanned=WANTED), None),
    "cordoned by us, in a maintenance": outage_view(OURS, None, maintenances=(nm(),), serving=None),
    "cordoned by us, and proven": outage_view(OURS, None),
}


@pytest.mark.parametrize("given", SILENT.values(), ids=SILENT.keys())
def test_of_a_host_with_a_network_nothing_is_said_that_is(given: OutageView) -> None:
    assert decide_outage(given).state is None


# --- tasks ------------------------------------------------------------------------------------------------------------

SERVER, OTHER = Server("d1", "ns", ("p",)), replace(DOWN, name="d2", pods=())
CHECK = DpuCheck("d1", "blocker", proven_boot="b1")
TASKS: dict[str, tuple[OutageView, Any]] = {
    "it is marked with what serves": (outage_view(dpus=(OTHER, DOWN)), MarkHost(SITE, SERVER, OUTAGE, 300)),
    "it is cordoned with the mark that was seen": (
        outage_view(replace(HOST, unplanned=WANTED), dpus=(OTHER, DOWN)),
        CordonHost(SITE, SERVER, WANTED, OUTAGE, 300, 1),
    ),
    "it is not cordoned where none may be": (
        replace(outage_view(replace(HOST, unplanned=WANTED)), cordons=Cordons(0)),
        Withdraw(SITE, WANTED),
    ),
    "it is not cordoned before its time": (
        outage_view(replace(HOST, unplanned=WANTED), replace(OUTAGE, since=NOW - 299)),
        Withdraw(SITE, WANTED),
    ),
    "it is given back on the proof of the one that serves": (
        outage_view(OURS, None, dpus=(dpu(), dpu("d2"))),
        Uncordon(SITE, SERVER, MARK, (CHECK, DpuCheck("d2", "blocker"))),
    ),
    "one that does not serve it is not asked": (
        outage_view(OURS, None, dpus=(dpu(), dpu("d2", closed(serves="")))),
        Uncordon(SITE, SERVER, MARK, (CHECK,)),
    ),
    "one that does not serve it keeps nothing, whatever it shows": (
        outage_view(OURS, None, dpus=(dpu(), replace(dpu("d2", closed(serves="")), blocker=""))),
        Uncordon(SITE, SERVER, MARK, (CHECK,)),
    ),
    "one that is gone keeps nothing": (
        outage_view(OURS, None, dpus=(dpu(), replace(dpu("d2"), node=NodeGone(False)))),
        Uncordon(SITE, SERVER, MARK, (CHECK, DpuCheck("d2", "blocker"))),
    ),
    "a person's word is written down": (
        outage_view(replace(OURS, cordoned=False)),
        Overrule(SITE, MARK),
    ),
    "it is not written down twice": (outage_view(replace(HOST, unplanned=OVERRULED)), None),
    "it is over with the proof": (outage_view(replace(OURS, cordoned=False), None), Withdraw(SITE, MARK)),
    "it is not over without": (
        outage_view(replace(OURS, cordoned=False), None, dpus=(replace(dpu(), blocker=""),)),
        Overrule(SITE, MARK),
    ),
    "containers that the record has from before a reboot prove nothing": (
        outage_view(OURS, None, dpus=(free(replace(RETURNING, containers=(), stale=("c1",))),)),
        None,
    ),
    "the record of a DPU that is back in the boot of its record proves nothing new": (
        outage_view(OURS, None, dpus=(free(replace(RETURNING, boot="b0", stale=("c1",))),)),
        None,
    ),
}


@pytest.mark.parametrize(("given", "task"), TASKS.values(), ids=TASKS.keys())
def test_a_task_carries_what_was_seen(given: OutageView, task: Any) -> None:
    assert decide_outage(given).task == task


COVERED: dict[str, tuple[Any, bool]] = {
    "opened": (cordoned(OPENED), True),
    "not opened": (cordoned(CYCLE), False),
    "given up": (cordoned(replace(OPENED, state=State.ABORTED)), False),
    "of another's budget": (replace(cordoned(), budget=closed(OPENED, ours=False)), False),
    "without a record": (cordoned(), False),
    "without a budget": (replace(cordoned(), budget=None), False),
}


@pytest.mark.parametrize(("seen", "covered"), COVERED.values(), ids=COVERED.keys())
@pytest.mark.parametrize("beside", [(), (dpu("d2"),)], ids=["alone", "beside another"])
def test_while_the_tenant_is_out_of_sight_a_host_whose_drain_was_opened_is_not_told(
    seen: Any, covered: bool, beside: tuple[Any, ...]
) -> None:
    assert (decide_outage(outage_view(tenant=BLIND, dpus=(*beside, seen))).state is None) is covered


@pytest.mark.parametrize("stage", CordonProgress)
def test_a_mark_of_another_owner_is_left_alone(stage: CordonProgress) -> None:
    theirs = replace(HOST, unplanned=replace(MARK, owner="else", stage=stage))
    assert decide_outage(outage_view(theirs)).task is None
    assert decide_outage(outage_view(theirs, None)).task is None
