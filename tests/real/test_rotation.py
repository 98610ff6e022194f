"""A new token reaches a running ovnkube; what it reads only once comes by a rollout, and packets pass meanwhile."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import LEASES, SERVICEACCOUNTS
from dpunetop.kube.meta import Obj, name_of, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.pki import Authority
from dpunetop.sandbox.realovnkube.testbed import RealTestbed
from dpunetop.sandbox.realovnkube.traffic import EchoClient, EchoServer
from dpunetop.sandbox.realovnkube.workload import wire
from support.measuring import Measured
from support.trial import Trial, encoded, eventually

pytestmark = pytest.mark.timeout(400)

PORT = 8081
SLOW = 120.0
CREDENTIAL = "authentication.kubernetes.io/credential-id"


def processes(testbed: RealTestbed) -> dict[str, int | None]:
    return {name: status.process for pod in testbed.runtime.pods() for name, status in pod.statuses().items()}


def test_a_new_token_is_used_and_no_container_starts_again(
    testbed: RealTestbed, trial: Trial, host: Callable[[], Obj], measured: Measured
) -> None:
    before, mark, used = processes(testbed), testbed.world.tenant.audit_mark(), credentials(testbed, trial, 0)
    # Tokens of a ServiceAccount that is gone are no good from then on: harsher than one that runs out in a day.
    trial.tenant.delete(trial.tenant_path(SERVICEACCOUNTS, names.DPU_ACCOUNT))
    fresh = eventually(lambda: credentials(testbed, trial, mark) - used, bool, SLOW)
    measured(f"a token that is no good any more: {len(fresh)} new one in use, without a restart")
    until_renewed(trial, host)
    trial.wait("Ready", "True", within=SLOW)
    assert processes(testbed) == before


def test_another_authority_rolls_the_pod_and_packets_pass(
    testbed: RealTestbed, trial: Trial, host: Callable[[], Obj], measured: Measured
) -> None:
    wired = wire(testbed.host, trial.tenant, trial.tenant_namespace, "talks-on")
    fabric, [before] = testbed.dpu.addresses.fabric, trial.pods()
    with EchoServer(testbed.dpu.fabric, fabric, PORT):
        asking = EchoClient(wired.place, fabric, PORT)
        trial.store_kubeconfig(with_another_authority(trial.kubeconfig()))
        eventually(trial.pods, lambda pods: [uid_of(pod) for pod in pods] not in ([], [uid_of(before)]), SLOW)
        trial.wait("OvnKubeReady", "True", within=SLOW)
        until_renewed(trial, host)
        answers = asking.end()
    measured(f"a rollout: {answers.longest_gap_seconds} s without an answer, {answers.connections} connection")
    assert answers.count > 0, answers
    assert answers.connections == 1, answers


def with_another_authority(kubeconfig: dict[str, Any]) -> dict[str, Any]:
    """A kubeconfig that trusts one more authority, as while one is exchanged for another."""
    changed: dict[str, Any] = json.loads(json.dumps(kubeconfig))
    [entry] = changed["clusters"]
    both = decoded_authority(entry["cluster"]) + Authority("next").pem.decode()
    entry["cluster"]["certificate-authority-data"] = encoded(both)
    return changed


def decoded_authority(cluster: dict[str, Any]) -> str:
    return base64.b64decode(cluster["certificate-authority-data"]).decode()


def credentials(testbed: RealTestbed, trial: Trial, since: int) -> set[str]:
    """By which tokens the DPU was let in."""
    user = f"system:serviceaccount:{trial.tenant_namespace}:{names.DPU_ACCOUNT}"
    events = testbed.world.tenant.audit_events(user=user, since=since)
    let_in = [event for event in events if event.get("responseStatus", {}).get("code", 500) < 400]
    return {text for event in let_in for text in (event["user"].get("extra") or {}).get(CREDENTIAL, ())}


def until_renewed(trial: Trial, host: Callable[[], Obj]) -> None:
    """Wait until the Lease of the host has been renewed once more."""
    path = get(LEASES, trial.tenant_namespace, f"{names.LEASE_PREFIX}{name_of(host())}").target
    before = trial.tenant.get(path)["spec"]["renewTime"]
    eventually(lambda: trial.tenant.get(path)["spec"]["renewTime"], lambda now: now != before, SLOW)
