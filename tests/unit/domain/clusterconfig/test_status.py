from collections.abc import Iterable
from itertools import groupby, permutations
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.status import confession, overruled, report, summary
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, parse_config
from dpunetop.kube.conditions import Condition, Status
from dpunetop.kube.plan import ApplyStatus, Plan, Step
from support.objects import condition, config

ALL = (
    "McpReady",
    "CredentialsValid",
    "TenantReachable",
    "DpuCredentialValid",
    "TenantObjsSynced",
    "OvnKubeReady",
    "PairsHealthy",
)


def with_conditions(obj: dict[str, Any], *conditions: dict[str, Any]) -> DpuClusterConfig:
    return parse_config({**obj, "status": {"conditions": list(conditions)}})


def all_true(**but: dict[str, Any]) -> list[dict[str, Any]]:
    return [but.get(type_) or condition(type_, "True", "Fine") for type_ in ALL]


def short(judged: Condition) -> tuple[str, str, str]:
    return judged.status, judged.reason, judged.message


def test_ready_when_all_is_true() -> None:
    said = short(summary(with_conditions(config(), *all_true())))
    assert said[:2] == ("True", "AllReady")
    assert "deleting this DpuClusterConfig drains the hosts that it serves" in said[2]


def test_ready_says_the_first_thing_that_is_not() -> None:
    conditions = all_true(
        TenantReachable=condition("TenantReachable", "False", "Refused", "nobody listens"),
        OvnKubeReady=condition("OvnKubeReady", "False", "Progressing"),
    )
    assert short(summary(with_conditions(config(), *conditions))) == (
        "False",
        "Refused",
        "TenantReachable: nobody listens",
    )


def test_ready_does_not_repeat_how_far_something_is() -> None:
    conditions = all_true(McpReady=condition("McpReady", "False", "RollingOut", "1 updated of 2"))
    assert short(summary(with_conditions(config(), *conditions))) == ("False", "RollingOut", "waiting for McpReady")


def test_what_does_not_pass_by_itself_comes_before_what_is_not_known() -> None:
    conditions = all_true(
        CredentialsValid=condition("CredentialsValid", "Unknown", "NotVerified", "no answer"),
        TenantReachable=condition("TenantReachable", "False", "Refused", "nobody listens"),
    )
    assert short(summary(with_conditions(config(), *conditions)))[:2] == ("False", "Refused")


def test_on_the_way_ready_never_says_again_what_it_has_said_whichever_condition_moves_first() -> None:
    moving = ("McpReady", "PairsHealthy", "OvnKubeReady")
    steps = {type_: [condition(type_, "False", "Progressing"), condition(type_, "True", "Fine")] for type_ in moving}
    for order in {*permutations(moving * 2)}:
        seen = {each["type"]: each for each in all_true() if each["type"] not in moving}
        left = {type_: iter(steps[type_]) for type_ in moving}
        said = []
        for type_ in order:
            seen[type_] = next(left[type_])
            said.append(short(summary(with_conditions(config(), *seen.values()))))
        changes = [judged for judged, _ in groupby(said)]
        assert len({*changes}) == len(changes), order
        assert changes[-1][:2] == ("True", "AllReady")


def test_what_was_judged_for_an_older_generation_is_not_known_yet() -> None:
    conditions = all_true(McpReady=condition("McpReady", "True", "RolledOut", generation=2))
    assert short(summary(with_conditions(config(), *conditions)))[:2] == ("Unknown", "Progressing")


def test_a_condition_that_is_absent_is_not_known_yet() -> None:
    assert summary(with_conditions(config(), *all_true()[:-1])).message == "PairsHealthy is not known yet"


def test_without_a_tenant_only_the_host_configuration_counts() -> None:
    host_only = with_conditions(config(kubeConfigFile=None), condition("McpReady", "True", "RolledOut"))
    assert summary(host_only).status == "True"


def test_an_infra_without_machine_configs_can_be_ready() -> None:
    conditions = all_true(McpReady=condition("McpReady", "False", "ApiNotServed"))
    assert summary(with_conditions(config(), *conditions)).status == "True"


def only(steps: Iterable[Step]) -> ApplyStatus:
    """The one step, a write of the status."""
    (step,) = steps
    assert isinstance(step, ApplyStatus)
    return step


@pytest.mark.parametrize(
    ("status", "reason", "severity"),
    [
        ("True", "Fine", "Normal"),
        ("False", "Broken", "Warning"),
        ("False", "RollingOut", "Normal"),
        ("Unknown", "Progressing", "Normal"),
        ("True", "CredentialShortLived", "Warning"),
    ],
)
def test_a_condition_is_reported_with_an_event_that_warns_only_of_what_does_not_pass_by_itself(
    status: Status, reason: str, severity: str
) -> None:
    step = only(report(config(), (Condition("McpReady", status, reason, "words"),), "dpunetop-x", tenantUID="t"))
    assert step.members == {"tenantUID": "t"}
    event = step.telling["McpReady"]
    assert (event.type, event.reason, event.note) == (severity, reason, f"McpReady is {status}: words")


def test_a_condition_without_a_message_is_told_in_short() -> None:
    step = only(report(config(), (Condition("Ready", "True", "AllReady"),), "dpunetop-x"))
    assert step.telling["Ready"].note == "Ready is True"


def test_what_is_overruled_is_neither_said_nor_told() -> None:
    conditions = (Condition("CredentialsValid", "True", "Verified"), Condition("TenantReachable", "True", "Reachable"))
    plan = Plan(report(config(), conditions, "dpunetop-x", tenantUID="t"), 3.0)
    refused = Condition("CredentialsValid", "False", "Forbidden", "cannot watch")
    step = only(overruled(plan, refused).steps)
    assert step.conditions == (refused, conditions[1])
    assert step.telling["CredentialsValid"].note == "CredentialsValid is False: cannot watch"
    assert step.members == {"tenantUID": "t"}
    assert overruled(plan, refused).requeue_after_seconds == 3.0
    assert overruled(plan, Condition("Ready", "False", "Forbidden")) == plan


def test_a_confession_keeps_what_else_its_manager_has_said() -> None:
    said = [
        condition("CredentialsValid", "True", "Verified"),
        condition("TenantReachable", "True", "Reachable"),
        condition("McpReady", "True", "RolledOut"),
    ]
    members: dict[str, dict[str, None]] = {"f:type": {}, "f:status": {}, "f:reason": {}, "f:message": {}}
    keys = {f'k:{{"type":"{type_}"}}': members for type_ in ("CredentialsValid", "TenantReachable")}
    entry = {
        "manager": "dpunetop-x",
        "operation": "Apply",
        "apiVersion": "dpu.openshift.io/v1alpha1",
        "subresource": "status",
        "fieldsV1": {"f:status": {"f:tenantUID": {}, "f:conditions": keys}},
    }
    live = {**config(), "status": {"tenantUID": "t", "observedGeneration": 1, "conditions": said}}
    live["metadata"] = {**live["metadata"], "managedFields": [entry]}
    step = only(confession(live, Condition("CredentialsValid", "False", "Forbidden", "m"), "dpunetop-x"))
    assert [(each.type, each.status) for each in step.conditions] == [
        ("TenantReachable", "True"),
        ("CredentialsValid", "False"),
    ]
    assert step.members == {"tenantUID": "t"}
    assert list(step.telling) == ["TenantReachable", "CredentialsValid"]
