"""Whether and how OVN-Kubernetes runs on the DPUs, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dpunetop.domain.copies import content_digest
from dpunetop.domain.daemonset import (
    CentralInput,
    ContentHashes,
    OvnkubeScripts,
    central_daemonset,
    deployed_databases,
    service_account,
)
from dpunetop.domain.databases import DatabaseList, NoDatabases, databases
from dpunetop.domain.entries import (
    EntriesPlan,
    EntriesView,
    Wait,
    entries_config_map,
    plan_entries,
    serving_nodes,
)
from dpunetop.domain.envfile import EntryRejected, NodeEntry, parse_entries
from dpunetop.domain.hostconfig import dropped_nodes
from dpunetop.domain.image import ChosenImage, ImageView, NoImage, choose_image
from dpunetop.domain.machineconfig import node_configured
from dpunetop.domain.names import (
    DPU_NODE_LABEL,
    ENV_OVERRIDES,
    OVN_CA,
    OVN_CERT,
    OVNKUBE_CONFIG,
    TENANT_CREDENTIAL,
    TENANT_NODE_ENV,
    machine_config_name,
)
from dpunetop.domain.ovnkubepod import has_newest_template
from dpunetop.domain.ownership import Owner
from dpunetop.domain.status import OVN_KUBE_READY, report
from dpunetop.domain.tenantkubeconfig import Network
from dpunetop.domain.topology import Topology, TopologyView, container_names, detect
from dpunetop.domain.types import DpuClusterConfig
from dpunetop.kube.conditions import Condition, condition_of
from dpunetop.kube.fieldsets import projection
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, INFRA, PODS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import Obj, annotations_of, generation_of, is_terminating, labels_of, name_of, uid_of
from dpunetop.kube.plan import Apply, Delete, Plan, Step
from dpunetop.kube.selectors import matches

_MOUNTED = (OVN_CERT, OVN_CA, OVNKUBE_CONFIG, TENANT_CREDENTIAL)


@dataclass(frozen=True, slots=True)
class TenantSigns:
    """What the tenant shows of its own OVN-Kubernetes; None members are known to be absent."""

    daemonset: Obj | None
    masters: tuple[Obj, ...]
    control_plane: Obj | None
    script_lib: Obj | None
    architecture: str | None


@dataclass(frozen=True, slots=True)
class Stage:
    """What infra shows of the pods and of all they need."""

    service_account: Obj | None
    daemonset: Obj | None
    entries: Obj | None
    pods: tuple[Obj, ...]
    overrides: Obj | None
    """ConfigMap `env-overrides` of the user."""
    mounted: Mapping[str, Obj | None]
    """Copies and credential, by name."""
    nodes: tuple[Obj, ...]
    pool: Obj | None
    has_machine_configs: bool
    """Whether infra serves the MachineConfig API."""
    infra_daemonset: Obj | None
    """Infra's own `ovnkube-node`, for its image."""


@dataclass(frozen=True, slots=True)
class OvnKubeView:
    """All that the decision looks at. `tenant` None: it cannot be read, and `blind` says why."""

    config: DpuClusterConfig
    owner: Owner
    tenant_namespace: str
    tenant: TenantSigns | None
    blind: str
    stage: Stage
    environment_image: str | None
    scripts: OvnkubeScripts
    allowed_networks: tuple[Network, ...]
    field_manager: str


@dataclass(frozen=True, slots=True)
class _Hold:
    """Why nothing is written now; what runs stays as it is."""

    reason: str
    message: str


def plan_ovnkube(view: OvnKubeView) -> Plan:
    """Write ServiceAccount, entries and DaemonSet, in this order, then restart idle pods whose entry has come.

    Guarantees: while anything that the pods need is unknown, missing or not ours, nothing is written and what runs
        stays; an entry is written before its pod is restarted; a pod that serves is not restarted for its entry.
    """
    given = _input(view)
    if isinstance(given, _Hold):
        return Plan(_status(view, Condition(OVN_KUBE_READY, "False", given.reason, given.message)))
    entries = plan_entries(_entries_view(view))
    steps: list[Step] = [
        _apply(view, SERVICEACCOUNTS, service_account(view.config.namespace, view.owner), view.stage.service_account),
        _apply(view, CONFIGMAPS, entries_config_map(view.config.namespace, entries, view.owner), view.stage.entries),
    ]
    if not _dropped(view):
        steps.append(_apply(view, DAEMONSETS, central_daemonset(given), view.stage.daemonset))
    steps += [Delete(INFRA, PODS, pod) for pod in entries.restart]
    return Plan((*steps, *_status(view, _judge(view, entries))))


def _input(view: OvnKubeView) -> CentralInput | _Hold:
    """Everything the DaemonSet depends on, or the first thing that is missing."""
    if view.config.node_selector is None:
        return _Hold("NodeSelectorMissing", "spec.nodeSelector is missing: say which nodes are the DPUs")
    if stranger := _stranger(view):
        return stranger
    if view.tenant is None:
        return _Hold("TenantNotRead", f"the tenant has not been read: {view.blind}; what runs is kept as it is")
    if wrong := _wrong_topology(view, view.tenant):
        return wrong
    if lacking := [name for name in _MOUNTED if view.stage.mounted.get(name) is None]:
        return _Hold("WaitingForTenantObjects", f"not there yet: {', '.join(lacking)}")
    found = _databases(view, view.tenant)
    if isinstance(found, NoDatabases):
        return _Hold(found.reason.value, found.message)
    image = _image(view, view.tenant)
    if isinstance(image, NoImage):
        return _Hold("NoImage", image.message)
    return CentralInput(
        view.config.namespace,
        view.owner,
        image.reference,
        found,
        view.config.node_selector,
        _hashes(view),
        view.scripts,
    )


def _stranger(view: OvnKubeView) -> _Hold | None:
    stage = view.stage
    ours = {"ServiceAccount": stage.service_account, "DaemonSet": stage.daemonset, "ConfigMap": stage.entries}
    for kind, obj in (*ours.items(), *(("object", mounted) for mounted in stage.mounted.values())):
        if obj is not None and not view.owner.owns(obj):
            return _Hold(
                "NotOurs", f"{kind} {name_of(obj)} exists and is not ours; it is left as it is. Remove it first"
            )
    return None


def _wrong_topology(view: OvnKubeView, tenant: TenantSigns) -> _Hold | None:
    signs = TopologyView(
        choice=view.config.topology,
        node_containers=container_names(tenant.daemonset),
        master_pods=bool(tenant.masters),
        control_plane=tenant.control_plane is not None,
        script_lib=tenant.script_lib is not None,
    )
    finding = detect(signs)
    match finding.topology:
        case Topology.CENTRAL:
            return None
        case Topology.INTERCONNECT:
            message = f"{finding.message}: this version runs tenants with central databases only; nothing is written"
            return _Hold("InterconnectNotSupported", message)
        case Topology.MIGRATING:
            return _Hold("TopologyMigrating", f"{finding.message}; what runs is kept as it is")
        case Topology.UNKNOWN:
            return _Hold("TopologyUnknown", f"{finding.message}; what runs is kept as it is")


def _databases(view: OvnKubeView, tenant: TenantSigns) -> DatabaseList | NoDatabases:
    """The list of today, else the last good one: a tenant without masters for a moment must not cut the pods off."""
    last = deployed_databases(view.stage.daemonset)
    found = databases(tenant.masters, view.tenant_namespace, last, view.allowed_networks)
    return last if isinstance(found, NoDatabases) and last is not None else found


def _image(view: OvnKubeView, tenant: TenantSigns) -> ChosenImage | NoImage:
    return choose_image(
        ImageView(
            spec_image=view.config.image,
            environment_image=view.environment_image,
            tenant_architecture=tenant.architecture,
            tenant_daemonset=tenant.daemonset,
            infra_daemonset=view.stage.infra_daemonset,
        )
    )


def _hashes(view: OvnKubeView) -> ContentHashes:
    def digest(name: str) -> str:
        obj = view.stage.mounted[name]
        assert obj is not None
        return content_digest(obj)

    return ContentHashes(digest(OVNKUBE_CONFIG), digest(OVN_CERT), digest(OVN_CA), digest(TENANT_CREDENTIAL))


def _wishes(view: OvnKubeView) -> Mapping[str, NodeEntry | EntryRejected]:
    return parse_entries((view.stage.overrides or {}).get("data") or {})


def _entries_view(view: OvnKubeView) -> EntriesView:
    overwritten = _overwritten(view.stage.entries, view.field_manager)
    return EntriesView(_wishes(view), view.stage.entries, _configured(view), view.stage.pods, overwritten)


def _overwritten(entries: Obj | None, field_manager: str) -> frozenset[str]:
    """Nodes whose entry is not as we last wrote it: the server takes a field from us when another changes it."""
    if entries is None:
        return frozenset()
    ours = projection(entries, field_manager) or {}
    return frozenset(entries.get("data") or {}) - frozenset(ours.get("data") or {})


def _configured(view: OvnKubeView) -> frozenset[str]:
    """DPU nodes whose host configuration has arrived; where infra has no such API, nobody waits for it."""
    stage, selector = view.stage, view.config.node_selector or {}
    config = machine_config_name(view.config.pool_name)
    selected = (node for node in stage.nodes if matches(selector, labels_of(node)))
    if not stage.has_machine_configs:
        return frozenset(name_of(node) for node in selected)
    pool = stage.pool
    if pool is None:
        return frozenset()
    return frozenset(name_of(node) for node in selected if node_configured(annotations_of(node), pool, config))


def _dropped(view: OvnKubeView) -> list[str]:
    serving = serving_nodes(view.stage.entries, view.stage.pods)
    return dropped_nodes(view.config.node_selector or {}, view.stage.nodes, serving)


def _judge(view: OvnKubeView, entries: EntriesPlan) -> Condition:
    """The first thing that keeps a pair from serving, else how far the DaemonSet is."""
    reason, message = _trouble(view, entries) or _progress(view, entries) or ("", "")
    if reason:
        return Condition(OVN_KUBE_READY, "False", reason, message)
    return Condition(OVN_KUBE_READY, "True", "Serving", f"{len(entries.data)} DPUs serve their hosts")


def _trouble(view: OvnKubeView, entries: EntriesPlan) -> tuple[str, str] | None:
    if view.stage.overrides is None:
        return "EnvOverridesMissing", f"ConfigMap {ENV_OVERRIDES} does not exist: it says which DPU serves which host"
    rejected = [wish.message for wish in _wishes(view).values() if isinstance(wish, EntryRejected)]
    if rejected:
        return "EntryRejected", _some(rejected)
    if dropped := _dropped(view):
        return "SelectorDropsServing", f"spec.nodeSelector would drop DPUs that serve: {_some(dropped)}; they stay"
    if entries.waiting:
        first = sorted(entries.waiting, key=lambda waiting: waiting.reason is Wait.HOST_NOT_CONFIGURED)
        return first[0].reason.value, _some([waiting.message for waiting in first])
    if not entries.data:
        return "NoPairs", f"no DPU serves a host: {ENV_OVERRIDES} has no entry with {TENANT_NODE_ENV}"
    return None


def _progress(view: OvnKubeView, entries: EntriesPlan) -> tuple[str, str] | None:
    """What the DaemonSet has yet to do.

    Judged by its pods: its own numbers count idle pods too, and come later than those of the pods, which would make
    `OvnKubeReady` go back and forth.
    """
    daemonset = view.stage.daemonset
    if daemonset is None:
        return "Progressing", "the DaemonSet is being created"
    status = daemonset.get("status") or {}
    if status.get("observedGeneration", 0) != generation_of(daemonset):
        return "Progressing", "the DaemonSet's newest generation is not observed yet"
    if not status.get("desiredNumberScheduled", 0):
        return (
            "NoNodes",
            f"the DaemonSet finds no node: DPU nodes need the labels of spec.nodeSelector and {DPU_NODE_LABEL}",
        )
    if silent := sorted(set(entries.data) - _working(view.stage.pods, daemonset, entries)):
        return "Progressing", f"no up-to-date pod serves yet on {_some(silent)}"
    return None


def _working(pods: tuple[Obj, ...], daemonset: Obj, entries: EntriesPlan) -> set[str]:
    """Nodes whose pod is Ready, has the newest template, and is not idle."""
    idle = set(entries.idle_pods.values())
    return {
        str(pod["spec"].get("nodeName"))
        for pod in pods
        if _is_ready(pod)
        and not is_terminating(pod)
        and uid_of(pod) not in idle
        and has_newest_template(daemonset, pod)
    }


def _is_ready(pod: Obj) -> bool:
    return (condition_of(pod, "Ready") or {}).get("status") == "True"


def _some(words: list[str], most: int = 5) -> str:
    return "; ".join(words[:most]) + (f"; and {len(words) - most} more" if len(words) > most else "")


def _apply(view: OvnKubeView, resource: Resource, desired: Obj, live: Obj | None) -> Apply:
    return Apply(INFRA, resource, desired, live, view.field_manager)


def _status(view: OvnKubeView, condition: Condition) -> tuple[Step, ...]:
    return report(INFRA, view.config.live, (condition,), view.field_manager)
