"""Messages to sealed frames and back.

A frame is one version byte and a sealed msgpack: the network, the mesh's label, the topic, the time
of sealing, and the messages. docs/wire.md has the layout and the rules for changing it. Releases
before that wrote the network and the messages alone: nothing in such a frame says where and when it
was meant to be heard. A node with a key of its own signs what it seals.
"""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar
from weakref import WeakSet

import msgspec
from msgspec import Meta

from miros_mesh.errors import (
    EventTooLargeError,
    FrameVersionError,
    MalformedFrameError,
    OldFramesError,
    OversizeFrameError,
    PayloadError,
    UnsignedError,
    WrongMeshError,
    WrongNetworkError,
    WrongTopicError,
)
from miros_mesh.wire.ciphers import Cipher
from miros_mesh.wire.envelope import EpochSeconds, Name, Origin
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.identity import Author
from miros_mesh.wire.keyring import SEAL_OVERHEAD_BYTES, KeyRing
from miros_mesh.wire.opened import Opened, RecentlyOpened
from miros_mesh.wire.signing import SIGNATURE_BYTES, Signer

OldFrames: TypeAlias = Literal["refuse", "read", "write"]
"""What is done with frames of releases before 0.2, which do not say where and when they belong."""

# The first two are those of releases before 0.2. The next two are sealed with Fernet, as they are,
# and the last two with AES-256-GCM.
FIRST_FRAME_VERSION: Final = 1
EXTENDED_FRAME_VERSION: Final = 2
FERNET_FRAME_VERSION: Final = 3
SIGNED_FERNET_FRAME_VERSION: Final = 4
FRAME_VERSION: Final = 5
SIGNED_FRAME_VERSION: Final = 6
_SIGNED_VERSIONS: Final = frozenset({SIGNED_FERNET_FRAME_VERSION, SIGNED_FRAME_VERSION})
# Without a signature, and with one.
_WRITTEN: Final[Mapping[Cipher, tuple[int, int]]] = {
    "aes-gcm": (FRAME_VERSION, SIGNED_FRAME_VERSION),
    "fernet": (FERNET_FRAME_VERSION, SIGNED_FERNET_FRAME_VERSION),
}
# As many as `frame_events` allows; a decoder stops there. Of a hundred thousand tiny ones a frame
# would take a chart's inbox for a second, and fifteen times its size.
MAX_FRAME_MESSAGES = 10_000
MAX_NETWORK_BYTES = 32
# As long as a routing key and the name of a virtual host may be.
MAX_LABEL_BYTES = 255
# As long as a `node_name` may be.
MAX_NODE_BYTES = 64
# Around what is signed: the headers of msgpack, the node and the signature.
_SIGNED_BYTES = 1 + 5 + (2 + MAX_NODE_BYTES) + (2 + SIGNATURE_BYTES)
# Beyond the messages: the version byte, the seal, the network's name, label, topic, time, the
# headers of msgpack, and a signature, which others may have where this node has none.
FRAME_OVERHEAD_BYTES = (
    1
    + SEAL_OVERHEAD_BYTES
    + (2 + MAX_NETWORK_BYTES)
    + 2 * (2 + MAX_LABEL_BYTES)
    + (9 + 1 + 5)
    + _SIGNED_BYTES
)

T = TypeVar("T", bound=Origin)

# A message is a msgpack array: one of up to 15 fields begins with 0x90 and their number.
_FIELDS = 0x0F
_LONG_ARRAY_HEAD = 0xDC
# What the fields of an extended message may take beyond the limit for events, which is not the
# program's and must not count against `max_event_bytes`: a trace of 55 characters; then an address,
# an id, and the routes.
_EXTENSION_BYTES = (0, 64, 3 * 1024)
ONE_DESTINATION: Final = (
    "cannot be sent in frames of before 0.2, which know one topic for each chart, and no requests: "
    "set old_frames to 'read' once all nodes are of 0.2"
)
"""Why `OldFramesError`."""
_encoder = msgspec.msgpack.Encoder()
# Raw leaves the messages undecoded until the network's name is known to be ours.
_frame_decoder = msgspec.msgpack.Decoder(tuple[str, str, str, EpochSeconds, msgspec.Raw])
_signed_decoder = msgspec.msgpack.Decoder(
    tuple[
        bytes, Name, Annotated[bytes, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]
    ]
)
_old_frame_decoder = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])
_messages_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_NOTHING: Final = msgspec.Raw()
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Allowed(Protocol):
    """The nodes that are heard, and what each may send: `members.Members`."""

    def author(self, node: str, content: bytes, signature: bytes) -> Author:
        """Return who has signed; raises the `FrameError` that says why not."""

    def check(
        self, author: Author, network: str, topic: str | None, messages: Sequence[Origin]
    ) -> None:
        """Raise the `FrameError` that says why its author may not send this."""


class _Version(Generic[T]):
    """The network's name in frames of one version, and the decoder of their messages."""

    def __init__(self, network: str, message_type: type[T]) -> None:
        if not 0 < len(network.encode()) <= MAX_NETWORK_BYTES:
            raise ValueError(f"a network's name has 1 to {MAX_NETWORK_BYTES} bytes")
        self.network = network
        self.decoder: msgspec.msgpack.Decoder[list[T]] = msgspec.msgpack.Decoder(
            Annotated[list[message_type], Meta(min_length=1, max_length=MAX_FRAME_MESSAGES)]  # type: ignore[valid-type]
        )

    def named(self, network: str) -> _Version[T]:
        """The same messages under another name."""
        other = copy.copy(self)
        other.network = network
        return other


class _Contents(NamedTuple, Generic[T]):
    """What is sealed; of a frame of the first versions neither label, nor topic, nor time."""

    version: _Version[T]
    label: str
    topic: str
    sealed_at: float
    messages: msgspec.Raw
    author: Author | None
    """Who has signed it; None when that was not to be known."""


class Arrived(NamedTuple, Generic[T]):
    """What came in a frame."""

    messages: list[T]
    """Not to be changed: those who receive the same frame have the same list."""
    sure: bool
    """Whether it is surely new; False: only its sender can say so (see `Freshness`)."""
    opened: Opened[T] | None = None
    """What is shared with others who receive the frame; None where there are none."""


class Codec(Generic[T]):
    """Seals and opens the frames of one network; safe to use from several threads.

    `label` tells meshes apart that share keys. `extended` are messages with further fields, which
    have defaults, after those of the first version; each has those of the one before it, too, and
    nodes of before 0.2 know the first alone. `old_frames` says whether frames of the first
    versions are taken from others, and whether they are written, for those who read no other.

    A `signer` signs each frame; with `members` only frames of those are taken, and of what they may
    send. Without `members` signatures are not looked at.
    """

    def __init__(
        self,
        network: str,
        keyring: KeyRing,
        message_type: type[T],
        *,
        max_frame_bytes: int,
        max_event_bytes: int | None = None,
        extended: Sequence[type[T]] = (),
        label: str = "",
        old_frames: OldFrames = "refuse",
        signer: Signer | None = None,
        members: Allowed | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._keyring = keyring
        self._label = label
        self._old_frames = old_frames
        self._signer = signer
        self._members = members
        self._wall = wall
        kinds = (message_type, *extended)
        self._fields = kinds[-1].__struct_fields__
        # Only a message of one level has so many fields, since `encode` leaves none out.
        self._levels = {len(kind.__struct_fields__): level for level, kind in enumerate(kinds)}
        self._max_frame_bytes = max_frame_bytes
        self._most_bytes = max_frame_bytes - FRAME_OVERHEAD_BYTES
        self._max_message_bytes = min(self._most_bytes, max_event_bytes or max_frame_bytes)
        # Each level has its own, since the smallest is read fastest.
        self._decoders = [msgspec.msgpack.Decoder(kind) for kind in kinds]
        self.queues: WeakSet[Freshness] = WeakSet()
        """By their `Freshness`, those of this process that may bring the same frames."""
        self._recent: RecentlyOpened[T] = RecentlyOpened()
        # Named in the sealed part too, since the version byte stands outside of it.
        levels = [_Version(network, kind) for kind in kinds]
        self._network = network
        self._versions: dict[int, tuple[_Version[T], ...]] = {
            number: tuple(
                each.named(f"{network}.{number}{'+' * level}") for level, each in enumerate(levels)
            )
            for number in range(FERNET_FRAME_VERSION, SIGNED_FRAME_VERSION + 1)
        }
        self._versions[FIRST_FRAME_VERSION] = (levels[0],)
        if extended:
            more = levels[1].named(f"{network}.{EXTENDED_FRAME_VERSION}")
            self._versions[EXTENDED_FRAME_VERSION] = (more,)

    def encode(self, message: T) -> bytes:
        """Encode one message, not sealed yet; refuse what every receiver would refuse.

        Raises `PayloadError` for a field, `EventTooLargeError` for the size, `OldFramesError`.
        """
        try:
            # msgspec checks lengths and ranges only when it decodes, so what was encoded is read
            # back here. The program hears of it, and not the log of every receiver.
            encoded = _encoder.encode(message)
            level = self._level(encoded)
            self._decoders[level].decode(encoded)
        except (msgspec.ValidationError, UnicodeEncodeError, OverflowError) as error:
            raise PayloadError(f"cannot be sent: {self._named(error)}") from None
        if level or len(encoded) > self._max_message_bytes:
            self._check(level, len(encoded))
        # A copy: msgspec returns its buffer, of which up to a third may be unused, and what is sent
        # is kept for long.
        return bytes(memoryview(encoded))

    def decoded(self, encoded: Sequence[bytes]) -> list[T]:
        """Return the messages that `encode` has made these of."""
        return [self._decoders[self._level(each)].decode(each) for each in encoded]

    def seal(self, encoded: Sequence[bytes], topic: str) -> bytes:
        """Seal a frame of one or more encoded messages, to be published under this topic now.

        Raises `OversizeFrameError`.
        """
        if not 0 < len(encoded) <= MAX_FRAME_MESSAGES:
            raise ValueError(f"a frame carries 1 to {MAX_FRAME_MESSAGES:,} messages")
        # Raw is copied as it is: what `encode` has made is not encoded again.
        messages = [msgspec.Raw(message) for message in encoded]
        level = max(map(self._level, encoded))
        if self._old_frames == "write":
            number = EXTENDED_FRAME_VERSION if level else FIRST_FRAME_VERSION
            content = _encoder.encode((self._versions[number][-1].network, messages))
        else:
            number = _WRITTEN[self._keyring.cipher][self._signer is not None]
            network = self._versions[number][level].network
            content = _encoder.encode((network, self._label, topic, self._wall(), messages))
            if self._signer:
                signature = self._signer.sign(content)
                content = _encoder.encode((content, self._signer.node, signature))
        frame = self._keyring.seal(content, number)
        # As at the receiver: every node with our settings would reject one that is too large.
        self._check_size(frame)
        return frame

    @property
    def primary(self) -> str:
        """The fingerprint of the key that seals now."""
        return self._keyring.primary

    def unseal(self, frame: bytes) -> list[bytes]:
        """Return what `seal` was given; raises a `FrameError` if this ring did not seal it."""
        contents = self._contents(frame, None, self._keyring.open_again)
        return [bytes(message) for message in _messages_decoder.decode(contents.messages)]

    def open(self, frame: bytes) -> list[T]:
        """Return the messages of a frame that was kept, wherever and whenever it was sealed.

        Raises the `FrameError` that says why it is refused.
        """
        return self._messages(self._contents(frame, self._members), None)

    def open_again(self, frame: bytes) -> list[T]:
        """Return the messages of a frame that was sealed or opened here before.

        Also if its key is removed by now. Its signature was checked then.
        """
        return self._messages(self._contents(frame, None, self._keyring.open_again), None)

    def receive(self, frame: bytes, topic: str, freshness: Freshness, *, again: bool) -> Arrived[T]:
        """Return the messages of a frame that came under a topic; `again` as in `Freshness`.

        Where there are several `queues` a frame that comes by them is opened once. Raises the
        `FrameError` that says why it is refused.
        """
        # Read first: of a change meanwhile the next queue hears.
        keys, shared = self._keyring.current, len(self.queues) > 1
        opened = self._recent.find(frame, keys) if shared else None
        contents = opened.contents if opened else self._contents(frame, self._members)
        if frame[0] <= EXTENDED_FRAME_VERSION:
            if self._old_frames == "refuse":
                raise FrameVersionError(
                    f"a frame of version {frame[0]}, which does not say where and when it belongs: "
                    "its sender is of a release before 0.2, or writes for such (old_frames)"
                )
            return Arrived(self._messages(contents, topic), sure=True)
        if contents.label != self._label:
            raise WrongMeshError(
                f"a frame of the mesh {contents.label!r}, and this one is {self._label!r}; all "
                "nodes of a mesh have one mesh_label"
            )
        if contents.topic != topic:
            raise WrongTopicError(
                f"a frame for the topic {contents.topic!r} came under another one, {topic!r}"
            )
        if not freshness.is_for(topic):
            raise WrongTopicError(
                f"a frame for the topic {topic!r} came to a queue that is not for it: somebody has "
                "bound the queue to more than its node did"
            )
        if opened is None:
            messages = self._messages(contents, topic)
            # Nothing is kept of what was read but the messages.
            opened = Opened(frame, keys, contents._replace(messages=_NOTHING), messages)
            if shared:
                self._recent.keep(opened)
        sure = freshness.admit(contents.sealed_at, node=opened.messages[0].node, again=again)
        return Arrived(opened.messages, sure=sure, opened=opened if shared else None)

    def _messages(self, contents: _Contents[T], topic: str | None) -> list[T]:
        try:
            messages = contents.version.decoder.decode(contents.messages)
        except _DECODING_ERRORS as error:
            raise _malformed(error) from None
        if self._members and contents.author:
            self._members.check(contents.author, self._network, topic, messages)
        return messages

    def _contents(
        self,
        frame: bytes,
        members: Allowed | None,
        unlock: Callable[[bytes], bytes] | None = None,
    ) -> _Contents[T]:
        self._check_size(frame)
        # Cheap, and before the seal is opened: until then any program may have made these bytes.
        versions = self._versions_of(frame)
        opened = (unlock or self._keyring.open)(frame)
        plain, author = self._signed(frame[0], opened, members)
        try:
            if frame[0] > EXTENDED_FRAME_VERSION:
                network, label, topic, sealed_at, messages = _frame_decoder.decode(plain)
            else:
                network, messages = _old_frame_decoder.decode(plain)
                label, topic, sealed_at = "", "", 0.0
        except _DECODING_ERRORS as error:
            raise _malformed(error) from None
        # All networks may have one key, so a frame of another one opens, too.
        for version in versions:
            if network == version.network:
                return _Contents(version, label, topic, sealed_at, messages, author)
        raise WrongNetworkError(f"a frame of network {network[:MAX_NETWORK_BYTES]!r}")

    def _signed(
        self, version: int, plain: bytes, members: Allowed | None
    ) -> tuple[bytes, Author | None]:
        """Return what is signed, or all where nothing is; and by which of the members."""
        if version not in _SIGNED_VERSIONS:
            if members is not None:
                raise UnsignedError(
                    "a frame without a signature: its sender has no node_identity, or somebody "
                    "has the key of the mesh alone"
                )
            return plain, None
        try:
            content, node, signature = _signed_decoder.decode(plain)
        except _DECODING_ERRORS as error:
            raise _malformed(error) from None
        return content, None if members is None else members.author(node, content, signature)

    def _check(self, level: int, size_bytes: int) -> None:
        if level > 1 and self._old_frames == "write":
            raise OldFramesError(ONE_DESTINATION)
        limit = min(self._max_message_bytes + _EXTENSION_BYTES[level], self._most_bytes)
        if size_bytes > limit:
            raise EventTooLargeError(
                f"encoded to {size_bytes:,} bytes, and the limit is "
                f"{limit:,}: send less, or raise max_event_bytes"
            )

    def _level(self, encoded: bytes) -> int:
        head = encoded[0]
        # Up to 15 fields stand in the first byte, more in the two behind it; none has 256.
        fields = encoded[2] if head == _LONG_ARRAY_HEAD else head & _FIELDS
        # A message of another kind is read as the largest, which refuses it.
        return self._levels.get(fields, len(self._levels) - 1)

    def _versions_of(self, frame: bytes) -> Sequence[_Version[T]]:
        if not frame:
            raise MalformedFrameError("an empty frame")
        if versions := self._versions.get(frame[0]):
            return versions
        known = ", ".join(str(number) for number in sorted(self._versions))
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
