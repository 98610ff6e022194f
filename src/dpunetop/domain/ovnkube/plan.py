"""The decision about OVN-Kubernetes on the DPUs: which objects are written, and what its conditions report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dpunetop.domain.clusterconfig.grants import NOT_GRANTED
from dpunetop.domain.clusterconfig.status import report
from dpunetop.domain.clusterconfig.types import TopologyChoice
from dpunetop.domain.names import OVN_CA, OVN_CERT, OVNKUBE_CONFIG, TENANT_CREDENTIAL
from dpunetop.domain.ovnkube.central import (
    CentralInput,
    ContentHashes,
    central_daemonset,
    deployed_databases,
    service_account,
)
from dpunetop.domain.ovnkube.copies import content_digest
from dpunetop.domain.ovnkube.databases import DatabaseList, NoDatabases, databases
from dpunetop.domain.ovnkube.deployed import deployed_settings
from dpunetop.domain.ovnkube.image import ChosenImage, ImageView, NoImage, choose_image
from dpunetop.domain.ovnkube.interconnect import (
    InterconnectHashes,
    InterconnectInput,
    credential_digest,
    interconnect_daemonset,
)
from dpunetop.domain.ovnkube.pod import with_proven
from dpunetop.domain.ovnkube.release import Flavour, SettingsFinding, flavour_of, image_skew, release_of, unsupported
from dpunetop.domain.ovnkube.rollout import judge_rollout, some, template_to_keep
from dpunetop.domain.ovnkube.settings import SettingsView, conf_parity, read_settings
from dpunetop.domain.ovnkube.settingsreader import PARITY_UNKNOWN
from dpunetop.domain.ovnkube.topology import Topology
from dpunetop.domain.ovnkube.view import OvnKubeView, TenantSigns
from dpunetop.domain.pairing.entries import (
    entries_config_map,
    judge_entries,
)
from dpunetop.domain.reasons import FEATURE_PARITY, OVN_KUBE_READY, TOPOLOGY_SUPPORTED
from dpunetop.kube.conditions import Condition, condition_of
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, INFRA, PODS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.plan import Apply, Delete, Fence, Ownership, Plan, Step
from dpunetop.kube.shapes import at

_OF_CENTRAL = (OVN_CERT, OVN_CA, OVNKUBE_CONFIG, TENANT_CREDENTIAL)


@dataclass(frozen=True, slots=True)
class _Hold:
    """Why nothing is written now; the running pods stay as they are."""

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
    entries = judge_entries(view.entries())
    rollout = view.rollout(entries)
    steps: list[Step] = [
        _apply(view, SERVICEACCOUNTS, service_account(view.config.namespace, view.owner), view.infra.service_account),
        _write_entries(view),
    ]
    if not view.dropped():
        daemonset = with_proven(given.daemonset, template_to_keep(rollout))
        steps.append(_apply(view, DAEMONSETS, daemonset, view.infra.daemonset))
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
        return _Hold("TenantNotRead", f"{view.blind}; what runs is kept as it is")
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
        deployed=deployed_settings(view.infra.daemonset),
    )


def _lacking(view: OvnKubeView, needed: Iterable[str]) -> _Hold | None:
    lacking = [name for name in needed if view.infra.mounted.get(name) is None]
    return _Hold("WaitingForTenantObjects", f"not there yet: {', '.join(lacking)}") if lacking else None


def _mounted(view: OvnKubeView, name: str) -> Obj:
    obj = view.infra.mounted[name]
    assert obj is not None  # a missing one is a hold before this
    return obj


def _unsupported(view: OvnKubeView) -> SettingsFinding | None:
    topology, tenant = view.settled.topology, view.tenant
    if tenant is None or topology is None or view.config.topology is not TopologyChoice.AUTO:
        return None  # an explicit choice is tried on any release
    return unsupported(topology, release_of(tenant.node_daemonset, tenant.cluster_version))


def _supported(view: OvnKubeView) -> Condition | None:
    """`TopologySupported`; while the tenant cannot be read, the condition stays as it was."""
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
    found = image_skew(image, theirs, release_of(view.infra.infra_daemonset, None))
    return (found,) if found else ()


def _stranger(view: OvnKubeView) -> _Hold | None:
    infra = view.infra
    ours = {"ServiceAccount": infra.service_account, "DaemonSet": infra.daemonset, "ConfigMap": infra.entries}
    for kind, obj in (*ours.items(), *(("object", mounted) for mounted in infra.mounted.values())):
        if obj is not None and not view.owner.owns(obj):
            return _Hold(
                "NotOurs", f"{kind} {name_of(obj)} exists and is not ours; it is left as it is. Remove it first"
            )
    return None


def _refused(view: OvnKubeView) -> _Hold | None:
    """None if a DaemonSet exists: that is kept up to date, and excludes these nodes."""
    if view.infra.daemonset is not None or not (refusal := view.judged.refusal()):
        return None
    return _Hold(NOT_GRANTED, f"spec.nodeSelector picks nodes that {view.config.namespace} may not have: {refusal}")


def _databases(view: OvnKubeView, tenant: TenantSigns) -> DatabaseList | NoDatabases:
    """The current list, else the last good one: a tenant that briefly has no masters must not cut the pods off."""
    last = deployed_databases(view.infra.daemonset)
    found = databases(tenant.masters, view.tenant_namespace, last, view.allowed_networks)
    return last if isinstance(found, NoDatabases) and last is not None else found


def _image(view: OvnKubeView, tenant: TenantSigns) -> ChosenImage | NoImage:
    return choose_image(
        ImageView(
            spec_image=view.config.image,
            environment_image=view.environment_image,
            tenant_architecture=_architecture(tenant.cluster_version),
            tenant_daemonset=tenant.node_daemonset,
            infra_daemonset=view.infra.infra_daemonset,
            allowed=view.allowed_images,
        )
    )


def _architecture(cluster_version: Obj | None) -> str | None:
    said = at(cluster_version, "status", "desired", "architecture")
    return said if isinstance(said, str) and said else None


def _apply(view: OvnKubeView, resource: Resource, desired: Obj, live: Obj | None) -> Apply:
    return Apply(INFRA, resource, desired, live, view.field_manager, ownership=Ownership.WHOLE)


def _write_entries(view: OvnKubeView) -> Apply:
    """Fenced by the version: the apply repeats all entries, and must not undo changes made meanwhile."""
    live, namespace = view.infra.entries, view.config.namespace
    desired = entries_config_map(namespace, live, view.infra.pods, view.owner, view.field_manager)
    return Apply(INFRA, CONFIGMAPS, desired, live, view.field_manager, Fence.VERSION)


def _status(view: OvnKubeView, *conditions: Condition | None) -> tuple[Step, ...]:
    said = tuple(condition for condition in conditions if condition is not None)
    return report(view.config.live, said, view.field_manager)
