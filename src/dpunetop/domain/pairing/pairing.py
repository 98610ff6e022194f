"""Which DPU works for which host: what two places ask for, weighed against the pairs that serve already.

A request is followed or reported as a problem; it never stops a pair that serves. `env-overrides` is written by people.
The author of an annotation is unknown: a kubelet may write those of its own Node, so it speaks for that DPU alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from dpunetop.base.quoting import quoted
from dpunetop.domain.names import (
    CONTROL_PLANE_LABELS,
    DPU_HOST_LABEL,
    ENV_OVERRIDES,
    TENANT_NODE_ANNOTATION,
    TENANT_NODE_ENV,
)
from dpunetop.domain.pairing.envfile import (
    EntryRejected,
    HostlessEntry,
    NodeEntry,
    Wish,
    is_node_name,
    parse_entry,
    render_entry,
)
from dpunetop.domain.pairing.nearness import did_you_mean
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of


@dataclass(frozen=True, slots=True)
class Claims:
    """What other DpuClusterConfigs of the same tenant have or ask for: hosts, each to the name of one of them."""

    held: Mapping[str, str] = field(default_factory=dict)
    """Those that it serves, protects or has entries for."""
    noted: Mapping[str, str] = field(default_factory=dict)
    """Those that nothing but the annotation of a DPU's Node names."""


@dataclass(frozen=True, slots=True)
class PairingView:
    """What the decision looks at; a node that is in none of these asks for nothing."""

    wishes: Mapping[str, Wish]
    """Of `env-overrides`, as `envfile.parse_entries` gives them."""
    annotations: Mapping[str, str]
    """DPU node to what stands on it as `tenant-node`: a person wrote that, or its own kubelet."""
    dropped: frozenset[str]
    """Nodes that are there and may not be paired, see `grants.Nodes.dpus`."""
    entries: Mapping[str, str]
    """As pods read them now."""
    serves: Mapping[str, str]
    """DPU node to the host that its budget names."""
    leaving: frozenset[str]
    """DPU nodes whose entry is about to go, or whose pods have yet to."""
    claimed: Claims
    hosts: Mapping[str, str] | None
    """Nodes of the tenant, as `hosts_to_annotate` gives them; None: they cannot be read."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Those of `dropped` that `spec.nodeSelector` picks, and why they may not be paired all the same."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One DPU. `host` None: it is not paired; a host that it still serves stays until it is drained."""

    dpu: str
    host: str | None
    text: str
    """The entry that it is to have; empty: none, because another DPU serves the host or it is paired with none."""
    server: str
    """The DPU that serves the host; empty: no host."""
    problem: str = ""
    """Why a request is not followed; one line that names the DPU."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What is asked of a DPU; without an entry: nothing, or `problem` says why it is not followed."""

    entry: NodeEntry | None = None
    problem: str = ""
    stays: bool = False
    """Whether its host stays with it, because the request is a mistake."""


@dataclass(slots=True)
class _Tie:
    """Who has to do with one host."""

    asked: list[str] = field(default_factory=list)
    """DPUs that `env-overrides` gives it to."""
    noted: list[str] = field(default_factory=list)
    """DPUs whose Nodes are annotated with it, and that have no entry of their own there."""
    serving: list[str] = field(default_factory=list)
    """DPUs whose pods read an entry for it."""
    guarded: list[str] = field(default_factory=list)
    """DPUs whose budgets name it."""


_Ties = Mapping[str, _Tie]


def host_of(dpu: str, text: str) -> str:
    """The host that an entry names; empty if it cannot be read."""
    entry = parse_entry(dpu, text)
    return entry.host if isinstance(entry, NodeEntry) else ""


def tenant_nodes(dpus: Container[str], nodes: Iterable[Obj]) -> Mapping[str, str]:
    """DPU node to what stands on it as `tenant-node`, of the nodes among `dpus`."""
    picked = (node for node in nodes if TENANT_NODE_ANNOTATION in annotations_of(node))
    return {name_of(node): annotations_of(node)[TENANT_NODE_ANNOTATION] for node in picked if name_of(node) in dpus}


def hosts_to_annotate(nodes: Iterable[Obj]) -> Mapping[str, str]:
    """Nodes of the tenant, each with why no annotation pairs it; empty: one may.

    A kubelet may neither set nor take the labels of the control plane, and a DPU is no Node of the tenant.
    """
    return {name_of(node): _unfit(labels_of(node)) for node in nodes}


def _unfit(labels: Mapping[str, str]) -> str:
    if any(label in labels for label in CONTROL_PLANE_LABELS):
        return "is a node of the tenant's control plane"
    return "" if DPU_HOST_LABEL in labels else f"has no label {DPU_HOST_LABEL} in the tenant"


def pair_up(view: PairingView) -> Mapping[str, Pair]:
    """Pair every DPU that is asked for or that serves.

    Guarantees: a request that cannot be followed leaves a pair that serves as it is, and lets no other begin; a host
        is served by one DPU: the one that has its entry, also while that leaves, else one that `env-overrides` gives
        it to, of several the one that is protected for it, else the first by name. An annotation, which the kubelet of
        a DPU may write itself, pairs only a host of `view.hosts` that no other DPU has or asks for; a host that is
        served by annotation passes to a DPU that has an entry and is protected, once the host is drained.
    """
    ties = _ties(view)
    said = {dpu: _asked(view, ties, dpu) for dpu in sorted(_concerned(view))}
    has = {dpu: host_of(dpu, text) for dpu, text in view.entries.items()}
    rivals: dict[str, dict[str, bool]] = {}  # host -> DPU, and whether it is asked to serve that
    for dpu, each in said.items():
        # One whose entry is gone has pods that have yet to go, unless it never had one, by mistake.
        had = has.get(dpu) or ("" if each.stays else view.serves.get(dpu, ""))
        wished = each.entry.host if each.entry is not None else ""
        for host in {wished, had} - {""}:
            rivals.setdefault(host, {})[dpu] = host == wished
    servers = {host: _server(view, host, dpus, has) for host, dpus in rivals.items()}
    return {dpu: _pair(view, dpu, each, servers) for dpu, each in said.items()}


def _concerned(view: PairingView) -> set[str]:
    return {*view.wishes, *view.annotations, *view.entries, *view.serves}


def _ties(view: PairingView) -> _Ties:
    ties: dict[str, _Tie] = defaultdict(_Tie)
    for dpu in sorted(_concerned(view)):
        wish, note = view.wishes.get(dpu), view.annotations.get(dpu, "")
        if isinstance(wish, NodeEntry) and dpu not in view.dropped:
            ties[wish.host].asked.append(dpu)
        elif note and dpu not in view.dropped:
            ties[note].noted.append(dpu)
        if host := host_of(dpu, view.entries.get(dpu, "")):
            ties[host].serving.append(dpu)
        if host := view.serves.get(dpu, ""):
            ties[host].guarded.append(dpu)
    return dict(ties)


def _pair(view: PairingView, dpu: str, said: _Said, servers: Mapping[str, str]) -> Pair:
    if said.entry is not None:
        host = said.entry.host
        text = render_entry(said.entry) if servers[host] == dpu else ""
        return Pair(dpu, host, text, servers[host], said.problem)
    if not said.stays:
        return Pair(dpu, None, "", "", said.problem)
    text = view.entries.get(dpu, "")
    return Pair(dpu, view.serves.get(dpu) or host_of(dpu, text) or None, text, dpu if text else "", said.problem)


def _refusal(view: PairingView, dpu: str) -> str:
    why = view.refused.get(dpu)
    if why is None:
        return ""
    stays = "; it serves its host until that is drained" if dpu in view.entries else ""
    return f"{dpu} is not paired: it {why}{stays}"


def _asked(view: PairingView, ties: _Ties, dpu: str) -> _Said:
    wish, note = view.wishes.get(dpu), view.annotations.get(dpu)
    if dpu in view.dropped:
        return _Said(problem=_refusal(view, dpu))
    if isinstance(wish, EntryRejected):
        return _Said(problem=wish.message, stays=True)
    if note is not None and (problem := _contradicts(dpu, note, wish)):
        return _Said(problem=problem, stays=not _passes_on(view, ties, dpu, wish))
    if isinstance(wish, NodeEntry):
        return _by_entry(view, dpu, wish)
    if note is not None:
        return _by_annotation(view, ties, dpu, NodeEntry(note, wish.tuning if wish is not None else ()))
    if wish is None:
        return _Said()
    words = f"has no {TENANT_NODE_ENV}=<tenant host>, and its Node no annotation {TENANT_NODE_ANNOTATION}"
    problem = f"{ENV_OVERRIDES}, entry of {quoted(dpu, 80)} {words}: give one of them"
    return _Said(problem=problem, stays=True)


def _contradicts(dpu: str, note: str, wish: NodeEntry | HostlessEntry | None) -> str:
    """Why an annotation is not even weighed; empty: it makes sense beside the DPU's own entry."""
    if not is_node_name(note):
        return f"{dpu}: annotation {TENANT_NODE_ANNOTATION}: {quoted(note)} is not the name of a node"
    if isinstance(wish, NodeEntry) and wish.host != note:
        return f"{dpu}: annotation {TENANT_NODE_ANNOTATION} says {note}, {ENV_OVERRIDES} says {wish.host}"
    return ""


def _passes_on(view: PairingView, ties: _Ties, dpu: str, wish: Wish | None) -> bool:
    """Whether `env-overrides` gives another the host that a DPU serves, which its annotation must not hold on to."""
    host = host_of(dpu, view.entries.get(dpu, ""))
    return isinstance(wish, NodeEntry) and wish.host != host and bool(host) and bool(_heir(ties, dpu, host))


def _by_entry(view: PairingView, dpu: str, entry: NodeEntry) -> _Said:
    claimant = view.claimed.held.get(entry.host)
    has = entry.host in (view.serves.get(dpu), host_of(dpu, view.entries.get(dpu, "")))
    if claimant is None or has:
        return _Said(entry)
    words = (
        f"{dpu}: {entry.host} is a host of DpuClusterConfig {claimant} too; remove its entry there, and it passes on"
    )
    swap = "once it is drained; to exchange hosts, remove both entries, cordon both DPUs, then write the new entries"
    return _Said(problem=f"{words} {swap}", stays=True)


def _by_annotation(view: PairingView, ties: _Ties, dpu: str, entry: NodeEntry) -> _Said:
    host, tie = entry.host, ties[entry.host]
    words = f"{dpu}: annotation {TENANT_NODE_ANNOTATION} names {host}, which"
    is_guarded = dpu in tie.guarded
    if dpu in tie.serving or (is_guarded and dpu in view.leaving):
        asked = _other(dpu, tie.asked)
        told = f"{words} {ENV_OVERRIDES} gives to {asked}: {asked} serves it once that is drained" if asked else ""
        return _Said(None if _heir(ties, dpu, host) else entry, told)
    if is_guarded and not _other(dpu, [*tie.asked, *tie.serving]):
        return _Said(entry)
    if why := _not_free(view, tie, dpu, host):
        advice = f"an annotation does not pair it; write an entry for {dpu} into {ENV_OVERRIDES} or remove the"
        return _Said(problem=f"{words} {why}: {advice} annotation", stays=not is_guarded)
    return _Said(entry)


def _not_free(view: PairingView, tie: _Tie, dpu: str, host: str) -> str:
    """Why an annotation does not pair a host; empty: it does."""
    told = (
        (_other(dpu, tie.asked), f"{ENV_OVERRIDES} gives to {{}}"),
        (_other(dpu, [*tie.serving, *tie.guarded]), "{} serves"),
        (view.claimed.held.get(host), "is a host of DpuClusterConfig {} too"),
        (_other(dpu, tie.noted), "the Node of {} is annotated with too"),
        (view.claimed.noted.get(host), "a Node of DpuClusterConfig {} is annotated with too"),
    )
    if found := next((words.format(who) for who, words in told if who), ""):
        return found
    if view.hosts is None:
        return "cannot be looked at, because the tenant's Nodes are not read yet"
    return view.hosts.get(host, f"does not exist in the tenant{did_you_mean(host, view.hosts)}")


def _other(dpu: str, dpus: Iterable[str]) -> str:
    return next((each for each in dpus if each != dpu), "")


def _heir(ties: _Ties, dpu: str, host: str) -> str:
    """Another DPU that `env-overrides` gives the host to, and that is protected for it; empty: none."""
    tie = ties[host]
    return _other(dpu, (each for each in tie.asked if each in tie.guarded))


def _server(view: PairingView, host: str, dpus: Mapping[str, bool], has: Mapping[str, str]) -> str:
    """One that has to go first comes before all that have yet to begin."""

    def rank(dpu: str) -> tuple[bool, bool, bool, bool, str]:
        stays = dpus[dpu] and has.get(dpu) == host
        begins = dpus[dpu] and dpu not in view.leaving
        is_noted = not isinstance(view.wishes.get(dpu), NodeEntry)
        return not stays, begins, is_noted, view.serves.get(dpu) != host, dpu

    return min(dpus, key=rank)
