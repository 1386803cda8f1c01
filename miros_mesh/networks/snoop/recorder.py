"""The thread that makes records of what charts did, so that the charts need not wait for it."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from miros_mesh.networks.snoop.records import Snoop, Step
from miros_mesh.text import printable
from miros_mesh.wire.envelope import SnoopRecord

logger = logging.getLogger(__name__)

TELLINGS = 10_000
# What is told within this time travels together: sealing and sending are paid once for many.
GATHER_S = 0.05
BEAT_EVERY_S = 1.0


class _Telling(msgspec.Struct, frozen=True, gc=False):
    """Something that a chart did, and how to make steps of it."""

    snoop: Snoop
    chart: str
    first: int
    steps: Callable[..., Iterable[Step]]
    facts: tuple[Any, ...]


class Recorder:
    """A bounded queue between charts and the snoop networks; what does not fit in becomes a gap.

    Its thread also lets the node's pulse beat.
    """

    def __init__(
        self, node: str, *, dropped: Callable[[str, int], None], beat: Callable[[], None]
    ) -> None:
        self._dropped = dropped
        self._beat = beat
        self._beat_at = 0.0
        self._tellings: deque[_Telling | threading.Event] = deque()
        self._awake = False
        self._stopping = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mesh-{node}-recorder", daemon=True)

    @property
    def runs(self) -> bool:
        """Whether it was started, and has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        if self._thread.ident is None:
            self._thread.start()

    def tell(
        self,
        snoop: Snoop,
        chart: str,
        amount: int,
        steps: Callable[..., Iterable[Step]],
        *facts: Any,
    ) -> None:
        """Have `steps(*facts)` sent, of which it makes that amount; never waits for the network."""
        with snoop.numbering:
            first = snoop.number(chart, amount)
            if len(self._tellings) < TELLINGS:
                self._tellings.append(_Telling(snoop, chart, first, steps, facts))
                full = False
            else:
                full = True
        if full:
            # Their numbers are used up, so whoever watches sees a gap.
            self._dropped(snoop.network.name, amount)
        elif not self._awake:
            self._rouse()

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was told before is in the outbox."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            passed = threading.Event()
            self._tellings.append(passed)
            self._hurry.set()
            self._rouse()
            passed.wait(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Send what waits, and end."""
        self._stopping = True
        self._hurry.set()
        self._rouse()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _rouse(self) -> None:
        self._awake = True
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(max(self._beat_at - time.monotonic(), 0))
            self._wake.clear()
            self._tell_pulse()
            while self._tellings:
                self._send(self._taken())
                self._hurry.wait(GATHER_S)
                self._tell_pulse()
            self._awake = False
            if self._tellings:
                # Told while we were still thought to be awake.
                self._rouse()

    def _tell_pulse(self) -> None:
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + BEAT_EVERY_S
            try:
                self._beat()
            except Exception:
                logger.exception("the pulse of this node was not told")

    def _taken(self) -> list[_Telling]:
        """All that waits, up to the next flush."""
        taken: list[_Telling] = []
        while self._tellings:
            telling = self._tellings.popleft()
            if isinstance(telling, _Telling):
                taken.append(telling)
            elif taken:
                self._tellings.appendleft(telling)
                break
            else:
                self._hurry.clear()
                telling.set()
        return taken

    def _send(self, tellings: Iterable[_Telling]) -> None:
        outgoing: defaultdict[Snoop, list[SnoopRecord]] = defaultdict(list)
        # A screen for both networks gets the records in the order of the steps.
        for snoop, run in groupby(tellings, key=attrgetter("snoop")):
            records: list[SnoopRecord] = []
            for telling in run:
                try:
                    steps = telling.steps(*telling.facts)
                    records += snoop.records(telling.chart, telling.first, steps)
                except Exception:
                    logger.exception("chart %s cannot be told of", printable(telling.chart))
            snoop.show(records)
            outgoing[snoop] += records
        for snoop, records in outgoing.items():
            snoop.send(records)
