"""Gathers the facts of one cluster for `doctor`, and why some could not be gathered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Protocol, TypeVar

from dpunetop.app.commands.unlooked import next_step
from dpunetop.base.quoting import sentence
from dpunetop.domain.credential.account import Right, is_allowed
from dpunetop.domain.doctor.model import NOT_ASKED, ClusterFacts, Place, Refused, Unseen
from dpunetop.domain.doctor.rights import review
from dpunetop.kube.errors import ApiError, Forbidden, NotFound, Unauthorized, Unreachable
from dpunetop.kube.keys import SELFSUBJECTACCESSREVIEWS, SUBJECTACCESSREVIEWS, Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.kube.validity import Validity
from dpunetop.runtime.client.documents import Page

FIELD_MANAGER = "dpunetop-doctor"
_PAGE = 250
_AT_ONCE = 8
T = TypeVar("T")


class PreflightClient(Protocol):
    """The requests of a preflight; see `Client`."""

    @property
    def serving(self) -> Validity | None:
        """See `Client.serving`."""

    @property
    def server_ahead(self) -> timedelta | None:
        """See `Client.server_ahead`."""

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
    """Asks one cluster. A forbidden or failed request counts as not seen and raises nothing.

    Guarantees: nothing is written; no request is made twice.
    Threads: one; `ask_rights` uses some of its own, and ends them.
    """

    def __init__(self, client: PreflightClient, cluster: str) -> None:
        self._client = client
        self._cluster = cluster
        self._release: str | Unseen = NOT_ASKED
        self._served: dict[Resource, bool | Unseen] = {}
        self._lists: dict[Selection, tuple[Obj, ...] | Unseen] = {}
        self._objects: dict[Place, Obj | Unseen | None] = {}
        self._rights: dict[tuple[str, Right], bool | Unseen] = {}
        self._rehearsed: dict[Place, Refused | Unseen | None] = {}

    def meet(self) -> str:
        """The release of the API server. Raises: ApiError if the cluster or the credential is unusable."""
        try:
            self._release = self._client.release()
        except (Unauthorized, Unreachable):
            raise
        except ApiError as err:
            self._release = _unseen(err)
        return self._release if isinstance(self._release, str) else ""

    def serves(self, resource: Resource) -> bool:
        """Whether the API server serves a resource; also False if it does not answer."""
        self._served[resource] = known = _asked(lambda: self._client.serves(resource))
        return known is True

    def list(self, selection: Selection) -> tuple[Obj, ...]:
        """All readable objects of a selection."""
        pages = _asked(lambda: tuple(self._client.pages(selection, _PAGE)))
        if isinstance(pages, Unseen):
            self._lists[selection] = pages
            return ()
        self._lists[selection] = found = tuple(obj for page in pages for obj in page.items)
        return found

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """One object, if it exists and is readable."""
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
        """Ask whether each user (empty: the caller) has each permission."""
        wanted = [each for each in dict.fromkeys(asked) if each not in self._rights]
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as pool:
            answers = pool.map(lambda each: self._may(*each), wanted)
            self._rights.update(zip(wanted, answers, strict=True))

    def rehearse(self, place: Place, body: Obj) -> None:
        """Send an object through admission by a server-side dry run."""
        # A server-side apply needs both permissions; without them RBAC would refuse it before admission.
        rights = [Right(verb, place.resource.group, place.resource.plural, "", place.namespace) for verb in _WRITES]
        self.ask_rights(("", right) for right in rights)
        lacking = [str(right) for right in rights if self._rights["", right] is not True]
        if lacking:
            words = f"you may not {' or '.join(lacking)}, which a dry run takes"
            self._rehearsed[place] = Unseen(words, _AS_ADMINISTRATOR)
            return
        try:
            self._client.rehearse(place.resource, body, FIELD_MANAGER)
            self._rehearsed[place] = None
        except Unreachable as err:
            self._rehearsed[place] = _unseen(err)
        except ApiError as err:
            self._rehearsed[place] = Refused(err.message)

    def not_rehearsed(self, place: Place, unseen: Unseen) -> None:
        """Record that an object could not be rehearsed."""
        self._rehearsed[place] = unseen

    def seen(self) -> ClusterFacts:
        """The facts gathered so far."""
        return ClusterFacts(
            self._cluster,
            self._release,
            dict(self._served),
            dict(self._lists),
            dict(self._objects),
            dict(self._rights),
            dict(self._rehearsed),
            self._client.serving,
            self._client.server_ahead,
        )

    def _may(self, user: str, right: Right) -> bool | Unseen:
        kind = SUBJECTACCESSREVIEWS if user else SELFSUBJECTACCESSREVIEWS
        return _asked(lambda: is_allowed(self._client.create(kind, "", review(user, right))))


_WRITES = ("create", "patch")
_AS_ADMINISTRATOR = "run it as an administrator of that cluster"


def _asked(ask: Callable[[], T]) -> T | Unseen:
    try:
        return ask()
    except ApiError as err:
        return _unseen(err)


def _unseen(err: ApiError) -> Unseen:
    if isinstance(err, Forbidden):
        return Unseen(f"it is not permitted: {sentence(err.message)}", _AS_ADMINISTRATOR)
    return Unseen(f"the API server did not say: {err.code or err.reason} {sentence(err.message)}", next_step(err))
