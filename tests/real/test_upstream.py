"""A tenant with OVN-Kubernetes' own chart is served too; its testbed is gone before that of all others begins."""

from __future__ import annotations

import json
import time

import pytest

from dpunetop.domain.drain.rules.proof import Evidence, tenant_signals
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import annotations_of
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.realovnkube import tenant
from dpunetop.sandbox.realovnkube.program import Ovnkube
from dpunetop.sandbox.realovnkube.testbed import RealTestbed, specs
from dpunetop.sandbox.realovnkube.traffic import EchoServer, ask
from dpunetop.sandbox.realovnkube.workload import wire
from support.measuring import Measured
from support.trial import Trial

pytestmark = pytest.mark.timeout(300)

NAME = "chart"
DPU, HOST = f"{NAME}-dpu0", f"{NAME}-host0"
READY_SECONDS = 180.0
PORT = 8080


@pytest.mark.usefixtures("programs")
def test_a_tenant_of_the_chart_is_served(ovnkube: Ovnkube, measured: Measured, request: pytest.FixtureRequest) -> None:
    env = {"NAMESPACE": seed.OPERATOR_NAMESPACE, "WATCH_NAMESPACE": NAME}
    with (
        RealTestbed(ovnkube, DPU, HOST, dpus=0, **specs()) as testbed,
        OperatorProcess(testbed.world.operator_kubeconfig(), env=env) as operator,
    ):
        operator.wait_ready()
        trial = Trial(testbed.world, NAME, 1, shows=tenant.shows_upstream)
        testbed.start_tenant(NAME)
        began = time.monotonic()
        trial.quick_start()
        try:
            trial.wait("Ready", "True", within=READY_SECONDS)
        finally:
            said = "\n".join(pod.describe() for pod in testbed.runtime.pods())
            request.node.add_report_section("call", "pods", said)
        measured(f"a tenant of the chart, to Ready: {time.monotonic() - began:.1f} s")
        wired = wire(testbed.host, trial.tenant, NAME, "talks")
        with EchoServer(testbed.dpu.fabric, testbed.dpu.addresses.fabric, PORT):
            answers = ask(wired.place, testbed.dpu.addresses.fabric, PORT)
        shown = annotations_of(trial.tenant.get(get(NODES, "", HOST).target))
    assert json.loads(wired.status)["default"]["Status"] == "Ready"
    assert answers.count > 0, answers
    assert [sign.name for sign in tenant_signals(Evidence(HOST, None, shown, None)) if not sign.holds] == []
