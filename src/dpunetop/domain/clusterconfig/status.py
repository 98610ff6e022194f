"""The status of a DpuClusterConfig: the summary `Ready`, and which changes of conditions are worth an Event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.domain.reasons import (
    CONDITIONS,
    CREDENTIALS_VALID,
    DPU_CREDENTIAL_VALID,
    MCP_READY,
    OVN_KUBE_READY,
    READY,
    TENANT_OBJS_SYNCED,
    TENANT_REACHABLE,
    Gravity,
    event,
    good_event,
    meaning,
)
from dpunetop.kube.conditions import Condition, condition_of
from dpunetop.kube.fieldsets import projection
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import ApplyStatus, Emit, Plan, Step

API_NOT_SERVED, API_REMOVED = "ApiNotServed", "ApiRemoved"
"""Reasons of McpReady on an infra cluster without the MachineConfig API: it never had one, or DPUs run what that gave
them. Neither counts against Ready, since it changes nothing of what the DPUs do."""

INTERNAL_ERROR = "InternalError"
"""Reason of a condition whose controller met a bug."""

CREDENTIAL_SHORT_LIVED = "CredentialShortLived"
"""Reason of DpuCredentialValid, which is True: it works, but ends sooner than an operator may be down."""

CREDENTIAL_EXPIRES_SOON = "CredentialExpiresSoon"
"""Reason of CredentialsValid and DpuCredentialValid, which are True: a person has to store a new one in time."""
CERTIFICATE_EXPIRES_SOON = "CertificateExpiresSoon"
"""Reason of TenantObjsSynced, which is True: the tenant has to renew the certificate by which DPUs verify its
databases."""
SERVING_CERTIFICATE_EXPIRES_SOON = "ServingCertificateExpiresSoon"
"""Reason of TenantReachable, which is True: the tenant has to renew the certificate of its API server."""
LEADING_OUT = "LeadingOut"
"""Reason of PairsHealthy at the end, while hosts are drained and released as planned."""

_WARNED_OF = (
    CREDENTIAL_SHORT_LIVED,
    CREDENTIAL_EXPIRES_SOON,
    CERTIFICATE_EXPIRES_SOON,
    SERVING_CERTIFICATE_EXPIRES_SOON,
)
"""Reasons that ask a person to act although the condition is True."""
_COUNTED = tuple(type_ for type_, row in CONDITIONS.items() if row.counts)
"""The conditions that `Ready` sums up, in the order in which they need repair."""


_OF_THE_TENANT = (CREDENTIALS_VALID, TENANT_REACHABLE, DPU_CREDENTIAL_VALID, TENANT_OBJS_SYNCED)
_FAREWELL = (
    "deleting this DpuClusterConfig drains the hosts that it serves, one after the other, and leaves them cordoned; "
    "annotate it dpu.openshift.io/force-delete=yes to have them cut off instead"
)
"""The message of `Ready` about deletion while all is well."""


def summary(config: DpuClusterConfig) -> Condition:
    """`Ready`: the first of the other conditions that is False and does not become True by itself; else the first that
    is not True; else True.

    Guarantees: a condition that is absent, or was judged for an older generation, counts as not yet known. While
        conditions progress from Unknown over False to True, `Ready` never returns to an earlier reason: an unknown
        condition is skipped only in favour of one that is stuck, so the order in which controllers first report does
        not show.
    """
    wanted = _COUNTED if config.kubeconfig_secret else (MCP_READY,)
    lacking = [lack for type_ in wanted if (lack := _lack(config, type_)) is not None]
    stuck = [lack for lack in lacking if lack.status == "False" and not _passes(lack.reason)]
    ready = Condition(READY, "True", "AllReady", _FAREWELL if config.kubeconfig_secret else "")
    return (stuck or lacking or [ready])[0]


def hindrance(config: DpuClusterConfig, has_pods: bool) -> Condition | None:
    """What keeps every DPU that does not serve yet from it: the first of the conditions about the tenant that is False
    and does not become True by itself; before the pods are deployed, `OvnKubeReady` too.

    `PairsHealthy` is not asked, nor `OvnKubeReady` later: each DPU has a share of its own in these.
    """
    return _stuck(config, _OF_THE_TENANT if has_pods else (*_OF_THE_TENANT, OVN_KUBE_READY))


def configuring_hindrance(config: DpuClusterConfig) -> Condition | None:
    """What keeps every DPU that is not configured yet from it: `McpReady`, if it is False and stays so by itself."""
    return _stuck(config, (MCP_READY,))


def _stuck(config: DpuClusterConfig, types: Sequence[str]) -> Condition | None:
    lacking = (_lack(config, type_) for type_ in types)
    stuck = (lack for lack in lacking if lack is not None and lack.status == "False" and not _passes(lack.reason))
    return next(stuck, None)


def _lack(config: DpuClusterConfig, type_: str) -> Condition | None:
    condition = condition_of(config.live, type_)
    if condition is None or condition.get("observedGeneration", 0) < config.generation:
        return Condition(READY, "Unknown", "Progressing", f"{type_} is not known yet")
    if condition["status"] == "True" or (type_ == MCP_READY and condition["reason"] in (API_NOT_SERVED, API_REMOVED)):
        return None
    # The condition itself counts progress: to repeat it here would be a second write for each step.
    message = f"waiting for {type_}" if _passes(condition["reason"]) else f"{type_}: {condition['message']}"
    return Condition(READY, condition["status"], condition["reason"], message)


def report(live: Obj, conditions: tuple[Condition, ...], field_manager: str, **members: object) -> tuple[ApplyStatus]:
    """Steps that write `conditions` to the DpuClusterConfig `live`, with Events for those that change.

    Guarantees: an Event for each condition whose status or reason the write changes, none at rest; a Warning only for a
        reason that does not pass by itself.
    """
    telling = {condition.type: _event(live, condition) for condition in conditions}
    return (ApplyStatus(INFRA, DPUCLUSTERCONFIGS, live, conditions, field_manager, members, telling),)


def confession(live: Obj, condition: Condition, field_manager: str) -> tuple[Step, ...]:
    """Steps that write `condition`, and keep the other fields that `field_manager` has in the status of `live`.

    An apply without them would remove them, the identity of the tenant among them.
    """
    ours = dict((projection(live, field_manager, "status") or {}).get("status") or {})
    said = [
        Condition(each["type"], each["status"], each["reason"], each["message"]) for each in ours.pop("conditions", [])
    ]
    others = tuple(each for each in said if each.type != condition.type)
    return report(live, (*others, condition), field_manager, **ours)


def overruled(plan: Plan, condition: Condition) -> Plan:
    """The same plan, with `condition` in place of its condition of that type."""
    return replace(plan, steps=tuple(_overruled_step(step, condition) for step in plan.steps))


def _overruled_step(step: Step, condition: Condition) -> Step:
    if not isinstance(step, ApplyStatus) or condition.type not in [said.type for said in step.conditions]:
        return step
    conditions = tuple(condition if said.type == condition.type else said for said in step.conditions)
    telling = {**step.telling, condition.type: _event(step.live, condition)}
    return replace(step, conditions=conditions, telling=telling)


def _event(live: Obj, condition: Condition) -> Emit:
    note = f"{condition.type} is {condition.status}" + (f": {condition.message}" if condition.message else "")
    is_said = condition.status == "False" or condition.reason in _WARNED_OF
    said = event if is_said else good_event
    return said(INFRA, DPUCLUSTERCONFIGS, live, condition.reason, note)


def _passes(reason: str) -> bool:
    """Whether a condition with this reason becomes True by itself."""
    return meaning(reason).gravity is Gravity.PASSING
