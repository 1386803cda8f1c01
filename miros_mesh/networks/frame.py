"""A frame while it fills: shared by all peers' outboxes, and sealed once for all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Literal, Protocol

from miros_mesh.errors import LinkError
from miros_mesh.wire.envelope import RESEAL_AFTER_S

Settled = Literal["stored", "unrouted", "dropped", "refused"]
"""What became of a frame at a peer."""


class Sealer(Protocol):
    """The network of a frame, as far as the frame knows it."""

    @property
    def name(self) -> str:
        """The network under which the frame is counted."""

    @property
    def expendable(self) -> bool:
        """Whether its frames are sent after, and dropped before, others."""

    @property
    def key(self) -> str:
        """The fingerprint of the key with which `seal` seals, as long as none other is used."""

    def seal(self, encoded: Sequence[bytes], topic: str) -> bytes:
        """Seal messages into the bytes to send under a topic."""

    def publishing(self, sealed: bytes) -> None:
        """Hear that these bytes are about to be published."""

    def unseal(self, sealed: bytes) -> list[bytes]:
        """Return the messages that `seal` was given."""

    def refused(self, frame: Frame, broker: str, error: LinkError) -> None:
        """Hear that a broker refused a frame."""

    def decided(self, frame: Frame, *, heard: bool) -> None:
        """Hear whether any of the awaited brokers had a queue for a frame."""


class Frame:
    """Encoded messages under one routing key, until a publisher takes it to send.

    An idle publisher takes a frame with one message; behind a busy one the same frame fills up, so
    that sealing, publishing and confirming are paid once for many.
    """

    def __init__(
        self,
        sealer: Sealer,
        routing_key: str,
        *,
        exchange: str,
        counted: bool = True,
        persistent: bool = True,
        settled: Callable[[Settled], object] | None = None,
        shared: bool = False,
        max_events: int,
        max_bytes: int,
    ) -> None:
        """Begin a frame; one that is `shared` may be sent to several peers."""
        self.network = sealer.name
        self.exchange = exchange
        self.expendable = sealer.expendable
        self.routing_key = routing_key
        self.counted = counted
        self.persistent = persistent
        self.needs_queue = False
        """Whether to say "unrouted" where it is stored in no queue, to who waits to hear of it."""
        # The brokers whose answer is awaited: whether they have a queue for it.
        self._awaited: set[str] = set()
        self._sealer = sealer
        self._settled = settled
        self._shared = shared
        self._max_events = max_events
        self._max_bytes = max_bytes
        # The very bytes that the history has, so that what waits for its confirm is in memory once.
        # Of a frame for several peers until it is sealed: then there is what they all send.
        self._messages: list[bytes] = []
        self._size_bytes = 0
        self._events = 0
        self._open = True
        self._sealed: bytes | None = None
        self._sealed_at = 0.0
        self._sealed_with = ""
        # Guards the seven above: a chart's thread adds while a publisher's thread seals.
        self._lock = threading.Lock()

    @property
    def events(self) -> int:
        """How many messages it holds; none when they are the library's own words."""
        # This and `size_bytes` without the lock: an outbox closes a frame before it counts it out.
        return self._events if self.counted else 0

    @property
    def size_bytes(self) -> int:
        """How large its messages are in bytes, before sealing."""
        return self._size_bytes

    def add_all(self, encoded: Sequence[bytes], awaited: Collection[str] = ()) -> int:
        """Take as many of the messages as fit, in order; return how many.

        An empty frame takes a message of any size, a closed one takes none. With `awaited` the
        network hears, by `decided`, whether any of these brokers has a queue for them.
        """
        with self._lock:
            if not self._open:
                return 0
            before = self._events
            for each in encoded:
                size_bytes = self._size_bytes + len(each)
                # The codec has already refused a message that no frame may hold.
                if self._events and (
                    self._events >= self._max_events or size_bytes > self._max_bytes
                ):
                    break
                self._messages.append(each)
                self._events += 1
                self._size_bytes = size_bytes
            if awaited and self._events > before:
                # None of them has answered: it is open.
                self._awaited.update(awaited)
            return self._events - before

    def awaits(self, broker: str) -> None:
        """Await the answer of one broker more, if any is awaited."""
        with self._lock:
            if self._awaited:
                self._awaited.add(broker)

    def answered(self, broker: str, *, routed: bool) -> None:
        """Hear whether a broker has a queue for it; one that will not get it has none.

        Tells the network once one has, or none of them all. Call it under no lock.
        """
        with self._lock:
            if broker not in self._awaited:
                return
            self._awaited.discard(broker)
            if routed:
                self._awaited.clear()
            elif self._awaited:
                return
        self._sealer.decided(self, heard=routed)

    def close(self) -> None:
        """Take no further message; a second call does nothing."""
        with self._lock:
            self._open = False

    def seal(self) -> bytes:
        """Close the frame, and return the bytes to send now.

        They are the same for all peers that it is shared by at once, and others after
        `RESEAL_AFTER_S`: receivers refuse what was sealed before they listened. With another key
        they are others, too: once a node uses that, it publishes nothing under an older one,
        however long it has waited. With one peer they are others at each call.
        """
        with self._lock:
            self._open = False
            if self._shared:
                sealed = self._sealed_for_all()
            else:
                sealed = self._sealer.seal(self._messages, self.routing_key)
            self._sealer.publishing(sealed)
            return sealed

    def messages(self) -> list[bytes]:
        """Close the frame, and return the messages in it."""
        with self._lock:
            self._open = False
            if self._sealed is None:
                return list(self._messages)
            # Out of the sealed bytes: the messages themselves are not kept.
            return self._sealer.unseal(self._sealed)

    def split(self) -> Sequence[Frame]:
        """Close, and return its messages in two frames, in order; none when it holds but one."""
        self.close()
        # Of parts it could not be said what became of which.
        if self._events <= 1 or self._settled:
            return ()
        messages = self.messages()
        with self._lock:
            # Of parts at one broker and a whole at others it is not said that none is heard.
            undecided = bool(self._awaited)
            self._awaited.clear()
        if undecided:
            self._sealer.decided(self, heard=True)
        half = len(messages) // 2
        return self._part(messages[:half]), self._part(messages[half:])

    def stored(self, broker: str, routed: bool) -> None:
        """Hear that a peer has confirmed it, and whether it had a queue for it."""
        if self._settled:
            self._settled("stored" if routed or not self.needs_queue else "unrouted")
        self.answered(broker, routed=routed)

    def dropped(self, broker: str) -> None:
        """Hear that a peer will not get it, for want of room."""
        if self._settled:
            self._settled("dropped")
        self.answered(broker, routed=False)

    def refused(self, broker: str, error: LinkError) -> None:
        """Hear that a broker refuses it: say so to who waits for that, or else to the network."""
        if self._settled:
            self._settled("refused")
        else:
            self._sealer.refused(self, broker, error)
        self.answered(broker, routed=False)

    def _sealed_for_all(self) -> bytes:
        # Read first: of a change meanwhile the next call hears.
        now, key = time.monotonic(), self._sealer.key
        if (
            self._sealed is None
            or key != self._sealed_with
            or now > self._sealed_at + RESEAL_AFTER_S
        ):
            messages = self._messages if self._sealed is None else self._sealer.unseal(self._sealed)
            self._sealed = self._sealer.seal(messages, self.routing_key)
            self._sealed_at, self._sealed_with = now, key
            self._messages = []
        return self._sealed

    def _part(self, messages: Sequence[bytes]) -> Frame:
        part = Frame(
            self._sealer,
            self.routing_key,
            exchange=self.exchange,
            counted=self.counted,
            persistent=self.persistent,
            max_events=self._max_events,
            max_bytes=self._max_bytes,
        )
        # They fitted into the whole.
        part.add_all(messages)
        part.close()
        return part
