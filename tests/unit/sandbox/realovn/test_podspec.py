from __future__ import annotations

from typing import Any

import pytest

from dpunetop.sandbox.realovn.podspec import Identity, NotSupported, ProbeType, expand, pod_spec
from support.tenants import openshift, upstream
from support.zones import template

IDENTITY = Identity("dpu-1", "192.0.2.1")
VARIABLES = {"A": "a", "B": "b", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "filled_in"),
    [
        ("$(A)", "a"),
        ("x$(A)$(B)y", "xaby"),
        ("$(EMPTY)", ""),
        ("$(MISSING)", "$(MISSING)"),
        ("$$", "$"),
        ("$$$$", "$$"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$a"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$(A$(B)", "$(A$(B)"),
        ("$()", "$()"),
        ("$(command -v x)", "$(command -v x)"),
    ],
)
def test_names_in_parentheses_are_filled_in_and_two_dollars_are_one(text: str, filled_in: str) -> None:
    assert expand(text, VARIABLES) == filled_in


@pytest.mark.parametrize("view", [openshift((4, 20)), openshift((4, 23)), upstream()], ids=["4.20", "4.23", "upstream"])
def test_what_is_rendered_is_played_and_its_scripts_reach_bash_as_they_are(view: Any) -> None:
    rendered = template(view)
    found = {part.name: part for part in pod_spec(rendered, IDENTITY).containers}
    for part in rendered["spec"]["containers"]:
        spec = found[part["name"]]
        assert list(spec.command) == part["command"] + part.get("args", [])
        assert spec.environment["K8S_NODE"] == "dpu-1"
        assert {question.value for question in spec.probes} == {name for name in part if name.endswith("Probe")}


def one(**members: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "command": ["true"], **members}
    return {"spec": {"hostNetwork": True, "hostPID": True, "containers": [container]}}


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"lifecycle": {}}, "lifecycle of container c"),
        ({"readinessProbe": {"httpGet": {"port": 1}}}, "a probe by httpGet"),
        ({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {}}}]}, "variable X from secretKeyRef"),
        ({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}, "fieldRef spec.x"),
        ({"securityContext": {"runAsUser": 1}}, "runAsUser of the securityContext of container c"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "x"}]}, "subPathExpr of mount v"),
    ],
)
def test_what_is_not_played_is_refused_by_name(members: dict[str, Any], named: str) -> None:
    with pytest.raises(NotSupported, match=named.replace(".", r"\.")):
        pod_spec(one(**members), IDENTITY)


def test_a_probe_knows_only_variables_with_a_value_of_their_own() -> None:
    given = [
        {"name": "FIXED", "value": "x"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    part = one(env=given, command=["$(NODE)"], readinessProbe={"exec": {"command": ["$(FIXED)", "$(NODE)"]}})
    [spec] = pod_spec(part, IDENTITY).containers
    assert (spec.command, spec.probes[ProbeType.READINESS].command) == (("dpu-1",), ("x", ""))


def test_a_probe_has_the_defaults_of_the_api() -> None:
    [spec] = pod_spec(one(livenessProbe={"exec": {"command": ["true"]}}), IDENTITY).containers
    probe = spec.probes[ProbeType.LIVENESS]
    assert (probe.initial_delay_seconds, probe.period_seconds, probe.timeout_seconds) == (0, 10, 1)
    assert (probe.success_threshold, probe.failure_threshold) == (1, 3)


def test_a_pod_has_thirty_seconds_to_end_unless_it_says_otherwise() -> None:
    whole = one()
    assert pod_spec(whole, IDENTITY).grace_seconds == 30
    whole["spec"]["terminationGracePeriodSeconds"] = 5
    assert pod_spec(whole, IDENTITY).grace_seconds == 5
