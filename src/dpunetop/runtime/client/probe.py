"""The health probe of an API server: what counts as reachable, and when the path to it has dropped connections."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from dpunetop.base.clock import Clock
from dpunetop.kube.errors import ApiError, Unauthorized
from dpunetop.kube.requests import Request
from dpunetop.runtime.client.transport import CallOptions, Pool, Transport, error_of

_KEPT_SHARE = 0.4
"""The share of a probe's time for the first request, on a kept connection."""


class Probe:
    """One probe over a transport. Threads: one."""

    def __init__(self, transport: Transport, clock: Clock, around: Callable[[], AbstractContextManager[None]]) -> None:
        """`around` is entered for each request."""
        self._transport = transport
        self._clock = clock
        self._around = around

    def run(self, timeout_seconds: float, response_seconds: float) -> None:
        """Return if the server is reachable and serves requests.

        Guarantees: one request; if it fails, a second one on a new connection. That connection must stand within the
            rest of `timeout_seconds`; the response may take `response_seconds`, since slow is not unreachable. 403 and
            404 count as reachable, and so does a server that is not ready but live, such as one in graceful shutdown,
            which still serves. If the first request timed out and the second was answered at once, a device on the path
            has dropped its connection state: silent streams are reset, and no idle connection is used again. A probe
            that succeeds at once closes what connections of calls have been idle for long.
        Raises: Unreachable; Unauthorized; ApiError if the server is neither ready nor live.
        """
        began = self._clock.monotonic()
        try:
            self._ask_ready(CallOptions(timeout_seconds * _KEPT_SHARE, Pool.PROBE))
        except Unauthorized:
            raise
        except ApiError as error:
            again = self._clock.monotonic()
            connect_seconds = max(0.001, began + timeout_seconds - again)
            self._ask_again(CallOptions(response_seconds, Pool.NEW_PROBE, connect_seconds))
            took = self._clock.monotonic() - again
            if error.reason == "Timeout" and took < timeout_seconds * _KEPT_SHARE / 2:
                self._transport.leave_silent(began)
        else:
            self._transport.close_unused()

    def _ask_again(self, options: CallOptions) -> None:
        try:
            self._ask_ready(options)
        except ApiError as error:
            if error.code < 500 or not self._lives(options):
                raise

    def _ask_ready(self, options: CallOptions) -> None:
        request, deadline = Request("GET", "/readyz"), self._clock.monotonic() + options.timeout_seconds
        credential = self._transport.credential_number
        with self._around():
            response = self._transport.call(request, options)
            if response.status == 401 and self._transport.renew_credential(credential):
                left = max(deadline - self._clock.monotonic(), 0.001)
                response = self._transport.call(request, replace(options, timeout_seconds=left))
        if response.status == 401 or response.status >= 500:
            raise error_of(request, response, self._transport.max_error_chars)

    def _lives(self, options: CallOptions) -> bool:
        """Whether /livez succeeds: etcd answers, even if the server is not ready.

        Source: kube-apiserver's /livez has the checks of /readyz without those of shutdown and informers.
        """
        try:
            with self._around():
                response = self._transport.call(Request("GET", "/livez"), options)
        except ApiError:
            return False
        return response.status == 200
