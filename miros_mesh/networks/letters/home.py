"""Dead letters on their way to the home broker, which keeps them for people to look at."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import msgspec

from miros_mesh.address import topic_of_queue
from miros_mesh.errors import MeshError
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.arrival import Reason
from miros_mesh.networks.frame import Settled
from miros_mesh.networks.network import UNNUMBERED, Network, exchange_of
from miros_mesh.observer import Observer
from miros_mesh.text import logger_of
from miros_mesh.wire.envelope import MAX_DETAIL, DeadLetter, Envelope, kept
from miros_mesh.wire.identity import Identity

logger = logger_of(__name__)

MIB: Final = 1024 * 1024
KEPT_BYTES: Final = 8 * MIB
"""What is larger is kept as a note: one letter must not push out many others."""
LARGEST_LETTER_BYTES: Final = KEPT_BYTES + 16 * 1024
# What strangers send must not fill the outbox. The others wait where they are in memory anyway,
# and the broker sends no more of them than a queue's prefetch before these are settled.
_MOST_SENT: Final = 100
_MOST_SENT_BYTES: Final = 2 * KEPT_BYTES
# The outbox was full, and is not asked for room at each confirm.
_PAUSE_S: Final = 1.0

RETRY: Final = exchange_of("retry")
"""A direct exchange, by which one chart's queue alone is reached."""

Stored = Callable[[], object]


class Place(NamedTuple):
    """Where something was refused: a chart, and the queue by which it hears."""

    chart: str
    queue: str

    @property
    def put_back_topics(self) -> str:
        """The pattern of topics under which letters are put back into the queue."""
        return f"{topic_of_queue(RETRY, self.queue)}.*"


@dataclass(eq=False)
class _Letter:
    key: tuple[str, str]
    message: DeadLetter
    stored: list[Stored]
    """What waits for it."""
    sent: bool = False
    """Whether it is in the outbox, or on its way."""

    @property
    def queue(self) -> str:
        return self.message.queue

    @property
    def size_bytes(self) -> int:
        event = self.message.event
        return len(self.message.frame) + (len(event.payload) if event else 0)


class Letters(Observer):
    """Has the home broker keep what charts refuse, and says when it does. Thread-safe.

    A letter waits, is sent, and is forgotten once the broker has confirmed it, which calls back all
    that wait for it. A full outbox drops it: then it waits again. What the broker refuses goes once
    more as a note without its content, and if that is refused as well it is logged and gone.

    What is refused again meanwhile, after a lost connection, adds no second letter.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        # Both are set once, by `attach`, before a chart joins.
        self._network: Network[DeadLetter] | None = None
        self._observer = Observer()
        # Guards all that follows. Nothing of others is called under it.
        self._changed = threading.Condition()
        self._letters: dict[tuple[str, str], _Letter] = {}
        """By the queue and by what was refused."""
        self._unsettled: Counter[str] = Counter()
        """How many of them a queue has, or had until what waits for them is called back."""
        self._waiting: deque[_Letter] = deque()
        self._sent = 0
        self._sent_bytes = 0
        self._resume_at = 0.0

    def attach(self, network: Network[DeadLetter], observer: Observer) -> None:
        """Send by this network; call it before anything is set aside."""
        self._network, self._observer = network, observer

    def keep_event(self, place: Place, event: Envelope, reason: Reason, stored: Stored) -> None:
        """Keep an event that was refused, and call `stored` once the broker has it."""
        plain = kept(event)
        content = msgspec.msgpack.encode(plain)
        key = place.queue, f"{event.id} {reason.word}"
        self._keep(key, self._letter(place, content, reason, event=plain), stored)

    def keep_frame(self, place: Place, delivery: Delivery, reason: Reason) -> None:
        """Keep a frame that cannot be opened, and acknowledge it once the broker has it."""
        letter = self._letter(place, delivery.body, reason)
        self._keep((place.queue, letter.digest), letter, delivery.ack)

    def wait_stored(self, place: Place, timeout_s: float) -> bool:
        """Wait until all that waits for letters of a place was called back; whether it was.

        `timeout_s` at most.
        """
        with self._changed:
            return self._changed.wait_for(lambda: place.queue not in self._unsettled, timeout_s)

    def published(
        self, *, network: str, peer: str, events: int, size_bytes: int, seconds: float
    ) -> None:
        # The outbox has room again.
        if self._waiting:
            self._send()

    def _letter(
        self, place: Place, content: bytes, reason: Reason, event: Envelope | None = None
    ) -> DeadLetter:
        kept = len(content) <= KEPT_BYTES
        return DeadLetter(
            node=self._identity.node,
            chart=place.chart,
            incarnation=self._identity.incarnation,
            sequence=UNNUMBERED,
            time=time.time(),
            reason=reason.word,
            detail=reason.detail[:MAX_DETAIL],
            exchange=exchange_of("mesh"),
            # Not known: from a RabbitMQ we read the body of a message, and nothing beside it.
            routing_key="",
            queue=place.queue,
            deliveries=reason.deliveries,
            size_bytes=len(content),
            digest=hashlib.sha256(content).hexdigest(),
            event=event if kept else None,
            frame=content if kept and event is None else b"",
        )

    def _keep(self, key: tuple[str, str], message: DeadLetter, stored: Stored) -> None:
        with self._changed:
            known = self._letters.get(key)
            if known:
                known.stored.append(stored)
            else:
                letter = self._letters[key] = _Letter(key, message, [stored])
                self._waiting.append(letter)
                self._unsettled[letter.queue] += 1
        if not known:
            self._observer.set_aside(chart=message.chart, reason=message.reason)
        self._send()

    def _send(self) -> None:
        while letter := self._next():
            self._put(letter)

    def _next(self) -> _Letter | None:
        with self._changed:
            full = self._sent >= _MOST_SENT or self._sent_bytes >= _MOST_SENT_BYTES
            if not self._waiting or full or time.monotonic() < self._resume_at:
                return None
            letter = self._waiting.popleft()
            self._count(letter, 1)
            return letter

    def _put(self, letter: _Letter) -> None:
        if self._network is None:
            return
        try:
            self._network.send(
                # For people who see it and have no key.
                letter.message.reason,
                letter.message,
                counted=False,
                settled=partial(self._settled, letter),
            )
        except MeshError as error:
            logger.error("a dead letter cannot be sent: %s", error)  # noqa: TRY400 - says it all
            self._settled(letter, "refused")

    def _settled(self, letter: _Letter, outcome: Settled) -> None:
        with self._changed:
            # A confirm may come twice, after a lost connection.
            if not letter.sent:
                return
            self._count(letter, -1)
            if outcome == "dropped":
                self._waiting.appendleft(letter)
                self._resume_at = time.monotonic() + _PAUSE_S
            noted = outcome == "refused" and self._as_note(letter)
            done = outcome != "dropped" and not noted
            if done:
                del self._letters[letter.key]
        if outcome == "refused" and not noted:
            logger.error(
                "dead letter of chart %s (%s) is gone: the broker does not take it",
                letter.message.chart,
                letter.message.reason,
            )
        if done:
            for stored in letter.stored:
                stored()
            with self._changed:
                # Leaves out the queues that have none.
                self._unsettled -= Counter((letter.queue,))
                self._changed.notify_all()
        self._send()

    def _as_note(self, letter: _Letter) -> bool:
        """Let a letter wait again without its content; False when it has none."""
        if not letter.size_bytes:
            return False
        letter.message = msgspec.structs.replace(letter.message, event=None, frame=b"")
        self._waiting.appendleft(letter)
        return True

    def _count(self, letter: _Letter, sign: int) -> None:
        letter.sent = sign > 0
        self._sent += sign
        self._sent_bytes += sign * letter.size_bytes
