from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import DpuNode, DpuView, DrainOverride, Mco, NodeGone, OvnPod, Signal
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.rules.proof import Evidence, missing_proofs, tenant_signals
from dpunetop.domain.names import CHASSIS_ANNOTATION, ENCAP_IPS_ANNOTATION, GATEWAY_ANNOTATION, ZONE_ANNOTATION
from dpunetop.domain.ovnkube.release import Flavour, Release
from support.hostsigns import dpu_shows

NODE = DpuNode("d", "u", False, True, "b2", False, DrainOverride.NONE, Mco.IDLE)
POD = OvnPod({}, "p", True, False, True, ("c2",))
DPU = DpuView("d", NODE, None, "b", (POD,))
CYCLE = Cycle(State.RETURNING, "t", boot="b2", stale=("c1",))


def pod(**but: Any) -> DpuView:
    return replace(DPU, pods=(replace(POD, **but),))


def node(**but: Any) -> DpuView:
    return replace(DPU, node=replace(NODE, **but))


MISSING: dict[str, tuple[DpuView, tuple[str, ...]]] = {
    "all is well": (DPU, ()),
    "the node is gone": (replace(DPU, node=NodeGone(True)), ("the DPU node",)),
    "the node is not Ready": (node(ready=False), ("node Ready",)),
    "the node is about to go": (node(terminating=True), ("node Ready",)),
    "the node is cordoned": (node(cordoned=True), ("node schedulable",)),
    "the node is cordoned and that is no wish": (node(cordoned=True, override=DrainOverride.SKIP), ()),
    "there is no pod": (replace(DPU, pods=()), ("ovnkube-node pod Ready",)),
    "there are two": (replace(DPU, pods=(POD, POD)), ("ovnkube-node pod Ready",)),
    "the pod is not Ready": (pod(ready=False), ("ovnkube-node pod Ready",)),
    "the pod is outdated": (pod(current=False), ("ovnkube-node pod at the current template",)),
    "its containers are of the boot before": (pod(containers=("c1",)), ("ovnkube-node containers of this boot",)),
    "one of its containers is": (pod(containers=("c1", "c2")), ("ovnkube-node containers of this boot",)),
    "no container is known": (pod(containers=()), ("ovnkube-node containers of this boot",)),
}


@pytest.mark.parametrize(("dpu", "missing"), MISSING.values(), ids=MISSING.keys())
def test_this_is_missing_when(dpu: DpuView, missing: tuple[str, ...]) -> None:
    assert missing_proofs(dpu, CYCLE, ()) == missing


def test_a_cordon_whose_drain_was_aborted_is_not_in_the_way() -> None:
    assert missing_proofs(node(cordoned=True), replace(CYCLE, state=State.ABORTED), ()) == ()
    assert missing_proofs(node(cordoned=True), None, ()) == ("node schedulable",)


def test_every_missing_signal_of_the_tenant_is_named() -> None:
    signals = (Signal("lease", False), Signal("zone", True), Signal("chassis", False))
    assert missing_proofs(DPU, CYCLE, signals) == ("lease", "chassis")


GOOD = Evidence("h", Signal("lease", True), dpu_shows("h"), Release(Flavour.OPENSHIFT, (4, 22)))
MASTER = Release(Flavour.UPSTREAM, (1, 3))


def lacking(annotation: str, release: Release | None = GOOD.release) -> Evidence:
    shown = {key: value for key, value in dpu_shows("h").items() if key != annotation}
    return replace(GOOD, annotations=shown, release=release)


SIGNALS: dict[str, tuple[Evidence, list[str]]] = {
    "all is well": (GOOD, []),
    "the lease does not show it": (replace(GOOD, lease=Signal("lease", False)), ["lease"]),
    "the host goes by no lease": (replace(GOOD, lease=None), []),
    "there is no zone": (lacking(ZONE_ANNOTATION), [f"annotation {ZONE_ANNOTATION}"]),
    "there is no zone, and the release writes none": (lacking(ZONE_ANNOTATION, MASTER), []),
    "there is no zone, and the release is not known": (lacking(ZONE_ANNOTATION, None), []),
    "there is no gateway": (lacking(GATEWAY_ANNOTATION), [f"annotation {GATEWAY_ANNOTATION}"]),
    "there is no gateway, and the release is not known": (
        lacking(GATEWAY_ANNOTATION, None),
        [f"annotation {GATEWAY_ANNOTATION}"],
    ),
    "there is no encapsulation address": (lacking(ENCAP_IPS_ANNOTATION), [f"annotation {ENCAP_IPS_ANNOTATION}"]),
    "there is no chassis": (lacking(CHASSIS_ANNOTATION), [f"annotation {CHASSIS_ANNOTATION}"]),
    "it is what another host shows": (
        replace(GOOD, annotations=dpu_shows("g")),
        [f"annotation {ZONE_ANNOTATION}", f"annotation {GATEWAY_ANNOTATION}"],
    ),
}


@pytest.mark.parametrize(("evidence", "missing"), SIGNALS.values(), ids=SIGNALS.keys())
def test_the_tenant_lacks_when(evidence: Evidence, missing: list[str]) -> None:
    assert [signal.name for signal in tenant_signals(evidence) if not signal.holds] == missing
