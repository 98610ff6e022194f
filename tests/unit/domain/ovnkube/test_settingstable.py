"""Nothing of a tenant's settings is unaccounted for: the table against names recorded from the real sources."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dpunetop.domain.ovnkube.settingstable import openshift, upstream
from dpunetop.domain.ovnkube.settingstable.conf import OVNKUBE_CONF, option_of
from dpunetop.domain.ovnkube.settingstable.rows import (
    InConfigFile,
    NotFollowed,
    NotForDpu,
    RefusesTenant,
    Rows,
    expected,
)

DATA = Path(__file__).parents[3] / "data" / "settings"
NEWEST = (90, 0)
TABLES: dict[str, dict[str, Rows]] = {
    "openshift": {
        "conf": OVNKUBE_CONF,
        "option": openshift.OPTIONS,
        "literal": openshift.LITERALS,
        "variable": openshift.VARIABLES,
        "reads": openshift.VARIABLES,
        "key": openshift.KEYS,
    },
    "upstream": {
        "conf": OVNKUBE_CONF,
        "option": upstream.OPTIONS,
        "variable": upstream.VARIABLES,
        "reads": upstream.VARIABLES,
        "key": upstream.KEYS,
    },
    "ovnkube": {"conf": OVNKUBE_CONF},
    "central": {"conf": OVNKUBE_CONF},
}
# Rows that no recorded source has, each with the reason why it is in the table all the same.
UNRECORDED = {
    "option disable-requestedchassis": "ovnkube has the switch; a library that hands it on is followed",
    "option enable-network-connect": "ovnkube has the switch; a library that hands it on is followed",
    "option enable-network-qos": "ovnkube has the switch; a library that hands it on is followed",
    "option enable-persistent-ips": "ovnkube has the switch; a library that hands it on is followed",
    "conf clustermanager/v4-transit-switch-subnet": "the key of 4.20, whose library has the option of that name",
    "conf clustermanager/v6-transit-switch-subnet": "the key of 4.20, whose library has the option of that name",
    "key ovnkube-config/ovnkube.conf": "the file itself, which is no variable's in OpenShift",
    "option cluster-default-nad": "the start script spells it for all of its functions, outside of the recorded one",
}
RECORDINGS = sorted(path.stem for path in DATA.glob("*.txt"))


def names(recording: str) -> list[str]:
    lines = (DATA / f"{recording}.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def version(recording: str) -> tuple[int, int]:
    release = recording.partition("-")[2]
    if release == "master":
        return NEWEST
    first, second = release.split(".")
    return int(first), int(second)


def table_rows(source: str) -> Iterator[tuple[str, Rows]]:
    yield from TABLES[source].items()


def test_what_is_recorded_says_where_it_is_from() -> None:
    assert {"openshift-4.20", "openshift-4.21", "openshift-4.22", "openshift-4.23", "openshift-5.0"} <= set(RECORDINGS)
    assert {"openshift-master", "upstream-1.3", "upstream-master", "ovnkube-1.3", "ovnkube-master"} <= set(RECORDINGS)
    for recording in RECORDINGS:
        head = [line for line in (DATA / f"{recording}.txt").read_text().splitlines() if line.startswith("#")]
        assert [line.split(":")[0] for line in head[:4]] == ["# repository", "# branch", "# commit", "# path"]
        assert len(names(recording)) > 25


@pytest.mark.parametrize("recording", RECORDINGS)
def test_nothing_that_a_release_sets_is_unaccounted_for(recording: str) -> None:
    source = recording.partition("-")[0]
    lost = []
    for line in names(recording):
        place, name = line.split(" ")
        row = TABLES[source][place].get(name)
        if row is None or not row.span.covers(version(recording)):
            lost.append(line)
    assert lost == []


@pytest.mark.parametrize("source", ["openshift", "upstream"])
def test_every_row_is_of_some_release_or_says_why_it_is_there(source: str) -> None:
    lines = [(recording, line) for recording in RECORDINGS for line in names(recording)]
    seen = {line for recording, line in lines if recording.startswith(source) or line.startswith("conf ")}
    seen |= {line.replace("reads ", "variable ") for line in seen}
    listed = {f"{place} {name}" for place, table in TABLES[source].items() if place != "reads" for name in table}
    assert listed - seen - UNRECORDED.keys() == set()


@pytest.mark.parametrize("recording", [name for name in RECORDINGS if name.startswith(("openshift", "upstream"))])
def test_a_row_covers_no_release_that_does_not_have_it(recording: str) -> None:
    source = recording.partition("-")[0]
    seen = set(names(recording))
    seen |= {line.replace("reads ", "variable ") for line in seen}
    for place, table in TABLES[source].items():
        bounded = [row for row in table.values() if row.span.first or row.span.last]
        extra = [
            row.name for row in bounded if row.span.covers(version(recording)) and f"{place} {row.name}" not in seen
        ]
        assert place == "reads" or extra == []


@pytest.mark.parametrize("recording", [name for name in RECORDINGS if name.startswith(("openshift", "upstream"))])
def test_only_what_a_release_always_says_is_missed_where_it_is_not_said(recording: str) -> None:
    source = recording.partition("-")[0]
    seen = set(names(recording))
    for place in ("option", "literal", "variable"):
        for row in expected(TABLES[source].get(place, {}), version(recording)):
            assert f"{place} {row.name}" in seen


def test_every_reason_is_a_sentence_that_can_be_shown() -> None:
    for source in TABLES:
        for _, table in table_rows(source):
            for row in table.values():
                if isinstance(row.verdict, NotForDpu | NotFollowed | RefusesTenant):
                    assert len(row.verdict.why) > 15
                    assert row.verdict.why.isprintable()


HOST_ONLY = (
    *("ovnkubernetesfeature/egressip-node-healthcheck-port", "kubernetes/healthz-bind-address", "cni/conf-dir"),
    *("ovnkubenode/mgmt-port-netdev", "ovnkubenode/mgmt-port-dp-resource-name", "metrics/bind-address"),
    *(
        "gateway/interface",
        "gateway/next-hop",
        "default/encap-ip",
        "default/zone",
        "clustermgrha/election-lease-duration",
    ),
)


@pytest.mark.parametrize("name", HOST_ONLY)
def test_what_only_a_host_can_do_is_not_kept(name: str) -> None:
    assert isinstance(OVNKUBE_CONF[name].verdict, NotForDpu)


def test_the_health_check_of_egress_ips_is_handed_on_in_no_flavour() -> None:
    assert isinstance(upstream.VARIABLES["OVN_EGRESSIP_HEALTHCHECK_PORT"].verdict, NotForDpu)
    assert isinstance(upstream.OPTIONS["egressip-node-healthcheck-port"].verdict, NotForDpu)


def test_what_a_file_keeps_is_known_as_an_option_too() -> None:
    assert option_of("default/mtu") == "mtu"
    assert option_of("kubernetes/service-cidrs") == "k8s-service-cidrs"
    assert option_of("clustermanager/v4-transit-subnet") == "cluster-manager-v4-transit-subnet"
    kept = [name for name, row in OVNKUBE_CONF.items() if isinstance(row.verdict, InConfigFile)]
    assert len({option_of(name) for name in kept}) == len(kept)
