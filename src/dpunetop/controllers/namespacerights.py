"""Whether the operator may work in a namespace: an administrator grants it the rights there."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from dpunetop.base.clock import Clock
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.domain.clusterconfig.lifecycle import RIGHTS_SECONDS
from dpunetop.domain.credential.account import Right, access_review, is_allowed
from dpunetop.domain.names import OVNKUBE_NODE_ENTRIES
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import INFRA, SELFSUBJECTACCESSREVIEWS
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.reading import NotSynced, Waker

_MOST_KNOWN = 10_000
_AGAIN_PER_SECOND = 5.0
"""Reviews per second for namespaces without rights, however many there are."""


@dataclass(frozen=True, slots=True)
class _Answer:
    allowed: bool = False
    at: float = -math.inf
    error: ApiError | None = None
    """Why infra gave no answer to the last review."""
    owed: set[Waker] = field(default_factory=set)
    """The wakers that requested the answer and have not read it yet: for them it is new enough, however long their pass
    had to wait."""


class NamespaceRights:
    """Infra's answers about the operator's rights in single namespaces.

    One right is reviewed, which every DpuClusterConfig needs: to write the entries of the DPUs. Any other missing right
    is reported where it is needed.
    Guarantees: infra is asked outside of the pass that needs the answer, and the answer wakes its key.
    Threads: any.
    """

    def __init__(self, inquiries: Inquiries, infra: Callable[[], Client], clock: Clock) -> None:
        self._inquiries = inquiries
        self._infra = infra
        self._clock = clock
        self._guard = threading.Lock()  # guards the two below
        self._known: dict[str, _Answer] = {}
        self._asking: dict[str, set[Waker]] = {}  # wakers that wait for the next answer

    def look(self, namespaces: Iterable[str], waker: Waker, age_seconds: float | None = None) -> None:
        """Make `has` know these namespaces, by answers younger than `age_seconds`; None: than the age at which so many
        can be reviewed.

        Raises: NotSynced while such an answer is missing, which wakes the key; ApiError, if infra gave none when it was
            asked.
        """
        wanted = tuple(dict.fromkeys(namespaces))
        with self._guard:
            most = self._again_locked() / 2 if age_seconds is None else age_seconds
            missing = [each for each in wanted if not self._is_good_locked(each, waker, most)]
            for each in missing:
                self._asking.setdefault(each, set()).add(waker)
            errors = [] if missing else self._taken_locked(wanted, waker)
        for each in missing:
            self._inquiries.put(INFRA, ("rights", each), partial(self._ask, each), waker)
        if missing:
            raise NotSynced(INFRA, Selection(SELFSUBJECTACCESSREVIEWS, missing[0]))
        for error in errors:
            raise error.with_traceback(None)

    def again_seconds(self) -> float:
        """Seconds until it makes sense to check again whether rights were granted."""
        with self._guard:
            return self._again_locked()

    def has(self, namespace: str) -> bool:
        """The last answer, however old; False for a namespace that was never reviewed."""
        with self._guard:
            return self._known.get(namespace, _Answer()).allowed

    def _again_locked(self) -> float:
        return max(RIGHTS_SECONDS, len(self._known) / _AGAIN_PER_SECOND)

    def _is_good_locked(self, namespace: str, waker: Waker, most_seconds: float) -> bool:
        answer = self._known.get(namespace, _Answer())
        is_young = answer.error is None and self._clock.monotonic() - answer.at < most_seconds
        return is_young or waker in answer.owed

    def _taken_locked(self, namespaces: Iterable[str], waker: Waker) -> list[ApiError]:
        """The errors of the reviews; the next look of `waker` requests newer answers."""
        answers = [self._known[each] for each in namespaces]
        for answer in answers:
            answer.owed.discard(waker)
        return [answer.error for answer in answers if answer.error is not None]

    def _ask(self, namespace: str) -> None:
        right = Right("patch", "", "configmaps", OVNKUBE_NODE_ENTRIES, namespace)
        now, error, allowed = self._clock.monotonic(), None, False
        try:
            allowed = is_allowed(self._infra().create(SELFSUBJECTACCESSREVIEWS, "", access_review(right)))
        except ApiError as err:
            error = err
        with self._guard:
            owed = self._asking.pop(namespace, set())
            before = self._known.get(namespace, _Answer())
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            fresh = _Answer(allowed, now, None, owed)
            self._known[namespace] = fresh if error is None else replace(before, error=error, owed=owed)
