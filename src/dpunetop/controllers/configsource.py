"""Where DpuClusterConfigs come from: nothing is watched before their CustomResourceDefinition is established."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from dpunetop.controllers.flow import one
from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, INFRA, Key, crd_name
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cluster import Cluster, Hold


class ConfigSource:
    """Wakes every controller for every change of every served DpuClusterConfig.

    Guarantees: works whether the CustomResourceDefinition is there at the start or comes later; never stops watching.
    Threads: `start` once; the rest from any thread.
    """

    def __init__(self, infra: Cluster, selections: Sequence[Selection], wake: Callable[[Key], None]) -> None:
        self._infra = infra
        self._selections = selections
        self._wake = wake
        self._log = structlog.get_logger().bind(crd=crd_name(DPUCLUSTERCONFIGS))
        self._definition: Hold | None = None
        self._configs: tuple[Hold, ...] = ()  # set once, whole, by the thread that tells of the definition

    def start(self) -> None:
        """Begin to look for the CustomResourceDefinition; returns at once."""
        selection = one(CUSTOMRESOURCEDEFINITIONS, "", crd_name(DPUCLUSTERCONFIGS))
        self._definition = self._infra.hold(selection, self._definition_changed, on_synced=self._definition_read)

    def trouble(self) -> str | None:
        """Why not all DpuClusterConfigs are known yet, or None; a line for /readyz."""
        if self._definition is None or not self._definition.has_synced():
            return "the infra API server has not been read yet"
        configs = self._configs
        if not configs:
            return f"waiting for the CustomResourceDefinition {crd_name(DPUCLUSTERCONFIGS)} to be installed"
        return None if all(hold.has_synced() for hold in configs) else "DpuClusterConfigs have not been read yet"

    def _definition_read(self) -> None:
        """Told once, after the first list: what it held has been told before."""
        if not self._configs:
            self._log.warning("waiting for the CustomResourceDefinition to be installed")

    def _definition_changed(self, change: Change) -> None:
        if self._configs or change.new is None or not _is_established(change.new):
            return
        self._configs = tuple(self._infra.hold(selection, self._config_changed) for selection in self._selections)
        self._log.info("serving", namespaces=[selection.namespace or "*" for selection in self._selections])

    def _config_changed(self, change: Change) -> None:
        obj = change.new if change.new is not None else change.old
        assert obj is not None
        self._wake(Key(INFRA, namespace_of(obj), name_of(obj)))


def _is_established(definition: Obj) -> bool:
    condition = condition_of(definition, "Established")
    return condition is not None and condition.get("status") == "True"
