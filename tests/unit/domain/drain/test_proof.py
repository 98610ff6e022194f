from __future__ import annotations

from dataclasses import replace

import pytest

from dpunetop.domain.drain.facts import DpuNode, DpuView, Gone, Mco, Order, OvnPod, Signal
from dpunetop.domain.drain.proof import Evidence, missing_proofs, tenant_signals
from dpunetop.domain.drain.record import Cycle, State

NODE = DpuNode("d", "u", False, True, "b2", False, Order.NONE, Mco.RESTS)
POD = OvnPod({}, "p", True, False, True, ("c2",))
DPU = DpuView("d", NODE, None, "b", (POD,))
CYCLE = Cycle(State.RETURNING, "t", boot="b2", stale=("c1",))


def pod(**but: object) -> DpuView:
    return replace(DPU, pods=(replace(POD, **but),))


def node(**but: object) -> DpuView:
    return replace(DPU, node=replace(NODE, **but))


MISSING: dict[str, tuple[DpuView, tuple[str, ...]]] = {
    "all is well": (DPU, ()),
    "the node is gone": (replace(DPU, node=Gone(True)), ("the DPU node",)),
    "the node is not Ready": (node(ready=False), ("node Ready",)),
    "the node is about to go": (node(terminating=True), ("node Ready",)),
    "the node is cordoned": (node(cordoned=True), ("node schedulable",)),
    "the node is cordoned and that is no wish": (node(cordoned=True, order=Order.SKIP), ()),
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


def test_every_missing_signal_of_the_tenant_is_named() -> None:
    signals = (Signal("lease", False), Signal("zone", True), Signal("chassis", False))
    assert missing_proofs(DPU, CYCLE, signals) == ("lease", "chassis")


GOOD = Evidence(host="h", lease=Signal("lease", True), zone="h", encap_ips='["10.0.0.1"]', chassis="x")
SIGNALS = {
    "all is well": (GOOD, []),
    "the lease does not show it": (replace(GOOD, lease=Signal("lease", False)), ["lease"]),
    "the host goes by no lease": (replace(GOOD, lease=None), []),
    "the zone is another": (replace(GOOD, zone="g"), ["zone"]),
    "there is no encapsulation address": (replace(GOOD, encap_ips=""), ["encapsulation address"]),
    "there is no chassis": (replace(GOOD, chassis=""), ["chassis"]),
}


@pytest.mark.parametrize(("evidence", "missing"), SIGNALS.values(), ids=SIGNALS.keys())
def test_the_tenant_lacks_when(evidence: Evidence, missing: list[str]) -> None:
    assert [signal.name for signal in tenant_signals(evidence) if not signal.holds] == missing
