"""The command `status`: all DPUs of all tenants, worst first; which hosts have no network, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dpunetop.app.commands.exits import Exit
from dpunetop.app.commands.flags import CommandParser
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.look import Clients, ConfigLook, HostLook, Look, Looker
from dpunetop.app.commands.output import Cell, Column, Output, Table, Tone
from dpunetop.base.quoting import cut, named, printable
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, tenant_cluster_name
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
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
    return Exit.UNSEEN if any(each.unseen for each in configs) else Exit.GOOD


def _is_wrong(look: ConfigLook) -> bool:
    is_refused = bool(look.trouble) and look.config.kubeconfig_secret is not None
    has_mistakes = look.roster is not None and bool(look.roster.mistakes or look.roster.problems)
    phases = {each.phase for host in look.hosts for each in host.statuses}
    is_told = any(said["status"] != "True" for said in _told(look.config))  # else it is a warning
    is_cut_off = any(
        each.phase is Phase.WAITING and each.lacks_network for host in look.hosts for each in host.statuses
    )
    return is_refused or has_mistakes or is_told or is_cut_off or bool(phases & WRONG_PHASES)


def rows_of(look: Look) -> list[tuple[HostLook, DpuNodeStatus]]:
    """All DPUs, the worst first."""
    order = list(Phase)
    found = [(host, each) for config in look.configs for host in config.hosts for each in host.statuses]
    return sorted(found, key=lambda row: (order.index(row[1].phase), not row[1].lacks_network, row[1].host, row[1].dpu))


def show(out: Output, look: Look, now: datetime) -> None:
    """The table, and what it does not say."""
    rows = rows_of(look)
    if rows:
        out.table(Table(_COLUMNS, tuple(_row(host, each, now) for host, each in rows)))
        out.line()
    out.line(*_network_words(look, [each for _, each in rows]))
    for config in look.configs:
        for text, tone in _config_words(config):
            out.line(text, tone)
    if not look.configs:
        out.line("there is no DpuClusterConfig", Tone.WARN)
    out.line(look.operator.words, Tone.PLAIN if look.operator.is_alive else Tone.WARN)


def _row(host: HostLook, each: DpuNodeStatus, now: datetime) -> tuple[Cell, ...]:
    network, tone = _NETWORK[each.has_network] if each.host else ("-", Tone.DIM)
    return (
        Cell(named(each.host) if each.host else "-"),
        Cell(named(each.dpu)),
        Cell(f"{host.config.namespace}/{host.config.name}"),
        Cell(str(each.phase), _TONES[each.phase]),
        Cell(network, tone),
        Cell(_age(since_of(host, each), now)),
        Cell(each.reason),
        Cell(printable(each.machine_config, 60) or "-"),
        Cell(printable(each.ovn_image, 80) or "-"),
        Cell(printable(each.message, _MOST_WORDS)),
    )


def since_of(host: HostLook, each: DpuNodeStatus) -> int:
    """Since when the host has no network, else since when its drain is wanted, in seconds of the epoch; 0: neither."""
    outage = None if host.decided is None else host.decided.outage
    if outage is not None and outage.dpu == each.dpu and each.has_network == "False":
        return outage.since
    return 0 if each.drain is None else each.drain.wanted


def spelled_age(seconds: float) -> str:
    """A duration as kubectl shows it: two units at most."""
    whole = max(0, int(seconds))
    for unit, size, below in (("d", 86400, 3600), ("h", 3600, 60), ("m", 60, 1)):
        if whole >= 2 * size:
            rest = whole % size // below
            smaller = {"d": "h", "h": "m", "m": "s"}[unit]
            return f"{whole // size}{unit}{f'{rest}{smaller}' if rest and whole < 10 * size else ''}"
    return f"{whole}s"


def _age(since: int, now: datetime) -> str:
    return spelled_age(now.timestamp() - since) if since else "-"


def _network_words(look: Look, statuses: Iterable[DpuNodeStatus]) -> tuple[str, Tone]:
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
        "dpus": [_dpu_document(host, each) for host, each in rows_of(look)],
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


def _dpu_document(host: HostLook, each: DpuNodeStatus) -> dict[str, Any]:
    return {
        "config": f"{host.config.namespace}/{host.config.name}",
        "dpu": each.dpu,
        "host": each.host,
        "phase": str(each.phase),
        "reason": each.reason,
        "message": each.message,
        "network": each.has_network,
        "since": since_of(host, each) or None,
        "ovnImage": each.ovn_image,
        "machineConfig": each.machine_config,
        "conditions": [
            {"type": c.type, "status": c.status, "reason": c.reason, "message": c.message} for c in each.conditions
        ],
    }
