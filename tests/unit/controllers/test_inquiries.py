"""What no cache shows is asked of the servers outside of the passes that need it, and the answers wake those."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import dpunetop.controllers
from dpunetop.base.stop import Stop, Stopped
from dpunetop.controllers.inquiries import Inquiries
from dpunetop.kube.keys import INFRA, Key
from dpunetop.runtime.reading import NotEngaged, Waker

TENANT, OTHER = "tenant/a/b", "tenant/a/c"
QUESTION = ("node", "h1")
CONTROLLERS = Path(dpunetop.controllers.__path__[0])


class Desk:
    """Inquiries whose queue is a list, and two keys that put questions."""

    def __init__(self) -> None:
        self.queue, self.woken, self.asked = list[Key](), list[Key](), list[str]()
        self.inquiries = Inquiries()
        self.inquiries.connect(self.queue.append, self.queue.remove)
        self.one, self.two = (Waker(self.woken.append, Key(TENANT, "host", name)) for name in ("x", "y"))

    def put(self, waker: Waker, question: tuple[str, ...] = QUESTION, cluster: str = TENANT) -> None:
        self.inquiries.put(cluster, question, lambda: self.asked.append("/".join(question)), waker)

    def run(self, cluster: str = TENANT, subject: str = "node") -> None:
        key = Key(cluster, "", subject)
        while key in self.queue:
            self.inquiries.reconcile(key, Stop())


def test_a_question_is_asked_once_and_its_answer_wakes_all_who_put_it() -> None:
    desk = Desk()
    for waker in (desk.one, desk.two, desk.one):
        desk.put(waker)
    assert (desk.asked, desk.woken) == ([], [])
    desk.run()
    assert (desk.asked, sorted(key.name for key in desk.woken)) == (["node/h1"], ["x", "y"])


def test_an_inquiry_put_after_the_answer_is_asked_again() -> None:
    desk = Desk()
    for _ in range(2):
        desk.put(desk.one)
        desk.run()
    assert desk.asked == ["node/h1"] * 2


def test_an_inquiry_put_while_it_is_being_asked_wakes_its_key_too() -> None:
    desk = Desk()
    desk.inquiries.put(TENANT, QUESTION, lambda: desk.put(desk.two), desk.one)
    desk.run()
    assert (desk.asked, {key.name for key in desk.woken}) == ([], {"x", "y"})


def test_each_cluster_is_a_lane_of_its_own() -> None:
    desk = Desk()
    desk.put(desk.one)
    desk.put(desk.two, cluster=OTHER)
    desk.run(OTHER)
    assert [key.name for key in desk.woken] == ["y"]
    assert desk.queue == [Key(TENANT, "", "node")]


def test_thousands_of_questions_on_one_subject_hold_up_no_other_subject() -> None:
    desk = Desk()
    for number in range(3):
        desk.put(desk.one, ("rights", str(number)), INFRA)
    desk.put(desk.two, cluster=INFRA)
    desk.run(INFRA)
    assert (desk.asked, [key.name for key in desk.woken]) == (["node/h1"], ["y"])


def test_questions_on_one_subject_are_asked_in_order() -> None:
    desk = Desk()
    for name in ("h2", "h1", "h3"):
        desk.put(desk.one, ("node", name))
    desk.run()
    assert desk.asked == ["node/h2", "node/h1", "node/h3"]


def test_a_question_to_a_cluster_that_has_gone_is_dropped_and_wakes_nobody() -> None:
    desk = Desk()

    def gone() -> None:
        raise NotEngaged(TENANT)

    desk.inquiries.put(TENANT, QUESTION, gone, desk.one)
    desk.put(desk.two, ("node", "h2"))
    desk.run()
    assert (desk.asked, [key.name for key in desk.woken]) == (["node/h2"], ["y"])


def test_a_question_that_meets_a_bug_stays_and_is_asked_again() -> None:
    desk, answers = Desk(), [ZeroDivisionError(), None]

    def ask() -> None:
        if (answer := answers.pop(0)) is not None:
            raise answer

    desk.inquiries.put(TENANT, QUESTION, ask, desk.one)
    with pytest.raises(ZeroDivisionError):
        desk.run()
    assert desk.woken == []
    desk.run()
    assert [key.name for key in desk.woken] == ["x"]


def test_nothing_is_asked_once_the_process_ends() -> None:
    desk, stop = Desk(), Stop()
    desk.put(desk.one)
    stop.set()
    with pytest.raises(Stopped):
        desk.inquiries.reconcile(Key(TENANT, "", "node"), stop)
    assert desk.asked == []


def test_infra_is_a_lane_as_a_tenant_is() -> None:
    desk = Desk()
    desk.put(desk.one, cluster=INFRA)
    desk.run(INFRA)
    assert [key.name for key in desk.woken] == ["x"]


CALLERS = {
    "drain/evictions.py": "inquiry",
    "drain/nodeabsence.py": "inquiry",
    "drain/taskrunner.py": "task",
    "namespacerights.py": "inquiry",
    "tenant/calls.py": "probe",
    "tenant/connection.py": "probe",
    "tenant/credential.py": "probe",
    "tenant/identity.py": "probe",
    "tenant/infranetworks.py": "probe",
    "tenant/tokens.py": "probe",
}
"""Modules of controllers that have a client, and which step of a pass calls it: none that gathers or decides. A probe
is asked by the worker that is the lane of its tenant, a task is what was decided."""


def test_no_module_of_the_controllers_has_a_client_but_those_whose_calls_no_gathering_waits_for() -> None:
    found = set()
    for path in CONTROLLERS.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        imported = {each.name for node in nodes if isinstance(node, ast.ImportFrom) for each in node.names}
        if "Client" in imported or any(isinstance(node, ast.Attribute) and node.attr == "client" for node in nodes):
            found.add(path.relative_to(CONTROLLERS).as_posix())
            assert CALLERS.get(path.relative_to(CONTROLLERS).as_posix()) != "inquiry" or "Inquiries" in imported, path
    assert found == CALLERS.keys()
