"""What others rely on stays as it is, whatever is renamed or moved inside."""

from __future__ import annotations

import pytest

from support.outside import RECORDED, SECTIONS, lines_of, recorded

HOW = "after a change that the changelog names: PYTHONPATH=tests python -m support.outside"


@pytest.mark.parametrize("section", SECTIONS)
def test_what_leaves_the_process_is_what_was_promised(section: str) -> None:
    assert lines_of(section) == recorded(section), HOW


def test_every_recorded_section_is_compared() -> None:
    assert {path.stem for path in RECORDED.glob("*.txt")} == set(SECTIONS)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("names", "dpu.openshift.io/cycle"),
        ("managers", "dpunetop-drain"),
        ("words", "HostLeftCordoned"),
        ("metrics", "workqueue_depth gauge {name,controller,priority}"),
        ("flags", "--kubeconfig KUBECONFIG"),
    ],
)
def test_a_section_sees_what_it_is_for(section: str, line: str) -> None:
    assert line in lines_of(section)
