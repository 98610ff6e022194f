"""Why pods do not come to run, as the objects say it that exist all the same."""

from __future__ import annotations

from typing import Any

import pytest

from dpunetop.domain.ovnkube.notrunning import why_not_running, why_pod_waits, why_refused
from dpunetop.runtime.cache.transform import bare_pod, own_spec


def pod(*containers: dict[str, Any], **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {}, "status": {"containerStatuses": list(containers), **status}}


def waits(reason: str, message: str = "why") -> dict[str, Any]:
    return {"name": "c", "ready": False, "state": {"waiting": {"reason": reason, "message": message}}}


WAITS = {
    "an image that cannot be pulled": (pod(waits("ErrImagePull")), 'pod p, container c: ErrImagePull: "why"'),
    "one whose pulls are spaced": (pod(waits("ImagePullBackOff")), 'pod p, container c: ImagePullBackOff: "why"'),
    "a bad configuration": (
        pod(waits("CreateContainerConfigError")),
        'pod p, container c: CreateContainerConfigError: "why"',
    ),
    "no room": (
        pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "Insufficient cpu"}]),
        'pod p finds no room: "Insufficient cpu"',
    ),
    "the second container": (pod({"name": "a"}, waits("ErrImagePull", "")), "pod p, container c: ErrImagePull"),
    "what comes by itself": (pod(waits("ContainerCreating"), waits("PodInitializing")), ""),
    "nothing": (pod({"name": "c", "ready": True}), ""),
}


@pytest.mark.parametrize(("given", "why"), WAITS.values(), ids=WAITS.keys())
def test_a_pod_says_why_it_waits_also_as_the_cache_keeps_it(given: dict[str, Any], why: str) -> None:
    assert why_pod_waits(given) == why
    assert why_pod_waits(bare_pod(())(given)) == why


def test_a_deployment_says_who_refuses_its_pods_also_as_the_cache_keeps_it() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: q"}
    deployment = {"metadata": {"name": "d"}, "spec": {}, "status": {"replicas": 0, "conditions": [failure]}}
    kept = own_spec()({**deployment, "metadata": {"name": "d"}})
    assert why_not_running(deployment, ()) == 'the API server refuses its pod: "exceeded quota: q"'
    assert why_not_running(kept, ()) == why_not_running(deployment, ())
    assert why_not_running(None, ()) == ""


def test_of_the_events_about_refused_pods_the_newest_counts() -> None:
    events = [
        {"reason": "FailedCreate", "note": "older", "eventTime": "2026-01-01T00:00:00.000000Z"},
        {"reason": "FailedCreate", "note": "forbidden by SCC", "deprecatedLastTimestamp": "2026-01-02T00:00:00Z"},
        {"reason": "SuccessfulCreate", "note": "made", "eventTime": "2026-01-03T00:00:00.000000Z"},
    ]
    assert why_refused(events) == '"forbidden by SCC"'
    assert why_refused(()) == ""


def test_what_strangers_say_is_bounded_and_plain() -> None:
    assert len(why_pod_waits(pod(waits("x\x1b" * 500, "\u202e" * 5000)))) < 400
    assert why_pod_waits(pod(waits("x\x1b" * 500, "\x1b" * 5000))).isprintable()
