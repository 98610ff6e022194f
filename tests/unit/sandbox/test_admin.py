"""Manifests are read in every form that is promised, and paths are those of the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from dpunetop.sandbox.admin import collection_path, objects_of


@pytest.mark.parametrize(
    ("given", "path"),
    [
        (("v1", "nodes", None), "/api/v1/nodes"),
        (("v1", "secrets", "ns"), "/api/v1/namespaces/ns/secrets"),
        (("apps/v1", "daemonsets", "ns"), "/apis/apps/v1/namespaces/ns/daemonsets"),
    ],
)
def test_a_collection_has_its_path(given: tuple[str, str, str | None], path: str) -> None:
    assert collection_path(*given) == path


def test_objects_come_from_text_from_a_file_and_as_they_are(tmp_path: Path) -> None:
    text = "kind: A\n---\n---\nkind: B\n"
    (tmp_path / "manifest.yaml").write_text(text)
    expected = [{"kind": "A"}, {"kind": "B"}]
    assert objects_of(text) == expected
    assert objects_of(tmp_path / "manifest.yaml") == expected
    assert objects_of(iter(expected)) == expected
    assert objects_of({"kind": "A"}) == [{"kind": "A"}]
