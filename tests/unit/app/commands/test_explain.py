"""`explain`: where one DPU or host stands, what it waits for by name, and what to type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.app.commands import waysout
from dpunetop.app.commands.blocking import left_pods
from dpunetop.app.commands.exits import Exit
from dpunetop.domain import names
from dpunetop.domain.dpunode.status import Phase
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import EVENTS, NODES, PODS
from support.looks import explained, looker, say, serving
from support.objects import condition
from support.scripteddrain import DPU, HOST, TENANT, World


def tenant_pod(name: str, **but: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "web", "labels": {"app": "web"}, **but.pop("metadata", {})}
    return {"metadata": metadata, "spec": {"nodeName": HOST}, "status": {"phase": "Running"}, **but}


def blocked() -> World:
    """A host whose drain waits for a pod that a budget of the tenant holds."""
    world = serving()
    world.cordon()
    world.settle()
    world.tenant.put(PODS, tenant_pod("web-0"))
    selector = {"matchLabels": {"app": "web"}}
    budget = {"metadata": {"name": "web", "namespace": "web"}, "spec": {"selector": selector}}
    world.tenant.put(names.PODDISRUPTIONBUDGETS, {**budget, "status": {"disruptionsAllowed": 0}})
    return world


@pytest.mark.parametrize("node", [DPU, HOST])
def test_a_blocked_drain_names_pod_and_budget_and_the_command(node: str) -> None:
    said, code = explained(blocked(), node)
    assert f"DPU {DPU}, host {HOST}, DpuClusterConfig dpu-one/sample" in said
    assert "stands:    Draining, since 2026-01-01T00:00:00Z" in said
    assert "pod web/web-0 of the tenant is running; PodDisruptionBudget web/web allows no eviction of it now" in said
    assert "kubectl --kubeconfig tenant.yaml -n web describe pdb web" in said
    assert f"kubectl uncordon {DPU}" in said
    assert code is Exit.WRONG


def test_without_the_tenant_the_pods_are_not_known_and_that_is_said() -> None:
    said, code = explained(blocked(), HOST, tenant=False)
    assert "not looked at: no --tenant-kubeconfig was given for it" in said
    assert "web-0" not in said
    assert code is Exit.UNSEEN


def test_pods_that_may_not_be_listed_are_said_not_to_be_known() -> None:
    world = blocked()
    world.tenant.refuses["list pods"] = Forbidden(403, "Forbidden", "pods is forbidden")
    said, code = explained(world, HOST)
    assert f"not looked at: the pods of host {HOST} were not looked at" in said
    assert code is Exit.UNSEEN


@pytest.mark.parametrize(
    "pod",
    [
        tenant_pod("d", metadata={"ownerReferences": [{"kind": "DaemonSet", "name": "d", "controller": True}]}),
        tenant_pod("m", metadata={"annotations": {"kubernetes.io/config.mirror": "x"}}),
        tenant_pod("s", status={"phase": "Succeeded"}),
        tenant_pod("f", status={"phase": "Failed"}),
    ],
)
def test_what_no_drain_evicts_is_not_waited_for(pod: dict[str, Any]) -> None:
    world = World()
    world.tenant.put(PODS, pod)
    assert left_pods(looker(world).reader, TENANT, HOST) == ()


def test_a_dpu_that_serves_is_well_and_there_is_nothing_to_type() -> None:
    said, code = explained(serving(), DPU)
    assert "stands:    Serving" in said
    assert "NetworkReady=True" in said
    assert "kubectl" not in said
    assert code is Exit.GOOD


def test_the_last_events_of_both_clusters_are_told_the_newest_first() -> None:
    world = blocked()
    for cluster, node, minute in ((world.infra, DPU, 1), (world.tenant, HOST, 2)):
        regarding = {"kind": "Node", "name": node}
        told = {"type": "Warning", "reason": "Said", "note": f"of {node}", "eventTime": f"2026-01-01T00:0{minute}:00Z"}
        cluster.put(EVENTS, {"metadata": {"name": "e", "namespace": "default"}, "regarding": regarding, **told})
    said, _ = explained(world, DPU)
    lines = [line.strip() for line in said.splitlines() if "Warning Said" in line]
    assert lines == [
        f"2026-01-01T00:02:00Z tenant Warning Said Node/{HOST}: of {HOST}",
        f"2026-01-01T00:01:00Z infra Warning Said Node/{DPU}: of {DPU}",
    ]


def test_a_name_that_nobody_has_is_answered_with_those_that_there_are() -> None:
    said, code = explained(serving(), "dpu-99")
    assert f"no DPU and no host is called dpu-99; there are {DPU}, {HOST}" in said
    assert code is Exit.USAGE


def test_a_typed_host_is_told_at_its_dpu() -> None:
    world = serving()
    world.pair_up(**{DPU: "host-11"})
    said, _ = explained(world, DPU)
    assert "mistake:   HostAbsent:" in said
    assert "did you mean host-1?" in said


def test_what_strangers_write_is_not_obeyed() -> None:
    world = blocked()
    world.tenant.put(PODS, tenant_pod("web\x1b[2J-1", status={"phase": "Run\x07\x9b31m"}))
    note = {"note": "n\x1b]0;title\x07" * 999, "reason": "R\x1b[31m", "type": "W\n"}
    regarding = {"kind": "Node", "name": DPU}
    world.infra.put(EVENTS, {"metadata": {"name": "e", "namespace": "default"}, "regarding": regarding, **note})
    say(world, condition("Ready", "False", "E\x1bvil", "m\x1b" * 9000))
    said, _ = explained(world, DPU)
    assert all(" " <= each <= "~" or each == "\n" for each in said)
    assert max(map(len, said.splitlines())) < 1500


def test_each_phase_has_its_commands() -> None:
    world = serving()
    found = looker(world)
    (config,) = found.look().configs
    status = config.hosts[0].statuses[0]
    for phase in Phase:
        case = waysout.Case(config.config, replace(status, phase=phase), None, ())
        ways = waysout.ways_out(case)
        assert all(each.command.startswith("kubectl ") for each in ways)
        assert bool(ways) is (phase not in (Phase.SERVING, Phase.SPARE))


def test_a_node_that_is_gone_is_explained_all_the_same() -> None:
    world = serving()
    world.infra.drop(NODES, "", DPU)
    said, code = explained(world, HOST)
    assert f"host {HOST}" in said
    assert code is not Exit.GOOD


@pytest.mark.parametrize(("selector", "is_held"), [({}, True), (None, False), ({"matchLabels": {"app": "db"}}, False)])
def test_a_budget_holds_the_pods_that_its_selector_picks(selector: dict[str, Any] | None, is_held: bool) -> None:
    world = World()
    world.tenant.put(PODS, tenant_pod("web-0"))
    budget = {"metadata": {"name": "all", "namespace": "web"}, "spec": {"selector": selector}}
    world.tenant.put(names.PODDISRUPTIONBUDGETS, {**budget, "status": {"disruptionsAllowed": 0}})
    (pod,) = left_pods(looker(world).reader, TENANT, HOST)
    assert bool(pod.budgets) is is_held
