"""What gets into a support archive: canaries at every place do not, and what is not in it is listed."""

from __future__ import annotations

import base64
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Any

import pytest

from dpunetop.app.commands import archive as archives
from dpunetop.app.commands import collect as collecting
from dpunetop.app.commands.archive import Archive
from dpunetop.app.commands.collect import Collector, Part
from dpunetop.app.commands.collected import COLLECTED, CollectedKind, Scope, in_a_namespace, in_no_namespace
from dpunetop.app.commands.kinds import KNOWN
from dpunetop.domain import names
from dpunetop.domain.support.scrubbing import Scrubber
from dpunetop.domain.support.shown import KINDS as KINDS_SHOWN
from dpunetop.domain.support.shown import shown
from dpunetop.kube.errors import Forbidden, NotFound
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, EVENTS, NODES, PODS, SECRETS, Resource
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import Selection
from support.clock import FakeClock
from support.lookedat import LookedAt
from support.objects import NAMESPACE, config, node

CANARIES = ["canary-in-secret-1", "Canary-in-config-map", "canaryInAnnotation", "canaryInEnv77", "canaryInLog88"]
IN_SECRET, IN_CONFIG_MAP, IN_ANNOTATION, IN_ENV, IN_LOG = CANARIES
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KINDS = (names.DPUCLUSTERCONFIGS, DAEMONSETS, PODS, CONFIGMAPS, SECRETS)


@dataclass
class Logged(LookedAt):
    """A cluster whose containers have printed something."""

    logs: dict[str, str] = field(default_factory=dict)

    def log(
        self, namespace: str, pod: str, container: str, lines: int, most_bytes: int, is_previous: bool = False
    ) -> str:
        name = f"{pod}/{container}{'.previous' if is_previous else ''}"
        self._ask(name)
        if name not in self.logs:
            raise NotFound(404, "NotFound", f"no log of {name}")
        return self.logs[name]


def annotated(obj: dict[str, Any]) -> dict[str, Any]:
    """As `kubectl apply` leaves it."""
    obj["metadata"].setdefault("annotations", {})[APPLIED] = json.dumps({"data": IN_ANNOTATION})
    return obj


def pod_spec() -> dict[str, Any]:
    secret = [{"name": "DB_DSN", "value": IN_ENV}, {"name": "OVN_KUBE_LOG_LEVEL", "value": "4"}]
    words = ["sh", "-c", f"export X={IN_ENV}"]
    container = {"name": "ovnkube-node", "image": "i", "env": secret, "command": words, "args": [f"--x={IN_ENV}"]}
    return {"nodeName": "dpu-1", "containers": [container], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}


def cluster() -> Logged:
    """Canaries wherever somebody may have put a secret; the one of the Secret is in everything else too."""
    found = Logged()
    stored = base64.b64encode(IN_SECRET.encode()).decode()
    found.put(SECRETS, [annotated(new_object(SECRETS, NAMESPACE, "s", type="Opaque", data={"token": stored}))])
    entries = {"dpu-1": "TENANT_K8S_NODE=host-1\n", "dpu-2": f"PASSWORD={IN_CONFIG_MAP}\n"}
    conf = {"ovnkube.conf": f'[default]\nmtu="1400"\nunheard-of="{IN_CONFIG_MAP}"\n', "other": IN_CONFIG_MAP}
    found.put(
        CONFIGMAPS,
        [
            annotated(new_object(CONFIGMAPS, NAMESPACE, names.ENV_OVERRIDES, data=entries)),
            annotated(new_object(CONFIGMAPS, NAMESPACE, names.OVNKUBE_CONFIG, data=conf)),
            annotated(new_object(CONFIGMAPS, NAMESPACE, "hers", data={"x": IN_CONFIG_MAP, "y": IN_SECRET})),
        ],
    )
    daemonset = new_object(DAEMONSETS, NAMESPACE, "ovnkube-node", spec={"template": {"spec": pod_spec()}})
    found.put(DAEMONSETS, [annotated(daemonset)])
    pod = annotated(new_object(PODS, NAMESPACE, "ovnkube-node-1", spec=pod_spec()))
    message = f"failed: password={IN_LOG}"
    state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
    pod["status"] = {"containerStatuses": [{"name": "ovnkube-node", "restartCount": 1, "state": state}]}
    found.put(PODS, [pod])
    found.put(NODES, [annotated(node("dpu-1"))])
    found.put(names.DPUCLUSTERCONFIGS, [annotated(config())])
    event = new_object(EVENTS, NAMESPACE, "e", type="Warning", reason="Failed", note=f"token: {IN_LOG} of {IN_SECRET}")
    found.put(EVENTS, [event])
    found.logs = {
        "ovnkube-node-1/ovnkube-node": f"began\nAuthorization: Bearer {IN_LOG}\nusing {IN_SECRET}\n",
        "ovnkube-node-1/ovnkube-node.previous": f"client-key-data: {IN_LOG}\n",
    }
    return found


def collected(client: Logged, clock: FakeClock | None = None) -> dict[str, str]:
    """The archive, by path within its folder."""
    collector, file = Collector(clock or FakeClock()), io.BytesIO()
    part = Part("infra", client, (Selection(NODES),), ((NAMESPACE, KINDS),))
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        made = collector.archive(tar, [part], 0.0)
        collector.put(made, [part])
        made.close()
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:gz") as tar:
        assert {member.mode for member in tar.getmembers()} == {0o600}
        return {
            each.name.removeprefix("dpunetop-support/"): content.read().decode()
            for each in tar.getmembers()
            if (content := tar.extractfile(each)) is not None
        }


@pytest.mark.parametrize("canary", CANARIES)
def test_no_canary_gets_in_in_any_form(canary: str) -> None:
    whole = "\n".join(f"{path}\n{text}" for path, text in collected(cluster()).items())
    assert canary not in whole
    assert base64.b64encode(canary.encode()).decode() not in whole


def test_of_each_kind_that_the_operator_knows_it_is_decided_whether_it_is_taken() -> None:
    assert set(COLLECTED) == KNOWN


TAKEN = {resource: taken for resource, taken in COLLECTED.items() if isinstance(taken, CollectedKind)}


@pytest.mark.parametrize("resource", TAKEN, ids=str)
def test_what_is_taken_of_a_kind_is_shown_without_what_nobody_vouches_for(resource: Resource) -> None:
    assert resource.kind in KINDS_SHOWN
    strange = {"data": {"x": IN_CONFIG_MAP}, "stringData": {"y": IN_SECRET}, "unheard-of": {"z": [IN_ENV]}}
    obj = annotated({**new_object(resource, NAMESPACE if resource.namespaced else "", "canary"), **strange})
    obj["metadata"]["unheard-of"] = obj["metadata"]["annotations"]["her.example/token"] = IN_LOG
    told = json.dumps(shown(obj))
    assert [each for each in CANARIES if each in told] == []
    assert '"name": "canary"' in told


def test_each_place_where_objects_are_taken_is_looked_at() -> None:
    places = {where for taken in TAKEN.values() for where in taken.where}
    listed = {(where, each.resource) for where in (Scope.INFRA, Scope.TENANT) for each in in_no_namespace(where)}
    listed |= {(where, each) for where in (Scope.OPERATOR, Scope.SERVED, Scope.OVN) for each in in_a_namespace(where)}
    assert places == set(Scope)
    assert listed == {(where, each) for each in TAKEN for where in TAKEN[each].where}
    assert {each for where, each in listed if where in (Scope.INFRA, Scope.TENANT) and each.namespaced} == set()


def test_of_a_secret_the_keys_and_lengths_get_in() -> None:
    shown = json.loads(collected(cluster())[f"infra/{NAMESPACE}/secrets/s.json"])
    assert shown["data"] == {"token": f"<{len(base64.b64encode(IN_SECRET.encode()))} characters>"}
    assert shown["metadata"]["annotations"] == {APPLIED: f"<{len(json.dumps({'data': IN_ANNOTATION}))} characters>"}


def test_what_a_reader_needs_gets_in() -> None:
    found = collected(cluster())
    overrides = json.loads(found[f"infra/{NAMESPACE}/configmaps/env-overrides.json"])["data"]
    assert overrides["dpu-1"] == {names.TENANT_NODE_ENV: "host-1"}
    conf = json.loads(found[f"infra/{NAMESPACE}/configmaps/ovnkube-config.json"])["data"]["ovnkube.conf"]
    assert conf["default/mtu"] == "1400"
    pod = json.loads(found[f"infra/{NAMESPACE}/pods/ovnkube-node-1.json"])
    [container] = pod["spec"]["containers"]
    assert {"name": "OVN_KUBE_LOG_LEVEL", "value": "4"} in container["env"]
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert "began" in found[f"infra/{NAMESPACE}/logs/ovnkube-node-1/ovnkube-node.log"]
    assert json.loads(found["releases.json"])["infra"] == "v1.33.1"
    assert json.loads(found[f"infra/{NAMESPACE}/events.json"])[0]["reason"] == "Failed"


def test_a_forbidden_read_is_listed_and_the_rest_is_collected() -> None:
    client = cluster()
    client.forbidden |= {Selection(SECRETS, NAMESPACE), "ovnkube-node-1/ovnkube-node"}
    found = collected(client)
    assert "infra: secrets/dpu-one: 403" in found["left-out.txt"]
    assert "logs/ovnkube-node-1/ovnkube-node.log: 403" in found["left-out.txt"]
    assert f"infra/{NAMESPACE}/logs/ovnkube-node-1/ovnkube-node.previous.log" in found


def test_reads_that_the_time_did_not_allow_are_listed() -> None:
    class Slow(Logged):
        clock = FakeClock()

        def _ask(self, what: object) -> None:
            self.clock.step(collecting.SECONDS / 4)
            super()._ask(what)

    client = Slow(dict(cluster().objects))
    found = collected(client, client.clock)
    assert "300 s were over" in found["left-out.txt"]
    assert "infra/nodes/dpu-1.json" in found


def test_a_long_log_loses_its_beginning_and_the_archive_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_FILE_BYTES", 100)
    monkeypatch.setattr(archives, "MOST_BYTES", 300)
    with tarfile.open(fileobj=io.BytesIO(), mode="w:gz") as tar:
        archive = Archive(tar, Scrubber(), "f", 0.0)
        archive.text("a.log", "old " * 100 + "newest")
        archive.text("b.log", "old " * 100 + "newest")
        archive.text("c.log", "old " * 100 + "newest")
    assert archive.left_out == [
        "a.log: all but its last 0 KiB",
        "b.log: all but its last 0 KiB",
        "c.log: all but its last 0 KiB",
        "c.log: the archive holds 0 MiB already",
    ]


def test_too_many_objects_and_logs_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "MOST_OBJECTS", 2)
    monkeypatch.setattr(collecting, "MOST_LOGS", 1)
    found = collected(cluster())
    assert "infra: configmaps/dpu-one: all but the first 2" in found["left-out.txt"]
    assert "ovnkube-node.previous.log: there are 1 logs already" in found["left-out.txt"]


def test_a_server_that_refuses_all_leaves_an_archive_that_says_so() -> None:
    client = cluster()
    collected(client)
    client.forbidden |= set(client.asked)
    found = collected(client)
    assert set(found) >= {"left-out.txt", "releases.json"}
    assert found["left-out.txt"].count("403") > 5
    assert Forbidden.__name__ not in found["releases.json"]
