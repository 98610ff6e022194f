"""docs/cli.md lists the checks of `doctor` as they are."""

from __future__ import annotations

from pathlib import Path

from dpunetop.app import assets
from dpunetop.domain.doctor.table import CHECKS

ROOT = Path(__file__).parents[3]


def test_the_page_lists_each_check_of_doctor() -> None:
    rows = [f"| `{check.id}` | {check.title} | {check.looks_at} |" for check in CHECKS]
    assert "\n".join(rows) in (ROOT / "docs" / "cli.md").read_text(), "\n".join(rows)


def test_the_manifests_that_commands_ask_for_are_those_of_deploy() -> None:
    folder = ROOT / "src" / "dpunetop" / "app" / "assets" / "manifests"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["dpunetop.yaml", "tenant-namespace.yaml", "tenant-rights.yaml"]
    assert all((folder / name).read_bytes() == (ROOT / "deploy" / name).read_bytes() for name in names), (
        "make manifests"
    )
    assert assets.operator_manifests()
