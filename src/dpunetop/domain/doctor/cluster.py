"""Checks of infra itself: its release and APIs, the operator's kinds, Lease and pods, and whether it admits pods."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from dpunetop.base.quoting import named, sentence
from dpunetop.domain.credential.account import Right, parse_time
from dpunetop.domain.doctor.model import ClusterFacts, Diagnosis, Facts, Place, each, fail, ok, warn
from dpunetop.domain.doctor.rights import INSTALL, user_of
from dpunetop.domain.hostconfig.machinestate import machine_state
from dpunetop.domain.names import (
    DPU_NODE_LABEL,
    DPUCLUSTERCONFIGS,
    DRAIN_BLOCKER,
    MACHINECONFIGPOOLS,
    MACHINECONFIGS,
    OPERATOR_LEASE,
    OVNKUBE_NODE,
    OVNKUBE_SERVICE_ACCOUNT,
    PODDISRUPTIONBUDGETS,
)
from dpunetop.kube.keys import (
    CUSTOMRESOURCEDEFINITIONS,
    DEPLOYMENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    Resource,
    crd_name,
)
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.shapes import at, mappings

SCC = Resource("security.openshift.io", "v1", "securitycontextconstraints", "SecurityContextConstraints", False)
OLDEST = (1, 27)
"""Oldest Kubernetes release of infra."""
OPERATOR_DEPLOYMENT = "dpunetop"
ENFORCE_LABEL = "pod-security.kubernetes.io/enforce"
_RELEASE = re.compile(r"v([0-9]{1,3})\.([0-9]{1,3})")
_STALE = timedelta(seconds=60)
"""How long a Lease may go without renewal; its duration is 15 s as shipped, and the rest allows for clock skew."""
_MOST_PATHS = 3


def configs_of(facts: Facts) -> tuple[Obj, ...]:
    """All DpuClusterConfigs; none where the kind does not exist yet. Raises: NotLookedAt."""
    return facts.infra.list(Selection(DPUCLUSTERCONFIGS)) if facts.infra.serves(DPUCLUSTERCONFIGS) else ()


def config_name(config: Obj) -> str:
    """Namespace and name, for a person."""
    return f"DpuClusterConfig {namespace_of(config)}/{name_of(config)}"


def judge_release(facts: Facts) -> Iterator[Diagnosis]:
    """Kubernetes of infra is recent enough."""
    yield release_finding(facts.infra, OLDEST, "upgrade the infra cluster; docs/install.md says what there has to be")


def release_finding(seen: ClusterFacts, oldest: tuple[int, int], mend: str) -> Diagnosis:
    """Whether an API server is of that release or later. Raises: NotLookedAt."""
    about, text = f"the API server of {seen.cluster}", seen.version()
    match = _RELEASE.match(text)
    if match is None:
        return warn(about, f"its release {sentence(text, 40)} is not understood", "kubectl version")
    if (int(match.group(1)), int(match.group(2))) < oldest:
        return fail(about, f"is {match.group(0)}, and has to be v{oldest[0]}.{oldest[1]} or later", mend)
    return ok(about, f"is {match.group(0)}")


def judge_apis(facts: Facts) -> Iterable[Diagnosis]:
    """Infra serves the APIs of the objects that the operator writes."""
    return each(_APIS, lambda api: _api(facts, *api))


_CONFIGURED = "a person or another controller has to configure the DPUs"
_APIS = (
    (PODDISRUPTIONBUDGETS, "no DPU can be protected from being drained before its host", "upgrade the infra cluster"),
    (MACHINECONFIGPOOLS, _CONFIGURED, ""),
    (MACHINECONFIGS, _CONFIGURED, ""),
    (SCC, "pods are admitted by Pod Security alone", ""),
)


def _api(facts: Facts, resource: Resource, without: str, mend: str) -> Iterator[Diagnosis]:
    about = f"API {resource} of infra"
    if facts.infra.serves(resource):
        yield ok(about, "is served")
    elif mend:
        yield fail(about, f"is not served in version {resource.version}: {without}", mend)
    elif resource is SCC:
        yield ok(about, f"is not served: {without}")
    elif left := _left(facts):
        words = f"is not served any more, although {len(left)} DPUs run what it gave them, and nothing updates them"
        yield replace(fail(about, f"{words}: McpReady says ApiRemoved", _RESTORE), dpus=left)
    else:
        yield warn(about, f"is not served: {without}, and McpReady says ApiNotServed", "docs/install.md")


_RESTORE = "install the machine-config operator in infra again, with its CustomResourceDefinitions"


def _left(facts: Facts) -> frozenset[str]:
    """The DPUs that a machine-config operator has configured."""
    nodes = (node for node in facts.infra.list(Selection(NODES)) if DPU_NODE_LABEL in labels_of(node))
    return frozenset(name_of(node) for node in nodes if machine_state(annotations_of(node)).current)


# --- the kind ---


def judge_definition(facts: Facts) -> Iterable[Diagnosis]:
    """The CustomResourceDefinitions of infra are those of this release."""
    return each(facts.definitions, lambda wanted: _definition(facts, wanted))


def _definition(facts: Facts, wanted: Obj) -> Iterator[Diagnosis]:
    """Without DpuNode the operator works, but reports no single DPU."""
    name, about = name_of(wanted), f"CustomResourceDefinition {name_of(wanted)}"
    live, is_needed = facts.infra.get(CUSTOMRESOURCEDEFINITIONS, "", name), name == crd_name(DPUCLUSTERCONFIGS)
    other = "" if live is None else _other_schema(wanted, live)
    if live is None and is_needed:
        yield fail(about, "does not exist, so that no DpuClusterConfig can be made", INSTALL)
    elif live is None:
        yield warn(about, "does not exist, so that the operator writes nothing of single DPUs", INSTALL)
    elif other and is_needed:
        yield fail(about, f"is of another release than this program: it {other}", INSTALL)
    elif other:
        yield warn(about, f"is of another release than this program: it {other}", INSTALL)
    else:
        yield ok(about, "is the one of this release")


def _other_schema(wanted: Obj, live: Obj) -> str:
    """How it differs from that of this release; empty: it does not."""
    ours, found = _schemas(wanted), _schemas(live)
    lacking, strange = sorted(set(ours) - set(found)), sorted(set(found) - set(ours))
    other = sorted(path for path in set(ours) & set(found) if ours[path] != found[path])
    told = (("lacks", lacking), ("has besides", strange), ("says something else of", other))
    return "; ".join(f"{what} {_some(paths)}" for what, paths in told if paths)


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - _MOST_PATHS} more" if len(paths) > _MOST_PATHS else ""
    return ", ".join(paths[:_MOST_PATHS]) + more


def _schemas(definition: Obj) -> Mapping[str, object]:
    """The schema of each field of each served version, without descriptions."""
    found: dict[str, object] = {}
    for version in mappings(at(definition, "spec", "versions")):
        if version.get("served"):
            _walk(str(version.get("name")), at(version, "schema", "openAPIV3Schema"), found)
    return found


def _walk(path: str, schema: object, found: dict[str, object]) -> None:
    if not isinstance(schema, Mapping):
        return
    found[path] = {key: value for key, value in schema.items() if key not in ("description", "properties", "items")}
    for name, part in (schema.get("properties") or {}).items():
        _walk(f"{path}.{name}", part, found)
    _walk(f"{path}[]", schema.get("items"), found)


# --- the operator ---


def judge_operator(facts: Facts) -> Iterable[Diagnosis]:
    """The operator runs, and one of its pods leads."""
    return each((_deployment, _lease), lambda part: part(facts))


def _deployment(facts: Facts) -> Iterator[Diagnosis]:
    about = f"Deployment {facts.namespace}/{OPERATOR_DEPLOYMENT}"
    live = facts.infra.get(DEPLOYMENTS, facts.namespace, OPERATOR_DEPLOYMENT)
    if live is None:
        yield warn(about, "does not exist: the operator is not installed here, or runs elsewhere", INSTALL)
        return
    ready, wanted = at(live, "status", "readyReplicas") or 0, at(live, "spec", "replicas")
    if not ready:
        mend = f"kubectl describe pods --namespace {facts.namespace} --selector app.kubernetes.io/name=dpunetop"
        yield fail(about, f"none of its {wanted} pods is Ready{_condition(live, 'ReplicaFailure')}", mend)
    else:
        yield ok(about, f"{ready} of {wanted} pods are Ready")


def _condition(obj: Obj, kind: str) -> str:
    for condition in mappings(at(obj, "status", "conditions")):
        if condition.get("type") == kind and condition.get("status") == "True":
            return f": {sentence(str(condition.get('message')))}"
    return ""


def _lease(facts: Facts) -> Iterator[Diagnosis]:
    about = f"Lease {facts.namespace}/{OPERATOR_LEASE}"
    live = facts.infra.get(LEASES, facts.namespace, OPERATOR_LEASE)
    renewed = parse_time(at(live, "spec", "renewTime"))
    is_here = facts.infra.objects.get(Place(DEPLOYMENTS, facts.namespace, OPERATOR_DEPLOYMENT)) is not None
    logs = f"kubectl logs --namespace {facts.namespace} deployment/{OPERATOR_DEPLOYMENT} --tail 50"
    mend = logs if is_here else "read the operator's log where it runs, or install it"
    if live is None or renewed is None:
        yield warn(about, "has never been held: no operator leads here, or one runs without --leader-elect", mend)
        return
    holder = named(str(at(live, "spec", "holderIdentity") or "no holder"))
    age = facts.now - renewed
    if age > _STALE:
        yield fail(
            about, f"was last renewed {_ago(age)} ago, at {_text(renewed)}, by {holder}: no operator leads", mend
        )
    else:
        yield ok(about, f"is held by {holder}")


def _ago(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    return f"{seconds} s" if seconds < 600 else f"{seconds // 60} min"


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


# --- admission ---


def blocker_rehearsal(namespace: str) -> Place:
    """The pod whose creation is rehearsed in the operator's namespace."""
    return Place(PODS, namespace, f"{DRAIN_BLOCKER}-doctor")


def pod_rehearsal(namespace: str) -> Place:
    """The pod whose creation is rehearsed in a served namespace."""
    return Place(PODS, namespace, f"{OVNKUBE_NODE}-doctor")


def judge_admission(facts: Facts) -> Iterable[Diagnosis]:
    """Infra admits the blockers and the pods of the DPUs."""
    served = {namespace_of(config) for config in configs_of(facts)}
    return each(_admitted(facts.namespace, served), lambda case: _admission(facts.infra, *case), _home)


def _admitted(namespace: str, served: Iterable[str]) -> Iterator[tuple[str, str, str, Place]]:
    """Each kind of pod: namespace, ServiceAccount and SecurityContextConstraints, and its rehearsal."""
    yield namespace, DRAIN_BLOCKER, "hostnetwork-v2", blocker_rehearsal(namespace)
    for home in sorted(served):
        yield home, OVNKUBE_SERVICE_ACCOUNT, "privileged", pod_rehearsal(home)


def _home(case: tuple[str, str, str, Place]) -> str:
    return case[0]


def _admission(
    infra: ClusterFacts, namespace: str, account: str, constraints: str, place: Place
) -> Iterator[Diagnosis]:
    about = f"namespace {namespace}"
    live = infra.get(NAMESPACES, "", namespace)
    if live is None:
        yield fail(about, "does not exist", f"kubectl create namespace {namespace}")
        return
    refused = infra.rehearsal(place)
    if refused is None:
        yield ok(about, f"admits pods such as {place.name.removesuffix('-doctor')}")
    else:
        level = labels_of(live).get(ENFORCE_LABEL, "")
        words = f"does not admit pods of ServiceAccount {account} ({ENFORCE_LABEL}: {named(level or 'none')})"
        label = f"kubectl label namespace {namespace} --overwrite {ENFORCE_LABEL}=privileged"
        mend = f"kubectl describe resourcequota --namespace {namespace}" if level == "privileged" else label
        yield fail(about, f"{words}: {sentence(refused.words, 300)}", mend)
    yield from _constraints(infra, namespace, account, constraints)


def constraints_rights(namespace: str, served: Iterable[str]) -> Iterator[tuple[str, Right]]:
    """The rights that OpenShift's admission requires of the ServiceAccounts of pods."""
    for home, account, constraints, _ in _admitted(namespace, served):
        yield user_of(home, account), _constraints_right(constraints, home)


def _constraints_right(constraints: str, namespace: str) -> Right:
    return Right("use", SCC.group, SCC.plural, constraints, namespace)


def _constraints(infra: ClusterFacts, namespace: str, account: str, constraints: str) -> Iterator[Diagnosis]:
    if not infra.serves(SCC):
        return
    user = user_of(namespace, account)
    if infra.may(user, _constraints_right(constraints, namespace)):
        yield ok(user, f"may use SecurityContextConstraints {constraints}")
    else:
        grant = f"oc adm policy add-scc-to-user {constraints} --serviceaccount {account} --namespace {namespace}"
        yield fail(user, f"may not use SecurityContextConstraints {constraints}: its pods are not admitted", grant)
