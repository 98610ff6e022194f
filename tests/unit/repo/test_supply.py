"""What the image is made of: base images by version, an audit that does not pass over what nobody looked up."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CONTAINERFILE = (ROOT / "Containerfile").read_text()
INDEX = b'{"manifests": []}'
DIGEST = f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
TAGS = ["latest", "9.8", "9.8-1785140801", "9.10-1790000000", "9.10-1790000000-source", "1-99"]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "hack" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass asks for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(name="images", scope="module")
def fixture_images() -> ModuleType:
    return script("base_images")


@pytest.fixture(name="audit", scope="module")
def fixture_audit() -> ModuleType:
    return script("audit")


def registry(*words: str) -> bytes:
    return json.dumps({"Tags": TAGS}).encode() if words[0] == "list-tags" else INDEX


def test_both_base_images_are_of_a_full_version_and_no_moving_tag() -> None:
    arguments = re.findall(r"^ARG \w+=(\S+)$", CONTAINERFILE, re.MULTILINE)
    assert len(arguments) == 2
    assert all(re.fullmatch(r"[^:@]+:\d+\.\d+-\d+(@sha256:[0-9a-f]{64})?", image) for image in arguments)


def test_renewed_images_are_the_newest_full_versions_by_digest(images: ModuleType) -> None:
    text = images.renewed(CONTAINERFILE, registry)
    name = "registry.access.redhat.com/ubi9/python-312"
    assert f"ARG BUILDER={name}:9.10-1790000000@{DIGEST}\n" in text
    assert f"ARG RUNTIME={name}-minimal:9.10-1790000000@{DIGEST}\n" in text
    assert images.renewed(text, registry) == text


def test_renewing_changes_nothing_else(images: ModuleType) -> None:
    def rest(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("ARG ")]

    assert rest(images.renewed(CONTAINERFILE, registry)) == rest(CONTAINERFILE)


def test_without_a_registry_the_file_stays_as_it_is(
    images: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert images.main() == 1
    assert "stay as they are" in capsys.readouterr().err
    assert (ROOT / "Containerfile").read_text() == CONTAINERFILE


def report(**packages: Any) -> dict[str, Any]:
    return {"dependencies": [{"name": name, **facts} for name, facts in packages.items()]}


CLEAN = {"version": "1", "vulns": []}
HOLE = {"version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
SKIPPED = {"skip_reason": "Dependency not found"}
VERDICTS: dict[str, tuple[dict[str, Any] | None, int, str]] = {
    "all looked up": (report(one=CLEAN, two=CLEAN), 0, "no known hole in 2 packages"),
    "one with a hole": (report(one=CLEAN, two=HOLE), 1, "two 1: CVE-1, mended in ['2']"),
    "one that the service does not know": (report(one=CLEAN, two=SKIPPED), 2, "NOT AUDITED"),
    "one that is missing in the answer": (report(one=CLEAN), 2, "does not know 1 packages: two"),
    "nobody answers": (None, 2, "NOT AUDITED"),
    "a hole beside one that nobody looked up": (report(one=HOLE, two=SKIPPED), 1, "NOT AUDITED"),
}


@pytest.mark.parametrize(("answer", "code", "words"), VERDICTS.values(), ids=VERDICTS.keys())
def test_an_audit_ends_well_only_if_every_package_was_looked_up(
    audit: ModuleType, answer: dict[str, Any] | None, code: int, words: str
) -> None:
    told = audit.verdict("a.txt", {"one", "two"}, answer)
    assert told.code == code
    assert words in "\n".join(told.lines)


def test_every_pinned_package_is_one_that_is_asked_about(audit: ModuleType) -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert len(audit.pinned(text)) == text.count("==")


def test_nobody_but_root_writes_the_program_in_the_image() -> None:
    [whole] = [line for line in CONTAINERFILE.replace("\\\n", " ").splitlines() if "compileall" in line]
    assert [part.strip() for part in whole.split("&&")][-2:] == [
        "chown -R 0:0 /opt/app",
        "chmod -R u=rwX,go=rX /opt/app",
    ]
    assert "g=u" not in CONTAINERFILE
