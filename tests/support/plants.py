"""A fault for each safety rule: its code does nothing, or too much, and a test that the rule's row names falls.

`python -m support.plants`, with the checkout on the path, plants each in a process of its own and says which of them
are found.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib import import_module

import pytest
from _pytest.runner import runtestprotocol
from hack.mutants.planting import plant
from hack.mutants.tests import begun, collected


@dataclass(frozen=True, slots=True)
class Plant:
    """What stands in the place of some code of a rule, and the test that is to find it."""

    rule: int
    code: str
    """Path below `src/dpunetop`, and the qualified name of a function in it."""
    body: str
    """What the function does instead."""
    test: str

    @property
    def path(self) -> str:
        """The module's."""
        return self.code.partition(":")[0]

    def put(self) -> None:
        """Put it in the place of what is loaded."""
        path, _, owner = self.code.partition(":")
        module = import_module("dpunetop." + path.removesuffix(".py").replace("/", "."))
        with open(str(module.__file__), encoding="utf-8") as source:
            tree = ast.parse(source.read())
        _function(tree, owner).body = ast.parse(self.body).body
        plant(module, tree, owner)


DRAIN = "tests/unit/domain/drain"
PLANTS = (
    Plant(
        1,
        "domain/drain/protection/decision.py:decide_protection",
        "return Protection((), None, ProtectionPhase.SERVING)",
        f"{DRAIN}/protection/test_protection.py::test_a_dpu_that_is_found_serving_is_closed_whatever_else_is_true",
    ),
    Plant(
        2,
        "domain/drain/rules/records.py:take_over",
        "return None",
        f"{DRAIN}/rules/test_opening.py::test_a_new_leader_writes_every_record_before_it_decides",
    ),
    Plant(
        3,
        "domain/drain/model/maintenances.py:is_drained",
        "return True",
        f"{DRAIN}/rules/test_opening.py::test_nothing_is_opened_when_it_does_not_hold_that",
    ),
    Plant(
        4,
        "domain/drain/rules/proof.py:missing_proofs",
        "return ()",
        f"{DRAIN}/rules/test_proof.py::test_this_is_missing_when",
    ),
    Plant(
        5,
        "domain/drain/rules/returning.py:first_broken",
        "yield from ()",
        f"{DRAIN}/rules/test_returning.py::test_the_host_is_not_given_back_when_it_does_not_hold_that",
    ),
    Plant(
        6,
        "domain/drain/rules/proof.py:ends_unproven",
        "return False",
        f"{DRAIN}/rules/test_returning.py::test_a_forced_end_needs_no_proof_and_leaves_the_host_cordoned",
    ),
    Plant(
        7,
        "domain/drain/rules/aborting.py:abort_overdue",
        "return _abort(host_state, Reason.DRAIN_TIMEOUT) if is_overdue(host_state) else None",
        f"{DRAIN}/rules/test_asking.py::test_no_cycle_that_ever_opened_is_aborted_for_its_time",
    ),
    Plant(
        8,
        "domain/drain/rules/failing.py:end_failed",
        "return None",
        f"{DRAIN}/rules/test_returning.py"
        "::test_a_failed_maintenance_is_taken_away_though_the_drain_is_wanted_and_made_anew",
    ),
    Plant(
        9,
        "domain/drain/rules/asking.py:wait_for_foreign",
        "return None",
        f"{DRAIN}/rules/test_asking.py::test_a_foreign_maintenance_is_waited_for_and_no_budget_opens_on_it",
    ),
    Plant(
        10,
        "domain/drain/model/maintenances.py:restore_host",
        "return _change_host(host_ref, read, {**_UNMARKED, 'spec': _untainted(read)})",
        f"{DRAIN}/rules/test_returning.py::test_a_cordon_that_was_there_before_is_there_after",
    ),
    Plant(
        11,
        "domain/drain/report/overdue.py:timed",
        "return tuple(found)",
        f"{DRAIN}/report/test_overdue.py::test_a_limit_counts_from_what_is_recorded",
    ),
    Plant(
        11,
        "domain/drain/rules/waiting.py:wait_for_drain",
        "return _progress(host_state) if host_state.active else None",
        f"{DRAIN}/rules/test_waiting.py::test_each_wait_says_what_for",
    ),
    Plant(
        11,
        "controllers/drain/nodeabsence.py:_Answer.due",
        "return self.at",
        "tests/unit/controllers/drain/test_nodeabsence.py::test_it_is_asked_twice_and_not_in_between",
    ),
    Plant(
        12,
        "domain/tenant/link.py:identity_problem",
        "return None",
        "tests/unit/domain/tenant/test_link.py::test_which_cluster_may_be_the_tenant",
    ),
    Plant(
        13,
        "controllers/drain/epoch.py:Epoch.advance",
        "return None",
        "tests/unit/controllers/drain/test_epoch.py"
        "::test_when_time_goes_back_there_is_another_term_until_which_nothing_is_settled",
    ),
    Plant(
        13,
        "domain/drain/rules/waiting.py:wait_for_takeover",
        "return None",
        f"{DRAIN}/rules/test_waiting.py::test_each_wait_says_what_for",
    ),
    Plant(
        13,
        "runtime/cache/listwatch.py:ListWatchState.answered",
        "self._is_probing, self._is_confirmed = False, True",
        "tests/unit/runtime/cache/test_reflector.py"
        "::test_a_reflector_whose_server_was_set_back_while_it_was_away_reads_anew",
    ),
    Plant(
        14,
        "runtime/election/election.py:Election.is_lost",
        "return self.phase is Phase.LOST",
        "tests/unit/runtime/election/test_election.py"
        "::test_an_answer_after_the_deadline_does_not_bring_leadership_back",
    ),
    Plant(
        14,
        "runtime/election/elector.py:Elector.seconds_left",
        "return float('inf')",
        "tests/unit/runtime/election/test_elector.py::test_the_gate_counts_from_before_a_slow_renewal_was_sent",
    ),
    Plant(
        15,
        "domain/clusterconfig/status.py:summary",
        "return Condition(READY, 'True', 'AllReady', '')",
        "tests/unit/domain/clusterconfig/test_status.py::test_a_condition_that_is_absent_is_not_known_yet",
    ),
    Plant(
        16,
        "domain/clusterconfig/lifecycle.py:_lead_out",
        "return None",
        "tests/unit/domain/clusterconfig/test_lifecycle.py::test_teardown_goes_stage_by_stage",
    ),
    Plant(
        16,
        "domain/drain/protection/tasks.py:ReleaseBudget.run",
        "yield from ()\nreturn Done(Result.DONE, '')",
        "tests/unit/controllers/drain/test_endings.py"
        "::test_no_closed_budget_outlives_a_namespace_and_the_host_that_is_cut_off_is_named",
    ),
    Plant(
        17,
        "base/quoting.py:quoted",
        "return text",
        "tests/unit/base/test_quoting.py::test_a_quoted_text_is_one_short_line_of_usual_characters",
    ),
)


def _function(tree: ast.AST, owner: str) -> ast.FunctionDef:
    found = tree
    for name in owner.split("."):
        defined = (node for node in ast.walk(found) if isinstance(node, ast.FunctionDef | ast.ClassDef))
        found = next(node for node in defined if node.name == name)
    assert isinstance(found, ast.FunctionDef)
    return found


def _falls(items: Iterable[pytest.Item]) -> bool:
    """Whether one falls because of what it asserts, not because a plant is misspelt."""
    reports = [report for item in items for report in runtestprotocol(item, log=False, nextitem=None)]
    return any(report.failed for report in reports) and not any(
        "NameError" in report.longreprtext for report in reports
    )


def _finds(planted: Plant, items: Iterable[pytest.Item]) -> bool:
    planted.put()
    return _falls(items)


def _tried(items: list[pytest.Item]) -> int:
    """Say for each plant whether its test, which stands without it, falls."""
    found = []
    for planted in PLANTS:
        chosen = [item for item in items if item.nodeid.partition("[")[0] == planted.test]
        stood = chosen and begun(partial(_falls, chosen), 60).answer() is False
        found.append(bool(stood) and begun(partial(_finds, planted, chosen), 60).answer() is True)
    sys.stdout.write(f"\nFOUND {json.dumps(found)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(collected(sorted({each.test for each in PLANTS}), _tried))
