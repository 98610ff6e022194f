"""The limit holds for whoever cordons, whatever was decided before."""

from __future__ import annotations

from typing import Any

from dpunetop.domain.drain.model.calls import Call, Done, Result, Task, Write, drive
from dpunetop.domain.drain.model.cordonmark import CordonMark, CordonProgress, mark_of
from dpunetop.domain.drain.model.facts import Author, HostRef
from dpunetop.domain.drain.outages.cordoning import CordonHost, MarkHost, Server
from dpunetop.domain.drain.outages.detection import Outage
from dpunetop.kube.keys import NODES
from support.outageworld import OPERATOR_NAMESPACE, OWNER, PODS_NAMESPACE, TENANT, OutageWorld


def both_marked() -> OutageWorld:
    """Two hosts have no network, and two that decide at once have marked them."""
    world = OutageWorld(limit=1)
    for host in ("h1", "h2"):
        world.fail(host, node=True)
    world.tick(400)
    for host in ("h1", "h2"):
        marking = MarkHost(host_ref(world, host), server(host), outage(world, host), 300)
        assert carry_out(world, marking).result is Result.DONE
    return world


def host_ref(world: OutageWorld, host: str) -> HostRef:
    return HostRef(host, TENANT, OPERATOR_NAMESPACE, OWNER, Author("dpunetop-drain", "term", "x", world.now))


def server(host: str) -> Server:
    dpu = host.replace("h", "d")
    return Server(dpu, PODS_NAMESPACE, (f"ovn-{dpu}",))


def outage(world: OutageWorld, host: str) -> Outage:
    return Outage(host, server(host).dpu, world.now - 400, "x", world.now - 400)


def carry_out(world: OutageWorld, task: Task) -> Done:
    def perform(call: Call) -> Any:
        return world.servers[call.step.cluster if isinstance(call, Write) else call.cluster].perform(call)

    return drive(task, perform)


def mark(world: OutageWorld, host: str) -> CordonMark | None:
    node = world.tenant.get(NODES, "", host)
    assert node is not None
    return mark_of(node)


def cordon(world: OutageWorld, host: str) -> Result:
    seen = mark(world, host)
    assert seen is not None
    return carry_out(world, CordonHost(host_ref(world, host), server(host), seen, outage(world, host), 300, 1)).result


def test_of_two_that_are_marked_at_once_the_first_waits_until_the_other_draws_back() -> None:
    world = both_marked()
    assert cordon(world, "h1") is Result.STALE
    assert cordon(world, "h2") is Result.REFUSED
    assert mark(world, "h2") is None
    assert cordon(world, "h1") is Result.DONE
    assert world.cordoned_by_us() == ["h1"]


def test_whoever_is_marked_after_another_was_cordoned_draws_back() -> None:
    world = both_marked()
    assert cordon(world, "h2") is Result.REFUSED
    assert cordon(world, "h1") is Result.DONE
    late = MarkHost(host_ref(world, "h2"), server("h2"), outage(world, "h2"), 300)
    assert carry_out(world, late).result is Result.DONE
    assert cordon(world, "h2") is Result.REFUSED
    assert (world.cordoned_by_us(), mark(world, "h2")) == (["h1"], None)


def test_an_outage_that_has_begun_a_moment_ago_is_not_taken_for_the_one_that_was_decided_on() -> None:
    world = both_marked()
    world.recover("h1")
    world.fail("h1", node=True)
    world.tick(10)
    assert cordon(world, "h1") is Result.STALE
    seen = mark(world, "h1")
    assert seen is not None
    assert seen.stage is CordonProgress.WANTED
