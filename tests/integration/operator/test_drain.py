"""The drain of a DPU waits for its host, and the host comes back once the DPU's network works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import TooManyRequests
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, LEASES, NODES, PODS
from dpunetop.kube.meta import annotations_of, new_object, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import Obj
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.seed import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION, boot_id
from dpunetop.sandbox.standins.ovnkube import interconnect_tenant
from dpunetop.sandbox.standins.zones import HOLD_LEASE_ANNOTATION
from dpunetop.sandbox.world import World
from support.faultproxy import FaultProxy
from support.trial import ACCOUNT, Trial, eventually

pytestmark = pytest.mark.timeout(900)

NewTrial = Callable[..., Trial]
OURS = "default"
"""Namespace of the operator in the quick start, where its blockers are."""
OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}"
SLOW = 120.0


class Pair:
    """One DPU and its host, as a test sees and moves them."""

    def __init__(self, trial: Trial, number: int = 0) -> None:
        self.trial = trial
        self.dpu, self.host = list(trial.names.pairs.items())[number]

    # --- looking ----------------------------------------------------------------------------------------------------

    def budget(self) -> Obj:
        name = names.blocker_name(self.dpu)
        return self.trial.infra.get_or_empty(get(names.PODDISRUPTIONBUDGETS, OURS, name).target)

    def blocker(self) -> Obj:
        return self.trial.infra.get_or_empty(get(DEPLOYMENTS, OURS, names.blocker_name(self.dpu)).target)

    def blocker_pods(self) -> list[Obj]:
        path = f"/api/v1/namespaces/{OURS}/pods"
        return self.trial.infra.list_all(path, labelSelector=f"app={names.blocker_name(self.dpu)}")

    def serves(self) -> str:
        return str(notes(self.budget()).get(names.SERVES_ANNOTATION, ""))

    def is_open(self) -> bool:
        return (self.budget().get("spec") or {}).get("maxUnavailable") == 1

    def entry(self) -> str:
        data = self.trial.get(CONFIGMAPS, names.OVNKUBE_NODE_ENTRIES).get("data") or {}
        return str(data.get(self.dpu, ""))

    def node(self) -> Obj:
        return self.trial.infra.get_or_empty(get(NODES, "", self.dpu).target)

    def host_node(self) -> Obj:
        return self.trial.tenant.get_or_empty(get(NODES, "", self.host).target)

    def maintenance(self) -> Obj:
        path = get(names.NODEMAINTENANCES, "", names.maintenance_name(self.host)).target
        return self.trial.tenant.get_or_empty(path)

    def events(self) -> list[tuple[str, str]]:
        found = self.trial.infra.list_all("/apis/events.k8s.io/v1/namespaces/default/events")
        about = (event for event in found if (event.get("regarding") or {}).get("name") == self.dpu)
        return [(event["reason"], event.get("note", "")) for event in about]

    # --- moving -----------------------------------------------------------------------------------------------------

    def cordon(self, yes: bool = True) -> None:
        self.trial.infra.patch(get(NODES, "", self.dpu).target, {"spec": {"unschedulable": yes or None}})

    def order(self, word: str | None) -> None:
        body = {"metadata": {"annotations": {names.DRAIN_ANNOTATION: word}}}
        self.trial.infra.patch(get(NODES, "", self.dpu).target, body)

    def reboot(self) -> str:
        """Reboot the DPU; its new boot ID."""
        before = boot_id(self.node())
        body = {"metadata": {"annotations": {REBOOT_ANNOTATION: before}}}
        self.trial.infra.patch(get(NODES, "", self.dpu).target, body)
        return boot_id(eventually(self.node, lambda node: boot_id(node) != before and is_ready(node), SLOW))

    def evict_blocker(self) -> bool:
        """Ask the real eviction API for the blocker."""
        [pod] = [pod for pod in self.blocker_pods() if "deletionTimestamp" not in pod["metadata"]]
        name = pod["metadata"]["name"]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": OURS}}
        try:
            self.trial.infra.create(f"{get(PODS, OURS, name).target}/eviction", body)
        except TooManyRequests:
            return False
        return True

    def hold_lease(self, yes: bool = True) -> None:
        """Have the DPU no longer renew the Lease of its host, or again."""
        for pod in self.trial.pods():
            path = self.trial.path(PODS, pod["metadata"]["name"])
            self.trial.infra.patch(
                path, {"metadata": {"annotations": {HOLD_LEASE_ANNOTATION: "true" if yes else None}}}
            )

    def uncordon_host(self) -> None:
        self.trial.tenant.patch(get(NODES, "", self.host).target, {"spec": {"unschedulable": None}})

    # --- waiting ----------------------------------------------------------------------------------------------------

    def until_open(self) -> None:
        eventually(self.budget, lambda _: self.is_open(), SLOW)

    def until_idle(self) -> None:
        """Wait until nothing of a drain is left."""
        eventually(lambda: self.left(), lambda left: not left, SLOW)

    def left(self) -> list[str]:
        host, found = self.host_node(), []
        if self.maintenance():
            found.append("maintenance")
        if names.CORDONED_BEFORE_ANNOTATION in notes(host):
            found.append("mark")
        if names.CYCLE_ANNOTATION in notes(self.budget()):
            found.append("cycle")
        if self.serves() and self.is_open():
            found.append("open")
        return found


def notes(obj: Obj) -> dict[str, str]:
    return dict((obj.get("metadata") or {}).get("annotations") or {})


def is_cordoned(node: Obj) -> bool:
    return bool((node.get("spec") or {}).get("unschedulable"))


def is_ready(obj: Mapping[str, Any]) -> bool:
    return (condition_of(obj, "Ready") or {}).get("status") == "True"


def serving(trial: Trial) -> Pair:
    trial.ready()
    return Pair(trial)


def draining(trial: Trial) -> Pair:
    """A pair whose host is drained and whose budget is open."""
    pair = serving(trial)
    pair.cordon()
    pair.until_open()
    return pair


def pairs_say(trial: Trial, reason: str, *words: str) -> str:
    """Wait until `PairsHealthy` is False for that reason; what it says."""
    said = trial.wait("PairsHealthy", "False", reason, within=SLOW)["message"]
    assert all(word in said for word in words), said
    return str(said)


def test_a_drain_goes_all_the_way_and_leaves_everything_as_it_was(trial: Trial) -> None:
    pair = serving(trial)
    assert (pair.serves(), pair.is_open()) == (pair.host, False)
    assert not pair.evict_blocker()
    pair.cordon()
    pair.until_open()
    assert is_cordoned(pair.host_node())
    eventually(pair.evict_blocker, bool)  # refused until the disruption controller has seen that the budget is open
    pair.reboot()
    assert is_cordoned(pair.host_node())
    pair.cordon(False)
    pair.until_idle()
    assert not is_cordoned(pair.host_node())
    assert (pair.serves(), pair.is_open()) == (pair.host, False)
    told = eventually(pair.events, lambda events: "Idle" in [reason for reason, _ in events])
    assert {"HostDraining", "DpuDraining"} <= {reason for reason, _ in told}


def test_the_protection_comes_before_the_entry(trial: Trial, world: World) -> None:
    mark = world.infra.audit_mark()
    pair = serving(trial)
    order = [
        event["objectRef"]["resource"]
        for event in world.infra.audit_events(user=OPERATOR, since=mark)
        if event["verb"] in ("patch", "create") and event["responseStatus"]["code"] < 300
        and (pair.dpu in event["objectRef"].get("name", "") or is_entries(event["objectRef"], trial.namespace))
    ]  # fmt: skip
    first = {resource: order.index(resource) for resource in ("deployments", "poddisruptionbudgets")}
    entry_at = len(order) - 1 - order[::-1].index("configmaps")
    assert max(first.values()) < entry_at
    # Made open, and closed for its host; made closed where the host configuration was faster.
    assert order[:entry_at].count("poddisruptionbudgets") in (1, 2)
    assert is_ready(pair.blocker_pods()[0])


def is_entries(reference: Obj, namespace: str) -> bool:
    return reference.get("namespace") == namespace and reference.get("name") == names.OVNKUBE_NODE_ENTRIES


def test_a_cordon_that_is_taken_back_before_the_host_is_drained_needs_no_proof(trial: Trial) -> None:
    pair = serving(trial)
    stuck = stubborn_pod(trial, pair.host)
    pair.cordon()
    eventually(pair.maintenance, lambda found: (found.get("status") or {}).get("phase") == "Running", SLOW)
    assert not pair.is_open()
    eventually(pair.events, lambda told: "HostDraining" in [reason for reason, _ in told])
    pair.cordon(False)
    pair.until_idle()
    assert not is_cordoned(pair.host_node())
    trial.tenant.delete(stuck, {"gracePeriodSeconds": 0})


def stubborn_pod(trial: Trial, host: str) -> str:
    """A workload on the host that nothing moves away, because a budget keeps it; its path."""
    labels, namespace = {"stubborn": host}, trial.tenant_namespace
    spec = {
        "nodeName": host,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "registry.example/none"}],
    }
    pod = new_object(PODS, namespace, f"stubborn-{host}", spec=spec)
    pod["metadata"]["labels"] = labels
    budget = new_object(names.PODDISRUPTIONBUDGETS, namespace, f"stubborn-{host}")
    budget["spec"] = {"maxUnavailable": 0, "selector": {"matchLabels": labels}}
    trial.world.tenant.apply([budget, pod])
    path = get(PODS, namespace, f"stubborn-{host}").target
    eventually(lambda: trial.tenant.get(path), lambda found: found["status"].get("phase") == "Running", SLOW)
    return path


def test_a_person_who_uncordons_the_drained_host_ends_the_drain(trial: Trial) -> None:
    pair = draining(trial)

    def taken_back() -> str:
        pair.uncordon_host()  # again, in case that the maintenance had still to look at our mark, and cordoned it
        return str(trial.condition("PairsHealthy").get("reason"))

    eventually(taken_back, lambda reason: reason == "Aborted", SLOW)
    assert not pair.is_open()
    eventually(pair.maintenance, lambda found: not found, SLOW)
    assert not is_cordoned(pair.host_node())
    pair.cordon(False)
    pair.until_idle()
    trial.wait("PairsHealthy", "True", within=SLOW)


def test_a_maintenance_of_somebody_else_is_waited_for_and_named(trial: Trial) -> None:
    pair = serving(trial)
    foreign = new_object(
        names.NODEMAINTENANCES, "", f"by-hand-{pair.host}", spec={"nodeName": pair.host, "reason": "x"}
    )
    trial.world.tenant.apply([foreign])
    path = get(names.NODEMAINTENANCES, "", f"by-hand-{pair.host}").target
    eventually(lambda: trial.tenant.get(path), lambda found: (found.get("status") or {}).get("phase") == "Succeeded")
    pair.cordon()
    pairs_say(trial, "ForeignMaintenance", f"by-hand-{pair.host}", pair.host)
    assert not pair.is_open()
    assert not pair.evict_blocker()
    trial.tenant.delete(path)
    pair.until_open()
    pair.cordon(False)
    pair.until_idle()


def test_a_person_may_hold_a_drain_and_let_it_go_on(trial: Trial) -> None:
    pair = draining(trial)
    pair.order("hold")
    eventually(pair.is_open, lambda seen: not seen, SLOW)
    pairs_say(trial, "HeldByAnnotation", pair.dpu)
    pair.order(None)
    pair.until_open()
    pair.order("skip")  # a running drain ends as if its cordon were taken back
    pair.until_idle()
    assert is_cordoned(pair.node())
    assert not is_cordoned(pair.host_node())


def test_a_cordon_that_was_there_before_is_there_after(trial: Trial) -> None:
    pair = serving(trial)
    trial.tenant.patch(get(NODES, "", pair.host).target, {"spec": {"unschedulable": True}})
    pair.cordon()
    pair.until_open()
    pair.reboot()
    pair.cordon(False)
    pair.until_idle()
    assert is_cordoned(pair.host_node())


def test_an_operator_that_starts_anew_goes_on_from_where_the_other_was(trial: Trial, operator: OperatorProcess) -> None:
    pair = draining(trial)
    operator.kill()
    assert operator.wait(SLOW) is not None
    pair.reboot()
    pair.cordon(False)
    operator.start()
    pair.until_idle()
    assert not is_cordoned(pair.host_node())


def test_a_tenant_that_is_out_of_sight_closes_what_is_open_and_holds_the_host(trial: Trial, world: World) -> None:
    with FaultProxy.before(world.tenant) as way:
        trial.store_kubeconfig(way.kubeconfig(trial.token()))
        trial.store_overrides()
        trial.create_config()
        trial.wait("Ready", "True", within=SLOW)
        pair = Pair(trial)
        pair.cordon()
        pair.until_open()
        way.refuse()
        eventually(pair.is_open, lambda seen: not seen, SLOW)
        pairs_say(trial, "TenantUnreachable", pair.dpu)
        pair.cordon(False)
        assert is_cordoned(pair.host_node())
        way.restore()
        pair.until_idle()
        assert not is_cordoned(pair.host_node())


def test_a_host_waits_for_its_turn(new_trial: NewTrial) -> None:
    trial = new_trial(dpus=2)
    trial.ready(drain={"maxUnavailable": 1})
    first, second = Pair(trial), Pair(trial, 1)
    first.cordon()
    first.until_open()
    second.cordon()
    pairs_say(trial, "NoFreeSlot", second.dpu)
    assert second.maintenance() == {}
    first.cordon(False)
    first.until_idle()
    second.until_open()
    second.cordon(False)
    second.until_idle()


def test_a_drain_that_takes_too_long_is_named_and_goes_on(trial: Trial) -> None:
    trial.ready(drain={"timeout": "1s"})
    pair = Pair(trial)
    stuck = stubborn_pod(trial, pair.host)
    pair.cordon()
    pairs_say(trial, "DrainTimeout", pair.dpu, "spec.drain.timeout")
    eventually(pair.maintenance, lambda found: (found.get("status") or {}).get("phase") == "Running", SLOW)
    assert not pair.is_open()
    trial.tenant.delete(stuck, {"gracePeriodSeconds": 0})
    pair.until_open()
    pair.cordon(False)
    pair.until_idle()


def test_a_host_whose_drain_a_budget_blocks_is_told_with_pod_and_budget_by_any_process(
    trial: Trial, operator: OperatorProcess
) -> None:
    trial.ready(drain={"limits": {"hostDrain": "2s"}})
    pair = Pair(trial)
    stuck, name = stubborn_pod(trial, pair.host), f"{trial.tenant_namespace}/stubborn-{pair.host}"
    pair.cordon()
    budget = f"PodDisruptionBudget {name} allows no eviction now"
    said = pairs_say(trial, "HostDrainOverdue", pair.dpu, pair.host, f"1 pod is left: {name}", budget)
    eventually(pair.events, lambda events: "HostDrainOverdue" in {reason for reason, _ in events}, SLOW)
    operator.restart()
    since = said.partition(" since ")[2].partition(",")[0]
    assert f" since {since}," in pairs_say(trial, "HostDrainOverdue", budget)
    trial.tenant.delete(stuck, {"gracePeriodSeconds": 0})
    pair.until_open()
    trial.wait("PairsHealthy", "True", "Draining", within=SLOW)
    pair.cordon(False)
    pair.until_idle()


def test_a_drain_that_takes_too_long_is_given_up_where_that_is_wanted(trial: Trial) -> None:
    trial.ready(drain={"timeout": "1s", "onTimeout": "Abort"})
    pair = Pair(trial)
    stuck = stubborn_pod(trial, pair.host)
    pair.cordon()
    pairs_say(trial, "Aborted", pair.dpu, "uncordon it")
    eventually(pair.maintenance, lambda found: not found, SLOW)  # which goes after its host is given back
    assert (is_cordoned(pair.host_node()), pair.is_open()) == (False, False)
    trial.tenant.delete(stuck, {"gracePeriodSeconds": 0})
    pair.cordon(False)
    pair.until_idle()
    assert (pair.serves(), pair.is_open()) == (pair.host, False)


def test_a_drain_that_runs_at_the_end_becomes_the_way_out_of_its_host(trial: Trial) -> None:
    pair = draining(trial)
    trial.delete_config()
    eventually(trial.config, lambda config: not config, SLOW)
    assert (pair.maintenance(), pair.budget(), pair.blocker()) == ({}, {}, {})
    assert is_cordoned(pair.host_node())
    assert annotations_of(pair.host_node())[names.LEFT_BY_ANNOTATION]


def test_a_dpu_that_is_unpaired_serves_until_its_host_is_drained(trial: Trial) -> None:
    pair = serving(trial)
    trial.store_overrides({})
    pairs_say(trial, "RemovalPending", pair.dpu)
    assert pair.entry()
    pair.cordon()
    eventually(pair.entry, lambda text: not text, SLOW)
    pair.cordon(False)
    eventually(pair.serves, lambda host: not host, SLOW)
    eventually(pair.maintenance, lambda found: not found, SLOW)
    eventually(pair.host_node, is_cordoned)  # nothing shows that it has a network


def test_a_changed_entry_of_a_dpu_that_serves_is_read_by_a_new_pod_once_its_host_is_drained(trial: Trial) -> None:
    pair = serving(trial)
    [before] = [uid_of(pod) for pod in trial.pods()]
    trial.store_overrides({pair.dpu: f"{names.TENANT_NODE_ENV}={pair.host}\nOVN_KUBE_LOG_LEVEL=5\n"})
    trial.wait("OvnKubeReady", "False", "EntryChangePending")
    pair.cordon()
    pair.until_open()
    assert "OVN_KUBE_LOG_LEVEL" not in pair.entry()
    pair.cordon(False)
    pair.until_idle()
    assert "OVN_KUBE_LOG_LEVEL=5" in pair.entry()
    [after] = trial.pods()
    assert uid_of(after) != before
    assert is_ready(after)
    assert not is_cordoned(pair.host_node())
    trial.wait("OvnKubeReady", "True")


def test_a_dpu_is_paired_by_the_annotation_of_its_node_too(trial: Trial) -> None:
    pair = Pair(trial)
    body = {"metadata": {"annotations": {names.TENANT_NODE_ANNOTATION: pair.host}}}
    trial.infra.patch(get(NODES, "", pair.dpu).target, body)
    trial.store_kubeconfig()
    trial.create_config()
    trial.wait("Ready", "True", within=SLOW)
    assert pair.serves() == pair.host


# --- a tenant whose hosts go by Leases --------------------------------------------------------------------------------

LEASED = partial(interconnect_tenant, release="4.23.0", lease_seconds=1)


def lease(pair: Pair) -> Obj:
    return pair.trial.tenant.get_or_empty(pair.trial.tenant_path(LEASES, f"{names.LEASE_PREFIX}{pair.host}"))


def told_last(pair: Pair, reason: str) -> str:
    """Wait until the DPU has an Event of that reason; its note."""
    found = eventually(pair.events, lambda events: reason in [each for each, _ in events], SLOW)
    return next(note for each, note in found if each == reason)


def test_a_host_waits_until_its_lease_is_renewed(new_trial: NewTrial) -> None:
    trial = new_trial(shows=LEASED)
    pair = draining(trial)
    eventually(lambda: lease(pair), bool, SLOW)
    pair.hold_lease()
    pair.reboot()
    pair.cordon(False)
    assert told_last(pair, "ProofMissing").endswith(("has yet to show: lease", ", lease"))  # at first more is missing
    eventually(trial.pods, lambda pods: pods and all(map(is_ready, pods)), SLOW)
    before = lease(pair)["spec"]["renewTime"]
    assert is_cordoned(pair.host_node())
    pair.hold_lease(False)
    pair.until_idle()
    assert lease(pair)["spec"]["renewTime"] != before
    assert not is_cordoned(pair.host_node())


def test_a_tenant_that_does_not_let_its_leases_be_read_is_named(new_trial: NewTrial) -> None:
    trial = new_trial(shows=LEASED)
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{trial.tenant_namespace}/roles/{ACCOUNT}"
    rules = trial.tenant.get(path)["rules"]
    trial.tenant.patch(path, {"rules": [rule for rule in rules if "leases" not in rule["resources"]]})
    pair = draining(trial)
    pair.reboot()
    pair.cordon(False)
    pairs_say(trial, "TenantUnauthorized", pair.dpu, f"{names.LEASE_PREFIX}{pair.host}", "leases")
    assert is_cordoned(pair.host_node())
    trial.tenant.patch(path, {"rules": rules})
    pair.until_idle()
    assert not is_cordoned(pair.host_node())
