"""What each scrape is told of the fleet: asked of the caches at that moment, so that no number outlives its subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from dpunetop.base.clock import Clock
from dpunetop.base.sensitive import Sensitive
from dpunetop.controllers.drain.store import DrainStore, StepOver
from dpunetop.domain.dpunode import measures
from dpunetop.domain.dpunode.measures import Family, Measured, Measurement
from dpunetop.domain.dpunode.status import DrainStep
from dpunetop.domain.drain.fleet.roster import Roster
from dpunetop.domain.tenant.credentialend import end_of_certificate, end_of_token
from dpunetop.kube.meta import Obj
from dpunetop.runtime.client.connection import ClientCertificate, Credential, StaticToken, TokenFile, TokenSource
from dpunetop.runtime.metrics import Metrics

OWN_EXPIRY = "dpunetop_operator_credential_expiry_timestamp_seconds"
FAMILIES: Mapping[str, Family] = {
    **measures.FAMILIES,
    OWN_EXPIRY: Family("Until when the operator's own credential in infra is good, where that is known.", ()),
}


def drain_steps(metrics: Metrics) -> StepOver:
    """Who is to be told of each step of a drain that is over. Threads of what it gives: any."""
    seconds = metrics.histogram(
        "dpunetop_drain_step_duration_seconds",
        "Seconds of each step of the drains that the leader has seen end: as lastDrain of a DpuNode names them.",
        "step",
    )
    for step in DrainStep:
        seconds.expect(str(step))
    return lambda step, took: seconds.observe(took, str(step))


class Fleet:
    """Measures all DpuClusterConfigs, and the operator's own credential.

    A process that does not lead knows the conditions alone: it looks at no pair.
    Threads: any.
    """

    def __init__(
        self, configs: Callable[[], Iterable[Obj]], drain_store: DrainStore, credential: Credential, clock: Clock
    ) -> None:
        """`configs` gives all that the caches show; `credential` is the one for infra."""
        self._configs = configs
        self._drain_store = drain_store
        self._credential = credential
        self._clock = clock

    def register(self, metrics: Metrics) -> None:
        """Be asked at every scrape; once."""
        metrics.measured(FAMILIES, self._measure)

    def _measure(self) -> Iterator[Measurement]:
        if end := own_end(self._credential):
            yield Measurement(OWN_EXPIRY, (), end.timestamp())
        fleets = (self._measured(roster) for roster in self._drain_store.rosters())
        yield from measures.measure(self._configs(), fleets, int(self._clock.now().timestamp()))

    def _measured(self, roster: Roster) -> Measured:
        return Measured(roster, self._drain_store.reports(roster), self._drain_store.dpus(roster))


def own_end(credential: Credential) -> datetime | None:
    """Until when a credential is good; None: it does not say."""
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
    """What it gives now; empty where that fails: whoever uses it says so."""
    try:
        return read()
    except OSError:
        return ""
