"""The two ports before callers who mean harm: probes and scrapes get their answers, and memory stays where it is."""

import http.client
import ssl
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import hostilecallers
from support.hostilecallers import besieged
from support.pki import pair
from support.portsprocess import PortsProcess

MOST_GROWTH_MIB = 16
PROBE_SECONDS = 60
"""Until a probe is given up."""
KUBELET_SECONDS = 5
"""Until the kubelet gives one up: on a busy machine a few may take longer, of so many most may not."""
PROBES = 10
PAUSE_SECONDS = 0.2
PROBER = ("127.0.9.9", 0)


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[PortsProcess]:
    (tmp_path / "tls.crt").write_bytes(pair().cert)
    (tmp_path / "tls.key").write_bytes(pair().key)
    with PortsProcess(tmp_path) as process:
        yield process


def probe(address: tuple[str, int], path: str) -> bool:
    """Whether it is answered."""
    connection = http.client.HTTPConnection(*address, timeout=PROBE_SECONDS, source_address=PROBER)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def scrape(address: tuple[str, int], token: str = "good") -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(*address, timeout=PROBE_SECONDS, context=context, source_address=PROBER)
    try:
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def answers(*asks: Callable[..., object]) -> list[int]:
    """How often each was answered, most times before the kubelet would have given up."""
    seen, took = [], []
    for _ in range(PROBES):
        began = time.monotonic()
        seen.append([ask() for ask in asks])
        took.append(time.monotonic() - began)
        time.sleep(PAUSE_SECONDS)
    assert statistics.median(took) < KUBELET_SECONDS
    return [sum(answered) for answered in zip(*seen, strict=True)]


@pytest.fixture
def growth(ports: PortsProcess) -> Callable[[], float]:
    """How much more memory the process has had at most than when all of it had been used once."""
    assert scrape(ports.metrics)
    assert probe(ports.health, "/healthz")
    before = ports.memory_mib()
    return lambda: ports.most_memory_mib() - before


CROWDS = [*((habit,) for habit in hostilecallers.ON_ANY_PORT), hostilecallers.ON_ANY_PORT]
TLS_CROWDS = [*((habit,) for habit in hostilecallers.ON_TLS), hostilecallers.ON_TLS]


def name_of(value: tuple[hostilecallers.Habit, ...]) -> str:
    return value[0].name if len(value) == 1 else "all kinds"


@pytest.mark.parametrize("sources", [1, 200], ids=["from one address", "each from its own address"])
@pytest.mark.parametrize("habits", CROWDS, ids=name_of)
def test_probes_are_answered_whatever_two_hundred_others_do(
    ports: PortsProcess, growth: Callable[[], float], habits: tuple[hostilecallers.Habit, ...], sources: int
) -> None:
    with besieged(ports.health, habits, 200, sources):
        counts = answers(lambda: probe(ports.health, "/healthz"), lambda: probe(ports.health, "/readyz"))
    assert counts == [PROBES, PROBES]
    assert growth() <= MOST_GROWTH_MIB


@pytest.mark.parametrize("sources", [1, 200], ids=["from one address", "each from its own address"])
@pytest.mark.parametrize("habits", TLS_CROWDS, ids=name_of)
def test_scrapes_are_answered_whatever_two_hundred_others_do(
    ports: PortsProcess, growth: Callable[[], float], habits: tuple[hostilecallers.Habit, ...], sources: int
) -> None:
    with besieged(ports.metrics, habits, 200, sources):
        counts = answers(lambda: scrape(ports.metrics), lambda: probe(ports.health, "/healthz"))
    assert counts == [PROBES, PROBES]
    assert growth() <= MOST_GROWTH_MIB


@pytest.mark.parametrize("port", ["health", "metrics"])
def test_fourteen_callers_with_headers_of_megabytes_cost_no_memory(
    ports: PortsProcess, growth: Callable[[], float], port: str
) -> None:
    with besieged(getattr(ports, port), (hostilecallers.GIANT_HEADERS,), 14, 14):
        time.sleep(3)
    assert growth() <= MOST_GROWTH_MIB
