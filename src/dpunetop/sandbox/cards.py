"""The cards of a sandbox as one table: each DPU, the host that it serves, and how far a drain is."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import NODES, PODS, Resource
from dpunetop.kube.meta import Obj, name_of
from dpunetop.kube.requests import get
from dpunetop.kube.shapes import at
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.world import World

if TYPE_CHECKING:
    from rich.table import Table

_EVERY_SECONDS = 1.0


@dataclass(frozen=True)
class Card:
    """One row."""

    dpu: str
    node: str
    host: str
    host_node: str
    network: str
    drain: str


def of(world: World) -> list[Card]:
    """One row for each DPU. Raises: ApiError, OSError."""
    infra, tenant, namespace = world.infra, world.tenant, world.quick_start.namespace
    dpus, hosts = _by_name(infra, NODES), _by_name(tenant, NODES)
    budgets = _by_name(infra, names.PODDISRUPTIONBUDGETS, namespace)
    maintenances = _by_name(tenant, names.NODEMAINTENANCES)
    serving = {at(pod, "spec", "nodeName") for pod in _by_name(infra, PODS, namespace).values() if _serves(pod)}
    return [
        Card(
            dpu,
            _node(dpus.get(dpu)),
            host,
            _node(hosts.get(host)),
            "works" if dpu in serving else "none",
            _drain(budgets.get(names.blocker_name(dpu)), maintenances.get(names.maintenance_name(host))),
        )
        for dpu, host in world.quick_start.pairs.items()
    ]


def lines(rows: Sequence[Card]) -> Iterator[str]:
    """The table as plain text, headed by the names of its columns."""
    shown = [_HEAD, *map(astuple, rows)]
    widths = [max(len(row[at]) for row in shown) for at in range(len(_HEAD))]
    for row in shown:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@contextlib.contextmanager
def watching(world: World) -> Iterator[Callable[[], None]]:
    """A table that stays below what is printed; what is given draws it anew, at most once a second. On what is no
    terminal, or without `rich`, nothing is drawn."""
    if not sys.stdout.isatty() or find_spec("rich") is None:
        yield lambda: None
        return
    from rich.live import Live

    drawn_at = 0.0
    with Live(auto_refresh=False) as live:

        def draw() -> None:
            nonlocal drawn_at
            if time.monotonic() - drawn_at < _EVERY_SECONDS:
                return
            drawn_at = time.monotonic()
            with contextlib.suppress(ApiError, OSError):  # a server that is paused, or on its way down
                live.update(_table(of(world)), refresh=True)

        yield draw


_HEAD = tuple(field.name.replace("_", " ").upper() for field in fields(Card))
_COLOURS = {"works": "green", "none": "red", "Ready": "green", "NotReady": "red"}


def _table(rows: Sequence[Card]) -> Table:
    from rich.table import Table

    table = Table(*_HEAD)
    for row in rows:
        table.add_row(*(_coloured(cell) for cell in astuple(row)))
    return table


def _coloured(cell: str) -> str:
    colour = _COLOURS.get(cell) or ("yellow" if "," in cell else "")
    return f"[{colour}]{cell}[/]" if colour else cell


def _by_name(cluster: ControlPlane, resource: Resource, namespace: str = "") -> dict[str, Obj]:
    path = get(resource, namespace, "").target.rstrip("/")
    return {name_of(obj): obj for obj in cluster.admin.list_all(path)}


def _node(node: Obj | None) -> str:
    if node is None:
        return "absent"
    ready = "Ready" if _is_true(node, "Ready") else "NotReady"
    return f"{ready}, cordoned" if at(node, "spec", "unschedulable") else ready


def _serves(pod: Obj) -> bool:
    return at(pod, "metadata", "labels", "app") == names.OVNKUBE_NODE and _is_true(pod, "Ready")


def _drain(budget: Obj | None, maintenance: Obj | None) -> str:
    if at(budget, "spec", "maxUnavailable") == 1:
        return "budget open"
    if maintenance is None:
        return "-"
    return "host drained" if at(maintenance, "status", "phase") == "Succeeded" else "host draining"


def _is_true(obj: Obj, condition: str) -> bool:
    return (condition_of(obj, condition) or {}).get("status") == "True"
