"""Who is paired with whom, where two places or two DpuClusterConfigs say different things."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, NODES
from dpunetop.kube.requests import get
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

NewTrial = Callable[..., Trial]


def read_by_pods(trial: Trial) -> dict[str, str]:
    """The entries that pods read, by DPU."""
    return dict(trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES).get("data") or {})


def entry(host: str) -> str:
    return f"{names.TENANT_NODE_ENV}={host}\n"


def annotate(trial: Trial, dpu: str, host: str | None) -> None:
    body = {"metadata": {"annotations": {names.TENANT_NODE_ANNOTATION: host}}}
    trial.infra.patch(get(NODES, "", dpu).target, body)


def protected(trial: Trial, dpu: str) -> str:
    """The host that the DPU's budget says it serves."""
    path = get(names.PODDISRUPTIONBUDGETS, "default", names.blocker_name(dpu)).target
    budget = trial.infra.get_or_empty(path)
    return str(((budget.get("metadata") or {}).get("annotations") or {}).get(names.SERVES_ANNOTATION, ""))


def test_a_conflict_keeps_a_pair_from_beginning_until_it_is_gone(trial: Trial) -> None:
    [(dpu, host)] = trial.names.pairs.items()
    annotate(trial, dpu, "another")
    trial.quick_start()
    said = trial.wait("OvnKubeReady", "False", "PairingConflict")["message"]
    assert all(word in said for word in (dpu, host, "another"))
    assert (read_by_pods(trial), protected(trial, dpu)) == ({}, "")
    annotate(trial, dpu, host)
    trial.wait("Ready", "True")
    assert protected(trial, dpu) == host


def test_an_entry_of_settings_alone_goes_with_the_annotation(trial: Trial) -> None:
    [(dpu, host)] = trial.names.pairs.items()
    tuning = "OVN_KUBE_LOG_LEVEL=5\n"
    trial.store_kubeconfig()
    trial.store_overrides({dpu: tuning})
    trial.create_config()
    assert "TENANT_K8S_NODE" in trial.wait("OvnKubeReady", "False", "EntryRejected")["message"]
    annotate(trial, dpu, host)
    trial.wait("Ready", "True")
    assert read_by_pods(trial) == {dpu: f"{entry(host)}{tuning}"}


def test_a_conflict_never_stops_a_pair_that_serves(trial: Trial) -> None:
    trial.ready()
    [(dpu, host)] = trial.names.pairs.items()
    before, uids = read_by_pods(trial), {pod["metadata"]["uid"] for pod in trial.pods()}
    annotate(trial, dpu, "Not A Name")
    trial.wait("OvnKubeReady", "False", "PairingConflict")
    annotate(trial, dpu, "another")
    eventually(lambda: trial.condition("OvnKubeReady")["message"], lambda text: "another" in text)
    assert (read_by_pods(trial), protected(trial, dpu)) == (before, host)
    annotate(trial, dpu, None)
    trial.wait("Ready", "True")
    assert {pod["metadata"]["uid"] for pod in trial.pods()} == uids


def test_a_host_that_another_has_comes_to_be_served_by_nobody_else(new_trial: NewTrial) -> None:
    first, second = new_trial(), new_trial()
    first.ready()
    [host] = first.names.pairs.values()
    [dpu] = second.names.pairs
    second.store_kubeconfig()
    second.store_overrides({dpu: entry(host)})
    second.create_config()
    said = second.wait("OvnKubeReady", "False", "PairingConflict")["message"]
    assert f"{first.namespace}/{first.names.name}" in said
    assert (read_by_pods(second), protected(second, dpu)) == ({}, "")
    assert first.condition("Ready")["status"] == "True"
    second.store_overrides()
    second.wait("Ready", "True")


def test_two_that_ask_for_one_host_at_once_both_wait(new_trial: NewTrial) -> None:
    first, second = new_trial(), new_trial()
    [host] = first.names.pairs.values()
    [dpu] = second.names.pairs
    for trial in (first, second):
        trial.store_kubeconfig()
    first.store_overrides()
    second.store_overrides({dpu: entry(host)})
    for trial in (first, second):
        trial.create_config()
    for trial in (first, second):
        trial.wait("TenantReachable", "True")
    served = eventually(
        lambda: [(t.condition("OvnKubeReady") or {}).get("reason") for t in (first, second)],
        lambda reasons: "PairingConflict" in reasons and None not in reasons,
    )
    assert "Serving" not in served or len(read_by_pods(first)) + len(read_by_pods(second)) == 1
    second.store_overrides()
    for trial in (first, second):
        trial.wait("Ready", "True")
    assert [read_by_pods(first), read_by_pods(second)] == [first.entries(), second.entries()]


def test_a_host_passes_on_to_the_other_dpu_with_an_entry_once_the_first_has_none_and_it_is_drained(
    new_trial: NewTrial,
) -> None:
    trial = new_trial(dpus=2)
    (one, host), (other, _) = sorted(trial.names.pairs.items())
    trial.store_kubeconfig()
    trial.store_overrides({one: entry(host), other: entry(host)})
    trial.create_config()
    eventually(lambda: read_by_pods(trial), lambda data: data == {one: entry(host)})
    eventually(lambda: (protected(trial, one), protected(trial, other)), lambda hosts: hosts == (host, host))
    trial.store_overrides({other: entry(host)})
    annotate(trial, one, host)  # what a DPU says of itself does not keep the host from the one with an entry
    told = trial.wait("OvnKubeReady", "False", "PairingConflict")["message"]
    assert f"{one}: annotation {names.TENANT_NODE_ANNOTATION} names {host}" in told
    assert f"gives to {other}" in told
    trial.wait("PairsHealthy", "False", "RemovalPending")
    assert read_by_pods(trial) == {one: entry(host)}
    trial.infra.patch(get(NODES, "", one).target, {"spec": {"unschedulable": True}})
    eventually(lambda: read_by_pods(trial), lambda data: not data)
    trial.infra.patch(get(NODES, "", one).target, {"spec": {"unschedulable": None}})
    eventually(lambda: read_by_pods(trial), lambda data: data == {other: entry(host)})
    path = get(names.NODEMAINTENANCES, "", names.maintenance_name(host)).target
    eventually(lambda: trial.tenant.get_or_empty(path), lambda found: not found)
    eventually(lambda: (protected(trial, one), protected(trial, other)), lambda hosts: hosts == ("", host))
    node = trial.tenant.get_or_empty(get(NODES, "", host).target)
    assert not (node.get("spec") or {}).get("unschedulable")


def test_of_two_dpus_in_a_host_one_serves_and_the_other_counts_for_its_drains(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=2)
    (one, host), (other, _) = sorted(trial.names.pairs.items())
    trial.store_kubeconfig()
    trial.store_overrides({one: entry(host), other: entry(host)})
    trial.create_config()
    eventually(lambda: (protected(trial, one), protected(trial, other)), lambda hosts: hosts == (host, host))
    eventually(lambda: read_by_pods(trial), lambda data: data == {one: entry(host)})
    said = trial.wait("OvnKubeReady", "False", "HostServedByOther")["message"]
    assert f"{other} does not serve {host}, because {one} does" in said
    trial.infra.patch(get(NODES, "", other).target, {"spec": {"unschedulable": True}})
    path = get(names.NODEMAINTENANCES, "", names.maintenance_name(host)).target
    eventually(lambda: trial.tenant.get_or_empty(path), bool)
    trial.infra.patch(get(NODES, "", other).target, {"spec": {"unschedulable": None}})
    eventually(lambda: trial.tenant.get_or_empty(path), lambda found: not found)
