"""Why something of a cluster was not looked at, as a person reads it, and what to do about it."""

from __future__ import annotations

from dpunetop.kube.errors import ApiError, Forbidden, TooManyRequests, Unauthorized, Unreachable
from dpunetop.kube.keys import INFRA
from dpunetop.runtime.reading import NotEngaged, NotSynced

Failure = NotSynced | NotEngaged | ApiError


def unlooked_words(err: Failure) -> str:
    """What was not looked at, why, and what to do next."""
    match err:
        case NotEngaged():
            return "no kubeconfig of it was given; add --tenant-kubeconfig PATH"
        case NotSynced(error=None):
            return f"{err.selection} of {side(err.cluster)} could not be listed in time; look again"
        case NotSynced(error=ApiError() as cause):
            return f"{err.selection} of {side(err.cluster)}: {cause}; {next_step(cause)}"
        case ApiError():
            return f"{err}; {next_step(err)}"
    raise AssertionError(err)


def side(cluster: str) -> str:
    """A cluster as a person names it."""
    return INFRA if cluster == INFRA else "the tenant"


def next_step(err: ApiError) -> str:
    """What to do about a request that did not succeed."""
    match err:
        case Unauthorized():
            return "give a kubeconfig that the server accepts"
        case Forbidden():
            return "give a kubeconfig that may do this, as an administrator's"
        case TooManyRequests():
            return "the server is overloaded: look again; if it stays, look at its load, and its priority and fairness"
        case Unreachable(reason="TLS"):
            return "see which server answers there, and whether the kubeconfig has its certificate authority"
        case Unreachable():
            return "see whether the server is up, and the way to it: `kubectl get --raw /readyz` with that kubeconfig"
    return "look again; the log of that API server says more"
