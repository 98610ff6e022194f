"""Since when and why a host has no network, as infra shows the DPU that serves it."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.drain.outages.detection import STARTING_SECONDS, Serving, find_outage, is_disrupted, spelled

NOW = 1_800_000_000
OLD, SINCE = spelled(NOW - 86_400), spelled(NOW - 600)


def node(ready: bool = True, **condition: str) -> dict[str, Any]:
    said = {"type": "Ready", "status": "True" if ready else "Unknown", "lastTransitionTime": SINCE, **condition}
    return {"metadata": {"name": "d1"}, "spec": {}, "status": {"conditions": [said]}}


def pod(
    ready: bool = True, made: str = OLD, since: str = SINCE, *containers: dict[str, Any], **metadata: Any
) -> dict[str, Any]:
    said = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}
    status = {"phase": "Running", "conditions": [said], "containerStatuses": list(containers)}
    return {"metadata": {"name": "p1", "uid": "u1", "creationTimestamp": made, **metadata}, "status": status}


def crashed(code: int = 1) -> dict[str, Any]:
    ended = {"terminated": {"reason": "Error", "exitCode": code}}
    return {
        "name": "ovnkube-controller",
        "ready": False,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": ended,
    }


def waiting(reason: str) -> dict[str, Any]:
    return {"name": "nbdb", "ready": False, "state": {"waiting": {"reason": reason}}}


def serving(node: Any = None, *pods: Any, idle: str = "") -> Serving:
    return Serving("h1", "d1", node, pods, idle)


CASES: dict[str, tuple[Serving, str | None]] = {
    "all is well": (serving(node(), pod()), None),
    "one of two pods is Ready": (serving(node(), pod(False), pod()), None),
    "the node": (
        serving(node(False, reason="NodeStatusUnknown", message="Kubelet stopped posting node status."), pod()),
        f'host h1 has no network since {SINCE}: DPU node d1 is not Ready ("NodeStatusUnknown": '
        '"Kubelet stopped posting node status.")',
    ),
    "the node, that says nothing more": (
        serving({"metadata": {"name": "d1"}, "status": {"conditions": [{"type": "Ready", "status": "False"}]}}, pod()),
        f"host h1 has no network since {spelled(NOW)}: DPU node d1 is not Ready",
    ),
    "the node is gone": (
        serving(None, pod()),
        f"host h1 has no network since {spelled(NOW)}: the node of DPU d1 is gone",
    ),
    "a pod that crashes": (
        serving(node(), pod(False, OLD, SINCE, crashed())),
        f'host h1 has no network since {SINCE}: pod p1 on DPU d1 is not Ready: container "ovnkube-controller" '
        'ended with "Error", exit code 1',
    ),
    "an image that is not pulled": (
        serving(node(), pod(False, OLD, SINCE, waiting("ErrImagePull"))),
        f'host h1 has no network since {SINCE}: pod p1 on DPU d1 is not Ready: container "nbdb" waits: '
        '"ImagePullBackOff"',
    ),
    "a pod that is not Ready": (
        serving(node(), pod(False)),
        f"host h1 has no network since {SINCE}: pod p1 on DPU d1 is not Ready",
    ),
    "no pod": (
        serving(node()),
        f"host h1 has no network since {spelled(NOW)}: no ovnkube-node pod runs on DPU d1",
    ),
    "a pod that has read no entry": (
        serving(node(), pod(), idle="u1"),
        f"host h1 has no network since {spelled(NOW)}: no ovnkube-node pod runs on DPU d1",
    ),
    "a pod that ends": (
        serving(node(), pod(deletionTimestamp=SINCE)),
        f"host h1 has no network since {spelled(NOW)}: no ovnkube-node pod runs on DPU d1",
    ),
}


@pytest.mark.parametrize(("seen", "words"), CASES.values(), ids=CASES.keys())
def test_the_host_since_when_and_why_are_named(seen: Serving, words: str | None) -> None:
    found = find_outage(seen, NOW)
    assert (None if found is None else found.words) == words


def test_node_and_pod_have_failed_since_the_first_of_both() -> None:
    found = find_outage(serving(node(False), pod(False, OLD, spelled(NOW - 900))), NOW)
    assert found is not None
    assert (found.since, "DPU node" in found.cause) == (NOW - 900, True)


def test_a_clock_that_is_ahead_of_ours_makes_no_outage_begin_later_than_now() -> None:
    found = find_outage(serving(node(False, lastTransitionTime=spelled(NOW + 500)), pod()), NOW)
    assert found is not None
    assert found.since == NOW


TOLD: dict[str, tuple[Serving, int]] = {
    "the node, at once": (serving(node(False), pod()), NOW),
    "a pod that was Ready, at once": (serving(node(), pod(False)), NOW),
    "a new pod, once it takes long": (
        serving(node(), pod(False, spelled(NOW - 20), spelled(NOW - 20))),
        NOW - 20 + STARTING_SECONDS,
    ),
    "a new pod that crashes, at once": (serving(node(), pod(False, spelled(NOW), spelled(NOW), crashed())), NOW),
    "no pod, once it takes long": (serving(node()), NOW + STARTING_SECONDS),
}


@pytest.mark.parametrize(("seen", "told_from"), TOLD.values(), ids=TOLD.keys())
def test_a_pod_that_is_replaced_is_given_time(seen: Serving, told_from: int) -> None:
    found = find_outage(seen, NOW)
    assert found is not None
    assert found.told_from == told_from
    assert found.is_told(told_from)
    assert not found.is_told(told_from - 1)


def test_a_pod_that_is_made_anew_again_and_again_is_one_outage() -> None:
    first = find_outage(serving(node()), NOW)
    new = pod(False, spelled(NOW + 100), spelled(NOW + 100))
    found = find_outage(serving(node(), new), NOW + 119, first)
    assert found is not None
    assert (found.since, found.is_told(NOW + 119), found.is_told(NOW + 120)) == (NOW, False, True)


def test_an_outage_whose_beginning_infra_shows_is_no_older_than_that() -> None:
    before = find_outage(serving(node(False, lastTransitionTime=spelled(NOW - 900)), pod()), NOW)
    found = find_outage(serving(node(False), pod()), NOW, before)
    assert found is not None
    assert found.since == NOW - 600


@pytest.mark.parametrize("text", [None, 7, "", "yesterday", "2026-01-01T00:00:00", "9" * 99, {}])
def test_a_time_that_is_none_counts_as_now(text: Any) -> None:
    found = find_outage(serving(node(False, lastTransitionTime=text), pod()), NOW)
    assert found is not None
    assert found.since == NOW


@pytest.mark.parametrize(
    ("lost", "ready", "disrupted"),
    [
        (0, 5, False),
        (1, 0, True),
        (2, 0, True),
        (1, 1, False),
        (2, 4, False),
        (3, 6, True),
        (3, 7, False),
        (4, 8, True),
    ],
)
def test_infra_itself_is_suspect_once_many_of_its_nodes_are_not_ready(lost: int, ready: int, disrupted: bool) -> None:
    assert is_disrupted([*(node(False) for _ in range(lost)), *(node() for _ in range(ready))]) is disrupted


def test_a_moment_that_no_calendar_has_is_spelled_all_the_same() -> None:
    assert spelled(10**18) == "long ago"
