"""The text of a tenant's kubeconfig, YAML or JSON, as a tree of plain values, before any of it is interpreted.

The author of the text is not trusted. Parsers disagree on anchors, tags, directives and duplicate keys, so all of these
are refused, and nothing larger than a kubeconfig needs is ever built.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import yaml

from dpunetop.base.quoting import quoted
from dpunetop.domain.tenant.kubeconfigmodel import Rejection, refuse

SIZE_LIMIT_BYTES = 256 * 1024
_DEEPEST = 16
_MOST_EVENTS = 4096

_Tree = str | bool | None | list["_Tree"] | dict[str, "_Tree"]
Tree = _Tree
"""A value, list or mapping; every scalar that is neither a boolean nor null is text."""


def read_tree(data: bytes, known_keys: Container[str]) -> Tree:
    """Read YAML or JSON; messages quote keys that are not among `known_keys`.

    Guarantees: constant depth, bounded size and time whatever the input.
    Raises: KubeconfigRejected.
    """
    if len(data) > SIZE_LIMIT_BYTES:
        refuse(Rejection.TOO_LARGE, "", f"is larger than {SIZE_LIMIT_BYTES // 1024} KiB; keep one context only")
    try:
        text = data.decode("utf-8")
        events = _Events(text, known_keys)
        tree = events.document()
    except (UnicodeDecodeError, yaml.YAMLError):
        # The parser's own message quotes the input, which may be a token.
        refuse(Rejection.NOT_YAML, "", "is not valid YAML or JSON; store the file as it is, in UTF-8")
    return tree


class _Events:
    """A pull parser over YAML events. It refuses everything on which parsers disagree, before it builds anything."""

    def __init__(self, text: str, known_keys: Container[str]) -> None:
        self._events = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._known_keys = known_keys
        self._count = 0

    def document(self) -> Tree:
        self._next()  # stream start
        start = self._next()
        if isinstance(start, yaml.StreamEndEvent):
            refuse(Rejection.NOT_YAML, "", "is empty; store the kubeconfig under this key")
        if isinstance(start, yaml.DocumentStartEvent) and (start.version or start.tags):
            refuse(Rejection.TAG, "", "has a YAML directive; remove lines that begin with %")
        tree = self._value(self._next(), "", 0)
        self._next()  # document end
        if not isinstance(self._next(), yaml.StreamEndEvent):
            refuse(Rejection.SEVERAL, "", "holds several YAML documents; keep one")
        return tree

    def _next(self) -> yaml.Event:
        self._count += 1
        if self._count > _MOST_EVENTS:
            refuse(Rejection.TOO_LARGE, "", "has too many entries; keep one cluster, one user and one context")
        return next(self._events)

    def _value(self, event: yaml.Event, path: str, depth: int) -> Tree:
        if depth > _DEEPEST:
            refuse(Rejection.TOO_DEEP, path, f"is nested more than {_DEEPEST} levels deep")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            refuse(Rejection.ALIAS, path, "uses a YAML anchor or alias; write the value out")
        if getattr(event, "tag", None) is not None:
            refuse(Rejection.TAG, path, "has a YAML tag; remove it")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path, depth)
        return _scalar(event)

    def _mapping(self, path: str, depth: int) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                refuse(Rejection.UNKNOWN_KEY, path, "has a key that is not plain text")
            self._value(event, path, depth)  # anchors and tags of the key itself
            key = str(event.value)
            if key == _MERGE:
                refuse(Rejection.ALIAS, path, "has a YAML merge key (<<); write the values out")
            if key in found:
                refuse(Rejection.DUPLICATE_KEY, path, f"has the key {quoted(key)} twice; keep one")
            found[key] = self._value(self._next(), f"{path}.{self._shown(key)}", depth + 1)
        return found

    def _shown(self, key: str) -> str:
        return key if key in self._known_keys else quoted(key)

    def _sequence(self, path: str, depth: int) -> list[Tree]:
        found: list[Tree] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            found.append(self._value(event, f"{path}[{len(found)}]", depth + 1))
        return found


def _scalar(event: yaml.Event) -> str | bool | None:
    # A scalar that is neither a boolean nor null stays text; the model refuses text where it does not belong.
    assert isinstance(event, yaml.ScalarEvent)
    if not event.implicit[0]:
        return str(event.value)
    return _PLAIN.get(event.value, str(event.value))


def _spellings(*words: str) -> tuple[str, ...]:
    return tuple(form for word in words for form in (word, word.capitalize(), word.upper()))


# As client-go reads them, with the booleans of YAML 1.1, but not `y` and `n`, which are also names.
_PLAIN: Mapping[str, bool | None] = {
    **dict.fromkeys(_spellings("true", "yes", "on"), True),
    **dict.fromkeys(_spellings("false", "no", "off"), False),
    **dict.fromkeys((*_spellings("null"), "~", ""), None),
}
_MERGE = "<<"
