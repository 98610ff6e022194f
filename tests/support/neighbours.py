"""What tests with a real machine-config-controller and node maintenance operator ask of both clusters."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import Obj, annotations_of, name_of
from dpunetop.sandbox.realneighbours.machineconfig import MachineConfigNeighbour
from dpunetop.sandbox.realneighbours.maintenance import NodeMaintenanceNeighbour
from support.drainrules import FOLLOWED_INFRA, FOLLOWED_TENANT
from support.drains import Drains
from support.trial import Trial, eventually
from support.watchlog import Place, Story, WatchLog

ROLL_SECONDS = 400.0
"""For two DPUs: the real controller looks again after 5 s, 30 s or a minute."""


@dataclass(frozen=True)
class Neighbours:
    """The real ones; None: it was not named, and a stand-in is in its place."""

    machine_config: MachineConfigNeighbour | None
    maintenance: NodeMaintenanceNeighbour | None


@contextmanager
def watched(drains: Drains) -> Iterator[Callable[[], Story]]:
    """All that the rules of drains look at, and what the DpuClusterConfig says."""
    world = drains.trial.world
    infra = (*FOLLOWED_INFRA, names.DPUCLUSTERCONFIGS, names.MACHINECONFIGPOOLS)
    with WatchLog((world.infra, infra), (world.tenant, FOLLOWED_TENANT)) as log:
        yield log.story


@contextmanager
def wanted(drains: Drains, dpu: str) -> Iterator[None]:
    """A cordon by hand, taken back whatever comes."""
    drains.cordon(dpu)
    try:
        yield
    finally:
        drains.cordon(dpu, yes=False)


def configuration(trial: Trial) -> str:
    """The rendered configuration that the pool is to have."""
    pool = trial.get(names.MACHINECONFIGPOOLS, trial.pool)
    return str((((pool.get("spec") or {}).get("configuration")) or {}).get("name", ""))


def until_rendered(trial: Trial, before: str, within: float = 60.0) -> str:
    """Wait for another configuration; its name."""
    return eventually(lambda: configuration(trial), lambda name: name and name != before, within)


def until_arrived(drains: Drains, name: str, within: float = ROLL_SECONDS) -> None:
    """Wait until all DPUs have a configuration, and nothing of a drain is left."""

    def missing() -> list[str]:
        marks = {dpu: annotations_of(drains.dpu(dpu)) for dpu in drains.pairs}
        return [
            dpu
            for dpu, mark in marks.items()
            if (mark.get(names.CURRENT_CONFIG_ANNOTATION), mark.get(names.MACHINE_CONFIG_STATE_ANNOTATION))
            != (name, "Done")
        ]

    eventually(missing, lambda dpus: not dpus, within)
    drains.until_idle(within)


def told(story: Story, trial: Trial, type_: str) -> list[tuple[str, str, str]]:
    """What a condition of the DpuClusterConfig said, one after the other: status, reason, message."""
    place = Place("infra", names.DPUCLUSTERCONFIGS.plural, trial.namespace, trial.names.name)
    found: list[tuple[str, str, str]] = []
    for seen in story.states(place):
        condition: dict[str, Any] = (condition_of(seen.obj, type_) if seen.obj else None) or {}
        said = (condition.get("status", ""), condition.get("reason", ""), condition.get("message", ""))
        if found[-1:] != [said]:
            found.append(said)
    return found


def warnings(trial: Trial) -> list[str]:
    """Events of type Warning about the DpuClusterConfig or its DPUs, by the operator: reason and note."""
    events = trial.infra.list_all("/apis/events.k8s.io/v1/events")
    about = {trial.names.name, *trial.nodes}
    return [
        f"{event['reason']}: {event.get('note', '')}"
        for event in events
        if event.get("type") == "Warning"
        and (event.get("regarding") or {}).get("name") in about
        and event.get("reportingController", "").startswith("dpu")
    ]


def holds_for(look: Callable[[], object], seconds: float) -> None:
    """Fail if something is not so any more within a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert look()
        time.sleep(0.5)


def pool_conditions(pool: Obj) -> dict[str, tuple[str, str]]:
    """Status and message by type."""
    found = (pool.get("status") or {}).get("conditions") or []
    return {each["type"]: (each["status"], each.get("message", "")) for each in found}


def rendered_of(trial: Trial) -> list[str]:
    """The rendered configurations that the pool owns."""
    configs = trial.infra.list_all("/apis/machineconfiguration.openshift.io/v1/machineconfigs")
    return sorted(name_of(each) for each in configs if name_of(each).startswith(f"rendered-{trial.pool}-"))
