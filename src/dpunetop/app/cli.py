"""The command `run`: settings in, operator wired and run, exit code out."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Sequence

import structlog

from dpunetop import __version__
from dpunetop.app import settings as flags
from dpunetop.app.logs import configure
from dpunetop.app.settings import Settings, SettingsError, parse_settings
from dpunetop.app.wiring import process_identity, wire
from dpunetop.base.stop import Stop
from dpunetop.runtime.client.connection import ConfigurationError
from dpunetop.runtime.manager import Outcome

USAGE_EXIT = 2
_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_SWITCH_SECONDS = 0.001


def parser() -> argparse.ArgumentParser:
    """The flags and arguments of the command."""
    return flags.parser()


def run(arguments: Sequence[str]) -> int:
    """Run the operator until SIGTERM or SIGINT; a second signal ends it at once.

    Guarantees: an invalid setting is one line on stderr and exit code 2, before anything starts; any unclean end exits
        through `os._exit`, because threads may be left that must not write.
    Threads: the main one, which alone may set up signals.
    """
    try:
        settings = parse_settings(arguments, os.environ)
        configure(settings.log_level, settings.log_format)
        return _run(settings)
    except (SettingsError, ConfigurationError) as err:
        print(f"dpunetop: {err}", file=sys.stderr)
        return USAGE_EXIT


def _run(settings: Settings) -> int:
    _tune()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # before any thread is started: all inherit it
    stop, ended = Stop(), Stop()
    log, identity = structlog.get_logger().bind(), process_identity()
    manager = wire(settings, stop, identity)
    log.info("starting", version=__version__, identity=identity, settings=settings.shown())
    watcher = threading.Thread(target=_wait_for_signals, args=(stop, ended), name="signals")
    watcher.start()
    outcome = manager.run(stop)
    log.info("ended", outcome=outcome.name, exit_code=outcome.value)
    if outcome is not Outcome.STOPPED:
        sys.stdout.flush()
        os._exit(outcome.value)
    ended.set()
    watcher.join()
    return int(outcome.value)


def _tune() -> None:
    """Fewer garbage collections and a shorter switch interval, so that the Lease is renewed while lists are decoded."""
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(_SWITCH_SECONDS)


def _wait_for_signals(stop: Stop, ended: Stop) -> None:
    """Wait in a thread of its own, because a handler would run under any lock that the main thread holds."""
    while not ended.is_set():
        if signal.sigtimedwait(_SIGNALS, 0.2) is None:
            continue
        if stop.is_set():
            os._exit(128 + signal.SIGTERM)
        # In another thread, so that a second signal is seen while the first is handled.
        threading.Thread(target=stop.set, name="stopping").start()
