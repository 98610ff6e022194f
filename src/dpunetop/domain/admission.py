"""Which DpuClusterConfigs are served, and why the others are not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from dpunetop.domain.types import DpuClusterConfig, Refused, parse_config
from dpunetop.kube.meta import Obj

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAMESPACE_NOT_SERVED = "NamespaceNotServed"
"""Reason why a DpuClusterConfig gets nothing, not even a finalizer."""
_FOREIGN_POOLS = ("master", "worker")


def pool_claimed(obj: Obj) -> str:
    """The pool that a DpuClusterConfig claims."""
    return parse_config(obj).pool_name


def admit(objects: Iterable[Obj], has_rights: Callable[[str], bool] = lambda _: True) -> list[DpuClusterConfig]:
    """Read DpuClusterConfigs, each with all that share its namespace or its pool, and judge which of them are served.

    `has_rights` says of a namespace whether the operator was given rights there.
    Guarantees: of several that claim one namespace or one pool exactly one is served: one that was served before, else
        the oldest, a terminating one too until it is gone. Those of them that are refused for themselves claim
        nothing; one that was served before is not refused for rights that are gone. What it costs grows with their
        number, and no faster: strangers may make as many as they like.
    """

    def refusal(config: DpuClusterConfig) -> Refused | None:
        return _reserved(config) or _bad_pool(config) or _without_rights(config, has_rights)

    configs = [replace(config, refused=refusal(config)) for config in map(parse_config, objects)]
    rivals = [config for config in configs if config.refused is None]
    namespaces = _first(rivals, lambda config: config.namespace)
    pools = _first(rivals, lambda config: config.pool_name)
    return [replace(config, refused=config.refused or _younger(config, namespaces, pools)) for config in configs]


def _first(
    rivals: Iterable[DpuClusterConfig], claim: Callable[[DpuClusterConfig], str]
) -> Mapping[str, DpuClusterConfig]:
    """Who comes first of those with one claim."""
    found: dict[str, DpuClusterConfig] = {}
    for rival in rivals:
        former = found.setdefault(claim(rival), rival)
        if _rank(rival) < _rank(former):
            found[claim(rival)] = rival
    return found


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


def _younger(
    config: DpuClusterConfig, namespaces: Mapping[str, DpuClusterConfig], pools: Mapping[str, DpuClusterConfig]
) -> Refused | None:
    """The first of those that are in the way is told."""
    claimants = (namespaces.get(config.namespace, config), pools.get(config.pool_name, config))
    rival = min(claimants, key=_rank)
    if _rank(rival) >= _rank(config):
        return None
    is_older = age(rival) < age(config)
    if rival.namespace == config.namespace:
        what = "is older and is served" if is_older else "is served already"
        return Refused("NamespaceTaken", f"{rival.name} in this namespace {what}; use one namespace each")
    where, what = f"{rival.namespace}/{rival.name}", "is older" if is_older else "is served already"
    return Refused("PoolTaken", f"pool {config.pool_name} belongs to {where}, which {what}; name another pool")


def _without_rights(config: DpuClusterConfig, has_rights: Callable[[str], bool]) -> Refused | None:
    if config.has_finalizer or has_rights(config.namespace):
        return None
    return Refused(
        NAMESPACE_NOT_SERVED,
        f"the operator has no rights in namespace {config.namespace}: an administrator of this cluster gives them with "
        "config/tenant-namespace; that is looked at once a minute",
    )


def _rank(config: DpuClusterConfig) -> tuple[bool, tuple[str, str, str]]:
    """Whoever was served before one that was not, however old."""
    return not config.has_finalizer, age(config)


def age(config: DpuClusterConfig) -> tuple[str, str, str]:
    """What the older of two is the smaller by."""
    created = config.live["metadata"].get("creationTimestamp", "")
    return str(created), config.namespace, config.name
