"""The transcript of the documentation: what commands say, with what differs from run to run masked."""

from __future__ import annotations

import os
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
RECORD = "DPUNETOP_RECORD"
_BEGIN, _END = "<!-- transcript: begin -->\n", "<!-- transcript: end -->\n"
_MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:]+(\.\d+)?Z"), "2026-01-01T00:00:00Z"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b(?!Z)"), "00:00:00"),
    (re.compile(r"(?<![\w.-])(\d+d)?(\d+h)?(\d+m)?\d+[smhd](?![\w.-])"), "9s"),
    (re.compile(r"\b\d+ s ago"), "1 s ago"),
    (re.compile(r"\b\d+ s (?=waiting|draining|proving)"), "9 s "),
    (re.compile(r'"[^"\s]*_[0-9a-f]{16}"'), '"dpunetop-0"'),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:6443"),
    (re.compile(r"force:[0-9a-zA-Z-]+"), "force:BOOT-ID"),
    (re.compile(r"\b[0-9a-f]{32}\b|\b[0-9a-f]{16}\b"), "0123456789abcdef"),
    # The real operator and its stand-in say it at the end of a try, and take it back with the next one.
    (re.compile(r'; the node maintenance operator says "[^"]*"'), ""),
    (re.compile(r"# \d+ objects"), "# 10 objects"),
    (re.compile(r"\band \d+ more\b"), "and 9 more"),
    (re.compile(r"\ball \d+ rights\b"), "all 99 rights"),
    (re.compile(r"@@ -\d+,\d+ \+\d+,\d+ @@"), "@@"),
)


def masked(text: str) -> str:
    """`text` with what differs from run to run in one form."""
    for pattern, instead in _MASKS:
        text = pattern.sub(instead, text)
    return text


def compare(transcript: str) -> None:
    """Fail if the page holds another transcript; with the variable of `RECORD` set, write it there instead."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(_BEGIN)
    held, _, after = rest.partition(_END)
    if os.environ.get(RECORD):
        PAGE.write_text(f"{before}{_BEGIN}{transcript}{_END}{after}", "utf-8")
        return
    assert _bare(held) == _bare(transcript), f"{RECORD}=1 writes what the commands say now into {PAGE.name}"


def _bare(text: str) -> list[list[str]]:
    """The words of each line: columns are as wide as what was masked in them."""
    return [line.split() for line in text.splitlines()]
