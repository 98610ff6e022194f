"""Checks of the tenant: release and topology, settings and whether the DPUs have them, and whether hosts can be
drained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from dpunetop.base.quoting import named, quoted, sentence
from dpunetop.domain.clusterconfig.types import TopologyChoice
from dpunetop.domain.credential.account import parse_time
from dpunetop.domain.doctor.cluster import config_name, configs_of
from dpunetop.domain.doctor.model import (
    ClusterFacts,
    Diagnosis,
    Facts,
    NotLookedAt,
    Place,
    Unseen,
    each,
    fail,
    ok,
    warn,
)
from dpunetop.domain.names import (
    CLUSTER_NETWORK,
    CLUSTERVERSION,
    CLUSTERVERSIONS,
    DPU_NODE_LABEL,
    KUBE_SYSTEM,
    NETWORKS,
    NODEMAINTENANCES,
    OVN_CONFIG,
    OVNKUBE_CONFIG,
    OVNKUBE_CONTROL_PLANE,
    OVNKUBE_MASTER,
    OVNKUBE_NODE,
    OVNKUBE_NODE_DPU_HOST,
    OVNKUBE_SCRIPT_LIB,
)
from dpunetop.domain.ovnkube.conf import BadOvnkubeConf, SettingRefused, read_ovnkube_conf
from dpunetop.domain.ovnkube.deployed import deployed_arguments
from dpunetop.domain.ovnkube.release import flavour_of, release_of, unsupported
from dpunetop.domain.ovnkube.settings import SettingsView, conf_parity, read_settings
from dpunetop.domain.ovnkube.settingsreader import SettingsReading
from dpunetop.domain.ovnkube.topology import Topology, TopologyFinding, TopologyView, container_names, detect
from dpunetop.domain.reasons import DPU_CREDENTIAL_VALID, meaning
from dpunetop.domain.tenant import servingcertificate
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, NAMESPACES, NODES, PODS, crd_name
from dpunetop.kube.meta import Obj, generation_of, labels_of, name_of, namespace_of, uid_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels
from dpunetop.kube.shapes import at

_SERVING = "kubectl --kubeconfig TENANT get pods --all-namespaces | grep node-maintenance"
INSTALL_NMO = (
    "install the node maintenance operator in the tenant: https://github.com/medik8s/node-maintenance-operator"
)
_MOST_SKEW_SECONDS = 30.0
OVERHEAD = 100
"""Overhead of Geneve, as OpenShift computes it: bytes that the uplink must carry beside the MTU of the pods."""
_LEASE = "dpu-node-lease-"
_MTU = ("default", "mtu")
_NUMBER = re.compile("[0-9]{2,5}")
_IDLE_SECONDS = 60.0


def masters(namespace: str) -> Selection:
    """Pods of a central tenant's databases."""
    return Selection(PODS, namespace, "", by_labels({"app": OVNKUBE_MASTER}))


def judge_server(facts: Facts) -> Iterable[Diagnosis]:
    """The certificate of the tenant's API server does not end soon, and its clock is that of infra's."""
    tenant, about = facts.of_tenant(), f"the API server of {facts.whose}"
    return each((_serving_certificate, _server_clock), lambda judge: judge(tenant, about, facts))


def _serving_certificate(tenant: ClusterFacts, about: str, facts: Facts) -> Iterator[Diagnosis]:
    if tenant.serving is None:
        raise NotLookedAt(about, Unseen("its certificate is not known", "look again"))
    if words := servingcertificate.warning(tenant.serving, facts.now):
        yield warn(about, words, meaning("ServingCertificateExpiresSoon").next_step)
    else:
        yield ok(about, f"its certificate is good until {tenant.serving.end:%Y-%m-%dT%H:%M:%SZ}")


def _server_clock(tenant: ClusterFacts, about: str, facts: Facts) -> Iterator[Diagnosis]:
    if tenant.server_ahead is None or facts.infra.server_ahead is None:
        raise NotLookedAt(about, Unseen("its answers, or those of infra, say no time", "compare both clocks by hand"))
    ahead = (tenant.server_ahead - facts.infra.server_ahead).total_seconds()
    if abs(ahead) <= _MOST_SKEW_SECONDS:
        yield ok(about, "its clock is that of infra's")
        return
    which = "ahead of" if ahead > 0 else "behind"
    words = f"its clock is {abs(ahead):.0f} s {which} that of infra's: certificates and tokens begin and end by both"
    yield warn(about, words, "have the machines of both clusters take their time from one source (chrony, NTP)")


def judge_topology(facts: Facts) -> Iterable[Diagnosis]:
    """The tenant's OVN-Kubernetes is of a topology and a release that is served."""
    tenant = facts.of_tenant()
    return each((_release, _ovnkube), lambda part: part(facts, tenant))


def _release(_: Facts, tenant: ClusterFacts) -> Iterator[Diagnosis]:
    yield ok("the API server of the tenant", f"is {quoted(tenant.version())}")


def _ovnkube(facts: Facts, tenant: ClusterFacts) -> Iterator[Diagnosis]:
    about = f"OVN-Kubernetes of the tenant, namespace {facts.tenant_namespace}"
    found, release = _topology(facts, tenant), release_of(_node_daemonset(facts, tenant), _cluster_version(tenant))
    where = f"kubectl --kubeconfig TENANT get daemonset ovnkube-node --namespace {facts.tenant_namespace} --output yaml"
    if found.topology not in (Topology.CENTRAL, Topology.INTERCONNECT):
        yield fail(about, f"topology {found.topology.value}: {found.message}", where)
    elif (problem := unsupported(found.topology, release)) is not None:
        yield fail(about, problem.message, "docs/limits.md says which releases are served")
    elif release is None:
        yield warn(about, f"topology {found.topology.value}; which release it is, nothing says", where)
    else:
        yield ok(about, f"{release}, topology {found.topology.value}")


def _topology(facts: Facts, tenant: ClusterFacts) -> TopologyFinding:
    home = facts.tenant_namespace
    view = TopologyView(
        choice=TopologyChoice.AUTO,
        node_containers=container_names(_node_daemonset(facts, tenant)),
        master_pods=bool(tenant.list(masters(home))),
        control_plane=tenant.get(DEPLOYMENTS, home, OVNKUBE_CONTROL_PLANE) is not None,
        script_lib=tenant.get(CONFIGMAPS, home, OVNKUBE_SCRIPT_LIB) is not None,
    )
    return detect(view)


def _node_daemonset(facts: Facts, tenant: ClusterFacts) -> Obj | None:
    return tenant.get(DAEMONSETS, facts.tenant_namespace, OVNKUBE_NODE)


def _cluster_version(tenant: ClusterFacts) -> Obj | None:
    return tenant.get(CLUSTERVERSIONS, "", CLUSTERVERSION) if tenant.serves(CLUSTERVERSIONS) else None


# --- settings, MTU, leases --------------------------------------------------------------------------------------------


def judge_settings(facts: Facts) -> Iterator[Diagnosis]:
    """The DPUs can be set as the tenant's own nodes are."""
    about = f"settings of OVN-Kubernetes in the tenant, namespace {facts.tenant_namespace}"
    tenant = facts.of_tenant()
    if _topology(facts, tenant).topology is Topology.CENTRAL:
        parity = conf_parity(tenant.get(CONFIGMAPS, facts.tenant_namespace, OVNKUBE_CONFIG))
        impossible: tuple[str, ...] = ()
    else:
        reading = _settings(facts, tenant)
        parity, impossible = reading.parity, tuple(each.message for each in reading.impossible)
    yield from (fail(about, message, "docs/limits.md says what a DPU cannot follow") for message in impossible)
    yield from (warn(about, each.message, "docs/limits.md says what a DPU does not follow") for each in parity)
    if not impossible and not parity:
        yield ok(about, "all are followed on DPUs")


def _settings(facts: Facts, tenant: ClusterFacts) -> SettingsReading:
    home, node = facts.tenant_namespace, _node_daemonset(facts, tenant)
    release = release_of(node, _cluster_version(tenant))
    view = SettingsView(
        flavour=flavour_of(release, home),
        release=release,
        tenant_namespace=home,
        config_map=tenant.get(CONFIGMAPS, home, OVNKUBE_CONFIG),
        script_lib=tenant.get(CONFIGMAPS, home, OVNKUBE_SCRIPT_LIB),
        node_daemonset=node,
        host_daemonset=tenant.get(DAEMONSETS, home, OVNKUBE_NODE_DPU_HOST),
        chart_config_map=tenant.get(CONFIGMAPS, home, OVN_CONFIG),
    )
    return read_settings(view)


def judge_leases(facts: Facts) -> Iterable[Diagnosis]:
    """DPUs renew the Leases of their hosts as the hosts expect it."""
    tenant = facts.of_tenant()
    if _topology(facts, tenant).topology is Topology.CENTRAL:
        return (ok("Leases of the tenant's hosts", "a tenant of topology Central has none"),)
    settings = _settings(facts, tenant).settings
    expected = _lease_options(settings.arguments if settings is not None else ())
    return each(configs_for(facts, tenant), lambda config: _lease(facts, config, expected), namespace_of)


def _lease(facts: Facts, config: Obj, expected: dict[str, str]) -> Iterator[Diagnosis]:
    about = f"DaemonSet {namespace_of(config)}/{OVNKUBE_NODE}"
    live = facts.infra.get(DAEMONSETS, namespace_of(config), OVNKUBE_NODE)
    deployed = _lease_options(deployed_arguments(live))
    if live is None:
        yield ok(about, f"is not there yet; hosts go by {_said(expected)}")
    elif deployed != expected:
        words = f"its pods renew the Leases of their hosts by {_said(deployed)}, while hosts go by {_said(expected)}"
        mend = f"kubectl get dcc {name_of(config)} --namespace {namespace_of(config)} --output yaml"
        yield fail(about, f"{words}: a host takes its DPU for dead, or does not notice", mend)
    else:
        yield ok(about, f"its pods and their hosts go by {_said(expected)}")


def _lease_options(arguments: Iterable[str]) -> dict[str, str]:
    split = (text.removeprefix("--").partition("=") for text in arguments)
    return {name.removeprefix(_LEASE): value for name, _, value in split if name.startswith(_LEASE)}


def _said(options: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(options.items())) or "no Lease"


def judge_mtu(facts: Facts) -> Iterator[Diagnosis]:
    """The uplinks of the DPUs carry the tenant's packets."""
    about = f"MTU of the tenant, ConfigMap {facts.tenant_namespace}/{OVNKUBE_CONFIG}"
    needed, uplink = _tenant_mtu(facts) + OVERHEAD, _infra_mtu(facts) + OVERHEAD
    if needed > uplink:
        words = f"its packets take {needed} bytes on the wire, and infra's cluster network tells of uplinks of {uplink}"
        lost = f"{words}: larger ones are lost between these hosts"
        yield warn(about, lost, f"{_show_uplink(facts)}; each DPU's uplink needs an MTU of {needed}")
    else:
        yield ok(about, f"takes {needed} bytes on the wire, of {uplink} that infra's cluster network tells of")


def _tenant_mtu(facts: Facts) -> int:
    home, tenant = facts.tenant_namespace, facts.of_tenant()
    text = at(tenant.get(CONFIGMAPS, home, OVNKUBE_CONFIG), "data", "ovnkube.conf")
    said = [at(tenant.get(CONFIGMAPS, home, OVN_CONFIG), "data", "mtu")]
    if isinstance(text, str):
        with suppress(BadOvnkubeConf, SettingRefused):  # the check of settings reports it
            said[:0] = [value for section, key, value in read_ovnkube_conf(text).values if (section, key) == _MTU]
    found = next((each for each in said if isinstance(each, str) and _NUMBER.fullmatch(each)), None)
    if found is None:
        look = f"kubectl --kubeconfig TENANT get configmaps --namespace {home}; or name its --tenant-namespace"
        raise NotLookedAt("MTU of the tenant", Unseen(f"no ConfigMap of namespace {home} in the tenant says it", look))
    return int(found)


def _infra_mtu(facts: Facts) -> int:
    network = facts.infra.get(NETWORKS, "", CLUSTER_NETWORK) if facts.infra.serves(NETWORKS) else None
    found = at(network, "status", "clusterNetworkMTU")
    if not isinstance(found, int):
        words = "infra has no Network cluster that says its MTU"
        raise NotLookedAt("MTU of the DPUs' uplinks", Unseen(words, _show_uplink(facts)))
    return found


def _dpus(facts: Facts) -> list[str]:
    """The DPUs of infra by name."""
    return sorted(
        named(name_of(each)) for each in facts.infra.list(Selection(NODES)) if DPU_NODE_LABEL in labels_of(each)
    )


def _show_uplink(facts: Facts) -> str:
    """The command that shows the MTU of a DPU's uplink; of the first one, as all are to be alike."""
    return f"kubectl debug node/{next(iter(_dpus(facts)), 'DPU')} -- chroot /host ip link show p0"


# --- hosts that can be drained ----------------------------------------------------------------------------------------


def maintenance_rehearsal() -> Place:
    """The NodeMaintenance whose creation is rehearsed."""
    return Place(NODEMAINTENANCES, "", "dpunetop-doctor")


def judge_maintenance(facts: Facts) -> Iterable[Diagnosis]:
    """The node maintenance operator is installed, and works."""
    tenant = facts.of_tenant()
    about = f"API {crd_name(NODEMAINTENANCES)} of the tenant"
    if not tenant.serves(NODEMAINTENANCES):
        words = f"is not served in version {NODEMAINTENANCES.version}: no host can be drained before its DPU"
        return (fail(about, words, INSTALL_NMO),)
    return each((_taken, _worked_on), lambda part: part(facts, tenant))


def _taken(_: Facts, tenant: ClusterFacts) -> Iterator[Diagnosis]:
    refused = tenant.rehearsal(maintenance_rehearsal())
    about = "node maintenance operator of the tenant"
    if refused is None:
        yield ok(about, "takes a NodeMaintenance (tried as a dry run)")
    else:
        yield fail(about, f"does not take a NodeMaintenance: {sentence(refused.words, 300)}", _SERVING)


def _worked_on(facts: Facts, tenant: ClusterFacts) -> Iterator[Diagnosis]:
    for maintenance in tenant.list(Selection(NODEMAINTENANCES)):
        about = f"NodeMaintenance {named(name_of(maintenance))} of the tenant"
        made = parse_time(at(maintenance, "metadata", "creationTimestamp"))
        is_old = made is not None and (facts.now - made).total_seconds() > _IDLE_SECONDS
        said = at(maintenance, "status", "lastError")
        mend = f"kubectl --kubeconfig TENANT describe nodemaintenance {named(name_of(maintenance))}"
        if at(maintenance, "status", "phase") is None and is_old:
            yield fail(about, "no controller has begun with it: the node maintenance operator does not work", _SERVING)
        elif isinstance(said, str) and said:
            yield warn(about, f"could not go on: {sentence(said)}", mend)


# --- whether the tenant's admission accepts the pods' writes ----------------------------------------------------------


def judge_identity(facts: Facts) -> Iterable[Diagnosis]:
    """The tenant's node-identity webhook accepts the writes of the DPU pods."""
    tenant = facts.of_tenant()
    return each(configs_for(facts, tenant), lambda config: _identity(facts, config), namespace_of)


def _identity(facts: Facts, config: Obj) -> Iterator[Diagnosis]:
    """By the operator's own dry runs, which it repeats: they need the credential of the pods, which only it has."""
    about = f"{config_name(config)}, {DPU_CREDENTIAL_VALID}"
    condition = condition_of(config, DPU_CREDENTIAL_VALID)
    user = f"system:serviceaccount:{facts.tenant_namespace}:dpunetop-dpu"
    if condition is None or condition.get("observedGeneration") != generation_of(config):
        step = (
            f"start the tenant's ovnkube-identity with --extra-allowed-user={user} if it has one; see docs/security.md"
        )
        why = "only the credential of the DPU pods can try it, and the operator has not done so yet"
        raise NotLookedAt(about, Unseen(why, step))
    message = str(condition.get("message"))
    look = f"kubectl describe dcc {name_of(config)} --namespace {namespace_of(config)}"
    if condition.get("status") == "True":
        yield ok(about, "the operator has tried it: the DPU pods may write what they have to")
    elif condition.get("status") == "False":
        yield fail(about, message, f"{look}; {meaning(str(condition.get('reason'))).next_step}")
    else:
        raise NotLookedAt(about, Unseen(message, f"{look}; {meaning(str(condition.get('reason'))).next_step}"))


# --- whose tenant it is -----------------------------------------------------------------------------------------------


def configs_for(facts: Facts, tenant: ClusterFacts) -> tuple[Obj, ...]:
    """The DpuClusterConfigs of this tenant: those among `configs` whose status has its UID, or no UID yet.

    Raises: NotLookedAt when there is none.
    """
    uid = uid_of(_kube_system(tenant))
    asking = [each for each in configs_of(facts) if at(each, "spec", "kubeConfigFile") and _is_given_for(facts, each)]
    found = tuple(each for each in asking if at(each, "status", "tenantUID") in (None, "", uid))
    if not found:
        why = f"no DpuClusterConfig is of the tenant whose namespace {KUBE_SYSTEM} has the UID {quoted(uid)}"
        raise NotLookedAt("DpuClusterConfigs of the tenant", Unseen(why, "kubectl get dcc --all-namespaces"))
    return found


def _is_given_for(facts: Facts, config: Obj) -> bool:
    return facts.configs is None or (namespace_of(config), name_of(config)) in facts.configs


def _kube_system(tenant: ClusterFacts) -> Obj:
    found = tenant.get(NAMESPACES, "", KUBE_SYSTEM)
    if found is None:
        look = "kubectl --kubeconfig TENANT get namespaces: see which server answers there"
        raise NotLookedAt(f"namespace {KUBE_SYSTEM} of the tenant", Unseen("it does not exist", look))
    return found
