"""Write the Grafana dashboard of the operator: python hack/dashboard.py > config/prometheus/dashboard.json

Each row of panels answers one question. Every query selects the job of the ServiceMonitor.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

JOB = 'job="$job"'
EXPIRY = "dpunetop_tenant_credential_expiry_timestamp_seconds"
KUBECONFIG_EXPIRY = "dpunetop_tenant_kubeconfig_expiry_timestamp_seconds"
OWN_EXPIRY = "dpunetop_operator_credential_expiry_timestamp_seconds"
WIDTH, HEIGHT, ACROSS = 8, 7, 24
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Obj = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One graph: queries by the names of their series, all in one unit."""

    title: str
    means: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"


@dataclass(frozen=True)
class Row:
    """The panels that answer one question."""

    question: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str, labels: str = "") -> str:
    """The rate of a counter, summed by labels."""
    return f"sum by ({by}) (rate({metric}{{{JOB}{labels}}}[$__rate_interval]))"


def quantile(q: float, metric: str, by: str) -> str:
    """A quantile of a histogram, by labels."""
    return f"histogram_quantile({q}, {rate(f'{metric}_bucket', f'le, {by}')})"


def of_fleet(metric: str, by: str = "", labels: str = "") -> str:
    """A fleet metric, counted once although each operator pod may report it."""
    return f"max by (namespace, name{by}) ({metric}{{{JOB}{labels}}})"


FAILING = rate("rest_client_requests_total", "host", ', code=~"5..|<error>"')

ROWS = (
    Row(
        "Have the hosts a network?",
        (
            Panel(
                "Hosts without a network",
                "Outside drains; above 0 pods are cut off.",
                {"{{namespace}}/{{name}}": of_fleet("dpunetop_hosts_without_network")},
                kind="stat",
            ),
            Panel(
                "Longest time without a proof",
                "0: all work. In a drain it grows until the host is given back.",
                {"{{namespace}}/{{name}}": of_fleet("dpunetop_network_proof_age_seconds")},
                "s",
            ),
            Panel(
                "Hosts that are not known",
                "Above 0 it is not known whether they have a network.",
                {"{{namespace}}/{{name}}": of_fleet("dpunetop_hosts_unknown")},
                kind="stat",
            ),
            Panel(
                "DPUs by phase",
                "As their DpuNodes show it. At rest all are Serving.",
                {"{{phase}}": f"sum by (phase) ({of_fleet('dpunetop_pairs', ', phase')})"},
            ),
            Panel(
                "Drains that are stuck",
                "By reason.",
                {"{{reason}}": f"sum by (reason) ({of_fleet('dpunetop_drains_stuck', ', reason')}) or vector(0)"},
            ),
            Panel(
                "DPUs that are not protected, or not paired",
                "At rest none.",
                {
                    "not protected {{namespace}}/{{name}}": of_fleet("dpunetop_pairs_unprotected"),
                    "not paired {{namespace}}/{{name}}": of_fleet("dpunetop_dpus_unpaired"),
                },
            ),
            Panel(
                "Conditions that are not True",
                "Of all DpuClusterConfigs, by type and reason.",
                {
                    "{{type}} {{reason}}": "sum by (type, reason) ("
                    + of_fleet("dpunetop_condition", ", type, reason", ', status!="True"')
                    + ") or vector(0)"
                },
            ),
        ),
    ),
    Row(
        "How do drains and rollouts go?",
        (
            Panel(
                "Steps of drains, 90 %",
                "Of those that ended within an hour: how long nine of ten took at most.",
                {
                    "{{step}}": "histogram_quantile(0.9, sum by (le, step) "
                    f"(increase(dpunetop_drain_step_duration_seconds_bucket{{{JOB}}}[1h])))"
                },
                "s",
            ),
            Panel(
                "Rollouts",
                "By condition and state.",
                {"{{type}} {{state}}": f"sum by (type, state) ({of_fleet('dpunetop_rollouts', ', type, state')})"},
            ),
            Panel(
                "DPUs that do not run the newest pod",
                "At rest none; in a rollout those that are to come.",
                {"{{namespace}}/{{name}}": of_fleet("dpunetop_dpus_outdated")},
            ),
        ),
    ),
    Row(
        "Does it run?",
        (
            Panel("Operators that answer", "Two are usual.", {"answer": f"sum(up{{{JOB}}})"}, kind="stat"),
            Panel(
                "Who leads",
                "One is 1; if all are 0 for long, nothing goes on.",
                {"{{pod}}": f"max by (pod) (leader_election_master_status{{{JOB}}})"},
            ),
            Panel(
                "Started",
                "A step is a restart.",
                {"{{pod}}": f"max by (pod) (process_start_time_seconds{{{JOB}}}) * 1000"},
                "dateTimeFromNow",
                "stat",
            ),
        ),
    ),
    Row(
        "Do its credentials last?",
        (
            Panel(
                "Left of the credential of the DPU pods",
                "A minted one is good for 7 days and renewed daily.",
                {"{{namespace}}/{{name}}": f"min by (namespace, name) ({EXPIRY}{{{JOB}}}) - time()"},
                "s",
            ),
            Panel(
                "Left of the kubeconfigs",
                "Of those that say until when they are good.",
                {"{{namespace}}/{{name}}": f"min by (namespace, name) ({KUBECONFIG_EXPIRY}{{{JOB}}}) - time()"},
                "s",
            ),
            Panel(
                "Left of the operator's own credential",
                "A kubelet renews the token of a pod every hour or so.",
                {"{{pod}}": f"min by (pod) ({OWN_EXPIRY}{{{JOB}}}) - time()"},
                "s",
            ),
            Panel(
                "Certificate of /metrics not read",
                "Files that are missing or do not fit each other.",
                {"{{pod}}": rate("certwatcher_read_certificate_errors_total", "pod")},
                "ops",
            ),
        ),
    ),
    Row(
        "Does its work get done?",
        (
            Panel(
                "Passes",
                "By controller.",
                {"{{controller}}": rate("controller_runtime_reconcile_total", "controller")},
                "ops",
            ),
            Panel(
                "Passes that failed",
                "Each is tried again.",
                {"{{controller}}": rate("controller_runtime_reconcile_errors_total", "controller")},
                "ops",
            ),
            Panel(
                "Time of a pass, 99 of 100",
                "Requests within it are the most of it.",
                {"{{controller}}": quantile(0.99, "controller_runtime_reconcile_time_seconds", "controller")},
                "s",
            ),
            Panel(
                "Keys that wait", "At rest none.", {"{{controller}}": f"sum by (controller) (workqueue_depth{{{JOB}}})"}
            ),
            Panel(
                "Wait of a key, 99 of 100",
                "From the change to the pass.",
                {"{{controller}}": quantile(0.99, "workqueue_queue_duration_seconds", "controller")},
                "s",
            ),
            Panel(
                "Longest pass under way",
                "Minutes mean that it is stuck.",
                {"{{controller}}": f"max by (controller) (workqueue_longest_running_processor_seconds{{{JOB}}})"},
                "s",
            ),
        ),
    ),
    Row(
        "Do the API servers answer?",
        (
            Panel(
                "Requests by answer",
                "By server and code.",
                {"{{host}} {{code}}": rate("rest_client_requests_total", "host, code")},
                "reqps",
            ),
            Panel(
                "Requests without an answer, or 5xx",
                "A tenant's hosts keep their network meanwhile.",
                {"{{host}}": f"{FAILING} or 0 * {rate('rest_client_requests_total', 'host')}"},
                "reqps",
            ),
            Panel(
                "Time of a request, 99 of 100",
                "Watches are not in it.",
                {"{{host}} {{verb}}": quantile(0.99, "rest_client_request_duration_seconds", "host, verb")},
                "s",
            ),
        ),
    ),
    Row(
        "What does it cost?",
        (
            Panel(
                "Memory",
                "The manifests allow 512 MiB.",
                {"{{pod}}": f"max by (pod) (process_resident_memory_bytes{{{JOB}}})"},
                "bytes",
            ),
            Panel("Processor", "Cores.", {"{{pod}}": rate("process_cpu_seconds_total", "pod")}),
            Panel(
                "Open files", "Connections are among them.", {"{{pod}}": f"max by (pod) (process_open_fds{{{JOB}}})"}
            ),
        ),
    ),
)


def panels() -> Iterator[Obj]:
    """All panels in their places."""
    y = number = 0
    for row in ROWS:
        number += 1
        place = {"x": 0, "y": y, "w": ACROSS, "h": 1}
        yield {"id": number, "type": "row", "title": row.question, "collapsed": False, "gridPos": place, "panels": []}
        y += 1
        for at, panel in enumerate(row.panels):
            number += 1
            place = {"x": at * WIDTH % ACROSS, "y": y + at * WIDTH // ACROSS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            yield drawn(panel, number, place)
        y += -(-len(row.panels) * WIDTH // ACROSS) * HEIGHT


def drawn(panel: Panel, number: int, place: Obj) -> Obj:
    """One panel as Grafana stores it."""
    targets = [
        {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": expr, "legendFormat": legend}
        for at, (legend, expr) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.means,
        "datasource": SOURCE,
        "gridPos": place,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {},
    }


def dashboard() -> Obj:
    """The dashboard as Grafana imports it."""
    return {
        "uid": "dpunetop",
        "title": "DPU Network Operator",
        "tags": ["dpunetop"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {
            "list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
                {
                    "name": "job",
                    "label": "Job",
                    "type": "query",
                    "datasource": SOURCE,
                    "query": {"query": "label_values(leader_election_master_status, job)", "refId": "job"},
                    "refresh": 2,
                },
            ]
        },
        "panels": list(panels()),
    }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=1)
    print()
