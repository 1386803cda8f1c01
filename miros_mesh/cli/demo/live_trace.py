"""The trace that the demo shows: what both charts do, in the order in which they did it."""

from __future__ import annotations

import sys
import time
from operator import attrgetter

from miros_mesh.networks.snoop.records import render
from miros_mesh.observe.snoop.watch import Watch
from miros_mesh.wire.envelope import SnoopRecord

# The record of a cause may come after that of its effect, from another process: milliseconds on a
# machine that is at rest.
HOLD_S = 0.3


class LiveTrace:
    """Prints what a watch brings, in the order of time; for one thread.

    A record that comes more than `HOLD_S` late is printed late.
    """

    def __init__(self, watch: Watch, *, blue: str, color: bool) -> None:
        """With `color` the chart named `blue` is shown in that colour and any other in purple."""
        self.records: list[SnoopRecord] = []
        """All that was printed."""
        self._watch = watch
        self._blue = blue
        self._color = color
        self._held: list[SnoopRecord] = []

    def show(self, seconds: float) -> None:
        """Print for so long what comes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._hold(self._watch.get(min(left, HOLD_S)))
            # All of one machine, so of one clock.
            self._print(time.time() - HOLD_S)

    def finish(self) -> None:
        """Print the rest of a watch that has ended."""
        for item in self._watch:
            self._hold(item)
        self._print(float("inf"))

    def _hold(self, item: object) -> None:
        if isinstance(item, SnoopRecord):
            self._held.append(item)

    def _print(self, until: float) -> None:
        due = sorted((each for each in self._held if each.time <= until), key=attrgetter("time"))
        self._held = [each for each in self._held if each.time > until]
        self.records += due
        for each in due:
            own = each.chart == self._blue
            sys.stdout.write(f"{render(each, own=own, color=self._color)}\n")
        sys.stdout.flush()
