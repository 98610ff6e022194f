"""The invariants of drains, checked on what both clusters went through: each answers with what was broken, in words.

Two clusters have no common order but that in which we were told, and on a busy machine that is not exact. So what can
be told from the revisions of one cluster is; for the rest a deed is innocent if it was in order at any moment near it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dpunetop.domain import names
from dpunetop.kube.conditions import condition_of
from dpunetop.kube.keys import CONFIGMAPS, DEPLOYMENTS, LEASES, NODES, PODS
from dpunetop.kube.meta import Obj, annotations_of, is_terminating, labels_of, uid_of
from dpunetop.sandbox.standins.kubelet import REBOOT_ANNOTATION, boot_id
from support.watchlog import Place, Seen, Story

INFRA, TENANT = "infra", "tenant"
FOLLOWED_INFRA = (NODES, PODS, DEPLOYMENTS, CONFIGMAPS, names.PODDISRUPTIONBUDGETS)
FOLLOWED_TENANT = (NODES, PODS, names.NODEMAINTENANCES)

_LAG_SECONDS = 2.0
"""By how much one watch may be behind another one, on a machine that is busy."""
_DECIDED_SECONDS = 5.0
"""So long before its deletion a maintenance was last looked at, at most."""


@dataclass(frozen=True)
class Hosts:
    """Who is looked at: DPU to host, and the namespace of the blockers."""

    pairs: Mapping[str, str]
    namespace: str

    def dpus(self, host: str) -> list[str]:
        """The DPUs of a host."""
        return [dpu for dpu, of in self.pairs.items() if of == host]

    def budget(self, dpu: str) -> Place:
        """Of a DPU."""
        return Place(INFRA, names.PODDISRUPTIONBUDGETS.plural, self.namespace, names.blocker_name(dpu))

    def maintenance(self, host: str) -> Place:
        """Ours, of a host."""
        return Place(TENANT, names.NODEMAINTENANCES.plural, "", names.maintenance_name(host))


def node(cluster: str, name: str) -> Place:
    """A Node."""
    return Place(cluster, NODES.plural, "", name)


# --- O4a --------------------------------------------------------------------------------------------------------------


def opened_without_drain(story: Story, hosts: Hosts) -> list[str]:
    """Budgets of serving DPUs that opened although their host was not drained for it."""
    return [
        f"{dpu} opened at revision {opened.revision}: {why}"
        for dpu in hosts.pairs
        for opened in _openings(story, hosts, dpu)
        if (why := _why_not_open(story, hosts, dpu, opened))
    ]


def openings(story: Story, hosts: Hosts) -> int:
    """How often a budget of a serving DPU opened, so that a test knows that it has seen something."""
    return sum(1 for dpu in hosts.pairs for _ in _openings(story, hosts, dpu))


def _openings(story: Story, hosts: Hosts, dpu: str) -> Iterator[Seen]:
    was_open = True
    for seen in story.states(hosts.budget(dpu)):
        is_open = seen.obj is not None and is_open_budget(seen.obj)
        if is_open and not was_open and names.SERVES_ANNOTATION in annotations_of(seen.last):
            yield seen
        was_open = is_open


def _why_not_open(story: Story, hosts: Hosts, dpu: str, opened: Seen) -> str:
    """What was not so when the decision was made: in infra since the record was last written, in the tenant at a mark.

    Each is told from the revisions of one cluster; only which marks came before needs the clock.
    """
    if not _was_wanted(story, hosts, dpu, opened):
        return "its drain was not wanted"
    host = annotations_of(opened.last)[names.SERVES_ANNOTATION]
    uid = str(json.loads(annotations_of(opened.last).get(names.CYCLE_ANNOTATION, "{}")).get("maintenance", ""))
    marks = [mark for mark in _marks(story, hosts, dpu, host) if mark.at <= opened.at + _LAG_SECONDS]
    reasons = [_not_drained(mark, story.before(node(TENANT, host), mark.revision), uid) for mark in marks]
    return "" if "" in reasons else (reasons or ["its maintenance was not marked for it"])[-1]


def _was_wanted(story: Story, hosts: Hosts, dpu: str, opened: Seen) -> bool:
    earlier = [seen.revision for seen in story.states(hosts.budget(dpu)) if seen.revision < opened.revision]
    since = max(earlier, default=0)
    states = [seen.obj for seen in story.states(node(INFRA, dpu)) if since < seen.revision < opened.revision]
    return any(obj is not None and is_cordoned(obj) for obj in (story.before(node(INFRA, dpu), since), *states))


def _marks(story: Story, hosts: Hosts, dpu: str, host: str) -> Iterator[Seen]:
    """Each time when the mark for a DPU got another value."""
    value = ""
    for seen in story.states(hosts.maintenance(host)):
        now = annotations_of(seen.obj).get(names.open_for(dpu), "") if seen.obj is not None else ""
        if now and now != value:
            yield seen
        value = now


def _not_drained(marked: Seen, host: Obj | None, uid: str) -> str:
    maintenance = marked.last
    if uid_of(maintenance) != uid or is_terminating(maintenance):
        return "there was no maintenance of its cycle"
    if (maintenance.get("status") or {}).get("phase") != "Succeeded":
        return "its maintenance had not succeeded"
    return "" if host is not None and is_cordoned(host) else "its host was schedulable"


# --- O4b --------------------------------------------------------------------------------------------------------------


def given_back_too_early(story: Story, hosts: Hosts) -> list[str]:
    """Maintenances of ours that were deleted although a DPU of their host wanted the drain, or was open."""
    found = []
    for host in sorted(set(hosts.pairs.values())):
        for deleted in _deletions(story.states(hosts.maintenance(host))):
            if why := _why_not_given_back(story, hosts, host, deleted):
                found.append(f"{host} given back at {deleted.revision}: {why}")
    return found


def given_back_unrenewed(story: Story, hosts: Hosts, namespace: str) -> list[str]:
    """Maintenances of ours that were deleted before the Lease of the host, in that namespace, was renewed twice since
    its DPU was last down. For a story in which every drain goes all the way."""
    found = []
    for dpu, host in hosts.pairs.items():
        lease = story.states(Place(TENANT, LEASES.plural, namespace, f"{names.LEASE_PREFIX}{host}"))
        for deleted in _deletions(story.states(hosts.maintenance(host))):
            ups = [end for _, end in down_seconds(story, dpu) if end < deleted.at]
            renewed = [seen for seen in lease if max(ups, default=0.0) < seen.at < deleted.at + _LAG_SECONDS]
            if len(renewed) < 2:
                found.append(f"{host} given back at {deleted.revision}: its Lease was renewed {len(renewed)} times")
    return found


def verified_seconds(story: Story, hosts: Hosts) -> list[float]:
    """How long after a DPU was last down its host was given back, each time."""
    found = []
    for dpu, host in hosts.pairs.items():
        for deleted in _deletions(story.states(hosts.maintenance(host))):
            found += [deleted.at - max(end for _, end in down_seconds(story, dpu) if end < deleted.at)]
    return found


def _deletions(states: Iterable[Seen]) -> Iterator[Seen]:
    ended = ""
    for seen in states:
        if (seen.obj is None or is_terminating(seen.obj)) and uid_of(seen.last) != ended:
            ended = uid_of(seen.last)
            yield seen


def _why_not_given_back(story: Story, hosts: Hosts, host: str, deleted: Seen) -> str:
    if (deleted.last.get("status") or {}).get("phase") == "Failed":
        return ""
    dpus = hosts.dpus(host)
    places = [place for dpu in dpus for place in (node(INFRA, dpu), hosts.budget(dpu))]
    for dpu in dpus:
        moments = story.moments(deleted.at - _DECIDED_SECONDS, deleted.at + _LAG_SECONDS, *places)
        reasons = [_still_needed(story.at(node(INFRA, dpu), t), story.at(hosts.budget(dpu), t)) for t in moments]
        if "" not in reasons:
            return f"{dpu} {reasons[-1]}"
    return ""


def _still_needed(dpu: Obj | None, budget: Obj | None) -> str:
    if dpu is None or budget is None or names.SERVES_ANNOTATION not in annotations_of(budget):
        return ""
    if is_open_budget(budget):
        return "was open"
    is_aborted = '"state":"aborted' in annotations_of(budget).get(names.CYCLE_ANNOTATION, "")
    return "wanted the drain" if is_cordoned(dpu) and not is_aborted else ""


# --- O4c, O4h ---------------------------------------------------------------------------------------------------------


def let_go(story: Story, hosts: Hosts, begin: float, end: float) -> list[str]:
    """What was opened, removed or given back in a stretch of time in which nothing may be."""
    found = []
    for dpu, host in hosts.pairs.items():
        for seen in _openings(story, hosts, dpu):
            if begin <= seen.at <= end:
                found.append(f"{dpu} was opened")
        guards = hosts.budget(dpu), hosts.budget(dpu)._replace(plural=DEPLOYMENTS.plural)
        for place in (*guards, hosts.maintenance(host)):
            if any(begin <= seen.at <= end for seen in _deletions(story.states(place))):
                found.append(f"{place.plural}/{place.name} was deleted")
    return found


def served_unprotected(story: Story, hosts: Hosts, namespace: str) -> list[str]:
    """DPUs that got the entry by which they serve without a closed budget over a blocker that is Ready.

    `namespace` is that of the entries. All of it is in one cluster, so the order is certain.
    """
    found = []
    entries = Place(INFRA, CONFIGMAPS.plural, namespace, names.OVNKUBE_NODE_ENTRIES)
    known: set[str] = set()
    for seen in story.states(entries):
        now = set((seen.obj or {}).get("data") or {})
        for dpu in sorted((now - known) & set(hosts.pairs) if not seen.listed else ()):
            if not _is_protected(story, hosts, dpu, seen.revision):
                found.append(f"{dpu} got its entry at revision {seen.revision} without protection")
        known = now
    return found


def _is_protected(story: Story, hosts: Hosts, dpu: str, revision: int) -> bool:
    budget = story.before(hosts.budget(dpu), revision)
    if budget is None or is_open_budget(budget) or names.SERVES_ANNOTATION not in annotations_of(budget):
        return False
    pods = (story.before(place, revision) for place in story.places(INFRA, PODS.plural))
    mine = (pod for pod in pods if pod is not None and labels_of(pod).get("app") == names.blocker_name(dpu))
    return any(is_ready(pod) for pod in mine)


# --- the point of it all ----------------------------------------------------------------------------------------------


def down_seconds(story: Story, dpu: str) -> list[tuple[float, float]]:
    """When a DPU was rebooting or not Ready."""
    return _stretches(story.states(node(INFRA, dpu)), lambda obj: not is_ready(obj) or _is_rebooting(obj))


def running_seconds(story: Story, host: str, label: str) -> list[tuple[float, float]]:
    """When a pod with a label ran on a host."""
    places = story.places(TENANT, PODS.plural)
    states = (story.states(place) for place in places)
    return [span for each in states for span in _stretches(each, lambda pod: _runs_on(pod, host, label))]


def cut_off_seconds(story: Story, hosts: Hosts, label: str) -> dict[str, float]:
    """For how long pods with a label ran on a host one of whose DPUs was down, where they did."""
    found = {}
    for dpu, host in hosts.pairs.items():
        downs, runs = down_seconds(story, dpu), running_seconds(story, host, label)
        overlap = sum(max(min(a[1], b[1]) - max(a[0], b[0]), 0.0) for a in downs for b in runs)
        if overlap:
            found[dpu] = overlap
    return found


def broken(story: Story, hosts: Hosts, entries_namespace: str) -> list[str]:
    """All that is broken of what must hold whatever happens."""
    return [
        *opened_without_drain(story, hosts),
        *given_back_too_early(story, hosts),
        *served_unprotected(story, hosts, entries_namespace),
    ]


def is_open_budget(budget: Obj) -> bool:
    """Whether it lets an eviction through."""
    return bool(budget["spec"].get("maxUnavailable") != 0)


def is_cordoned(obj: Obj) -> bool:
    """Whether a Node is."""
    return bool((obj.get("spec") or {}).get("unschedulable"))


def is_ready(obj: Obj) -> bool:
    """Whether a Node or a pod is."""
    return (condition_of(obj, "Ready") or {}).get("status") == "True"


def _stretches(states: Iterable[Seen], holds: object) -> list[tuple[float, float]]:
    assert callable(holds)
    found, since, last = [], None, 0.0
    for seen in states:
        is_so = seen.obj is not None and holds(seen.obj)
        if is_so and since is None:
            since = seen.at
        if not is_so and since is not None:
            found.append((since, seen.at))
            since = None
        last = seen.at
    return found if since is None else [*found, (since, max(last, since) + 1e9)]


def _is_rebooting(obj: Obj) -> bool:
    return bool(boot_id(obj)) and annotations_of(obj).get(REBOOT_ANNOTATION) == boot_id(obj)


def _runs_on(pod: Obj, host: str, label: str) -> bool:
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    return label in labels_of(pod) and spec.get("nodeName") == host and status.get("phase") == "Running"
