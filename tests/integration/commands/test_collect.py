"""`collect` on two real API servers: planted canaries do not get into the archive, and all else that should does."""

from __future__ import annotations

import base64
import json
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dpunetop.app.commands.collect import collect
from dpunetop.domain import names
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, SECRETS
from dpunetop.kube.meta import new_object
from dpunetop.kube.requests import get
from support.clinic import CONFIG, HOME, OPERATOR, OVERRIDES_PATH, OVN, SECRET, Clinic

CANARIES = ("canary-of-a-secret-7", "Canary-Of-A-Config-Map", "canaryOfAnAnnotation", "canaryOfTheEnvironment")
IN_SECRET, IN_CONFIG_MAP, IN_ANNOTATION, IN_ENV = CANARIES


@contextmanager
def planted(clinic: Clinic) -> Iterator[None]:
    """Secrets where people leave them: objects applied with kubectl, variables, other people's ConfigMaps."""
    for plane, home in ((clinic.infra, HOME), (clinic.infra, OPERATOR), (clinic.tenant, OVN)):
        encoded = base64.b64encode(IN_SECRET.encode()).decode()
        plane.apply(new_object(SECRETS, home, "canary", data={"password": encoded}))
        applied = json.dumps(new_object(CONFIGMAPS, home, "canary", data={"x": IN_CONFIG_MAP, "y": IN_SECRET}))
        plane.kubectl("apply", "--filename", "-", stdin=applied)
    note = {"metadata": {"annotations": {"example.com/note": IN_ANNOTATION}}}
    overrides = {**note, "data": {"bf2-broken": f"PASSWORD={IN_CONFIG_MAP}\n"}}
    path = get(DAEMONSETS, OVN, "ovnkube-node").target
    containers = clinic.tenant.admin.get(path)["spec"]["template"]["spec"]["containers"]
    containers[0]["env"] = [{"name": "DSN", "value": IN_ENV}]
    daemonset = {**note, "spec": {"template": {"spec": {"containers": containers}}}}
    with (
        clinic.changed(clinic.infra, OVERRIDES_PATH, overrides),
        clinic.changed(clinic.tenant, path, daemonset),
    ):
        yield


def test_an_archive_holds_diagnostics_and_no_secret(
    clinic: Clinic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "support.tar.gz"
    with planted(clinic):
        code = collect([*clinic.arguments, f"--file={file}"])
    told = capsys.readouterr().out
    with tarfile.open(file) as tar:
        found = {each.name: content.read().decode() for each in tar if (content := tar.extractfile(each)) is not None}
    whole = "\n".join((*found, *found.values(), told))
    stored = clinic.infra.admin.get(get(SECRETS, HOME, SECRET).target)["data"]["config"]
    token = json.loads(base64.b64decode(stored))["users"][0]["user"]["token"]
    secrets = [*CANARIES, *(base64.b64encode(each.encode()).decode() for each in CANARIES), token]
    assert [each for each in secrets if each in whole] == []
    assert (code, stat.S_IMODE(file.stat().st_mode)) == (0, 0o600), told
    names_ = {name.removeprefix("dpunetop-support/") for name in found}
    assert {
        "doctor.txt",
        "releases.json",
        "left-out.txt",
        f"infra/{HOME}/{names.DPUCLUSTERCONFIGS}/{CONFIG}.json",
        f"infra/{OPERATOR}/leases.coordination.k8s.io/dpunetop.json",
        f"tenant/{HOME}/{CONFIG}/{OVN}/daemonsets.apps/ovnkube-node.json",
        f"infra/{HOME}/secrets/canary.json",
    } <= names_
    secret = json.loads(found[f"dpunetop-support/infra/{HOME}/secrets/canary.json"])
    assert secret["data"] == {"password": f"<{len(base64.b64encode(IN_SECRET.encode()))} characters>"}


def test_a_file_is_not_overwritten(clinic: Clinic, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine"
    file.write_text("mine")
    assert collect([*clinic.arguments, f"--file={file}"]) == 2
    assert file.read_text() == "mine"
    assert "exists, and is not overwritten" in capsys.readouterr().err


def test_without_a_tenants_kubeconfig_it_says_what_it_lacks(
    clinic: Clinic, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = collect([clinic.arguments[0], f"--file={tmp_path / 'a.tar.gz'}"])
    assert code == 3
    assert f"left out: the tenant of {HOME}/{CONFIG}: no --tenant-kubeconfig was given" in capsys.readouterr().out
