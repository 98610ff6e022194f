"""The command `explain`: one DPU or host, where it stands, since when, what it waits for, and what to do."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpunetop.app.commands.blocking import MOST_PODS, LeftPod, seen_pods
from dpunetop.app.commands.exits import Exit, worst
from dpunetop.app.commands.flags import CommandParser, TenantKubeconfigs
from dpunetop.app.commands.happened import Happened, last_events
from dpunetop.app.commands.invocation import Invocation, invoke
from dpunetop.app.commands.look import ConfigLook, HostLook, Look, Looker
from dpunetop.app.commands.output import Output, Tone
from dpunetop.app.commands.saying import (
    contradiction,
    drain_tone,
    drain_words,
    since_words,
    written_document,
    written_words,
)
from dpunetop.app.commands.status import WRONG_PHASES, Row, looker, ready_condition
from dpunetop.app.commands.waysout import Case, WayOut, ways_out
from dpunetop.base.quoting import cut, named
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.dpunode.written import Written
from dpunetop.domain.drain.model.facts import HostView
from dpunetop.domain.names import NODEMAINTENANCES, maintenance_name
from dpunetop.domain.reasons import meaning
from dpunetop.kube.conditions import Condition
from dpunetop.kube.keys import INFRA

SUMMARY = "Explain one DPU or host: where it stands, since when, what it waits for, and what to do."
_EPILOG = "exit codes: 0 it is well, 1 a person has to act, 2 usage or no such DPU or host, 3 not looked at"
_ASKS_FOR_PODS = frozenset({Phase.DRAINING, Phase.HELD, Phase.LEAVING, Phase.UNKNOWN})
_MOST_WORDS = 1000


@dataclass(frozen=True, slots=True)
class Story:
    """All that is told of one DPU."""

    config: ConfigLook
    host: HostLook
    status: DpuNodeStatus
    pods: tuple[LeftPod, ...]
    unseen: tuple[str, ...]
    """What was not looked at, and why."""
    ways: tuple[WayOut, ...]
    events: tuple[Happened, ...]

    @property
    def since(self) -> int:
        """See `status.Row.since`."""
        return Row(self.config, self.host, self.status).since

    @property
    def written(self) -> Written | None:
        """What the operator has written of the DPU; None: nothing."""
        return self.config.written.get(self.status.dpu)

    @property
    def view(self) -> HostView | None:
        """What the host shows; None: it could not be looked at."""
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
    looks, node = looker(invocation), str(invocation.given.node)
    look = looks.look(lambda config: invocation.flags.namespace in ("", config.namespace))
    stories = tell(looks, look, node, invocation.flags.tenants)
    if invocation.out.format.is_document:
        invocation.out.document([as_document(each) for each in stories])
    else:
        show(invocation.out, look, node, stories, invocation.clock.now())
    return worst(*map(exit_of, stories)) if stories else Exit.USAGE


def tell(looks: Looker, look: Look, node: str, tenants: TenantKubeconfigs) -> list[Story]:
    """The stories of the DPU of that name, or of all DPUs of the host of that name."""
    found = [(config, host, each) for config in look.configs for host in config.hosts for each in host.statuses]
    return [_story(looks, *row, tenants) for row in found if node in (row[1].slot.host, row[2].host, row[2].dpu)]


def _story(
    looks: Looker, config: ConfigLook, host: HostLook, status: DpuNodeStatus, tenants: TenantKubeconfigs
) -> Story:
    cluster, unseen = config.config.tenant_cluster, [config.unseen] if config.unseen else []
    pods: tuple[LeftPod, ...] = ()
    if status.host and status.phase in _ASKS_FOR_PODS and not config.unseen:
        pods, why = seen_pods(looks.reader, cluster, status.host)
        unseen += [why] if why else []
    view = None if host.decided is None else host.decided.snapshot.view
    subjects = [(INFRA, "Node", status.dpu), (INFRA, "DpuClusterConfig", config.config.name)]
    if status.host:
        subjects.append((cluster, "Node", status.host))
        subjects.append((cluster, NODEMAINTENANCES.kind, maintenance_name(status.host)))
    path = tenants.of(config.config.namespace, config.config.name)
    case = Case(config.config, status, view, pods, shlex.quote(path) if path else "<tenant's>")
    return Story(
        config=config,
        host=host,
        status=status,
        pods=pods,
        unseen=tuple(unseen),
        ways=ways_out(case),
        events=last_events(looks.reader, subjects),
    )


def exit_of(story: Story) -> Exit:
    """What the story says in one number."""
    is_wrong = story.status.phase in WRONG_PHASES or any(each.budgets for each in story.pods)
    is_unseen = story.status.phase is Phase.UNKNOWN or bool(story.unseen)
    return worst(Exit.WRONG if is_wrong else Exit.GOOD, Exit.UNSEEN if is_unseen else Exit.GOOD)


def show(out: Output, look: Look, node: str, stories: Sequence[Story], now: datetime) -> None:
    """The stories, one after the other; without one, which names there are."""
    for story in stories:
        for text, tone in _lines(look, story, now):
            out.line(text, tone)
        out.line()
    if not stories:
        out.line(f"no DPU and no host is called {named(node)}; there are {_known(look)}", Tone.BAD)
        for config in (each for each in look.configs if each.trouble):
            out.line(f"{config.config.namespace}/{config.config.name}: {config.trouble}", Tone.BAD)
    out.line(look.operator.words, Tone.PLAIN if look.operator.is_alive else Tone.WARN)


def _known(look: Look) -> str:
    hosts = (host for config in look.configs for host in config.hosts)
    names = sorted({name for host in hosts for each in host.statuses for name in (each.dpu, each.host) if name})
    return cut(", ".join(map(named, names)), _MOST_WORDS) if names else "none"


def _lines(look: Look, story: Story, now: datetime) -> Iterable[tuple[str, Tone]]:
    status, tone = story.status, Tone.BAD if story.status.phase in WRONG_PHASES else Tone.PLAIN
    host = f"host {named(status.host)}" if status.host else "no host"
    yield f"DPU {named(status.dpu)}, {host}, DpuClusterConfig {_who(story)}", Tone.PLAIN
    yield f"  stands:    {status.phase}{_since(story, now)}", tone
    yield f"  why:       {status.reason}: {_cut(status.message or meaning(status.reason).says)}", tone
    yield from _waits(story)
    yield from (_condition_line(each) for each in status.conditions)
    yield from _drain_lines(story)
    yield from _written_lines(look, story, now)
    yield from _mistake_lines(story)
    yield from ((f"  not looked at: {_cut(each)}", Tone.WARN) for each in story.unseen)
    yield from _operator_lines(story)
    yield from _ways(story)
    yield from _events(story)


def _who(story: Story) -> str:
    return f"{story.host.config.namespace}/{story.host.config.name}"


def _since(story: Story, now: datetime) -> str:
    return since_words(story.since, now)


def _waits(story: Story) -> Iterable[tuple[str, Tone]]:
    """What a drain waits for, by name."""
    for pod in story.pods[:MOST_PODS]:
        yield f"  waits for: {pod.words}", Tone.BAD if pod.budgets else Tone.WARN
    if len(story.pods) > MOST_PODS:
        yield f"  waits for: {len(story.pods) - MOST_PODS} more pods", Tone.WARN
    for text in () if story.view is None else story.view.evictions or ():
        yield f"  in the way: {_cut(text)}", Tone.BAD
    yield f"  moves on:  {meaning(story.status.reason).next_step}", Tone.PLAIN


def _condition_line(each: Condition) -> tuple[str, Tone]:
    tone = {"True": Tone.GOOD, "Unknown": Tone.WARN}.get(each.status, Tone.PLAIN)
    return f"  {each.type}={each.status} {each.reason}{f': {_cut(each.message)}' if each.message else ''}", tone


def _drain_lines(story: Story) -> Iterable[tuple[str, Tone]]:
    drain = story.status.drain
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


def _written_lines(look: Look, story: Story, now: datetime) -> Iterable[tuple[str, Tone]]:
    """What the operator has written in the DpuNode, and where this look says something else."""
    words = written_words(story.config, story.status, now)
    if words:
        yield f"  operator:  {_cut(words)}", Tone.PLAIN
    if against := contradiction(look, story.config, story.status, now):
        yield f"  but:       {against}", Tone.WARN
    if story.written is not None and story.written.drain is not None:
        yield f"  last drain: {drain_words(story.written.drain)}", drain_tone(story.written.drain)


def _mistake_lines(story: Story) -> Iterable[tuple[str, Tone]]:
    """What people ask for about this DPU that cannot be."""
    roster = story.config.roster
    for each in () if roster is None else roster.mistakes:
        if each.message.startswith(f"{story.status.dpu}:") or named(story.status.host) in each.message.split():
            yield f"  mistake:   {each.reason}: {_cut(each.message)}", Tone.BAD


def _operator_lines(story: Story) -> Iterable[tuple[str, Tone]]:
    ready = ready_condition(story.config.config)
    if ready is not None and ready["status"] != "True":
        words = f"Ready={ready['status']} {ready['reason']}: {ready['message']}"
        yield f"  the operator says of the DpuClusterConfig: {_cut(words)}", Tone.WARN


def _ways(story: Story) -> Iterable[tuple[str, Tone]]:
    for way in story.ways:
        yield f"  to {way.purpose}:", Tone.DIM
        yield f"    {way.command}", Tone.PLAIN


def _events(story: Story) -> Iterable[tuple[str, Tone]]:
    if story.events:
        yield "  last events:", Tone.DIM
    for each in story.events:
        yield f"    {each.words}", Tone.WARN if each.type == "Warning" else Tone.PLAIN


def _cut(text: str) -> str:
    return cut(text, _MOST_WORDS)


def as_document(story: Story) -> Mapping[str, Any]:
    """For programs: everything that the lines say."""
    status = story.status
    return {
        "config": _who(story),
        "dpu": status.dpu,
        "host": status.host,
        "phase": str(status.phase),
        "reason": status.reason,
        "message": status.message,
        "since": story.since or None,
        "written": written_document(story.written),
        "contradicted": story.written is not None and story.written.contradicts(status),
        "waitsFor": [each.words for each in story.pods],
        "movesOn": meaning(status.reason).next_step,
        "notLookedAt": list(story.unseen),
        "commands": [{"command": each.command, "purpose": each.purpose} for each in story.ways],
        "events": [each.words for each in story.events],
    }
