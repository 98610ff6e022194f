"""Metrics under the names, labels and buckets of client-go and controller-runtime, so that their dashboards and alerts
work here. Callers get small recorders; only this module knows the names of the engine's metrics."""

from __future__ import annotations

import collections
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from dpunetop.kube.keys import Resource

Result = Literal["success", "error", "requeue", "requeue_after"]
"""How one reconcile ended."""

TEXT = "text/plain; version=0.0.4; charset=utf-8"
RESULTS: tuple[Result, ...] = ("success", "error", "requeue", "requeue_after")
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


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
_LONG = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
_INFORMER_LABELS = ("name", "group", "version", "resource")


class QueueMetrics:
    """What one work queue reports. Threads: any."""

    def __init__(self, families: _Families, name: str) -> None:
        labels = (name, name)
        self._depth = families.queue_depth.labels(*labels, "")
        self._adds = families.queue_adds.labels(*labels)
        self._retries = families.queue_retries.labels(*labels)
        self._waited = families.queue_waited.labels(*labels)
        self._worked = families.queue_worked.labels(*labels)
        self._unfinished = families.queue_unfinished.labels(*labels)
        self._longest = families.queue_longest.labels(*labels)

    def added(self) -> None:
        """A key went in that was not waiting already."""
        self._adds.inc()

    def depth(self, n: int) -> None:
        """So many keys wait now."""
        self._depth.set(n)

    def waited(self, seconds: float) -> None:
        """A key was handed out after so long in the queue."""
        self._waited.observe(seconds)

    def worked(self, seconds: float) -> None:
        """A key was done after so long in a worker's hands."""
        self._worked.observe(seconds)

    def retried(self) -> None:
        """A key was put back to be tried later."""
        self._retries.inc()

    def unfinished(self, seconds: float) -> None:
        """How long all keys now in hand have been there, summed up."""
        self._unfinished.set(seconds)

    def longest(self, seconds: float) -> None:
        """How long the key has been in hand that has been there longest."""
        self._longest.set(seconds)


class ControllerMetrics:
    """What one controller reports. Threads: any."""

    def __init__(self, families: _Families, name: str) -> None:
        self._results = {result: families.reconciles.labels(name, result) for result in RESULTS}
        self._errors = families.reconcile_errors.labels(name)
        self._terminal = families.reconcile_terminal_errors.labels(name)
        self._panics = families.reconcile_panics.labels(name)
        families.reconcile_timeouts.labels(name)  # stays at zero: requests have deadlines, passes have none
        self._seconds = families.reconcile_seconds.labels(name)
        self._active = families.active_workers.labels(name)
        self._max_concurrent = families.max_concurrent.labels(name)

    def reconciled(self, result: Result, seconds: float) -> None:
        """A reconcile ended so, after so long."""
        self._results[result].inc()
        self._seconds.observe(seconds)
        if result == "error":
            self._errors.inc()

    def terminal_error(self) -> None:
        """A reconcile said that trying again is pointless."""
        self._terminal.inc()

    def panicked(self) -> None:
        """A reconcile raised an unexpected exception."""
        self._panics.inc()

    def active(self, n: int) -> None:
        """So many workers hold a key now."""
        self._active.set(n)

    def max_concurrent(self, n: int) -> None:
        """So many workers there are."""
        self._max_concurrent.set(n)


class ClientMetrics:
    """What the connections to one API server report; its host tells the clusters apart. Threads: any."""

    def __init__(self, families: _Families, host: str, users: _Users) -> None:
        self._families = families
        self._host = host
        self._users = users
        self._users.begin(host)
        self._has_ended = False
        self._seconds = {verb: families.request_seconds.labels(verb, host) for verb in VERBS}
        self._limited = {verb: families.limiter_seconds.labels(verb, host) for verb in VERBS}
        self._request_bytes = {verb: families.request_bytes.labels(verb, host) for verb in VERBS}
        self._response_bytes = {verb: families.response_bytes.labels(verb, host) for verb in VERBS}
        self._resolved = families.resolution_seconds.labels(host)

    def end(self) -> None:
        """No more is reported: the series end with the last of those who report of this host. May be called again."""
        if not self._has_ended:
            self._has_ended = True
            self._users.end(self._host)

    def requested(self, method: str, code: int, seconds: float, request_bytes: int, response_bytes: int) -> None:
        """A request was answered with `code`, or with nothing: 0, shown as `<error>`."""
        self._count(self._families.requests, method, code)
        self._seconds[method].observe(seconds)
        self._request_bytes[method].observe(request_bytes)
        self._response_bytes[method].observe(response_bytes)

    def retried(self, method: str, code: int) -> None:
        """A request is sent once more after `code`."""
        self._count(self._families.request_retries, method, code)

    def limited(self, method: str, seconds: float) -> None:
        """A request waited so long on this side before it was sent."""
        self._limited[method].observe(seconds)

    def resolved(self, seconds: float) -> None:
        """The host's name was looked up in so long."""
        self._resolved.observe(seconds)

    def _count(self, counter: Counter, method: str, code: int) -> None:
        self._users.if_any(self._host, lambda: counter.labels(_code(code), method, self._host).inc())


class ElectorMetrics:
    """What the leader election reports. Threads: any."""

    def __init__(self, families: _Families, name: str) -> None:
        self._master = families.master.labels(name)
        self._slow_path = families.slow_path.labels(name)

    def leading(self, leads: bool) -> None:
        """Whether this process leads now."""
        self._master.set(1 if leads else 0)

    def slow_path(self) -> None:
        """A renewal had to read the Lease first."""
        self._slow_path.inc()


class InformerMetrics:
    """What one informer reports. Threads: any."""

    def __init__(self, families: _Families, name: str, resource: Resource, users: _Users) -> None:
        labels = (name, resource.group, resource.version, resource.plural)
        self._users = users
        self._labels = labels
        self._users.begin(*labels)
        self._queued = families.informer_queued.labels(*labels)
        self._processed = families.informer_seconds.labels(*labels)
        self._version = families.informer_version.labels(*labels)

    def end(self) -> None:
        """No more is reported: the series end with the last informer of that name and resource. To be called once."""
        self._users.end(*self._labels)

    def queued(self, n: int) -> None:
        """So many changes have been received and not yet been stored."""
        self._queued.set(n)

    def processed(self, seconds: float) -> None:
        """One change was stored and announced in so long."""
        self._processed.observe(seconds)

    def resource_version(self, version: str) -> None:
        """The store holds the state of that version; its last 15 digits, which a float64 holds exactly."""
        if version.isdecimal():
            self._version.set(int(version[-15:]))


class CertificateMetrics:
    """What the reloading of the serving certificate reports. Threads: any."""

    def __init__(self, families: _Families) -> None:
        self._reads = families.certificate_reads
        self._errors = families.certificate_errors

    def read(self) -> None:
        """The certificate is about to be read from its files."""
        self._reads.inc()

    def failed(self) -> None:
        """It could not be read or used; the one before stays."""
        self._errors.inc()


class GaugeMetrics:
    """One number for each of those that its labels name. Threads: any."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def set(self, value: float, *labels: str) -> None:
        """The number of `labels` is this now."""
        self._gauge.labels(*labels).set(value)

    def clear(self, *labels: str) -> None:
        """There is no number for `labels`, or no longer: the series ends."""
        self._gauge.remove(*labels)


class HistogramMetrics:
    """How long each of those takes that its labels name. Threads: any."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def expect(self, *labels: str) -> None:
        """There is a series of `labels`, which holds nothing yet."""
        self._histogram.labels(*labels)

    def observe(self, seconds: float, *labels: str) -> None:
        """One of `labels` took so long."""
        self._histogram.labels(*labels).observe(seconds)


Measure = Callable[[], Iterable[tuple[str, tuple[str, ...], float]]]
"""Gives each number that there is now: the metric's name, the values of its labels, the number. Threads: any."""


class _Measured(Collector):
    """Metrics whose numbers are asked for at each scrape, so that no series outlives what it is about."""

    def __init__(self, families: Mapping[str, tuple[str, tuple[str, ...]]], measure: Measure) -> None:
        self._families = families
        self._measure = measure

    def describe(self) -> Iterable[Metric]:
        """Without numbers: asked when it is registered."""
        return self._empty().values()

    def collect(self) -> Iterable[Metric]:
        """With all of them."""
        found = self._empty()
        for name, labels, value in self._measure():
            found[name].add_metric(labels, value)
        return found.values()

    def _empty(self) -> dict[str, GaugeMetricFamily]:
        return {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in self._families.items()}


class _Users:
    """Who reports under which labels: the series of some metrics end when the last of them has ended.

    Threads: any. No series is made for labels that are no longer in use.
    """

    def __init__(self, *families: Counter | Gauge | Histogram, labels: tuple[str, ...]) -> None:
        self._families = families
        self._labels = labels
        self._guard = threading.Lock()  # guards _count, and that what it says of a series holds
        self._count: collections.Counter[tuple[str, ...]] = collections.Counter()

    def begin(self, *values: str) -> None:
        with self._guard:
            self._count[values] += 1

    def end(self, *values: str) -> None:
        with self._guard:
            self._count[values] -= 1
            if self._count[values] <= 0:
                del self._count[values]
                for family in self._families:
                    family.remove_by_labels(dict(zip(self._labels, values, strict=True)))

    def if_any(self, value: str, report: Callable[[], None]) -> None:
        with self._guard:
            if (value,) in self._count:
                report()


class Metrics:
    """One registry and the recorders that fill it.

    Guarantees: a recorder's label sets exist at zero once it is made (of counters by status code: once counted), so
        "never happened" and "not reporting" differ. Equal arguments give recorders of the same series.
    Threads: all methods from any thread.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._guard = threading.Lock()  # guards _gauges
        self._gauges: dict[str, GaugeMetrics] = {}
        self._families = _Families(self.registry)
        self._hosts = _Users(*self._families.of_clients(), labels=("host",))
        self._informers = _Users(*self._families.of_informers(), labels=_INFORMER_LABELS)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def workqueue(self, name: str) -> QueueMetrics:
        """The recorder of the queue `name`, which is called as its controller is."""
        return QueueMetrics(self._families, name)

    def controller(self, name: str) -> ControllerMetrics:
        """The recorder of the controller `name`."""
        return ControllerMetrics(self._families, name)

    def client(self, host: str) -> ClientMetrics:
        """The recorder of the connections to `host`; its series end with the last `ClientMetrics.end`."""
        return ClientMetrics(self._families, host, self._hosts)

    def elector(self, name: str) -> ElectorMetrics:
        """The recorder of the election over the Lease `name`."""
        return ElectorMetrics(self._families, name)

    def informer(self, name: str, resource: Resource) -> InformerMetrics:
        """The recorder of the informer `name`, which follows `resource`; its series end as those of a client do."""
        return InformerMetrics(self._families, name, resource, self._informers)

    def certificate(self) -> CertificateMetrics:
        """The recorder of the serving certificate."""
        return CertificateMetrics(self._families)

    def gauge(self, name: str, text: str, *labels: str) -> GaugeMetrics:
        """The recorder of a metric that the engine does not know; the first who asks for `name` says what it is."""
        with self._guard:
            if name not in self._gauges:
                self._gauges[name] = GaugeMetrics(Gauge(name, text, labels, registry=self.registry))
            return self._gauges[name]

    def histogram(self, name: str, text: str, *labels: str) -> HistogramMetrics:
        """The recorder of durations from seconds to a day that the engine does not know; to be called once a name."""
        return HistogramMetrics(Histogram(name, text, labels, buckets=_LONG, registry=self.registry))

    def measured(self, families: Mapping[str, tuple[str, tuple[str, ...]]], measure: Measure) -> None:
        """Gauges that the engine does not know, by name each with its text and its labels; `measure` is called at each
        scrape. Raises: ValueError, where a metric of that name is there."""
        self.registry.register(_Measured(families, measure))

    def exposition(self) -> tuple[bytes, str]:
        """All series as a scraper reads them, and their content type.

        Guarantees: the text format, whatever the scraper prefers, since OpenMetrics wants `le` values written in
            another way than the Go libraries do; numbers as Go prints them; no `_created` series; sorted by name.
        """
        return _text(self.registry.collect()), TEXT


class _Families:
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
            "workqueue_work_duration_seconds", "Time that a key is in a worker's hands.", _QUEUE, *by
        )
        self.queue_unfinished = self._gauge(
            "workqueue_unfinished_work_seconds", "Time that the keys now in hand have been there, summed up.", *by
        )
        self.queue_longest = self._gauge(
            "workqueue_longest_running_processor_seconds", "Time of the key that has been in hand longest.", *by
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
        self.max_concurrent = self._gauge(f"{prefix}max_concurrent_reconciles", "Workers that there are.", by)

    def _add_client(self) -> None:
        by = ("verb", "host")
        self.requests = self._counter("rest_client_requests_total", "Requests by answer.", "code", "method", "host")
        self.request_retries = self._counter(
            "rest_client_request_retries_total", "Requests sent once more, by the answer before.", "code", *by
        )
        self.request_seconds = self._histogram(
            "rest_client_request_duration_seconds", "Time from request to answer.", _REQUEST, *by
        )
        self.limiter_seconds = self._histogram(
            "rest_client_rate_limiter_duration_seconds", "Time that requests wait on this side.", _REQUEST, *by
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
        by = _INFORMER_LABELS
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
            "certwatcher_read_certificate_errors_total", "Times that it could not be read or used."
        )


def _text(families: Iterable[Metric]) -> bytes:
    lines: list[str] = []
    for name, family in sorted(((_exposed_name(family), family) for family in families), key=itemgetter(0)):
        samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        if samples:
            lines.append(f"# HELP {name} {family.documentation}")
            lines.append(f"# TYPE {name} {family.type}")
            lines.extend(map(_sample_line, samples))
    return ("\n".join(lines) + "\n").encode()


def _exposed_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _sample_line(sample: Sample) -> str:
    labels = _labels_text(sample.labels) if sample.labels else ""
    return f"{sample.name}{labels} {_go_number(sample.value)}"


def _labels_text(labels: Mapping[str, str]) -> str:
    pairs = (f'{key}="{_go_number(float(value)) if key == "le" else _escape(value)}"' for key, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


@lru_cache(maxsize=1024)
def _go_number(value: float) -> str:
    """As Go's `strconv.FormatFloat(value, 'g', -1, 64)`: exponents from a million on, no trailing `.0`."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    text = repr(float(value)).removesuffix(".0")
    if abs(value) < 1e6 or "e" in text:
        return text
    sign, digits = ("-", text[1:]) if value < 0 else ("", text)
    whole, _, fraction = digits.partition(".")
    mantissa = f"{whole[0]}.{whole[1:]}{fraction}".rstrip("0").rstrip(".")
    return f"{sign}{mantissa}e+{len(whole) - 1:02d}"


def _code(code: int) -> str:
    return str(code) if code else "<error>"
