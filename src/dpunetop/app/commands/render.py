"""The command `render`: all that a DpuClusterConfig would have written, offline or as a diff against a cluster."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from dpunetop.app.commands.drawing import Drawing, draw
from dpunetop.app.commands.exits import Exit, worst
from dpunetop.app.commands.flags import CommandParser, UsageError
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.kinds import resource_of
from dpunetop.app.commands.layout import Tone
from dpunetop.app.commands.lease import operator_namespace
from dpunetop.app.commands.output import Output, as_yaml
from dpunetop.app.commands.paper import Base, DryRunClusters, Written, read_objects
from dpunetop.base.quoting import named
from dpunetop.domain import names
from dpunetop.domain.clusterconfig.types import tenant_cluster_name
from dpunetop.domain.names import DPUCLUSTERCONFIGS, owner_hash
from dpunetop.domain.reasons import CREDENTIALS_VALID, DPU_CREDENTIAL_VALID, TENANT_REACHABLE
from dpunetop.kube.errors import ApiError, NotFound
from dpunetop.kube.keys import CUSTOMRESOURCEDEFINITIONS, INFRA, NAMESPACES, SECRETS, crd_name
from dpunetop.kube.meta import Obj, annotations_of, name_of, namespace_of, uid_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import by_name
from dpunetop.runtime.client.client import Client
from dpunetop.runtime.reading import NotEngaged

SUMMARY = "Show all that a DpuClusterConfig would have the operator write; nothing is written."
_EPILOG = """offline, what infra holds (Nodes, env-overrides, infra's own ovnkube-node) may be given with -f too.
exit codes: 0 all is shown, and with --diff nothing differs; 1 something differs or is refused; 2 usage;
3 something cannot be known, and is named"""
_NOTES = (
    "what Secrets hold is not shown; offline, the owner label and references stand for UIDs that the cluster gives",
    "Secrets dpunetop-tenant-kubeconfig and dpunetop-tenant-credential are written from what the tenant answers",
)
_HIDDEN = "<not shown>"
_UNKNOWN_UID = "unknown-offline"
_PAGE = 500
_GENERATION = "deprecated.daemonset.template.generation"
"""An annotation that the server sets on DaemonSets."""
_OF_THE_SERVER = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp")


def render(arguments: Sequence[str]) -> int:
    """See `SUMMARY`; the exit codes are those of `Exit`."""
    return invoke(parser(), arguments, _render)


def parser() -> CommandParser:
    """The flags and arguments of the command."""
    made = CommandParser("render", SUMMARY, _EPILOG)
    made.add_argument(
        "-f", "--file", action="append", required=True, help="file or folder, or -; with one DpuClusterConfig"
    )
    made.add_argument("--tenant-dir", action="append", default=[], help="file or folder with objects of the tenant")
    made.add_argument("--diff", action="store_true", help="against the clusters, by a server-side dry run")
    return made


def _render(invocation: Invocation) -> Exit:
    given = list(read_objects(invocation.given.file))
    config = _config(given)
    infra = invocation.infra() if invocation.given.diff else None
    paper = DryRunClusters(_base(invocation, config, infra))
    for obj in given:
        if obj is not config:
            paper.put(INFRA, resource_of(obj), obj)
    tenant = list(read_objects(invocation.given.tenant_dir))
    cluster = tenant_cluster_name(namespace_of(config), name_of(config))
    for obj in tenant:
        paper.put(cluster, resource_of(obj), obj)
    has_tenant = bool(tenant) or invocation.flags.tenants.of(namespace_of(config), name_of(config)) is not None
    _seed(paper, config, infra, has_tenant=has_tenant)
    namespace = _operator_namespace(invocation, paper)
    drawing = draw(paper, namespace_of(config), name_of(config), namespace, invocation.clock)
    if infra is not None:
        return _diff(invocation.out, infra, drawing)
    return _print(invocation.out, drawing)


def _config(given: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found = [obj for obj in given if obj["kind"] == DPUCLUSTERCONFIGS.kind]
    if len(found) != 1:
        raise UsageError(f"-f: {len(found)} DpuClusterConfigs in the files; give one")
    if not isinstance(found[0].get("spec"), dict) or not found[0]["metadata"].get("namespace"):
        raise UsageError("-f: the DpuClusterConfig has no spec or no metadata.namespace")
    return found[0]


# --- what the operator would read -----------------------------------------------------------------------------------


def _base(invocation: Invocation, config: Obj, infra: Client | None) -> Base:
    cluster = tenant_cluster_name(namespace_of(config), name_of(config))
    clients = {} if infra is None else {INFRA: infra}
    tenant = invocation.tenant(namespace_of(config), name_of(config), cluster)
    if tenant is not None:
        clients[cluster] = tenant
    offline = {INFRA, cluster} if infra is None else set()
    if invocation.given.tenant_dir:
        offline.add(cluster)

    def listed(name: str, selection: Selection) -> Iterable[Obj]:
        if name in clients:
            return (obj for page in clients[name].pages(selection, _PAGE) for obj in page.items)
        if name not in offline or (name == cluster and not invocation.given.tenant_dir):
            raise NotEngaged(name)
        return ()

    return listed


def _seed(paper: DryRunClusters, config: dict[str, Any], infra: Client | None, *, has_tenant: bool) -> None:
    """Add the objects that the operator's other controllers would have written before."""
    live = _live(infra, config)
    if infra is None:
        kube_system = {"metadata": {"name": names.KUBE_SYSTEM, "uid": _UNKNOWN_UID}}
        paper.put(INFRA, NAMESPACES, kube_system)
        paper.put(INFRA, NAMESPACES, {"metadata": {"name": namespace_of(config)}})
        paper.put(INFRA, CUSTOMRESOURCEDEFINITIONS, {"metadata": {"name": crd_name(names.MACHINECONFIGPOOLS)}})
    paper.put(INFRA, DPUCLUSTERCONFIGS, _served(config, live, has_tenant=has_tenant))
    _put_credential(paper, config)


def _put_credential(paper: DryRunClusters, config: Obj) -> None:
    """Add the credential Secret of the pods; its content does not matter here."""
    namespace, name = namespace_of(config), names.TENANT_CREDENTIAL
    if list(paper.list(INFRA, Selection(SECRETS, namespace, by_name(name)))):
        return
    kube_system = next(iter(paper.list(INFRA, Selection(NAMESPACES, "", by_name(names.KUBE_SYSTEM)))), None)
    owner = owner_hash(uid_of(kube_system), namespace, name_of(config)) if kube_system is not None else ""
    metadata = {"name": name, "namespace": namespace, "labels": {names.OWNER_LABEL: owner}}
    paper.put(INFRA, SECRETS, {"metadata": metadata, "data": {names.TENANT_CREDENTIAL_KEY: ""}})


def _live(infra: Client | None, config: Obj) -> Obj | None:
    if infra is None:
        return None
    try:
        return infra.get(DPUCLUSTERCONFIGS, namespace_of(config), name_of(config))
    except NotFound:
        return None


def _served(config: dict[str, Any], live: Obj | None, *, has_tenant: bool) -> dict[str, Any]:
    """The DpuClusterConfig once it is served: the live object with the given spec."""
    metadata = {"uid": _UNKNOWN_UID, "generation": 1, **config["metadata"], **dict((live or {}).get("metadata") or {})}
    metadata["finalizers"] = sorted({*metadata.get("finalizers", ()), names.FINALIZER})
    pool = config["spec"].get("poolName") or "none"
    status = {"claimedPool": pool, **dict((live or {}).get("status") or {})}
    if not has_tenant or live is None:
        status["conditions"] = _conditions(has_tenant=has_tenant)
    return {**config, "metadata": metadata, "status": status}


def _conditions(*, has_tenant: bool) -> list[dict[str, str]]:
    status, reason = ("True", "Reachable") if has_tenant else ("Unknown", "NotLookedAt")
    message = "" if has_tenant else "the tenant was not looked at: give --tenant-dir or --tenant-kubeconfig"
    types = (CREDENTIALS_VALID, TENANT_REACHABLE, DPU_CREDENTIAL_VALID)
    return [{"type": each, "status": status, "reason": reason, "message": message} for each in types]


def _operator_namespace(invocation: Invocation, paper: DryRunClusters) -> str:
    return operator_namespace(paper.list, invocation.clock.now, invocation.flags.operator_namespace)


# --- what is shown --------------------------------------------------------------------------------------------------


def shown(desired: Obj) -> dict[str, Any]:
    """An object for output: without the content of a Secret and the fields that only the server sets."""
    metadata = {key: value for key, value in desired["metadata"].items() if key not in _OF_THE_SERVER}
    notes = {key: value for key, value in annotations_of(desired).items() if key != _GENERATION}
    found = {**desired, "metadata": {**metadata, **({"annotations": notes} if notes else {})}}
    found.pop("status", None)
    if found.get("kind") == SECRETS.kind:
        found |= {
            member: dict.fromkeys(found[member], _HIDDEN) for member in ("data", "stringData") if found.get(member)
        }
    return found


def _print(out: Output, drawing: Drawing) -> Exit:
    objects = [shown(each.desired) for each in drawing.written]
    if out.format.is_document and out.format.value == "json":
        out.document({"objects": objects, "unknown": list(drawing.unknown)})
    else:
        for each, obj in zip(drawing.written, objects, strict=True):
            out.verbatim(f"---\n# as {each.field_manager}\n{as_yaml(obj)}")
        for text in drawing.unknown:
            out.exact(f"# not written: {text}", Tone.WARN)
        for text in _NOTES:
            out.exact(f"# {text}", Tone.DIM)
    return Exit.UNSEEN if drawing.unknown else Exit.GOOD


def _diff(out: Output, infra: Client, drawing: Drawing) -> Exit:
    """Print the differences from the cluster, by its own dry run."""
    found = [_differs(out, infra, each) for each in drawing.written if each.cluster == INFRA]
    for text in drawing.unknown:
        out.exact(f"# not written: {text}", Tone.WARN)
    out.exact(f"# {len(found)} objects, {sum(each is Exit.WRONG for each in found)} of them differ")
    return worst(*found, Exit.UNSEEN if drawing.unknown else Exit.GOOD)


def _differs(out: Output, infra: Client, each: Written) -> Exit:
    namespace = f"{named(namespace_of(each.desired))}/" if each.resource.namespaced else ""
    where = f"{named(each.resource.kind.lower())} {namespace}{named(name_of(each.desired))}"
    try:
        before = infra.get(each.resource, namespace_of(each.desired), name_of(each.desired))
    except NotFound:
        before = {}
    try:
        after = infra.preview(each.resource, each.desired, each.field_manager)
    except ApiError as err:
        out.exact(f"# {where} would be refused: {err}", Tone.BAD)
        return Exit.WRONG
    lines = list(
        difflib.unified_diff(_yaml(before), _yaml(after), f"live {where}", f"as rendered {where}", lineterm="")
    )
    for line in lines:
        out.exact(line, {"+": Tone.GOOD, "-": Tone.BAD}.get(line[:1], Tone.PLAIN))
    return Exit.WRONG if lines else Exit.GOOD


def _yaml(obj: Obj) -> list[str]:
    return as_yaml(shown(obj)).splitlines() if obj else []
