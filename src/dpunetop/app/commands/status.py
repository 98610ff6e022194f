"""The command `status`: all DPUs of all tenants, worst first; which hosts have no network, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import CommandParser
from dpunetop.app.commands.inspection import Clients, ConfigInspection, Inspection, Inspector
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.layout import Cell, Column, Table, Tone
from dpunetop.app.commands.output import Format, Output
from dpunetop.app.commands.rows import MOST_WORDS, TONES, Row, rows_of, why
from dpunetop.app.commands.saying import (
    condition_words,
    contradictions,
    drain_tone,
    remembered_words,
    spelled_age,
    written_document,
)
from dpunetop.base.quoting import cut, named, printable
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.doctor.model import Diagnosis, Verdict
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.dpunode.written import Written
from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.domain.reasons import CONDITIONS, READY, TENANT_REACHABLE, Gravity, meaning
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client

SUMMARY = "Show all DPUs of all tenants, worst first: which hosts have no network, and why."
_EPILOG = "exit codes: 0 all hosts are well, 1 something is wrong, 2 usage, 3 a tenant was not looked at"
_PAGE = 500
_COLUMNS = (
    Column("HOST"),
    Column("DPU"),
    Column("CONFIG"),
    Column("PHASE"),
    Column("NETWORK"),
    Column("SINCE"),
    Column("REASON", is_wide=True),
    Column("MACHINECONFIG", is_wide=True),
    Column("IMAGE", is_wide=True),
    Column("WRITTEN", is_wide=True),
    Column("LAST DRAIN", is_wide=True),
    Column("WHY"),
)
_NETWORK = {"True": ("yes", Tone.GOOD), "False": ("NO", Tone.BAD), "Unknown": ("?", Tone.WARN)}


def status(arguments: Sequence[str]) -> int:
    """See `SUMMARY`; the exit codes are those of `Exit`."""
    return invoke(parser(), arguments, _status)


def parser() -> CommandParser:
    """The flags and arguments of the command."""
    return CommandParser("status", SUMMARY, _EPILOG)


def inspect(invocation: Invocation) -> Inspection:
    """One look with the shared flags."""
    return inspector_of(invocation).inspect(lambda config: invocation.flags.namespace in ("", config.namespace))


def inspector_of(invocation: Invocation) -> Inspector:
    """An `Inspector` with a client for each tenant whose kubeconfig was given."""
    infra = invocation.infra()
    return Inspector(_clients(invocation, infra), invocation.clock, invocation.flags.operator_namespace)


def _clients(invocation: Invocation, infra: Client) -> Clients:
    clients = {INFRA: infra}
    for namespace, name in _configs(infra):
        cluster = tenant_cluster_name(namespace, name)
        tenant = invocation.tenant(namespace, name, cluster)
        if tenant is not None:
            clients[cluster] = tenant
    return clients


def _configs(infra: Client) -> list[tuple[str, str]]:
    """Namespace and name of each DpuClusterConfig; empty if the CRD is not installed."""
    try:
        pages = infra.pages(Selection(DPUCLUSTERCONFIGS), _PAGE)
        return [(namespace_of(obj), name_of(obj)) for page in pages for obj in page.items]
    except NotFound:
        return []


def _status(invocation: Invocation) -> Exit:
    inspection = inspect(invocation)
    if invocation.out.format.is_document:
        invocation.out.document(as_document(inspection, invocation.clock.now()))
    else:
        show(invocation.out, inspection, invocation.clock.now())
    return exit_of(inspection)


def exit_of(inspection: Inspection) -> Exit:
    """The exit code of the look."""
    configs = inspection.configs
    is_own_wrong = any(each.verdict is Verdict.FAIL for each in inspection.own)
    if is_own_wrong or any(map(_is_wrong, configs)) or any(row.is_wrong or row.lacking for row in rows_of(inspection)):
        return Exit.WRONG
    is_unseen = inspection.operator.is_unread or any(each.unseen or each.blind or each.unread for each in configs)
    is_unseen |= any((ready_condition(each.config) or {}).get("status") == "Unknown" for each in configs)
    is_unseen |= any(row.is_unknown or row.host.unseen_pods for row in rows_of(inspection))
    return Exit.UNSEEN if is_unseen else Exit.GOOD


def _is_wrong(look: ConfigInspection) -> bool:
    is_refused = bool(look.trouble) and look.config.kubeconfig_secret is not None
    has_mistakes = look.roster is not None and bool(look.roster.mistakes or look.roster.problems)
    is_told = any(said["status"] != "True" for said in _told(look.config))  # else it is a warning
    is_cut_off = any(
        each.phase is Phase.WAITING and each.lacks_network for host in look.hosts for each in host.statuses
    )
    return is_refused or has_mistakes or is_told or is_cut_off


def show(out: Output, inspection: Inspection, now: datetime) -> None:
    """Print the table and the lines below it."""
    rows = rows_of(inspection)
    if rows:
        out.table(Table(_COLUMNS, tuple(_row(each, now) for each in rows)))
        out.line()
    if rows or not any(each.blind for each in inspection.configs):
        out.line(*_network_words([each.dpu for each in rows]))
    for config in inspection.configs:
        for text, tone in _config_words(config):
            out.line(text, tone)
    for text in contradictions(inspection, now):
        out.line(text, Tone.WARN)
    if not inspection.configs:
        out.line("there is no DpuClusterConfig", Tone.WARN)
    out.line(inspection.operator.words, Tone.PLAIN if inspection.operator.is_alive else Tone.WARN)
    for each in inspection.own:
        if each.verdict in _OWN_TONES or out.format is Format.WIDE:
            out.line(_own_words(each), _OWN_TONES.get(each.verdict, Tone.PLAIN))


_OWN_TONES = {Verdict.FAIL: Tone.BAD, Verdict.WARN: Tone.WARN}


def _own_words(each: Diagnosis) -> str:
    return f"the operator's own: {each.about}: {each.message}{f'; {each.mend}' if each.mend else ''}"


def _row(row: Row, now: datetime) -> tuple[Cell, ...]:
    host, each, written = row.host, row.dpu, row.written
    network, tone = _NETWORK[each.has_network] if each.host else ("-", Tone.DIM)
    return (
        Cell(named(each.host) if each.host else "-"),
        Cell(named(each.dpu)),
        Cell(f"{host.config.namespace}/{host.config.name}"),
        Cell(str(row.phase), Tone.BAD if row.refusing else TONES[row.phase]),
        Cell(network, tone),
        Cell(_age(row.since, now)),
        Cell(each.reason if row.held is None else row.held.reason),
        Cell(printable(each.machine_config, 60) or "-"),
        Cell(printable(each.ovn_image, 80) or "-"),
        Cell(written.phase if written else "-"),
        _drain_cell(written, now),
        Cell(why(row, now)),
    )


def _drain_cell(written: Written | None, now: datetime) -> Cell:
    drain = None if written is None else written.drain
    if drain is None:
        return Cell("-")
    ended = f"{_age(drain.ended, now)} ago" if drain.ended else "goes on"
    return Cell(f"{ended}, {spelled_age(sum(drain.steps.values()))}", drain_tone(drain))


def _age(since: int, now: datetime) -> str:
    return spelled_age(now.timestamp() - since) if since else "-"


def _network_words(statuses: Iterable[DpuNodeStatus]) -> tuple[str, Tone]:
    hosts = {each.host: each for each in reversed(list(statuses)) if each.host}
    without = sorted(host for host, each in hosts.items() if each.has_network == "False")
    unknown = [host for host, each in hosts.items() if each.has_network == "Unknown"]
    words = f"{len(hosts) - len(without) - len(unknown)} of {len(hosts)} hosts have a network"
    if unknown:
        words += f", of {len(unknown)} it is not known"
    if not without:
        return words, Tone.WARN if unknown else Tone.PLAIN
    shown = ", ".join(map(named, without[:10])) + (", ..." if len(without) > 10 else "")
    return f"{words}; {len(without)} have none: {shown}", Tone.BAD


def _config_words(look: ConfigInspection) -> Iterable[tuple[str, Tone]]:
    """The lines of one DpuClusterConfig, apart from its hosts."""
    who = f"{look.config.namespace}/{look.config.name}"
    if look.trouble:
        yield f"{who}: {look.trouble}", Tone.BAD if look.config.kubeconfig_secret else Tone.DIM
    if look.blind:
        yield f"{who}: which hosts have a network was not looked at: {look.blind}", Tone.WARN
        yield from ((f"{who}: {text}", Tone.WARN) for text in remembered_words(look))
    if look.unread:
        yield f"{who}: what the operator wrote of each DPU was not looked at: {look.unread}", Tone.WARN
    if look.unseen:
        yield f"{who}: its tenant was not looked at: {look.unseen}", Tone.WARN
    for each in look.roster.mistakes if look.roster is not None else ():
        yield f"{who}: {each.reason}: {each.message}", Tone.BAD
    for text in look.roster.problems if look.roster is not None else ():
        yield f"{who}: {text}", Tone.BAD
    yield from _operator_words(who, look.config)


def _operator_words(who: str, config: DpuClusterConfig) -> Iterable[tuple[str, Tone]]:
    """The operator's summary, and each condition that reports a problem."""
    ready = ready_condition(config)
    if ready is None:
        yield f"{who}: no operator has said anything about it yet", Tone.WARN
        return
    told = list(_told(config))
    if not _repeats(ready, told):
        yield _said(who, ready)
    yield from (_said(who, each) for each in told)


def _repeats(ready: Mapping[str, Any], told: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the summary repeats a condition that is printed anyway."""
    words = {(each["status"], each["reason"]) for each in told}
    return ready["status"] != "True" and (ready["status"], ready["reason"]) in words


def _said(who: str, said: Mapping[str, Any]) -> tuple[str, Tone]:
    """The words of a condition; only its name if all is well."""
    if said["status"] == "True" and meaning(said["reason"]).gravity is Gravity.GOOD:
        name = f"{said['type']}={said['status']} {said['reason']}"
        return f"{who}: the operator says: {cut(name, MOST_WORDS)}", Tone.GOOD
    return f"{who}: the operator says: {condition_words(said, MOST_WORDS)}", Tone.WARN


def _told(config: DpuClusterConfig) -> Iterable[Mapping[str, Any]]:
    """The conditions besides `Ready` that a person must see."""
    said = (condition_of(config.live, type_) for type_ in CONDITIONS if type_ != READY)
    told = [each for each in said if each is not None and _asks_for_action(each)]
    is_cut_off = any(each["type"] == TENANT_REACHABLE for each in told)
    return [each for each in told if not (is_cut_off and each["reason"] in _OF_A_TENANT_AWAY)]


_OF_A_TENANT_AWAY = ("NoKubeconfig", "NotVerified", "TenantNotRead")
"""What only follows from a tenant that does not answer, and ends with that."""


def _asks_for_action(said: Mapping[str, Any]) -> bool:
    return meaning(said["reason"]).gravity is Gravity.ACTION


def ready_condition(config: DpuClusterConfig) -> Mapping[str, Any] | None:
    """The condition `Ready`, if the operator has written it."""
    return condition_of(config.live, READY)


def as_document(inspection: Inspection, now: datetime) -> dict[str, Any]:
    """The content of the table for programs."""
    return {
        "operator": {
            "alive": inspection.operator.is_alive,
            "namespace": inspection.operator.namespace,
            "message": inspection.operator.words,
            "own": [{"verdict": each.verdict.value, "message": _own_words(each)} for each in inspection.own],
        },
        "configs": [_config_document(each) for each in inspection.configs],
        "dpus": [_dpu_document(each) for each in rows_of(inspection)],
        "lookedAt": now.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _config_document(look: ConfigInspection) -> dict[str, Any]:
    roster = look.roster
    said = (condition_of(look.config.live, type_) for type_ in CONDITIONS)
    return {
        "namespace": look.config.namespace,
        "name": look.config.name,
        "trouble": look.trouble,
        "notLookedAt": look.blind,
        "tenantNotLookedAt": look.unseen,
        "mistakes": [] if roster is None else [f"{each.reason}: {each.message}" for each in roster.mistakes],
        "problems": [] if roster is None else list(roster.problems),
        "operatorSays": [dict(each) for each in said if each is not None],
    }


def _dpu_document(row: Row) -> dict[str, Any]:
    host, each, written = row.host, row.dpu, row.written
    return {
        "config": f"{host.config.namespace}/{host.config.name}",
        "dpu": each.dpu,
        "host": each.host,
        "phase": str(row.phase),
        "reason": each.reason if row.held is None else row.held.reason,
        "message": each.message if row.held is None else row.held.message,
        "refusedBy": [pod.words for pod in row.refusing],
        "network": each.has_network,
        "since": row.since or None,
        "ovnImage": each.ovn_image,
        "machineConfig": each.machine_config,
        "written": written_document(written),
        "contradicted": written is not None and written.contradicts(each),
        "conditions": [
            {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message} for c in each.conditions
        ],
    }
