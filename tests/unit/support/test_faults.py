"""A counter knows when a fault is due, and lets one write through at a time while one is armed."""

from __future__ import annotations

from support.faults import Fault, Phase, Then, WriteCounter, drop_ack
from support.trace import Asked

ASKED = Asked("infra", 1, 0.5, "op/1", "PATCH", "/api/v1/nodes/n", "", "", "", "", "")


def test_a_fault_acts_once() -> None:
    acts: list[int] = []
    fault = Fault(1, Phase.ANSWERED, lambda: acts.append(1), Then.PASS)
    assert not fault.fired.is_set()
    fault.strike(ASKED)
    fault.strike(ASKED)
    assert acts == [1]
    assert fault.fired.is_set()
    assert repr(fault) == "<Fault answered 1 struck PATCH /api/v1/nodes/n>"


def test_before_forward_is_due_at_the_first_attempt_after_the_write_before() -> None:
    counter = WriteCounter()
    fault = counter.arm(Fault(2, Phase.BEFORE_FORWARD, lambda: None, Then.PASS))
    assert counter.due_before() == []
    counter.count()
    assert counter.due_before() == [fault]


def test_the_other_phases_are_due_at_the_number_of_the_write() -> None:
    counter = WriteCounter()
    fault = counter.arm(drop_ack(2))
    assert counter.due_at(Phase.COMMITTED_NOT_ANSWERED, counter.count()) == []
    write = counter.count()
    assert counter.due_at(Phase.ANSWERED, write) == []
    assert counter.due_at(Phase.COMMITTED_NOT_ANSWERED, write) == [fault]


def test_a_fault_that_struck_is_not_due_again() -> None:
    counter = WriteCounter()
    fault = counter.arm(drop_ack(1))
    counter.struck(fault)
    assert counter.due_at(Phase.COMMITTED_NOT_ANSWERED, counter.count()) == []


def test_writes_go_side_by_side_while_nothing_is_armed() -> None:
    counter = WriteCounter()
    assert [counter.try_begin(), counter.try_begin()] == [True, True]


def test_writes_go_one_by_one_while_a_fault_is_armed() -> None:
    counter = WriteCounter()
    counter.arm(drop_ack(1))
    assert [counter.try_begin(), counter.try_begin()] == [True, False]
    counter.end()
    assert counter.try_begin()


def test_a_write_that_steps_aside_lets_another_pass() -> None:
    counter = WriteCounter()
    counter.arm(drop_ack(1))
    assert counter.try_begin()
    with counter.stepped_aside():
        assert counter.try_begin()
        counter.end()
    assert not counter.try_begin()


def test_after_a_strike_writes_wait_a_moment() -> None:
    counter = WriteCounter()
    counter.struck(counter.arm(drop_ack(1)))
    assert not counter.try_begin()
