"""What the security documents name as shown is shown: each test that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
NAMED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")
DOCUMENTS = ("SECURITY.md", "docs/security.md")
ATTACKERS = (
    "### Who administers a tenant, or its API server",
    "### Who may write in a namespace of infra",
    "### Who is root on a DPU",
    "### Who is in the network",
    "### Who holds the operator's token",
)


def named(document: str) -> list[tuple[str, str]]:
    return NAMED.findall((ROOT / document).read_text())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_that_is_named_exists(document: str) -> None:
    found = named(document)
    assert found
    missing = [f"{path}::{name}" for path, name in found if f"def {name}(" not in (ROOT / path).read_text()]
    assert missing == []


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_each_row_about_an_attacker_names_a_test(attacker: str) -> None:
    _, _, rest = (ROOT / "docs" / "security.md").read_text().partition(attacker + "\n")
    table = [line for line in re.split(r"\n##", rest)[0].splitlines() if line.startswith("|")]
    head, rule, *rows = table
    assert head.endswith("| shown by |")
    assert set(rule) <= set("|-")
    assert len(rows) >= 3
    assert [row for row in rows if not NAMED.search(row.rsplit("|", 2)[1])] == []


def test_every_attack_of_the_bulkheads_is_in_a_row() -> None:
    text = (ROOT / "tests" / "integration" / "operator" / "test_bulkheads.py").read_text()
    attacks = set(re.findall(r"^def (test_\w+)", text, re.MULTILINE))
    about_grants = {
        "test_of_two_new_ones_that_name_one_pool_one_is_served_and_the_other_is_told_which",
        "test_a_dpu_that_loses_its_grant_serves_until_its_host_is_drained",
        "test_a_namespace_grants_other_roles_and_narrows",
    }
    assert attacks - {name for _, name in named("docs/security.md")} - about_grants == set()


def granted() -> set[tuple[str, str, frozenset[str], str]]:
    """Each right that the operator is given in a tenant: where, of which kind, by which names, with which verbs."""
    roles = [
        role
        for role in yaml.safe_load_all((ROOT / "deploy" / "tenant-rights.yaml").read_text())
        if role["kind"] in ("Role", "ClusterRole") and role["metadata"]["name"] == "dpunetop-operator"
    ]
    return {
        (role["kind"], kind, frozenset(rule.get("resourceNames", ())), ", ".join(rule["verbs"]))
        for role in roles
        for rule in role["rules"]
        for kind in rule["resources"]
    }


def test_the_page_lists_each_right_in_a_tenant_and_no_other() -> None:
    table = (ROOT / "docs" / "security.md").read_text().partition("| where | what | names | verbs | for |\n")[2]
    rows = [row.strip("| ").split(" | ") for row in table.split("\n\n")[0].splitlines()[1:]]
    kinds = {"OVN namespace": "Role", "cluster": "ClusterRole"}
    listed = [(kinds[row[0]], row[1].strip("`"), frozenset(re.findall("`([^`]+)`", row[2])), row[3]) for row in rows]
    assert set(listed) == granted()
    assert len(listed) == len(granted()) > 15
