"""A host that is registered anew in its drain, and then loses its maintenance by force, on real API servers."""

from __future__ import annotations

from contextlib import suppress

import pytest

from dpunetop.domain import names
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import Obj, annotations_of, uid_of
from dpunetop.kube.requests import get
from dpunetop.sandbox import seed
from support.drainrules import is_cordoned
from support.drains import Drains
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(240)

SLOW = 90.0


def test_a_host_that_is_registered_anew_in_its_drain_is_in_use_again_though_its_maintenance_is_removed_by_force(
    trial: Trial,
) -> None:
    trial.ready()
    drains = Drains(trial)
    [(dpu, host)] = trial.names.pairs.items()
    before = uid_of(drains.host(host))
    drains.cordon(dpu)
    drains.until_open(dpu, SLOW)
    trial.tenant.delete(get(NODES, "", host).target)
    trial.world.tenant.apply(seed.host_node(host))
    eventually(lambda: drains.host(host), lambda node: is_marked(node) and uid_of(node) != before, SLOW)
    eventually(lambda: drains.host(host), is_cordoned, SLOW)
    drains.until_open(dpu, SLOW)
    removed_by_force(trial, host)
    drains.cordon(dpu, yes=False)
    drains.until_idle(SLOW)
    assert MAINTENANCE not in taints(drains.host(host))
    trial.wait("PairsHealthy", "True", within=SLOW)


MAINTENANCE = names.MAINTENANCE_TAINT


def is_marked(node: Obj) -> bool:
    return names.CORDONED_BEFORE_ANNOTATION in annotations_of(node)


def taints(node: Obj) -> list[str]:
    return [str(taint["key"]) for taint in node["spec"].get("taints") or ()]


def removed_by_force(trial: Trial, host: str) -> None:
    """Whatever its operator does meanwhile, which may take its finalizer again."""
    path = get(names.NODEMAINTENANCES, "", names.maintenance_name(host)).target
    with suppress(NotFound):
        trial.tenant.delete(path)
        trial.tenant.patch(path, {"metadata": {"finalizers": None}})
