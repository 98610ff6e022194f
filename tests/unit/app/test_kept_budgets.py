from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dpunetop.app.clusterbuild import INFRA_TRANSFORMS
from dpunetop.base import jsonio
from dpunetop.domain.drain.model.facts import Author, HostRef
from dpunetop.domain.drain.model.readers import budget
from dpunetop.domain.drain.model.record import Cycle, State
from dpunetop.domain.drain.protection.blockers import (
    SELECTS_ITSELF,
    BlockerSettings,
    Form,
    first_budget,
    state_of,
    write_budget,
)
from dpunetop.domain.names import CYCLE_ANNOTATION, PODDISRUPTIONBUDGETS
from dpunetop.kube.fieldsets import BEFORE_FIRST_APPLY, OWNED, projection_digest, would_change
from dpunetop.kube.meta import Obj

MANAGER = "dpunetop-drain"
SETTINGS = BlockerSettings("operator", "image", "owner", has_scc=False)
HOST = HostRef("host-1", "tenant/n/c", "operator", "owner", Author(MANAGER, "term", "draw", 1_800_000_000))
MADE = first_budget(SETTINGS, "dpu-1", "host-1")


def fields(*spec: str) -> dict[str, Any]:
    marks: dict[str, Any] = {
        f"f:{each}": {f"f:{name}": {} for name in MADE["metadata"][each]} for each in ("labels", "annotations")
    }
    return {"f:metadata": marks, "f:spec": {f"f:{name}": {} for name in spec}}


def entry(manager: str, *spec: str, operation: str = "Apply") -> dict[str, Any]:
    said = {"manager": manager, "operation": operation, "apiVersion": "policy/v1", "time": "2026-01-01T00:00:00Z"}
    return {**said, "fieldsType": "FieldsV1", "fieldsV1": fields(*spec)}


OURS = entry(MANAGER, "maxUnavailable", "unhealthyPodEvictionPolicy", "selector")
STATUS = {**entry("kube-controller-manager", operation="Update"), "subresource": "status"}


def live() -> dict[str, Any]:
    """A closed budget, as a server sends it."""
    made = jsonio.deep_copy(MADE)
    made["metadata"] |= {
        "uid": "0e8f71b5-1c43-4f14-be99-5c7e9b4d1f00",
        "resourceVersion": "41",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [OURS, STATUS],
    }
    made["status"] = {"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    return made


def kept(obj: dict[str, Any]) -> Obj:
    return INFRA_TRANSFORMS[PODDISRUPTIONBUDGETS](jsonio.deep_copy(obj))


def as_it_is(_: dict[str, Any]) -> None:
    """By nobody changed."""


def opened(obj: dict[str, Any]) -> None:
    obj["spec"] |= {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}


def taken_over(obj: dict[str, Any]) -> None:
    obj["spec"]["maxUnavailable"] = 1
    obj["metadata"]["managedFields"] = [
        entry(MANAGER, "unhealthyPodEvictionPolicy", "selector"),
        entry("kubectl-edit", "maxUnavailable", operation="Update"),
    ]


def with_another_minimum(obj: dict[str, Any]) -> None:
    obj["spec"]["minAvailable"] = 1
    obj["metadata"]["managedFields"].append(entry("kubectl-edit", "minAvailable", operation="Update"))


def with_another_selector(obj: dict[str, Any]) -> None:
    obj["spec"]["selector"] = {"matchLabels": {"app": "dpunetop-drain-blocker-dpu-2"}}


def with_more_in_its_selector(obj: dict[str, Any]) -> None:
    obj["spec"]["selector"]["matchExpressions"] = [{"key": "x", "operator": "Exists"}]


def older_than_managed_fields(obj: dict[str, Any]) -> None:
    before = entry(BEFORE_FIRST_APPLY, "maxUnavailable", operation="Update")
    obj["metadata"]["managedFields"] = [OURS, before]


def by_nobody_known(obj: dict[str, Any]) -> None:
    del obj["metadata"]["managedFields"]


def written_by_two_of_us(obj: dict[str, Any]) -> None:
    obj["metadata"]["managedFields"].append(entry("dpunetop-other", "maxUnavailable"))


CHANGES = (
    as_it_is,
    opened,
    taken_over,
    with_another_minimum,
    with_another_selector,
    with_more_in_its_selector,
    older_than_managed_fields,
    by_nobody_known,
    written_by_two_of_us,
)


@pytest.fixture(params=CHANGES, ids=lambda change: change.__name__)
def sent(request: pytest.FixtureRequest) -> dict[str, Any]:
    change: Callable[[dict[str, Any]], None] = request.param
    obj = live()
    change(obj)
    return obj


def test_a_kept_budget_says_what_the_server_s_says(sent: dict[str, Any]) -> None:
    whole, short = budget(sent, "owner"), budget(kept(sent), "owner")
    assert replace(short, live=whole.live) == whole


def test_what_is_written_onto_a_kept_budget_is_what_is_written_onto_the_server_s(sent: dict[str, Any]) -> None:
    whole, short = budget(sent, "owner"), budget(kept(sent), "owner")
    cycle = Cycle(State.STARTING, "term", since=1_800_000_000)
    for form in Form:
        state = replace(state_of(whole), form=form, cycle=cycle)
        ours, theirs = write_budget(HOST, short, state), write_budget(HOST, whole, state)
        assert ours.desired == theirs.desired
        assert CYCLE_ANNOTATION in ours.desired["metadata"]["annotations"]
        assert ours.desired["spec"]["selector"] == sent["spec"]["selector"]
        assert replace(ours, live=theirs.live) == theirs


@pytest.mark.parametrize("manager", [MANAGER, "dpunetop-other", "kubectl-edit"])
@pytest.mark.parametrize("serves", ["host-1", "host-2", ""])
def test_of_a_kept_budget_it_is_known_whether_an_apply_would_change_it(
    sent: dict[str, Any], manager: str, serves: str
) -> None:
    desired, short = first_budget(SETTINGS, "dpu-1", serves), kept(sent)
    assert would_change(desired, short, manager) == would_change(desired, sent, manager)
    assert projection_digest(short, manager) == projection_digest(sent, manager)


def test_budgets_that_are_alike_share_their_spec_and_say_no_more_of_their_selector() -> None:
    short = kept(live())
    assert short["spec"] == {"maxUnavailable": 0, "unhealthyPodEvictionPolicy": "IfHealthyBudget", SELECTS_ITSELF: True}
    assert OWNED in short
    assert "managedFields" not in short["metadata"]
