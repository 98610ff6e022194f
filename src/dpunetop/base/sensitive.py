"""Text that must never be seen."""

from __future__ import annotations


class Sensitive:
    """A token or a private key: compared and passed on like text, shown as `***`.

    Guarantees: neither repr, str nor format gives it away, so that a log line, a traceback or the repr of a dataclass
        cannot. Not a dataclass on purpose: encoders and `asdict` would walk into one.
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
