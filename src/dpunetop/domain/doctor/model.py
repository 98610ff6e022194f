"""The parts of a preflight: the objects seen in two clusters, the checks of them, and their results.

A check reads objects through `ClusterFacts`. One that could not be read raises there, so that no check takes it for
absent or for good: it is reported as not looked at, with why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar

from dpunetop.domain.credential.account import Right
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, annotations_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.validity import Validity

T = TypeVar("T")


class Verdict(Enum):
    """The verdict on one object, the gravest first."""

    FAIL = "fail"
    """The operator cannot work with it."""
    NOT_LOOKED_AT = "not looked at"
    """Unknown: it could not be read."""
    WARN = "warn"
    """It works, but a person should look at it."""
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One line of a preflight."""

    verdict: Verdict
    about: str
    """The object, for a person."""
    message: str
    mend: str = ""
    """What to do: a command to copy, or a sentence where no command does it. Empty: nothing, since all is well."""
    home: str = ""
    """The served namespace that it is about; empty, or another namespace: all of them."""
    dpus: frozenset[str] | None = None
    """The DPUs that it is about; None: all those of `home`."""
    concerns: str = ""
    """Those DPUs with their hosts, for a person; empty until a preflight is whole, and of what is well."""


def ok(about: str, message: str) -> Diagnosis:
    """In order."""
    return Diagnosis(Verdict.OK, about, message)


def warn(about: str, message: str, mend: str) -> Diagnosis:
    """It works, but a person should look at it."""
    return Diagnosis(Verdict.WARN, about, message, mend)


def fail(about: str, message: str, mend: str) -> Diagnosis:
    """Does not work."""
    return Diagnosis(Verdict.FAIL, about, message, mend)


@dataclass(frozen=True, slots=True)
class Unseen:
    """Why something was not looked at, and how it can be; neither is empty."""

    why: str
    mend: str


NOT_ASKED = Unseen("it was not asked for", "report it, with what was typed: a check needs what no look has read")


class NotLookedAt(Exception):
    """An object that a check needs was not looked at. `about` names it."""

    def __init__(self, about: str, unseen: Unseen, dpus: frozenset[str] | None = None) -> None:
        super().__init__(f"{about}: {unseen.why}")
        self.about = about
        self.unseen = unseen
        self.dpus = dpus

    @property
    def finding(self) -> Diagnosis:
        """The line that reports it."""
        return Diagnosis(Verdict.NOT_LOOKED_AT, self.about, self.unseen.why, self.unseen.mend, dpus=self.dpus)


@dataclass(frozen=True, slots=True)
class Refused:
    """A server's admission refuses a rehearsed object; `words` are its own."""

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
    """The objects seen in one cluster. Each method raises NotLookedAt for one that could not be read."""

    cluster: str
    """For a person: infra, or tenant."""
    release: str | Unseen
    """`gitVersion` of its API server."""
    served: Mapping[Resource, bool | Unseen] = field(default_factory=dict)
    lists: Mapping[Selection, tuple[Obj, ...] | Unseen] = field(default_factory=dict)
    objects: Mapping[Place, Obj | Unseen | None] = field(default_factory=dict)
    """None: known to be absent."""
    rights: Mapping[tuple[str, Right], bool | Unseen] = field(default_factory=dict)
    """By user; the empty one is the user of this command."""
    rehearsed: Mapping[Place, Refused | Unseen | None] = field(default_factory=dict)
    """The results of server-side dry runs; None: the object would be accepted."""
    serving: Validity | None = None
    """Of the certificate that its API server shows; None: not known."""
    server_ahead: timedelta | None = None
    """By how much the clock of its API server is ahead of this machine's; None: not known."""

    def version(self) -> str:
        """Release of the API server."""
        return self._known(f"the API server of {self.cluster}", self.release)

    def serves(self, resource: Resource) -> bool:
        """Whether the API server knows the resource."""
        return self._known(f"API {resource} of {self.cluster}", self.served.get(resource, NOT_ASKED))

    def list(self, selection: Selection) -> tuple[Obj, ...]:
        """All objects of a selection."""
        return self._known(f"{selection} of {self.cluster}", self.lists.get(selection, NOT_ASKED))

    def get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        """One object; None: it does not exist."""
        place = Place(resource, namespace, name)
        return self._known(f"{place} of {self.cluster}", self.objects.get(place, NOT_ASKED))

    def may(self, user: str, right: Right) -> bool:
        """Whether a user has a right."""
        return self._known(f"rights in {self.cluster}", self.rights.get((user, right), NOT_ASKED))

    def rehearsal(self, place: Place) -> Refused | None:
        """The answer of admission to an object; None: it accepts it."""
        return self._known(f"admission of {place} in {self.cluster}", self.rehearsed.get(place, NOT_ASKED))

    def _known(self, about: str, value: T | Unseen) -> T:
        if isinstance(value, Unseen):
            raise NotLookedAt(about, value)
        return value


@dataclass(frozen=True, slots=True)
class Grants:
    """Rights that the shipped manifests give to one user in one namespace or cluster, and how they are given."""

    user: str
    """Empty: the user of this command."""
    role: str
    """Role or ClusterRole with its namespace, for a person."""
    rights: tuple[Right, ...]
    mend: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that a preflight judges: infra, and one tenant."""

    infra: ClusterFacts
    tenant: ClusterFacts | Unseen
    now: datetime
    namespace: str
    """Namespace of the operator."""
    tenant_namespace: str
    """Namespace of OVN-Kubernetes in the tenant."""
    definitions: tuple[Obj, ...]
    """The CustomResourceDefinitions as shipped."""
    whose: str = "the tenant"
    """The tenant's name for a person."""
    configs: frozenset[tuple[str, str]] | None = None
    """Namespace and name of the DpuClusterConfigs whose tenant this is; None: any may be."""
    infra_grants: tuple[Grants, ...] = ()
    tenant_grants: tuple[Grants, ...] = ()
    pod_roles: tuple[Obj, ...] = ()
    """The shipped roles of the tenant to which the operator binds the account of the DPU pods."""

    def of_tenant(self) -> ClusterFacts:
        """The objects seen in the tenant. Raises: NotLookedAt."""
        if isinstance(self.tenant, Unseen):
            raise NotLookedAt(self.whose, self.tenant)
        return self.tenant


class Side(Enum):
    """The cluster that a check is about."""

    INFRA = "infra"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a preflight looks at."""

    id: str
    title: str
    looks_at: str
    """The objects, for a person who wants to look at them."""
    side: Side
    judge: Callable[[Facts], Iterable[Diagnosis]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of a check; never empty."""

    check: Check
    findings: tuple[Diagnosis, ...]

    @property
    def verdict(self) -> Verdict:
        """The gravest of them."""
        return gravest(finding.verdict for finding in self.findings)


def each(
    things: Iterable[T], judge: Callable[[T], Iterable[Diagnosis]], home_of: Callable[[T], str] = lambda _: ""
) -> Iterator[Diagnosis]:
    """The results for each; one that could not be read does not keep the others from being judged. `home_of` gives the
    namespace that all results of one are about."""
    for thing in things:
        try:
            yield from (at_home(home_of(thing), finding) for finding in judge(thing))
        except NotLookedAt as err:
            yield at_home(home_of(thing), err.finding)


def at_home(namespace: str, finding: Diagnosis) -> Diagnosis:
    """The finding as one about a served namespace; empty: as it is."""
    return replace(finding, home=namespace) if namespace else finding


def gravest(verdicts: Iterable[Verdict]) -> Verdict:
    """The first of them in the order of `Verdict`; OK of none."""
    found = set(verdicts)
    return next((verdict for verdict in Verdict if verdict in found), Verdict.OK)


def annotation(obj: Obj | None, key: str) -> str:
    """An annotation of an object that may be absent; empty: neither."""
    return annotations_of(obj).get(key, "") if obj is not None else ""
