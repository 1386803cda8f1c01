"""Named tenacity policies. Once `stop` is set, no pause goes on and no further attempt is made.

`failed` is called with the error of each attempt that is made again, before the pause.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import tenacity
from tenacity import retry_if_exception, stop_after_attempt, stop_when_event_set
from tenacity.wait import wait_base

from miros_mesh.errors import LinkError, MeshError

# After an error that needs a person. Below the five seconds in which a node works again once one
# has acted; a watch on the file of a password would not tell when a broker was put right.
_LATER = tenacity.wait_random(1.0, 3.0)

Failed = Callable[[LinkError], object]


def connect_policy(
    stop: threading.Event, attempts: int, failed: Failed = lambda _: None
) -> tenacity.Retrying:
    """For the first connection: a few attempts, and none after an error that needs a person."""
    pause = _Pause(stop, failed)
    return tenacity.Retrying(
        retry=retry_if_exception(lambda e: isinstance(e, MeshError) and e.retryable),
        stop=stop_after_attempt(attempts) | stop_when_event_set(stop),
        # Random from 0 on, so that nodes that start together do not come back together. Short: a
        # program waits in `start_at` meanwhile.
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
        sleep=pause,
        before_sleep=pause.tell,
        reraise=True,
    )


def reconnect_policy(stop: threading.Event, failed: Failed = lambda _: None) -> tenacity.Retrying:
    """For a node at work: as long as it lives, less often where a person must act first."""
    pause = _Pause(stop, failed)
    return tenacity.Retrying(
        # Of every kind, a wrong password too: an operator may put it right while the node runs.
        retry=retry_if_exception(lambda e: isinstance(e, LinkError)),
        stop=stop_when_event_set(stop),
        wait=_WaitByError(),
        sleep=pause,
        before_sleep=pause.tell,
        reraise=True,
    )


class _Pause:
    """The pause between two attempts; when `stop` is set it raises what the last one met.

    tenacity asks for the end after an attempt and never after a pause: with its own
    `sleep_using_event` it would make one more attempt.
    """

    def __init__(self, stop: threading.Event, failed: Failed) -> None:
        self._stop = stop
        self._failed = failed
        self._error: BaseException | None = None

    def tell(self, state: tenacity.RetryCallState) -> None:
        """Tell of the attempt that failed; tenacity calls it before each pause."""
        self._error = state.outcome.exception() if state.outcome else None
        if isinstance(self._error, LinkError):
            self._failed(self._error)

    def __call__(self, seconds: float) -> None:
        if self._stop.wait(seconds) and self._error:
            raise self._error


class _WaitByError(wait_base):
    """0.1 to 2 s with jitter after an error that passes by itself, else 1 to 3 s."""

    _soon = tenacity.wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.2)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        outcome = retry_state.outcome
        error = outcome.exception() if outcome else None
        passing = isinstance(error, MeshError) and error.retryable
        return (self._soon if passing else _LATER)(retry_state)
