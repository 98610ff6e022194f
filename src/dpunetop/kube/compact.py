"""Flat members that a cached pod or Node has in place of nested ones: a dict of one member takes as much memory as a
dict of five, and a cache keeps thousands of objects.

Each member has one reader here, which takes an object from a cache as well as one from the server.
"""

from __future__ import annotations

from dpunetop.kube.meta import Obj
from dpunetop.kube.shapes import at, mappings

NODE_NAME = "nodeName"
"""In a pod, replaces `spec`: the value that `node_of` returns."""
CONTAINER_IDS = "containerIDs"
"""In a pod, replaces the container statuses: the value that `container_ids` returns."""
BOOT_ID = "bootID"
"""In the `status` of a Node, replaces `nodeInfo`: the value that `boot_of` returns."""
ADDRESSES = "reachedAt"
"""In the `status` of a Node, replaces `addresses`: the value that `addresses_of` returns."""
_REACHED = ("InternalIP", "ExternalIP")


def node_of(pod: Obj) -> str:
    """The name of the Node that a pod is bound to; empty: not scheduled yet."""
    found = pod.get(NODE_NAME) or at(pod, "spec", "nodeName")
    return found if isinstance(found, str) else ""


def container_ids(pod: Obj) -> list[str]:
    """The IDs of the containers of a pod that have been started, in the order the server gives."""
    known = pod.get(CONTAINER_IDS)
    if isinstance(known, list):
        return [str(each) for each in known]
    found = (each.get("containerID") for each in mappings(at(pod, "status", "containerStatuses")))
    return [str(each) for each in found if each]


def boot_of(node: Obj) -> str:
    """The bootID of a Node, as its kubelet reports it; empty: not reported yet."""
    return str(at(node, "status", BOOT_ID) or at(node, "status", "nodeInfo", "bootID") or "")


def addresses_of(node: Obj) -> list[object]:
    """The addresses that a Node reports of itself; not validated."""
    known = at(node, "status", ADDRESSES)
    if isinstance(known, list):
        return known
    found = mappings(at(node, "status", "addresses"))
    return [each["address"] for each in found if each.get("type") in _REACHED and each.get("address")]
