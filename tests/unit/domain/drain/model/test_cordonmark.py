"""The mark of a host that is cordoned because of an outage, and whose the cordon is."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.drain.model.cordonmark import (
    CORDON_MANAGER,
    CordonMark,
    CordonProgress,
    is_applied_cordon,
    mark_of,
    short_ids,
    write_mark,
)
from dpunetop.domain.names import UNPLANNED_ANNOTATION
from dpunetop.kube.meta import annotations_of
from dpunetop.kube.plan import Fence

MARK = CordonMark(
    "owner", CordonProgress.CORDONED, 900, "d1", "b1", short_ids(("cri-o://" + "a" * 64, "cri-o://" + "b" * 64))
)
NODE: dict[str, Any] = {"metadata": {"name": "h1", "uid": "u", "resourceVersion": "7"}}


@pytest.mark.parametrize("stage", CordonProgress)
def test_what_is_written_is_read_again(stage: CordonProgress) -> None:
    mark = CordonMark(MARK.owner, stage, MARK.since, MARK.dpu, MARK.boot, MARK.containers)
    step = write_mark("tenant", NODE, mark)
    assert mark_of(step.desired) == mark
    assert (step.live, step.fence, step.field_manager) == (NODE, Fence.VERSION, CORDON_MANAGER)
    assert step.desired.get("spec") == ({"unschedulable": True} if stage is CordonProgress.CORDONED else None)


TEXTS = {
    '{"dpu":"d1","owner":"o","since":900,"stage":"wanted"}': CordonMark("o", CordonProgress.WANTED, 900, "d1"),
    '{"boot":"b1","containers":["c1"],"dpu":"d1","owner":"o","since":900,"stage":"cordoned"}': CordonMark(
        "o", CordonProgress.CORDONED, 900, "d1", "b1", ("c1",)
    ),
}


@pytest.mark.parametrize(("text", "mark"), TEXTS.items())
def test_a_mark_is_written_without_what_is_not_known(text: str, mark: CordonMark) -> None:
    assert annotations_of(write_mark("tenant", NODE, mark).desired) == {UNPLANNED_ANNOTATION: text}


@pytest.mark.parametrize(("length", "owner"), [(4096, "o"), (4097, "")])
def test_a_mark_of_more_than_4096_characters_is_not_looked_at(length: int, owner: str) -> None:
    text = '{"owner":"o","stage":"wanted","since":1}'.ljust(length)
    found = mark_of({"metadata": {"name": "h", "annotations": {UNPLANNED_ANNOTATION: text}}})
    assert found is not None
    assert found.owner == owner


def test_a_mark_is_cleared_by_applying_none() -> None:
    assert write_mark("tenant", NODE, None).desired["metadata"] == {"name": "h1"}


NONSENSE = ["", "yes", "[]", "7", "null", '{"owner":"o"}', '{"owner":"o","stage":"x","since":1}', "{" * 5000]
NONSENSE += ['{"owner":"o","stage":"wanted","since":"x"}', '{"owner":"o","stage":"wanted","since":1,"containers":7}']
NONSENSE += ['{"owner":"o","stage":"wanted","since":1e999}']


@pytest.mark.parametrize("text", NONSENSE)
def test_a_mark_that_no_operator_wrote_has_no_owner(text: str) -> None:
    found = mark_of({"metadata": {"name": "h", "annotations": {UNPLANNED_ANNOTATION: text}}})
    assert found is not None
    assert (found.owner, found.stage) == ("", CordonProgress.CORDONED)


def test_containers_that_were_there_before_prove_nothing_after_a_reboot() -> None:
    old, new = "cri-o://" + "a" * 64, "cri-o://" + "c" * 64
    assert [MARK.is_stale(old, "b1"), MARK.is_stale(old, "b2"), MARK.is_stale(new, "b2")] == [False, True, False]


def owned_by(*managers: Any, marked: bool = True) -> dict[str, Any]:
    notes = {UNPLANNED_ANNOTATION: "x"} if marked else {}
    fields: dict[str, Any] = {"f:spec": {"f:unschedulable": {}}}
    entries = [{"manager": each, "fieldsV1": fields} for each in managers]
    other = {"manager": "kubelet", "fieldsV1": {"f:status": {}}}
    return {"metadata": {"name": "h", "annotations": notes, "managedFields": [*entries, other]}}


@pytest.mark.parametrize(
    ("node", "ours"),
    [
        (owned_by(CORDON_MANAGER), True),
        (owned_by(CORDON_MANAGER, marked=False), False),
        (owned_by("kubectl-cordon"), False),
        (owned_by(CORDON_MANAGER, "argocd"), False),
        (owned_by("dpunetop-patch"), False),
        (owned_by(), False),
        ({"metadata": {"name": "h"}}, False),
        ({"metadata": {"name": "h", "managedFields": [None, 7, {"fieldsV1": []}]}}, False),
    ],
)
def test_a_cordon_is_ours_if_we_alone_have_set_it(node: dict[str, Any], ours: bool) -> None:
    assert is_applied_cordon(node) is ours
