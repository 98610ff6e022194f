"""P5: what the operator adds to the drain of one DPU, from the audit logs of both clusters.

A cycle is cordon, drain of the host, opening, reboot, uncordon, giving back. Of its time counts what passes between a
fact and the write that answers it: cordon and NodeMaintenance; its success and the open budget; uncordon and its end.
After each cycle a raw client makes the same calls (`rawdrain`), so that both meet the same machine.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.benchworld import OPERATOR_USER
from bench.figures import spread
from bench.machine import Cores, pinned
from bench.rawdrain import Call, RawDrain, between, calls
from bench.report import Bar, Better, Report
from bench.writes import seconds
from dpunetop.domain import names
from dpunetop.kube.meta import Obj
from dpunetop.sandbox.components import WITH_CONTROLLERS, Spec
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support.drainrules import is_cordoned, is_ready
from support.drains import Drains
from support.trial import ACCOUNT, Trial, eventually

_TRIAL = "bench-drain"
_MOST_SECONDS = 0.15
_MOST_RATIO = 1.5
_WRITTEN = {
    "": ["nodes"],
    "policy": ["poddisruptionbudgets"],
    "nodemaintenance.medik8s.io": ["nodemaintenances", "nodemaintenances/status"],
}
_PARTS = ("asked", "opened", "given back")


@dataclass(frozen=True)
class Step:
    """From a fact to the write that answers it, in seconds since 1970."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long that took."""
        return self.end - self.begin


@dataclass(frozen=True)
class Cycle:
    """What the operator added to one drain."""

    asked: Step
    """From the cordon to the NodeMaintenance."""
    opened: Step
    """From its success to the open budget."""
    given_back: Step
    """From the uncordon to its deletion."""

    @property
    def steps(self) -> tuple[Step, Step, Step]:
        """One after the other."""
        return self.asked, self.opened, self.given_back

    @property
    def added(self) -> float:
        """All of it, in seconds."""
        return sum(step.seconds for step in self.steps)


@dataclass(frozen=True)
class Measured:
    """One cycle, and the same calls from a raw client."""

    cycle: Cycle
    raw: tuple[float, ...]
    """Seconds, step by step."""
    calls: tuple[Sequence[Call], ...]


@dataclass(frozen=True)
class Deed:
    """One write that was taken: when, what about, and what it said."""

    at: float
    verb: str
    plural: str
    name: str
    body: Any


def run(cores: Cores, report: Report, cycles: int) -> None:
    """Measure so many drains of one DPU, one after the other."""
    with _serving_dpu(cores) as (drains, raw):
        found = [_measure(drains, raw) for _ in range(cycles)]
    report.details["P5"] = [_detail(each) for each in found]
    added = spread([each.cycle.added for each in found])
    limit = spread([sum(each.raw) for each in found])
    report.add("P5", f"added to a drain, median of {added.count}", added.median, "s")
    report.add("P5", "added to a drain, p99", added.p99, "s", Bar(most=_MOST_SECONDS), Better.NEITHER)
    report.add("P5", "the same calls of a raw client, median", limit.median, "s", better=Better.NEITHER)
    report.add("P5", "the same calls of a raw client, p99", limit.p99, "s", better=Better.NEITHER)
    report.add("P5", "p99 by that of the raw client", added.p99 / limit.p99, "", Bar(most=_MOST_RATIO), Better.NEITHER)
    report.add("P5", "median by that of the raw client", added.median / limit.median)
    for number, part in enumerate(_PARTS):
        values = [each.cycle.steps[number].seconds for each in found]
        report.add("P5", f"until {part}, median", spread(values).median, "s")
        report.add("P5", f"until {part}, calls", spread([len(each.calls[number]) for each in found]).median)


def _measure(drains: Drains, raw: RawDrain) -> Measured:
    [(dpu, host)] = drains.pairs.items()
    planes = {"infra": drains.trial.world.infra, "tenant": drains.trial.world.tenant}
    marks = {name: plane.audit_mark() for name, plane in planes.items()}
    _drain(drains, dpu, host)
    events = {name: plane.audit_events(since=marks[name]) for name, plane in planes.items()}
    cycle = measured([deed for each in events.values() for deed in deeds(each)], dpu)
    asked = [call for name, each in events.items() for call in calls(name, each)]
    rows = [between(asked, step.begin, step.end) for step in cycle.steps]
    return Measured(cycle, tuple(map(raw.replay, rows)), tuple(rows))


def _detail(each: Measured) -> dict[str, Any]:
    """With the calls of each step: when, after the fact, the server had them, and had answered."""
    steps = zip(_PARTS, each.cycle.steps, each.raw, each.calls, strict=True)
    return {
        part: {"seconds": step.seconds, "raw": raw, "calls": [_traced(call, step.begin) for call in row]}
        for part, step, raw, row in steps
    }


def _traced(call: Call, begin: float) -> tuple[float, float, str]:
    when = round(call.received - begin, 4), round(call.answered - begin, 4)
    return *when, f"{call.cluster} {call.verb} {call.uri}"


def measured(deeds: list[Deed], dpu: str) -> Cycle:
    """One cycle, told from what was written in it. Raises: StopIteration if a step is missing."""
    deeds = sorted(deeds, key=lambda deed: deed.at)

    def first(holds: Callable[[Deed], bool], after: float = 0.0) -> float:
        return next(deed.at for deed in deeds if deed.at >= after and holds(deed))

    def is_cordon(deed: Deed, *, yes: bool) -> bool:
        spec = (deed.body or {}).get("spec") or {}
        return (
            (deed.plural, deed.name) == ("nodes", dpu)
            and "unschedulable" in spec
            and bool(spec["unschedulable"]) is yes
        )

    cordon = first(lambda deed: is_cordon(deed, yes=True))
    created = first(lambda deed: deed.plural == names.NODEMAINTENANCES.plural, cordon)
    drained = first(lambda deed: _phase(deed) == "Succeeded", created)
    opened = first(_opens, drained)
    uncordon = first(lambda deed: is_cordon(deed, yes=False), opened)
    deleted = first(lambda deed: (deed.verb, deed.plural) == ("delete", names.NODEMAINTENANCES.plural), uncordon)
    return Cycle(Step(cordon, created), Step(drained, opened), Step(uncordon, deleted))


def _drain(drains: Drains, dpu: str, host: str) -> None:
    drains.cordon(dpu)
    drains.until_open(dpu)
    before = _containers(drains, dpu)
    drains.reboot(dpu)
    eventually(lambda: _containers(drains, dpu), lambda now: now and not now & before)
    drains.cordon(dpu, yes=False)
    eventually(lambda: drains.host(host), lambda node: not is_cordoned(node))
    drains.until_idle()


def _containers(drains: Drains, dpu: str) -> set[str]:
    """IDs of the containers that serve, none while they are not Ready."""
    pods = [pod for pod in drains.trial.pods() if pod["spec"].get("nodeName") == dpu and is_ready(pod)]
    return {status["containerID"] for pod in pods for status in pod["status"]["containerStatuses"]}


def deeds(events: Iterable[Obj]) -> Iterator[Deed]:
    """What was written, as far as `policy` has it kept."""
    for event in events:
        if event["verb"] in ("create", "patch", "update", "delete") and event["responseStatus"].get("code", 500) < 300:
            yield _deed(event)


def _deed(event: Obj) -> Deed:
    ref = event["objectRef"]
    plural = "/".join(part for part in (ref["resource"], ref.get("subresource")) if part)
    return Deed(
        seconds(event["stageTimestamp"]), event["verb"], plural, ref.get("name", ""), event.get("requestObject")
    )


def _phase(deed: Deed) -> str:
    is_status = deed.plural == f"{names.NODEMAINTENANCES.plural}/status"
    return str(((deed.body or {}).get("status") or {}).get("phase", "")) if is_status else ""


def _opens(deed: Deed) -> bool:
    is_budget = deed.plural == names.PODDISRUPTIONBUDGETS.plural
    return is_budget and ((deed.body or {}).get("spec") or {}).get("maxUnavailable") == 1


@contextlib.contextmanager
def _serving_dpu(cores: Cores) -> Iterator[tuple[Drains, RawDrain]]:
    """One DPU that serves, with everything around it on the one core and the operator on the other."""
    with contextlib.ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="dpunetop-bench-")))
        users = (OPERATOR_USER, f"system:serviceaccount:{_TRIAL}:{ACCOUNT}")
        flags = (f"--audit-policy-file={policy(folder / 'audit-policy.yaml', users)}",)
        infra = Spec("infra", audit=True, apiserver_flags=flags)
        tenant = Spec("tenant", WITH_CONTROLLERS, audit=True, apiserver_flags=flags)
        with pinned(cores.control_plane):
            world = open_.enter_context(World(dpus=0, infra=infra, tenant=tenant, boot_seconds=0.2, retry_seconds=0.1))
            drains = Drains(Trial(world, _TRIAL))
        with pinned(cores.operator):
            operator = OperatorProcess(world.operator_kubeconfig(), env=drains.environment)
            open_.enter_context(operator)
        with pinned(cores.control_plane):
            drains.serve()
            raw = RawDrain(drains)
            open_.callback(raw.close)
            yield drains, raw


def policy(file: Path, users: Sequence[str] = ()) -> Path:
    """Keep what is written of all that a drain is about, by whomever, and all that `users` ask but watches."""
    written = [{"group": group, "resources": resources} for group, resources in _WRITTEN.items()]
    verbs = ["create", "patch", "update", "delete"]
    rules: list[dict[str, Any]] = [{"level": "Request", "verbs": verbs, "resources": written}]
    if users:
        rules.append({"level": "Request", "verbs": [*verbs, "get", "list"], "users": list(users)})
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [*rules, {"level": "None"}],
    }
    file.write_text(yaml.dump(json.loads(json.dumps(policy)), Dumper=yaml.CSafeDumper))
    return file
