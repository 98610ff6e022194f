"""Which DPU works for which host: what people say in two places, weighed against who serves already.

A person's word is taken or named as a problem; it never stops a pair that serves.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from dpunetop.domain.envfile import (
    EntryRejected,
    HostlessEntry,
    NodeEntry,
    Wish,
    is_node_name,
    parse_entry,
    render_entry,
)
from dpunetop.domain.names import ENV_OVERRIDES, TENANT_NODE_ANNOTATION, TENANT_NODE_ENV
from dpunetop.domain.quoting import quoted
from dpunetop.kube.meta import Obj, annotations_of, name_of


@dataclass(frozen=True, slots=True)
class PairingView:
    """What the decision looks at; a node that is in none of these asks for nothing."""

    wishes: Mapping[str, Wish]
    """Of `env-overrides`, as `envfile.parse_entries` gives them."""
    annotations: Mapping[str, str]
    """DPU node to what a person wrote onto it with `tenant-node`."""
    dropped: frozenset[str]
    """Nodes that are there and may not be paired, see `grants.Nodes.dpus`."""
    entries: Mapping[str, str]
    """As pods read them now."""
    serves: Mapping[str, str]
    """DPU node to the host that its budget names."""
    leaving: frozenset[str]
    """DPU nodes whose entry is about to go, or whose pods have yet to."""
    claimed: Mapping[str, str]
    """Host that another DpuClusterConfig of the same tenant has or asks for, to the name of that one."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Those of `dropped` that `spec.nodeSelector` picks, and why they may not be paired all the same."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One DPU. `host` None: it is paired with none, and whom it serves it serves until that host is drained."""

    dpu: str
    host: str | None
    text: str
    """The entry that it is to have; empty: none, because another DPU serves the host or it is paired with none."""
    server: str
    """The DPU that serves the host; empty: no host."""
    problem: str = ""
    """Why a person's word is not followed; one line that names the DPU."""


_Asked = NodeEntry | str | None
"""What is asked of a DPU, or why it is not followed; None: nothing."""


def host_of(dpu: str, text: str) -> str:
    """The host that an entry names; empty if it cannot be read."""
    entry = parse_entry(dpu, text)
    return entry.host if isinstance(entry, NodeEntry) else ""


def tenant_nodes(dpus: Container[str], nodes: Iterable[Obj]) -> Mapping[str, str]:
    """DPU node to what a person wrote onto it with `tenant-node`, of the nodes among `dpus`."""
    picked = (node for node in nodes if TENANT_NODE_ANNOTATION in annotations_of(node))
    return {name_of(node): annotations_of(node)[TENANT_NODE_ANNOTATION] for node in picked if name_of(node) in dpus}


def pair_up(view: PairingView) -> Mapping[str, Pair]:
    """Pair every DPU that anybody has said something of, or that serves.

    Guarantees: what cannot be followed leaves a pair that serves as it is, and lets no other begin; a host is served
        by one DPU, the one that has its entry, also while that is on its way out, else the annotated one, else the one
        that is protected for it, else the first by name. Who has the entry is on its way out if another DPU that is
        protected for the host is annotated with it, and it is not.
    """
    said = {dpu: _asked(view, dpu) for dpu in sorted({*view.wishes, *view.annotations, *view.entries, *view.serves})}
    asked = {dpu: None if _has_heir(view, dpu, wish, said) else wish for dpu, wish in said.items()}
    has = {dpu: host_of(dpu, text) for dpu, text in view.entries.items()}
    rivals: dict[str, dict[str, bool]] = {}  # host -> DPU, and whether it is asked to serve that
    for dpu, wish in asked.items():
        # One whose entry is gone has pods that have yet to go, unless it never had one, by mistake.
        had = has.get(dpu) or ("" if isinstance(wish, str) else view.serves.get(dpu, ""))
        wished = wish.host if isinstance(wish, NodeEntry) else ""
        for host in {wished, had} - {""}:
            rivals.setdefault(host, {})[dpu] = host == wished
    servers = {host: _server(view, host, dpus, has) for host, dpus in rivals.items()}
    return {dpu: _pair(view, dpu, wish, servers) for dpu, wish in asked.items()}


def _has_heir(view: PairingView, dpu: str, wish: _Asked, said: Mapping[str, _Asked]) -> bool:
    """Whether it serves, or just did, and another DPU is to come in its place."""
    if not isinstance(wish, NodeEntry) or dpu in view.annotations:
        return False
    if dpu not in view.leaving and host_of(dpu, view.entries.get(dpu, "")) != wish.host:
        return False
    protected = (other for other, host in view.serves.items() if host == wish.host and other in view.annotations)
    theirs = (said.get(other) for other in protected)
    return any(isinstance(each, NodeEntry) and each.host == wish.host for each in theirs)


def _pair(view: PairingView, dpu: str, wish: _Asked, servers: Mapping[str, str]) -> Pair:
    match wish:
        case NodeEntry():
            server = servers[wish.host]
            return Pair(dpu, wish.host, render_entry(wish) if server == dpu else "", server)
        case None:
            return Pair(dpu, None, "", "", _refusal(view, dpu))
    text = view.entries.get(dpu, "")
    host = view.serves.get(dpu) or host_of(dpu, text) or None
    return Pair(dpu, host, text, dpu if text else "", wish)


def _refusal(view: PairingView, dpu: str) -> str:
    why = view.refused.get(dpu)
    if why is None:
        return ""
    stays = "; whom it serves it serves until that host is drained" if dpu in view.entries else ""
    return f"{dpu} is paired with nobody: it {why}{stays}"


def _asked(view: PairingView, dpu: str) -> _Asked:
    """What is asked of a DPU, or why it is not followed; None: nothing."""
    wish, said = view.wishes.get(dpu), view.annotations.get(dpu)
    if dpu in view.dropped:
        return None
    if isinstance(wish, EntryRejected):
        return wish.message
    if said is not None and not is_node_name(said):
        return f"{dpu}: annotation {TENANT_NODE_ANNOTATION}: {quoted(said)} is not the name of a node"
    if said is not None and isinstance(wish, NodeEntry) and wish.host != said:
        return f"{dpu}: annotation {TENANT_NODE_ANNOTATION} says {said}, {ENV_OVERRIDES} says {wish.host}"
    if said is None and isinstance(wish, HostlessEntry):
        words = f"has no {TENANT_NODE_ENV}=<tenant host>, and its Node no annotation {TENANT_NODE_ANNOTATION}"
        return f"{ENV_OVERRIDES}, entry of {quoted(dpu, 80)} {words}: give one of them"
    entry = _entry(wish, said)
    if entry is not None and entry.host in view.claimed and not _has(view, dpu, entry.host):
        return f"{dpu}: {entry.host} is a host of DpuClusterConfig {view.claimed[entry.host]} too"
    return entry


def _entry(wish: NodeEntry | HostlessEntry | None, said: str | None) -> NodeEntry | None:
    """What an entry and an annotation that agree ask for together."""
    if isinstance(wish, NodeEntry) or said is None:
        return wish if isinstance(wish, NodeEntry) else None
    return NodeEntry(said, wish.tuning if wish is not None else ())


def _has(view: PairingView, dpu: str, host: str) -> bool:
    return host in (view.serves.get(dpu), host_of(dpu, view.entries.get(dpu, "")))


def _server(view: PairingView, host: str, dpus: Mapping[str, bool], has: Mapping[str, str]) -> str:
    """One that has to go first comes before all that have yet to begin."""

    def rank(dpu: str) -> tuple[bool, bool, bool, bool, str]:
        stays = dpus[dpu] and has.get(dpu) == host
        begins = dpus[dpu] and dpu not in view.leaving
        return not stays, begins, dpu not in view.annotations, view.serves.get(dpu) != host, dpu

    return min(dpus, key=rank)
