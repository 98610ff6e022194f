"""What DpuClusterConfigs in namespaces without rights cost one that is served: its reaction beside one of them, before
and after, and beside thousands, all of which name its pool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.benchworld import BenchWorld
from bench.figures import quantile
from bench.machine import Cores, cost
from bench.report import Bar, Report
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
    with BenchWorld(cores, dpus=1, scope="*") as seeded, seeded.operator() as operator:
        _until(lambda: _daemonset(seeded), within)
        _told(seeded, [seeded.add_strangers(range(1))[-1]], within)
        few = _medians(seeded, within)
        before, begun = cost(operator.pid), time.monotonic()
        crowd = seeded.add_strangers(range(1, number))
        _told(seeded, crowd[-1:], within)
        _rest(seeded, within)
        after = cost(operator.pid)
        report.add(_PART, f"{number} come: CPU of the operator", after.cpu_seconds - before.cpu_seconds, "s")
        report.add(_PART, f"{number} come: until all are told", time.monotonic() - begun, "s")
        report.add(_PART, f"{number} come: memory", after.rss_mib - before.rss_mib, "MiB")
        many = _medians(seeded, within)
        seeded.remove_strangers(crowd)
        _rest(seeded, within)
        again = _medians(seeded, within)
        for what in _REACTIONS:
            beside_one = (few[what] + again[what]) / 2  # whatever else the machine does changes while this runs
            report.add(_PART, f"{what}: beside one", beside_one * 1000, "ms")
            report.add(_PART, f"{what}: beside {number}", many[what] * 1000, "ms")
            report.add(_PART, f"{what}: growth", many[what] / beside_one, "×", Bar(most=MOST_GROWTH))


def _medians(seeded: BenchWorld, within: float) -> dict[str, float]:
    """The reactions in turns."""
    times: dict[str, list[float]] = {what: [] for what in _REACTIONS}
    for _ in range(_TIMES):
        for what, react in _REACTIONS.items():
            times[what].append(react(seeded, within))
            time.sleep(_PAUSE_SECONDS)
    return {what: quantile(each, 0.5) for what, each in times.items()}


def _restored(seeded: BenchWorld, within: float) -> float:
    """Somebody deletes the DaemonSet: until there is another."""
    path = get(DAEMONSETS, seeded.names.namespace, names.OVNKUBE_NODE).target
    old = uid_of(seeded.infra.admin.get(path))
    begun = time.monotonic()
    seeded.infra.admin.delete(path)
    _until(lambda: (found := _daemonset(seeded)) is not None and uid_of(found) != old, within)
    return time.monotonic() - begun


def _answered(seeded: BenchWorld, within: float) -> float:
    """The user changes the spec: until Ready speaks of it."""
    path = _path(seeded.names.namespace, seeded.names.name)
    minutes = generation_of(seeded.infra.admin.get(path)) + 1
    begun = time.monotonic()
    wanted = generation_of(seeded.infra.admin.patch(path, {"spec": {"drain": {"timeout": f"{minutes}m"}}}))
    _until(lambda: _ready(seeded, path).get("observedGeneration", 0) >= wanted, within)
    return time.monotonic() - begun


_REACTIONS: dict[str, Callable[[BenchWorld, float], float]] = {
    "a deleted DaemonSet is made anew": _restored,
    "a changed spec is answered": _answered,
}


def _told(seeded: BenchWorld, strangers: Sequence[Obj], within: float) -> None:
    paths = [_path(each["metadata"]["namespace"], each["metadata"]["name"]) for each in strangers]
    _until(lambda: all(_ready(seeded, path) for path in paths), within)


def _rest(seeded: BenchWorld, within: float) -> None:
    """All have been told: the log of writes is quiet."""
    seeded.log.await_quiet(2.0, within)


def _daemonset(seeded: BenchWorld) -> Obj | None:
    try:
        return seeded.infra.admin.get(get(DAEMONSETS, seeded.names.namespace, names.OVNKUBE_NODE).target)
    except NotFound:
        return None


def _ready(seeded: BenchWorld, path: str) -> Any:
    return condition_of(seeded.infra.admin.get(path), "Ready") or {}


def _path(namespace: str, name: str) -> str:
    return get(names.DPUCLUSTERCONFIGS, namespace, name).target


def _until(look: Callable[[], object], within: float) -> None:
    deadline = time.monotonic() + within
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within:g} s")
        time.sleep(_POLL_SECONDS)
