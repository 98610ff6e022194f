"""Whether a tenant can be seen, and if not, why: the one place that decides it, for every controller."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.reasons import CREDENTIALS_VALID, TENANT_REACHABLE
from dpunetop.domain.tenant.link import ANOTHER_CLUSTER, ANSWERED
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import ApiError, Forbidden, Unauthorized, Unreachable


class Obstacle(Enum):
    """Why the operator cannot read a tenant."""

    NOT_ENGAGED = auto()
    """There is no connection: no kubeconfig, or none that is verified."""
    SWAPPED = auto()
    """The kubeconfig leads to another cluster than before, or to infra."""
    UNAUTHORIZED = auto()
    """The tenant answers, and refuses the credential or a right."""
    UNREACHABLE = auto()
    UNREADABLE = auto()
    """The tenant answers a read with an error that is neither of these."""


@dataclass(frozen=True, slots=True)
class Visible:
    """The caches of the tenant show what the tenant has."""


@dataclass(frozen=True, slots=True)
class Invisible:
    """Nothing may be concluded about the tenant. `words` say why, in one sentence for a condition."""

    obstacle: Obstacle
    words: str


@dataclass(frozen=True, slots=True)
class NotYet:
    """The caches are not filled yet, and no error is known. Each process begins in this state."""


Visibility = Visible | Invisible | NotYet


@dataclass(frozen=True, slots=True)
class Unread:
    """Evidence: the tenant's caches gave no answer. `error` is the tenant's answer to a read; None: no error is known,
    because the tenant is not connected, or has not been asked."""

    error: ApiError | None = None


class Answer(Enum):
    """The result of the last probe of a connected tenant."""

    GOOD = auto()
    """Also before the first probe: this connection has filled the caches."""
    REFUSED = auto()
    NONE = auto()


@dataclass(frozen=True, slots=True)
class Probed:
    """Evidence: the tenant's caches are filled; the last probe of the connection met `answer`."""

    answer: Answer
    reason: str = ""
    message: str = ""


def visibility(config: DpuClusterConfig, evidence: Unread | Probed | None) -> Visibility:
    """Judge by the evidence of this pass, and where that decides nothing, by the condition `TenantReachable`.

    `evidence` None: there is no connection, whatever the caches show.
    """
    match evidence:
        case None:
            return Invisible(Obstacle.NOT_ENGAGED, "the tenant is not connected")
        case Probed():
            return _by_probe(evidence)
        case Unread(Forbidden() | Unauthorized() as error):
            return Invisible(Obstacle.UNAUTHORIZED, f"permission denied reading the tenant: {error.message}")
        case Unread(error):
            found = _by_link(config)
            is_answer = error is not None and not isinstance(error, Unreachable)
            if isinstance(found, NotYet) and is_answer:
                return Invisible(Obstacle.UNREADABLE, f"the tenant cannot be read: {error}")
            return found


def _by_probe(probed: Probed) -> Visibility:
    says = f"{probed.reason}: {probed.message}"
    match probed.answer:
        case Answer.GOOD:
            return Visible()
        case Answer.REFUSED:
            return Invisible(Obstacle.UNAUTHORIZED, f"the tenant refuses the credential: {says}")
        case Answer.NONE:
            return Invisible(Obstacle.UNREACHABLE, f"the tenant cannot be reached: {says}")


def _by_link(config: DpuClusterConfig) -> Invisible | NotYet:
    """Source: what `link.plan_link` writes; its test goes through every link there is, and back through here."""
    said = condition_of(config.live, TENANT_REACHABLE)
    if said is None:
        return NotYet()
    if said["reason"] in ANOTHER_CLUSTER:
        return Invisible(Obstacle.SWAPPED, said["message"])
    match said["status"]:
        case "False":
            return Invisible(Obstacle.UNREACHABLE, f"the tenant cannot be reached: {said['message']}")
        case "Unknown":
            return Invisible(Obstacle.NOT_ENGAGED, f"the tenant is not connected: {said['message']}")
        case _ if said["reason"] == ANSWERED:
            return Invisible(Obstacle.UNAUTHORIZED, _refusal(config, said["message"]))
    return NotYet()


def _refusal(config: DpuClusterConfig, message: str) -> str:
    """`CredentialsValid` names the Secret and says what to do about it."""
    valid = condition_of(config.live, CREDENTIALS_VALID)
    if valid is not None and valid["status"] == "False":
        return str(valid["message"])
    return f"the tenant refuses the credential: {message}"
