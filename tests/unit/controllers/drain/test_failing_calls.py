"""Whatever call of a drain fails, for as long as it likes: tried ever more seldom, and told where people look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from dpunetop.base.stop import Stop
from dpunetop.domain import names
from dpunetop.domain.drain.model.record import State
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import ApiError, Conflict, Forbidden, Invalid, TooManyRequests, Unauthorized, Unreachable
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, INFRA, NODES, PODS, Key, Resource
from dpunetop.kube.requests import Selection
from dpunetop.runtime.flowcontrol import ItemBackoff
from dpunetop.runtime.reading import NotSynced, Unwatched
from support.objects import NAMESPACE
from support.scripteddrain import DPU, HOST, KEY, PLACE, TENANT, World

LAG_SECONDS = 0.1
"""Between a write and the pass that the watch of it wakes."""
MINUTES = 2
MOST_REQUESTS = 50
"""Of the kind that fails, and of all writes beside it, in so many minutes."""

DATA = Path(__file__).parents[3] / "data"

FORBIDDEN = Forbidden(403, "Forbidden", "cannot watch at all")
ERRORS: dict[str, ApiError] = {
    "500": ApiError(500, "InternalError", "failed calling webhook"),
    "403": Forbidden(403, "Forbidden", "is forbidden: no such right"),
    "401": Unauthorized(401, "Unauthorized", "Unauthorized"),
    "422": Invalid(422, "Invalid", "is invalid"),
    "409": Conflict(409, "Conflict", "the object has been modified"),
    "429": TooManyRequests(429, "TooManyRequests", "later", retry_after_seconds=1.0),
    "time-out": Unreachable(0, "Timeout", "no answer in 10 s"),
}


class Workers:
    """What runs the two controllers: woken by each write, else when they asked for it, or after a failure."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._due: dict[Key, float] = {}
        self._backoff: ItemBackoff[Key] = ItemBackoff()

    def run(self, seconds: float) -> None:
        clock = self.world.clock
        end, before = clock.monotonic() + seconds, len(self.world.writes())
        self._due = {KEY: clock.monotonic(), PLACE: clock.monotonic()}
        while (now := clock.monotonic()) < end and len(self.world.writes()) - before < MOST_REQUESTS:
            for key in [key for key, at in sorted(self._due.items(), key=str) if at <= now]:
                self._pass(key, now)
            clock.step(max(LAG_SECONDS, min((*self._due.values(), end), default=end) - now))

    def _pass(self, key: Key, now: float) -> None:
        world = self.world
        before = len(world.writes())
        reconciler = world.pairs if key == KEY else world.hosts
        try:
            again = reconciler.reconcile(key, Stop())
        except ApiError as err:
            again = max(self._backoff.next(key), err.retry_after_seconds or 0.0)
        else:
            self._backoff.forget(key)
        world.answer()
        self._due[key] = float("inf") if again is None else now + again
        places = [KEY, PLACE] if len(world.writes()) > before else [*world.woken]
        world.woken.clear()
        for each in places:
            self._due[each] = min(self._due.get(each, now), now)


# --- what a drain consists of -----------------------------------------------------------------------------------------


def serving() -> World:
    world = World().protected()
    world.run_pod("p1", "container-of-b1")
    world.settle()
    return world


def begun() -> World:
    world = serving()
    world.cordon()
    world.settle()
    return world


def opened() -> World:
    world = begun()
    world.drain_host()
    world.settle()
    return world


def rebooted() -> World:
    world = opened()
    world.reboot("b2")
    world.settle()
    return world


def ended() -> World:
    world = rebooted()
    world.cordon(False)
    world.settle()
    return world


def order(world: World, text: str) -> None:
    live = world.infra.shown(NODES, "", DPU)
    notes = {names.DRAIN_ANNOTATION: text}
    world.infra.put(NODES, {**live, "metadata": {**live["metadata"], "annotations": notes}})


def fail(world: World) -> None:
    name = names.maintenance_name(HOST)
    world.change(world.tenant, names.NODEMAINTENANCES, "", name, status={"phase": "Failed"})


def uncordon_host(world: World) -> None:
    taints = world.tenant.shown(NODES, "", HOST)["spec"]["taints"]
    world.change(world.tenant, NODES, "", HOST, spec={"taints": taints})


def unpair(world: World) -> None:
    world.pair_up()


def change_entry(world: World) -> None:
    text = f"TENANT_K8S_NODE={HOST}\nOVN_KUBE_LOG_LEVEL=5"
    world.change(world.infra, CONFIGMAPS, NAMESPACE, names.ENV_OVERRIDES, data={DPU: text})
    world.cordon(False)


def lose_maintenance(world: World) -> None:
    world.tenant.drop(names.NODEMAINTENANCES, "", names.maintenance_name(HOST))


def outdate_pod(world: World) -> None:
    world.cordon(False)
    pod = world.infra.shown(PODS, NAMESPACE, f"ovnkube-node-{DPU}")
    notes = {names.TEMPLATE_HASH_ANNOTATION: "t0"}
    world.infra.put(PODS, {**pod, "metadata": {**pod["metadata"], "annotations": notes}})


def remove_node(world: World) -> None:
    world.infra.drop(NODES, "", DPU)


STORIES: dict[str, tuple[Callable[[], World], Callable[[World], None]]] = {
    "a pair comes to serve": (World, lambda world: world.run_blocker()),
    "a drain begins": (serving, World.cordon),
    "the budget opens": (begun, World.drain_host),
    "the DPU reboots": (opened, lambda world: world.reboot("b2")),
    "the host is given back": (rebooted, lambda world: world.cordon(False)),
    "the cordon is taken back early": (begun, lambda world: world.cordon(False)),
    "a person skips": (opened, lambda world: order(world, "skip")),
    "a person holds": (opened, lambda world: order(world, "hold")),
    "a person forces": (begun, lambda world: order(world, "force:b1")),
    "a person uncordons the host": (opened, uncordon_host),
    "the maintenance fails": (begun, fail),
    "the maintenance is lost": (opened, lose_maintenance),
    "the pair is unpaired": (opened, unpair),
    "the entry changes": (rebooted, change_entry),
    "the pod is outdated": (rebooted, outdate_pod),
    "the node is gone": (opened, remove_node),
    "the maintenance has gone": (ended, World.end_maintenance),
}


def kinds(story: str) -> set[str]:
    """What is asked of which cluster while the story takes its way."""
    begin, act = STORIES[story]
    world = begin()
    marks = len(world.infra.asked), len(world.tenant.asked)
    act(world)
    Workers(world).run(MINUTES * 60)
    infra, tenant = world.infra.asked[marks[0] :], world.tenant.asked[marks[1] :]
    return {f"infra {each}" for each in infra} | {f"tenant {each}" for each in tenant}


TOLD_ELSEWHERE = frozenset({("the entry changes", "infra delete pods")})
"""By the controller that deletes pods which idle, in its own condition."""


def said_of(world: World) -> Mapping[str, Any]:
    """What `PairsHealthy` says."""
    live = world.infra.shown(names.DPUCLUSTERCONFIGS, NAMESPACE, "sample")
    return condition_of(live, "PairsHealthy") or {}


def is_read(kind: str) -> bool:
    return kind.split()[1] in ("get", "list")


def listed() -> list[tuple[str, str]]:
    """Each write in the stories in which it is made, each read once. Read from a file: no story runs to name a test."""
    lines = (DATA / "drain-calls.txt").read_text().splitlines()
    return [(story, kind) for story, _, kind in (line.partition(": ") for line in lines if line[:1] != "#")]


CALLS = listed()
CASES = [(story, kind, error) for story, kind in CALLS for error in ERRORS]


@pytest.mark.parametrize("story", STORIES)
def test_the_calls_of_a_story_are_those_that_are_listed(story: str) -> None:
    made = kinds(story)
    assert {kind for kind in made if not is_read(kind)} == {
        kind for owner, kind in CALLS if owner == story and not is_read(kind)
    }
    assert {kind for kind in made if is_read(kind)} <= {kind for _, kind in CALLS}
    assert {kind for owner, kind in CALLS if owner == story} <= made


@pytest.mark.parametrize(("story", "kind", "answer"), CASES, ids=[": ".join(each) for each in CASES])
def test_a_call_that_fails_and_fails_is_tried_ever_more_seldom_and_told(story: str, kind: str, answer: str) -> None:
    (begin, act), error = STORIES[story], ERRORS[answer]
    world = begin()
    cluster, _, what = kind.partition(" ")
    server = world.infra if cluster == INFRA else world.tenant
    server.refuses[what] = error
    act(world)
    written, asked = len(world.writes()), server.asked.count(what)
    Workers(world).run(MINUTES * 60)
    assert len(world.writes()) - written < MOST_REQUESTS
    if not what.startswith("get "):
        assert server.asked.count(what) - asked < MOST_REQUESTS
    if server.asked.count(what) > asked and (story, kind) not in TOLD_ELSEWHERE:
        said = said_of(world)
        assert said["status"] == "False"
        assert error.message in said["message"] or said["reason"] == "CacheContradicted"


def test_a_call_that_succeeds_again_clears_its_report() -> None:
    world = serving()
    world.tenant.refuses["apply nodemaintenances"] = ERRORS["500"]
    world.cordon()
    Workers(world).run(60)
    assert world.said() == ("False", "RequestFailed")
    world.tenant.refuses.clear()
    Workers(world).run(31)
    assert (world.state(), world.said()) == (State.DRAINING, ("True", "Draining"))


def test_the_line_of_the_log_names_the_host_the_dpu_the_config_and_the_cluster() -> None:
    world = serving()
    world.infra.refuses["apply poddisruptionbudgets"] = ERRORS["500"]
    world.cordon()
    with capture_logs() as lines:
        Workers(world).run(2)
    failed = next(line for line in lines if line["event"] == "drain job failed")
    about = {"cluster": TENANT, "config": f"{NAMESPACE}/sample", "host": HOST, "dpu": DPU}
    assert about.items() <= failed.items()


def test_a_host_is_marked_once_for_a_maintenance_that_cannot_be_made_however_often_that_is_tried() -> None:
    world = serving()
    world.tenant.refuses["apply nodemaintenances"] = ERRORS["500"]
    world.cordon()
    Workers(world).run(120)
    assert world.tenant.asked.count("apply nodemaintenances") >= 5
    assert world.tenant.asked.count("patch nodes") == 2  # marked, and no more
    assert world.said() == ("False", "RequestFailed")


def test_a_server_that_cannot_rehearse_is_asked_for_the_thing_itself() -> None:
    world = serving()
    world.tenant.refuses["apply nodemaintenances"] = ERRORS["500"]
    world.cordon()
    Workers(world).run(5)
    world.tenant.refuses.clear()
    world.tenant.refuses["rehearse nodemaintenances"] = ApiError(400, "BadRequest", "does not support dry run")
    Workers(world).run(31)
    assert (world.state(), world.said()) == (State.DRAINING, ("True", "Draining"))


def test_a_drain_that_is_wanted_no_more_is_told_of_no_more() -> None:
    world = serving()
    world.tenant.refuses["apply nodemaintenances"] = ERRORS["500"]
    world.cordon()
    Workers(world).run(60)
    world.cordon(False)
    Workers(world).run(5)
    assert (world.state(), world.said()) == (None, ("True", "AllProtected"))


class StaleAfterCreate(dict[str, ApiError]):
    """No maintenance can be made, and the Node is another one than it was, once, after each try: our own mark."""

    def __init__(self) -> None:
        super().__init__()
        self._is_stale = False

    def get(self, kind: str, default: Any = None) -> Any:
        if kind == "apply nodemaintenances":
            self._is_stale = True
            return ERRORS["500"]
        if kind == "patch nodes" and self._is_stale:
            self._is_stale = False
            return ERRORS["409"]
        return default


def test_what_is_cleared_up_after_a_failure_takes_no_word_of_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world, told = serving(), list[str]()
    write = world.infra.apply_status

    def remembered(resource: Resource, *arguments: Any, **more: Any) -> Any:
        answer = write(resource, *arguments, **more)
        told.extend([said_of(world)["status"]] if resource == names.DPUCLUSTERCONFIGS else [])
        return answer

    monkeypatch.setattr(world.infra, "apply_status", remembered)
    world.tenant.refuses = StaleAfterCreate()
    world.cordon()
    Workers(world).run(60)
    assert "False" in told
    assert "True" not in told[told.index("False") :]


def test_what_protects_is_not_held_up_by_what_fails_in_the_tenant() -> None:
    world = opened()
    world.tenant.refuses = {f"{verb} nodemaintenances": ERRORS["500"] for verb in ("apply", "patch", "delete")}
    world.cordon(False)
    Workers(world).run(1)
    assert not world.budget().is_open


WATCHED = (
    (INFRA, PODS),
    (INFRA, NODES),
    (INFRA, names.PODDISRUPTIONBUDGETS),
    (INFRA, DEPLOYMENTS),
    (TENANT, NODES),
    (TENANT, names.NODEMAINTENANCES),
)


@pytest.mark.parametrize(("cluster", "resource"), WATCHED, ids=str)
def test_a_collection_that_may_not_be_watched_from_the_start_is_told(cluster: str, resource: Resource) -> None:
    world = serving()
    world.cordon()
    world.start()
    world.watches.unread[cluster, resource.plural] = NotSynced(cluster, Selection(resource), FORBIDDEN)
    for reconciler, key in ((world.pairs, KEY), (world.hosts, PLACE), (world.pairs, KEY)):
        with suppress(NotSynced):
            reconciler.reconcile(key, Stop())
    assert said_of(world)["status"] == "False"
    assert FORBIDDEN.message in said_of(world)["message"]


@pytest.mark.parametrize(("cluster", "resource"), WATCHED, ids=str)
def test_a_collection_that_may_not_be_watched_any_more_is_told(cluster: str, resource: Resource) -> None:
    world = serving()
    world.watches.unwatched = Unwatched(cluster, Selection(resource), FORBIDDEN)
    world.settle()
    assert said_of(world)["status"] == "False"
    assert FORBIDDEN.message in said_of(world)["message"]
