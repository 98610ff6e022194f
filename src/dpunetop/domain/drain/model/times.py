"""Times as the API writes them, and as whole seconds of the epoch."""

from __future__ import annotations

from datetime import UTC, datetime

_LONGEST = 40


def as_seconds(text: object) -> int:
    """A time of the API in seconds of the epoch; 0 for anything else."""
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) and len(text) <= _LONGEST else None
        return max(0, int(time.timestamp())) if time is not None and time.tzinfo else 0
    except (ValueError, OverflowError):
        return 0


def as_time(seconds: int) -> str:
    """Seconds of the epoch as the API writes them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
