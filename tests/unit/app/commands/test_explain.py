"""`explain`: where one DPU or host stands, what it waits for by name, and what to type."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.app.commands import waysout
from dpunetop.app.commands.blocking import left_pods
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.happened import MOST_EVENTS
from dpunetop.domain import names
from dpunetop.domain.dpunode.status import Phase
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import EVENTS, NODES, PODS
from support.looks import explained, inspector_of, say, serving
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
    assert left_pods(inspector_of(world).reader, TENANT, HOST) == ()


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


def told(kind: str, name: str, note: str, minute: int, **but: Any) -> dict[str, Any]:
    """An Event about an object."""
    namespace = but.pop("namespace", "default")
    metadata = {"name": f"e-{name}-{note}-{minute}".replace(" ", "-"), "namespace": namespace}
    words = {"type": "Normal", "reason": "Said", "note": note, "eventTime": f"2026-01-01T00:{minute:02}:00.000000Z"}
    return {"metadata": metadata, "regarding": {"kind": kind, "name": name}, **words, **but}


def lines_with(said: str, words: str) -> list[str]:
    return [line.strip() for line in said.splitlines() if words in line]


def test_many_events_of_one_cluster_crowd_out_neither_those_of_the_other_nor_the_rest_of_the_page() -> None:
    world = blocked()
    for minute in range(40):
        world.infra.put(EVENTS, told("Node", DPU, f"pressure {minute}", minute))
    world.tenant.put(EVENTS, told("Node", HOST, "an old one", 0))
    said, _ = explained(world, DPU)
    assert len(lines_with(said, "infra Normal Said")) == MOST_EVENTS
    assert len(lines_with(said, "tenant Normal Said")) == 1
    assert lines_with(said, "more about") == [
        f"and {40 - MOST_EVENTS} more about Node/{DPU} of infra: kubectl get events --all-namespaces "
        f"--field-selector involvedObject.kind=Node,involvedObject.name={DPU}"
    ]


def test_events_of_the_tenant_that_are_not_shown_are_listed_with_its_kubeconfig() -> None:
    world = blocked()
    for minute in range(MOST_EVENTS + 2):
        world.tenant.put(EVENTS, told("Node", HOST, f"n {minute}", minute))
    (more,) = lines_with(explained(world, DPU)[0], "more about")
    assert more.startswith(f"and 2 more about Node/{HOST} of tenant: kubectl --kubeconfig tenant.yaml get events ")


def test_events_that_say_the_same_are_one_with_how_often_it_was_told() -> None:
    world = blocked()
    for minute in range(9):
        world.infra.put(EVENTS, told("Node", DPU, "again", minute))
    series = {"series": {"count": 5, "lastObservedTime": "2026-01-01T00:20:00.000000Z"}}
    world.infra.put(EVENTS, told("Node", DPU, "again", 10, **series))
    world.infra.put(EVENTS, told("Node", DPU, "of old", 11, deprecatedCount=3))
    said, _ = explained(world, DPU)
    assert lines_with(said, "Said Node") == [
        f"2026-01-01T00:20:00Z infra Normal Said Node/{DPU} (14 times): again",
        f"2026-01-01T00:11:00Z infra Normal Said Node/{DPU} (3 times): of old",
    ]


def test_events_of_another_dpuclusterconfig_of_that_name_are_not_told() -> None:
    world = blocked()
    world.infra.put(EVENTS, told("DpuClusterConfig", "sample", "of ours", 1, namespace="dpu-one"))
    world.infra.put(EVENTS, told("DpuClusterConfig", "sample", "of others", 2, namespace="dpu-two"))
    said, _ = explained(world, DPU)
    assert "of ours" in said
    assert "of others" not in said


def test_events_within_one_second_are_in_order() -> None:
    world = blocked()
    for note, time in (("first", "00:00:01Z"), ("second", "00:00:01.200000Z"), ("third", "00:00:01.900000Z")):
        world.infra.put(EVENTS, told("Node", DPU, note, 0, eventTime=f"2026-01-01T{time}"))
    said, _ = explained(world, DPU)
    assert [line.rpartition(" ")[2] for line in lines_with(said, "Said Node")] == ["third", "second", "first"]


@pytest.mark.parametrize("side", ["infra", "tenant"])
def test_events_that_may_not_be_read_are_told_as_not_looked_at_once_and_change_no_exit_code(side: str) -> None:
    world = serving()
    clusters = {"infra": world.infra, "tenant": world.tenant}
    clusters[side].refuses["list events"] = Forbidden(403, "Forbidden", "you may not list events")
    said, code = explained(world, DPU)
    (line,) = lines_with(said, "you may not list events")
    assert line.startswith(f"not looked at: Events of {side}")
    assert code is Exit.GOOD


def test_an_unknown_name_is_answered_with_the_existing_ones() -> None:
    said, code = explained(serving(), "dpu-99")
    assert f"no DPU and no host is called dpu-99; there are {DPU}, {HOST}" in said
    assert code is Exit.USAGE


def test_a_typed_host_is_told_at_its_dpu() -> None:
    world = serving()
    world.pair_up(**{DPU: "host-11"})
    said, _ = explained(world, DPU)
    assert "mistake:   HostAbsent:" in said
    assert "did you mean host-1?" in said


def test_terminal_sequences_in_foreign_text_are_not_executed() -> None:
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
    found = inspector_of(world)
    (config,) = found.inspect().configs
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
    (pod,) = left_pods(inspector_of(world).reader, TENANT, HOST)
    assert bool(pod.budgets) is is_held
