"""An `ovnkube` is taken for what its own help text says, and refused with what to do about it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dpunetop.sandbox.realovn.packages import Unavailable
from dpunetop.sandbox.realovnkube import __main__ as command
from dpunetop.sandbox.realovnkube.program import Ovnkube, ovnkube_at


def program(folder: Path, help_: str) -> str:
    file = folder / "ovnkube"
    file.write_text(f'#!/bin/bash\n[[ $1 == --version ]] && echo "Version: 9.9" || echo "{help_}"\n')
    file.chmod(0o755)
    return str(file)


def test_its_options_are_those_of_its_help_text(tmp_path: Path) -> None:
    found = ovnkube_at(program(tmp_path, "   --simulate-dpu   as if\n   --zone value  the zone"))
    assert found.known("--zone=a", "--enable-interconnect", "--simulate-dpu") == ("--zone=a", "--simulate-dpu")
    assert found.version.startswith("Version: 9.9, sha256 ")


@pytest.mark.parametrize(
    ("help_", "words"), [(None, "docs/real-ovn.md"), ("   --zone value", "does not know --simulate-dpu")]
)
def test_one_that_is_of_no_use_is_refused(tmp_path: Path, help_: str | None, words: str) -> None:
    path = str(tmp_path / "none") if help_ is None else program(tmp_path, help_)
    with pytest.raises(Unavailable, match=words):
        ovnkube_at(path)


def test_without_one_the_command_is_skipped_and_that_is_loud(capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main(["", "false"]) == 0
    assert "SKIPPED: the real ovnkube was not run." in capfd.readouterr().err


def test_one_that_is_named_and_cannot_be_used_is_a_failure(capfd: pytest.CaptureFixture[str]) -> None:
    assert command.main(["/nowhere/ovnkube", "true"]) == 1
    assert "no ovnkube: /nowhere/ovnkube" in capfd.readouterr().err


def test_the_shim_changes_the_type_of_a_port_and_nothing_else(tmp_path: Path) -> None:
    programs = Ovnkube(tmp_path / "ovnkube", "", frozenset()).programs(tmp_path / "programs")
    text = programs["ovs-vsctl"].read_text().replace("exec /usr/bin/ovs-vsctl", "printf '%s|'")
    words = ["--", "set", "interface", "rep0-1", "type=dpdk", "mtu_request=1400", "external_ids:a=type=dpdk"]
    said = subprocess.run(["/bin/bash", "-c", text, "shim", *words], capture_output=True, text=True, check=True).stdout
    assert said == "--|set|interface|rep0-1|type=system|mtu_request=1400|external_ids:a=type=dpdk|"
