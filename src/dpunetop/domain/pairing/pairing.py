"""Which DPU works for which host: the requests of two places, weighed against the pairs that serve already.

A request is followed or reported as a problem; it never stops a pair that serves. `env-overrides` is written by people.
The author of an annotation is unknown: a kubelet may write those of its own Node, so an annotation counts for that DPU
alone.
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
    """The hosts that other DpuClusterConfigs of the same tenant have or request, each with the name of one of them."""

    held: Mapping[str, str] = field(default_factory=dict)
    """Hosts that it serves, protects or has entries for."""
    noted: Mapping[str, str] = field(default_factory=dict)
    """Hosts that only the annotation of a DPU's Node names."""


@dataclass(frozen=True, slots=True)
class PairingView:
    """The facts of the decision; a node that is in none of these requests nothing."""

    wishes: Mapping[str, Wish]
    """Of `env-overrides`, as `envfile.parse_entries` gives them."""
    annotations: Mapping[str, str]
    """DPU node to its annotation `tenant-node`, which a person wrote, or its own kubelet."""
    dropped: frozenset[str]
    """Nodes that exist and may not be paired, see `grants.Nodes.dpus`."""
    entries: Mapping[str, str]
    """The entries as pods read them now."""
    serves: Mapping[str, str]
    """DPU node to the host that its budget names."""
    leaving: frozenset[str]
    """DPU nodes whose entry is about to be removed, or whose pods have yet to end."""
    claimed: Claims
    hosts: Mapping[str, str] | None
    """Nodes of the tenant, as `hosts_to_annotate` gives them; None: they cannot be read."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Those of `dropped` that `spec.nodeSelector` picks, each with why it may not be paired."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One DPU. `host` None: it is not paired; a host that it still serves stays until it is drained."""

    dpu: str
    host: str | None
    text: str
    """The entry that it is to have; empty: none, because another DPU serves the host or the DPU is not paired."""
    server: str
    """The DPU that serves the host; empty: `host` is None."""
    problem: str = ""
    """Why a request is not followed; one line that names the DPU."""


@dataclass(frozen=True, slots=True)
class _PairRequest:
    """The request for a DPU; without an entry there is none, or `problem` says why it is not followed."""

    entry: NodeEntry | None = None
    problem: str = ""
    stays: bool = False
    """Whether it keeps its host, because the request is a mistake."""


@dataclass(slots=True)
class _HostClaims:
    """The DPUs that concern one host."""

    asked: list[str] = field(default_factory=list)
    """DPUs that `env-overrides` gives it to."""
    noted: list[str] = field(default_factory=list)
    """DPUs whose Nodes are annotated with it, and that have no entry in `env-overrides`."""
    serving: list[str] = field(default_factory=list)
    """DPUs whose pods read an entry for it."""
    guarded: list[str] = field(default_factory=list)
    """DPUs whose budgets name it."""


_ClaimsByHost = Mapping[str, _HostClaims]


def host_of(dpu: str, text: str) -> str:
    """The host that an entry names; empty if it cannot be read."""
    entry = parse_entry(dpu, text)
    return entry.host if isinstance(entry, NodeEntry) else ""


def tenant_nodes(dpus: Container[str], nodes: Iterable[Obj]) -> Mapping[str, str]:
    """DPU node to its annotation `tenant-node`, of the nodes among `dpus`."""
    picked = (node for node in nodes if TENANT_NODE_ANNOTATION in annotations_of(node))
    return {name_of(node): annotations_of(node)[TENANT_NODE_ANNOTATION] for node in picked if name_of(node) in dpus}


def hosts_to_annotate(nodes: Iterable[Obj]) -> Mapping[str, str]:
    """Nodes of the tenant, each with why an annotation cannot pair it; empty: it can.

    A kubelet may neither set nor remove the labels of the control plane, and a DPU is no Node of the tenant.
    """
    return {name_of(node): _unfit(labels_of(node)) for node in nodes}


def _unfit(labels: Mapping[str, str]) -> str:
    if any(label in labels for label in CONTROL_PLANE_LABELS):
        return "is a node of the tenant's control plane"
    return "" if DPU_HOST_LABEL in labels else f"has no label {DPU_HOST_LABEL} in the tenant"


def pair_up(view: PairingView) -> Mapping[str, Pair]:
    """Pair every DPU that is requested or that serves.

    Guarantees: a request that cannot be followed leaves a pair that serves as it is, and starts no other. One DPU
        serves a host: the one that has its entry, also while that is being removed; else one to which `env-overrides`
        gives it, of several the one that is protected for it, else the first by name. An annotation, which the kubelet
        of a DPU may write itself, pairs only a host of `view.hosts` that no other DPU has or requests. A host that is
        served by annotation passes to a DPU that has an entry and is protected, once the host is drained.
    """
    claims_by_host = _claims_by_host(view)
    said = {dpu: _asked(view, claims_by_host, dpu) for dpu in sorted(_concerned(view))}
    has = {dpu: host_of(dpu, text) for dpu, text in view.entries.items()}
    rivals: dict[str, dict[str, bool]] = {}  # host -> DPU, and whether it is asked to serve that
    for dpu, each in said.items():
        # Without an entry, a DPU may still have pods that serve, unless a mistaken request kept it from ever having
        # one.
        had = has.get(dpu) or ("" if each.stays else view.serves.get(dpu, ""))
        wished = each.entry.host if each.entry is not None else ""
        for host in {wished, had} - {""}:
            rivals.setdefault(host, {})[dpu] = host == wished
    servers = {host: _server(view, host, dpus, has) for host, dpus in rivals.items()}
    return {dpu: _pair(view, dpu, each, servers) for dpu, each in said.items()}


def _concerned(view: PairingView) -> set[str]:
    return {*view.wishes, *view.annotations, *view.entries, *view.serves}


def _claims_by_host(view: PairingView) -> _ClaimsByHost:
    claims_by_host: dict[str, _HostClaims] = defaultdict(_HostClaims)
    for dpu in sorted(_concerned(view)):
        wish, note = view.wishes.get(dpu), view.annotations.get(dpu, "")
        if isinstance(wish, NodeEntry) and dpu not in view.dropped:
            claims_by_host[wish.host].asked.append(dpu)
        elif note and dpu not in view.dropped:
            claims_by_host[note].noted.append(dpu)
        if host := host_of(dpu, view.entries.get(dpu, "")):
            claims_by_host[host].serving.append(dpu)
        if host := view.serves.get(dpu, ""):
            claims_by_host[host].guarded.append(dpu)
    return dict(claims_by_host)


def _pair(view: PairingView, dpu: str, said: _PairRequest, servers: Mapping[str, str]) -> Pair:
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


def _asked(view: PairingView, claims_by_host: _ClaimsByHost, dpu: str) -> _PairRequest:
    wish, note = view.wishes.get(dpu), view.annotations.get(dpu)
    if dpu in view.dropped:
        return _PairRequest(problem=_refusal(view, dpu))
    if isinstance(wish, EntryRejected):
        return _PairRequest(problem=wish.message, stays=True)
    if note is not None and (problem := _contradicts(dpu, note, wish)):
        return _PairRequest(problem=problem, stays=not _passes_on(view, claims_by_host, dpu, wish))
    if isinstance(wish, NodeEntry):
        return _by_entry(view, dpu, wish)
    if note is not None:
        return _by_annotation(view, claims_by_host, dpu, NodeEntry(note, wish.tuning if wish is not None else ()))
    if wish is None:
        return _PairRequest()
    words = f"has no {TENANT_NODE_ENV}=<tenant host>, and its Node no annotation {TENANT_NODE_ANNOTATION}"
    problem = f"{ENV_OVERRIDES}, entry of {quoted(dpu, 80)} {words}: give one of them"
    return _PairRequest(problem=problem, stays=True)


def _contradicts(dpu: str, note: str, wish: NodeEntry | HostlessEntry | None) -> str:
    """Why an annotation is refused at once; empty: it does not contradict the DPU's own entry."""
    if not is_node_name(note):
        return f"{dpu}: annotation {TENANT_NODE_ANNOTATION}: {quoted(note)} is not the name of a node"
    if isinstance(wish, NodeEntry) and wish.host != note:
        return f"{dpu}: annotation {TENANT_NODE_ANNOTATION} says {note}, {ENV_OVERRIDES} says {wish.host}"
    return ""


def _passes_on(view: PairingView, claims_by_host: _ClaimsByHost, dpu: str, wish: Wish | None) -> bool:
    """Whether `env-overrides` gives another DPU the host that this one serves, which its annotation must not keep."""
    host = host_of(dpu, view.entries.get(dpu, ""))
    return isinstance(wish, NodeEntry) and wish.host != host and bool(host) and bool(_heir(claims_by_host, dpu, host))


def _by_entry(view: PairingView, dpu: str, entry: NodeEntry) -> _PairRequest:
    claimant = view.claimed.held.get(entry.host)
    has = entry.host in (view.serves.get(dpu), host_of(dpu, view.entries.get(dpu, "")))
    if claimant is None or has:
        return _PairRequest(entry)
    words = (
        f"{dpu}: {entry.host} is a host of DpuClusterConfig {claimant} too; remove its entry there, and it passes on"
    )
    swap = "once it is drained; to exchange hosts, remove both entries, cordon both DPUs, then write the new entries"
    return _PairRequest(problem=f"{words} {swap}", stays=True)


def _by_annotation(view: PairingView, claims_by_host: _ClaimsByHost, dpu: str, entry: NodeEntry) -> _PairRequest:
    host, claims = entry.host, claims_by_host[entry.host]
    words = f"{dpu}: annotation {TENANT_NODE_ANNOTATION} names {host}, which"
    is_guarded = dpu in claims.guarded
    if dpu in claims.serving or (is_guarded and dpu in view.leaving):
        asked = _other(dpu, claims.asked)
        told = f"{words} {ENV_OVERRIDES} gives to {asked}: {asked} serves it once that is drained" if asked else ""
        return _PairRequest(None if _heir(claims_by_host, dpu, host) else entry, told)
    if is_guarded and not _other(dpu, [*claims.asked, *claims.serving]):
        return _PairRequest(entry)
    if why := _not_free(view, claims, dpu, host):
        advice = f"an annotation does not pair it; write an entry for {dpu} into {ENV_OVERRIDES} or remove the"
        return _PairRequest(problem=f"{words} {why}: {advice} annotation", stays=not is_guarded)
    return _PairRequest(entry)


def _not_free(view: PairingView, claims: _HostClaims, dpu: str, host: str) -> str:
    """Why an annotation does not pair a host; empty: it does."""
    told = (
        (_other(dpu, claims.asked), f"{ENV_OVERRIDES} gives to {{}}"),
        (_other(dpu, [*claims.serving, *claims.guarded]), "{} serves"),
        (view.claimed.held.get(host), "is a host of DpuClusterConfig {} too"),
        (_other(dpu, claims.noted), "the Node of {} is annotated with too"),
        (view.claimed.noted.get(host), "a Node of DpuClusterConfig {} is annotated with too"),
    )
    if found := next((words.format(who) for who, words in told if who), ""):
        return found
    if view.hosts is None:
        return "cannot be looked at, because the tenant's Nodes are not read yet"
    return view.hosts.get(host, f"does not exist in the tenant{did_you_mean(host, view.hosts)}")


def _other(dpu: str, dpus: Iterable[str]) -> str:
    return next((each for each in dpus if each != dpu), "")


def _heir(claims_by_host: _ClaimsByHost, dpu: str, host: str) -> str:
    """Another DPU to which `env-overrides` gives the host, and that is protected for it; empty: none."""
    claims = claims_by_host[host]
    return _other(dpu, (each for each in claims.asked if each in claims.guarded))


def _server(view: PairingView, host: str, dpus: Mapping[str, bool], has: Mapping[str, str]) -> str:
    """A DPU that has to leave first comes before all that have yet to begin."""

    def rank(dpu: str) -> tuple[bool, bool, bool, bool, str]:
        stays = dpus[dpu] and has.get(dpu) == host
        begins = dpus[dpu] and dpu not in view.leaving
        is_noted = not isinstance(view.wishes.get(dpu), NodeEntry)
        return not stays, begins, is_noted, view.serves.get(dpu) != host, dpu

    return min(dpus, key=rank)
