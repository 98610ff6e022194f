"""Starts and ends of a zone on one DPU: what a pod finds, what it leaves, and a pod that has no host yet."""

from __future__ import annotations

import json
import shutil

import pytest

from dpunetop.sandbox.realovn.datapath import Dpu
from dpunetop.sandbox.realovn.pods import Pod
from support.tenants import upstream
from support.zones import PARTS, entry, zone

pytestmark = pytest.mark.realovn

DATABASES = "/var/lib/ovn-ic/etc"


def test_all_parts_are_ready_for_a_tenant_of_the_upstream_flavour(dpu: Dpu) -> None:
    with zone(dpu, entry("host-1"), upstream()) as other:
        other.wait_ready()


def switches(pod: Pod) -> list[str]:
    north = pod.containers["nbdb"]
    return north.execute("ovn-nbctl", "--timeout=60", "--bare", "--columns=name", "list", "Logical_Switch").split()


@pytest.mark.parametrize(
    ("before", "after", "kept"),
    [
        ("host-1", "host-1", ["mine"]),
        ("host-1", "host-2", []),
        # Such as those of the infra cluster, which nobody marked.
        (None, "host-1", []),
    ],
    ids=["same zone", "another zone", "unknown zone"],
)
def test_a_database_of_another_zone_is_forgotten_at_the_start(
    dpu: Dpu, before: str | None, after: str, kept: list[str]
) -> None:
    make_databases(dpu, before)
    with zone(dpu, entry(after)) as pod:
        pod.wait_ready()
        assert switches(pod) == kept
        assert {dpu.root.inside(f"{DATABASES}/ovn{one}_db.zone").read_text() for one in ("nb", "sb")} == {f"{after}\n"}


def make_databases(dpu: Dpu, host: str | None) -> None:
    """Databases with a switch that bear the mark of a zone, or none; as someone before left them."""
    folder = dpu.root.inside(DATABASES)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("nb", "sb"):
        file = f"{DATABASES}/ovn{name}_db.db"
        dpu.root.run("ovsdb-tool", "create", file, f"/usr/share/ovn/ovn-{name}.ovsschema")
        if host is not None:
            (folder / f"ovn{name}_db.zone").write_text(f"{host}\n")
    switch = ["OVN_Northbound", {"op": "insert", "table": "Logical_Switch", "row": {"name": "mine"}}]
    dpu.root.run("ovsdb-tool", "transact", f"{DATABASES}/ovnnb_db.db", json.dumps(switch))


def test_a_process_id_that_another_server_has_now_keeps_no_database_from_starting(dpu: Dpu) -> None:
    # As after a restart of the DPU, or a kill -9: ovn-ctl would take Open vSwitch's server for the one of OVN.
    sockets = dpu.root.inside("/run/ovn-ic")
    sockets.mkdir(exist_ok=True)
    for one in ("nb", "sb"):
        shutil.copy(dpu.root.inside("/run/openvswitch/ovsdb-server.pid"), sockets / f"ovn{one}_db.pid")
    with zone(dpu, entry("host-1")) as pod:
        pod.wait_ready()
        assert {status.restarts for status in pod.statuses().values()} == {0}


def test_each_part_ends_in_time_when_the_pod_is_deleted(dpu: Dpu) -> None:
    pod = zone(dpu, entry("host-1"))
    pod.start()
    try:
        pod.wait_ready()
    finally:
        ended = pod.stop()
    assert {name: (one.code in (0, 143), one.killed) for name, one in ended.items()} == dict.fromkeys(
        PARTS, (True, False)
    )


def test_a_pod_without_an_entry_is_ready_and_does_nothing_until_one_comes(dpu: Dpu) -> None:
    databases = dpu.root.inside(DATABASES)
    shutil.rmtree(databases, ignore_errors=True)
    with zone(dpu, {}) as pod:
        pod.wait_ready()
        assert list(databases.iterdir()) == []
        running = {name: status.process for name, status in pod.statuses().items()}
        pod.volumes.publish("ovnkube-node-entries", entry("host-3"))
        pod.wait("served", lambda _: (databases / "ovnsb_db.db").exists() and (databases / "ovnnb_db.db").exists())
        pod.wait_ready()
        assert {name: status.process for name, status in pod.statuses().items()} == running
        assert (databases / "ovnnb_db.zone").read_text() == "host-3\n"


def test_an_idle_part_ends_in_time_too(dpu: Dpu) -> None:
    pod = zone(dpu, {})
    pod.start()
    try:
        pod.wait_ready()
    finally:
        ended = pod.stop()
    assert {name: (one.code, one.killed) for name, one in ended.items()} == dict.fromkeys(PARTS, (0, False))
