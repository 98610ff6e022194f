"""H10: what is decided from two clusters depends on what both show now, and on nothing else.

Caches of both sides change, lose their sync, lose their cluster, in any order; after each step a controller that has
seen it all decides as one that sees only the last of it, and what is not known is never taken for absent.
"""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dpunetop.app.assets import interconnect_scripts, ovnkube_scripts
from dpunetop.base import jsonio
from dpunetop.controllers.copies import TenantObjects
from dpunetop.controllers.ovnkube import OvnKube
from dpunetop.controllers.reconciler import CONFIG_INDEXERS, ConfigReconciler, Installation
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, parse_config
from dpunetop.domain.ovnkube.view import PodScripts
from dpunetop.kube.errors import ApiError, Forbidden, Unreachable
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import labels_of, name_of
from dpunetop.kube.plan import ApplyStatus, Delete, Plan
from dpunetop.kube.requests import Selection
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import NotEngaged, NotSynced
from dpunetop.sandbox.standins.ovnkube import central_tenant, interconnect_tenant
from support.clock import FakeClock
from support.effort import times
from support.objects import NAMESPACE, condition, config, node
from support.readers import ReadsByName

TENANT = f"tenant/{NAMESPACE}/sample"
THERE = names.OVN_KUBERNETES_NAMESPACE
IMAGE = "registry.example/ovn@sha256:" + "0" * 64
INSTALLATION = Installation(None, THERE, IMAGE, "dpunetop")
SCRIPTS = PodScripts(ovnkube_scripts(), interconnect_scripts())
Place = tuple[str, str, str]


def master() -> dict[str, Any]:
    """A pod that serves the central databases."""
    reference = {"kind": "DaemonSet", "name": names.OVNKUBE_MASTER, "controller": True}
    labels = {"app": names.OVNKUBE_MASTER}
    metadata = {"name": "m", "namespace": THERE, "uid": "m", "labels": labels, "ownerReferences": [reference]}
    conditions = [{"type": "Ready", "status": "True"}]
    return {"kind": "Pod", "metadata": metadata, "status": {"podIP": "10.0.0.1", "conditions": conditions}}


def seeded(*objects: Any) -> dict[Place, Any]:
    found = {}
    for obj in objects:
        metadata = obj["metadata"]
        named = {**obj, "metadata": {"uid": f"uid-{metadata['name']}", "resourceVersion": "1", **metadata}}
        found[(obj["kind"], metadata.get("namespace", ""), metadata["name"])] = named
    return found


CENTRAL = seeded(*central_tenant(THERE), master())
INTERCONNECT = seeded(*interconnect_tenant(THERE))
INFRA_OBJECTS = seeded(
    {"kind": "Namespace", "metadata": {"name": names.KUBE_SYSTEM, "uid": "uid-of-infra"}},
    {"kind": "ConfigMap", "metadata": {"name": names.ENV_OVERRIDES, "namespace": NAMESPACE},
     "data": {"bf2-1": "TENANT_K8S_NODE=host-1"}},
    node("bf2-1"),
)  # fmt: skip


class Side:
    """The caches of one cluster: what they hold, and which of them say nothing."""

    def __init__(self, name: str, objects: dict[Place, Any]) -> None:
        self.name = name
        self.objects = dict(objects)
        self.is_engaged = True
        self.unsynced: dict[str, ApiError | None] = {}
        """Kind to the error that keeps its caches from being filled, if it is one."""

    def check(self, selection: Selection) -> None:
        if not self.is_engaged:
            raise NotEngaged(self.name)
        if selection.resource.kind in self.unsynced:
            raise NotSynced(self.name, selection, self.unsynced[selection.resource.kind])


class Pair(ReadsByName):
    """A reader of both sides."""

    def __init__(self) -> None:
        self.sides = {INFRA: Side(INFRA, INFRA_OBJECTS), TENANT: Side(TENANT, CENTRAL)}

    def get(self, cluster: str, selection: Selection, namespace: str, name: str) -> Any:
        side = self.sides[cluster]
        side.check(selection)
        return side.objects.get((selection.resource.kind, namespace, name))

    def by_index(self, cluster: str, selection: Selection, index: str, value: str) -> Any:
        return [obj for obj in self.list(cluster, selection) if value in CONFIG_INDEXERS[index](obj)]

    def list(self, cluster: str, selection: Selection) -> Any:
        side = self.sides[cluster]
        side.check(selection)
        key, _, value = selection.label_selector.partition("=")
        return [
            obj
            for (kind, namespace, _), obj in side.objects.items()
            if kind == selection.resource.kind
            and selection.namespace in ("", namespace)
            and (not key or labels_of(obj).get(key) == value)
        ]


def controllers() -> tuple[ConfigReconciler[Any], ...]:
    """Controllers that have seen nothing yet."""
    nobody = cast(Executor, None)
    return TenantObjects(INSTALLATION, nobody, FakeClock()), OvnKube(INSTALLATION, nobody, SCRIPTS, (), FakeClock())


def decided(controller: ConfigReconciler[Any], reader: Pair, wanted: DpuClusterConfig) -> Plan | str:
    """The plan, or who has to be waited for."""
    try:
        return controller.plan(controller.gather(cast(Any, reader), wanted))
    except NotSynced as err:
        return f"waits for {err.cluster}"
    except NotEngaged as err:
        return f"waits for {err.cluster}"


def writes(plan: Plan | str) -> list[Any]:
    """All that a plan does beside telling how things are."""
    return [] if isinstance(plan, str) else [step for step in plan.steps if not isinstance(step, ApplyStatus)]


KINDS = ["ConfigMap", "Secret", "DaemonSet", "Deployment", "Pod"]
ERRORS = st.sampled_from([None, Unreachable(0, "Timeout", ""), Forbidden(403, "Forbidden", "no")])
SIDES = st.sampled_from([INFRA, TENANT])


class TwoSides(RuleBasedStateMachine):
    """Both sides change in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Pair()
        self.veterans = controllers()
        self.topology = "Central"
        self.reachable: str | None = None

    @property
    def wanted(self) -> DpuClusterConfig:
        # A topology that is chosen: that of Auto settles over several looks, which is its own test.
        live = config(topology=self.topology)
        if self.reachable is not None:
            live["status"] = {"conditions": [condition("TenantReachable", self.reachable, "X")]}
        return parse_config(live)

    @rule(side=SIDES, kind=st.sampled_from([*KINDS, "Node", "Namespace", "CustomResourceDefinition"]), error=ERRORS)
    def lose_sync(self, side: str, kind: str, error: ApiError | None) -> None:
        self.reader.sides[side].unsynced[kind] = error

    @rule(side=SIDES)
    def sync(self, side: str) -> None:
        self.reader.sides[side].unsynced.clear()

    @rule(engaged=st.booleans())
    def engage_or_disengage(self, engaged: bool) -> None:
        self.reader.sides[TENANT].is_engaged = engaged

    @rule(reachable=st.sampled_from([None, "True", "False"]))
    def see_whether_the_tenant_answers(self, reachable: str | None) -> None:
        self.reachable = reachable

    @rule(objects=st.sampled_from([CENTRAL, INTERCONNECT, {}]), topology=st.sampled_from(["Central", "Interconnect"]))
    def exchange_the_tenant(self, objects: dict[Place, Any], topology: str) -> None:
        self.reader.sides[TENANT].objects = dict(objects)
        self.topology = topology

    @rule(side=SIDES, data=st.data())
    def delete_something(self, side: str, data: st.DataObject) -> None:
        there = sorted(p for p in self.reader.sides[side].objects if p[0] in KINDS)
        if there:
            del self.reader.sides[side].objects[data.draw(st.sampled_from(there))]

    @rule(side=SIDES, data=st.data())
    def change_something(self, side: str, data: st.DataObject) -> None:
        there = sorted(p for p in self.reader.sides[side].objects if p[0] in ("ConfigMap", "Secret"))
        if there:
            place = data.draw(st.sampled_from(there))
            changed = jsonio.deep_copy(self.reader.sides[side].objects[place])
            changed["data"] = {"x": base64.b64encode(b"y").decode()}
            self.reader.sides[side].objects[place] = changed

    @rule()
    def carry_out(self) -> None:
        """What the controllers would write is what infra shows next."""
        for controller in self.veterans:
            for step in writes(decided(controller, self.reader, self.wanted)):
                if isinstance(step, Delete):
                    continue
                obj = jsonio.deep_copy(dict(step.desired))
                obj["metadata"] = {"uid": f"uid-{name_of(obj)}", "resourceVersion": "1", **obj["metadata"]}
                self.reader.sides[INFRA].objects[(obj["kind"], NAMESPACE, name_of(obj))] = obj

    @invariant()
    def history_decides_nothing(self) -> None:
        for veteran, novice in zip(self.veterans, controllers(), strict=True):
            assert decided(veteran, self.reader, self.wanted) == decided(novice, self.reader, self.wanted)

    @invariant()
    def what_is_not_known_changes_nothing(self) -> None:
        tenant, infra = self.reader.sides[TENANT], self.reader.sides[INFRA]
        for controller in self.veterans:
            plan = decided(controller, self.reader, self.wanted)
            if not tenant.is_engaged or "DaemonSet" in tenant.unsynced:
                assert writes(plan) == []
            if "Namespace" in infra.unsynced or "DaemonSet" in infra.unsynced:
                assert plan == f"waits for {INFRA}" or plan == f"waits for {TENANT}"

    @invariant()
    def nothing_is_deleted_because_it_cannot_be_seen(self) -> None:
        for controller in self.veterans:
            assert not [s for s in writes(decided(controller, self.reader, self.wanted)) if isinstance(s, Delete)]


TestTwoSides = TwoSides.TestCase
TestTwoSides.settings = settings(max_examples=times(6), stateful_step_count=20)

SILENCES = {
    "not engaged": lambda side: setattr(side, "is_engaged", False),
    "not synced": lambda side: side.unsynced.update(dict.fromkeys(KINDS)),
    "refused": lambda side: side.unsynced.update(dict.fromkeys(KINDS, Forbidden(403, "Forbidden", "no"))),
    "timed out": lambda side: side.unsynced.update(dict.fromkeys(KINDS, Unreachable(0, "Timeout", ""))),
}


@pytest.mark.parametrize("silence", SILENCES.values(), ids=SILENCES.keys())
@pytest.mark.parametrize("reachable", ["True", "False"])
def test_a_tenant_that_cannot_be_read_is_told_from_one_that_is_empty(silence: Any, reachable: str) -> None:
    live = config(topology="Central")
    live["status"] = {"conditions": [condition("TenantReachable", reachable, "X")]}
    wanted, empty, silent = parse_config(live), Pair(), Pair()
    empty.sides[TENANT].objects.clear()
    silence(silent.sides[TENANT])
    for controller in controllers():
        seen, unseen = decided(controller, empty, wanted), decided(controller, silent, wanted)
        assert isinstance(seen, Plan)
        assert writes(unseen) == []
        assert unseen != seen
        if isinstance(unseen, Plan):
            (status,) = unseen.steps
            assert isinstance(status, ApplyStatus)
            assert "TenantNotRead" in [each.reason for each in status.conditions]
