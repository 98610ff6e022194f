"""`make deploy` and `make undeploy` on a real API server: what is installed, what is said, and when nothing is done."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.controlplane import ControlPlane
from support.controlplanes import StartControlPlane

ROOT = Path(__file__).parents[2]
IMAGE = "registry.example:5000/team/dpunetop:9.9.9"
DIGEST = f"registry.example/dpunetop@sha256:{'0' * 64}"
NAMESPACE = "openshift-dpu-network-operator"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dpuclusterconfigs.dpu.openshift.io"

pytestmark = pytest.mark.timeout(1200)


def hack_deploy(kubectl: Path | str, *words: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "TIMEOUT": "1s"}
    command = [str(ROOT / "hack" / "deploy"), words[0], str(kubectl), *words[1:]]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def cluster(start_control_plane: StartControlPlane) -> ControlPlane:
    return start_control_plane(Spec("infra"))


@pytest.mark.parametrize("image", [IMAGE, DIGEST], ids=["tag", "digest"])
def test_what_is_installed_differs_from_deploy_in_the_image_alone(programs: binaries.Binaries, image: str) -> None:
    printed = hack_deploy(programs.path("kubectl"), "print", image)
    _, _, shipped = (ROOT / "deploy" / "dpunetop.yaml").read_text().partition("\n")
    changed = set(printed.stdout.splitlines()) ^ set(shipped.splitlines())
    assert changed == {f"        image: {image}", "        image: registry.example/dpunetop:0.1.0"}


@pytest.mark.parametrize(
    ("image", "words"),
    [("", "no image: IMG="), ("registry.example:5000/dpunetop", "neither a tag nor a digest")],
)
def test_an_image_without_a_fixed_tag_or_digest_is_refused(programs: binaries.Binaries, image: str, words: str) -> None:
    refused = hack_deploy(programs.path("kubectl"), "apply", image)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert words in refused.stderr


def test_without_kubectl_a_line_says_what_to_do() -> None:
    refused = hack_deploy("no-such-kubectl", "apply", IMAGE)
    assert (refused.returncode, refused.stderr) == (
        1,
        "no no-such-kubectl: put kubectl on PATH, or name one: make deploy KUBECTL=…\n",
    )


def test_it_is_installed_says_that_it_does_not_run_and_goes_only_after_its_configs(
    programs: binaries.Binaries, cluster: ControlPlane
) -> None:
    kubectl, kubeconfig = programs.path("kubectl"), cluster.admin_kubeconfig
    refused = hack_deploy(kubectl, "apply", IMAGE, kubeconfig=kubeconfig)
    assert refused.returncode == 1
    assert "kubectl create namespace openshift-ovn-kubernetes" in refused.stderr

    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "openshift-ovn-kubernetes"}})
    stuck = hack_deploy(kubectl, "apply", IMAGE, kubeconfig=kubeconfig)  # there is no node for its pods
    assert stuck.returncode == 1
    assert f"kubectl --namespace {NAMESPACE} describe pods" in stuck.stderr
    installed = cluster.admin.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/dpunetop")
    assert installed["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE

    configs = "/apis/dpu.openshift.io/v1alpha1/namespaces/default/dpuclusterconfigs"
    kind = {"apiVersion": "dpu.openshift.io/v1alpha1", "kind": "DpuClusterConfig"}
    cluster.admin.create(configs, {**kind, "metadata": {"name": "tenant"}, "spec": {"poolName": "dpu"}})
    kept = hack_deploy(kubectl, "delete", kubeconfig=kubeconfig)
    assert (kept.returncode, kept.stdout) == (1, "")
    assert "default   tenant" in kept.stderr
    assert cluster.admin.get(CRD)

    cluster.admin.delete(f"{configs}/tenant")
    gone = hack_deploy(kubectl, "delete", kubeconfig=kubeconfig)
    assert (gone.returncode, gone.stderr) == (0, "")
    assert cluster.admin.get_or_empty(CRD) == {}
    again = hack_deploy(kubectl, "delete", kubeconfig=kubeconfig)
    assert (again.returncode, again.stderr) == (0, "")
