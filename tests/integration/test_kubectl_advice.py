"""What is advised of a kubeconfig that is refused works: the real kubectl makes of it one that is taken.

So it does with every file that tools make, which the real client-go reads here as we do.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected
from dpunetop.sandbox.binaries import Binaries
from support.toolkubeconfigs import CA_PEM, CERT_PEM, PARAMETERS, SEC1, SERVER, TOKEN, TOOLS

ADVICE = ("--minify", "--flatten", "--raw")


def view(programs: Binaries, kubeconfig: Path, *options: str) -> bytes:
    """What `kubectl config view` prints of a kubeconfig."""
    command = [str(programs.path("kubectl")), f"--kubeconfig={kubeconfig}", "config", "view", *options]
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout


@pytest.mark.parametrize("text", TOOLS.values(), ids=TOOLS.keys())
def test_kubectl_writes_what_a_tool_made_anew_and_it_is_read_the_same(
    programs: Binaries, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)
    assert parse_kubeconfig(view(programs, file, *ADVICE)) == parse_kubeconfig(text.encode())


def persons(folder: Path) -> dict[str, Any]:
    """A file as it grows on a laptop: several clusters, files beside it, extensions everywhere."""
    (folder / "ca.crt").write_bytes(b"# ours\n" + CA_PEM)
    (folder / "u.pem").write_bytes(CERT_PEM + PARAMETERS + SEC1)
    extensions = [{"name": "info", "extension": {"provider": "minikube.sigs.k8s.io", "version": "v1.36.0"}}]
    files = {"client-certificate": "u.pem", "client-key": "u.pem"}
    wanted = {"server": SERVER, "certificate-authority": "ca.crt", "extensions": extensions}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {"colors": True},
        "extensions": extensions,
        "clusters": [
            {"name": "lab", "cluster": {"server": "https://lab.example", "insecure-skip-tls-verify": True}},
            {"name": "tenant", "cluster": wanted},
        ],
        "contexts": [
            {"name": "lab", "context": {"cluster": "lab", "user": "cloud"}},
            {"name": "tenant", "context": {"cluster": "tenant", "user": "admin", "extensions": extensions}},
        ],
        "current-context": "tenant",
        "users": [
            {"name": "admin", "user": {**files, "extensions": extensions}},
            {"name": "cloud", "user": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}}},
        ],
    }


def with_one_context(document: dict[str, Any]) -> dict[str, Any]:
    [_, tenant], [admin, _] = document["clusters"], document["users"]
    return {**document, "clusters": [tenant], "contexts": document["contexts"][1:], "users": [admin]}


@pytest.mark.parametrize("alter", [dict, with_one_context], ids=["several contexts", "one context"])
def test_the_advice_makes_of_a_persons_file_one_that_is_taken(programs: Binaries, tmp_path: Path, alter: Any) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(alter(persons(tmp_path))))
    with pytest.raises(KubeconfigRejected, match=" ".join(ADVICE)):
        parse_kubeconfig(file.read_bytes())
    model = parse_kubeconfig(view(programs, file, *ADVICE))
    assert (model.server, model.ca_pem) == (SERVER, CA_PEM.decode())
    assert model.client_cert_pem == CERT_PEM.decode()


def test_what_is_refused_for_a_token_file_is_taken_with_what_is_in_it(programs: Binaries, tmp_path: Path) -> None:
    """kubectl leaves a token file what it is, so no option of it is advised."""
    (tmp_path / "token").write_text(TOKEN)
    document = with_one_context(persons(tmp_path))
    document["users"][0]["user"] = {"tokenFile": str(tmp_path / "token")}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(document))
    flat = view(programs, file, *ADVICE)
    with pytest.raises(KubeconfigRejected, match="give what is in it as token"):
        parse_kubeconfig(flat)
    assert parse_kubeconfig(flat.replace(b"tokenFile: " + str(tmp_path / "token").encode(), f"token: {TOKEN}".encode()))
