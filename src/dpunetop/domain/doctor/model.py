"""What a preflight is made of: what was seen of two clusters, checks over it, and what each of them finds.

A check reads what was seen through `ClusterFacts`. What nobody could look at raises there, so that no check can take it
for absent or in order: it is reported as not looked at, with why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import TypeVar

from dpunetop.domain.credential.account import Right
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, annotations_of
from dpunetop.kube.requests import Selection

T = TypeVar("T")


class Verdict(Enum):
    """What is said of one object, the gravest first."""

    FAIL = "fail"
    """The operator cannot do its work with it."""
    NOT_LOOKED_AT = "not looked at"
    """Nothing is known: it could not be looked at."""
    WARN = "warn"
    """It works, and should be looked at."""
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line of a preflight."""

    verdict: Verdict
    about: str
    """The object, as a person names it."""
    message: str
    mend: str = ""
    """What to do: a command to copy, or a sentence where no command does it. Empty: nothing."""


def ok(about: str, message: str) -> Diagnosis:
    """In order."""
    return Diagnosis(Verdict.OK, about, message)


def warn(about: str, message: str, mend: str) -> Diagnosis:
    """Works, and should be looked at."""
    return Diagnosis(Verdict.WARN, about, message, mend)


def fail(about: str, message: str, mend: str) -> Diagnosis:
    """Does not work."""
    return Diagnosis(Verdict.FAIL, about, message, mend)


@dataclass(frozen=True, slots=True)
class Unseen:
    """Why something was not looked at, and how it can be."""

    why: str
    mend: str = ""


class NotLookedAt(Exception):
    """Something that a check needs was not looked at. `about` names it."""

    def __init__(self, about: str, unseen: Unseen) -> None:
        super().__init__(f"{about}: {unseen.why}")
        self.about = about
        self.unseen = unseen

    @property
    def finding(self) -> Diagnosis:
        """What is reported of it."""
        return Diagnosis(Verdict.NOT_LOOKED_AT, self.about, self.unseen.why, self.unseen.mend)


@dataclass(frozen=True, slots=True)
class Refused:
    """A server's admission refuses what was rehearsed; `words` are its own."""

    words: str


@dataclass(frozen=True, slots=True)
class Place:
    """One object of a cluster, by name."""

    resource: Resource
    namespace: str
    name: str

    def __str__(self) -> str:
        within = f"{self.namespace}/" if self.namespace else ""
        return f"{self.resource.kind} {within}{self.name}"


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What was seen of one cluster. Each method raises NotLookedAt for what was not."""

    cluster: str
    """As a person names it: infra, or tenant."""
    release: str | Unseen
    """`gitVersion` of its API server."""
    served: Mapping[Resource, bool | Unseen] = field(default_factory=dict)
    lists: Mapping[Selection, tuple[Obj, ...] | Unseen] = field(default_factory=dict)
    objects: Mapping[Place, Obj | Unseen | None] = field(default_factory=dict)
    """None: known to be absent."""
    rights: Mapping[tuple[str, Right], bool | Unseen] = field(default_factory=dict)
    """By user; the empty one is who looks."""
    rehearsed: Mapping[Place, Refused | Unseen | None] = field(default_factory=dict)
    """What came of server-side dry runs; None: it would be taken."""

    def version(self) -> str:
        """Release of the API server."""
        return self._known(f"the API server of {self.cluster}", self.release)

    def serves(self, resource: Resource) -> bool:
        """Whether the API server knows the resource."""
        return self._known(f"API {resource} of {self.cluster}", self.served.get(resource, _NOBODY))

    def list(self, selection: Selection) -> tuple[Obj, ...]:
        """All objects of a selection."""
        return self._known(f"{selection} of {self.cluster}", self.lists.get(selection, _NOBODY))

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """One object; None: it does not exist."""
        place = Place(resource, namespace, name)
        return self._known(f"{place} of {self.cluster}", self.objects.get(place, _NOBODY))

    def may(self, user: str, right: Right) -> bool:
        """Whether a user has a right."""
        return self._known(f"rights in {self.cluster}", self.rights.get((user, right), _NOBODY))

    def rehearsal(self, place: Place) -> Refused | None:
        """What admission says to an object; None: it takes it."""
        return self._known(f"admission of {place} in {self.cluster}", self.rehearsed.get(place, _NOBODY))

    def _known(self, about: str, value: T | Unseen) -> T:
        if isinstance(value, Unseen):
            raise NotLookedAt(about, value)
        return value


_NOBODY = Unseen("it was not asked for")


@dataclass(frozen=True, slots=True)
class Grants:
    """Rights that the shipped manifests give to one user in one place, and how they are given."""

    user: str
    """Empty: whoever looks."""
    role: str
    """Role or ClusterRole with its place, as a person names it."""
    rights: tuple[Right, ...]
    mend: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a preflight judges: infra, and one tenant."""

    infra: ClusterFacts
    tenant: ClusterFacts | Unseen
    now: datetime
    namespace: str
    """Of the operator."""
    tenant_namespace: str
    """Of OVN-Kubernetes in the tenant."""
    definitions: tuple[Obj, ...]
    """The CustomResourceDefinitions as shipped."""
    whose: str = "the tenant"
    """The tenant, as a person names it."""
    configs: frozenset[tuple[str, str]] | None = None
    """Namespace and name of the DpuClusterConfigs whose tenant this is; None: of all that may be."""
    infra_grants: tuple[Grants, ...] = ()
    tenant_grants: tuple[Grants, ...] = ()
    pod_roles: tuple[Obj, ...] = ()
    """As shipped, of the tenant: what the operator binds the account of the DPU pods to."""

    def of_tenant(self) -> ClusterFacts:
        """What was seen of the tenant. Raises: NotLookedAt."""
        if isinstance(self.tenant, Unseen):
            raise NotLookedAt(self.whose, self.tenant)
        return self.tenant


class Side(Enum):
    """Of which cluster a check is."""

    INFRA = "infra"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a preflight looks at."""

    id: str
    title: str
    looks_at: str
    """Which objects, for a person who wants to look as well."""
    side: Side
    judge: Callable[[Facts], Iterable[Diagnosis]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check has found; never nothing."""

    check: Check
    findings: tuple[Diagnosis, ...]

    @property
    def verdict(self) -> Verdict:
        """The gravest of them."""
        return gravest(finding.verdict for finding in self.findings)


def examine(checks: Iterable[Check], views: Sequence[Facts]) -> tuple[Outcome, ...]:
    """Carry out the checks. `views` has one member for each tenant and at least one; infra is the same in all.

    Guarantees: a check that could not look, or that had nothing to say, is not in order.
    """
    return tuple(Outcome(check, tuple(_of_all(check, views))) for check in checks)


def _of_all(check: Check, views: Sequence[Facts]) -> Iterator[Diagnosis]:
    if check.side is Side.INFRA:
        yield from _findings(check, views[0])
        return
    for facts in views:
        where = f" ({facts.whose})" if len(views) > 1 else ""
        yield from (replace(each, about=f"{each.about}{where}") for each in _findings(check, facts))


def _findings(check: Check, facts: Facts) -> Iterator[Diagnosis]:
    is_silent = True
    try:
        for finding in check.judge(facts):
            is_silent = False
            yield finding
    except NotLookedAt as err:
        yield err.finding
        return
    if is_silent:
        yield Diagnosis(Verdict.NOT_LOOKED_AT, check.title, "there is nothing yet that it could look at")


def each(things: Iterable[T], judge: Callable[[T], Iterable[Diagnosis]]) -> Iterator[Diagnosis]:
    """What is found of each; one that could not be looked at keeps none of the others from being."""
    for thing in things:
        try:
            yield from judge(thing)
        except NotLookedAt as err:
            yield err.finding


def gravest(verdicts: Iterable[Verdict]) -> Verdict:
    """The first of them in the order of `Verdict`; OK of none."""
    found = set(verdicts)
    return next((verdict for verdict in Verdict if verdict in found), Verdict.OK)


def annotation(obj: Obj | None, key: str) -> str:
    """An annotation of an object that may be absent; empty: neither."""
    return annotations_of(obj).get(key, "") if obj is not None else ""
