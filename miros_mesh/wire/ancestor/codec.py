"""Tokens of miros-rabbitmq and what is in them, in the place of frames: one message in each."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar
from weakref import WeakSet

from miros_mesh.errors import FrameError, MalformedFrameError, OversizeFrameError, WrongTopicError
from miros_mesh.wire.ancestor import pickles
from miros_mesh.wire.codec import Arrived
from miros_mesh.wire.envelope import Origin
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.keyring import KeyRing, OpenedToken

ANCESTOR: Final = "miros-rabbitmq"
"""What stands for the name of a node or a chart that its wire does not tell."""
INCARNATION: Final = "miros-rabbitmq"
"""Of all who speak it, since nothing tells one start of them from the next."""

T = TypeVar("T", bound=Origin)


class TokenCodec(Generic[T]):
    """Seals and opens the tokens of one network; safe to use from several threads.

    It stands where a `Codec` of frames does. A token holds one message, and says neither its
    network nor its topic; it says when it was sealed, in whole seconds.
    """

    def __init__(
        self, keyring: KeyRing, *, max_bytes: int, wall: Callable[[], float] = time.time
    ) -> None:
        """Take tokens of `max_bytes` at most."""
        self._keyring = keyring
        self._max_bytes = max_bytes
        self._wall = wall
        self.queues: WeakSet[Freshness] = WeakSet()
        """By their `Freshness`, those that bring its tokens."""

    @property
    def primary(self) -> str:
        """The fingerprint of the key that seals now."""
        return self._keyring.primary

    def encode(self, message: T) -> bytes:
        """Return the pickled body of a message; raises `PayloadError` for one that cannot go."""
        return pickles.written(self._value(message))

    def decoded(self, encoded: Sequence[bytes]) -> list[T]:
        """Return the messages that `encode` has made these of."""
        opened = (OpenedToken(each, int(self._wall()), 1) for each in encoded)
        made = (self._message(pickles.read(each.plain).value, each) for each in opened)
        return [each for each in made if each]

    def seal(self, encoded: Sequence[bytes], topic: str) -> bytes:
        """Seal the one encoded message of a token with the first key of the ring."""
        (one,) = encoded
        return self._keyring.seal_token(one)

    def unseal(self, frame: bytes) -> list[bytes]:
        """Return what `seal` was given; raises a `FrameError` if this ring did not seal it."""
        return [self._keyring.open_token(frame, again=True).plain]

    def open_again(self, frame: bytes) -> list[T]:
        """Return the message of a token that was sealed or opened here before."""
        return self.decoded(self.unseal(frame))

    def receive(self, frame: bytes, topic: str, freshness: Freshness, *, again: bool) -> Arrived[T]:
        """Return the message of a token that came under a topic; `again` as in `Freshness`.

        None of one that a node of this library has sealed, which has sent it as a frame, too; nor
        of a scout's. Raises the `FrameError` that says why it is refused.
        """
        if len(frame) > self._max_bytes:
            raise OversizeFrameError(
                f"a body of {len(frame):,} bytes; the limit is {self._max_bytes:,}"
            )
        opened = self._keyring.open_token(frame)
        body = pickles.read(opened.plain)
        if body.ours:
            return Arrived([], sure=True)
        if not freshness.is_for(topic):
            raise WrongTopicError(f"a body under the topic {topic!r}, which its queue is not for")
        message = self._message(body.value, opened)
        if message is None:
            return Arrived([], sure=True)
        # What is in doubt is taken: no sender of it can be asked.
        freshness.admit(opened.sealed_at, node=message.node, again=again)
        self._admitted(message)
        return Arrived([message], sure=True)

    def _admitted(self, message: T) -> None:
        """Hear of a message that has come, and is not too old."""

    @abstractmethod
    def _value(self, message: T) -> pickles.Value:
        """Return what is pickled of a message."""

    @abstractmethod
    def _message(self, value: pickles.Value, opened: OpenedToken) -> T | None:
        """Return the message of what was pickled; None for one that says nothing.

        Raises the `FrameError` that says why it is refused.
        """


def malformed(what: str) -> FrameError:
    """Return the error of a body that holds something else than its network has."""
    return MalformedFrameError(f"a body of miros-rabbitmq {what}")
