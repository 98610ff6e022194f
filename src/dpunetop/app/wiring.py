"""The composition root: the one place that knows all classes, and how they are put together."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import structlog

from dpunetop import __version__
from dpunetop.app.assets import host_assets, interconnect_scripts, ovnkube_scripts
from dpunetop.app.measuring import Fleet, drain_steps
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
from dpunetop.controllers.drain.gather_host import INDEXERS, FirstLooks, HostSources
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
from dpunetop.controllers.reconciler import CONFIG_INDEXERS, ConfigReconciler, Installation, TenantReconciler
from dpunetop.controllers.tenant.credential import DpuCredential
from dpunetop.controllers.tenant.infranetworks import InfraNetworks
from dpunetop.controllers.tenant.link import TenantLink
from dpunetop.controllers.tenant.routes import TenantRoutes
from dpunetop.domain.dpunode.objects import kept as bare_dpu_node
from dpunetop.domain.drain.model.readers import is_ovn_pod
from dpunetop.domain.drain.protection.blockers import BLOCKED_NODE, blocked_node
from dpunetop.domain.names import (
    DPUCLUSTERCONFIGS,
    DPUNODES,
    HOST_ANNOTATIONS,
    HOST_LABELS,
    NODEMAINTENANCES,
    OPERATOR_LEASE,
    PODDISRUPTIONBUDGETS,
    TEMPLATE_HASH_ANNOTATION,
)
from dpunetop.domain.ovnkube.plan import PodScripts
from dpunetop.domain.tenant.kubeconfig import TenantKubeconfig, server_print
from dpunetop.kube.errors import MOST_MESSAGE_CHARS
from dpunetop.kube.keys import DEPLOYMENTS, INFRA, LEASES, NODES, PODS, Key, Resource
from dpunetop.kube.meta import Obj
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.informer import Absence
from dpunetop.runtime.cache.sharing import Commons
from dpunetop.runtime.cache.transform import bare_lease, bare_node, bare_pod, own_digest, strip_status
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import Anonymous, ClientCertificate, Connection, Credential, StaticToken
from dpunetop.runtime.client.kubeconfig import infra_connection
from dpunetop.runtime.client.transport import MAX_READ_BYTES, Transport
from dpunetop.runtime.cluster import TRANSFORMS, Cluster, Clusters
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
from dpunetop.runtime.reading import NotEngaged, Readings
from dpunetop.runtime.serving.reviews import Reviewer
from dpunetop.runtime.serving.server import Certificate, Guarded, HealthServer, MetricsServer, Plain

COMPONENT = "dpunetop"
TENANT_RESPONSE_BYTES = 900 << 10
"""Hostile JSON grows to 35 times its size when decoded: this bounds what a tenant can cost to 32 MiB."""
TENANT_ERROR_CHARS = 200
_TENANT_DOCUMENT_WEIGHT = 3 << 20
_TENANT_COLLECTION_WEIGHT = 2 << 20
"""A dozen objects and the masters' pods are read from a tenant: all of them together may not cost 32 MiB."""
_TENANT_HOSTS_WEIGHT = 16 << 20
"""Of its Nodes, which are cut to what is read of them: room for 5,000."""
_TENANT_MAINTENANCES_WEIGHT = 4 << 20
"""Of its NodeMaintenances: room for some hundred hosts that are drained at once."""
_TENANT_LEASE_WEIGHT = 8 << 10
"""Of a Lease, cut to what is read of it: one is followed for each host that is verified."""
_TENANT_WEIGHTS = {
    NODES: _TENANT_HOSTS_WEIGHT,
    NODEMAINTENANCES: _TENANT_MAINTENANCES_WEIGHT,
    LEASES: _TENANT_LEASE_WEIGHT,
}
TENANT_LANES = 128
"""So many tenants may be slow at once before one waits for another; a worker is made only when all others are busy."""
_INFRA_PARTS, _INFRA_PART_BYTES = 1024, 4096
"""Of infra whole blockers: so that the answer to a write and the event that shows it become one object."""
_MOST_INFRA_WORKERS = 32  # each tenant has caches there too
_MOST_TENANT_WORKERS = 8  # so many threads a tenant that is away costs at most
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))

_INDEXERS = {**INDEXERS, DPUCLUSTERCONFIGS: CONFIG_INDEXERS}
_TRANSFORMS = {
    **TRANSFORMS,
    DPUNODES: bare_dpu_node,
    PODDISRUPTIONBUDGETS: strip_status(),
    DEPLOYMENTS: own_digest({BLOCKED_NODE: blocked_node}),
    PODS: bare_pod((TEMPLATE_HASH_ANNOTATION,), is_ovn_pod),
}
_TENANT_TRANSFORMS = {**TRANSFORMS, NODES: bare_node(HOST_ANNOTATIONS, HOST_LABELS), LEASES: bare_lease()}

_Named = ConfigReconciler[Any] | Hosts | Inquiries | DpuNodes
Runs = Mapping[str, Callable[[Stop], None]]


def process_identity() -> str:
    """What tells this process from any other: the holder in the Lease, the instance in Events."""
    return f"{os.uname().nodename}_{random.SystemRandom().getrandbits(64):016x}"


def wire(settings: Settings, stop: Stop, identity: str) -> Manager:
    """Put the operator together; nothing runs before the Manager does.

    Raises: ConfigurationError when infra's connection or a listening address cannot be used.
    """
    return _Wiring(settings, infra_connection(settings.kubeconfig), stop, identity).manager()


class _Wiring:
    """What is shared by the parts while they are put together."""

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
        # Ends with its cluster, not with the process: what controllers have under way is finished first.
        self._infra = self._cluster(INFRA, replace(connection, on_connect=self._networks.see), Stop(self._clock))
        self._clusters = Clusters()
        self._elector = self._new_elector()
        self._gate: WriteGate = self._elector.gate if self._elector else OpenGate()
        lost = _lost_events(self._metrics)
        self._recorder = EventRecorder(self._client, COMPONENT, self._clock, instance=self._identity, lost=lost.set)
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
        self._controllers = [self._controller(each, rest_after, DEBOUNCE_SECONDS) for each in self._reconcilers()]
        self._dpu_nodes = self._dpu_node_controller()
        self._hosts = self._host_controller()
        self._asking = self._inquiry_controller()
        self._source = ConfigSource(self._infra, self._installation.selections(), self._wake, self._wake_judge)
        fleet = Fleet(self._source.configs, self._drain_store, connection.credential, self._clock)
        fleet.register(self._metrics)

    def manager(self) -> Manager:
        """The order of starting; stopping goes the other way, so that the Lease is given back after the last write."""
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
            TenantObjects(*given),
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

    def _host_controller(self) -> Controller:
        """Its keys are not those of DpuClusterConfigs: the board says which there are."""
        sources = HostSources(
            self._clusters,
            NodeAbsences(self._inquiries, self._client, self._clock),
            self._terms,
            self._executor.newest,
            Evictions(self._inquiries, self._client, self._clock),
            self._infra_health,
            Leases(self._clock),
            FirstLooks(self._clock),
        )
        stall_detector = StallDetector(self._clock, self._read_anew)
        hosts = Hosts(
            self._drain_store, sources, self._task_runner, self._executor, stall_detector, Failures(self._clock)
        )
        controller = self._controller(hosts, no_rest, 0.0)
        pairs = next(each for each in self._controllers if each.name == Pairs.name)
        steps = drain_steps(self._metrics)
        self._drain_store.connect(controller.queue.add, pairs.debounce, self._dpu_nodes.debounce, steps)
        return controller

    def _dpu_node_controller(self) -> Controller:
        """Its keys are those of DpuNodes; it follows nothing but them and what the drain shows."""
        dpu_nodes = DpuNodes(self._infra, self._drain_store, self._executor, self._clock)
        controller = self._queue_of(dpu_nodes, no_rest, DPU_NODE_SECONDS)
        dpu_nodes.connect(controller.debounce, controller.forget)
        return controller

    def _inquiry_controller(self) -> Controller:
        """Its keys are clusters, each of which is a lane."""
        controller = self._queue_of(self._inquiries, no_rest, 0.0)
        self._inquiries.connect(controller.queue.add, controller.forget)
        return controller

    def _all_controllers(self) -> Sequence[Controller]:
        return *self._controllers, self._hosts, self._asking, self._dpu_nodes

    def _controller(
        self, reconciler: ConfigReconciler[Any] | Hosts, rest: Callable[[float], float], debounce_seconds: float
    ) -> Controller:
        controller = self._queue_of(reconciler, rest, debounce_seconds)
        readings = Readings(self._clusters, controller.queue.add, controller.debounce, controller.forget)
        reconciler.read_through(readings)
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
        """Hosts find room among those of slow tenants call by call: most of a pass, closing a budget for instance,
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
        """Whoever judges DpuClusterConfigs that were never served; nobody else has to do with them."""
        judge = next(each for each in self._controllers if each.name == ClusterConfig.name)
        judge.debounce(key)

    def _untold(self, namespace: str) -> str:
        """Why Events about what is in a namespace, or about Nodes, are not written."""
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
        self._infra.informer(Selection(NODES))  # read by all; a standby has it warm
        self._clusters.engage(self._infra)
        self._source.start()
        self._clusters.run(stop)

    def _cluster(self, name: str, connection: Connection, stop: Stop) -> Cluster:
        is_trusted = name == INFRA
        metrics = self._metrics.client(urlsplit(connection.url).netloc)
        agent = f"dpunetop/{__version__} ({self._identity})"
        workers = self._settings.max_concurrent_reconciles
        transport = Transport(
            connection,
            stop,
            user_agent=agent,
            metrics=metrics,
            clock=self._clock,
            max_calls=workers + 8,
            max_response_bytes=MAX_READ_BYTES if is_trusted else TENANT_RESPONSE_BYTES,
            max_error_chars=MOST_MESSAGE_CHARS if is_trusted else TENANT_ERROR_CHARS,
        )
        most = None if is_trusted else _TENANT_DOCUMENT_WEIGHT
        around = nullcontext if is_trusted else lambda: self._latencies.call(name)
        client = Client(transport, clock=self._clock, metrics=metrics, name=name, most_weight=most, around=around)
        cluster = Cluster(
            name,
            client,
            clock=self._clock,
            metrics=self._metrics,
            random=random.random,
            stop=stop,
            transforms=_TRANSFORMS if is_trusted else _TENANT_TRANSFORMS,
            indexers=_INDEXERS,
            most_weight=(lambda _: None) if is_trusted else _tenant_weight,
            most_workers=_MOST_INFRA_WORKERS if is_trusted else _MOST_TENANT_WORKERS,
            commons=Commons(_INFRA_PARTS, _INFRA_PART_BYTES) if is_trusted else None,
        )
        cluster.on_time_went_back(lambda: self._time_went_back(name))
        return cluster

    def _infra_nodes(self) -> Sequence[Obj]:
        return self._infra.informer(Selection(NODES)).lister.list()

    def _time_went_back(self, name: str) -> None:
        """Nothing that was decided on before counts any more."""
        self._executor.forget(name)
        self._terms.advance()
        self._drain_store.wake_all()

    def _tenant(self, name: str, kubeconfig: TenantKubeconfig) -> Cluster:
        self._networks.refresh()
        way = self._routes.begin(name, server_print(kubeconfig))
        connection = Connection(
            url=kubeconfig.server,
            ca_pem=kubeconfig.ca_pem,
            credential=_credential(kubeconfig),
            tls_server_name=kubeconfig.tls_server_name,
            proxy_url=self._settings.tenant_proxy_url,
            address_policy=way.refusal,
            on_verified=way.verify if self._settings.tenant_proxy_url is None else None,  # else it is the proxy's
        )
        return self._cluster(name, connection, Stop(self._clock))

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
            runs["metrics"] = MetricsServer(_pair(settings.metrics), self._metrics, self._door(), clock=self._clock).run
        return runs

    def _door(self) -> Plain | Guarded:
        if not self._settings.metrics_secure:
            return Plain()
        certificate = Certificate(self._settings.metrics_cert_path, self._metrics.certificate(), self._clock)
        return Guarded(Reviewer(self._infra.client.for_reviews(), self._clock, random.random), certificate)

    def _unready(self) -> str:
        """What is not ready on infra's side: a tenant that is away is no reason to take this process out of service."""
        return self._source.trouble() or (self._elector.trouble() if self._elector else "")


def workers(kind: type[_Named], most: int) -> int:
    """How many workers a controller has: one that calls tenants has a lane for each, however few keys may be reconciled
    at once."""
    return max(most, TENANT_LANES) if issubclass(kind, TenantReconciler | Inquiries) else most


def _tenant_weight(selection: Selection) -> int:
    """What the cache of a tenant's selection may weigh."""
    return _TENANT_WEIGHTS.get(selection.resource, _TENANT_COLLECTION_WEIGHT)


def _no_trouble() -> str:
    """A process that answers lives: a thread that dies, and a Lease that is lost, end it by themselves."""
    return ""


def _credential(kubeconfig: TenantKubeconfig) -> Credential:
    if kubeconfig.token is not None:
        return StaticToken(kubeconfig.token)
    if kubeconfig.client_cert_pem is not None and kubeconfig.client_key_pem is not None:
        return ClientCertificate(kubeconfig.client_cert_pem, kubeconfig.client_key_pem)
    return Anonymous()


def _allowed_networks(settings: Settings, infra: Connection) -> tuple[Network, ...]:
    """Tenants on loopback are for development: allowed where infra is there too."""
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
