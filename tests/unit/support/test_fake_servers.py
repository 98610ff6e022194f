"""The two fake servers refuse the same writes of a task with the same errors: the one of the models, which takes a
task's calls itself, and the one below the executor, which takes requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dpunetop.domain.drain.model.calls import Write
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import CONFIGMAPS, INFRA
from dpunetop.kube.meta import Obj
from dpunetop.kube.plan import Apply, Delete, Fence, Patch
from dpunetop.runtime.election.gate import OpenGate
from support.clock import FakeClock
from support.scriptedcluster import Fuse, ScriptedCluster, executor_over
from support.twoclusters import Server

Step = Apply | Patch | Delete
Send = Callable[[Step], object]


def obj(data: str, **metadata: str) -> dict[str, Any]:
    where = {"name": "x", "namespace": "ns", **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": where, "data": {"k": data}}


class Scripted:
    """The executor over its fake."""

    def __init__(self) -> None:
        clock = FakeClock()
        self.cluster = ScriptedCluster(INFRA, Fuse(), lambda: clock.now().isoformat())
        self.send: Send = executor_over(lambda _: self.cluster, OpenGate(), clock).send

    def put(self, stored: Obj) -> Obj:
        self.cluster.put(CONFIGMAPS, stored)
        shown: Obj = self.cluster.shown(CONFIGMAPS, "ns", "x")
        return shown

    def remove(self) -> None:
        self.cluster.drop(CONFIGMAPS, "ns", "x")


class Modelled:
    """The fake of the models."""

    def __init__(self) -> None:
        self.server = Server()

    def send(self, step: Step) -> object:
        return self.server.perform(Write(step))

    def put(self, stored: Obj) -> Obj:
        return self.server.put(CONFIGMAPS, stored)

    def remove(self) -> None:
        self.server.remove(CONFIGMAPS, "ns", "x")


Fake = Scripted | Modelled


def same(_: Fake, live: Obj) -> Obj:
    return live


def outdated(fake: Fake, live: Obj) -> Obj:
    fake.put({**live, "data": {"k": "by another"}})
    return live


def another(fake: Fake, live: Obj) -> Obj:
    fake.remove()
    fake.put(obj("another", uid="u-2"))
    return live


def gone(fake: Fake, live: Obj) -> Obj:
    fake.remove()
    return live


STATES = {"as it was read": same, "changed": outdated, "another one": another, "gone": gone}
STEPS: dict[str, Callable[[Obj], Step]] = {
    "an apply that makes it": lambda live: Apply(INFRA, CONFIGMAPS, obj("new"), None, "m"),
    "an apply fenced by uid": lambda live: Apply(INFRA, CONFIGMAPS, obj("new"), live, "m", Fence.UID),
    "an apply fenced by version": lambda live: Apply(INFRA, CONFIGMAPS, obj("new"), live, "m", Fence.VERSION),
    "a patch": lambda live: Patch(INFRA, CONFIGMAPS, live, {"data": {"k": "new"}}),
    "a delete fenced by uid": lambda live: Delete(INFRA, CONFIGMAPS, live, Fence.UID),
    "a delete fenced by version": lambda live: Delete(INFRA, CONFIGMAPS, live, Fence.VERSION),
}


def outcome(fake: Fake, state: Callable[[Fake, Obj], Obj], step: Callable[[Obj], Step]) -> str:
    live = state(fake, fake.put(obj("old", uid="u-1")))
    try:
        fake.send(step(live))
    except ApiError as err:
        return type(err).__name__
    return "done"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", STATES)
def test_both_answer_alike(state: str, step: str) -> None:
    assert outcome(Modelled(), STATES[state], STEPS[step]) == outcome(Scripted(), STATES[state], STEPS[step])
