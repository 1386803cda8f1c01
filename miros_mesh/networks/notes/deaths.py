"""What ended the charts of a lasting node, told by one process of its name to the next.

A broker counts how often it delivered a frame, and not which of its events a chart died of. So the
node writes a note when a handler raises, and when a chart stops that has handled a frame in part.
It lies at the home broker, in a queue of the node's name:

| step | who | what |
| --- | --- | --- |
| 1 | the node of a chart that ends | sends a note of all that is known, and waits for its confirm |
| 2 | the next process of the name | reads the notes, before its charts get events |
| 3 | its inboxes | skip what was handled before, and set aside what was fatal too often |
| 4 | its node | acknowledges the note, once the events in it have been acknowledged |

The newest note holds all that older ones do; each is acknowledged when a newer one comes.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from miros_mesh.errors import MeshError
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.frame import Settled
from miros_mesh.networks.network import NOTES_KEPT_S, UNNUMBERED, Network
from miros_mesh.networks.order.ranges import merged
from miros_mesh.text import logger_of, printable
from miros_mesh.wire.envelope import (
    MAX_LISTED,
    MAX_NAME,
    MAX_RANGES,
    DeadChart,
    Death,
    DeathNote,
    Origin,
)
from miros_mesh.wire.identity import Identity

logger = logger_of(__name__)

# Of each chart. More than the frames have that a broker gives ahead of their acknowledgement.
_MOST_HANDLED: Final = 100_000
# More than a broker gives ahead of their acknowledgement, of notes.
_MOST_READ: Final = 100
LARGEST_NOTE_BYTES: Final = 4 * 1024 * 1024
"""How large a note may be; one of a few charts has some hundred bytes."""

Number = tuple[str, str, int]
"""Which event: incarnation, chart and sequence number of its sender."""


class ChartDeaths:
    """What is noted of the deaths of one chart; true if that is anything. Thread-safe."""

    def __init__(self, book: Deaths, chart: str) -> None:
        self._book = book
        self._chart = chart
        # Both are guarded by the lock of the book, and the latest of them stands last.
        self.fatal: dict[str, Death] = {}
        """By the ids of events: how often each of them has ended the chart."""
        self.handled: dict[Number, None] = {}
        """Events of frames that were not acknowledged; they come again."""
        self.lives = False
        """Whether there is a chart of the name; guarded likewise."""

    def __bool__(self) -> bool:
        # Without the lock, for each frame that is received: notes are read before events come.
        return bool(self.fatal or self.handled)

    def among(self, events: Iterable[Origin]) -> list[Origin]:
        """Return those events that are noted, without what they carry."""
        return [
            Origin(each.node, each.chart, each.incarnation, each.sequence)
            for each in events
            if _number(each) in self.handled or each.id in self.fatal
        ]

    def has_handled(self, event: Origin) -> bool:
        """Whether an earlier process of the node has handled this event."""
        return _number(event) in self.handled

    def too_often(self, event: Origin) -> Death | None:
        """Return how an event has ended the chart, if it has done so too often."""
        death = self.fatal.get(event.id)
        return death if death and self._book.is_enough(death) else None

    def acknowledged(self, events: Iterable[Origin]) -> None:
        """Forget events that the broker will not bring again."""
        self._book.forget(self, events)

    def died(
        self, error: BaseException, event: Origin | None, done: Iterable[Origin], wait_s: float
    ) -> None:
        """Note that `event` has ended the chart after it had `done` others.

        Waits until the broker has the note, `wait_s` at most.
        """
        fatal = (event.id, type(error).__name__[:MAX_NAME]) if event else None
        self._book.ended(self._chart, done, wait_s, fatal)

    def stopped(self, done: Iterable[Origin], wait_s: float) -> None:
        """Note, likewise, what a chart has `done` that stops."""
        self._book.ended(self._chart, done, wait_s)


class _Sent:
    """What becomes of a note that was sent."""

    def __init__(self) -> None:
        self.outcome: Settled | None = None
        self._settled = threading.Event()

    def settle(self, outcome: Settled) -> None:
        self.outcome = outcome
        self._settled.set()

    def is_stored(self, wait_s: float) -> bool:
        """Whether the broker has it; waits for an answer, `wait_s` at most."""
        return self._settled.wait(wait_s) and self.outcome == "stored"


class Deaths:
    """The notes of a node: those that it reads, and those that it writes. Thread-safe.

    An event is fatal too often when it has ended its chart `most` times; 0 is never.
    """

    def __init__(self, network: Network[DeathNote], identity: Identity, most: int) -> None:
        self._network = network
        self._freshness = network.freshness(NOTES_KEPT_S, identity.node)
        self._identity = identity
        self._most = most
        # Guards all that follows, and what the charts' deaths hold. Nothing is called under it.
        self._lock = threading.Lock()
        self._charts: dict[str, ChartDeaths] = {}
        self._held: Delivery | None = None
        """The newest note, until its events are acknowledged or a newer one comes."""
        self._newest: Origin | None = None
        """Which note of charts came last."""
        self._answered = False
        """Whether a note of our own has come: all that was there before has."""
        self._read: deque[str] = deque(maxlen=_MOST_READ)
        """The ids of the notes that came last: after a lost connection they come again."""
        self._versions = 0
        """How often what is noted has grown here."""
        self._begun = threading.Event()
        """Set when all notes of before have come, or when that can never be known."""

    @property
    def routing_key(self) -> str:
        """The topic of notes for this node name."""
        return self._identity.node

    def of(self, chart: str) -> ChartDeaths:
        """Return what is noted of a chart."""
        with self._lock:
            noted = self._of(chart)
            noted.lives = True
            return noted

    def is_enough(self, death: Death) -> bool:
        """Whether an event that was fatal so often is set aside."""
        return 0 < self._most <= death.times

    def give_up(self) -> None:
        """End the wait of `read`: the node stops."""
        self._begun.set()

    def read(self, wait_s: float) -> None:
        """Wait until the notes that lie at the broker have come, `wait_s` at most.

        A node that may write no notes goes on without: then deaths are not counted.
        """

        def answered(outcome: Settled) -> None:
            if outcome == "refused":
                self._begun.set()

        # A note of nothing: what was there before comes before it.
        sent = self._send((), answered)
        begun = self._begun.wait(wait_s)
        if sent.outcome == "refused":
            logger.warning(
                "the broker refuses notes of deaths (%s): an event that ends its chart is not set "
                "aside, however often, and what was handled before comes again",
                self._network.exchange,
            )
        elif not begun:
            logger.warning(
                "the notes of earlier deaths did not come within %g s: events that were handled "
                "before a chart died may be handled again",
                wait_s,
            )

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery from the queue of notes; called on the subscriber's thread."""
        for note in self._network.open(delivery, self._freshness).messages:
            self._take(note, delivery)

    def ended(
        self,
        chart: str,
        done: Iterable[Origin],
        wait_s: float,
        fatal: tuple[str, str] | None = None,
    ) -> None:
        """Note the end of a chart, and which event was `fatal` by which error, if it has died.

        Waits until the broker has the note, `wait_s` at most.
        """
        with self._lock:
            noted = self._renewed(chart)
            noted.handled.update(dict.fromkeys(map(_number, done)))
            for oldest in list(noted.handled)[:-_MOST_HANDLED]:
                del noted.handled[oldest]
            if fatal:
                event, error = fatal
                before = noted.fatal.pop(event, None)
                noted.fatal[event] = Death(event, before.times + 1 if before else 1, error)
            self._versions += 1
        if not self._write().is_stored(wait_s):
            logger.warning(
                "the note of the end of chart %s is not at the broker yet: the next process may "
                "handle events again",
                printable(chart),
            )

    def write_anew(self) -> None:
        """Send what is noted, if anything is, since the note at the broker has an older key."""
        with self._lock:
            noted = any(self._charts.values())
            self._versions += noted
        if noted:
            self._write()

    def left(self, chart: str) -> None:
        """Hear that a chart is there no more, and keep only what is noted of it."""
        with self._lock:
            self._of(chart).lives = False
            self._prune()

    def forget(self, noted: ChartDeaths, events: Iterable[Origin]) -> None:
        """Forget events that were acknowledged, and the note once nothing is left of it."""
        with self._lock:
            for event in events:
                noted.handled.pop(_number(event), None)
                noted.fatal.pop(event.id, None)
            done = None
            if not any(self._charts.values()):
                done, self._held = self._held, None
        if done:
            done.ack()

    def _take(self, note: DeathNote, delivery: Delivery) -> None:
        own = note.incarnation == self._identity.incarnation
        settled: Delivery | None = delivery
        with self._lock:
            self._answered = self._answered or own
            if note.charts and not self._is_late(note, own=own):
                self._newest = Origin(note.node, note.chart, note.incarnation, note.sequence)
                if note.id not in self._read:
                    self._read.append(note.id)
                    if not own:
                        self._learn(note)
                if any(self._charts.values()):
                    settled, self._held = self._held, delivery
        if settled:
            settled.ack()
        if own:
            self._begun.set()

    def _is_late(self, note: DeathNote, *, own: bool) -> bool:
        """Whether a newer note has come: somebody sends an old one again."""
        newest = self._newest
        if newest and note.incarnation == newest.incarnation:
            return note.sequence < newest.sequence
        return not own and self._answered

    def _learn(self, note: DeathNote) -> None:
        if not self._versions:
            # The newer note holds all that is still true of the older one.
            for known in self._charts.values():
                known.fatal.clear()
                known.handled.clear()
        for dead in note.charts:
            known = self._of(dead.chart)
            known.fatal.update((death.event, death) for death in dead.deaths)
            # Bounded, whatever a member writes.
            known.handled.update(dict.fromkeys(islice(_numbers(dead), _MOST_HANDLED)))
        self._prune()

    def _of(self, chart: str) -> ChartDeaths:
        return self._charts.setdefault(chart, ChartDeaths(self, chart))

    def _renewed(self, chart: str) -> ChartDeaths:
        """Replace what the inbox of the ended chart has: what it acknowledges now is too late."""
        old = self._charts.pop(chart, None)
        new = self._charts[chart] = ChartDeaths(self, chart)
        if old:
            new.fatal.update(old.fatal)
            new.handled.update(old.handled)
            new.lives = old.lives
        return new

    def _prune(self) -> None:
        """Of charts that are gone keep what is noted, and no more of them than a note takes."""
        gone = [name for name, noted in self._charts.items() if not noted.lives]
        noted = [name for name in gone if self._charts[name]]
        for each in {*gone}.difference(noted[-MAX_LISTED:]):
            del self._charts[each]

    def _write(self) -> _Sent:
        """Send what is noted; return what becomes of it."""
        while True:
            with self._lock:
                versions, charts = self._versions, tuple(self._dead_charts())
            sent = self._send(charts)
            with self._lock:
                if versions == self._versions:
                    return sent
            # Another chart has ended meanwhile. Its note may have been sent before this one, which
            # is the newest for a reader, and knows less.

    def _dead_charts(self) -> Iterator[DeadChart]:
        latest_first = (each for each in reversed(self._charts.items()) if each[1])
        for chart, noted in islice(latest_first, MAX_LISTED):
            deaths = tuple(noted.fatal.values())[-MAX_LISTED:]
            yield DeadChart(chart, deaths, tuple(islice(_ranges(noted.handled), MAX_RANGES)))

    def _send(
        self,
        charts: tuple[DeadChart, ...],
        answered: Callable[[Settled], object] = lambda _: None,
    ) -> _Sent:
        """Send a note; return what becomes of it, and call `answered` with that."""
        sent = _Sent()

        def settled(outcome: Settled) -> None:
            sent.settle(outcome)
            answered(outcome)

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
            settled("refused")
        return sent


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
