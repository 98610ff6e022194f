"""The in-cluster form of the operator, with a leader election at the pace of tests."""

from __future__ import annotations

from dpunetop.sandbox.seed import OPERATOR_NAMESPACE

LEASE_SECONDS = 12.0
RENEW_SECONDS = 10.0
RETRY_SECONDS = 0.5
FLAGS = (
    "--leader-elect",
    f"--leader-elect-lease-duration={LEASE_SECONDS:g}s",
    f"--leader-elect-renew-deadline={RENEW_SECONDS:g}s",
    f"--leader-elect-retry-period={RETRY_SECONDS * 1000:g}ms",
)
"""A leader that nobody disturbs is not lost by a machine that is busy for ten seconds."""
LEASE_PATH = f"/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases/dpunetop"


def environment(served: str) -> dict[str, str]:
    """The operator's own namespace for its Lease, and the one namespace that it serves."""
    return {"NAMESPACE": OPERATOR_NAMESPACE, "WATCH_NAMESPACE": served}
