"""Messages to sealed frames and back.

A frame is one version byte and a sealed msgpack of `[network, [message, ...]]`. docs/wire.md has
the layout and the rules for changing it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from miros_mesh.errors import (
    EventTooLargeError,
    FrameVersionError,
    MalformedFrameError,
    OversizeFrameError,
    PayloadError,
    WrongNetworkError,
)
from miros_mesh.wire.envelope import Origin
from miros_mesh.wire.keyring import SEAL_OVERHEAD_BYTES, KeyRing

FRAME_VERSION = 1
MAX_FRAME_MESSAGES = 100_000
MAX_NETWORK_BYTES = 32
# Beyond the messages: the version byte, the seal, the network's name and three msgpack headers.
FRAME_OVERHEAD_BYTES = 1 + SEAL_OVERHEAD_BYTES + MAX_NETWORK_BYTES + 1 + 2 + 5

T = TypeVar("T", bound=Origin)

_VERSION_PREFIX = bytes([FRAME_VERSION])
_encoder = msgspec.msgpack.Encoder()
_frame_decoder = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Codec(Generic[T]):
    """Seals and opens the frames of one network; safe to use from several threads."""

    def __init__(
        self,
        network: str,
        keyring: KeyRing,
        message_type: type[T],
        *,
        max_frame_bytes: int,
        max_event_bytes: int | None = None,
    ) -> None:
        if not 0 < len(network.encode()) <= MAX_NETWORK_BYTES:
            raise ValueError(f"a network's name has 1 to {MAX_NETWORK_BYTES} bytes")
        self._network = network
        self._keyring = keyring
        self._fields = message_type.__struct_fields__
        self._max_frame_bytes = max_frame_bytes
        self._max_message_bytes = min(
            max_frame_bytes - FRAME_OVERHEAD_BYTES, max_event_bytes or max_frame_bytes
        )
        self._message_decoder = msgspec.msgpack.Decoder(message_type)
        self._messages_decoder: msgspec.msgpack.Decoder[list[T]] = msgspec.msgpack.Decoder(
            Annotated[list[message_type], Meta(min_length=1, max_length=MAX_FRAME_MESSAGES)]  # type: ignore[valid-type]
        )

    def encode(self, message: T) -> bytes:
        """One message, not sealed yet; refuses here what every receiver would refuse."""
        try:
            encoded = _encoder.encode(message)
            self._message_decoder.decode(encoded)
        except (msgspec.ValidationError, UnicodeEncodeError, OverflowError) as error:
            raise PayloadError(f"cannot be sent: {self._named(error)}") from None
        if len(encoded) > self._max_message_bytes:
            raise EventTooLargeError(
                f"encoded to {len(encoded):,} bytes, and the limit is "
                f"{self._max_message_bytes:,}: send less, or raise max_event_bytes"
            )
        return encoded

    def seal(self, encoded: Sequence[bytes]) -> bytes:
        """One frame of one or more encoded messages."""
        if not 0 < len(encoded) <= MAX_FRAME_MESSAGES:
            raise ValueError(f"a frame carries 1 to {MAX_FRAME_MESSAGES:,} messages")
        messages = [msgspec.Raw(message) for message in encoded]
        frame = _VERSION_PREFIX + self._keyring.seal(_encoder.encode((self._network, messages)))
        self._check_size(frame)
        return frame

    def open(self, frame: bytes) -> list[T]:
        """The messages of a frame that this network's other nodes sealed; else a FrameError."""
        self._check_size(frame)
        _check_version(frame)
        plain = self._keyring.open(frame[1:])
        try:
            network, messages = _frame_decoder.decode(plain)
            if network != self._network:
                raise WrongNetworkError(f"a frame of network {network[:MAX_NETWORK_BYTES]!r}")
            return self._messages_decoder.decode(messages)
        except _DECODING_ERRORS as error:
            raise MalformedFrameError(f"the frame opened, but not its content: {error}") from None

    def _check_size(self, frame: bytes) -> None:
        if len(frame) > self._max_frame_bytes:
            raise OversizeFrameError(
                f"a frame of {len(frame):,} bytes, and the limit is {self._max_frame_bytes:,}"
            )

    def _named(self, error: Exception) -> str:
        """The error with the field's name instead of its index."""
        return re.sub(
            r"(.*) - at `\$\[(\d+)\]`$",
            lambda found: f"{self._fields[int(found[2])]}: {found[1]}",
            str(error),
        )


def _check_version(frame: bytes) -> None:
    if not frame:
        raise MalformedFrameError("an empty frame")
    if frame[0] != FRAME_VERSION:
        raise FrameVersionError(
            f"a frame of version {frame[0]}, and this library reads {FRAME_VERSION}"
        )
