"""A cluster that answers what a preflight asks from a dictionary, and forbids what a test says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dpunetop.domain.doctor.model import Place
from dpunetop.kube.errors import ApiError, Forbidden, NotFound
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, labels_of, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import matches, parse_selector
from dpunetop.kube.validity import Validity
from dpunetop.runtime.client.documents import Page

FORBIDDEN = Forbidden(403, "Forbidden", "you may not")
GOOD_CERTIFICATE = Validity(datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC))


@dataclass
class LookedAt:
    """Of what it holds, it serves every kind but those in `unserved`; who asks may do all but what is in `lacking`."""

    objects: dict[Place, Obj] = field(default_factory=dict)
    unserved: set[Resource] = field(default_factory=set)
    lacking: set[tuple[str, str]] = field(default_factory=set)
    """Verb and resource, of every user."""
    forbidden: set[object] = field(default_factory=set)
    """Questions as `asked` has them."""
    refuses: dict[str, ApiError] = field(default_factory=dict)
    """By kind: what admission says."""
    gitversion: str = "v1.33.1"
    serving: Validity | None = GOOD_CERTIFICATE
    server_ahead: timedelta | None = timedelta()
    asked: list[object] = field(default_factory=list)

    def put(self, resource: Resource, objects: Iterable[Mapping[str, Any]]) -> None:
        """Hold these."""
        self.objects.update({Place(resource, namespace_of(each), name_of(each)): each for each in objects})

    def release(self) -> str:
        """See `Client.release`."""
        self._ask("release")
        return self.gitversion

    def serves(self, resource: Resource) -> bool:
        """See `Client.serves`."""
        self._ask(("serves", resource))
        return resource not in self.unserved

    def get(self, resource: Resource, namespace: str, name: str) -> Obj:
        """See `Client.get`."""
        place = Place(resource, namespace, name)
        self._ask(place)
        if place not in self.objects:
            raise NotFound(404, "NotFound", f"{place} not found")
        return self.objects[place]

    def pages(self, selection: Selection, page_size: int) -> Iterator[Page]:
        """See `Client.pages`."""
        self._ask(selection)
        items = [
            dict(obj)
            for place, obj in self.objects.items()
            if place.resource == selection.resource
            and selection.namespace in ("", place.namespace)
            and (
                not selection.label_selector or matches(parse_selector(selection.label_selector) or {}, labels_of(obj))
            )
        ]
        yield Page(items, "1", False)

    def create(self, resource: Resource, namespace: str, obj: Obj) -> dict[str, Any]:
        """Reviews; see `Client.create`."""
        attributes = obj["spec"]["resourceAttributes"]
        sub = attributes.get("subresource")
        right = attributes["verb"], attributes["resource"] + (f"/{sub}" if sub else "")
        self._ask(("may", obj["spec"].get("user", ""), right))
        return {"status": {"allowed": right not in self.lacking}}

    def rehearse(self, resource: Resource, body: Obj, field_manager: str) -> None:
        """See `Client.rehearse`."""
        self._ask(("rehearse", resource))
        if resource.kind in self.refuses:
            raise self.refuses[resource.kind]

    def _ask(self, what: object) -> None:
        self.asked.append(what)
        if what in self.forbidden:
            raise FORBIDDEN


def _has(obj: Obj, label_selector: str) -> bool:
    return matches(parse_selector(label_selector) or {}, labels_of(obj))
