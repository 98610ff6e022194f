"""What the tenant of the testbed shows, and the names that a simulated DPU takes for granted."""

from __future__ import annotations

from dpunetop.domain.names import DPU_ROLE
from dpunetop.sandbox.realovnkube import kinds, tenant
from dpunetop.sandbox.realovnkube.host import mac_of


def test_a_mac_address_is_that_of_the_host_the_role_and_the_number() -> None:
    assert mac_of("worker-1", "host", 2) == "52:54:00:d8:d8:02"
    assert mac_of("worker-1", "dpu", 2)[:15] != mac_of("worker-1", "host", 2)[:15]


def test_every_kind_has_a_name_of_its_own_and_takes_what_is_written() -> None:
    found = list(kinds.definitions())
    assert len({each["metadata"]["name"] for each in found}) == len(found)
    schemas = [version["schema"]["openAPIV3Schema"] for each in found for version in each["spec"]["versions"]]
    assert all(schema["x-kubernetes-preserve-unknown-fields"] for schema in schemas)


def test_a_tenant_of_the_chart_says_its_networks_in_a_config_map_of_its_own() -> None:
    assert ("ConfigMap", "ovn-config") in {
        (each["kind"], each["metadata"]["name"]) for each in tenant.shows_upstream("ovn")
    }


def test_dpus_have_their_roles_and_the_operator_may_mint() -> None:
    shown = {(each["kind"], each["metadata"]["name"]): each for each in tenant.shows("ovn")}
    assert {("Role", DPU_ROLE), ("ClusterRole", DPU_ROLE)} <= shown.keys()
    assert ("ClusterRoleBinding", DPU_ROLE) not in shown
    [subject] = shown["RoleBinding", "dpunetop-minting"]["subjects"]
    assert subject == {"kind": "ServiceAccount", "namespace": "ovn", "name": "dpu-network-operator"}
    assert shown["Role", "dpunetop-minting"]["metadata"]["namespace"] == "ovn"
