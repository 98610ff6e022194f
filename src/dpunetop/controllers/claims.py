"""Which hosts other DpuClusterConfigs of the same tenant cluster have or ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dpunetop.controllers.flow import one
from dpunetop.domain.entries import entries_of
from dpunetop.domain.envfile import NodeEntry, parse_entries
from dpunetop.domain.names import ENV_OVERRIDES, OVNKUBE_NODE_ENTRIES
from dpunetop.domain.pairing import tenant_nodes
from dpunetop.domain.types import DpuClusterConfig
from dpunetop.kube.errors import Forbidden
from dpunetop.kube.keys import CONFIGMAPS, INFRA, NODES
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.runtime.reading import NotSynced, Reader


def gather_claims(reader: Reader, siblings: Iterable[DpuClusterConfig]) -> Mapping[str, str]:
    """By host whose it is besides; of several siblings the first by name is told.

    From caches, not from what workers have found: at a start they may not have looked yet.
    Raises: NotSynced.
    """
    claimed: dict[str, str] = {}
    for each in sorted(siblings, key=lambda each: (each.namespace, each.name), reverse=True):
        claimed.update(dict.fromkeys(_hosts(reader, each), f"{each.namespace}/{each.name}"))
    return claimed


def _hosts(reader: Reader, config: DpuClusterConfig) -> frozenset[str]:
    """One whose namespace may not be read comes to serve nobody, so it claims nobody."""
    try:
        served, asked = _named(reader, config, OVNKUBE_NODE_ENTRIES), _named(reader, config, ENV_OVERRIDES)
    except NotSynced as err:
        if isinstance(err.error, Forbidden):
            return frozenset()
        raise
    if config.terminating:
        return served
    annotated = tenant_nodes(config.node_selector or {}, reader.list(INFRA, Selection(NODES)))
    return served | asked | frozenset(annotated.values())


def _named(reader: Reader, config: DpuClusterConfig, name: str) -> frozenset[str]:
    """The hosts that the entries of a ConfigMap name."""
    live: Obj | None = reader.get(INFRA, one(CONFIGMAPS, config.namespace, name), config.namespace, name)
    return frozenset(wish.host for wish in parse_entries(entries_of(live)).values() if isinstance(wish, NodeEntry))
