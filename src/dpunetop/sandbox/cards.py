"""The DPUs of a sandbox as one table: each DPU, the host that it serves, and how far its drain is."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol, Self

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import ApiError, Unreachable
from dpunetop.kube.keys import NODES, PODS, Resource
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.requests import get
from dpunetop.kube.shapes import at
from dpunetop.sandbox.admin import AdminClient
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.seed import QuickStart
from dpunetop.sandbox.world import World

if TYPE_CHECKING:
    from rich.table import Table

_EVERY_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0
_SILENT = "no answer"


class Lister(Protocol):
    """Reads one cluster; see `AdminClient`."""

    def list_all(self, path: str) -> Sequence[Obj]:
        """See `AdminClient.list_all`."""


@dataclass(frozen=True)
class _Tenant:
    """The tenant's hosts and maintenances, by name."""

    hosts: dict[str, Obj]
    maintenances: dict[str, Obj]


@dataclass(frozen=True)
class Row:
    """One row of the table: one DPU."""

    dpu: str
    node: str
    host: str
    host_node: str
    network: str
    drain: str


def of(world: World) -> list[Row]:
    """One row for each DPU. Raises: ApiError, OSError."""
    return _rows(world.quick_start, world.infra.admin, _tenant(world.tenant.admin))


def seen(quick_start: QuickStart, infra: Lister, tenant: Lister) -> list[Row]:
    """The same; a tenant that does not answer is shown as such. Raises: ApiError, if infra does not answer."""
    try:
        return _rows(quick_start, infra, _tenant(tenant))
    except Unreachable:
        return _rows(quick_start, infra, None)


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table as plain text, the names of the columns first."""
    shown = [_HEAD, *map(astuple, rows)]
    widths = [max(len(row[at]) for row in shown) for at in range(len(_HEAD))]
    for row in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@contextlib.contextmanager
def watching(world: World) -> Iterator[Callable[[], None]]:
    """Keep a table below the printed lines; the yielded function redraws it and waits for no server. Without a
    terminal, or without `rich`, it draws nothing."""
    if not sys.stdout.isatty() or find_spec("rich") is None:
        yield lambda: None
        return
    from rich.live import Live

    with (
        Refresher(world.quick_start, impatient(world.infra), impatient(world.tenant)) as refresher,
        Live(auto_refresh=False) as live,
    ):
        drawn: list[Row] = []

        def draw() -> None:
            nonlocal drawn
            if (newest := refresher.newest) != drawn:
                drawn = newest
                live.update(_table(drawn), refresh=True)

        yield draw


def impatient(cluster: ControlPlane) -> AdminClient:
    """A client with a short timeout, for a server that may be paused."""
    return AdminClient(cluster.url, cluster.folder / "ca.pem", cluster.admin.credential, timeout=_PATIENCE_SECONDS)


class Refresher:
    """Keeps the newest rows, read repeatedly in a thread of its own: a paused server blocks this thread only.

    Threads: `newest` by any.
    """

    def __init__(self, quick_start: QuickStart, infra: Lister, tenant: Lister) -> None:
        self._clusters = quick_start, infra, tenant
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cards", daemon=True)
        self.newest: list[Row] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            pause = _EVERY_SECONDS
            with contextlib.suppress(ApiError, OSError):  # infra is being stopped
                self.newest = seen(*self._clusters)


_HEAD = tuple(field.name.replace("_", " ").upper() for field in fields(Row))
_COLOURS = {"works": "green", "none": "red", "Ready": "green", "NotReady": "red", _SILENT: "red"}


def _table(rows: Sequence[Row]) -> Table:
    from rich.table import Table

    table = Table(*_HEAD)
    for row in rows:
        table.add_row(*(_coloured(cell) for cell in astuple(row)))
    return table


def _coloured(cell: str) -> str:
    colour = _COLOURS.get(cell) or ("yellow" if "," in cell else "")
    return f"[{colour}]{cell}[/]" if colour else cell


def _rows(quick_start: QuickStart, infra: Lister, tenant: _Tenant | None) -> list[Row]:
    namespace = quick_start.namespace
    dpus, budgets = _by_name(infra, NODES), _by_name(infra, names.PODDISRUPTIONBUDGETS, namespace)
    serving = {at(pod, "spec", "nodeName") for pod in _by_name(infra, PODS, namespace).values() if _serves(pod)}
    return [
        Row(
            dpu,
            _node(dpus.get(dpu)),
            host,
            _node(tenant.hosts.get(host)) if tenant else _SILENT,
            "works" if dpu in serving else "none",
            _drain(budgets.get(names.blocker_name(dpu)), tenant, host),
        )
        for dpu, host in quick_start.pairs.items()
    ]


def _tenant(tenant: Lister) -> _Tenant:
    return _Tenant(_by_name(tenant, NODES), _by_name(tenant, names.NODEMAINTENANCES))


def _by_name(cluster: Lister, resource: Resource, namespace: str = "") -> dict[str, Obj]:
    path = get(resource, namespace, "").target.rstrip("/")
    return {name_of(obj): obj for obj in cluster.list_all(path)}


def _node(node: Obj | None) -> str:
    if node is None:
        return "absent"
    ready = "Ready" if _is_true(node, "Ready") else "NotReady"
    return f"{ready}, cordoned" if at(node, "spec", "unschedulable") else ready


def _serves(pod: Obj) -> bool:
    return at(pod, "metadata", "labels", "app") == names.OVNKUBE_NODE and _is_true(pod, "Ready")


def _drain(budget: Obj | None, tenant: _Tenant | None, host: str) -> str:
    if at(budget, "spec", "maxUnavailable") == 1:
        return "budget open"
    if tenant is None:
        return _SILENT
    maintenance = tenant.maintenances.get(names.maintenance_name(host))
    if maintenance is None:
        return "-"
    return "host drained" if at(maintenance, "status", "phase") == "Succeeded" else "host draining"


def _is_true(obj: Obj, condition: str) -> bool:
    return (condition_of(obj, condition) or {}).get("status") == "True"
