from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from dpunetop.kube.compact import addresses_of, boot_of, container_ids, node_of
from dpunetop.kube.meta import Obj
from dpunetop.runtime.cache.transform import Transform, bare_pod, strip_node

POD = {
    "metadata": {"name": "p"},
    "spec": {"nodeName": "n"},
    "status": {"containerStatuses": [{"name": "a", "containerID": "b://2"}, {"name": "b"}, {"containerID": "b://1"}]},
}
ADDRESSES = [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}]
NODE = {
    "metadata": {"name": "n"},
    "status": {"nodeInfo": {"bootID": "b"}, "addresses": [*ADDRESSES, {"type": "ExternalIP", "address": "192.0.2.1"}]},
}
BARE: dict[str, Any] = {"metadata": {"name": "x"}}
NONSENSE = {"metadata": {"name": "x"}, "spec": [], "status": {"containerStatuses": 1, "nodeInfo": 2, "addresses": [3]}}


@pytest.mark.parametrize(
    ("read", "keep", "obj", "answer"),
    [
        (node_of, bare_pod(()), POD, "n"),
        (node_of, bare_pod(()), BARE, ""),
        (node_of, bare_pod(()), NONSENSE, ""),
        (node_of, bare_pod(()), {**BARE, "spec": {"nodeName": {"a": 1}}}, ""),
        (container_ids, bare_pod(()), POD, ["b://2", "b://1"]),
        (container_ids, bare_pod(()), BARE, []),
        (container_ids, bare_pod(()), NONSENSE, []),
        (boot_of, strip_node(), NODE, "b"),
        (boot_of, strip_node(), BARE, ""),
        (boot_of, strip_node(), NONSENSE, ""),
        (addresses_of, strip_node(), NODE, ["10.0.0.1", "192.0.2.1"]),
        (addresses_of, strip_node(), BARE, []),
        (addresses_of, strip_node(), NONSENSE, []),
    ],
)
def test_a_reader_answers_the_same_of_an_object_as_sent_and_as_kept(
    read: Callable[[Obj], object], keep: Transform, obj: dict[str, Any], answer: object
) -> None:
    assert read(obj) == answer
    assert read(keep(deepcopy(obj))) == answer
