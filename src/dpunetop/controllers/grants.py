"""Claims to the nodes that a DpuClusterConfig selects, from infra's caches."""

from __future__ import annotations

from collections.abc import Iterable

from dpunetop.domain.clusterconfig.grants import Candidate, ClaimsView, Grant, Rights, grant_of, selects, weigh_claims
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, parse_config
from dpunetop.domain.names import MACHINECONFIGPOOLS, PODDISRUPTIONBUDGETS, owner_hash
from dpunetop.kube.keys import INFRA, NAMESPACES, NODES
from dpunetop.kube.meta import Obj, labels_of, name_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_name, matches
from dpunetop.runtime.reading import Reader


def gather_rights(
    reader: Reader, config: DpuClusterConfig, served: Iterable[Obj], namespace: str, infra_uid: str
) -> Rights:
    """The rights that decide which nodes `config` has. `served` are all served DpuClusterConfigs, `namespace` is the
    operator's.

    Raises: NotSynced.
    """

    def candidate(each: DpuClusterConfig) -> Candidate:
        owner = owner_hash(infra_uid, each.namespace, each.name)
        return Candidate(each, owner, _grant(reader, each.namespace))

    nodes = tuple(node for node in reader.list(INFRA, Selection(NODES)) if selects(config, node))
    own = candidate(config)
    sharing = (candidate(each) for each in _sharing(served, nodes) if each.uid != config.uid)
    budgets = reader.list(INFRA, Selection(PODDISRUPTIONBUDGETS, namespace)) if nodes else ()
    view = ClaimsView(
        nodes=nodes,
        candidates=(own, *sharing),
        pools=_pools(reader) if nodes else (),
        budgets={name_of(budget): budget for budget in budgets},
    )
    return Rights(own.grant, own.owner, weigh_claims(view))


def _sharing(served: Iterable[Obj], nodes: Iterable[Obj]) -> Iterable[DpuClusterConfig]:
    """Those that select one of `nodes`."""
    labels = [labels_of(node) for node in nodes]
    for obj in served:
        selector = (obj.get("spec") or {}).get("nodeSelector") or {}
        if any(matches(selector, each) for each in labels):
            yield parse_config(obj)


def _grant(reader: Reader, namespace: str) -> Grant:
    selection = Selection(NAMESPACES, "", by_name(namespace))
    return grant_of(namespace, reader.get(INFRA, selection, "", namespace))


def _pools(reader: Reader) -> tuple[Obj, ...]:
    if not reader.serves(INFRA, MACHINECONFIGPOOLS):
        return ()
    return tuple(reader.list(INFRA, Selection(MACHINECONFIGPOOLS)))
