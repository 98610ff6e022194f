"""What the operator has logged, line by line."""

from __future__ import annotations

import json
from typing import Any

from dpunetop.sandbox.operatorprocess import OperatorProcess

_QUIET = ("debug", "info")


def lines(operator: OperatorProcess) -> list[dict[str, Any]]:
    """Each line as data; what is no JSON, such as a traceback, is a line of level `raw`."""
    return [_line(text) for text in operator.log_text().splitlines() if text]


def alarms(operator: OperatorProcess) -> list[dict[str, Any]]:
    """The lines that somebody should look at: warnings, errors, and what is no log line at all."""
    return [line for line in lines(operator) if line["level"] not in _QUIET]


def said(operator: OperatorProcess, event: str) -> list[dict[str, Any]]:
    """The lines of one event."""
    return [line for line in lines(operator) if line.get("event") == event]


def _line(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) and "level" in parsed else {"level": "raw", "event": text}
