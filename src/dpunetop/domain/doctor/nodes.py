"""Checks of the DPUs: their labels, grants and pairs, and whether images run on them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from dpunetop.base.quoting import named, printable, quoted
from dpunetop.domain.clusterconfig.grants import (
    Candidate,
    ClaimsView,
    Nodes,
    Rights,
    grant_of,
    judge_nodes,
    weigh_claims,
)
from dpunetop.domain.clusterconfig.types import parse_config
from dpunetop.domain.doctor.cluster import OPERATOR_DEPLOYMENT, config_name, configs_of
from dpunetop.domain.doctor.model import Diagnosis, Facts, NotLookedAt, Unseen, each, fail, ok, warn
from dpunetop.domain.doctor.tenants import configs_for
from dpunetop.domain.drain.report.mistakes import MistakesView, mistakes
from dpunetop.domain.names import (
    DPU_NODE_LABEL,
    DPU_WORKER_LABEL,
    ENV_OVERRIDES,
    KUBE_SYSTEM,
    MACHINECONFIGPOOLS,
    NODE_GRANT_ANNOTATION,
    OVN_KUBERNETES_NAMESPACE,
    OVNKUBE_NODE,
    OVNKUBE_NODE_ENTRIES,
    PODDISRUPTIONBUDGETS,
    SERVES_ANNOTATION,
    TENANT_NODE_ANNOTATION,
    blocker_name,
    owner_hash,
)
from dpunetop.domain.ovnkube.image import running_image
from dpunetop.domain.ovnkube.notrunning import why_other_machine, why_pod_waits
from dpunetop.domain.pairing.envfile import parse_entries
from dpunetop.domain.pairing.pairing import Claims, Pair, PairingView, hosts_to_annotate, pair_up, tenant_nodes
from dpunetop.kube.compact import node_of
from dpunetop.kube.keys import CONFIGMAPS, DAEMONSETS, DEPLOYMENTS, NAMESPACES, NODES, PODS, Resource
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of, namespace_of, uid_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_labels, parse_selector
from dpunetop.kube.shapes import at, mappings

_SHOWN = 5


def judge_labels(facts: Facts) -> Iterator[Diagnosis]:
    """The DPUs have their labels, and each DpuClusterConfig gets the nodes that it selects."""
    nodes = facts.infra.list(Selection(NODES))
    workers = [node for node in nodes if DPU_WORKER_LABEL in labels_of(node)]
    if not any(DPU_NODE_LABEL in labels_of(node) for node in nodes):
        mend = f"kubectl label node DPU {DPU_WORKER_LABEL}= {DPU_NODE_LABEL}="
        yield fail("Nodes of infra", f"none has the label {DPU_NODE_LABEL}: there is no DPU", mend)
    for name in sorted(name_of(node) for node in workers if DPU_NODE_LABEL not in labels_of(node)):
        words = f"has the label {DPU_WORKER_LABEL}, but not {DPU_NODE_LABEL}: infra runs its own network there"
        told = fail(f"Node {name} of infra", words, f"kubectl label node {name} {DPU_NODE_LABEL}=")
        yield replace(told, dpus=frozenset({name}))
    yield from each(configs_of(facts), lambda config: _selected(facts, config), namespace_of)


def _selected(facts: Facts, config: Obj) -> Iterator[Diagnosis]:
    home = namespace_of(config)
    annotation = annotations_of(_namespace(facts, home)).get(NODE_GRANT_ANNOTATION)
    if annotation is not None and parse_selector(annotation) is None:
        words = f"its annotation {NODE_GRANT_ANNOTATION} is no label selector: {quoted(annotation, 80)}"
        mend = f"kubectl annotate namespace {home} --overwrite '{NODE_GRANT_ANNOTATION}={DPU_WORKER_LABEL}'"
        yield fail(f"namespace {home}", words, mend)
    judged = _nodes(facts, config)
    for name, why in sorted(judged.refused.items()):
        mend = f"kubectl annotate namespace {home} --overwrite '{NODE_GRANT_ANNOTATION}=SELECTOR'"
        told = fail(config_name(config), f"does not get Node {name}, which it selects: it {why}", mend)
        yield replace(told, dpus=frozenset({name}))
    if not judged.had:
        mend = "kubectl get nodes --show-labels"
        yield fail(config_name(config), "gets no node: spec.nodeSelector picks none that it may have", mend)
    else:
        yield ok(config_name(config), f"gets {len(judged.had)} nodes, of which {len(judged.dpus)} are DPUs")


def _nodes(facts: Facts, config: Obj) -> Nodes:
    nodes, infra = facts.infra.list(Selection(NODES)), facts.infra
    pools = infra.list(Selection(MACHINECONFIGPOOLS)) if infra.serves(MACHINECONFIGPOOLS) else ()
    budgets = {name_of(each): each for each in infra.list(Selection(PODDISRUPTIONBUDGETS, facts.namespace))}
    everybody = tuple(_candidate(facts, each) for each in configs_of(facts))
    claims = weigh_claims(ClaimsView(nodes, everybody, pools, budgets))
    own = _candidate(facts, config)
    return judge_nodes(own.config, nodes, Rights(own.grant, own.owner, claims))


def _candidate(facts: Facts, config: Obj) -> Candidate:
    home = namespace_of(config)
    owner = owner_hash(uid_of(_namespace(facts, KUBE_SYSTEM)), home, name_of(config))
    return Candidate(parse_config(config), owner, grant_of(home, _namespace(facts, home)))


def _namespace(facts: Facts, name: str) -> Obj:
    found = facts.infra.get(NAMESPACES, "", name)
    if found is None:
        mend = f"kubectl get namespace {name}; docs/quickstart.md says what a served namespace needs"
        raise NotLookedAt(f"namespace {name} of infra", Unseen("it does not exist", mend))
    return found


# --- pairs ---


def judge_mapping(facts: Facts) -> Iterable[Diagnosis]:
    """Entries and annotations name DPUs and hosts that exist."""
    tenant = facts.of_tenant()
    hosts = tenant.list(Selection(NODES))
    return each(configs_for(facts, tenant), lambda config: _mapping(facts, config, hosts), namespace_of)


def _mapping(facts: Facts, config: Obj, hosts: tuple[Obj, ...]) -> Iterator[Diagnosis]:
    asked = _asked(facts, config, hosts)
    home, about = namespace_of(config), f"pairs of {config_name(config)}"
    edit = f"kubectl edit configmap {ENV_OVERRIDES} --namespace {home}"
    told = [fail(about, each.message, edit) for each in mistakes(asked)]
    contradicting = ((dpu, pair.problem) for dpu, pair in sorted(asked.pairs.items()) if pair.problem)
    told += [replace(fail(about, words, edit), dpus=frozenset({dpu})) for dpu, words in contradicting]
    yield from told
    paired = [pair for pair in asked.pairs.values() if pair.host is not None]
    if not paired:
        words = f"no DPU is paired: neither ConfigMap {home}/{ENV_OVERRIDES} nor an annotation"
        yield warn(about, f"{words} {TENANT_NODE_ANNOTATION} names a host", edit)
    elif not told:
        yield ok(about, f"{len(paired)} DPUs are paired with hosts that exist")


def _asked(facts: Facts, config: Obj, hosts: tuple[Obj, ...]) -> MistakesView:
    infra, home, judged = facts.infra, namespace_of(config), _nodes(facts, config)
    nodes = infra.list(Selection(NODES))
    overrides = _data(facts, home, ENV_OVERRIDES)
    entries = _data(facts, home, OVNKUBE_NODE_ENTRIES)
    wishes = parse_entries(overrides)
    names = frozenset(name_of(node) for node in nodes)
    view = PairingView(
        wishes=wishes,
        annotations=tenant_nodes(judged.dpus, nodes),
        dropped=names - judged.dpus,
        entries=entries,
        serves=_serves(facts, names),
        leaving=frozenset(),
        claimed=Claims(),
        hosts=hosts_to_annotate(hosts),
        refused=judged.why_not_paired(),
    )
    pairs: Mapping[str, Pair] = pair_up(view)
    unpicked = names - judged.had - set(judged.refused)
    return MistakesView(wishes, frozenset(entries), names, unpicked, pairs, frozenset(map(name_of, hosts)), True)


def _data(facts: Facts, namespace: str, name: str) -> Mapping[str, str]:
    found = at(facts.infra.get(CONFIGMAPS, namespace, name), "data")
    return {key: str(text) for key, text in found.items()} if isinstance(found, Mapping) else {}


def _serves(facts: Facts, dpus: frozenset[str]) -> dict[str, str]:
    budgets = facts.infra.list(Selection(PODDISRUPTIONBUDGETS, facts.namespace))
    hosts = {name_of(each): annotations_of(each).get(SERVES_ANNOTATION, "") for each in budgets}
    found = {dpu: hosts.get(blocker_name(dpu), "") for dpu in dpus}
    return {dpu: host for dpu, host in found.items() if host}


# --- images ---


def own_pods(namespace: str, served: Iterable[str]) -> tuple[Selection, ...]:
    """The pods that run on DPUs: the blockers in the operator's namespace, and `ovnkube-node` in each served one."""
    nodes = (Selection(PODS, home, "", by_labels({"app": OVNKUBE_NODE})) for home in sorted(set(served)))
    return Selection(PODS, namespace), *nodes


def judge_images(facts: Facts) -> Iterable[Diagnosis]:
    """The images of the DPUs are built for their architecture, as far as the pods and nodes of infra show it."""
    nodes = facts.infra.list(Selection(NODES))
    served = {namespace_of(config) for config in configs_of(facts)}
    pods = [pod for selection in own_pods(facts.namespace, served) for pod in facts.infra.list(selection)]
    machines: dict[str, frozenset[str]] = {}
    for node in (node for node in nodes if DPU_NODE_LABEL in labels_of(node)):
        machines[_architecture(node)] = machines.get(_architecture(node), frozenset()) | {name_of(node)}
    kinds = [_Machines(*item) for item in sorted(machines.items())]
    pairs = [(image, kind) for image in sorted(_images(facts)) for kind in kinds]
    return each(pairs, lambda pair: _image(nodes, pods, *pair))


@dataclass(frozen=True, slots=True)
class _Machines:
    """The DPUs of one architecture."""

    architecture: str
    dpus: frozenset[str]


def _images(facts: Facts) -> set[str]:
    infra = facts.infra
    homes = sorted({namespace_of(config) for config in configs_of(facts)})
    places: list[tuple[Resource, str, str]] = [(DAEMONSETS, home, OVNKUBE_NODE) for home in homes]
    daemonsets = [infra.get(*place) for place in places]
    wanted = {str(image) for config in configs_of(facts) if (image := at(config, "spec", "image"))}
    running = {image for each in daemonsets if (image := running_image(each))}
    own = running_image(infra.get(DAEMONSETS, OVN_KUBERNETES_NAMESPACE, OVNKUBE_NODE))
    return wanted | running | ({own} if own else set()) | _operator_images(facts)


def _operator_images(facts: Facts) -> set[str]:
    """The images of the blockers, where the operator's settings name one."""
    live = facts.infra.get(DEPLOYMENTS, facts.namespace, OPERATOR_DEPLOYMENT)
    containers = mappings(at(live, "spec", "template", "spec", "containers"))
    variables = [each for container in containers for each in mappings(container.get("env"))]
    return {
        str(each["value"])
        for each in variables
        if each.get("name") in ("OPERATOR_IMAGE", "OVNKUBE_IMAGE") and each.get("value")
    }


def _image(nodes: Iterable[Obj], pods: Iterable[Obj], image: str, machines: _Machines) -> Iterator[Diagnosis]:
    about, kind = f"image {quoted(image, 200)}", machines.architecture
    inspect = f"skopeo inspect --raw docker://{shlex.quote(printable(image, 512))} | grep architecture"
    there = [pod for pod in pods if node_of(pod) in machines.dpus]
    wrong = {node_of(pod): why for pod in there if (why := why_other_machine(pod, image))}
    if wrong:
        mend = f"set spec.image of the DpuClusterConfig to an image that is built for {kind}; {inspect}"
        words = f"is not built for {kind}, which these DPUs are: {min(wrong.items())[1]}"
        yield replace(fail(about, words, mend), dpus=frozenset(wrong))
        return
    having = [node for node in nodes if _has(node, image)]
    fitting = [name_of(node) for node in having if _architecture(node) == kind]
    if fitting:
        yield ok(about, f"is on Node {fitting[0]}, which is {kind} as the DPUs are")
        return
    others = f"only nodes of {', '.join(sorted({_architecture(node) for node in having}))} have it"
    seen = others if having else "no node has it"
    waits = next((f"; {why}" for pod in there if (why := why_pod_waits(pod))), "")
    why = f"whether it is built for {kind}, which these DPUs are, no node shows: {seen}{waits}"
    raise NotLookedAt(about, Unseen(why, inspect), machines.dpus)


def _has(node: Obj, image: str) -> bool:
    return any(image in (each.get("names") or ()) for each in mappings(at(node, "status", "images")))


def _architecture(node: Obj) -> str:
    found = at(node, "status", "nodeInfo", "architecture") or labels_of(node).get("kubernetes.io/arch")
    return named(str(found or "unknown"))
