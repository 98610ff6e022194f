"""The alerts, by promtool: each fires on what it is for, is quiet otherwise, and has a page that says what to do."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.outside import recorded

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
RULES = ROOT / "config" / "prometheus" / "rules.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks"
JOB = 'job="dpunetop-metrics"'
UP = f'up{{{JOB},pod="a"}}'

Obj = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Series by what promtool calls their values, once so that the alert fires and once so that it does not."""

    minutes: int
    labels: str
    fires: dict[str, str]
    quiet: dict[str, str]


LEADS = f'leader_election_master_status{{{JOB},name="dpunetop",pod="%s"}}'
STARTED = f'process_start_time_seconds{{{JOB},pod="a"}}'
MEMORY = f'process_resident_memory_bytes{{{JOB},namespace="n",pod="a"}}'
ERRORS = f'controller_runtime_reconcile_errors_total{{{JOB},controller="drain"}}'
PASSES = f'controller_runtime_reconcile_total{{{JOB},controller="drain",result="%s"}}'
PANICS = f'controller_runtime_reconcile_panics_total{{{JOB},controller="drain"}}'
LONGEST = f'workqueue_longest_running_processor_seconds{{{JOB},name="drain",controller="drain"}}'
DEPTH = f'workqueue_depth{{{JOB},name="drain",controller="drain",priority=""}}'
REQUESTS = f'rest_client_requests_total{{{JOB},host="api",method="GET",code="%s"}}'
EXPIRY = f'dpunetop_tenant_credential_expiry_timestamp_seconds{{{JOB},namespace="n",name="c"}}'
KUBECONFIG = f'dpunetop_tenant_kubeconfig_expiry_timestamp_seconds{{{JOB},namespace="n",name="c"}}'
CERTIFICATES = f'dpunetop_certificate_expiry_timestamp_seconds{{{JOB},namespace="n",name="c",certificate="ovn-cert"}}'
OWN_EXPIRY = f'dpunetop_operator_credential_expiry_timestamp_seconds{{{JOB},pod="a"}}'
NETWORKS = f'dpunetop_hosts_without_network{{{JOB},namespace="n",name="c"}}'
UNKNOWN = f'dpunetop_hosts_unknown{{{JOB},namespace="n",name="c"}}'
STUCK = f'dpunetop_drains_stuck{{{JOB},namespace="n",name="c",reason="HostAbsent"}}'
UNPROTECTED = f'dpunetop_pairs_unprotected{{{JOB},namespace="n",name="c"}}'
SAYS = f'dpunetop_condition{{{JOB},namespace="n",name="c",type="%s",status="%s",reason="%s"}}'
CERTIFICATE = f'certwatcher_read_certificate_errors_total{{{JOB},namespace="n",pod="a"}}'
DRAIN = 'controller="drain",'
CONFIG = 'namespace="n",name="c",'
DAY = 86400

CASES: dict[str, Case] = {
    "DpunetopAbsent": Case(10, "", {UP: "0x60"}, {UP: "1x60"}),
    "DpunetopNoLeader": Case(
        10, "", {LEADS % "a": "0x60", LEADS % "b": "0x60"}, {LEADS % "a": "0x60", LEADS % "b": "1x60"}
    ),
    "DpunetopRestarting": Case(50, JOB + ',pod="a",', {STARTED: "0+600x60"}, {STARTED: "600x60"}),
    "DpunetopMemoryHigh": Case(20, 'namespace="n",pod="a",', {MEMORY: "500000000x60"}, {MEMORY: "100000000x60"}),
    "DpunetopReconcileErrors": Case(
        40,
        DRAIN,
        {ERRORS: "0+30x60", PASSES % "error": "0+30x60", PASSES % "success": "0+30x60"},
        {ERRORS: "0+1x60", PASSES % "error": "0+1x60", PASSES % "success": "0+59x60"},
    ),
    "DpunetopReconcilePanic": Case(10, DRAIN, {PANICS: "0 0 1x60"}, {PANICS: "1x60"}),
    "DpunetopWorkStuck": Case(20, DRAIN, {LONGEST: "0+60x60"}, {LONGEST: "10x60"}),
    "DpunetopBacklog": Case(20, DRAIN, {DEPTH: "200x60"}, {DEPTH: "200 0x60"}),
    "DpunetopApiServerFailing": Case(
        30,
        'host="api",',
        {REQUESTS % "<error>": "0+40x60", REQUESTS % "503": "0+20x60", REQUESTS % "200": "0+10x60"},
        {REQUESTS % "<error>": "0+1x60", REQUESTS % "404": "0+50x60", REQUESTS % "200": "0+10x60"},
    ),
    "DpunetopApiServerForbids": Case(50, 'host="api",', {REQUESTS % "403": "0+1x60"}, {REQUESTS % "403": "5x60"}),
    "DpunetopCredentialExpires": Case(20, CONFIG, {EXPIRY: f"{2 * DAY}x60"}, {EXPIRY: f"{6 * DAY}x60"}),
    "DpunetopCredentialExpiresToday": Case(5, CONFIG, {EXPIRY: f"{DAY // 2}x60"}, {EXPIRY: f"{2 * DAY}x60"}),
    "DpunetopHostWithoutNetwork": Case(10, CONFIG, {NETWORKS: "0 0 1x60"}, {NETWORKS: "1x3 0x60"}),
    "DpunetopHostsUnknown": Case(20, CONFIG, {UNKNOWN: "1x60"}, {UNKNOWN: "2x9 0x60"}),
    "DpunetopDrainStuck": Case(30, CONFIG + 'reason="HostAbsent",', {STUCK: "1x60"}, {STUCK: "1x5 _x60"}),
    "DpunetopPairUnprotected": Case(50, CONFIG, {UNPROTECTED: "2x60"}, {UNPROTECTED: "2x9 0x60"}),
    "DpunetopTenantUnreachable": Case(
        30,
        CONFIG + 'reason="Unreachable",',
        {SAYS % ("TenantReachable", "False", "Unreachable"): "1x60"},
        {SAYS % ("TenantReachable", "True", "Reachable"): "1x60", SAYS % ("CredentialsValid", "False", "Bad"): "1x60"},
    ),
    "DpunetopRolloutStopped": Case(
        60,
        CONFIG + 'reason="RollingOut",type="OvnKubeReady",',
        {SAYS % ("OvnKubeReady", "False", "RollingOut"): "1x70"},
        {SAYS % ("OvnKubeReady", "True", "Serving"): "1x70", SAYS % ("McpReady", "False", "RollingOut"): "1x20 _x60"},
    ),
    "DpunetopNotReady": Case(
        80, CONFIG, {SAYS % ("Ready", "False", "HostAbsent"): "1x90"}, {SAYS % ("Ready", "True", "AllReady"): "1x90"}
    ),
    "DpunetopCertificateExpires": Case(
        20, f'{CONFIG}certificate="ovn-cert",', {CERTIFICATES: f"{6 * DAY}x60"}, {CERTIFICATES: f"{8 * DAY}x60"}
    ),
    "DpunetopCertificateExpiresToday": Case(
        5, f'{CONFIG}certificate="ovn-cert",', {CERTIFICATES: f"{DAY // 2}x60"}, {CERTIFICATES: f"{2 * DAY}x60"}
    ),
    "DpunetopKubeconfigExpires": Case(20, CONFIG, {KUBECONFIG: f"{6 * DAY}x60"}, {KUBECONFIG: f"{8 * DAY}x60"}),
    "DpunetopKubeconfigExpiresToday": Case(5, CONFIG, {KUBECONFIG: f"{DAY // 2}x60"}, {KUBECONFIG: f"{2 * DAY}x60"}),
    "DpunetopOwnCredentialExpires": Case(10, 'pod="a",', {OWN_EXPIRY: "700x60"}, {OWN_EXPIRY: f"{DAY}x60"}),
    "DpunetopMetricsCertificate": Case(40, 'namespace="n",pod="a",', {CERTIFICATE: "0+1x60"}, {CERTIFICATE: "3x60"}),
}
SHOWN_AS_IS = {"up"}
"""Made by Prometheus, not by the operator."""


def rules() -> list[Obj]:
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules as Prometheus reads them, without the Kubernetes object around them."""
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    return file


def run(promtool: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(promtool), *words], capture_output=True, text=True, timeout=120, check=False)


def test_promtool_accepts_the_rules(promtool: Path, rule_file: Path) -> None:
    said = run(promtool, "check", "rules", "--lint-fatal", str(rule_file))
    assert said.returncode == 0, said.stdout + said.stderr


def scenario(alert: str, case: Case, series: dict[str, str], *, expected: list[Obj]) -> Obj:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'ALERTS{{alertname="{alert}",alertstate="firing"}}',
                "eval_time": f"{case.minutes}m",
                "exp_samples": expected,
            }
        ],
    }


def test_each_alert_fires_in_its_case_and_not_in_the_quiet_one(promtool: Path, rule_file: Path) -> None:
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    tests = []
    for alert, case in CASES.items():
        name = f'ALERTS{{alertname="{alert}",alertstate="firing",{case.labels}severity="{severities[alert]}"}}'
        tests.append(scenario(alert, case, case.fires, expected=[{"labels": name, "value": 1}]))
        tests.append(scenario(alert, case, case.quiet, expected=[]))
    file = rule_file.with_name("tests.yaml")
    file.write_text(yaml.safe_dump({"rule_files": [rule_file.name], "evaluation_interval": "1m", "tests": tests}))
    said = run(promtool, "test", "rules", str(file))
    assert said.returncode == 0, said.stdout + said.stderr


def test_each_alert_has_a_case() -> None:
    assert {rule["alert"] for rule in rules()} == set(CASES)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_that_the_operator_has(rule: Obj) -> None:
    exposed = {re.split(r"[ ']", line.removeprefix("metrics.gauge('"))[0] for line in recorded("metrics")}
    asked = set(re.findall(r"\b([a-z_]+)\{", rule["expr"])) - SHOWN_AS_IS
    assert {name for name in asked if name.removesuffix("_total") not in exposed} == set()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_has_a_page_that_says_what_it_means_and_what_to_do(rule: Obj) -> None:
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page == RUNBOOKS / f"{rule['alert']}.md"
    text = page.read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Meaning", "Impact", "First command", "Ways out"]
    assert text.startswith(f"# {rule['alert']}\n")
    assert "```console\n$ " in text.split("## First command")[1]


def test_no_page_is_left_of_an_alert_that_is_gone() -> None:
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in rules()} | {"index"}
