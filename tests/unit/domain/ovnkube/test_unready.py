"""What is made of the words that a waiting container leaves in the status of its pod."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.ovnkube.unready import Cause, WaitingContainer, held_up


def pod(message: Any, where: str = "lastState", **members: Any) -> dict[str, Any]:
    status = {"name": "ovnkube-controller", "ready": False, where: {"terminated": {"message": message}}, **members}
    return {"metadata": {"name": "ovnkube-node-x"}, "status": {"containerStatuses": [{"name": "nbdb"}, status]}}


def held(cause: Cause, *options: str) -> WaitingContainer:
    return WaitingContainer(cause, "ovnkube-node-x", "ovnkube-controller", options)


UNDERSTOOD = {
    "one option": (pod("dpunetop: OptionsMissing --zone\nwords"), held(Cause.OPTIONS_MISSING, "--zone")),
    "several": (pod("dpunetop: OptionsMissing --a --b-c"), held(Cause.OPTIONS_MISSING, "--a", "--b-c")),
    "more than are told": (
        pod("dpunetop: OptionsMissing" + "".join(f" --o{number}" for number in range(30))),
        held(Cause.OPTIONS_MISSING, *(f"--o{number}" for number in range(10))),
    ),
    "no options at all": (pod("dpunetop: OptionsUnknown\n"), held(Cause.OPTIONS_UNKNOWN)),
    "Open vSwitch": (pod("dpunetop: OpenVSwitchAway\n\x1b[31m"), held(Cause.OPEN_VSWITCH_AWAY)),
    "just ended": (pod("dpunetop: OpenVSwitchAway", where="state"), held(Cause.OPEN_VSWITCH_AWAY)),
}


@pytest.mark.parametrize(("given", "expected"), UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_a_message_of_ours_is_understood(given: dict[str, Any], expected: WaitingContainer) -> None:
    assert held_up(given) == expected


FOREIGN = {
    "the end of a log": pod("panic: runtime error"),
    "a word that is none": pod("dpunetop: AllIsWell"),
    "no option": pod("dpunetop: OptionsMissing --zone; rm"),
    "an escape": pod("dpunetop: OptionsMissing --z\x1b[2J"),
    "a long option": pod("dpunetop: OptionsMissing --" + "z" * 100),
    "a later line": pod("words\ndpunetop: OpenVSwitchAway"),
    "no text": pod(["dpunetop: OpenVSwitchAway"]),
    "a container that is Ready": pod("dpunetop: OpenVSwitchAway", ready=True),
    "one that has ended otherwise since": pod(
        "dpunetop: OpenVSwitchAway", state={"terminated": {"message": "panic: runtime error"}}
    ),
    "no status": {"metadata": {"name": "x"}},
    "a status of another shape": {"metadata": {"name": "x"}, "status": {"containerStatuses": [1, {"state": 2}]}},
}


@pytest.mark.parametrize("given", FOREIGN.values(), ids=FOREIGN)
def test_all_else_is_nobodys(given: dict[str, Any]) -> None:
    assert held_up(given) is None


SENTENCES = {
    Cause.OPTIONS_MISSING: 'ovnkube of its image does not know "--a" and "--b"; set spec.image to one that does',
    Cause.OPTIONS_UNKNOWN: "ovnkube of its image does not tell its options; set spec.image to one of OVN-Kubernetes,"
    " for the architecture of the DPU",
    Cause.MANAGEMENT_PORT_UNKNOWN: "ovnkube of its image is from before May 2023 and wants the name of the"
    " representor of the management port on the DPU; set external_ids:dpunetop-mgmt-port-netdev of Open vSwitch there,"
    " or spec.image to a newer one",
    Cause.OPEN_VSWITCH_AWAY: "Open vSwitch did not answer; look at ovsdb-server and ovs-vswitchd on the DPU, the pod"
    " goes on by itself",
}


@pytest.mark.parametrize("cause", Cause)
def test_a_sentence_names_dpu_and_host_what_keeps_them_apart_and_what_to_do(cause: Cause) -> None:
    said = held(cause, "--a", "--b").sentence("dpu-1", "host-1")
    start = "DPU dpu-1 cannot serve host host-1: pod ovnkube-node-x, container ovnkube-controller: "
    assert said == start + SENTENCES[cause]
