"""Requests: what each chart has asked and not been answered yet, and how each of them ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, Literal, Protocol, get_args

from miros_mesh.errors import StoppedError
from miros_mesh.observer import Observer
from miros_mesh.timing.clock import Clock, Timer

Outcome = Literal["answered", "timed_out", "unroutable", "cancelled", "stopped"]
"""How a request ends; `stopped` is the end of who has asked."""
OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)

ANSWERED: Final = "answered"
TIMED_OUT: Final = "timed_out"
UNROUTABLE: Final = "unroutable"
CANCELLED: Final = "cancelled"
STOPPED: Final = "stopped"

Ended = Callable[["Request", Outcome], object]


class Send(Protocol):
    """Sends the event of a request."""

    def __call__(self, *, asked: Callable[[str], object]) -> str:
        """Return the event's id; first call `asked` with it, before anybody can answer."""


class Request:
    """An event that waits for its answer. `ended` is what is called when none comes."""

    __slots__ = ("began", "cause", "ended", "id", "signal", "timer")

    def __init__(self, signal: str, cause: str | None, ended: Ended, began: float) -> None:
        self.id = ""
        """That of its event, once it has one."""
        self.signal = signal
        self.cause = cause
        """The id of the event in whose handling it was made."""
        self.ended = ended
        self.began = began
        """When it was made, by its clock's steady time."""
        self.timer: Timer | None = None


class Requests:
    """The open requests of one chart. Thread-safe, without a lock.

    A request is open while it is in the table. What takes it out has ended it, and all others
    find nothing: so each has one outcome, whatever comes at the same time.

    | outcome | taken out by | `ended` is called |
    | --- | --- | --- |
    | answered | `answered`, as the reply is handed over | no |
    | timed_out | its timer | yes |
    | unroutable | `unroutable`, on a publisher's thread | yes |
    | cancelled | `cancel` | no |
    | stopped | `close` | yes |

    `ended` must not wait for anything: a timer's thread is that of all timers.
    """

    def __init__(self, chart: str, clock: Clock, observer: Observer) -> None:
        self._chart = chart
        self._clock = clock
        self._observer = observer
        # Each operation on it is one step, so it needs no lock; nor does the next, which is set
        # before `close` looks at the table, and is looked at after a request has come into it.
        self._open: dict[str, Request] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many have no outcome yet."""
        return len(self._open)

    def waiting(self) -> list[tuple[str, str, float]]:
        """Return the id and the signal of each, and how long it has waited, the oldest first."""
        now = self._clock.monotonic()
        return [(id_, each.signal, now - each.began) for id_, each in list(self._open.items())]

    def open(
        self, signal: str, cause: str | None, timeout_s: float, ended: Ended, send: Send
    ) -> str:
        """Send an event and wait for its answer, from now on for so long; return its id.

        Raises what `send` raises, and `StoppedError` when who asks is at its end; then nothing is
        open.
        """
        if self._closed:
            raise StoppedError(
                f"request after the end of chart {self._chart}: no answer would reach it"
            )
        request = Request(signal, cause, ended, self._clock.monotonic())
        try:
            # The answer may be here before `send` returns.
            id_ = send(asked=partial(self._enter, request))
            left_s = timeout_s - (self._clock.monotonic() - request.began)
            timer = request.timer = self._clock.timer(left_s, partial(self._end, id_, TIMED_OUT))
        except BaseException:
            # An interrupt, say, after it was sent: it has no timer, and nothing else would end it.
            self._open.pop(request.id, None)
            raise
        if id_ not in self._open:
            # What has ended it meanwhile may have found no timer.
            timer.cancel()
        elif self._closed:
            self._end(id_, STOPPED)
        return id_

    def answered(self, id_: str) -> Request | None:
        """Take out the request that a reply answers; None when it is not open any more."""
        return self._take(id_, ANSWERED)

    def cancel(self, id_: str) -> bool:
        """Want no answer any more; whether the request was open."""
        return self._take(id_, CANCELLED) is not None

    def unroutable(self, id_: str) -> None:
        """End a request that no broker had a queue for."""
        self._end(id_, UNROUTABLE)

    def close(self) -> None:
        """End all of them, since who has asked ends, and let none be made any more."""
        self._closed = True
        for id_ in list(self._open):
            self._end(id_, STOPPED)

    def _enter(self, request: Request, id_: str) -> None:
        # Under the lock of the network, so nothing else is done here.
        request.id = id_
        self._open[id_] = request

    def _end(self, id_: str, outcome: Outcome) -> None:
        if request := self._take(id_, outcome):
            request.ended(request, outcome)

    def _take(self, id_: str, outcome: Outcome) -> Request | None:
        request = self._open.pop(id_, None)
        if request is None:
            return None
        if request.timer:
            request.timer.cancel()
        seconds = self._clock.monotonic() - request.began
        self._observer.request_ended(chart=self._chart, outcome=outcome, seconds=seconds)
        return request
