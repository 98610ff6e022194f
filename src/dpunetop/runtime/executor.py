"""Carries out plans: the only way from a decision to an API server.

Every write has a precondition, and a step that would change nothing sends no request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Flag, auto
from typing import Any, assert_never

import structlog
from structlog.typing import FilteringBoundLogger

from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop, Stopped
from dpunetop.kube.conditions import Condition, changed, condition_of, stamp
from dpunetop.kube.errors import Conflict, Invalid, NotFound
from dpunetop.kube.fieldsets import claimed, would_change
from dpunetop.kube.keys import Resource
from dpunetop.kube.meta import Obj, generation_of, is_terminating, name_of, namespace_of, new_object, uid_of, version_of
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Emit, Fence, Patch, Plan, Step
from dpunetop.runtime.cache.informer import Absence
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.election.gate import WriteGate
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.writememory import Kept, ManagedWrite, ObjectPlace, WriteMemory

TIMEOUT_SECONDS = 10.0
"""Longest time of one write."""
BEHIND_SECONDS = 30.0
"""Requeue after this time if a cache has not shown our own write yet; its event normally enqueues the key earlier."""
PATCH_MANAGER = "dpunetop-patch"
"""Field manager of merge patches; its ownership is never read."""
STATUS_TRIES = 8
"""Tries of one status write on Conflict, since at the start all controllers write to one status."""
CREATE_ONLY = "1"
"""A resourceVersion that no object has: an apply with it creates the object or fails with Conflict."""


class Executed(Flag):
    """The result of a plan."""

    NOTHING = 0
    WROTE = auto()
    """Something was written."""
    BEHIND = auto()
    """A step was skipped because of our own write that the view does not show yet. The cache enqueues the readers when
    it shows the write; they requeue in any case, in case it never does."""

    @property
    def again_seconds(self) -> float | None:
        """When to requeue, in addition to the plan."""
        return BEHIND_SECONDS if Executed.BEHIND in self else None


CacheLookup = Callable[[str, Resource, str, str, int], Obj | Absence]
"""Arguments: cluster, resource, namespace, name, version; see `Cluster.look`."""


def no_look(*_: object) -> Absence:
    """The `CacheLookup` of a process without caches."""
    return Absence.UNCERTAIN


class Executor:
    """Carries out the steps of a plan in order, and stops at the first that fails.

    Guarantees: a step that would change nothing sends no request. The effect of our own last write is known before the
        cache shows it. A write whose values the server does not keep (a webhook, another spelling) is not repeated
        until something changes or half an hour has passed. Fields that we release are removed, also after
        `managedFields` were cleared. No request starts or lasts longer than the gate allows; none is sent twice.
    Threads: any; preconditions decide between two plans for one object at once.
    """

    def __init__(
        self,
        clients: Callable[[str], Client],
        gate: WriteGate,
        recorder: EventRecorder,
        clock: Clock,
        look: CacheLookup = no_look,
        kept: Kept = lambda _cluster, _resource, answer: answer,
    ) -> None:
        """`look` asks the caches of a cluster for an object, see `Cluster.look`; `kept` transforms a response as its
        cache does, since some thousands are remembered for a while.
        """
        self._clients = clients
        self._look = look
        self._gate = gate
        self._recorder = recorder
        self._clock = clock
        self._memory = WriteMemory(clock, kept)
        self._log: FilteringBoundLogger = structlog.get_logger().bind()

    def execute(self, plan: Plan, stop: Stop) -> Executed:
        """Carry out all steps; return the result.

        Raises: Stopped if `stop` is set before a step; Conflict if a precondition fails; other ApiErrors as the server
            sends them, Unreachable with the outcome unknown; NotEngaged if the cluster is not engaged; LeadershipLost.
        """
        executed = Executed.NOTHING
        for step in plan.steps:
            if stop.is_set():
                raise Stopped
            executed |= self._carry_out(step)
        return executed

    def send(self, step: Apply | Patch | Delete) -> Obj | None:
        """Send one write, even if it would change nothing, for the sake of its precondition.

        Returns the object as the server shows it afterwards; None for a Delete, which succeeds if the object is gone.
        Raises: as `execute`; the precondition is that of `step`, whatever is known of later writes.
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
        """Server-side dry run of `send`: returns if it would succeed now. Raises: as `send`."""
        client, timeout = self._door(ObjectPlace.of(step, step.desired))
        body = _with_metadata(step.desired, _expectations(step, step.live))
        with _uid_mismatch_as_conflict():
            client.rehearse(step.resource, body, step.field_manager, timeout_seconds=timeout)

    def newest(self, cluster: str, resource: Resource, seen: Obj) -> Obj:
        """The newest known state of a cached object: the result of our own last write if the cache is behind it.
        Shared, so it must not be changed."""
        place = ObjectPlace(cluster, resource, namespace_of(seen), name_of(seen))
        return self._memory.newer_than(place, seen) or seen

    def forget(self, cluster: str) -> None:
        """Forget our own writes to `cluster` and trust its caches: its state may have been restored from a backup."""
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
        place = ObjectPlace.of(step, step.desired)
        current = self._current(place, step.live)
        write = ManagedWrite.of(place, step)
        if current is not None and (self._stands(write, current) or _is_made_once(step)):
            return _left_out(current, step.live)
        client, timeout = self._door(place)
        body = _with_metadata(step.desired, _expectations(step, current))
        with _uid_mismatch_as_conflict():
            answer = client.apply(step.resource, body, step.field_manager, timeout_seconds=timeout)
        self._settle(write, answer)
        return Executed.WROTE

    def _claim(self, write: ManagedWrite, answer: Obj) -> Obj:
        """After `managedFields` were lost: make us the only owner of our fields and remove the others that were ours;
        return the object. The entry is changed as csaupgrade of client-go does it."""
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
        self._memory.wrote(place, answer)
        return answer

    def _apply_status(self, step: ApplyStatus) -> Executed:
        place = ObjectPlace.of(step, step.live)
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

    def _apply_status_to(self, step: ApplyStatus, place: ObjectPlace, current: Obj) -> Executed:
        # For the status of a custom resource the server ignores a uid but compares the resourceVersion, which no two
        # objects share; so a Conflict may only mean that others wrote their conditions, and is retried.
        write = ManagedWrite(place, step.field_manager, "status", self._desired_status(step, current))
        if self._stands(write, current):
            return _left_out(current, step.live)
        client, timeout = self._door(place)
        body = _with_metadata(write.desired, _same_version(current))
        with _uid_mismatch_as_conflict():
            answer = client.apply_status(step.resource, body, step.field_manager, timeout_seconds=timeout)
        self._settle(write, answer)
        self._tell(step, place, current)
        return Executed.WROTE

    def _tell(self, step: ApplyStatus, place: ObjectPlace, before: Obj) -> None:
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
        # Times come from the newest state, the generation from the state that the decision saw.
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        status = dict(step.members)
        if step.conditions:
            status["conditions"] = stamp(current, step.conditions, generation_of(step.live), now)
        return new_object(step.resource, namespace_of(step.live), name_of(step.live), status=status)

    def _patch(self, step: Patch) -> Executed:
        current = self._current(ObjectPlace.of(step, step.live), step.live) or step.live
        if not _patch_changes(step.patch, current):
            return _left_out(current, step.live)
        self._send_patch(step)
        return Executed.WROTE

    def _send_patch(self, step: Patch) -> Obj:
        place = ObjectPlace.of(step, step.live)
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
        place = ObjectPlace.of(step, step.desired)
        client, timeout = self._door(place)
        body = _with_metadata(step.desired, _expectations(step, step.live))
        with _uid_mismatch_as_conflict():
            answer = client.apply(step.resource, body, step.field_manager, timeout_seconds=timeout)
        self._memory.wrote(place, answer)
        self._log.debug("applied", manager=step.field_manager, subresource="", **place.shown())
        return self._claim(ManagedWrite.of(place, step), answer)

    def _delete(self, step: Delete) -> Executed:
        if is_terminating(step.live):
            return Executed.NOTHING
        if self._memory.is_deleted(ObjectPlace.of(step, step.live), uid_of(step.live)):
            return Executed.BEHIND
        return Executed.WROTE if self._send_delete(step) else Executed.NOTHING

    def _send_delete(self, step: Delete) -> bool:
        place, uid = ObjectPlace.of(step, step.live), uid_of(step.live)
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

    def _current(self, place: ObjectPlace, seen: Obj | None) -> Obj | None:
        """The newest known state: that of the cache, or our own last write if the cache is behind it."""
        written = self._memory.newer_than(place, seen)
        if written is None or seen is not None:
            return written or seen
        return self._unseen(place, written)

    def _unseen(self, place: ObjectPlace, written: Obj) -> Obj | None:
        """The state of an object that we wrote and the view lacks; None: it is gone."""
        match self._looked(place, version_of(written)):
            case Absence.BEHIND:
                return written  # the cache enqueues the readers when it catches up
            case Absence.GONE:
                self._memory.gone(place)
                return None
            case Absence.UNCERTAIN:
                return self._asked(place, uid_of(written))
            case found:
                return found if uid_of(found) == uid_of(written) else None

    def _looked(self, place: ObjectPlace, version: str) -> Obj | Absence:
        if not version.isdecimal():
            return Absence.UNCERTAIN
        return self._look(place.cluster, place.resource, place.namespace, place.name, int(version))

    def _asked(self, place: ObjectPlace, uid: str) -> Obj | None:
        client, timeout = self._door(place)
        try:
            found = client.get(place.resource, place.namespace, place.name, timeout_seconds=timeout)
        except NotFound:
            self._memory.gone(place)
            return None
        self._memory.wrote(place, found)
        return found if uid_of(found) == uid else None

    def _stands(self, write: ManagedWrite, live: Obj) -> bool:
        """Whether sending `write` would change nothing."""
        if not write.would_change(live):
            return True
        return self._memory.is_confirmed(write, live)

    def _settle(self, write: ManagedWrite, answer: dict[str, Any]) -> None:
        # Confirmed only once the fields are claimed: what another writer kept us from claiming is sent again.
        self._memory.wrote(write.place, answer)
        self._memory.confirm(write, self._claim(write, answer))
        self._log.debug("applied", manager=write.field_manager, subresource=write.subresource, **write.place.shown())

    def _door(self, place: ObjectPlace) -> tuple[Client, float]:
        return self._clients(place.cluster), min(TIMEOUT_SECONDS, self._gate.seconds_left())


def _left_out(current: Obj, seen: Obj | None) -> Executed:
    return Executed.NOTHING if current is seen else Executed.BEHIND


def _is_made_once(step: Apply) -> bool:
    """Whether a step is skipped while the view does not show our last write to the object."""
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
    """Turn the Invalid of apply and patch for another uid into a Conflict."""
    try:
        yield
    except Invalid as err:
        if any(cause.get("field") == "metadata.uid" for cause in err.causes):
            raise Conflict(err.code, err.reason, err.message, causes=err.causes) from err
        raise
