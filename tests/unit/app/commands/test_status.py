"""`status`: all DPUs, worst first, from the operator's own code with no operator running."""

from __future__ import annotations

import io
import json

import pytest

from dpunetop.app.commands import status
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import DEFAULT_OPERATOR_NAMESPACE
from dpunetop.app.commands.output import Format, Output
from dpunetop.app.commands.saying import spelled_age
from dpunetop.domain import names
from dpunetop.kube.errors import ApiError, Forbidden, Unreachable
from dpunetop.kube.keys import LEASES, NODES, PODS
from support.looks import explained, say, see, serving, status_of
from support.objects import condition, config
from support.scripteddrain import DPU, HOST, OPERATOR, World, dpu_node


def test_a_pair_that_serves_is_good_and_nothing_is_written() -> None:
    world = serving()
    said, code = status_of(world)
    assert said.splitlines()[1].split()[:5] == [HOST, DPU, "dpu-one/sample", "Serving", "yes"]
    assert "1 of 1 hosts have a network" in said
    assert "an operator is at work" in said
    assert code is Exit.GOOD
    assert world.writes() == []


def test_without_the_tenant_it_is_said_and_the_exit_code_is_3() -> None:
    said, code = status_of(serving(), tenant=False)
    assert "dpu-one/sample: its tenant was not looked at: no --tenant-kubeconfig was given for it" in said
    assert "the operator says: Ready=True AllReady" in said
    assert code is Exit.UNSEEN


@pytest.mark.parametrize("error", [Unreachable(0, "Refused", "nobody listens"), Forbidden(403, "Forbidden", "no")])
def test_a_tenant_that_cannot_be_read_counts_as_not_looked_at(error: ApiError) -> None:
    world = serving()
    for each in ("nodes", "nodemaintenances", "customresourcedefinitions"):
        world.tenant.refuses[f"list {each}"] = error
    said, code = status_of(world)
    assert "its tenant was not looked at: " in said
    assert code is Exit.UNSEEN


def asked(side: str) -> list[str]:
    """The kinds that a look lists in one cluster, but for those without which there is nothing to say."""
    world = serving()
    status_of(world)
    cluster = {"infra": world.infra, "tenant": world.tenant}[side]
    return sorted({each for each in cluster.asked if each.startswith("list ") and "dpuclusterconfigs" not in each})


@pytest.mark.parametrize(("side", "read"), [(side, each) for side in ("infra", "tenant") for each in asked(side)])
def test_one_read_that_is_not_permitted_is_told_with_the_next_step_and_never_as_something_wrong(
    side: str, read: str
) -> None:
    world = serving()
    cluster = {"infra": world.infra, "tenant": world.tenant}[side]
    cluster.refuses[read] = Forbidden(403, "Forbidden", f"you may not {read}")
    said, code = status_of(world)
    assert [line for line in said.splitlines() if f"you may not {read}" in line and "give a kubeconfig" in line]
    assert "0 of 0 hosts" not in said
    assert "not synced" not in said
    assert code is Exit.UNSEEN


def test_a_dpu_is_not_said_to_be_unknown_where_infra_was_not_looked_at() -> None:
    world = serving()
    world.infra.refuses["list nodes"] = Forbidden(403, "Forbidden", "you may not list nodes")
    said, code = explained(world, DPU)
    assert "dpu-one/sample was not looked at: nodes of infra: 403 Forbidden: you may not list nodes" in said
    assert code is Exit.UNSEEN


def refused(pods: int) -> World:
    """A host whose drain is refused by a budget of the tenant."""
    world = serving()
    world.cordon()
    world.settle()
    for number in range(pods):
        metadata = {"name": f"web-{number}", "namespace": "shop", "labels": {"app": "web"}}
        world.tenant.put(PODS, {"metadata": metadata, "spec": {"nodeName": HOST}, "status": {"phase": "Running"}})
    held = {"spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": {"disruptionsAllowed": 0}}
    world.tenant.put(names.PODDISRUPTIONBUDGETS, {"metadata": {"name": "one", "namespace": "shop"}, **held})
    return world


@pytest.mark.parametrize(("pods", "more"), [(1, ""), (2, ", and 1 more pod alike"), (5, ", and 4 more pods alike")])
def test_a_drain_that_a_budget_refuses_is_told_with_pod_budget_and_what_moves_it_on(pods: int, more: str) -> None:
    world = refused(pods)
    row = status_of(world)[0].splitlines()[1]
    assert row.split()[3] == "Draining"
    assert "refused: pod shop/web-0 of the tenant is running; PodDisruptionBudget shop/one allows no eviction" in row
    assert f"of it now{more}; in the tenant, make room in that budget, or delete the pod" in row
    assert f"kubectl dpu explain {DPU}" in row
    assert "wait;" not in row
    (document,) = status.as_document(see(world), world.clock.now())["dpus"]
    assert len(document["refusedBy"]) == pods


def test_a_drain_that_no_budget_refuses_is_told_as_before() -> None:
    world = refused(1)
    world.tenant.drop(names.PODDISRUPTIONBUDGETS, "shop", "one")
    row = status_of(world)[0].splitlines()[1]
    assert "refused" not in row


def test_a_drain_whose_pods_may_not_be_listed_says_so_and_the_exit_code_is_3() -> None:
    world = refused(1)
    world.tenant.refuses["list pods"] = Forbidden(403, "Forbidden", "you may not list pods")
    said, code = status_of(world)
    assert f"the pods of host {HOST} were not looked at: " in said.splitlines()[1]
    assert "its tenant was not looked at" not in said
    assert code is Exit.UNSEEN


def test_a_refused_drain_is_read_in_80_columns_with_no_word_lost() -> None:
    world, stream = refused(1), io.StringIO()
    out = Output(stream, Format.TABLE, False, True)
    status.show(out, see(world), world.clock.now())
    said = stream.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    assert "PodDisruptionBudget shop/one allows no eviction of it now" in " ".join(said.split())


def test_a_host_without_network_comes_first_with_host_cause_and_age() -> None:
    world = serving()
    world.infra.put(NODES, dpu_node("b1", name="a2"))
    live = world.infra.shown(NODES, "", DPU)
    since = world.clock.now().isoformat().replace("+00:00", "Z")
    lost = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": since}
    world.infra.put(NODES, {**live, "status": {**live.get("status", {}), "conditions": [lost]}})
    world.clock.step(600.0)
    for tenant in (True, False):
        said, code = status_of(world, tenant=tenant)
        assert said.splitlines()[1].split()[:6] == [HOST, DPU, "dpu-one/sample", "NoNetwork", "NO", "10m"]
        assert f"DPU node {DPU} is not Ready" in said
        assert f"1 have none: {HOST}" in said
        assert code is Exit.WRONG


def test_each_dpu_has_a_row_and_one_that_nothing_is_wrong_with_comes_last() -> None:
    world = serving()
    world.infra.put(NODES, dpu_node("b1", name="a2"))
    said, _ = status_of(world, form=Format.WIDE)
    assert [line.split()[1] for line in said.splitlines()[1:3]] == ["a2", DPU]


def test_an_operator_that_renews_its_lease_no_more_is_said() -> None:
    world = serving()
    world.clock.step(90.0)
    said, _ = status_of(world)
    assert 'no operator is at work: "pod-1" has not renewed Lease dpunetop/dpunetop for 90 s' in said


def test_an_operator_without_a_lease_is_found_where_its_blockers_are() -> None:
    world = serving()
    world.infra.drop(LEASES, OPERATOR, names.OPERATOR_LEASE)
    look = see(world)
    assert look.operator.namespace == OPERATOR
    assert look.operator.is_alive is None
    [conditions] = [each.conditions for host in look.configs[0].hosts for each in host.statuses]
    assert {each.type: each.status for each in conditions}["Protected"] == "True"
    assert (
        "whether an operator is at work is not known: there is no Lease dpunetop in any namespace"
        in (status_of(world)[0])
    )


def test_blockers_show_the_operators_namespace_where_an_old_lease_is_left_elsewhere() -> None:
    world = serving()
    world.infra.drop(LEASES, OPERATOR, names.OPERATOR_LEASE)
    old = {"holderIdentity": "pod-0", "renewTime": "2025-01-01T00:00:00.000000Z"}
    world.infra.put(LEASES, {"metadata": {"name": names.OPERATOR_LEASE, "namespace": "before"}, "spec": old})
    seen = see(world).operator
    assert (seen.namespace, seen.is_alive) == (OPERATOR, False)


def test_before_there_is_anything_the_operator_is_where_it_is_installed() -> None:
    assert see(World()).operator.namespace == DEFAULT_OPERATOR_NAMESPACE


def test_a_config_that_nobody_serves_is_named_with_the_reason() -> None:
    world = World()
    other = config("other", "dpu-one", poolName="dpu")
    other["status"] = {}
    world.infra.put(names.DPUCLUSTERCONFIGS, other)
    said, code = status_of(world)
    assert "dpu-one/other: " in said
    assert code is Exit.WRONG


def test_infra_that_does_not_answer_is_an_error_and_no_empty_table() -> None:
    world = World()
    world.infra.refuses["list dpuclusterconfigs"] = Unreachable(0, "Refused", "nobody listens")
    with pytest.raises(Unreachable):
        see(world)


def test_a_document_says_all_that_the_table_says() -> None:
    world, stream = serving(), io.StringIO()
    look = see(world)
    Output(stream, Format.JSON, False, False).document(status.as_document(look, world.clock.now()))
    found = json.loads(stream.getvalue())
    assert found["operator"]["alive"] is True
    assert [(each["host"], each["dpu"], each["phase"], each["network"]) for each in found["dpus"]] == [
        (HOST, DPU, "Serving", "True")
    ]
    assert found["configs"][0]["operatorSays"][-1]["reason"] == "AllReady"


def test_what_strangers_write_is_neither_obeyed_nor_lets_the_table_grow() -> None:
    world = serving()
    world.pair_up(**{DPU: "\x1b[2J\u202e" + "h" * 5000})
    say(world, condition("Ready", "False", "Evil\x1b[31m", "m\x07\n" * 3000))
    world.infra.put(PODS, {"metadata": {"name": "p\x1b", "namespace": "dpu-one"}, "spec": {"nodeName": DPU}})
    said, code = status_of(world, form=Format.WIDE)
    assert all(" " <= each <= "~" or each == "\n" for each in said)
    assert max(map(len, said.splitlines())) < 1000
    assert code is Exit.WRONG


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (119, "119s"), (300, "5m"), (301, "5m1s"), (7200, "2h"), (200_000, "2d7h")]
)
def test_an_age_is_spelled_in_two_units_at_most(seconds: int, words: str) -> None:
    assert spelled_age(seconds) == words
