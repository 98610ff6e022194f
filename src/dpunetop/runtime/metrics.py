"""The metrics of the engine, by small recorders: one for each queue, controller, client, informer and election.

Their names, labels and buckets are in `metricfamilies`.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, Metric, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dpunetop.kube.keys import Resource
from dpunetop.runtime.exposition import CONTENT_TYPE, text_of
from dpunetop.runtime.metricfamilies import INFORMER_LABELS, Families

Result = Literal["success", "error", "requeue", "requeue_after"]
"""How one reconcile ended."""

RESULTS: tuple[Result, ...] = ("success", "error", "requeue", "requeue_after")
VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_LONG = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)


class QueueMetrics:
    """What one work queue reports. Threads: any."""

    def __init__(self, families: Families, name: str) -> None:
        labels = (name, name)
        self._depth = families.queue_depth.labels(*labels, "")
        self._adds = families.queue_adds.labels(*labels)
        self._retries = families.queue_retries.labels(*labels)
        self._waited = families.queue_waited.labels(*labels)
        self._worked = families.queue_worked.labels(*labels)
        self._unfinished = families.queue_unfinished.labels(*labels)
        self._longest = families.queue_longest.labels(*labels)

    def added(self) -> None:
        """A key was added that was not queued."""
        self._adds.inc()

    def depth(self, n: int) -> None:
        """The number of queued keys."""
        self._depth.set(n)

    def waited(self, seconds: float) -> None:
        """A key was handed out after this time in the queue."""
        self._waited.observe(seconds)

    def worked(self, seconds: float) -> None:
        """A key was done after this time in hand."""
        self._worked.observe(seconds)

    def retried(self) -> None:
        """A key was requeued with a delay."""
        self._retries.inc()

    def unfinished(self, seconds: float) -> None:
        """The summed time of all keys now in hand."""
        self._unfinished.set(seconds)

    def longest(self, seconds: float) -> None:
        """The time of the key that has been in hand longest."""
        self._longest.set(seconds)


class ControllerMetrics:
    """What one controller reports. Threads: any."""

    def __init__(self, families: Families, name: str) -> None:
        self._results = {result: families.reconciles.labels(name, result) for result in RESULTS}
        self._errors = families.reconcile_errors.labels(name)
        self._terminal = families.reconcile_terminal_errors.labels(name)
        self._panics = families.reconcile_panics.labels(name)
        families.reconcile_timeouts.labels(name)  # stays at zero: requests have deadlines, passes have none
        self._seconds = families.reconcile_seconds.labels(name)
        self._active = families.active_workers.labels(name)
        self._max_concurrent = families.max_concurrent.labels(name)

    def reconciled(self, result: Result, seconds: float) -> None:
        """A reconcile ended with this result, after this time."""
        self._results[result].inc()
        self._seconds.observe(seconds)
        if result == "error":
            self._errors.inc()

    def terminal_error(self) -> None:
        """A reconcile raised Terminal."""
        self._terminal.inc()

    def panicked(self) -> None:
        """A reconcile raised an unexpected exception."""
        self._panics.inc()

    def active(self, n: int) -> None:
        """The number of workers that hold a key."""
        self._active.set(n)

    def max_concurrent(self, n: int) -> None:
        """The number of workers."""
        self._max_concurrent.set(n)


class ClientMetrics:
    """What the connections to one API server report; its host tells the clusters apart. Threads: any."""

    def __init__(self, families: Families, host: str, users: _Users) -> None:
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
        """End this recorder; the series end with the last recorder of this host. May be called again."""
        if not self._has_ended:
            self._has_ended = True
            self._users.end(self._host)

    def requested(self, method: str, code: int, seconds: float, request_bytes: int, response_bytes: int) -> None:
        """A request got a response with `code`, or none: 0, shown as `<error>`."""
        self._count(self._families.requests, method, code)
        self._seconds[method].observe(seconds)
        self._request_bytes[method].observe(request_bytes)
        self._response_bytes[method].observe(response_bytes)

    def retried(self, method: str, code: int) -> None:
        """A request is retried after `code`."""
        self._count(self._families.request_retries, method, code)

    def limited(self, method: str, seconds: float) -> None:
        """A request waited this long in the client before it was sent."""
        self._limited[method].observe(seconds)

    def resolved(self, seconds: float) -> None:
        """A lookup of the host's name took this long."""
        self._resolved.observe(seconds)

    def _count(self, counter: Counter, method: str, code: int) -> None:
        self._users.if_any(self._host, lambda: counter.labels(_code(code), method, self._host).inc())


class ElectorMetrics:
    """What the leader election reports. Threads: any."""

    def __init__(self, families: Families, name: str) -> None:
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

    def __init__(self, families: Families, name: str, resource: Resource, users: _Users) -> None:
        labels = (name, resource.group, resource.version, resource.plural)
        self._users = users
        self._labels = labels
        self._users.begin(*labels)
        self._queued = families.informer_queued.labels(*labels)
        self._processed = families.informer_seconds.labels(*labels)
        self._version = families.informer_version.labels(*labels)

    def end(self) -> None:
        """End this recorder; the series end with the last informer of that name and resource. Call it once."""
        self._users.end(*self._labels)

    def queued(self, n: int) -> None:
        """The number of changes received and not yet delivered."""
        self._queued.set(n)

    def processed(self, seconds: float) -> None:
        """Storing and delivering one change took this long."""
        self._processed.observe(seconds)

    def resource_version(self, version: str) -> None:
        """The resourceVersion of the store; its last 15 digits, which a float64 holds exactly."""
        if version.isdecimal():
            self._version.set(int(version[-15:]))


class CertificateMetrics:
    """What the reloading of the serving certificate reports. Threads: any."""

    def __init__(self, families: Families) -> None:
        self._reads = families.certificate_reads
        self._errors = families.certificate_errors

    def read(self) -> None:
        """The certificate is about to be read from its files."""
        self._reads.inc()

    def failed(self) -> None:
        """It could not be read or used; the previous one stays."""
        self._errors.inc()


class GaugeMetrics:
    """A gauge with labels. Threads: any."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge

    def set(self, value: float, *labels: str) -> None:
        """Set the value of `labels`."""
        self._gauge.labels(*labels).set(value)

    def clear(self, *labels: str) -> None:
        """Remove the series of `labels`, if any."""
        self._gauge.remove(*labels)


class HistogramMetrics:
    """A histogram of durations with labels. Threads: any."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram

    def expect(self, *labels: str) -> None:
        """Create the series of `labels` at zero."""
        self._histogram.labels(*labels)

    def observe(self, seconds: float, *labels: str) -> None:
        """Add one duration to the series of `labels`."""
        self._histogram.labels(*labels).observe(seconds)


Measure = Callable[[], Iterable[tuple[str, tuple[str, ...], float]]]
"""Yields each current value: the metric's name, its label values, the number. Threads: any."""


class _Measured(Collector):
    """Metrics whose values are computed at each scrape, so that no series outlives its subject."""

    def __init__(self, families: Mapping[str, tuple[str, tuple[str, ...]]], measure: Measure) -> None:
        self._families = families
        self._measure = measure

    def describe(self) -> Iterable[Metric]:
        """The families without values, for the registration."""
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
    """Counts the recorders per label values, so that the series end with the last recorder.

    Threads: any. No series is created for label values without a recorder.
    """

    def __init__(self, *families: Counter | Gauge | Histogram, labels: tuple[str, ...]) -> None:
        self._families = families
        self._labels = labels
        self._guard = threading.Lock()  # guards _count, and that a series exists only while it is counted
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

    Guarantees: the series of a recorder exist at zero from the start (counters by status code: from the first count),
        so "never happened" and "not reporting" differ. Equal arguments give recorders of the same series.
    Threads: all methods from any thread.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._guard = threading.Lock()  # guards _gauges
        self._gauges: dict[str, GaugeMetrics] = {}
        self._families = Families(self.registry)
        self._hosts = _Users(*self._families.of_clients(), labels=("host",))
        self._informers = _Users(*self._families.of_informers(), labels=INFORMER_LABELS)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def workqueue(self, name: str) -> QueueMetrics:
        """The recorder of the queue `name`, which has the name of its controller."""
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
        """The recorder of the informer `name` of `resource`; its series end as those of a client do."""
        return InformerMetrics(self._families, name, resource, self._informers)

    def certificate(self) -> CertificateMetrics:
        """The recorder of the serving certificate."""
        return CertificateMetrics(self._families)

    def gauge(self, name: str, text: str, *labels: str) -> GaugeMetrics:
        """The recorder of a gauge of the application; the first call for `name` sets its text and labels."""
        with self._guard:
            if name not in self._gauges:
                self._gauges[name] = GaugeMetrics(Gauge(name, text, labels, registry=self.registry))
            return self._gauges[name]

    def histogram(self, name: str, text: str, *labels: str) -> HistogramMetrics:
        """The recorder of a histogram of the application, for durations from seconds to a day; one call per name."""
        return HistogramMetrics(Histogram(name, text, labels, buckets=_LONG, registry=self.registry))

    def measured(self, families: Mapping[str, tuple[str, tuple[str, ...]]], measure: Measure) -> None:
        """Register gauges of the application, by name with text and labels; `measure` is called at each scrape.
        Raises: ValueError if a metric of that name exists."""
        self.registry.register(_Measured(families, measure))

    def exposition(self) -> tuple[bytes, str]:
        """All series as text for a scraper, and their content type.

        Guarantees: always the Prometheus text format, since OpenMetrics spells `le` values in another way than the Go
            libraries; numbers as Go prints them; no `_created` series; sorted by name.
        """
        return text_of(self.registry.collect()), CONTENT_TYPE


def _code(code: int) -> str:
    return str(code) if code else "<error>"
