"""Each DPU has its DpuNode: made once, changed only when something else is to be said, gone when the card leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from dpunetop.base.stop import Stop
from dpunetop.controllers.dpunodes import SETTLING_SECONDS, UNSERVED, DpuNodes
from dpunetop.controllers.drain.store import key_of
from dpunetop.domain import names
from dpunetop.domain.dpunode.objects import kept
from dpunetop.domain.dpunode.status import NOTHING_SERVED, DpuNodeStatus, Phase
from dpunetop.domain.drain.fleet.roster import Slot
from dpunetop.domain.names import DPUNODES
from dpunetop.domain.reasons import DPU_NODE_CONDITIONS, DRAIN_ALLOWED
from dpunetop.kube.conditions import Condition
from dpunetop.kube.errors import ApiError, Forbidden
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, INFRA, NODES, Key, crd_name
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.executor import BEHIND_SECONDS
from support.rosters import member
from support.scripteddrain import DPU, HOST, World

NAMESPACE = "dpu-one"
KEY = Key(INFRA, NAMESPACE, DPU)
DEFINITION = {
    "metadata": {"name": crd_name(DPUNODES)},
    "status": {"conditions": [{"type": "Established", "status": "True"}]},
}


class FakeHandle:
    """The cache of a selection, as full as the cluster is."""

    def __init__(self, one_pair: OnePair, selection: Selection, handler: Callable[[Change], None]) -> None:
        self.one_pair, self.selection, self.handler = one_pair, selection, handler
        self.lister, self.is_released = self, False

    @property
    def trouble(self) -> ApiError | None:
        return self.one_pair.troubles.get(self.selection.resource)

    def has_synced(self) -> bool:
        return self.trouble is None

    def get(self, namespace: str, name: str) -> Any:
        if (namespace, name) in self.one_pair.outdated:
            return kept(self.one_pair.outdated[namespace, name])
        found = self.one_pair.world.infra.shown(DPUNODES, namespace, name)
        return None if found is None else kept(found)

    def release(self) -> None:
        self.is_released = True


class OnePair:
    """One pair, the controllers of its drain, and that of DpuNodes."""

    def __init__(self, *, served: bool = True) -> None:
        self.world = World().protected()
        self.world.run_pod("p1", "container-of-b1")
        self.troubles: dict[Any, ApiError] = {}
        self.handles: list[FakeHandle] = []
        self.woken = set[Key]()
        self.outdated: dict[tuple[str, str], Any] = {}  # what the cache shows of objects that are others by now
        self.is_served = served
        self.start()

    def start(self) -> None:
        """A new process."""
        world = self.world
        world.start()
        infra = cast(Any, SimpleNamespace(share_informer=self._share_informer))
        self.dpu_nodes = DpuNodes(infra, world.drain_store, world.executor, world.clock)
        self.forgotten = set[Key]()
        self.dpu_nodes.connect(self.woken.add, self.woken.add, self.forgotten.add)
        world.drain_store.connect(world.woken.add, world.woken.add, self.woken.add)

    def _share_informer(self, selection: Selection, handler: Any, on_synced: Any, on_trouble: Any) -> FakeHandle:
        handle = FakeHandle(self, selection, handler)
        self.handles.append(handle)
        if handle.trouble is not None:
            self.world.clock.step(0)
            self._late = on_trouble
            return handle
        if selection.resource == CUSTOMRESOURCEDEFINITIONS and self.is_served:
            handler(Change(None, DEFINITION))
        on_synced()
        return handle

    def settle(self) -> list[str]:
        """Run all until nobody is woken; what was written of DpuNodes."""
        before = len(self.world.infra.writes)
        self.world.settle()
        while self.woken:
            self.dpu_nodes.reconcile(self.woken.pop(), Stop())
        return [each.split(" ", 1)[1] for each in self.world.infra.writes[before:] if "dpunodes" in each]

    def notes(self) -> list[str]:
        """What the DpuClusterConfig was told of DpuNodes that are not written."""
        return [each.note for each in self.world.told if each.reason == "DpuNodesNotWritten"]

    def home(self) -> Key:
        """Of the host."""
        (roster,) = self.world.drain_store.rosters()
        return key_of(roster.config.tenant_cluster, ("host", HOST))

    def shown(self) -> DpuNodeStatus:
        """Where the DPU stands when all has been looked at."""
        self.world.settle()
        (roster,) = self.world.drain_store.rosters()
        (found,) = self.world.drain_store.dpus(roster)
        assert found is not None
        return found

    def settling(self) -> DpuNodeStatus:
        """Where it stood before its budget was made."""
        unguarded = conditions(DRAIN_ALLOWED, NOTHING_SERVED)
        return replace(self.shown(), phase=Phase.WAITING, reason="ProtectionPending", conditions=unguarded)

    def reconciled(self) -> tuple[list[str], float | None]:
        """What one pass writes of DpuNodes, and when it wants the next one."""
        before = len(self.world.infra.writes)
        again = self.dpu_nodes.reconcile(KEY, Stop())
        return [each.split(" ", 1)[1] for each in self.world.infra.writes[before:] if "dpunodes" in each], again

    def status(self) -> Any:
        return self.world.infra.shown(DPUNODES, NAMESPACE, DPU)["status"]

    def condition(self, type_: str) -> Any:
        return next(each for each in self.status()["conditions"] if each["type"] == type_)


def conditions(type_: str, reason: str) -> tuple[Condition, ...]:
    """All of them good, one of them for that reason."""
    return tuple(Condition(each, "True", reason if each == type_ else "Guarded") for each in DPU_NODE_CONDITIONS)


DENIED = Forbidden(403, "Forbidden", "may not write dpunodes")
MADE = [f"apply dpunodes/{DPU}", f"status dpunodes/{DPU}"]


def test_it_is_made_in_two_writes_and_owned_by_its_config() -> None:
    one_pair = OnePair()
    assert one_pair.settle() == MADE
    found = one_pair.world.infra.shown(DPUNODES, NAMESPACE, DPU)
    (owner,) = found["metadata"]["ownerReferences"]
    assert (owner["kind"], "blockOwnerDeletion" in owner) == ("DpuClusterConfig", False)
    assert (one_pair.status()["host"], one_pair.condition("Protected")["status"]) == (HOST, "True")


def test_at_rest_nothing_is_written_whoever_wakes_it_and_whoever_starts_anew() -> None:
    one_pair = OnePair()
    one_pair.settle()
    for _ in range(3):
        one_pair.world.clock.step(60)
        one_pair.woken.add(KEY)
        assert one_pair.settle() == []
    one_pair.start()
    assert one_pair.settle() == []


def test_what_stands_stays_until_a_new_process_has_looked() -> None:
    one_pair = OnePair()
    one_pair.settle()
    before = one_pair.status()
    one_pair.start()
    one_pair.dpu_nodes.reconcile(KEY, Stop())
    assert one_pair.status() == before


def test_a_change_is_one_write_and_dates_only_what_has_changed() -> None:
    one_pair = OnePair()
    one_pair.settle()
    paired = one_pair.condition("Paired")
    one_pair.world.clock.step(60)
    one_pair.world.cordon()
    assert one_pair.settle() == [f"status dpunodes/{DPU}"]
    assert one_pair.status()["phase"] == "Draining"
    assert one_pair.condition("Paired") == paired


def test_what_is_left_out_because_of_our_own_last_write_is_looked_at_again() -> None:
    one_pair = OnePair()
    one_pair.settle()
    one_pair.outdated[NAMESPACE, DPU] = one_pair.world.infra.shown(DPUNODES, NAMESPACE, DPU)
    one_pair.world.clock.step(60)
    one_pair.world.cordon()
    assert one_pair.settle() == [f"status dpunodes/{DPU}"]
    assert one_pair.reconciled() == ([], BEHIND_SECONDS)
    one_pair.outdated.clear()
    assert one_pair.reconciled() == ([], None)


def test_one_that_is_deleted_and_is_still_shown_is_looked_at_again() -> None:
    one_pair = OnePair()
    one_pair.settle()
    stored = one_pair.world.infra.shown(DPUNODES, NAMESPACE, DPU)
    gone = {**stored, "metadata": {**stored["metadata"], "name": "d9", "uid": "u9"}}
    one_pair.world.infra.put(DPUNODES, gone)
    one_pair.start()
    one_pair.settle()
    follows = next(each for each in one_pair.handles[::-1] if each.selection.resource == DPUNODES)
    follows.handler(Change(None, gone))
    assert one_pair.settle() == ["delete dpunodes/d9"]
    one_pair.outdated[NAMESPACE, "d9"] = gone
    assert one_pair.dpu_nodes.reconcile(Key(INFRA, NAMESPACE, "d9"), Stop()) == BEHIND_SECONDS


def test_a_drain_leaves_the_seconds_of_its_steps() -> None:
    one_pair = OnePair()
    one_pair.settle()
    one_pair.world.cordon()
    one_pair.settle()
    one_pair.world.clock.step(30)
    one_pair.world.drain_host()
    one_pair.settle()
    assert one_pair.status()["phase"] == "Drained"
    one_pair.world.clock.step(100)
    one_pair.world.reboot("b2")
    one_pair.world.cordon(False)
    one_pair.settle()
    one_pair.world.end_maintenance()
    one_pair.settle()
    last = {step: seconds for step, seconds in one_pair.status()["lastDrain"].items() if step.endswith("Seconds")}
    assert last == {"waitingSeconds": 0, "hostDrainSeconds": 30, "dpuDrainSeconds": 100, "verifyingSeconds": 0}
    assert "endedAt" in one_pair.status()["lastDrain"]
    assert one_pair.settle() == []


def test_one_that_a_person_deletes_is_made_again() -> None:
    one_pair = OnePair()
    one_pair.settle()
    one_pair.world.infra.drop(DPUNODES, NAMESPACE, DPU)
    one_pair.world.executor.forget(INFRA)
    one_pair.woken.add(KEY)
    assert one_pair.settle() == MADE


@pytest.mark.parametrize("labels", [{}, {names.OWNER_LABEL: "owner"}])
def test_one_that_somebody_else_has_made_is_never_touched(labels: dict[str, str]) -> None:
    one_pair = OnePair()
    theirs = {"kind": "DpuNode", "metadata": {"name": DPU, "namespace": NAMESPACE, "labels": labels}}
    one_pair.world.infra.put(DPUNODES, theirs)
    with structlog.testing.capture_logs() as logs:
        assert one_pair.settle() == []
        one_pair.woken.add(KEY)
        assert one_pair.settle() == []
    assert [each["event"] for each in logs if "DpuNode" in each["event"]] == [
        "a DpuNode that another writer made is left as it is"
    ]


def test_one_of_the_config_that_had_the_name_before_is_left_to_go_by_itself_and_made_anew() -> None:
    one_pair = OnePair()
    one_pair.settle()
    stored = one_pair.world.infra.shown(DPUNODES, NAMESPACE, DPU)
    references = [{**stored["metadata"]["ownerReferences"][0], "uid": "uid-of-the-one-before"}]
    one_pair.world.infra.put(DPUNODES, {**stored, "metadata": {**stored["metadata"], "ownerReferences": references}})
    one_pair.start()
    with structlog.testing.capture_logs() as logs:
        assert one_pair.settle() == []
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == []
    one_pair.world.infra.drop(DPUNODES, NAMESPACE, DPU)
    one_pair.world.executor.forget(INFRA)
    one_pair.woken.add(KEY)
    assert one_pair.settle() == MADE


def test_a_card_that_leaves_takes_its_object_with_it_also_if_it_left_unseen() -> None:
    one_pair = OnePair()
    one_pair.settle()
    gone = Key(INFRA, NAMESPACE, "d9")
    stored = one_pair.world.infra.shown(DPUNODES, NAMESPACE, DPU)
    one_pair.world.infra.put(DPUNODES, {**stored, "metadata": {**stored["metadata"], "name": "d9", "uid": "u9"}})
    one_pair.start()
    one_pair.settle()
    follows = next(each for each in one_pair.handles[::-1] if each.selection.resource == DPUNODES)
    follows.handler(Change(None, one_pair.world.infra.shown(DPUNODES, NAMESPACE, "d9")))
    assert one_pair.woken == {gone}
    assert one_pair.settle() == ["delete dpunodes/d9"]
    assert one_pair.forgotten == {gone}


def test_without_the_definition_nothing_is_written_it_is_told_once_and_it_goes_on_when_it_comes() -> None:
    one_pair = OnePair(served=False)
    with structlog.testing.capture_logs() as logs:
        assert one_pair.settle() == []
        one_pair.woken.add(KEY)
        assert one_pair.settle() == []
    missing = f"infra has no CustomResourceDefinition {crd_name(DPUNODES)}"
    assert [each["error"] for each in logs if each["event"] == UNSERVED] == [missing]
    assert one_pair.notes() == []
    (definition,) = one_pair.handles
    definition.handler(Change(None, DEFINITION))
    assert one_pair.settle() == MADE


def test_a_right_to_read_that_is_missing_stops_nothing_but_dpunodes_and_is_told_once() -> None:
    one_pair = OnePair()
    one_pair.troubles[DPUNODES] = Forbidden(403, "Forbidden", "may not list them")
    assert one_pair.settle() == []
    for _ in range(2):
        one_pair._late()
        assert one_pair.settle() == []
    (note,) = one_pair.notes()
    assert "may not list them" in note


def test_a_right_to_write_that_is_missing_is_told_once_and_again_when_it_is_lost_once_more() -> None:
    one_pair = OnePair()
    for times in (1, 2):
        one_pair.world.infra.refuses[DPUNODES.plural] = DENIED
        for _ in range(2):
            one_pair.woken.add(KEY)
            with pytest.raises(Forbidden):
                one_pair.settle()
        assert len(one_pair.notes()) == times
        one_pair.world.infra.refuses.clear()
        one_pair.woken.add(KEY)
        assert one_pair.settle() == MADE
        one_pair.world.infra.drop(DPUNODES, NAMESPACE, DPU)
        one_pair.world.executor.forget(INFRA)


def test_when_the_config_is_gone_its_namespace_is_followed_no_more() -> None:
    one_pair = OnePair()
    one_pair.settle()
    (follows,) = [each for each in one_pair.handles if each.selection.resource == DPUNODES]
    one_pair.world.drain_store.drop("tenant/dpu-one/sample")
    one_pair.dpu_nodes.reconcile(one_pair.woken.pop(), Stop())
    assert follows.is_released


def test_a_node_that_only_beats_changes_nothing() -> None:
    one_pair = OnePair()
    one_pair.settle()
    node = one_pair.world.infra.shown(NODES, "", DPU)
    one_pair.world.infra.put(NODES, node)
    assert one_pair.settle() == []


def test_the_counts_of_the_config_are_those_of_its_dpus() -> None:
    one_pair = OnePair()
    one_pair.settle()
    config = one_pair.world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    dpus = config["status"]["dpus"]
    assert (dpus["paired"], dpus["protected"], dpus["held"]) == (1, 1, 0)


# --- a start ----------------------------------------------------------------------------------------------------------


def test_a_card_that_comes_under_protection_is_told_of_once_that_is_written() -> None:
    one_pair = OnePair()
    settling = one_pair.settling()
    one_pair.world.drain_store.show(one_pair.home(), (settling,), 0)
    assert one_pair.reconciled() == ([], SETTLING_SECONDS)
    one_pair.world.clock.step(SETTLING_SECONDS / 2)
    assert one_pair.reconciled() == ([], SETTLING_SECONDS / 2)
    one_pair.world.drain_store.show(
        one_pair.home(), (replace(settling, conditions=conditions(DRAIN_ALLOWED, "Guarded")),), 0
    )
    assert one_pair.reconciled() == (MADE, None)


def test_a_card_whose_protection_does_not_come_is_told_of_all_the_same() -> None:
    one_pair = OnePair()
    settling = one_pair.settling()
    one_pair.world.drain_store.show(one_pair.home(), (settling,), 0)
    assert one_pair.reconciled()[0] == []
    one_pair.world.clock.step(SETTLING_SECONDS)
    assert one_pair.reconciled() == (MADE, None)


# --- at scale ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cards", [50, 5000])
def test_beats_of_many_cards_write_nothing_and_wake_nobody(cards: int) -> None:
    one_pair = OnePair()
    store, shown = one_pair.world.drain_store, one_pair.shown()
    (before,) = store.rosters()
    hosts = {("host", f"h{number}"): Slot(f"h{number}", (member(f"c{number}"),)) for number in range(cards)}
    store.publish(replace(before, slots=hosts))
    homes = {place: key_of(before.config.tenant_cluster, place) for place in hosts}

    def look() -> list[str]:
        """Each host is looked at, as after a beat of a kubelet; what comes of that for DpuNodes."""
        for (_, host), home in homes.items():
            store.show(home, (replace(shown, dpu=f"c{host[1:]}", host=host),), 0)
        woken, writes = {*one_pair.woken}, len(one_pair.world.infra.writes)
        one_pair.woken.clear()
        for key in woken:
            one_pair.dpu_nodes.reconcile(key, Stop())
        return one_pair.world.infra.writes[writes:]

    assert len(look()) >= 2 * cards
    for _ in range(3):
        assert (look(), one_pair.woken) == ([], set())


# --- a start waits for nothing that has come --------------------------------------------------------------------------


def queues_of(one_pair: OnePair) -> tuple[set[Key], set[Key]]:
    """The keys that are enqueued after a pause, and at once."""
    later, at_once = set[Key](), set[Key]()
    one_pair.dpu_nodes.connect(later.add, at_once.add, lambda _: None)
    return later, at_once


def test_what_waits_for_a_cache_is_enqueued_without_a_pause_when_it_has_synced() -> None:
    one_pair = OnePair()
    one_pair.world.settle()
    later, at_once = queues_of(one_pair)
    one_pair.dpu_nodes.reconcile(KEY, Stop())
    assert (later, at_once) == (set(), {KEY})


def test_one_that_waited_for_its_protection_is_enqueued_without_a_pause_and_any_other_with_one() -> None:
    one_pair = OnePair()
    settling = one_pair.settling()
    one_pair.world.drain_store.show(one_pair.home(), (settling,), 0)
    one_pair.reconciled()
    later, at_once = queues_of(one_pair)
    other = replace(KEY, name="dpu-2")
    one_pair.dpu_nodes.wake(KEY)
    one_pair.dpu_nodes.wake(other)
    assert (later, at_once) == ({other}, {KEY})
