"""A tenant that lets us mint: what deploy/tenant-rights.yaml grants to the operator, and to DPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dpunetop.domain import names
from dpunetop.kube.keys import CLUSTERROLEBINDINGS
from dpunetop.kube.requests import get
from support.sources import documents_in
from support.trial import ACCOUNT, Trial

RBAC = "rbac.authorization.k8s.io"
_RIGHTS = Path(__file__).parents[2] / "deploy" / "tenant-rights.yaml"
_OPERATOR = "dpunetop-operator"


@contextmanager
def minting_allowed(trial: Trial) -> Iterator[None]:
    """The reader of the trial has these rights, for one trial at a time."""
    forget_others(trial)
    apply, namespace = trial.world.tenant.apply, trial.tenant_namespace
    for kind in ("Role", "ClusterRole"):
        apply(_bound(kind, names.DPU_ROLE, namespace, _rules(kind, names.DPU_ROLE)))
        apply(_bound(kind, "test-minting", namespace, _rules(kind, _OPERATOR)))
    yield
    for path in (f"/apis/{RBAC}/v1/{plural}/test-minting" for plural in ("clusterroles", "clusterrolebindings")):
        trial.tenant.delete(path)
    trial.tenant.delete(f"/apis/{RBAC}/v1/clusterroles/{names.DPU_ROLE}")
    forget_others(trial)


def forget_others(trial: Trial) -> None:
    """Take our binding away, which the whole tenant has one of: also one that an operator made anew after the end of
    the trial before."""
    left = get(CLUSTERROLEBINDINGS, "", names.DPU_ACCOUNT).target
    if trial.tenant.get_or_empty(left):
        trial.tenant.delete(left)


def _rules(kind: str, name: str) -> list[Any]:
    """What the manifest grants."""
    wanted = (kind, name)
    [role] = [each for each in documents_in(_RIGHTS) if each and (each["kind"], each["metadata"]["name"]) == wanted]
    return list(role["rules"])


def _bound(kind: str, name: str, namespace: str, granted: list[Any]) -> Iterator[dict[str, Any]]:
    """A role, and its binding to the reader of the trial."""
    metadata = {"name": name, **({"namespace": namespace} if kind == "Role" else {})}
    yield {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": granted}
    if name != names.DPU_ROLE:
        yield {
            "apiVersion": f"{RBAC}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": name},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": ACCOUNT}],
        }
