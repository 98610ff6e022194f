from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.ovnkube.pod import ContainerScripts, Part, Shape, daemonset, has_newest_template, value
from support.objects import config

SHAPE = Shape(
    namespace="dpu-one",
    owner=Owner(config(), "0123"),
    image="registry.example/ovn:1",
    node_selector={"matchLabels": {"a": ""}},
    annotations={"dpu.openshift.io/configuration-hash": "h1"},
    labels={},
    members={},
    parts=(Part("ovnkube-node", ContainerScripts("exec true", ""), (value("A", "1"),), ()),),
    volumes=(),
)
CHANGES = {
    "image": replace(SHAPE, image="registry.example/ovn:2"),
    "content": replace(SHAPE, annotations={"dpu.openshift.io/configuration-hash": "h2"}),
    "environment": replace(SHAPE, parts=(replace(SHAPE.parts[0], environment=(value("A", "2"),)),)),
    "script": replace(SHAPE, parts=(replace(SHAPE.parts[0], scripts=ContainerScripts("exec false", "")),)),
    "labels": replace(SHAPE, labels={"ovn-db-pod": "true"}),
    "selector": replace(SHAPE, node_selector={"matchLabels": {"b": ""}}),
}


def pod_of(made: dict[str, Any]) -> dict[str, dict[str, dict[str, str]]]:
    """What the DaemonSet controller makes of it, and an admission webhook after that."""
    metadata = made["spec"]["template"]["metadata"]
    return {"metadata": {"annotations": {**metadata["annotations"], "webhook.example/was-here": "yes"}}}


def test_a_pod_is_known_by_the_template_it_was_made_from() -> None:
    assert has_newest_template(daemonset(SHAPE), pod_of(daemonset(SHAPE)))


@pytest.mark.parametrize("changed", CHANGES.values(), ids=CHANGES)
def test_a_pod_of_another_template_is_not_of_the_newest(changed: Shape) -> None:
    assert not has_newest_template(daemonset(changed), pod_of(daemonset(SHAPE)))


def test_a_pod_or_a_daemonset_of_another_owner_has_no_template_of_ours() -> None:
    foreign: dict[str, Any] = {"spec": {"template": {"metadata": {}}}}
    assert not has_newest_template(daemonset(SHAPE), {"metadata": {}})
    assert not has_newest_template(foreign, {"metadata": {}})


def test_other_namespaces_and_owners_do_not_change_the_template() -> None:
    other = replace(SHAPE, namespace="dpu-two", owner=Owner(config(), "4567"))
    assert daemonset(other)["spec"]["template"] == daemonset(SHAPE)["spec"]["template"]
