"""Networks, envelopes and sealed frames for tests of what is put together from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from miros_mesh.errors import LinkError
from miros_mesh.networks.frame import Frame
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.letters.home import LARGEST_LETTER_BYTES, Letters, Place
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import Network
from miros_mesh.networks.order.routes import Routes
from miros_mesh.observer import Observer
from miros_mesh.wire.codec import Codec
from miros_mesh.wire.envelope import (
    DeadLetter,
    Envelope,
    RoutedEnvelope,
    SnoopRecord,
    TracedEnvelope,
)
from miros_mesh.wire.identity import Identity
from miros_mesh.wire.keyring import KeyRing, generate_key
from miros_mesh.wire.serializer import MsgpackSerializer
from support.ports_in_hand import TOPIC, Shelf

KEY = generate_key()
PLACE = Place("listener", "queue of listener")
FRAME_LIMIT = 100_000
OURS = Identity("here", "0urs")
THEIRS = Identity("there", "the1rs")

letter_codec = Codec(
    "letters", KeyRing([KEY]), DeadLetter, max_frame_bytes=LARGEST_LETTER_BYTES + 1_000
)
mesh_codec = Codec(
    "mesh",
    KeyRing([KEY]),
    Envelope,
    max_frame_bytes=FRAME_LIMIT,
    extended=(TracedEnvelope, RoutedEnvelope),
)
trace_codec = Codec("snoop_trace", KeyRing([KEY]), SnoopRecord, max_frame_bytes=FRAME_LIMIT)
serializer = MsgpackSerializer()


@dataclass
class Joiner:
    """Seals for frames by joining, and remembers what it was asked and told."""

    name: str = "mesh"
    exchange: str = "miros_mesh.v1.mesh"
    expendable: bool = False
    sealed: list[list[bytes]] = field(default_factory=list)
    published: list[bytes] = field(default_factory=list)
    refusals: list[tuple[Frame, str, LinkError]] = field(default_factory=list)
    decisions: list[tuple[Frame, bool]] = field(default_factory=list)

    key = "one"

    def seal(self, encoded: Sequence[bytes], topic: str) -> bytes:
        self.sealed.append(list(encoded))
        return b"|".join(encoded)

    def publishing(self, sealed: bytes) -> None:
        self.published.append(sealed)

    def unseal(self, sealed: bytes) -> list[bytes]:
        return sealed.split(b"|")

    def refused(self, frame: Frame, broker: str, error: LinkError) -> None:
        self.refusals.append((frame, broker, error))

    def decided(self, frame: Frame, *, heard: bool) -> None:
        self.decisions.append((frame, heard))


def mesh_network(observer: Observer | None = None, *, frame_events: int = 3) -> Network[Envelope]:
    return Network(
        "mesh",
        mesh_codec,
        observer or Observer(),
        frame_events=frame_events,
        frame_bytes=FRAME_LIMIT // 2,
        routes=Routes(),
    )


def trace_network(
    observer: Observer | None = None, *, expendable: bool = False
) -> Network[SnoopRecord]:
    return Network(
        "snoop_trace",
        trace_codec,
        observer or Observer(),
        frame_events=3,
        frame_bytes=1_000,
        expendable=expendable,
    )


class LetterShelf:
    """Dead letters of our node, and the home broker that is to keep them."""

    def __init__(self, observer: Observer | None = None) -> None:
        observer = observer or Observer()
        self.shelf = Shelf()
        network = Network("letters", letter_codec, observer, frame_events=3, frame_bytes=1_000)
        network.attach(self.shelf)
        self.letters = Letters(OURS)
        self.letters.attach(network, observer)

    @property
    def kept(self) -> list[DeadLetter]:
        """What it was sent, in order."""
        return [each for parcel in self.shelf.parcels for each in letter_codec.open(parcel.seal())]

    def confirm(self) -> None:
        """Confirm everything that it was sent."""
        for parcel in list(self.shelf.parcels):
            parcel.stored("broker", True)


def mesh(observer: Observer | None = None, *, dedup_window: int = 64) -> Mesh:
    """Our node's mesh."""
    observer = observer or Observer()
    network = mesh_network(observer)
    return Mesh(network, OURS, serializer, observer, dedup_window=dedup_window)


def inbox() -> Inbox:
    """The inbox of a chart of our node that has no room."""
    return Inbox(mesh(), PLACE, LetterShelf().letters, room=lambda: 0, post=lambda _: None)


def envelope(
    sequence: int = 1,
    signal: str = "ping",
    payload: Any = None,
    *,
    chart: str = "talker",
    sender: Identity = THEIRS,
    sent_at: float = 0.0,
) -> Envelope:
    data = serializer.dumps(payload)
    return Envelope(sender.node, chart, sender.incarnation, sequence, signal, data, sent_at)


def frame_of(*envelopes: Envelope) -> bytes:
    return mesh_codec.seal([mesh_codec.encode(each) for each in envelopes], TOPIC)


def record(text: str = "e->ping() a->b", **changes: Any) -> SnoopRecord:
    facts: dict[str, Any] = {
        "node": THEIRS.node,
        "chart": "talker",
        "incarnation": THEIRS.incarnation,
        "sequence": 1,
        "kind": "trace",
        "time": 1_525_440_209.177_773,
        "text": text,
    }
    return SnoopRecord(**facts | changes)


def snoop_frame_of(*records: SnoopRecord) -> bytes:
    return trace_codec.seal([trace_codec.encode(each) for each in records], TOPIC)
