"""The blocker pod and its budget, which keep a DPU from being drained before its host.

Desired objects are canonical for server-side apply. One field manager owns the whole budget, so each apply of it has
all fields: form, host and record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from dpunetop.domain.drain.model.facts import Budget, HostRef
from dpunetop.domain.drain.model.record import Cycle, render_cycle, stamped
from dpunetop.domain.drain.model.times import as_time
from dpunetop.domain.names import (
    CYCLE_ANNOTATION,
    DRAIN_BLOCKER,
    LEAVING_ANNOTATION,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    SERVES_ANNOTATION,
    SINCE_ANNOTATION,
    blocker_labels,
    blocker_name,
    labels_of_blocker,
)
from dpunetop.kube.keys import DEPLOYMENTS, INFRA, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj, name_of, namespace_of, new_object, version_of
from dpunetop.kube.plan import Apply, Fence, Ownership
from dpunetop.kube.shapes import at, mappings

_NOBODY_UID = 65532
_RESOURCES = {"cpu": "5m", "memory": "16Mi"}


class Form(Enum):
    """The two shapes of a budget."""

    CLOSED = auto()
    """No eviction, not even of a pod that is not Ready."""
    OPEN = auto()
    """One eviction, whatever state the pod is in."""


@dataclass(frozen=True, slots=True)
class BlockerSettings:
    """The settings that all blockers of an owner share."""

    namespace: str
    """Of the operator."""
    image: str
    owner: str
    has_scc: bool
    """Whether infra serves `security.openshift.io`, which then chooses the user."""


def service_account(settings: BlockerSettings) -> dict[str, Any]:
    """The ServiceAccount of all blockers. It has no rights; SecurityContextConstraints are bound to it."""
    desired = new_object(SERVICEACCOUNTS, settings.namespace, DRAIN_BLOCKER, automountServiceAccountToken=False)
    desired["metadata"]["labels"] = {OWNER_LABEL: settings.owner}
    return desired


def blocker(settings: BlockerSettings, node: str) -> dict[str, Any]:
    """The Deployment of one DPU node's blocker.

    Guarantees: its pod runs on that node alone, also while the node is cordoned; a rollout brings the new pod up first.
    """
    labels = dict(blocker_labels(node))
    spec = {
        "replicas": 1,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": labels}, "spec": _pod(settings, node)},
    }
    desired = new_object(DEPLOYMENTS, settings.namespace, blocker_name(node), spec=spec)
    desired["metadata"]["labels"] = {OWNER_LABEL: settings.owner, **labels}
    return desired


_POD = ("spec", "template", "spec")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


BLOCKED_NODE = "blockedNode"
"""Member of a cached Deployment: the result of `blocked_node`."""


def blocked_node(live: Obj) -> str:
    """The node of a blocker; empty if its Deployment does not name one."""
    if BLOCKED_NODE in live:
        return str(live[BLOCKED_NODE])
    terms = mappings(at(live, *_POD, "affinity", "nodeAffinity", _REQUIRED, "nodeSelectorTerms"))
    fields = (field for term in terms for field in mappings(term.get("matchFields")))
    values = (value for field in fields if isinstance(value := field.get("values"), list))
    return next((str(value[0]) for value in values if value), "")


def first_budget(settings: BlockerSettings, node: str, serves: str) -> dict[str, Any]:
    """The first budget of a DPU: closed if it serves a host already, else open."""
    form = Form.CLOSED if serves else Form.OPEN
    desired = new_object(PODDISRUPTIONBUDGETS, settings.namespace, blocker_name(node))
    desired["metadata"]["labels"] = {OWNER_LABEL: settings.owner}
    desired["spec"] = _spec(form, _selector(blocker_name(node)))
    if serves:
        desired["metadata"]["annotations"] = {SERVES_ANNOTATION: serves}
    return desired


SELECTS_ITSELF = "selectsItself"
"""Member of the `spec` of a budget, as a cache keeps it, in place of a selector that follows from the budget's name."""


def kept_spec(live: Obj) -> Any:
    """What a cache keeps of the `spec` of a budget: nothing of a selector by which it finds the blocker of its name, so
    that thousands have the same."""
    spec = live.get("spec")
    if not isinstance(spec, Mapping) or spec.get("selector") != _selector(name_of(live)):
        return spec
    return {**{name: value for name, value in spec.items() if name != "selector"}, SELECTS_ITSELF: True}


def selector_of(live: Obj) -> Obj:
    """The selector of a budget, as a cache keeps the budget or as a server shows it."""
    selector: Obj = _selector(name_of(live)) if SELECTS_ITSELF in live["spec"] else live["spec"]["selector"]
    return selector


def _selector(name: str) -> dict[str, Any]:
    return {"matchLabels": dict(labels_of_blocker(name))}


@dataclass(frozen=True, slots=True)
class BudgetState:
    """All fields of a budget; a write repeats those that it does not change as they were read."""

    form: Form
    serves: str
    cycle: Cycle | None
    leaving: tuple[str, ...] = ()


def state_of(budget: Budget) -> BudgetState:
    """The state of a budget as it was read."""
    form = Form.OPEN if budget.is_open else Form.CLOSED
    return BudgetState(form, budget.serves, budget.cycle, budget.leaving)


def write_budget(host_ref: HostRef, read: Budget, state: BudgetState) -> Apply:
    """The only write of an existing budget: it carries the version that was read, and while there is a record it always
    changes the object.

    Guarantees: fails if any client wrote the budget since `read`; name and selector stay as they are.
    """
    live, cycle = read.live, state.cycle
    is_same = (state.serves, bool(state.leaving)) == (read.serves, bool(read.leaving))
    since = read.since if is_same else host_ref.author.now
    notes = {
        SERVES_ANNOTATION: state.serves,
        LEAVING_ANNOTATION: " ".join(state.leaving),
        SINCE_ANNOTATION: as_time(since) if since and state.serves else "",
    }
    if cycle is not None:
        fresh = f"{host_ref.author.draw}.{version_of(live)}"
        cycle = stamped(read.cycle, cycle, host_ref.author.now)
        if state.form is Form.OPEN and not read.is_open:
            cycle = replace(cycle, opened_at=host_ref.author.now)
        notes[CYCLE_ANNOTATION] = render_cycle(replace(cycle, term=host_ref.author.term, number=fresh))
    desired = new_object(PODDISRUPTIONBUDGETS, namespace_of(live), name_of(live))
    desired["metadata"]["labels"] = {OWNER_LABEL: host_ref.owner}
    if kept := {name: text for name, text in notes.items() if text}:
        desired["metadata"]["annotations"] = kept
    desired["spec"] = _spec(state.form, selector_of(live))
    return Apply(
        INFRA, PODDISRUPTIONBUDGETS, desired, live, host_ref.author.field_manager, Fence.VERSION, Ownership.WHOLE
    )


def _spec(form: Form, selector: Obj) -> dict[str, Any]:
    if form is Form.CLOSED:
        return {"maxUnavailable": 0, "unhealthyPodEvictionPolicy": "IfHealthyBudget", "selector": selector}
    return {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}


def _pod(settings: BlockerSettings, node: str) -> dict[str, Any]:
    """On the host network, because a DPU node has no other; otherwise as restricted as a pod can be."""
    by_name = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    user = {} if settings.has_scc else {"runAsUser": _NOBODY_UID}
    return {
        "serviceAccountName": DRAIN_BLOCKER,
        "automountServiceAccountToken": False,
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "terminationGracePeriodSeconds": 1,
        "affinity": {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": [{"matchFields": by_name}]}}},
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {"runAsNonRoot": True, **user, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "blocker",
                "image": settings.image,
                "command": ["sleep", "infinity"],
                "resources": {"requests": dict(_RESOURCES), "limits": dict(_RESOURCES)},
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }
