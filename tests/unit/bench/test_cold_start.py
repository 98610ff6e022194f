from __future__ import annotations

from bench.coldstart import is_told
from bench.writes import Write
from dpunetop.domain.dpunode.status import Phase


def write(plural: str, name: str, phase: Phase = Phase.WAITING) -> Write:
    path = f"/apis/dpu.openshift.io/v1alpha1/namespaces/n/{plural.split('/')[0]}/{name}/status"
    return Write("patch", path, "fieldManager=m&force=true", plural, 200, 0.0, 0.0, {"status": {"phase": str(phase)}})


def dpu(name: str, phase: Phase = Phase.WAITING) -> Write:
    return write("dpunodes/status", name, phase)


CONFIG = write("dpuclusterconfigs/status", "c")


def test_a_start_is_over_once_each_dpu_is_told_to_serve_as_last_written() -> None:
    waiting, serving = (dpu("a"), dpu("b")), (dpu("a", Phase.SERVING), dpu("b", Phase.SERVING))
    assert not is_told((), 2, Phase.SERVING, 1)
    assert not is_told((CONFIG, *waiting), 2, Phase.SERVING, 1)
    assert not is_told((CONFIG, *waiting, serving[0]), 2, Phase.SERVING, 1)
    assert not is_told((CONFIG, *serving, waiting[1]), 2, Phase.SERVING, 1)
    assert not is_told(serving, 2, Phase.SERVING, 1)
    assert is_told((CONFIG, *waiting, *serving), 2, Phase.SERVING, 1)


def test_where_no_dpu_can_serve_it_is_enough_that_each_is_told_of() -> None:
    assert not is_told((CONFIG, dpu("a"), dpu("a")), 2, None, 1)
    assert is_told((CONFIG, dpu("a"), dpu("b")), 2, None, 1)


def test_without_dpus_each_config_is_told_of() -> None:
    assert not is_told((CONFIG, CONFIG), 0, None, 2)
    assert is_told((CONFIG, write("dpuclusterconfigs/status", "d")), 0, None, 2)
