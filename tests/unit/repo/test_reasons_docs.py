"""What the documents name as a reason is one that the operator emits, and each that it emits is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpunetop.domain.reasons import CONDITIONS, REASONS
from support.outside import lines_of

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORD = re.compile(r"`((?:[A-Z][a-z0-9]+){2,}[A-Z]*[a-z0-9]*)`")
OF_OTHERS: dict[str, str] = {}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_document_names_no_word_that_the_operator_does_not_have(path: Path) -> None:
    known = {*lines_of("words"), *REASONS, *CONDITIONS, *OF_OTHERS}
    assert set(WORD.findall(path.read_text())) - known == set()


def test_the_readme_lists_every_condition_type() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [type_ for type_ in CONDITIONS if f"| `{type_}` |" not in readme] == []
