"""Which DpuClusterConfigs are served, and why the others are not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from dpunetop.domain.clusterconfig.types import ConfigRefused, DpuClusterConfig, parse_config
from dpunetop.kube.meta import Obj, namespace_of

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAMESPACE_NOT_SERVED = "NamespaceNotServed"
"""Reason why a DpuClusterConfig gets nothing, not even a finalizer."""
MOST_WAITING = 16
"""So many of one namespace that were never served are looked at, the oldest; one of them can be served."""
_RESERVED, _TOO_MANY = "ReservedNamespace", "TooManyInNamespace"
WITHOUT_RIGHTS = frozenset({NAMESPACE_NOT_SERVED, _RESERVED, _TOO_MANY})
"""Reasons of refusals that are told where the operator may have no rights, not even to write an Event."""
NEVER_SERVED = ConfigRefused("NeverServed", "it is not served yet")
"""What all but one controller make of a DpuClusterConfig that is not claimed to be served; it is not told."""
_FOREIGN_POOLS = ("master", "worker")


def claims(obj: Obj) -> tuple[str, str]:
    """What a DpuClusterConfig takes for itself alone: its namespace and its pool. No two kinds have one text."""
    return f"namespace/{namespace_of(obj)}", f"pool/{(obj.get('spec') or {}).get('poolName') or ''}"


def admit(objects: Iterable[Obj], has_rights: Callable[[str], bool] = lambda _: True) -> list[DpuClusterConfig]:
    """Read DpuClusterConfigs, each with all that share its namespace or its pool, and `judge` them."""
    return judge(list(map(parse_config, objects)), has_rights)


def judge(configs: list[DpuClusterConfig], has_rights: Callable[[str], bool]) -> list[DpuClusterConfig]:
    """Say of each, which is given with all that share its namespace or its pool, whether it is served.

    `has_rights` says of a namespace whether the operator was given rights there.
    Guarantees: of several that claim one namespace or one pool exactly one is served: one that was served before, else
        the oldest, a terminating one that was served too until it is gone. Those of them that are refused for
        themselves claim nothing; one that was served before is not refused for rights that are gone. What it costs
        grows with their number, and no faster: strangers may make as many as they like.
    """

    def alone(config: DpuClusterConfig) -> ConfigRefused | None:
        return hopeless(config) or _without_rights(config, has_rights) or _bad_pool(config)

    judged = [replace(config, refused=alone(config)) for config in configs]
    rivals = [config for config in judged if config.refused is None]
    namespaces = _first(rivals, lambda config: config.namespace)
    pools = _first(rivals, lambda config: config.pool_name)
    return [replace(config, refused=config.refused or _younger(config, namespaces, pools)) for config in judged]


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


def hopeless(config: DpuClusterConfig) -> ConfigRefused | None:
    """Why the rights need not be looked at; None: they must be."""
    if config.terminating and not config.was_served:
        return ConfigRefused("Terminating", "it was never served, so nothing is to be taken down")
    return _reserved(config)


def too_many(namespace: str) -> ConfigRefused:
    """Why one beyond the cap is not looked at."""
    return ConfigRefused(
        _TOO_MANY,
        f"of the DpuClusterConfigs in namespace {namespace} that are not served the oldest {MOST_WAITING} alone are "
        "looked at, and one can be served; delete those that are not needed",
    )


def _reserved(config: DpuClusterConfig) -> ConfigRefused | None:
    if config.namespace == "openshift-ovn-kubernetes" or config.namespace.startswith("kube-"):
        return ConfigRefused(
            _RESERVED,
            f"namespace {config.namespace} belongs to the infra cluster's own network; "
            "create the DpuClusterConfig in a namespace of its own",
        )
    return None


def _bad_pool(config: DpuClusterConfig) -> ConfigRefused | None:
    if config.pool_name in _FOREIGN_POOLS:
        return ConfigRefused(
            "PoolNameReserved", f"spec.poolName: {config.pool_name} is a pool of the platform; name a new one"
        )
    if not _DNS_LABEL.fullmatch(config.pool_name):
        return ConfigRefused("PoolNameInvalid", f"spec.poolName: {config.pool_name[:63]!r} is not a DNS label")
    return None


def _younger(
    config: DpuClusterConfig, namespaces: Mapping[str, DpuClusterConfig], pools: Mapping[str, DpuClusterConfig]
) -> ConfigRefused | None:
    """The first of those that are in the way is told."""
    claimants = (namespaces.get(config.namespace, config), pools.get(config.pool_name, config))
    rival = min(claimants, key=_rank)
    if _rank(rival) >= _rank(config):
        return None
    is_older = age(rival) < age(config)
    if rival.namespace == config.namespace:
        what = "is older and is served" if is_older else "is served already"
        return ConfigRefused("NamespaceTaken", f"{rival.name} in this namespace {what}; use one namespace each")
    where, what = f"{rival.namespace}/{rival.name}", "is older" if is_older else "is served already"
    return ConfigRefused("PoolTaken", f"pool {config.pool_name} belongs to {where}, which {what}; name another pool")


def _without_rights(config: DpuClusterConfig, has_rights: Callable[[str], bool]) -> ConfigRefused | None:
    if config.was_served or has_rights(config.namespace):
        return None
    return ConfigRefused(
        NAMESPACE_NOT_SERVED,
        f"the operator has no rights in namespace {config.namespace}: an administrator of this cluster gives them with "
        "config/tenant-namespace; that is looked at once a minute, and less often where very many wait",
    )


def _rank(config: DpuClusterConfig) -> tuple[bool, tuple[str, str, str]]:
    """Whoever was served before one that was not, however old."""
    return not config.was_served, age(config)


def age(config: DpuClusterConfig) -> tuple[str, str, str]:
    """What the older of two is the smaller by."""
    return age_of(config.live)


def age_of(obj: Obj) -> tuple[str, str, str]:
    """As `age`, of one that was not parsed."""
    metadata = obj["metadata"]
    return str(metadata.get("creationTimestamp", "")), namespace_of(obj), str(metadata["name"])
