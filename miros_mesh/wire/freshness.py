"""How old a frame may be that arrives: what a receiver's queue can hold, and no older one.

Who may publish at a broker can record frames and publish them again, without any key. A chart that
has had them knows the copies by their numbers; one that listens since then cannot. So a frame says
when it was sealed, and a receiver says since when its queue can hold frames:

| sealed | the frame is |
| --- | --- |
| after now, by more than the clocks may differ | refused: the clock of one of the hosts is wrong |
| since the queue can hold frames | taken |
| before, by no more than the clocks may differ | in doubt: its sender is asked whether it is new |
| before that | refused |
| `window_s` before the newest one that came | refused, unless the broker delivers it again |

A queue holds nothing of topics that it is not bound to. Who may bind it to others can have a chart
hear what is for another one: so a receiver says which topics its queue is for.

Queues are first in, first out, and a publisher seals anew what it has kept for `RESEAL_AFTER_S`: so
behind a slow chart a frame may wait for any time, and the last rule does not meet it. It meets what
is repeated to a chart that has listened for longer than the window.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from miros_mesh.errors import ClockError, OldFrameError
from miros_mesh.wire.envelope import RESEAL_AFTER_S


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the settings say of the age of frames, in seconds."""

    window_s: float = 600.0
    """How much older than the newest one a frame may be."""
    clock_error_s: float = 30.0
    """By how much the clocks of two hosts may differ."""


class Freshness:
    """The frames that one queue can hold: for the thread of its receiver alone.

    The queue is new, or it has kept frames for `kept_s` at most before its receiver began; `is_for`
    says whether it is for a topic, by default for all.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        kept_s: float = 0.0,
        is_for: Callable[[str], bool] = lambda _: True,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_for = is_for
        self._limits = limits or Limits()
        self._wall = wall
        self._steady = steady
        # By the steady clock: the other one may be put right while we listen.
        self._since = steady() - kept_s
        self._newest_s = -float("inf")
        """When the newest frame was sealed, in seconds after `_since`."""

    def possible(self, sent_at: float) -> float:
        """A time that a sender tells by its clock, or the latest that this can show now."""
        return min(sent_at, self._wall() + self._limits.clock_error_s)

    def admit(self, sealed_at: float, *, node: str = "", again: bool = False) -> bool:
        """Whether a frame of a node is surely new to the queue; False: that node has to say so.

        `again` is the broker's word that it delivers it once more. Raises `ClockError` or
        `OldFrameError`.
        """
        # In this order: a pause between the two must not make a new frame look old.
        age_s = self._wall() - sealed_at
        now_s = self._steady() - self._since
        # In seconds after `_since`, by our clock.
        at_s = now_s - age_s
        error_s = self._limits.clock_error_s
        if at_s > now_s + error_s:
            raise ClockError(
                f"a frame of node {node!r} was sealed {at_s - now_s:,.0f} s from now by our clock, "
                f"and clocks may differ by {error_s:g} s (clock_error_s): set the clock of its "
                "host, or of this one"
            )
        if at_s < -(error_s + RESEAL_AFTER_S):
            raise OldFrameError(
                f"a frame of node {node!r} was sealed {-at_s:,.0f} s before its receiver could get "
                "any: somebody sends an old one again, or the clock of its host is wrong, or of "
                "this one"
            )
        if not again and at_s < self._newest_s - self._limits.window_s:
            raise OldFrameError(
                f"a frame of node {node!r} was sealed {self._newest_s - at_s:,.0f} s before one "
                f"that came earlier, and the limit is {self._limits.window_s:g} s "
                "(replay_window_s): somebody sends an old one again, or it was on its way for so "
                "long"
            )
        self._newest_s = max(self._newest_s, at_s)
        return at_s >= 0
