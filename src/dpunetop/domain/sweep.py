"""Removal of what DpuClusterConfigs that are gone have left, in order.

Nothing is remembered: each look decides from what is there, so an interrupted sweep goes on where it was. Objects of a
DpuClusterConfig that lives stay. So do objects that only a person can judge; the sweep names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import reduce
from typing import Final

from dpunetop.base.quoting import named
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.poolend import staying_nodes
from dpunetop.domain.drain.model.facts import Author, HostNode, HostRef
from dpunetop.domain.drain.model.maintenances import leave_host, mark_host, restore_host, was_cordoned
from dpunetop.domain.drain.model.readers import host_node, maintenance
from dpunetop.kube.keys import (
    CLUSTERROLEBINDINGS,
    CONFIGMAPS,
    DAEMONSETS,
    DEPLOYMENTS,
    INFRA,
    NODES,
    ROLEBINDINGS,
    SECRETS,
    SERVICEACCOUNTS,
    Resource,
)
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of, name_of, namespace_of
from dpunetop.kube.plan import Delete, Fence, Patch
from dpunetop.kube.shapes import at

TENANT: Final = "tenant"
"""Name of the tenant's cluster in the steps of a sweep, which looks at one."""
_SHOWN = 5
_MACHINE_CONFIG = names.machine_config_name("\0").split("\0")
_ACCOUNTS = frozenset({names.DPU_ACCOUNT, names.UPSTREAM_DPU_ACCOUNT})


def _is_protection(name: str) -> bool:
    return name.startswith(f"{names.DRAIN_BLOCKER}-")


INFRA_NAMES: Mapping[Resource, Callable[[str], bool]] = {
    names.PODDISRUPTIONBUDGETS: _is_protection,
    DEPLOYMENTS: _is_protection,
    DAEMONSETS: frozenset({names.OVNKUBE_NODE}).__contains__,
    CONFIGMAPS: frozenset({names.OVN_CA, names.OVNKUBE_CONFIG, names.OVNKUBE_NODE_ENTRIES}).__contains__,
    SECRETS: frozenset({names.OVN_CERT, names.TENANT_CREDENTIAL, names.TENANT_KUBECONFIG}).__contains__,
    SERVICEACCOUNTS: frozenset({names.OVNKUBE_SERVICE_ACCOUNT, names.DRAIN_BLOCKER}).__contains__,
    names.DPUNODES: lambda _: True,
    names.MACHINECONFIGS: lambda name: bool(_pool_of(name)),
    names.MACHINECONFIGPOOLS: lambda _: True,
}
"""Our objects in infra, in the order of removal: budgets first, so that DPUs can be drained. The name has to be ours
beside the label, which anybody may copy."""
TENANT_NAMES: Mapping[Resource, Callable[[str], bool]] = dict.fromkeys(
    (ROLEBINDINGS, CLUSTERROLEBINDINGS, SERVICEACCOUNTS), _ACCOUNTS.__contains__
)
"""The same in a tenant, beside NodeMaintenances: bindings first."""


class Ending(Enum):
    """What a sweep does about a DpuClusterConfig that is terminating while no operator runs."""

    KEEP = auto()
    """It counts as living: an operator that is installed again drains its hosts."""
    FINISH = auto()
    """It counts as gone, and our finalizer is taken off."""


@dataclass(frozen=True, slots=True)
class SweptTenant:
    """The tenant's objects that a sweep looks at."""

    ours: tuple[tuple[Resource, Obj], ...]
    """Objects of TENANT_NAMES with our label."""
    maintenances: tuple[Obj, ...]
    hosts: tuple[Obj, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The clusters' objects that a sweep looks at."""

    infra_uid: str
    """Of `kube-system`."""
    configs: tuple[Obj, ...]
    ours: tuple[tuple[Resource, Obj], ...]
    """Objects of INFRA_NAMES with our label."""
    pools: tuple[Obj, ...]
    """All there are."""
    nodes: tuple[Obj, ...]
    tenant: SweptTenant | None = None
    """None: the tenant is not swept."""


@dataclass(frozen=True, slots=True)
class SweepChoice:
    """What a person has asked the sweep for."""

    ending: Ending = Ending.KEEP
    owners: frozenset[str] = frozenset()
    """Owner labels that count as ours in the tenant, although no object of infra has them any more."""


@dataclass(frozen=True, slots=True)
class Act:
    """One write, and the line that reports it."""

    step: Delete | Patch
    note: str

    def __str__(self) -> str:
        verb = "delete" if isinstance(self.step, Delete) else "change"
        return f"{verb} {shown(self.step.resource, self.step.live)}{self.note}"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What one pass of the sweep is to do, and what it leaves."""

    acts: tuple[Act, ...] = ()
    """In this order; none depends on another of the same plan."""
    later: tuple[str, ...] = ()
    """Objects that are removed after these, or are terminating."""
    kept: tuple[str, ...] = ()
    """Objects that only a person can remove, with how."""
    strangers: frozenset[str] = frozenset()
    """Owner labels in the tenant that nothing in infra explains: another infra cluster may have them."""
    swept: frozenset[str] = frozenset()
    """Known owner labels of DpuClusterConfigs that are gone."""

    def __add__(self, other: SweepPlan) -> SweepPlan:
        """Both, in this order."""
        return SweepPlan(
            (*self.acts, *other.acts),
            (*self.later, *other.later),
            (*self.kept, *other.kept),
            self.strangers | other.strangers,
            self.swept | other.swept,
        )


@dataclass(frozen=True, slots=True)
class _Owners:
    living: frozenset[str]
    gone: frozenset[str]

    def has_gone(self, obj: Obj) -> bool:
        return owner_of(obj) in self.gone


def plan_sweep(found: Found, choice: SweepChoice) -> SweepPlan:
    """Decide what is removed now, what later, and what is left to people.

    Guarantees: a DPU's budget goes before all else; what is in the tenant goes before the rest of infra; a host that is
        cordoned in a maintenance of ours comes out cordoned, since no DPU serves it; neither pool nor MachineConfig
        goes before its nodes; a finalizer goes last.
    """
    owners = _owners(found, choice)
    first = _named_so(names.PODDISRUPTIONBUDGETS, found, owners)
    if found.tenant is not None:
        first += _in_tenant(found.tenant, owners)
    parts = [_named_so(each, found, owners) for each in INFRA_NAMES if each not in _HANDLED]
    wanted = frozenset(at(each, "spec", "poolName") for each in living(found, choice))
    parts += [_of_pools(each, found, owners, wanted) for each in (names.MACHINECONFIGS, names.MACHINECONFIGPOOLS)]
    all_but_last = first + _after_tenant(first, reduce(SweepPlan.__add__, parts))
    return all_but_last + _configs(found, choice, all_but_last) + SweepPlan(swept=owners.gone)


def _after_tenant(first: SweepPlan, rest: SweepPlan) -> SweepPlan:
    """Objects left in infra show the next sweep whose the tenant's objects are, so they stay until those are gone."""
    if not first.later and not any(act.step.cluster == TENANT for act in first.acts):
        return rest
    return SweepPlan(later=(*(f"{act}: goes after that" for act in rest.acts), *rest.later), kept=rest.kept)


_HANDLED = {names.PODDISRUPTIONBUDGETS, names.MACHINECONFIGS, names.MACHINECONFIGPOOLS}


def owner_of(obj: Obj) -> str:
    """The owner label; empty if it has none."""
    return str(labels_of(obj).get(names.OWNER_LABEL, ""))


def living(found: Found, choice: SweepChoice) -> tuple[Obj, ...]:
    """The DpuClusterConfigs whose objects stay."""
    return tuple(each for each in found.configs if not is_terminating(each) or choice.ending is Ending.KEEP)


def shown(resource: Resource, obj: Obj) -> str:
    """An object by kind and name, safe to show."""
    path = [named(part) for part in (namespace_of(obj), name_of(obj)) if part]
    return f"{resource.kind} {'/'.join(path)}"


def _owners(found: Found, choice: SweepChoice) -> _Owners:
    def hashes(configs: Iterable[Obj]) -> frozenset[str]:
        return frozenset(names.owner_hash(found.infra_uid, namespace_of(each), name_of(each)) for each in configs)

    alive = hashes(living(found, choice))
    known = {owner_of(obj) for _, obj in found.ours} | hashes(found.configs) | choice.owners
    return _Owners(alive, frozenset(known) - alive - {""})


def _named_so(resource: Resource, found: Found, owners: _Owners) -> SweepPlan:
    """Removal of one kind in infra; all DpuClusterConfigs share the ServiceAccount of the blockers."""
    ours = (obj for kind, obj in found.ours if kind == resource and owners.has_gone(obj))
    is_wanted = bool(owners.living)
    gone = [
        obj
        for obj in ours
        if INFRA_NAMES[resource](name_of(obj)) and not (is_wanted and name_of(obj) == names.DRAIN_BLOCKER)
    ]
    return _deleted(INFRA, resource, gone, lambda obj: _cut_off(resource, obj, found))


def _cut_off(resource: Resource, obj: Obj, found: Found) -> str:
    """The hosts that lose their network, as far as budgets name them."""
    if resource != DAEMONSETS:
        return ""
    budgets = (each for kind, each in found.ours if kind == names.PODDISRUPTIONBUDGETS)
    served = (annotations_of(each).get(names.SERVES_ANNOTATION) for each in budgets if owner_of(each) == owner_of(obj))
    hosts = sorted(named(host) for host in served if host)
    return f", which cuts off {_some(hosts)}" if hosts else ""


def _deleted(cluster: str, resource: Resource, gone: Iterable[Obj], note: Callable[[Obj], str]) -> SweepPlan:
    acts, later = [], []
    for obj in sorted(gone, key=lambda each: (namespace_of(each), name_of(each))):
        if is_terminating(obj):
            later.append(f"{shown(resource, obj)} is deleted, and something holds it: look at its finalizers")
        else:
            acts.append(Act(Delete(cluster, resource, obj), note(obj)))
    return SweepPlan(tuple(acts), tuple(later))


def _of_pools(resource: Resource, found: Found, owners: _Owners, wanted: frozenset[object]) -> SweepPlan:
    """Pools or MachineConfigs: never one that nodes run or that selects nodes, nor one that a living config names."""
    selectors = {name_of(pool): (pool.get("spec") or {}).get("nodeSelector") or {} for pool in found.pools}
    gone, kept = [], []
    for obj in (each for kind, each in found.ours if kind == resource and owners.has_gone(each)):
        pool = name_of(obj) if resource == names.MACHINECONFIGPOOLS else _pool_of(name_of(obj))
        if not pool or pool in wanted:
            continue
        staying = staying_nodes(pool, selectors.get(pool, {}), found.nodes)
        if not staying:
            gone.append(obj)
            continue
        hints = _some([f"{named(each.name)}: {each.hint}" for each in staying], "; ")
        kept.append(
            f"{shown(resource, obj)} stays: {len(staying)} nodes are in pool {named(pool)}. Take them out: {hints}"
        )
    return _deleted(INFRA, resource, gone, _nothing) + SweepPlan(kept=tuple(kept))


def _pool_of(machine_config: str) -> str:
    """The pool of a MachineConfig of ours; empty: it is not ours."""
    before, after = _MACHINE_CONFIG
    if not (machine_config.startswith(before) and machine_config.endswith(after)):
        return ""
    return machine_config[len(before) : -len(after)]


def _in_tenant(tenant: SweptTenant, owners: _Owners) -> SweepPlan:
    everything = [*tenant.ours, *((names.NODEMAINTENANCES, each) for each in tenant.maintenances)]
    strangers = frozenset(owner_of(obj) for _, obj in everything) - owners.gone - owners.living - {""}
    held = {str(at(each, "spec", "nodeName")): owner_of(each) for each in tenant.maintenances}
    hosts = {name_of(each): host_node(each) for each in tenant.hosts}
    parts = [_maintenance(each, hosts) for each in tenant.maintenances if owners.has_gone(each)]
    is_alone = not owners.living and not strangers
    parts += [_host(host, owners, is_alone) for name, host in sorted(hosts.items()) if name not in held]
    parts += [_held(host, owners) for name, host in sorted(hosts.items()) if held.get(name) not in (None, *owners.gone)]
    parts += [_accounts(each, tenant, owners) for each in TENANT_NAMES]
    return reduce(SweepPlan.__add__, parts, SweepPlan(strangers=strangers))


def _accounts(resource: Resource, tenant: SweptTenant, owners: _Owners) -> SweepPlan:
    ours = (obj for kind, obj in tenant.ours if kind == resource and owners.has_gone(obj))
    return _deleted(TENANT, resource, (obj for obj in ours if TENANT_NAMES[resource](name_of(obj))), _nothing)


def _maintenance(obj: Obj, hosts: Mapping[str, HostNode]) -> SweepPlan:
    """The node maintenance operator uncordons the host once this is deleted, so the Node says before whether it stays
    cordoned."""
    read, what = maintenance(obj, owner_of(obj)), shown(names.NODEMAINTENANCES, obj)
    if not read.ours:
        return SweepPlan()
    if read.terminating:
        return SweepPlan(later=(f"{what} is deleted, and waits for the node maintenance operator",))
    host = hosts.get(read.host)
    if host is None or not host.cordoned or host.mark:
        return SweepPlan((Act(Delete(TENANT, names.NODEMAINTENANCES, obj, Fence.VERSION), ""),))
    host_ref = _host_ref(host, owner_of(obj))
    mark = mark_host(host_ref, host, True) if was_cordoned(read, host) else leave_host(host_ref, host)
    return SweepPlan(
        (Act(mark, ": it is to come out cordoned, because no DPU serves it"),), (f"{what} goes after that",)
    )


def _held(host: HostNode, owners: _Owners) -> SweepPlan:
    """A host in another writer's maintenance."""
    if host.left_by not in owners.gone and not _has_outage(host, owners):
        return SweepPlan()
    what = f"{shown(NODES, host.live)} has marks of ours, and is in a maintenance that another writer made"
    return SweepPlan(kept=(f"{what}: sweep again when that is gone",))


def _has_outage(host: HostNode, owners: _Owners) -> bool:
    return host.unplanned is not None and host.unplanned.owner in owners.gone


def _host(host: HostNode, owners: _Owners, is_alone: bool) -> SweepPlan:
    """Marks of drains and outages on a host that is in no maintenance. A mark names no owner: it is ours where the host
    says that we left it, or where no other DpuClusterConfig exists."""
    was_left = host.left_by in owners.gone
    is_ours = is_alone or was_left
    if host.mark is not None and is_ours and (host.mark or not host.cordoned):
        end = "stays cordoned" if host.mark else "stays schedulable"
        return SweepPlan((Act(restore_host(_host_ref(host, ""), host), f": it {end}, and the mark goes"),))
    marks = [
        annotation
        for annotation, ours in (
            (names.CORDONED_BEFORE_ANNOTATION, host.mark is not None and is_ours),
            (names.LEFT_BY_ANNOTATION, was_left),
            (names.UNPLANNED_ANNOTATION, _has_outage(host, owners)),
        )
        if ours
    ]
    return _marked(host, marks) if marks else SweepPlan()


def _marked(host: HostNode, marks: list[str]) -> SweepPlan:
    """The marks are removed where the host is in use; a cordon is never removed here."""
    if not host.cordoned:
        gone = {"metadata": {"annotations": dict.fromkeys(marks)}}
        return SweepPlan((Act(Patch(TENANT, NODES, host.live, gone), ": it is in use, and our marks go"),))
    name = named(name_of(host.live))
    unmark = f"kubectl annotate node {name} {' '.join(f'{mark}-' for mark in marks)}"
    what = f"{shown(NODES, host.live)} is cordoned, and no DPU serves it"
    return SweepPlan(kept=(f"{what}. Once it has a network: kubectl uncordon {name}; {unmark}",))


def _configs(found: Found, choice: SweepChoice, before: SweepPlan) -> SweepPlan:
    """Terminating DpuClusterConfigs with our finalizer."""
    held = (each for each in found.configs if is_terminating(each) and names.FINALIZER in _finalizers(each))
    return reduce(SweepPlan.__add__, (_config(each, choice, before) for each in held), SweepPlan())


def _config(config: Obj, choice: SweepChoice, before: SweepPlan) -> SweepPlan:
    what = shown(names.DPUCLUSTERCONFIGS, config)
    if choice.ending is Ending.KEEP:
        how = "install the operator again, which leads its hosts out first; or add --terminating, which cuts them off"
        return SweepPlan(kept=(f"{what} is deleted, and has our finalizer: {how}",))
    if before.acts or before.later:
        return SweepPlan(later=(f"the finalizer of {what} goes after that",))
    others = [each for each in _finalizers(config) if each != names.FINALIZER]
    patch = Patch(INFRA, names.DPUCLUSTERCONFIGS, config, {"metadata": {"finalizers": others}})
    return SweepPlan((Act(patch, ": our finalizer goes"),))


def _finalizers(config: Obj) -> list[str]:
    return list(config["metadata"].get("finalizers") or [])


def _host_ref(host: HostNode, owner: str) -> HostRef:
    """The members of a HostRef that a write of the host needs."""
    return HostRef(name_of(host.live), TENANT, "", owner, Author("", "", "", 0))


def _nothing(_: Obj) -> str:
    return ""


def _some(texts: Iterable[str], between: str = ", ") -> str:
    every = list(texts)
    return between.join(every[:_SHOWN]) + (f"{between}and {len(every) - _SHOWN} more" if len(every) > _SHOWN else "")
