"""What is demanded of a host's Node, release by release: a new release, flavour or sign fails here until it is decided
upon."""

from __future__ import annotations

from itertools import product

import pytest

from dpunetop.domain import names
from dpunetop.domain.drain.rules.signs import SIGNS, Between, Sign
from dpunetop.domain.names import CHASSIS_ANNOTATION, ENCAP_IPS_ANNOTATION, GATEWAY_ANNOTATION, ZONE_ANNOTATION
from dpunetop.domain.ovnkube.release import Flavour, Release
from support.hostsigns import dpu_shows

ALL = (ENCAP_IPS_ANNOTATION, GATEWAY_ANNOTATION, CHASSIS_ANNOTATION)
WITH_ZONE = (ZONE_ANNOTATION, *ALL)
OPENSHIFT, UPSTREAM = Flavour.OPENSHIFT, Flavour.UPSTREAM
DEMANDED: dict[Release | None, tuple[str, ...]] = {
    Release(OPENSHIFT, (4, 19)): ALL,
    Release(OPENSHIFT, (4, 20)): WITH_ZONE,
    Release(OPENSHIFT, (4, 21)): WITH_ZONE,
    Release(OPENSHIFT, (4, 22)): WITH_ZONE,
    Release(OPENSHIFT, (4, 23)): ALL,
    Release(OPENSHIFT, (5, 0)): ALL,
    Release(OPENSHIFT, (5, 3)): ALL,
    Release(UPSTREAM, (1, 2)): ALL,
    Release(UPSTREAM, (1, 3)): ALL,  # also what its master says of itself, which writes no zone
    Release(UPSTREAM, (2, 0)): ALL,
    None: ALL,
}
BY_ANNOTATION = {sign.annotation: sign for sign in SIGNS}


@pytest.mark.parametrize(("release", "annotations"), DEMANDED.items(), ids=lambda each: str(each))
def test_this_is_demanded_of(release: Release | None, annotations: tuple[str, ...]) -> None:
    assert tuple(sign.annotation for sign in SIGNS if sign.is_demanded(release)) == annotations


def test_every_flavour_is_decided_upon_by_every_sign() -> None:
    for sign, flavour in product(SIGNS, Flavour):
        assert flavour in sign.given, f"{sign.annotation}: is it given by {flavour.value}?"


def test_whatever_is_bounded_is_in_the_table_above_on_both_sides_of_its_bounds() -> None:
    for sign, flavour in product(SIGNS, Flavour):
        given = sign.given[flavour]
        if isinstance(given, Between):
            around = (given.first, given.last, (given.first[0], given.first[1] - 1), (given.last[0], given.last[1] + 1))
            assert {Release(flavour, version) for version in around} <= DEMANDED.keys()


def test_every_sign_is_kept_of_a_node_by_the_cache() -> None:
    assert {sign.annotation for sign in SIGNS} <= set(names.HOST_ANNOTATIONS)


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.annotation)
def test_what_the_dpu_writes_is_a_sign_and_nothing_is_none(sign: Sign) -> None:
    shown = dpu_shows("host-1")
    assert sign.shows(shown[sign.annotation], "host-1")
    assert not sign.shows("", "host-1")


GATEWAY = '{"default":{"mode":"shared","interface-id":"%s"}}'
NO_SIGNS = {
    "the zone of all nodes": (ZONE_ANNOTATION, "global"),
    "the zone of another host": (ZONE_ANNOTATION, "host-2"),
    "no address": (ENCAP_IPS_ANNOTATION, "[]"),
    "an empty address": (ENCAP_IPS_ANNOTATION, '[""]'),
    "an address that is none": (ENCAP_IPS_ANNOTATION, '["198.51.100"]'),
    "addresses that are no list": (ENCAP_IPS_ANNOTATION, '{"198.51.100.10": 1}'),
    "addresses that are no JSON": (ENCAP_IPS_ANNOTATION, "198.51.100.10"),
    "addresses cut in half": (ENCAP_IPS_ANNOTATION, '["198.51.100.10"'),
    "what cannot be encoded": (ENCAP_IPS_ANNOTATION, '["\ud800"]'),
    "more than is looked at": (ENCAP_IPS_ANNOTATION, '["198.51.100.10"]' + " " * 20_000),
    "a gateway that is disabled": (GATEWAY_ANNOTATION, '{"default":{"mode":""}}'),
    "the gateway of another host": (GATEWAY_ANNOTATION, GATEWAY % "br-ex_host-2"),
    "the gateway of a host whose name ends likewise": (GATEWAY_ANNOTATION, GATEWAY % "br-ex_my-host-1"),
    "a gateway without a bridge": (GATEWAY_ANNOTATION, GATEWAY % "host-1"),
    "a gateway of another network": (GATEWAY_ANNOTATION, GATEWAY.replace("default", "blue") % "br-ex_host-1"),
    "a gateway of another shape": (GATEWAY_ANNOTATION, '{"default":["br-ex_host-1"]}'),
    "a gateway that is no JSON": (GATEWAY_ANNOTATION, "br-ex_host-1"),
    "nothing but space": (CHASSIS_ANNOTATION, " "),
}


@pytest.mark.parametrize(("annotation", "value"), NO_SIGNS.values(), ids=NO_SIGNS.keys())
def test_this_is_no_sign(annotation: str, value: str) -> None:
    assert not BY_ANNOTATION[annotation].shows(value, "host-1")
