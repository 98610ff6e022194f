"""The operator with a sampler beside it: where its threads are, a few hundred times a second, in folded stacks.

`python -m bench.sampled FILE run …` writes FILE when the process is told to end. Threads that wait are left out, as far
as their innermost frame shows that they do.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

_WAITS = {
    "wait",
    "acquire",
    "_wait_for_tstate_lock",
    "select",
    "poll",
    "accept",
    "read",
    "recv_into",
    "_wait_for_signals",
}
_PAUSE_SECONDS = 0.003
_DEEPEST = 40


def main(file: Path, arguments: list[str]) -> int:
    """Run the operator beside the sampler; the operator's exit code."""
    from dpunetop.__main__ import main as operator

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # or the sampler would end by them
    over, stacks = threading.Event(), Counter[str]()
    sampler = threading.Thread(target=_sample, args=(over, stacks), name="sampler", daemon=True)
    sampler.start()
    try:
        return operator(arguments)
    finally:
        over.set()
        sampler.join()
        file.write_text("".join(f"{stack} {count}\n" for stack, count in stacks.most_common()))


def _sample(over: threading.Event, stacks: Counter[str]) -> None:
    own = threading.get_ident()
    while not over.is_set():
        for ident, frame in sys._current_frames().items():
            if ident != own and frame.f_code.co_name not in _WAITS:
                stacks[_folded(frame)] += 1
        time.sleep(_PAUSE_SECONDS)


def _folded(frame: FrameType) -> str:
    names: list[str] = []
    at: FrameType | None = frame
    while at is not None and len(names) < _DEEPEST:
        names.append(f"{Path(at.f_code.co_filename).stem}.{at.f_code.co_qualname}")
        at = at.f_back
    return ";".join(reversed(names))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
