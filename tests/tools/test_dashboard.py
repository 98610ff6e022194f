"""The dashboard: each query has data in a Prometheus that scrapes the operator, and Grafana knows each field."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dpunetop.sandbox import binaries
from dpunetop.sandbox.components import Spec
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.pki import Authority
from dpunetop.sandbox.processes import reserve_port
from dpunetop.sandbox.world import World
from support import election
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "config" / "prometheus" / "dashboard.json").read_text())
JOB = "dpunetop-metrics"
MONITOR = yaml.safe_load((ROOT / "config" / "prometheus" / "service_monitor.yaml").read_text())["spec"]["endpoints"][0]
NAMESPACE = "metrics"
OPERATOR_NAMESPACE = "openshift-dpu-network-operator"
QUERIES = [
    (panel["title"], target["expr"].replace("$job", JOB).replace("$__rate_interval", "15s"))
    for panel in DASHBOARD["panels"]
    for target in panel.get("targets", ())
]


@pytest.fixture(scope="module")
def prometheus(promtool: Path, programs: binaries.Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Prometheus that scrapes an operator which serves a DPU: over HTTPS, with a token that may."""
    folder = tmp_path_factory.mktemp("prometheus")
    scraper = promtool.with_name("prometheus")
    with serving_operator(folder) as (target, token), scraping(scraper, folder, target, token) as port:
        yield port


@contextlib.contextmanager
def serving_operator(folder: Path) -> Iterator[tuple[str, str]]:
    authority = Authority("metrics")
    pair = authority.serving(("localhost",), ("127.0.0.1",))
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "ca.crt").write_bytes(authority.pem)
    flags = (*election.FLAGS, "--metrics-secure", f"--metrics-cert-path={folder}")
    with World(dpus=0, infra=Spec("infra"), tenant=Spec("tenant"), boot_seconds=0.2, retry_seconds=0.2) as world:
        trial = Trial(world, NAMESPACE)
        reader = {"kind": "ServiceAccount", "name": "reader", "namespace": NAMESPACE}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "dpunetop-metrics-reader"}
        world.infra.apply(
            [
                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": NAMESPACE}},
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": "reader"},
                    "subjects": [reader],
                    "roleRef": role,
                },
            ]
        )
        with OperatorProcess(world.operator_kubeconfig(), env=election.environment(NAMESPACE), flags=flags) as operator:
            trial.ready()
            address = urllib.parse.urlsplit(operator.metrics_url).netloc
            yield address, world.infra.service_account_token(NAMESPACE, "reader")
        trial.close()


@contextlib.contextmanager
def scraping(program: Path, folder: Path, target: str, token: str) -> Iterator[int]:
    (folder / "token").write_text(token)
    job = {
        "job_name": JOB,
        "honor_labels": MONITOR["honorLabels"],
        "scheme": "https",
        "authorization": {"credentials_file": str(folder / "token")},
        "tls_config": {"ca_file": str(folder / "ca.crt")},
        "static_configs": [{"targets": [target], "labels": {"namespace": OPERATOR_NAMESPACE, "pod": "operator"}}],
    }
    configuration = folder / "prometheus.yaml"
    configuration.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))
    port = reserve_port()
    command = [str(program), f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port.number}"]
    with open(folder / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield port.number
        finally:
            process.terminate()
            port.release()


def answer(port: int, query: str) -> list[Any]:
    """What Prometheus says to a query; nothing while it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        said = connection.getresponse()
        text = said.read()
    except OSError:
        return []
    finally:
        connection.close()
    result: list[Any] = json.loads(text)["data"]["result"] if said.status == 200 else []
    return result


@pytest.mark.parametrize(("title", "query"), QUERIES, ids=[title for title, _ in QUERIES])
def test_each_query_returns_data(prometheus: int, title: str, query: str) -> None:
    assert eventually(lambda: answer(prometheus, query), bool), title


KNOWN = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
print(json.dumps(Dashboard.from_json(json.load(sys.stdin)), cls=JSONEncoder))
"""


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if pairs is None:
        return {path: value}
    return {key: leaf for name, inner in pairs for key, leaf in leaves(inner, f"{path}/{name}").items()}


def test_grafanas_own_model_knows_each_field() -> None:
    made = subprocess.run(["make", ".venv-docs/.ready"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    command = [str(ROOT / ".venv-docs" / "bin" / "python"), "-c", KNOWN]
    said = subprocess.run(command, input=json.dumps(DASHBOARD), capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert leaves(DASHBOARD).items() - leaves(json.loads(said.stdout)).items() == set()


def test_a_series_names_the_namespace_of_the_config_and_not_that_of_the_operator(prometheus: int) -> None:
    query = f'dpunetop_hosts_without_network{{job="{JOB}"}}'
    (found,) = eventually(lambda: answer(prometheus, query), bool)
    assert found["metric"]["namespace"] == NAMESPACE
