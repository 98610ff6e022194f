"""What a host of repositories does with this one calls the Makefile, and a release says one version everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hack import release

from dpunetop import __version__

ROOT = Path(__file__).parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
TAG = f"v{__version__}"
CHANGELOG = (
    f"# Changelog\n\n## [Unreleased]\n\n## [{__version__}] - 2026-01-01\n\nApply rights.\n\n### Added\n\n- One.\n"
)


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_targets_that_there_are_and_little_else(workflow: Path) -> None:
    lines = [line for step in steps(workflow) if "run" in step for line in step["run"].splitlines()]
    assert lines
    assert [line for line in lines if not line.startswith(("make ", "gh release create "))] == []
    named = {word for line in lines for word in re.findall(r"[a-z][a-z-]+", line.partition("make ")[2].split(">")[0])}
    assert named <= TARGETS


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_more_rights_than_it_says_and_ends(workflow: Path) -> None:
    loaded = yaml.safe_load(workflow.read_text())
    assert loaded["permissions"] in ({"contents": "read"}, {"contents": "write"})
    assert all("timeout-minutes" in job for job in loaded["jobs"].values())
    assert "${{ github.event" not in workflow.read_text()


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_a_form_is_one_that_can_be_filled_in(form: Path) -> None:
    loaded = yaml.safe_load(form.read_text())
    if form.stem == "config":
        assert loaded["blank_issues_enabled"] is False
    else:
        assert {"name", "description", "body"} <= loaded.keys()
        fields = [field for field in loaded["body"] if field["type"] != "markdown"]
        assert len({field["id"] for field in fields}) == len(fields) > 2


def test_manifests_chart_and_bundle_are_of_the_version_of_the_package() -> None:
    texts = {name: (ROOT / "deploy" / name).read_text() for name in ("dpunetop.yaml", "chart/dpunetop/Chart.yaml")}
    assert re.findall(r"image: registry\.example/dpunetop:(\S+)", texts["dpunetop.yaml"]) == [__version__]
    assert re.findall(r"^(?:version|appVersion): (\S+)$", texts["chart/dpunetop/Chart.yaml"], re.MULTILINE) == [
        __version__,
        __version__,
    ]
    assert (ROOT / "deploy/bundle/manifests" / f"dpunetop.{TAG}.clusterserviceversion.yaml").is_file()


def test_the_notes_have_the_upgrade_steps_and_what_is_new() -> None:
    text = release.notes(TAG, CHANGELOG, (ROOT / ".github" / "release.md").read_text())
    assert "## What is new\n\n### Added\n\n- One.\n" in text
    assert "## Before you upgrade\n\nApply rights.\n" in text
    assert f"dpunetop:{__version__}\n" in text


@pytest.mark.parametrize(
    ("tag", "changelog", "words"),
    [
        ("1.2.3", CHANGELOG, "no tag of a release"),
        ("v1.2", CHANGELOG, "no tag of a release"),
        ("v99.0.0", CHANGELOG, f"is put on version {__version__}"),
        (TAG, "# Changelog\n\n## [Unreleased]\n\n- One.\n", f"no section [{__version__}]"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused(tag: str, changelog: str, words: str) -> None:
    with pytest.raises(release.Refused, match=re.escape(words)):
        release.notes(tag, changelog, "")
