"""Why containers wait and do not serve: read from the message with which their entry script ended.

An entry script that must wait ends once with a message whose first line is for the operator: a word and names of
options (hold_until in assets/ovnkube/entry.sh). A pod's image may come from a tenant, so only words that are listed
here and names of the form of an option are read; everything else is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from dpunetop.base.quoting import quoted
from dpunetop.kube.meta import Obj, name_of

_PREFIX = "dpunetop: "
_MOST_OPTIONS = 10
_OPTION = re.compile(r"--[a-z0-9][a-z0-9-]{0,60}")


class Cause(StrEnum):
    """Why a container waits; the value is the word in its message, and the reason of the condition."""

    OPTIONS_MISSING = "OptionsMissing"
    OPTIONS_UNKNOWN = "OptionsUnknown"
    MANAGEMENT_PORT_UNKNOWN = "ManagementPortUnknown"
    OPEN_VSWITCH_AWAY = "OpenVSwitchAway"


@dataclass(frozen=True, slots=True)
class WaitingContainer:
    """One container that waits."""

    cause: Cause
    pod: str
    container: str
    options: tuple[str, ...]
    """The first ten options that its image's ovnkube lacks."""

    def sentence(self, dpu: str, host: str) -> str:
        """Why `dpu` does not serve `host`, and what to do about it."""
        where = f"DPU {dpu} cannot serve host {host}: pod {self.pod}, container {self.container}: "
        match self.cause:
            case Cause.OPTIONS_MISSING:
                lacks = " and ".join(quoted(option, 64) for option in self.options)
                return f"{where}ovnkube of its image does not know {lacks}; set spec.image to one that does"
            case Cause.OPTIONS_UNKNOWN:
                words = "ovnkube of its image does not tell its options; set spec.image to one of OVN-Kubernetes"
                return f"{where}{words}, for the architecture of the DPU"
            case Cause.MANAGEMENT_PORT_UNKNOWN:
                words = "ovnkube of its image is from before May 2023 and wants the name of the representor"
                do = "set external_ids:dpunetop-mgmt-port-netdev of Open vSwitch there, or spec.image to a newer one"
                return f"{where}{words} of the management port on the DPU; {do}"
            case Cause.OPEN_VSWITCH_AWAY:
                words = "Open vSwitch did not answer; look at ovsdb-server and ovs-vswitchd on the DPU"
                return f"{where}{words}, the pod goes on by itself"
        assert_never(self.cause)


def held_up(pod: Obj) -> WaitingContainer | None:
    """The first container of `pod` that is not Ready and whose last end had a message of ours, if there is one."""
    found = (_of_container(pod, status) for status in _mappings((pod.get("status") or {}).get("containerStatuses")))
    return next((held for held in found if held is not None), None)


def _of_container(pod: Obj, status: Mapping[str, Any]) -> WaitingContainer | None:
    ends = (_mapping(_mapping(status.get(state)).get("terminated")) for state in ("state", "lastState"))
    said = next((end.get("message") for end in ends if end), None)
    line = said.partition("\n")[0] if isinstance(said, str) else ""
    if status.get("ready") or not line.startswith(_PREFIX):
        return None
    word, *options = line.removeprefix(_PREFIX).split(" ")[: _MOST_OPTIONS + 1]
    if word not in set(Cause) or not all(_OPTION.fullmatch(option) for option in options):
        return None
    return WaitingContainer(Cause(word), name_of(pod), str(status.get("name")), tuple(options))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return (each for each in value if isinstance(each, Mapping)) if isinstance(value, list) else ()
