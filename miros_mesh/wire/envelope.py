"""What travels in frames: events, snoop records, messages of repair, states of nodes.

They travel as msgpack arrays in field order, so the order of the fields is part of the wire
format: a new field means a new frame version. What every field of the first version says can be
said with frames of that version, so that nodes of both go on talking.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

# A receiver refuses what exceeds these, so that no member can fill the memory of others.
# 255 is the longest name that AMQP carries.
MAX_NAME = 255
MAX_INCARNATION = 64
MAX_SEQUENCE = 2**63 - 1
MAX_RANGES = 1000
MAX_LISTED = 1000
MAX_DETAIL = 1000
MAX_KEYS = 64
MAX_ROUTES = 32
MAX_ROUTES_BYTES = 2000
"""Of the names in the routes of an event; a sender names fewer where these are long."""
MAX_ASKED = 16
"""Of a chart's open requests that its node's status names."""
MAX_HEARD = 256
"""What one question of repair says of what charts hear."""
# What the envelope of an event that is sent again adds to its payload at most, beside addresses:
# names, numbers, ids. Repair fills messages by it.
KEPT_ENVELOPE_BYTES = 2048
# With addresses and routes. Each network takes frames that are larger by so much.
ENVELOPE_BYTES = 5 * 1024

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
StateName = Annotated[str, Meta(max_length=MAX_NAME)]
Incarnation = Annotated[str, Meta(min_length=1, max_length=MAX_INCARNATION)]
SequenceNumber = Annotated[int, Meta(ge=1, le=MAX_SEQUENCE)]
Amount = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]
ListeningSeconds = Annotated[float, Meta(ge=0, le=1e12)]
EventId = Annotated[
    str, Meta(min_length=1, max_length=MAX_INCARNATION + MAX_NAME + len(f"//{MAX_SEQUENCE}"))
]
Routes = Annotated[tuple[tuple[Name, SequenceNumber], ...], Meta(max_length=MAX_ROUTES)]
Ranges = Annotated[tuple[tuple[SequenceNumber, SequenceNumber], ...], Meta(max_length=MAX_RANGES)]
# The W3C trace context: version, trace, span, flags.
TraceParent = Annotated[str, Meta(pattern=r"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")]
# Ten years: who wants an event for longer wants no limit.
MAX_TTL_S = 315_360_000.0
TtlSeconds = Annotated[float, Meta(gt=0, le=MAX_TTL_S)]
# As long as a heartbeat may be.
Interval = Annotated[float, Meta(gt=0, le=65_535)]
# Ends with the year 9998, so that a reader in any time zone can turn it into a datetime.
EpochSeconds = Annotated[float, Meta(ge=0, le=253_370_764_800)]
RepairKind: TypeAlias = Literal["ask", "again", "gone", "vouch", "ours"]
RESEAL_AFTER_S: Final = 5.0
"""A publisher seals again what it has sealed before so many seconds: the seal tells the time of
publication, not that of a connection which was lost since."""
# How the incarnation of such an event begins; a node's own is of hexadecimal digits.
SENT_AGAIN: Final = "again-"
# Signal names that begin so belong to the library and never reach a chart.
RESERVED_PREFIX: Final = "miros_mesh."


# gc=False, here and below: messages hold no cycles, and thousands wait in outboxes.
class Origin(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The sender of a message, and the message's place in that chart's stream on its network."""

    node: Name
    """The node of who has sent it."""
    chart: Name
    """The chart, or the client, that has sent it."""
    incarnation: Incarnation
    """New at each start of the node."""
    sequence: SequenceNumber
    """Its number among the messages of the chart on the network, from 1."""

    @property
    def id(self) -> str:
        """The id of the message, unique on its network. It is not sent: its parts are."""
        return f"{self.incarnation}/{self.chart}/{self.sequence}"


class Envelope(Origin, frozen=True):
    """One event on the mesh; `payload` is what the payload serializer made of it."""

    signal: Name
    payload: bytes
    # By the sender's clock, which may be ahead of ours or behind it.
    sent_at: EpochSeconds
    cause: EventId | None = None

    @property
    def first_sent(self) -> tuple[tuple[str, str], int] | None:
        """The stream and number it first had, of one that is sent again since a broker refused it.

        The broker may have stored it all the same, before the connection broke on which it was to
        confirm that. None for any other event.
        """
        if not self.incarnation.startswith(SENT_AGAIN) or self.cause is None:
            return None
        incarnation, _, rest = self.cause.partition("/")
        chart, _, number = rest.rpartition("/")
        return ((incarnation, chart), int(number)) if number.isdecimal() else None

    def __repr__(self) -> str:
        """Without the payload, which belongs to the application and in no log."""
        return (
            f"Envelope(id={self.id!r}, node={self.node!r}, signal={self.signal!r}, "
            f"payload=<{len(self.payload)} bytes>, sent_at={self.sent_at!r}, cause={self.cause!r})"
        )


class TracedEnvelope(Envelope, frozen=True):
    """An event with a trace, followed across processes; needs frames of the extended version."""

    trace: TraceParent | None = None

    def untraced(self) -> Envelope:
        """The same event for frames of the first version."""
        return Envelope(*(getattr(self, name) for name in Envelope.__struct_fields__))


class RoutedEnvelope(TracedEnvelope, frozen=True):
    """An event of a chart with several destinations, or one that is wanted to be answered.

    A destination is a topic, or the address of one chart as `address.direct_topic` writes it. A
    chart has one line of numbers for all of them, and who hears some of them has to know which
    numbers were for others: so an event says where those before it went.
    """

    to: StateName = ""
    """The chart that it is for, as node/chart; empty when it is for all who hear its topic."""
    ttl_s: TtlSeconds | None = None
    """Older than that it is not to be handled."""
    wants_reply: bool = False
    reply_to: EventId | None = None
    """The event that it answers."""
    base: Amount | None = None
    """Up to this number, `routes` says nothing; None when the one before it went where it goes."""
    routes: Routes = ()
    """Where the numbers between `base` and its own went, each with the last one that went there.

    Of an event for one chart only the topics: what was for other charts was not for that one.
    """

    @classmethod
    def of(cls, event: Envelope) -> RoutedEnvelope:
        """Return an event as one that says no more."""
        return cls(*msgspec.structs.astuple(event))

    def kept(self) -> Envelope:
        """The same event for whom it is kept: without its trace, and without its routes.

        Those are of use to who hears the events before it.
        """
        if not (self.to or self.ttl_s or self.wants_reply or self.reply_to):
            return self.untraced()
        return msgspec.structs.replace(self, trace=None, base=None, routes=())


if TYPE_CHECKING:
    AnyEnvelope: TypeAlias = Envelope
else:
    # msgspec reads each of the three as this one: what it lacks has its default.
    AnyEnvelope = RoutedEnvelope


def kept(event: Envelope) -> Envelope:
    """Return an event as letters and answers of repair have it, with no field that they lack."""
    if isinstance(event, RoutedEnvelope):
        return event.kept()
    return event.untraced() if isinstance(event, TracedEnvelope) else event


class RepairMessage(Origin, frozen=True):
    """What nodes say to each other about missing events; never seen by a chart.

    `ask` and `gone` name the numbers of a stream (a chart and its node's incarnation); `again`
    brings events as they were first sent. `vouch` asks how old frames are, by their marks, and
    `ours` says it of those that are its own, in microseconds and one more.
    """

    # Not a name: a node that was started anew has asked for nothing, and has nothing to send again.
    to: Incarnation
    kind: RepairKind
    stream: tuple[Incarnation, Name]
    numbers: Ranges = ()
    events: tuple[Envelope, ...] = ()


class ListenerRepair(RepairMessage, frozen=True):
    """A message of repair for one chart of a node, and for no other; needs extended frames.

    A chart that has heard an old event first asks so: what was sent before it listened is not owed.
    """

    listener: StateName = ""
    """The chart that asks."""
    listening_s: ListeningSeconds = 0.0
    """For how long it had listened when it asked; the answer repeats it."""
    before: Amount = 0
    """In an answer: what was sent up to this number was sent before that."""


class RoutedRepair(ListenerRepair, frozen=True):
    """A message of repair between nodes that know of destinations.

    A question of charts that hear some of them, and an answer that has no event for others. A
    message that is for no one chart names none.
    """

    hears: Annotated[tuple[Name, ...], Meta(max_length=MAX_HEARD)] = ()
    """The patterns of topics that charts hear who ask, and their addresses; in an answer with
    `others` the same."""
    others: Ranges = ()
    """In an answer: numbers that were not for who hears those."""
    routed: tuple[tuple[Name, AnyEnvelope], ...] = ()
    """In an answer: events, each with its destination; `events` has none."""


class PeerStatus(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False
):
    """A broker that the node sends to."""

    name: Name
    state: Literal["up", "down", "blocked"]


class ChartStatus(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False
):
    """A chart that takes part in a snoop network, at the moment of its node's status."""

    name: Name
    state: StateName
    handled: Amount
    """How many events it has handled since it started."""
    last_signal: StateName
    """Empty before the first."""
    dead: bool


class NodeStatus(Origin, frozen=True):
    """How a node is, sent once a second on the network `pulse` with the keys of `snoop_trace`."""

    time: EpochSeconds
    consuming: bool
    outbox_events: Amount
    peers: Annotated[tuple[PeerStatus, ...], Meta(max_length=MAX_LISTED)]
    charts: Annotated[tuple[ChartStatus, ...], Meta(max_length=MAX_LISTED)]
    # In the last one of a node that ends in order: what watches need not wait for the next.
    leaving: bool = False


class OpenRequest(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False
):
    """What a chart has asked, and waits to be answered."""

    event: EventId
    signal: Name
    waited_s: ListeningSeconds


class ChartWork(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What a chart has to do, at the moment of its node's status, whether it takes part or not."""

    chart: Name
    waiting: Amount
    """How many events wait in its queue, and received ones for a place in it."""
    event: Annotated[str, Meta(max_length=MAX_INCARNATION + MAX_NAME + len(f"//{MAX_SEQUENCE}"))]
    """The id of the one that it is handling; empty while it rests."""
    same_for_s: ListeningSeconds
    """For how long at least it has been the same one; 0 for less than a second."""
    asks: Annotated[tuple[OpenRequest, ...], Meta(max_length=MAX_ASKED)] = ()
    """The oldest first."""
    deaf: StateName = ""
    """Why its home broker lets it consume no queue; empty when it does."""
    group: StateName = ""


class WorkingStatus(NodeStatus, frozen=True):
    """A status that also says what the node's charts have to do; needs extended frames."""

    work: Annotated[tuple[ChartWork, ...], Meta(max_length=MAX_LISTED)] = ()


class RollEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A chart, the topic that it sends under, and what became of it."""

    name: Name
    topic: StateName
    state: Literal["alive", "died", "stopped"]


class NodeRoll(Origin, frozen=True):
    """Which charts a node has: all of them, or those of which something is new.

    Of a chart that is missing in a `whole` roll it says that it has stopped.
    """

    started: EpochSeconds
    """When this process of the node's name began, by its clock."""
    next_s: Interval
    """After so many seconds the next whole one follows."""
    whole: bool
    charts: Annotated[tuple[RollEntry, ...], Meta(max_length=MAX_LISTED)]


class HeldKey(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A key that a node has, by its fingerprint."""

    id: Annotated[str, Meta(pattern=r"\A[0-9a-f]{8}\Z")]
    idle_s: ListeningSeconds | None
    """How long ago it sealed or opened a frame there; None if it never did."""


class HeldKeys(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The keys that a node has for a network: the one that seals first, then all that open."""

    network: Name
    used_since: EpochSeconds
    """Since when the first one seals, by the node's clock."""
    keys: Annotated[tuple[HeldKey, ...], Meta(min_length=1, max_length=MAX_KEYS)]


class KeyedRoll(NodeRoll, frozen=True):
    """A roll that also names the keys of the node, and holds none; needs extended frames."""

    keys: Annotated[tuple[HeldKeys, ...], Meta(max_length=MAX_KEYS)] = ()


class GroupedRoll(KeyedRoll, frozen=True):
    """A roll with charts of groups that share their work by keys; needs extended frames."""

    groups: Annotated[tuple[tuple[Name, Name], ...], Meta(max_length=MAX_LISTED)] = ()
    """Of those charts: its name, and the queue of its group."""


class Filed(Origin, frozen=True):
    """An event of a group, filed by its key; `node` and `chart` are who has filed it."""

    event: AnyEnvelope
    """As it came."""
    topic: StateName
    """What it came under."""
    again: bool = False
    """Whether it may have been filed before."""


class SnoopRecord(Origin, frozen=True):
    """One step of a chart at work: a transition, a line of its spy, or a scribbled note."""

    kind: Literal["trace", "spy", "scribble"]
    """Which of the three."""
    time: EpochSeconds
    """When it was, in seconds since 1970 by the clock of its node."""
    text: str
    """The line as miros writes it, or the note."""
    signal: Name | None = None
    """That led to a transition; None for what is none, as the next two."""
    from_state: StateName | None = None
    """The state before it."""
    to_state: StateName | None = None
    """The state that it ended in."""
    event_id: EventId | None = None
    """The id of the event that the chart handled."""
    cause: EventId | None = None
    """The id of the event whose handling, here or elsewhere, led to that one; None without one."""


class DeadLetter(Origin, frozen=True):
    """What a chart or a broker refused, with its reason; `node` and `chart` are who set it aside.

    It is kept sealed, so that only who has the key of the mesh can read any of it.
    """

    time: EpochSeconds
    """When it was set aside, by the clock of who did it."""
    reason: StateName
    """One of few words, as in the hook `dropped` or of a `LinkError`."""
    detail: Annotated[str, Meta(max_length=MAX_DETAIL)]
    """What the broker said, or the type of a handler's exception; never a payload."""
    exchange: StateName
    routing_key: StateName
    """The topic that it was sent under; empty where that is not known."""
    queue: StateName
    """Of the chart that refused it; empty when a broker refused what a chart sent."""
    deliveries: Amount
    """How often it was handled in vain; 0 when it never was."""
    size_bytes: Amount
    """Of the event, or of the frame when that could not be opened."""
    digest: Annotated[str, Meta(max_length=64)]
    """SHA-256 of those bytes, in hexadecimal digits."""
    event: AnyEnvelope | None = None
    """The event, as it was first sent; None when the frame could not be opened."""
    frame: bytes = b""
    """The frame as it came, when it could not be opened; empty when it was too large to keep."""
    peer: Annotated[str, Meta(max_length=MAX_DETAIL)] = ""
    """The broker that refused it, by its address without password; empty when a chart did."""


class ChartMarks(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False
):
    """How far a chart has come that hears by a topic."""

    chart: Name
    topic: Name
    # Of each stream the number up to which all was handled.
    streams: Annotated[
        tuple[tuple[Incarnation, Name, Amount], ...],
        Meta(max_length=MAX_LISTED),
    ]


class MarkNote(Origin, frozen=True):
    """What a process of a node name tells the next one of how far its charts have come."""

    time: EpochSeconds
    charts: Annotated[tuple[ChartMarks, ...], Meta(max_length=MAX_LISTED)]


class Death(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """An event that has ended a chart: how often, and the type of the last exception."""

    event: EventId
    times: Amount
    error: StateName


class DeadChart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What ended a chart, and what it had handled of frames that come again."""

    chart: Name
    deaths: Annotated[tuple[Death, ...], Meta(max_length=MAX_LISTED)]
    # Of each stream the numbers from the first to the last.
    handled: Annotated[
        tuple[tuple[Incarnation, Name, SequenceNumber, SequenceNumber], ...],
        Meta(max_length=MAX_RANGES),
    ]


class DeathNote(Origin, frozen=True):
    """What a process of a node name tells the next one of the deaths of its charts."""

    time: EpochSeconds
    # None in the note with which a process asks for those that lie at the broker.
    charts: Annotated[tuple[DeadChart, ...], Meta(max_length=MAX_LISTED)]
