"""The list of the planted bugs that no unit test catches, each with the reason why not."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EQUIVALENT = "equivalent: "
"""What is planted there changes nothing that anybody could see."""
OPEN = "open: "
"""A test is missing, or is not worth what it costs."""
MOST_OPEN = 0.05
"""Such a share of all planted bugs may be open."""


@dataclass
class Survivors:
    """What is known: a name to its reason."""

    reasons: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Survivors:
        """Each name on a line of its own, its reason on the next one, indented. Raises: ValueError."""
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
