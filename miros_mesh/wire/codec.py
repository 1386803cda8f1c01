"""Messages to sealed frames and back.

A frame is one version byte and a sealed msgpack of `[network, [message, ...]]`. docs/wire.md has
the layout and the rules for changing it. A frame is of the first version unless one of its messages
has more fields than that knows.
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
EXTENDED_FRAME_VERSION = 2
# As many as `frame_events` allows; a decoder stops there.
MAX_FRAME_MESSAGES = 100_000
MAX_NETWORK_BYTES = 32
# Beyond the messages: the version byte, the seal, the network's name and three msgpack headers.
FRAME_OVERHEAD_BYTES = 1 + SEAL_OVERHEAD_BYTES + MAX_NETWORK_BYTES + 1 + 2 + 5

T = TypeVar("T", bound=Origin)

# The head of a msgpack array of up to 15 fields, which a message is.
_ARRAY_HEAD = 0x90
# What the fields of an extended message may take beyond the limit for events: a trace of 55
# characters, which is not the program's and must not count against `max_event_bytes`.
_EXTENSION_BYTES = 64
_encoder = msgspec.msgpack.Encoder()
# Raw leaves the messages undecoded until the network's name is known to be ours.
_frame_decoder = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_messages_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Version(Generic[T]):
    """The network's name in frames of one version, and the decoder of their messages."""

    def __init__(self, network: str, message_type: type[T]) -> None:
        if not 0 < len(network.encode()) <= MAX_NETWORK_BYTES:
            raise ValueError(f"a network's name has 1 to {MAX_NETWORK_BYTES} bytes")
        self.network = network
        self.decoder: msgspec.msgpack.Decoder[list[T]] = msgspec.msgpack.Decoder(
            Annotated[list[message_type], Meta(min_length=1, max_length=MAX_FRAME_MESSAGES)]  # type: ignore[valid-type]
        )


class Codec(Generic[T]):
    """Seals and opens the frames of one network; safe to use from several threads.

    `extended` are messages with further fields, which have defaults, after those of the first
    version.
    """

    def __init__(
        self,
        network: str,
        keyring: KeyRing,
        message_type: type[T],
        *,
        max_frame_bytes: int,
        max_event_bytes: int | None = None,
        extended: type[T] | None = None,
    ) -> None:
        self._keyring = keyring
        self._fields = (extended or message_type).__struct_fields__
        self._extended = extended
        self._extended_head = _ARRAY_HEAD | len(self._fields)
        self._max_frame_bytes = max_frame_bytes
        self._most_bytes = max_frame_bytes - FRAME_OVERHEAD_BYTES
        self._max_message_bytes = min(self._most_bytes, max_event_bytes or max_frame_bytes)
        self._message_decoder = msgspec.msgpack.Decoder(extended or message_type)
        self._versions = {FRAME_VERSION: _Version(network, message_type)}
        if extended:
            # Named in the sealed part too, since the version byte stands outside of it.
            name = f"{network}.{EXTENDED_FRAME_VERSION}"
            self._versions[EXTENDED_FRAME_VERSION] = _Version(name, extended)

    def encode(self, message: T) -> bytes:
        """Encode one message, not sealed yet; refuse what every receiver would refuse.

        Raises `PayloadError` for a field, `EventTooLargeError` for the size.
        """
        try:
            # msgspec checks lengths and ranges only when it decodes, so what was encoded is read
            # back here. The program hears of it, and not the log of every receiver.
            encoded = _encoder.encode(message)
            self._message_decoder.decode(encoded)
        except (msgspec.ValidationError, UnicodeEncodeError, OverflowError) as error:
            raise PayloadError(f"cannot be sent: {self._named(error)}") from None
        limit = self._max_message_bytes
        if self._is_extended(encoded):
            limit = min(limit + _EXTENSION_BYTES, self._most_bytes)
        if len(encoded) > limit:
            raise EventTooLargeError(
                f"encoded to {len(encoded):,} bytes, and the limit is "
                f"{limit:,}: send less, or raise max_event_bytes"
            )
        return encoded

    def seal(self, encoded: Sequence[bytes]) -> bytes:
        """Seal a frame of one or more encoded messages; raises `OversizeFrameError`."""
        if not 0 < len(encoded) <= MAX_FRAME_MESSAGES:
            raise ValueError(f"a frame carries 1 to {MAX_FRAME_MESSAGES:,} messages")
        number = self._needed_version(encoded)
        # Raw is copied as it is: what `encode` has made is not encoded again.
        messages = [msgspec.Raw(message) for message in encoded]
        content = _encoder.encode((self._versions[number].network, messages))
        frame = bytes([number]) + self._keyring.seal(content)
        # As at the receiver: every node with our settings would reject one that is too large.
        self._check_size(frame)
        return frame

    def unseal(self, frame: bytes) -> list[bytes]:
        """Return what `seal` was given; raises a `FrameError` if this ring did not seal it."""
        _, messages = self._contents(frame)
        return [bytes(message) for message in _messages_decoder.decode(messages)]

    def open(self, frame: bytes) -> list[T]:
        """Return the messages of a frame; raises the `FrameError` that says why it is refused."""
        version, messages = self._contents(frame)
        try:
            return version.decoder.decode(messages)
        except _DECODING_ERRORS as error:
            raise _malformed(error) from None

    def _contents(self, frame: bytes) -> tuple[_Version[T], msgspec.Raw]:
        self._check_size(frame)
        # Cheap, and before the seal is opened: until then any program may have made these bytes.
        version = self._version_of(frame)
        plain = self._keyring.open(frame[1:])
        try:
            network, messages = _frame_decoder.decode(plain)
        except _DECODING_ERRORS as error:
            raise _malformed(error) from None
        # All networks may have one key, so a frame of another one opens, too.
        if network != version.network:
            raise WrongNetworkError(f"a frame of network {network[:MAX_NETWORK_BYTES]!r}")
        return version, messages

    def _needed_version(self, encoded: Sequence[bytes]) -> int:
        if self._extended and any(map(self._is_extended, encoded)):
            return EXTENDED_FRAME_VERSION
        return FRAME_VERSION

    def _is_extended(self, encoded: bytes) -> bool:
        # Only an extended message has so many fields: `encode` leaves none out.
        return self._extended is not None and encoded[0] == self._extended_head

    def _version_of(self, frame: bytes) -> _Version[T]:
        if not frame:
            raise MalformedFrameError("an empty frame")
        if version := self._versions.get(frame[0]):
            return version
        known = " and ".join(str(number) for number in self._versions)
        raise FrameVersionError(f"a frame of version {frame[0]}, and this library reads {known}")

    def _check_size(self, frame: bytes) -> None:
        if len(frame) > self._max_frame_bytes:
            raise OversizeFrameError(
                f"a frame of {len(frame):,} bytes, and the limit is {self._max_frame_bytes:,}"
            )

    def _named(self, error: Exception) -> str:
        """Return the error's text with the field's name in place of its index."""
        return re.sub(
            r"(.*) - at `\$\[(\d+)\]`$",
            lambda found: f"{self._fields[int(found[2])]}: {found[1]}",
            str(error),
        )


def _malformed(error: Exception) -> MalformedFrameError:
    return MalformedFrameError(f"the frame opened, but not its content: {error}")
