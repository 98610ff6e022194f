"""The kubelet's clock, which a test may speed up, and its pauses before restarts."""

from __future__ import annotations

from dataclasses import dataclass

# pkg/kubelet/kubelet.go of Kubernetes v1.37.2: `initialCrashLoopBackOff`, `MaxCrashLoopBackOff`.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 10.0, 300.0


@dataclass(frozen=True)
class KubeletClock:
    """The speed of the kubelet's clock.

    It scales the delays and periods of probes, and the pauses before restarts. It does not scale the timeout of a probe
    or the grace period, because the programs themselves run at their own speed.
    """

    seconds: float = 1.0
    """The real seconds of one second of the kubelet."""


REAL_TIME = KubeletClock()


class Backoff:
    """The pauses before restarts of one container: client-go util/flowcontrol/backoff.go, as `doBackOff` uses it."""

    def __init__(self) -> None:
        self._pause: float | None = None
        self._updated = 0.0

    def next(self, ended: float, now: float) -> float:
        """The backoff in the kubelet's seconds, from `ended` on. Ten minutes without a failure reset it."""
        if self._pause is None or ended - self._updated > 2 * _LONGEST_PAUSE_SECONDS:
            pause, self._pause = 0.0, _FIRST_PAUSE_SECONDS
        else:
            pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        self._updated = max(now, ended + pause)
        return pause
