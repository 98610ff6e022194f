"""Why pods do not run: the API server refuses them, no node takes them, or their containers cannot start.

Sources, in pkg/controller of Kubernetes: a ReplicaSet that may not make a pod says so in its condition `ReplicaFailure`
(replicaset/replica_set_utils.go), which its Deployment repeats (deployment/progress.go); a DaemonSet has no such
condition and says it in Events with reason `FailedCreate` alone (controller_utils.go). A pod without a node has
`PodScheduled` False; the status of a container says what it waits for.

An image that is not built for a machine is refused when it is pulled, or its programs are when they start. The words
are those of containers/image (internal/manifest: "no image found in manifest list for architecture", of an OCI index
"in image index"), containerd (core/images: "no match for platform in manifest"), Docker, and the kernel (ENOEXEC).
CRI-O pulls an image without a list whatever it is built for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dpunetop.base.quoting import named, sentence
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.meta import Obj, is_terminating, name_of
from dpunetop.kube.shapes import at, mappings

OTHER_MACHINE = "its image is not built for this machine, so name one that is"
_OTHER_MACHINE = re.compile(
    r"exec format error|no match for platform in manifest|no matching manifest for \w"
    r"|no image found in (?:manifest list|image index) for architecture",
    re.IGNORECASE,
)
_LONGEST = 4096
"""So many characters of a message of a container are searched, as many as a kubelet keeps of its log."""
_USUAL_WAITS = ("", "ContainerCreating", "PodInitializing")
FAILED_CREATE = "FailedCreate"
"""Reason of Events about pods that the API server does not take: Pod Security, SecurityContextConstraints, quota."""


def why_not_running(deployment: Obj | None, pods: Iterable[Obj]) -> str:
    """Why no pod of a Deployment runs, in one line; empty: nothing is known to be in the way."""
    found = (why_pod_waits(pod) for pod in sorted(pods, key=name_of))
    return _not_made(deployment) or next((why for why in found if why), "")


def why_pod_waits(pod: Obj) -> str:
    """What keeps one pod from running, in one line; empty: nothing, or only what passes by itself."""
    if is_terminating(pod):
        return ""
    where = f"pod {named(name_of(pod))}"
    if built := why_other_machine(pod):
        return built
    placed = condition_of(pod, "PodScheduled") or {}
    if placed.get("status") == "False":
        return f"{where} finds no room: {sentence(str(placed.get('message') or placed.get('reason') or ''))}"
    for status in mappings(at(pod, "status", "containerStatuses")):
        waits = at(status, "state", "waiting")
        reason = str(at(waits, "reason") or "")
        if reason not in _USUAL_WAITS:
            return f"{where}, container {named(str(status.get('name')))}: {named_reason(reason)}{_said(waits)}"
    return ""


def why_other_machine(pod: Obj, image: str = "") -> str:
    """What shows that an image of a pod, or `image` alone, is not built for the machine of its node; empty: nothing."""
    for status in container_statuses(pod):
        said = next((each for each in _messages(status) if tells_other_machine(each)), None)
        if said is not None and image in ("", image_of(pod, status)):
            where = f"pod {named(name_of(pod))}, container {named(str(status.get('name')))}"
            return f"{where}: {OTHER_MACHINE}: {sentence(_around(said))}"
    return ""


def tells_other_machine(message: object) -> bool:
    """Whether the message of a container tells that its image is not built for the machine."""
    return isinstance(message, str) and _OTHER_MACHINE.search(message[:_LONGEST]) is not None


def _around(said: str) -> str:
    """The part of a message that tells it, since what is quoted is short."""
    found = _OTHER_MACHINE.search(said[:_LONGEST])
    return said if found is None or found.end() < 200 else said[found.start() :]


def _messages(status: Mapping[str, Any]) -> Iterator[str]:
    """What is said of a container that is not Ready, by the kubelet and by itself when it ended last."""
    if status.get("ready"):
        return
    for state, kind in (("state", "waiting"), ("state", "terminated"), ("lastState", "terminated")):
        said = at(status, state, kind, "message")
        if isinstance(said, str):
            yield said


def container_statuses(pod: Obj) -> Iterator[Mapping[str, Any]]:
    """The statuses of all containers of a pod."""
    for kind in ("initContainerStatuses", "containerStatuses"):
        yield from mappings(at(pod, "status", kind))


def image_of(pod: Obj, status: Mapping[str, Any]) -> str:
    """The image of a container as its pod asks for it; the status names it otherwise, as by its digest."""
    kinds = ("initContainers", "containers")
    asked = (
        each for kind in kinds for each in mappings(at(pod, "spec", kind)) if each.get("name") == status.get("name")
    )
    return next((str(each.get("image")) for each in asked), str(status.get("image")))


def named_reason(reason: str) -> str:
    """A reason from the kubelet, or from any writer of the pod's status; bounded."""
    return reason if reason.isascii() and reason.isalpha() and len(reason) <= 40 else sentence(reason, 40)


def why_refused(events: Iterable[Obj]) -> str:
    """The newest refusal among Events about pods that could not be made; empty: none."""
    found = [event for event in events if event.get("reason") == FAILED_CREATE and event.get("note")]
    newest = max(found, key=_seen_at, default=None)
    return "" if newest is None else sentence(str(newest["note"]), 300)


def _not_made(deployment: Obj | None) -> str:
    said = {} if deployment is None else condition_of(deployment, "ReplicaFailure") or {}
    if said.get("status") != "True":
        return ""
    return f"the API server refuses its pod: {sentence(str(said.get('message') or said.get('reason') or ''), 300)}"


def _said(waits: object) -> str:
    message = at(waits, "message") if isinstance(waits, dict) else None
    return f": {sentence(str(message))}" if message else ""


def _seen_at(event: Obj) -> str:
    """Times of the API compare as text."""
    return str(
        at(event, "series", "lastObservedTime") or event.get("eventTime") or event.get("deprecatedLastTimestamp")
    )
