"""Why the pods of a host stay whose drain takes too long."""

from __future__ import annotations

from collections.abc import Iterable

from dpunetop.base.quoting import named, sentence
from dpunetop.domain.drain.model.facts import HostView, Pod
from dpunetop.domain.drain.model.hoststate import HostState
from dpunetop.domain.drain.model.limits import LimitedStep
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.shapes import at

_MOST_BUDGETS = 3
MOST_NAMESPACES = 3
"""The number of namespaces that are looked at, of the pods that are named."""


def is_late(view: HostView) -> bool:
    """Whether the host's drain takes longer than its limit."""
    host_state, limit = HostState(view), view.settings.limits.seconds(LimitedStep.HOST_DRAIN)
    asked = (cycle.asked_at for dpu, cycle in host_state.cycles if host_state.is_active(dpu) and not cycle.opened_at)
    return host_state.own is not None and any(since and view.host_ref.author.now - since > limit for since in asked)


def namespaces(pods: Iterable[Pod]) -> tuple[str, ...]:
    """The namespaces to look at, in order; empty where the node maintenance operator names none."""
    return tuple(dict.fromkeys(pod.namespace for pod in pods if pod.namespace))[:MOST_NAMESPACES]


def in_the_way(namespace: str, budgets: Iterable[Obj]) -> str:
    """The disruption budgets of a namespace that allow no eviction now; empty: there is none.

    They are not matched with pods, which would have to be read for that.
    """
    closed = [name_of(each) for each in budgets if at(each, "status", "disruptionsAllowed") == 0]
    if not closed:
        return ""
    more = f" and {len(closed) - _MOST_BUDGETS} more" if len(closed) > _MOST_BUDGETS else ""
    names = ", ".join(f"{named(namespace)}/{named(name)}" for name in sorted(closed)[:_MOST_BUDGETS])
    return f"PodDisruptionBudget {names}{more} allows no eviction now"


def unread(namespace: str, why: str) -> str:
    """Why it is unknown which PodDisruptionBudgets block evictions."""
    where = f"the PodDisruptionBudgets of namespace {named(namespace)} of the tenant"
    return f"{where} cannot be listed: {sentence(why)}; apply deploy/tenant-rights.yaml again"
