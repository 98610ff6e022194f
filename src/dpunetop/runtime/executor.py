"""Carries out plans: the only way from a decision to an API server.

Every write says what it expects of the object, and a step that would change nothing sends no request.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any, TypeVar, assert_never

import structlog
from structlog.typing import FilteringBoundLogger

from dpunetop.base import jsonio
from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop, Stopped
from dpunetop.kube.conditions import Condition, changed, condition_of, stamp
from dpunetop.kube.errors import Conflict, Invalid, NotFound
from dpunetop.kube.fieldsets import claimed, is_shadowed, projection_digest, would_change
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, generation_of, is_terminating, name_of, namespace_of, new_object, uid_of, version_of
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Emit, Fence, Ownership, Patch, Plan, Step
from dpunetop.runtime.cache.informer import Absence
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.election.gate import WriteGate
from dpunetop.runtime.events import EventRecorder

TIMEOUT_SECONDS = 10.0
"""Longest time of one write."""
TRUST_SECONDS = 30.0
"""So long the answer to our own write counts as newer than a cache that has not shown it yet."""
SETTLED_SECONDS = 1800.0
"""So long a write is not repeated that the server answered without taking our values: by then a webhook may be gone."""
BEHIND_SECONDS = 30.0
"""When to look again at what a cache is to show and does not: it wakes whoever reads there, if it ever does."""
PATCH_MANAGER = "dpunetop-patch"
"""Field manager of merge patches; its ownership is never read."""
STATUS_TRIES = 8
"""How often a status is tried while others write the same object: at a start all controllers write one status."""
CREATE_ONLY = "1"
"""The resourceVersion that no object has: an apply that names it creates, or fails with Conflict."""

_REMEMBERED = 8192


class Executed(Flag):
    """What came of a plan."""

    NOTHING = 0
    WROTE = auto()
    """Something was written."""
    BEHIND = auto()
    """A step was left out because of what we wrote ourselves, which the view does not show yet: whoever reads there is
    woken when the cache shows it, and looks again all the same, in case it never does."""

    @property
    def again_seconds(self) -> float | None:
        """When to look again, beside what the plan says."""
        return BEHIND_SECONDS if Executed.BEHIND in self else None


Look = Callable[[str, Resource, str, str, int], Obj | Absence]
"""Of a cluster, a collection, a namespace, a name and a version: see `Cluster.look`."""
Kept = Callable[[str, Resource, dict[str, Any]], Obj]
"""Of a cluster and a collection: how its cache keeps an object, which is left as it is."""


def no_look(*_: object) -> Absence:
    """Where there are no caches."""
    return Absence.UNCERTAIN


_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class Executor:
    """Carries out the steps of a plan in order, and stops at the first that fails.

    Guarantees: a step whose outcome stands already sends no request; what our own last write did is known before the
        cache shows it; a write that the server answers without taking our values (a webhook, another spelling) is not
        repeated until something changes, or half an hour is over; what we give up goes, also after `managedFields` were
        cleared; no request starts or lasts longer than the gate allows; none is sent twice.
    Threads: any; two plans for one object at once are told apart by the server.
    """

    def __init__(
        self,
        clients: Callable[[str], Client],
        gate: WriteGate,
        recorder: EventRecorder,
        clock: Clock,
        look: Look = no_look,
        kept: Kept = lambda _cluster, _resource, answer: answer,
    ) -> None:
        """`look` asks the caches of a cluster for an object, see `Cluster.look`; `kept` gives an answer as the cache
        that will show it keeps it: some thousands are remembered for a while.
        """
        self._clients = clients
        self._look = look
        self._gate = gate
        self._recorder = recorder
        self._clock = clock
        self._memory = _Memory(clock, kept)
        self._log: FilteringBoundLogger = structlog.get_logger().bind()

    def execute(self, plan: Plan, stop: Stop) -> Executed:
        """Carry out all steps; what came of them.

        Raises: Stopped when `stop` is set before a step; Conflict when an object is not what its step expects; other
            ApiErrors as the server gives them, Unreachable with the outcome unknown; NotEngaged when there is no such
            cluster now; LeadershipLost.
        """
        executed = Executed.NOTHING
        for step in plan.steps:
            if stop.is_set():
                raise Stopped
            executed |= self._carry_out(step)
        return executed

    def send(self, step: Apply | Patch | Delete) -> Obj | None:
        """Send one write, even if it would change nothing: what it expects is the point of it.

        Returns the object as the server shows it afterwards; None for a Delete, for which one that is gone is done.
        Raises: as `execute`; what it expects is what `step` carries, whatever is known of later writes.
        """
        match step:
            case Apply():
                return self._send_apply(step)
            case Patch():
                return self._send_patch(step)
            case Delete():
                self._send_delete(step)
                return None
        assert_never(step)

    def rehearse(self, step: Apply) -> None:
        """Return if `send` would do this, as far as the server knows now; nothing is written. Raises: as `send`."""
        client, timeout = self._door(_Place.of(step, step.desired))
        body = _with_metadata(step.desired, _expectations(step, step.live))
        with _uid_mismatch_as_conflict():
            client.rehearse(step.resource, body, step.field_manager, timeout_seconds=timeout)

    def newest(self, cluster: str, resource: Resource, seen: Obj) -> Obj:
        """The newest state that is known of an object that a cache shows: what our own last write left, if the cache
        is behind it. Shared, and must not be changed."""
        place = _Place(cluster, resource, namespace_of(seen), name_of(seen))
        return self._memory.newer_than(place, seen) or seen

    def forget(self, cluster: str) -> None:
        """Trust the caches of `cluster` again in everything: its state may be another than we left."""
        self._memory.forget(cluster)

    def _carry_out(self, step: Step) -> Executed:
        match step:
            case Apply():
                return self._apply(step)
            case ApplyStatus():
                return self._apply_status(step)
            case Patch():
                return self._patch(step)
            case Delete():
                return self._delete(step)
            case Emit():
                self._recorder.emit(step)
                return Executed.NOTHING
        assert_never(step)

    def _apply(self, step: Apply) -> Executed:
        place = _Place.of(step, step.desired)
        current = self._current(place, step.live)
        write = _Write.of(place, step)
        if current is not None and (self._stands(write, current) or _is_made_once(step)):
            return _left_out(current, step.live)
        client, timeout = self._door(place)
        body = _with_metadata(step.desired, _expectations(step, current))
        with _uid_mismatch_as_conflict():
            answer = client.apply(step.resource, body, step.field_manager, timeout_seconds=timeout)
        self._learn(write, answer)
        self._claim(write, answer)
        return Executed.WROTE

    def _claim(self, write: _Write, answer: Obj) -> Obj:
        """Have our fields be ours alone where `managedFields` were lost, and give up what else was ours; what the
        server then shows. The entry is changed as csaupgrade of client-go does it."""
        entries = claimed(write.desired, answer, write.field_manager, write.subresource, write.is_whole)
        if entries is None:
            return answer
        place = write.place
        client, timeout = self._door(place)
        body = {"metadata": {**_same_version(answer), "managedFields": entries}}
        answer = client.merge_patch(
            place.resource, place.namespace, place.name, body, PATCH_MANAGER, timeout_seconds=timeout
        )
        self._log.info("fields claimed", manager=write.field_manager, subresource=write.subresource, **place.shown())
        if write.is_whole and would_change(write.desired, answer, write.field_manager):
            body = _with_metadata(write.desired, _same_version(answer))
            answer = client.apply(place.resource, body, write.field_manager, timeout_seconds=timeout)
        self._learn(write, answer)
        return answer

    def _apply_status(self, step: ApplyStatus) -> Executed:
        place = _Place.of(step, step.live)
        current = self._current(place, step.live) or step.live
        for _ in range(STATUS_TRIES - 1):
            try:
                return self._apply_status_to(step, place, current)
            except Conflict:
                found = self._asked(place, uid_of(step.live))
                if found is None:
                    raise
                current = found
        return self._apply_status_to(step, place, current)

    def _apply_status_to(self, step: ApplyStatus, place: _Place, current: Obj) -> Executed:
        # For the status of a custom resource the server ignores a uid and compares a resourceVersion, which no two
        # objects share; that others write their own conditions meanwhile is no reason to give up.
        write = _Write(place, step.field_manager, "status", self._desired_status(step, current))
        if self._stands(write, current):
            return _left_out(current, step.live)
        client, timeout = self._door(place)
        body = _with_metadata(write.desired, _same_version(current))
        with _uid_mismatch_as_conflict():
            answer = client.apply_status(step.resource, body, step.field_manager, timeout_seconds=timeout)
        self._learn(write, answer)
        self._claim(write, answer)
        self._tell(step, place, current)
        return Executed.WROTE

    def _tell(self, step: ApplyStatus, place: _Place, before: Obj) -> None:
        """Log and record an Event of each condition whose status or reason this write has changed. Another reason of
        the same status is a detail, unless its Event is a Warning."""
        became = changed(before, step.conditions)
        telling = [step.telling[each.type] for each in became if each.type in step.telling]
        turned = [each for each in became if _has_turned(before, each)]
        warnings = [each for each in telling if each.type == "Warning"]
        tell = self._log.info if turned or warnings else self._log.debug
        if became:
            words = [f"{each.type}={each.status} {each.reason}" for each in became]
            tell("conditions changed", conditions=", ".join(words), **place.shown())
        for event in telling:
            self._recorder.emit(event)

    def _desired_status(self, step: ApplyStatus, current: Obj) -> Obj:
        # Times come from the newest state, the generation from the one that the decision saw.
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        status = dict(step.members)
        if step.conditions:
            status["conditions"] = stamp(current, step.conditions, generation_of(step.live), now)
        return new_object(step.resource, namespace_of(step.live), name_of(step.live), status=status)

    def _patch(self, step: Patch) -> Executed:
        current = self._current(_Place.of(step, step.live), step.live) or step.live
        if not _patch_changes(step.patch, current):
            return _left_out(current, step.live)
        self._send_patch(step)
        return Executed.WROTE

    def _send_patch(self, step: Patch) -> Obj:
        place = _Place.of(step, step.live)
        client, timeout = self._door(place)
        body = _with_metadata(step.patch, _same_version(step.live))
        with _uid_mismatch_as_conflict():
            answer = client.merge_patch(
                step.resource, place.namespace, place.name, body, PATCH_MANAGER, timeout_seconds=timeout
            )
        self._memory.wrote(place, answer)
        self._log.debug("patched", **place.shown())
        return answer

    def _send_apply(self, step: Apply) -> Obj:
        place = _Place.of(step, step.desired)
        client, timeout = self._door(place)
        body = _with_metadata(step.desired, _expectations(step, step.live))
        with _uid_mismatch_as_conflict():
            answer = client.apply(step.resource, body, step.field_manager, timeout_seconds=timeout)
        self._memory.wrote(place, answer)
        self._log.debug("applied", manager=step.field_manager, subresource="", **place.shown())
        return self._claim(_Write.of(place, step), answer)

    def _delete(self, step: Delete) -> Executed:
        if is_terminating(step.live):
            return Executed.NOTHING
        if self._memory.is_deleted(_Place.of(step, step.live), uid_of(step.live)):
            return Executed.BEHIND
        return Executed.WROTE if self._send_delete(step) else Executed.NOTHING

    def _send_delete(self, step: Delete) -> bool:
        place, uid = _Place.of(step, step.live), uid_of(step.live)
        client, timeout = self._door(place)
        version = version_of(step.live) if step.fence is Fence.VERSION else ""
        try:
            client.delete(step.resource, place.namespace, place.name, uid, version, timeout_seconds=timeout)
        except NotFound:
            self._memory.deleted(place, uid)
            return False
        self._memory.deleted(place, uid)
        self._log.debug("deleted", **place.shown())
        return True

    def _current(self, place: _Place, seen: Obj | None) -> Obj | None:
        """The newest state that is known: what the cache shows, or our own last write if the cache is behind it."""
        written = self._memory.newer_than(place, seen)
        if written is None or seen is not None:
            return written or seen
        return self._unseen(place, written)

    def _unseen(self, place: _Place, written: Obj) -> Obj | None:
        """What has become of an object that we wrote and that the view does not show."""
        match self._looked(place, version_of(written)):
            case Absence.BEHIND:
                return written  # readers are woken when the cache catches up
            case Absence.GONE:
                self._memory.gone(place)
                return None
            case Absence.UNCERTAIN:
                return self._asked(place, uid_of(written))
            case found:
                return found if uid_of(found) == uid_of(written) else None

    def _looked(self, place: _Place, version: str) -> Obj | Absence:
        if not version.isdecimal():
            return Absence.UNCERTAIN
        return self._look(place.cluster, place.resource, place.namespace, place.name, int(version))

    def _asked(self, place: _Place, uid: str) -> Obj | None:
        client, timeout = self._door(place)
        try:
            found = client.get(place.resource, place.namespace, place.name, timeout_seconds=timeout)
        except NotFound:
            self._memory.gone(place)
            return None
        self._memory.wrote(place, found)
        return found if uid_of(found) == uid else None

    def _stands(self, write: _Write, live: Obj) -> bool:
        """Whether sending `write` would change nothing."""
        if not write.would_change(live):
            return True
        return self._memory.is_confirmed(write, live)

    def _learn(self, write: _Write, answer: dict[str, Any]) -> None:
        self._memory.wrote(write.place, answer)
        self._memory.confirm(write, answer)
        self._log.debug("applied", manager=write.field_manager, subresource=write.subresource, **write.place.shown())

    def _door(self, place: _Place) -> tuple[Client, float]:
        return self._clients(place.cluster), min(TIMEOUT_SECONDS, self._gate.seconds_left())


def _left_out(current: Obj, seen: Obj | None) -> Executed:
    return Executed.NOTHING if current is seen else Executed.BEHIND


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one object is, whichever it is."""

    cluster: str
    resource: Resource
    namespace: str
    name: str

    @classmethod
    def of(cls, step: Apply | ApplyStatus | Patch | Delete, obj: Obj) -> _Place:
        return cls(step.cluster, step.resource, namespace_of(obj), name_of(obj))

    def shown(self) -> dict[str, str]:
        """For logs, beside the key of the pass, which is another object."""
        path = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return {"target": self.cluster, "resource": str(self.resource), "object": path}


@dataclass(frozen=True, slots=True)
class _Write:
    """What one field manager wants of an object, or of a subresource of it."""

    place: _Place
    field_manager: str
    subresource: str
    desired: Obj
    is_whole: bool = False

    @classmethod
    def of(cls, place: _Place, step: Apply) -> _Write:
        return cls(place, step.field_manager, "", step.desired, step.ownership is Ownership.WHOLE)

    def would_change(self, live: Obj) -> bool:
        """Whether sending it would change `live`, or whose its fields are."""
        who = self.field_manager, self.subresource
        return would_change(self.desired, live, *who) or is_shadowed(self.desired, live, *who, self.is_whole)

    @property
    def slot(self) -> tuple[_Place, str, str]:
        return self.place, self.field_manager, self.subresource

    def digests(self, live: Obj) -> tuple[str, str]:
        return jsonio.digest(self.desired), projection_digest(live, self.field_manager, self.subresource)


@dataclass(frozen=True, slots=True)
class _Written:
    answer: Obj
    until: float


@dataclass(frozen=True, slots=True)
class _Confirmed:
    digests: tuple[str, str]
    until: float


class _Memory:
    """What our own writes did, as far as caches may not show it yet. Threads: any; never holds its lock over I/O."""

    def __init__(self, clock: Clock, kept: Kept) -> None:
        self._clock = clock
        self._kept = kept
        self._guard = threading.Lock()  # guards all below; each holds the most recent few thousand
        self._written: OrderedDict[_Place, _Written] = OrderedDict()
        self._deleted: OrderedDict[_Place, str] = OrderedDict()  # uid
        self._confirmed: OrderedDict[tuple[_Place, str, str], _Confirmed] = OrderedDict()

    def newer_than(self, place: _Place, seen: Obj | None) -> Obj | None:
        """The newest state after our last write, if `seen` is an older state of the same object, or nothing yet."""
        with self._guard:
            self._drop_expired_locked()
            written = self._written.get(place)
            if written is None:
                return None
            if seen is not None and not _is_behind(seen, written.answer):
                # Kept although this view has caught up: another may have been gathered before. And kept as the cache's
                # own object, which costs no memory.
                self._written[place] = _Written(seen, written.until)
                return None
        return written.answer if seen is None or uid_of(seen) == uid_of(written.answer) else None

    def wrote(self, place: _Place, answer: dict[str, Any]) -> None:
        """The server shows `answer`, after a write of ours."""
        kept = self._kept(place.cluster, place.resource, answer)
        with self._guard:
            known = self._written.get(place)
            if known is None or _is_behind(known.answer, kept):
                _put(self._written, place, _Written(kept, self._clock.monotonic() + TRUST_SECONDS))
            self._drop_expired_locked()

    def _drop_expired_locked(self) -> None:
        now = self._clock.monotonic()
        while self._written and next(iter(self._written.values())).until <= now:  # the oldest come first
            self._written.popitem(last=False)

    def gone(self, place: _Place) -> None:
        """There is no such object."""
        with self._guard:
            self._written.pop(place, None)

    def deleted(self, place: _Place, uid: str) -> None:
        """The object of that uid is deleted, or about to be."""
        with self._guard:
            self._written.pop(place, None)
            _put(self._deleted, place, uid)

    def is_deleted(self, place: _Place, uid: str) -> bool:
        """Whether the object of that uid was deleted by us; a uid never comes back."""
        with self._guard:
            return self._deleted.get(place) == uid

    def confirm(self, write: _Write, answer: Obj) -> None:
        """Remember a write after which the server still shows something else than what is wanted."""
        digests = write.digests(answer) if write.would_change(answer) else None
        with self._guard:
            self._confirmed.pop(write.slot, None)
            if digests is not None:
                _put(self._confirmed, write.slot, _Confirmed(digests, self._clock.monotonic() + SETTLED_SECONDS))

    def is_confirmed(self, write: _Write, live: Obj) -> bool:
        """Whether `write` was sent before, and what it left of our fields is what `live` shows of them."""
        with self._guard:
            known = self._confirmed.get(write.slot)
            now = self._clock.monotonic()
        return known is not None and now < known.until and known.digests == write.digests(live)

    def forget(self, cluster: str) -> None:
        """Drop all that is known of the cluster."""
        with self._guard:
            for place in [place for place in self._written if place.cluster == cluster]:
                del self._written[place]
            for place in [place for place in self._deleted if place.cluster == cluster]:
                del self._deleted[place]
            for slot in [slot for slot in self._confirmed if slot[0].cluster == cluster]:
                del self._confirmed[slot]


def _put(entries: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    entries[key] = value
    entries.move_to_end(key)
    while len(entries) > _REMEMBERED:
        entries.popitem(last=False)


def _is_behind(seen: Obj | None, answer: Obj) -> bool:
    # Versions of one resource come from one counter, also across objects that follow each other under one name.
    if seen is None:
        return True
    old, new = version_of(seen), version_of(answer)
    return old.isdecimal() and new.isdecimal() and int(old) < int(new)


def _is_made_once(step: Apply) -> bool:
    """Whether a step must not follow another one of its kind that the view does not show yet."""
    return step.live is None and step.fence is Fence.VERSION


def _expectations(step: Apply, current: Obj | None) -> Mapping[str, str]:
    if current is None:
        return {"resourceVersion": CREATE_ONLY}
    if step.fence is Fence.UID:
        return {"uid": uid_of(current)}
    return _same_version(step.live) if step.live is not None else {"resourceVersion": CREATE_ONLY}


def _has_turned(live: Obj, condition: Condition) -> bool:
    return (condition_of(live, condition.type) or {}).get("status") != condition.status


def _same_version(live: Obj) -> Mapping[str, str]:
    return {"uid": uid_of(live), "resourceVersion": version_of(live)}


def _with_metadata(obj: Obj, more: Mapping[str, str]) -> dict[str, Any]:
    return {**obj, "metadata": {**(obj.get("metadata") or {}), **more}}


def _patch_changes(patch: Any, live: Any) -> bool:
    """Whether a merge patch changes anything. Source: RFC 7396."""
    if not isinstance(patch, Mapping):
        return bool(patch != live)
    if not isinstance(live, Mapping):
        return True
    return any(
        name in live if value is None else name not in live or _patch_changes(value, live[name])
        for name, value in patch.items()
    )


@contextmanager
def _uid_mismatch_as_conflict() -> Iterator[None]:
    """Another object under the name is a conflict, although apply and patch call it invalid."""
    try:
        yield
    except Invalid as err:
        if any(cause.get("field") == "metadata.uid" for cause in err.causes):
            raise Conflict(err.code, err.reason, err.message, causes=err.causes) from err
        raise
