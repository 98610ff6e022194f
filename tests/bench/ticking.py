"""The operator with a ticker beside it, which says for how long no other thread could run.

`python -m bench.ticking FILE FOLDER run …` runs it as `bench.inpod FOLDER run …`, and writes FILE when it is told to
end: by how much each tick of 10 ms was late since `SIGUSR1`, in seconds, as JSON.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from pathlib import Path

from bench import inpod

TICK_SECONDS = 0.01


def main(file: Path, arguments: list[str]) -> int:
    """Run the operator beside the ticker; the operator's exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # or the ticker would end by them
    over, late = threading.Event(), list[float]()
    signal.signal(signal.SIGUSR1, lambda *_: late.clear())
    ticker = threading.Thread(target=_tick, args=(over, late), name="ticker", daemon=True)
    ticker.start()
    try:
        return inpod.main(Path(arguments[0]), arguments[1:])
    finally:
        over.set()
        ticker.join()
        file.write_text(json.dumps(late))


def _tick(over: threading.Event, late: list[float]) -> None:
    while not over.is_set():
        begun = time.monotonic()
        time.sleep(TICK_SECONDS)
        late.append(time.monotonic() - begun - TICK_SECONDS)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
