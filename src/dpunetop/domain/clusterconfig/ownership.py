"""How an object shows its owner: by the owner label, and by an owner reference where that is legal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dpunetop.domain.names import DPUCLUSTERCONFIGS, OWNER_LABEL
from dpunetop.kube.meta import Obj, labels_of, owner_reference


@dataclass(frozen=True, slots=True)
class Owner:
    """The DpuClusterConfig `config` and `names.owner_hash` of it."""

    config: Obj
    hash: str

    def mark(self, desired: dict[str, Any]) -> dict[str, Any]:
        """Put label and reference onto a desired object in the namespace of the DpuClusterConfig; returns it."""
        metadata = desired["metadata"]
        metadata["labels"] = {**metadata.get("labels", {}), OWNER_LABEL: self.hash}
        metadata["ownerReferences"] = [owner_reference(DPUCLUSTERCONFIGS, self.config)]
        return desired

    def owns(self, live: Obj | None) -> bool:
        """Whether `live` is absent or bears our label, so that it may be written."""
        return live is None or labels_of(live).get(OWNER_LABEL) == self.hash
