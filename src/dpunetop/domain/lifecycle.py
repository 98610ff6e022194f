"""From finalizer to farewell: what a DpuClusterConfig needs while it lives, and the order in which it ends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dpunetop.domain.admission import WITHOUT_RIGHTS
from dpunetop.domain.names import (
    CLAIMED_POOL,
    CURRENT_CONFIG_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    DPUCLUSTERCONFIGS,
    FINALIZER,
    FORCE_DELETE_ANNOTATION,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
)
from dpunetop.domain.quoting import named
from dpunetop.domain.status import READY, report, summary
from dpunetop.domain.types import DeletionPolicy, DpuClusterConfig
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import DAEMONSETS, INFRA, SECRETS, SERVICEACCOUNTS, Resource
from dpunetop.kube.meta import Obj, annotations_of, name_of, new_object
from dpunetop.kube.plan import Apply, Delete, Patch, Plan, Step

RIGHTS_SECONDS = 60.0
"""When it is looked again whether there are rights in a namespace; nothing shows that of itself."""


@dataclass(frozen=True, slots=True)
class OutOfSight:
    """We have written to the tenant, and it cannot be read now; `why` not."""

    why: str


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What bears our owner label and is still there when a DpuClusterConfig is deleted."""

    pool: Obj | None
    machine_config: Obj | None
    nodes: tuple[Obj, ...]
    """All Nodes of infra: who still runs a configuration of the pool shows in their annotations."""
    running: tuple[str, ...]
    """Hosts of drains that run."""
    daemonset: Obj | None
    pods: tuple[Obj, ...]
    protections: tuple[str, ...]
    """Names of budgets and blockers."""
    maintenances: tuple[str, ...]
    """Hosts with a NodeMaintenance of ours, as far as the tenant can be seen."""
    blocker_account: Obj | None
    copies: tuple[tuple[Resource, Obj], ...]
    service_account: Obj | None
    tenant: tuple[tuple[Resource, Obj], ...] | OutOfSight
    """What we made in the tenant, in the order in which it goes: bindings first, ServiceAccounts last."""
    kubeconfig: Obj | None
    """Secret of the kubeconfig that leads there, and notes that we made something."""


@dataclass(frozen=True, slots=True)
class ConfigView:
    """`leftovers` is given exactly when the DpuClusterConfig is being deleted and was served."""

    config: DpuClusterConfig
    leftovers: Leftovers | None
    field_manager: str
    again_seconds: float = RIGHTS_SECONDS
    """When one that is not served is looked at again."""

    @property
    def is_forced(self) -> bool:
        """Whether a person wants the end without what the tenant is needed for."""
        return FORCE_DELETE_ANNOTATION in self.config.annotations


def plan_config(view: ConfigView) -> Plan:
    """Keep finalizer and `Ready` right; once deleted, take down one stage after the other."""
    if view.leftovers is not None:
        return _teardown(view, view.leftovers)
    if (refused := view.config.refused) is None:
        return _serving(view)
    condition = Condition(READY, "False", refused.reason, refused.message)
    if view.config.was_served:
        return Plan(_status(view, condition))
    return _never_served(view, condition)


def _never_served(view: ConfigView, condition: Condition) -> Plan:
    """A condition and nothing else, and an Event only where there are rights; a finalizer that somebody else has put
    there goes."""
    config = view.config
    if config.terminating:
        return Plan(_without_finalizer(config))
    (told,) = report(INFRA, config.live, (condition,), view.field_manager, observedGeneration=config.generation)
    if condition.reason in WITHOUT_RIGHTS:
        told = replace(told, telling={})
    return Plan((*_without_finalizer(config), told), view.again_seconds)


def _without_finalizer(config: DpuClusterConfig) -> tuple[Step, ...]:
    """Whoever has put it there: an apply would give up our own only."""
    if not config.has_finalizer:
        return ()
    others = [each for each in config.live["metadata"]["finalizers"] if each != FINALIZER]
    return (Patch(INFRA, DPUCLUSTERCONFIGS, config.live, {"metadata": {"finalizers": others}}),)


def _serving(view: ConfigView) -> Plan:
    """The finalizer, and then the claim, before which nobody writes anything for it."""
    return Plan((_finalizer(view, present=(FINALIZER,)), *_status(view, summary(view.config))))


def _teardown(view: ConfigView, left: Leftovers) -> Plan:
    """Each stage waits until the one before it is gone for good; the finalizer goes last.

    The pool comes first: its nodes leave while OVN-Kubernetes still runs on them.
    """
    if view.config.deletion_policy is DeletionPolicy.DELETE:
        if deletes := _deletes((MACHINECONFIGS, left.machine_config), (MACHINECONFIGPOOLS, left.pool)):
            return _waiting(view, deletes, "removing the MachineConfig and the pool")
        if not view.is_forced and (waiting := _nodes_leave(view, left)):
            return waiting
    if left.running and not view.is_forced:
        what = f"the drains of {len(left.running)} hosts are to end first: {_some(list(left.running))}"
        return _waiting(view, (), f"{what}. Annotate {FORCE_DELETE_ANNOTATION}=yes to leave the hosts as they are")
    if deletes := _deletes((DAEMONSETS, left.daemonset)):
        return _waiting(view, deletes, "removing the DaemonSet")
    if left.pods:
        return _waiting(view, (), f"{len(left.pods)} pods of the DaemonSet are still ending")
    return _part_from_hosts(view, left) or _nodes_leave(view, left) or _part_from_copies(view, left)


def _nodes_leave(view: ConfigView, left: Leftovers) -> Plan | None:
    """With their hosts drained one after the other; by force, once nothing holds them any more."""
    pool = view.config.pool_name
    staying = nodes_in_pool(pool, left.nodes) if view.config.deletion_policy is DeletionPolicy.DELETE else []
    if not staying:
        return None
    what = f"{len(staying)} nodes have not left pool {pool}: {_some(staying)}"
    force = f". Annotate {FORCE_DELETE_ANNOTATION}=yes not to wait for their hosts"
    return _waiting(view, (), what + ("" if view.is_forced or not left.protections else force))


def _part_from_hosts(view: ConfigView, left: Leftovers) -> Plan | None:
    """The workers of the hosts take these away, one by one; the entries stay until the last budget is gone."""
    if left.protections:
        return _waiting(view, (), f"{len(left.protections)} budgets and blockers are still going")
    if left.maintenances and not view.is_forced:
        what = f"{len(left.maintenances)} hosts are still being given back: {_some(list(left.maintenances))}"
        return _waiting(view, (), f"{what}. Annotate {FORCE_DELETE_ANNOTATION}=yes to leave them as they are")
    return None


def _part_from_copies(view: ConfigView, left: Leftovers) -> Plan:
    accounts = ((SERVICEACCOUNTS, left.service_account), (SERVICEACCOUNTS, left.blocker_account))
    if deletes := _deletes(*left.copies, *accounts):
        return _waiting(view, deletes, "removing copies, credential and ServiceAccount")
    return _part_from_tenant(view, left)


def _part_from_tenant(view: ConfigView, left: Leftovers) -> Plan:
    """Nothing here needs the tenant any more. The way to it goes last, so that a process that starts anew finds it."""
    if isinstance(left.tenant, OutOfSight):
        what = "our ServiceAccount and its bindings are still in the tenant, which cannot be read"
        force = f"Annotate {FORCE_DELETE_ANNOTATION}=yes to leave them there"
        return _waiting(view, (), f"{what}: {left.tenant.why}. {force}")
    if left.tenant:
        parting = tuple(Delete(view.config.tenant_cluster, resource, obj) for resource, obj in left.tenant)
        return _waiting(view, parting, "removing our ServiceAccount and its bindings from the tenant")
    if deletes := _deletes((SECRETS, left.kubeconfig)):
        return _waiting(view, deletes, "removing the kubeconfig that worked last")
    return Plan((_finalizer(view, present=()),))


def _deletes(*objects: tuple[Resource, Obj | None]) -> tuple[Step, ...]:
    return tuple(Delete(INFRA, resource, obj) for resource, obj in objects if obj is not None)


def _waiting(view: ConfigView, steps: tuple[Step, ...], doing: str) -> Plan:
    return Plan((*steps, *_status(view, Condition(READY, "False", "Terminating", doing))))


def nodes_in_pool(pool: str, nodes: Iterable[Obj]) -> list[str]:
    """Names of the nodes that run a configuration of the pool, or are to."""
    marks = (CURRENT_CONFIG_ANNOTATION, DESIRED_CONFIG_ANNOTATION)
    return sorted(
        name_of(node) for node in nodes if any(_is_of_pool(annotations_of(node).get(mark, ""), pool) for mark in marks)
    )


def _is_of_pool(rendered: str, pool: str) -> bool:
    """`rendered-<pool>-<hash>`; the hash has no dash, so that pool `dpu` is not taken for part of `dpu-east`."""
    return rendered.rpartition("-")[0] == f"rendered-{pool}"


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(map(named, names[:most])) + (" ..." if len(names) > most else "")


def _status(view: ConfigView, condition: Condition) -> tuple[Step, ...]:
    config = view.config
    members = {"observedGeneration": config.generation, CLAIMED_POOL: config.pool_name}
    return report(INFRA, config.live, (condition,), view.field_manager, **members)


def _finalizer(view: ConfigView, present: tuple[str, ...]) -> Apply:
    """An apply that no longer names a finalizer gives it up, which removes it."""
    config = view.config
    desired = new_object(DPUCLUSTERCONFIGS, config.namespace, config.name)
    if present:
        desired["metadata"]["finalizers"] = list(present)
    return Apply(INFRA, DPUCLUSTERCONFIGS, desired, config.live, view.field_manager)
