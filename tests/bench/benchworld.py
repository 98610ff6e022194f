"""Two control planes with N pairs, without controllers or stand-ins: what is measured there is the operator's own pace.

The infra cluster serves no MachineConfig API, so every DPU counts as configured; nobody makes pods, so blockers never
become Ready and no DPU comes to serve, unless the seeded is made with them.
"""

from __future__ import annotations

import compileall
import contextlib
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import dpunetop
from bench import nodes
from bench.machine import Cores, pinned
from bench.writes import Log, Write, write_policy
from dpunetop.domain import names
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import DAEMONSETS, NAMESPACES, NODES, PODS
from dpunetop.kube.meta import Obj, new_object, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.admin import AdminClient
from dpunetop.sandbox.components import API_ONLY, Spec
from dpunetop.sandbox.controlplane import ControlPlane, ControlPlanePair
from dpunetop.sandbox.crds import CLUSTER_VERSION, MACHINE_CONFIGURATION, NODE_MAINTENANCE
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.seed import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, QuickStart
from dpunetop.sandbox.standins.kubelet import pod_status
from dpunetop.sandbox.standins.ovnkube import central_tenant, infra_network

OPERATOR_USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}"
_SEEDERS = 4
_TESTS = Path(__file__).parents[1]
_IMAGE = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:" + 64 * "0"
_NOW = "2024-01-01T00:00:00Z"


class BenchWorld:
    """The pair, seeded: a context manager. `configs` > 0 makes that many DpuClusterConfigs without a tenant instead.
    `scope` is where the operator serves; None: where there are any. With `pods` each DPU has its two, both Ready: that
    of its blocker, and ovnkube-node.

    Threads: one.
    """

    def __init__(
        self, cores: Cores, *, dpus: int, configs: int = 0, scope: str | None = None, pods: bool = False
    ) -> None:
        self.cores = cores
        self.names = QuickStart(dpus=dpus, namespace="bench-tenant")
        self.configs = configs
        self.pods = pods
        self._scope = scope or ("*" if configs else self.names.namespace)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opening:
            folder = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="dpunetop-bench-")))
            self.folder = folder
            compileall.compile_dir(Path(dpunetop.__file__).parent, quiet=1)  # or the first start would cost more
            policy = write_policy(folder / "audit-policy.yaml", OPERATOR_USER)
            infra = Spec("infra", API_ONLY, audit=True, apiserver_flags=(f"--audit-policy-file={policy}",))
            self.pair = ControlPlanePair(infra, Spec("tenant", API_ONLY))
            with pinned(self.cores.control_plane):
                opening.enter_context(self.pair)
            self.infra: ControlPlane = self.pair.infra
            self._seed()
            self.log = Log(self.infra)
            self.token = seed.operator_token(self.pair)
            self._add_service_account()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @contextlib.contextmanager
    def operator(
        self, program: tuple[str, ...] | None = None, flags: tuple[str, ...] = (), infra_port: int | None = None
    ) -> Iterator[OperatorProcess]:
        """The shipped process as in its image, with the rights of config/rbac, on its core. `infra_port`: of what lies
        before infra's API server; None: nothing."""
        server = urlsplit(self.infra.url)
        environment = {
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(infra_port or server.port),
            "NAMESPACE": OPERATOR_NAMESPACE,
            "WATCH_NAMESPACE": self._scope,
            "TENANT_NAMESPACE": self.names.tenant_namespace,
            "PYTHONPATH": str(_TESTS),
        }
        kubeconfig = self.infra.token_kubeconfig(self.token)
        argv = program or (sys.executable, "-m", "bench.inpod", str(self.folder))
        with (
            pinned(self.cores.operator),
            OperatorProcess(kubeconfig, env=environment, program=argv, flags=flags) as running,
        ):
            yield running

    # --- going back -------------------------------------------------------------------------------------------------

    def take_away(self, writes: Iterable[Write]) -> None:
        """Delete every object that these writes made, so that they can be made again."""
        paths = sorted({write.path for write in writes if "/" not in write.plural})
        self._at_once(self._drop, paths)

    def renew_configs(self) -> None:
        """Put DpuClusterConfigs in the place of those that are there, as a user creates them."""
        for config in self._configs():
            path = self.infra.admin.path_of(config)
            self._drop(path)
            with contextlib.suppress(NotFound):
                self.infra.admin.patch(path, {"metadata": {"finalizers": None}})
        self.infra.apply(self._configs())

    def add_strangers(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """DpuClusterConfigs that name the pool of ours, each in a namespace that gives the operator no rights."""
        spec = {"poolName": self.names.pool, "nodeSelector": {"matchLabels": {"bench.dpu.openshift.io/none": ""}}}
        made = [new_object(names.DPUCLUSTERCONFIGS, f"stranger-{n}", "stranger", spec=spec) for n in numbers]

        def add(config: dict[str, Any]) -> None:
            self.infra.apply([new_object(NAMESPACES, "", config["metadata"]["namespace"]), config])

        self._at_once(add, made)
        return made

    def remove_strangers(self, strangers: Iterable[Mapping[str, Any]]) -> None:
        """Delete these; their namespaces stay."""
        self._at_once(self._drop, [self.infra.admin.path_of(each) for each in strangers])

    def _drop(self, path: str) -> None:
        with contextlib.suppress(NotFound):
            self.infra.admin.delete(path)

    # --- seeding ----------------------------------------------------------------------------------------------------

    def _seed(self) -> None:
        self.infra.apply(infra_network(names.OVN_KUBERNETES_NAMESPACE))
        self.infra.apply(seed.operator_installation())
        if self.configs:
            self.infra.apply(MACHINE_CONFIGURATION)
            for config in self._configs():
                self.infra.apply(seed.served_namespace(config["metadata"]["namespace"], self.names.secret))
        else:
            self.infra.apply(seed.served_namespace(self.names.namespace, self.names.secret))
            self._seed_tenant(self.pair.tenant)
            kubeconfig = seed.tenant_kubeconfig(self.pair.tenant, self.names)
            self.infra.apply(seed.kubeconfig_secret(self.names, kubeconfig))
            self.infra.apply(seed.env_overrides(self.names))
        self._add_nodes(self.infra.admin, map(seed.dpu_node, self.names.pairs))
        if self.pods:
            self._at_once(self._add_dpu_pods, list(self.names.pairs))
        self.infra.apply(self._configs())

    def _add_service_account(self) -> None:
        """What the kubelet puts into the operator's pod."""
        (self.folder / "token").write_text(self.token)
        (self.folder / "ca.crt").write_bytes(self.infra.ca_pem)

    def _seed_tenant(self, tenant: ControlPlane) -> None:
        tenant.apply(NODE_MAINTENANCE)
        tenant.apply(CLUSTER_VERSION)
        tenant.apply(seed.cluster_version())
        tenant.apply(central_tenant(self.names.tenant_namespace))
        tenant.apply(seed.tenant_reader(self.names.tenant_namespace))
        self._add_nodes(tenant.admin, map(seed.host_node, self.names.pairs.values()))
        for number in range(3):
            node = seed.master_node(f"tenant-master-{number}")
            self._add_nodes(tenant.admin, [node])
            self._add_master_pod(tenant.admin, node)

    def _add_master_pod(self, admin: AdminClient, node: Obj) -> None:
        """What the DaemonSet controller and a kubelet would make."""
        pod = new_object(PODS, self.names.tenant_namespace, f"ovnkube-{node['metadata']['name']}")
        master = admin.get(get(DAEMONSETS, self.names.tenant_namespace, names.OVNKUBE_MASTER).target)
        owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": names.OVNKUBE_MASTER, "uid": uid_of(master)}
        pod["metadata"] |= {
            "labels": {"app": names.OVNKUBE_MASTER},
            "ownerReferences": [{**owner, "controller": True}],
        }
        containers = [{"name": name, "image": "ovn"} for name in ("northd", "nbdb", "sbdb", "ovnkube-master")]
        pod["spec"] = {"hostNetwork": True, "nodeName": node["metadata"]["name"], "containers": containers}
        path = get(PODS, self.names.tenant_namespace, pod["metadata"]["name"]).target
        live = admin.apply_at(path, pod)
        status = pod_status(live, {**node, "status": nodes.status_of(node)}, True, _NOW)
        admin.patch(f"{path}/status", {"metadata": {"uid": uid_of(live)}, "status": status})

    def _add_dpu_pods(self, dpu: str) -> None:
        """What controllers and a kubelet would make on a DPU."""
        blocker, serving = names.blocker_name(dpu), f"{names.OVNKUBE_NODE}-{dpu}"
        labels = dict(names.blocker_labels(dpu))
        self._add_running(new_object(PODS, OPERATOR_NAMESPACE, f"{blocker}-5d9c7b8f6-x2x4z"), labels, dpu, ("blocker",))
        pod = new_object(PODS, self.names.namespace, serving)
        self._add_running(pod, {"app": names.OVNKUBE_NODE}, dpu, ("ovn-controller", "ovnkube-node"))

    def _add_running(
        self, pod: dict[str, Any], labels: Mapping[str, str], node: str, containers: Iterable[str]
    ) -> None:
        pod["metadata"]["labels"] = labels
        found = [{"name": name, "image": _IMAGE} for name in containers]
        pod["spec"] = {"hostNetwork": True, "nodeName": node, "containers": found}
        path = get(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"]).target
        live = self.infra.admin.apply_at(path, pod)
        status = pod_status(live, self._status_node(node), True, _NOW)
        self.infra.admin.patch(f"{path}/status", {"metadata": {"uid": uid_of(live)}, "status": status})

    @staticmethod
    def _status_node(name: str) -> Obj:
        node = seed.dpu_node(name)
        return {**node, "status": nodes.status_of(node)}

    def _add_nodes(self, admin: AdminClient, objects: Iterable[dict[str, Any]]) -> None:
        def add(node: dict[str, Any]) -> None:
            path = get(NODES, "", node["metadata"]["name"]).target
            admin.apply_at(path, node)
            admin.patch(f"{path}/status", {"status": nodes.status_of(node)}, fieldManager="kubelet")

        self._at_once(add, list(objects))

    def _configs(self) -> list[Mapping[str, Any]]:
        if not self.configs:
            return [seed.dpu_cluster_config(self.names)]
        return [_host_config(f"bench-{number}") for number in range(self.configs)]

    @staticmethod
    def _at_once(work: Any, things: list[Any]) -> None:
        with ThreadPoolExecutor(_SEEDERS, thread_name_prefix="seed") as pool:
            for _ in pool.map(work, things):
                pass


def _host_config(name: str) -> dict[str, Any]:
    """A DpuClusterConfig that configures hosts, and has no tenant."""
    spec = {"poolName": name, "nodeSelector": {"matchLabels": {f"bench.dpu.openshift.io/{name}": ""}}}
    return new_object(names.DPUCLUSTERCONFIGS, name, name, spec=spec)
