"""How long the kubelet waits: its clock, which a test may have run faster, and its pauses before restarts."""

from __future__ import annotations

from dataclasses import dataclass

# pkg/kubelet/kubelet.go of Kubernetes v1.37.2: `initialCrashLoopBackOff`, `MaxCrashLoopBackOff`.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 10.0, 300.0


@dataclass(frozen=True)
class Pace:
    """How fast the kubelet's own clock goes.

    Delays and periods of probes and pauses before restarts are shortened; how long a probe may take, and the grace at
    the end, are not, because the programs that they hold for run at their own speed.
    """

    seconds: float = 1.0
    """How long a second of the kubelet is."""


KUBELETS_OWN = Pace()


class Backoff:
    """The pauses before restarts of one container: client-go util/flowcontrol/backoff.go, as `doBackOff` uses it."""

    def __init__(self) -> None:
        self._pause: float | None = None
        self._updated = 0.0

    def next(self, ended: float, now: float) -> float:
        """How long to wait from `ended` on; seconds of the kubelet. It starts anew after ten minutes in peace."""
        if self._pause is None or ended - self._updated > 2 * _LONGEST_PAUSE_SECONDS:
            pause, self._pause = 0.0, _FIRST_PAUSE_SECONDS
        else:
            pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        self._updated = max(now, ended + pause)
        return pause
