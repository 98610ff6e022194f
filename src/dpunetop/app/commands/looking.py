"""Looks at one cluster for a preflight, and keeps what was seen beside what was not, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from dpunetop.base.quoting import sentence
from dpunetop.domain.credential.account import Right, is_allowed
from dpunetop.domain.doctor.model import ClusterFacts, Place, Refused, Unseen
from dpunetop.domain.doctor.rights import review
from dpunetop.kube.errors import ApiError, Forbidden, NotFound, Unauthorized, Unreachable
from dpunetop.kube.keys import SELFSUBJECTACCESSREVIEWS, SUBJECTACCESSREVIEWS, Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.documents import Page

FIELD_MANAGER = "dpunetop-doctor"
_PAGE = 250
_AT_ONCE = 8
T = TypeVar("T")


class Asked(Protocol):
    """What a preflight asks of a cluster; see `Client`."""

    def release(self) -> str:
        """See `Client.release`."""

    def serves(self, resource: Resource) -> bool:
        """See `Client.serves`."""

    def get(self, resource: Resource, namespace: str, name: str) -> Obj:
        """See `Client.get`."""

    def pages(self, selection: Selection, page_size: int) -> Iterable[Page]:
        """See `Client.pages`."""

    def create(self, resource: Resource, namespace: str, obj: Obj) -> Obj:
        """See `Client.create`."""

    def rehearse(self, resource: Resource, body: Obj, field_manager: str) -> None:
        """See `Client.rehearse`."""


class FactGatherer:
    """Asks one cluster. What is not permitted, or does not come, is kept as not seen; nothing is raised for it.

    Guarantees: nothing is written; what is asked is asked once.
    Threads: one; `ask_rights` uses some of its own, and ends them.
    """

    def __init__(self, client: Asked, cluster: str) -> None:
        self._client = client
        self._cluster = cluster
        self._release: str | Unseen = Unseen("it was not asked for")
        self._served: dict[Resource, bool | Unseen] = {}
        self._lists: dict[Selection, tuple[Obj, ...] | Unseen] = {}
        self._objects: dict[Place, Obj | Unseen | None] = {}
        self._rights: dict[tuple[str, Right], bool | Unseen] = {}
        self._rehearsed: dict[Place, Refused | Unseen | None] = {}

    def meet(self) -> str:
        """The release of the API server. Raises: ApiError, where the cluster or the credential is of no use."""
        try:
            self._release = self._client.release()
        except (Unauthorized, Unreachable):
            raise
        except ApiError as err:
            self._release = _unseen(err)
        return self._release if isinstance(self._release, str) else ""

    def serves(self, resource: Resource) -> bool:
        """Whether the API server knows a resource; False too if it does not say."""
        self._served[resource] = known = _asked(lambda: self._client.serves(resource))
        return known is True

    def list(self, selection: Selection) -> tuple[Obj, ...]:
        """All objects of a selection, as far as they may be seen."""
        pages = _asked(lambda: tuple(self._client.pages(selection, _PAGE)))
        if isinstance(pages, Unseen):
            self._lists[selection] = pages
            return ()
        self._lists[selection] = found = tuple(obj for page in pages for obj in page.items)
        return found

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """One object, if it exists and may be seen."""
        place = Place(resource, namespace, name)
        try:
            found: Obj | Unseen | None = self._client.get(resource, namespace, name)
        except NotFound:
            found = None
        except ApiError as err:
            found = _unseen(err)
        self._objects[place] = found
        return None if isinstance(found, Unseen) else found

    def ask_rights(self, asked: Iterable[tuple[str, Right]]) -> None:
        """Whether each user, the empty one being who looks, has each right."""
        wanted = [each for each in dict.fromkeys(asked) if each not in self._rights]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as pool:
            answers = pool.map(lambda each: self._may(*each), wanted)
            self._rights.update(zip(wanted, answers, strict=True))

    def rehearse(self, place: Place, body: Obj) -> None:
        """Have the server admit an object without writing it."""
        # As a server-side apply, which takes both; without them the refusal would be of RBAC, not of admission.
        rights = [Right(verb, place.resource.group, place.resource.plural, "", place.namespace) for verb in _WRITES]
        self.ask_rights(("", right) for right in rights)
        lacking = [str(right) for right in rights if self._rights["", right] is not True]
        if lacking:
            self._rehearsed[place] = Unseen(f"you may not {' or '.join(lacking)}, which a dry run takes")
            return
        try:
            self._client.rehearse(place.resource, body, FIELD_MANAGER)
            self._rehearsed[place] = None
        except Unreachable as err:
            self._rehearsed[place] = _unseen(err)
        except ApiError as err:
            self._rehearsed[place] = Refused(err.message)

    def not_rehearsed(self, place: Place, why: str) -> None:
        """An object for whose rehearsal something is missing."""
        self._rehearsed[place] = Unseen(why)

    def seen(self) -> ClusterFacts:
        """All of it, up to now."""
        return ClusterFacts(
            self._cluster,
            self._release,
            dict(self._served),
            dict(self._lists),
            dict(self._objects),
            dict(self._rights),
            dict(self._rehearsed),
        )

    def _may(self, user: str, right: Right) -> bool | Unseen:
        kind = SUBJECTACCESSREVIEWS if user else SELFSUBJECTACCESSREVIEWS
        return _asked(lambda: is_allowed(self._client.create(kind, "", review(user, right))))


_WRITES = ("create", "patch")


def _asked(ask: Callable[[], T]) -> T | Unseen:
    try:
        return ask()
    except ApiError as err:
        return _unseen(err)


def _unseen(err: ApiError) -> Unseen:
    if isinstance(err, Forbidden):
        return Unseen(f"it is not permitted: {sentence(err.message)}", "run it as an administrator of that cluster")
    return Unseen(f"the API server did not say: {err.code or err.reason} {sentence(err.message)}")
