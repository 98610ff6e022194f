"""Each reason that we say has a row in the one table: how grave it is, and what to do next."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

import dpunetop
from dpunetop.domain.drain.model import facts
from dpunetop.domain.drain.model.limits import LimitedStep
from dpunetop.domain.drain.outages import unplanned
from dpunetop.domain.drain.protection.protection import ProtectionPhase
from dpunetop.domain.drain.report import dpustatus
from dpunetop.domain.drain.report.dpustatus import DpuPhase
from dpunetop.domain.drain.rules import opening
from dpunetop.domain.drain.rules import returning as returning
from dpunetop.domain.hostconfig import machineconfig
from dpunetop.domain.ovnkube import copies, databases, unready
from dpunetop.domain.pairing import entries
from dpunetop.domain.reasons import REASONS, Gravity, event, good_event, meaning
from dpunetop.kube.keys import INFRA, NODES

SOURCE = Path(dpunetop.__path__[0])
WORD = re.compile(r"[A-Z][a-z]+[A-Za-z]*")
CONSTANT = re.compile(r"NOT_|CREDENTIAL_SHORT|CREDENTIAL_EXP|NAMESPACE_NOT|PARITY_|API_NOT|INTERNAL_ERR")
SAYING = frozenset(
    [
        "Condition",
        "Denied",
        "Finding",
        "Refused",
        "Settled",
        "Unanswered",
        "WrongCluster",
        "NoImage",
        "_Hold",
        "_Problem",
        "_false",
        "_given",
        "_invalid",
        "_lacking",
        "_unknown",
        "refuse",
        "replace",
    ]
)
"""Calls that take a reason among their first arguments, or as `reason`."""
NO_REASONS = frozenset({"True", "False", "Unknown"})
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


def said_in(tree: ast.AST) -> Iterator[str]:
    """Literal reasons of conditions, holds and what becomes one of them; of `return "Reason", message` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in SAYING:
                named = [word.value for word in node.keywords if word.arg == "reason"]
                yield from literals([*node.args[:3], *named])
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
            yield from literals(node.value.elts[:1])


def named_in(module: ast.Module) -> Iterator[str]:
    """Reasons that have a name of their own."""
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield from literals([node.value] if CONSTANT.match(node.targets[0].id) else [])


def literals(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and WORD.fullmatch(node.value):
            yield node.value


def reasons() -> set[str]:
    found = {str(each) for kind in ENUMS for each in kind} | {returning.HOST_LEFT_CORDONED, unplanned.NETWORK_BACK}
    found |= {opening.DRAIN_FORCED, dpustatus.DRAIN_SKIPPED, returning.HOST_FORCED_BACK}
    found |= {span.reason for span in LimitedStep}
    found |= {"".join(word.capitalize() for word in each.name.split("_")) for each in _SHOWN}
    for room in ("domain", "controllers"):
        for path in (SOURCE / room).rglob("*.py"):
            module = ast.parse(path.read_text())
            found |= {*said_in(module), *named_in(module)}
    return found - NO_REASONS


_SHOWN = (ProtectionPhase.BLOCKER_NOT_READY, ProtectionPhase.NOT_OURS, ProtectionPhase.REMOVAL_PENDING)


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_each_reason_has_a_gravity_and_a_next_step(reason: str) -> None:
    assert reason in REASONS
    assert REASONS[reason].next_step


def test_the_search_finds_what_is_said_in_every_way() -> None:
    assert {"Verified", "NotOurs", "NoPairs", "Aborted", "NotAdmitted", "Revoked", "ImageNotAllowed"} <= reasons()


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


def test_what_is_none_of_ours_is_a_servers_and_to_be_acted_on() -> None:
    assert meaning("Forbidden").gravity is Gravity.ACTION


def makers_of_events(module: ast.Module) -> Iterator[int]:
    """Lines on which an Event is made by whoever says how grave it is."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and "Emit" in (getattr(node.func, "id", ""), getattr(node.func, "attr", "")):
            yield node.lineno


def test_nobody_but_the_table_says_how_grave_an_event_is() -> None:
    found = {
        f"{path.relative_to(SOURCE)}:{line}"
        for path in SOURCE.rglob("*.py")
        for line in makers_of_events(ast.parse(path.read_text()))
        if path != SOURCE / "domain" / "reasons.py"
    }
    assert found == set()


def test_the_search_finds_who_makes_an_event() -> None:
    assert list(makers_of_events(ast.parse("yield plan.Emit(INFRA, NODES, node, 'Warning', reason, words)"))) == [1]


def test_an_event_is_as_grave_as_its_reason() -> None:
    assert event(INFRA, NODES, {}, "HostWithoutNetwork", "").type == "Warning"
    assert event(INFRA, NODES, {}, "NetworkBack", "").type == "Normal"
    assert event(INFRA, NODES, {}, "NetworkUnproven", "").type == event(INFRA, NODES, {}, "ProofMissing", "").type
    assert good_event(INFRA, NODES, {}, "HostWithoutNetwork", "").type == "Normal"
