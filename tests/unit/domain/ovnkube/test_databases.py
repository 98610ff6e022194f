from __future__ import annotations

import ipaddress
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpunetop.domain.ovnkube.databases import DatabaseList, DatabaseProblem, NoDatabases, databases

NAMESPACE = "openshift-ovn-kubernetes"


def master(ip: str | None, ready: bool = True, **changes: Any) -> dict[str, Any]:
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "ovnkube-master", "uid": "d", "controller": True}
    metadata = {
        "namespace": NAMESPACE,
        "name": f"ovnkube-master-{ip}",
        "labels": {"app": "ovnkube-master"},
        "ownerReferences": [owner],
    }
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"conditions": conditions} | ({} if ip is None else {"podIP": ip})
    return {"metadata": metadata | changes.pop("metadata", {}), "status": status | changes}


def listed(*hosts: str) -> DatabaseList:
    return DatabaseList(
        ",".join(f"ssl:{host}:9641" for host in hosts),
        ",".join(f"ssl:{host}:9642" for host in hosts),
    )


LISTS = {
    "one": ([master("10.0.0.1")], listed("10.0.0.1")),
    "both families": ([master("fd00::1"), master("10.0.0.1")], listed("10.0.0.1", "[fd00::1]")),
    "sorted as numbers": (
        [master("10.0.0.10"), master("10.0.0.9"), master("10.0.0.9")],
        listed("10.0.0.9", "10.0.0.10"),
    ),
    "written in one way": ([master("FD00:0:0::1")], listed("[fd00::1]")),
    "only the ready": ([master("10.0.0.1"), master("10.0.0.2", ready=False)], listed("10.0.0.1")),
    "without address": ([master("10.0.0.1"), master(None), master("")], listed("10.0.0.1")),
    "terminating": (
        [master("10.0.0.1"), master("10.0.0.2", metadata={"deletionTimestamp": "t"})],
        listed("10.0.0.1"),
    ),
    "another namespace": ([master("10.0.0.1"), master("6.6.6.6", metadata={"namespace": "evil"})], listed("10.0.0.1")),
    "label only": ([master("10.0.0.1"), master("6.6.6.6", metadata={"ownerReferences": []})], listed("10.0.0.1")),
    "another owner": (
        [
            master("10.0.0.1"),
            master(
                "6.6.6.6",
                metadata={
                    "ownerReferences": [{"kind": "ReplicaSet", "name": "ovnkube-master", "controller": True}],
                },
            ),
        ],
        listed("10.0.0.1"),
    ),
    "hostile addresses": (
        [
            master("10.0.0.1"),
            *map(master, ["$(id)", '";reboot', "10.0.0.2\n", "::1", "127.0.0.1", "169.254.169.254", "fe80::1%eth0"]),
            *map(master, ["0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "010.0.0.3", "10.0.0.4/24"]),
        ],
        listed("10.0.0.1"),
    ),
}

NONE = {
    "no pods": ([], DatabaseProblem.NO_MASTERS),
    "only strangers": ([master("10.0.0.1", metadata={"namespace": "evil"})], DatabaseProblem.NO_MASTERS),
    "none ready": ([master("10.0.0.1", ready=False)], DatabaseProblem.NO_ADDRESS),
    "none with address": ([master(None)], DatabaseProblem.NO_ADDRESS),
    "ten": ([master(f"10.0.0.{i}") for i in range(1, 11)], DatabaseProblem.TOO_MANY),
}


@pytest.mark.parametrize(("pods", "expected"), LISTS.values(), ids=LISTS.keys())
def test_ready_masters_with_an_address_make_the_list(pods: list[dict[str, Any]], expected: DatabaseList) -> None:
    assert databases(pods, NAMESPACE) == expected


@pytest.mark.parametrize(("pods", "reason"), NONE.values(), ids=NONE.keys())
def test_without_a_usable_master_there_is_a_reason_and_no_list(
    pods: list[dict[str, Any]], reason: DatabaseProblem
) -> None:
    found = databases(pods, NAMESPACE)
    assert isinstance(found, NoDatabases)
    assert found.reason is reason
    assert "\n" not in found.message


LAST = listed("10.0.0.1", "10.0.0.2", "[fd00::3]")
STEADY = {
    "one restarts": [master("10.0.0.1"), master("10.0.0.2", ready=False), master("fd00::3")],
    "all restart": [master(ip, ready=False) for ip in ("10.0.0.1", "10.0.0.2", "fd00::3")],
    "one reboots": [master("10.0.0.1"), master(None, ready=False, hostIP="10.0.0.2"), master("fd00::3")],
    "one is being rolled": [
        master("10.0.0.1"),
        master("10.0.0.2", metadata={"deletionTimestamp": "t"}),
        master("fd00::3"),
    ],
    "one is away": [master("10.0.0.1"), master("fd00::3")],
    "two are away": [master("fd00::3")],
    "a new one is not ready yet": [*map(master, ["10.0.0.1", "10.0.0.2", "fd00::3"]), master("10.0.0.4", ready=False)],
}


@pytest.mark.parametrize("pods", STEADY.values(), ids=STEADY.keys())
def test_a_master_that_returns_causes_no_rollout(pods: list[dict[str, Any]]) -> None:
    assert databases(pods, NAMESPACE, LAST) == LAST


def test_a_master_that_was_replaced_is_replaced_in_the_list() -> None:
    pods = [master("10.0.0.1"), master("10.0.0.9"), master("fd00::3")]
    assert databases(pods, NAMESPACE, LAST) == listed("10.0.0.1", "10.0.0.9", "[fd00::3]")


def test_one_master_that_is_replaced_while_another_is_away_leaves_as_many_as_before() -> None:
    pods = [master("10.0.0.1"), master("10.0.0.9")]
    assert databases(pods, NAMESPACE, LAST) == listed("10.0.0.1", "10.0.0.2", "10.0.0.9")


def test_a_last_list_that_nobody_could_have_written_says_nothing() -> None:
    assert isinstance(databases([master("10.0.0.1", ready=False)], NAMESPACE, DatabaseList("", "x")), NoDatabases)


def test_order_does_not_matter() -> None:
    pods = [master("10.0.0.1"), master("10.0.0.2"), master("fd00::3")]
    assert {databases(order, NAMESPACE) for order in itertools.permutations(pods)} == {LAST}


def test_loopback_is_taken_where_it_is_allowed() -> None:
    allowed = (ipaddress.ip_network("127.0.0.0/8"),)
    assert databases([master("127.0.0.2")], NAMESPACE, None, allowed) == listed("127.0.0.2")


@given(st.lists(st.text(max_size=20), max_size=5))
def test_only_address_characters_ever_come_out(ips: list[str]) -> None:
    found = databases([master("10.0.0.1"), *map(master, ips)], NAMESPACE)
    if isinstance(found, DatabaseList):
        assert set(found.nb) <= set("ssl:[]0123456789abcdef.,")
