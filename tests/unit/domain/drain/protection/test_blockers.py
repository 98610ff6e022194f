from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dpunetop.domain.drain.model.facts import Author, Budget, HostRef
from dpunetop.domain.drain.model.readers import budget
from dpunetop.domain.drain.model.record import Cycle, State, parse_cycle
from dpunetop.domain.drain.model.times import as_time
from dpunetop.domain.drain.protection.blockers import (
    BlockerSettings,
    BudgetState,
    Form,
    blocked_node,
    blocker,
    first_budget,
    service_account,
    state_of,
    write_budget,
)
from dpunetop.domain.names import CYCLE_ANNOTATION, LEAVING_ANNOTATION, SERVES_ANNOTATION, SINCE_ANNOTATION
from dpunetop.kube.meta import annotations_of
from dpunetop.kube.plan import Fence

SETTINGS = BlockerSettings("dpunetop", "registry/image:1", "owner", has_scc=False)
SITE = HostRef("host-1", "tenant/a/b", "dpunetop", "owner", Author("dpunetop-drain", "term-2", "x7", 0))


def live(**but: Any) -> Budget:
    obj = first_budget(SETTINGS, "bf2-1", "host-1")
    metadata = {**obj["metadata"], "uid": "u", "resourceVersion": "41"}
    return replace(budget({**obj, "metadata": metadata}, "owner"), **but)


def test_the_blocker_runs_on_its_node_alone_even_while_that_is_cordoned() -> None:
    pod = blocker(SETTINGS, "bf2-1")["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["bf2-1"]}]}
    assert pod["tolerations"] == [{"operator": "Exists"}]


def test_one_blocker_runs_a_second_one_only_while_it_is_rolled_and_one_old_template_is_kept() -> None:
    spec = blocker(SETTINGS, "bf2-1")["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"]) == (1, 1)
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_the_blocker_needs_no_pod_network_and_takes_no_port() -> None:
    pod = blocker(SETTINGS, "bf2-1")["spec"]["template"]["spec"]
    assert pod["hostNetwork"] is True
    assert "ports" not in pod["containers"][0]


def test_the_blocker_is_for_the_rest_as_restricted_as_a_pod_can_be() -> None:
    pod = blocker(SETTINGS, "bf2-1")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    security = pod["containers"][0]["securityContext"]
    assert (security["allowPrivilegeEscalation"], security["capabilities"]) == (False, {"drop": ["ALL"]})


def test_where_constraints_choose_the_user_the_blocker_names_none() -> None:
    pod = blocker(replace(SETTINGS, has_scc=True), "bf2-1")["spec"]["template"]["spec"]
    assert "runAsUser" not in pod["securityContext"]


def test_the_blocker_is_guaranteed_its_resources_and_goes_quickly() -> None:
    pod = blocker(SETTINGS, "bf2-1")["spec"]["template"]["spec"]
    resources = pod["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["terminationGracePeriodSeconds"] == 1


def test_a_rollout_of_the_blocker_brings_the_new_pod_up_first() -> None:
    strategy = blocker(SETTINGS, "bf2-1")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_budget_and_blocker_mean_the_same_pod() -> None:
    deployment, closed = blocker(SETTINGS, "bf2-1"), first_budget(SETTINGS, "bf2-1", "host-1")
    assert deployment["spec"]["selector"] == closed["spec"]["selector"]
    assert deployment["spec"]["template"]["metadata"]["labels"] == closed["spec"]["selector"]["matchLabels"]


def test_the_service_account_mounts_no_token() -> None:
    assert service_account(SETTINGS)["automountServiceAccountToken"] is False


FORMS = {
    "nobody is served": ("", 1, "AlwaysAllow", {}),
    "a host is served": ("host-1", 0, "IfHealthyBudget", {SERVES_ANNOTATION: "host-1"}),
}


@pytest.mark.parametrize(("serves", "allowed", "policy", "notes"), FORMS.values(), ids=FORMS.keys())
def test_the_first_budget_when(serves: str, allowed: int, policy: str, notes: dict[str, str]) -> None:
    made = first_budget(SETTINGS, "bf2-1", serves)
    assert (made["spec"]["maxUnavailable"], made["spec"]["unhealthyPodEvictionPolicy"]) == (allowed, policy)
    assert annotations_of(made) == notes


def test_no_protection_has_an_owner_that_takes_it_along() -> None:
    for made in (blocker(SETTINGS, "n"), first_budget(SETTINGS, "n", "h")):
        assert "ownerReferences" not in made["metadata"]


CYCLE = Cycle(State.DRAINING, term="term-1", number="x1.40", maintenance="m")


def test_a_write_names_the_version_that_was_read_and_restates_what_it_does_not_change() -> None:
    read = live(cycle=CYCLE, leaving=("p1", "p2"))
    step = write_budget(SITE, read, state_of(read))
    notes = annotations_of(step.desired)
    assert step.fence is Fence.VERSION
    assert step.live is read.live
    assert step.desired["spec"]["maxUnavailable"] == 0
    assert (notes[SERVES_ANNOTATION], notes[LEAVING_ANNOTATION]) == ("host-1", "p1 p2")


def test_a_write_of_the_same_record_is_another_text_under_another_number() -> None:
    read = live(cycle=CYCLE)
    written = parse_cycle(annotations_of(write_budget(SITE, read, state_of(read)).desired)[CYCLE_ANNOTATION])
    assert written == replace(CYCLE, term="term-2", number="x7.41")


def test_two_writes_of_one_decision_have_different_numbers() -> None:
    first = live(cycle=CYCLE)
    later = replace(first, live={**first.live, "metadata": {**first.live["metadata"], "resourceVersion": "42"}})
    steps = [write_budget(SITE, read, state_of(read)) for read in (first, later)]
    assert len({annotations_of(step.desired)[CYCLE_ANNOTATION] for step in steps}) == 2


NOW = replace(SITE, author=replace(SITE.author, now=5000))
SINCE: dict[str, tuple[Budget, BudgetState, str]] = {  # read, written, since when
    "nothing changes": (live(since=1000), BudgetState(Form.CLOSED, "host-1", None), as_time(1000)),
    "it opens": (live(since=1000), BudgetState(Form.OPEN, "host-1", None), as_time(1000)),
    "nobody knows since when": (live(since=0), BudgetState(Form.CLOSED, "host-1", None), ""),
    "another host": (live(since=1000), BudgetState(Form.CLOSED, "host-2", None), as_time(5000)),
    "its pods are to go": (live(since=1000), BudgetState(Form.CLOSED, "host-1", None, ("p",)), as_time(5000)),
    "fewer pods are to go": (
        live(since=1000, leaving=("p", "q")),
        BudgetState(Form.CLOSED, "host-1", None, ("p",)),
        as_time(1000),
    ),
    "its pods stay": (live(since=1000, leaving=("p",)), BudgetState(Form.CLOSED, "host-1", None), as_time(5000)),
    "it serves nobody any more": (live(since=1000), BudgetState(Form.OPEN, "", None), ""),
    "it goes on serving nobody": (live(since=1000, serves=""), BudgetState(Form.OPEN, "", None), ""),
}


@pytest.mark.parametrize(("read", "state", "since"), SINCE.values(), ids=SINCE.keys())
def test_since_when_a_budget_says_whom_its_dpu_serves(read: Budget, state: BudgetState, since: str) -> None:
    assert annotations_of(write_budget(NOW, read, state).desired).get(SINCE_ANNOTATION, "") == since


def test_form_host_and_record_change_in_one_apply() -> None:
    step = write_budget(SITE, live(cycle=CYCLE), BudgetState(Form.OPEN, "", None))
    assert step.desired["spec"]["maxUnavailable"] == 1
    assert step.desired["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
    assert annotations_of(step.desired) == {}


def test_name_and_selector_of_an_older_budget_stay_as_they_are() -> None:
    read = live()
    obj = {**read.live, "spec": {**read.live["spec"], "selector": {"matchLabels": {"app": "old"}}}}
    step = write_budget(SITE, replace(read, live=obj), state_of(read))
    assert step.desired["spec"]["selector"] == {"matchLabels": {"app": "old"}}


OPENED: dict[str, tuple[Budget, Form, int]] = {  # read, written, when it was opened
    "it opens": (live(cycle=CYCLE), Form.OPEN, 5000),
    "it stays open": (live(cycle=replace(CYCLE, opened_at=7), is_open=True), Form.OPEN, 7),
    "it closes": (live(cycle=replace(CYCLE, opened_at=7), is_open=True), Form.CLOSED, 7),
    "it stays closed": (live(cycle=CYCLE), Form.CLOSED, 0),
}


@pytest.mark.parametrize(("read", "form", "opened_at"), OPENED.values(), ids=OPENED.keys())
def test_when_a_budget_was_opened_is_written_with_its_opening(read: Budget, form: Form, opened_at: int) -> None:
    step = write_budget(NOW, read, replace(state_of(read), form=form))
    written = parse_cycle(annotations_of(step.desired)[CYCLE_ANNOTATION])
    assert written is not None
    assert (written.opened_at, step.desired["spec"]["maxUnavailable"]) == (opened_at, int(form is Form.OPEN))


def test_what_a_budget_says_is_said_again_open_or_closed() -> None:
    assert state_of(live(cycle=CYCLE)) == BudgetState(Form.CLOSED, "host-1", CYCLE)
    assert state_of(live(leaving=("p",), is_open=True)) == BudgetState(Form.OPEN, "host-1", None, ("p",))


def test_the_blocker_sleeps_and_writes_nowhere() -> None:
    (container,) = blocker(SETTINGS, "bf2-1")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sleep", "infinity"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def with_terms(terms: object) -> dict[str, Any]:
    node = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {"spec": {"template": {"spec": {"affinity": {"nodeAffinity": node}}}}}


BLOCKED: dict[str, tuple[dict[str, Any], str]] = {
    "ours": (blocker(SETTINGS, "bf2-1"), "bf2-1"),
    "two terms, of which the first names none": (with_terms([{}, {"matchFields": [{"values": ["n"]}]}]), "n"),
    "two fields, of which the first names none": (
        with_terms([{"matchFields": [{"values": []}, {"values": ["n"]}]}]),
        "n",
    ),
    "two names": (with_terms([{"matchFields": [{"values": ["n", "m"]}]}]), "n"),
    "no names": (with_terms([{"matchFields": [{}]}]), ""),
    "a word for a list": (with_terms([{"matchFields": [{"values": "name"}]}]), ""),
    "no fields": (with_terms([{"matchFields": None}]), ""),
    "no terms": (with_terms(None), ""),
    "no affinity of nodes": ({"spec": {"template": {"spec": {"affinity": {"nodeAffinity": None}}}}}, ""),
    "no affinity": ({"spec": {"template": {"spec": {"affinity": None}}}}, ""),
    "no pod": ({"spec": {"template": {}}}, ""),
    "no template": ({"spec": {}}, ""),
    "nothing": ({}, ""),
}


@pytest.mark.parametrize(("live", "node"), BLOCKED.values(), ids=BLOCKED.keys())
def test_the_node_that_a_deployment_blocks_is_the_one_that_its_pod_must_run_on(live: dict[str, Any], node: str) -> None:
    assert blocked_node(live) == node
