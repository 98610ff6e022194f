from __future__ import annotations

import gc
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bench import nodes
from dpunetop.app import clusterbuild
from dpunetop.base import jsonio
from dpunetop.domain import names
from dpunetop.domain.drain.protection.blockers import BlockerSettings, first_budget
from dpunetop.domain.drain.protection.blockers import blocker as made_blocker
from dpunetop.kube.keys import DEPLOYMENTS, NODES, PODS, Resource
from dpunetop.kube.meta import new_object
from dpunetop.runtime.cache.interning import Interner
from dpunetop.sandbox import seed
from dpunetop.sandbox.standins.kubelet import pod_status

PAIRS = 200
SETTINGS = BlockerSettings("openshift-dpu-network-operator", "quay.io/dpunetop:1", "owner", has_scc=False)
NOW = "2024-01-01T00:00:00Z"
_IMAGE = "quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:" + 64 * "0"


COUNT = itertools.count(10_000)


def identified(obj: dict[str, Any]) -> dict[str, Any]:
    """No two objects have a uid or a version in common."""
    number = next(COUNT)
    obj["metadata"] |= {"uid": f"0e8f71b5-1c43-4f14-be99-{number:012}", "resourceVersion": str(number)}
    return obj


def pod(node: dict[str, Any], name: str, app: str, containers: tuple[str, ...]) -> dict[str, Any]:
    made = identified(new_object(PODS, "bench-tenant", name))
    made["metadata"]["labels"] = {"app": app}
    found = [{"name": each, "image": _IMAGE} for each in containers]
    made["spec"] = {"hostNetwork": True, "nodeName": node["metadata"]["name"], "containers": found}
    return {**made, "status": pod_status(made, node, True, NOW)}


def of_pair(number: int) -> Iterator[tuple[Resource, bytes]]:
    """A Node, its two pods, and what is written for it, as a server sends them."""
    node = identified(dict(seed.dpu_node(f"bf2-worker-advnetlab{number}")))
    node["status"] = nodes.status_of(node)
    dpu = node["metadata"]["name"]
    serving = pod(node, f"{names.OVNKUBE_NODE}-{dpu}", names.OVNKUBE_NODE, ("ovn-controller", "ovnkube-node"))
    blocker = names.blocker_name(dpu)
    for resource, obj in (
        (NODES, node),
        (PODS, serving),
        (PODS, pod(node, f"{blocker}-5d9c7b8f6-x2x4z", blocker, ("blocker",))),
        (names.PODDISRUPTIONBUDGETS, applied(first_budget(SETTINGS, dpu, f"worker-advnetlab{number}"))),
        (DEPLOYMENTS, applied(made_blocker(SETTINGS, dpu))),
    ):
        yield resource, jsonio.dumps(obj)


def applied(desired: dict[str, Any]) -> dict[str, Any]:
    """As a server shows it after we have applied it."""
    ours = {name: value for name, value in desired.items() if name not in ("apiVersion", "kind", "metadata")}
    marks = {name: value for name, value in desired["metadata"].items() if name in ("labels", "annotations")}
    said = {"manager": "dpunetop-drain", "operation": "Apply", "apiVersion": desired["apiVersion"], "time": NOW}
    managed = {**said, "fieldsType": "FieldsV1", "fieldsV1": {**fields(ours), "f:metadata": fields(marks)}}
    made = identified(jsonio.deep_copy(desired))
    made["metadata"] |= {"creationTimestamp": NOW, "generation": 1, "managedFields": [managed]}
    return {**made, "status": {"observedGeneration": 1}}


def fields(value: Any) -> dict[str, Any]:
    """Lists, selectors and labels of a template are atomic here, which makes no difference to who is their manager."""
    return {f"f:{name}": fields(each) for name, each in value.items()} if isinstance(value, dict) else {}


def size(found: object) -> int:
    """Bytes of all that hangs on it, each object once."""
    sizes, todo = {}, [found]
    while todo:
        each = todo.pop()
        if id(each) not in sizes and not isinstance(each, type):
            sizes[id(each)] = sys.getsizeof(each)
            todo.extend(gc.get_referents(each))
    return sum(sizes.values())


KINDS = {NODES: 1350, PODS: 1950, names.PODDISRUPTIONBUDGETS: 1120, DEPLOYMENTS: 840}
"""How many bytes of each kind are kept for a pair at most, places and tables left out."""


@pytest.mark.parametrize(("kind", "most"), KINDS.items(), ids=lambda each: getattr(each, "plural", each))
def test_thousands_of_objects_are_kept_in_little_memory(kind: Resource, most: int) -> None:
    interner = Interner(clusterbuild.INFRA_PARTS, clusterbuild.INFRA_PART_BYTES)
    sent = [each for number in range(PAIRS) for each in of_pair(number)]
    kept = [
        interner.share(clusterbuild.INFRA_TRANSFORMS[kind](jsonio.loads(text))) for each, text in sent if each == kind
    ]
    assert size(kept) / PAIRS < most
