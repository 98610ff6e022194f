"""Answers from a list instead of from a server, for tests of what is made of answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dpunetop.base.stop import Stop
from dpunetop.kube.errors import ApiError
from dpunetop.kube.requests import Request
from dpunetop.runtime.client.streamdeadline import StreamDeadline
from dpunetop.runtime.client.transport import CallOptions, Pool, Response, error_of
from support.clock import FakeClock


def response(status: int, document: Any = None, **headers: str) -> Response:
    body = document if isinstance(document, bytes) else json.dumps(document or {}).encode()
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def status_object(code: int, reason: str, **members: Any) -> Mapping[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, **members}


@dataclass(frozen=True)
class Sent:
    request: Request
    options: CallOptions


class ScriptedTransport:
    """Gives each request the next answer: a Response, or an ApiError to raise, or for a stream its lines.

    `renewals` says what each `renew_credential` answers.
    """

    def __init__(self, *answers: Response | ApiError | list[bytes], renewals: tuple[bool, ...] = ()) -> None:
        self.stop = Stop()
        self.max_error_chars = 1000
        self.credential_number = 0
        self.sent: list[Sent] = []
        self.cut_silent: list[float] = []
        self.closed_unused = 0
        self.took: list[float] = []  # seconds of each call, by `clock`
        self.clock: FakeClock | None = None
        self._answers = list(answers)
        self._renewals = list(renewals)

    @property
    def targets(self) -> list[str]:
        return [sent.request.target for sent in self.sent]

    def call(self, request: Request, options: CallOptions) -> Response:
        self.sent.append(Sent(request, options))
        if self.clock is not None:
            self.clock.step(self.took.pop(0))
        answer = self._answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        assert isinstance(answer, Response)
        return answer

    @contextmanager
    def stream(
        self, request: Request, deadline: StreamDeadline | None = None, wake: Any = None
    ) -> Iterator[Iterator[bytes]]:
        self.sent.append(Sent(request, CallOptions(0.0, Pool.WATCHES)))
        answer = self._answers.pop(0)
        if isinstance(answer, ApiError):
            raise answer
        if isinstance(answer, Response):
            raise error_of(request, answer)
        yield iter(answer)

    def leave_silent(self, since: float) -> None:
        self.cut_silent.append(since)

    def close_unused(self) -> None:
        self.closed_unused += 1

    def renew_credential(self, refused: int) -> bool:
        return self._renewals.pop(0)
