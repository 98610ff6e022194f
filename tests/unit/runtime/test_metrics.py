import re
from typing import Any

import pytest

from dpunetop.kube.keys import DAEMONSETS
from dpunetop.runtime.metrics import Metrics

QUEUE = "1e-08 1e-07 1e-06 9.999999999999999e-06 9.999999999999999e-05 0.001 0.01 0.1 1 10 100 1000"
RECONCILE = (
    "0.005 0.01 0.025 0.05 0.1 0.15 0.2 0.25 0.3 0.35 0.4 0.45 0.5 0.6 0.7 0.8 0.9 1 1.25 1.5 1.75 2 2.5 3 3.5 4 4.5 5"
    " 6 7 8 9 10 15 20 25 30 40 50 60"
)
REQUEST = "0.005 0.025 0.1 0.25 0.5 1 2 4 8 15 30 60"
SIZE = "64 256 512 1024 4096 16384 65536 262144 1.048576e+06 4.194304e+06 1.6777216e+07"
INFORMER = "0.001 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10"

QUEUE_LABELS = "name controller"
INFORMER_LABELS = "name group version resource"
REFERENCE = {  # name -> type, labels, `le` values; what client-go and controller-runtime expose
    "workqueue_depth": ("gauge", "name controller priority", ""),
    "workqueue_adds_total": ("counter", QUEUE_LABELS, ""),
    "workqueue_retries_total": ("counter", QUEUE_LABELS, ""),
    "workqueue_unfinished_work_seconds": ("gauge", QUEUE_LABELS, ""),
    "workqueue_longest_running_processor_seconds": ("gauge", QUEUE_LABELS, ""),
    "workqueue_queue_duration_seconds": ("histogram", QUEUE_LABELS, QUEUE),
    "workqueue_work_duration_seconds": ("histogram", QUEUE_LABELS, QUEUE),
    "controller_runtime_reconcile_total": ("counter", "controller result", ""),
    "controller_runtime_reconcile_errors_total": ("counter", "controller", ""),
    "controller_runtime_terminal_reconcile_errors_total": ("counter", "controller", ""),
    "controller_runtime_reconcile_panics_total": ("counter", "controller", ""),
    "controller_runtime_reconcile_timeouts_total": ("counter", "controller", ""),
    "controller_runtime_max_concurrent_reconciles": ("gauge", "controller", ""),
    "controller_runtime_active_workers": ("gauge", "controller", ""),
    "controller_runtime_reconcile_time_seconds": ("histogram", "controller", RECONCILE),
    "rest_client_requests_total": ("counter", "code method host", ""),
    "rest_client_request_retries_total": ("counter", "code verb host", ""),
    "rest_client_request_duration_seconds": ("histogram", "verb host", REQUEST),
    "rest_client_rate_limiter_duration_seconds": ("histogram", "verb host", REQUEST),
    "rest_client_dns_resolution_duration_seconds": ("histogram", "host", REQUEST),
    "rest_client_request_size_bytes": ("histogram", "verb host", SIZE),
    "rest_client_response_size_bytes": ("histogram", "verb host", SIZE),
    "leader_election_master_status": ("gauge", "name", ""),
    "leader_election_slowpath_total": ("counter", "name", ""),
    "informer_queued_items": ("gauge", INFORMER_LABELS, ""),
    "informer_processing_latency_seconds": ("histogram", INFORMER_LABELS, INFORMER),
    "informer_store_resource_version": ("gauge", INFORMER_LABELS, ""),
    "certwatcher_read_certificate_total": ("counter", "", ""),
    "certwatcher_read_certificate_errors_total": ("counter", "", ""),
}


def families(text: str) -> dict[str, Any]:
    """Name -> (type, label names without `le`, `le` values in order) of an exposition."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            labels: set[str] = set()
            bounds: list[str] = []
            found[name] = (kind, labels, bounds)
        elif not line.startswith("#"):
            pairs = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if "le" in pairs and pairs["le"] not in (*bounds, "+Inf"):
                bounds.append(pairs["le"])
            labels.update(set(pairs) - {"le"})
    return found


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def text_of(metrics: Metrics) -> str:
    return metrics.exposition()[0].decode()


def value(metrics: Metrics, metric: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(metric, labels)


def test_names_types_labels_and_buckets_are_those_of_controller_runtime(metrics: Metrics) -> None:
    metrics.workqueue("pools")
    metrics.controller("pools")
    client = metrics.client("infra:6443")
    client.requested("GET", 200, 0.1, 10, 100)
    client.retried("GET", 503)
    metrics.elector("lease")
    metrics.informer("infra", DAEMONSETS)
    metrics.certificate()
    exposed = {
        name: (kind, labels, bounds)
        for name, (kind, labels, bounds) in families(text_of(metrics)).items()
        if not name.startswith(("process_", "python_gc_"))
    }
    assert exposed == {
        name: (kind, set(labels.split()), bounds.split()) for name, (kind, labels, bounds) in REFERENCE.items()
    }


def test_label_sets_exist_at_zero_from_the_start(metrics: Metrics) -> None:
    metrics.controller("pools")
    metrics.workqueue("pools")
    metrics.elector("lease")
    assert value(metrics, "controller_runtime_reconcile_total", controller="pools", result="error") == 0
    assert value(metrics, "controller_runtime_reconcile_panics_total", controller="pools") == 0
    assert value(metrics, "workqueue_adds_total", name="pools", controller="pools") == 0
    assert value(metrics, "leader_election_master_status", name="lease") == 0


def test_there_are_no_created_series(metrics: Metrics) -> None:
    metrics.controller("pools").reconciled("success", 0.1)
    assert "_created" not in text_of(metrics)


def test_a_failed_reconcile_counts_as_result_and_as_error(metrics: Metrics) -> None:
    metrics.controller("pools").reconciled("error", 0.3)
    assert value(metrics, "controller_runtime_reconcile_total", controller="pools", result="error") == 1
    assert value(metrics, "controller_runtime_reconcile_errors_total", controller="pools") == 1
    assert value(metrics, "controller_runtime_reconcile_time_seconds_sum", controller="pools") == 0.3


def test_queue_recorder_moves_its_own_series(metrics: Metrics) -> None:
    queue = metrics.workqueue("pools")
    metrics.workqueue("links").added()
    queue.added()
    queue.added()
    queue.depth(2)
    queue.waited(0.5)
    queue.worked(1.5)
    queue.retried()
    queue.unfinished(3.0)
    queue.longest(2.0)
    by = {"name": "pools", "controller": "pools"}
    assert value(metrics, "workqueue_adds_total", **by) == 2
    assert value(metrics, "workqueue_depth", priority="", **by) == 2
    assert value(metrics, "workqueue_queue_duration_seconds_sum", **by) == 0.5
    assert value(metrics, "workqueue_work_duration_seconds_sum", **by) == 1.5
    assert value(metrics, "workqueue_retries_total", **by) == 1
    assert value(metrics, "workqueue_unfinished_work_seconds", **by) == 3.0
    assert value(metrics, "workqueue_longest_running_processor_seconds", **by) == 2.0


def test_a_request_without_an_answer_counts_as_error(metrics: Metrics) -> None:
    metrics.client("tenant:6443").requested("PATCH", 0, 10.0, 500, 0)
    assert value(metrics, "rest_client_requests_total", code="<error>", method="PATCH", host="tenant:6443") == 1


def test_recorders_of_the_same_name_share_their_series(metrics: Metrics) -> None:
    metrics.elector("lease").leading(True)
    metrics.elector("lease").slow_path()
    assert value(metrics, "leader_election_master_status", name="lease") == 1
    assert value(metrics, "leader_election_slowpath_total", name="lease") == 1


@pytest.mark.parametrize(
    ("version", "shown"),
    {"short": ("4711", 4711), "longer than 15 digits": ("12345678901234567890", 678901234567890)}.values(),
)
def test_the_store_version_shows_its_last_15_digits(metrics: Metrics, version: str, shown: int) -> None:
    metrics.informer("infra", DAEMONSETS).resource_version(version)
    by = {"name": "infra", "group": "apps", "version": "v1", "resource": "daemonsets"}
    assert value(metrics, "informer_store_resource_version", **by) == shown


NUMBERS = {
    0.0: "0",
    1.0: "1",
    0.25: "0.25",
    999999.0: "999999",
    1000000.0: "1e+06",
    1048576.0: "1.048576e+06",
    1234567.5: "1.2345675e+06",
    -2000000.0: "-2e+06",
    0.0001: "0.0001",
    1e-05: "1e-05",
    1e21: "1e+21",
    float("inf"): "+Inf",
    float("nan"): "NaN",
}


@pytest.mark.parametrize(("number", "printed"), NUMBERS.items(), ids=NUMBERS.values())
def test_numbers_are_printed_as_go_prints_them(metrics: Metrics, number: float, printed: str) -> None:
    metrics.workqueue("q").unfinished(number)
    assert f'workqueue_unfinished_work_seconds{{name="q",controller="q"}} {printed}\n' in text_of(metrics)


def test_label_values_are_escaped(metrics: Metrics) -> None:
    metrics.elector('a"b\\c\nd').leading(True)
    assert r'leader_election_master_status{name="a\"b\\c\nd"} 1' in text_of(metrics)


def test_the_content_type_is_the_text_format(metrics: Metrics) -> None:
    assert metrics.exposition()[1] == "text/plain; version=0.0.4; charset=utf-8"


def test_whoever_uses_the_engine_can_have_a_gauge_of_its_own(metrics: Metrics) -> None:
    gauge = metrics.gauge("x_seconds", "How long.", "name")
    assert metrics.gauge("x_seconds", "How long.", "name") is gauge
    gauge.clear("a")
    gauge.set(7, "a")
    gauge.set(8, "b")
    gauge.clear("b")
    assert (value(metrics, "x_seconds", name="a"), value(metrics, "x_seconds", name="b")) == (7, None)
    assert 'x_seconds{name="a"} 7\n' in text_of(metrics)


def test_series_of_a_host_end_with_the_last_client_that_reports_of_it(metrics: Metrics) -> None:
    before = series(metrics)
    first, second = metrics.client("tenant:6443"), metrics.client("tenant:6443")
    for client in (first, second):
        client.requested("GET", 200, 0.1, 1, 1)
        client.retried("GET", 503)
    first.end()
    first.end()
    assert value(metrics, "rest_client_requests_total", code="200", method="GET", host="tenant:6443") == 2
    second.end()
    assert series(metrics) == before


def test_what_comes_in_after_the_end_makes_no_series(metrics: Metrics) -> None:
    before, client = series(metrics), metrics.client("tenant:6443")
    client.end()
    client.requested("GET", 0, 9.0, 1, 0)
    client.retried("GET", 0)
    client.resolved(1.0)
    client.limited("GET", 1.0)
    assert series(metrics) == before


def test_series_of_a_host_begin_anew_when_it_comes_back(metrics: Metrics) -> None:
    metrics.client("tenant:6443").end()
    metrics.client("tenant:6443").requested("GET", 200, 0.1, 1, 1)
    assert value(metrics, "rest_client_requests_total", code="200", method="GET", host="tenant:6443") == 1


def test_series_of_an_informer_end_with_the_last_of_its_name_and_resource(metrics: Metrics) -> None:
    before = series(metrics)
    first, second, other = (metrics.informer(name, DAEMONSETS) for name in ("tenant/a/b", "tenant/a/b", "infra"))
    first.resource_version("7")
    first.end()
    assert value(metrics, "informer_store_resource_version", **labels_of_informer("tenant/a/b")) == 7
    second.end()
    assert value(metrics, "informer_store_resource_version", **labels_of_informer("tenant/a/b")) is None
    assert value(metrics, "informer_store_resource_version", **labels_of_informer("infra")) == 0
    other.end()
    assert series(metrics) == before


def labels_of_informer(name: str) -> dict[str, str]:
    return {"name": name, "group": "apps", "version": "v1", "resource": "daemonsets"}


def series(metrics: Metrics) -> list[str]:
    """All but those of the process, which change by themselves."""
    return [line for line in text_of(metrics).splitlines() if not line.startswith(("python_", "process_"))]
