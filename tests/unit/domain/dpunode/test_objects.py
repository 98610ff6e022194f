"""What a DpuNode says, what of it a cache keeps, and that both together tell whether anything is to be written."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from dpunetop.base import jsonio
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.dpunode.judge import unseen_statuses
from dpunetop.domain.dpunode.objects import MANAGER, NOTHING, kept, new_dpu_node, owner_uid, rendered, said, stands
from dpunetop.domain.dpunode.status import DpuNodeStatus, DrainTimes, Phase
from dpunetop.domain.names import OWNER_LABEL
from dpunetop.kube.conditions import Condition
from support.objects import config
from support.rosters import roster, slot

(UNSEEN,) = unseen_statuses(roster(), slot(), "InternalError", "")
GOOD = tuple(Condition(each.type, "True", "Serving") for each in UNSEEN.conditions)
SERVING = DpuNodeStatus("d1", "host-1", Phase.SERVING, "Serving", "", GOOD, "quay.io/ovn@sha256:1", "rendered-dpu-1")
CONFIG = parse_config(config(name="sample"))
LATER = 2000


def stored(status: dict[str, Any], manager: str = MANAGER) -> dict[str, Any]:
    """As the API server shows it."""
    obj = jsonio.deep_copy({**new_dpu_node(CONFIG, "owner", "d1"), "status": status})
    fields = {"manager": manager, "operation": "Apply", "fieldsV1": {f"f:{n}": {} for n in range(40)}}
    obj["metadata"] |= {"uid": "u1", "resourceVersion": "7", "managedFields": [fields], "generation": 1}
    return obj


def shown(wanted: DpuNodeStatus, now: int = 1000) -> dict[str, Any]:
    return kept(stored(rendered(wanted, NOTHING, now)))


def test_what_is_said_already_stands_whenever_it_is_said_again() -> None:
    before = said(shown(SERVING))
    assert stands(rendered(SERVING, before, LATER), before)


def test_whatever_else_is_to_be_said_does_not_stand() -> None:
    before = said(shown(SERVING))
    for other in (
        replace(SERVING, host="host-2"),
        replace(SERVING, phase=Phase.HELD),
        replace(SERVING, reason="Idle"),
        replace(SERVING, message="what to do"),
        replace(SERVING, conditions=UNSEEN.conditions),
        replace(SERVING, ovn_image=""),
        replace(SERVING, machine_config="rendered-dpu-2"),
        replace(SERVING, drain=DrainTimes(1500)),
    ):
        assert not stands(rendered(other, before, LATER), before)


def test_a_status_that_another_client_wrote_is_replaced() -> None:
    status = rendered(SERVING, NOTHING, 1000)
    before = said(kept(stored({**status, "phase": "Held"})))
    assert not stands(rendered(SERVING, before, LATER), before)


def test_each_time_is_of_what_it_dates() -> None:
    before = said(shown(SERVING))
    now = rendered(replace(SERVING, phase=Phase.HELD, conditions=(UNSEEN.conditions[0], *GOOD[1:])), before, LATER)
    times = {each["type"]: each["lastTransitionTime"] for each in now["conditions"]}
    assert now["since"] == times["Paired"] == "1970-01-01T00:33:20Z"
    assert {time for type_, time in times.items() if type_ != "Paired"} == {"1970-01-01T00:16:40Z"}
    assert rendered(replace(SERVING, message="more"), before, LATER)["since"] == "1970-01-01T00:16:40Z"


def test_a_drain_that_ended_unseen_is_over_once_that_is_noticed() -> None:
    running = said(shown(replace(SERVING, drain=DrainTimes(900, 910))))
    assert running.last_drain == {"startedAt": "1970-01-01T00:15:00Z", "waitingSeconds": 10}
    over = rendered(SERVING, running, LATER)["lastDrain"]
    assert over == {**running.last_drain, "endedAt": "1970-01-01T00:33:20Z"}
    again = said(kept(stored(rendered(SERVING, running, LATER))))
    assert stands(rendered(SERVING, again, 9000), again)


def test_a_drain_that_left_a_step_out_has_none_of_that_name() -> None:
    found = rendered(replace(SERVING, drain=DrainTimes(900, 910, returned=950, ended=960)), NOTHING, LATER)
    assert found["lastDrain"] == {
        "startedAt": "1970-01-01T00:15:00Z",
        "endedAt": "1970-01-01T00:16:00Z",
        "waitingSeconds": 10,
        "verifyingSeconds": 10,
    }


def test_it_is_ours_only_if_we_have_applied_it_and_for_the_config_that_it_names() -> None:
    assert owner_uid(shown(SERVING)) == CONFIG.uid
    assert owner_uid(kept(stored({}, manager="kubectl"))) == ""
    unlabelled = stored({})
    assert unlabelled["metadata"]["labels"].pop(OWNER_LABEL)
    assert owner_uid(kept(unlabelled)) == ""


def test_a_status_of_any_shape_is_read_as_one_that_says_something_else() -> None:
    spoiled: Any
    for spoiled in ({"conditions": 3}, {"conditions": ["x", {"type": 1}], "lastDrain": 7, "phase": []}, [], "x"):
        before = said(kept({**stored({}), "status": spoiled}))
        assert not stands(rendered(SERVING, before, LATER), before)


def test_a_cache_keeps_little_of_it() -> None:
    full, found = stored(rendered(SERVING, NOTHING, 1000)), shown(SERVING)
    assert len(jsonio.dumps(found)) < len(jsonio.dumps(full)) / 2
    assert sum(sys.getsizeof(each) for each in (found, found["metadata"], found["said"])) < 1000
