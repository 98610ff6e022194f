"""The command `status`: all DPUs of all tenants, worst first; which hosts have no network, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import CommandParser
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.look import Clients, ConfigLook, HostLook, Look, Looker
from dpunetop.app.commands.output import Cell, Column, Output, Table, Tone
from dpunetop.app.commands.saying import (
    agreed_since,
    contradictions,
    drain_tone,
    spelled_age,
    written_document,
    written_words,
)
from dpunetop.base.quoting import cut, named, printable
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.dpunode.written import Written
from dpunetop.domain.names import DPUCLUSTERCONFIGS
from dpunetop.domain.reasons import CONDITIONS, READY, Gravity, meaning
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.errors import NotFound
from dpunetop.kube.keys import INFRA
from dpunetop.kube.meta import name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.runtime.client.client import Client

SUMMARY = "Show all DPUs of all tenants, worst first: which hosts have no network, and why."
_EPILOG = "exit codes: 0 all hosts are well, 1 something is wrong, 2 usage, 3 a tenant was not looked at"
_MOST_WORDS = 300
_PAGE = 500
_TONES = {
    **dict.fromkeys(Phase, Tone.WARN),
    Phase.NO_NETWORK: Tone.BAD,
    Phase.HELD: Tone.BAD,
    Phase.UNPROTECTED: Tone.BAD,
    Phase.SERVING: Tone.GOOD,
    Phase.SPARE: Tone.DIM,
    Phase.UNPAIRED: Tone.DIM,
}
WRONG_PHASES = frozenset(phase for phase, tone in _TONES.items() if tone is Tone.BAD)
"""Phases in which somebody has to act."""
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


def take_look(invocation: Invocation) -> Look:
    """One look, as the shared flags say."""
    return looker(invocation).look(lambda config: invocation.flags.namespace in ("", config.namespace))


def looker(invocation: Invocation) -> Looker:
    """What looks, with a client for each tenant whose kubeconfig was given."""
    infra = invocation.infra()
    return Looker(_clients(invocation, infra), invocation.clock, invocation.flags.operator_namespace)


def _clients(invocation: Invocation, infra: Client) -> Clients:
    clients = {INFRA: infra}
    for namespace, name in _configs(infra):
        cluster = tenant_cluster_name(namespace, name)
        tenant = invocation.tenant(namespace, name, cluster)
        if tenant is not None:
            clients[cluster] = tenant
    return clients


def _configs(infra: Client) -> list[tuple[str, str]]:
    """Namespace and name of each; none where their definition is not there."""
    try:
        pages = infra.pages(Selection(DPUCLUSTERCONFIGS), _PAGE)
        return [(namespace_of(obj), name_of(obj)) for page in pages for obj in page.items]
    except NotFound:
        return []


def _status(invocation: Invocation) -> Exit:
    look = take_look(invocation)
    if invocation.out.format.is_document:
        invocation.out.document(as_document(look, invocation.clock.now()))
    else:
        show(invocation.out, look, invocation.clock.now())
    return exit_of(look)


def exit_of(look: Look) -> Exit:
    """What the look says in one number."""
    configs = look.configs
    if any(_is_wrong(each) for each in configs):
        return Exit.WRONG
    is_unseen = any(each.unseen for each in configs) or any(row.dpu.phase is Phase.UNKNOWN for row in rows_of(look))
    return Exit.UNSEEN if is_unseen else Exit.GOOD


def _is_wrong(look: ConfigLook) -> bool:
    is_refused = bool(look.trouble) and look.config.kubeconfig_secret is not None
    has_mistakes = look.roster is not None and bool(look.roster.mistakes or look.roster.problems)
    phases = {each.phase for host in look.hosts for each in host.statuses}
    is_told = any(said["status"] != "True" for said in _told(look.config))  # else it is a warning
    is_cut_off = any(
        each.phase is Phase.WAITING and each.lacks_network for host in look.hosts for each in host.statuses
    )
    return is_refused or has_mistakes or is_told or is_cut_off or bool(phases & WRONG_PHASES)


@dataclass(frozen=True, slots=True)
class Row:
    """One DPU, and what was looked at with it."""

    config: ConfigLook
    host: HostLook
    dpu: DpuNodeStatus

    @property
    def names(self) -> tuple[str, str]:
        """Of host and DPU."""
        return self.dpu.host, self.dpu.dpu

    @property
    def since(self) -> int:
        """Since when the host has no network, else since when its drain is wanted, else since when the operator has
        written the same; in seconds of the epoch, 0: not known."""
        return since_of(self.host, self.dpu) or agreed_since(self.config, self.dpu)


def rows_of(look: Look) -> list[Row]:
    """All DPUs, the worst first."""
    order = list(Phase)
    found = [Row(config, host, each) for config in look.configs for host in config.hosts for each in host.statuses]
    return sorted(found, key=lambda row: (order.index(row.dpu.phase), not row.dpu.lacks_network, *row.names))


def show(out: Output, look: Look, now: datetime) -> None:
    """The table, and what it does not say."""
    rows = rows_of(look)
    if rows:
        out.table(Table(_COLUMNS, tuple(_row(each, now) for each in rows)))
        out.line()
    out.line(*_network_words([each.dpu for each in rows]))
    for config in look.configs:
        for text, tone in _config_words(config):
            out.line(text, tone)
    for text in contradictions(look, now):
        out.line(text, Tone.WARN)
    if not look.configs:
        out.line("there is no DpuClusterConfig", Tone.WARN)
    out.line(look.operator.words, Tone.PLAIN if look.operator.is_alive else Tone.WARN)


def _row(row: Row, now: datetime) -> tuple[Cell, ...]:
    host, each, written = row.host, row.dpu, row.config.written.get(row.dpu.dpu)
    network, tone = _NETWORK[each.has_network] if each.host else ("-", Tone.DIM)
    return (
        Cell(named(each.host) if each.host else "-"),
        Cell(named(each.dpu)),
        Cell(f"{host.config.namespace}/{host.config.name}"),
        Cell(str(each.phase), _TONES[each.phase]),
        Cell(network, tone),
        Cell(_age(row.since, now)),
        Cell(each.reason),
        Cell(printable(each.machine_config, 60) or "-"),
        Cell(printable(each.ovn_image, 80) or "-"),
        Cell(written.phase if written else "-"),
        _drain_cell(written, now),
        Cell(_why(row, now)),
    )


def _drain_cell(written: Written | None, now: datetime) -> Cell:
    drain = None if written is None else written.drain
    if drain is None:
        return Cell("-")
    ended = f"{_age(drain.ended, now)} ago" if drain.ended else "goes on"
    return Cell(f"{ended}, {spelled_age(sum(drain.steps.values()))}", drain_tone(drain))


def _why(row: Row, now: datetime) -> str:
    """What was not looked at may well have been written of."""
    words = printable(row.dpu.message, _MOST_WORDS)
    said = written_words(row.config, row.dpu, now) if row.dpu.phase is Phase.UNKNOWN else ""
    return f"{words}; the operator {said}" if said and not row.config.unread else words


def since_of(host: HostLook, each: DpuNodeStatus) -> int:
    """Since when the host has no network, else since when its drain is wanted, in seconds of the epoch; 0: neither."""
    outage = None if host.decided is None else host.decided.outage
    if outage is not None and outage.dpu == each.dpu and each.has_network == "False":
        return outage.since
    return 0 if each.drain is None else each.drain.wanted


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


def _config_words(look: ConfigLook) -> Iterable[tuple[str, Tone]]:
    """What is to be said of one DpuClusterConfig beside its hosts."""
    who = f"{look.config.namespace}/{look.config.name}"
    if look.trouble:
        yield f"{who}: {look.trouble}", Tone.BAD if look.config.kubeconfig_secret else Tone.DIM
    if look.unseen:
        yield f"{who}: its tenant was not looked at: {look.unseen}", Tone.WARN
    for each in look.roster.mistakes if look.roster is not None else ():
        yield f"{who}: {each.reason}: {each.message}", Tone.BAD
    for text in look.roster.problems if look.roster is not None else ():
        yield f"{who}: {text}", Tone.BAD
    yield from _operator_words(who, look.config)


def _operator_words(who: str, config: DpuClusterConfig) -> Iterable[tuple[str, Tone]]:
    """What the operator says of it: its summary, and each condition that does not say that all is well."""
    ready = ready_condition(config)
    if ready is None:
        yield f"{who}: no operator has said anything about it yet", Tone.WARN
        return
    for said in (ready, *_told(config)):
        is_good = said["status"] == "True" and meaning(said["reason"]).gravity is Gravity.GOOD
        step = "" if is_good else f"; {meaning(said['reason']).next_step}"
        words = cut(f"{said['type']}={said['status']} {said['reason']}: {said['message']}", _MOST_WORDS)
        yield f"{who}: the operator says: {words}{step}", Tone.GOOD if is_good else Tone.WARN


def _told(config: DpuClusterConfig) -> Iterable[Mapping[str, Any]]:
    """The conditions beside `Ready` of which somebody has to hear."""
    said = (condition_of(config.live, type_) for type_ in CONDITIONS if type_ != READY)
    return [each for each in said if each is not None and _asks_for_action(each)]


def _asks_for_action(said: Mapping[str, Any]) -> bool:
    return meaning(said["reason"]).gravity is Gravity.ACTION


def ready_condition(config: DpuClusterConfig) -> Mapping[str, Any] | None:
    """What the operator sums up, if it has."""
    return condition_of(config.live, READY)


def as_document(look: Look, now: datetime) -> dict[str, Any]:
    """For programs: everything that the table says."""
    return {
        "operator": {
            "alive": look.operator.is_alive,
            "namespace": look.operator.namespace,
            "message": look.operator.words,
        },
        "configs": [_config_document(each) for each in look.configs],
        "dpus": [_dpu_document(each) for each in rows_of(look)],
        "lookedAt": now.astimezone(UTC).isoformat(timespec="seconds"),
    }


def _config_document(look: ConfigLook) -> dict[str, Any]:
    roster = look.roster
    said = (condition_of(look.config.live, type_) for type_ in CONDITIONS)
    return {
        "namespace": look.config.namespace,
        "name": look.config.name,
        "trouble": look.trouble,
        "tenantNotLookedAt": look.unseen,
        "mistakes": [] if roster is None else [f"{each.reason}: {each.message}" for each in roster.mistakes],
        "problems": [] if roster is None else list(roster.problems),
        "operatorSays": [dict(each) for each in said if each is not None],
    }


def _dpu_document(row: Row) -> dict[str, Any]:
    host, each, written = row.host, row.dpu, row.config.written.get(row.dpu.dpu)
    return {
        "config": f"{host.config.namespace}/{host.config.name}",
        "dpu": each.dpu,
        "host": each.host,
        "phase": str(each.phase),
        "reason": each.reason,
        "message": each.message,
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
