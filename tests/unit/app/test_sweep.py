"""The sweep from flags to exit code: over stores in memory, with time of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from dpunetop.__main__ import main
from dpunetop.app.settings import SettingsError
from dpunetop.app.sweep import PATIENCE_SECONDS, Busy, Sweeper, SweepSettings
from dpunetop.app.sweepcli import DEFAULT_NAMESPACE, parse_sweep
from dpunetop.domain import names
from dpunetop.domain.names import owner_hash
from dpunetop.domain.sweep import TENANT, Ending, SweepChoice
from dpunetop.kube.errors import Conflict, Forbidden, NotFound
from dpunetop.kube.keys import (
    CUSTOMRESOURCEDEFINITIONS,
    DEPLOYMENTS,
    INFRA,
    LEASES,
    NAMESPACES,
    NODES,
    Resource,
    crd_name,
)
from dpunetop.kube.meta import Obj, labels_of, name_of, namespace_of, new_object
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.documents import Page
from support.clock import EPOCH
from support.objects import config

GONE = owner_hash("uid-of-kube-system", "dpu-two", "sample")
OWNER = "0123456789abcdef" * 2


class PassingClock:
    """Time that passes when somebody waits, and only then."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.on_wait: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.passed

    def thread_cpu(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return EPOCH

    def wait(self, cond: threading.Condition, timeout: float | None) -> None:
        assert timeout is not None
        self.passed += timeout
        self.on_wait()


Place = tuple[Resource, str, str]


@dataclass
class Store:
    """One cluster: what is there, what was written, and what comes of a write."""

    objects: dict[Place, dict[str, Any]] = field(default_factory=dict)
    unserved: set[Resource] = field(default_factory=set)
    before_write: Callable[[Place], None] = lambda _: None
    written: list[str] = field(default_factory=list)
    listed: list[Resource] = field(default_factory=list)

    def put(
        self, resource: Resource, name: str, namespace: str = "", owner: str = "", **members: Any
    ) -> dict[str, Any]:
        obj = new_object(resource, namespace, name, **members)
        obj["metadata"] |= {"uid": f"uid-of-{name}", "resourceVersion": str(len(self.written) + 1)}
        if owner:
            obj["metadata"]["labels"] = {names.OWNER_LABEL: owner}
        self.objects[resource, namespace, name] = obj
        return obj

    def get(self, resource: Resource, namespace: str, name: str) -> Obj:
        try:
            return self.objects[resource, namespace, name]
        except KeyError:
            raise NotFound(404, "NotFound", name) from None

    def pages(self, selection: Selection, page_size: int) -> Iterable[Page]:
        self.listed.append(selection.resource)
        if selection.resource in self.unserved:
            raise NotFound(404, "NotFound", "the server could not find the requested resource")
        wanted = [obj for (resource, *_), obj in self.objects.items() if resource == selection.resource]
        label = selection.label_selector
        yield Page([dict(obj) for obj in wanted if not label or label in labels_of(obj)], "9", False)

    def delete(self, resource: Resource, namespace: str, name: str, uid: str, resource_version: str = "") -> None:
        place = resource, namespace, name
        self.before_write(place)
        live = self.get(*place)
        assert uid == live["metadata"]["uid"]
        assert resource_version in ("", live["metadata"]["resourceVersion"])
        del self.objects[place]
        self.written.append(f"delete {resource.kind} {name}")

    def merge_patch(self, resource: Resource, namespace: str, name: str, patch: Obj, field_manager: str) -> Obj:
        place = resource, namespace, name
        self.before_write(place)
        live = self.objects[place]
        assert {patch["metadata"][each] for each in ("uid", "resourceVersion")} == {
            live["metadata"]["uid"],
            live["metadata"]["resourceVersion"],
        }
        _merge(live, patch)
        self.written.append(f"change {resource.kind} {name}")
        return live


def _merge(live: dict[str, Any], patch: Obj) -> None:
    for key, value in patch.items():
        if isinstance(value, dict):
            _merge(live.setdefault(key, {}), value)
        elif value is None:
            live.pop(key, None)
        else:
            live[key] = value


class Leftovers:
    def __init__(self) -> None:
        self.infra, self.tenant, self.clock, self.said = Store(), Store(), PassingClock(), ""
        self.infra.put(NAMESPACES, names.KUBE_SYSTEM)
        self.infra.put(names.PODDISRUPTIONBUDGETS, names.blocker_name("d1"), DEFAULT_NAMESPACE, GONE)
        self.infra.put(DEPLOYMENTS, names.blocker_name("d1"), DEFAULT_NAMESPACE, GONE)

    def lease(self, holder: str, version: str = "1", namespace: str = DEFAULT_NAMESPACE) -> None:
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2020-01-01T00:00:00.000000Z"}
        self.infra.put(LEASES, "dpunetop", namespace, spec=spec)["metadata"]["resourceVersion"] = version

    def run(self, *, dry_run: bool = False, with_tenant: bool = False, **chosen: Any) -> int:
        doors = {INFRA: self.infra, **({TENANT: self.tenant} if with_tenant else {})}
        settings = SweepSettings(None, None, DEFAULT_NAMESPACE, SweepChoice(**chosen), dry_run)
        return Sweeper(doors, settings, self.clock, self._say).run()

    def _say(self, text: str, end: str) -> None:
        self.said += text + end


@pytest.fixture
def leftovers() -> Leftovers:
    return Leftovers()


BOTH = ["delete PodDisruptionBudget dpu-drain-blocker-d1", "delete Deployment dpu-drain-blocker-d1"]


def test_each_object_is_named_as_it_goes_and_the_end_says_how_to_go_on_in_a_tenant(leftovers: Leftovers) -> None:
    assert leftovers.run() == 0
    assert leftovers.infra.written == BOTH
    lines = leftovers.said.splitlines()
    assert lines[0] == f"delete PodDisruptionBudget {DEFAULT_NAMESPACE}/dpu-drain-blocker-d1 ... done"
    assert lines[-1].startswith("swept: 2 writes, nothing is left")


def test_without_a_tenant_the_summary_names_the_owners_for_the_next_sweep(leftovers: Leftovers) -> None:
    leftovers.run(dry_run=True)
    assert f"--tenant-kubeconfig=<file> --owner={GONE}" in leftovers.said


def test_a_second_sweep_finds_nothing(leftovers: Leftovers) -> None:
    leftovers.run()
    assert leftovers.run() == 0
    assert leftovers.infra.written == BOTH


def test_a_dry_run_says_all_and_writes_nothing(leftovers: Leftovers) -> None:
    assert leftovers.run(dry_run=True) == 0
    assert leftovers.infra.written == []
    assert f"would delete Deployment {DEFAULT_NAMESPACE}/dpu-drain-blocker-d1\n" in leftovers.said


def test_a_sweep_that_was_killed_is_gone_on_with(leftovers: Leftovers) -> None:
    def killed(place: Place) -> None:
        if place[0] == DEPLOYMENTS:
            raise KeyboardInterrupt

    leftovers.infra.before_write = killed
    with pytest.raises(KeyboardInterrupt):
        leftovers.run()
    leftovers.infra.before_write = lambda _: None
    assert leftovers.run() == 0
    assert leftovers.infra.written == BOTH


# Whether an operator is at work.


def test_a_lease_that_is_renewed_refuses_the_sweep_whatever_its_clock_says(leftovers: Leftovers) -> None:
    leftovers.lease("dpunetop-0_ab")

    def renew() -> None:
        if leftovers.clock.passed >= 10:
            leftovers.lease("dpunetop-0_ab", "2")

    leftovers.clock.on_wait = renew
    with pytest.raises(Busy, match=r"dpunetop-0_ab.*kubectl -n openshift-dpu-network-operator scale deployment"):
        leftovers.run()
    assert leftovers.infra.written == []


def test_a_lease_that_stands_still_for_longer_than_it_says_lets_it_begin(leftovers: Leftovers) -> None:
    leftovers.lease("dpunetop-0_ab")
    assert leftovers.run() == 0
    assert leftovers.clock.passed >= 20


def test_a_lease_that_was_given_back_lets_it_begin_at_once(leftovers: Leftovers) -> None:
    leftovers.lease("")
    assert leftovers.run() == 0
    assert leftovers.clock.passed == 0


def test_an_operator_in_another_namespace_that_has_budgets_there_refuses_it(leftovers: Leftovers) -> None:
    leftovers.infra.put(names.PODDISRUPTIONBUDGETS, names.blocker_name("d2"), "elsewhere", GONE)
    leftovers.lease("dpunetop-9_ab", "1", "elsewhere")
    leftovers.clock.on_wait = lambda: leftovers.lease("dpunetop-9_ab", str(leftovers.clock.passed), "elsewhere")
    with pytest.raises(Busy, match="elsewhere"):
        leftovers.run()


def test_an_operator_that_starts_meanwhile_ends_it_before_the_next_write(leftovers: Leftovers) -> None:
    def start(place: Place) -> None:
        leftovers.lease("dpunetop-1_cd", "5")

    leftovers.infra.before_write = start
    with pytest.raises(Busy):
        leftovers.run()
    assert leftovers.infra.written == BOTH[:1]


# What cannot be done.


def test_what_is_refused_is_said_once_and_does_not_hold_up_the_rest(leftovers: Leftovers) -> None:
    def refuse(place: Place) -> None:
        if place[0] == names.PODDISRUPTIONBUDGETS:
            raise Forbidden(403, "Forbidden", "no right")

    leftovers.infra.before_write = refuse
    assert leftovers.run() == 1
    assert leftovers.infra.written == BOTH[1:]
    assert leftovers.said.count("FAILED: 403 Forbidden: no right") == 1
    assert "1 are left" in leftovers.said


def test_what_changes_all_the_time_is_given_up_and_named(leftovers: Leftovers) -> None:
    def changed(place: Place) -> None:
        raise Conflict(409, "Conflict", "changed")

    leftovers.infra.before_write = changed
    assert leftovers.run() == 1
    assert PATIENCE_SECONDS <= leftovers.clock.passed <= PATIENCE_SECONDS + 5
    assert "dpu-drain-blocker-d1 was not done" in leftovers.said


def test_configs_that_are_not_served_for_a_moment_are_not_taken_to_be_gone(leftovers: Leftovers) -> None:
    leftovers.infra.unserved.add(names.DPUCLUSTERCONFIGS)
    crd = crd_name(names.DPUCLUSTERCONFIGS)
    leftovers.infra.put(CUSTOMRESOURCEDEFINITIONS, crd)
    with pytest.raises(NotFound):
        leftovers.run()
    del leftovers.infra.objects[CUSTOMRESOURCEDEFINITIONS, "", crd]
    assert leftovers.run() == 0


def test_configs_are_read_after_all_that_may_be_theirs(leftovers: Leftovers) -> None:
    leftovers.run(dry_run=True)
    assert leftovers.infra.listed[-1] == names.DPUCLUSTERCONFIGS


def test_a_config_that_is_deleted_loses_its_finalizer_last(leftovers: Leftovers) -> None:
    ending = config(namespace="dpu-two")
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    leftovers.infra.objects[names.DPUCLUSTERCONFIGS, namespace_of(ending), name_of(ending)] = ending
    assert leftovers.run() == 1
    assert leftovers.infra.written == []
    assert leftovers.run(ending=Ending.FINISH) == 0
    assert leftovers.infra.written == [*BOTH, "change DpuClusterConfig sample"]
    assert ending["metadata"]["finalizers"] == []


# A host in a maintenance of ours.


def maintained(leftovers: Leftovers) -> dict[str, Any]:
    """A drained host, and a node maintenance operator that gives it back."""
    host = leftovers.tenant.put(NODES, "w1", spec={"unschedulable": True})
    host["metadata"]["annotations"] = {names.CORDONED_BEFORE_ANNOTATION: "no"}
    name = names.maintenance_name("w1")
    leftovers.tenant.put(names.NODEMAINTENANCES, name, "", GONE, spec={"nodeName": "w1"})

    def uncordon(place: Place) -> None:
        if place[0] == names.NODEMAINTENANCES:
            del host["spec"]["unschedulable"]

    leftovers.tenant.before_write = uncordon
    return host


def test_a_host_in_a_maintenance_of_ours_comes_out_cordoned_and_is_named(leftovers: Leftovers) -> None:
    host = maintained(leftovers)
    assert leftovers.run(with_tenant=True) == 1
    assert leftovers.tenant.written == ["change Node w1", "delete NodeMaintenance dpu-tenant-w1", "change Node w1"]
    assert host["spec"]["unschedulable"] is True
    assert host["metadata"]["annotations"] == {names.LEFT_BY_ANNOTATION: GONE}
    assert "kubectl uncordon w1; kubectl annotate node w1 dpu.openshift.io/left-by-" in leftovers.said


def test_a_cordon_survives_a_sweep_that_is_killed_before_it_is_put_back(leftovers: Leftovers) -> None:
    host = maintained(leftovers)
    put_back = leftovers.tenant.before_write

    def killed(place: Place) -> None:
        if place[0] == NODES and len(leftovers.tenant.written) == 2:
            raise KeyboardInterrupt
        put_back(place)

    leftovers.tenant.before_write = killed
    with pytest.raises(KeyboardInterrupt):
        leftovers.run(with_tenant=True)
    assert "unschedulable" not in host["spec"]
    leftovers.tenant.before_write = lambda _: None
    leftovers.run(with_tenant=True)
    assert host["spec"]["unschedulable"] is True
    assert leftovers.infra.written == BOTH


# Flags.


def test_settings_come_from_flags_and_environment() -> None:
    given = parse_sweep(["--terminating", "--dry-run", f"--owner={OWNER}", "--namespace=x"], {"KUBECONFIG": "/k"})
    assert given == SweepSettings("/k", None, "x", SweepChoice(Ending.FINISH, frozenset({OWNER})), True)
    assert parse_sweep([], {}) == SweepSettings(None, None, DEFAULT_NAMESPACE, SweepChoice(), False)


@pytest.mark.parametrize("flag", ["--owner=UPPER", "--namespace=a/b", "--nonsense", "--terminat"])
def test_a_flag_that_cannot_be_used_is_one_line(flag: str) -> None:
    with pytest.raises(SettingsError, match=flag.split("=")[0]):
        parse_sweep([flag], {})


def test_the_command_ends_with_2_for_a_cluster_that_cannot_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "--kubeconfig=/nowhere"]) == 2
    assert capsys.readouterr().err.startswith("dpunetop: kubeconfig /nowhere cannot be used")
