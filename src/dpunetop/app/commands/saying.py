"""Compares the operator's record of a DPU with this look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, assert_never

from dpunetop.app.commands.inspection import ConfigInspection, Inspection
from dpunetop.app.commands.layout import Tone
from dpunetop.base.quoting import cut, named
from dpunetop.domain.dpunode.objects import STEP_FIELDS
from dpunetop.domain.dpunode.status import DpuNodeStatus, DrainStep
from dpunetop.domain.dpunode.written import PastDrain, Written
from dpunetop.domain.reasons import meaning

_UNITS = (("d", 86400, 3600, "h"), ("h", 3600, 60, "m"), ("m", 60, 1, "s"))


def spelled_age(seconds: float) -> str:
    """A duration as kubectl shows it: two units at most."""
    whole = max(0, int(seconds))
    for unit, size, below, smaller in _UNITS:
        if whole >= 2 * size:
            rest = whole % size // below
            return f"{whole // size}{unit}{f'{rest}{smaller}' if rest and whole < 10 * size else ''}"
    return f"{whole}s"


def spelled_time(seconds: int) -> str:
    """A time as the API writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def since_words(since: int, now: datetime) -> str:
    """The words "since ..." for the end of a line; empty if unknown."""
    return f", since {spelled_time(since)} ({spelled_age(now.timestamp() - since)})" if since else ""


def agreed_since(config: ConfigInspection, judged: DpuNodeStatus) -> int:
    """Since when the DPU is in its phase, if the operator's record agrees; 0: unknown."""
    written = config.written.get(judged.dpu)
    return 0 if written is None or written.contradicts(judged) or written.phase != str(judged.phase) else written.since


def written_words(config: ConfigInspection, judged: DpuNodeStatus, now: datetime) -> str:
    """What the operator wrote of the DPU; empty: nothing, and nobody expects it."""
    written = config.written.get(judged.dpu)
    if written is not None:
        host = f" for host {named(written.host)}" if written.host not in ("", judged.host) else ""
        is_news = bool(config.unseen) or written.contradicts(judged)
        why = f": {written.message}" if written.message and is_news else ""
        return f"wrote {written.phase}{host} ({written.reason}){since_words(written.since, now)}{why}"
    return f"what it wrote of the DPU was not looked at: {config.unread}" if config.unread else ""


_MOST_REMEMBERED = 20


def remembered_words(config: ConfigInspection) -> Iterable[str]:
    """A line for each of the first DPUs of a DpuClusterConfig that was not looked at: what the operator wrote of it."""
    for dpu, written in sorted(config.written.items())[:_MOST_REMEMBERED]:
        since = f", since {spelled_time(written.since)}" if written.since else ""
        yield f"the operator wrote of DPU {named(dpu)}: {_placed(written.phase, written.host)}{since}"
    if len(config.written) > _MOST_REMEMBERED:
        yield f"and of {len(config.written) - _MOST_REMEMBERED} more DPUs; kubectl get dpunodes -A"


def contradictions(inspection: Inspection, now: datetime) -> Iterable[str]:
    """A line for each DPU whose record differs from this look, and which of both to believe."""
    for config in inspection.configs:
        for judged in (each for host in config.hosts for each in host.statuses):
            words = contradiction(inspection, config, judged, now)
            if words:
                yield f"DPU {named(judged.dpu)}: {words}"


def contradiction(inspection: Inspection, config: ConfigInspection, judged: DpuNodeStatus, now: datetime) -> str:
    """How the operator's record contradicts this look; empty: it does not."""
    written = config.written.get(judged.dpu)
    if written is None or not written.contradicts(judged):
        return ""
    wrote = f"{_placed(written.phase, written.host)} ({written.reason}){since_words(written.since, now)}"
    says = _placed(str(judged.phase), judged.host)
    return f"the operator wrote {wrote}, and this look says {says}: {_whom(inspection, config)}"


def _placed(phase: str, host: str) -> str:
    return f"{phase} for host {named(host)}" if host else phase


def _whom(inspection: Inspection, config: ConfigInspection) -> str:
    if config.unseen:
        return "the tenant was not looked at, so believe the operator if it is at work"
    if inspection.operator.is_alive:
        return "it is at work, and either sees more than one look can or is about to write; look again"
    if inspection.operator.is_alive is None:
        return "look again in a minute: if that is still so, what it wrote is old, and no operator is at work"
    return "what it wrote is old, since no operator is at work"


def drain_words(drain: PastDrain) -> str:
    """The last drain in one line."""
    ended = f" to {spelled_time(drain.ended)}" if drain.ended else ", goes on"
    steps = ", ".join(f"{seconds} s {_step_words(step)}" for step, seconds in drain.steps.items())
    return f"{spelled_time(drain.started)}{ended}{f': {steps}' if steps else ''}"


def _step_words(step: DrainStep) -> str:
    match step:
        case DrainStep.WAITING:
            return "waiting for its turn"
        case DrainStep.HOST_DRAIN:
            return "draining the host"
        case DrainStep.DPU_DRAIN:
            return "draining the DPU, with its reboot"
        case DrainStep.VERIFYING:
            return "proving the network"
    assert_never(step)


def drain_tone(drain: PastDrain) -> Tone:
    """A running drain is highlighted."""
    return Tone.PLAIN if drain.ended else Tone.WARN


def written_document(written: Written | None) -> Mapping[str, Any] | None:
    """For programs."""
    if written is None:
        return None
    drain = written.drain
    steps = {} if drain is None else {STEP_FIELDS[step]: seconds for step, seconds in drain.steps.items()}
    return {
        "phase": written.phase,
        "since": written.since or None,
        "reason": written.reason,
        "host": written.host,
        "lastDrain": drain and {"started": drain.started, "ended": drain.ended or None, **steps},
    }


def condition_words(said: Mapping[str, Any], most: int) -> str:
    """A condition as the operator has written it, cut to so many characters, with the next step of its reason."""
    step = meaning(said["reason"]).next_step
    words = cut(f"{said['type']}={said['status']} {said['reason']}: {said['message']}", most)
    return words if step in words else f"{words}; {step}"
