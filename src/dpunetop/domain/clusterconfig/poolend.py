"""Which nodes hold a pool that is to be deleted, and how each of them comes out of it.

The rendered configurations of a pool are deleted with it; a node whose daemon cannot read the one that it runs stays
Degraded, and the machine-config operator does not repair it. So the nodes leave first, and an administrator takes them
out, because each is drained and rebooted for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dpunetop.base.quoting import quoted
from dpunetop.domain.names import CURRENT_CONFIG_ANNOTATION, DESIRED_CONFIG_ANNOTATION
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of
from dpunetop.kube.selectors import matches

_ROLES = "node-role.kubernetes.io/"
_GENERAL = ("kubernetes.io/", "beta.kubernetes.io/", "node.kubernetes.io/", "topology.kubernetes.io/")
"""Prefixes of labels that describe a node, not its pool."""


@dataclass(frozen=True, slots=True)
class NodeInPool:
    """A node that has not left the pool; `hint` says what to do, or what to wait for."""

    node: Obj
    hint: str

    @property
    def name(self) -> str:
        """Of the node."""
        return name_of(self.node)


def nodes_in_pool(pool: str, nodes: Iterable[Obj]) -> list[str]:
    """Names of the nodes whose current or desired configuration is of the pool."""
    return sorted(name_of(node) for node in nodes if _runs(pool, node))


def staying_nodes(pool: str, selector: Mapping[str, Any], nodes: Iterable[Obj]) -> tuple[NodeInPool, ...]:
    """The nodes that must leave before `pool` is deleted: those that its `selector` picks, and those whose current or
    desired configuration is of the pool; by name.

    Source: the machine-config operator makes the pool the controller owner of each `rendered-<pool>-<hash>`.
    """
    found = sorted((n for n in nodes if _runs(pool, n) or matches(selector, labels_of(n))), key=name_of)
    return tuple(NodeInPool(node, _hint(selector, node)) for node in found)


def _runs(pool: str, node: Obj) -> bool:
    marks = (CURRENT_CONFIG_ANNOTATION, DESIRED_CONFIG_ANNOTATION)
    return any(_is_of_pool(annotations_of(node).get(mark, ""), pool) for mark in marks)


def _is_of_pool(rendered: str, pool: str) -> bool:
    """`rendered-<pool>-<hash>`; the hash has no dash, so that a configuration of pool `dpu-east` does not count as one
    of `dpu`."""
    return rendered.rpartition("-")[0] == f"rendered-{pool}"


def _hint(selector: Mapping[str, Any], node: Obj) -> str:
    if not matches(selector, labels_of(node)):
        desired = annotations_of(node).get(DESIRED_CONFIG_ANNOTATION, "")
        return f"the machine-config operator has yet to move it; it is to run {quoted(desired, 80)}"
    key = _label_to_take(selector)
    if key is None:
        return "change its labels so that the pool's nodeSelector does not pick it"
    return f"kubectl label node {name_of(node)} {key}-"


def _label_to_take(selector: Mapping[str, Any]) -> str | None:
    """A label whose removal makes the selector drop a node: a role label, if there is one."""
    keys = [*(selector.get("matchLabels") or {})]
    wanting = (each for each in selector.get("matchExpressions") or () if each.get("operator") in ("In", "Exists"))
    keys += [str(each.get("key", "")) for each in wanting]
    return min(keys, key=lambda key: (not key.startswith(_ROLES), key.startswith(_GENERAL)), default=None)
