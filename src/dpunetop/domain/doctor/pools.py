"""Checks of the MachineConfigPools of infra: whether one stands still, and at which DPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dpunetop.base.quoting import named, printable
from dpunetop.domain.doctor.cluster import config_name, configs_of
from dpunetop.domain.doctor.model import Diagnosis, Facts, each, fail, ok, warn
from dpunetop.domain.hostconfig.machineconfig import (
    PoolReason,
    PoolView,
    pool_members,
    pool_status,
    shared_nodes,
)
from dpunetop.domain.hostconfig.machinestate import machine_state
from dpunetop.domain.names import MACHINECONFIGPOOLS, machine_config_name
from dpunetop.domain.reasons import meaning
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import matches
from dpunetop.kube.shapes import at

_STILL = frozenset({PoolReason.PAUSED, PoolReason.DEGRADED, PoolReason.SHARED_NODES, PoolReason.NO_MACHINES})
_MOST = 300


def judge_pools(facts: Facts) -> Iterable[Diagnosis]:
    """The pool of each DpuClusterConfig does not stand still."""
    return each(configs_of(facts), lambda config: _pool(facts, config), namespace_of)


def _pool(facts: Facts, config: Obj) -> Iterator[Diagnosis]:
    if not facts.infra.serves(MACHINECONFIGPOOLS):
        yield ok(config_name(config), "has no MachineConfigPool: infra does not serve them")
        return
    name = str(at(config, "spec", "poolName"))
    pools, nodes = facts.infra.list(Selection(MACHINECONFIGPOOLS)), facts.infra.list(Selection(NODES))
    live = next((each for each in pools if name_of(each) == name), None)
    about = f"MachineConfigPool {named(name)} of {namespace_of(config)}/{name_of(config)}"
    if live is None:
        yield ok(about, "is not there yet: the operator makes it")
        return
    members = pool_members(name, pools, nodes)
    state = pool_status(PoolView(live, machine_config_name(name), shared_nodes(name, pools, nodes), members))
    words = f"{state.reason}: {printable(state.message, _MOST)}"
    if state.reason in _STILL:
        yield fail(about, words, _mend(name, state.reason))
    elif at(live, "spec", "paused"):
        yield warn(about, "is paused: no later change reaches its DPUs", _mend(name, PoolReason.PAUSED))
    else:
        yield ok(about, words)
    yield from _failing(live, nodes)


def _mend(pool: str, reason: PoolReason) -> str:
    if reason is PoolReason.PAUSED:
        return f'kubectl patch machineconfigpool {named(pool)} --type merge --patch \'{{"spec":{{"paused":false}}}}\''
    return f"{meaning(reason).next_step}; kubectl describe machineconfigpool {named(pool)}"


def _failing(pool: Obj, nodes: Iterable[Obj]) -> Iterator[Diagnosis]:
    """The DPUs whose daemon has given up."""
    selector = at(pool, "spec", "nodeSelector")
    own = (node for node in nodes if isinstance(selector, dict) and matches(selector, labels_of(node)))
    for node in own:
        machine = machine_state(annotations_of(node))
        if machine.is_failing:
            name = named(name_of(node))
            on_it = f"--selector k8s-app=machine-config-daemon --field-selector spec.nodeName={name}"
            pods = f"kubectl get pods --namespace openshift-machine-config-operator {on_it}"
            told = fail(f"Node {name} of infra", f"its machine-config daemon {machine.trouble}", pods)
            yield replace(told, dpus=frozenset({name_of(node)}))
