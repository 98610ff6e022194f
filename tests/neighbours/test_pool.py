"""Pools as the real machine-config-controller keeps them: paused, and spoilt by a MachineConfig of somebody."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.kube.meta import annotations_of, new_object
from dpunetop.kube.requests import get
from support.drains import Drains
from support.neighbours import Neighbours, configuration, holds_for, pool_conditions, until_arrived, until_rendered
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

LOOKED_SECONDS = 20.0
SAID_SECONDS = 120.0
BAD = "99-somebody"


@pytest.fixture(autouse=True)
def real(neighbours: Neighbours) -> None:
    """Only with the real controller."""
    if neighbours.machine_config is None:  # the maintenance operator alone is tested, which is a use of its own
        pytest.skip("MCC names no machine-config-controller")


def test_a_paused_pool_drains_nobody_and_is_told_and_goes_on(trial: Trial, drains: Drains) -> None:
    before = configuration(trial)
    pause(trial, True)
    try:
        drains.roll("paused")
        until_rendered(trial, before)  # its render goes on
        said = trial.wait("McpReady", "False", "PoolPaused", SAID_SECONDS)
        assert "the pool is paused" in said["message"]
        holds_for(lambda: not any(drains.is_open(dpu) for dpu in drains.pairs), LOOKED_SECONDS)
        assert {annotations_of(drains.dpu(dpu))[names.DESIRED_CONFIG_ANNOTATION] for dpu in drains.pairs} == {before}
    finally:
        pause(trial, None)
    until_arrived(drains, configuration(trial))


def test_a_bad_machine_config_of_somebody_is_quoted_drains_nobody_and_leaves_no_trace(
    trial: Trial, drains: Drains
) -> None:
    before = configuration(trial)
    trial.world.infra.apply(bad_config(trial.pool))
    try:
        pool = eventually(lambda: trial.get(names.MACHINECONFIGPOOLS, trial.pool), is_spoilt, SAID_SECONDS)
        sentence = pool_conditions(pool)["RenderDegraded"][1]
        said = trial.wait("McpReady", "False", within=SAID_SECONDS)
        assert BAD in sentence
        assert sentence[:200] in said["message"]
        assert configuration(trial) == before
        assert not any(drains.is_open(dpu) for dpu in drains.pairs)
    finally:
        trial.infra.delete(get(names.MACHINECONFIGS, "", BAD).target)
    trial.wait("Ready", "True", within=SAID_SECONDS)


def bad_config(pool: str) -> dict[str, Any]:
    spec = {"config": {"ignition": {"version": "3.2.0"}}, "fips": True}  # cannot be changed on a node that runs
    config = new_object(names.MACHINECONFIGS, "", BAD, spec=spec)
    config["metadata"]["labels"] = {names.MACHINE_CONFIG_ROLE_LABEL: pool}
    return config


def is_spoilt(pool: dict[str, Any]) -> bool:
    return pool_conditions(pool).get("RenderDegraded", ("", ""))[0] == "True"


def pause(trial: Trial, yes: bool | None) -> None:
    trial.infra.patch(get(names.MACHINECONFIGPOOLS, "", trial.pool).target, {"spec": {"paused": yes}})
