"""What DpuClusterConfigs in namespaces without rights cost one that is served: its reaction beside one of them, and
beside thousands, all of which name its pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.figures import quantile
from bench.machine import Cores, cost
from bench.report import Bar, Report
from bench.stage import Stage
from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import DAEMONSETS
from dpunetop.kube.meta import Obj, generation_of, uid_of
from dpunetop.kube.requests import get

MOST_GROWTH = 2.0
_POLL_SECONDS = 0.002
_TIMES = 25
_PAUSE_SECONDS = 0.2
_PART = "strangers"


def run(cores: Cores, report: Report, number: int, within: float) -> None:
    """Measure both reactions beside one stranger and beside `number`."""
    with Stage(cores, dpus=1, scope="*") as stage, stage.operator() as operator:
        _until(lambda: _daemonset(stage), within)
        _told(stage, [stage.add_strangers(range(1))[-1]], within)
        few = {what: _median(stage, react, within) for what, react in _REACTIONS.items()}
        before, begun = cost(operator.pid), time.monotonic()
        _told(stage, stage.add_strangers(range(1, number))[-1:], within)
        _rest(stage, within)
        after = cost(operator.pid)
        report.add(_PART, f"{number} come: CPU of the operator", after.cpu_seconds - before.cpu_seconds, "s")
        report.add(_PART, f"{number} come: until all are told", time.monotonic() - begun, "s")
        report.add(_PART, f"{number} come: memory", after.rss_mib - before.rss_mib, "MiB")
        for what, react in _REACTIONS.items():
            many = _median(stage, react, within)
            report.add(_PART, f"{what}: beside one", few[what] * 1000, "ms")
            report.add(_PART, f"{what}: beside {number}", many * 1000, "ms")
            report.add(_PART, f"{what}: growth", many / few[what], "×", Bar(most=MOST_GROWTH))


def _median(stage: Stage, react: Callable[[Stage, int, float], float], within: float) -> float:
    times = []
    for turn in range(_TIMES):
        times.append(react(stage, turn, within))
        time.sleep(_PAUSE_SECONDS)
    return quantile(times, 0.5)


def _restored(stage: Stage, _: int, within: float) -> float:
    """Somebody deletes the DaemonSet: until there is another."""
    path = get(DAEMONSETS, stage.names.namespace, names.OVNKUBE_NODE).target
    old = uid_of(stage.infra.admin.get(path))
    begun = time.monotonic()
    stage.infra.admin.delete(path)
    _until(lambda: (found := _daemonset(stage)) is not None and uid_of(found) != old, within)
    return time.monotonic() - begun


def _answered(stage: Stage, turn: int, within: float) -> float:
    """The user changes the spec: until Ready speaks of it."""
    path = _path(stage.names.namespace, stage.names.name)
    begun = time.monotonic()
    wanted = generation_of(stage.infra.admin.patch(path, {"spec": {"drain": {"timeout": f"{turn + 1}m"}}}))
    _until(lambda: _ready(stage, path).get("observedGeneration", 0) >= wanted, within)
    return time.monotonic() - begun


_REACTIONS: dict[str, Callable[[Stage, int, float], float]] = {
    "a deleted DaemonSet is made anew": _restored,
    "a changed spec is answered": _answered,
}


def _told(stage: Stage, strangers: Sequence[Obj], within: float) -> None:
    paths = [_path(each["metadata"]["namespace"], each["metadata"]["name"]) for each in strangers]
    _until(lambda: all(_ready(stage, path) for path in paths), within)


def _rest(stage: Stage, within: float) -> None:
    """All have been told: the log of writes is quiet."""
    stage.log.await_quiet(2.0, within)


def _daemonset(stage: Stage) -> Obj | None:
    try:
        return stage.infra.admin.get(get(DAEMONSETS, stage.names.namespace, names.OVNKUBE_NODE).target)
    except NotFound:
        return None


def _ready(stage: Stage, path: str) -> Any:
    return condition_of(stage.infra.admin.get(path), "Ready") or {}


def _path(namespace: str, name: str) -> str:
    return get(names.DPUCLUSTERCONFIGS, namespace, name).target


def _until(look: Callable[[], object], within: float) -> None:
    deadline = time.monotonic() + within
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:g} s")
        time.sleep(_POLL_SECONDS)
