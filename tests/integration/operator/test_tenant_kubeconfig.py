"""`tenant-kubeconfig` against a real tenant: what it makes is taken by the operator, which becomes Ready with it."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop.app import assets
from dpunetop.app.commands.doctor import doctor
from dpunetop.app.commands.tenantkubeconfig import tenant_kubeconfig
from dpunetop.domain.tenant.credentialend import end_of, end_of_authority, end_of_token
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from support.minting import forget_others
from support.trial import Trial

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def arguments(trial: Trial, tmp_path: Path) -> Iterator[list[str]]:
    """Flags of an administrator of the tenant; what they leave in all of the tenant goes, and what others left."""
    forget_others(trial)
    yield [
        f"--tenant-kubeconfig={trial.world.tenant.admin_kubeconfig}",
        f"--file={tmp_path / 'tenant.kubeconfig'}",
        f"--tenant-namespace={trial.tenant_namespace}",
        f"--namespace={trial.namespace}",
        f"--secret={trial.names.secret}",
    ]
    for obj in assets.tenant_manifests():
        if "namespace" not in obj["metadata"] and trial.tenant.get_or_empty(trial.tenant.path_of(obj)):
            trial.tenant.delete(trial.tenant.path_of(obj))
    forget_others(trial)


def test_the_operator_becomes_ready_with_it(
    trial: Trial, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, file = tenant_kubeconfig([*arguments, "--apply"]), tmp_path / "tenant.kubeconfig"
    told = capsys.readouterr().out
    assert code == 0, told
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = parse_kubeconfig(file.read_bytes())
    trust = end_of_authority(made.ca_pem)
    assert made.token is not None
    assert end_of_token(made.token) is None
    assert trust is not None
    assert f"what it knows the server by ends on {trust.text}" in told
    assert f"lasts until Secret {trial.tenant_namespace}/dpunetop-operator-token of the tenant is deleted" in told
    assert f"kubectl create secret generic {trial.names.secret} --from-file=config={file}" in told
    trial.store_kubeconfig(file.read_text())
    trial.store_overrides()
    trial.create_config()
    trial.wait("Ready", "True")
    assert trial.condition("DpuCredentialValid")["reason"] == "Minted"
    looked = doctor(
        [
            f"--kubeconfig={trial.world.infra.admin_kubeconfig}",
            f"--tenant-kubeconfig={trial.world.tenant.admin_kubeconfig}",
            "--output=json",
        ]
    )
    printed = capsys.readouterr().out  # stand-ins log to it as well
    found = json.JSONDecoder().raw_decode(printed, printed.index('{\n  "checks"'))[0]["checks"]
    wrong = [each for check in found for each in check["findings"] if each["verdict"] == "fail"]
    assert (looked, wrong) == (3, []), found  # the operator is a process here, which no Deployment shows


def test_a_token_with_a_duration_says_when_it_ends_and_how_it_is_renewed(
    trial: Trial, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = tenant_kubeconfig([*arguments, "--apply", "--duration=24h"])
    end = end_of(parse_kubeconfig((tmp_path / "tenant.kubeconfig").read_bytes()))
    assert code == 0
    assert end is not None
    assert f"its token ends on {end.text}; before that, make another" in capsys.readouterr().out


def test_without_the_rights_nothing_is_made(
    trial: Trial, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tenant_kubeconfig(arguments) == 2
    assert "has no ServiceAccount" in capsys.readouterr().err
    assert not (tmp_path / "tenant.kubeconfig").exists()
