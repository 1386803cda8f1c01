"""What ended the charts of a lasting node, told by one process of its name to the next.

A broker counts how often it delivered a frame, and not which of its events a chart died of. So the
node writes a note when a handler raises. It lies at the home broker, in a queue of the node's name:

| step | who | what |
| --- | --- | --- |
| 1 | the node of a chart that dies | sends a note of all that is known, and waits for its confirm |
| 2 | the next process of the name | reads the notes, before its charts get events |
| 3 | its inboxes | skip what was handled before, and set aside what was fatal too often |
| 4 | its node | acknowledges the note, once the events in it have been acknowledged |

The newest note holds all that older ones do; each is acknowledged when a newer one comes.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from miros_mesh.errors import MeshError
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.frame import Settled
from miros_mesh.networks.network import UNNUMBERED, Network
from miros_mesh.networks.ranges import merged
from miros_mesh.text import logger_of
from miros_mesh.wire.envelope import (
    MAX_LISTED,
    MAX_NAME,
    MAX_RANGES,
    DeadChart,
    Death,
    DeathNote,
    Envelope,
    Origin,
)
from miros_mesh.wire.identity import Identity

logger = logger_of(__name__)

# Of each chart. More than the frames have that a broker gives ahead of their acknowledgement.
_MOST_HANDLED: Final = 100_000
LARGEST_NOTE_BYTES: Final = 4 * 1024 * 1024
"""How large a note may be; one of a few charts has some hundred bytes."""

Number = tuple[str, str, int]
"""Which event: incarnation, chart and sequence number of its sender."""


class ChartDeaths:
    """What is noted of the deaths of one chart; true if that is anything. Thread-safe."""

    def __init__(self, book: Deaths, chart: str) -> None:
        self._book = book
        self._chart = chart
        # Both are guarded by the lock of the book.
        self.fatal: dict[str, Death] = {}
        """By the ids of events: how often each of them has ended the chart."""
        self.handled: set[Number] = set()
        """Events of frames that were not acknowledged; they come again."""

    def __bool__(self) -> bool:
        # Without the lock, for each event that is received: notes are read before events come.
        return bool(self.fatal or self.handled)

    def has_handled(self, event: Envelope) -> bool:
        """Whether an earlier process of the node has handled this event."""
        return _number(event) in self.handled

    def too_often(self, event: Envelope) -> Death | None:
        """Return how an event has ended the chart, if it has done so too often."""
        death = self.fatal.get(event.id)
        return death if death and self._book.is_enough(death) else None

    def acknowledged(self, events: Iterable[Envelope]) -> None:
        """Forget events that the broker will not bring again."""
        if self:
            self._book.forget(self, events)

    def died(
        self, error: BaseException, event: Envelope | None, done: Iterable[Envelope], wait_s: float
    ) -> None:
        """Note that `event` has ended the chart after it had `done` others.

        Waits until the broker has the note, `wait_s` at most.
        """
        self._book.died(self._chart, error, event, done, wait_s)


class Deaths:
    """The notes of a node: those that it reads, and those that it writes. Thread-safe.

    An event is fatal too often when it has ended its chart `most` times; 0 is never.
    """

    def __init__(self, network: Network[DeathNote], identity: Identity, most: int) -> None:
        self._network = network
        self._identity = identity
        self._most = most
        # Guards all that follows, and what the charts' deaths hold. Nothing is called under it.
        self._lock = threading.Lock()
        self._charts: dict[str, ChartDeaths] = {}
        self._held: Delivery | None = None
        """The newest note, until its events are acknowledged or a newer one comes."""
        self._read: set[str] = set()
        """The ids of the notes that came: after a lost connection they come again."""
        self._wrote = False
        self._begun = threading.Event()

    @property
    def routing_key(self) -> str:
        """The topic of notes for this node name."""
        return self._identity.node

    def of(self, chart: str) -> ChartDeaths:
        """Return what is noted of a chart."""
        with self._lock:
            return self._of(chart)

    def is_enough(self, death: Death) -> bool:
        """Whether an event that was fatal so often is set aside."""
        return 0 < self._most <= death.times

    def read(self, wait_s: float) -> None:
        """Wait until the notes that lie at the broker have come, `wait_s` at most."""
        # A note of nothing: what was there before comes before it.
        self._send(())
        if not self._begun.wait(wait_s):
            logger.warning(
                "the notes of earlier deaths did not come within %g s: events that were handled "
                "before a chart died may be handled again",
                wait_s,
            )

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery from the queue of notes; called on the subscriber's thread."""
        for note in self._network.open(delivery):
            self._take(note, delivery)

    def died(
        self,
        chart: str,
        error: BaseException,
        event: Envelope | None,
        done: Iterable[Envelope],
        wait_s: float,
    ) -> None:
        """Note a death; waits until the broker has the note, `wait_s` at most."""
        with self._lock:
            noted = self._renewed(chart)
            noted.handled.update(map(_number, done))
            if event:
                before = noted.fatal.get(event.id)
                times = before.times + 1 if before else 1
                noted.fatal[event.id] = Death(event.id, times, type(error).__name__[:MAX_NAME])
            self._wrote = True
            charts = tuple(self._dead_charts())
        stored = self._send(charts)
        if not stored.wait(wait_s):
            logger.warning("the broker has not confirmed the note of the death of chart %s", chart)

    def forget(self, noted: ChartDeaths, events: Iterable[Envelope]) -> None:
        """Forget events that were acknowledged, and the note once nothing is left of it."""
        with self._lock:
            for event in events:
                noted.handled.discard(_number(event))
                noted.fatal.pop(event.id, None)
            done = None
            if not any(self._charts.values()):
                done, self._held = self._held, None
        if done:
            done.ack()

    def _take(self, note: DeathNote, delivery: Delivery) -> None:
        own = note.incarnation == self._identity.incarnation
        with self._lock:
            if note.id not in self._read:
                self._read.add(note.id)
                if note.charts and not own:
                    self._learn(note)
            settled: Delivery | None = delivery
            if note.charts and any(self._charts.values()):
                settled, self._held = self._held, delivery
        if settled:
            settled.ack()
        if own:
            self._begun.set()

    def _learn(self, note: DeathNote) -> None:
        if not self._wrote:
            # The newer note holds all that is still true of the older one.
            for known in self._charts.values():
                known.fatal.clear()
                known.handled.clear()
        for dead in note.charts:
            known = self._of(dead.chart)
            known.fatal.update((death.event, death) for death in dead.deaths)
            # Bounded, whatever a member writes.
            known.handled.update(islice(_numbers(dead), _MOST_HANDLED))

    def _of(self, chart: str) -> ChartDeaths:
        return self._charts.setdefault(chart, ChartDeaths(self, chart))

    def _renewed(self, chart: str) -> ChartDeaths:
        """Replace what the inbox of the dead chart has: what it acknowledges now is too late."""
        old = self._of(chart)
        new = self._charts[chart] = ChartDeaths(self, chart)
        new.fatal.update(old.fatal)
        new.handled.update(old.handled)
        return new

    def _dead_charts(self) -> Iterator[DeadChart]:
        for chart, noted in islice(self._charts.items(), MAX_LISTED):
            if noted:
                deaths = tuple(noted.fatal.values())[-MAX_LISTED:]
                yield DeadChart(chart, deaths, tuple(islice(_ranges(noted.handled), MAX_RANGES)))

    def _send(self, charts: tuple[DeadChart, ...]) -> threading.Event:
        """Send a note; return what is set once the broker has it."""
        stored = threading.Event()

        def settled(outcome: Settled) -> None:
            if outcome == "stored":
                stored.set()

        identity = self._identity
        origin = identity.node, identity.node, identity.incarnation, UNNUMBERED
        try:
            self._network.send(
                self.routing_key,
                DeathNote(*origin, time.time(), charts),
                counted=False,
                settled=settled,
            )
        except MeshError as error:
            logger.error("a note of a death cannot be sent: %s", error)  # noqa: TRY400 - says it
        return stored


def _number(event: Origin) -> Number:
    return event.incarnation, event.chart, event.sequence


def _ranges(handled: Iterable[Number]) -> Iterator[tuple[str, str, int, int]]:
    """Return the same events as numbers from the first to the last of a stream."""
    streams: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for incarnation, chart, sequence in handled:
        streams[incarnation, chart].append(sequence)
    for (incarnation, chart), sequences in streams.items():
        for first, last in merged((each, each) for each in sequences):
            yield incarnation, chart, first, last


def _numbers(dead: DeadChart) -> Iterator[Number]:
    for incarnation, chart, first, last in dead.handled:
        for sequence in range(first, last + 1):
            yield incarnation, chart, sequence
