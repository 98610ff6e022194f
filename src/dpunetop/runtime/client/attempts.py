"""Retries of one request: only after a response which says that the server did not carry it out."""

from __future__ import annotations

from collections.abc import Callable

from tenacity import RetryCallState

from dpunetop.base.clock import Clock
from dpunetop.kube.errors import ApiError, Unauthorized
from dpunetop.kube.requests import Request
from dpunetop.runtime.client.transport import CallOptions, Pool, Response, Transport, error_of
from dpunetop.runtime.metrics import ClientMetrics

RETRIES = 3


class Attempts:
    """The tries of one request within one timeout. Threads: one."""

    def __init__(
        self,
        request: Request,
        transport: Transport,
        pool: Pool,
        clock: Clock,
        timeout_seconds: float,
        metrics: ClientMetrics,
        may_retry: Callable[[], bool],
    ) -> None:
        self._request = request
        self._transport = transport
        self._pool = pool
        self._clock = clock
        self._deadline = clock.monotonic() + timeout_seconds
        self._metrics = metrics
        self._may_retry = may_retry
        self._renewed = False
        self._credential = 0

    def once(self) -> Response:
        """One try. Raises: the ApiError of an unsuccessful response."""
        self._credential = self._transport.credential_number
        response = self._transport.call(self._request, CallOptions(self._left(), self._pool))
        if not 200 <= response.status < 300:
            raise error_of(self._request, response, self._transport.max_error_chars)
        return response

    def is_another_worth_it(self, error: BaseException | None, number: int) -> bool:
        """Whether to try again after try `number` failed with `error`."""
        match error:
            case Unauthorized(code=401) if not self._renewed:
                self._renewed = True
                worth = self._transport.renew_credential(self._credential)
            case ApiError(code=429 | 503, retry_after_seconds=float(seconds)) if number <= RETRIES:
                worth = seconds < self._left() and self._may_retry()
            case _:
                return False
        if worth:
            self._metrics.retried(self._request.method, error.code)
        return worth

    def _left(self) -> float:
        return max(self._deadline - self._clock.monotonic(), 0.001)


def is_another_worth_it(state: RetryCallState) -> bool:
    """`Attempts.is_another_worth_it` in the form that `Retrying` calls."""
    attempts: Attempts = state.args[0]
    return attempts.is_another_worth_it(_failure(state), state.attempt_number)


def pause_seconds(state: RetryCallState) -> float:
    """The Retry-After of the failed try."""
    error = _failure(state)
    return (error.retry_after_seconds or 0.0) if isinstance(error, ApiError) else 0.0


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
