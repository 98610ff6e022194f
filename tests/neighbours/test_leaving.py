"""A DpuClusterConfig is deleted with its pool, between the real neighbours: nodes leave first, then the pool goes."""

from __future__ import annotations

import pytest

from dpunetop.domain import names
from dpunetop.kube.keys import NODES
from dpunetop.kube.meta import annotations_of, labels_of
from dpunetop.kube.requests import get
from support.drains import Drains
from support.neighbours import holds_for, pool_conditions, rendered_of
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

LED_OUT_SECONDS = 300.0
LEFT_SECONDS = 300.0


def test_the_pool_goes_only_after_its_nodes_have_left_it(trial: Trial, drains: Drains) -> None:
    trial.patch_config({"spec": {"deletionPolicy": "Delete"}})
    trial.delete_config()
    words = eventually(
        lambda: trial.condition("Ready").get("message", "") + str(trial.told()),
        lambda said: f"{trial.label}-" in said and "label node" in said,
        LED_OUT_SECONDS,
    )
    assert all(dpu in words for dpu in trial.nodes)
    holds_for(lambda: trial.get(names.MACHINECONFIGPOOLS, trial.pool) and rendered_of(trial), 20.0)
    for dpu in trial.nodes:  # the command of the message
        trial.infra.patch(get(NODES, "", dpu).target, {"metadata": {"labels": {trial.label: None}}})
    eventually(
        lambda: [dpu for dpu in trial.nodes if runs_pool(trial, drains, dpu)], lambda left: not left, LEFT_SECONDS
    )
    eventually(trial.config, lambda config: not config, LEFT_SECONDS)
    assert not trial.get(names.MACHINECONFIGPOOLS, trial.pool)
    worker = trial.get(names.MACHINECONFIGPOOLS, "worker")
    assert pool_conditions(worker)["Degraded"][0] == "False"


def runs_pool(trial: Trial, drains: Drains, dpu: str) -> bool:
    node = drains.dpu(dpu)
    marks = annotations_of(node)
    assert names.DPU_WORKER_LABEL in labels_of(node)
    configs = (marks.get(names.CURRENT_CONFIG_ANNOTATION, ""), marks.get(names.DESIRED_CONFIG_ANNOTATION, ""))
    return any(config.startswith(f"rendered-{trial.pool}-") for config in configs)
