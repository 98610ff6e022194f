"""Each safety rule is kept by its code: with a fault planted there, a test that its row names falls."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from support.plants import PLANTS
from unit.repo.test_safety_docs import CODE, ROOT, RULES, TESTS


def test_every_rule_has_a_fault_in_code_and_for_a_test_that_its_row_names() -> None:
    assert {planted.rule for planted in PLANTS} == RULES.keys()
    for planted in PLANTS:
        row = RULES[planted.rule]
        assert planted.path in {path for path, _ in CODE.findall(row)}, planted
        assert planted.test in {"::".join(found) for found in TESTS.findall(row)}, planted


@pytest.mark.timeout(3000)
def test_each_fault_is_found_by_the_test_that_the_row_of_its_rule_names() -> None:
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    argv = [sys.executable, "-m", "support.plants"]
    ran = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=True)
    [line] = [line for line in ran.stdout.splitlines() if line.startswith("FOUND ")]
    found = json.loads(line.removeprefix("FOUND "))
    assert [planted for planted, falls in zip(PLANTS, found, strict=True) if not falls] == []
