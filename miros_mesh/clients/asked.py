"""What a client has asked: its answer, or the error that says why none comes."""

from __future__ import annotations

from collections.abc import Callable

from miros_mesh.clients.message import Message
from miros_mesh.errors import (
    MeshError,
    RequestFailedError,
    RequestTimedOutError,
    RequestUnroutableError,
    StoppedError,
)
from miros_mesh.networks.requests import STOPPED, TIMED_OUT, UNROUTABLE, Outcome, Request

_ERRORS: dict[Outcome, type[RequestFailedError]] = {
    TIMED_OUT: RequestTimedOutError,
    UNROUTABLE: RequestUnroutableError,
}


class Asked:
    """Waits for what becomes of one request; `done` is called once with it, on any thread."""

    __slots__ = ("_done",)

    def __init__(self, done: Callable[[Message | MeshError], object]) -> None:
        self._done = done

    def __call__(self, request: Request, outcome: Outcome) -> None:
        """Hear that no answer comes."""
        if outcome == STOPPED:
            self._done(StoppedError(f"the client was closed before {request.signal} was answered"))
        elif error := _ERRORS.get(outcome):
            self._done(error(request.signal, request.id))

    def answered(self, answer: Message) -> None:
        """Hear the answer, which has come in time."""
        self._done(answer)
