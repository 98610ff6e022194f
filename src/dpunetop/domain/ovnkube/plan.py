"""Whether and how OVN-Kubernetes runs on the DPUs, and what is said about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dpunetop.domain.clusterconfig.grants import NOT_GRANTED, Nodes, Rights, judge_nodes
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.status import report
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, TopologyChoice
from dpunetop.domain.hostconfig.machineconfig import configured_nodes
from dpunetop.domain.hostconfig.plan import dropped_nodes
from dpunetop.domain.names import OVN_CA, OVN_CERT, OVNKUBE_CONFIG, TENANT_CREDENTIAL
from dpunetop.domain.ovnkube.central import (
    CentralInput,
    ContentHashes,
    OvnkubeScripts,
    central_daemonset,
    deployed_databases,
    service_account,
)
from dpunetop.domain.ovnkube.copies import content_digest
from dpunetop.domain.ovnkube.databases import DatabaseList, NoDatabases, databases
from dpunetop.domain.ovnkube.image import AllowedImages, ChosenImage, ImageView, NoImage, choose_image
from dpunetop.domain.ovnkube.interconnect import (
    InterconnectHashes,
    InterconnectInput,
    InterconnectScripts,
    credential_digest,
    interconnect_daemonset,
)
from dpunetop.domain.ovnkube.pod import with_proven
from dpunetop.domain.ovnkube.release import Flavour, SettingsFinding, flavour_of, image_skew, release_of, unsupported
from dpunetop.domain.ovnkube.rollout import RolloutView, judge_rollout, some, template_to_keep
from dpunetop.domain.ovnkube.settings import PARITY_UNKNOWN, SettingsView, conf_parity, deployed_settings, read_settings
from dpunetop.domain.ovnkube.topology import Settled, Topology, TopologyFinding, TopologyView, container_names, detect
from dpunetop.domain.pairing.entries import (
    EntriesState,
    EntriesView,
    entries_config_map,
    entries_of,
    judge_entries,
    serving_nodes,
)
from dpunetop.domain.pairing.envfile import NodeEntry, Wish, nobodys_keys, parse_entries
from dpunetop.domain.pairing.pairing import Claims, Pair, PairingView, pair_up, tenant_nodes
from dpunetop.domain.reasons import FEATURE_PARITY, OVN_KUBE_READY, TOPOLOGY_SUPPORTED
from dpunetop.domain.tenant.addresses import Network
from dpunetop.kube.conditions import Condition, condition_of
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, INFRA, PODS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.plan import Apply, Delete, Fence, Ownership, Plan, Step
from dpunetop.kube.shapes import at

_OF_CENTRAL = (OVN_CERT, OVN_CA, OVNKUBE_CONFIG, TENANT_CREDENTIAL)


@dataclass(frozen=True, slots=True)
class TenantSigns:
    """What the tenant shows of its own OVN-Kubernetes; None members are known to be absent."""

    node_daemonset: Obj | None
    """DaemonSet `ovnkube-node`."""
    host_daemonset: Obj | None
    """DaemonSet `ovnkube-node-dpu-host`."""
    masters: tuple[Obj, ...]
    control_plane: Obj | None
    script_lib: Obj | None
    config_map: Obj | None
    """ConfigMap `ovnkube-config`."""
    chart_config_map: Obj | None
    """ConfigMap `ovn-config`, asked for of a tenant that OpenShift does not render."""
    cluster_version: Obj | None

    def topology(self, choice: TopologyChoice) -> TopologyFinding:
        """What these signs say of the topology."""
        return detect(
            TopologyView(
                choice=choice,
                node_containers=container_names(self.node_daemonset),
                master_pods=bool(self.masters),
                control_plane=self.control_plane is not None,
                script_lib=self.script_lib is not None,
            )
        )


@dataclass(frozen=True, slots=True)
class InfraObjects:
    """What infra shows of the pods and of all they need."""

    service_account: Obj | None
    daemonset: Obj | None
    entries: Obj | None
    pods: tuple[Obj, ...]
    overrides: Obj | None
    """ConfigMap `env-overrides` of the user."""
    mounted: Mapping[str, Obj | None]
    """Copies and credential, by name, as `copies.as_written`."""
    nodes: tuple[Obj, ...]
    pool: Obj | None
    has_machine_configs: bool
    """Whether infra serves the MachineConfig API."""
    infra_daemonset: Obj | None
    """Infra's own `ovnkube-node`, for its image."""
    refusals: tuple[Obj, ...] = ()
    """Events about pods that could not be made; read only where pods are missing."""


@dataclass(frozen=True, slots=True)
class PodScripts:
    """The constant shell text of the pods, by topology."""

    central: OvnkubeScripts
    interconnect: InterconnectScripts


@dataclass(frozen=True, slots=True)
class OvnKubeView:
    """All that the decision looks at. `tenant` None: it cannot be read, and `blind` says why."""

    config: DpuClusterConfig
    owner: Owner
    tenant_namespace: str
    tenant: TenantSigns | None
    blind: str
    settled: Settled
    """What the topology has settled to, over this look and those before."""
    stage: InfraObjects
    claimed: Claims
    environment_image: str | None
    scripts: PodScripts
    allowed_networks: tuple[Network, ...]
    field_manager: str
    allowed_images: AllowedImages | None = None
    """See `image.ImageView`."""
    rights: Rights = field(default_factory=Rights)
    hosts: Mapping[str, str] | None = None
    """See `pairing.PairingView`."""

    @property
    def judged(self) -> Nodes:
        """The nodes that the selector picks."""
        return judge_nodes(self.config, self.stage.nodes, self.rights)


@dataclass(frozen=True, slots=True)
class _Hold:
    """Why nothing is written now; what runs stays as it is."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _Desired:
    """The DaemonSet to write, and how the DPUs may differ from the tenant's own nodes."""

    daemonset: dict[str, Any]
    parity: tuple[SettingsFinding, ...]


def plan_ovnkube(view: OvnKubeView) -> Plan:
    """Write ServiceAccount, the ConfigMap of the entries and the DaemonSet, in this order, then restart idle pods whose
    entry has come.

    Guarantees: while anything that the pods need is unknown, missing or not ours, nothing is written and what runs
        stays; no entry is written or taken away here; a pod that serves is not restarted for its entry.
    """
    given = _desired(view)
    retry = view.settled.retry_after
    if isinstance(given, _Hold):
        held = Condition(OVN_KUBE_READY, "False", given.reason, given.message)
        return Plan(_status(view, held, _supported(view), _kept(view, FEATURE_PARITY)), retry)
    entries = judge_entries(_entries_view(view))
    rollout = _rollout(view, entries)
    steps: list[Step] = [
        _apply(view, SERVICEACCOUNTS, service_account(view.config.namespace, view.owner), view.stage.service_account),
        _write_entries(view),
    ]
    if not _dropped(view):
        daemonset = with_proven(given.daemonset, template_to_keep(rollout))
        steps.append(_apply(view, DAEMONSETS, daemonset, view.stage.daemonset))
    steps += [Delete(INFRA, PODS, pod) for pod in entries.restart]
    status = _status(view, judge_rollout(rollout), _supported(view), _parity(given.parity))
    return Plan((*steps, *status), retry)


def _desired(view: OvnKubeView) -> _Desired | _Hold:
    """Everything the DaemonSet depends on, or the first thing that is missing."""
    if view.config.node_selector is None:
        return _Hold("NodeSelectorMissing", "spec.nodeSelector is missing: say which nodes are the DPUs")
    if stranger := _stranger(view) or _refused(view):
        return stranger
    if view.tenant is None:
        return _Hold("TenantNotRead", f"the tenant has not been read: {view.blind}; what runs is kept as it is")
    if finding := _unsupported(view):
        return _Hold(finding.reason, finding.message)
    image = _image(view, view.tenant)
    if isinstance(image, NoImage):
        return _Hold(image.reason, image.message)
    match view.settled.topology:
        case Topology.CENTRAL:
            return _central(view, view.tenant, view.config.node_selector, image)
        case Topology.INTERCONNECT:
            return _interconnect(view, view.tenant, view.config.node_selector, image)
        case _:
            return _Hold(view.settled.reason, view.settled.message)


def _central(
    view: OvnKubeView, tenant: TenantSigns, selector: Mapping[str, Any], image: ChosenImage
) -> _Desired | _Hold:
    if lacking := _lacking(view, _OF_CENTRAL):
        return lacking
    found = _databases(view, tenant)
    if isinstance(found, NoDatabases):
        return _Hold(found.reason.value, found.message)
    hashes = ContentHashes(
        configuration=content_digest(_mounted(view, OVNKUBE_CONFIG)),
        certificate=content_digest(_mounted(view, OVN_CERT)),
        authority=content_digest(_mounted(view, OVN_CA)),
        credential=credential_digest(_mounted(view, TENANT_CREDENTIAL)),
    )
    given = CentralInput(
        view.config.namespace,
        view.owner,
        image.reference,
        found,
        selector,
        hashes,
        view.scripts.central,
        view.judged.closed,
    )
    parity = (*conf_parity(tenant.config_map), *_skew(view, tenant, image))
    return _Desired(central_daemonset(given), parity)


def _interconnect(
    view: OvnKubeView, tenant: TenantSigns, selector: Mapping[str, Any], image: ChosenImage
) -> _Desired | _Hold:
    reading = read_settings(_settings_view(view, tenant))
    if reading.settings is None:
        first = reading.impossible[0]
        return _Hold(first.reason, some([finding.message for finding in reading.impossible]))
    has_configuration = reading.settings.flavour is Flavour.OPENSHIFT
    needed = (OVNKUBE_CONFIG, TENANT_CREDENTIAL) if has_configuration else (TENANT_CREDENTIAL,)
    if lacking := _lacking(view, needed):
        return lacking
    hashes = InterconnectHashes(
        content_digest(_mounted(view, OVNKUBE_CONFIG)) if has_configuration else None,
        credential_digest(_mounted(view, TENANT_CREDENTIAL)),
    )
    given = InterconnectInput(
        view.config.namespace,
        view.owner,
        image.reference,
        selector,
        reading.settings,
        hashes,
        view.scripts.interconnect,
        view.judged.closed,
    )
    return _Desired(interconnect_daemonset(given), (*reading.parity, *_skew(view, tenant, image)))


def _settings_view(view: OvnKubeView, tenant: TenantSigns) -> SettingsView:
    release = release_of(tenant.node_daemonset, tenant.cluster_version)
    return SettingsView(
        flavour=flavour_of(release, view.tenant_namespace),
        release=release,
        tenant_namespace=view.tenant_namespace,
        config_map=tenant.config_map,
        script_lib=tenant.script_lib,
        node_daemonset=tenant.node_daemonset,
        host_daemonset=tenant.host_daemonset,
        chart_config_map=tenant.chart_config_map,
        deployed=deployed_settings(view.stage.daemonset),
    )


def _lacking(view: OvnKubeView, needed: Iterable[str]) -> _Hold | None:
    lacking = [name for name in needed if view.stage.mounted.get(name) is None]
    return _Hold("WaitingForTenantObjects", f"not there yet: {', '.join(lacking)}") if lacking else None


def _mounted(view: OvnKubeView, name: str) -> Obj:
    obj = view.stage.mounted[name]
    assert obj is not None  # what is lacking was told before
    return obj


def _unsupported(view: OvnKubeView) -> SettingsFinding | None:
    topology, tenant = view.settled.topology, view.tenant
    if tenant is None or topology is None or view.config.topology is not TopologyChoice.AUTO:
        return None  # who chooses a topology has chosen to try it
    return unsupported(topology, release_of(tenant.node_daemonset, tenant.cluster_version))


def _supported(view: OvnKubeView) -> Condition | None:
    """`TopologySupported`; while the tenant cannot be read, what was said before."""
    if view.tenant is None:
        return _kept(view, TOPOLOGY_SUPPORTED)
    topology = view.settled.topology
    if topology is None:
        return Condition(TOPOLOGY_SUPPORTED, "Unknown", view.settled.reason, view.settled.message)
    if finding := _unsupported(view):
        return Condition(TOPOLOGY_SUPPORTED, "False", finding.reason, finding.message)
    release = release_of(view.tenant.node_daemonset, view.tenant.cluster_version)
    return Condition(TOPOLOGY_SUPPORTED, "True", topology.value, f"the tenant is {release}" if release else "")


def _parity(findings: tuple[SettingsFinding, ...]) -> Condition:
    if not findings:
        return Condition(FEATURE_PARITY, "True", "Followed")
    status: Literal["False", "Unknown"] = "Unknown" if findings[0].reason == PARITY_UNKNOWN else "False"
    return Condition(FEATURE_PARITY, status, findings[0].reason, some([finding.message for finding in findings]))


def _kept(view: OvnKubeView, type_: str) -> Condition | None:
    live = condition_of(view.config.live, type_)
    return None if live is None else Condition(type_, live["status"], live["reason"], live.get("message", ""))


def _skew(view: OvnKubeView, tenant: TenantSigns, image: ChosenImage) -> tuple[SettingsFinding, ...]:
    theirs = release_of(tenant.node_daemonset, tenant.cluster_version)
    found = image_skew(image, theirs, release_of(view.stage.infra_daemonset, None))
    return (found,) if found else ()


def _stranger(view: OvnKubeView) -> _Hold | None:
    stage = view.stage
    ours = {"ServiceAccount": stage.service_account, "DaemonSet": stage.daemonset, "ConfigMap": stage.entries}
    for kind, obj in (*ours.items(), *(("object", mounted) for mounted in stage.mounted.values())):
        if obj is not None and not view.owner.owns(obj):
            return _Hold(
                "NotOurs", f"{kind} {name_of(obj)} exists and is not ours; it is left as it is. Remove it first"
            )
    return None


def _refused(view: OvnKubeView) -> _Hold | None:
    """A DaemonSet that is there stays up to date, and off these nodes."""
    if view.stage.daemonset is not None or not (refusal := view.judged.refusal()):
        return None
    return _Hold(NOT_GRANTED, f"spec.nodeSelector picks nodes that {view.config.namespace} may not have: {refusal}")


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
            tenant_architecture=_architecture(tenant.cluster_version),
            tenant_daemonset=tenant.node_daemonset,
            infra_daemonset=view.stage.infra_daemonset,
            allowed=view.allowed_images,
        )
    )


def _architecture(cluster_version: Obj | None) -> str | None:
    said = at(cluster_version, "status", "desired", "architecture")
    return said if isinstance(said, str) and said else None


def _wishes(view: OvnKubeView) -> Mapping[str, Wish]:
    return parse_entries(entries_of(view.stage.overrides))


def _entries_view(view: OvnKubeView) -> EntriesView:
    stage = view.stage
    configured = configured_nodes(view.judged.dpus, stage.nodes, stage.pool, stage.has_machine_configs)
    nodes = frozenset(name_of(node) for node in stage.nodes)
    return EntriesView(_pairs(view), stage.entries, configured, stage.pods, nodes)


def _pairs(view: OvnKubeView) -> Mapping[str, Pair]:
    stage, judged = view.stage, view.judged
    known = judged.dpus | serving_nodes(stage.entries, stage.pods)
    return pair_up(
        PairingView(
            wishes=_wishes(view),
            annotations=_annotations(view),
            dropped=frozenset(name_of(node) for node in stage.nodes) - judged.dpus,
            entries={dpu: text for dpu, text in entries_of(stage.entries).items() if dpu in known},
            serves={},
            leaving=frozenset(),
            claimed=view.claimed,
            hosts=view.hosts,
            refused=judged.why_not_paired(),
        )
    )


def _annotations(view: OvnKubeView) -> Mapping[str, str]:
    return tenant_nodes(view.judged.dpus, view.stage.nodes)


def _dropped(view: OvnKubeView) -> list[str]:
    serving = serving_nodes(view.stage.entries, view.stage.pods)
    return dropped_nodes(view.config, view.stage.nodes, serving)


def _apply(view: OvnKubeView, resource: Resource, desired: Obj, live: Obj | None) -> Apply:
    return Apply(INFRA, resource, desired, live, view.field_manager, ownership=Ownership.WHOLE)


def _write_entries(view: OvnKubeView) -> Apply:
    """Fenced by the version: what is restated of it must not undo what came and went meanwhile."""
    live, namespace = view.stage.entries, view.config.namespace
    desired = entries_config_map(namespace, live, view.stage.pods, view.owner, view.field_manager)
    return Apply(INFRA, CONFIGMAPS, desired, live, view.field_manager, Fence.VERSION)


def _rollout(view: OvnKubeView, entries: EntriesState) -> RolloutView:
    stage, wishes, pairs = view.stage, _wishes(view), _pairs(view)
    has_pairing = stage.overrides is not None or bool(_annotations(view))
    unfit = [dpu for dpu, wish in sorted(wishes.items()) if not isinstance(wish, NodeEntry)]
    rejected = [pairs[dpu].problem for dpu in unfit if pairs[dpu].problem]
    ignored = nobodys_keys(entries_of(stage.overrides))
    return RolloutView(
        has_pairing, rejected, ignored, _dropped(view), entries, stage.daemonset, stage.pods, stage.refusals
    )


def _status(view: OvnKubeView, *conditions: Condition | None) -> tuple[Step, ...]:
    said = tuple(condition for condition in conditions if condition is not None)
    return report(INFRA, view.config.live, said, view.field_manager)
