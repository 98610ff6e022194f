"""Completion candidates from infra: names of DPUs, hosts and namespaces."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from dpunetop.app.commands.clients import opened
from dpunetop.app.commands.serverclock import ServerClock
from dpunetop.base.clock import RealClock
from dpunetop.domain.names import DPU_NODE_LABEL, DPUCLUSTERCONFIGS, DPUNODES
from dpunetop.kube.errors import ApiError
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.meta import Obj, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.shapes import at
from dpunetop.runtime.client.connection import ConfigurationError

Ask = Callable[[Selection], Sequence[Obj]]
_SECONDS, _MOST = 3.0, 500
"""A short timeout, since a person waits at the prompt."""
_SAFE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Only names of objects go to the shell, no other text of a cluster."""


def suggested(flag: str, given: Mapping[str, str]) -> list[str]:
    """Values for a flag, or for an argument by its metavar, with the caller's permissions.

    `given` are the values of other flags, by their destination. Empty if infra does not know any or does not answer in
    time; completion shows no errors.
    """
    values = VALUES.get(flag)
    if values is None:
        return []
    with opened(ServerClock(RealClock())) as make:
        try:
            infra = make(INFRA, given.get("kubeconfig") or os.environ.get("KUBECONFIG") or None, given.get("context"))
            found = values(lambda selection: infra.some(selection, _MOST, _SECONDS), given.get("namespace", ""))
            return sorted({each for each in found if _SAFE.fullmatch(each)})
        except (ApiError, ConfigurationError):
            return []


def _nodes(ask: Ask, namespace: str) -> Iterable[str]:
    """DPUs and their hosts; only the DPUs before the operator has written a DpuNode."""
    try:
        cards = ask(Selection(DPUNODES, namespace))
    except ApiError:  # its definition is not there yet, or nobody but administrators may see Nodes
        cards = ()
    if cards:
        return [str(name) for card in cards for name in (name_of(card), at(card, "status", "host")) if name]
    return [name_of(node) for node in ask(Selection(NODES, label_selector=DPU_NODE_LABEL))]


def _namespaces(ask: Ask, _: str) -> Iterable[str]:
    """Those with a DpuClusterConfig."""
    return [namespace_of(config) for config in ask(Selection(DPUCLUSTERCONFIGS))]


VALUES: Final[Mapping[str, Callable[[Ask, str], Iterable[str]]]] = {"NODE": _nodes, "--namespace": _namespaces}
"""By the flag, or the metavar of the argument."""
