"""Which nodes a DpuClusterConfig has: those that it selects, that its namespace may have, and that no other holds.

Namespace users write the selector, so it takes nothing by itself. A node is granted by a label that kubelets cannot
set, by the annotation of a Namespace, which cluster administrators write, or by what this operator has written where
namespace users cannot. Pool, DaemonSet, blockers, roster and pairing all ask `judge_nodes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from dpunetop.domain.clusterconfig.admission import age
from dpunetop.domain.clusterconfig.poolend import nodes_in_pool
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.names import (
    CONTROL_PLANE_LABELS,
    DPU_NODE_LABEL,
    DPU_WORKER_LABEL,
    NODE_GRANT_ANNOTATION,
    OWNER_LABEL,
    SERVES_ANNOTATION,
    blocker_name,
)
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of
from dpunetop.kube.selectors import matches, parse_selector

NOT_GRANTED = "NodeNotGranted"
"""Reason of a condition that names nodes which are selected and not granted."""

_SHOWN = 5


class ClaimStrength(IntEnum):
    """How a DpuClusterConfig holds a node; the higher value wins, whichever is older."""

    WISH = 0
    """Its selector picks the node, which is granted to it."""
    POOL = 1
    """Its pool, as it is applied, picks the node."""
    CONFIGURED = 2
    """The node runs the configuration of that pool, or is about to."""
    SERVES = 3
    """Its closed budget stands there: the node serves a host."""


Age = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Claim:
    """The tie of one DpuClusterConfig to one node."""

    owner: str
    """Value of its owner label."""
    who: str
    """For a person."""
    strength: ClaimStrength
    age: Age


@dataclass(frozen=True, slots=True)
class Grant:
    """Which nodes a namespace may use: its annotation replaces the default selector; None: it has none."""

    namespace: str = ""
    text: str | None = None

    def refusal(self, node: Obj) -> str:
        """Why a node is not granted; empty: it is. Guarantees: a node of the control plane is never granted."""
        labels = labels_of(node)
        if any(label in labels for label in CONTROL_PLANE_LABELS):
            return "is a node of the control plane"
        if self.text is None:
            return "" if DPU_WORKER_LABEL in labels else f"has no label {DPU_WORKER_LABEL}, {self._advice()}"
        selector = parse_selector(self.text)
        if selector is None:
            return f"is not granted: {self._place()} is no label selector"
        return "" if matches(selector, labels) else f"is not granted by {self._place()}"

    def _advice(self) -> str:
        return f"and namespace {self.namespace} no annotation {NODE_GRANT_ANNOTATION} that grants it"

    def _place(self) -> str:
        return f"annotation {NODE_GRANT_ANNOTATION} of namespace {self.namespace}"


def grant_of(name: str, namespace: Obj | None) -> Grant:
    """The grant of a Namespace; one that is not found has the default grant."""
    return Grant(name, annotations_of(namespace).get(NODE_GRANT_ANNOTATION) if namespace is not None else None)


@dataclass(frozen=True, slots=True)
class Rights:
    """Grant and claims: with selector and nodes they decide which nodes a DpuClusterConfig has."""

    grant: Grant = Grant()
    owner: str = ""
    claims: Mapping[str, tuple[Claim, ...]] = field(default_factory=dict)
    """By node: every claim to it, its own included."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that a selector picks, judged."""

    had: frozenset[str]
    """The nodes that the pool may hold."""
    dpus: frozenset[str]
    """Those of them with `DPU_NODE_LABEL`, on which the network is left to us: they may be protected and serve."""
    refused: Mapping[str, str]
    """The nodes that are selected and not had, and why not."""
    closed: tuple[str, ...]
    """Those of `refused` that the DaemonSet must exclude by name, in order. One that still serves a host is not among
    them: its pod stays until the host is drained."""
    sought: Mapping[str, str]
    """Nodes held here that another DpuClusterConfig selects too, and which one."""

    def why_not_paired(self) -> Mapping[str, str]:
        """Why selected nodes are not paired with a host."""
        return {**dict.fromkeys(self.had - self.dpus, f"has no label {DPU_NODE_LABEL}"), **self.refused}

    def refusal(self) -> str:
        """One line about the nodes that are selected and not held; empty: none."""
        return some_nodes(self.refused)


def selects(config: DpuClusterConfig, node: Obj) -> bool:
    """Whether the selector picks a node, regardless of who holds it."""
    return matches(config.node_selector or {}, labels_of(node))


def judge_nodes(config: DpuClusterConfig, nodes: Iterable[Obj], rights: Rights) -> Nodes:
    """Judge every node that the selector picks.

    Guarantees: of several that claim a node exactly one holds it: the one with the strongest tie, of equals the
        oldest; so a node stays where it is, whatever others select later.
    """
    found = {name_of(node): node for node in nodes if selects(config, node)}
    refused = {name: why for name, node in found.items() if (why := _refusal(rights, node))}
    had = frozenset(found) - frozenset(refused)
    others = {name: _others(rights, name) for name in sorted(had)}
    return Nodes(
        had=had,
        dpus=frozenset(name for name in had if DPU_NODE_LABEL in labels_of(found[name])),
        refused=refused,
        closed=tuple(name for name in sorted(refused) if _attracts(found[name]) and not _serves(rights, name)),
        sought={name: claims[0].who for name, claims in others.items() if claims},
    )


def some_nodes(said: Mapping[str, str]) -> str:
    """One line with the first few nodes, each with its text from `said`."""
    words = [f"{name} {said[name]}" for name in sorted(said)]
    rest = len(words) - _SHOWN
    return "; ".join(words[:_SHOWN]) + (f"; and {rest} more" if rest > 0 else "")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A DpuClusterConfig that is served, with the grant of its namespace."""

    config: DpuClusterConfig
    owner: str
    grant: Grant

    @property
    def who(self) -> str:
        """For a person."""
        return f"DpuClusterConfig {self.config.namespace}/{self.config.name}"


@dataclass(frozen=True, slots=True)
class ClaimsView:
    """The objects from which the claims to some nodes follow."""

    nodes: tuple[Obj, ...]
    candidates: tuple[Candidate, ...]
    """All that may select one of the nodes; nodes held by any other still count as held."""
    pools: tuple[Obj, ...]
    """Every MachineConfigPool."""
    budgets: Mapping[str, Obj]
    """Of the operator's namespace, by name; only the operator writes there."""


def weigh_claims(view: ClaimsView) -> Mapping[str, tuple[Claim, ...]]:
    """The claims to each node; of one DpuClusterConfig only the strongest."""
    return {name_of(node): _claims(view, node) for node in view.nodes}


def _claims(view: ClaimsView, node: Obj) -> tuple[Claim, ...]:
    known = {each.owner: each for each in view.candidates}
    strengths: dict[str, tuple[ClaimStrength, str]] = {}
    for owner, strength, who in (*_wishes(view, node), *_pools(view, node), *_serving(view, node)):
        strengths[owner] = strength, known[owner].who if owner in known else who
    return tuple(
        Claim(owner, who, strength, age(known[owner].config) if owner in known else ("", "", owner))
        for owner, (strength, who) in sorted(strengths.items())
    )


def _wishes(view: ClaimsView, node: Obj) -> Iterable[tuple[str, ClaimStrength, str]]:
    for each in view.candidates:
        if not each.config.terminating and selects(each.config, node) and not each.grant.refusal(node):
            yield each.owner, ClaimStrength.WISH, each.who


def _pools(view: ClaimsView, node: Obj) -> Iterable[tuple[str, ClaimStrength, str]]:
    for pool in view.pools:
        owner, selector = labels_of(pool).get(OWNER_LABEL), (pool.get("spec") or {}).get("nodeSelector") or {}
        if owner and matches(selector, labels_of(node)):
            is_configured = bool(nodes_in_pool(name_of(pool), (node,)))
            yield (
                owner,
                ClaimStrength.CONFIGURED if is_configured else ClaimStrength.POOL,
                f"the owner of pool {name_of(pool)}",
            )


def _serving(view: ClaimsView, node: Obj) -> Iterable[tuple[str, ClaimStrength, str]]:
    budget = view.budgets.get(blocker_name(name_of(node)))
    if budget is None or not annotations_of(budget).get(SERVES_ANNOTATION):
        return
    if owner := labels_of(budget).get(OWNER_LABEL):
        yield owner, ClaimStrength.SERVES, f"the owner of budget {name_of(budget)}"


def _refusal(rights: Rights, node: Obj) -> str:
    if why := rights.grant.refusal(node):
        return why
    claims = rights.claims.get(name_of(node), ())
    holder = min(claims, key=lambda claim: (-claim.strength, claim.age), default=None)
    return "" if holder is None or holder.owner == rights.owner else f"is held by {holder.who}"


def _others(rights: Rights, name: str) -> list[Claim]:
    return [claim for claim in rights.claims.get(name, ()) if claim.owner != rights.owner]


def _attracts(node: Obj) -> bool:
    labels = labels_of(node)
    return DPU_NODE_LABEL in labels and not any(label in labels for label in CONTROL_PLANE_LABELS)


def _serves(rights: Rights, name: str) -> bool:
    return any(
        claim.owner == rights.owner and claim.strength is ClaimStrength.SERVES for claim in rights.claims.get(name, ())
    )
