"""The operator's access to the namespace of a DpuClusterConfig that ends."""

from __future__ import annotations

from enum import Enum, auto


class Access(Enum):
    """Whether the operator can still remove its objects in the namespace."""

    GIVEN = auto()
    """The operator has its rights there, and removes its objects in order."""
    TAKEN = auto()
    """The operator's rights there are gone: its objects stay there once the hosts are drained."""
    ENDING = auto()
    """The namespace is terminating or gone: Kubernetes removes pods, Secrets and rights at once, in any order."""
