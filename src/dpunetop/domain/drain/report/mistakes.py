"""Requests that cannot be met: hosts and DPUs that do not exist, and a tenant without a node maintenance operator."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from dpunetop.base.quoting import named
from dpunetop.domain.drain.model.facts import HoldReason, Reason
from dpunetop.domain.names import ENV_OVERRIDES, NODEMAINTENANCES
from dpunetop.domain.pairing.envfile import NodeEntry, Wish
from dpunetop.domain.pairing.nearness import did_you_mean
from dpunetop.domain.pairing.pairing import Pair
from dpunetop.kube.keys import crd_name


@dataclass(frozen=True, slots=True)
class MistakesView:
    """The facts from which mistakes are found."""

    wishes: Mapping[str, Wish]
    """The entries of `env-overrides`, by DPU."""
    entries: Collection[str]
    """DPUs with an entry that pods read, so their Nodes did exist."""
    nodes: Collection[str]
    """Names of infra's Nodes."""
    unpicked: Collection[str]
    """Those of them that `spec.nodeSelector` does not pick."""
    pairs: Mapping[str, Pair]
    hosts: Collection[str] | None
    """Names of the tenant's Nodes; None: they cannot be read."""
    can_drain: bool
    """Whether the tenant serves NodeMaintenances; True if unknown."""


def mistakes(view: MistakesView) -> tuple[HoldReason, ...]:
    """Why requested pairs cannot be made, or cannot be drained: each names DPU and host, and what to do."""
    return (*_absent_hosts(view), *_absent_dpus(view), *_unpicked_dpus(view), *_undrainable(view))


def _absent_hosts(view: MistakesView) -> Iterable[HoldReason]:
    for dpu, pair in sorted(view.pairs.items()):
        if pair.host is None or view.hosts is None or pair.host in view.hosts:
            continue
        words = f"{dpu}: its host {named(pair.host)} does not exist in the tenant{did_you_mean(pair.host, view.hosts)}"
        yield HoldReason(
            Reason.HOST_ABSENT, f"{words}; correct its entry in ConfigMap {ENV_OVERRIDES}, or register the host"
        )


def _absent_dpus(view: MistakesView) -> Iterable[HoldReason]:
    for dpu in sorted({*view.wishes} - {*view.nodes} - {*view.entries}):
        words = f"{named(dpu)}: infra has no Node of that name{did_you_mean(dpu, view.nodes)}"
        yield HoldReason(Reason.DPU_ABSENT, f"{words}; correct or remove its entry in ConfigMap {ENV_OVERRIDES}")


def _unpicked_dpus(view: MistakesView) -> Iterable[HoldReason]:
    """A DPU that serves is not among them: its own status says that it leaves."""
    for dpu in sorted({*view.wishes} & {*view.unpicked} - {*view.entries}):
        wish = view.wishes[dpu]
        serves = f"does not serve host {named(wish.host)}" if isinstance(wish, NodeEntry) else "serves no host"
        words = f"{dpu}: spec.nodeSelector does not pick its Node, so that it {serves}"
        step = f"label the Node as spec.nodeSelector asks, or remove its entry in ConfigMap {ENV_OVERRIDES}"
        yield HoldReason(Reason.DPU_NOT_SELECTED, f"{words}; {step}")


def _undrainable(view: MistakesView) -> Iterable[HoldReason]:
    paired = sorted((dpu, pair.host) for dpu, pair in view.pairs.items() if pair.host is not None)
    if view.can_drain or not paired:
        return
    dpu, host = paired[0]
    words = f"the tenant serves no {crd_name(NODEMAINTENANCES)} of version {NODEMAINTENANCES.version}"
    first = f"so that {host} cannot be drained before {dpu}, nor any other host"
    yield HoldReason(
        Reason.NODE_MAINTENANCE_NOT_SERVED, f"{words}, {first}; install the node maintenance operator there"
    )
