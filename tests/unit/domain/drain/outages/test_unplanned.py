"""What is said of a host without a network, and what is done about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.types import OutagePolicy, UnplannedSpec
from dpunetop.domain.drain.model.cordonmark import CordonMark, CordonProgress
from dpunetop.domain.drain.model.facts import DrainOverride, Mco, NodeGone, Signal
from dpunetop.domain.drain.outages.cordoning import CordonHost, MarkHost, Overrule, Uncordon, Withdraw
from dpunetop.domain.drain.outages.detection import Outage
from dpunetop.domain.drain.outages.unplanned import (
    NO_CORDONS,
    Cordons,
    NetworkReason,
    OutageDecision,
    OutageView,
    Turn,
    cordon_turns,
    decide_outage,
)
from support.drainviews import BLIND, DRAINED_HOST, FOREIGN, HOST, OPENED, SITE, cordoned, dpu, free, nm, view
from support.drainviews import DONE as SUCCEEDED

NOW = SITE.author.now
CORDON = UnplannedSpec(OutagePolicy.CORDON, 300, 1)
OUTAGE = Outage("host-1", "d1", NOW - 400, "pod p on DPU d1 is not Ready", NOW - 400)
MARK = CordonMark("owner", CordonProgress.CORDONED, NOW - 400, "d1", "b1", ("c0",))
WANTED, OVERRULED = replace(MARK, stage=CordonProgress.WANTED), replace(MARK, stage=CordonProgress.OVERRULED)
OURS = replace(HOST, cordoned=True, unplanned=MARK)
DOWN = dpu(ready=False)


def outage_view(host: Any = HOST, outage: Outage | None = OUTAGE, **but: Any) -> OutageView:
    """A host whose DPU is down, that is to be cordoned and may be."""
    dpus = but.pop("dpus", (DOWN,) if outage is not None else (dpu(),))
    of_host = {key: but.pop(key) for key in ("maintenances", "tenant", "signals", "unverified") if key in but}
    seen = view(*dpus, host=host, **of_host)
    if "serving" in but:
        seen = replace(seen, serving=but.pop("serving"))
    return OutageView(
        host_ref=SITE,
        spec=but.pop("spec", CORDON),
        cordons=Cordons(1, but.pop("suspect", "")),
        turn=but.pop("turn", Turn.GRANTED),
        outage=outage,
        dpus=dpus,
        host=seen,
        **but,
    )


def summary(found: OutageDecision) -> tuple[Any, str]:
    return None if found.task is None else type(found.task), "" if found.state is None else str(found.state.reason)


NONE, TOLD = (None, ""), (None, "HostWithoutNetwork")
CASES: dict[str, tuple[OutageView, tuple[Any, str]]] = {
    "all is well": (outage_view(outage=None), NONE),
    "reported": (outage_view(spec=UnplannedSpec()), TOLD),
    "nothing known of the tenant": (replace(outage_view(), host=None), TOLD),
    "the tenant out of sight": (outage_view(tenant=BLIND), TOLD),
    "the host gone": (outage_view(NodeGone(True)), TOLD),
    "long enough": (outage_view(), (MarkHost, "HostWithoutNetwork")),
    "not yet long enough": (outage_view(outage=replace(OUTAGE, since=NOW - 299)), TOLD),
    "a pod that starts": (outage_view(outage=replace(OUTAGE, told_from=NOW + 1)), NONE),
    "not decided yet": (outage_view(turn=Turn.UNDECIDED), TOLD),
    "as many as may be": (outage_view(turn=Turn.REFUSED), (None, "CordonLimitReached")),
    "infra suspect": (outage_view(suspect="x"), (None, "InfraSuspect")),
    "infra suspect, and only reported": (outage_view(suspect="x", spec=UnplannedSpec()), TOLD),
    "cordoned by somebody": (outage_view(replace(HOST, cordoned=True)), TOLD),
    "marked by another DpuClusterConfig": (outage_view(replace(HOST, unplanned=replace(MARK, owner="o"))), TOLD),
    "the DpuClusterConfig ends": (outage_view(is_leaving=True), TOLD),
    "its drain is wanted": (outage_view(dpus=(cordoned(ready=False),)), TOLD),
    "in a maintenance of ours": (outage_view(maintenances=(nm(),)), TOLD),
    "in a maintenance of somebody else": (outage_view(maintenances=(FOREIGN,)), TOLD),
    "about to be drained": (outage_view(replace(HOST, mark=False)), TOLD),
    "in its own cluster's drain": (outage_view(replace(HOST, in_own_drain=True)), TOLD),
    "about to go": (outage_view(replace(HOST, terminating=True)), TOLD),
    "time went back": (outage_view(unverified=True), TOLD),
    "drained by us": (outage_view(DRAINED_HOST, maintenances=(SUCCEEDED,)), NONE),
    "drained by us, and the tenant out of sight": (outage_view(tenant=BLIND, dpus=(cordoned(OPENED),)), NONE),
    "left cordoned by a maintenance that is gone": (outage_view(DRAINED_HOST), NONE),
    "to be cordoned": (outage_view(replace(HOST, unplanned=WANTED)), (CordonHost, "HostWithoutNetwork")),
    "to be cordoned, infra suspect": (
        outage_view(replace(HOST, unplanned=WANTED), suspect="x"),
        (None, "InfraSuspect"),
    ),
    "to be cordoned, a drain begins": (
        outage_view(replace(HOST, unplanned=WANTED), dpus=(cordoned(ready=False),)),
        TOLD,
    ),
    "to be cordoned, and it works again": (outage_view(replace(HOST, unplanned=WANTED), None), (Withdraw, "")),
    "to be cordoned, and the policy changes": (
        outage_view(replace(HOST, unplanned=WANTED), spec=UnplannedSpec()),
        (Withdraw, "HostWithoutNetwork"),
    ),
    "to be cordoned, and the DpuClusterConfig ends": (
        outage_view(replace(HOST, unplanned=WANTED), is_leaving=True),
        (Withdraw, "HostWithoutNetwork"),
    ),
    "to be cordoned, and somebody else did": (
        outage_view(replace(HOST, unplanned=WANTED, cordoned=True)),
        (Withdraw, "HostWithoutNetwork"),
    ),
    "cordoned": (outage_view(OURS), (None, "HostCordoned")),
    "cordoned, and the policy changes": (outage_view(OURS, spec=UnplannedSpec()), (None, "HostCordoned")),
    "cordoned, and the DpuClusterConfig ends": (outage_view(OURS, is_leaving=True), (None, "HostCordoned")),
    "cordoned, and it works again": (outage_view(OURS, None), (Uncordon, "")),
    "it works again, infra suspect": (outage_view(OURS, None, suspect="x"), (None, "InfraSuspect")),
    "it works again in a maintenance": (outage_view(OURS, None, maintenances=(nm(),)), NONE),
    "a sign is missing": (outage_view(OURS, None, signals=(Signal("lease", False),)), (None, "NetworkUnproven")),
    "the blocker is missing": (
        outage_view(OURS, None, dpus=(replace(dpu(), blocker=""),)),
        (None, "NetworkUnproven"),
    ),
    "the machine-config operator is at work": (
        outage_view(OURS, None, dpus=(dpu(mco=Mco.PENDING),)),
        (None, "NetworkUnproven"),
    ),
    "a person holds it": (outage_view(OURS, None, dpus=(dpu(override=DrainOverride.HOLD),)), (None, "NetworkUnproven")),
    "containers from before a reboot": (
        outage_view(replace(OURS, unplanned=replace(MARK, containers=("c1",))), None, dpus=(dpu(boot_id="b2"),)),
        (None, "NetworkUnproven"),
    ),
    "no DPU serves it any more": (outage_view(OURS, None, serving=None), (None, "HostNotServed")),
    "another DPU of the host is down": (
        outage_view(OURS, None, dpus=(dpu(), replace(DOWN, name="d2", blocker="b"))),
        (Uncordon, ""),
    ),
    "uncordoned by somebody": (outage_view(replace(OURS, cordoned=False)), (Overrule, "HostWithoutNetwork")),
    "uncordoned by somebody, and it works": (outage_view(replace(OURS, cordoned=False), None), (Withdraw, "")),
    "overruled": (outage_view(replace(HOST, unplanned=OVERRULED)), TOLD),
    "overruled, and it works": (outage_view(replace(HOST, unplanned=OVERRULED), None), (Withdraw, "")),
    "overruled, and nobody serves it": (
        outage_view(replace(HOST, unplanned=OVERRULED), None, serving=None),
        (Withdraw, ""),
    ),
    "overruled, and cordoned by somebody": (outage_view(replace(OURS, unplanned=OVERRULED)), TOLD),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES.keys())
def test_what_is_done_and_said(given: OutageView, expected: tuple[Any, str]) -> None:
    assert summary(decide_outage(given)) == expected


@pytest.mark.parametrize("given", [given for given, expected in CASES.values() if expected[1]])
def test_whatever_is_said_names_the_host_and_since_when(given: OutageView) -> None:
    state = decide_outage(given).state
    assert state is not None
    assert "host host-1" in state.message
    assert "no network since 1970-01-01T00:10:00Z" in state.message or given.outage != OUTAGE is not None


def test_it_is_looked_again_when_time_alone_changes_what_is_done() -> None:
    waits = decide_outage(outage_view(outage=replace(OUTAGE, since=NOW - 100)))
    assert waits.recheck_seconds == 200
    assert decide_outage(outage_view(outage=replace(OUTAGE, told_from=NOW + 30))).recheck_seconds == 30


def test_who_waits_for_a_turn_says_so() -> None:
    asking = (outage_view(turn=turn) for turn in Turn)
    assert [found.state and found.state.asks_since for found in map(decide_outage, asking)] == [NOW - 400] * 3
    others = (outage_view(spec=UnplannedSpec()), outage_view(suspect="x"), outage_view(OURS))
    assert [found.state and found.state.asks_since for found in map(decide_outage, others)] == [None] * 3


def test_the_longest_outage_is_cordoned_first() -> None:
    asking = [(30, "c"), (10, "a"), (20, "b"), (5, "taken")]
    assert cordon_turns(2, asking, {"taken"}) == {"a": Turn.GRANTED, "b": Turn.REFUSED, "c": Turn.REFUSED}
    assert cordon_turns(1, asking, {"x", "y"}) == dict.fromkeys(("a", "b", "c", "taken"), Turn.REFUSED)


def test_a_wish_that_is_given_up_hides_no_outage() -> None:
    given = outage_view(tenant=BLIND, dpus=(free(replace(OPENED, state=OPENED.state.ABORTED)),))
    assert summary(decide_outage(given)) == TOLD


def test_every_reason_is_on_the_page_with_what_to_do() -> None:
    text = (Path(__file__).parents[5] / "docs" / "outages.md").read_text().split("## Reasons")[1]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    assert {row[0].strip(" `") for row in rows if all(cell.strip() for cell in row)} == set(map(str, NetworkReason))


def test_every_reason_is_reached() -> None:
    assert {expected[1] for _, expected in CASES.values()} == {"", *map(str, NetworkReason)}
    assert NO_CORDONS.limit == 0
