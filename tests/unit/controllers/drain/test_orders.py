"""What a person orders by the annotation of a DPU's Node is told, with what becomes of which host."""

from __future__ import annotations

from dpunetop.domain import names
from dpunetop.domain.drain.model.record import State
from dpunetop.kube.keys import NODES, PODS
from dpunetop.kube.requests import Selection
from support.objects import NAMESPACE
from support.scripteddrain import DPU, HOST, OPERATOR, World


def order(world: World, text: str) -> None:
    """`kubectl annotate node <dpu> dpu.openshift.io/drain=<text>`; an empty one takes it off."""
    node = world.infra.shown(NODES, "", DPU)
    notes = {**node["metadata"].get("annotations", {}), names.DRAIN_ANNOTATION: text}
    if not text:
        del notes[names.DRAIN_ANNOTATION]
    world.infra.put(NODES, {**node, "metadata": {**node["metadata"], "annotations": notes}})


def told(world: World, reason: str) -> list[tuple[str, str, str]]:
    """Events of that reason: how grave, about what, and the words."""
    found = [each for each in world.told if each.reason == reason]
    return [(each.type, each.resource.plural, each.note) for each in found]


def serving() -> World:
    """A pair whose pod serves its host."""
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.settle()
    return world


def draining() -> World:
    """The host is being drained."""
    world = serving()
    world.cordon()
    world.settle()
    return world


def test_a_cordon_that_a_person_skips_is_told_with_the_host_that_is_not_drained() -> None:
    world = serving()
    order(world, "skip")
    world.settle()
    assert told(world, "DrainSkipped") == []
    world.cordon()
    world.settle()
    words = f"the cordon of {DPU} asks for no drain of host {HOST}: it is annotated dpu.openshift.io/drain=skip"
    assert told(world, "DrainSkipped") == [("Normal", "nodes", words)]
    world.settle()
    assert len(told(world, "DrainSkipped")) == 1


def test_a_drain_that_a_person_skips_is_told_to_end() -> None:
    world = draining()
    order(world, "skip")
    world.settle()
    [(_, _, words)] = told(world, "DrainSkipped")
    assert words.endswith(f"; the drain that runs ends as if {DPU} was uncordoned")
    assert world.maintenance() is None
    order(world, "")
    world.settle()
    assert world.state() is State.DRAINING
    order(world, "skip")
    world.settle()
    assert len(told(world, "DrainSkipped")) == 2


def test_another_process_does_not_tell_of_what_is_skipped_at_rest() -> None:
    world = serving()
    order(world, "skip")
    world.cordon()
    world.settle()
    world.start()
    world.settle()
    assert len(told(world, "DrainSkipped")) == 1


def test_a_budget_that_a_person_opens_by_force_is_told_with_the_host_that_may_not_be_drained() -> None:
    world = draining()
    order(world, "force:b1")
    world.settle()
    assert world.budget().is_open
    words = (
        f"{DPU} may be drained and rebooted by force, whether host {HOST} is drained or not: the host has no network "
        f"until {DPU} is back"
    )
    assert told(world, "DrainForced") == [("Warning", "nodes", words)]


def test_a_drain_that_ends_by_force_and_without_proof_is_told_on_the_node_and_on_the_config() -> None:
    world = draining()
    world.drain_host()
    world.settle()
    world.infra.drop(PODS, OPERATOR, f"blocker-{DPU}")
    world.cordon(False)
    order(world, "force:b1")
    world.settle()
    words = (
        f"host {HOST} is left cordoned: nothing has shown that its network works, and the drain of {DPU} ends by "
        "force. Uncordon it yourself"
    )
    assert told(world, "HostLeftCordoned") == [("Warning", kind, words) for kind in ("dpuclusterconfigs", "nodes")]


# --- hold, and a pair that ends ---------------------------------------------------------------------------------------


def lets_go(world: World) -> None:
    """The host is drained; the pod of a DPU that lets it go ends."""
    world.drain_host()
    world.settle()


def test_a_host_that_is_led_out_keeps_its_dpu_while_a_person_holds_it() -> None:
    world = serving()
    order(world, "hold")
    world.delete_config()
    world.settle()
    lets_go(world)
    assert (world.budget().serves, world.budget().is_open) == (HOST, False)
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
    assert len(world.infra.listed(Selection(PODS, NAMESPACE))) == 1
    assert "a person holds" in world.message()
    order(world, "")
    world.settle()
    assert (world.left(), world.maintenance()) == ([], None)


def test_a_host_that_is_unpaired_keeps_its_dpu_while_a_person_holds_it() -> None:
    world = draining()
    order(world, "hold")
    world.pair_up()
    world.settle()
    lets_go(world)
    assert world.entries() == {DPU: f"TENANT_K8S_NODE={HOST}\n"}
    assert world.said() == ("False", "HeldByAnnotation")
    order(world, "")
    world.settle()
    assert world.entries() == {}


def test_the_end_that_is_forced_does_not_wait_for_whoever_holds_a_dpu() -> None:
    world = serving()
    order(world, "hold")
    world.delete_config()
    world.settle()
    lets_go(world)
    world.delete_config(force_delete="yes")
    world.infra.drop(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    world.settle()
    assert (world.left(), world.maintenance()) == ([], None)
