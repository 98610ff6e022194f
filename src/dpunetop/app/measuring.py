"""Metrics of the fleet, computed from the caches at each scrape, so that no series outlives its subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from dpunetop.base.clock import Clock
from dpunetop.base.sensitive import Sensitive
from dpunetop.controllers.copies import Ends
from dpunetop.controllers.drain.store import DrainStore, StepOver
from dpunetop.domain.clusterconfig.types import config_of_tenant
from dpunetop.domain.dpunode import measures
from dpunetop.domain.dpunode.measures import Family, Measured, Measurement
from dpunetop.domain.dpunode.status import DrainStep
from dpunetop.domain.drain.fleet.roster import Roster
from dpunetop.domain.tenant.credentialend import End, end_of_authority, end_of_certificate, end_of_token
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import Obj
from dpunetop.kube.validity import Validity
from dpunetop.runtime.client.connection import (
    ClientCertificate,
    Connection,
    Credential,
    StaticToken,
    TokenFile,
    TokenSource,
)
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.serving.server import Certificate

OWN_EXPIRY = "dpunetop_operator_credential_expiry_timestamp_seconds"
CERTIFICATE_EXPIRY = "dpunetop_certificate_expiry_timestamp_seconds"
_WEEKS = timedelta(days=14)
FAMILIES: Mapping[str, Family] = {
    **measures.FAMILIES,
    CERTIFICATE_EXPIRY: Family(
        "When a certificate expires. Label certificate: metrics, that of /metrics; infra-client and infra-authority, "
        "of the operator's own kubeconfig; infra-server and tenant-server, of the API servers; else the "
        "object of that name, copied from the tenant.",
        ("namespace", "name", "certificate"),
    ),
    OWN_EXPIRY: Family("When the operator's own credential in infra expires, if that is known.", ()),
}


def drain_steps(metrics: Metrics) -> StepOver:
    """The callback for each finished step of a drain. Threads: it may be called from any."""
    seconds = metrics.histogram(
        "dpunetop_drain_step_duration_seconds",
        "Seconds of each finished step of a drain that this leader has seen; steps as in lastDrain of a DpuNode.",
        "step",
    )
    for step in DrainStep:
        seconds.expect(str(step))
    return lambda step, took: seconds.observe(took, str(step))


@dataclass(frozen=True, slots=True)
class Certificates:
    """The certificates whose expiry is read at each scrape."""

    connection: Connection
    """To infra."""
    serving: Certificate | None
    """That of /metrics; None: it is served without."""
    of_tenants: Callable[[], Iterable[Ends]]
    """Of what is copied from tenants, and of their API servers."""

    def ends(self) -> Iterator[tuple[tuple[str, str, str], datetime]]:
        """Namespace and name of the DpuClusterConfig (or empty), the certificate, and its expiry."""
        own = (
            ("metrics", None if self.serving is None else end_of_certificate(self.serving.chain())),
            ("infra-client", _end_of_client(self.connection.credential)),
            ("infra-authority", end_of_authority(authorities(self.connection))),
        )
        yield from ((("", "", name), end.at) for name, end in own if end is not None)
        for found in self.of_tenants():
            for config, ends in found.items():
                yield from (((*config, name), end) for name, end in ends.items())


def server_ends(clusters: Clusters) -> Ends:
    """When the certificate of each connected API server expires, of those that live for weeks.

    One that lives for days is renewed by a program, and always ends within the days of the alerts.
    Threads: any.
    """
    seen = ((name, cluster.client.serving) for name in clusters.names() if (cluster := clusters.get(name)) is not None)
    return dict(_server_end(name, serving.end) for name, serving in seen if serving and _lives_for_weeks(serving))


def _lives_for_weeks(serving: Validity) -> bool:
    return serving.end - serving.begin >= _WEEKS


def _server_end(cluster: str, end: datetime) -> tuple[tuple[str, str], Mapping[str, datetime]]:
    if cluster == INFRA:
        return ("", ""), {"infra-server": end}
    return config_of_tenant(cluster), {"tenant-server": end}


def authorities(connection: Connection) -> str:
    """The current CA of infra; empty: the CAs of the machine, whose expiry is not reported."""
    path = connection.ca_file
    renewed = "" if path is None else _text(lambda: path.read_text("ascii", "replace"))
    return renewed or connection.ca_pem or ""


def _end_of_client(credential: Credential) -> End | None:
    """The expiry of a credential that nothing renews: a client certificate, or a token embedded in the kubeconfig."""
    match credential:
        case ClientCertificate(cert_pem=cert_pem):
            return end_of_certificate(cert_pem)
        case StaticToken(token):
            return end_of_token(Sensitive(token.reveal()))
        case _:
            return None


class Fleet:
    """Measures all DpuClusterConfigs, the operator's own credential, and certificates.

    A standby reports only the conditions, since it gathers no pairs.
    Threads: any.
    """

    def __init__(
        self, configs: Callable[[], Iterable[Obj]], drain_store: DrainStore, certificates: Certificates, clock: Clock
    ) -> None:
        """`configs` returns all DpuClusterConfigs of the caches."""
        self._configs = configs
        self._drain_store = drain_store
        self._certificates = certificates
        self._clock = clock

    def register(self, metrics: Metrics) -> None:
        """Register with `metrics`; call it once."""
        metrics.measured(FAMILIES, self._measure)

    def _measure(self) -> Iterator[Measurement]:
        if end := own_end(self._certificates.connection.credential):
            yield Measurement(OWN_EXPIRY, (), end.timestamp())
        for labels, until in self._certificates.ends():
            yield Measurement(CERTIFICATE_EXPIRY, labels, until.timestamp())
        fleets = (self._measured(roster) for roster in self._drain_store.rosters())
        yield from measures.measure(self._configs(), fleets, int(self._clock.now().timestamp()))

    def _measured(self, roster: Roster) -> Measured:
        return Measured(roster, self._drain_store.reports(roster), self._drain_store.dpus(roster))


def own_end(credential: Credential) -> datetime | None:
    """The expiry of a credential; None: it has none."""
    match credential:
        case TokenFile(path):
            found = end_of_token(Sensitive(_text(lambda: Path(path).read_text(encoding="ascii", errors="replace"))))
        case TokenSource(read):
            found = end_of_token(Sensitive(_text(read)))
        case StaticToken(token):
            found = end_of_token(Sensitive(token.reveal()))
        case ClientCertificate(cert_pem=cert_pem):
            found = end_of_certificate(cert_pem)
        case _:
            return None
    return None if found is None else found.at


def _text(read: Callable[[], str]) -> str:
    """The current text; empty if the read fails, which the user of the credential reports."""
    try:
        return read()
    except OSError:
        return ""
