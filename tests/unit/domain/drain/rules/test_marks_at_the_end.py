"""Rule 10 when a maintenance ends: the host shows whether it was cordoned before, or who leaves it, before it is given
back."""

from __future__ import annotations

import pytest

from dpunetop.domain.drain.model.calls import Run
from dpunetop.domain.drain.rules.returning import DpuCheck, EndMaintenance, LeftCordoned
from dpunetop.domain.names import CORDONED_BEFORE_ANNOTATION, NODEMAINTENANCES, OWNER_LABEL, maintenance_name
from support.drainworld import HOST as HOST_NAME
from support.drainworld import OWNER, World
from unit.domain.drain.rules.test_restoring import CONFIG, MINE, TAINT, ended

GIVEN_UP: dict[str, tuple[str | None, str, bool, LeftCordoned | None, tuple[bool | None, str]]] = {
    # mark of the host, what the maintenance carries, whether the host is cordoned, how it is left -> mark, left by
    "as it was": ("no", "no", True, None, (False, "")),
    "as it was before": ("yes", "yes", True, None, (True, "")),
    "as its maintenance says, where it says nothing": (None, "yes", True, None, (True, "")),
    "as one to be in use, where its maintenance says that": (None, "no", True, None, (False, "")),
    "as a person left it": ("yes", "yes", False, None, (False, "")),
    "by nobody who serves it": ("no", "no", True, LeftCordoned(CONFIG, is_parted=True), (True, OWNER)),
    "by nobody who serves it, as it was before": ("yes", "yes", True, LeftCordoned(CONFIG, is_parted=True), (True, "")),
    "by nobody who serves it, as its maintenance says": (
        None,
        "yes",
        True,
        LeftCordoned(CONFIG, is_parted=True),
        (True, ""),
    ),
    "by nobody who serves it, as a person left it": (
        "no",
        "no",
        False,
        LeftCordoned(CONFIG, is_parted=True),
        (False, ""),
    ),
}


@pytest.mark.parametrize(
    ("mark", "carried", "is_cordoned", "left_cordoned", "expected"), GIVEN_UP.values(), ids=GIVEN_UP
)
def test_a_host_that_is_given_back_is_marked(
    mark: str | None,
    carried: str,
    is_cordoned: bool,
    left_cordoned: LeftCordoned | None,
    expected: tuple[bool | None, str],
) -> None:
    world = World()
    name = maintenance_name(HOST_NAME)
    notes = {CORDONED_BEFORE_ANNOTATION: carried}
    metadata = {"name": name, "labels": {OWNER_LABEL: OWNER}, "annotations": notes, "finalizers": ["x"]}
    status = {"phase": "Succeeded"}
    made = world.tenant.put(NODEMAINTENANCES, {"metadata": metadata, "spec": {"nodeName": HOST_NAME}, "status": status})
    spec = {"unschedulable": is_cordoned or None, "taints": [TAINT]}
    world.change_host({"metadata": {"annotations": {CORDONED_BEFORE_ANNOTATION: mark}}, "spec": spec})
    ending = EndMaintenance(MINE, made["metadata"]["uid"], (DpuCheck("dpu-1"),), left_cordoned=left_cordoned)
    world.process.run = Run(ending)
    assert "DONE" in ended(world)
    assert (world.host().mark, world.host().left_by) == expected
    own = world.own()
    assert own is not None
    assert own.terminating
