"""P5: what the operator adds to the drain of one DPU, from the audit logs of both clusters.

A cycle is cordon, drain of the host, opening, reboot, uncordon, giving back. Of its time counts what passes between a
fact and the write that answers it: cordon and NodeMaintenance; its success and the open budget; uncordon and its end.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.figures import spread
from bench.machine import Cores, pinned
from bench.report import Bar, Report
from bench.writes import seconds
from dpunetop.domain import names
from dpunetop.kube.meta import Obj
from dpunetop.sandbox.controlplane import WITH_CONTROLLERS, ControlPlane, Spec
from dpunetop.sandbox.operatorprocess import OperatorProcess
from dpunetop.sandbox.world import World
from support.drainrules import is_cordoned, is_ready
from support.drains import Drains
from support.trial import Trial, eventually

_MOST_SECONDS = 0.2
_WRITTEN = {
    "": ["nodes"],
    "policy": ["poddisruptionbudgets"],
    "nodemaintenance.medik8s.io": ["nodemaintenances", "nodemaintenances/status"],
}
_PARTS = ("asked", "opened", "given back")


@dataclass(frozen=True)
class Cycle:
    """What the operator added to one drain, in seconds."""

    asked: float
    """From the cordon to the NodeMaintenance."""
    opened: float
    """From its success to the open budget."""
    given_back: float
    """From the uncordon to its deletion."""

    @property
    def added(self) -> float:
        """All of it."""
        return self.asked + self.opened + self.given_back


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
    with _stage(cores) as drains:
        [(dpu, host)] = drains.pairs.items()
        world, found = drains.trial.world, []
        for _ in range(cycles):
            marks = world.infra.audit_mark(), world.tenant.audit_mark()
            _drain(drains, dpu, host)
            written = [*deeds(world.infra, marks[0]), *deeds(world.tenant, marks[1])]
            found.append(measured(written, dpu))
    report.details["P5"] = [asdict(cycle) for cycle in found]
    added = spread([cycle.added for cycle in found])
    report.add("P5", f"added to a drain, median of {added.count}", added.median, "s")
    report.add("P5", "added to a drain, p99", added.p99, "s", Bar(most=_MOST_SECONDS))
    for part in _PARTS:
        values = [getattr(cycle, part.replace(" ", "_")) for cycle in found]
        report.add("P5", f"until {part}, median", spread(values).median, "s")


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
    return Cycle(created - cordon, opened - drained, deleted - uncordon)


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


def deeds(plane: ControlPlane, since: int) -> Iterator[Deed]:
    """What was written since then, as far as `policy` has it kept."""
    for event in plane.audit_events(since=since):
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
def _stage(cores: Cores) -> Iterator[Drains]:
    """One DPU that serves, with everything around it on the one core and the operator on the other."""
    with contextlib.ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="dpunetop-bench-")))
        flags = (f"--audit-policy-file={policy(folder / 'audit-policy.yaml')}",)
        infra = Spec("infra", audit=True, apiserver_flags=flags)
        tenant = Spec("tenant", WITH_CONTROLLERS, audit=True, apiserver_flags=flags)
        with pinned(cores.control_plane):
            world = open_.enter_context(World(dpus=0, infra=infra, tenant=tenant, boot_seconds=0.2, retry_seconds=0.1))
            drains = Drains(Trial(world, "bench-drain"))
        with pinned(cores.operator):
            operator = OperatorProcess(world.operator_kubeconfig(), env=drains.environment)
            open_.enter_context(operator)
        with pinned(cores.control_plane):
            drains.serve()
            yield drains


def policy(file: Path) -> Path:
    """Keep what is written of all that a drain is about, by whomever."""
    written = [{"group": group, "resources": resources} for group, resources in _WRITTEN.items()]
    verbs = ["create", "patch", "update", "delete"]
    rules: list[dict[str, Any]] = [{"level": "Request", "verbs": verbs, "resources": written}, {"level": "None"}]
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    file.write_text(yaml.dump(json.loads(json.dumps(policy)), Dumper=yaml.CSafeDumper))
    return file
