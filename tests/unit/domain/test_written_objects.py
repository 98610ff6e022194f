"""Every object that the operator can write for a hostile tenant: no word of the tenant's or the user's gets through.

Assertions over all of them at once, so that a new object, volume or variable cannot slip past.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.app.assets import host_assets, interconnect_scripts, ovnkube_scripts
from dpunetop.base.sensitive import Sensitive
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.credential.account import TOKEN_SECONDS, TenantSide, account_for
from dpunetop.domain.credential.facts import CredentialView, Fresh, Minted, TokenRefused, TokenTrial
from dpunetop.domain.credential.plan import plan_credential
from dpunetop.domain.hostconfig.plan import HostConfigView, plan_host_config
from dpunetop.domain.ovnkube.copies import SOURCES
from dpunetop.domain.ovnkube.copying import CopiedObject, TenantObjectsView, plan_tenant_objects
from dpunetop.domain.ovnkube.image import AllowedImages
from dpunetop.domain.ovnkube.plan import plan_ovnkube
from dpunetop.domain.ovnkube.topology import Settled, Topology
from dpunetop.domain.ovnkube.view import InfraObjects, OvnKubeView, PodScripts, TenantSigns
from dpunetop.domain.pairing.pairing import Claims
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.link import KubeconfigChoice, Linked, LinkView, TenantDenied, choose, plan_link
from dpunetop.kube.plan import Apply, ApplyStatus, Plan
from support.clock import EPOCH
from support.kubeconfigs import good_kubeconfig
from support.objects import config, node
from support.pki import pair

MARK = "HOSTILE"
ADMIN_TOKEN = "admins-own-token"
OWNER = Owner(config(), "0123")
ACCOUNT = account_for("openshift-ovn-kubernetes", None)
IMAGE = "registry.example/ovn@sha256:" + "0" * 64
CONFIG = parse_config(config(image=IMAGE))
GIVEN = good_kubeconfig(token=ADMIN_TOKEN)
KUBECONFIG = parse_kubeconfig(GIVEN)
MANAGER = "dpunetop-test"
MOUNTABLE = {
    names.OVN_CERT,
    names.OVN_CA,
    names.OVNKUBE_CONFIG,
    names.OVNKUBE_NODE_ENTRIES,
    names.TENANT_CREDENTIAL,
}
"""All that pods may mount: written anew by us, each under a name of its own."""
FORBIDDEN = {CONFIG.kubeconfig_secret, names.ENV_OVERRIDES, names.TENANT_KUBECONFIG, names.OVNKUBE_SCRIPT_LIB}
PLAIN = re.compile(r"[A-Za-z0-9.,:/\[\]=_@-]*")
SCRIPTS = PodScripts(ovnkube_scripts(), interconnect_scripts())

HOSTILE = st.sampled_from(
    [
        MARK,
        f"$({MARK})",
        f"`{MARK}`",
        f'";{MARK}',
        f"a\n{MARK}",
        f"--config-file=/{MARK}",
        f"x1 --{MARK}",
        f"../{MARK}",
        f"1.4.0;{MARK}",
        f"ssl:6.6.6.6:9641,{MARK}",
        f"$$({MARK})",
        f"\x1b]0;{MARK}\x07",
    ]
)


def ours(kind: str, name: str, **members: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": CONFIG.namespace,
        "uid": f"uid-{name}",
        "labels": {names.OWNER_LABEL: "0123"},
        "generation": 1,
    }
    return {"kind": kind, "metadata": metadata, **members}


def workload(*containers: str, text: str, **variables: str) -> dict[str, Any]:
    """A DaemonSet of the tenant in which every text that is free is hostile."""
    env = [{"name": name, "value": value} for name, value in variables.items()] + [{"name": text, "value": text}]
    listed = [
        {"name": name, "image": f"{text}@sha256:{'0' * 64}", "command": [text], "args": [text], "env": env}
        for name in (*containers, text)
    ]
    volumes = [{"name": text, "secret": {"secretName": text}}, {"name": "x", "hostPath": {"path": f"/{text}"}}]
    metadata = {
        "name": names.OVNKUBE_NODE,
        "annotations": {"release.openshift.io/version": text, text: text},
        "labels": {"app": text},
    }
    return {"metadata": metadata, "spec": {"template": {"spec": {"containers": listed, "volumes": volumes}}}}


def master(ip: str, text: str) -> dict[str, Any]:
    reference = {"kind": "DaemonSet", "name": names.OVNKUBE_MASTER, "controller": True}
    metadata = {
        "name": text,
        "namespace": "openshift-ovn-kubernetes",
        "labels": {"app": names.OVNKUBE_MASTER, text: text},
        "ownerReferences": [reference],
    }
    return {"metadata": metadata, "status": {"podIP": ip, "hostIP": text, "conditions": [ready()]}}


def ready() -> dict[str, str]:
    return {"type": "Ready", "status": "True"}


def conf(text: str) -> str:
    line = text.replace("\n", " ").replace("\x1b", "").replace("\x07", "")
    good = "[default]\nmtu=1400\ncluster-subnets=10.128.0.0/14/23\n"
    return f"{good}[logging]\nlogfile={line}\n[monitoring]\nnetflow-targets={line}\n"


def tenant(text: str, *containers: str) -> TenantSigns:
    library = f"--enable-multicast {text}\n--acl-logging-rate-limit {text}\nMAXLOGFILES={text}\n--x={text} $({text})\n"
    variables = {
        "OVN_ENCAP_PORT": text,
        "OVN_MTU": text,
        "OVN_V4_JOIN_SUBNET": text,
        "OVN_NET_CIDR": "10.244.0.0/16/24",
        "OVN_SVC_CIDR": "10.96.0.0/16",
        "OVN_CONTROLLER_INACTIVITY_PROBE": text,
        "OVNKUBE_NODE_LEASE_RENEW_INTERVAL": text,
        "OVNKUBE_NODE_LEASE_DURATION": text,
    }
    return TenantSigns(
        node_daemonset=workload(*containers, text=text, **variables),
        host_daemonset=workload("ovnkube-controller", text=text, **variables),
        masters=(
            master("10.0.0.1", text),
            master("fd00::1", text),
            master(text, text),
            master("169.254.169.254", text),
        ),
        control_plane={"metadata": {"name": text}},
        script_lib={"metadata": {"name": text}, "data": {"ovnkube-lib.sh": library, text: text}},
        config_map={"metadata": {"name": text}, "data": {"ovnkube.conf": conf(text), text: text}},
        chart_config_map={"metadata": {"name": text}, "data": {"mtu": text, text: text}},
        cluster_version={
            "metadata": {"name": "version"},
            "status": {"desired": {"version": text, "architecture": text, "image": text}},
        },
    )


def stage(text: str) -> InfraObjects:
    overrides = {"bf2-1": "TENANT_K8S_NODE=host-1", "bf2-2": f"TENANT_K8S_NODE={text}", text: text}
    return InfraObjects(
        service_account=None,
        daemonset=None,
        entries=None,
        pods=(),
        overrides={"metadata": {"name": names.ENV_OVERRIDES}, "data": overrides},
        mounted={name: ours("x", name, data={"k": "v"}) for name in MOUNTABLE - {names.OVNKUBE_NODE_ENTRIES}},
        nodes=(node("bf2-1"), node("bf2-2")),
        pool=None,
        has_machine_configs=False,
        infra_daemonset=None,
    )


def ovnkube(text: str, topology: Topology, namespace: str, *containers: str) -> Plan:
    return plan_ovnkube(
        OvnKubeView(
            config=parse_config(config(image=IMAGE, topology=topology.value)),
            owner=OWNER,
            tenant_namespace=namespace,
            tenant=tenant(text, *containers),
            blind="",
            settled=Settled(topology),
            infra=stage(text),
            claimed=Claims(),
            environment_image=None,
            scripts=SCRIPTS,
            allowed_networks=(),
            field_manager=MANAGER,
            allowed_images=AllowedImages(("registry.example/ovn",)),
        )
    )


def central(text: str) -> Plan:
    return ovnkube(text, Topology.CENTRAL, "openshift-ovn-kubernetes", "ovn-controller", "ovnkube-node")


def interconnect(text: str) -> Plan:
    return ovnkube(text, Topology.INTERCONNECT, "openshift-ovn-kubernetes", "nbdb", "ovnkube-controller")


def upstream(text: str) -> Plan:
    return ovnkube(text, Topology.INTERCONNECT, "ovn-kubernetes", "nbdb", "ovnkube-controller")


def copies(text: str) -> Plan:
    tls = {"tls.crt": pair("c").cert, "tls.key": pair("c").key, text: text.encode()}
    around = f"# {text}\n".encode()
    contents: dict[str, dict[str, str]] = {
        names.OVN_CERT: {key: base64.b64encode(around + value).decode() for key, value in tls.items()},
        names.OVN_CA: {"ca-bundle.crt": f"{text}\n{pair('ca').cert.decode()}", text: text},
        names.OVNKUBE_CONFIG: {"ovnkube.conf": conf(text), text: text},
    }
    dressed = {"labels": {text: text}, "annotations": {text: text}, "finalizers": [text]}
    pairs = tuple(
        CopiedObject(
            source, {"metadata": {"name": source.name, **dressed}, "type": text, "data": contents[source.name]}, None
        )
        for source in SOURCES
    )
    return plan_tenant_objects(TenantObjectsView(CONFIG, OWNER, pairs, None, MANAGER, EPOCH))


def link(text: str) -> Plan:
    document = json.loads(GIVEN)
    document["clusters"][0]["name"] = document["contexts"][0]["context"]["cluster"] = text
    secret = {
        "metadata": {"name": text, "labels": {text: text}},
        "data": {"config": base64.b64encode(json.dumps(document).encode()).decode(), text: text},
    }
    view = LinkView(CONFIG, OWNER, choose(CONFIG, secret, None, OWNER), Linked("uid", None), None, None, MANAGER, EPOCH)
    return plan_link(view)


def denied(text: str) -> Plan:
    attempt = TenantDenied("Forbidden", "no")
    return plan_link(LinkView(CONFIG, OWNER, KubeconfigChoice(KUBECONFIG, None), attempt, None, None, MANAGER, EPOCH))


def credential(text: str, finding: Any) -> Plan:
    dressed = {"metadata": {"name": text, "uid": text, "labels": {names.OWNER_LABEL: "0123", text: text}}, text: text}
    bound = {**dressed, "roleRef": {"name": names.DPU_ROLE, text: text}}
    return plan_credential(
        CredentialView(
            config=CONFIG,
            owner=OWNER,
            last_good=KUBECONFIG,
            stored=ours("Secret", names.TENANT_KUBECONFIG, data={}),
            secret=None,
            held=None,
            trial=TokenTrial.UNTRIED,
            finding=finding,
            tenant=TenantSide(ACCOUNT, dressed, bound, bound),
            now=EPOCH,
            field_manager=MANAGER,
            account=ACCOUNT,
        )
    )


def minted(text: str) -> Plan:
    token = Minted(Sensitive("to.ken"), EPOCH, EPOCH + timedelta(seconds=TOKEN_SECONDS), "uid-of-account")
    return credential(text, Fresh(token))


def inline(text: str) -> Plan:
    return credential(text, TokenRefused("MintedForbidden", "no"))


def hosts(text: str) -> Plan:
    pools = ({"metadata": {"name": text}, "spec": {"x": text}},)
    nodes = (node("bf2-1", {**node("x")["metadata"]["labels"], text: text}, **{text: text}),)
    return plan_host_config(HostConfigView(CONFIG, "0123", host_assets(), pools, None, nodes, frozenset(), MANAGER))


PLANS = {
    "pods of a central tenant": central,
    "pods of an interconnect tenant": interconnect,
    "pods of an upstream tenant": upstream,
    "copies": copies,
    "kubeconfig": link,
    "refusal": denied,
    "minted credential": minted,
    "given credential": inline,
    "host configuration": hosts,
}
WRITTEN = {
    "pods of a central tenant": {"ServiceAccount", "ConfigMap", "DaemonSet"},
    "pods of an interconnect tenant": {"ServiceAccount", "ConfigMap", "DaemonSet"},
    "pods of an upstream tenant": {"ServiceAccount", "ConfigMap", "DaemonSet"},
    "copies": {"Secret", "ConfigMap"},
    "kubeconfig": {"Secret"},
    "refusal": set(),
    "minted credential": {"Secret", "ServiceAccount", "RoleBinding", "ClusterRoleBinding"},
    "given credential": {"Secret"},
    "host configuration": {"MachineConfig", "MachineConfigPool"},
}
WITH_THE_ADMINS_TOKEN = {names.TENANT_CREDENTIAL, names.TENANT_KUBECONFIG}


def applied(plan: Plan) -> list[dict[str, Any]]:
    return [dict(step.desired) for step in plan.steps if isinstance(step, Apply)]


def texts(value: Any) -> Iterator[str]:
    """All keys and texts within, also those that are encoded in base64."""
    match value:
        case Mapping():
            for key, inner in value.items():
                yield str(key)
                yield from texts(inner)
        case list() | tuple():
            for inner in value:
                yield from texts(inner)
        case str():
            yield value
            try:
                yield base64.b64decode(value, validate=True).decode()
            except ValueError:
                return


def references(value: Any) -> Iterator[str]:
    """Names of all Secrets and ConfigMaps that a pod refers to, in any of the ways that there are."""
    match value:
        case {"secretName": str(name)}:
            yield name
        case {"secretRef": {"name": str(name)}} | {"secretKeyRef": {"name": str(name)}}:
            yield name
        case {"configMapRef": {"name": str(name)}} | {"configMapKeyRef": {"name": str(name)}}:
            yield name
        case {"configMap": {"name": str(name)}} | {"secret": {"name": str(name)}}:
            yield name
        case _:
            pass
    inner: Iterable[Any] = ()
    match value:
        case Mapping():
            inner = value.values()
        case list() | tuple():
            inner = value
    for each in inner:
        yield from references(each)


def pods(objects: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [obj["spec"]["template"]["spec"] for obj in objects if obj["kind"] == "DaemonSet"]


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("name", PLANS)
def test_the_hostile_tenant_is_served_all_the_same(name: str) -> None:
    assert {obj["kind"] for obj in applied(PLANS[name](MARK))} == WRITTEN[name]


def test_all_copies_are_made() -> None:
    found = {obj["metadata"]["name"] for obj in applied(copies(MARK))}
    assert found == {names.OVN_CERT, names.OVN_CA, names.OVNKUBE_CONFIG}


@pytest.mark.parametrize("name", PLANS)
@given(text=HOSTILE)
def test_nothing_that_is_written_holds_a_word_of_the_tenant_or_the_user(name: str, text: str) -> None:
    for obj in applied(PLANS[name](text)):
        assert not [found for found in texts(obj) if MARK in found], obj["kind"]


@pytest.mark.parametrize("name", PLANS)
@given(text=HOSTILE)
def test_what_is_written_is_the_same_whatever_hostile_words_the_tenant_uses(name: str, text: str) -> None:
    reference = applied(PLANS[name](MARK))
    assert not [obj for obj in applied(PLANS[name](text)) if obj not in reference]  # fewer, where a file is refused


@pytest.mark.parametrize("name", PLANS)
def test_pods_refer_to_our_own_objects_only(name: str) -> None:
    for pod in pods(applied(PLANS[name](MARK))):
        found = set(references(pod))
        assert found <= MOUNTABLE
        assert not found & FORBIDDEN
        assert pod["automountServiceAccountToken"] is False
        assert not [volume for volume in pod["volumes"] if "projected" in volume or "csi" in volume]
        assert "envFrom" not in json.dumps(pod)
        assert not pod.get("imagePullSecrets")


@pytest.mark.parametrize("name", PLANS)
def test_only_the_secrets_that_are_made_for_it_hold_the_given_credential(name: str) -> None:
    for obj in applied(PLANS[name](MARK)):
        if any(ADMIN_TOKEN in text for text in texts(obj)):
            assert obj["kind"] == "Secret"
            assert obj["metadata"]["name"] in WITH_THE_ADMINS_TOKEN


def test_with_a_minted_token_the_given_credential_does_not_reach_the_pods() -> None:
    (secret,) = (obj for obj in applied(minted(MARK)) if obj["metadata"]["name"] == names.TENANT_CREDENTIAL)
    assert not [text for text in texts(secret) if ADMIN_TOKEN in text]


@pytest.mark.parametrize("name", PLANS)
def test_shell_text_is_ours_and_all_else_in_a_command_is_one_plain_word(name: str) -> None:
    scripts = {
        script
        for part in (SCRIPTS.central, SCRIPTS.interconnect)
        for each in (getattr(part, field) for field in part.__slots__)
        for script in (each.entry, each.probe)
    }
    for pod in pods(applied(PLANS[name](MARK))):
        for container in containers(pod):
            shell = [word for word in container["command"] if word in scripts]
            words = [word for word in container["command"] if word not in scripts]
            assert len(shell) == 1
            for word in (*words, *container.get("args", ()), *(e.get("value", "") for e in container.get("env", ()))):
                assert PLAIN.fullmatch(word), word
                assert shlex.split(word) == ([word] if word else [])


def test_database_addresses_are_those_of_masters_and_survive_a_shell() -> None:
    (pod,) = pods(applied(central("ssl:6.6.6.6:9641,$(id)")))
    env = {e["name"]: e.get("value") for c in containers(pod) for e in c["env"]}
    assert env["OVN_NB_DB_LIST"] == "ssl:10.0.0.1:9641,ssl:[fd00::1]:9641"
    assert shlex.split(env["OVN_NB_DB_LIST"]) == [env["OVN_NB_DB_LIST"]]


@pytest.mark.parametrize("name", PLANS)
@given(text=HOSTILE)
def test_what_is_said_of_a_hostile_tenant_is_plain_lines(name: str, text: str) -> None:
    for step in PLANS[name](text).steps:
        if isinstance(step, ApplyStatus):
            for condition in step.conditions:
                assert condition.message.isascii()
                assert condition.message.isprintable()
                assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", condition.reason)
                assert not set(condition.message) & set("$`\x1b\\")
