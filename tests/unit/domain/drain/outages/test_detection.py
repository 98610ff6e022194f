"""Since when and why a host has no network, as infra shows the DPU that serves it."""

from __future__ import annotations

from dataclasses import replace
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
def test_an_invalid_time_counts_as_now(text: Any) -> None:
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


@pytest.mark.parametrize("seconds", [-(10**13), 10**13, 10**30])
def test_a_moment_is_spelled_whatever_number_it_is(seconds: int) -> None:
    assert spelled(seconds) == "long ago"


# --- which container, and which of its words --------------------------------------------------------------------------


def container(**state: Any) -> dict[str, Any]:
    return {"name": "c", "ready": False, **state}


def terminated(**said: Any) -> dict[str, Any]:
    return {"terminated": said}


RUNS: dict[str, Any] = {"name": "runs", "ready": True, "lastState": terminated(reason="OOMKilled", exitCode=137)}
WORDS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "nothing is said": ([], ""),
    "it has ended": ([container(state=terminated(reason="OOMKilled", exitCode=137))], '"OOMKilled", exit code 137'),
    "it had ended, and waits": (
        [
            container(
                state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState=terminated(reason="Error", exitCode=2)
            )
        ],
        '"Error", exit code 2',
    ),
    "how it ended now says more than how it did before": (
        [container(state=terminated(reason="Error", exitCode=2), lastState=terminated(reason="Old", exitCode=1))],
        '"Error", exit code 2',
    ),
    "it has ended without a word": ([container(state=terminated(exitCode=0))], '"Error", exit code 0'),
    "it has ended without a number": ([container(state=terminated(reason="Gone", exitCode="x"))], '"Gone"'),
    "one that runs ended before": (
        [RUNS, container(state=terminated(reason="Error", exitCode=2))],
        '"Error", exit code 2',
    ),
}


@pytest.mark.parametrize(("containers", "words"), WORDS.values(), ids=WORDS.keys())
def test_the_container_that_is_in_the_way_is_told_with_how_it_ended(
    containers: list[dict[str, Any]], words: str
) -> None:
    found = find_outage(serving(node(), pod(False, OLD, SINCE, *containers)), NOW)
    assert found is not None
    ended = f': container "c" ended with {words}' if words else ""
    assert found.cause == f"pod p1 on DPU d1 is not Ready{ended}"


def test_a_container_that_waits_is_told_unless_it_runs() -> None:
    runs = {**waiting("ContainerCreating"), "name": "runs", "ready": True}
    for containers, words in (([runs, waiting("CreateContainerError")], "nbdb"), ([runs], "")):
        found = find_outage(serving(node(), pod(False, OLD, SINCE, *containers)), NOW)
        assert found is not None
        assert found.cause.endswith(f'"{words}" waits: "CreateContainerError"' if words else "is not Ready")


def test_without_a_container_the_condition_says_why_and_its_words_are_short() -> None:
    given = pod(False)
    given["status"]["conditions"][0] |= {"reason": "ReadinessGatesNotReady", "message": "x" * 101}
    found = find_outage(serving(node(), given), NOW)
    assert found is not None
    assert found.cause.startswith('pod p1 on DPU d1 is not Ready ("ReadinessGatesNotReady": "xxx')
    assert "x" * 101 not in found.cause
    given["status"]["conditions"][0]["message"] = "y" * 100
    found = find_outage(serving(node(), given), NOW)
    assert found is not None
    assert f'"{"y" * 100}"' in found.cause


def test_of_a_node_and_a_pod_without_conditions_nothing_is_said_but_that_they_are_not_ready() -> None:
    bare = {"metadata": {"name": "p1", "uid": "u1", "creationTimestamp": OLD}, "status": {"phase": "Pending"}}
    found = find_outage(serving(node(), bare), NOW)
    assert found is not None
    assert (found.cause, found.since, found.is_dated) == ("pod p1 on DPU d1 is not Ready", NOW - 86_400, False)
    found = find_outage(serving({"metadata": {"name": "d1"}, "status": {}}, pod()), NOW)
    assert found is not None
    assert (found.cause, found.since) == ("DPU node d1 is not Ready", NOW)


# --- whether infra shows since when -----------------------------------------------------------------------------------

NEW = spelled(NOW - STARTING_SECONDS)
DATED: dict[str, tuple[Serving, bool]] = {
    "the node": (serving(node(False), pod()), True),
    "the node is gone": (serving(None, pod()), False),
    "a pod that was Ready": (serving(node(), pod(False)), True),
    "a pod that was never Ready": (serving(node(), pod(False, SINCE, SINCE)), False),
    "a pod that failed as soon as it counts": (serving(node(), pod(False, NEW, spelled(NOW))), True),
    "a pod that failed a second before": (serving(node(), pod(False, NEW, spelled(NOW - 1))), False),
    "no pod": (serving(node()), False),
    "the node, and a pod that was Ready": (serving(node(False), pod(False)), True),
    "the node, and no pod": (serving(node(False)), True),
    "the node is gone, and a pod that was Ready": (serving(None, pod(False)), False),
}


@pytest.mark.parametrize(("seen", "is_dated"), DATED.values(), ids=DATED.keys())
def test_an_outage_goes_on_from_the_one_before_unless_infra_shows_since_when(seen: Serving, is_dated: bool) -> None:
    alone = find_outage(seen, NOW)
    assert alone is not None
    assert alone.is_dated is is_dated
    before = replace(alone, since=NOW - 5000, told_from=NOW - 4000)
    found = find_outage(seen, NOW, before)
    assert found is not None
    assert (found.since, found.told_from) == ((alone.since, alone.told_from) if is_dated else (NOW - 5000, NOW - 4000))
    of_another = find_outage(seen, NOW, replace(before, dpu="d2"))
    assert of_another == alone


def test_a_pod_that_never_was_ready_makes_the_outage_of_its_node_no_older() -> None:
    found = find_outage(serving(node(False), pod(False, spelled(NOW - 900), spelled(NOW - 900))), NOW)
    assert found is not None
    assert found.since == NOW - 600


def test_a_new_pod_of_which_one_container_had_failed_and_runs_now_is_given_time() -> None:
    found = find_outage(serving(node(), pod(False, spelled(NOW), spelled(NOW), RUNS)), NOW)
    assert found is not None
    assert found.told_from == NOW + STARTING_SECONDS
