from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.app.assets import interconnect_scripts, ovnkube_scripts
from dpunetop.domain.clusterconfig.grants import Claim, ClaimStrength, Grant, Rights
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.names import OVN_CA, OVN_CERT, OVNKUBE_CONFIG, OWNER_LABEL, TENANT_CREDENTIAL
from dpunetop.domain.ovnkube.central import deployed_databases
from dpunetop.domain.ovnkube.image import AllowedImages
from dpunetop.domain.ovnkube.plan import plan_ovnkube
from dpunetop.domain.ovnkube.topology import Settled, Topology
from dpunetop.domain.ovnkube.view import InfraObjects, OvnKubeView, PodScripts, TenantSigns
from dpunetop.domain.pairing.pairing import Claims
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Fence, Plan
from support.objects import DPU_LABELS, condition, config, node
from support.tenants import upstream

OWNER = Owner(config(), "0123")
DONE = {
    "machineconfiguration.openshift.io/state": "Done",
    "machineconfiguration.openshift.io/currentConfig": "rendered-dpu-1",
    "machineconfiguration.openshift.io/desiredConfig": "rendered-dpu-1",
}
POOL = {
    "metadata": {"name": "dpu"},
    "spec": {"configuration": {"name": "rendered-dpu-1", "source": [{"name": "00-dpu-bluefield-switchdev"}]}},
}


def ours(name: str, **members: Any | dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "dpu-one", "uid": f"uid-of-{name}", "labels": {OWNER_LABEL: "0123"}}
    return {"metadata": {**metadata, "generation": 1}, **members}


def daemonset(containers: list[str]) -> dict[str, Any]:
    pods = {"containers": [{"name": name} for name in containers]}
    return {"metadata": {"name": "ovnkube-node"}, "spec": {"template": {"spec": pods}}}


def master(ip: str) -> dict[str, dict[str, Any]]:
    return {
        "metadata": {
            "name": f"m-{ip}",
            "namespace": "openshift-ovn-kubernetes",
            "labels": {"app": "ovnkube-master"},
            "ownerReferences": [{"kind": "DaemonSet", "name": "ovnkube-master", "controller": True}],
        },
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
    }


CENTRAL = TenantSigns(
    node_daemonset=daemonset(["ovn-controller", "ovnkube-node"]),
    host_daemonset=None,
    masters=(master("10.0.0.1"),),
    control_plane=None,
    script_lib=None,
    config_map=None,
    chart_config_map=None,
    cluster_version=None,
)
INFRA_OBJECTS = InfraObjects(
    service_account=None,
    daemonset=None,
    entries=None,
    pods=(),
    overrides={"metadata": {"name": "env-overrides"}, "data": {"bf2-1": "TENANT_K8S_NODE=host-1"}},
    mounted={name: ours(name, data={"k": name}) for name in (OVN_CERT, OVN_CA, OVNKUBE_CONFIG, TENANT_CREDENTIAL)},
    nodes=(node("bf2-1", **DONE),),
    pool=POOL,
    has_machine_configs=True,
    infra_daemonset=None,
)
VIEW = OvnKubeView(
    config=parse_config(config(image="registry.example/ovn@sha256:" + "0" * 64)),
    owner=OWNER,
    tenant_namespace="openshift-ovn-kubernetes",
    tenant=CENTRAL,
    blind="",
    infra=INFRA_OBJECTS,
    claimed=Claims(),
    environment_image=None,
    settled=Settled(Topology.CENTRAL),
    scripts=PodScripts(ovnkube_scripts(), interconnect_scripts()),
    allowed_networks=(),
    field_manager="dpunetop-ovnkube",
    allowed_images=AllowedImages(("registry.example/ovn",)),
)


def at(**infra: Any) -> OvnKubeView:
    return replace(VIEW, infra=replace(INFRA_OBJECTS, **infra))


def written(plan: Plan) -> list[str]:
    return [step.desired["kind"] for step in plan.steps if isinstance(step, Apply)]


def said(plan: Plan, type_: str = "OvnKubeReady") -> tuple[str, str]:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    (condition,) = [condition for condition in status.conditions if condition.type == type_]
    return condition.status, condition.reason


def entries(plan: Plan) -> dict[str, str] | None:
    return next(s.desired for s in plan.steps if isinstance(s, Apply) and s.desired["kind"] == "ConfigMap").get("data")


def rolled_out(wanted: int = 1, observed: int = 1) -> dict[str, Any]:
    status = {
        "observedGeneration": observed,
        "desiredNumberScheduled": wanted,
    }
    spec = next(
        s.desired for s in plan_ovnkube(VIEW).steps if isinstance(s, Apply) and s.desired["kind"] == "DaemonSet"
    )
    return ours("ovnkube-node", spec=spec["spec"], status=status)


def entries_map(*written_by_us: str, **data: str) -> dict[str, Any]:
    """The ConfigMap of entries; the fields in it that nobody has written over."""
    fields: dict[str, Any] = {"f:data": {f"f:{node}": {} for node in written_by_us}} if written_by_us else {}
    entry = {"manager": "dpunetop-ovnkube", "operation": "Apply", "apiVersion": "v1", "fieldsV1": fields}
    found = ours("ovnkube-node-entries", apiVersion="v1", kind="ConfigMap", data=data)
    return {**found, "metadata": {**found["metadata"], "managedFields": [entry]}}


WITH_ENTRY = entries_map("bf2-1", **{"bf2-1": "TENANT_K8S_NODE=host-1\n"})


def test_the_service_account_comes_first_and_the_entries_before_the_pods_that_read_them() -> None:
    assert written(plan_ovnkube(VIEW)) == ["ServiceAccount", "ConfigMap", "DaemonSet"]


def cluster_version(version: str) -> dict[str, Any]:
    return {"metadata": {"name": "version"}, "status": {"desired": {"version": version, "architecture": "amd64"}}}


def interconnect(subnets: str = "10.128.0.0/14/23", **tenant: Any) -> OvnKubeView:
    conf = f"[default]\nmtu=1400\ncluster-subnets={subnets}\n"
    signs = replace(
        CENTRAL,
        node_daemonset=daemonset(["nbdb", "ovnkube-controller"]),
        masters=(),
        config_map={"metadata": {"name": "ovnkube-config"}, "data": {"ovnkube.conf": conf}},
        script_lib={"metadata": {"name": "ovnkube-script-lib"}, "data": {"ovnkube-lib.sh": "true\n"}},
        cluster_version=cluster_version("4.21.0"),
        **tenant,
    )
    mounted = {name: INFRA_OBJECTS.mounted[name] for name in (OVNKUBE_CONFIG, TENANT_CREDENTIAL)}
    infra = replace(INFRA_OBJECTS, mounted=mounted)
    return replace(VIEW, tenant=signs, settled=Settled(Topology.INTERCONNECT), infra=infra)


def test_entries_are_written_only_over_the_state_that_they_were_decided_on() -> None:
    fences = {s.desired["kind"]: s.fence for s in plan_ovnkube(VIEW).steps if isinstance(s, Apply)}
    assert fences == {"ServiceAccount": Fence.UID, "ConfigMap": Fence.VERSION, "DaemonSet": Fence.UID}


HELD = {
    "the tenant is not engaged": (replace(VIEW, tenant=None, blind="gone"), "TenantNotRead"),
    "the topology is not settled": (
        replace(VIEW, settled=Settled(None, "TopologyMigrating", "signs of both")),
        "TopologyMigrating",
    ),
    "a release that is not served": (
        replace(VIEW, tenant=replace(CENTRAL, cluster_version=cluster_version("4.16.3"))),
        "VersionNotSupported",
    ),
    "interconnect with IPv6": (interconnect("10.128.0.0/14/23,fd01::/48/64"), "IPv6NotSupported"),
    "a copy is not there yet": (at(mounted={**INFRA_OBJECTS.mounted, OVN_CA: None}), "WaitingForTenantObjects"),
    "no masters": (replace(VIEW, tenant=replace(CENTRAL, masters=())), "NoMasters"),
    "masters without address": (replace(VIEW, tenant=replace(CENTRAL, masters=(master(""),))), "NoMasterAddress"),
    "no image": (replace(VIEW, config=parse_config(config())), "NoImage"),
    "an image that is not allowed": (replace(VIEW, allowed_images=None), "ImageNotAllowed"),
    "no selector": (replace(VIEW, config=parse_config(config(nodeSelector=None))), "NodeSelectorMissing"),
    "a DaemonSet of somebody else": (at(daemonset={"metadata": {"name": "ovnkube-node"}}), "NotOurs"),
    "a ServiceAccount of somebody else": (at(service_account={"metadata": {"name": "sa"}}), "NotOurs"),
    "a copy of somebody else": (at(mounted={**INFRA_OBJECTS.mounted, OVN_CA: {"metadata": {"name": "a"}}}), "NotOurs"),
}


@pytest.mark.parametrize(("view", "reason"), HELD.values(), ids=HELD.keys())
def test_nothing_is_written_and_a_reason_is_given(view: OvnKubeView, reason: str) -> None:
    plan = plan_ovnkube(view)
    assert written(plan) == []
    assert said(plan) == ("False", reason)


def test_masters_that_vanish_leave_the_last_good_list() -> None:
    live = rolled_out()
    plan = plan_ovnkube(
        replace(VIEW, tenant=replace(CENTRAL, masters=()), infra=replace(INFRA_OBJECTS, daemonset=live))
    )
    (desired,) = [s.desired for s in plan.steps if isinstance(s, Apply) and s.desired["kind"] == "DaemonSet"]
    assert deployed_databases(desired) == deployed_databases(live)


def test_a_new_master_reaches_the_pods() -> None:
    both = replace(CENTRAL, masters=(master("10.0.0.2"), master("10.0.0.1")))
    plan = plan_ovnkube(replace(VIEW, tenant=both, infra=replace(INFRA_OBJECTS, daemonset=rolled_out())))
    (desired,) = [s.desired for s in plan.steps if isinstance(s, Apply) and s.desired["kind"] == "DaemonSet"]
    found = deployed_databases(desired)
    assert found is not None
    assert found.nb == "ssl:10.0.0.1:9641,ssl:10.0.0.2:9641"


def test_an_entry_waits_until_the_host_configuration_has_arrived() -> None:
    plan = plan_ovnkube(at(nodes=(node("bf2-1"),)))
    assert entries(plan) is None
    assert said(plan) == ("False", "HostNotConfigured")


def test_without_machine_configs_in_infra_no_entry_waits_for_them() -> None:
    plan = plan_ovnkube(at(nodes=(node("bf2-1"),), has_machine_configs=False, pool=None))
    assert said(plan) == ("False", "ProtectionPending")


def test_an_idle_pod_whose_entry_has_come_is_restarted() -> None:
    pod = {**ours("ovnkube-node-x"), "spec": {"nodeName": "bf2-1"}, "status": {"phase": "Running"}}
    idle = {"dpu.openshift.io/idle-pods": '{"bf2-1":"uid-of-ovnkube-node-x"}'}
    live = {**WITH_ENTRY, "metadata": {**WITH_ENTRY["metadata"], "annotations": idle}}
    plan = plan_ovnkube(at(pods=(pod,), entries=live))
    assert [step.live["metadata"]["uid"] for step in plan.steps if isinstance(step, Delete)] == [
        "uid-of-ovnkube-node-x"
    ]


def pod(name: str = "ovnkube-node-x", ready: str = "True", **metadata: str | dict[str, Any]) -> dict[str, Any]:
    made = ours(name, spec={"nodeName": "bf2-1"}, status={"conditions": [{"type": "Ready", "status": ready}]})
    annotations = rolled_out()["spec"]["template"]["metadata"]["annotations"]
    return {**made, "metadata": {**made["metadata"], "annotations": annotations, **metadata}}


def settled(*pods: dict[str, Any], entries: dict[str, Any] = WITH_ENTRY) -> OvnKubeView:
    return at(daemonset=rolled_out(), pods=pods, entries=entries)


def served_with(others: Iterable[str] = (), /, **data: str) -> OvnKubeView:
    """`bf2-1` serves; `others` are Nodes that the selector does not pick, `data` is what else people wrote."""
    view = settled(pod())
    assert view.infra.overrides is not None
    overrides = {**view.infra.overrides, "data": {**view.infra.overrides["data"], **data}}
    unpicked = tuple({"metadata": {"name": name, "labels": {}}} for name in others)
    return replace(view, infra=replace(view.infra, overrides=overrides, nodes=(*view.infra.nodes, *unpicked)))


def paired_node(name: str, host: str) -> dict[str, Any]:
    return node(name, **DONE, **{"dpu.openshift.io/tenant-node": host})


SAID = {
    "all pods available": (settled(pod()), ("True", "Serving")),
    "an entry without a pod": (settled(), ("False", "Progressing")),
    "a pod that is not ready": (settled(pod(ready="False")), ("False", "Progressing")),
    "a pod that ends": (settled(pod(deletionTimestamp="2026-01-01T00:00:00Z")), ("False", "Progressing")),
    "no entry yet": (settled(pod(), entries=entries_map()), ("False", "ProtectionPending")),
    "a pod of an older template": (settled(pod(annotations={})), ("False", "Progressing")),
    "an old generation observed": (at(daemonset=rolled_out(observed=0), entries=WITH_ENTRY), ("False", "Progressing")),
    "none wanted": (at(daemonset=rolled_out(wanted=0), entries=WITH_ENTRY), ("False", "NoNodes")),
    "no overrides": (at(daemonset=rolled_out(), overrides=None), ("False", "EnvOverridesMissing")),
    "no overrides, but a Node that names its host": (
        at(
            daemonset=rolled_out(),
            overrides=None,
            pods=(pod(),),
            entries=WITH_ENTRY,
            nodes=(paired_node("bf2-1", "host-1"),),
        ),
        ("True", "Serving"),
    ),
    "no entries": (at(daemonset=rolled_out(), overrides={"metadata": {}, "data": {}}), ("False", "NoPairs")),
    "keys that are no Node's name beside an entry": (
        served_with(_master="OVN_LOG_LEVEL=dbg", _global="OVN_KUBE_LOG_LEVEL=5"),
        ("True", "Serving"),
    ),
    "keys that are no Node's name alone": (
        at(daemonset=rolled_out(), overrides={"metadata": {}, "data": {"_master": "OVN_LOG_LEVEL=dbg"}}),
        ("False", "NoPairs"),
    ),
    "a bad entry of another node": (served_with(**{"bf2-9": "export TENANT_K8S_NODE=x"}), ("False", "EntryRejected")),
    "settings alone of another node": (served_with(**{"bf2-9": "OVN_LOG_LEVEL=dbg"}), ("False", "EntryRejected")),
    "a bad entry of a node that is not picked": (
        served_with({"bf2-9": {}}, **{"bf2-9": "export TENANT_K8S_NODE=x"}),
        ("True", "Serving"),
    ),
    "settings alone of a node that is not picked": (
        served_with({"bf2-9": {}}, **{"bf2-9": "OVN_LOG_LEVEL=dbg"}),
        ("True", "Serving"),
    ),
    "settings alone of a Node that names its host": (
        at(
            daemonset=rolled_out(),
            overrides={"metadata": {}, "data": {"bf2-1": "OVN_LOG_LEVEL=dbg"}},
            pods=(pod(),),
            entries=entries_map("bf2-1", **{"bf2-1": "TENANT_K8S_NODE=host-1\nOVN_LOG_LEVEL=dbg\n"}),
            nodes=(paired_node("bf2-1", "host-1"),),
        ),
        ("True", "Serving"),
    ),
    "a command for an entry": (
        at(daemonset=rolled_out(), overrides={"metadata": {}, "data": {"bf2-1": "TENANT_K8S_NODE=$(id)"}}),
        ("False", "EntryRejected"),
    ),
}


@pytest.mark.parametrize(("view", "expected"), SAID.values(), ids=SAID.keys())
def test_what_is_said(view: OvnKubeView, expected: tuple[str, str]) -> None:
    assert said(plan_ovnkube(view)) == expected


def waiting(left: str, ready: str = "False") -> dict[str, Any]:
    ended = {"terminated": {"exitCode": 1, "message": left}}
    made = pod(ready=ready)
    made["status"]["containerStatuses"] = [{"name": "ovnkube-node", "ready": ready == "True", "lastState": ended}]
    return made


def message(plan: Plan) -> str:
    (status,) = [step for step in plan.steps if isinstance(step, ApplyStatus)]
    return next(condition.message for condition in status.conditions if condition.type == "OvnKubeReady")


def test_keys_that_are_no_nodes_name_are_told_beside_how_it_is() -> None:
    told = 'Ignored in env-overrides, because no Node can have such a name: "_global"; "_master"'
    assert message(plan_ovnkube(served_with(_master="", _global=""))) == f"1 DPUs serve their hosts. {told}"
    many = served_with(**{f"_{n:02}": "" for n in range(50)})
    assert message(plan_ovnkube(many)).endswith('"_04"; and 45 more')


def test_a_bad_entry_is_named_with_those_that_it_does_not_touch() -> None:
    found = message(plan_ovnkube(served_with(**{"bf2-9": "export TENANT_K8S_NODE=x"})))
    assert found.startswith('env-overrides, entry of "bf2-9", line 1: write KEY=value')
    assert found.endswith('no "export". No other DPU is touched by that: 1 serve their hosts')


WAITING = {
    "dpunetop: OptionsMissing --zone\nwords": ("False", "OptionsMissing"),
    "dpunetop: OptionsUnknown\nwords": ("False", "OptionsUnknown"),
    "dpunetop: OpenVSwitchAway\nwords": ("False", "OpenVSwitchAway"),
    "panic: words of a crash": ("False", "Progressing"),
}


@pytest.mark.parametrize(("left", "expected"), WAITING.items(), ids=WAITING)
def test_what_keeps_a_waiting_pod_from_serving_is_said_with_dpu_and_host(left: str, expected: tuple[str, str]) -> None:
    plan = plan_ovnkube(settled(waiting(left)))
    assert said(plan) == expected
    assert "bf2-1" in message(plan)
    assert ("DPU bf2-1 cannot serve host host-1: pod ovnkube-node-x" in message(plan)) is (expected[1] in left)


def test_what_kept_a_pod_from_serving_once_is_not_said_of_one_that_serves() -> None:
    assert said(plan_ovnkube(settled(waiting("dpunetop: OpenVSwitchAway", ready="True")))) == ("True", "Serving")


def test_what_keeps_a_pod_of_an_older_template_from_serving_is_mended_by_the_newer() -> None:
    old = waiting("dpunetop: OptionsMissing --zone")
    old["metadata"]["annotations"] = {}
    assert said(plan_ovnkube(settled(old))) == ("False", "Progressing")


def test_a_selector_that_drops_a_dpu_that_serves_does_not_reach_the_daemonset() -> None:
    pod = {**ours("ovnkube-node-x"), "spec": {"nodeName": "bf2-1"}, "status": {"phase": "Running"}}
    live = WITH_ENTRY
    narrow = parse_config(config(nodeSelector={"matchLabels": {"no": "such"}}, image=VIEW.config.image))
    plan = plan_ovnkube(replace(at(pods=(pod,), entries=live, daemonset=rolled_out()), config=narrow))
    assert written(plan) == ["ServiceAccount", "ConfigMap"]
    assert said(plan) == ("False", "SelectorDropsServing")
    assert entries(plan) == {"bf2-1": "TENANT_K8S_NODE=host-1\n"}


OTHER = node("bf9-1", {**DPU_LABELS, "node-role.kubernetes.io/master": ""})
UNGRANTED = Rights(Grant("dpu-one", "rack=one"))


def affinity(plan: Plan) -> Any:
    (desired,) = [s.desired for s in plan.steps if isinstance(s, Apply) and s.desired["kind"] == "DaemonSet"]
    node_affinity = desired["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    return node_affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]


def test_no_daemonset_is_made_while_the_selector_picks_what_is_not_granted() -> None:
    plan = plan_ovnkube(replace(VIEW, infra=replace(INFRA_OBJECTS, nodes=(*INFRA_OBJECTS.nodes, OTHER))))
    assert written(plan) == []
    assert said(plan) == ("False", "NodeNotGranted")


def test_a_daemonset_that_is_there_stays_up_to_date_and_off_what_is_not_granted() -> None:
    plan = plan_ovnkube(replace(at(daemonset=rolled_out()), rights=UNGRANTED))
    [term] = affinity(plan)
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "NotIn", "values": ["bf2-1"]}]
    assert said(plan) == ("False", "PairingConflict")


def test_a_pod_stays_on_a_dpu_that_lost_its_grant_as_long_as_it_serves() -> None:
    claims = {"bf2-1": (Claim(OWNER.hash, "us", ClaimStrength.SERVES, ("", "", "")),)}
    rights = replace(UNGRANTED, owner=OWNER.hash, claims=claims)
    [term] = affinity(plan_ovnkube(replace(settled(pod()), rights=rights)))
    assert "matchFields" not in term


def test_no_entry_is_written_here_nor_taken_away() -> None:
    foreign = entries_map(**{"bf2-1": "TENANT_K8S_NODE=another\n"})
    assert entries(plan_ovnkube(settled(pod(), entries=foreign))) is None
    assert entries(plan_ovnkube(settled(pod()))) == WITH_ENTRY["data"]
    assert entries(plan_ovnkube(VIEW)) is None


def test_an_interconnect_tenant_gets_zones_on_its_dpus_without_its_certificates() -> None:
    plan = plan_ovnkube(interconnect())
    (desired,) = [s.desired for s in plan.steps if isinstance(s, Apply) and s.desired["kind"] == "DaemonSet"]
    pod = desired["spec"]["template"]["spec"]
    assert {"nbdb", "sbdb", "northd", "ovnkube-controller"} <= {container["name"] for container in pod["containers"]}
    assert {OVN_CERT, OVN_CA} & {volume["name"] for volume in pod["volumes"]} == set()
    assert said(plan, "TopologySupported") == ("True", "Interconnect")


def test_settings_that_are_not_found_are_said_and_hold_up_nothing() -> None:
    plan = plan_ovnkube(interconnect())
    assert "DaemonSet" in written(plan)
    assert said(plan, "FeatureParity") == ("Unknown", "FeatureParityUnknown")


def test_an_upstream_tenant_says_its_networks_in_the_config_map_of_its_chart() -> None:
    view = upstream()
    signs = replace(
        CENTRAL,
        node_daemonset=with_containers(view.node_daemonset, "nb-ovsdb"),
        masters=(),
        config_map=view.config_map,
        chart_config_map=view.chart_config_map,
    )
    infra = replace(INFRA_OBJECTS, mounted={TENANT_CREDENTIAL: INFRA_OBJECTS.mounted[TENANT_CREDENTIAL]})
    given = replace(VIEW, tenant=signs, settled=Settled(Topology.INTERCONNECT), infra=infra)
    plan = plan_ovnkube(replace(given, tenant_namespace="ovn-kubernetes", environment_image="quay.example/ovn:1"))
    assert said(plan, "FeatureParity") == ("True", "Followed")
    (desired,) = [s.desired for s in plan.steps if isinstance(s, Apply) and s.desired["kind"] == "DaemonSet"]
    [node] = [c for c in desired["spec"]["template"]["spec"]["containers"] if c["name"] == "ovnkube-controller"]
    assert {"--cluster-subnets=10.244.0.0/16/24", "--mtu=8900", "--nodeport"} <= set(node["args"])


def with_containers(live: Obj | None, *more: str) -> Obj:
    assert live is not None
    spec = live["spec"]["template"]["spec"]
    spec["containers"] += [{"name": name} for name in more]
    return live


def test_an_unknown_setting_of_a_central_tenant_is_named() -> None:
    config_map = {"data": {"ovnkube.conf": "[default]\nmtu=1400\n[next]\nkey=1\n"}}
    plan = plan_ovnkube(replace(VIEW, tenant=replace(CENTRAL, config_map=config_map)))
    assert said(plan, "FeatureParity") == ("Unknown", "FeatureParityUnknown")


def test_a_topology_that_a_person_chose_is_tried_whatever_the_release() -> None:
    chosen = parse_config(config(topology="Central", image=VIEW.config.image))
    tenant = replace(CENTRAL, cluster_version=cluster_version("4.16.3"))
    assert "DaemonSet" in written(plan_ovnkube(replace(VIEW, config=chosen, tenant=tenant)))


def test_a_topology_that_waits_to_be_confirmed_is_looked_at_again_in_time() -> None:
    waiting = Settled(None, "TopologyConfirming", "m", Topology.INTERCONNECT, 1.0, 42.0)
    plan = plan_ovnkube(replace(VIEW, settled=waiting))
    assert plan.requeue_after_seconds == 42.0
    assert said(plan, "TopologySupported") == ("Unknown", "TopologyConfirming")


def test_what_was_said_of_the_topology_stands_while_the_tenant_is_out_of_sight() -> None:
    obj = {**config(image="i"), "status": {"conditions": [condition("TopologySupported", "True", "Central", "4.13")]}}
    plan = plan_ovnkube(replace(VIEW, config=parse_config(obj), tenant=None, settled=Settled(None, "TenantNotRead")))
    assert said(plan, "TopologySupported") == ("True", "Central")


def kept_template(view: OvnKubeView) -> str:
    """What the DaemonSet is to remember of the template that proved itself."""
    (found,) = [
        s.desired for s in plan_ovnkube(view).steps if isinstance(s, Apply) and s.desired["kind"] == "DaemonSet"
    ]
    return str(found["metadata"]["annotations"].get("dpu.openshift.io/proven-template", ""))


def remembering(view: OvnKubeView, template: str) -> OvnKubeView:
    live = view.infra.daemonset
    assert live is not None
    metadata = {**live["metadata"], "annotations": {"dpu.openshift.io/proven-template": template}}
    return replace(view, infra=replace(view.infra, daemonset={**live, "metadata": metadata}))


NEWEST = rolled_out()["spec"]["template"]["metadata"]["annotations"]["dpu.openshift.io/template-hash"]
KEPT = {
    "no DaemonSet": (at(), ""),
    "no DPU serves yet": (settled(pod(ready="False")), ""),
    "a DPU serves with the newest": (settled(pod()), NEWEST),
    "one without an entry has proved nothing": (settled(pod(), entries=entries_map()), ""),
    "the newest does not come to be Ready": (remembering(settled(pod(ready="False")), "before"), "before"),
    "another one is still Ready": (remembering(settled(pod(annotations={})), "before"), "before"),
    "the newest has proved itself after another": (remembering(settled(pod()), "before"), NEWEST),
}


@pytest.mark.parametrize(("view", "expected"), KEPT.values(), ids=KEPT.keys())
def test_the_daemonset_remembers_the_last_template_that_a_dpu_served_with(view: OvnKubeView, expected: str) -> None:
    assert kept_template(view) == expected


def test_the_template_that_is_replaced_is_remembered_with_the_write_that_replaces_it() -> None:
    live = rolled_out()
    template = {**live["spec"]["template"], "metadata": {"annotations": {"dpu.openshift.io/template-hash": "before"}}}
    before = {**live, "spec": {**live["spec"], "template": template}}
    serving = pod(annotations={"dpu.openshift.io/template-hash": "before"})
    assert kept_template(at(daemonset=before, pods=(serving,), entries=WITH_ENTRY)) == "before"


def with_refusals(view: OvnKubeView, note: str) -> OvnKubeView:
    events = ({"reason": "FailedCreate", "note": note, "eventTime": "2026-01-01T00:00:00.000000Z"},)
    return replace(view, infra=replace(view.infra, refusals=events))


def message_of(plan: Plan, type_: str) -> str:
    [found] = [c for s in plan.steps if isinstance(s, ApplyStatus) for c in s.conditions if c.type == type_]
    return found.message


def test_pods_that_the_api_server_does_not_admit_are_told_with_its_words_and_the_hosts_that_lack_them() -> None:
    without = settled()
    words = 'pods "x" is forbidden: violates PodSecurity "baseline"'
    plan = plan_ovnkube(with_refusals(without, words))
    assert said(plan, "OvnKubeReady") == ("False", "PodsNotAdmitted")
    message = message_of(plan, "OvnKubeReady")
    assert message.startswith("DPU bf2-1 cannot serve host ")
    assert "violates PodSecurity" in message
    assert said(plan_ovnkube(with_refusals(settled(pod()), words)), "OvnKubeReady") == ("True", "Serving")


def test_a_pod_without_its_image_is_told_with_its_host() -> None:
    waits = {"name": "c", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "denied"}}}
    found = pod(ready="False")
    found["status"]["containerStatuses"] = [waits]
    plan = plan_ovnkube(settled(found))
    assert said(plan, "OvnKubeReady") == ("False", "PodsNotRunning")
    assert "ImagePullBackOff" in message_of(plan, "OvnKubeReady")


def test_an_entry_for_a_dpu_that_infra_does_not_have_is_told_and_not_taken_for_one_on_its_way() -> None:
    view = replace(VIEW, infra=replace(VIEW.infra, nodes=()))
    plan = plan_ovnkube(view)
    assert said(plan, "OvnKubeReady") == ("False", "DpuAbsent")
    assert "infra has no Node of that name" in message_of(plan, "OvnKubeReady")
