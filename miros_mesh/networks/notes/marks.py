"""How far the charts of a lasting node have come, told by one process of its name to the next.

A queue without a consumer is removed after `queue_expires_s`, with all that waits in it, and no
event says so. So a node leaves marks at its home broker: up to which number of each stream a chart
has handled all. A queue of the node's name keeps them, for much longer than it keeps events.

| step | who | what |
| --- | --- | --- |
| 1 | a node | sends its marks, every ten seconds while they change, and when it stops |
| 2 | the next process of the name | reads them, and finds the queue of a chart gone |
| 3 | its chart | hears a sender that is in the marks: the numbers between are told as a gap |

Nothing is asked for again: the chart did not listen. The newest marks hold all of the older ones.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple, Protocol

from miros_mesh.errors import MeshError
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.network import NOTES_KEPT_S, UNNUMBERED, Network
from miros_mesh.observer import Observer
from miros_mesh.text import logger_of, printable
from miros_mesh.wire.envelope import MAX_LISTED, ChartMarks, MarkNote
from miros_mesh.wire.identity import Identity

logger = logger_of(__name__)

LARGEST_NOTE_BYTES: Final = 4 * 1024 * 1024
_WRITE_EVERY_S: Final = 10.0
# Of all charts of a node together; most senders have some 60 bytes.
_MOST_MARKS: Final = 10_000
# Of those that have left; those at work come first in a note.
_MOST_LEFT: Final = MAX_LISTED

_Stream = tuple[str, str]
_Marks = dict[_Stream, int]


class Listener(Protocol):
    """The parts of an inbox that are asked how far its chart has come."""

    chart: str

    def firsts(self, streams: Iterable[_Stream]) -> _Marks:
        """Return, of those streams that were heard, from which number on all is owed."""

    def marks(self) -> _Marks:
        """Return up to which number of each stream the chart has handled all."""


class _Key(NamedTuple):
    """A chart that comes back for other topics has another queue, and marks of its own."""

    chart: str
    topic: str


class Marks:
    """The marks of a node: those that it reads, and those that it writes. Thread-safe."""

    def __init__(
        self, network: Network[MarkNote], identity: Identity, observer: Observer, mesh: str
    ) -> None:
        self._network = network
        self._freshness = network.freshness(NOTES_KEPT_S, identity.node)
        self._identity = identity
        self._observer = observer
        self._mesh = mesh
        # Guards all that follows. The lock of an inbox may be taken under it, and nothing else.
        self._lock = threading.Lock()
        self._before: dict[_Key, _Marks] = {}
        """What earlier processes have left, and charts of this one that have left."""
        self._inboxes: dict[_Key, Listener] = {}
        self._anew: set[_Key] = set()
        """Those of them whose queue was not there any more."""
        self._held: Delivery | None = None
        """The newest marks at the broker: not acknowledged, so that the next process gets them."""
        self._newest: MarkNote | None = None
        self._written: Mapping[_Key, _Marks] = {}
        self._write_at = 0.0

    @property
    def routing_key(self) -> str:
        """The topic of marks for this node name."""
        return self._identity.node

    def before(self, chart: str, topic: str) -> Mapping[_Stream, int]:
        """Return the marks of earlier processes, and of earlier charts of this one."""
        # Without the lock, which an inbox that asks would take after its own.
        return self._before.get(_Key(chart, topic), {})

    def joined(self, inbox: Listener, topic: str, *, anew: bool) -> None:
        """Watch a chart, whose queue was made anew or was there before."""
        key = _Key(inbox.chart, topic)
        with self._lock:
            self._inboxes[key] = inbox
            if anew:
                self._anew.add(key)

    def left(self, inbox: Listener) -> None:
        """Keep the marks of a chart that leaves, after its inbox was closed."""
        with self._lock:
            for key in [each for each, known in self._inboxes.items() if known is inbox]:
                marks = self._marks_of(key)
                # The one that left last stands last.
                self._before.pop(key, None)
                if marks:
                    self._before[key] = marks
                del self._inboxes[key]
                self._anew.discard(key)
            self._forget_oldest()

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery from the queue of marks; called on the subscriber's thread."""
        for note in self._network.open(delivery, self._freshness).messages:
            if older := self._take(note, delivery):
                older.ack()

    def look(self) -> None:
        """Tell what was lost with queues that expired, and write marks once in a while."""
        for key, stream, lost in self._lost():
            self._tell(key, stream, lost)
        if time.monotonic() >= self._write_at:
            self.write()

    def write(self, *, anew: bool = False) -> None:
        """Send the marks, if there are other ones than those that were sent last.

        `anew` sends them in any case: those at the broker are sealed with an older key.
        """
        self._write_at = time.monotonic() + _WRITE_EVERY_S
        with self._lock:
            keys = dict.fromkeys((*self._inboxes, *reversed(self._before)))
            marks = {key: self._marks_of(key) for key in keys}
            changed = marks != self._written or (anew and any(marks.values()))
            self._written = marks
        if not changed:
            return
        node, incarnation = self._identity.node, self._identity.incarnation
        note = MarkNote(node, node, incarnation, UNNUMBERED, time.time(), tuple(_packed(marks)))
        try:
            self._network.send(self.routing_key, note, counted=False)
        except MeshError as error:
            logger.error("how far charts have come is not noted: %s", error)  # noqa: TRY400 - says it

    def _forget_oldest(self) -> None:
        """Keep no more of charts that have left than a note takes."""
        room = _MOST_MARKS
        left = [key for key in reversed(self._before) if key not in self._inboxes]
        for count, key in enumerate(left):
            room -= len(self._before[key])
            # The first of them as it is: a chart has no more marks than it has senders.
            if count and (room < 0 or count >= _MOST_LEFT):
                del self._before[key]

    def _take(self, note: MarkNote, delivery: Delivery) -> Delivery | None:
        """Hold the newest note, and learn what another process says; return what may go."""
        with self._lock:
            newest = self._newest
            same = newest is not None and note.incarnation == newest.incarnation
            if newest and same and note.sequence < newest.sequence:
                return delivery
            own = self._identity.incarnation
            if newest and newest.incarnation == own != note.incarnation:
                # Ours hold all of it: somebody sends an old one again.
                return delivery
            # After a lost connection the one that is held comes again.
            if note.incarnation != own and note != newest:
                self._learn(note)
            older, self._held, self._newest = self._held, delivery, note
            return older

    def _learn(self, note: MarkNote) -> None:
        for key, marks in _unpacked(note):
            # No chart goes back, whatever an old note says that somebody sends again.
            known = self._before.get(key, {})
            furthest = {each: max(last, known.get(each, 0)) for each, last in marks.items()}
            both = {**known, **furthest}
            # Bounded, whatever a member writes.
            self._before[key] = dict(islice(both.items(), max(len(both) - _MOST_MARKS, 0), None))
        self._forget_oldest()

    def _marks_of(self, key: _Key) -> _Marks:
        before = self._before.get(key, {})
        inbox = self._inboxes.get(key)
        own = inbox.marks() if inbox else {}
        # The most recently heard last: they are kept where there are too many.
        return {**{stream: last for stream, last in before.items() if stream not in own}, **own}

    def _lost(self) -> list[tuple[_Key, _Stream, int]]:
        """Take from the marks what is found to be lost: how many numbers of which stream."""
        lost = []
        with self._lock:
            for key in self._anew:
                before = self._before.get(key, {})
                firsts = self._inboxes[key].firsts(before)
                for stream, first in firsts.items():
                    if first > before[stream] + 1:
                        lost.append((key, stream, first - before[stream] - 1))
                        del before[stream]
        return lost

    def _tell(self, key: _Key, stream: _Stream, lost: int) -> None:
        _, sender = stream
        logger.warning(
            "chart %s has lost up to %d events of %s: its queue was gone, for the node was away "
            "for longer than queue_expires_s",
            printable(key.chart),
            lost,
            printable(sender),
        )
        self._observer.gap(network=self._mesh, sender=sender, missing=lost)
        self._observer.dropped(network=self._mesh, reason="queue_expired", events=lost)


def _packed(marks: Mapping[_Key, _Marks]) -> Iterator[ChartMarks]:
    room = _MOST_MARKS
    for key, of_chart in islice(marks.items(), MAX_LISTED):
        streams = [(*stream, last) for stream, last in of_chart.items()][-min(room, MAX_LISTED) :]
        room -= len(streams)
        if streams:
            yield ChartMarks(key.chart, key.topic, tuple(streams))
        if not room:
            return


def _unpacked(note: MarkNote) -> Iterator[tuple[_Key, _Marks]]:
    # The one that left last, or is at work, comes first there.
    for each in reversed(note.charts):
        streams = {(incarnation, chart): last for incarnation, chart, last in each.streams}
        yield _Key(each.chart, each.topic), streams
