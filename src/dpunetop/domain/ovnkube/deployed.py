"""The settings with which the DPUs run now, read from the live DaemonSet; and whether they renew the Lease that their
hosts watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from dpunetop.domain.names import OVNKUBE_CONTROLLER
from dpunetop.domain.ovnkube.release import Flavour, Release, variables
from dpunetop.kube.meta import Obj

FIRST_WITH_LEASE = (4, 23)
"""From this release of OpenShift on hosts watch a Lease that their DPU renews."""
LEASE_OPTIONS = ("dpu-node-lease-renew-interval", "dpu-node-lease-duration")


@dataclass(frozen=True, slots=True)
class Deployed:
    """The settings with which the DPUs run now: they stay where the tenant's own cannot be read."""

    arguments: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


def deployed_settings(live: Obj | None) -> Deployed:
    """The settings with which our live DaemonSet was written."""
    found = {name: text for name, each in variables(live).items() if isinstance(text := each.get("value"), str)}
    return Deployed(deployed_arguments(live), found)


def deployed_arguments(live: Obj | None) -> tuple[str, ...]:
    """The options in our live DaemonSet: those deployed last."""
    spec = ((live or {}).get("spec") or {}).get("template", {}).get("spec") or {}
    for container in spec.get("containers") or []:
        if container.get("name") == OVNKUBE_CONTROLLER:
            return tuple(container.get("args") or ())
    return ()


class Renewal(Enum):
    """Whether DPUs renew the Lease that their hosts watch, by the options they were given."""

    NEVER = auto()
    """Their options say not to."""
    ALWAYS = auto()
    """Their options say how often."""
    UNKNOWN = auto()
    """Their options say nothing, so their release decides."""


def deployed_renewal(live: Obj | None) -> Renewal:
    """The options about Leases in our live DaemonSet."""
    option = f"--{LEASE_OPTIONS[0]}="
    said = [text.removeprefix(option) for text in deployed_arguments(live) if text.startswith(option)]
    if not said:
        return Renewal.UNKNOWN
    return Renewal.NEVER if said == ["0"] else Renewal.ALWAYS


def is_without_leases(release: Release | None) -> bool:
    """Whether hosts of that release are known to watch no Lease, unless their DPUs are told to renew one."""
    return release is not None and release.flavour is Flavour.OPENSHIFT and release.version < FIRST_WITH_LEASE
