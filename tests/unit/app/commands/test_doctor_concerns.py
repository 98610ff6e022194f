"""Whatever `doctor` does not find in order has four parts: object, hosts with their DPUs, cause, and next step."""

from __future__ import annotations

import pytest

from dpunetop.domain.doctor.model import Diagnosis, Side, Verdict
from support.objects import config
from support.strangeimages import WRONG_MACHINE, Plant, pulls
from unit.app.commands import test_doctor as preflight
from unit.app.commands.test_doctor import in_order, outcomes
from unit.app.commands.test_doctor_verdicts import PLANTS, asks, examined


def found_of(plant: Plant) -> list[Diagnosis]:
    """All that a preflight finds once a fault is planted."""
    return [each for outcome in examined(plant).outcomes for each in outcome.findings]


def test_whatever_is_not_in_order_names_object_and_hosts_and_says_why_and_what_to_do() -> None:
    found = [each for plant in PLANTS for each in found_of(plant) if each.verdict is not Verdict.OK]
    found += [each for outcome in outcomes(in_order()[0], None) for each in outcome.findings if each.concerns]
    lacking = [each for each in found if not (each.about and each.message and each.mend and each.concerns)]
    assert lacking == []
    assert [each for each in found if "host-1 (DPU dpu-1)" not in each.concerns and each.dpus is None] == []


def test_what_is_in_order_concerns_nobody() -> None:
    assert {each.concerns for outcome in outcomes(*in_order()) for each in outcome.findings} == {""}


@pytest.mark.parametrize("name", WRONG_MACHINE)
def test_an_image_of_another_machine_is_told_with_host_dpu_pod_and_what_to_do(name: str) -> None:
    pulls(WRONG_MACHINE[name])(*(clusters := in_order()))
    told = preflight.shown(outcomes(*clusters))
    assert "concerns host host-1 (DPU dpu-1)\n" in told
    assert "pod ovnkube-node-x, container nbdb: its image is not built for this machine" in told
    assert "-> set spec.image of the DpuClusterConfig to an image that is built for arm64" in told


def test_an_image_of_another_machine_is_no_fault_of_an_image_that_the_pod_has_besides() -> None:
    plant, other = pulls(WRONG_MACHINE["Docker"]), "quay.io/other@sha256:" + "b" * 64
    asks(spec={**config()["spec"], "image": other})(*(clusters := in_order()))
    plant(*clusters)
    [images] = [each for each in outcomes(*clusters) if each.check.id == "images"]
    assert {each.about: each.verdict for each in images.findings if other in each.about}.popitem()[
        1
    ] is not Verdict.FAIL


def test_a_kubeconfig_of_infra_given_for_the_tenant_is_told_and_nothing_of_it_is_judged() -> None:
    infra, _ = in_order()
    found = outcomes(infra, infra)
    told = [each for outcome in found if outcome.check.side is Side.TENANT for each in outcome.findings]
    assert {each.verdict for each in told} == {Verdict.NOT_LOOKED_AT}
    assert all("it is infra itself" in each.message and "--tenant-kubeconfig" in each.mend for each in told)
