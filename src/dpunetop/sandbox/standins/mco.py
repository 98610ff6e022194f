"""Stand-in for the Machine Config Operator: renders pools, rolls them out node by node, drains, reboots, reports."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dpunetop.base.stop import Stop
from dpunetop.domain.names import (
    CURRENT_CONFIG_ANNOTATION,
    DESIRED_CONFIG_ANNOTATION,
    MACHINE_CONFIG_REASON_ANNOTATION,
    MACHINE_CONFIG_STATE_ANNOTATION,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    WORKER_ROLE,
)
from dpunetop.kube.errors import Conflict, NotFound
from dpunetop.kube.keys import NODES, PODS, Key
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, name_of, new_object, uid_of
from dpunetop.sandbox.standins import mcorules
from dpunetop.sandbox.standins.engine import BY_NODE, StandIn, StandInEngine, drainable
from dpunetop.sandbox.standins.mcorules import Action, Delays, Drain, PoolView


@dataclass(frozen=True)
class _Rendered:
    name: str
    sources: tuple[str, ...]


class MachineConfigOperator(StandIn):
    """All of the Machine Config Operator, one key for the whole cluster.

    Guarantees: a drain proceeds in rounds. Each round lists the pods once, so a pod that is created during a round is
        evicted in the next one. A node that is uncordoned meanwhile is cordoned again in the next round, and does not
        count as drained before. A node always comes back schedulable, even if another client had cordoned it. A new
        node has the configuration of the worker pool from the start. A node marked `Degraded` continues its drain only.
        Nodes are picked, cordoned and uncordoned after the delays of the real controllers.
        Rendered configurations are deleted with their pool, in place of the garbage collector, which does not run in
        infra here. A node whose configuration is gone is degraded until that exists again (`prepUpdateFromCluster` in
        pkg/daemon/daemon.go, which is retried).
    Source: openshift/machine-config-operator 7ff337a, pkg/controller/drain/drain_controller.go.
    """

    name = "mco"

    def __init__(self, *, retry_seconds: float = 1.0) -> None:
        """`retry_seconds`: the pause before a refused eviction is retried; all other pauses are scaled by the same
        factor."""
        self._pace = mcorules.REAL_INTERVALS.scaled(retry_seconds)
        # Node -> its drain. Only the worker of the one key changes it. The thread of the pods' cache reads it without a
        # lock; the next retry finds what that misses.
        self._drains: dict[str, Drain] = {}
        self._delays = Delays()
        self._seen: set[str] = set()
        """The names of all rendered configurations so far. Only the worker of the one key uses it."""

    def attach(self, engine: StandInEngine, enqueue: Callable[[Key], None]) -> None:
        """See `StandIn.attach`."""
        key = Key(engine.cluster, "", "all")
        self._engine = engine
        self._pools = engine.follow(MACHINECONFIGPOOLS, lambda _: enqueue(key))
        self._configs = engine.follow(MACHINECONFIGS, lambda _: enqueue(key))
        self._nodes = engine.follow(NODES, lambda _: enqueue(key))
        self._pods = engine.follow(PODS, lambda pod: enqueue(key) if self._awaits(pod) else None)

    def reconcile(self, key: Key, stop: Stop) -> float | None:
        """See `StandIn.reconcile`."""
        self._delays.begin_pass()
        pools = sorted(self._pools.list(), key=name_of)
        nodes = sorted(self._nodes.list(), key=name_of)
        rendered = self._render(pools, stop)
        self._collect(pools)
        members = {name: [n for n in nodes if mcorules.pool_of(n, pools) == name] for name in map(name_of, pools)}
        for node in nodes:
            self._welcome(node, rendered)
        for pool in pools:
            self._begin(pool, members[name_of(pool)], rendered)
        for node in nodes:
            self._advance(node)
        for pool in pools:
            self._report(pool, members[name_of(pool)], rendered, stop)
        return self._pace.retry if self._drains or self._delays.since else None

    # --- pools ------------------------------------------------------------------------------------------------------

    def _render(self, pools: Sequence[Obj], stop: Stop) -> dict[str, _Rendered]:
        rendered = {}
        for pool in pools:
            configs = mcorules.selected(pool, self._configs.list())
            if not configs:
                continue
            name = mcorules.rendered_name(name_of(pool), configs)
            rendered[name_of(pool)] = _Rendered(name, tuple(map(name_of, configs)))
            if self._configs.get("", name) is None:
                made = mcorules.rendered_config(pool, name)
                self._engine.apply(MACHINECONFIGS, made, None, self.manager, stop)
            else:
                self._seen.add(name)
            spec = {"configuration": mcorules.configuration(name, rendered[name_of(pool)].sources)}
            desired = new_object(MACHINECONFIGPOOLS, "", name_of(pool), spec=spec)
            self._engine.apply(MACHINECONFIGPOOLS, desired, pool, self.manager, stop)
        return rendered

    def _collect(self, pools: Sequence[Obj]) -> None:
        """Delete the objects of deleted pools."""
        known = {uid_of(pool) for pool in pools}
        for config in self._configs.list():
            if mcorules.owning_pool(config) not in ("", *known):
                with contextlib.suppress(NotFound, Conflict):
                    self._engine.client.delete(MACHINECONFIGS, "", name_of(config), uid_of(config))

    def _report(self, pool: Obj, members: Sequence[Obj], rendered: Mapping[str, _Rendered], stop: Stop) -> None:
        result = rendered.get(name_of(pool))
        if result is None or (pool["spec"].get("configuration") or {}).get("name") != result.name:
            return  # the next reconcile retries
        now = self._engine.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        status = mcorules.pool_status(PoolView(pool, members, result.sources, now))
        self._engine.apply_status(MACHINECONFIGPOOLS, pool, status, self.manager, stop)

    # --- nodes ------------------------------------------------------------------------------------------------------

    def _welcome(self, node: Obj, rendered: Mapping[str, _Rendered]) -> None:
        if CURRENT_CONFIG_ANNOTATION in annotations_of(node):
            return
        is_master = mcorules.pool_of(node, self._pools.list()) == mcorules.MASTER_ROLE
        pool = mcorules.MASTER_ROLE if is_master else WORKER_ROLE
        first = rendered[pool].name if pool in rendered else mcorules.rendered_name(pool, ())
        configs = {CURRENT_CONFIG_ANNOTATION: first, DESIRED_CONFIG_ANNOTATION: first}
        # The first boot ends with an uncordon too (`completeUpdate` in pkg/daemon/daemon.go).
        uncordon = mcorules.uncordon_mark(first)
        drains = {mcorules.DESIRED_DRAIN_ANNOTATION: uncordon, mcorules.LAST_APPLIED_DRAIN_ANNOTATION: uncordon}
        self._mark(node, {**configs, **drains, MACHINE_CONFIG_STATE_ANNOTATION: mcorules.DONE})

    def _begin(self, pool: Obj, members: Sequence[Obj], rendered: Mapping[str, _Rendered]) -> None:
        target = rendered.get(name_of(pool))
        known = [node for node in members if CURRENT_CONFIG_ANNOTATION in annotations_of(node)]
        if target is None or len(known) != len(members):
            return
        picked = mcorules.next_nodes(pool, members, target.name)
        if not picked or not self._is_due(f"pick of {name_of(pool)}"):
            return
        for node in picked:
            self._mark(node, {DESIRED_CONFIG_ANNOTATION: target.name})

    def _advance(self, node: Obj) -> None:
        if self._lost_its_config(node):
            return
        desired, action = mcorules.desired_config(node), mcorules.next_action(node)
        if marks := mcorules.daemon_marks(node, action):
            self._mark(node, marks)
        elif action is Action.DRAIN:
            self._drain(node, mcorules.drain_mark(desired))
        elif action is Action.UNCORDON:
            self._uncordon(node, mcorules.uncordon_mark(desired))
        else:
            self._drains.pop(name_of(node), None)

    def _lost_its_config(self, node: Obj) -> bool:
        """Whether the configuration that the node runs is gone; its daemon then reports this, until it exists again."""
        current = annotations_of(node).get(CURRENT_CONFIG_ANNOTATION, "")
        reason = mcorules.missing_config(current)
        is_told = annotations_of(node).get(MACHINE_CONFIG_REASON_ANNOTATION) == reason
        if current not in self._seen:
            return False
        if self._configs.get("", current) is not None:
            if is_told:
                to_do = mcorules.DONE if mcorules.has_config(node, current) else mcorules.WORKING
                self._mark(node, {MACHINE_CONFIG_STATE_ANNOTATION: to_do, MACHINE_CONFIG_REASON_ANNOTATION: ""})
            return False
        if not is_told:
            state = {MACHINE_CONFIG_STATE_ANNOTATION: mcorules.DEGRADED, MACHINE_CONFIG_REASON_ANNOTATION: reason}
            self._mark(node, state)
        return True

    def _drain(self, node: Obj, mark: str) -> None:
        name, now = name_of(node), self._engine.clock.monotonic()
        drain = self._drains.get(name)
        if drain is None or drain.mark != mark:
            if not self._is_due(f"drain of {name}"):
                return
            drain = self._drains[name] = Drain(mark, now)
        if drain.pods is None:
            if not mcorules.is_cordoned(node):
                self._engine.patch(NODES, node, {"spec": {"unschedulable": True}}, self.manager)
                drain.began = drain.next = now
                return
            if now < drain.next:
                return
            drain.begin_round(self._drainable(name), self._pace, now)
        if self._push(drain, now):
            self._wait(node, drain, now)
        elif mcorules.is_cordoned(node):
            del self._drains[name]
            self._mark(node, {mcorules.LAST_APPLIED_DRAIN_ANNOTATION: mark})
        else:  # pods created since the uncordon must go too
            drain.pods, drain.next = None, now

    def _wait(self, node: Obj, drain: Drain, now: float) -> None:
        if now >= drain.ends:
            drain.end_round(self._pace, now)
        if now - drain.began > self._pace.timeout and mcorules.state_of(node) == mcorules.WORKING:
            reason = {MACHINE_CONFIG_REASON_ANNOTATION: mcorules.drain_failure(name_of(node))}
            self._mark(node, {MACHINE_CONFIG_STATE_ANNOTATION: mcorules.DEGRADED, **reason})

    def _drainable(self, node: str) -> list[Obj]:
        return drainable(self._pods.by_index(BY_NODE, node))

    def _push(self, drain: Drain, now: float) -> bool:
        """Request the evictions that are due; returns whether a pod of the round is left."""
        found = [(uid, self._pods.get(*place)) for uid, place in (drain.pods or {}).items()]
        left = [pod for uid, pod in found if pod is not None and uid_of(pod) == uid]
        for pod in left:
            if drain.is_due(pod, self._pace, now) and (is_terminating(pod) or self._engine.evict(pod)):
                drain.granted.add(uid_of(pod))
        return bool(left)

    def _uncordon(self, node: Obj, mark: str) -> None:
        if mcorules.is_cordoned(node):
            if self._is_due(f"uncordon of {name_of(node)}"):
                self._engine.patch(NODES, node, {"spec": {"unschedulable": None}}, self.manager)
            return
        self._mark(node, {mcorules.LAST_APPLIED_DRAIN_ANNOTATION: mark})

    def _is_due(self, what: str) -> bool:
        return self._delays.is_due(what, self._pace, self._engine.clock.monotonic())

    def _awaits(self, pod: Obj) -> bool:
        return (pod.get("spec") or {}).get("nodeName") in self._drains

    def _mark(self, node: Obj, annotations: Mapping[str, str | None]) -> None:
        self._engine.patch(NODES, node, {"metadata": {"annotations": annotations}}, self.manager)
