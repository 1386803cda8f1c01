"""What becomes of events that a broker refused: each is a dead letter, and is told of."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

from msgspec.structs import replace

from miros_mesh.errors import LinkError, MessageTooLargeError
from miros_mesh.networks.letters.letter_line import LetterLine, LocalLetter
from miros_mesh.networks.letters.local import LocalLetters
from miros_mesh.networks.network import (
    COMPLAIN_EVERY_S,
    Refusal,
    exchange_for,
    exchange_of,
)
from miros_mesh.observer import Observer
from miros_mesh.signals import OutboxRefused
from miros_mesh.text import logger_of, printable
from miros_mesh.timing.throttle import Throttle
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import MAX_DETAIL, DeadLetter, Envelope, kept
from miros_mesh.wire.identity import Identity

logger = logger_of(__name__)


class RefusedEvents:
    """Keeps refused events of a node in the local store, and tells of them. Thread-safe.

    `tell` is called for each of them; it must not wait. A thread of its own stores them, from the
    first one until `stop`.
    """

    def __init__(
        self,
        letters: LocalLetters,
        codec: Codec[DeadLetter],
        identity: Identity,
        network: str,
        observer: Observer,
        tell: Callable[[OutboxRefused], None],
        *,
        max_event_bytes: int,
    ) -> None:
        self._most_bytes = letters.most_bytes
        self._line = LetterLine(letters, identity.node, stored=self._stored, lost=self._lost)
        self._codec = codec
        self._identity = identity
        self._network = network
        self._exchange = exchange_of(network)
        self._observer = observer
        self._tell = tell
        self._max_event_bytes = max_event_bytes
        # Of the letters, for all charts of the node; `next` of it is one step for all threads.
        self._numbers = count(1)
        self._complaints = Throttle(COMPLAIN_EVERY_S)

    def keep(self, refusal: Refusal[Envelope]) -> None:
        """Make a dead letter of each event, and tell of it; words of the library are let go.

        Returns when the letters wait for the store.
        """
        if not refusal.counted:
            return
        letters = [
            self._letter(refusal, event, encoded)
            for event, encoded in zip(refusal.messages, refusal.encoded, strict=True)
        ]
        self._line.add(
            [
                LocalLetter(
                    self._sealed(letter),
                    refusal.broker,
                    event.signal,
                    letter.routing_key,
                    letter.size_bytes,
                    refusal.error,
                )
                for letter, event in zip(letters, refusal.messages, strict=True)
            ]
        )
        for letter, event in zip(letters, refusal.messages, strict=True):
            self._tell(
                OutboxRefused(
                    address=refusal.broker,
                    reason=letter.reason,
                    signal=event.signal,
                    event_id=event.id,
                    routing_key=letter.routing_key,
                    size_bytes=letter.size_bytes,
                )
            )

    def stop(self, timeout_s: float) -> None:
        """Store what waits for that, and end the thread; waits for `timeout_s` at most."""
        self._line.stop(timeout_s)

    def _letter(self, refusal: Refusal[Envelope], event: Envelope, encoded: bytes) -> DeadLetter:
        return DeadLetter(
            node=self._identity.node,
            chart=event.chart,
            incarnation=self._identity.incarnation,
            sequence=next(self._numbers),
            time=time.time(),
            reason=refusal.error.reason,
            detail=str(refusal.error)[:MAX_DETAIL],
            exchange=exchange_for(refusal.routing_key) or self._exchange,
            routing_key=refusal.routing_key,
            queue="",
            deliveries=0,
            size_bytes=len(encoded),
            digest=hashlib.sha256(encoded).hexdigest(),
            event=kept(event),
            peer=refusal.broker[:MAX_DETAIL],
        )

    def _sealed(self, letter: DeadLetter) -> bytes:
        sealed = self._seal(letter)
        # A note of it remains, and no other letter has to go for one that cannot be kept.
        too_large = len(sealed) > self._most_bytes
        return self._seal(replace(letter, event=None)) if too_large else sealed

    def _seal(self, letter: DeadLetter) -> bytes:
        return self._codec.seal([self._codec.encode(letter)], letter.reason)

    def _stored(self, letters: Sequence[LocalLetter], went: int) -> None:
        if went:
            self._observer.dropped(network=self._network, reason="dead_letters_full", events=went)
        self._complain(letters, "among the dead letters of this user: miros-mesh dead-letters")

    def _lost(self, letters: Sequence[LocalLetter], why: str) -> None:
        self._observer.dropped(network=self._network, reason="not_kept", events=len(letters))
        self._complain(letters, f"not kept, so they are lost: {why}")

    def _complain(self, letters: Sequence[LocalLetter], place: str) -> None:
        times = Counter((each.broker, each.error.reason) for each in letters)
        last = {(each.broker, each.error.reason): each for each in letters}
        for about, letter in last.items():
            self._complain_of(letter, times[about], place)

    def _complain_of(self, last: LocalLetter, events: int, place: str) -> None:
        reason = last.error.reason
        times = self._complaints.due(f"{last.broker} {reason}", events)
        if not times:
            return
        logger.error(
            "%s refused %d event(s) (%s), which are %s; the last one was %s under %s, %d bytes: "
            "%s%s",
            last.broker,
            times,
            reason,
            place,
            printable(last.signal),
            last.routing_key,
            last.size_bytes,
            last.error,
            self._advice(last.error),
        )

    def _advice(self, error: LinkError) -> str:
        if not isinstance(error, MessageTooLargeError):
            return ""
        return (
            f"; max_event_bytes of this node is {self._max_event_bytes:,}, and max_message_size "
            "of the broker has to be a little more: lower the one, or raise the other"
        )
