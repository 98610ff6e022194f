"""Interning: equal parts of cached objects are kept once; thousands of ours differ only in a name and a version."""

from __future__ import annotations

import sys
from typing import Any

from dpunetop.base import jsonio
from dpunetop.kube.meta import Obj

_LONGEST_WORD = 128
_UNSHARED = frozenset({"uid", "resourceVersion", "containerID"})
"""Members whose text is of one object alone: sixteen of them a DPU would only make the interpreter's table of interned
strings grow, which doubles its size at each step. Where several objects name one uid, as their owner's, the part of the
document around it is shared."""


class Interner:
    """An interner of recent parts of JSON documents, down to single strings.

    Guarantees: the result is equal to the argument, in the same order; two equal arguments within a short time give
        the same object. The number and the size of the remembered parts are bounded.
    Threads: any. The result is shared, so it must not be changed.
    """

    def __init__(self, most_parts: int = 64, longest_bytes: int = 512) -> None:
        """A part longer than `longest_bytes` as JSON is not shared as a whole; its own parts still are."""
        self._most_parts = most_parts
        self._longest_bytes = longest_bytes
        # Two generations, so that frequent parts stay. Threads may replace them concurrently without a lock: at worst a
        # part is forgotten early and exists twice until it is interned again.
        self._recent: dict[int, Any] = {}  # by the hash of their text
        self._older: dict[int, Any] = {}

    def share(self, document: Obj) -> Obj:
        """An equal document of shared parts; one that is nested too deep is returned unchanged."""
        try:
            shared: Obj = self._shared(document)
        except jsonio.EncodeError:
            return document
        return shared

    def _shared(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._word(value)
        if kind is not dict and kind is not list:
            return value
        text = jsonio.dumps(value)
        if len(text) > self._longest_bytes:
            return self._of_shared_parts(value)
        known = self._known(hash(text))
        return known if known == value else self._remembered(hash(text), self._of_shared_parts(value))

    def _of_shared_parts(self, value: dict[str, Any] | list[Any]) -> Any:
        word, shared = self._word, self._shared
        if isinstance(value, dict):
            return {word(name): member if name in _UNSHARED else shared(member) for name, member in value.items()}
        return [shared(item) for item in value]

    def _word(self, text: str) -> str:
        # Interned for the whole process, both clusters; the interpreter drops a string with its last reference.
        return sys.intern(text) if len(text) <= _LONGEST_WORD else text

    def _known(self, code: int) -> Any:
        known = self._recent.get(code)
        if known is None and (known := self._older.get(code)) is not None:
            self._remembered(code, known)
        return known

    def _remembered(self, code: int, part: Any) -> Any:
        if len(self._recent) >= self._most_parts:
            self._recent, self._older = {}, self._recent
        self._recent[code] = part
        return part
