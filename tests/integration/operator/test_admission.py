"""With the policies of deploy/ on in both clusters, as in every test here, a tenant is served from its first day to its
last; and what a policy refuses is told."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import NODES
from dpunetop.kube.requests import get
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.seed import ROOT
from dpunetop.sandbox.world import World
from support.admission import config
from support.fences import REFUSED, await_infra
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

SLOW = 120.0


def cordon(trial: Trial, yes: bool) -> None:
    trial.infra.patch(get(NODES, "", trial.nodes[0]).target, {"spec": {"unschedulable": yes or None}})


def test_a_tenant_is_served_drained_and_left_with_the_policies_on(
    trial: Trial, world: World, operator: OperatorProcess
) -> None:
    since = len(operator.log_text())
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
    trial.take_nodes_out()
    eventually(trial.config, lambda found: not found, SLOW)
    assert trial.tenant.get(host_node)["metadata"]["annotations"][names.LEFT_BY_ANNOTATION]
    assert trial.pool_objects() == ({}, {})
    assert REFUSED not in operator.log_text()[since:]


@pytest.mark.refused
def test_a_write_that_a_policy_refuses_is_told_with_the_policy_and_what_to_do(trial: Trial, world: World) -> None:
    shipped, narrow = "expression: '''*'''", "expression: '''other'''"
    text = (ROOT / "deploy" / "admission.yaml").read_text()
    assert text.count(shipped) == 3
    world.infra.apply(text.replace(shipped, narrow))
    try:
        await_infra(world, config("new"))
        trial.quick_start()
        said = trial.wait("McpReady", "False", "Forbidden")["message"]
        assert "dpunetop-machineconfigs" in said
        assert "the parameter pools" in said
        assert "add it" in said
    finally:
        world.infra.apply(text)
    trial.wait("Ready", "True", within=SLOW)


def is_as_before(host: dict[str, Any]) -> bool:
    marked = names.CORDONED_BEFORE_ANNOTATION in (host["metadata"].get("annotations") or {})
    return not marked and not host["spec"].get("unschedulable")
