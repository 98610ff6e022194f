"""The admission policies of deploy/ in both clusters of a World, as their administrators apply them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dpunetop.kube.errors import Forbidden
from dpunetop.sandbox.admin import AdminClient, objects_of
from dpunetop.sandbox.seed import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, ROOT
from dpunetop.sandbox.world import World
from support.admission import config, maintenance
from support.trial import ACCOUNT, eventually

REFUSED = "ValidatingAdmissionPolicy"
"""What every refusal by a policy says of itself."""
_WHOSE = "['system:serviceaccount:', ':ACCOUNT'].all(part, request.userInfo.username.contains(part))"
"""The shipped condition names one account; here each test has one of its own, in a namespace of its own."""


def infra_policies() -> list[Mapping[str, Any]]:
    """Those of infra, as shipped."""
    return objects_of((ROOT / "deploy" / "admission.yaml").read_text())


def tenant_policies() -> list[Mapping[str, Any]]:
    """Those of the tenant, for the account of every test."""
    objects = objects_of((ROOT / "deploy" / "tenant-admission.yaml").read_text())
    for policy in (obj for obj in objects if obj["kind"] == REFUSED):
        [condition] = policy["spec"]["matchConditions"]
        assert condition["expression"].startswith("request.userInfo.username == ")
        condition["expression"] = _WHOSE.replace("ACCOUNT", ACCOUNT)
    return objects


def fence(world: World) -> None:
    """Put the policies in force, and see that they are."""
    world.infra.admin.apply(infra_policies())
    world.tenant.admin.apply(tenant_policies())
    await_infra(world, config("worker"))
    reader = objects_of(_READER)
    world.tenant.apply(reader)
    stolen = world.tenant.client(world.tenant.service_account_token("fence", ACCOUNT))
    eventually(lambda: is_refused(stolen, maintenance("drain-all")), bool)
    stolen.close()
    world.tenant.admin.delete(world.tenant.admin.path_of(reader[0]))


def await_infra(world: World, forbidden: dict[str, Any]) -> None:
    """Wait until infra refuses the operator that write."""
    stolen = world.infra.client(world.infra.service_account_token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT))
    eventually(lambda: is_refused(stolen, forbidden), bool)
    stolen.close()


def is_refused(client: AdminClient, obj: dict[str, Any]) -> bool:
    """Whether a policy refuses to let the client write `obj`."""
    try:
        client.apply_at(client.path_of(obj), obj, dryRun="All")
    except Forbidden as err:
        return REFUSED in str(err)
    return False


_READER = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: fence}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {ACCOUNT}, namespace: fence}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: fence}}
rules:
- apiGroups: [nodemaintenance.medik8s.io]
  resources: [nodemaintenances]
  verbs: [create, patch, get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: fence}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: fence}}
subjects:
- {{kind: ServiceAccount, name: {ACCOUNT}, namespace: fence}}
"""
