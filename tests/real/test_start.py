"""What the operator renders is what a real OVN-Kubernetes starts with."""

from __future__ import annotations

import time

import pytest

from dpunetop.sandbox.realovnkube.bed import Bed
from support.trial import Trial

pytestmark = pytest.mark.timeout(300)


def test_the_pod_of_a_dpu_becomes_ready(bed: Bed, trial: Trial, measured) -> None:
    began = time.monotonic()
    trial.wait("Ready", "True", within=120.0)
    measured(f"from the DpuClusterConfig to Ready: {time.monotonic() - began:.1f} s")
    assert [pod.is_ready() for pod in bed.runtime.pods()] == [True]
