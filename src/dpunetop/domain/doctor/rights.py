"""Every right that the shipped manifests give, read from the manifests themselves, and whether it is granted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dpunetop.domain.credential.account import Right, access_review, named
from dpunetop.domain.doctor.model import (
    ClusterFacts,
    Diagnosis,
    Facts,
    Grants,
    NotLookedAt,
    Place,
    Unseen,
    each,
    fail,
    ok,
)
from dpunetop.kube.keys import CLUSTERROLES, ROLES, SERVICEACCOUNTS, SUBJECTACCESSREVIEWS
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.shapes import at, mappings

INSTALL = "kubectl apply --server-side -f deploy/dpunetop.yaml"
APPLY_TENANT = "kubectl --kubeconfig TENANT-ADMIN apply -f deploy/tenant-rights.yaml"


def grants(manifests: Iterable[Obj], account: tuple[str, str], user: str, mend: str) -> tuple[Grants, ...]:
    """The rights that the manifests give the ServiceAccount `account` (namespace, name), by binding.

    Guarantees: each rule of each role in the manifests that is bound to it; other roles, such as those of OpenShift,
        are not looked at.
    Raises: ValueError for a rule that no access review can ask about, so that a new form of rule is not skipped.
    """
    shipped = list(manifests)
    roles = {(obj["kind"], namespace_of(obj), name_of(obj)): obj for obj in shipped if obj["kind"] in _ROLES}
    found = []
    for binding in shipped:
        if binding["kind"] not in _BINDINGS or not _binds(binding, account):
            continue
        kind, home = at(binding, "roleRef", "kind"), namespace_of(binding)
        name = str(at(binding, "roleRef", "name"))
        role = roles.get((str(kind), home if kind == "Role" else "", name))
        if role is not None:
            found.append(_given(role, home, user, mend))
    return tuple(found)


def roles_of(manifests: Iterable[Obj], name: str) -> tuple[Obj, ...]:
    """The roles of that name, to which an account is bound only later."""
    return tuple(obj for obj in manifests if obj["kind"] in _ROLES and name_of(obj) == name)


def renamed(manifests: Iterable[Obj], names: Mapping[str, str]) -> tuple[Obj, ...]:
    """The manifests with some values replaced, wherever a value is exactly one of them."""
    return tuple(_exchanged(obj, names) for obj in manifests)


def user_of(namespace: str, name: str) -> str:
    """A ServiceAccount as a user."""
    return f"system:serviceaccount:{namespace}:{name}"


def review(user: str, right: Right) -> dict[str, Any]:
    """The review of `right`: a SubjectAccessReview, or a SelfSubjectAccessReview for the user of this command."""
    asked = access_review(right)
    if not user:
        return asked
    groups = ["system:authenticated", "system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}"]
    spec = {**asked["spec"], "user": user, "groups": groups}
    return {"apiVersion": SUBJECTACCESSREVIEWS.api_version, "kind": SUBJECTACCESSREVIEWS.kind, "spec": spec}


def judge_infra(facts: Facts) -> Iterator[Diagnosis]:
    """The operator's ServiceAccount has every right that config/rbac and config/tenant-namespace give."""
    for user in {given.user for given in facts.infra_grants}:
        _demand_account(facts.infra, user)
    yield from each(facts.infra_grants, lambda given: _judge(facts.infra, given))


def _demand_account(infra: ClusterFacts, user: str) -> None:
    """Raises: NotLookedAt, if the ServiceAccount does not exist, since its rights would mean nothing."""
    *_, namespace, name = user.split(":")
    place = Place(SERVICEACCOUNTS, namespace, name)
    if infra.get(SERVICEACCOUNTS, namespace, name) is None:
        why = "it does not exist: an operator that is run by hand has the rights of its own kubeconfig"
        raise NotLookedAt(f"{place} of infra", Unseen(why, f"{INSTALL}, if it is to run in infra"))


def judge_tenant(facts: Facts) -> Iterable[Diagnosis]:
    """The tenant's kubeconfig has every right that config/tenant gives it."""
    tenant = facts.of_tenant()
    return each(facts.tenant_grants, lambda given: _judge(tenant, given))


def judge_pods(facts: Facts) -> Iterable[Diagnosis]:
    """The roles in the tenant to which the operator binds the account of the DPU pods are those of config/tenant."""
    tenant = facts.of_tenant()
    return each(facts.pod_roles, lambda role: _role(tenant, role))


def _role(tenant: ClusterFacts, shipped: Obj) -> Iterator[Diagnosis]:
    place = role_place(shipped)
    live, about = tenant.get(place.resource, place.namespace, place.name), f"{place} of the tenant"
    if live is None:
        yield fail(about, "does not exist: the pods of the DPUs may do nothing in the tenant", APPLY_TENANT)
        return
    rules = mappings(live.get("rules"))
    wanted = tuple(_rights(shipped, place.namespace))
    lacking = [right for right in wanted if not any(_covers(rule, right) for rule in rules)]
    if lacking:
        yield fail(about, f"does not give the pods of the DPUs: {named(lacking)}", APPLY_TENANT)
    else:
        yield ok(about, f"gives the pods of the DPUs all {len(wanted)} rights")


def role_place(shipped: Obj) -> Place:
    """The place of a role of the manifests in its cluster."""
    resource = ROLES if shipped["kind"] == ROLES.kind else CLUSTERROLES
    return Place(resource, namespace_of(shipped), name_of(shipped))


def _covers(rule: Mapping[str, Any], right: Right) -> bool:
    asked = (("verbs", right.verb), ("apiGroups", right.group), ("resources", right.resource))
    if any(text not in (found := rule.get(key) or ()) and "*" not in found for key, text in asked):
        return False
    return not rule.get("resourceNames") or right.name in rule["resourceNames"]


_ROLES = ("Role", "ClusterRole")
_BINDINGS = ("RoleBinding", "ClusterRoleBinding")


def _binds(binding: Obj, account: tuple[str, str]) -> bool:
    subjects = mappings(binding.get("subjects"))
    return any((each.get("namespace"), each.get("name")) == account for each in subjects)


def _given(role: Obj, namespace: str, user: str, mend: str) -> Grants:
    within = f" in {namespace}" if namespace else ""
    return Grants(user, f"{role['kind']} {name_of(role)}{within}", tuple(_rights(role, namespace)), mend)


def _rights(role: Obj, namespace: str) -> Iterator[Right]:
    for rule in mappings(role.get("rules")):
        if set(rule) - {"apiGroups", "resources", "resourceNames", "verbs"}:
            raise ValueError(f"{role['kind']} {name_of(role)} has a rule of another form: {sorted(rule)}")
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames") or [""]:
                    yield from (Right(verb, group, resource, name, namespace) for verb in rule["verbs"])


def _judge(seen: ClusterFacts, given: Grants) -> Iterator[Diagnosis]:
    about = f"{given.user or 'the kubeconfig'} in {seen.cluster}"
    answers: dict[Right, bool] = {}
    unseen: NotLookedAt | None = None
    for right in given.rights:
        try:
            answers[right] = seen.may(given.user, right)
        except NotLookedAt as err:
            unseen = err
    lacking = [right for right, is_given in answers.items() if not is_given]
    if lacking:
        yield fail(about, f"may not {named(lacking)}, which {given.role} gives", given.mend)
    if unseen is not None:
        yield NotLookedAt(f"{about}: rights of {given.role}", unseen.unseen).finding
    elif not lacking:
        yield ok(about, f"has all {len(given.rights)} rights of {given.role}")


def _exchanged(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _exchanged(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_exchanged(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value
