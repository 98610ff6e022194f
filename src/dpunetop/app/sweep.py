"""Removes leftovers of deleted DpuClusterConfigs: reads, writes, reads again, while no operator is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from dpunetop.base.clock import Clock
from dpunetop.base.quoting import named, quoted
from dpunetop.base.stop import Stop
from dpunetop.domain import names
from dpunetop.domain.sweep import (
    INFRA_NAMES,
    TENANT,
    TENANT_NAMES,
    Act,
    Found,
    SweepChoice,
    SweepPlan,
    SweptTenant,
    plan_sweep,
)
from dpunetop.kube.errors import ApiError, Conflict, NotFound
from dpunetop.kube.keys import (
    CUSTOMRESOURCEDEFINITIONS,
    DEPLOYMENTS,
    INFRA,
    LEASES,
    NAMESPACES,
    NODES,
    Resource,
    crd_name,
)
from dpunetop.kube.meta import Obj, name_of, namespace_of, uid_of, version_of
from dpunetop.kube.plan import Delete, Fence
from dpunetop.kube.requests import Selection
from dpunetop.kube.shapes import at
from dpunetop.runtime.client.documents import Page

DONE_EXIT, LEFT_EXIT = 0, 1
MARGIN_SECONDS = 5.0
"""How much longer than its duration a Lease must stay unchanged before its holder counts as gone."""
PATIENCE_SECONDS = 60.0
"""How long to wait for terminating objects without any change."""
_DEFAULT_LEASE_SECONDS = 15.0
_PAUSE_SECONDS = 1.0
_PAGE = 250
_SHOWN = 5
_MANAGER = names.field_manager("sweep")


class Busy(Exception):
    """An operator is at work; the text says which, and what to do."""


class SweepClient(Protocol):
    """The requests of a sweep; see `Client`."""

    def get(self, resource: Resource, namespace: str, name: str) -> Obj:
        """See `Client.get`."""

    def pages(self, selection: Selection, page_size: int) -> Iterable[Page]:
        """See `Client.pages`."""

    def delete(self, resource: Resource, namespace: str, name: str, uid: str, resource_version: str = "") -> None:
        """See `Client.delete`."""

    def merge_patch(self, resource: Resource, namespace: str, name: str, patch: Obj, field_manager: str) -> Obj:
        """See `Client.merge_patch`."""


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """The settings of a sweep."""

    kubeconfig: str | None
    tenant_kubeconfig: str | None
    namespace: str
    choice: SweepChoice
    dry_run: bool


class Sweeper:
    """Reads and writes until nothing is left to do.

    Guarantees: writes nothing before the operator's Lease has stayed unchanged for its duration, and reads the Lease
        before each write; the uid that was seen is a precondition of each write.
    Threads: one.
    Raises: Busy; ApiError if a cluster cannot be read.
    """

    def __init__(
        self, doors: Mapping[str, SweepClient], settings: SweepSettings, clock: Clock, say: Callable[[str, str], None]
    ) -> None:
        """`say` prints a text with the given end."""
        self._doors = doors
        self._settings = settings
        self._clock = clock
        self._stop = Stop(clock)
        self._say = say
        self._leases: dict[str, str] = {}  # namespace → version that has stood still
        self._refused: dict[str, str] = {}  # uid → why it could not be written
        self._choice = settings.choice
        self._removed = 0

    def run(self) -> int:
        """0: nothing is left, or would be after a sweep; 1: objects are left, each named with what to do."""
        found = self._found()
        self._see_that_nobody_is_at_work(found)
        if self._settings.dry_run:
            return self._rehearse(found)
        return self._summary(self._sweep(found))

    def _sweep(self, found: Found) -> SweepPlan:
        until = self._clock.monotonic() + PATIENCE_SECONDS
        while True:
            decided = plan_sweep(found, self._choice)
            # The objects that identify the owner of the tenant's objects may be gone at the next read.
            self._choice = replace(self._choice, owners=self._choice.owners | decided.swept)
            acts = [act for act in decided.acts if uid_of(act.step.live) not in self._refused]
            outcomes = [self._carry_out(act) for act in acts]  # all of them, even if some fail
            if any(outcomes):
                until = self._clock.monotonic() + PATIENCE_SECONDS
            elif not (acts or decided.later) or self._refused or self._clock.monotonic() >= until:
                return decided
            else:
                self._stop.wait(_PAUSE_SECONDS)
            found = self._found()

    def _carry_out(self, act: Act) -> bool:
        """Print and carry out one act and print its result; return whether something has changed."""
        self._look_at_leases()
        self._say(f"{act} ...", " ")
        try:
            self._write(act)
        except NotFound:
            self._say("gone already", "\n")
        except Conflict:
            self._say("changed meanwhile, is looked at again", "\n")
            return False
        except ApiError as err:
            self._refused[uid_of(act.step.live)] = str(err)
            self._say(f"FAILED: {err}", "\n")
            return False
        else:
            self._removed += 1
            self._say("done", "\n")
        return True

    def _write(self, act: Act) -> None:
        step = act.step
        door, where = self._doors[step.cluster], (step.resource, namespace_of(step.live), name_of(step.live))
        uid, version = uid_of(step.live), version_of(step.live)
        if isinstance(step, Delete):
            door.delete(*where, uid, version if step.fence is Fence.VERSION else "")
            return
        metadata = {**step.patch.get("metadata", {}), "uid": uid, "resourceVersion": version}
        door.merge_patch(*where, {**step.patch, "metadata": metadata}, _MANAGER)

    def _rehearse(self, found: Found) -> int:
        decided = plan_sweep(found, self._choice)
        for act in decided.acts:
            self._say(f"would {act}", "\n")
        for words in (*decided.later, *decided.kept):
            self._say(words, "\n")
        self._say(
            f"dry run: {len(decided.acts)} writes, {len(decided.kept)} objects would be left{self._aside(decided)}",
            "\n",
        )
        return LEFT_EXIT if decided.kept else DONE_EXIT

    def _summary(self, last: SweepPlan) -> int:
        undone = [f"{act} was not done" for act in last.acts if uid_of(act.step.live) not in self._refused]
        left = (*undone, *last.later, *last.kept)
        for words in left:
            self._say(words, "\n")
        many = len(left) + len(self._refused)
        rest = f"{many} are left, see above" if many else "nothing is left"
        self._say(f"swept: {self._removed} writes, {rest}{self._aside(last)}", "\n")
        return LEFT_EXIT if many else DONE_EXIT

    def _aside(self, decided: SweepPlan) -> str:
        """What was not read or is unknown, and what to do about it."""
        texts = []
        if decided.strangers:
            strangers = ", ".join(quoted(each, 32) for each in sorted(decided.strangers)[:_SHOWN])
            texts.append(
                f". Objects in the tenant that belong to other clusters stay; if one is of this: --owner={strangers}"
            )
        if TENANT not in self._doors and decided.swept:
            owners = "".join(f" --owner={named(owner)}" for owner in sorted(decided.swept)[:_SHOWN])
            texts.append(f". No tenant was looked at; to sweep one: --tenant-kubeconfig=<file>{owners}")
        return "".join(texts)

    def _found(self) -> Found:
        """DpuClusterConfigs are read last, so that the owner of each object that was read is among them."""
        uid = uid_of(self._doors[INFRA].get(NAMESPACES, "", names.KUBE_SYSTEM))
        tenant = self._tenant() if TENANT in self._doors else None
        ours = tuple((each, obj) for each in INFRA_NAMES for obj in self._all(INFRA, each, names.OWNER_LABEL))
        pools, nodes = self._all(INFRA, names.MACHINECONFIGPOOLS), self._all(INFRA, NODES)
        return Found(uid, self._configs(), ours, pools, nodes, tenant)

    def _tenant(self) -> SweptTenant:
        return SweptTenant(
            ours=tuple((each, obj) for each in TENANT_NAMES for obj in self._all(TENANT, each, names.OWNER_LABEL)),
            maintenances=self._all(TENANT, names.NODEMAINTENANCES),
            hosts=self._all(TENANT, NODES),
        )

    def _configs(self) -> tuple[Obj, ...]:
        """Empty only if the CRD is gone: a server that does not serve the kind for a moment proves nothing."""
        try:
            return tuple(self._listed(INFRA, names.DPUCLUSTERCONFIGS, ""))
        except NotFound:
            if self._get(CUSTOMRESOURCEDEFINITIONS, "", crd_name(names.DPUCLUSTERCONFIGS)) is not None:
                raise
            return ()

    def _all(self, cluster: str, resource: Resource, label: str = "") -> tuple[Obj, ...]:
        """All objects; empty if the resource is not served."""
        try:
            return tuple(self._listed(cluster, resource, label))
        except NotFound:
            return ()

    def _listed(self, cluster: str, resource: Resource, label: str) -> Iterable[Obj]:
        for page in self._doors[cluster].pages(Selection(resource, "", "", label), _PAGE):
            yield from page.items

    def _get(self, resource: Resource, namespace: str, name: str) -> Obj | None:
        try:
            return self._doors[INFRA].get(resource, namespace, name)
        except NotFound:
            return None

    def _see_that_nobody_is_at_work(self, found: Found) -> None:
        """Check the Leases of the given namespace and of all namespaces with budgets or blockers of an operator.

        Only our own clock counts, so clock skew does no harm: a held Lease must stay unchanged for longer than its
        duration.
        """
        kinds = (names.PODDISRUPTIONBUDGETS, DEPLOYMENTS)
        for namespace in sorted(
            {self._settings.namespace, *(namespace_of(o) for kind, o in found.ours if kind in kinds)}
        ):
            lease = self._get(LEASES, namespace, names.OPERATOR_LEASE)
            self._leases[namespace] = version_of(lease or {})
            if not _holder(lease):
                continue
            seconds = _duration(lease) + MARGIN_SECONDS
            self._say(f"watching Lease {namespace}/{names.OPERATOR_LEASE} for {seconds:g} s", "\n")
            until = self._clock.monotonic() + seconds
            while self._clock.monotonic() < until:
                self._stop.wait(_PAUSE_SECONDS)
                self._look_at_leases()

    def _look_at_leases(self) -> None:
        for namespace, version in self._leases.items():
            lease = self._get(LEASES, namespace, names.OPERATOR_LEASE)
            if version_of(lease or {}) != version and _holder(lease):
                raise Busy(_busy(namespace, _holder(lease)))


def _holder(lease: Obj | None) -> str:
    return str(at(lease, "spec", "holderIdentity") or "")


def _duration(lease: Obj | None) -> float:
    given = at(lease, "spec", "leaseDurationSeconds")
    return float(given) if isinstance(given, int) and given > 0 else _DEFAULT_LEASE_SECONDS


def _busy(namespace: str, holder: str) -> str:
    at_work = f"an operator is at work: {quoted(holder, 80)} renews Lease {named(namespace)}/{names.OPERATOR_LEASE}"
    how = "It removes what is left by itself. To sweep without it, end it first"
    return f"{at_work}. {how}: kubectl -n {named(namespace)} scale deployment dpunetop --replicas=0"
