"""Whether the operator has any business in a namespace: the rights there are what an administrator gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dpunetop.base.clock import Clock
from dpunetop.domain.clusterconfig.lifecycle import RIGHTS_SECONDS
from dpunetop.domain.credential.account import Right, access_review, is_allowed
from dpunetop.domain.names import OVNKUBE_NODE_ENTRIES
from dpunetop.kube.keys import SELFSUBJECTACCESSREVIEWS
from dpunetop.runtime.client.client import Client

_MOST_KNOWN = 10_000
_AGAIN_PER_SECOND = 5.0
"""How many namespaces without rights are asked about again in a second, however many there are."""


class NamespaceRights:
    """What infra answers about the rights of the operator in single namespaces.

    One right is asked for, which no DpuClusterConfig can do without: to write the entries of the DPUs. Whatever else is
    missing is named where it is needed.
    Threads: any.
    """

    def __init__(self, infra: Callable[[], Client], clock: Clock) -> None:
        self._infra = infra
        self._clock = clock
        self._lock = threading.Lock()  # guards _known
        self._known: dict[str, tuple[bool, float]] = {}  # the answer, and when it was given

    def review(self, namespace: str, age_seconds: float | None = None) -> None:
        """Ask, unless there is an answer that is younger than `age_seconds`; None: than what many can be asked about.

        Raises: ApiError.
        """
        now = self._clock.monotonic()
        with self._lock:
            known = self._known.get(namespace)
            most = self._again_locked() / 2 if age_seconds is None else age_seconds
            if known is not None and now - known[1] < most:
                return
        right = Right("patch", "", "configmaps", OVNKUBE_NODE_ENTRIES, namespace)
        answer = self._infra().create(SELFSUBJECTACCESSREVIEWS, "", access_review(right))
        with self._lock:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[namespace] = is_allowed(answer), now

    def again_seconds(self) -> float:
        """When it is worth the while to look again whether rights have come."""
        with self._lock:
            return self._again_locked()

    def _again_locked(self) -> float:
        return max(RIGHTS_SECONDS, len(self._known) / _AGAIN_PER_SECOND)

    def has(self, namespace: str) -> bool:
        """The last answer, however old; of a namespace that was never asked about: no."""
        with self._lock:
            return self._known.get(namespace, (False, 0.0))[0]
