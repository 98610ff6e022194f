"""Text that must never be seen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Sensitive:
    """A token or a private key: compared and passed on like text, shown as `***`.

    Guarantees: neither repr, str nor format gives it away, so that a log line, a traceback or a dataclass repr cannot.
    """

    _text: str

    def reveal(self) -> str:
        """The text itself; only for the place that sends or mounts it."""
        return self._text

    def __repr__(self) -> str:
        return "***"
