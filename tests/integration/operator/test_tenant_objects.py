"""What comes from the tenant: its changes arrive, its absences do not, and what is not listed stays behind."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.domain.ovnkube.pod import newest_template, proven_template
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, NODES, PODS, SECRETS, Resource
from dpunetop.kube.meta import name_of, new_object
from dpunetop.sandbox import seed
from dpunetop.sandbox.pki import Authority
from dpunetop.sandbox.world import World
from support.trial import Trial, decoded, eventually

pytestmark = pytest.mark.timeout(600)

ARRIVAL_SECONDS = 60.0


def new_certificate() -> dict[str, str]:
    """Content of another `ovn-cert`."""
    pair = Authority("ovn-next").client("ovn")
    return {
        "tls.crt": base64.b64encode(pair.certificate).decode(),
        "tls.key": base64.b64encode(pair.key).decode(),
    }


def change(trial: Trial, resource: Resource, name: str, data: Mapping[str, Any]) -> None:
    """Change keys of one of the tenant's objects."""
    trial.tenant.patch(trial.tenant_path(resource, name), {"data": dict(data)})


def data_of(trial: Trial, resource: Resource, name: str) -> dict[str, Any]:
    """The content of our copy."""
    return dict(trial.get(resource, name).get("data") or {})


def change_mtu(trial: Trial) -> None:
    """Change the tenant's configuration."""
    change(trial, CONFIGMAPS, names.OVNKUBE_CONFIG, {"ovnkube.conf": "[default]\nmtu=1300\n"})


def wait_for_mtu(trial: Trial) -> None:
    """Wait until that change is here."""
    copy = trial.path(CONFIGMAPS, names.OVNKUBE_CONFIG)
    trial.infra.wait_for(copy, lambda obj: "mtu=1300" in obj["data"]["ovnkube.conf"], ARRIVAL_SECONDS)


def daemonset(trial: Trial) -> dict[str, Any]:
    """Our DaemonSet."""
    return trial.get(DAEMONSETS, names.OVNKUBE_NODE)


def rolled_once(trial: Trial, world: World, mark: int, generation: int) -> None:
    """Wait until the pods were rolled, and see that the DaemonSet was written once for it, and once to note that a DPU
    serves with its template."""
    trial.infra.wait_for(
        trial.path(DAEMONSETS, names.OVNKUBE_NODE),
        lambda obj: obj["metadata"]["generation"] > generation and proven_template(obj) == newest_template(obj),
    )
    trial.wait("Ready", "True")
    assert daemonset(trial)["metadata"]["generation"] == generation + 1
    account = f"system:serviceaccount:{seed.OPERATOR_NAMESPACE}:{seed.OPERATOR_ACCOUNT}"
    patches = world.infra.audit_events(user=account, verb="patch", since=mark)
    writes = [event for event in patches if event["objectRef"]["resource"] == "daemonsets"]
    assert len([event for event in writes if event["objectRef"]["namespace"] == trial.namespace]) == 2


def changes() -> dict[str, tuple[Resource, str, dict[str, str]]]:
    """A change of each object that is copied."""
    return {
        "certificate": (SECRETS, names.OVN_CERT, new_certificate()),
        "authority": (CONFIGMAPS, names.OVN_CA, {"ca-bundle.crt": Authority("ovn-next").pem.decode()}),
        "configuration": (CONFIGMAPS, names.OVNKUBE_CONFIG, {"ovnkube.conf": "[default]\nmtu=1300\n"}),
    }


@pytest.mark.parametrize("which", ["certificate", "authority", "configuration"])
def test_a_change_in_the_tenant_arrives_and_rolls_the_pods_once(trial: Trial, world: World, which: str) -> None:
    resource, name, data = changes()[which]
    trial.ready()
    generation, pods, mark = daemonset(trial)["metadata"]["generation"], trial.pods(), world.infra.audit_mark()
    before = data_of(trial, resource, name)
    change(trial, resource, name, data)
    eventually(lambda: data_of(trial, resource, name), lambda seen: seen != before, ARRIVAL_SECONDS)
    rolled_once(trial, world, mark, generation)
    eventually(trial.pods, lambda seen: [p["metadata"]["uid"] for p in seen] != [p["metadata"]["uid"] for p in pods])


def test_all_three_at_once_arrive_whole(trial: Trial) -> None:
    trial.ready()
    for resource, name, data in changes().values():
        change(trial, resource, name, data)
    eventually(
        lambda: data_of(trial, CONFIGMAPS, names.OVNKUBE_CONFIG), lambda seen: "1300" in str(seen), ARRIVAL_SECONDS
    )
    trial.wait("Ready", "True")
    tenants = trial.tenant.get(trial.tenant_path(SECRETS, names.OVN_CERT))
    eventually(
        lambda: decoded(trial.get(SECRETS, names.OVN_CERT), "tls.crt"),
        decoded(tenants, "tls.crt").__eq__,
        ARRIVAL_SECONDS,
    )


@pytest.mark.parametrize(
    ("resource", "name", "words"),
    [
        (SECRETS, names.OVN_CERT, "the tenant's Secret ovn-cert does not exist"),
        (CONFIGMAPS, names.OVN_CA, "the tenant's ConfigMap ovn-ca does not exist"),
        (CONFIGMAPS, names.OVNKUBE_CONFIG, "the tenant's ConfigMap ovnkube-config does not exist"),
    ],
    ids=["certificate", "authority", "configuration"],
)
def test_what_the_tenant_deletes_is_kept_here(trial: Trial, resource: Resource, name: str, words: str) -> None:
    trial.ready()
    before = trial.dpu_status()
    place = trial.tenant_path(resource, name)
    old = trial.tenant.get(place)
    trial.tenant.delete(place)
    said = trial.wait("TenantObjsSynced", "False", "NotFound")
    assert said["message"] == f"{words}. The last good copies stay"
    trial.wait_event("NotFound", words)
    assert trial.dpu_status() == before
    trial.world.tenant.apply(new_object(resource, trial.tenant_namespace, name, data=old["data"], **_type(old)))
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before


def _type(obj: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": obj["type"]} if "type" in obj else {}


@pytest.mark.parametrize(
    ("resource", "name", "data", "words"),
    [
        (SECRETS, names.OVN_CERT, {"tls.key": new_certificate()["tls.key"]}, "tls.key does not belong to tls.crt"),
        (SECRETS, names.OVN_CERT, {"tls.crt": ""}, "tls.crt"),
        (CONFIGMAPS, names.OVN_CA, {"ca-bundle.crt": "no certificate"}, "ca-bundle.crt"),
        (CONFIGMAPS, names.OVNKUBE_CONFIG, {"ovnkube.conf": None}, "has no key ovnkube.conf"),
    ],
    ids=["key of another", "without certificate", "no authority", "without configuration"],
)
def test_what_the_tenant_spoils_stays_there(
    trial: Trial, resource: Resource, name: str, data: dict[str, Any], words: str
) -> None:
    trial.ready()
    before, good = trial.dpu_status(), trial.tenant.get(trial.tenant_path(resource, name))["data"]
    change(trial, resource, name, data)
    said = trial.wait("TenantObjsSynced", "False", "Invalid")
    assert words in said["message"]
    assert said["message"].endswith("The last good copies stay")
    assert trial.dpu_status() == before
    change(trial, resource, name, good)
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before


def test_what_is_not_listed_stays_behind(trial: Trial) -> None:
    for resource, name in ((SECRETS, names.OVN_CERT), (CONFIGMAPS, names.OVN_CA), (CONFIGMAPS, names.OVNKUBE_CONFIG)):
        more = {"metadata": {"labels": {"theirs": "yes"}, "annotations": {"theirs": "yes"}}, "data": {"more": "eA=="}}
        trial.tenant.patch(trial.tenant_path(resource, name), more)
    hostile = (
        "[default]\nmtu=1400\n[logging]\nlogfile=/etc/shadow\n[kubernetes]\nkubeconfig=/etc/kubernetes/admin.conf\n"
    )
    change(trial, CONFIGMAPS, names.OVNKUBE_CONFIG, {"ovnkube.conf": hostile})
    trial.ready()
    assert set(data_of(trial, SECRETS, names.OVN_CERT)) == {"tls.crt", "tls.key"}
    assert set(data_of(trial, CONFIGMAPS, names.OVN_CA)) == {"ca-bundle.crt"}
    configuration = data_of(trial, CONFIGMAPS, names.OVNKUBE_CONFIG)
    assert set(configuration) == {"ovnkube.conf"}
    assert "mtu=1400" in configuration["ovnkube.conf"]
    assert "/etc/" not in configuration["ovnkube.conf"]
    copies = [(SECRETS, names.OVN_CERT), (CONFIGMAPS, names.OVN_CA), (CONFIGMAPS, names.OVNKUBE_CONFIG)]
    for metadata in (trial.get(*each)["metadata"] for each in copies):
        assert "theirs" not in {**metadata["labels"], **metadata.get("annotations", {})}


def test_a_change_of_what_is_not_listed_rolls_nobody(trial: Trial) -> None:
    trial.ready()
    before = trial.dpu_status()
    change(trial, CONFIGMAPS, names.OVNKUBE_CONFIG, {"more": "x"})
    change(trial, CONFIGMAPS, names.OVN_CA, {"more": "x", "ca-bundle.crt": _commented(trial)})
    change(trial, SECRETS, names.OVN_CERT, {"ca.crt": "eA=="})
    trial.tenant.delete(trial.tenant_path(CONFIGMAPS, names.OVNKUBE_CONFIG))
    trial.wait("TenantObjsSynced", "False", "NotFound")  # told after the others, so they have been seen
    assert trial.dpu_status() == before


def _commented(trial: Trial) -> str:
    bundle = trial.tenant.get(trial.tenant_path(CONFIGMAPS, names.OVN_CA))["data"]["ca-bundle.crt"]
    return f"# a comment\n{bundle}"


# --- where the databases are ------------------------------------------------------------------------------------------


def databases(trial: Trial) -> list[str]:
    """Hosts of the northbound databases, as the pods are told, in order."""
    template = daemonset(trial)["spec"]["template"]["spec"]
    values = {v["value"] for c in template["containers"] for v in c.get("env", []) if ":9641" in str(v.get("value"))}
    assert len(values) == 1, values
    return [member.removeprefix("ssl:").removesuffix(":9641") for member in values.pop().split(",")]


def masters(trial: Trial) -> list[dict[str, Any]]:
    """Pods of the tenant's masters."""
    path = f"/api/v1/namespaces/{trial.tenant_namespace}/pods"
    return trial.tenant.list_all(path, labelSelector=f"app={names.OVNKUBE_MASTER}")


@pytest.fixture
def own_masters(trial: Trial, world: World) -> Iterator[Callable[[str], None]]:
    """Makes nodes for masters of this tenant alone, which then has no others."""
    made: list[str] = []

    def add(name: str) -> None:
        made.append(name)
        node = new_object(NODES, "", name)
        node["metadata"]["labels"] = {trial.label: "", "node-role.kubernetes.io/master": ""}
        world.tenant.apply(node)

    only = {"spec": {"template": {"spec": {"nodeSelector": {trial.label: ""}}}}}
    trial.tenant.patch(trial.tenant_path(DAEMONSETS, names.OVNKUBE_MASTER), only)
    eventually(lambda: masters(trial), lambda pods: not pods)
    yield add
    for name in made:
        with contextlib.suppress(NotFound):
            world.tenant.admin.delete(f"/api/v1/nodes/{name}")


def test_a_master_that_is_replaced_is_followed_with_one_roll(
    trial: Trial, world: World, own_masters: Callable[[str], None]
) -> None:
    first, second, third = (f"{trial.pool}-master{number}" for number in range(3))
    own_masters(first)
    own_masters(second)
    eventually(lambda: [pod for pod in masters(trial) if pod["status"].get("podIP")], lambda pods: len(pods) == 2)
    trial.ready()
    before, generation, mark = databases(trial), daemonset(trial)["metadata"]["generation"], world.infra.audit_mark()
    assert before == sorted(before, key=lambda host: [int(part) for part in host.split(".")])
    assert len(before) == 2
    (lost,) = [pod for pod in masters(trial) if pod["spec"]["nodeName"] == second]
    world.tenant.admin.delete(f"/api/v1/nodes/{second}")
    place = trial.tenant_path(PODS, lost["metadata"]["name"])
    with contextlib.suppress(NotFound):
        trial.tenant.delete(place, {"gracePeriodSeconds": 0})
    trial.tenant.wait_for(place, lambda obj: not obj)
    own_masters(third)
    after = eventually(lambda: databases(trial), lambda hosts: hosts != before)
    assert len(after) == 2
    assert lost["status"]["podIP"] not in after
    rolled_once(trial, world, mark, generation)


def test_masters_that_are_rolled_one_by_one_roll_nobody_here(trial: Trial, world: World) -> None:
    trial.ready()
    before, generation, mark = databases(trial), daemonset(trial)["metadata"]["generation"], world.infra.audit_mark()
    for pod in masters(trial):
        place = trial.tenant_path(PODS, pod["metadata"]["name"])
        trial.tenant.delete(place)
        trial.tenant.wait_for(place, lambda obj: not obj)
    change_mtu(trial)
    wait_for_mtu(trial)
    rolled_once(trial, world, mark, generation)
    assert databases(trial) == before


def test_masters_that_all_vanish_leave_the_last_list(trial: Trial, world: World) -> None:
    trial.ready()
    before, generation, mark = databases(trial), daemonset(trial)["metadata"]["generation"], world.infra.audit_mark()
    trial.tenant.patch(
        trial.tenant_path(DAEMONSETS, names.OVNKUBE_MASTER),
        {"spec": {"template": {"spec": {"nodeSelector": {"nowhere": "yes"}}}}},
    )
    eventually(lambda: masters(trial), lambda pods: not pods)
    change_mtu(trial)
    wait_for_mtu(trial)
    rolled_once(trial, world, mark, generation)
    assert databases(trial) == before


def test_a_pod_that_calls_itself_a_master_does_not_join_the_list(trial: Trial) -> None:
    trial.ready()
    before = databases(trial)
    owner = trial.tenant.get(trial.tenant_path(CONFIGMAPS, names.OVN_CA))["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": names.OVN_CA, "uid": owner, "controller": True}
    pod = new_object(PODS, trial.tenant_namespace, "stranger", spec={"containers": [{"name": "x", "image": "x"}]})
    pod["metadata"] |= {"labels": {"app": names.OVNKUBE_MASTER}, "ownerReferences": [reference]}
    trial.world.tenant.apply(pod)
    status = {"phase": "Running", "podIP": "10.6.6.6", "podIPs": [{"ip": "10.6.6.6"}]}
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    trial.tenant.patch(f"{trial.tenant_path(PODS, 'stranger')}/status", {"status": {**status, **ready}})
    change_mtu(trial)
    wait_for_mtu(trial)
    trial.wait("Ready", "True")
    assert databases(trial) == before
    assert "stranger" in map(name_of, masters(trial))


# --- the topology -----------------------------------------------------------------------------------------------------


def test_a_tenant_on_its_way_between_topologies_changes_nothing_that_runs(trial: Trial) -> None:
    trial.ready()
    before = trial.dpu_status()
    sign = new_object(CONFIGMAPS, trial.tenant_namespace, names.OVNKUBE_SCRIPT_LIB, data={"x": "y"})
    trial.world.tenant.apply(sign)
    said = trial.wait("OvnKubeReady", "False", "TopologyMigrating")
    assert "ovnkube-script-lib exists" in said["message"]
    trial.wait_event("TopologyMigrating", "ovnkube-script-lib exists")
    assert trial.dpu_status() == before
    trial.tenant.delete(trial.tenant_path(CONFIGMAPS, names.OVNKUBE_SCRIPT_LIB))
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before
