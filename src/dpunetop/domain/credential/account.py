"""Our ServiceAccount in the tenant: the rights needed to create it, its objects, and the rights that it must have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpunetop.domain.names import DPU_ACCOUNT, DPU_ROLE, OWNER_LABEL, UPSTREAM_DPU_ACCOUNT
from dpunetop.domain.ovnkube.release import Flavour, Release
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    ROLEBINDINGS,
    SELFSUBJECTACCESSREVIEWS,
    SELFSUBJECTREVIEWS,
    SERVICEACCOUNTS,
    Resource,
)
from dpunetop.kube.meta import Obj, is_terminating, labels_of, new_object, uid_of

TOKEN_SECONDS = 604_800
"""The lifetime that is requested; the server may grant less."""
TOKEN_REQUEST: Mapping[str, Any] = {
    "apiVersion": "authentication.k8s.io/v1",
    "kind": "TokenRequest",
    "spec": {"expirationSeconds": TOKEN_SECONDS},
}
"""Without audiences: the token is for the API server that issues it."""
WHO_AM_I: Mapping[str, Any] = {"apiVersion": SELFSUBJECTREVIEWS.api_version, "kind": SELFSUBJECTREVIEWS.kind}

_RBAC = "rbac.authorization.k8s.io"
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Account:
    """The identity of the DPU pods in a tenant: a ServiceAccount, with bindings of the same name."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """Its name as a user."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


ACCOUNTS: Mapping[Flavour, str] = {
    Flavour.OPENSHIFT: DPU_ACCOUNT,
    Flavour.UPSTREAM: UPSTREAM_DPU_ACCOUNT,  # see `nodeidentity`
}


def account_for(namespace: str, release: Release | None) -> Account:
    """Our account in a tenant of this release; without a release, the account for OpenShift."""
    return Account(namespace, ACCOUNTS[Flavour.OPENSHIFT if release is None else release.flavour])


@dataclass(frozen=True, slots=True)
class Right:
    """One right of RBAC; `resource` may name a subresource after a slash."""

    verb: str
    group: str
    resource: str
    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        within = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource} {self.name}".rstrip() + within


RIGHTS_OF_PODS = (
    Right("list", "", "nodes"),
    Right("list", "", "pods"),
    Right("patch", "", "nodes/status"),
)
"""Rights that OVN-Kubernetes needs on every node. A binding to a role that does not exist grants nothing and reports no
error: with such a token every DPU would stop."""


def rights_to_mint(account: Account) -> tuple[Right, ...]:
    """The rights needed to create the ServiceAccount, bind it to its roles and request its tokens."""
    namespace, name = account.namespace, account.name
    verbs = ("get", "list", "watch", "create", "patch")
    return (
        Right("create", "", "serviceaccounts/token", name, namespace),
        Right("bind", _RBAC, "roles", DPU_ROLE, namespace),
        Right("bind", _RBAC, "clusterroles", DPU_ROLE),
        *(Right(verb, "", "serviceaccounts", name, namespace) for verb in verbs),
        *(Right(verb, _RBAC, "rolebindings", name, namespace) for verb in verbs),
        *(Right(verb, _RBAC, "clusterrolebindings", name) for verb in verbs),
    )


def access_review(right: Right) -> dict[str, Any]:
    """A SelfSubjectAccessReview for `right`."""
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "name": right.name,
        "namespace": right.namespace,
    }
    spec = {"resourceAttributes": {key: text for key, text in attributes.items() if text}}
    return {"apiVersion": SELFSUBJECTACCESSREVIEWS.api_version, "kind": SELFSUBJECTACCESSREVIEWS.kind, "spec": spec}


def is_allowed(review: Mapping[str, Any]) -> bool:
    """The answer to `access_review`; anything but a clear yes is a no."""
    status = review.get("status")
    return isinstance(status, Mapping) and status.get("allowed") is True


def named(rights: Sequence[Right]) -> str:
    """The first few of them in words."""
    more = f" and {len(rights) - _MOST_NAMED} more" if len(rights) > _MOST_NAMED else ""
    return ", ".join(str(right) for right in rights[:_MOST_NAMED]) + more


@dataclass(frozen=True, slots=True)
class TenantSide:
    """ServiceAccount and bindings as the tenant shows them; None: known to be absent."""

    account: Account
    service_account: Obj | None
    role_binding: Obj | None
    cluster_role_binding: Obj | None

    def stranger(self, owner_hash: str) -> str | None:
        """The first of them that exists and is not ours, in words."""
        for resource, _, live in self.objects(owner_hash):
            if live is not None and labels_of(live).get(OWNER_LABEL) != owner_hash:
                left = f"the tenant's {resource.kind} {self.account.name} exists and is not ours; it is left as it is"
                return f"{left}. Remove it, or give a kubeconfig of that account with spec.tenantCredential: Provided"
        return None

    def is_complete(self) -> bool:
        """Whether all of them exist."""
        return not self.misbound() and all(live is not None and not is_terminating(live) for live in self._live())

    def misbound(self) -> tuple[tuple[Resource, Obj], ...]:
        """Bindings to another role, which older releases made. The role of a binding cannot be changed, so they are
        deleted."""
        bindings = ((ROLEBINDINGS, self.role_binding), (CLUSTERROLEBINDINGS, self.cluster_role_binding))
        return tuple(
            (resource, live)
            for resource, live in bindings
            if live is not None and (live.get("roleRef") or {}).get("name") != DPU_ROLE
        )

    @property
    def account_uid(self) -> str:
        """UID of the ServiceAccount: tokens of an earlier one are not valid. Empty: it does not exist."""
        return uid_of(self.service_account) if self.service_account is not None else ""

    def objects(self, owner_hash: str) -> Iterator[tuple[Resource, dict[str, Any], Obj | None]]:
        """Each object, desired and live, in the order of creation.

        Guarantees: canonical for server-side apply.
        """
        yield SERVICEACCOUNTS, _labelled(self._account(), owner_hash), self.service_account
        local = self._binding(ROLEBINDINGS, "Role")
        yield ROLEBINDINGS, _labelled(local, owner_hash), self.role_binding
        cluster_wide = self._binding(CLUSTERROLEBINDINGS, "ClusterRole")
        yield CLUSTERROLEBINDINGS, _labelled(cluster_wide, owner_hash), self.cluster_role_binding

    def _account(self) -> dict[str, Any]:
        namespace, name = self.account.namespace, self.account.name
        return new_object(SERVICEACCOUNTS, namespace, name, automountServiceAccountToken=False)

    def _binding(self, resource: Resource, kind: str) -> dict[str, Any]:
        subject = {"kind": SERVICEACCOUNTS.kind, "name": self.account.name, "namespace": self.account.namespace}
        reference = {"apiGroup": _RBAC, "kind": kind, "name": DPU_ROLE}
        return new_object(resource, self.account.namespace, self.account.name, roleRef=reference, subjects=[subject])

    def _live(self) -> tuple[Obj | None, ...]:
        return self.service_account, self.role_binding, self.cluster_role_binding


def parse_time(text: object) -> datetime | None:
    """A time as the API writes it, to the second, UTC; None: not a time."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        return time.astimezone(UTC).replace(microsecond=0) if time is not None and time.tzinfo else None
    except (ValueError, OverflowError):
        return None


def render_time(time: datetime) -> str:
    """A time in UTC as the API writes it."""
    return time.isoformat().replace("+00:00", "Z")


def _labelled(desired: dict[str, Any], owner_hash: str) -> dict[str, Any]:
    # A label alone: an owner reference must name an object of the same cluster.
    desired["metadata"]["labels"] = {OWNER_LABEL: owner_hash}
    return desired
