"""Which DpuClusterConfigs are served, and why the others are not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from dpunetop.domain.types import DpuClusterConfig, Refused, parse_config
from dpunetop.kube.meta import Obj

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FOREIGN_POOLS = ("master", "worker")


def pool_claimed(obj: Obj) -> str:
    """The pool that a DpuClusterConfig claims."""
    return parse_config(obj).pool_name


def admit(objects: Iterable[Obj]) -> list[DpuClusterConfig]:
    """Read DpuClusterConfigs, each with all that share its namespace or its pool, and judge which of them are served.

    Guarantees: of several that claim one namespace or one pool exactly one is served: the oldest, a terminating one
        too until it is gone. Those of them that are refused for themselves claim nothing.
    """
    configs = [replace(config, refused=_reserved(config) or _bad_pool(config)) for config in map(parse_config, objects)]
    rivals = [config for config in configs if config.refused is None]
    return [replace(config, refused=config.refused or _younger(config, rivals)) for config in configs]


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
    for rival in sorted(rivals, key=age):
        if age(rival) >= age(config):
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


def age(config: DpuClusterConfig) -> tuple[str, str, str]:
    """What the older of two is the smaller by."""
    created = config.live["metadata"].get("creationTimestamp", "")
    return str(created), config.namespace, config.name
