"""The thread that makes records of what charts did, so that the charts need not wait for it."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from miros_mesh.networks.snoop.records import SnoopNetwork, Step
from miros_mesh.text import logger_of
from miros_mesh.timing.threads import OwnedThread
from miros_mesh.wire.envelope import SnoopRecord

logger = logger_of(__name__)

MAX_ENTRIES = 10_000
# What is recorded within this time travels together: sealing and sending are paid once for many.
GATHER_S = 0.05
STATUS_EVERY_S = 1.0


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """What a chart did: `steps(*facts)` makes the steps, whose numbers begin with `first`."""

    snoop: SnoopNetwork
    chart: str
    first: int
    steps: Callable[..., Iterable[Step]]
    facts: tuple[Any, ...]


class Recorder:
    """A bounded queue between charts and the snoop networks; what does not fit becomes a gap.

    Its thread also has the status of the node sent, once a second, until `send_status` returns that
    no more is to be told; then it sleeps until there is a record, or until `start`.
    """

    def __init__(
        self, node: str, *, dropped: Callable[[str, int], None], send_status: Callable[[], bool]
    ) -> None:
        self._dropped = dropped
        self._send_status = send_status
        # Used on the thread alone. The first status is due at `start`.
        self._status_at = math.inf
        # Set by any thread, and reset by the recorder's before it looks whether there is a status.
        self._status_again = False
        # Entries, and between them an event for each flush, set when its turn has come. A deque
        # needs no lock; that entries are in the order of their numbers is due to `numbering`.
        self._queue: deque[_Entry | threading.Event] = deque()
        # Charts wake the thread only while this is false, which saves them most of the cost. The
        # thread looks at the queue once more after it has reset it, so no entry is overlooked.
        self._awake = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        """Set to send at once what is gathered."""
        self._thread = OwnedThread(f"mesh-{node}-recorder", self._run, self._hurry_up)

    @property
    def runs(self) -> bool:
        """Whether it was started, and has not ended."""
        return self._thread.alive

    def start(self) -> None:
        """Start the thread; again, have it send statuses again."""
        self._status_again = True
        self._thread.start()
        self._rouse()

    def record(
        self,
        snoop: SnoopNetwork,
        chart: str,
        amount: int,
        steps: Callable[..., Iterable[Step]],
        *facts: Any,
    ) -> None:
        """Have `steps(*facts)` sent, of which it makes that amount; never waits for the network.

        Does nothing when the network takes no records of the chart.
        """
        with snoop.numbering:
            first = snoop.number(chart, amount)
            if not first:
                return
            # Each network has a lock of its own, so both together may exceed the limit by an entry.
            full = len(self._queue) >= MAX_ENTRIES
            if not full:
                self._queue.append(_Entry(snoop, chart, first, steps, facts))
        if full:
            # Their numbers are used up, so a watcher sees a gap.
            self._dropped(snoop.network.name, amount)
        elif not self._awake:
            self._rouse()

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was recorded before is in the outbox, `timeout_s` at most."""
        if self._thread.alive and not self._thread.is_current:
            passed = threading.Event()
            self._queue.append(passed)
            self._hurry_up()
            passed.wait(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Send what waits, and end the thread; waits for it `timeout_s` at most."""
        self._thread.stop(timeout_s)

    def _rouse(self) -> None:
        self._awake = True
        self._wake.set()

    def _hurry_up(self) -> None:
        self._hurry.set()
        self._rouse()

    def _run(self) -> None:
        while not self._thread.stopping.is_set():
            self._wake.wait(self._pause_s())
            self._wake.clear()
            self._send_status_if_due()
            while self._queue:
                self._send(self._taken())
                self._hurry.wait(GATHER_S)
                self._send_status_if_due()
            self._awake = False
            if self._queue:
                self._rouse()
        while self._queue:
            self._send(self._taken())

    def _pause_s(self) -> float | None:
        if math.isinf(self._status_at):
            return None
        return max(self._status_at - time.monotonic(), 0)

    def _send_status_if_due(self) -> None:
        now = time.monotonic()
        if self._status_again:
            self._status_again = False
            # Only one that has paused: charts that come and go must not send more than one.
            if math.isinf(self._status_at):
                self._status_at = now
        if now >= self._status_at:
            self._status_at = now + STATUS_EVERY_S
            try:
                if not self._send_status():
                    self._status_at = math.inf
            except Exception:
                logger.exception("node status was not sent; the next one follows in a second")

    def _taken(self) -> list[_Entry]:
        """Take all that waits, up to the next flush."""
        taken: list[_Entry] = []
        while self._queue:
            entry = self._queue.popleft()
            if isinstance(entry, _Entry):
                taken.append(entry)
            elif taken:
                # Its turn comes when these are sent.
                self._queue.appendleft(entry)
                break
            else:
                self._hurry.clear()
                entry.set()
        return taken

    def _send(self, entries: Iterable[_Entry]) -> None:
        outgoing: defaultdict[SnoopNetwork, list[SnoopRecord]] = defaultdict(list)
        # A console for both networks gets the records in the order of the steps.
        for snoop, run in groupby(entries, key=attrgetter("snoop")):
            records: list[SnoopRecord] = []
            for entry in run:
                try:
                    steps = entry.steps(*entry.facts)
                    records += snoop.records(entry.chart, entry.first, steps)
                except Exception:
                    logger.exception(
                        "chart %s: a step cannot be recorded and leaves a gap", entry.chart
                    )
            snoop.show(records)
            outgoing[snoop] += records
        for snoop, records in outgoing.items():
            snoop.send(records)
