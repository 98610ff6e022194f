"""Hosts that other DpuClusterConfigs of the same tenant cluster have or request."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dpunetop.domain.clusterconfig.grants import Rights, judge_nodes
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.names import (
    ENV_OVERRIDES,
    OVNKUBE_NODE_ENTRIES,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    SERVES_ANNOTATION,
)
from dpunetop.domain.pairing.entries import entries_of
from dpunetop.domain.pairing.envfile import NodeEntry, parse_entries
from dpunetop.domain.pairing.pairing import Claims, tenant_nodes
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES
from dpunetop.kube.meta import Obj, annotations_of, labels_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.reading import NotSynced, Reader


def gather_claims(
    reader: Reader, siblings: Iterable[DpuClusterConfig], rights: Callable[[DpuClusterConfig], Rights], namespace: str
) -> Claims:
    """Host to the other DpuClusterConfig that claims it; of several the first by name.

    From caches, not from the workers' results, which a new process does not have yet. Objects that people can edit
    count only for nodes that the sibling has; budgets, which are in the operator's `namespace`, show whom it protects.
    Raises: NotSynced.
    """
    held: dict[str, str] = {}
    noted: dict[str, str] = {}
    for each in sorted(siblings, key=lambda each: (each.namespace, each.name), reverse=True):
        own, who = rights(each), f"{each.namespace}/{each.name}"
        entries, annotated = _hosts(reader, each, own)
        held.update(dict.fromkeys(entries | _protected(reader, own.owner, namespace), who))
        noted.update(dict.fromkeys(annotated, who))
    return Claims(held, noted)


def _protected(reader: Reader, owner: str, namespace: str) -> frozenset[str]:
    budgets = reader.list(INFRA, Selection(PODDISRUPTIONBUDGETS, namespace))
    ours = (budget for budget in budgets if labels_of(budget).get(OWNER_LABEL) == owner)
    return frozenset(host for each in ours if (host := annotations_of(each).get(SERVES_ANNOTATION)))


def _hosts(reader: Reader, config: DpuClusterConfig, rights: Rights) -> tuple[frozenset[str], frozenset[str]]:
    """The hosts in its entries, and those in annotations. A sibling whose namespace may not be read serves no host, so
    it claims none."""
    nodes = reader.list(INFRA, Selection(NODES))
    dpus = judge_nodes(config, nodes, rights).dpus
    try:
        served, asked = (_named(reader, config, name, dpus) for name in (OVNKUBE_NODE_ENTRIES, ENV_OVERRIDES))
    except NotSynced as err:
        if isinstance(err.error, Forbidden):
            return frozenset(), frozenset()
        raise
    if config.terminating:
        return served, frozenset()
    return served | asked, frozenset(tenant_nodes(dpus, nodes).values())


def _named(reader: Reader, config: DpuClusterConfig, name: str, dpus: frozenset[str]) -> frozenset[str]:
    """The hosts that the entries of a ConfigMap name for `dpus`."""
    live: Obj | None = reader.one(INFRA, CONFIGMAPS, config.namespace, name)
    wishes = parse_entries(entries_of(live)).items()
    return frozenset(wish.host for dpu, wish in wishes if dpu in dpus and isinstance(wish, NodeEntry))
