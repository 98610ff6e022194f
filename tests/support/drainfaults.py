"""What else happens to a drain in the tenant, and to what it remembers; see `drainworld`.

Each takes the world one step and says whether it could.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dpunetop.domain.names import (
    CORDONED_BEFORE_ANNOTATION,
    CYCLE_ANNOTATION,
    MAINTENANCE_TAINT,
    PODDISRUPTIONBUDGETS,
    blocker_name,
)
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import annotations_of, name_of
from support.drainworld import FOREIGN, HOST, OPERATOR_NAMESPACE, World

# --- the node maintenance operator ------------------------------------------------------------------------------------


def cordons_once_more(world: World) -> bool:
    """Its cache is behind: it takes a maintenance that is gone for one that stands, and cordons the host again.

    Once our mark is gone nothing that is read tells whose cordon that is: a person is told.
    """
    host = world.host()
    if world.maintenances() or (host.cordoned and host.tainted):
        return False
    world.disputed |= host.mark is None
    world.tenant.change(NODES, "", HOST, {"spec": {"unschedulable": True, "taints": [_TAINT]}})
    return True


def is_uninstalled(world: World) -> bool:
    """With its CRD, and by force: finalizers are taken off, and the host stays as it is. Not with a maintenance of
    somebody else, whose affair it is then."""
    if not world.served or any(name_of(found) == FOREIGN for found in world.maintenances()):
        return False
    world.maintenance_vanishes()
    world.served = False
    return True


def is_installed(world: World) -> bool:
    """It is there again, and knows nothing of what was before."""
    world.served, was = True, world.served
    return not was


def is_exchanged(world: World) -> bool:
    """For another release, which runs all again that it finds: one since medik8s/node-maintenance-operator#163 puts a
    host right when its maintenance goes, one before that leaves cordon and taint."""
    world.leaves_behind = not world.leaves_behind
    world.nmo_restarts()
    return True


# --- the mark and the record ------------------------------------------------------------------------------------------


def is_lost_with_its_maintenance(world: World) -> bool:
    """The host is registered anew and drained once more by its operator, which is then uninstalled by force: all while
    ours is away."""
    own = world.own()
    if own is None or own.terminating or any(name_of(found) == FOREIGN for found in world.maintenances()):
        return False
    world.register_host_anew()
    world.nmo_restarts()
    while world.nmo():
        pass
    return world.maintenance_vanishes()


def loses_mark(world: World) -> bool:
    """Somebody takes our mark off the host."""
    if world.host().mark is None:
        return False
    return world.change_host({"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: None}}})


def loses_record(world: World, name: str) -> bool:
    """Somebody takes the annotation off the budget, which stays as it is."""
    found = world.infra.get(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(name))
    assert found is not None
    if CYCLE_ANNOTATION not in annotations_of(found):
        return False
    bare = {"metadata": {"annotations": {CYCLE_ANNOTATION: None}}}
    world.infra.change(PODDISRUPTIONBUDGETS, OPERATOR_NAMESPACE, blocker_name(name), bare)
    world.wished_at[name] = world.steps  # that its wish was given up is forgotten
    world.unwished[name] += 1
    return True


_TAINT = {"key": MAINTENANCE_TAINT, "effect": "NoSchedule"}


def faults(world: World) -> list[tuple[str, Callable[[], bool], int]]:
    """All of them, and how often each is to be tried in a walk."""
    found: list[tuple[str, Callable[[], bool], int]] = [
        ("nmo cordons once more", partial(cordons_once_more, world), 3),
        ("nmo is uninstalled", partial(is_uninstalled, world), 1),
        ("nmo is installed", partial(is_installed, world), 2),
        ("nmo is exchanged", partial(is_exchanged, world), 1),
        ("the host is lost with its maintenance", partial(is_lost_with_its_maintenance, world), 1),
        ("the host loses its mark", partial(loses_mark, world), 1),
    ]
    return found + [(f"{name} loses its record", partial(loses_record, world, name), 1) for name in world.dpus]
