"""More incidents with a user's eyes: one command each names DPU and host, cause and next step."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.rows import rows_of
from dpunetop.app.commands.unlooked import next_step
from dpunetop.domain import names
from dpunetop.domain.credential.nodeidentity import denied, on_node, unclear
from dpunetop.domain.dpunode.status import Phase
from dpunetop.domain.reasons import meaning
from dpunetop.kube.errors import ApiError, Forbidden, TooManyRequests, Unreachable
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, NAMESPACES, NODES, PODS, crd_name
from support.looks import explained, lead, say, see, serving, status_of, write
from support.objects import NAMESPACE, condition
from support.scripteddrain import DPU, HOST, TENANT_UID, World, dpu_node
from support.strangeimages import WRONG_MACHINE

SPARE = "d2"


def row_of(text: str, dpu: str) -> str:
    """The row of a DPU."""
    return next(line for line in text.splitlines() if line.split()[1:2] == [dpu])


def says(text: str, *words: str) -> None:
    """One line holds all of the words."""
    assert any(all(word in line for word in words) for line in text.splitlines()), text


# --- the image is not built for the DPU -------------------------------------------------------------------------------


def fails_to_start(world: World, **status: Any) -> None:
    pod = world.infra.shown(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    container = {"name": "nbdb", "ready": False, **status}
    unready = {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [container]}
    world.infra.put(PODS, {**pod, "status": unready})
    world.clock.step(600.0)


@pytest.mark.parametrize("name", ["it is pulled all the same", "it has just ended"])
def test_a_program_of_another_machine_is_told_at_its_host(name: str) -> None:
    world = serving()
    fails_to_start(world, **WRONG_MACHINE[name])
    for said, code in (status_of(world), explained(world, HOST)):
        says(said, HOST, f"pod ovnkube-node-{DPU} on DPU {DPU}", "its image is not built for this machine, so name one")
        assert code is Exit.WRONG


# --- a network that is not proven yet ---------------------------------------------------------------------------------


def test_a_dpu_that_serves_without_proof_of_its_network_is_neither_well_nor_wrong() -> None:
    world = serving()
    pod = world.infra.shown(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    unready = {**pod["status"], "conditions": [{"type": "Ready", "status": "False"}]}
    world.infra.put(PODS, {**pod, "status": unready})
    [row] = rows_of(see(world))
    assert (row.phase, row.dpu.has_network) == (Phase.SERVING, "Unknown")
    for said, code in (status_of(world), explained(world, HOST)):
        says(said, "Serving", f"its network is not proven yet: pod ovnkube-node-{DPU} on DPU {DPU} is not Ready")
        assert code is Exit.UNSEEN


@pytest.mark.parametrize("reason", ["Expired", "Unauthorized"])
def test_a_dpu_that_serves_with_a_credential_that_is_no_good_is_not_well(reason: str) -> None:
    world = serving()
    say(world, condition("DpuCredentialValid", "False", reason, "the tenant refuses the token of the pods"))
    said, code = explained(world, HOST)
    says(said, "CredentialCurrent=False", reason)
    says(said, "moves on:", meaning(reason).next_step)
    assert "nothing to do" not in said
    assert (code, status_of(world)[1]) == (Exit.WRONG, Exit.WRONG)


# --- kinds that are gone ----------------------------------------------------------------------------------------------


def without_maintenances(world: World) -> None:
    world.tenant.drop(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.NODEMAINTENANCES))


@pytest.mark.parametrize("is_draining", [False, True])
def test_a_drain_without_a_maintenance_operator_is_held_and_not_told_to_wait(is_draining: bool) -> None:
    world = serving()
    world.cordon()
    if is_draining:
        world.settle()
    without_maintenances(world)
    world.settle()
    for said, code in (status_of(world), explained(world, DPU)):
        says(said, f"the tenant has no node maintenance operator, so that {HOST} cannot be drained", "install")
        assert "wait;" not in said
        assert code is Exit.WRONG
    assert row_of(status_of(world)[0], DPU).split()[3] == "Held"


def test_before_any_drain_explain_counts_it_as_wrong_too() -> None:
    world = serving()
    without_maintenances(world)
    said, code = explained(world, HOST)
    says(said, "mistake:", "NodeMaintenanceNotServed", HOST, DPU, "install the node maintenance operator")
    assert code is Exit.WRONG


def test_a_machine_config_api_that_is_gone_is_told_with_the_dpus_that_it_configured() -> None:
    world = serving()
    words = "infra has no MachineConfig API any more: d1 runs rendered-dpu-1"
    say(world, condition("McpReady", "False", "ApiRemoved", words))
    said, code = status_of(world)
    says(said, "McpReady=False ApiRemoved", DPU, "install the machine-config operator in infra again")
    assert code is Exit.WRONG


# --- two DPUs in one host ---------------------------------------------------------------------------------------------


def with_spare(*, ready: bool = True) -> World:
    """Two DPUs of one host, of which the first serves it."""
    world = serving()
    world.infra.put(NODES, dpu_node("b1", name=SPARE))
    world.pair_up(**{DPU: HOST, SPARE: HOST})
    world.settle()
    world.run_blocker(SPARE)
    world.settle()
    if not ready:
        fails(world, SPARE)
    return world


def fails(world: World, dpu: str) -> None:
    lost = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting"}
    world.infra.put(NODES, {**dpu_node("b1", name=dpu), "status": {"conditions": [lost], "nodeInfo": {"bootID": "b1"}}})
    world.run_blocker(dpu, ready=False)
    world.clock.step(60.0)
    world.settle()


def test_a_spare_that_is_well_is_nobodys_alarm() -> None:
    said, code = status_of(with_spare())
    assert row_of(said, SPARE).split()[3] == "Spare"
    assert code is Exit.GOOD


def test_a_spare_that_is_dead_is_told_before_the_host_needs_it() -> None:
    world = with_spare(ready=False)
    for said, code in (status_of(world), explained(world, SPARE)):
        says(
            said, HOST, f"its Node {SPARE} is not Ready, so that it cannot serve host {HOST} if {DPU} fails", "describe"
        )
        assert code is Exit.WRONG
    assert row_of(status_of(world)[0], DPU).split()[3] == "Serving"


def test_a_host_whose_serving_dpu_fails_is_told_and_its_spare_is_named() -> None:
    world = with_spare()
    fails(world, DPU)
    world.clock.step(600.0)
    for said, code in (status_of(world), explained(world, HOST)):
        says(said, f"host {HOST} has no network since", f"DPU node {DPU} is not Ready", "repair the DPU")
        assert SPARE in said
        assert code is Exit.WRONG


def test_a_host_of_which_both_dpus_are_cordoned_is_drained_once_and_both_rows_say_so() -> None:
    world = with_spare()
    world.cordon()
    world.infra.put(NODES, dpu_node("b1", name=SPARE, cordoned=True))
    world.settle()
    said, code = status_of(world)
    for dpu in (DPU, SPARE):
        assert row_of(said, dpu).split()[3] == "Draining"
        assert f"{HOST} is being drained" in row_of(said, dpu)
    assert code is Exit.GOOD


# --- what a drain waits for is seen in a look, as the operator sees it ------------------------------------------------


def test_a_look_says_of_a_drain_what_it_waits_for_with_no_operator_at_work() -> None:
    world = serving()
    world.cordon()
    world.settle()
    pending = {"phase": "Running", "pendingPods": ["shop/web-0"], "lastError": "lease is held by another"}
    world.change(world.tenant, names.NODEMAINTENANCES, "", names.maintenance_name(HOST), status=pending)
    world.clock.step(3600.0)
    for said, _ in (status_of(world), explained(world, DPU)):
        says(said, f"{HOST} is being drained", "web-0", "lease is held by another")


def test_a_hold_by_a_person_is_told_with_the_annotation() -> None:
    world = serving()
    world.cordon()
    world.settle()
    live = world.infra.shown(NODES, "", DPU)
    notes = {**live["metadata"].get("annotations", {}), names.DRAIN_ANNOTATION: "hold"}
    world.infra.put(NODES, {**live, "metadata": {**live["metadata"], "annotations": notes}})
    said, code = status_of(world)
    says(said, HOST, DPU, "Held", "take the annotation dpu.openshift.io/drain off")
    assert code is Exit.WRONG


# --- what servers answer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "step"),
    [
        ("Forbidden", "deploy/dpunetop.yaml"),
        ("Unauthorized", "put a good kubeconfig into the Secret"),
        ("TooManyRequests", "priority and fairness"),
        ("ServiceUnavailable", "webhook that the message names, is up"),
        ("InternalError", "admission webhooks"),
    ],
)
def test_what_a_server_answers_has_a_next_step_of_its_own(reason: str, step: str) -> None:
    world = serving()
    say(world, condition("McpReady", "False", reason, "cannot watch machineconfigpools"))
    said, code = status_of(world)
    says(said, f"McpReady=False {reason}: cannot watch machineconfigpools; ", step)
    assert "do what the server's answer" not in said
    assert code is Exit.WRONG


def test_a_next_step_is_said_once() -> None:
    world = serving()
    step = meaning("HostWithoutNetwork").next_step
    say(world, condition("PairsHealthy", "False", "HostWithoutNetwork", f"host {HOST} has no network; {step}"))
    assert status_of(world)[0].count(step) == 1


BUSY = TooManyRequests(429, "TooManyRequests", "the server is currently unable to handle the request")
SLOW = Unreachable(0, "Timeout", "10.0.0.1:6443 does not answer")


HIDING = ["nodes", "configmaps", "poddisruptionbudgets", "pods", "deployments", "namespaces", "daemonsets"]


@pytest.mark.parametrize("error", [BUSY, SLOW], ids=["429", "slow"])
@pytest.mark.parametrize("kind", [*HIDING, "customresourcedefinitions"])
def test_of_an_infra_that_does_not_answer_nothing_is_concluded_and_what_was_written_is_told(
    error: ApiError, kind: str
) -> None:
    world = serving()
    write(world, phase="Serving", reason="Serving", host=HOST)
    world.infra.refuses[f"list {kind}"] = error
    for said, code in (status_of(world), explained(world, DPU)):
        says(said, kind, error.message, next_step(error))
        says(said, f"the operator wrote of DPU {DPU}: Serving for host {HOST}")
        assert f"{HOST} " not in said.splitlines()[0]
        assert "no DPU and no host" not in said
        assert code is Exit.UNSEEN


@pytest.mark.parametrize("kind", ["leases", "dpunodes"])
def test_what_was_not_looked_at_beside_the_pairs_counts_as_that(kind: str) -> None:
    world = serving()
    world.infra.refuses[f"list {kind}"] = BUSY
    said, code = status_of(world)
    says(said, kind, BUSY.message, "look again")
    assert row_of(said, DPU).split()[4] == "yes"
    assert code is Exit.UNSEEN


# --- the tenant's node-identity webhook -------------------------------------------------------------------------------

WEBHOOK_AWAY = 'Internal error occurred: failed calling webhook "node.network-node-identity.openshift.io": refused'


def test_a_webhook_that_refuses_is_told_with_host_and_flag() -> None:
    world = serving()
    refused = denied(on_node(HOST), "system:serviceaccount:ovn:dpunetop-dpu", Forbidden(403, "Forbidden", "not yours"))
    say(world, condition("DpuCredentialValid", "False", "NotAdmitted", refused.message))
    said, code = status_of(world)
    says(said, "NotAdmitted", f"Node {HOST}", "not yours", "ovnkube-identity with --extra-allowed-user")
    assert code is Exit.WRONG


def test_a_webhook_that_does_not_answer_is_told_with_host_and_what_to_look_at_and_is_not_well() -> None:
    world = serving()
    words = unclear(on_node(HOST), ApiError(500, "InternalError", WEBHOOK_AWAY)).message
    say(world, condition("DpuCredentialValid", "Unknown", "AdmissionNotTried", words))
    say(world, condition("Ready", "Unknown", "AdmissionNotTried", f"DpuCredentialValid: {words}"))
    said, code = status_of(world)
    says(said, "cannot write", f"Node {HOST}", "failed calling webhook", "see that the webhook's own pods run")
    assert code is Exit.UNSEEN


# --- the kubeconfig of another cluster --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "whose"),
    [("infra-uid", "infra itself"), ("another-uid", 'the cluster with the UID "another-uid"')],
    ids=["infra", "a stranger"],
)
def test_of_a_kubeconfig_of_another_cluster_no_host_is_said_to_be_absent(uid: str, whose: str) -> None:
    world = serving()
    world.tenant.put(NAMESPACES, {"metadata": {"name": "kube-system", "uid": uid}})
    world.tenant.drop(NODES, "", HOST)
    for said, code in (status_of(world), explained(world, DPU)):
        says(said, f"leads to {whose}", "add --tenant-kubeconfig dpu-one/sample=PATH")
        assert "does not exist" not in said
        says(said, DPU, HOST)
        assert code is Exit.UNSEEN


def test_the_tenants_own_kubeconfig_is_believed() -> None:
    world = serving()
    world.tenant.put(NAMESPACES, {"metadata": {"name": "kube-system", "uid": TENANT_UID}})
    assert status_of(world)[1] is Exit.GOOD


# --- the operator has never seen the tenant ---------------------------------------------------------------------------


def test_a_dpu_that_waits_for_a_tenant_nobody_has_seen_names_that_and_no_blocker() -> None:
    world = World()
    lead(world, "2026-01-01T00:00:00.000000Z")
    words = "tenant:6443: its certificate has expired; its administrator has to renew it"
    say(world, condition("TenantReachable", "False", "TLS", words))
    say(world, condition("Ready", "False", "TLS", f"TenantReachable: {words}"))
    for said, code in (status_of(world), explained(world, DPU)):
        says(said, "TenantReachable", words, meaning("TLS").next_step)
        assert "its blocker and budget come first" not in said
        assert code is Exit.WRONG
    says(explained(world, DPU)[0], "the operator says of the DpuClusterConfig", meaning("TLS").next_step)


# --- odd names --------------------------------------------------------------------------------------------------------

LONGEST = f"a.{'b' * 60}.{'c' * 188}"


@pytest.mark.parametrize(("dpu", "host"), [(HOST, DPU), (LONGEST, f"{LONGEST}h")], ids=["exchanged", "longest"])
def test_names_that_are_odd_are_told_whole_and_each_by_its_own_side(dpu: str, host: str) -> None:
    world = serving()
    world.infra.put(NODES, dpu_node("b1", name=dpu))
    world.tenant.put(NODES, {"metadata": {"name": host}, "spec": {}})
    world.pair_up(**{DPU: HOST, dpu: host})
    world.settle()
    world.run_blocker(dpu)
    world.settle()
    rows = [line.split()[:2] for line in status_of(world)[0].splitlines()]
    assert [host, dpu] in rows
    assert [HOST, DPU] in rows
    says(explained(world, dpu)[0], f"DPU {dpu}, host {host}, DpuClusterConfig")


def test_a_name_that_a_dpu_and_a_host_have_is_explained_for_both() -> None:
    world = serving()
    world.infra.put(NODES, dpu_node("b1", name=HOST))
    world.tenant.put(NODES, {"metadata": {"name": DPU}, "spec": {}})
    world.pair_up(**{DPU: HOST, HOST: DPU})
    world.settle()
    said, _ = explained(world, HOST)
    says(said, f"DPU {DPU}, host {HOST}")
    says(said, f"DPU {HOST}, host {DPU}")
