"""The flags of the command `sandbox`."""

from __future__ import annotations

import pytest

from dpunetop.sandbox.cli import sandbox


@pytest.mark.parametrize("flags", [["--dpus", "0"], ["--dpus", "many"], ["--dpus", "201"], ["--unknown"]], ids=str)
def test_a_flag_that_cannot_be_used_ends_with_2_before_anything_is_started(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        sandbox(flags)
    assert (ended.value.code, capsys.readouterr().out) == (2, "")
