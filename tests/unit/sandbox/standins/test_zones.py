"""What the stand-in for the zones on DPUs writes, and what it goes by."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dpunetop.domain import names
from dpunetop.domain.drain.rules.signs import SIGNS
from dpunetop.domain.ovnkube.release import Flavour, Release, release_of
from dpunetop.domain.ovnkube.settings import SettingsView, read_settings
from dpunetop.domain.ovnkube.settingsreader import SettingsReading
from dpunetop.sandbox.standins.ovnkube import interconnect_tenant
from dpunetop.sandbox.standins.zones import config_namespace, has_zone, is_at_work, lease, lease_numbers, shown


def pod(*arguments: str, ready: str = "True", **metadata: Any) -> dict[str, Any]:
    containers = [{"name": "nbdb"}, {"name": names.OVNKUBE_CONTROLLER, "args": list(arguments)}]
    return {
        "metadata": {"name": "p", "labels": {"app": names.OVNKUBE_NODE}, **metadata},
        "spec": {"containers": containers},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def reading(release: str, lease_seconds: int | None) -> SettingsReading:
    """What the operator reads of a tenant that is the stand-in."""
    found = {(obj["kind"], obj["metadata"]["name"]): obj for obj in interconnect_tenant("ovn", release, lease_seconds)}
    view = SettingsView(
        flavour=Flavour.OPENSHIFT,
        release=release_of(found["DaemonSet", names.OVNKUBE_NODE], None),
        tenant_namespace="ovn",
        config_map=found["ConfigMap", names.OVNKUBE_CONFIG],
        script_lib=found["ConfigMap", names.OVNKUBE_SCRIPT_LIB],
        node_daemonset=found["DaemonSet", names.OVNKUBE_NODE],
        host_daemonset=found["DaemonSet", names.OVNKUBE_NODE_DPU_HOST],
    )
    return read_settings(view)


def told(lease_seconds: int | None) -> tuple[str, ...]:
    """What the operator tells DPUs whose tenant is the stand-in."""
    settings = reading("4.23.0", lease_seconds).settings
    assert settings is not None
    return settings.arguments


@pytest.mark.parametrize("release", ["4.20.1", "4.21.3", "4.22.0", "4.23.0"])
def test_a_tenant_that_is_played_says_all_that_a_real_one_does(release: str) -> None:
    assert reading(release, 10).parity == ()


@pytest.mark.parametrize(("said", "numbers"), [(None, (0, 0)), (0, (0, 0)), (1, (1, 4)), (10, (10, 40))])
def test_a_lease_is_renewed_as_often_as_the_tenant_says(said: int | None, numbers: tuple[int, int]) -> None:
    assert lease_numbers(pod(*told(said))) == numbers


def test_a_lease_is_that_of_the_host_and_goes_with_it() -> None:
    host = {"metadata": {"name": "host", "uid": "u"}}
    made = lease("ovn", host, 40, datetime(2026, 11, 28, 14, 0, 0, 5000, UTC))
    assert (made["metadata"]["namespace"], made["metadata"]["name"]) == ("ovn", "ovn-dpu-host")
    assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == ["u"]
    assert made["spec"] == {
        "holderIdentity": "ovnkube-dpu-node",
        "leaseDurationSeconds": 40,
        "renewTime": "2026-11-28T14:00:00.005000Z",
    }


def test_a_tenant_keeps_its_leases_where_its_configuration_says() -> None:
    [conf] = [obj for obj in interconnect_tenant("some-tenant") if obj["metadata"]["name"] == names.OVNKUBE_CONFIG]
    assert config_namespace(pod(), conf) == "some-tenant"
    assert config_namespace(pod("--ovn-config-namespace=another"), None) == "another"


def test_a_pod_is_at_work_while_it_is_ready_and_stays() -> None:
    assert is_at_work(pod())
    assert not is_at_work(pod(ready="False"))
    assert not is_at_work(pod(deletionTimestamp="now"))


def test_only_pods_of_ours_with_databases_have_a_zone() -> None:
    assert has_zone(pod())
    assert not has_zone(pod(labels={"app": "another"}))
    central = {**pod(), "spec": {"containers": [{"name": "ovn-controller"}, {"name": "ovnkube-node"}]}}
    assert not has_zone(central)


RELEASES = {
    "OpenShift 4.20": (Release(Flavour.OPENSHIFT, (4, 20)), True),
    "OpenShift 4.22": (Release(Flavour.OPENSHIFT, (4, 22)), True),
    "a newer one": (Release(Flavour.OPENSHIFT, (4, 23)), False),
    "upstream, whose master says 1.3 too": (Release(Flavour.UPSTREAM, (1, 3)), False),
    "nobody knows": (None, False),
}


@pytest.mark.parametrize(("release", "has_zone"), RELEASES.values(), ids=RELEASES.keys())
def test_a_host_shows_what_its_dpu_writes_and_no_zone_where_the_release_has_none(
    release: Release | None, has_zone: bool
) -> None:
    first, second = shown("host", "dpu", release)
    assert first.get(names.ZONE_ANNOTATION) == ("host" if has_zone else None)
    assert first[names.ENCAP_IPS_ANNOTATION] != shown("host", "other", release)[0][names.ENCAP_IPS_ANNOTATION]
    found = {**first, **second}
    demanded = [sign for sign in SIGNS if sign.is_demanded(release)]
    assert [sign.annotation for sign in demanded if not sign.shows(found.get(sign.annotation, ""), "host")] == []
    assert set(second) == {names.GATEWAY_ANNOTATION, names.CHASSIS_ANNOTATION}
