"""Foreign text in our messages: bounded, and free of control sequences that a terminal or a log reader obeys."""

from __future__ import annotations

import re

_MORE = " ..."
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_UNREADABLE = re.compile(r"[^ -~]")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
_LONGEST_NAME = 253
_UNSAFE = re.compile(r"[^A-Za-z0-9._/:@-]")


def named(text: str) -> str:
    """`text` unchanged if it is a valid object name, else quoted: an untrusted field may hold anything."""
    return text if len(text) <= _LONGEST_NAME and _NAME.fullmatch(text) else quoted(text, 80)


def quoted(text: str, limit: int = 40) -> str:
    """`text` in double quotes, cut to `limit` characters, with each unusual character shown as `?`."""
    shown = _UNSAFE.sub("?", text[:limit])
    return f'"{shown}..."' if len(text) > limit else f'"{shown}"'


def sentence(text: str, limit: int = 200) -> str:
    """`text` in double quotes as one line of ASCII, cut to `limit` characters, double quotes inside made single ones;
    for messages of others that people need to read."""
    shown = _UNREADABLE.sub("?", text[: limit + 1]).replace('"', "'")
    return f'"{cut(shown, limit)}"'


def printable(text: str, limit: int) -> str:
    """Foreign text as one line of ASCII, at most `limit` characters long, cut between words."""
    return cut(_UNPRINTABLE.sub(" ", text[: 4 * limit]).strip(), limit)


def cut(text: str, limit: int) -> str:
    """At most `limit` characters of `text`, cut between words where possible; an ellipsis marks the cut."""
    if len(text) <= limit:
        return text
    head = text[: max(0, limit - len(_MORE))]
    words = head.rpartition(" ")[0] if not text[len(head)].isspace() else head
    return (words if len(words) > len(head) // 2 else head).rstrip() + _MORE[: limit - len(head)]
