"""Credentials that change while work is under way, and a tenant that is exchanged for another cluster."""

from __future__ import annotations

import operator
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, SECRETS
from dpunetop.kube.meta import generation_of
from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.pki import Authority
from dpunetop.sandbox.standins.ovnkube import central_tenant
from dpunetop.sandbox.world import World
from support.audit import Asked, of_operator
from support.trial import Trial, decoded, eventually

ROTATIONS = 20
SWITCH_SECONDS = 60.0
COPY_SECONDS = 60.0
OURS = (names.TENANT_CREDENTIAL, names.TENANT_KUBECONFIG)
"""Secrets of ours that hold what was given."""


def held(trial: Trial) -> str:
    """What our Secrets hold of the given credential: the pods' kubeconfig names a file, where the token stands."""
    pods, operators = (trial.get(SECRETS, name) for name in OURS)
    return decoded(pods, names.CREDENTIAL_FILE_KEY) + decoded(operators, "kubeconfig")


def holds(token: str, times: int, found: str) -> bool:
    """Whether the token stands there that often."""
    return found.count(token) == times


def copied_authority(trial: Trial) -> str:
    """Infra's copy of the tenant's CA."""
    return str((trial.get(CONFIGMAPS, names.OVN_CA).get("data") or {}).get("ca-bundle.crt"))


def change_authority(trial: Trial) -> str:
    """Change the tenant's CA; its new content."""
    text = Authority("ovn-next").pem.decode()
    trial.tenant.patch(trial.tenant_path(CONFIGMAPS, names.OVN_CA), {"data": {"ca-bundle.crt": text}})
    return text


def writes(asked: list[Asked], trial: Trial, resource: str, *named: str) -> list[str]:
    """What of a kind was written for this tenant."""
    places = {f"{trial.namespace}/{name}" for name in named}
    return [a.place for a in asked if a.is_write and a.resource == resource and a.place in places and a.code < 400]


@pytest.mark.timeout(1200)
def test_twenty_rotations_under_way_switch_in_time_write_once_and_lose_nothing(trial: Trial, world: World) -> None:
    trial.ready()
    took: list[float] = []
    audit, generation = of_operator(world.infra), generation_of(trial.get(DAEMONSETS, names.OVNKUBE_NODE))
    for number in range(ROTATIONS):
        text = change_authority(trial) if number % 2 else copied_authority(trial)
        token = trial.token(3600 + number)
        began = time.monotonic()
        trial.store_kubeconfig(trial.kubeconfig(token=token))
        eventually(lambda: held(trial), partial(holds, token, 1), SWITCH_SECONDS)
        took.append(time.monotonic() - began)
        eventually(lambda: copied_authority(trial), partial(operator.eq, text), COPY_SECONDS)
    trial.wait("Ready", "True")
    asked = audit.requests()
    written = [len(writes(asked, trial, "secrets", name)) for name in OURS]
    assert max(written) == ROTATIONS  # the other one may pass over what has been replaced before it came to it
    rolls = generation_of(trial.get(DAEMONSETS, names.OVNKUBE_NODE)) - generation
    assert rolls <= ROTATIONS // 2  # one a CA; none a token
    noted = len(writes(asked, trial, "daemonsets", names.OVNKUBE_NODE)) - rolls
    assert noted <= rolls + 1  # of a template, once, that a DPU serves with it; of the first one, maybe here
    sys.stdout.write(f"switch: most {max(took):.2f} s, median {statistics.median(took):.2f} s\n")
    assert not [event for event in trial.events() if "TenantReachable is False" in event["note"]]


@pytest.mark.parametrize("choice", ["Auto", "Provided"])
def test_a_new_given_token_reaches_the_pods_and_rolls_nothing(trial: Trial, world: World, choice: str) -> None:
    trial.store_kubeconfig(trial.kubeconfig(token=trial.token(7200)))
    trial.store_overrides()
    trial.create_config(tenantCredential=choice)
    trial.settled()
    before, roll, audit = trial.dpu_status(), trial.roll_mark(), of_operator(world.infra)
    for number in range(3):
        token = trial.token(3600 + number)
        trial.store_kubeconfig(trial.kubeconfig(token=token))
        eventually(lambda: held(trial), partial(holds, token, len(OURS)), SWITCH_SECONDS)
    trial.store_overrides({**trial.entries(), "_later": ""})  # once that is told, nothing is under way
    eventually(lambda: trial.condition("OvnKubeReady")["message"], lambda message: "_later" in message)
    assert trial.roll_mark() == roll
    trial.wait("Ready", "True")
    assert writes(audit.requests(), trial, "daemonsets", names.OVNKUBE_NODE) == []
    changed = {place for place, mark in trial.dpu_status().items() if before.get(place) != mark}
    assert changed == {f"secrets/{name}" for name in OURS}


def test_another_layout_of_the_same_credential_writes_nothing(trial: Trial, world: World) -> None:
    token = trial.token()
    trial.store_kubeconfig(trial.kubeconfig(token=token))
    trial.store_overrides()
    trial.create_config()
    trial.settled()
    before, audit = trial.dpu_status(), of_operator(world.infra)
    for namespace in ("default", "kube-system", "default"):
        content: dict[str, Any] = dict(world.tenant.token_kubeconfig(token, namespace=namespace))
        content["preferences"] = {}
        trial.store_kubeconfig(content)
    text = change_authority(trial)  # what comes after has arrived, so nothing is under way
    eventually(lambda: copied_authority(trial), lambda found: found == text, COPY_SECONDS)
    asked = audit.requests()
    assert writes(asked, trial, "secrets", *OURS) == []
    changed = {
        place for place, mark in trial.dpu_status().items() if before.get(place) != mark and "pods/" not in place
    }
    assert changed <= {"configmaps/ovn-ca", "daemonsets/ovnkube-node"}


def test_a_bad_credential_between_two_good_ones_rolls_nothing(trial: Trial, world: World) -> None:
    trial.ready()
    good, before = trial.get(SECRETS, trial.names.secret)["data"], trial.roll_mark()
    audit = of_operator(world.infra)
    for _ in range(5):
        trial.store_kubeconfig(trial.kubeconfig(token="never.was.one"))
        trial.wait("CredentialsValid", "False", "Unauthorized")
        trial.store_secret(good)
        trial.wait("CredentialsValid", "True", within=SWITCH_SECONDS)
    asked = audit.requests()
    assert writes(asked, trial, "secrets", *OURS) == []
    assert writes(asked, trial, "daemonsets", names.OVNKUBE_NODE) == []
    assert trial.roll_mark() == before
    trial.wait("Ready", "True")


# --- another cluster --------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)
def test_nothing_of_a_tenant_that_was_exchanged_enters_and_nothing_is_written_to_it(
    trial: Trial, world: World, start_control_plane: Callable[[Spec], ControlPlane]
) -> None:
    other = start_control_plane(Spec("other", audit=True))
    other.apply(central_tenant(trial.tenant_namespace))
    account, token = _administrator(other)
    trial.ready()
    before, copies = trial.dpu_status(), copied_authority(trial)
    audit, mark = of_operator(world.infra), other.audit_mark()
    trial.store_kubeconfig(other.token_kubeconfig(token))
    condition = trial.wait("CredentialsValid", "False", "TenantSwapped")
    uid = other.admin.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
    assert uid in condition["message"]
    other.admin.patch(
        f"/api/v1/namespaces/{trial.tenant_namespace}/configmaps/{names.OVN_CA}",
        {"data": {"ca-bundle.crt": Authority("foreign").pem.decode()}},
    )
    assert trial.condition("TenantReachable")["status"] == "True"
    assert trial.dpu_status() == before
    assert copied_authority(trial) == copies
    text = change_authority(trial)  # the link that was before goes on
    eventually(lambda: copied_authority(trial), lambda found: found == text, COPY_SECONDS)
    assert writes(audit.requests(), trial, "secrets", *OURS) == []
    asked = [e for e in other.audit_events(user=account, since=mark) if e["stage"] == "ResponseComplete"]
    assert asked
    assert {(event["verb"], event["requestURI"]) for event in asked} == {("get", "/api/v1/namespaces/kube-system")}
    trial.store_kubeconfig()
    trial.wait("CredentialsValid", "True", within=SWITCH_SECONDS)
    trial.wait("Ready", "True")
    assert trial.config()["status"]["tenantUID"] != uid


def _administrator(cluster: ControlPlane) -> tuple[str, str]:
    """Someone who may do everything there; name and token."""
    api = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "namespace": "default", "name": "root"}
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "root", "namespace": "default"}},
            {
                "apiVersion": f"{api}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "root"},
                "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [subject],
            },
        ]
    )
    return "system:serviceaccount:default:root", cluster.service_account_token("default", "root")
