from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.ovnkube.image import ChosenImage, ImageSource
from dpunetop.domain.ovnkube.release import (
    Flavour,
    Release,
    flavour_of,
    image_skew,
    release_of,
    release_of_image,
    unsupported,
    variables,
)
from dpunetop.domain.ovnkube.topology import Topology
from support.tenants import workload

OPENSHIFT, UPSTREAM = Flavour.OPENSHIFT, Flavour.UPSTREAM


def rendered(version: str) -> dict[str, Any]:
    return {"metadata": {"name": "ovnkube-node", "annotations": {"release.openshift.io/version": version}}}


def cluster(version: object) -> dict[str, Any]:
    return {"status": {"desired": {"version": version}}}


TOLD = {
    "by what the DaemonSet bears": (rendered("4.21.3"), None, Release(OPENSHIFT, (4, 21))),
    "an upgrade that is not there yet": (rendered("4.20.9"), cluster("4.21.0"), Release(OPENSHIFT, (4, 20))),
    "by the cluster alone": (workload("ovnkube-controller"), cluster("4.22.0-rc.1"), Release(OPENSHIFT, (4, 22))),
    "by the environment": (workload("x", {"OVN_DAEMONSET_VERSION": "1.3.0"}), None, Release(UPSTREAM, (1, 3))),
    "not at all": (workload("x"), None, None),
    "nothing there": (None, None, None),
    "no version": (rendered("latest"), cluster(None), None),
    "not text": (rendered("4.20.1"), cluster(["4.21.0"]), Release(OPENSHIFT, (4, 20))),
    "hostile": (rendered("4.20; rm"), cluster("4.20$(id)"), None),
}


@pytest.mark.parametrize(("daemonset", "version", "expected"), TOLD.values(), ids=TOLD.keys())
def test_a_release_is_told(daemonset: Any, version: Any, expected: Release | None) -> None:
    assert release_of(daemonset, version) == expected


PINNED, OTHER = (f"quay.io/ovn@sha256:{digit * 64}" for digit in "12")


def running(image: str, version: str) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"name": "ovnkube-controller", "image": image}]}}}
    return {**rendered(version), "spec": spec}


IMAGES: dict[str, tuple[str | None, list[Any], Release | None]] = {
    "infra's": (PINNED, [running(PINNED, "4.22.1"), running(OTHER, "4.21.0")], Release(OPENSHIFT, (4, 22))),
    "the tenant's": (OTHER, [running(PINNED, "4.22.1"), running(OTHER, "4.21.0")], Release(OPENSHIFT, (4, 21))),
    "another says it": (PINNED, [running(PINNED, "x"), running(PINNED, "4.21.0")], Release(OPENSHIFT, (4, 21))),
    "nobody's": (PINNED, [None, running(OTHER, "4.21.0")], None),
    "a tag, which may be moved": ("quay.io/ovn:4.21", [running("quay.io/ovn:4.21", "4.21.0")], None),
    "none": (None, [running(PINNED, "4.21.0")], None),
    "hostile": (PINNED, [{"spec": [PINNED]}, {"metadata": PINNED}], None),
}


@pytest.mark.parametrize(("image", "daemonsets", "expected"), IMAGES.values(), ids=IMAGES.keys())
def test_the_release_of_an_image_is_that_of_the_daemonset_with_the_same_image(
    image: str | None, daemonsets: list[Any], expected: Release | None
) -> None:
    assert release_of_image(image, daemonsets) == expected


CENTRAL, INTERCONNECT = Topology.CENTRAL, Topology.INTERCONNECT
SUPPORTED = {
    "4.13 central": (CENTRAL, Release(OPENSHIFT, (4, 13)), True),
    "4.10 central": (CENTRAL, Release(OPENSHIFT, (4, 10)), True),
    "4.14 central": (CENTRAL, Release(OPENSHIFT, (4, 14)), False),
    "4.20 central": (CENTRAL, Release(OPENSHIFT, (4, 20)), False),
    **{f"4.{minor} interconnect": (INTERCONNECT, Release(OPENSHIFT, (4, minor)), False) for minor in range(14, 20)},
    **{f"4.{minor} interconnect": (INTERCONNECT, Release(OPENSHIFT, (4, minor)), True) for minor in range(20, 25)},
    "5.0 interconnect": (INTERCONNECT, Release(OPENSHIFT, (5, 0)), True),
    "1.2 upstream": (INTERCONNECT, Release(UPSTREAM, (1, 2)), False),
    "1.3 upstream": (INTERCONNECT, Release(UPSTREAM, (1, 3)), True),
    "1.3 upstream, central": (CENTRAL, Release(UPSTREAM, (1, 3)), False),
    "unknown": (INTERCONNECT, None, True),
    "unknown, central": (CENTRAL, None, True),
}


@pytest.mark.parametrize(("topology", "release", "supported"), SUPPORTED.values(), ids=SUPPORTED.keys())
def test_some_releases_are_served(topology: Topology, release: Release | None, supported: bool) -> None:
    found = unsupported(topology, release)
    assert (found is None) is supported
    if found is not None:
        assert found.reason == "VersionNotSupported"
        assert str(release) in found.message
        assert "\n" not in found.message


@pytest.mark.parametrize(
    ("release", "namespace", "expected"),
    [
        (Release(UPSTREAM, (1, 3)), "openshift-ovn-kubernetes", UPSTREAM),
        (None, "openshift-ovn-kubernetes", OPENSHIFT),
        (None, "ovn-kubernetes", UPSTREAM),
    ],
)
def test_the_flavour_follows_the_release_else_the_namespace(
    release: Release | None, namespace: str, expected: Flavour
) -> None:
    assert flavour_of(release, namespace) is expected


@pytest.mark.parametrize(
    ("source", "tenant", "infra", "told"),
    [
        (ImageSource.INFRA, (4, 20), (4, 21), True),
        (ImageSource.INFRA, (4, 20), (4, 20), False),
        (ImageSource.INFRA, (4, 20), None, False),
        (ImageSource.SPEC, (4, 20), (4, 21), False),
        (ImageSource.TENANT, (4, 20), (4, 21), False),
    ],
)
def test_an_image_of_another_release_is_told(
    source: ImageSource, tenant: tuple[int, int], infra: tuple[int, int] | None, told: bool
) -> None:
    other = None if infra is None else Release(OPENSHIFT, infra)
    found = image_skew(ChosenImage("ovn:1", source), Release(OPENSHIFT, tenant), other)
    assert (found is not None) is told
    if found is not None:
        assert (found.reason, "OpenShift 4.20" in found.message, "OpenShift 4.21" in found.message) == (
            "ImageSkew",
            True,
            True,
        )


@pytest.mark.parametrize(
    "hostile",
    [
        {"spec": "x"},
        {"spec": {"template": []}},
        {"spec": {"template": {"spec": {"containers": {"name": "x"}}}}},
        {"spec": {"template": {"spec": {"containers": ["x", {"env": "y"}, {"env": ["z", {"name": 7}]}]}}}},
    ],
)
def test_a_daemonset_of_any_shape_is_read_without_a_fuss(hostile: Any) -> None:
    assert variables(hostile) == {}
    assert release_of(hostile, hostile) is None
