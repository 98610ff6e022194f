"""One tenant of a shared World: namespaces, nodes, pool and DpuClusterConfig that only one test touches."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dpunetop.domain import names
from dpunetop.domain.ovnkube.pod import newest_template, proven_template
from dpunetop.domain.pairing.entries import idle_pods
from dpunetop.domain.pairing.pairing import host_of
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import Conflict, NotFound
from dpunetop.kube.keys import (
    CONFIGMAPS,
    DAEMONSETS,
    DEPLOYMENTS,
    NODES,
    PODS,
    SECRETS,
    SERVICEACCOUNTS,
    Resource,
)
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from dpunetop.sandbox.admin import AdminClient, Obj
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.seed import QuickStart
from dpunetop.sandbox.standins.ovnkube import Shows, central_tenant
from dpunetop.sandbox.world import World

T = TypeVar("T")

POLL_SECONDS = 0.05
PATIENCE = 120.0
"""For what comes at once, as a rule: only a fault takes longer, however busy the machine."""
ACCOUNT = "dpu-network-operator"
OUR_OBJECTS: tuple[tuple[Resource, str], ...] = (
    (SECRETS, names.OVN_CERT),
    (SECRETS, names.TENANT_CREDENTIAL),
    (SECRETS, names.TENANT_KUBECONFIG),
    (CONFIGMAPS, names.OVN_CA),
    (CONFIGMAPS, names.OVNKUBE_CONFIG),
    (CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES),
    (SERVICEACCOUNTS, names.OVNKUBE_SERVICE_ACCOUNT),
    (DAEMONSETS, names.OVNKUBE_NODE),
)
"""What the operator writes into the namespace of a DpuClusterConfig."""
COPIES = OUR_OBJECTS[:1] + OUR_OBJECTS[3:5]


def eventually(look: Callable[[], T], holds: Callable[[T], object], within: float = PATIENCE) -> T:
    """Look until `holds`; what was seen then. Raises: TimeoutError with what was seen last."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if holds(seen):
            return seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {within:g} s still {seen!r}"[:4000])
        time.sleep(POLL_SECONDS)


def encoded(text: str) -> str:
    """Text as Secrets hold it."""
    return base64.b64encode(text.encode()).decode()


def decoded(obj: Obj, key: str) -> str:
    """The value of a Secret's key; empty if there is none."""
    return base64.b64decode((obj.get("data") or {}).get(key, "")).decode()


@dataclass(frozen=True)
class _Names(QuickStart):
    """The quick start's names, none of them shared: `name` is that of everything."""

    @property
    def pairs(self) -> dict[str, str]:
        return {f"{self.name}-dpu{n}": f"{self.name}-host{n}" for n in range(self.dpus)}


class Trial:
    """What a test does to its own tenant, and what it sees of it.

    Threads: one.
    """

    def __init__(
        self, world: World, name: str, dpus: int = 1, namespace: str | None = None, shows: Shows = central_tenant
    ) -> None:
        """Its nodes and hosts are there when this returns; its tenant shows what `shows` makes for its namespace."""
        self.world = world
        self.infra: AdminClient = world.infra.admin
        self.tenant: AdminClient = world.tenant.admin
        self.names = _Names(dpus=dpus, namespace=namespace or name, tenant_namespace=name, pool=name, name=name)
        self.namespace = self.names.namespace
        self.pool = name
        self.nodes = list(self.names.pairs)
        self.label = f"test.dpu.openshift.io/{name}"
        self._made: list[tuple[ControlPlane, str]] = []  # in the order of creation
        world.infra.apply(seed.served_namespace(self.namespace, self.names.secret))
        for node in self.nodes:
            self.add_node(node)
        self.add_hosts()
        world.tenant.apply(shows(self.tenant_namespace))
        world.tenant.apply(_reader(self.tenant_namespace, self._role()))

    # --- the user's steps -------------------------------------------------------------------------------------------

    @property
    def tenant_namespace(self) -> str:
        return self.names.tenant_namespace

    def add_node(self, name: str) -> None:
        """A DPU that the DpuClusterConfig selects."""
        node = seed.dpu_node(name)
        node["metadata"]["labels"][self.label] = ""
        self.world.infra.apply(node)

    def add_hosts(self) -> None:
        """Register the hosts in the tenant."""
        self.world.tenant.apply(seed.host_node(host) for host in self.names.pairs.values())

    def token(self, seconds: int = 3600) -> str:
        """A new token of the tenant's reader."""
        return self.world.tenant.service_account_token(self.tenant_namespace, ACCOUNT, seconds)

    def kubeconfig(self, url: str | None = None, token: str | None = None) -> dict[str, Any]:
        """A kubeconfig of the tenant's reader."""
        return self.world.tenant.token_kubeconfig(token or self.token(), url=url)

    def store_kubeconfig(self, content: Mapping[str, Any] | str | None = None) -> None:
        """Store a kubeconfig, by default a good one, in the Secret; text as it is."""
        content = self.kubeconfig() if content is None else content
        text = content if isinstance(content, str) else json.dumps(content)
        self.store_secret({names.KUBECONFIG_KEY: encoded(text)})

    def store_secret(self, data: Mapping[str, str]) -> None:
        """Make the kubeconfig Secret hold exactly that."""
        self.world.infra.apply(new_object(SECRETS, self.namespace, self.names.secret, data=dict(data)))

    def delete_secret(self) -> None:
        """Delete the kubeconfig Secret."""
        self.infra.delete(self.path(SECRETS, self.names.secret))

    def store_overrides(self, data: Mapping[str, str] | None = None) -> None:
        """Say which DPU serves which host; by default each its own. Hosts that are named are registered."""
        wanted = self.entries() if data is None else dict(data)
        named = {host for dpu, text in wanted.items() if (host := host_of(dpu, text))}
        self.world.tenant.apply(seed.host_node(host) for host in sorted(named))
        self.world.infra.apply(new_object(CONFIGMAPS, self.namespace, names.ENV_OVERRIDES, data=wanted))

    def entries(self) -> dict[str, str]:
        """Good entries of `env-overrides`."""
        return {dpu: f"{names.TENANT_NODE_ENV}={host}\n" for dpu, host in self.names.pairs.items()}

    def create_config(self, **spec: Any) -> Obj:
        """Create the DpuClusterConfig; `spec` is laid over what the quick start has, None takes a member away."""
        return self.infra.create(f"{self._collection()}", self.config_body(**spec))

    def config_body(self, **spec: Any) -> dict[str, Any]:
        """The DpuClusterConfig that `create_config` creates."""
        wanted: dict[str, Any] = {
            "kubeConfigFile": self.names.secret,
            "poolName": self.pool,
            "tenantNamespace": self.tenant_namespace,
            "nodeSelector": {"matchLabels": {self.label: ""}},
            **spec,
        }
        return new_object(
            names.DPUCLUSTERCONFIGS,
            self.namespace,
            self.names.name,
            spec={key: value for key, value in wanted.items() if value is not None},
        )

    def patch_config(self, body: Mapping[str, Any]) -> Obj:
        """Merge patch of the DpuClusterConfig."""
        return self.infra.patch(self.path(names.DPUCLUSTERCONFIGS, self.names.name), body)

    def annotate(self, **annotations: str | None) -> None:
        """Set annotations of our group on the DpuClusterConfig; `_` stands for `-`, None takes one away."""
        wanted = {f"{names.GROUP}/{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.patch_config({"metadata": {"annotations": wanted}})

    def delete_config(self) -> None:
        """Ask for the deletion of the DpuClusterConfig; does not wait."""
        self.infra.delete(self.path(names.DPUCLUSTERCONFIGS, self.names.name))

    def take_nodes_out(self) -> None:
        """Take the label off by which the pool picks them, as an administrator is told to at the end."""
        for node in self.nodes:
            self.infra.patch(self.path(NODES, node), {"metadata": {"labels": {self.label: None}}})

    def quick_start(self, **spec: Any) -> None:
        """All of the user's steps."""
        self.store_kubeconfig()
        self.store_overrides()
        self.create_config(**spec)

    def ready(self, **spec: Any) -> None:
        """All of the user's steps, until the DpuClusterConfig is Ready, and nothing is left to tidy up."""
        self.quick_start(**spec)
        self.settled()

    def settled(self) -> None:
        """Wait until the DpuClusterConfig is Ready, and what comes after that, tidying up and noting, is done."""
        self.wait("Ready", "True")
        eventually(lambda: idle_pods(self.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES) or None), lambda left: not left)
        eventually(lambda: self.get(DAEMONSETS, names.OVNKUBE_NODE), _is_noted)

    # --- looking ----------------------------------------------------------------------------------------------------

    def path(self, resource: Resource, name: str, namespace: str | None = None) -> str:
        """The path of one object in infra."""
        return get(resource, (namespace or self.namespace) if resource.namespaced else "", name).target

    def get(self, resource: Resource, name: str) -> Obj:
        """One object of infra; `{}` if there is none."""
        return self.infra.get_or_empty(self.path(resource, name))

    def tenant_path(self, resource: Resource, name: str) -> str:
        """The path of one object in the tenant."""
        return get(resource, self.tenant_namespace, name).target

    def config(self) -> Obj:
        """The DpuClusterConfig; `{}` if there is none."""
        return self.get(names.DPUCLUSTERCONFIGS, self.names.name)

    def pods(self) -> list[Obj]:
        """The pods of our DaemonSet."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return self.infra.list_all(path, labelSelector=f"app={names.OVNKUBE_NODE}")

    def pool_objects(self) -> tuple[Obj, Obj]:
        """MachineConfigPool and MachineConfig; `{}` for one that is not there."""
        return (
            self.get(names.MACHINECONFIGPOOLS, self.pool),
            self.get(names.MACHINECONFIGS, names.machine_config_name(self.pool)),
        )

    def condition(self, type_: str) -> dict[str, Any]:
        """A condition of the DpuClusterConfig; `{}` if there is none."""
        return dict(condition_of(self.config(), type_) or {})

    def wait(self, type_: str, status: str, reason: str | None = None, within: float = PATIENCE) -> dict[str, Any]:
        """Wait for a condition, with that reason if one is given. Raises: TimeoutError with all conditions."""

        def holds(config: Obj) -> bool:
            found = condition_of(config, type_) or {}
            return found.get("status") == status and reason in (None, found.get("reason"))

        try:
            config = eventually(self.config, holds, within)
        except TimeoutError:
            raise TimeoutError(f"{type_} is not {status} {reason or ''} after {within:g} s: {self.told()}") from None
        return dict(condition_of(config, type_) or {})

    def told(self) -> list[str]:
        """All conditions, one line each."""
        found = (self.config().get("status") or {}).get("conditions") or []
        return [f"{c['type']}={c['status']} {c['reason']}: {c['message']}" for c in found]

    def events(self) -> list[Obj]:
        """The Events about the DpuClusterConfig."""
        all_ = self.infra.list_all(f"/apis/events.k8s.io/v1/namespaces/{self.namespace}/events")
        return [event for event in all_ if (event.get("regarding") or {}).get("name") == self.names.name]

    def wait_event(self, reason: str, *words: str, within: float = PATIENCE) -> Obj:
        """Wait for an Event of that reason whose note has all `words`."""

        def first(events: list[Obj]) -> Obj | None:
            fits = (e for e in events if e["reason"] == reason and all(word in e.get("note", "") for word in words))
            return next(fits, None)

        found = first(eventually(self.events, first, within))
        assert found is not None
        return found

    def dpu_status(self) -> dict[str, tuple[str, str]]:
        """Identity and content version of everything that the operator keeps for this tenant, pods included."""
        found = {f"{resource.plural}/{name}": self.get(resource, name) for resource, name in OUR_OBJECTS}
        pool, machine_config = self.pool_objects()
        found |= {"pool": pool, "machineconfig": machine_config}
        marks = {place: _mark(obj) for place, obj in found.items()}
        return marks | {f"pods/{pod['metadata']['name']}": (pod["metadata"]["uid"], "") for pod in self.pods()}

    def roll_mark(self) -> Any:
        """What changes exactly when the DaemonSet's pods are to be rolled."""
        return (self.get(DAEMONSETS, names.OVNKUBE_NODE).get("spec") or {}).get("template")

    # --- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take away what acts or is seen by others, whether or not an operator runs.

        The namespaces stay with what is plain content: to delete one takes a fifth of a trial's requests, most of them
        about kinds of which it has nothing.
        """
        self._drop(self.path(names.DPUCLUSTERCONFIGS, self.names.name), finalized=True)
        self._drop(self.path(DAEMONSETS, names.OVNKUBE_NODE))
        for pod in self.pods():
            self._drop(self.path(PODS, pod["metadata"]["name"]), now=True)
        for node in self.nodes:
            self._drop(self.path(NODES, node))
        self._drop(self.path(names.MACHINECONFIGPOOLS, self.pool))  # after its nodes: they run what goes with it
        self._drop(self.path(names.MACHINECONFIGS, names.machine_config_name(self.pool)))
        self._drop_protections()
        for host in self.names.pairs.values():
            self._gone_from_tenant(get(names.NODEMAINTENANCES, "", names.maintenance_name(host)).target)
            self._gone_from_tenant(get(NODES, "", host).target)
        for name in (names.OVNKUBE_NODE, names.OVNKUBE_MASTER):
            self._gone_from_tenant(self.tenant_path(DAEMONSETS, name))

    def _drop_protections(self) -> None:
        namespace = self.world.quick_start.namespace
        for node in self.nodes:
            self._drop(get(names.PODDISRUPTIONBUDGETS, namespace, names.blocker_name(node)).target)
            self._drop(get(DEPLOYMENTS, namespace, names.blocker_name(node)).target)

    def _drop(self, path: str, *, finalized: bool = False, now: bool = False) -> None:
        with contextlib.suppress(NotFound, Conflict):
            self.infra.delete(path, {"gracePeriodSeconds": 0} if now else None)
            if finalized:
                self.infra.patch(path, {"metadata": {"finalizers": None}})

    def _gone_from_tenant(self, path: str) -> None:
        with contextlib.suppress(NotFound):
            self.tenant.delete(path)

    def _collection(self) -> str:
        return self.path(names.DPUCLUSTERCONFIGS, "").rstrip("/")

    def _role(self) -> list[Any]:
        seeded = self.world.quick_start.tenant_namespace
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{seeded}/roles/{ACCOUNT}"
        return list(self.tenant.get(path)["rules"])


def _is_noted(daemonset: Obj) -> bool:
    """Whether it is known that a DPU serves with the newest template."""
    return not daemonset or proven_template(daemonset) == newest_template(daemonset)


def _mark(obj: Obj) -> tuple[str, str]:
    """For what has a status, the generation; for plain content, the resourceVersion."""
    if not obj:
        return "", ""
    metadata = obj["metadata"]
    return metadata["uid"], str(metadata.get("generation") or metadata["resourceVersion"])


def _reader(namespace: str, rules: list[Any]) -> Iterator[dict[str, Any]]:
    """Someone in the tenant who may read what the quick start's reader may, for this namespace."""
    api = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "namespace": namespace, "name": ACCOUNT}
    local = {"name": ACCOUNT, "namespace": namespace}
    yield new_object(SERVICEACCOUNTS, namespace, ACCOUNT)
    yield {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": local, "rules": rules}
    for kind, metadata in (("Role", local), ("ClusterRole", {"name": f"{ACCOUNT}-{namespace}"})):
        yield {
            "apiVersion": f"{api}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": kind, "name": ACCOUNT},
            "subjects": [subject],
        }
