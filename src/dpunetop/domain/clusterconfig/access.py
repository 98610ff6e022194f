"""What the operator may do in the namespace of a DpuClusterConfig that ends."""

from __future__ import annotations

from enum import Enum, auto


class Access(Enum):
    """How far what lies in the namespace is in reach."""

    GIVEN = auto()
    """As long as it is served: all that is ours there is taken away in order."""
    TAKEN = auto()
    """The operator's rights there are gone: what is ours there is left, once its hosts are drained."""
    ENDING = auto()
    """The namespace is being deleted, or is gone: Kubernetes takes pods, Secrets and rights in any order, at once."""
