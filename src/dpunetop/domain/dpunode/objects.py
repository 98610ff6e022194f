"""The object `DpuNode`: how it is made, its status, and the part of it that a cache keeps.

A cache keeps only what the next write needs; otherwise thousands of them would cost as much as their Nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dpunetop.base import jsonio
from dpunetop.domain.clusterconfig.types import DpuClusterConfig
from dpunetop.domain.dpunode.status import DpuNodeStatus, DrainStep, DrainTimes
from dpunetop.domain.drain.model.times import as_seconds, as_time
from dpunetop.domain.names import DPUCLUSTERCONFIGS, DPUNODES, OWNER_LABEL, field_manager
from dpunetop.domain.reasons import DPU_NODE_CONDITIONS
from dpunetop.kube.conditions import Condition
from dpunetop.kube.meta import Obj, labels_of, new_object, owner_reference
from dpunetop.kube.shapes import at, mappings

MANAGER = field_manager("dpunodes")
_SAID, _OWNER = "said", "ownerUID"
_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")

_TYPES = tuple(DPU_NODE_CONDITIONS)
_NUMBERS = {type_: number for number, type_ in enumerate(_TYPES)}

LastDrain = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """The stored status of a `DpuNode`: the digest by which it is compared, and the times that are kept."""

    digest: str
    phase: str
    since: str
    transitions: Mapping[str, tuple[str, str]]
    """By type of condition: its status, and since when."""
    last_drain: LastDrain


NOTHING = StoredStatus("", "", "", {}, {})


def new_dpu_node(config: DpuClusterConfig, owner: str, dpu: str) -> Obj:
    """The object without its status. It ends with its DpuClusterConfig; `owner` is the value of the owner label."""
    obj = new_object(DPUNODES, config.namespace, dpu)
    obj["metadata"]["labels"] = {OWNER_LABEL: owner}
    obj["metadata"]["ownerReferences"] = [owner_reference(DPUCLUSTERCONFIGS, config.live)]
    return obj


def rendered(wanted: DpuNodeStatus, before: StoredStatus, now: int) -> dict[str, Any]:
    """The status to store; a time is kept as long as the state that it dates.

    Guarantees: equal arguments give equal values; empty members are left out.
    """
    time = as_time(now)
    last_drain = _last_drain(wanted.drain, before.last_drain, now)
    return {
        "phase": str(wanted.phase),
        "since": before.since if before.phase == wanted.phase and before.since else time,
        "reason": wanted.reason,
        "conditions": [_stamped(each, before, time) for each in sorted(wanted.conditions, key=lambda c: c.type)],
        **({"host": wanted.host} if wanted.host else {}),
        **({"message": wanted.message} if wanted.message else {}),
        **({"ovnImage": wanted.ovn_image} if wanted.ovn_image else {}),
        **({"machineConfig": wanted.machine_config} if wanted.machine_config else {}),
        **({"lastDrain": dict(last_drain)} if last_drain else {}),
    }


def digest(status: Mapping[str, Any]) -> str:
    """Equal for two statuses that differ only in times."""
    shown = {name: value for name, value in status.items() if name not in ("since", "lastDrain")}
    found = [
        {k: v for k, v in each.items() if k != "lastTransitionTime"} for each in mappings(status.get("conditions"))
    ]
    return jsonio.digest({**shown, "conditions": found})


def stands(status: Mapping[str, Any], before: StoredStatus) -> bool:
    """Whether the object has that status already."""
    return digest(status) == before.digest and status.get("lastDrain", {}) == before.last_drain


# --- what a cache keeps -----------------------------------------------------------------------------------------------


def kept(obj: dict[str, Any]) -> dict[str, Any]:
    """The part of a `DpuNode` that a cache keeps: identity, owner, and the status as text."""
    metadata = obj["metadata"]
    found: dict[str, Any] = {name: obj[name] for name in ("apiVersion", "kind") if name in obj}
    found["metadata"] = {name: metadata[name] for name in _IDENTITY if name in metadata}
    found[_OWNER] = _same(written_for(obj))
    found[_SAID] = _packed(obj.get("status") if isinstance(obj.get("status"), Mapping) else {})
    return found


def owner_uid(obj: Obj) -> str:
    """UID of the DpuClusterConfig for which we have made it, from a cached object; empty: we have not made it."""
    return str(obj.get(_OWNER, ""))


def said(obj: Obj | None) -> StoredStatus:
    """The stored status, from a cached object."""
    if obj is None or not obj.get(_SAID):
        return NOTHING
    found, phase, since, states, last_drain = jsonio.loads(obj[_SAID])
    transitions = {_type(each): (status, time) for status, time, types in states for each in types}
    return StoredStatus(found, phase, since, transitions, last_drain)


def _type(number: int | str) -> str:
    return number if isinstance(number, str) else _TYPES[number]


def _packed(status: Any) -> str:
    if not status:
        return ""
    states: dict[tuple[str, str], list[int | str]] = {}  # most conditions changed at the same moment
    for each in mappings(status.get("conditions")):
        state, type_ = (str(each.get("status")), str(each.get("lastTransitionTime"))), str(each.get("type"))
        states.setdefault(state, []).append(_NUMBERS.get(type_, type_))
    last_drain = at(status, "lastDrain")
    texts = digest(status), str(status.get("phase", "")), str(status.get("since", ""))
    packed = [[*state, types] for state, types in states.items()]
    return jsonio.dumps([*texts, packed, last_drain if isinstance(last_drain, Mapping) else {}]).decode()


def written_for(obj: Obj) -> str:
    """UID of the DpuClusterConfig for which we have made it, from the full object; empty: we have not made it. Copied
    labels and references do not count: only we apply with our field manager."""
    managers = (each.get("manager") for each in mappings(at(obj, "metadata", "managedFields")))
    if OWNER_LABEL not in labels_of(obj) or MANAGER not in managers:
        return ""
    references = mappings(at(obj, "metadata", "ownerReferences"))
    return next((str(each.get("uid")) for each in references if each.get("kind") == DPUCLUSTERCONFIGS.kind), "")


@lru_cache(1024)
def _same(text: str) -> str:
    """One object for all equal values."""
    return text


# --- times ------------------------------------------------------------------------------------------------------------


def _stamped(condition: Condition, before: StoredStatus, time: str) -> dict[str, str]:
    status, since = before.transitions.get(condition.type, ("", ""))
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": since if status == condition.status and since else time,
    }


def _last_drain(seen: DrainTimes | None, before: LastDrain, now: int) -> LastDrain:
    """The drain that runs or was seen last; one that ended unseen ends at the time of this pass."""
    if seen is not None and seen.wanted:
        return _steps(seen)
    if not before or "endedAt" in before:
        return before
    return {**before, "endedAt": as_time(max(now, as_seconds(before.get("startedAt"))))}


STEP_FIELDS = {
    DrainStep.WAITING: "waitingSeconds",
    DrainStep.HOST_DRAIN: "hostDrainSeconds",
    DrainStep.DPU_DRAIN: "dpuDrainSeconds",
    DrainStep.VERIFYING: "verifyingSeconds",
}
"""The fields of `lastDrain`, in the order of a drain's steps."""


def _steps(drain: DrainTimes) -> dict[str, Any]:
    found: dict[str, Any] = {"startedAt": as_time(drain.wanted)}
    found |= {STEP_FIELDS[step]: seconds for step, seconds in drain.steps.items()}
    return found | ({"endedAt": as_time(max(drain.ended, drain.wanted))} if drain.ended else {})
