"""Secret text that must not reach a log."""

from __future__ import annotations


class Sensitive:
    """A token or a private key: compared and passed on like text, shown as `***`.

    Guarantees: repr, str and format hide the text, so a log line, a traceback or the repr of a dataclass does too.
        Not a dataclass on purpose: encoders and `asdict` would read its fields.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; only for the place that sends or mounts it."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "***"
