"""Which DpuClusterConfigs are served, and why the others are not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dpunetop.domain.types import DpuClusterConfig

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FOREIGN_POOLS = ("master", "worker")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why nothing is done for a DpuClusterConfig; both members are made for its condition."""

    reason: str
    message: str


def refusal(config: DpuClusterConfig, others: Iterable[DpuClusterConfig]) -> Refused | None:
    """Why `config` is not served, or None. `others` are all DpuClusterConfigs that the operator sees.

    Guarantees: of several that claim one namespace or one pool exactly one is served: the oldest, a terminating one
        too until it is gone.
    """
    rivals = [other for other in others if other.uid != config.uid]
    return _reserved(config) or _bad_pool(config) or _younger(config, rivals)


def _reserved(config: DpuClusterConfig) -> Refused | None:
    if config.namespace == "openshift-ovn-kubernetes" or config.namespace.startswith("kube-"):
        return Refused(
            "ReservedNamespace",
            f"namespace {config.namespace} belongs to the infra cluster's own network; "
            "create the DpuClusterConfig in a namespace of its own",
        )
    return None


def _bad_pool(config: DpuClusterConfig) -> Refused | None:
    if config.pool_name in _FOREIGN_POOLS:
        return Refused(
            "PoolNameReserved", f"spec.poolName: {config.pool_name} is a pool of the platform; name a new one"
        )
    if not _DNS_LABEL.fullmatch(config.pool_name):
        return Refused("PoolNameInvalid", f"spec.poolName: {config.pool_name[:63]!r} is not a DNS label")
    return None


def _younger(config: DpuClusterConfig, rivals: list[DpuClusterConfig]) -> Refused | None:
    for rival in sorted(rivals, key=_age):
        if _age(rival) > _age(config):
            return None
        if rival.namespace == config.namespace:
            return Refused(
                "NamespaceTaken", f"{rival.name} in this namespace is older and is served; use one namespace each"
            )
        if rival.pool_name == config.pool_name:
            where = f"{rival.namespace}/{rival.name}"
            return Refused(
                "PoolTaken", f"pool {config.pool_name} belongs to {where}, which is older; name another pool"
            )
    return None


def _age(config: DpuClusterConfig) -> tuple[str, str, str]:
    created = config.live["metadata"].get("creationTimestamp", "")
    return str(created), config.namespace, config.name
