"""The exit codes of commands."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of all commands for people; scripts may rely on them."""

    GOOD = 0
    """Everything was looked at, and nothing is wrong."""
    WRONG = 1
    """Something is wrong; the output says what, and what to do."""
    USAGE = 2
    """A flag, a file or a kubeconfig cannot be used; one line on stderr says which."""
    UNSEEN = 3
    """Nothing wrong was found, but not everything was looked at, or is proven yet; the output says what, and why."""


def worst(*found: Exit) -> Exit:
    """One exit code for several findings: a fault counts before an incomplete look."""
    return max(found, key=_WEIGHTS.index, default=Exit.GOOD)


_WEIGHTS = (Exit.GOOD, Exit.UNSEEN, Exit.WRONG, Exit.USAGE)
