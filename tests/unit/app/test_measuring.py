"""What a scrape is told of the fleet and of the operator itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from dpunetop.app.measuring import (
    CERTIFICATE_EXPIRY,
    FAMILIES,
    OWN_EXPIRY,
    Certificates,
    Fleet,
    drain_steps,
    own_end,
    server_ends,
)
from dpunetop.controllers.drain.store import DrainStore
from dpunetop.domain.dpunode.measures import PAIRS
from dpunetop.domain.dpunode.status import DrainStep
from dpunetop.kube.validity import Validity
from dpunetop.runtime.client.connection import (
    Anonymous,
    ClientCertificate,
    Connection,
    Credential,
    Redacted,
    StaticToken,
    TokenFile,
    TokenSource,
)
from dpunetop.runtime.clusters import Clusters
from dpunetop.runtime.metrics import Metrics
from dpunetop.runtime.serving.server import Certificate
from dpunetop.sandbox.pki import Authority
from support.clock import FakeClock
from support.pki import pair
from support.rosters import roster

END = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def jwt(end: datetime) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": int(end.timestamp())}).encode()).decode().rstrip("=")
    return f"head.{claims}.tail"


def _raise() -> str:
    raise OSError("the plugin fails")


def fleet(credential: Credential, drain_store: DrainStore) -> Metrics:
    return measured(Certificates(Connection("https://infra", None, credential), None, tuple), drain_store)


def measured(certificates: Certificates, drain_store: DrainStore) -> Metrics:
    metrics = Metrics()
    Fleet(list, drain_store, certificates, FakeClock()).register(metrics)
    return metrics


def ends(certificates: Certificates) -> dict[tuple[str, str, str], datetime]:
    """What a scrape finds."""
    names = ("namespace", "name", "certificate")
    found: dict[tuple[str, str, str], datetime] = {}
    for family in measured(certificates, DrainStore()).registry.collect():
        for sample in family.samples if family.name == CERTIFICATE_EXPIRY else ():
            one, two, three = (sample.labels[name] for name in names)
            found[one, two, three] = datetime.fromtimestamp(sample.value, UTC)
    return found


def exposed(metrics: Metrics) -> str:
    return metrics.exposition()[0].decode()


def test_the_token_of_the_pod_is_read_anew_at_each_scrape(tmp_path: Path) -> None:
    file = tmp_path / "token"
    metrics = fleet(TokenFile(str(file)), DrainStore())
    assert OWN_EXPIRY not in exposed(metrics)
    for end in (END, END + timedelta(hours=1)):
        file.write_text(jwt(end))
        assert metrics.registry.get_sample_value(OWN_EXPIRY) == end.timestamp()


def test_a_token_that_a_plugin_gives_says_when_it_ends() -> None:
    assert own_end(TokenSource(lambda: jwt(END))) == END


def test_a_client_certificate_says_when_it_ends() -> None:
    pair = Authority("infra").client("operator")
    found = own_end(ClientCertificate(pair.certificate.decode(), Redacted(pair.key.decode())))
    assert found is not None
    assert found > datetime.now(UTC)


def test_the_certificates_of_the_operator_itself_say_when_they_end(tmp_path: Path) -> None:
    authority = Authority("infra")
    client = authority.client("operator")
    credential = ClientCertificate(client.certificate.decode(), Redacted(client.key.decode()))
    serving = Certificate(None, Metrics().certificate(), FakeClock())
    here = Connection("https://infra", authority.pem.decode(), credential)
    found = ends(Certificates(here, serving, tuple))
    assert {*found} == {("", "", "metrics"), ("", "", "infra-client"), ("", "", "infra-authority")}
    assert found["", "", "metrics"] == FakeClock().now() + timedelta(days=3650)


def test_a_serving_certificate_from_files_is_the_one_that_counts(tmp_path: Path) -> None:
    server = pair("server", 20)
    (tmp_path / "tls.crt").write_bytes(server.cert)
    (tmp_path / "tls.key").write_bytes(server.key)
    serving = Certificate(str(tmp_path), Metrics().certificate(), FakeClock())
    found = ends(Certificates(Connection("https://infra", None, Anonymous()), serving, tuple))
    assert found == {("", "", "metrics"): datetime(2026, 1, 21, tzinfo=UTC)}


def test_of_a_token_in_the_kubeconfig_itself_it_is_told_and_not_of_one_that_the_kubelet_renews(tmp_path: Path) -> None:
    static = Connection("https://infra", None, StaticToken(Redacted(jwt(END))))
    assert ends(Certificates(static, None, tuple)) == {("", "", "infra-client"): END}
    (tmp_path / "token").write_text(jwt(END))
    renewed = Connection("https://infra", None, TokenFile(str(tmp_path / "token")))
    assert ends(Certificates(renewed, None, tuple)) == {}


def test_an_authority_that_is_renewed_in_its_file_counts_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(pair("ca2", 10).cert)
    here = Connection("https://infra", pair("ca").cert.decode(), Anonymous(), ca_file=file)
    assert ends(Certificates(here, None, tuple)) == {("", "", "infra-authority"): datetime(2026, 1, 11, tzinfo=UTC)}


def test_what_is_copied_from_tenants_is_told_by_config_and_object() -> None:
    copies = {("ns", "one"): {"ovn-cert": END, "ovn-ca": END + timedelta(days=1)}}
    found = ends(Certificates(Connection("https://infra", None, Anonymous()), None, lambda: (copies,)))
    assert found == {("ns", "one", "ovn-cert"): END, ("ns", "one", "ovn-ca"): END + timedelta(days=1)}


@pytest.mark.parametrize(
    "credential",
    [
        Anonymous(),
        TokenSource(_raise),
        TokenFile("/nowhere/token"),
        StaticToken(Redacted("opaque")),
        ClientCertificate("no certificate", Redacted("")),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_credential_that_does_not_say_until_when_it_is_good_has_no_series(credential: Credential) -> None:
    assert own_end(credential) is None


def test_the_series_of_a_config_end_with_it() -> None:
    store, shared = DrainStore(), roster()
    metrics = fleet(Anonymous(), store)
    store.publish(shared)
    assert PAIRS in exposed(metrics)
    store.drop(shared.config.tenant_cluster)
    assert PAIRS not in exposed(metrics)


def test_what_is_measured_is_described_before_there_is_anything_to_measure() -> None:
    metrics = fleet(Anonymous(), DrainStore())
    assert {*FAMILIES} <= {*metrics.registry._names_to_collectors}


def test_each_step_of_a_drain_has_a_series_from_the_start_and_its_durations_are_counted() -> None:
    metrics = Metrics()
    over = drain_steps(metrics)
    count = "dpunetop_drain_step_duration_seconds_count"
    assert [metrics.registry.get_sample_value(count, {"step": str(step)}) for step in DrainStep] == [0, 0, 0, 0]
    over(DrainStep.HOST_DRAIN, 40)
    assert metrics.registry.get_sample_value(count, {"step": "hostDrain"}) == 1


LIVES = {  # name of the cluster, from when until when its certificate is valid -> what is measured
    "infra's": ("infra", END - timedelta(days=30), {("", ""): {"infra-server": END}}),
    "a tenant's": ("tenant/ns/one", END - timedelta(days=30), {("ns", "one"): {"tenant-server": END}}),
    "a tenant's that a program renews each day": ("tenant/ns/one", END - timedelta(days=1), {}),
    "one that is not known": ("tenant/ns/one", None, {}),
}


@pytest.mark.parametrize(("name", "begin", "expected"), LIVES.values(), ids=LIVES)
def test_the_end_of_each_connected_servers_certificate_is_told(
    name: str, begin: datetime | None, expected: Mapping[tuple[str, str], Mapping[str, datetime]]
) -> None:
    cluster = SimpleNamespace(client=SimpleNamespace(serving=begin and Validity(begin, END)))
    clusters = SimpleNamespace(names=lambda: [name, "tenant/ns/gone"], get={name: cluster}.get)
    assert server_ends(cast(Clusters, clusters)) == expected
