"""The base of all controllers of a DpuClusterConfig: gather, plan, execute, and report errors in a condition."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Protocol, TypeVar, assert_never

from dpunetop.base.stop import Stop, Stopped
from dpunetop.controllers.grants import gather_rights
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.admission import NEVER_SERVED, admit, claims
from dpunetop.domain.clusterconfig.grants import Rights
from dpunetop.domain.clusterconfig.lifecycle import ENDING_RIGHTS_SECONDS
from dpunetop.domain.clusterconfig.status import INTERNAL_ERROR, confession, overruled
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, parse_config, tenant_cluster_name, was_served
from dpunetop.domain.names import DPUCLUSTERCONFIGS, KUBE_SYSTEM, SAME_TENANT_ANNOTATION, field_manager, owner_hash
from dpunetop.domain.ovnkube.image import AllowedImages
from dpunetop.domain.reasons import reason_of
from dpunetop.domain.tenant.visibility import Answer, Invisible, Probed, Unread, visibility
from dpunetop.kube.conditions import Condition
from dpunetop.kube.errors import ApiError, Conflict, TooManyRequests, Unreachable
from dpunetop.kube.keys import INFRA, NAMESPACES, Key
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, name_of, namespace_of, uid_of
from dpunetop.kube.plan import Plan
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.store import Indexer
from dpunetop.runtime.cluster import Health, Reach
from dpunetop.runtime.controller import Terminal
from dpunetop.runtime.election.gate import LeadershipLost
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.reading import DynamicWatches, NotEngaged, NotSynced, Reader, Waker

V = TypeVar("V")

SERVED, WAITING, BY_TENANT = "served", "waiting", "tenant"
ANY = ""
"""The value of the index `SERVED` that every served DpuClusterConfig has, beside its claims."""
CONFIG_INDEXERS: Mapping[str, Indexer] = {
    SERVED: lambda obj: (ANY, *claims(obj)) if was_served(obj) else (),
    WAITING: lambda obj: () if was_served(obj) or is_terminating(obj) else claims(obj),
    BY_TENANT: lambda obj: (uid,) if was_served(obj) and (uid := parse_config(obj).tenant_uid) else (),
}
"""Indexers that infra's caches of DpuClusterConfigs must have. A DpuClusterConfig that was never served is found by its
claims alone: any namespace user may create many of them, and a served one neither reads them nor is woken by them."""

NO_BUG = (ApiError, NotSynced, NotEngaged, Stopped, LeadershipLost, Terminal)
"""The errors that a reconcile may raise by its contract. Anything else is a bug."""

_PASSING = (Unreachable, Conflict, TooManyRequests)
"""Transient errors: a retry clears them, so a condition reports them only when they last."""
_MOST_UNTOLD = 11
"""A condition reports them after this many failed passes in a row, which take some ten seconds."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Settings that apply to every DpuClusterConfig that this process serves."""

    served: tuple[str, ...] | None
    """Namespaces in which DpuClusterConfigs are served; None: all."""
    tenant_namespace: str
    ovnkube_image: str | None
    namespace: str
    """Namespace of the operator, where the blockers are."""
    allowed_images: AllowedImages | None = None
    """See `image.ImageView`."""
    has_rights: Callable[[str], bool] = lambda _: True
    """Whether the operator has rights in a namespace, by the last review."""
    ask_rights: Callable[[Iterable[str], Waker, float], None] = lambda _, __, ___: None
    """Makes the answers of `has_rights` about namespaces no older than this many seconds. Raises: NotSynced, until they
    are; ApiError."""

    def selections(self) -> tuple[Selection, ...]:
        """What to watch to see every DpuClusterConfig that is served."""
        if self.served is None:
            return (Selection(DPUCLUSTERCONFIGS),)
        return tuple(Selection(DPUCLUSTERCONFIGS, namespace) for namespace in self.served)

    def home(self, config: DpuClusterConfig) -> str:
        """Namespace of OVN-Kubernetes in the tenant."""
        return config.tenant_namespace or self.tenant_namespace


def bug_words(controller: str, key: Key, err: Exception) -> str:
    """The message about a bug: controller, key and type of the error; not its text, which may quote secrets."""
    return f"controller {controller} met {type(err).__name__} on {key}; its log says more, and it tries again"


def blindness(config: DpuClusterConfig, err: NotEngaged | NotSynced) -> str:
    """Why the tenant cannot be read, for a person, if it certainly cannot.

    A start that finds nothing to change writes nothing, so a cache that may still be filled is waited for.
    Raises: `err` again, if it is about infra or passes by itself.
    """
    seen = visibility(config, unread(err)) if err.cluster != INFRA else None
    if isinstance(seen, Invisible):
        return seen.words
    raise err


def unread(err: NotEngaged | NotSynced) -> Unread:
    """The error as evidence for `visibility`."""
    return Unread(err.error if isinstance(err, NotSynced) else None)


class Connected(Protocol):
    """The part of `Cluster` that tells whether it answers."""

    @property
    def health(self) -> Health:
        """See `Cluster.health`."""


class Connections(Protocol):
    """The clusters that are connected now; see `Clusters`."""

    def get(self, name: str) -> Connected | None:
        """See `Clusters.get`."""


def probed(cluster: Connected | None) -> Probed | None:
    """The last probe of a connected cluster, as evidence; None: it is not connected."""
    if cluster is None:
        return None
    health = cluster.health
    match health.reach:
        case Reach.UNREACHABLE:
            return Probed(Answer.NONE, health.reason, health.message)
        case Reach.REACHABLE if health.reason:
            return Probed(Answer.REFUSED, health.reason, health.message)
        case Reach.REACHABLE | Reach.UNKNOWN:
            return Probed(Answer.GOOD)
    assert_never(health.reach)


def key_of(obj: Obj) -> Key:
    """The key of an object of infra."""
    return Key(INFRA, namespace_of(obj), name_of(obj))


class ConfigReconciler(ABC, Generic[V]):
    """A Reconciler of DpuClusterConfigs; its subclasses gather and plan.

    Guarantees: reads caches only, writes through the executor only; an error is reported in one of its conditions,
        unless infra itself does not answer.
    Threads: `reconcile` from any worker, one at a time for each key.
    """

    name: ClassVar[str]
    """Name of the controller in metrics, in logs and, with a prefix, as field manager."""
    condition: ClassVar[str]
    """Type of the condition that reports errors."""

    def __init__(self, installation: Installation, executor: Executor) -> None:
        self.installation = installation
        self._executor = executor
        self._watches: DynamicWatches | None = None
        self._guard = threading.Lock()  # guards _in_a_row
        self._in_a_row: dict[Key, int] = {}  # number of failed passes in a row

    def read_through(self, watches: DynamicWatches) -> None:
        """Take the watches of this controller; once, before the first reconcile."""
        self._watches = watches

    def lane(self, key: Key) -> str:
        """The lane of a key, named like the tenant's cluster, because a slow tenant makes it slow."""
        return tenant_cluster_name(key.namespace, key.name)

    @property
    def manager(self) -> str:
        """Field manager of all writes of this controller."""
        return field_manager(self.name)

    @abstractmethod
    def gather(self, reader: Reader, config: DpuClusterConfig) -> V:
        """Read all facts of the decision, from caches and from memory.

        Guarantees: sends no request, changes nothing, and never waits.
        Raises: NotSynced, NotEngaged.
        """

    @abstractmethod
    def plan(self, view: V) -> Plan:
        """Decide; pure."""

    def publish(self, view: V) -> None:
        """Publish facts from `view` within the process, after it is planned and before anything is written."""

    def forget(self, key: Key) -> None:
        """Drop the memory of a DpuClusterConfig that is gone or no longer served."""

    def serves(self, config: DpuClusterConfig) -> bool:
        """Whether this controller works for it: from the finalizer on until the DpuClusterConfig is deleted."""
        return config.refused is None and config.has_finalizer and not config.terminating

    def judge_new(self, reader: Reader, obj: Obj) -> DpuClusterConfig:
        """Judge a DpuClusterConfig that was never served: one controller overrides this to admit. Raises: NotSynced,
        ApiError."""
        return replace(parse_config(obj), refused=NEVER_SERVED)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `runtime.controller.Reconciler`. Raises: ApiError, NotSynced, NotEngaged, Stopped."""
        assert self._watches is not None
        live: DpuClusterConfig | None = None
        try:
            with self._watches.reading(key) as reader:
                live = self.judged(reader, key)
                view = self._viewed(reader, live, stop) if live is not None and self.serves(live) else None
                refusal = reader.refusal()
            if view is None:
                self._let_go(key, live)
                return None
            plan = self.plan(view)
            self.publish(view)
            if refusal is not None:
                plan = overruled(plan, self._refused(refusal.error, f"cannot watch {refusal.selection}: "))
            executed = self._executor.execute(plan, stop)
            self._passed(key)
        except NotSynced as err:
            if live is not None and err.error is not None:
                self._confess(live, err.error, f"cannot watch {err.selection}: ", stop)
            raise
        except ApiError as err:
            if self._is_told(key, err) and live is not None:
                self._confess(live, err, "", stop)
            raise
        except NO_BUG:
            raise
        # A bug: the Controller counts it, logs its traceback and tries again; a condition reports it.
        except Exception as err:
            if live is not None:
                self._confess(live, ApiError(0, INTERNAL_ERROR, bug_words(self.name, key, err)), "", stop)
            raise
        seconds = (plan.requeue_after_seconds, executed.again_seconds)
        return min((each for each in seconds if each is not None), default=None)

    def _viewed(self, reader: Reader, config: DpuClusterConfig, stop: Stop) -> V:
        """The view by which `plan` decides."""
        if config.terminating and not self._is_ending(reader, config):
            self.installation.ask_rights((config.namespace,), reader.waker, ENDING_RIGHTS_SECONDS)
        return self.gather(reader, config)

    def _is_told(self, key: Key, err: ApiError) -> bool:
        """Count a failed pass; return whether a condition reports it."""
        with self._guard:
            self._in_a_row[key] = count = self._in_a_row.get(key, 0) + 1
        if isinstance(err, Unreachable) and err.cluster != INFRA:
            return False  # which has a condition of its own
        return count > _MOST_UNTOLD or not isinstance(err, _PASSING)

    def _passed(self, key: Key) -> None:
        with self._guard:
            self._in_a_row.pop(key, None)

    def _let_go(self, key: Key, live: DpuClusterConfig | None) -> None:
        """Stop waking a key that is gone; a new object of that name wakes it again."""
        self.forget(key)
        self._passed(key)
        if live is None and self._watches is not None:
            self._watches.forget(key)

    def infra_uid(self, reader: Reader) -> str:
        """UID of infra's `kube-system`, which identifies the cluster. Raises: NotSynced."""
        kube_system = reader.one(INFRA, NAMESPACES, "", KUBE_SYSTEM)
        if kube_system is None:
            raise Terminal("infra has no namespace kube-system")
        return uid_of(kube_system)

    def access(self, reader: Reader, config: DpuClusterConfig) -> Access:
        """The access to the namespace of `config` once that ends; its rights were reviewed before the gather. Raises:
        NotSynced."""
        is_ending = self._is_ending(reader, config)
        if not config.terminating:
            return Access.GIVEN
        if is_ending:
            return Access.ENDING
        return Access.GIVEN if self.installation.has_rights(config.namespace) else Access.TAKEN

    def _is_ending(self, reader: Reader, config: DpuClusterConfig) -> bool:
        namespace = reader.one(INFRA, NAMESPACES, "", config.namespace)
        return namespace is None or is_terminating(namespace)

    def owner(self, reader: Reader, config: DpuClusterConfig) -> str:
        """Value of the owner label on all objects that are written for `config`. Raises: NotSynced."""
        return owner_hash(self.infra_uid(reader), config.namespace, config.name)

    def rights(self, reader: Reader, config: DpuClusterConfig) -> Rights:
        """The rights that decide which of its selected nodes `config` has. Raises: NotSynced."""
        installation = self.installation
        others = self._found(reader, SERVED, ANY)
        return gather_rights(reader, config, others, installation.namespace, self.infra_uid(reader))

    def siblings(self, reader: Reader, config: DpuClusterConfig) -> list[DpuClusterConfig]:
        """The other served DpuClusterConfigs whose tenant is the same cluster. Raises: NotSynced."""
        return [each for each in self._namesakes(reader, config) if self._share_tenant(reader, config, each)]

    def strangers(self, reader: Reader, config: DpuClusterConfig) -> list[DpuClusterConfig]:
        """The other served DpuClusterConfigs whose tenant gives the same UID and has proved to be another cluster.
        Raises: NotSynced."""
        others = self._namesakes(reader, config) if config.tenant_root else []
        return [each for each in others if each.tenant_root and not self._share_tenant(reader, config, each)]

    def _namesakes(self, reader: Reader, config: DpuClusterConfig) -> list[DpuClusterConfig]:
        found = self._found(reader, BY_TENANT, config.tenant_uid) if config.tenant_uid else []
        others = (each for each in map(parse_config, found) if each.uid != config.uid)
        return sorted(others, key=lambda each: each.namespace)

    def _share_tenant(self, reader: Reader, *configs: DpuClusterConfig) -> bool:
        """Whether tenants with one UID have the same CA, or infra's administrator declares them the same."""
        if len({each.tenant_root for each in configs}) == 1:
            return True
        namespaces = (reader.one(INFRA, NAMESPACES, "", c.namespace) for c in configs)
        said = (annotations_of(each).get(SAME_TENANT_ANNOTATION) if each is not None else None for each in namespaces)
        return all(text == configs[0].tenant_uid for text in said)

    def judged(self, reader: Reader, key: Key) -> DpuClusterConfig | None:
        """The DpuClusterConfig of `key`, refused if another served one claims the same, or if it is not admitted yet.
        Raises: NotSynced, ApiError."""
        own = self._own(reader, key)
        if own is None:
            return None
        if not was_served(own):
            return self.judge_new(reader, own)
        holders = (obj for claim in claims(own) for obj in self._found(reader, SERVED, claim) if key_of(obj) != key)
        return admit([own, *{key_of(obj): obj for obj in holders}.values()])[0]

    def _own(self, reader: Reader, key: Key) -> Obj | None:
        found = [reader.get(INFRA, each, key.namespace, key.name) for each in self.installation.selections()]
        return next((obj for obj in found if obj is not None), None)

    def _found(self, reader: Reader, index: str, value: str) -> list[Obj]:
        selections = self.installation.selections()
        return [obj for selection in selections for obj in reader.by_index(INFRA, selection, index, value)]

    def _confess(self, config: DpuClusterConfig, err: ApiError, doing: str, stop: Stop) -> None:
        """Report in our condition what the API server refuses."""
        condition = self._refused(err, doing)
        self._executor.execute(Plan(confession(config.live, condition, self.manager)), stop)

    def _refused(self, err: ApiError, doing: str) -> Condition:
        """Our condition; the message of a 403 names verb and resource."""
        return Condition(self.condition, "False", reason_of(err), doing + err.message)


class TenantReconciler(ConfigReconciler[V]):
    """A ConfigReconciler that has to ask its tenant for facts that no cache has: gather, probe, plan, execute.

    Guarantees: apart from the executor, only `probe` calls a tenant. Each key is one tenant and is in one pass at a
        time, so a slow tenant occupies one worker.
    """

    @abstractmethod
    def probe(self, reader: Reader, view: V) -> V:
        """Add the tenant's answers to `view`; caches may be read where an answer shows that they can be.

        Guarantees: ends in bounded time, whatever the tenant does; asks the write gate before each request that may
            create something.
        Raises: NotSynced, NotEngaged, LeadershipLost.
        """

    def _viewed(self, reader: Reader, config: DpuClusterConfig, stop: Stop) -> V:
        view = super()._viewed(reader, config, stop)
        if stop.is_set():
            raise Stopped
        return self.probe(reader, view)
