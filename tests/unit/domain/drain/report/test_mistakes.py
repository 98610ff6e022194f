"""Requests that cannot be met: which of them are told, in which words, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpunetop.domain.drain.model.facts import Reason
from dpunetop.domain.drain.report.mistakes import MistakesView, mistakes
from dpunetop.domain.pairing.envfile import HostlessEntry, NodeEntry
from dpunetop.domain.pairing.pairing import Pair


def pair(dpu: str, host: str | None) -> Pair:
    return Pair(dpu, host, "", dpu if host else "")


GOOD = MistakesView(
    wishes={"d1": NodeEntry("host-1"), "d2": NodeEntry("host-2")},
    entries=[],
    nodes=["d1", "d2"],
    unpicked=[],
    pairs={"d2": pair("d2", "host-2"), "d1": pair("d1", "host-1")},
    hosts=["host-1", "host-2"],
    can_drain=True,
)
ALONE = replace(GOOD, wishes={"d1": NodeEntry("host-1")}, pairs={"d1": pair("d1", "host-1")})
UNPICKED = replace(GOOD, unpicked=["d1"], pairs={})
CORRECT = "correct its entry in ConfigMap env-overrides, or register the host"
NO_HOST = "d1: its host host-1 does not exist in the tenant"
NO_NODE = "infra has no Node of that name"
REMOVE = "correct or remove its entry in ConfigMap env-overrides"
LABEL = "label the Node as spec.nodeSelector asks, or remove its entry in ConfigMap env-overrides"
UNDRAINABLE = (
    "the tenant serves no nodemaintenances.nodemaintenance.medik8s.io of version v1beta1, so that host-1 cannot be "
    "drained before d1, nor any other host; install the node maintenance operator there"
)
# what is asked for, and what is told
CASES: dict[str, tuple[MistakesView, list[tuple[Reason, str]]]] = {
    "all is well": (GOOD, []),
    "a host is absent": (
        replace(ALONE, hosts=["worker"]),
        [(Reason.HOST_ABSENT, f"{NO_HOST}; {CORRECT}")],
    ),
    "a host is absent, and one is called nearly so": (
        replace(ALONE, hosts=["hots-1"]),
        [(Reason.HOST_ABSENT, f"{NO_HOST} (did you mean hots-1?); {CORRECT}")],
    ),
    "the hosts cannot be read": (replace(GOOD, hosts=None), []),
    "a DPU is paired with none": (replace(GOOD, pairs={"d1": pair("d1", None)}, hosts=[]), []),
    "a DPU is absent": (
        replace(GOOD, nodes=["d1", "worker"]),
        [(Reason.DPU_ABSENT, f"d2: {NO_NODE}; {REMOVE}")],
    ),
    "a DPU is absent, and one is called nearly so": (
        replace(GOOD, nodes=["d1", "dpu-77"], wishes={"dpu-7": NodeEntry("host-1")}),
        [(Reason.DPU_ABSENT, f"dpu-7: {NO_NODE} (did you mean dpu-77?); {REMOVE}")],
    ),
    "a DPU that serves is gone": (replace(GOOD, nodes=["d1"], entries=["d2"]), []),
    "a DPU is not picked": (
        UNPICKED,
        [
            (
                Reason.DPU_NOT_SELECTED,
                f"d1: spec.nodeSelector does not pick its Node, so that it does not serve host host-1; {LABEL}",
            )
        ],
    ),
    "a DPU without a host is not picked": (
        replace(UNPICKED, wishes={"d1": HostlessEntry(())}),
        [
            (
                Reason.DPU_NOT_SELECTED,
                f"d1: spec.nodeSelector does not pick its Node, so that it serves no host; {LABEL}",
            )
        ],
    ),
    "a DPU that serves is not picked any more": (replace(UNPICKED, entries=["d1"]), []),
    "a DPU that nobody asks for is not picked": (replace(UNPICKED, unpicked=["d9"]), []),
    "the tenant cannot drain": (
        replace(GOOD, can_drain=False),
        [(Reason.NODE_MAINTENANCE_NOT_SERVED, UNDRAINABLE)],
    ),
    "the tenant cannot drain, and nothing is to be drained": (
        replace(GOOD, can_drain=False, pairs={"d1": pair("d1", None)}),
        [],
    ),
}


@pytest.mark.parametrize(("view", "told"), CASES.values(), ids=CASES.keys())
def test_a_mistake_is_told_with_what_to_do(view: MistakesView, told: list[tuple[Reason, str]]) -> None:
    assert [(each.reason, each.message) for each in mistakes(view)] == told


def test_several_mistakes_are_told_by_kind_and_in_the_order_of_their_dpus() -> None:
    wishes = {"d4": NodeEntry("x"), "d3": NodeEntry("x"), **UNPICKED.wishes}
    found = mistakes(replace(UNPICKED, wishes=wishes, pairs=GOOD.pairs, hosts=[], can_drain=False))
    assert [(each.reason, each.message.split(":")[0].split(" ")[0]) for each in found] == [
        (Reason.HOST_ABSENT, "d1"),
        (Reason.HOST_ABSENT, "d2"),
        (Reason.DPU_ABSENT, "d3"),
        (Reason.DPU_ABSENT, "d4"),
        (Reason.DPU_NOT_SELECTED, "d1"),
        (Reason.NODE_MAINTENANCE_NOT_SERVED, "the"),
    ]
