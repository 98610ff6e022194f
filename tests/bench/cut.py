"""What lies between and forgets connections: how late an event arrives after minutes in which nothing went over them.

Two tenants and infra, each behind a TCP proxy that cuts what is idle for 20 s, one tenant by FIN, the others by RST.
After each gap the tenants change their CA, and a copy of it in infra is deleted; what counts is how long it takes until
the operator has written the copy. In the end each proxy loses all that its connections bring, without a word.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from bench.benchworld import BenchWorld
from bench.figures import spread
from bench.frontends import front_ends
from bench.machine import Cores
from bench.report import Bar, Better, Report
from bench.tenants import add_tenant, until_reachable
from dpunetop.domain.names import OVN_CA
from dpunetop.kube.keys import CONFIGMAPS
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from dpunetop.sandbox.pki import Authority
from support.tcpproxy import Cut, TcpProxy

_PART = "cut"
_IDLE_SECONDS = 20.0
_MOST_SECONDS = 1.0
_MOST_SILENT_SECONDS = 15.0
_POLL_SECONDS = 0.02
_WAIT_SECONDS = 90.0


@dataclass(frozen=True)
class _Way:
    """One way of the operator, and which copy shows that an event came over it."""

    proxy: TcpProxy
    copy: str
    """Path of the copy in infra."""
    is_infra: bool = False


def run(cores: Cores, report: Report, rounds: int, gap_seconds: float, within: float) -> None:
    """Measure so many events over each way, with a gap before each; then one over each that has fallen silent."""
    with _proxied_ways(cores, within) as (seeded, ways):
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            time.sleep(gap_seconds)
            for name, late in _events(seeded, ways).items():
                seconds[name].append(late)
        report.details[_PART] = seconds
        for name, way in ways.items():
            said = spread(seconds[name])
            report.add(_PART, f"{name}: an event after a gap, median of {said.count}", said.median, "s")
            report.add(_PART, f"{name}: worst", said.worst, "s", Bar(most=_MOST_SECONDS), Better.NEITHER)
            report.add(_PART, f"{name}: connections cut", way.proxy.cuts, "", Bar(least=1), Better.NEITHER)
        for name, way in ways.items():
            assert way.proxy.swallow()
            late = _events(seeded, {name: way})[name]
            bar = Bar(most=_MOST_SILENT_SECONDS)
            report.add(_PART, f"{name}: an event over a way that has fallen silent", late, "s", bar, Better.NEITHER)


def _events(seeded: BenchWorld, ways: Mapping[str, _Way]) -> dict[str, float]:
    """Have something happen at the end of each way; how long after it the operator has written its copy."""
    seeded.log.reset()
    infra = {name: way for name, way in ways.items() if way.is_infra}
    tenants = {name: way for name, way in ways.items() if not way.is_infra}
    return {**_happened(seeded, infra, _delete), **_happened(seeded, tenants, _change)}


def _happened(
    seeded: BenchWorld, ways: Mapping[str, _Way], happen: Callable[[BenchWorld, Iterable[_Way]], None]
) -> dict[str, float]:
    began = time.time()
    happen(seeded, ways.values())
    return {name: _written(seeded, way.copy, began) - began for name, way in ways.items()}


def _delete(seeded: BenchWorld, ways: Iterable[_Way]) -> None:
    for way in ways:
        seeded.infra.admin.delete(way.copy)


def _change(seeded: BenchWorld, _: Iterable[_Way]) -> None:
    """All tenants are one."""
    data = {"ca-bundle.crt": Authority("bench-cut").pem.decode()}
    seeded.pair.tenant.apply(new_object(CONFIGMAPS, seeded.names.tenant_namespace, OVN_CA, data=data))


def _written(seeded: BenchWorld, copy: str, since: float) -> float:
    deadline = time.monotonic() + _WAIT_SECONDS
    while time.monotonic() < deadline:
        answers = [each.answered for each in seeded.log.asked().writes if each.path == copy and each.answered >= since]
        if answers:
            return min(answers)
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(f"{copy} was not written within {_WAIT_SECONDS:g} s")


@contextlib.contextmanager
def _proxied_ways(cores: Cores, within: float) -> Iterator[tuple[BenchWorld, dict[str, _Way]]]:
    with contextlib.ExitStack() as open_:
        seeded = open_.enter_context(BenchWorld(cores, dpus=1, scope="*"))
        ends = open_.enter_context(front_ends(seeded.pair.tenant, len(Cut))).ends
        server = urlsplit(seeded.infra.url)
        infra = open_.enter_context(TcpProxy(str(server.hostname), server.port or 443, _IDLE_SECONDS))
        ways = {"infra, RST": _Way(infra, _copy(seeded.names.namespace), is_infra=True)}
        for index, (how, end) in enumerate(zip(Cut, ends, strict=True)):
            proxy = open_.enter_context(TcpProxy("127.0.0.1", end.port, _IDLE_SECONDS, how))
            namespace = add_tenant(seeded, index, replace(end, port=proxy.port))
            ways[f"tenant, {how.value}"] = _Way(proxy, _copy(namespace))
        open_.enter_context(seeded.operator(infra_port=infra.port))
        until_reachable(seeded, len(Cut), time.monotonic() + within)
        seeded.log.await_quiet(5.0, within)
        yield seeded, ways


def _copy(namespace: str) -> str:
    return get(CONFIGMAPS, namespace, OVN_CA).target
