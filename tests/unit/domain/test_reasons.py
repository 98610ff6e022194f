"""Each reason that we say has a row in the one table: how grave it is, and what to do next."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Set
from enum import StrEnum
from functools import cache
from pathlib import Path

import pytest

import dpunetop
from dpunetop.domain import names
from dpunetop.domain.dpunode.measures import OTHER_REASON, Rollout
from dpunetop.domain.dpunode.status import Phase
from dpunetop.domain.drain.model import facts
from dpunetop.domain.drain.model.limits import LimitedStep
from dpunetop.domain.drain.outages import unplanned
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase
from dpunetop.domain.hostconfig import machineconfig
from dpunetop.domain.ovnkube import copies, databases, unready
from dpunetop.domain.pairing import entries
from dpunetop.domain.reasons import (
    CONDITIONS,
    DPU_NODE_CONDITIONS,
    REASONS,
    Gravity,
    event,
    good_event,
    meaning,
    reason_of,
    server_reason,
)
from dpunetop.domain.reasons.infrarows import INFRA_ROWS
from dpunetop.domain.reasons.ovnkuberows import OVNKUBE_ROWS
from dpunetop.domain.reasons.pairrows import PAIR_ROWS
from dpunetop.domain.reasons.rows import GOOD, PASSING, WAITING
from dpunetop.domain.reasons.tenantrows import TENANT_ROWS
from dpunetop.domain.tenant.kubeconfigmodel import Rejection
from dpunetop.domain.tenant.link import ANOTHER_CLUSTER, ANSWERED
from dpunetop.kube import keys
from dpunetop.kube.errors import Unreachable, error_from_status
from dpunetop.kube.keys import INFRA, NODES, Resource
from support.outside import CAMEL_CASE
from support.sources import tree_of

SOURCE = Path(dpunetop.__path__[0])
TABLE = SOURCE / "domain" / "reasons"
ENUMS: tuple[type[StrEnum], ...] = (
    facts.Reason,
    entries.EntryWait,
    unready.Cause,
    copies.CopyProblem,
    databases.DatabaseProblem,
    machineconfig.PoolReason,
    DpuPhase,
    unplanned.NetworkReason,
)
OTHERS: dict[str, frozenset[str]] = {
    "values of a condition's status": frozenset({"True", "False", "Unknown"}),
    "states of a DPU's protection, in messages": frozenset(ProtectionPhase) - REASONS.keys(),
    "what a kubeconfig is refused for, within the message of InvalidKubeconfig": frozenset(Rejection),
    "steps of the worker of a host, in its failures": frozenset({"Sweeping", "Upkeep"}),
    "the label of a metric for the reasons of an API server": frozenset({OTHER_REASON}),
    "states of a rollout, in a metric": frozenset(Rollout) - REASONS.keys() - {"Unknown"},
    "phases of a DpuNode": frozenset(Phase) - REASONS.keys(),
    "what an API server calls a credential that it refuses": frozenset({"Unauthorized"}),
    "values of spec": frozenset({"Auto", "Retain", "Delete", "Cordon", "Report", "Hold", "Abort"}),
    "kinds, groups and fields of the API": frozenset(
        {
            "AlwaysAllow",
            "Apply",
            "ClusterRole",
            "Config",
            "Default",
            "DoesNotExist",
            "Exists",
            "FallbackToLogsOnError",
            "HostToContainer",
            "IfHealthyBudget",
            "In",
            "NotIn",
            "Opaque",
            "Role",
            "RollingUpdate",
            "RuntimeDefault",
            "SecurityContextConstraints",
            "TokenRequest",
        }
    ),
    "what other programs say": frozenset(
        {
            "ContainerCreating",
            "Degraded",
            "Done",
            "ErrImagePull",
            "Error",
            "Established",
            "FailedCreate",
            "ImageBuildDegraded",
            "ImagePullBackOff",
            "NodeDegraded",
            "PanicException",
            "PinnedImageSetsDegraded",
            "PodInitializing",
            "PodScheduled",
            "Ready",
            "RenderDegraded",
            "ReplicaFailure",
            "Running",
            "Succeeded",
            "Unreconcilable",
            "Working",
        }
    ),
    "why a tenant does not answer, within messages": frozenset({"TooLarge"}),
    "what the operator finds out, not told under this word": frozenset({"Migrating", "Multi", "OpenShift"}),
}
"""Words of the form of a reason that are none, by what they are."""


def resources() -> Iterator[Resource]:
    for module in (names, keys):
        yield from (value for value in vars(module).values() if isinstance(value, Resource))


@cache
def literals(*rooms: str) -> dict[str, set[str]]:
    """Each text of the form of a reason, and the files outside the table that hold it."""
    found: dict[str, set[str]] = {}
    for path in (path for room in rooms for path in (SOURCE / room).rglob("*.py")):
        is_told = TABLE not in path.parents and "settingstable" not in path.parts
        for node in ast.walk(tree_of(path)) if is_told else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and CAMEL_CASE.fullmatch(node.value):
                found.setdefault(node.value, set()).add(path.relative_to(SOURCE).as_posix())
    return found


def acronyms() -> Set[str]:
    """Reasons of failed connections that are no words."""
    texts = [path.read_text() for path in (SOURCE / "runtime" / "client").rglob("*.py")]
    return {word for word in ("DNS", "TLS") if any(f'"{word}"' in text for text in texts)}


def refused_settings() -> Set[str]:
    """Reasons that the table of settings holds, among names of settings: those that end as such reasons do."""
    table = SOURCE / "domain" / "ovnkube" / "settingstable"
    trees = [tree_of(path) for path in table.glob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    refusals = [call.args[0] for call in calls if getattr(call.func, "id", "") == "RefusesTenant"]
    return {node.value for node in refusals if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_a_word_that_may_be_a_reason_is_in_the_table_or_is_known_to_be_none() -> None:
    known = {*REASONS, *CONDITIONS, *DPU_NODE_CONDITIONS, *(each.kind for each in resources())}.union(*OTHERS.values())
    assert {word: files for word, files in literals("domain", "controllers").items() if word not in known} == {}


def test_what_is_said_to_be_no_reason_is_in_no_table_and_still_there() -> None:
    said = literals("domain", "controllers")
    for words in OTHERS.values():
        assert words & REASONS.keys() == set()
        assert words - said.keys() == set()


def test_what_the_settings_of_a_tenant_are_refused_for_is_in_the_table() -> None:
    assert {"IPsecNotSupported"} <= refused_settings() <= REASONS.keys()


def test_each_reason_of_the_table_is_emitted() -> None:
    emitted = literals("domain", "controllers", "runtime").keys() | refused_settings() | acronyms()
    assert REASONS.keys() - emitted == set()


@cache
def attributes_used() -> Set[str]:
    """Names of the attributes that domain and controllers read."""
    paths = [path for room in ("domain", "controllers") for path in (SOURCE / room).rglob("*.py")]
    return {node.attr for path in paths for node in ast.walk(tree_of(path)) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_each_member_of_an_enum_of_reasons_is_in_the_table_and_used(kind: type[StrEnum]) -> None:
    assert {str(member) for member in kind} <= REASONS.keys()
    assert set(kind.__members__) <= attributes_used()


@pytest.mark.parametrize("step", LimitedStep)
def test_each_limit_of_time_has_a_reason_in_the_table(step: LimitedStep) -> None:
    assert step.reason in REASONS


def composed(module: ast.Module) -> Iterator[str]:
    """Texts of the form of a reason that are put together of parts."""
    for node in ast.walk(module):
        if isinstance(node, ast.JoinedStr):
            fixed = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
            yield from [ast.unparse(node)] if CAMEL_CASE.fullmatch(fixed) else []


def test_no_reason_has_two_rows() -> None:
    rows = (GOOD, PASSING, WAITING, INFRA_ROWS, TENANT_ROWS, PAIR_ROWS, OVNKUBE_ROWS)
    assert sum(map(len, rows)) == len(REASONS)


def test_no_reason_is_put_together_of_parts() -> None:
    paths = [path for room in ("domain", "controllers") for path in (SOURCE / room).rglob("*.py")]
    assert [text for path in paths for text in composed(tree_of(path))] == []


def test_the_search_finds_a_reason_that_is_put_together() -> None:
    assert list(composed(ast.parse("f'Topology{found.value}'; f'{x}Overdue'; f'{x} is Overdue'"))) == [
        "f'Topology{found.value}'",
        "f'{x}Overdue'",
    ]


def test_no_reason_is_made_from_a_name_of_python() -> None:
    paths = [path for room in ("domain", "controllers") for path in (SOURCE / room).rglob("*.py")]
    assert {path.name for path in paths if ".capitalize()" in path.read_text()} == {"kubeconfigtree.py"}


def connection_failures() -> Set[str]:
    """What a connection fails with."""
    trees = [tree_of(path) for path in (SOURCE / "runtime" / "client").rglob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) > 1]
    reasons = [call.args[1] for call in calls if getattr(call.func, "id", "") == "Unreachable"]
    return {node.value for node in reasons if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_whatever_a_connection_fails_with_a_person_has_to_act() -> None:
    assert {"AddressRefused", "BadAnswer", "DNS", "Refused", "TooLarge"} <= connection_failures()
    assert {each for each in connection_failures() if meaning(each).gravity is not Gravity.ACTION} == set()


@pytest.mark.parametrize("word", sorted(REASONS))
def test_a_server_that_answers_in_our_words_does_not_say_how_grave_that_is(word: str) -> None:
    said = reason_of(error_from_status({"reason": word, "message": "no"}, 403))
    assert meaning(said).gravity is Gravity.ACTION
    assert said not in {ANSWERED, *ANOTHER_CLUSTER, "NotOurs", "AllReady"}
    assert said == server_reason(word)


@pytest.mark.parametrize("word", ["Forbidden", "Unauthorized", "NotFound", "Invalid", "Expired", "InternalError", "X1"])
def test_what_a_server_says_in_words_of_its_own_is_told_as_it_is(word: str) -> None:
    assert reason_of(error_from_status({"reason": word}, 500)) == word


def test_what_a_connection_of_ours_failed_with_is_our_word() -> None:
    assert reason_of(Unreachable(0, "AddressRefused", "loopback")) == "AddressRefused"


TOLD = ("Condition", "TenantDenied", "TenantUnanswered")


def unsifted(module: ast.Module) -> Iterator[str]:
    """Where the reason of an error goes into something that is told as a condition."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
            "Condition",
            "TenantDenied",
            "TenantUnanswered",
        ):
            given = [ast.unparse(each) for each in node.args]
            yield from (text for text in given if text in ("err.reason", "error.reason", "probe.reason"))


def test_no_reason_of_a_server_becomes_one_of_ours_unsifted() -> None:
    paths = [path for room in ("domain", "controllers") for path in (SOURCE / room).rglob("*.py")]
    assert [text for path in paths for text in unsifted(tree_of(path))] == []


def test_the_search_finds_a_reason_that_is_not_sifted() -> None:
    assert list(unsifted(ast.parse("TenantDenied(err.reason, err.message); Condition(a, b, reason_of(err), c)"))) == [
        "err.reason"
    ]


HEALTHY = (
    facts.Reason.HOST_DRAINING,
    facts.Reason.DPU_DRAINING,
    facts.Reason.PROOF_MISSING,
    facts.Reason.MACHINE_CONFIG_PENDING,
    facts.Reason.MAINTENANCE_TERMINATING,
    facts.Reason.NO_FREE_SLOT,
    facts.Reason.HOST_IN_OWN_DRAIN,
)


@pytest.mark.parametrize("reason", HEALTHY)
def test_what_a_healthy_drain_goes_through_is_no_warning(reason: facts.Reason) -> None:
    assert meaning(str(reason)).gravity.event == "Normal"


def test_a_reason_outside_the_table_is_a_servers_and_asks_for_action() -> None:
    assert meaning("Forbidden").gravity is Gravity.ACTION


def makers_of_events(module: ast.Module) -> Iterator[int]:
    """Lines on which an Event is made by whoever says how grave it is."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and "Emit" in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
            yield node.lineno


def test_only_the_table_says_how_grave_an_event_is() -> None:
    found = {
        f"{path.relative_to(SOURCE)}:{line}"
        for path in SOURCE.rglob("*.py")
        for line in makers_of_events(tree_of(path))
        if TABLE not in path.parents
    }
    assert found == set()


def test_the_search_finds_who_makes_an_event() -> None:
    assert list(makers_of_events(ast.parse("yield plan.Emit(INFRA, NODES, node, 'Warning', reason, words)"))) == [1]


def test_an_event_is_as_grave_as_its_reason() -> None:
    assert event(INFRA, NODES, {}, "HostWithoutNetwork", "").type == "Warning"
    assert event(INFRA, NODES, {}, "NetworkBack", "").type == "Normal"
    assert event(INFRA, NODES, {}, "NetworkUnproven", "").type == event(INFRA, NODES, {}, "ProofMissing", "").type
    assert good_event(INFRA, NODES, {}, "HostWithoutNetwork", "").type == "Normal"
