"""The list of the planted bugs that no unit test catches, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EQUIVALENT = "equivalent: "
"""The bug changes no observable behaviour."""
OPEN = "open: "
"""A test is missing, or costs too much."""
MOST_OPEN = 0.05
"""The largest permitted share of open bugs."""


@dataclass
class Survivors:
    """The known survivors: name to reason."""

    reasons: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Survivors:
        """Read a file with each name on a line and its reason indented on the next one. Raises: ValueError."""
        reasons: dict[str, str] = {}
        name = ""
        for line in path.read_text().splitlines():
            if not line or line.startswith("#"):
                continue
            if not line.startswith(" "):
                name = line
            elif not name or not line.strip().startswith((EQUIVALENT, OPEN)):
                raise ValueError(f"{path.name}: not a name and a reason: {line}")
            else:
                reasons[name], name = line.strip(), ""
        return cls(reasons)

    def is_open(self, name: str) -> bool:
        """Whether a test is missing."""
        return not self.reasons.get(name, "").startswith(EQUIVALENT)
