"""The engine's metrics by name: those of client-go and controller-runtime, with their labels and buckets, so that their
dashboards and alerts work here."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


def _exponential(start: float, factor: float, count: int) -> tuple[float, ...]:
    # Multiplied up one by one, as the Go library does: the rounding errors are part of the `le` values.
    bounds = [start]
    while len(bounds) < count:
        bounds.append(bounds[-1] * factor)
    return tuple(bounds)


# fmt: off
_QUEUE = _exponential(10e-9, 10, 12)
_RECONCILE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25,
              1.5, 1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60)
_REQUEST = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
_SIZE = (64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
_INFORMER = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# fmt: on
INFORMER_LABELS = ("name", "group", "version", "resource")


class Families:
    """Every metric by name; made once per registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._add_queue()
        self._add_controller()
        self._add_client()
        self._add_rest()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

    def _add_queue(self) -> None:
        by = ("name", "controller")
        self.queue_depth = self._gauge("workqueue_depth", "Keys that wait in the queue.", *by, "priority")
        self.queue_adds = self._counter("workqueue_adds_total", "Keys added to the queue.", *by)
        self.queue_retries = self._counter("workqueue_retries_total", "Keys put back to be tried later.", *by)
        self.queue_waited = self._histogram(
            "workqueue_queue_duration_seconds", "Time that a key waits before a worker takes it.", _QUEUE, *by
        )
        self.queue_worked = self._histogram(
            "workqueue_work_duration_seconds", "Time that a worker takes for a key.", _QUEUE, *by
        )
        self.queue_unfinished = self._gauge(
            "workqueue_unfinished_work_seconds", "Time since the keys that workers hold now were taken, summed up.", *by
        )
        self.queue_longest = self._gauge(
            "workqueue_longest_running_processor_seconds",
            "Time since the key that a worker has held longest was taken.",
            *by,
        )

    def _add_controller(self) -> None:
        prefix, by = "controller_runtime_", "controller"
        self.reconciles = self._counter(f"{prefix}reconcile_total", "Reconciles by result.", by, "result")
        self.reconcile_errors = self._counter(f"{prefix}reconcile_errors_total", "Reconciles that failed.", by)
        self.reconcile_terminal_errors = self._counter(
            f"{prefix}terminal_reconcile_errors_total", "Reconciles that failed for good.", by
        )
        self.reconcile_panics = self._counter(
            f"{prefix}reconcile_panics_total", "Reconciles that raised an unexpected error.", by
        )
        self.reconcile_timeouts = self._counter(
            f"{prefix}reconcile_timeouts_total", "Reconciles ended by their deadline.", by
        )
        self.reconcile_seconds = self._histogram(
            f"{prefix}reconcile_time_seconds", "Time of one reconcile.", _RECONCILE, by
        )
        self.active_workers = self._gauge(f"{prefix}active_workers", "Workers that hold a key.", by)
        self.max_concurrent = self._gauge(f"{prefix}max_concurrent_reconciles", "Workers at most.", by)

    def _add_client(self) -> None:
        by = ("verb", "host")
        self.requests = self._counter("rest_client_requests_total", "Requests by answer.", "code", "method", "host")
        self.request_retries = self._counter(
            "rest_client_request_retries_total", "Requests sent again, by the answer to the first one.", "code", *by
        )
        self.request_seconds = self._histogram(
            "rest_client_request_duration_seconds", "Time from request to answer.", _REQUEST, *by
        )
        self.limiter_seconds = self._histogram(
            "rest_client_rate_limiter_duration_seconds",
            "Time that requests wait in this client before they are sent.",
            _REQUEST,
            *by,
        )
        self.resolution_seconds = self._histogram(
            "rest_client_dns_resolution_duration_seconds", "Time to look the host's name up.", _REQUEST, "host"
        )
        self.request_bytes = self._histogram("rest_client_request_size_bytes", "Size of requests.", _SIZE, *by)
        self.response_bytes = self._histogram("rest_client_response_size_bytes", "Size of answers.", _SIZE, *by)

    def of_clients(self) -> tuple[Counter | Gauge | Histogram, ...]:
        """Those with a label `host`."""
        counts, seconds = (self.requests, self.request_retries), (self.request_seconds, self.limiter_seconds)
        return (*counts, *seconds, self.resolution_seconds, self.request_bytes, self.response_bytes)

    def of_informers(self) -> tuple[Counter | Gauge | Histogram, ...]:
        """Those with the labels of an informer."""
        return self.informer_queued, self.informer_seconds, self.informer_version

    def _add_rest(self) -> None:
        by = INFORMER_LABELS
        self.master = self._gauge("leader_election_master_status", "1 in the process that leads, else 0.", "name")
        self.slow_path = self._counter(
            "leader_election_slowpath_total", "Renewals that had to read the Lease first.", "name"
        )
        self.informer_queued = self._gauge("informer_queued_items", "Changes received and not yet stored.", *by)
        self.informer_seconds = self._histogram(
            "informer_processing_latency_seconds", "Time to store and announce one change.", _INFORMER, *by
        )
        self.informer_version = self._gauge(
            "informer_store_resource_version", "Last 15 digits of the version that the store holds.", *by
        )
        self.certificate_reads = self._counter(
            "certwatcher_read_certificate_total", "Times that the serving certificate was read."
        )
        self.certificate_errors = self._counter(
            "certwatcher_read_certificate_errors_total", "Times that the serving certificate could not be read or used."
        )
