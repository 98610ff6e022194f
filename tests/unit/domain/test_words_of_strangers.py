"""Whatever strangers write, what people are shown of it is one short line of plain characters."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import dpunetop
from dpunetop.base.quoting import named, quoted, sentence
from dpunetop.domain.clusterconfig.access import Access
from dpunetop.domain.clusterconfig.lifecycle import ConfigView, Leftovers, TenantUnreadable, plan_config
from dpunetop.domain.clusterconfig.ownership import Owner
from dpunetop.domain.clusterconfig.status import confession, report, summary
from dpunetop.domain.clusterconfig.types import DpuClusterConfig, parse_config
from dpunetop.domain.dpunode.status import DpuNodeStatus, Phase
from dpunetop.domain.drain.model import facts, readers
from dpunetop.domain.drain.protection.decision import ProtectionPhase
from dpunetop.domain.drain.report.dpustatus import DpuPhase, DpuStatus
from dpunetop.domain.drain.report.health import PairState, judge_pairs
from dpunetop.domain.ovnkube.image import AllowedImages, ImageView, choose_image
from dpunetop.domain.ovnkube.release import release_of
from dpunetop.domain.pairing.envfile import EntryRejected, nobodys_keys, parse_entry
from dpunetop.domain.tenant.kubeconfig import parse_kubeconfig
from dpunetop.domain.tenant.kubeconfigmodel import KubeconfigRejected
from dpunetop.domain.tenant.link import (
    KubeconfigChoice,
    Linked,
    LinkView,
    TenantDenied,
    TenantUnanswered,
    WrongCluster,
    plan_link,
)
from dpunetop.kube.conditions import MESSAGE_LIMIT, Condition
from dpunetop.kube.errors import ApiError, error_from_status
from dpunetop.kube.keys import INFRA, NODES
from dpunetop.kube.plan import NOTE_LIMIT, ApplyStatus, Emit, Plan
from dpunetop.kube.watch import WatchEvent, interpret
from support.clock import EPOCH
from support.objects import condition, config
from support.sources import tree_of

HOSTILE = {
    "escapes": "a\x1b[31m\x1b]0;title\x07b",
    "another order": "a\u202eb\u2066c",
    "several lines": "a\nReady is True\r\nb\u2028c\x85d",
    "what is no character": "a\x00b\ufffec\ud800d",
    "long": "x" * 10_000,
    "long and foreign": "\u00e9\x1b" * 5_000,
}
SOURCE = Path(dpunetop.__path__[0])


def live(**spec: Any) -> dict[str, Any]:
    return config(**spec)


def of(**changes: Any) -> DpuClusterConfig:
    return parse_config({**live(), **changes})


def linked(attempt: Any, text: str) -> Plan:
    view = LinkView(
        config=of(),
        owner=Owner(live(), "owner"),
        choice=KubeconfigChoice(None, None),
        attempt=attempt,
        kept=Linked("uid", text),
        stored=None,
        field_manager="m",
        now=EPOCH,
    )
    return plan_link(view)


def ending(**changes: Any) -> Plan:
    nothing: dict[str, Any] = dict.fromkeys(Leftovers.__dataclass_fields__)
    for name in ("nodes", "served", "pods", "protections", "maintenances", "copies", "tenant"):
        nothing[name] = ()
    return plan_config(ConfigView(of(), Leftovers(**{**nothing, "access": Access.GIVEN, **changes}), "m"))


def pair(text: str) -> Condition:
    dpu_status = DpuStatus("dpu", DpuPhase.HELD, "Held", text)
    return judge_pairs([PairState(text, ProtectionPhase.SERVING, dpu_status, True)], [text])


def refused(text: str) -> str:
    with pytest.raises(KubeconfigRejected) as caught:
        parse_kubeconfig(f'{{"users": [], {text!r}: 1, "clusters": [{{"name": {text!r}}}]}}'.encode("utf-8", "replace"))
    return caught.value.message


def rejected(text: str) -> str:
    entry = parse_entry(text, f"TENANT_K8S_NODE={text}\n{text}=1\n")
    assert isinstance(entry, EntryRejected)
    return entry.message


def watched(kind: str, status: Mapping[str, Any]) -> str:
    with pytest.raises(ApiError) as caught:
        interpret(WatchEvent(kind, {"metadata": {"resourceVersion": "1"}, **status}))
    return str(caught.value)


def image(**said: Any) -> str:
    view = ImageView(None, None, None, None, None, AllowedImages(("r.example/x",)))
    found = choose_image(ImageView(**{**{n: getattr(view, n) for n in ImageView.__slots__}, **said}))
    return str(getattr(found, "message", ""))


def maintenance(text: str) -> facts.Maintenance:
    return readers.maintenance(
        {"metadata": {"name": text, "uid": "u"}, "spec": {"nodeName": text}, "status": {"lastError": text}}, "owner"
    )


PRODUCERS: Mapping[str, Callable[[str], Any]] = {
    "a condition": lambda text: Condition("T", "False", "R", text),
    "an Event": lambda text: Emit(INFRA, NODES, {"metadata": {"name": "n"}}, "Warning", "R", text),
    "an error": lambda text: str(ApiError(0, "R", text)),
    "a status of a server": lambda text: str(error_from_status({"message": text, "reason": text, "code": 500})),
    "a watch event": lambda text: (watched(text, {}), watched("ERROR", {"message": text, "reason": text})),
    "a report": lambda text: report(live(), (Condition("T", "False", "R", text),), "m"),
    "what a stored condition says": lambda text: summary(
        of(status={"conditions": [condition("McpReady", "False", "Degraded", text)]})
    ),
    "a confession": lambda text: confession(live(), Condition("T", "False", "R", text), "m"),
    "a host that has not been given back": lambda text: ending(maintenances=(text,)),
    "a host that is led out": lambda text: ending(served=(text,)),
    "why a tenant is out of sight": lambda text: ending(tenant=TenantUnreadable(text)),
    "a tenant that does not answer": lambda text: linked(TenantUnanswered("Timeout", text), text),
    "a tenant that refuses": lambda text: linked(TenantDenied("Forbidden", text), text),
    "a tenant that is another": lambda text: linked(WrongCluster("TenantSwapped", text), text),
    "a pair": pair,
    "an entry": rejected,
    "a kubeconfig": refused,
    "spec.image": lambda text: image(spec_image=text),
    "an image of the operator's": lambda text: image(environment_image=text),
    "a maintenance's error": lambda text: maintenance(text).error,
    "quoted": lambda text: (quoted(text), sentence(text), named(text)),
}


def words(made: Any) -> Iterator[str]:
    """All that people are shown of what was made."""
    match made:
        case str():
            yield made
        case Condition():
            yield f"{made.type} {made.reason} {made.message}"
        case Emit():
            yield f"{made.reason} {made.note}"
        case ApplyStatus():
            yield from words((*made.conditions, *made.telling.values()))
        case Plan():
            yield from words(made.steps)
        case tuple():
            for each in made:
                yield from words(each)
        case _:
            return


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("producer", PRODUCERS.values(), ids=PRODUCERS.keys())
def test_what_is_shown_is_one_short_line_of_plain_characters(producer: Callable[[str], Any], text: str) -> None:
    found = list(words(producer(text)))
    assert found
    for line in found:
        assert line.isascii()
        assert line.isprintable()
        assert len(line) <= max(MESSAGE_LIMIT, NOTE_LIMIT) + 100


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_name_that_can_be_none_is_quoted(text: str) -> None:
    assert named("worker-1.example") == "worker-1.example"
    assert named(text).startswith('"') or text == HOSTILE["long"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_version_of_a_stranger_is_none(text: str) -> None:
    assert release_of(None, {"status": {"desired": {"version": text}}}) is None
    assert nobodys_keys({text: ""}) == [text]


def test_a_message_or_a_note_is_written_in_one_place_each() -> None:
    found: dict[str, list[str]] = {"message": [], "note": []}
    for path in sorted((SOURCE).rglob("*.py")):
        if "sandbox" in path.parts:
            continue
        for node in ast.walk(tree_of(path)):
            for key in keys_written(node):
                if key in found:
                    found[key].append(path.relative_to(SOURCE).as_posix())
    assert set(found["message"]) <= MESSAGES
    assert set(found["note"]) <= NOTES


MESSAGES = {
    "app/commands/explain.py",  # a document for programs, of statuses that are printable; output.py escapes it
    "app/commands/paper.py",  # as `kube.conditions` writes them, into a cluster that is on paper alone
    "app/commands/render.py",
    "app/commands/status.py",
    "domain/dpunode/objects.py",  # of a status whose message is printable
    "kube/conditions.py",
    "runtime/cache/transform.py",  # cuts what a container left, for a reader that takes listed words of it
    "runtime/client/client.py",  # makes an error of ours of what a server says
    "runtime/client/net/answers.py",
}
NOTES: set[str] = set()


def keys_written(node: ast.AST) -> Iterator[str]:
    """The texts that are keys of a mapping that is written out here."""
    if isinstance(node, ast.Dict):
        yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_dpu_node_says_in_one_printable_line_what_strangers_wrote(text: str) -> None:
    status = DpuNodeStatus("dpu-1", "host-1", Phase.HELD, "NotOurs", text, (), machine_config=text)
    for shown, limit in ((status.message, MESSAGE_LIMIT), (status.machine_config, 253)):
        assert len(shown) <= limit
        assert shown.isascii()
        assert shown.isprintable()
