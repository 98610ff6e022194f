"""The composition root: the one place that knows all classes and connects them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import structlog

from dpunetop.app.assets import host_assets, interconnect_scripts, ovnkube_scripts
from dpunetop.app.clusterbuild import ClusterBuilder
from dpunetop.app.measuring import Certificates, Fleet, drain_steps, server_ends
from dpunetop.app.settings import Address, Network, Settings
from dpunetop.base.clock import Clock, RealClock
from dpunetop.base.stop import Stop
from dpunetop.controllers.admissions import Admissions
from dpunetop.controllers.clusterconfig import ClusterConfig
from dpunetop.controllers.configsource import ConfigSource
from dpunetop.controllers.copies import TenantObjects
from dpunetop.controllers.dpunodes import DEBOUNCE_SECONDS as DPU_NODE_SECONDS
from dpunetop.controllers.dpunodes import DpuNodes
from dpunetop.controllers.drain.epoch import Epoch
from dpunetop.controllers.drain.evictions import Evictions
from dpunetop.controllers.drain.failures import Failures
from dpunetop.controllers.drain.gather_host import FirstSyncWaits, HostSources
from dpunetop.controllers.drain.hosts import MANAGER, Hosts
from dpunetop.controllers.drain.infrahealth import InfraHealth
from dpunetop.controllers.drain.leases import Leases
from dpunetop.controllers.drain.nodeabsence import NodeAbsences
from dpunetop.controllers.drain.pairs import Pairs
from dpunetop.controllers.drain.stalls import StallDetector
from dpunetop.controllers.drain.store import DrainStore
from dpunetop.controllers.drain.taskrunner import TaskRunner
from dpunetop.controllers.hostconfig import HostConfig
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.controllers.namespacerights import NamespaceRights
from dpunetop.controllers.ovnkube import OvnKube
from dpunetop.controllers.reconciler import ConfigReconciler, Installation, TenantReconciler
from dpunetop.controllers.tenant.credential import DpuCredential
from dpunetop.controllers.tenant.infranetworks import InfraNetworks
from dpunetop.controllers.tenant.link import TenantLink
from dpunetop.controllers.tenant.routes import Candidate, TenantRoutes
from dpunetop.domain.names import (
    OPERATOR_LEASE,
)
from dpunetop.domain.ovnkube.view import PodScripts
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig
from dpunetop.kube.keys import INFRA, NODES, Key, Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.informer import Absence
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import Connection
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.controller import Controller
from dpunetop.runtime.election.election import Timings
from dpunetop.runtime.election.elector import Elector
from dpunetop.runtime.election.gate import OpenGate, WriteGate
from dpunetop.runtime.events import EventRecorder
from dpunetop.runtime.executor import Executor
from dpunetop.runtime.flowcontrol import DEBOUNCE_SECONDS, no_rest, rest_after
from dpunetop.runtime.lanes import Lanes
from dpunetop.runtime.latency import Bulkhead, CallLatencies
from dpunetop.runtime.manager import Group, Manager
from dpunetop.runtime.metrics import GaugeMetrics, Metrics
from dpunetop.runtime.reading import DynamicWatches, NotEngaged
from dpunetop.runtime.serving.reviews import Reviewer
from dpunetop.runtime.serving.server import Certificate, Guarded, HealthServer, MetricsServer, Plain

COMPONENT = "dpunetop"
DPU_NODE_WORKERS = 4
"""Workers of the DpuNode controller. No drain waits for it, and these write thousands of DpuNodes within seconds."""
TENANT_LANES = 128
"""This many tenants may be slow at once before one waits for another; a worker starts only when all others are busy."""
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_Named = ConfigReconciler[Any] | Hosts | Inquiries | DpuNodes
Runs = Mapping[str, Callable[[Stop], None]]


def process_identity() -> str:
    """The unique identity of this process: the holder in the Lease, the instance in Events."""
    return f"{os.uname().nodename}_{random.SystemRandom().getrandbits(64):016x}"


def wire(settings: Settings, stop: Stop, identity: str) -> Manager:
    """Build the operator; nothing runs before the Manager does.

    Raises: ConfigurationError if infra's connection or a listening address is unusable.
    """
    return _Wiring(settings, infra_connection(settings.kubeconfig), stop, identity).manager()


class _Wiring:
    """The parts of the operator while they are built."""

    def __init__(self, settings: Settings, connection: Connection, stop: Stop, identity: str) -> None:
        self._settings = settings
        self._clock: Clock = RealClock()
        self._metrics = Metrics()
        self._latencies = CallLatencies(self._clock)
        self._identity = identity
        self._log = structlog.get_logger().bind()
        self._allowed = _allowed_networks(settings, connection)
        self._networks = InfraNetworks(lambda: self._infra.client, self._infra_nodes, self._clock)
        self._routes = TenantRoutes(self._allowed, self._networks.current)
        self._terms = Epoch(self._clock, MANAGER)
        self._builder = ClusterBuilder(
            settings, identity, self._clock, self._metrics, self._latencies, self._time_went_back
        )
        self._infra = self._builder.infra(replace(connection, on_connect=self._networks.see))
        self._clusters = Clusters()
        self._elector = self._new_elector()
        self._gate: WriteGate = self._elector.gate if self._elector else OpenGate()
        lost = _lost_events(self._metrics)
        self._recorder = EventRecorder(self._client, COMPONENT, self._clock, instance=self._identity, lost=lost)
        self._clusters.on_change(self._end_events)
        self._executor = Executor(self._client, self._gate, self._recorder, self._clock, self._look, self._kept)
        self._inquiries = Inquiries()
        self._rights = NamespaceRights(self._inquiries, lambda: self._infra.client, self._clock)
        self._installation = Installation(
            settings.watch_namespaces,
            settings.tenant_namespace,
            settings.ovnkube_image,
            settings.namespace,
            settings.allowed_images,
            self._rights.has,
            self._rights.look,
        )
        self._admissions = Admissions(self._rights.look, self._rights.has, lambda key: self._wake_judge(key))
        bulkhead = Bulkhead(self._half_of(Hosts), self._latencies.is_slow)
        self._drain_store, self._task_runner = DrainStore(), TaskRunner(self._executor, self._client, bulkhead)
        self._infra_health = InfraHealth(lambda: self._infra.health, self._clock)
        self._copies = TenantObjects(self._installation, self._executor, self._clock)
        self._door = self._new_door()
        self._controllers = [self._controller(each, rest_after, DEBOUNCE_SECONDS) for each in self._reconcilers()]
        dpu_nodes = DpuNodes(self._infra, self._drain_store, self._executor, self._clock)
        self._dpu_nodes = self._dpu_node_controller(dpu_nodes)
        self._hosts = self._host_controller(dpu_nodes)
        self._asking = self._inquiry_controller()
        self._source = ConfigSource(self._infra, self._installation.selections(), self._wake, self._wake_judge)
        certificates = Certificates(
            connection, self._serving(), lambda: (self._copies.ends, server_ends(self._clusters))
        )
        fleet = Fleet(self._source.configs, self._drain_store, certificates, self._clock)
        fleet.register(self._metrics)

    def manager(self) -> Manager:
        """The groups in start order; they stop in reverse, so that the Lease is released after the last write."""
        groups = [
            Group("servers", self._servers()),
            Group("caches", self._caches()),
            Group("events", {"events": self._recorder.run}),
        ]
        if self._elector:
            groups.append(Group("elector", {"elector": self._elector.run}, ready=self._elector.wait_leading))
        groups.append(Group("controllers", {each.name: each.run for each in self._all_controllers()}))
        return Manager(groups, clock=self._clock, logger=self._log)

    def _reconcilers(self) -> Sequence[ConfigReconciler[Any]]:
        given = self._installation, self._executor
        return (
            ClusterConfig(*given, self._admissions, self._rights.again_seconds, self._untold),
            HostConfig(*given, host_assets()),
            TenantLink(*given, self._clusters, self._tenant, self._clock, self._routes),
            DpuCredential(*given, self._client, self._tenant, self._clock, self._gate, self._metrics),
            self._copies,
            OvnKube(*given, PodScripts(ovnkube_scripts(), interconnect_scripts()), self._allowed, self._clock),
            Pairs(
                *given,
                self._drain_store,
                self._task_runner,
                Failures(self._clock),
                self._settings.operator_image,
                self._infra_health,
            ),
        )

    def _host_controller(self, dpu_nodes: DpuNodes) -> Controller:
        """The host controller; its keys come from the drain store, not from DpuClusterConfigs."""
        sources = HostSources(
            self._clusters,
            NodeAbsences(self._inquiries, self._client, self._clock),
            self._terms,
            self._executor.newest,
            Evictions(self._inquiries, self._client, self._clock),
            self._infra_health,
            Leases(self._clock),
            FirstSyncWaits(self._clock),
        )
        stall_detector = StallDetector(self._clock, self._read_anew)
        hosts = Hosts(
            self._drain_store, sources, self._task_runner, self._executor, stall_detector, Failures(self._clock)
        )
        controller = self._controller(hosts, no_rest, 0.0)
        pairs = next(each for each in self._controllers if each.name == Pairs.name)
        steps = drain_steps(self._metrics)
        self._drain_store.connect(controller.queue.add, pairs.debounce, dpu_nodes.wake, steps)
        return controller

    def _dpu_node_controller(self, dpu_nodes: DpuNodes) -> Controller:
        """The DpuNode controller; DpuNodes and the drain store enqueue its keys."""
        controller = self._queue_of(dpu_nodes, no_rest, DPU_NODE_SECONDS)
        dpu_nodes.connect(controller.debounce, controller.queue.add, controller.forget)
        return controller

    def _inquiry_controller(self) -> Controller:
        """The inquiry controller; its keys are clusters, and each is a lane."""
        controller = self._queue_of(self._inquiries, no_rest, 0.0)
        self._inquiries.connect(controller.queue.add, controller.forget)
        return controller

    def _all_controllers(self) -> Sequence[Controller]:
        return *self._controllers, self._hosts, self._asking, self._dpu_nodes

    def _controller(
        self, reconciler: ConfigReconciler[Any] | Hosts, rest: Callable[[float], float], debounce_seconds: float
    ) -> Controller:
        controller = self._queue_of(reconciler, rest, debounce_seconds)
        watches = DynamicWatches(self._clusters, controller.queue.add, controller.debounce, controller.forget)
        reconciler.read_through(watches)
        return controller

    def _queue_of(
        self,
        reconciler: _Named,
        rest: Callable[[float], float],
        debounce_seconds: float,
    ) -> Controller:
        return Controller(
            reconciler.name,
            reconciler,
            clock=self._clock,
            metrics=self._metrics,
            workers=workers(type(reconciler), self._settings.max_concurrent_reconciles),
            logger=self._log,
            rest=rest,
            debounce_seconds=debounce_seconds,
            resync_seconds=self._settings.resync_seconds,
            lanes=self._lanes(reconciler),
        )

    def _lanes(self, reconciler: _Named) -> Lanes[Key]:
        """Hosts pass the bulkhead for slow tenants at each call instead: most of a reconcile, such as closing a budget,
        calls no tenant."""
        is_slow, half = self._latencies.is_slow, self._half_of(type(reconciler))
        if isinstance(reconciler, Hosts):
            return Lanes(reconciler.lane, is_slow, relieved_from=half)
        return Lanes(reconciler.lane, is_slow, most_slow=half, relieved_from=half)

    def _half_of(self, kind: type[_Named]) -> int:
        return max(1, workers(kind, self._settings.max_concurrent_reconciles) // 2)

    def _wake(self, key: Key) -> None:
        for controller in self._controllers:
            controller.debounce(key)

    def _wake_judge(self, key: Key) -> None:
        """Enqueue a never-served DpuClusterConfig for the one controller that judges it."""
        judge = next(each for each in self._controllers if each.name == ClusterConfig.name)
        judge.debounce(key)

    def _untold(self, namespace: str) -> str:
        """Why Events about objects of a namespace, or about Nodes, are not written."""
        return self._recorder.refusal(INFRA, namespace, "default")

    def _client(self, name: str) -> Client:
        cluster = self._clusters.get(name)
        if cluster is None:
            raise NotEngaged(name)
        return cluster.client

    def _read_anew(self, name: str) -> None:
        cluster = self._clusters.get(name)
        if cluster is not None:
            cluster.read_anew()

    def _look(self, name: str, resource: Resource, namespace: str, obj: str, version: int) -> Obj | Absence:
        cluster = self._clusters.get(name)
        return Absence.UNCERTAIN if cluster is None else cluster.look(resource, namespace, obj, version)

    def _kept(self, name: str, resource: Resource, answer: dict[str, Any]) -> Obj:
        cluster = self._clusters.get(name)
        return answer if cluster is None else cluster.kept(resource, answer)

    def _caches(self) -> Runs:
        if self._elector is None:
            return {"clusters": self._run_clusters}
        watch = self._elector.watch
        # Ends when the connections of infra are closed, so with its cluster and not by the group's Stop.
        return {"clusters": self._run_clusters, "lease-watch": lambda _: watch(self._infra.stop)}

    def _run_clusters(self, stop: Stop) -> None:
        self._infra.informer(Selection(NODES))  # all controllers read it; a standby keeps it synced
        self._clusters.engage(self._infra)
        self._source.start()
        self._clusters.run(stop)

    def _infra_nodes(self) -> Sequence[Obj]:
        return self._infra.informer(Selection(NODES)).lister.list()

    def _end_events(self, name: str) -> None:
        if self._clusters.get(name) is None:
            self._recorder.forget(name)

    def _time_went_back(self, name: str) -> None:
        """An etcd was restored: forget our own writes, and verify every drain record again."""
        self._executor.forget(name)
        self._terms.advance()
        self._drain_store.wake_all()

    def _tenant(self, name: str, kubeconfig: TenantKubeconfig) -> Candidate:
        self._networks.refresh()
        route = self._routes.begin(name, kubeconfig)
        return Candidate(self._builder.tenant(name, kubeconfig, route), route)

    def _new_elector(self) -> Elector | None:
        election = self._settings.leader_election
        if election is None:
            return None
        timings = Timings(
            election.lease_duration_seconds, election.renew_deadline_seconds, election.retry_period_seconds
        )
        return Elector(
            self._infra.client.for_lease(),
            self._settings.namespace,
            OPERATOR_LEASE,
            self._identity,
            timings,
            clock=self._clock,
            metrics=self._metrics.elector(OPERATOR_LEASE),
            random=random.random,
            logger=self._log,
        )

    def _servers(self) -> Runs:
        runs: dict[str, Callable[[Stop], None]] = {}
        settings = self._settings
        if settings.health is not None:
            health = HealthServer(_pair(settings.health), healthy=_no_trouble, ready=self._unready, clock=self._clock)
            runs["health"] = health.run
        if settings.metrics is not None:
            runs["metrics"] = MetricsServer(_pair(settings.metrics), self._metrics, self._door, clock=self._clock).run
        return runs

    def _new_door(self) -> Plain | Guarded:
        if not self._settings.metrics_secure:
            return Plain()
        certificate = Certificate(self._settings.metrics_cert_path, self._metrics.certificate(), self._clock)
        return Guarded(Reviewer(self._infra.client.for_reviews(), self._clock, random.random), certificate)

    def _serving(self) -> Certificate | None:
        """The certificate of /metrics; None: /metrics has no TLS, or is off."""
        if self._settings.metrics is None or isinstance(self._door, Plain):
            return None
        return self._door.certificate

    def _unready(self) -> str:
        """Why infra is not ready; an unreachable tenant does not make this process unready."""
        return self._source.trouble() or (self._elector.trouble() if self._elector else "")


def workers(kind: type[_Named], most: int) -> int:
    """The most workers of a controller. One that calls tenants has a worker for each lane, whatever `most` is; one that
    nothing waits for has few, since each busy one keeps a thread and a connection."""
    if issubclass(kind, DpuNodes):
        return min(most, DPU_NODE_WORKERS)
    return max(most, TENANT_LANES) if issubclass(kind, TenantReconciler | Inquiries) else most


def _no_trouble() -> str:
    """A process that answers is live: a dead thread or a lost Lease ends it without a probe."""
    return ""


def _allowed_networks(settings: Settings, infra: Connection) -> tuple[Network, ...]:
    """Tenants on loopback are for development: allowed only if infra is on loopback too."""
    host = urlsplit(infra.url).hostname or ""
    try:
        is_local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_local = False
    return settings.tenant_allowed_cidrs + (_LOOPBACK if is_local else ())


def _pair(address: Address) -> tuple[str, int]:
    return address.host, address.port


def _lost_events(metrics: Metrics) -> GaugeMetrics:
    return metrics.gauge("dpunetop_events_lost", "Events that could not be written since the operator began.", "name")
