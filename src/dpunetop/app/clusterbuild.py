"""Builds the clusters of the process: infra's is trusted, a tenant's may be hostile and is bounded in what it costs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from urllib.parse import urlsplit

from dpunetop import __version__
from dpunetop.app.settings import Settings
from dpunetop.base.clock import Clock
from dpunetop.base.stop import Stop
from dpunetop.controllers.drain.gather_host import INDEXERS
from dpunetop.controllers.reconciler import CONFIG_INDEXERS
from dpunetop.controllers.tenant.routes import TenantRoute
from dpunetop.domain.dpunode.objects import kept as bare_dpu_node
from dpunetop.domain.drain.model.readers import is_ovn_pod
from dpunetop.domain.drain.protection.blockers import BLOCKED_NODE, blocked_node, kept_spec
from dpunetop.domain.names import (
    DPUCLUSTERCONFIGS,
    DPUNODES,
    HOST_ANNOTATIONS,
    HOST_LABELS,
    NODEMAINTENANCES,
    OWNER_LABEL,
    PODDISRUPTIONBUDGETS,
    TEMPLATE_HASH_ANNOTATION,
)
from dpunetop.domain.tenant.kubeconfigmodel import TenantKubeconfig
from dpunetop.kube.errors import MOST_MESSAGE_CHARS
from dpunetop.kube.keys import DEPLOYMENTS, INFRA, LEASES, NODES, PODS, Resource
from dpunetop.kube.requests import Selection
from dpunetop.runtime.cache.interning import Interner
from dpunetop.runtime.cache.transform import Transform, bare_lease, bare_node, bare_pod, own_digest, strip_status
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.client.connection import Anonymous, ClientCertificate, Connection, Credential, StaticToken
from dpunetop.runtime.client.transport import MAX_READ_BYTES, Transport
from dpunetop.runtime.cluster import TRANSFORMS, Cluster
from dpunetop.runtime.latency import CallLatencies
from dpunetop.runtime.metrics import Metrics

TENANT_RESPONSE_BYTES = 900 << 10
"""Bounds the memory of one tenant response to 32 MiB, since hostile JSON grows to 35 times its size when decoded."""
_TENANT_COLLECTION_WEIGHT = 2 << 20
"""Of one cached selection of a tenant; a tenant's caches hold a dozen objects and the pods of its masters."""
_TENANT_WEIGHTS = {
    NODES: 16 << 20,  # stripped by bare_node: room for 5,000
    NODEMAINTENANCES: 4 << 20,  # room for some hundred hosts that drain at once
    LEASES: 8 << 10,  # stripped by bare_lease: one is watched for each host that is verified
}
INFRA_PARTS, INFRA_PART_BYTES = 512, 4096
"""Infra's caches intern whole drain blockers, so that a write's response and its watch event are one object."""
_WHOSE = (OWNER_LABEL,)
INFRA_TRANSFORMS: Mapping[Resource, Transform] = {
    **TRANSFORMS,
    DPUNODES: bare_dpu_node,
    PODDISRUPTIONBUDGETS: own_digest(_WHOSE, {"spec": kept_spec}, strip_status(), ("annotations", "creationTimestamp")),
    DEPLOYMENTS: own_digest(_WHOSE, {BLOCKED_NODE: blocked_node}),
    PODS: bare_pod((TEMPLATE_HASH_ANNOTATION,), is_ovn_pod),
}
TENANT_TRANSFORMS: Mapping[Resource, Transform] = {
    **TRANSFORMS,
    NODES: bare_node(HOST_ANNOTATIONS, HOST_LABELS),
    LEASES: bare_lease(),
}
_INDEXERS = {**INDEXERS, DPUCLUSTERCONFIGS: CONFIG_INDEXERS}


def tenant_weight(selection: Selection) -> int:
    """The most that the cache of a tenant's selection may weigh."""
    return _TENANT_WEIGHTS.get(selection.resource, _TENANT_COLLECTION_WEIGHT)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a cluster may cost this process."""

    response_bytes: int
    error_chars: int
    document_weight: int | None
    selection_weight: Callable[[Selection], int | None]
    informer_workers: int
    """Threads that wait for the server at a time, in an outage for example."""


_INFRA_BOUNDS = Bounds(MAX_READ_BYTES, MOST_MESSAGE_CHARS, None, lambda _: None, 32)  # each tenant has caches there too
_TENANT_BOUNDS = Bounds(TENANT_RESPONSE_BYTES, 200, 3 << 20, tenant_weight, 8)


class ClusterBuilder:
    """Builds the cluster of infra and those of the tenants. Threads: any."""

    def __init__(
        self,
        settings: Settings,
        identity: str,
        clock: Clock,
        metrics: Metrics,
        latencies: CallLatencies,
        on_time_went_back: Callable[[str], None],
    ) -> None:
        """`on_time_went_back` is called with the name of a cluster whose etcd was restored from a backup."""
        self._settings = settings
        self._agent = f"dpunetop/{__version__} ({identity})"
        self._clock = clock
        self._metrics = metrics
        self._latencies = latencies
        self._on_time_went_back = on_time_went_back

    def infra(self, connection: Connection) -> Cluster:
        """The cluster that the operator runs in."""
        parts = Interner(INFRA_PARTS, INFRA_PART_BYTES)
        return self._cluster(INFRA, connection, _INFRA_BOUNDS, INFRA_TRANSFORMS, nullcontext, parts)

    def tenant(self, name: str, kubeconfig: TenantKubeconfig, route: TenantRoute) -> Cluster:
        """A tenant's cluster; its addresses are checked by `route`."""
        proxy_url = self._settings.tenant_proxy_url
        connection = Connection(
            url=kubeconfig.server,
            ca_pem=kubeconfig.ca_pem,
            credential=_credential(kubeconfig),
            tls_server_name=kubeconfig.tls_server_name,
            proxy_url=proxy_url,
            address_policy=route.refusal,
            on_verified=route.verify if proxy_url is None else None,  # else the address is the proxy's
        )
        return self._cluster(
            name, connection, _TENANT_BOUNDS, TENANT_TRANSFORMS, lambda: self._latencies.call(name), None
        )

    def _cluster(
        self,
        name: str,
        connection: Connection,
        bounds: Bounds,
        transforms: Mapping[Resource, Transform],
        around: Callable[[], AbstractContextManager[None]],
        interner: Interner | None,
    ) -> Cluster:
        stop = Stop(self._clock)  # not the process's: what controllers have begun ends before their clusters
        cluster = Cluster(
            name,
            self._client(name, connection, bounds, around, stop),
            clock=self._clock,
            metrics=self._metrics,
            random=random.random,
            stop=stop,
            transforms=transforms,
            indexers=_INDEXERS,
            most_weight=bounds.selection_weight,
            most_workers=bounds.informer_workers,
            interner=interner,
        )
        cluster.on_time_went_back(lambda: self._on_time_went_back(name))
        return cluster

    def _client(
        self,
        name: str,
        connection: Connection,
        bounds: Bounds,
        around: Callable[[], AbstractContextManager[None]],
        stop: Stop,
    ) -> Client:
        metrics = self._metrics.client(urlsplit(connection.url).netloc)
        transport = Transport(
            connection,
            stop,
            user_agent=self._agent,
            metrics=metrics,
            clock=self._clock,
            max_calls=self._settings.max_concurrent_reconciles + 8,
            max_response_bytes=bounds.response_bytes,
            max_error_chars=bounds.error_chars,
        )
        most = bounds.document_weight
        return Client(transport, clock=self._clock, metrics=metrics, name=name, most_weight=most, around=around)


def _credential(kubeconfig: TenantKubeconfig) -> Credential:
    if kubeconfig.token is not None:
        return StaticToken(kubeconfig.token)
    if kubeconfig.client_cert_pem is not None and kubeconfig.client_key_pem is not None:
        return ClientCertificate(kubeconfig.client_cert_pem, kubeconfig.client_key_pem)
    return Anonymous()
