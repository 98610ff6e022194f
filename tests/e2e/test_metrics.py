"""Metrics as a monitoring stack reads them: over HTTPS, with a ServiceAccount that has the shipped right to do so."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from dpunetop.app.wiring import TENANT_LANES
from dpunetop.sandbox.controlplane import ControlPlane
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.pki import Authority
from dpunetop.sandbox.world import World
from support import election
from support.hostilecallers import GIANT_HEADERS, ON_ANY_PORT, ON_TLS, Habit, besieged
from support.trial import Trial, eventually

pytestmark = pytest.mark.timeout(900)

RBAC = "rbac.authorization.k8s.io"
READER_ROLE = "dpunetop-metrics-reader"
CONTROLLERS = {"clusterconfig", "hostconfig", "tenantlink", "tenantobjects", "ovnkube"}
NAME = "metrics"


@dataclass(frozen=True)
class Scraped:
    """A running operator that has served a quick start, and how to scrape it."""

    operator: OperatorProcess
    trust: ssl.SSLContext
    infra: ControlPlane
    folder: Path
    """Of the serving certificate."""

    def get(self, token: str | None, path: str = "/metrics") -> tuple[int, str]:
        address = urlsplit(self.operator.metrics_url)
        connection = http.client.HTTPSConnection(address.hostname or "", address.port, context=self.trust, timeout=60)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    @property
    def metrics(self) -> tuple[str, int]:
        address = urlsplit(self.operator.metrics_url)
        return address.hostname or "", address.port or 0

    @property
    def health(self) -> tuple[str, int]:
        address = urlsplit(self.operator.health_url)
        return address.hostname or "", address.port or 0

    def probe(self, path: str) -> int:
        """As the kubelet does, from an address of its own."""
        connection = http.client.HTTPConnection(*self.health, timeout=60, source_address=("127.0.9.9", 0))
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        finally:
            connection.close()

    def forget_most_memory(self) -> None:
        """Count the most memory from now on."""
        Path(f"/proc/{self.operator.pid}/clear_refs").write_text("5")

    def most_memory_mib(self) -> float:
        """The most that the operator has had in memory since."""
        lines = Path(f"/proc/{self.operator.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024

    def families(self) -> dict[str, Metric]:
        status, body = self.get(self.token("reader"))
        assert status == 200
        return {family.name: family for family in text_string_to_metric_families(body)}

    def token(self, account: str) -> str:
        return self.infra.service_account_token(NAME, account)


@pytest.fixture(scope="module")
def scraped(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder, authority = tmp_path_factory.mktemp("serving"), Authority("metrics")
    write_certificate(folder, authority)
    trial = Trial(world, NAME)
    world.infra.apply([account("reader"), account("stranger"), binding("reader")])
    operator = OperatorProcess(
        world.operator_kubeconfig(),
        env=election.environment(NAME),
        flags=(*election.FLAGS, "--metrics-secure", f"--metrics-cert-path={folder}"),
    )
    with operator:
        trial.ready()
        yield Scraped(operator, ssl.create_default_context(cadata=authority.pem.decode()), world.infra, folder)
    trial.close()


def write_certificate(folder: Path, authority: Authority) -> None:
    pair = authority.serving(("localhost",), ("127.0.0.1",))
    (folder / "tls.crt").write_bytes(pair.certificate)
    (folder / "tls.key").write_bytes(pair.key)


def account(name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAME}}


def binding(name: str) -> dict[str, object]:
    """Of the role that config/rbac ships for whoever scrapes."""
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"e2e-metrics-{name}"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAME}],
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": READER_ROLE},
    }


def total(family: Metric, **labels: str) -> float:
    """Sum of all samples of that name and those labels."""
    fits = [s for s in family.samples if all(s.labels.get(label) == value for label, value in labels.items())]
    assert fits, f"{family.name} has no sample with {labels}"
    return sum(sample.value for sample in fits)


def test_a_scrape_without_a_token_gets_no_metrics(scraped: Scraped) -> None:
    status, body = scraped.get(None)
    assert status == 401
    assert "workqueue" not in body


def test_a_scrape_with_an_unknown_token_gets_no_metrics(scraped: Scraped) -> None:
    assert scraped.get("not-a-token")[0] == 401


def test_a_scrape_without_the_right_to_the_path_gets_no_metrics(scraped: Scraped) -> None:
    status, body = scraped.get(scraped.token("stranger"))
    assert status == 403
    assert "workqueue" not in body


def test_the_requests_to_both_clusters_are_counted(scraped: Scraped, world: World) -> None:
    families = scraped.families()
    for cluster in (world.infra, world.tenant):
        host = urlsplit(cluster.url).netloc
        assert total(families["rest_client_requests"], host=host, method="GET", code="200") > 0
    infra = urlsplit(world.infra.url).netloc
    assert total(families["rest_client_requests"], host=infra, method="PATCH") >= 9
    durations = families["rest_client_request_duration_seconds"]
    assert durations.type == "histogram"
    assert any(sample.name.endswith("_count") and sample.value > 0 for sample in durations.samples)


@pytest.mark.parametrize("controller", sorted(CONTROLLERS))
def test_each_queue_is_seen_to_have_worked_and_to_be_empty(scraped: Scraped, controller: str) -> None:
    gauges = (
        "workqueue_depth",
        "workqueue_unfinished_work_seconds",
        "workqueue_longest_running_processor_seconds",
    )
    families = eventually(
        scraped.families, lambda found: not any(total(found[gauge], name=controller) for gauge in gauges)
    )
    assert total(families["workqueue_adds"], name=controller) > 0
    for histogram in ("workqueue_queue_duration_seconds", "workqueue_work_duration_seconds"):
        samples = families[histogram].samples
        assert any(s.name.endswith("_count") and s.labels["name"] == controller and s.value > 0 for s in samples)


@pytest.mark.parametrize("controller", sorted(CONTROLLERS))
def test_each_controller_reports_every_result_of_its_reconciles_also_those_at_zero(
    scraped: Scraped, controller: str
) -> None:
    families = eventually(
        scraped.families,
        lambda found: total(found["controller_runtime_active_workers"], controller=controller) == 0,
    )
    results = families["controller_runtime_reconcile"]
    good = ("success", "requeue_after")  # who looks again after a while has nothing else to report
    assert sum(total(results, controller=controller, result=result) for result in good) > 0
    assert total(results, controller=controller, result="error") == 0
    assert total(families["controller_runtime_reconcile_errors"], controller=controller) == 0
    assert total(families["controller_runtime_reconcile_panics"], controller=controller) == 0
    assert total(families["controller_runtime_terminal_reconcile_errors"], controller=controller) == 0
    most = TENANT_LANES if controller == "tenantlink" else 16
    assert total(families["controller_runtime_max_concurrent_reconciles"], controller=controller) == most


def test_the_leader_says_that_it_leads(scraped: Scraped) -> None:
    assert total(scraped.families()["leader_election_master_status"], name="dpunetop") == 1


@pytest.mark.parametrize("habits", [ON_ANY_PORT, (GIANT_HEADERS,)], ids=["of all kinds", "with giant headers"])
def test_two_hundred_hostile_callers_keep_no_probe_out_and_take_no_memory(
    scraped: Scraped, habits: tuple[Habit, ...]
) -> None:
    scraped.families()
    scraped.forget_most_memory()
    before = scraped.most_memory_mib()
    with besieged(scraped.health, habits, 200, 200), besieged(scraped.metrics, (*habits, *ON_TLS), 200, 200):
        probes = [scraped.probe(path) for path in ("/healthz", "/readyz") * 10]
        scrapes = [scraped.get(scraped.token("reader"))[0] for _ in range(10)]
    assert (probes, scrapes) == ([200] * 20, [200] * 10)
    assert scraped.most_memory_mib() - before <= 16


def test_a_renewed_certificate_is_served_without_a_restart(scraped: Scraped) -> None:
    renewed = Authority("renewed")
    write_certificate(scraped.folder, renewed)
    trust = ssl.create_default_context(cadata=renewed.pem.decode())
    assert replace(scraped, trust=trust).get(scraped.token("reader"))[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        scraped.get(scraped.token("reader"))
