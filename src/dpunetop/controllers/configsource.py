"""Watches DpuClusterConfigs, once their CustomResourceDefinition is established."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import structlog

from dpunetop.controllers.reconciler import WAITING, key_of
from dpunetop.domain.clusterconfig.admission import claims
from dpunetop.domain.clusterconfig.types import was_served
from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, Key, crd_name
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection, one
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cluster import Cluster, InformerHandle


class ConfigSource:
    """Wakes every controller for every change of a DpuClusterConfig that is served; one that was never served wakes
    only the controller that admits, which is also woken for all that wait for a claim once its owner is gone.

    Guarantees: works whether the CustomResourceDefinition exists at the start or comes later; never stops watching.
    Threads: `start` once; the rest from any thread.
    """

    def __init__(
        self,
        infra: Cluster,
        selections: Sequence[Selection],
        wake: Callable[[Key], None],
        wake_judge: Callable[[Key], None],
    ) -> None:
        self._infra = infra
        self._selections = selections
        self._wake = wake
        self._wake_judge = wake_judge
        self._log = structlog.get_logger().bind(crd=crd_name(DPUCLUSTERCONFIGS))
        self._definition: InformerHandle | None = None
        self._configs: tuple[InformerHandle, ...] = ()  # set once, whole, by the thread that reports the definition

    def start(self) -> None:
        """Begin to look for the CustomResourceDefinition; returns at once."""
        selection = one(CUSTOMRESOURCEDEFINITIONS, "", crd_name(DPUCLUSTERCONFIGS))
        self._definition = self._infra.share_informer(
            selection, self._definition_changed, on_synced=self._definition_read
        )

    def trouble(self) -> str | None:
        """Why not all DpuClusterConfigs are known yet, or None; a line for /readyz."""
        if self._definition is None or not self._definition.has_synced():
            return "the infra API server has not been read yet"
        configs = self._configs
        if not configs:
            return f"waiting for the CustomResourceDefinition {crd_name(DPUCLUSTERCONFIGS)} to be installed"
        return None if all(handle.has_synced() for handle in configs) else "DpuClusterConfigs have not been read yet"

    def configs(self) -> Iterator[Obj]:
        """All known DpuClusterConfigs."""
        for handle in self._configs:
            yield from handle.lister.list()

    def _definition_read(self) -> None:
        """Called once, after the first list: its objects were reported before."""
        if not self._configs:
            self._log.warning("waiting for the CustomResourceDefinition to be installed")

    def _definition_changed(self, change: Change) -> None:
        if self._configs or change.new is None or not _is_established(change.new):
            return
        self._configs = tuple(
            self._infra.share_informer(selection, self._config_changed) for selection in self._selections
        )
        self._log.info("serving", namespaces=[selection.namespace or "*" for selection in self._selections])

    def _config_changed(self, change: Change) -> None:
        obj = change.new if change.new is not None else change.old
        assert obj is not None
        wake = self._wake if _is_served(change.old) or _is_served(change.new) else self._wake_judge
        wake(key_of(obj))
        if change.old is not None and _is_served(change.old) and not _is_served(change.new):
            for waiting in self._waiting(claims(change.old)):
                self._wake_judge(key_of(waiting))

    def _waiting(self, freed: tuple[str, ...]) -> Iterator[Obj]:
        for handle in self._configs:
            for claim in freed:
                yield from handle.lister.by_index(WAITING, claim)


def _is_served(obj: Obj | None) -> bool:
    return obj is not None and was_served(obj)


def _is_established(definition: Obj) -> bool:
    condition = condition_of(definition, "Established")
    return condition is not None and condition.get("status") == "True"
