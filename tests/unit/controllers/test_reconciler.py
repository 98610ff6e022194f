from __future__ import annotations

from contextlib import contextmanager
from typing import Any, cast

import pytest

from dpunetop.base.stop import Stop, Stopped
from dpunetop.controllers.reconciler import CONFIG_INDEXERS, ConfigReconciler, Installation
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.names import DPUCLUSTERCONFIGS, SAME_TENANT_ANNOTATION
from dpunetop.kube.keys import INFRA, Key
from dpunetop.kube.meta import name_of, namespace_of
from dpunetop.kube.plan import ApplyStatus, Plan
from dpunetop.kube.requests import Selection
from dpunetop.runtime.controller import Terminal
from dpunetop.runtime.election.gate import LeadershipLost
from dpunetop.runtime.executor import Executed, Executor
from dpunetop.runtime.reading import DynamicWatches, Reader
from support.objects import NAMESPACE, config
from support.readers import ReadsByName

KEY = Key(INFRA, NAMESPACE, "sample")


class Notes(ReadsByName):
    """Caches that hold the given DpuClusterConfigs, and note who was forgotten."""

    def __init__(self, *configs: Any) -> None:
        self.configs = list(configs)
        self.forgotten: list[Key] = []
        self.seen: set[str] = set()
        self.namespaces: dict[str, str] = {}  # name -> which tenant its configs have, as an administrator says

    @contextmanager
    def reading(self, _: Key) -> Any:
        yield self

    def by_index(self, _: str, __: Any, index: str, value: str) -> Any:
        found = [each for each in self.configs if value in CONFIG_INDEXERS[index](each)]
        self.seen |= {name_of(each) for each in found}
        return found

    def refusal(self) -> None:
        return None

    def forget(self, key: Key) -> None:
        self.forgotten.append(key)

    def get(self, _: str, selection: Selection, namespace: str, name: str) -> Any:
        if selection.resource == DPUCLUSTERCONFIGS:
            found = (each for each in self.configs if (namespace_of(each), name_of(each)) == (namespace, name))
            return next(found, None)
        says = self.namespaces.get(name)
        return {"metadata": {"name": name, "annotations": {SAME_TENANT_ANNOTATION: says} if says else {}}}


class Served(ConfigReconciler[str]):
    name = "served"
    condition = "Served"

    def __init__(self) -> None:
        super().__init__(Installation(None, "tenant", None, "dpunetop"), cast(Executor, self))
        self.let_go: list[Key] = []
        self.executed: list[Plan] = []
        self.outcome = Executed.NOTHING

    def gather(self, reader: Any, config: Any) -> str:
        return str(config.name)

    def plan(self, view: str) -> Plan:
        return Plan((), 3.0)

    def execute(self, plan: Plan, _: Stop) -> Executed:
        self.executed.append(plan)
        return self.outcome

    def forget(self, key: Key) -> None:
        self.let_go.append(key)


def reconciled(*configs: Any) -> tuple[Served, Notes, float | None]:
    served, notes = Served(), Notes(*configs)
    served.read_through(cast(DynamicWatches, notes))
    return served, notes, served.reconcile(KEY, Stop())


def test_one_that_is_served_is_planned_and_kept() -> None:
    served, notes, again = reconciled(config())
    assert (served.executed, again) == ([Plan((), 3.0)], 3.0)
    assert (served.let_go, notes.forgotten) == ([], [])


def test_one_that_is_gone_is_woken_by_no_other_any_more() -> None:
    served, notes, again = reconciled(config("another", "elsewhere"))
    assert (served.executed, again) == ([], None)
    assert (served.let_go, notes.forgotten) == ([KEY], [KEY])


def test_one_whose_pool_an_older_one_elsewhere_has_is_not_served() -> None:
    older = config("another", "elsewhere")
    older["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z"
    served, notes, _ = reconciled(config(), older, config("third", "far-away", poolName="other"))
    assert (served.executed, notes.seen) == ([], {"sample", "another"})


def test_one_that_is_not_served_is_let_go_and_still_woken() -> None:
    refused = config(poolName="master")
    served, notes, again = reconciled(refused)
    assert (served.executed, again) == ([], None)
    assert (served.let_go, notes.forgotten) == ([KEY], [])


ROOTS = {
    # our authority, theirs, what the two namespaces say -> sibling, stranger
    "one authority": ("r", "r", {}, True, False),
    "another authority": ("r", "q", {}, False, True),
    "another that an administrator knows": ("r", "q", {NAMESPACE: "t", "elsewhere": "t"}, True, False),
    "another that one namespace alone knows": ("r", "q", {"elsewhere": "t"}, False, True),
    "another that is known of another tenant": ("r", "q", {NAMESPACE: "t", "elsewhere": "u"}, False, True),
    "neither seen yet": (None, None, {}, True, False),
    "theirs not seen yet": ("r", None, {}, False, False),
    "ours not seen yet": (None, "q", {}, False, False),
}


@pytest.mark.parametrize(("ours", "theirs", "said", "sibling", "stranger"), ROOTS.values(), ids=ROOTS.keys())
def test_two_tenants_are_one_only_with_the_same_uid_and_root_of_trust(
    ours: str | None, theirs: str | None, said: dict[str, str], sibling: bool, stranger: bool
) -> None:
    own, other = (
        {**obj, "status": {"tenantUID": "t", "tenantRoot": root}}
        for obj, root in ((config(), ours), (config("other", "elsewhere"), theirs))
    )
    served, notes = Served(), Notes(own, other)
    notes.namespaces = said
    assert bool(served.siblings(cast(Reader, notes), parse_config(own))) is sibling
    assert bool(served.strangers(cast(Reader, notes), parse_config(own))) is stranger


def test_a_bug_about_one_is_said_in_its_condition_and_goes_on_to_whoever_counts_it() -> None:
    class Broken(Served):
        def plan(self, view: str) -> Plan:
            raise KeyError("\x1b[31m secret")

    served, notes = Broken(), Notes(config())
    served.read_through(cast(DynamicWatches, notes))
    with pytest.raises(KeyError):
        served.reconcile(KEY, Stop())
    [step] = served.executed[0].steps
    assert isinstance(step, ApplyStatus)
    [said] = step.conditions
    assert (said.type, said.status, said.reason) == ("Served", "False", "InternalError")
    assert said.message == (f"controller served met KeyError on {KEY}; its log says more, and it tries again")


@pytest.mark.parametrize("passed", [Stopped(), LeadershipLost("x"), Terminal("x")])
def test_what_belongs_to_the_contract_is_no_bug(passed: Exception) -> None:
    class Passing(Served):
        def plan(self, view: str) -> Plan:
            raise passed

    served, notes = Passing(), Notes(config())
    served.read_through(cast(DynamicWatches, notes))
    with pytest.raises(type(passed)):
        served.reconcile(KEY, Stop())
    assert served.executed == []
