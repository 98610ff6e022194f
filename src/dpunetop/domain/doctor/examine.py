"""Carries out the checks, and says of each finding that is not good which hosts and DPUs it concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from dpunetop.base.quoting import named
from dpunetop.domain.doctor.cluster import configs_of
from dpunetop.domain.doctor.model import Check, Diagnosis, Facts, NotLookedAt, Outcome, Side, Verdict
from dpunetop.domain.names import (
    DPU_NODE_LABEL,
    ENV_OVERRIDES,
    OVNKUBE_NODE_ENTRIES,
    PODDISRUPTIONBUDGETS,
    SERVES_ANNOTATION,
    TENANT_NODE_ANNOTATION,
    blocker_name,
)
from dpunetop.domain.pairing.envfile import NodeEntry, is_node_name, parse_entries
from dpunetop.kube.keys import CONFIGMAPS, NODES
from dpunetop.kube.meta import Obj, annotations_of, labels_of, name_of, namespace_of
from dpunetop.kube.requests import Selection
from dpunetop.kube.selectors import matches
from dpunetop.kube.shapes import at

T = TypeVar("T")
_SHOWN = 5
_NOTHING = "there is nothing yet that it could look at"


def examine(checks: Iterable[Check], views: Sequence[Facts]) -> tuple[Outcome, ...]:
    """Carry out the checks. `views` has one member for each tenant and at least one; infra is the same in all.

    Guarantees: a check that could not look, or that found nothing to judge, is not OK; each finding that is not OK
        names the hosts and DPUs that it concerns, or says that there are none, or why they are not known.
    """
    known = [_known_dpus(facts) for facts in views]
    return tuple(Outcome(check, tuple(_of_all(check, views, known))) for check in checks)


def _of_all(check: Check, views: Sequence[Facts], known: Sequence[_KnownDpus]) -> Iterator[Diagnosis]:
    if check.side is Side.INFRA:
        yield from (_concerning(each, None, known[0]) for each in _findings(check, views[0]))
        return
    for facts, dpus in zip(views, known, strict=True):
        where = f" ({facts.whose})" if len(views) > 1 else ""
        homes = None if facts.configs is None else frozenset(namespace for namespace, _ in facts.configs)
        for each in _findings(check, facts):
            yield _concerning(replace(each, about=f"{each.about}{where}"), homes, dpus)


def _findings(check: Check, facts: Facts) -> Iterator[Diagnosis]:
    is_silent = True
    try:
        for finding in check.judge(facts):
            is_silent = False
            yield finding
    except NotLookedAt as err:
        yield err.finding
        return
    if is_silent:
        mend = "create a DpuClusterConfig, and look again; docs/quickstart.md"
        yield Diagnosis(Verdict.NOT_LOOKED_AT, check.title, _NOTHING, mend)


# --- which hosts and DPUs ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _KnownDpu:
    """One DPU: the host that it serves or is to serve, and the served namespace that has it; empty: none."""

    host: str = ""
    home: str = ""


@dataclass(slots=True)
class _KnownDpus:
    """The DPUs of infra by name, the served namespaces, and what kept more from being seen; empty: nothing."""

    found: dict[str, _KnownDpu] = field(default_factory=dict)
    homes: frozenset[str] = frozenset()
    unseen: str = ""

    def of(self, dpu: str) -> _KnownDpu:
        """The DPU of that name."""
        return self.found.setdefault(dpu, _KnownDpu())

    def read(self, look: Callable[[], T]) -> T | None:
        """What a look gives; None where it could not be made, which is remembered."""
        try:
            return look()
        except NotLookedAt as err:
            self.unseen = self.unseen or err.about
            return None


def _known_dpus(facts: Facts) -> _KnownDpus:
    known = _KnownDpus()
    configs = known.read(lambda: configs_of(facts)) or ()
    nodes = known.read(lambda: facts.infra.list(Selection(NODES))) or ()
    for node in (each for each in nodes if DPU_NODE_LABEL in labels_of(each)):
        seen, noted = known.of(name_of(node)), annotations_of(node).get(TENANT_NODE_ANNOTATION, "")
        seen.host, seen.home = noted if is_node_name(noted) else "", _home_of(node, configs)
    known.homes = frozenset(map(namespace_of, configs))
    for home in sorted(known.homes):
        for name in (ENV_OVERRIDES, OVNKUBE_NODE_ENTRIES):  # the second is what pods read, so it counts
            _take_entries(known, home, known.read(partial(_data, facts, home, name)) or {})
    _take_budgets(known, known.read(lambda: _served_by(facts)) or {})
    return known


def _home_of(node: Obj, configs: Iterable[Obj]) -> str:
    selectors = ((namespace_of(config), at(config, "spec", "nodeSelector")) for config in configs)
    found = (home for home, picks in selectors if isinstance(picks, Mapping) and matches(picks, labels_of(node)))
    return next(found, "")


def _data(facts: Facts, home: str, name: str) -> Mapping[str, str]:
    found = at(facts.infra.get(CONFIGMAPS, home, name), "data")
    return {key: str(text) for key, text in found.items()} if isinstance(found, Mapping) else {}


def _take_entries(known: _KnownDpus, home: str, data: Mapping[str, str]) -> None:
    for dpu, wish in parse_entries(data).items():
        seen = known.of(dpu)
        seen.home = home
        seen.host = wish.host if isinstance(wish, NodeEntry) else seen.host


def _served_by(facts: Facts) -> Mapping[str, str]:
    """Host by the name of the budget that protects its DPU."""
    budgets = facts.infra.list(Selection(PODDISRUPTIONBUDGETS, facts.namespace))
    return {name_of(each): annotations_of(each).get(SERVES_ANNOTATION, "") for each in budgets}


def _take_budgets(known: _KnownDpus, serves: Mapping[str, str]) -> None:
    for dpu, seen in known.found.items():
        seen.host = serves.get(blocker_name(dpu), "") or seen.host


def _concerning(finding: Diagnosis, homes: frozenset[str] | None, known: _KnownDpus) -> Diagnosis:
    if finding.verdict is Verdict.OK:
        return finding
    wanted = frozenset({finding.home}) if finding.home in known.homes else homes
    if finding.dpus is not None:
        found = {dpu: known.found.get(dpu, _KnownDpu()) for dpu in finding.dpus}
    else:
        found = {dpu: seen for dpu, seen in known.found.items() if wanted is None or seen.home in wanted}
    return replace(finding, concerns=_words(found, known.unseen if finding.dpus is None else ""))


def _words(found: Mapping[str, _KnownDpu], unseen: str) -> str:
    order = sorted(found.items(), key=lambda each: (not each[1].host, each[1].host, each[0]))
    shown = [
        f"host {named(seen.host)} (DPU {named(dpu)})" if seen.host else f"DPU {named(dpu)}, which has no host"
        for dpu, seen in order[:_SHOWN]
    ]
    if len(order) > _SHOWN:
        shown.append(f"and {len(order) - _SHOWN} more")
    if unseen:
        shown.append(f"others are not known: {unseen} was not looked at")
    return ", ".join(shown) or "no host: no DPU is known yet"
