"""What slow tenants cost the others: drains of a healthy one, beside tenants that answer everything after 9 s.

Each tenant has one DPU that serves its host. Of a number of them the front end slows down, and their DPUs are cordoned,
so that a drain is wanted that does not come on. Then the DPU of a healthy tenant is cordoned and uncordoned, again and
again; what counts is the time between the cordon and the NodeMaintenance, by the audit logs of both clusters. The same
without slow tenants, before and after, is what it is compared with: with the better of the two, since the first comes
soon after the operator's start.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.drain import deeds, policy
from bench.figures import spread
from bench.frontends import FrontEnd, FrontEnds, front_ends
from bench.machine import Cores, pinned
from bench.report import Bar, Better, Report
from dpunetop.domain import names
from dpunetop.kube.meta import Obj
from dpunetop.sandbox.components import WITH_CONTROLLERS, Spec
from dpunetop.sandbox.controlplanerun import kubeconfig
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support.drains import Drains
from support.trial import Trial, eventually

_PART = "slow-tenants"
_SLOW_SECONDS = 9.0
_SETTLE_SECONDS = 20.0
_SERVED_SECONDS = 600.0
_MOST_RATIO = 1.5


def run(cores: Cores, report: Report, number: int, slow: list[int], cycles: int) -> None:
    """Measure beside each of `slow` numbers of slow tenants among `number`, and beside none before and after."""
    with _tenants_with_front_ends(cores, number) as (drains, ends):
        found = {0: _measured(drains[0], cycles)}
        for count in slow:
            with _wanting(ends, drains[-count:], count):
                found[count] = _measured(drains[0], cycles)
        found[0] = min(found[0], _measured(drains[0], cycles), key=lambda seconds: spread(seconds).p99)
    for count, seconds in found.items():
        said = spread(seconds)
        report.details[f"{_PART} {count}"] = list(seconds)
        report.add(_PART, f"{count} of {number} slow: cordon to maintenance, median of {said.count}", said.median, "s")
        report.add(_PART, f"{count} of {number} slow: cordon to maintenance, p99", said.p99, "s", better=Better.NEITHER)
        if count:
            ratio = said.p99 / spread(found[0]).p99
            report.add(_PART, f"{count} of {number} slow: p99 by that without", ratio, "", Bar(most=_MOST_RATIO))


def _measured(drains: Drains, cycles: int) -> list[float]:
    [(dpu, host)] = drains.pairs.items()
    return [_once(drains, dpu, host) for _ in range(cycles)]


def _once(drains: Drains, dpu: str, host: str) -> float:
    """From the cordon of a DPU to the NodeMaintenance of its host, in seconds; then all is as it was."""
    world = drains.trial.world
    marks = world.infra.audit_mark(), world.tenant.audit_mark()
    drains.cordon(dpu)
    eventually(lambda: drains.maintenance(host), bool, 120.0)
    drains.cordon(dpu, yes=False)
    drains.until_idle(120.0)
    planes = zip((world.infra, world.tenant), marks, strict=True)
    written = [deed for plane, mark in planes for deed in deeds(plane.audit_events(since=mark))]
    wanted = names.maintenance_name(host)
    began = min(deed.at for deed in written if (deed.plural, deed.name) == ("nodes", dpu) and _cordons(deed.body))
    return min(deed.at for deed in written if deed.name == wanted and deed.at >= began) - began


def _cordons(body: Obj | None) -> bool:
    return bool(((body or {}).get("spec") or {}).get("unschedulable"))


@contextlib.contextmanager
def _wanting(ends: FrontEnds, drains: list[Drains], count: int) -> Iterator[None]:
    """The last of the tenants are slow, and drains are wanted there."""
    ends.slow_down(count, _SLOW_SECONDS)
    for each in drains:
        for dpu in each.pairs:
            each.cordon(dpu)
    time.sleep(_SETTLE_SECONDS)
    try:
        yield
    finally:
        ends.slow_down(0, 0.0)
        for each in drains:
            for dpu in each.pairs:
                each.cordon(dpu, yes=False)
        for each in drains:
            each.until_idle(300.0)


@contextlib.contextmanager
def _tenants_with_front_ends(cores: Cores, number: int) -> Iterator[tuple[list[Drains], FrontEnds]]:
    """So many tenants that serve, each behind a front end of its own."""
    with contextlib.ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="dpunetop-bench-")))
        flags = (f"--audit-policy-file={policy(folder / 'audit-policy.yaml')}",)
        infra = Spec("infra", audit=True, apiserver_flags=flags)
        tenant = Spec("tenant", WITH_CONTROLLERS, audit=True, apiserver_flags=flags)
        with pinned(cores.control_plane):
            world = open_.enter_context(World(dpus=0, infra=infra, tenant=tenant, boot_seconds=0.2, retry_seconds=0.1))
            ends = open_.enter_context(front_ends(world.tenant, number))
            drains = [Drains(Trial(world, f"bench-{index}")) for index in range(number)]
        with pinned(cores.operator):
            environment = {**drains[0].environment, "WATCH_NAMESPACE": "*"}
            open_.enter_context(OperatorProcess(world.operator_kubeconfig(), env=environment))
        with pinned(cores.control_plane):
            for each, end in zip(drains, ends.ends, strict=True):
                _begin(each, end)
            for each in drains:
                eventually(each.unprotected, lambda dpus: not dpus, _SERVED_SECONDS)
                eventually(each.unserved, lambda hosts: not hosts, _SERVED_SECONDS)
            yield drains, ends


def _begin(drains: Drains, end: FrontEnd) -> None:
    """The user's steps."""
    trial = drains.trial
    user = {"token": trial.token()}
    url = f"https://127.0.0.1:{end.port}"
    trial.store_kubeconfig(kubeconfig(trial.namespace, url, end.ca_pem.encode(), user, None))
    trial.store_overrides()
    trial.create_config()
