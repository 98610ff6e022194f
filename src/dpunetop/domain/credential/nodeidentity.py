"""Dry runs that show whether the tenant's admission accepts the writes of the DPU pods, and how the result is reported.

RBAC may allow what admission refuses. OVN-Kubernetes' node-identity webhook is called on every UPDATE of
`nodes/status` and `pods/status`, and looks at annotations of its own that *change*: the user who changes one must
be the identity of a node, or be named with `--extra-allowed-user`. Only a dry run that changes one can tell.

Sources: go-controller/pkg/ovnwebhook/nodeadmission.go and podadmission.go of ovn-kubernetes (release-1.0 to release-1.3
and 8871cd9ce), its chart's charts/ovnkube-identity/templates/webhook.yaml (both webhooks' rules; no side effects, so
that dry runs reach them), and bindata/network/node-identity of the cluster network operator (release-4.20 to
release-5.2), which names the control plane's ServiceAccount alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, assert_never

from dpunetop.base.quoting import quoted, sentence
from dpunetop.domain.credential.account import Right
from dpunetop.domain.names import CONNECTION_STATUS_ANNOTATION, ENCAP_IPS_ANNOTATION
from dpunetop.kube.compact import node_of
from dpunetop.kube.conditions import Condition
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import NODES, PODS, Resource
from dpunetop.kube.meta import Obj, is_terminating, labels_of, name_of, namespace_of
from dpunetop.kube.requests import Selection

STATUS = "status"
"""The subresource that OVN-Kubernetes writes its annotations through (go-controller/pkg/kube/kube.go)."""
TRIED_HOSTS = 2
"""The identity of a node may write one host, any other admitted identity all of them: two hosts tell which it is."""
PODS_LOOKED_AT = 20
ADMITTED_SECONDS, DENIED_SECONDS, UNTRIED_SECONDS = 3600.0, 300.0, 30.0
"""Pause before the next attempt, by result."""

_NEVER_WRITTEN = '["this is a dry run of dpunetop"]'
"""No ovnkube writes this value, so it always is a change."""
_CALLING = "failed calling webhook"
"""In what an API server answers, with 500, where a webhook whose failure policy is Fail does not answer
(apiserver/pkg/admission/plugin/webhook/errors/statuserror.go of Kubernetes)."""
_EXEMPT = {"name": "ovnkube-identity"}
"""Labels of pods that the chart's webhook does not look at (matchConditions)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One write that a DPU pod makes, to be tried."""

    resource: Resource
    namespace: str
    name: str
    annotation: str

    @property
    def patch(self) -> dict[str, Any]:
        """A change of the annotation."""
        return {"metadata": {"annotations": {self.annotation: _NEVER_WRITTEN}}}

    @property
    def right(self) -> Right:
        """The right that RBAC must grant for it."""
        return Right("patch", "", f"{self.resource.plural}/{STATUS}", self.name, self.namespace)

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.annotation} onto {self.resource.kind} {place}"


def on_node(host: str) -> Attempt:
    """A write of a DPU onto its host: to an annotation that the webhook guards in all releases, and that may change
    freely."""
    return Attempt(NODES, "", host, ENCAP_IPS_ANNOTATION)


def pods_of(host: str) -> Selection:
    """The pods of a host."""
    return Selection(PODS, "", f"spec.nodeName={host}")


def on_a_pod(host: str, pods: Iterable[Obj]) -> Attempt | None:
    """A write of a DPU onto a pod of its host; None: there is no pod to try it with."""
    found = sorted((namespace_of(pod), name_of(pod)) for pod in pods if _is_of_use(host, pod))
    return Attempt(PODS, *found[0], CONNECTION_STATUS_ANNOTATION) if found else None


def _is_of_use(host: str, pod: Obj) -> bool:
    is_exempt = _EXEMPT.items() <= labels_of(pod).items()
    return node_of(pod) == host and not is_terminating(pod) and not is_exempt


# --- the results ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unasked:
    """Not needed: no host is paired, or the topology has no such webhook (it came with OpenShift 4.15)."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Every attempt would be written."""


@dataclass(frozen=True, slots=True)
class AdmissionDenied:
    """An attempt was refused; `message` says which, and what to do."""

    message: str


@dataclass(frozen=True, slots=True)
class Untried:
    """The result is unknown; `message` says why."""

    message: str


UNASKED = Unasked()
Identity = Unasked | Admitted | AdmissionDenied | Untried


def denied(attempt: Attempt, user: str, err: ApiError) -> AdmissionDenied:
    """The tenant's admission refuses what RBAC allows."""
    way_out = f"start the tenant's ovnkube-identity with --extra-allowed-user={user or '<user of the kubeconfig>'}"
    says = f"the tenant does not let the DPU pods write {attempt}: {sentence(err.message)}"
    return AdmissionDenied(
        f"{says}. If that is its node-identity webhook, {way_out}; see docs/security.md, node identity"
    )


def unauthorized(attempt: Attempt, user: str) -> AdmissionDenied:
    """RBAC does not allow it."""
    who = user or "the user of the given kubeconfig"
    return AdmissionDenied(f"the tenant does not let the DPU pods write {attempt}: {who} may not {attempt.right}")


def unclear(attempt: Attempt, err: ApiError) -> Untried:
    """The answer is neither yes nor no."""
    if _CALLING in err.message:
        words = "while a webhook of the tenant does not answer; see that the webhook's own pods run"
        return Untried(f"the DPU pods cannot write {attempt} {words}: {sentence(err.message)}")
    says = f"the tenant answers {err.code}" if err.code else "the tenant does not answer"
    return Untried(f"whether the DPU pods may write {attempt} is not known: {says}: {sentence(err.message)}")


def without_pod(host: str) -> Untried:
    """There is nothing to try it with."""
    what = f"{CONNECTION_STATUS_ANNOTATION} onto pods of host {host}"
    return Untried(f"whether the DPU pods may write {what} is not known: no pod runs there to try it with")


def shown_user(text: object) -> str:
    """A user's name from the tenant's answer, fit for a message; empty: the answer has none."""
    return quoted(text, 253).strip('"') if isinstance(text, str) and text else ""


def next_try(identity: Identity) -> float | None:
    """For how many seconds an answer stays valid; None: until something else changes."""
    match identity:
        case Unasked():
            return None
        case Admitted():
            return ADMITTED_SECONDS
        case AdmissionDenied():
            return DENIED_SECONDS
        case Untried():
            return UNTRIED_SECONDS
    assert_never(identity)


def told(condition: Condition, identity: Identity) -> Condition:
    """The condition about the credential, with the result of the dry runs: it is True only if they were made."""
    if condition.status != "True":
        return condition
    match identity:
        case Unasked() | Admitted():
            return condition
        case AdmissionDenied(message):
            return replace(condition, status="False", reason="NotAdmitted", message=message)
        case Untried(message):
            return replace(condition, status="Unknown", reason="AdmissionNotTried", message=message)
    assert_never(identity)
