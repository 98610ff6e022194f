"""What objects have in common, kept once: thousands that we wrote alike differ in a name and a version."""

from __future__ import annotations

import sys
from typing import Any

from dpunetop.base import jsonio
from dpunetop.kube.meta import Obj

_LONGEST_WORD = 128


class Commons:
    """The parts of JSON documents that were met last, down to single strings.

    Guarantees: what it gives back is equal to what it was given, in the same order, and is the very object that was
        given back for an equal one not long ago; what is remembered has a bound, in number and in size.
    Threads: any. What it gives back is shared, and must not be changed by anyone.
    """

    def __init__(self, most_parts: int = 64, longest_bytes: int = 512) -> None:
        """Parts that are longer, as JSON, are not shared as a whole; what is in them is all the same."""
        self._most_parts = most_parts
        self._longest_bytes = longest_bytes
        # Two generations, so that what is met again and again stays. Threads may replace them under each other's hands:
        # then something is forgotten early, and kept twice until it is met again.
        self._recent: dict[int, Any] = {}  # by the hash of their text
        self._older: dict[int, Any] = {}

    def share(self, document: Obj) -> Obj:
        """An equal document of shared parts; one that is nested too deep comes back as it is."""
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
            return {word(name): shared(member) for name, member in value.items()}
        return [shared(item) for item in value]

    def _word(self, text: str) -> str:
        # One for the whole process, of both clusters: the interpreter forgets it with its last reader.
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
