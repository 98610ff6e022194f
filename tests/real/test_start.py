"""What the operator renders is what a real OVN-Kubernetes starts with."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.sandbox.realovnkube.testbed import RealTestbed
from support.measuring import Measured

pytestmark = pytest.mark.timeout(300)


def test_the_pod_of_a_dpu_becomes_ready_and_no_container_has_to_start_twice(
    testbed: RealTestbed, served: Any, measured: Measured
) -> None:
    [pod] = testbed.runtime.pods()
    measured(f"from the DpuClusterConfig to Ready: {served.seconds_to_ready:.1f} s")
    assert {name: status.restarts for name, status in pod.statuses().items() if status.restarts} == {}
    assert {name for name, status in pod.statuses().items() if not status.ready} == set()
