"""Each limit that a page tells in figures is the constant that the code keeps."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import dpunetop

DOCS = Path(__file__).parents[3] / "docs"
SOURCE = Path(dpunetop.__path__[0])
TOLD = {
    "security.md": """
        a kubeconfig [domain.tenant.SIZE_LIMIT_BYTES/1024] KiB
        [domain.tenant.MOST_EVENTS] YAML events and [domain.tenant.DEEPEST] levels
        PEM [domain.tenant.PEM_LIMIT_BYTES/1024] KiB
        `ovnkube.conf` [domain.ovnkube.conf.SIZE_LIMIT_BYTES/1024] KiB
        lines of [domain.ovnkube.conf.LONGEST_LINE/1024] KiB
        the script library [domain.ovnkube.scriptlib.SIZE_LIMIT_BYTES/1024] KiB
        lines of [domain.ovnkube.scriptlib.LONGEST_LINE] characters
        an entry of `env-overrides` [domain.pairing.SIZE_LIMIT_BYTES/1024] KiB
        at most [domain.ovnkube.MOST], sorted
        the oldest [domain.clusterconfig.MOST_WAITING] that wait
        no more than [controllers.AGAIN_PER_SECOND] times a second
        the message of a condition ([kube.MESSAGE_LIMIT] characters)
        the note of an Event ([kube.NOTE_LIMIT])
        an API error ([kube.MOST_MESSAGE_CHARS]
        each text of a log line ([app.LONGEST_TEXT])
        answers of [app.TENANT_RESPONSE_BYTES/1024] KiB at most
        the pods' credential | [controllers.tenant.VERIFY_SECONDS] s;
        all of the latter together [controllers.tenant.ALL_SECONDS] s
        | a call | [runtime.client.CALL_SECONDS] s |
        | [runtime.PROBE_TIMEOUT_SECONDS] s; [runtime.client.CALL_SECONDS] s |
        | [runtime.client.PAGE_SECONDS] s; [runtime.client.LIST_SECONDS] s |
        | [runtime.client.WATCH_LIST_SECONDS] s, then it is read in pages |
        until the server sends its first bookmark, [runtime.client.FIRST_MARK_SECONDS] s |
        | [kube.MOST_PAUSE_SECONDS] s |
        for [controllers.tenant.DOUBT_SECONDS] s (`IdentityInDoubt`)
        [runtime.MAX_HEAD_BYTES/1024] KiB and [runtime.MAX_HEADERS] headers, else 431
        handshake and head together | [runtime.serving.HEAD_SECONDS] s |
        one request each | [runtime.serving.CONNECTION_SECONDS] s |
        | [runtime.serving.MAX_CONNECTIONS]; [runtime.serving.MAX_CONNECTIONS_OF_A_PEER].
        threads that answer | [runtime.serving.ANSWERING_THREADS] |
        [runtime.serving.PEER_REVIEWS_PER_SECOND] in a second from one address
        from one address, [runtime.serving.REVIEWS_PER_SECOND] in all
        (at first [runtime.serving.PEER_REVIEWS_AT_ONCE] and [runtime.serving.REVIEWS_AT_ONCE])
        | [runtime.serving.STRANGERS] at a time; else 429 |
    """,
    "drain.md": """
        none, [domain.drain.rules.FIRST_RETRY_SECONDS] s, then
        then longer up to [domain.drain.rules.LAST_RETRY_SECONDS/60] min
        after [controllers.drain.READ_ANEW_SECONDS] s all of both clusters
        every [controllers.drain.stalls.APART_SECONDS/60] minutes again
        a pause that grows to [domain.drain.report.LAST_PAUSE_SECONDS] s
        is reported after [domain.drain.report.BEGINNING_SECONDS/60] minutes
        two reads, [controllers.drain.DPU_SECONDS/60] minutes apart
        after [domain.drain.rules.ABANDONED_SECONDS/60] minute `HostStillCordoned`
        up to [controllers.drain.PATIENCE_SECONDS] s
        [app.MARGIN_SECONDS] s more
    """,
    "outages.md": """
        has [domain.drain.outages.STARTING_SECONDS/60] minutes
        or [domain.drain.outages.SUSPECT_NODES] of its Nodes
    """,
    "engine.md": """
        is requeued after [runtime.BEHIND_SECONDS] s
        A server is probed every [runtime.PROBE_SECONDS] s
        After [runtime.PROBE_FAILURES] failures in a row
    """,
    "cli.md": """
        waits longer than [app.commands.MOST_SECONDS] s
        At most [app.commands.MOST_BYTES/1048576] MiB before compression
        before compression, [app.commands.MOST_FILE_BYTES/1048576] MiB of each log
        [app.commands.MOST_LOGS] logs, [app.commands.MOST_OBJECTS] objects of a kind
        objects of a kind, [app.commands.collect.SECONDS/60] minutes
        the last [app.commands.MOST_EVENTS] Events of each cluster
    """,
}
"""Phrases of a page; within brackets the folder and the name of the constant that gives the figure, and its divisor."""
WORDS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7}
PHRASES = [(page, phrase.strip()) for page, text in TOLD.items() for phrase in text.strip().splitlines()]
NAMED = re.compile(r"\[([\w.]+)\.(\w+)(?:/(\d+))?\]")


@cache
def constants(room: str) -> dict[str, frozenset[float]]:
    """The numbers of a folder, or of one module, by the names of their constants, without a leading underscore."""
    found: dict[str, set[float]] = {}
    place = SOURCE / room.replace(".", "/")
    for path in place.glob("*.py") if place.is_dir() else [place.with_suffix(".py")]:
        module = import_module(".".join(("dpunetop", *path.relative_to(SOURCE).with_suffix("").parts)))
        for name, value in vars(module).items():
            if isinstance(value, int | float):
                found.setdefault(name.lstrip("_"), set()).add(value)
    return {name: frozenset(values) for name, values in found.items()}


def figure(found: re.Match[str]) -> str:
    room, name, divisor = found.groups()
    [value] = constants(room)[name]
    shown = value / int(divisor or 1)
    assert shown == int(shown), f"{found[0]} is {shown}"
    return f"{int(shown):,}"


def numbered(text: str) -> str:
    """A text in one line, with words for small numbers as figures."""
    return re.sub(rf"\b({'|'.join(WORDS)})\b", lambda found: str(WORDS[found[0]]), " ".join(text.split()))


@cache
def text_of(page: str) -> str:
    return numbered((DOCS / page).read_text())


@pytest.mark.parametrize(("page", "phrase"), PHRASES)
def test_the_page_tells_the_limit_that_the_code_keeps(page: str, phrase: str) -> None:
    assert numbered(NAMED.sub(figure, phrase)) in text_of(page)
