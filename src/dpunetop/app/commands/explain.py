"""The command `explain`: one DPU or host, where it stands, since when, what it waits for, and what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpunetop.app.commands.blocking import MOST_PODS, LeftPod, seen_pods
from dpunetop.app.commands.exits import Exit, worst
from dpunetop.app.commands.flags import CommandParser, TenantKubeconfigs
from dpunetop.app.commands.happened import Events, Subject, last_events
from dpunetop.app.commands.inspection import ConfigInspection, HostInspection, Inspection, Inspector
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.layout import Tone
from dpunetop.app.commands.lease import OperatorSeen
from dpunetop.app.commands.output import Output
from dpunetop.app.commands.rows import WRONG_PHASES, Row, rows_of
from dpunetop.app.commands.saying import (
    condition_words,
    contradiction,
    drain_tone,
    drain_words,
    remembered_words,
    since_words,
    written_document,
    written_words,
)
from dpunetop.app.commands.status import inspector_of, ready_condition
from dpunetop.app.commands.waysout import Case, WayOut, ways_out
from dpunetop.base.quoting import cut, named
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.dpunode.written import Written
from dpunetop.domain.drain.model.facts import HoldReason, HostView
from dpunetop.domain.names import DPUCLUSTERCONFIGS, NODEMAINTENANCES, maintenance_name
from dpunetop.domain.reasons import Gravity, meaning
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import INFRA, NODES

SUMMARY = "Explain one DPU or host: where it stands, since when, what it waits for, and what to do."
_EPILOG = "exit codes: 0 it is well, 1 a person has to act, 2 usage or no such DPU or host, 3 not looked at"
_ASKS_FOR_PODS = frozenset({Phase.DRAINING, Phase.HELD, Phase.LEAVING, Phase.UNKNOWN})
_MOST_WORDS = 1000


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is printed of one DPU."""

    config: ConfigInspection
    host: HostInspection
    status: DpuNodeStatus
    pods: tuple[LeftPod, ...]
    unseen: tuple[str, ...]
    """What was not looked at, and why."""
    ways: tuple[WayOut, ...]
    events: Events
    tenant_kubeconfig: str
    """Its path as a shell takes it, or what stands for one that was not given."""
    operator: OperatorSeen

    @property
    def row(self) -> Row:
        """The same as one row of `status`."""
        return Row(self.config, self.host, self.status, self.operator)

    @property
    def since(self) -> int:
        """See `Row.since`."""
        return self.row.since

    @property
    def written(self) -> Written | None:
        """The operator's record of the DPU; None: there is none."""
        return self.row.written

    @property
    def view(self) -> HostView | None:
        """The view of the host; None: it could not be looked at."""
        return None if self.host.decided is None else self.host.decided.snapshot.view


def explain(arguments: Sequence[str]) -> int:
    """See `SUMMARY`; the exit codes are those of `Exit`."""
    return invoke(parser(), arguments, _explain)


def parser() -> CommandParser:
    """The flags and arguments of the command."""
    made = CommandParser("explain", SUMMARY, _EPILOG)
    made.add_argument("node", metavar="NODE", help="a DPU of infra, or a host of a tenant")
    return made


def _explain(invocation: Invocation) -> Exit:
    inspector, node = inspector_of(invocation), str(invocation.given.node)
    inspection = inspector.inspect(lambda config: invocation.flags.namespace in ("", config.namespace))
    explanations = tell(inspector, inspection, node, invocation.flags.tenants)
    if invocation.out.format.is_document:
        invocation.out.document([as_document(each) for each in explanations])
    else:
        show(invocation.out, inspection, node, explanations, invocation.clock.now())
    return verdict(inspection, explanations)


def verdict(inspection: Inspection, explanations: Sequence[Explanation]) -> Exit:
    """The exit code: a name that nobody has is a wrong one only if everything was looked at."""
    if not explanations:
        return Exit.UNSEEN if any(each.blind for each in inspection.configs) else Exit.USAGE
    return worst(*map(exit_of, explanations))


def tell(inspector: Inspector, inspection: Inspection, node: str, tenants: TenantKubeconfigs) -> list[Explanation]:
    """The stories of the DPU of that name, or of all DPUs of the host of that name."""
    wanted = (row for row in rows_of(inspection) if node in (row.host.slot.host, *row.names))
    return [_explanation(inspector, row, tenants) for row in wanted]


def _explanation(inspector: Inspector, row: Row, tenants: TenantKubeconfigs) -> Explanation:
    config, host, status = row.config, row.host, row.dpu
    cluster, unseen = config.config.tenant_cluster, [config.unseen] if config.unseen else []
    pods: tuple[LeftPod, ...] = ()
    if status.host and status.phase in _ASKS_FOR_PODS and not config.unseen:
        pods, why = seen_pods(inspector.reader, cluster, status.host)
        unseen += [why] if why else []
    view = None if host.decided is None else host.decided.snapshot.view
    path = tenants.of(config.config.namespace, config.config.name)
    case = Case(config.config, status, view, pods, shlex.quote(path) if path else "<tenant's>")
    return Explanation(
        config=config,
        host=host,
        status=status,
        pods=pods,
        unseen=tuple(unseen),
        ways=ways_out(case),
        events=last_events(inspector.reader, list(_subjects(row))),
        tenant_kubeconfig=case.tenant_kubeconfig,
        operator=row.operator,
    )


def _subjects(row: Row) -> Iterable[Subject]:
    """What Events may be about that concern the DPU."""
    config, status = row.config.config, row.dpu
    yield Subject(INFRA, NODES.kind, "", status.dpu)
    yield Subject(INFRA, DPUCLUSTERCONFIGS.kind, config.namespace, config.name)
    if status.host:
        yield Subject(config.tenant_cluster, NODES.kind, "", status.host)
        yield Subject(config.tenant_cluster, NODEMAINTENANCES.kind, "", maintenance_name(status.host))


def exit_of(explanation: Explanation) -> Exit:
    """The exit code of the explanation."""
    row = explanation.row
    is_wrong = bool(row.is_wrong or row.lacking or _mistakes(explanation)) or any(p.budgets for p in explanation.pods)
    is_unseen = row.is_unknown or bool(explanation.unseen or explanation.config.unread)
    return worst(Exit.WRONG if is_wrong else Exit.GOOD, Exit.UNSEEN if is_unseen else Exit.GOOD)


def show(out: Output, inspection: Inspection, node: str, explanations: Sequence[Explanation], now: datetime) -> None:
    """Print the stories; if there is none, the names that exist."""
    for explanation in explanations:
        for text, tone in _lines(inspection, explanation, now):
            out.line(text, tone)
        out.line()
    if not explanations:
        out.line(_nobody(inspection, node), Tone.BAD)
        for text in _mistakes_with(inspection, node):
            out.line(text, Tone.BAD)
        for config in (each for each in inspection.configs if each.trouble):
            out.line(f"{config.config.namespace}/{config.config.name}: {config.trouble}", Tone.BAD)
        for config in (each for each in inspection.configs if each.blind):
            out.line(f"{config.config.namespace}/{config.config.name} was not looked at: {config.blind}", Tone.WARN)
            for text in remembered_words(config):
                out.line(f"{config.config.namespace}/{config.config.name}: {text}", Tone.WARN)
    out.line(inspection.operator.words, Tone.PLAIN if inspection.operator.is_alive else Tone.WARN)


def _nobody(inspection: Inspection, node: str) -> str:
    if any(each.blind for each in inspection.configs):
        return f"whether a DPU or a host is called {named(node)} is not known; of those that were looked at none is"
    return f"no DPU and no host is called {named(node)}; there are {_known(inspection)}"


def _mistakes_with(inspection: Inspection, node: str) -> Iterable[str]:
    """The mistakes in annotations that name this DPU or host, which does not exist."""
    for roster in (config.roster for config in inspection.configs if config.roster is not None):
        who = f"{roster.config.namespace}/{roster.config.name}"
        found = (each for each in roster.mistakes if _is_about(each.message, node))
        yield from (f"{who}: {each.reason}: {_cut(each.message)}" for each in found)


def _is_about(mistake: str, node: str) -> bool:
    """Whether a mistake names this DPU or host, apart from the similar names in parentheses."""
    plain = _SIMILAR.sub("", mistake)
    return named(node) in (word.rstrip(":;,") for word in plain.split())


_SIMILAR = re.compile(r"\(did you mean [^()]*\)")


def _known(inspection: Inspection) -> str:
    hosts = (host for config in inspection.configs for host in config.hosts)
    names = sorted({name for host in hosts for each in host.statuses for name in (each.dpu, each.host) if name})
    return cut(", ".join(map(named, names)), _MOST_WORDS) if names else "none"


def _lines(inspection: Inspection, explanation: Explanation, now: datetime) -> Iterable[tuple[str, Tone]]:
    status, tone = explanation.status, Tone.BAD if explanation.status.phase in WRONG_PHASES else Tone.PLAIN
    host = f"host {named(status.host)}" if status.host else "no host"
    yield f"DPU {named(status.dpu)}, {host}, DpuClusterConfig {_who(explanation)}", Tone.PLAIN
    yield f"  stands:    {status.phase}{_since(explanation, now)}", tone
    yield f"  why:       {status.reason}: {_cut(status.message or meaning(status.reason).says)}", tone
    yield from _waits(explanation)
    yield from (_condition_line(each) for each in status.conditions)
    yield from _drain_lines(explanation)
    yield from _written_lines(inspection, explanation, now)
    yield from _mistake_lines(explanation)
    yield from ((f"  not looked at: {_cut(each)}", Tone.WARN) for each in explanation.unseen)
    yield from _operator_lines(explanation)
    yield from _ways(explanation)
    yield from _events(explanation)


def _who(explanation: Explanation) -> str:
    return f"{explanation.host.config.namespace}/{explanation.host.config.name}"


def _since(explanation: Explanation, now: datetime) -> str:
    return since_words(explanation.since, now)


def _waits(explanation: Explanation) -> Iterable[tuple[str, Tone]]:
    """The pods and budgets that a drain waits for."""
    for pod in explanation.pods[:MOST_PODS]:
        yield f"  waits for: {pod.words}", Tone.BAD if pod.budgets else Tone.WARN
    if len(explanation.pods) > MOST_PODS:
        yield f"  waits for: {len(explanation.pods) - MOST_PODS} more pods", Tone.WARN
    for text in () if explanation.view is None else explanation.view.evictions or ():
        yield f"  in the way: {_cut(text)}", Tone.BAD
    yield from ((f"  moves on:  {step}", Tone.PLAIN) for step in _next_steps(explanation.row))


def _next_steps(row: Row) -> Iterable[str]:
    """That of its phase, and those of what else is not in order; each once."""
    steps = [meaning((row.held or row.dpu).reason).next_step, *(meaning(each.reason).next_step for each in row.lacking)]
    is_well = meaning((row.held or row.dpu).reason).gravity is Gravity.GOOD and bool(row.lacking)
    return dict.fromkeys(steps[1:] if is_well else steps)


def _condition_line(each: Condition) -> tuple[str, Tone]:
    tone = {"True": Tone.GOOD, "Unknown": Tone.WARN}.get(each.status, Tone.PLAIN)
    return f"  {each.type}={each.status} {each.reason}{f': {_cut(each.message)}' if each.message else ''}", tone


def _drain_lines(explanation: Explanation) -> Iterable[tuple[str, Tone]]:
    drain = explanation.status.drain
    if drain is None:
        return
    steps = {
        "wanted": drain.wanted,
        "host asked to drain": drain.asked,
        "DPU let be drained": drain.opened,
        "DPU back": drain.returned,
    }
    spelled = (f"{name} {datetime.fromtimestamp(at, UTC):%H:%M:%S}" for name, at in steps.items() if at)
    yield f"  drain:     {', '.join(spelled)}", Tone.PLAIN


def _written_lines(inspection: Inspection, explanation: Explanation, now: datetime) -> Iterable[tuple[str, Tone]]:
    """The operator's record in the DpuNode, and where this look differs."""
    words = written_words(explanation.config, explanation.status, now)
    if words:
        yield f"  operator:  {_cut(words)}", Tone.PLAIN
    if against := contradiction(inspection, explanation.config, explanation.status, now):
        yield f"  but:       {against}", Tone.WARN
    if explanation.written is not None and explanation.written.drain is not None:
        yield f"  last drain: {drain_words(explanation.written.drain)}", drain_tone(explanation.written.drain)


def _mistakes(explanation: Explanation) -> list[HoldReason]:
    """The mistakes that concern this DPU or its host."""
    roster, names = explanation.config.roster, [name for name in explanation.row.names if name]
    found = () if roster is None else roster.mistakes
    return [each for each in found if any(_is_about(each.message, name) for name in names)]


def _mistake_lines(explanation: Explanation) -> Iterable[tuple[str, Tone]]:
    for each in _mistakes(explanation):
        yield f"  mistake:   {each.reason}: {_cut(each.message)}", Tone.BAD


def _operator_lines(explanation: Explanation) -> Iterable[tuple[str, Tone]]:
    ready = ready_condition(explanation.config.config)
    if ready is not None and ready["status"] != "True":
        yield f"  the operator says of the DpuClusterConfig: {condition_words(ready, _MOST_WORDS)}", Tone.WARN


def _ways(explanation: Explanation) -> Iterable[tuple[str, Tone]]:
    for way in explanation.ways:
        yield f"  to {way.purpose}:", Tone.DIM
        yield f"    {way.command}", Tone.COMMAND


def _events(explanation: Explanation) -> Iterable[tuple[str, Tone]]:
    if explanation.events.shown:
        yield "  last events:", Tone.DIM
    for each in explanation.events.shown:
        yield f"    {each.words}", Tone.WARN if each.type == "Warning" else Tone.PLAIN
    for more in explanation.events.more:
        yield f"    {more.words}: {_kubectl(explanation, more.subject)} {more.subject.listing}", Tone.COMMAND
    for text in explanation.events.unseen if not explanation.config.unseen else ():
        yield f"  not looked at: {_cut(text)}", Tone.WARN


def _kubectl(explanation: Explanation, subject: Subject) -> str:
    return "kubectl" if subject.cluster == INFRA else f"kubectl --kubeconfig {explanation.tenant_kubeconfig}"


def _cut(text: str) -> str:
    return cut(text, _MOST_WORDS)


def as_document(explanation: Explanation) -> Mapping[str, Any]:
    """For programs: everything that the lines say."""
    status = explanation.status
    return {
        "config": _who(explanation),
        "dpu": status.dpu,
        "host": status.host,
        "phase": str(status.phase),
        "reason": status.reason,
        "message": status.message,
        "since": explanation.since or None,
        "written": written_document(explanation.written),
        "contradicted": explanation.written is not None and explanation.written.contradicts(status),
        "waitsFor": [each.words for each in explanation.pods],
        "movesOn": meaning((explanation.row.held or status).reason).next_step,
        "notLookedAt": list(explanation.unseen),
        "commands": [{"command": each.command, "purpose": each.purpose} for each in explanation.ways],
        "events": [each.words for each in explanation.events.shown],
        "moreEvents": [each.words for each in explanation.events.more],
        "eventsNotLookedAt": list(explanation.events.unseen),
    }
