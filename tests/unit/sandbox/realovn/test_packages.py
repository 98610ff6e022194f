from __future__ import annotations

from pathlib import Path

import pytest

from dpunetop.sandbox.realovn import namespaces, packages
from dpunetop.sandbox.realovn.packages import Unavailable


def test_packages_are_kept_by_suite_in_the_users_cache(tmp_path: Path) -> None:
    assert packages.cache_folder({"XDG_CACHE_HOME": str(tmp_path)}).parent == tmp_path / "dpunetop" / "ovn"


def test_a_machine_without_apt_is_told_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no apt-get, bash, dpkg-deb"):
        packages.find({"XDG_CACHE_HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_a_version_with_an_epoch_is_read_from_the_name_of_its_archive(tmp_path: Path) -> None:
    assert packages._name_and_version(Path("x_1%3a2.3-4_amd64.deb")) == "x 1:2.3-4"


@pytest.mark.parametrize(("environment", "code"), [({}, 0), ({"CI": "true"}, 1)])
def test_without_programs_the_real_ovn_is_skipped_loudly_and_ci_fails(
    environment: dict[str, str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("CI", raising=False)
    for name, text in {"PATH": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, text)
    assert namespaces.main(["true"]) == code
    assert "SKIPPED: the real OVN was not run. this machine has no setpriv, unshare" in capsys.readouterr().err


def test_nothing_is_mounted_outside_of_a_world_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DPUNETOP_OUTSIDE_NET", raising=False)
    assert not namespaces.is_inside()
    with pytest.raises(Unavailable, match="in namespaces of its own"):
        namespaces.require_inside()


def test_to_know_of_the_outside_is_not_to_be_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPUNETOP_OUTSIDE_NET", namespaces.environment({})["DPUNETOP_OUTSIDE_NET"])
    assert not namespaces.is_inside()
