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
"""Of one namespace, only this many that were never served are looked at, the oldest; one of them can be served."""
_RESERVED, _TOO_MANY = "ReservedNamespace", "TooManyInNamespace"
WITHOUT_RIGHTS = frozenset({NAMESPACE_NOT_SERVED, _RESERVED, _TOO_MANY})
"""Reasons of refusals in namespaces where the operator may have no rights, not even to write an Event."""
NEVER_SERVED = ConfigRefused("NeverServed", "it is not served yet")
"""The verdict of all controllers but `clusterconfig` before the status claims the pool; it is not reported."""
_FOREIGN_POOLS = ("master", "worker")


def claims(obj: Obj) -> tuple[str, str]:
    """What a DpuClusterConfig claims for itself alone: its namespace and its pool. A claim's text tells which."""
    return f"namespace/{namespace_of(obj)}", f"pool/{(obj.get('spec') or {}).get('poolName') or ''}"


def admit(objects: Iterable[Obj], has_rights: Callable[[str], bool] = lambda _: True) -> list[DpuClusterConfig]:
    """Read DpuClusterConfigs, each with all that share its namespace or its pool, and `judge` them."""
    return judge(list(map(parse_config, objects)), has_rights)


def judge(configs: list[DpuClusterConfig], has_rights: Callable[[str], bool]) -> list[DpuClusterConfig]:
    """Decide whether each is served; it must be given with all that share its namespace or its pool.

    `has_rights` tells whether the operator has rights in a namespace.
    Guarantees: of several that claim one namespace or one pool exactly one is served: one that was served before, else
        the oldest. One that was served keeps its claims until it is gone, also while it terminates, and is not refused
        for rights that are gone. One that is refused for its own spec claims nothing. The cost is linear in their
        number, because strangers may create as many as they like.
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
    """By claim, the DpuClusterConfig that comes first."""
    found: dict[str, DpuClusterConfig] = {}
    for rival in rivals:
        former = found.setdefault(claim(rival), rival)
        if _rank(rival) < _rank(former):
            found[claim(rival)] = rival
    return found


def hopeless(config: DpuClusterConfig) -> ConfigRefused | None:
    """The refusal that holds whatever the rights are; None: the rights decide."""
    if config.terminating and not config.was_served:
        return ConfigRefused("Terminating", "it was never served, so nothing is to be taken down")
    return _reserved(config)


def too_many(namespace: str) -> ConfigRefused:
    """The refusal of one beyond the cap."""
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
    """The refusal names the first that is in the way."""
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
    """One that was served comes before one that was not, whatever their age."""
    return not config.was_served, age(config)


def age(config: DpuClusterConfig) -> tuple[str, str, str]:
    """Sort key by age, the oldest first."""
    return age_of(config.live)


def age_of(obj: Obj) -> tuple[str, str, str]:
    """As `age`, of an object that is not parsed."""
    metadata = obj["metadata"]
    return str(metadata.get("creationTimestamp", "")), namespace_of(obj), str(metadata["name"])
