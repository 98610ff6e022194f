"""`status`: all DPUs, worst first, from the operator's own code with no operator running."""

from __future__ import annotations

import io
import json

import pytest

from dpunetop.app.commands import status
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.output import Format, Output
from dpunetop.app.commands.saying import spelled_age
from dpunetop.domain import names
from dpunetop.kube.errors import ApiError, Forbidden, Unreachable
from dpunetop.kube.keys import NODES, PODS
from support.looks import say, see, serving, status_of
from support.objects import condition, config
from support.scripteddrain import DPU, HOST, World, dpu_node


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
