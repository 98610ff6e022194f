"""The audit log of an API server that still writes to it: only lines that are complete are read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from dpunetop.sandbox.admin import Obj

_MOST_LINE_BYTES = 16 << 20
"""Longer than any request that the API server takes, with what the log says about it."""


class AuditLog:
    """The log in one file. A position in it is always the end of a line.

    The kernel shows a line that is being written in parts, as it copies them. Threads: any.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def end(self) -> int:
        """Where the last complete line ends now. Raises: FileNotFoundError."""
        with open(self._file, "rb") as log:
            begin = max(0, log.seek(0, os.SEEK_END) - _MOST_LINE_BYTES)
            log.seek(begin)
            return begin + log.read().rfind(b"\n") + 1

    def lines(self, since: int) -> tuple[list[bytes], int]:
        """The complete lines behind a position, and the position behind them. Raises: FileNotFoundError."""
        with open(self._file, "rb") as log:
            log.seek(since)
            text = log.read()
        end = text.rfind(b"\n") + 1
        return text[:end].splitlines(keepends=True), since + end

    def events(self, since: int, user: str | None, verb: str | None) -> Iterator[Obj]:
        """The events behind a position, of a user and with a verb; None stands for any."""
        for line in self.lines(since)[0]:
            event = json.loads(line)
            if user in (None, event["user"].get("username")) and verb in (None, event["verb"]):
                yield event
