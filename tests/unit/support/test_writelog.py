import pytest

from support import writelog

DRAIN = (
    "PATCH poddisruptionbudgets/dpu",
    "PATCH nodes/host",
    "PATCH nodemaintenances/host",
    "PATCH poddisruptionbudgets/dpu",
    "PATCH nodemaintenances/host",
    "PATCH poddisruptionbudgets/dpu",
    "DELETE nodemaintenances/host",
)


@pytest.fixture(autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writelog, "_FOLDER", tmp_path_factory.mktemp("writes"))
    monkeypatch.setenv(writelog.RECORDING, "1")
    assert writelog.differences("drain", DRAIN) == []
    monkeypatch.delenv(writelog.RECORDING)


def test_what_was_recorded_is_read_in_order() -> None:
    assert writelog.recorded("drain") == DRAIN
    assert writelog.recorded("another") == ()


def test_the_write_that_opens_is_the_first_of_the_budget_after_the_mark() -> None:
    assert writelog.opening(DRAIN) == 6


def test_fewer_writes_of_the_same_kinds_are_no_difference() -> None:
    assert writelog.differences("drain", DRAIN[1:]) == []


@pytest.mark.parametrize("more", ["PATCH nodes/host", "PATCH pods/x"])
def test_one_write_more_is_a_difference(more: str) -> None:
    assert "8 writes, 7 recorded" in writelog.differences("drain", (*DRAIN, more))


def test_a_kind_of_write_that_comes_or_goes_is_named() -> None:
    without = tuple(write for write in DRAIN if not write.startswith("DELETE"))
    assert writelog.differences("drain", without)[0] == "recorded only: DELETE nodemaintenances/host"
    assert writelog.differences("drain", (*DRAIN, "PATCH pods/x"))[0] == "not recorded: PATCH pods/x"


def test_what_varies_is_not_compared() -> None:
    assert writelog.differences("drain", (*DRAIN, "PATCH pods/x"), lambda write: " pods/" in write) == []
