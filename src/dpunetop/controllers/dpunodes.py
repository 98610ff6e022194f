"""One `DpuNode` for each DPU, with the status from the drain; written on change only."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from dpunetop.base.clock import Clock
from dpunetop.base.quoting import printable
from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.store import DrainStore, ShownDpu
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.dpunode.judge import with_credential
from dpunetop.domain.dpunode.objects import MANAGER, NOTHING, new_dpu_node, owner_uid, rendered, said, stands
from dpunetop.domain.dpunode.status import DpuNodeStatus
from dpunetop.domain.names import DPUCLUSTERCONFIGS, DPUNODES
from dpunetop.domain.reasons import event
from dpunetop.kube.conditions import MESSAGE_LIMIT, condition_of
from dpunetop.kube.errors import ApiError, Conflict, Forbidden
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, INFRA, Key, crd_name
from dpunetop.kube.meta import Obj, is_terminating, name_of, namespace_of
from dpunetop.kube.plan import Apply, ApplyStatus, Delete, Plan, Step
from dpunetop.kube.requests import Selection, one
from dpunetop.runtime.cache.change import Change
from dpunetop.runtime.cluster import Cluster, InformerHandle
from dpunetop.runtime.executor import BEHIND_SECONDS, Executor

NAME = "dpunodes"
DEBOUNCE_SECONDS = 1.0
"""Time that a change waits for further changes: a DPU that begins to serve changes several times in a moment."""
_AGAIN_SECONDS = 1.0
SETTLING_SECONDS = 10.0
"""Time for which a DpuNode is not created while the protection of its DPU is about to be written: at a start there are
thousands, and each would be written twice."""
UNSERVED = "DpuNodes are not written"
_NEXT_STEP = "Apply the operator's CustomResourceDefinitions and roles again"


class DpuNodes:
    """A Reconciler of DpuNodes; its keys are theirs.

    Guarantees: a write never changes only times; a DpuNode of another writer is left alone; one whose DPU this process
        has not looked at yet stays as it is. If DpuNodes cannot be written, or are not served at all, nothing else
        stops: an Event on the DpuClusterConfig and a log line report it once, and again if it happens again.
    Threads: `reconcile` from any worker, one at a time a key.
    """

    name = NAME

    def __init__(self, infra: Cluster, drain_store: DrainStore, executor: Executor, clock: Clock) -> None:
        self._infra = infra
        self._drain_store = drain_store
        self._executor = executor
        self._clock = clock
        self._debounce: Callable[[Key], None] = lambda _: None
        self._enqueue: Callable[[Key], None] = lambda _: None
        self._forget: Callable[[Key], None] = lambda _: None
        self._guard = threading.Lock()  # guards all below
        self._is_begun = False
        self._definition: InformerHandle | None = None
        self._is_served = False
        self._handles: dict[str, InformerHandle] = {}  # by namespace
        self._settling: dict[Key, float] = {}  # DpuNodes that are not created yet: since when
        self._told: set[str] = set()  # DpuNodes of others that were named
        self._stopped: dict[str, tuple[str, str]] = {}  # by namespace: the UID of whose are not written, and why
        self._log = structlog.get_logger().bind(controller=NAME)

    def connect(
        self, debounce: Callable[[Key], None], enqueue: Callable[[Key], None], forget: Callable[[Key], None]
    ) -> None:
        """Take the callbacks that enqueue a key, after `DEBOUNCE_SECONDS` and at once, and that forget it; once, before
        the first reconcile."""
        self._debounce, self._enqueue, self._forget = debounce, enqueue, forget

    def wake(self, key: Key) -> None:
        """The status of a DPU has changed: enqueue its DpuNode. One that is not created before its DPU is protected has
        waited long enough.

        Threads: any.
        """
        with self._guard:
            is_settling = key in self._settling
        (self._enqueue if is_settling else self._debounce)(key)

    def lane(self, key: Key) -> str:
        """The lane is the namespace, in which one DpuClusterConfig is served. No tenant is called, so none slows it."""
        return key.namespace

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `runtime.controller.Reconciler`. Raises: ApiError, Stopped, LeadershipLost."""
        shown = self._drain_store.dpu(key.namespace, key.name)
        if shown is None:
            self._release(key.namespace)
            self._leave(key)
            return None
        if shown.roster.access is not Access.GIVEN:
            return None  # the rights there are gone; the objects are deleted with their DpuClusterConfig
        config = shown.roster.config
        if not self._serves():
            self._say_stopped(config, self._missing())
            return None
        handle = self._follow(key.namespace)
        if not handle.has_synced():
            self._say_denied(config, handle.trouble, stop)
            return None  # which wakes
        seen = handle.lister.get(key.namespace, key.name)
        live = None if seen is None else self._executor.newest(INFRA, DPUNODES, seen)
        try:
            again = self._write(key, shown, live, stop)
        except Forbidden as err:
            self._say_denied(config, err, stop)
            raise
        with self._guard:
            self._stopped.pop(key.namespace, None)
        # The key is looked at again after our own write, in case the cache never shows it.
        return BEHIND_SECONDS if again is None and live is not seen else again

    # --- writing ----------------------------------------------------------------------------------------------------

    def _write(self, key: Key, shown: ShownDpu, live: Obj | None, stop: Stop) -> float | None:
        config = shown.roster.config
        if live is not None and not owner_uid(live):
            self._tell_foreign(key)
            return None
        if live is not None and owner_uid(live) != config.uid:
            return None  # of an earlier DpuClusterConfig of that name: it is garbage collected, which wakes us
        if live is not None and is_terminating(live):
            return None
        if not shown.is_listed:
            self._leave(key)
            steps: tuple[Step, ...] = () if live is None else (Delete(INFRA, DPUNODES, live),)
            return self._executor.execute(Plan(steps), stop).again_seconds
        if shown.status is None:
            return None
        if live is None and (pause := self._pause(key, shown.status)):
            return pause
        return self._say(shown, with_credential(shown.status, config), live, stop)

    def _leave(self, key: Key) -> None:
        with self._guard:
            self._settling.pop(key, None)
        self._forget(key)

    def _pause(self, key: Key, status: DpuNodeStatus) -> float:
        """How long to wait before one that does not exist is created."""
        now = self._clock.monotonic()
        with self._guard:
            if not status.is_settling:
                self._settling.pop(key, None)
                return 0.0
            return max(0.0, self._settling.setdefault(key, now) + SETTLING_SECONDS - now)

    def _say(self, shown: ShownDpu, wanted: DpuNodeStatus, live: Obj | None, stop: Stop) -> float | None:
        before = said(live)
        status = rendered(wanted, before, int(self._clock.now().timestamp()))
        if live is not None and before is not NOTHING and stands(status, before):
            return None
        try:
            obj = live if live is not None else self._create(shown, wanted.dpu)
        except Conflict:
            return _AGAIN_SECONDS  # the cache shows the existing object by then
        return self._executor.execute(
            Plan((ApplyStatus(INFRA, DPUNODES, obj, (), MANAGER, status),)), stop
        ).again_seconds

    def _create(self, shown: ShownDpu, dpu: str) -> Obj:
        desired = new_dpu_node(shown.roster.config, shown.roster.blockers.owner, dpu)
        created = self._executor.send(Apply(INFRA, DPUNODES, desired, None, MANAGER))
        assert created is not None
        return created

    # --- watching ---------------------------------------------------------------------------------------------------

    def _serves(self) -> bool:
        """Whether infra serves DpuNodes; if it does later, all keys are woken."""
        with self._guard:
            is_first, self._is_begun = not self._is_begun, True
        if is_first:
            selection = one(CUSTOMRESOURCEDEFINITIONS, "", crd_name(DPUNODES))
            wake = self._enqueue_all
            handle = self._infra.share_informer(selection, self._definition_changed, wake, wake)
            with self._guard:
                self._definition = handle
        with self._guard:
            return self._is_served

    def _definition_changed(self, change: Change) -> None:
        is_served = change.new is not None and (condition_of(change.new, "Established") or {}).get("status") == "True"
        with self._guard:
            before, self._is_served = self._is_served, is_served
            handles = [] if is_served else [*self._handles.values()]
            self._handles = self._handles if is_served else {}
        for handle in handles:
            handle.release()
        if is_served and not before:
            self._enqueue_all()

    def _enqueue_all(self) -> None:
        """Enqueue all that has waited for a cache; no further change is to be waited for."""
        for key in self._drain_store.dpu_keys():
            self._enqueue(key)

    def _missing(self) -> str:
        """Why DpuNodes are not served; empty: not known yet."""
        with self._guard:
            handle, is_served = self._definition, self._is_served
        if is_served or handle is None:
            return ""
        if not handle.has_synced():
            return _denied(handle.trouble)
        return f"infra has no CustomResourceDefinition {crd_name(DPUNODES)}"

    def _follow(self, namespace: str) -> InformerHandle:
        with self._guard:
            known = self._handles.get(namespace)
        if known is not None:
            return known
        wake = self._enqueue_all
        mine = self._infra.share_informer(Selection(DPUNODES, namespace), self._changed, wake, wake)
        with self._guard:
            used = self._handles.setdefault(namespace, mine)
        if used is not mine:
            mine.release()
        return used

    def _changed(self, change: Change) -> None:
        obj = change.new if change.new is not None else change.old
        assert obj is not None
        self._debounce(Key(INFRA, namespace_of(obj), name_of(obj)))

    def _release(self, namespace: str) -> None:
        with self._guard:
            handle = self._handles.pop(namespace, None)
            self._stopped.pop(namespace, None)
        if handle is not None:
            handle.release()

    # --- reporting --------------------------------------------------------------------------------------------------

    def _say_stopped(self, config: DpuClusterConfig, why: str) -> bool:
        """Log once why the DpuNodes of that DpuClusterConfig are not written; return whether it was logged now. `why`
        empty: not known yet."""
        with self._guard:
            is_new = bool(why) and self._stopped.get(config.namespace) != (config.uid, why)
            if is_new:
                self._stopped[config.namespace] = (config.uid, why)
        if is_new:
            self._log.warning(UNSERVED, namespace=config.namespace, name=config.name, error=why, next_step=_NEXT_STEP)
        return is_new

    def _say_denied(self, config: DpuClusterConfig, trouble: ApiError | None, stop: Stop) -> None:
        """Write an Event beside the log line: existing DpuNodes may be outdated."""
        why = _denied(trouble)
        if self._say_stopped(config, why):
            note = f"{UNSERVED}: {why}; what they say may be outdated. {_NEXT_STEP}"
            told = event(INFRA, DPUCLUSTERCONFIGS, config.live, "DpuNodesNotWritten", note)
            self._executor.execute(Plan((told,)), stop)

    def _tell_foreign(self, key: Key) -> None:
        with self._guard:
            is_new = str(key) not in self._told
            self._told.add(str(key))
        if is_new:
            self._log.warning("a DpuNode that another writer made is left as it is", dpu=str(key))


def _denied(trouble: ApiError | None) -> str:
    """The missing right; empty: none is known."""
    return printable(trouble.message, MESSAGE_LIMIT) if trouble is not None and trouble.code == 403 else ""
