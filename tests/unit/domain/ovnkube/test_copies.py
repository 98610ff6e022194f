from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest

from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.ovnkube.copies import (
    AUTHORITY,
    CERTIFICATE,
    CONFIGURATION,
    Copy,
    CopyProblem,
    CopyRefused,
    Source,
    as_written,
    content_digest,
    copy_of,
    needed_sources,
)
from dpunetop.domain.ovnkube.release import Flavour
from dpunetop.domain.ovnkube.topology import Topology
from support.pki import pair

OWNER = Owner({"metadata": {"name": "c", "namespace": "ns", "uid": "cr"}}, "0123")
METADATA = {"name": "x", "namespace": "t", "labels": {"evil": "x"}, "annotations": {"evil": "y"}, "uid": "u"}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def secret(cert: bytes, key: bytes, **more: str) -> dict[str, Any]:
    return {"metadata": METADATA, "type": "Opaque", "data": {"tls.crt": b64(cert), "tls.key": b64(key), **more}}


def config_map(**data: str) -> dict[str, Any]:
    return {"metadata": METADATA, "data": {key.replace("_", "."): value for key, value in data.items()}}


GOOD = {
    "certificate": (CERTIFICATE, secret(pair().cert, pair().key, **{"extra.key": "eA=="})),
    "authority": (AUTHORITY, {"metadata": METADATA, "data": {"ca-bundle.crt": pair("ca").cert.decode(), "x": "y"}}),
    "configuration": (CONFIGURATION, config_map(ovnkube_conf='[default]\nmtu="1400"\n', other="x")),
}


def copied(source: Source, seen: dict[str, Any]) -> Copy:
    found = copy_of(source, seen, "ns", OWNER)
    assert isinstance(found, Copy)
    return found


@pytest.mark.parametrize(("source", "seen"), GOOD.values(), ids=GOOD.keys())
def test_a_copy_bears_our_marks_and_none_of_the_tenants(source: Source, seen: dict[str, Any]) -> None:
    desired = copied(source, seen).desired
    assert desired["metadata"] == {
        "name": source.name,
        "namespace": "ns",
        "labels": {"dpu.openshift.io/owner": "0123"},
        "ownerReferences": [
            {
                "apiVersion": "dpu.openshift.io/v1alpha1",
                "kind": "DpuClusterConfig",
                "name": "c",
                "uid": "cr",
                "controller": True,
            }
        ],
    }
    assert desired["kind"] == source.resource.kind


@pytest.mark.parametrize(("source", "seen"), GOOD.values(), ids=GOOD.keys())
def test_a_copy_of_a_copy_is_the_same(source: Source, seen: dict[str, Any]) -> None:
    first = copied(source, seen)
    second = copied(source, first.desired)
    assert (second.desired, second.digest) == (first.desired, first.digest)
    assert content_digest(first.desired) == first.digest


def test_a_certificate_is_copied_with_its_end() -> None:
    copy = copied(*GOOD["certificate"])
    assert copy.desired["type"] == "kubernetes.io/tls"
    assert copy.desired["data"] == {"tls.crt": b64(pair().cert), "tls.key": b64(pair().key)}
    assert copy.not_after == datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def test_an_authority_bundle_loses_what_is_no_certificate() -> None:
    bundle = "# signer one\n" + pair("ca").cert.decode() + "\n\n" + pair("ca2", 10).cert.decode() + "end\n"
    copy = copied(AUTHORITY, {"metadata": METADATA, "data": {"ca-bundle.crt": bundle}})
    assert copy.desired["data"] == {"ca-bundle.crt": (pair("ca").cert + pair("ca2", 10).cert).decode()}
    assert copy.not_after == datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def test_a_certificate_loses_the_key_that_stands_with_it() -> None:
    both = pair().cert + pair().key
    assert copied(CERTIFICATE, secret(both, both)).desired["data"] == {
        "tls.crt": b64(pair().cert),
        "tls.key": b64(pair().key),
    }


def test_a_configuration_keeps_what_pods_may_have() -> None:
    copy = copied(CONFIGURATION, config_map(ovnkube_conf="[default]\nmtu=1400\nsflow-targets=1.2.3.4:5\n"))
    assert copy.desired["data"] == {"ovnkube.conf": "[default]\nmtu=1400\n"}


REFUSED = {
    "absent": (CERTIFICATE, None, CopyProblem.ABSENT, "does not exist"),
    "terminating": (
        CERTIFICATE,
        secret(pair().cert, pair().key) | {"metadata": METADATA | {"deletionTimestamp": "t"}},
        CopyProblem.TERMINATING,
        "being deleted",
    ),
    "no data": (CERTIFICATE, {"metadata": METADATA}, CopyProblem.INVALID, "no key tls.crt"),
    "not base64": (
        CERTIFICATE,
        {"metadata": METADATA, "data": {"tls.crt": "!", "tls.key": "!"}},
        CopyProblem.INVALID,
        "tls.crt is not base64",
    ),
    "another key": (CERTIFICATE, secret(pair().cert, pair("v").key), CopyProblem.INVALID, "does not belong"),
    "key for a certificate": (
        CERTIFICATE,
        secret(pair().key, pair().key),
        CopyProblem.INVALID,
        "tls.crt holds no CERTIFICATE block",
    ),
    "garbage bundle": (AUTHORITY, config_map(**{"ca-bundle_crt": "x"}), CopyProblem.INVALID, "no PEM block"),
    "no bundle": (AUTHORITY, config_map(ca="x"), CopyProblem.INVALID, "no key ca-bundle.crt"),
    "no configuration": (CONFIGURATION, config_map(a="b"), CopyProblem.INVALID, "no key ovnkube.conf"),
    "hybrid": (
        CONFIGURATION,
        config_map(ovnkube_conf="[hybridoverlay]\nenabled=true"),
        CopyProblem.INVALID,
        "hybridoverlay",
    ),
}


@pytest.mark.parametrize(("source", "seen", "reason", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_trusted_is_not_copied_and_says_why(
    source: Source, seen: dict[str, Any] | None, reason: CopyProblem, words: str
) -> None:
    found = copy_of(source, seen, "ns", OWNER)
    assert isinstance(found, CopyRefused)
    assert found.reason is reason
    assert words in found.message
    assert source.name in found.message


NEEDED = {   # topologies, flavour -> names
    "central": ({Topology.CENTRAL}, Flavour.OPENSHIFT, ["ovn-cert", "ovn-ca", "ovnkube-config"]),
    "unknown": ({Topology.UNKNOWN}, Flavour.OPENSHIFT, ["ovn-cert", "ovn-ca", "ovnkube-config"]),
    "interconnect": ({Topology.INTERCONNECT}, Flavour.OPENSHIFT, ["ovnkube-config"]),
    "interconnect, upstream": ({Topology.INTERCONNECT}, Flavour.UPSTREAM, []),
    "migrating": (
        {Topology.INTERCONNECT, Topology.CENTRAL}, Flavour.OPENSHIFT, ["ovn-cert", "ovn-ca", "ovnkube-config"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("topologies", "flavour", "expected"), NEEDED.values(), ids=NEEDED.keys())
def test_a_tenant_keeps_what_its_topology_does_not_share(
    topologies: set[Topology], flavour: Flavour, expected: list[str]
) -> None:
    assert [source.name for source in needed_sources(topologies, flavour)] == expected


def applied(*keys: str, manager: str = "dpunetop-tenantobjects", operation: str = "Apply") -> dict[str, Any]:
    fields: dict[str, Any] = {"f:metadata": {"f:labels": {"f:x": {}}}} | (
        {"f:data": {f"f:{key}": {} for key in keys}} if keys else {}
    )
    return {"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsV1": fields}


def certificate(data: dict[str, str], *entries: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "ovn-cert", "namespace": "ns", "labels": {"x": "y"}, "managedFields": list(entries)}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


WHOLE = {"tls.crt": "c", "tls.key": "k"}
WRITTEN: dict[str, tuple[dict[str, str], list[dict[str, Any]], dict[str, str] | None]] = {
    "as we wrote it": (WHOLE, [applied("tls.crt", "tls.key")], WHOLE),
    "with a key that somebody added": (
        {**WHOLE, "more": "x"},
        [applied("tls.crt", "tls.key"), applied("more", manager="kubectl")],
        WHOLE,
    ),
    "with a value that somebody changed": ({**WHOLE, "tls.crt": "x"}, [applied("tls.key")], None),
    "with all values changed": ({"tls.crt": "x", "tls.key": "x"}, [applied()], None),
    "without a key that somebody took": ({"tls.key": "k"}, [applied("tls.key")], None),
    "by two of ours": (WHOLE, [applied("tls.crt"), applied("tls.key", manager="dpunetop-credential")], WHOLE),
    "by a stranger": ({"other": "x"}, [applied("other", manager="kubectl")], {"other": "x"}),
    "by an update": ({"other": "x"}, [applied("other", operation="Update")], {"other": "x"}),
}


@pytest.mark.parametrize(("data", "entries", "expected"), WRITTEN.values(), ids=WRITTEN.keys())
def test_pods_are_restarted_only_for_what_we_wrote(
    data: dict[str, str], entries: list[dict[str, Any]], expected: dict[str, str] | None
) -> None:
    seen = as_written(certificate(data, *entries))
    assert (None if seen is None else seen["data"]) == expected


def test_what_is_absent_was_not_written() -> None:
    assert as_written(None) is None
