"""With the policies of deploy/ on, in both clusters, the operator does all that it does without them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import NODES
from dpunetop.kube.requests import get
from dpunetop.sandbox.admin import AdminClient, objects_of
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.seed import OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, ROOT
from dpunetop.sandbox.world import World
from support.admission import config, maintenance
from support.trial import ACCOUNT, Trial, eventually

pytestmark = pytest.mark.timeout(180)

SLOW = 40.0
REFUSED = "ValidatingAdmissionPolicy"


def policies(manifest: str, **parameters: str) -> list[Mapping[str, Any]]:
    text = (ROOT / "deploy" / manifest).read_text()
    for shipped, wanted in parameters.items():
        text = text.replace(f"'{shipped.replace('_', '-')}'", f"'{wanted}'")
    return objects_of(text)


@pytest.fixture
def fenced(trial: Trial, world: World) -> Iterator[Trial]:
    """A tenant with the policies for the account that its kubeconfig is of, in an infra with policies."""
    account = {"openshift_ovn_kubernetes": trial.tenant_namespace, "dpunetop_operator": ACCOUNT}
    written = [
        (world.infra.admin, policies("admission.yaml")),
        (world.tenant.admin, policies("tenant-admission.yaml", **account)),
    ]
    for admin, objects in written:
        admin.apply(objects)
    stolen = world.infra.client(world.infra.service_account_token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT))
    eventually(lambda: is_refused(stolen, config("worker")), bool)
    stolen.close()
    stolen = world.tenant.client(trial.token())
    eventually(lambda: is_refused(stolen, maintenance("drain-all")), bool)
    stolen.close()
    yield trial
    for admin, objects in written:
        for obj in objects:
            admin.delete(admin.path_of(obj))


def is_refused(client: AdminClient, obj: dict[str, Any]) -> bool:
    try:
        client.apply_at(client.path_of(obj), obj, dryRun="All")
    except Forbidden as err:
        return REFUSED in str(err)
    return False


def cordon(trial: Trial, yes: bool) -> None:
    trial.infra.patch(get(NODES, "", trial.nodes[0]).target, {"spec": {"unschedulable": yes or None}})


def test_a_tenant_is_served_drained_and_left_with_the_policies_on(
    fenced: Trial, world: World, operator: OperatorProcess
) -> None:
    trial, since = fenced, len(operator.log_text())
    [(dpu, host)] = trial.names.pairs.items()
    budget = get(names.PODDISRUPTIONBUDGETS, world.quick_start.namespace, names.blocker_name(dpu)).target
    host_node = get(NODES, "", host).target
    trial.ready(deletionPolicy="Delete")
    cordon(trial, True)
    eventually(lambda: trial.infra.get(budget)["spec"]["maxUnavailable"], lambda most: most == 1, SLOW)
    assert trial.tenant.get(host_node)["spec"]["unschedulable"] is True
    cordon(trial, False)
    eventually(lambda: trial.infra.get(budget)["spec"]["maxUnavailable"], lambda most: most == 0, SLOW)
    maintained = get(names.NODEMAINTENANCES, "", names.maintenance_name(host)).target
    eventually(lambda: trial.tenant.get_or_empty(maintained), lambda found: not found, SLOW)
    eventually(lambda: trial.tenant.get(host_node), is_as_before, SLOW)
    trial.delete_config()
    eventually(trial.config, lambda found: not found, SLOW)
    assert trial.pool_objects() == ({}, {})
    assert REFUSED not in operator.log_text()[since:]


def test_a_write_that_a_policy_refuses_is_told_with_the_policy_and_what_to_do(fenced: Trial, world: World) -> None:
    shipped, narrow = "expression: '''*'''", "expression: '''other'''"
    text = (ROOT / "deploy" / "admission.yaml").read_text()
    assert text.count(shipped) == 3
    world.infra.apply(text.replace(shipped, narrow))
    stolen = world.infra.client(world.infra.service_account_token(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT))
    eventually(lambda: is_refused(stolen, config("new")), bool)
    stolen.close()
    fenced.quick_start()
    said = fenced.wait("McpReady", "False", "Forbidden")["message"]
    assert "dpunetop-machineconfigs" in said
    assert "the parameter pools" in said
    assert "add it" in said
    world.infra.apply(text)
    fenced.wait("Ready", "True", within=SLOW)


def is_as_before(host: dict[str, Any]) -> bool:
    marked = names.CORDONED_BEFORE_ANNOTATION in (host["metadata"].get("annotations") or {})
    return not marked and not host["spec"].get("unschedulable")
