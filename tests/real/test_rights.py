"""What the DPU's ovnkube asked of the tenant in all tests before, and that it was let in."""

from __future__ import annotations

from dpunetop.domain import names
from dpunetop.kube.meta import Obj
from dpunetop.sandbox.realovnkube.testbed import RealTestbed
from support.measuring import Measured
from support.trial import Trial

OURS = "dpunetop"
"""User agents: the operator tries the DPU's token too."""


def test_the_roles_of_a_node_are_enough_for_a_dpu(testbed: RealTestbed, trial: Trial, measured: Measured) -> None:
    user = f"system:serviceaccount:{trial.tenant_namespace}:{names.DPU_ACCOUNT}"
    asked = testbed.world.tenant.audit_events(user=user)
    events = [event for event in asked if not event["userAgent"].startswith(OURS)]
    for line in sorted({right(event) for event in events}):
        measured(f"used: {line}")
    assert events
    assert sorted({right(event) for event in events if (event.get("responseStatus") or {}).get("code") == 403}) == []


def right(event: Obj) -> str:
    """What was asked for, in words."""
    if "objectRef" not in event:
        return f"{event['verb']} {event['requestURI'].partition('?')[0]}"
    asked = event["objectRef"]
    within = f" in {asked['namespace']}" if asked.get("namespace") else ""
    parts = [asked["resource"], *([asked["subresource"]] if asked.get("subresource") else [])]
    group = f".{asked['apiGroup']}" if asked.get("apiGroup") else ""
    return f"{event['verb']} {'/'.join(parts)}{group}{within}"
