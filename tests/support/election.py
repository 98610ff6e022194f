"""The in-cluster form of the operator, with a leader election at the pace of tests."""

from __future__ import annotations

from dpunetop.sandbox.seed import OPERATOR_NAMESPACE

LEASE_SECONDS = 3.0
RENEW_SECONDS = 2.0
RETRY_SECONDS = 0.5
FLAGS = (
    "--leader-elect",
    f"--leader-elect-lease-duration={LEASE_SECONDS:g}s",
    f"--leader-elect-renew-deadline={RENEW_SECONDS:g}s",
    f"--leader-elect-retry-period={RETRY_SECONDS * 1000:g}ms",
)
CALM_FLAGS = (
    "--leader-elect",
    "--leader-elect-lease-duration=15s",
    "--leader-elect-renew-deadline=10s",
    "--leader-elect-retry-period=500ms",
)
"""For a test that does not end leaders: a machine that is busy for two seconds does not either."""
LEASE_PATH = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases/dpunetop"


def environment(served: str) -> dict[str, str]:
    """The operator's own namespace for its Lease, and the one namespace that it serves."""
    return {"NAMESPACE": OPERATOR_NAMESPACE, "WATCH_NAMESPACE": served}
