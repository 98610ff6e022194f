from __future__ import annotations

from contextlib import contextmanager
from typing import Any, cast

from dpunetop.base.stop import Stop
from dpunetop.controllers.flow import CONFIG_INDEXERS, ConfigController, Installation
from dpunetop.kube.keys import INFRA, Key
from dpunetop.kube.meta import name_of
from dpunetop.kube.plan import Plan
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import Readings
from support.objects import NAMESPACE, config

KEY = Key(INFRA, NAMESPACE, "sample")


class Notes:
    """Caches that hold the given DpuClusterConfigs, and note who was forgotten."""

    def __init__(self, *configs: Any) -> None:
        self.configs = list(configs)
        self.forgotten: list[Key] = []
        self.seen: set[str] = set()

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


class Served(ConfigController[str]):
    name = "served"
    condition = "Served"

    def __init__(self) -> None:
        super().__init__(Installation(None, "tenant", None, "dpunetop"), cast(Executor, self))
        self.let_go: list[Key] = []
        self.executed: list[Plan] = []

    def gather(self, reader: Any, config: Any) -> str:
        return str(config.name)

    def plan(self, view: str) -> Plan:
        return Plan((), 3.0)

    def execute(self, plan: Plan, _: Stop) -> bool:
        self.executed.append(plan)
        return False

    def forget(self, key: Key) -> None:
        self.let_go.append(key)


def reconciled(*configs: Any) -> tuple[Served, Notes, float | None]:
    served, notes = Served(), Notes(*configs)
    served.read_through(cast(Readings, notes))
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
