"""Two real API servers as an installation in order leaves them, for commands that look; no operator is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dpunetop.app import assets
from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, LEASES, NODES, SECRETS, SERVICEACCOUNTS
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.components import API_ONLY, Spec
from dpunetop.sandbox.controlplane import ControlPlane, ControlPlanePair
from dpunetop.sandbox.seed import QuickStart
from dpunetop.sandbox.standins.ovnkube import interconnect_tenant

OPERATOR = seed.OPERATOR_NAMESPACE
QUICK_START = QuickStart(dpus=2, namespace="tenant-cluster-1")
HOME, SECRET, CONFIG = QUICK_START.namespace, QUICK_START.secret, QUICK_START.name
OVN = QUICK_START.tenant_namespace
DPU, HOST = next(iter(QUICK_START.pairs.items()))
CONFIG_PATH = get(names.DPUCLUSTERCONFIGS, HOME, CONFIG).target
_IMAGE = "quay.io/ovn/ovnkube@sha256:" + "a" * 64


class Clinic:
    """Infra and tenant, in order until a test plants something."""

    def __init__(self, pair: ControlPlanePair, folder: Path) -> None:
        self.infra, self.tenant, self.folder = pair.infra, pair.tenant, folder
        seed.seed_infra(pair, QUICK_START)
        seed.seed_tenant(pair, QUICK_START, interconnect_tenant)
        self.tenant.apply(assets.tenant_manifests())
        for plane, home, account in ((self.infra, HOME, "default"), (self.infra, OPERATOR, "dpu-drain-blocker")):
            plane.apply(new_object(SERVICEACCOUNTS, home, account))
        self.infra.apply(seed.env_overrides(QUICK_START))
        self.store(self.operators_kubeconfig())
        self._config()
        self._operator()
        self._nodes()

    @property
    def arguments(self) -> list[str]:
        """Flags with which an administrator of both clusters looks."""
        return [f"--kubeconfig={self.infra.admin_kubeconfig}", f"--tenant-kubeconfig={self.tenant.admin_kubeconfig}"]

    def as_operator(self) -> list[str]:
        """The same, with the kubeconfig of the tenant that the operator has."""
        path = self.tenant.write_kubeconfig(self.operators_kubeconfig(), "operators")
        return [f"--kubeconfig={self.infra.admin_kubeconfig}", f"--tenant-kubeconfig={path}"]

    def operators_kubeconfig(self, seconds: int = 365 * 24 * 3600) -> Obj:
        """A kubeconfig of the ServiceAccount of deploy/tenant-rights.yaml."""
        return self.tenant.token_kubeconfig(self.tenant.service_account_token(OVN, "dpunetop-operator", seconds))

    def store(self, kubeconfig: Mapping[str, Any]) -> None:
        """Put a kubeconfig into the Secret."""
        self.infra.apply(seed.kubeconfig_secret(QUICK_START, kubeconfig))

    @contextmanager
    def changed(self, plane: ControlPlane, path: str, patch: Mapping[str, Any], status: str = "") -> Iterator[None]:
        """Patch an object, and put back what the patch has changed on the way out."""
        before = plane.admin.get(path)
        plane.admin.patch(path + status, patch)
        try:
            yield
        finally:
            plane.admin.patch(path + status, _back(before, patch))
            self.judge("True", "")

    @contextmanager
    def without(self, plane: ControlPlane, path: str) -> Iterator[None]:
        """Delete an object, and make it anew on the way out."""
        before = plane.admin.get(path)
        plane.admin.delete(path)
        try:
            yield
        finally:
            metadata = {key: before["metadata"].get(key) for key in ("name", "namespace", "labels", "annotations")}
            plane.admin.create(path.rpartition("/")[0], {**before, "metadata": metadata})

    def judge(self, status: str, message: str) -> None:
        """Have the operator say of the pods' credential, as the DpuClusterConfig is now."""
        condition = {
            "type": "DpuCredentialValid",
            "status": status,
            "reason": "Minted" if status == "True" else "NotAdmitted",
            "message": message,
            "observedGeneration": self.infra.admin.get(CONFIG_PATH)["metadata"]["generation"],
            "lastTransitionTime": _text(datetime.now(UTC)),
        }
        self.infra.admin.patch(f"{CONFIG_PATH}/status", {"status": {"conditions": [condition]}})

    def _config(self) -> None:
        self.infra.apply(seed.dpu_cluster_config(QUICK_START))
        tenant = self.tenant.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
        status = {"claimedPool": QUICK_START.pool, "tenantUID": tenant}
        self.infra.admin.patch(f"{CONFIG_PATH}/status", {"status": status})
        self.judge("True", "")
        credential = new_object(SECRETS, HOME, names.TENANT_CREDENTIAL, data={names.CREDENTIAL_FILE_KEY: "dG9rZW4="})
        ends = datetime.now(UTC) + timedelta(days=6)
        credential["metadata"]["annotations"] = {names.EXPIRES_AT_ANNOTATION: _text(ends)}
        self.infra.apply(credential)

    def _operator(self) -> None:
        [deployment] = [obj for obj in assets.operator_manifests() if obj["kind"] == DEPLOYMENTS.kind]
        self.infra.apply(deployment)
        path = get(DEPLOYMENTS, OPERATOR, "dpunetop").target
        self.infra.admin.patch(f"{path}/status", {"status": {"replicas": 2, "readyReplicas": 2}})
        self.lead(datetime.now(UTC))

    def lead(self, renewed: datetime) -> None:
        """Have the Lease of the operator renewed at that time, by a pod of its."""
        at = renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": "dpunetop-0", "leaseDurationSeconds": 15, "renewTime": at}
        self.infra.apply(new_object(LEASES, OPERATOR, names.OPERATOR_LEASE, spec=spec))

    def _nodes(self) -> None:
        network = get(names.NETWORKS, "", names.CLUSTER_NETWORK).target
        self.infra.admin.patch(network, {"status": {"clusterNetworkMTU": 1400}})
        self.infra.apply(_with_image(self.infra.admin.get(f"/apis/apps/v1/namespaces/{OVN}/daemonsets/ovnkube-node")))
        for dpu in QUICK_START.pairs:
            images = [{"names": [_IMAGE], "sizeBytes": 1}]
            status = {"nodeInfo": {"architecture": "arm64"}, "images": images}
            self.infra.admin.patch(f"{get(NODES, '', dpu).target}/status", {"status": status})


def overrides(**hosts: str) -> dict[str, str]:
    """Entries of `env-overrides`, by DPU."""
    return {dpu: f"{names.TENANT_NODE_ENV}={host}\n" for dpu, host in hosts.items()}


OVERRIDES_PATH = get(CONFIGMAPS, HOME, names.ENV_OVERRIDES).target


def _with_image(daemonset: Obj) -> Obj:
    copy = json.loads(json.dumps(daemonset))
    for container in copy["spec"]["template"]["spec"]["containers"]:
        container["image"] = _IMAGE
    metadata = {"name": copy["metadata"]["name"], "namespace": copy["metadata"]["namespace"]}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": copy["spec"]}


def _back(before: Any, patch: Any) -> Any:
    """The merge patch that undoes another."""
    if not isinstance(patch, Mapping):
        return before
    held = before if isinstance(before, Mapping) else {}
    return {key: _back(held.get(key), value) for key, value in patch.items()}


def _text(time: datetime) -> str:
    return time.replace(microsecond=0).isoformat().replace("+00:00", "Z")


def planes() -> ControlPlanePair:
    """API servers alone: nothing has to happen by itself."""
    return ControlPlanePair(Spec("infra", API_ONLY), Spec("tenant", API_ONLY))
