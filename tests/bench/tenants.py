"""What tenants cost the process at rest: threads, sockets, memory and processor time, beside none of them."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from bench.benchworld import BenchWorld
from bench.frontends import FrontEnd, front_ends
from bench.machine import Cores, cost
from bench.report import Bar, Report
from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import new_object
from dpunetop.sandbox import seed
from dpunetop.sandbox.controlplanerun import kubeconfig
from dpunetop.sandbox.seed import QuickStart

_PART = "tenants"
_POLL_SECONDS = 0.5
_SETTLE_SECONDS = 15.0
_BARS = {"threads": 400.0, "RSS": 200.0, "CPU": 2.0}
"""Of the engine's issue, for 50 tenants."""


def run(cores: Cores, report: Report, number: int, within: float, seconds: float) -> None:
    """Engage so many tenants, let them rest for so long, and say what that took."""
    with BenchWorld(cores, dpus=1, scope="*") as seeded, front_ends(seeded.pair.tenant, number) as all_ends:
        for index, end in enumerate(all_ends.ends):
            add_tenant(seeded, index, end)
        with seeded.operator() as operator:
            begun = time.monotonic()
            until_reachable(seeded, number, begun + within)
            report.add(_PART, f"{number}: until all are reachable", time.monotonic() - begun, "s")
            time.sleep(_SETTLE_SECONDS)
            before, begun = cost(operator.pid), time.monotonic()
            time.sleep(seconds)
            after, took = cost(operator.pid), time.monotonic() - begun
            _report(report, number, {"threads": _threads(operator.pid), "sockets": _sockets(operator.pid)})
            busy = 100 * (after.cpu_seconds - before.cpu_seconds) / took
            report.add(_PART, f"{number}: RSS", after.rss_mib, "MiB", _bar(number, "RSS"))
            report.add(_PART, f"{number}: CPU", busy, "%", _bar(number, "CPU"))


def _report(report: Report, number: int, counts: dict[str, int]) -> None:
    for what, count in counts.items():
        report.add(_PART, f"{number}: {what}", count, "", _bar(number, what))
        report.add(_PART, f"{number}: {what} a tenant", count / number)


def _bar(number: int, what: str) -> Bar | None:
    return Bar(most=_BARS[what]) if number == 50 and what in _BARS else None


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def _sockets(pid: int) -> int:
    found = 0
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(each).startswith("socket:")
    return found


def add_tenant(seeded: BenchWorld, index: int, end: FrontEnd) -> str:
    """One more DpuClusterConfig, with a tenant of its own; its namespace."""
    ours = QuickStart(dpus=1, namespace=f"bench-{index}", pool=f"bench-{index}", name=f"bench-{index}")
    token = seeded.pair.tenant.service_account_token(seeded.names.tenant_namespace, seed.TENANT_ACCOUNT)
    url = f"https://127.0.0.1:{end.port}"
    seeded.infra.apply(seed.served_namespace(ours.namespace, ours.secret))
    seeded.infra.apply(
        seed.kubeconfig_secret(ours, kubeconfig(ours.name, url, end.ca_pem.encode(), {"token": token}, None))
    )
    config = seed.dpu_cluster_config(ours)
    selector = {"matchLabels": {f"bench.dpu.openshift.io/{ours.name}": ""}}
    seeded.infra.apply(
        [
            new_object(
                names.DPUCLUSTERCONFIGS, ours.namespace, ours.name, spec={**config["spec"], "nodeSelector": selector}
            )
        ]
    )
    return ours.namespace


def until_reachable(seeded: BenchWorld, number: int, deadline: float) -> None:
    """Wait until so many tenants are, and that of the seeded. Raises: TimeoutError."""
    path = f"/apis/{names.DPUCLUSTERCONFIGS.group}/{names.DPUCLUSTERCONFIGS.version}/{names.DPUCLUSTERCONFIGS.plural}"
    while True:
        reached = [c for c in seeded.infra.admin.list_all(path) if _is_reachable(c)]
        if len(reached) > number:  # and the one of the seeded world
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(reached)} of {number + 1} tenants are reachable")
        time.sleep(_POLL_SECONDS)


def _is_reachable(config: dict[str, object]) -> bool:
    return (condition_of(config, "TenantReachable") or {}).get("status") == "True"
