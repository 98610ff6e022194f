"""What the API servers themselves say of the operator's requests: their audit logs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.seed import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE
from support.trial import ACCOUNT, PATIENCE, eventually

OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}"
_CALM_SECONDS = 5.0
_READS = ("get", "list", "watch")
_QUESTIONS = ("tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectreviews")


@dataclass(frozen=True)
class Asked:
    """One request as the server has answered it. Times are the server's, as text that sorts."""

    verb: str
    resource: str
    """Plural, with `/subresource` if there is one; empty for paths such as /readyz."""
    place: str
    """`namespace/name`, without the namespace for what has none."""
    code: int
    received: str
    agent: str
    uri: str

    @property
    def is_write(self) -> bool:
        """Whether it asks for a change; reviews are questions."""
        return self.verb not in _READS and self.resource not in _QUESTIONS

    @property
    def is_failed(self) -> bool:
        """Whether it was refused, for whatever reason."""
        return self.code >= 400


class Audit:
    """The requests of one user to one control plane, from now on.

    Threads: one.
    """

    def __init__(self, control_plane: ControlPlane, user: str) -> None:
        self._control_plane = control_plane
        self._user = user
        self.reset()

    def reset(self) -> None:
        """Forget what was until now."""
        self._mark = self._control_plane.audit_mark()

    def requests(self) -> list[Asked]:
        """All that were answered since, in the order of the log."""
        events = self._control_plane.audit_events(user=self._user, since=self._mark)
        return [_asked(event) for event in events if "responseStatus" in event]

    def open_watches(self, resource: str) -> list[str]:
        """URIs of the watches that were begun since and have not ended."""
        events = self._control_plane.audit_events(user=self._user, verb="watch", since=self._mark)
        about = [event for event in events if (event.get("objectRef") or {}).get("resource") == resource]
        ended = {event["auditID"] for event in about if event["stage"] == "ResponseComplete"}
        return [event["requestURI"] for event in about if event["auditID"] not in ended]


def is_count(asked: Asked) -> bool:
    """Whether it says how often an Event was told: that is written up to a minute later, and is no work."""
    return (asked.verb, asked.resource) == ("patch", "events")


def is_work(asked: Asked) -> bool:
    """What nobody does at rest: all that fails, and each write but that of the Lease."""
    return asked.is_failed or (asked.is_write and asked.resource != "leases" and not is_count(asked))


def until_rest(*audits: Audit) -> None:
    """Wait until nothing is done for a while: Events are told after what they are about."""
    eventually(lambda: work_within(_CALM_SECONDS, *audits), lambda found: not found)


def work_within(seconds: float, *audits: Audit) -> list[str]:
    """What is done in the next seconds, told as soon as there is something."""
    for each in audits:
        each.reset()
    deadline = time.monotonic() + seconds

    def work() -> list[str]:
        return [str(asked) for each in audits for asked in each.requests() if is_work(asked)]

    return eventually(work, lambda found: found or time.monotonic() >= deadline, seconds + PATIENCE)


def of_operator(infra: ControlPlane) -> Audit:
    """Audit of the operator in infra."""
    return Audit(infra, OPERATOR)


def of_tenant_reader(tenant: ControlPlane, namespace: str) -> Audit:
    """Audit of the operator in a tenant, where it comes as the reader of the kubeconfig."""
    return Audit(tenant, f"system:serviceaccount:{namespace}:{ACCOUNT}")


def _asked(event: dict[str, Any]) -> Asked:
    ref = event.get("objectRef") or {}
    resource = "/".join(part for part in (ref.get("resource"), ref.get("subresource")) if part)
    place = "/".join(part for part in (ref.get("namespace"), ref.get("name")) if part)
    return Asked(
        event["verb"],
        resource,
        place,
        event["responseStatus"].get("code", 0),
        event["requestReceivedTimestamp"],
        event.get("userAgent", ""),
        event["requestURI"],
    )
