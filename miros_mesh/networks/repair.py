"""Events that a broker lost are asked for again, from the node that sent them.

A broker confirms what it stores, and then a person deletes the queue, or the server forgets it. The
receivers see the hole in a sender's numbers and say so; the sender has its last events at hand.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from miros_mesh.link.ports import Delivery
from miros_mesh.networks.history import History
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import UNNUMBERED, Network
from miros_mesh.networks.streams import Admission, Range, Streams, merged
from miros_mesh.wire.envelope import MAX_RANGES, Envelope, RepairMessage, TracedEnvelope
from miros_mesh.wire.identity import Identity

logger = logging.getLogger(__name__)

# What was only overtaken comes by itself within moments.
_FIRST_ASK_S = 0.05
# An answer may have a long way, and is not to be given twice.
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 2.0
_LOOK_S = 0.05
_ENVELOPE_BYTES = 2048
_EVENTS_PER_ANSWER = 20_000


Missing = Mapping[tuple[str, str], set[Range]]


@dataclass
class _Asking:
    """When a stream's holes are asked for next, and the pause after that."""

    at: float
    pause_s: float = _FIRST_PAUSE_S


class Repair:
    """Asks for what a node's inboxes miss, and answers what other nodes' inboxes miss.

    A thread of its own looks at the inboxes while one of them misses something, and at the
    charts' silence every `interval_s`.
    """

    def __init__(
        self,
        network: Network[RepairMessage],
        mesh: Mesh,
        history: History[Envelope],
        inboxes: Callable[[], Iterable[Inbox]],
        *,
        interval_s: float,
        timeout_s: float,
        message_bytes: int,
        whole_since: Callable[[], float | None],
    ) -> None:
        self._network = network
        self._mesh = mesh
        self._identity: Identity = mesh.identity
        self._history = history
        self._inboxes = inboxes
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._message_bytes = message_bytes
        self._whole_since = whole_since
        self._asking: dict[tuple[str, str], _Asking] = {}
        self._heard: Streams[None] = Streams(1_000)
        self._wake = threading.Event()
        self._stopping = False
        name = f"mesh-{self._identity.node}-repair"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def routing_key(self) -> str:
        """Where this node hears of repairs."""
        return self._identity.incarnation

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Look no more."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def look(self) -> None:
        """Something is missing."""
        self._wake.set()

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery from the node's queue of repairs."""
        messages = self._network.open(delivery)
        for message in messages:
            # Somebody may have sent a recorded one to another node.
            if message.to == self._identity.incarnation and self._is_new(message):
                self._hear(message)
        if messages:
            delivery.ack()

    def _run(self) -> None:
        beat_at = time.monotonic() + self._interval_s
        while not self._stopping:
            self._wake.clear()
            now = time.monotonic()
            try:
                if now >= beat_at:
                    beat_at = now + self._interval_s
                    self._mesh.beat()
                missing = self._missing(now)
                self._ask(missing, now)
            except Exception:
                logger.exception("%s goes on after an error of its own", self._thread.name)
                missing = {}
            self._wake.wait(_LOOK_S if missing else max(beat_at - now, _LOOK_S))

    def _missing(self, now: float) -> Missing:
        missing: defaultdict[tuple[str, str], set[Range]] = defaultdict(set)
        since = self._whole_since()
        if since is None:
            # Nobody could answer, and what was on its way comes again.
            return missing
        for inbox in self._inboxes():
            if since < now - self._timeout_s:
                inbox.expire(now - self._timeout_s)
            for stream, holes in inbox.holes().items():
                missing[stream].update(holes)
        return missing

    def _ask(self, missing: Missing, now: float) -> None:
        """Ask for what is due."""
        self._asking = {
            stream: self._asking.get(stream) or _Asking(now + _FIRST_ASK_S) for stream in missing
        }
        for stream, asking in self._asking.items():
            if now >= asking.at:
                asking.at = now + asking.pause_s
                asking.pause_s = min(asking.pause_s * 2, _LONGEST_PAUSE_S)
                incarnation, _ = stream
                self._send(incarnation, "ask", stream, merged(missing[stream])[:MAX_RANGES])

    def _hear(self, message: RepairMessage) -> None:
        if message.kind == "ask":
            self._answer(message)
            return
        if message.incarnation != message.stream[0]:
            # Only the sender of a stream knows what it has.
            return
        for inbox in self._inboxes():
            if message.kind == "again":
                self._told(inbox.repair(message.events))
            for _, last in message.numbers:
                inbox.skip(message.stream, last)

    def _told(self, events: int) -> None:
        if events:
            self._mesh.observer.repaired(network=self._mesh.network.name, events=events)

    def _answer(self, message: RepairMessage) -> None:
        incarnation, chart = message.stream
        if incarnation != self._identity.incarnation:
            return
        found = [_plain(e) for e in self._history.find(chart, message.numbers)[:_EVENTS_PER_ANSWER]]
        for events in self._portions(found):
            self._send(message.incarnation, "again", message.stream, events=events)
        oldest = self._history.oldest(chart) or self._mesh.network.sequence_of(chart) + 1
        gone = [(first, min(last, oldest - 1)) for first, last in message.numbers if first < oldest]
        if gone:
            self._send(message.incarnation, "gone", message.stream, gone)

    def _portions(self, events: Sequence[Envelope]) -> Iterator[tuple[Envelope, ...]]:
        portion, size_bytes = list[Envelope](), 0
        for event in events:
            event_bytes = len(event.payload) + _ENVELOPE_BYTES
            if portion and size_bytes + event_bytes > self._message_bytes:
                yield tuple(portion)
                portion, size_bytes = [], 0
            portion.append(event)
            size_bytes += event_bytes
        if portion:
            yield tuple(portion)

    def _is_new(self, message: RepairMessage) -> bool:
        """Whoever replays a question of others gets no second answer."""
        sender = message.incarnation, message.chart
        verdict, _ = self._heard.admit(sender, message.sequence, None, 0)
        # Other nodes are told other numbers.
        self._heard.skip(sender, message.sequence)
        return verdict is Admission.NEW

    def _send(
        self,
        to: str,
        kind: Literal["ask", "again", "gone"],
        stream: tuple[str, str],
        numbers: Sequence[Range] = (),
        events: Sequence[Envelope] = (),
    ) -> None:
        node, incarnation = self._identity.node, self._identity.incarnation
        origin = node, node, incarnation, UNNUMBERED
        message = RepairMessage(*origin, to, kind, stream, tuple(numbers), tuple(events))
        self._network.send(to, message, counted=False)


def _plain(event: Envelope) -> Envelope:
    """Without its trace, which the messages of repair do not know."""
    return event.untraced() if isinstance(event, TracedEnvelope) else event
