"""What the operator has written of a DPU stands beside what a look says, and where they differ it is said."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from dpunetop.app.commands import explain, status
from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.inspection import Inspector
from dpunetop.app.commands.output import Format, Output
from dpunetop.domain import names
from dpunetop.domain.dpunode.status import Phase
from dpunetop.domain.reasons import meaning
from dpunetop.kube.errors import ApiError, Forbidden, NotFound
from dpunetop.kube.keys import LEASES
from dpunetop.runtime.reading import NotEngaged
from support.looks import GIVEN, explained, inspector_of, lead, see, serving, status_of, write
from support.scripteddrain import DPU, HOST, OPERATOR, World

SINCE = "2025-12-30T00:00:00Z"
"""Two days before the clock of the world."""
DRAIN = {
    "startedAt": "2025-12-31T00:00:00Z",
    "endedAt": "2025-12-31T00:05:41Z",
    "waitingSeconds": 3,
    "hostDrainSeconds": 100,
    "dpuDrainSeconds": 200,
    "verifyingSeconds": 38,
}
WELL = {"phase": "Serving", "since": SINCE, "reason": "Serving", "host": HOST}


def test_the_time_since_when_a_dpu_serves_is_shown_if_the_operator_has_written_it() -> None:
    world = serving()
    assert status_of(world)[0].splitlines()[1].split()[5] == "-"
    write(world, **WELL)
    said, code = status_of(world)
    assert said.splitlines()[1].split()[5] == "2d"
    assert "this look says" not in said
    assert code is Exit.GOOD
    assert f"stands:    Serving, since {SINCE} (2d)" in explained(world, DPU)[0]
    assert world.writes() == []


def test_what_was_written_and_the_last_drain_are_told() -> None:
    world = serving()
    write(world, **WELL, lastDrain=DRAIN)
    said, _ = explained(world, DPU)
    assert f"operator:  wrote Serving (Serving), since {SINCE} (2d)" in said
    assert (
        "last drain: 2025-12-31T00:00:00Z to 2025-12-31T00:05:41Z: 3 s waiting for its turn, 100 s draining the host,"
        " 200 s draining the DPU, with its reboot, 38 s proving the network"
    ) in said
    wide, _ = status_of(world, form=Format.WIDE)
    assert "23h ago, 5m41s" in wide
    assert "23h ago" not in status_of(world)[0]


def test_a_drain_that_goes_on_is_told_as_one() -> None:
    world = serving()
    write(world, **WELL, lastDrain={"startedAt": "2025-12-31T00:00:00Z", "waitingSeconds": 3})
    assert "last drain: 2025-12-31T00:00:00Z, goes on: 3 s waiting for its turn" in explained(world, DPU)[0]
    assert "goes on, 3s" in status_of(world, form=Format.WIDE)[0]


@pytest.mark.parametrize(
    ("is_alive", "why"),
    [
        (True, "it is at work, and either sees more than one look can or is about to write; look again"),
        (False, "what it wrote is old, since no operator is at work"),
    ],
)
@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            {**WELL, "phase": "NoNetwork"},
            f"wrote NoNetwork for host {HOST} (Serving), since {SINCE} (2d), and this look says ",
        ),
        (
            {**WELL, "phase": "Unknown"},
            f"wrote Unknown for host {HOST} (Serving), since {SINCE} (2d), and this look says ",
        ),
        (
            {**WELL, "host": "host-9"},
            f"wrote Serving for host host-9 (Serving), since {SINCE} (2d), and this look says ",
        ),
        (
            {**WELL, "phase": "Unpaired", "host": ""},
            f"wrote Unpaired (Serving), since {SINCE} (2d), and this look says ",
        ),
    ],
)
def test_where_the_operator_wrote_something_else_it_is_said_and_whom_to_believe(
    written: dict[str, Any], said: str, is_alive: bool, why: str
) -> None:
    world = serving()
    write(world, **written)
    if not is_alive:
        lead(world, "2025-12-31T00:00:00.000000Z")
    words = f"the operator {said}Serving for host {HOST}: {why}"
    table, code = status_of(world)
    assert f"DPU {DPU}: {words}" in table
    assert table.splitlines()[1].split()[5] == "-"
    assert code is Exit.GOOD
    assert f"but:       {words}" in explained(world, DPU)[0]


HELD = {
    "phase": "Held",
    "reason": "MaintenanceRefused",
    "message": 'the tenant refuses: cannot create "nodemaintenances"',
}
"""What an operator finds out by trying, and no look can."""


def test_what_an_operator_at_work_found_out_by_trying_is_told_with_its_next_step_and_counts() -> None:
    world = serving()
    write(world, **{**WELL, **HELD})
    said, code = explained(world, DPU)
    assert f"operator:  wrote Held (MaintenanceRefused), since {SINCE} (2d): {HELD['message']}" in said
    assert f"moves on:  {meaning('MaintenanceRefused').next_step}" in said
    assert code is Exit.WRONG
    assert "the operator wrote Held for host" in status_of(world)[0]


def test_the_same_of_an_operator_that_may_be_at_work_and_not_of_one_that_is_not() -> None:
    world = serving()
    write(world, **{**WELL, **HELD})
    world.infra.drop(LEASES, OPERATOR, names.OPERATOR_LEASE)
    assert explained(world, DPU)[1] is Exit.WRONG
    lead(world, "2025-12-31T00:00:00.000000Z")
    said, code = explained(world, DPU)
    assert "moves on:  nothing to do" in said
    assert code is Exit.GOOD


def test_a_look_without_the_tenant_does_not_know_better() -> None:
    world = serving()
    write(world, **{**WELL, "phase": "Held"})
    said, code = status_of(world, tenant=False)
    assert "this look says Serving" in said
    assert "the tenant was not looked at, so believe the operator if it is at work" in said
    assert code is Exit.WRONG


@pytest.mark.parametrize("tenant", [True, False])
def test_a_drain_that_the_operator_found_to_be_refused_is_a_held_row_with_by_what_and_what_moves_it_on(
    tenant: bool,
) -> None:
    world = serving()
    world.cordon()
    world.settle()
    write(world, **{**WELL, **HELD})
    said, code = status_of(world, tenant=tenant)
    row = said.splitlines()[1]
    assert row.split()[3] == "Held"
    assert f"the operator wrote MaintenanceRefused: {HELD['message']}; {meaning('MaintenanceRefused').next_step}" in row
    assert "wait;" not in row
    assert code is Exit.WRONG


def test_a_drain_of_which_a_look_without_the_tenant_knows_little_is_told_in_the_operators_words() -> None:
    world = serving()
    world.cordon()
    world.settle()
    words = "1 pod is left: shop/web-0; PodDisruptionBudget shop/web allows no eviction now"
    write(world, **{**WELL, "phase": "Draining", "reason": "HostDraining", "message": words})
    row = status_of(world, tenant=False)[0].splitlines()[1]
    assert row.split()[3] == "Draining"
    assert f"the operator wrote Draining (HostDraining), since {SINCE} (2d): {words}" in row
    assert "wait;" not in row


def test_of_a_dpu_that_was_not_looked_at_it_is_told_what_the_operator_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Inspector, scope: object) -> None:
        raise NotEngaged("nobody is there")

    world = serving()
    write(world, **{**WELL, "phase": "Draining", "reason": "HostDraining"})
    monkeypatch.setattr(Inspector, "_snapshot", fail)
    look = see(world)
    phases = [each.phase for config in look.configs for host in config.hosts for each in host.statuses]
    assert phases == [Phase.UNKNOWN]
    said, code = status_of(world)
    assert f"; the operator wrote Draining (HostDraining), since {SINCE} (2d)" in said
    assert "this look says" not in said
    assert said.splitlines()[1].split()[5] == "-"
    assert code is Exit.UNSEEN


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotFound(404, "NotFound", "no such kind"), ""),
        (Forbidden(403, "Forbidden", "dpunodes is forbidden"), "what it wrote of the DPU was not looked at: "),
    ],
)
def test_dpunodes_that_cannot_be_read_keep_nothing_else_from_being_told(error: ApiError, words: str) -> None:
    world = serving()
    write(world, **WELL)
    world.infra.refuses["list dpunodes"] = error
    said, code = explained(world, DPU)
    assert ("operator:  " in said) is bool(words)
    assert words in said
    assert code is (Exit.UNSEEN if words else Exit.GOOD)
    assert status_of(world)[1] is code


def test_what_somebody_else_wrote_under_that_kind_is_not_taken_for_the_operators() -> None:
    world = serving()
    write(world, **{**WELL, "phase": "NoNetwork"})
    live = world.infra.shown(names.DPUNODES, "dpu-one", DPU)
    strange: list[dict[str, Any]] = [
        {"managedFields": [{"manager": "kubectl"}]},
        {"ownerReferences": []},
        {"labels": {}},
    ]
    for but in strange:
        world.infra.put(names.DPUNODES, {**live, "metadata": {**live["metadata"], **but}})
        assert "operator wrote" not in status_of(world)[0]


@pytest.mark.parametrize("garbage", [{}, {"phase": 7}, {"phase": "Serving", "since": "x", "lastDrain": "y"}])
def test_whatever_the_object_holds_is_read(garbage: dict[str, Any]) -> None:
    world = serving()
    write(world, **{"host": HOST, **garbage})
    assert status_of(world)[1] is Exit.GOOD


def test_foreign_text_in_it_is_not_obeyed() -> None:
    world = serving()
    write(world, phase="E\x1b[31mvil" * 999, reason="R\x07" * 999, host="h\x1b[2J" * 999, since="9" * 99)
    for said in (status_of(world, form=Format.WIDE)[0], explained(world, DPU)[0]):
        assert all(" " <= each <= "~" or each == "\n" for each in said)
        assert max(map(len, said.splitlines())) < 1600


def documents(world: World) -> list[dict[str, Any]]:
    """What both commands print for programs, of the one DPU."""
    inspector, now, streams = inspector_of(world), world.clock.now(), (io.StringIO(), io.StringIO())
    inspection = inspector.inspect()
    Output(streams[0], Format.JSON, False, False).document(status.as_document(inspection, now)["dpus"])
    stories = explain.tell(inspector, inspection, DPU, GIVEN)
    Output(streams[1], Format.JSON, False, False).document([explain.as_document(each) for each in stories])
    return [json.loads(each.getvalue())[0] for each in streams]


def test_documents_say_all_that_the_lines_say() -> None:
    world = serving()
    assert [(each["written"], each["contradicted"]) for each in documents(world)] == [(None, False)] * 2
    write(world, **WELL, lastDrain=DRAIN)
    for each in documents(world):
        assert each["written"]["phase"] == "Serving"
        assert each["written"]["lastDrain"]["hostDrainSeconds"] == 100
        assert (each["contradicted"], each["since"]) == (False, each["written"]["since"])
    write(world, **{**WELL, "phase": "Held"})
    assert [each["contradicted"] for each in documents(world)] == [True, True]
