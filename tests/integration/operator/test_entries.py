"""Who serves whom: one card more is one restart more, and who serves is left alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, NODES
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(600)

NewTrial = Callable[..., Trial]


def served(trial: Trial) -> dict[str, str]:
    """DPU to host, as the pods read it."""
    data = trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES).get("data") or {}
    prefix = f"{names.TENANT_NODE_ENV}="
    return {node: text.splitlines()[0].removeprefix(prefix) for node, text in data.items()}


def idle(trial: Trial) -> str:
    """What is written down of pods that have read no entry."""
    found = trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES)["metadata"].get("annotations") or {}
    return str(found.get(names.IDLE_PODS_ANNOTATION, ""))


def pods(trial: Trial) -> dict[str, str]:
    """DPU to the uid of its pod."""
    bound = (pod for pod in trial.pods() if "nodeName" in pod["spec"])
    return {pod["spec"]["nodeName"]: pod["metadata"]["uid"] for pod in bound}


def entry(host: str, **tuning: str) -> str:
    """An entry of `env-overrides`."""
    lines = {names.TENANT_NODE_ENV: host, **tuning}
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def hold(trial: Trial, node: str) -> None:
    """Keep the machine-config operator from configuring a node."""
    stuck = {names.MACHINE_CONFIG_STATE_ANNOTATION: "Degraded"}
    trial.infra.patch(trial.path(NODES, node), {"metadata": {"annotations": stuck}})


def release(trial: Trial, node: str) -> None:
    """Let it go on."""
    done = {names.MACHINE_CONFIG_STATE_ANNOTATION: "Done"}
    trial.infra.patch(trial.path(NODES, node), {"metadata": {"annotations": done}})


def test_one_card_more_restarts_its_own_pod_alone(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=3)
    trial.ready()
    before = pods(trial)
    late = f"{trial.pool}-late"
    trial.nodes.append(late)
    trial.add_node(late)
    eventually(lambda: pods(trial), lambda seen: late in seen)
    trial.wait("McpReady", "True")
    eventually(lambda: trial.condition("McpReady")["message"], lambda text: "all 4 machines" in text)
    idle = eventually(lambda: pods(trial), lambda seen: late in seen)[late]
    trial.store_overrides({**trial.entries(), late: entry("late-host")})
    eventually(lambda: pods(trial), lambda seen: seen.get(late, idle) != idle)
    trial.wait("Ready", "True")
    after = pods(trial)
    assert {node: after[node] for node in before} == before
    assert served(trial)[late] == "late-host"


def test_an_entry_that_comes_before_its_card_restarts_nobody_else(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=2)
    late = f"{trial.pool}-late"
    trial.store_kubeconfig()
    trial.store_overrides({**trial.entries(), late: entry("late-host")})
    trial.create_config()
    said = trial.wait("OvnKubeReady", "False", "DpuAbsent")
    assert f"{late} cannot serve late-host: infra has no Node of that name" in said["message"]
    eventually(lambda: set(served(trial)), lambda found: found == set(trial.nodes))
    eventually(lambda: set(pods(trial)), set(trial.nodes).__eq__)
    trial.wait("McpReady", "True")
    eventually(lambda: idle(trial), lambda known: not known)  # those that were there before their entries have gone
    before = eventually(lambda: pods(trial), lambda seen: len(seen) == 2)
    trial.nodes.append(late)
    trial.add_node(late)
    trial.wait("Ready", "True")
    assert served(trial)[late] == "late-host"
    assert {node: pods(trial)[node] for node in before} == before


def test_a_node_without_its_host_configuration_gets_no_entry(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=2)
    slow, fast = trial.nodes
    hold(trial, slow)
    trial.quick_start()
    pool = trial.path(names.MACHINECONFIGPOOLS, trial.pool)
    trial.infra.wait_for(pool, bool)
    trial.infra.patch(pool, {"spec": {"maxUnavailable": 2}})
    only = f"{slow} gets its entry once its host configuration has arrived"
    said = eventually(lambda: trial.condition("OvnKubeReady"), lambda found: found.get("message") == only)
    assert (said["status"], said["reason"]) == ("False", "HostNotConfigured")
    eventually(lambda: set(served(trial)), {fast}.__eq__)
    eventually(lambda: set(pods(trial)), {slow, fast}.__eq__)
    eventually(lambda: idle(trial), lambda known: not known)  # the one that was there before its entry has gone
    before = eventually(lambda: pods(trial).get(fast), bool)
    release(trial, slow)
    trial.wait("Ready", "True")
    assert set(served(trial)) == {slow, fast}
    assert pods(trial)[fast] == before


def test_a_changed_entry_of_a_node_that_serves_waits(trial: Trial) -> None:
    trial.ready()
    (node,) = trial.nodes
    before, host = trial.dpu_status(), served(trial)[node]
    trial.store_overrides({node: entry("another-host")})
    said = trial.wait("OvnKubeReady", "False", "EntryChangePending")
    assert said["message"].startswith(f"{node} keeps serving {host} with its old entry")
    trial.wait_event("EntryChangePending", node, host)
    assert trial.dpu_status() == before
    trial.store_overrides()
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before


def test_a_changed_setting_of_a_node_that_serves_waits(trial: Trial) -> None:
    trial.ready()
    (node,) = trial.nodes
    before = trial.dpu_status()
    trial.store_overrides({node: entry(served(trial)[node], OVN_KUBE_LOG_LEVEL="5")})
    trial.wait("OvnKubeReady", "False", "EntryChangePending")
    assert trial.dpu_status() == before


def test_an_entry_that_is_removed_from_a_node_that_serves_stays(trial: Trial) -> None:
    trial.ready()
    before = trial.dpu_status()
    trial.store_overrides({})
    said = trial.wait("OvnKubeReady", "False", "EntryRemovalPending")
    assert "keeps serving" in said["message"]
    trial.wait_event("EntryRemovalPending", "keeps serving")
    assert trial.dpu_status() == before


def test_one_host_has_one_card(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=2)
    first, second = trial.nodes
    trial.store_kubeconfig()
    trial.store_overrides({first: entry("host"), second: entry("host")})
    trial.create_config()
    (serving,) = eventually(lambda: served(trial), lambda seen: len(seen) == 1)
    other = second if serving == first else first
    words = f"{other} does not serve host, because {serving} does; if the card {serving} was replaced by {other}, "
    only = f"{words}delete its Node: kubectl delete node {serving}"
    said = eventually(lambda: trial.condition("OvnKubeReady"), lambda found: found.get("message") == only)
    assert (said["status"], said["reason"]) == ("False", "HostServedByOther")
    trial.store_overrides({serving: entry("host"), other: entry("host-of-its-own")})
    trial.wait("Ready", "True")
    assert served(trial) == {serving: "host", other: "host-of-its-own"}


def test_values_that_are_written_otherwise_are_the_same(trial: Trial) -> None:
    trial.ready()
    (node,) = trial.nodes
    before, host = trial.dpu_status(), served(trial)[node]
    text = f"# which host\n\n  {names.TENANT_NODE_ENV}={host}  \nDPU_IP=10.0.0.1\n"
    trial.store_overrides({node: text})
    trial.annotate(seen="yes")
    trial.wait("Ready", "True")
    trial.store_overrides({node: text, "another": "x"})
    trial.wait("OvnKubeReady", "False", "EntryRejected")  # so what came before has been looked at
    assert trial.dpu_status() == before


def test_a_selector_that_would_drop_a_node_that_serves_reaches_nobody(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=2)
    trial.ready()
    before, (kept, dropped) = trial.dpu_status(), trial.nodes
    only = {"matchLabels": {trial.label: "", "kubernetes.io/hostname": kept}}
    trial.patch_config({"spec": {"nodeSelector": only}})
    for type_ in ("McpReady", "OvnKubeReady"):
        said = trial.wait(type_, "False", "SelectorDropsServing")
        assert dropped in said["message"]
        assert kept not in said["message"]
    trial.wait_event("SelectorDropsServing", dropped)
    assert trial.dpu_status() == before
    trial.patch_config({"spec": {"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": None}}}})
    trial.wait("Ready", "True")
    assert trial.dpu_status() == before


def test_many_cards_serve_their_own_hosts(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=6)
    wanted = trial.names.pairs
    trial.quick_start()
    trial.wait("Ready", "True")
    assert served(trial) == wanted
    assert set(pods(trial)) == set(wanted)
