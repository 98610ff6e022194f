"""Which tests of integration one process runs."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace

from support.controlplanes import shared_out_with

HERE = "tests/integration"


def test_all_tests_without_an_operator_are_run_by_one_process() -> None:
    assert shared_out_with(f"{HERE}/test_crd.py::test_a") == shared_out_with(
        f"{HERE}/runtime/test_client.py::test_b[c]"
    )


def test_a_test_of_the_operator_is_run_by_any_process() -> None:
    cases = {f"{HERE}/operator/test_drain.py::test_a", f"{HERE}/operator/test_drain.py::test_b[{HERE}::c]"}
    assert {shared_out_with(each) for each in cases} == cases


def test_tests_that_share_what_their_file_has_set_up_are_run_by_one_process() -> None:
    file = f"{HERE}/operator/test_sweep.py"
    assert shared_out_with(f"{file}::test_a") == shared_out_with(f"{file}::test_b") == file


def test_the_scheduler_asks_what_is_run_together() -> None:
    nodes = [f"{HERE}/operator/test_drain.py::test_{number}" for number in range(6)]
    option = SimpleNamespace(loadscopereorder=False)
    config = SimpleNamespace(option=option, getvalue=lambda _: ["2*popen"])
    scheduler = import_module("xdist.scheduler").LoadFileScheduling(config)
    scheduler._split_scope = shared_out_with
    workers = [Worker("first"), Worker("second")]
    for worker in workers:
        scheduler.add_node(worker)
        scheduler.add_node_collection(worker, nodes)
    scheduler.schedule()
    assert all(0 < len(worker.given) < len(nodes) for worker in workers)


class Worker:
    """A process that is given tests, as xdist's schedulers see it."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True
