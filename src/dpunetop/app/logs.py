"""Logs on stderr: a constant message and fields, one line each, as JSON for machines or aligned for people."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from dpunetop.base.quoting import printable

_LONGEST_TEXT = 8000
_FOREIGN_LEVEL = logging.WARNING


def configure(level: str, log_format: str) -> None:
    """Set logging up for this process, with `log_format` `json` or `console`: our own lines from `level` on, those of
    libraries from WARNING on.

    Guarantees: a value that is no plain data is shown as its `repr`, so secrets stay hidden; tracebacks show no local
        variables.
    Threads: call once, before others log. Logging is safe from any thread; a line of up to `select.PIPE_BUF` bytes is
        written whole, and so is a longer one unless stderr is a pipe whose reader is behind. A line that cannot be
        written is lost; logging never blocks work.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    is_json = log_format == "json"
    renderer: Processor = _json_line if is_json else _console()
    structlog.configure(
        processors=[*_shared(), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=_to(_Lines(sys.stderr.fileno())) if is_json else structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _route_libraries(_json_text if is_json else _console())


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _in_plain_words,
    ]


def _in_plain_words(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Each text of a line as short ASCII without control characters, since some of it is foreign."""
    return {key: printable(value, _LONGEST_TEXT) if isinstance(value, str) else value for key, value in event.items()}


def _plain_traceback(text: str) -> str:
    """A traceback as ASCII; its lines are indented, so that none looks like a line of the log."""
    lines = (line[:_LONGEST_TEXT] for line in text.split("\n"))
    return "\n".join(" " * (2 + len(line) - len(line.lstrip(" "))) + printable(line, _LONGEST_TEXT) for line in lines)


def _write_traceback(out: TextIO, error: ExcInfo) -> None:
    structlog.dev.plain_traceback(said := io.StringIO(), error)  # the other formatters show local variables
    out.write("\n" + _plain_traceback(said.getvalue().strip("\n")))


class _Lines:
    """Writes lines to a file descriptor, each with one call.

    No lock is held meanwhile: a write releases the GIL and may wait 5 ms to get it back, and all other threads that log
    would wait too. One call writes a line whole: POSIX, write().
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._guard = threading.Lock()  # only for long lines, so that they do not mix

    def msg(self, line: bytes) -> None:
        """Write one line, of any level."""
        data = line + b"\n"
        with contextlib.nullcontext() if len(data) <= select.PIPE_BUF else self._guard, contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._fd, data) :]

    debug = info = warning = error = critical = msg


def _to(lines: _Lines) -> Callable[..., _Lines]:
    return lambda *_: lines


def _console() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        pad_event_to=28,
        exception_formatter=_write_traceback,
    )


def _json_line(logger: WrappedLogger, name: str, event: EventDict) -> bytes:
    plain = structlog.processors.format_exc_info(logger, name, event)
    if "exception" in plain:
        plain["exception"] = _plain_traceback(plain["exception"])
    # Dataclasses are passed to `repr` too: JSON of their fields would show what their `repr` hides.
    return orjson.dumps(plain, default=repr, option=orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_NON_STR_KEYS)


def _json_text(logger: WrappedLogger, name: str, event: EventDict) -> str:
    return _json_line(logger, name, event).decode()


def _route_libraries(renderer: Any) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=_FOREIGN_LEVEL, force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # warns of each odd header, which a hostile server can repeat
    logging.captureWarnings(True)
