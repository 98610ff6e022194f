"""The schema of DpuNode on a real API server: what kubectl shows and explains, and which status is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.domain.dpunode.status import Phase
from dpunetop.domain.reasons import DPU_NODE_CONDITIONS, REASONS
from dpunetop.kube.errors import Invalid
from dpunetop.sandbox import binaries
from dpunetop.sandbox.controlplane import ControlPlane
from support.explaining import check_explained

CRD_FILE = Path(__file__).parents[2] / "config" / "crd" / "dpu.openshift.io_dpunodes.yaml"
FIELDS = ["dpu", "dpunode.status", "dpunode.status.conditions", "dpunode.status.lastDrain", "dpunode.status.phase"]
TIME = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:01:00Z"
CARD, HOST = "bf2-worker-advnetlab13", "x86-worker-advnetlab13"
TERMINAL = 120

Obj = dict[str, Any]


@pytest.fixture
def served(infra: ControlPlane) -> ControlPlane:
    infra.apply(yaml.safe_load(CRD_FILE.read_text()))
    return infra


def shown(infra: ControlPlane, namespace: str, **status: Any) -> Obj:
    """A DpuNode with that status. Raises: Invalid."""
    obj: Obj = {
        "apiVersion": "dpu.openshift.io/v1alpha1",
        "kind": "DpuNode",
        "metadata": {"name": CARD, "namespace": namespace},
    }
    path = infra.admin.path_of(obj)
    infra.admin.apply_at(path, obj)
    said = {"reason": "Tested", "message": "", "lastTransitionTime": TIME}
    conditions = [{"type": type_, "status": "Unknown", **said} for type_ in DPU_NODE_CONDITIONS]
    usual = {"phase": "Serving", "since": TIME, "reason": "Serving", "host": HOST, "conditions": conditions}
    whole = {name: value for name, value in (usual | status).items() if value is not None}
    found: Obj = infra.admin.patch(f"{path}/status", {"status": whole})
    return found


@pytest.mark.parametrize("phase", Phase)
def test_a_dpu_in_any_phase_is_taken_with_a_host(served: ControlPlane, namespace: str, phase: Phase) -> None:
    assert shown(served, namespace, phase=str(phase))["status"]["phase"] == phase


WRONG: dict[str, tuple[Obj, str]] = {
    "to serve no host": ({"host": None}, "a DPU in phase Serving or Spare has a host"),
    "to be spare of no host": ({"phase": "Spare", "host": None}, "a DPU in phase Serving or Spare has a host"),
    "a phase of somebody else": ({"phase": "Ready"}, "Unsupported value"),
    "a drain that ends before it starts": (
        {"lastDrain": {"startedAt": LATER, "endedAt": TIME}},
        "a drain ends no earlier than it starts",
    ),
    "a step of less than no time": (
        {"lastDrain": {"startedAt": TIME, "verifyingSeconds": -1}},
        "greater than or equal",
    ),
}


@pytest.mark.parametrize(("status", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_status_that_cannot_be_is_refused(served: ControlPlane, namespace: str, status: Obj, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        shown(served, namespace, **status)


@pytest.mark.parametrize("phase", ["Unpaired", "Unknown"])
def test_a_dpu_that_serves_nobody_needs_no_host(served: ControlPlane, namespace: str, phase: str) -> None:
    assert "host" not in shown(served, namespace, phase=phase, host=None)["status"]


def test_a_drain_that_ends_at_once_is_taken(served: ControlPlane, namespace: str) -> None:
    assert shown(served, namespace, lastDrain={"startedAt": TIME, "endedAt": TIME})["status"]["lastDrain"]


def test_the_columns_of_the_longest_words_fit_a_terminal(served: ControlPlane, namespace: str) -> None:
    shown(served, namespace, phase=max(Phase, key=len), reason=max(REASONS, key=len))
    lines = served.kubectl("get", "dpu", "-n", namespace).splitlines()
    assert lines[0].split() == ["NAME", "HOST", "PHASE", "NETWORK", "REASON", "SINCE"]
    assert max(map(len, lines)) <= TERMINAL


@pytest.mark.parametrize("field", FIELDS)
def test_kubectl_explains_each_field(programs: binaries.Binaries, served: ControlPlane, field: str) -> None:
    check_explained(programs, served, field)
