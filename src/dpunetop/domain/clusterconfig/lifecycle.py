"""A DpuClusterConfig from its finalizer to its deletion: what it needs while it lives, and the order of its
teardown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dpunetop.base.quoting import named, sentence
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.admission import WITHOUT_RIGHTS
from dpunetop.domain.clusterconfig.poolend import NodeInPool, staying_nodes
from dpunetop.domain.clusterconfig.status import report, summary
from dpunetop.domain.clusterconfig.types import DeletionPolicy, DpuClusterConfig
from dpunetop.domain.names import (
    CLAIMED_POOL,
    DPUCLUSTERCONFIGS,
    FINALIZER,
    FORCE_DELETE_ANNOTATION,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    OWNER_LABEL,
)
from dpunetop.domain.reasons import PAIRS_HEALTHY, READY, event
from dpunetop.kube.conditions import Condition, condition_of
from dpunetop.kube.keys import DAEMONSETS, INFRA, NODES, SECRETS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import Obj, labels_of, new_object
from dpunetop.kube.plan import Apply, Delete, Patch, Plan, Step
from dpunetop.kube.selectors import matches

POOL_KEPT, LEFT_IN_TENANT = "PoolKept", "LeftInTenant"
"""Reasons of Events about objects that stay when a DpuClusterConfig is gone."""
EVENTS_REFUSED = "EventsRefused"
"""Reason of the first Event that is written after others were refused."""
UNTOLD_SECONDS = 35.0
"""Pause before the next attempt to write Events: longer than the recorder of Events avoids the namespace."""
_SHOWN = 5
RIGHTS_SECONDS = 60.0
"""Pause before the rights in a namespace are checked again; no watch shows a change of them."""
ENDING_RIGHTS_SECONDS = 5.0
"""The same at the end of a DpuClusterConfig, when people often remove the rights first, which changes what is left to
do."""


@dataclass(frozen=True, slots=True)
class TenantUnreadable:
    """We have written to the tenant, and it cannot be read now; `why` says the reason."""

    why: str


@dataclass(frozen=True, slots=True)
class Leftovers:
    """The objects with our owner label that exist when a DpuClusterConfig is deleted.

    Objects in its namespace are known only if `access` is GIVEN; otherwise they are left to Kubernetes.
    """

    owner: str
    """Value of the owner label."""
    access: Access
    pool: Obj | None
    machine_config: Obj | None
    nodes: tuple[Obj, ...]
    """All Nodes of infra: their annotations show which still run a configuration of the pool."""
    served: tuple[str, ...]
    """Hosts that are still served."""
    daemonset: Obj | None
    pods: tuple[Obj, ...]
    protections: tuple[str, ...]
    """Names of budgets and blockers."""
    maintenances: tuple[str, ...]
    """Hosts with a NodeMaintenance of ours, as far as the tenant can be seen."""
    blocker_account: Obj | None
    copies: tuple[tuple[Resource, Obj], ...]
    service_account: Obj | None
    tenant: tuple[tuple[Resource, Obj], ...] | TenantUnreadable
    """Our objects in the tenant, in the order of removal: bindings first, ServiceAccounts last."""
    kubeconfig: Obj | None
    """Secret of the kubeconfig for the tenant, which also records that we made objects there."""


@dataclass(frozen=True, slots=True)
class ConfigView:
    """`leftovers` is given exactly when the DpuClusterConfig is being deleted and was served."""

    config: DpuClusterConfig
    leftovers: Leftovers | None
    field_manager: str
    again_seconds: float = RIGHTS_SECONDS
    """Pause before one that is not served is looked at again."""
    untold: str = ""
    """Why Events about it, or about Nodes, are not written; empty: they are."""

    @property
    def is_forced(self) -> bool:
        """Whether a person forces the deletion, without the steps that need the tenant."""
        return FORCE_DELETE_ANNOTATION in self.config.annotations


def plan_config(view: ConfigView) -> Plan:
    """Keep finalizer and `Ready` right; once it is deleted, tear down one stage after the other."""
    if view.leftovers is not None:
        return _teardown(view, view.leftovers)
    if (refused := view.config.refused) is None:
        return _serving(view)
    condition = Condition(READY, "False", refused.reason, refused.message)
    if view.config.was_served:
        return Plan(_status(view, condition))
    return _never_served(view, condition)


def _never_served(view: ConfigView, condition: Condition) -> Plan:
    """A condition, an Event only where there are rights, and the removal of a finalizer that is not ours."""
    config = view.config
    if config.terminating:
        return Plan(_without_finalizer(config))
    (told,) = report(config.live, (condition,), view.field_manager, observedGeneration=config.generation)
    if condition.reason in WITHOUT_RIGHTS:
        told = replace(told, telling={})
    return Plan((*_without_finalizer(config), told), view.again_seconds)


def _without_finalizer(config: DpuClusterConfig) -> tuple[Step, ...]:
    """A merge patch: an apply would remove the finalizer only if we had applied it."""
    if not config.has_finalizer:
        return ()
    others = [each for each in config.live["metadata"]["finalizers"] if each != FINALIZER]
    return (Patch(INFRA, DPUCLUSTERCONFIGS, config.live, {"metadata": {"finalizers": others}}),)


def _serving(view: ConfigView) -> Plan:
    """The finalizer, then the claim; no controller writes anything for it before it has both."""
    ready, finalizer = summary(view.config), _finalizer(view, present=(FINALIZER,))
    if not view.untold:
        return Plan((finalizer, *_status(view, ready)))
    words = f"Events are not written: {sentence(view.untold)}; apply the operator's roles again"
    told = replace(ready, message="; ".join(filter(None, (ready.message, words))))
    again = event(INFRA, DPUCLUSTERCONFIGS, view.config.live, EVENTS_REFUSED, words)  # shows whether they are now
    return Plan((finalizer, *_status(view, told), again), UNTOLD_SECONDS)


def _teardown(view: ConfigView, left: Leftovers) -> Plan:
    """Each stage waits until the one before it is gone for good; the finalizer goes last.

    Hosts come first, as long as OVN-Kubernetes runs on their DPUs; then the pool, which its nodes leave before it goes.
    """
    return (
        _lead_out(view, left)
        or _part_from_pool(view, left)
        or _part_from_pods(view, left)
        or _part_from_hosts(view, left)
        or _part_from_copies(view, left)
        or _part_from_tenant(view, left)
    )


def _lead_out(view: ConfigView, left: Leftovers) -> Plan | None:
    """The workers of the hosts drain them, and `PairsHealthy` reports progress. A namespace that is ending is not
    waited for."""
    if not left.served or view.is_forced or left.access is Access.ENDING:
        return None
    said = condition_of(view.config.live, PAIRS_HEALTHY) or {}
    told = f"; {said['message']}" if said.get("status") == "False" and said.get("message") else ""
    what = f"{len(left.served)} hosts are drained first, and left cordoned: {_some(left.served)}{told}"
    return _waiting(view, (), f"{what}. {_force('to have them cut off instead')}")


def _part_from_pool(view: ConfigView, left: Leftovers) -> Plan | None:
    """A pool is deleted only after its nodes have left it; if the deletion is forced it stays."""
    pool = view.config.pool_name
    deletes = _deletes((MACHINECONFIGS, left.machine_config), (MACHINECONFIGPOOLS, left.pool))
    if not deletes or view.config.deletion_policy is not DeletionPolicy.DELETE:
        return None
    staying = _staying(view, left)
    if not staying:
        return _waiting(view, deletes, "removing the MachineConfig and the pool")
    if view.is_forced:
        return None
    hints = "; ".join(f"{named(each.name)}: {each.hint}" for each in staying[:_SHOWN])
    more = f"; and {len(staying) - _SHOWN} more" if len(staying) > _SHOWN else ""
    what = f"{len(staying)} nodes have not left pool {pool}, which goes after them; take them out one by one: {hints}"
    return _waiting(view, (), f"{what}{more}. {_force('to keep pool and MachineConfig')}")


def _staying(view: ConfigView, left: Leftovers) -> tuple[NodeInPool, ...]:
    given = view.config.node_selector if left.pool is None else (left.pool.get("spec") or {}).get("nodeSelector")
    return staying_nodes(view.config.pool_name, given or {}, left.nodes)


def _part_from_pods(view: ConfigView, left: Leftovers) -> Plan | None:
    if deletes := _deletes((DAEMONSETS, left.daemonset)):
        return _waiting(view, deletes, "removing the DaemonSet")
    if left.pods:
        return _waiting(view, (), f"{len(left.pods)} pods of the DaemonSet are still ending")
    return None


def _part_from_hosts(view: ConfigView, left: Leftovers) -> Plan | None:
    """The workers of the hosts remove these, one by one; the entries stay until the last budget is gone."""
    if left.protections:
        return _waiting(view, (), f"waiting for {len(left.protections)} drain blockers and budgets to be deleted")
    if left.maintenances and not view.is_forced:
        what = f"{len(left.maintenances)} hosts are still being given back: {_some(left.maintenances)}"
        return _waiting(view, (), f"{what}. {_force('to leave them as they are')}")
    return None


def _part_from_copies(view: ConfigView, left: Leftovers) -> Plan | None:
    accounts = ((SERVICEACCOUNTS, left.service_account), (SERVICEACCOUNTS, left.blocker_account))
    if deletes := _deletes(*left.copies, *accounts):
        return _waiting(view, deletes, "removing copies, credential and ServiceAccount")
    return None


def _part_from_tenant(view: ConfigView, left: Leftovers) -> Plan:
    """The last step that needs the tenant. The kubeconfig for it is removed last, so that a restarted process finds
    it."""
    if isinstance(left.tenant, TenantUnreadable) and left.access is Access.GIVEN:
        what = "our ServiceAccount and its bindings are still in the tenant, which cannot be read"
        return _waiting(view, (), f"{what}: {left.tenant.why}. {_force('to leave them there')}")
    if left.tenant and not isinstance(left.tenant, TenantUnreadable):
        parting = tuple(Delete(view.config.tenant_cluster, resource, obj) for resource, obj in left.tenant)
        return _waiting(view, parting, "removing our ServiceAccount and its bindings from the tenant")
    if deletes := _deletes((SECRETS, left.kubeconfig)):
        return _waiting(view, deletes, "removing the kubeconfig that worked last")
    return Plan((*_last_words(view, left), _finalizer(view, present=())))


def _last_words(view: ConfigView, left: Leftovers) -> Iterable[Step]:
    """Events about objects that stay: also on Nodes, since a terminating namespace accepts no more Events."""
    staying = _staying(view, left)
    if view.config.deletion_policy is DeletionPolicy.DELETE and left.pool is not None and staying:
        words = f"pool {named(view.config.pool_name)} and its MachineConfig are kept: {len(staying)} nodes run them"
        yield from _tell(view, [each.node for each in staying], POOL_KEPT, f"{words}: {_some(_names(staying))}")
    if isinstance(left.tenant, TenantUnreadable):
        words = f"the tenant of DpuClusterConfig {view.config.namespace}/{view.config.name} cannot be read"
        what = f"ServiceAccount, bindings and NodeMaintenances with label {OWNER_LABEL}={left.owner} may be left there"
        files = "--kubeconfig=infra.kubeconfig --tenant-kubeconfig=tenant.kubeconfig"
        sweep = f"python -m dpunetop sweep {files} --owner={left.owner}"
        ours = [node for node in left.nodes if matches(view.config.node_selector or {}, labels_of(node))]
        yield from _tell(view, ours, LEFT_IN_TENANT, f"{words} ({left.tenant.why}): {what}; once it can: {sweep}")


def _names(staying: Iterable[NodeInPool]) -> tuple[str, ...]:
    return tuple(each.name for each in staying)


def _tell(view: ConfigView, nodes: Sequence[Obj], reason: str, words: str) -> Iterable[Step]:
    yield event(INFRA, DPUCLUSTERCONFIGS, view.config.live, reason, words)
    for node in nodes[:_SHOWN]:
        yield event(INFRA, NODES, node, reason, words)


def _force(what: str) -> str:
    return f"Annotate {FORCE_DELETE_ANNOTATION}=yes {what}"


def _deletes(*objects: tuple[Resource, Obj | None]) -> tuple[Step, ...]:
    return tuple(Delete(INFRA, resource, obj) for resource, obj in objects if obj is not None)


def _waiting(view: ConfigView, steps: tuple[Step, ...], doing: str) -> Plan:
    terminating = Condition(READY, "False", "Terminating", doing)
    return Plan((*steps, *_status(view, terminating)), ENDING_RIGHTS_SECONDS)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(named, names[:_SHOWN])) + (" ..." if len(names) > _SHOWN else "")


def _status(view: ConfigView, condition: Condition) -> tuple[Step, ...]:
    config = view.config
    members = {"observedGeneration": config.generation, CLAIMED_POOL: config.pool_name}
    return report(config.live, (condition,), view.field_manager, **members)


def _finalizer(view: ConfigView, present: tuple[str, ...]) -> Apply:
    """An apply that no longer names our finalizer removes it."""
    config = view.config
    desired = new_object(DPUCLUSTERCONFIGS, config.namespace, config.name)
    if present:
        desired["metadata"]["finalizers"] = list(present)
    return Apply(INFRA, DPUCLUSTERCONFIGS, desired, config.live, view.field_manager)
