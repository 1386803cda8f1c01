"""Frames: a round trip changes nothing, and whatever is not exactly ours has a named error."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.address import Hearing
from miros_mesh.errors import (
    EventTooLargeError,
    FrameError,
    FrameVersionError,
    MalformedFrameError,
    OldFrameError,
    OldFramesError,
    OversizeFrameError,
    PayloadError,
    UndecryptableFrameError,
    WrongMeshError,
    WrongNetworkError,
    WrongTopicError,
)
from miros_mesh.wire.ciphers import Cipher
from miros_mesh.wire.codec import (
    EXTENDED_FRAME_VERSION,
    FIRST_FRAME_VERSION,
    FRAME_OVERHEAD_BYTES,
    FRAME_VERSION,
    MAX_FRAME_MESSAGES,
    SIGNED_FRAME_VERSION,
    Arrived,
    Codec,
    OldFrames,
)
from miros_mesh.wire.envelope import (
    MAX_ROUTES,
    MAX_ROUTES_BYTES,
    MAX_SEQUENCE,
    DeadLetter,
    Envelope,
    ListenerRepair,
    RepairMessage,
    RoutedEnvelope,
    RoutedRepair,
    SnoopRecord,
    TracedEnvelope,
    kept,
)
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.keyring import KeyRing, generate_key
from miros_mesh.wire.serializer import MsgpackSerializer

KEY = generate_key()
RING = KeyRing([KEY])
LIMIT = 4096
mesh = Codec("mesh", RING, Envelope, max_frame_bytes=LIMIT)
trace = Codec("snoop_trace", RING, SnoopRecord, max_frame_bytes=LIMIT)

ENVELOPE = Envelope("node-1", "chart_a", "6f1c", 7, "to_inner", b"\xc0", 1.5, "6f1c/chart_b/3")
FRAME = mesh.seal([mesh.encode(ENVELOPE)], "topic")

names = st.text(min_size=1, max_size=20)
moments = st.floats(0, 253_370_764_800)
origin = {
    "node": names,
    "chart": names,
    "incarnation": names,
    "sequence": st.integers(1, 2**63 - 1),
}
envelopes = st.builds(
    Envelope,
    **origin,
    signal=names,
    payload=st.binary(max_size=100),
    sent_at=moments,
    cause=st.none() | names,
)
records = st.builds(
    SnoopRecord,
    **origin,
    kind=st.sampled_from(["trace", "spy", "scribble"]),
    time=moments,
    text=st.text(max_size=100),
    signal=st.none() | names,
    from_state=st.none() | st.text(max_size=20),
    to_state=st.none() | st.text(max_size=20),
    event_id=st.none() | names,
    cause=st.none() | names,
)


@given(st.lists(envelopes, min_size=1, max_size=5))
def test_envelopes_come_back_equal_and_in_order(messages: list[Envelope]) -> None:
    frame = mesh.seal([mesh.encode(message) for message in messages], "topic")

    assert mesh.open(frame) == messages


@given(st.lists(records, min_size=1, max_size=5))
def test_snoop_records_come_back_equal_and_in_order(messages: list[SnoopRecord]) -> None:
    frame = trace.seal([trace.encode(message) for message in messages], "topic")

    assert trace.open(frame) == messages


def test_an_encoded_message_takes_no_more_memory_than_it_has_bytes() -> None:
    # What the encoder returns may have room for half as much again, and is kept for long.
    message = Envelope("node", "chart", "0", 1, "signal", bytes(100_000), 0.0)
    codec = Codec("mesh", RING, Envelope, max_frame_bytes=2**24)
    codec.encode(message)

    tracemalloc.start()
    try:
        encoded = [codec.encode(message) for _ in range(10)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken < 1.05 * sum(map(len, encoded))


def test_a_frame_carries_as_many_messages_as_its_header_can_count() -> None:
    codec = Codec("mesh", RING, Envelope, max_frame_bytes=2**24)
    encoded = codec.encode(ENVELOPE)

    assert (
        len(codec.open(codec.seal([encoded] * MAX_FRAME_MESSAGES, "topic"))) == MAX_FRAME_MESSAGES
    )


def test_a_frame_written_by_the_first_release_can_be_read_for_ever() -> None:
    key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    frame = bytes.fromhex(
        "0180000000006b01009939d673576c653fd073a06755416ee24fb59099c72bf0b2ccde8534b87495ab832e1aa0"
        "1b540d2f7e960bd45a58f8d56ca6883f50b79aeb43f2a2f3b13abb0dde4f68aaa8fb92bdf4dab285629d2ea788"
        "44e269601b8b58911a23135dcd782f27198d957cab500920947a9e8485951e1072c018dfff613bc08f7dddc0f1"
        "3ad4e0"
    )

    [envelope] = Codec("mesh", KeyRing([key]), Envelope, max_frame_bytes=LIMIT).open(frame)

    assert envelope == Envelope(
        node="node-1",
        chart="chart_a",
        incarnation="6f1c0d9be2a34c5d",
        sequence=1,
        signal="other_to_inner",
        payload=envelope.payload,
        sent_at=1525440563.177773,
        cause=None,
    )
    assert MsgpackSerializer().loads(envelope.payload) == {"any": "json"}


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    changed = bytearray(FRAME)
    changed[position] ^= change

    with pytest.raises(FrameError):
        mesh.open(bytes(changed))


@pytest.mark.parametrize("bit", range(8))
def test_any_changed_bit_is_refused(bit: int) -> None:
    for position in range(len(FRAME)):
        changed = bytearray(FRAME)
        changed[position] ^= 1 << bit

        with pytest.raises((UndecryptableFrameError, FrameVersionError, MalformedFrameError)):
            mesh.open(bytes(changed))


def test_a_frame_that_was_cut_short_is_refused() -> None:
    for length in range(len(FRAME)):
        with pytest.raises((MalformedFrameError, UndecryptableFrameError)):
            mesh.open(FRAME[:length])


@given(st.binary(min_size=1, max_size=20))
def test_bytes_added_to_a_frame_are_refused(tail: bytes) -> None:
    with pytest.raises(UndecryptableFrameError):
        mesh.open(FRAME + tail)


@given(st.binary(max_size=300))
def test_random_bytes_are_refused(frame: bytes) -> None:
    with pytest.raises(FrameError):
        mesh.open(frame)


@given(st.binary(max_size=300))
def test_random_bytes_of_this_version_are_refused(rest: bytes) -> None:
    with pytest.raises(UndecryptableFrameError):
        mesh.open(bytes([FRAME_VERSION]) + rest)


@given(st.binary(max_size=300))
def test_random_content_with_the_right_key_is_refused(content: bytes) -> None:
    with pytest.raises((MalformedFrameError, WrongNetworkError)):
        mesh.open(_frame(content))


@given(st.recursive(st.none() | st.integers(0, 9) | st.text() | st.binary(), st.lists))
def test_random_messages_with_the_right_key_are_refused(messages: Any) -> None:
    with pytest.raises(MalformedFrameError):
        mesh.open(_frame(msgspec.msgpack.encode(["mesh", messages])))


def test_an_empty_frame_is_malformed() -> None:
    with pytest.raises(MalformedFrameError, match="empty"):
        mesh.open(b"")


@pytest.mark.parametrize("version", [0, SIGNED_FRAME_VERSION + 1, ord("g"), 255])
def test_a_frame_of_another_version_is_refused_before_any_key_is_tried(version: int) -> None:
    stranger = Codec("mesh", KeyRing([generate_key()]), Envelope, max_frame_bytes=LIMIT)

    with pytest.raises(FrameVersionError, match=f"version {version}, and this library reads 1, 3"):
        stranger.open(bytes([version]) + FRAME[1:])


def test_a_frame_of_another_network_is_refused_although_the_key_is_the_same() -> None:
    record = SnoopRecord("node-1", "chart_a", "6f1c", 1, "spy", 1.5, "START")
    frame = trace.seal([trace.encode(record)], "topic")

    with pytest.raises(WrongNetworkError, match="'snoop_trace.5'"):
        mesh.open(frame)


def test_a_frame_of_another_key_is_refused() -> None:
    stranger = Codec("mesh", KeyRing([generate_key()]), Envelope, max_frame_bytes=LIMIT)

    with pytest.raises(UndecryptableFrameError):
        stranger.open(FRAME)


def test_a_frame_of_an_older_key_opens_while_the_ring_holds_it() -> None:
    ring = KeyRing([KEY])
    codec = Codec("mesh", ring, Envelope, max_frame_bytes=LIMIT)
    new = generate_key()

    ring.add(new)
    ring.use(new)
    assert codec.open(FRAME) == [ENVELOPE]

    ring.remove(KEY)
    with pytest.raises(UndecryptableFrameError):
        codec.open(FRAME)


def test_an_oversize_frame_is_refused_before_anything_else() -> None:
    with pytest.raises(OversizeFrameError, match="4,097 bytes, and the limit is 4,096"):
        mesh.open(b"\xff" * (LIMIT + 1))


def test_a_frame_of_exactly_the_limit_opens() -> None:
    codec = Codec("mesh", RING, Envelope, max_frame_bytes=len(FRAME))

    assert codec.open(FRAME) == [ENVELOPE]


FIELDS = msgspec.structs.astuple(ENVELOPE)


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([], id="no message at all"),
        pytest.param(FIELDS, id="a message where a list of messages belongs"),
        pytest.param([FIELDS[:6]], id="too few fields"),
        pytest.param([(*FIELDS, None)], id="too many fields"),
        pytest.param([dict(zip(Envelope.__struct_fields__, FIELDS, strict=True))], id="a map"),
        pytest.param([(1, *FIELDS[1:])], id="a node that is no text"),
        pytest.param([("", *FIELDS[1:])], id="an empty node"),
        pytest.param([("n" * 256, *FIELDS[1:])], id="a node of 256 characters"),
        pytest.param([(*FIELDS[:3], 0, *FIELDS[4:])], id="sequence number 0"),
        pytest.param([(*FIELDS[:3], True, *FIELDS[4:])], id="a bool as a number"),
        pytest.param([(*FIELDS[:3], "7", *FIELDS[4:])], id="a number as text"),
        pytest.param([(*FIELDS[:5], "text", *FIELDS[6:])], id="a payload that is no bytes"),
        pytest.param([(*FIELDS[:6], float("nan"), None)], id="a time that is no number"),
        pytest.param([(*FIELDS[:6], 1e300, None)], id="a time that no calendar has"),
        pytest.param([(*FIELDS[:6], -1.0, None)], id="a time before the epoch"),
        pytest.param([FIELDS, "x"], id="one good message and one bad"),
    ],
)
def test_content_that_this_version_does_not_write_is_malformed(messages: Any) -> None:
    content = msgspec.msgpack.encode(["mesh", messages])

    with pytest.raises(MalformedFrameError):
        mesh.open(_frame(content))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(msgspec.msgpack.encode(["mesh", [FIELDS]]) + b"\x00", id="trailing bytes"),
        pytest.param(msgspec.msgpack.encode(["mesh", [FIELDS]])[:-1], id="missing bytes"),
        pytest.param(msgspec.msgpack.encode(["mesh"]), id="no list of messages"),
        pytest.param(msgspec.msgpack.encode(["mesh", [FIELDS], 1]), id="a third part"),
        pytest.param(b"\x92\xa1\xff\x90", id="a network that is no UTF-8"),
        pytest.param(b"\x92\xa4mesh\xdd\xff\xff\xff\xff", id="a list longer than the frame"),
        pytest.param(b"\x92\xa4mesh" + b"\x91" * 100_000 + b"\xc0", id="nested without end"),
        pytest.param(b"\x92\xa4mesh\x91\xd4\x05a", id="an extension type"),
    ],
)
def test_content_that_is_no_frame_is_malformed(content: bytes) -> None:
    codec = Codec("mesh", RING, Envelope, max_frame_bytes=2**20)

    with pytest.raises(MalformedFrameError):
        codec.open(_frame(content))


def test_a_refusal_never_shows_the_payload() -> None:
    bad = (*FIELDS[:5], b"hunter2", "not a time", None)

    with pytest.raises(MalformedFrameError) as raised:
        mesh.open(_frame(msgspec.msgpack.encode(["mesh", [bad]])))

    assert "hunter2" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("signal", "s" * 256, "signal: Expected `str` of length <= 255"),
        ("signal", "", "signal: Expected `str` of length >= 1"),
        ("signal", "\ud800", "surrogates not allowed"),
        ("node", None, "node: Expected `str`"),
        ("sequence", 0, "sequence: Expected `int` >= 1"),
        ("sequence", 2**63, "sequence: Expected `int` <= "),
        ("sequence", 2**64, "can't serialize ints"),
        ("sent_at", float("nan"), "sent_at: Expected `float` >= 0"),
        ("cause", "c" * 1000, "cause: Expected `str` of length <= 340"),
    ],
)
def test_what_every_receiver_would_refuse_is_refused_by_the_sender(
    field: str, value: Any, said: str
) -> None:
    with pytest.raises(PayloadError) as raised:
        mesh.encode(msgspec.structs.replace(ENVELOPE, **{field: value}))

    assert str(raised.value).startswith("cannot be sent: ")
    assert said.lower() in str(raised.value).lower()


def test_a_message_of_more_fields_than_a_short_array_has_travels() -> None:
    letter = DeadLetter(
        *("node", "chart", "6f1c", 1, 1.5, "handler", "ValueError", "exchange", "topic", "queue"),
        *(1, 1, "digest", ENVELOPE),
    )
    codec = Codec("letters", RING, DeadLetter, max_frame_bytes=LIMIT)

    frame = codec.seal([codec.encode(letter)], "topic")

    assert len(DeadLetter.__struct_fields__) > 15
    (opened,) = codec.open(frame)
    assert opened.event is not None
    assert (opened.chart, opened.event.id) == ("chart", ENVELOPE.id)


def test_a_message_of_another_kind_is_refused_by_the_sender() -> None:
    record = SnoopRecord("node-1", "chart_a", "6f1c", 1, "spy", 1.5, "START")

    with pytest.raises(PayloadError):
        mesh.encode(record)  # type: ignore[arg-type]


def test_the_longest_id_fits_into_a_cause() -> None:
    longest = Envelope("n", "c" * 255, "i" * 64, 2**63 - 1, "s", b"", 1.5)

    mesh.encode(msgspec.structs.replace(longest, cause=longest.id))


@given(st.integers(0, 4000))
def test_what_the_sender_encodes_fits_into_a_frame(payload_bytes: int) -> None:
    message = msgspec.structs.replace(ENVELOPE, payload=bytes(payload_bytes))
    try:
        encoded = mesh.encode(message)
    except EventTooLargeError:
        assert payload_bytes > LIMIT - FRAME_OVERHEAD_BYTES - 100
        return
    assert mesh.open(mesh.seal([encoded], "topic")) == [message]


def test_an_event_over_its_own_limit_is_refused_with_both_sizes() -> None:
    codec = Codec("mesh", RING, Envelope, max_frame_bytes=LIMIT, max_event_bytes=100)

    with pytest.raises(EventTooLargeError, match=r"1,0\d\d bytes, and the limit is 100: .*max_ev"):
        codec.encode(msgspec.structs.replace(ENVELOPE, payload=bytes(1000)))


def test_the_overhead_of_a_frame_is_never_more_than_stated() -> None:
    codec = Codec("n" * 32, RING, Envelope, max_frame_bytes=2**24)
    encoded = codec.encode(ENVELOPE)

    for count in (1, 2, 15, 16, 17, 100, MAX_FRAME_MESSAGES):
        overhead = len(codec.seal([encoded] * count, "topic")) - count * len(encoded)
        assert overhead <= FRAME_OVERHEAD_BYTES


def test_a_frame_that_no_receiver_would_take_is_not_sealed() -> None:
    encoded = mesh.encode(msgspec.structs.replace(ENVELOPE, payload=bytes(3000)))

    with pytest.raises(OversizeFrameError):
        mesh.seal([encoded, encoded], "topic")


@pytest.mark.parametrize("count", [0, MAX_FRAME_MESSAGES + 1])
def test_a_frame_of_too_few_or_too_many_messages_is_not_sealed(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 10,000 messages"):
        mesh.seal([b"\xc0"] * count, "topic")


@pytest.mark.parametrize("name", ["", "n" * 33])
def test_a_network_has_a_short_name(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 32 bytes"):
        Codec(name, RING, Envelope, max_frame_bytes=LIMIT)


# The extended version


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACED = TracedEnvelope(*msgspec.structs.astuple(ENVELOPE), trace=TRACE)
tracing = Codec("mesh", RING, Envelope, max_frame_bytes=LIMIT, extended=(TracedEnvelope,))
for_old_nodes = Codec(
    "mesh",
    RING,
    Envelope,
    max_frame_bytes=LIMIT,
    extended=(TracedEnvelope,),
    old_frames="write",
)


def test_a_frame_without_a_trace_is_as_one_who_knows_none_writes_it() -> None:
    frame = tracing.seal([tracing.encode(ENVELOPE)], "topic")

    assert frame[0] == FRAME_VERSION
    assert len(frame) == len(FRAME)
    assert mesh.open(frame) == tracing.open(frame) == [ENVELOPE]


def test_traced_and_other_events_share_a_frame() -> None:
    frame = tracing.seal([tracing.encode(each) for each in (ENVELOPE, TRACED)], "topic")

    first, second = tracing.open(frame)
    assert isinstance(first, TracedEnvelope)
    assert (first.untraced(), first.trace) == (ENVELOPE, None)
    assert second == TRACED


def test_a_traced_frame_of_the_first_release_that_traces_can_be_read_for_ever() -> None:
    key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    frame = bytes.fromhex(
        "0280000000006b0157075ad61b23f6778bea8867484dbfc41b84c9bb33962994c80ea3c2de25a8f46462afc739"
        "7f40e3dee083162e87645e7a553caa71cdba399c8d18c7888e3fef38760de3360e9c51f6f9735d7b651c44e3c1"
        "8fb9c95f9e2c7211076ba413fb1bf4e62b966cad5726d15de47b324ac2c8750a9591e60ef49591ee0ec47f8769"
        "2b6bc0c702cabb4957f286ec692a9f13cc4c694304e7f2443f5bd398e722c7729552d54cf030de86f4ac2b33ec"
        "daf806f54bccdbf63a3dbfb6f7b9c072d2b875c425ca"
    )
    codec = Codec(
        "mesh", KeyRing([key]), Envelope, max_frame_bytes=LIMIT, extended=(TracedEnvelope,)
    )

    [envelope] = codec.open(frame)

    assert isinstance(envelope, TracedEnvelope)
    assert envelope.trace == TRACE
    assert envelope.signal == "other_to_inner"
    assert MsgpackSerializer().loads(envelope.payload) == {"any": "json"}


def test_a_repair_of_one_chart_of_the_first_release_that_has_it_can_be_read_for_ever() -> None:
    key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    frame = bytes.fromhex(
        "0280000000006b0bd6fbe79007d46998077278217dcd8eb0c6e0c18bf1c51ba0f117fa103b7a90949a6677cf24"
        "9aaa403f4989f1f5872ed457ccbfa849bff1bb6a0228699fb2e8dd81bb656a7c99bbe0e45f79bf539c1f3c5f91"
        "73c42213abde5795bf482307e9f3815f33e56b5abc1135a6527223cc1db6ae6f59548b418225380cca0f23967f"
        "44f12b3c2d649cce1b1e87c7de7e963f3bdacc828c9e42228f0a21e61332e393e0ef886532fdf125a0dfe0464b"
        "21127ac9b13a2fcbb5a08069fcf33dc2619ce5d47591eec7dad035b1376340a9208ed11120d76923ed714cc2d1"
        "d5498ad59753ea6388"
    )
    codec = repairs(KeyRing([key]))

    [message] = codec.open(frame)

    stream = ("6f1c0d9be2a34c5d", "chart_a")
    assert message == ListenerRepair(
        *("node-1", "node-1", "6f1c0d9be2a34c5d", 3, "0urs", "again", stream, ((5, 5),)),
        events=message.events,
        listener="chart_b",
        listening_s=1.5,
        before=4,
    )
    assert [event.sequence for event in message.events] == [7]


def test_what_is_said_of_one_chart_comes_back_as_that() -> None:
    codec = repairs(RING)
    plain = RepairMessage("n", "n", "f00", 1, "0urs", "ask", ("0urs", "chart"), ((1, 2),))
    of_one = ListenerRepair(*msgspec.structs.astuple(plain), "chart", 1.5)

    frames = [codec.seal([codec.encode(each)], "topic") for each in (plain, of_one)]

    assert [codec.open(frame) for frame in frames] == [[plain], [of_one]]


def test_a_trace_makes_no_event_too_large() -> None:
    limit = len(mesh.encode(ENVELOPE))
    codec = Codec(
        "mesh",
        RING,
        Envelope,
        max_frame_bytes=LIMIT,
        max_event_bytes=limit,
        extended=(TracedEnvelope,),
    )
    larger = msgspec.structs.replace(TRACED, payload=TRACED.payload + b"123456789")

    assert codec.open(codec.seal([codec.encode(TRACED)], "topic")) == [TRACED]
    with pytest.raises(EventTooLargeError):
        codec.encode(larger)


def test_who_knows_no_traces_refuses_a_traced_frame() -> None:
    frame = tracing.seal([tracing.encode(TRACED)], "topic")

    with pytest.raises(WrongNetworkError, match=r"'mesh\.5\+'"):
        mesh.open(frame)


def test_who_knows_more_versions_says_so() -> None:
    with pytest.raises(
        FrameVersionError, match="version 7, and this library reads 1, 2, 3, 4, 5, 6"
    ):
        tracing.open(bytes([7]) + FRAME[1:])


VERSIONS = range(FIRST_FRAME_VERSION, SIGNED_FRAME_VERSION + 1)
REFUSALS = (UndecryptableFrameError, MalformedFrameError, WrongNetworkError)


@pytest.mark.parametrize("cipher", get_args(Cipher))
@pytest.mark.parametrize("message", [ENVELOPE, TRACED])
def test_a_frame_cannot_be_passed_off_as_one_of_another_version(
    message: Envelope, cipher: Cipher
) -> None:
    writer = Codec(
        "mesh",
        KeyRing([KEY], cipher=cipher),
        Envelope,
        max_frame_bytes=LIMIT,
        extended=(TracedEnvelope,),
    )
    frame = writer.seal([writer.encode(message)], "topic")

    assert tracing.open(frame) == [message]
    for other in set(VERSIONS) - {frame[0]}:
        with pytest.raises(REFUSALS):
            tracing.open(bytes([other]) + frame[1:])


@pytest.mark.parametrize("message", [ENVELOPE, TRACED])
def test_an_old_frame_cannot_be_passed_off_as_one_of_another_version(message: Envelope) -> None:
    frame = for_old_nodes.seal([for_old_nodes.encode(message)], "topic")

    for other in set(VERSIONS) - {frame[0]}:
        with pytest.raises(REFUSALS):
            tracing.open(bytes([other]) + frame[1:])


def test_for_old_nodes_frames_are_as_those_write_them() -> None:
    plain = for_old_nodes.seal([for_old_nodes.encode(ENVELOPE)], "topic")
    traced = for_old_nodes.seal([for_old_nodes.encode(TRACED)], "topic")

    assert (plain[0], traced[0]) == (FIRST_FRAME_VERSION, EXTENDED_FRAME_VERSION)
    assert msgspec.msgpack.decode(RING.open(plain))[0] == "mesh"
    assert msgspec.msgpack.decode(RING.open(traced))[0] == "mesh.2"


# The version with destinations


ROUTED = msgspec.structs.replace(
    RoutedEnvelope.of(TRACED),
    to="node-2/chart_b",
    ttl_s=1.5,
    wants_reply=True,
    reply_to="0urs/chart_b/3",
    base=0,
    routes=(("a.b", 1),),
)
routing = Codec(
    "mesh", RING, Envelope, max_frame_bytes=LIMIT, extended=(TracedEnvelope, RoutedEnvelope)
)


def test_what_says_nothing_of_destinations_is_written_as_before_there_were_any() -> None:
    assert routing.encode(ENVELOPE) == mesh.encode(ENVELOPE)
    assert routing.encode(TRACED) == tracing.encode(TRACED)
    for message, reader in ((ENVELOPE, mesh), (TRACED, tracing)):
        assert reader.open(routing.seal([routing.encode(message)], "topic")) == [message]


def test_a_frame_is_named_by_the_most_that_an_event_in_it_says() -> None:
    def name(*events: Envelope) -> str:
        frame = routing.seal([routing.encode(each) for each in events], "topic")
        named: str = msgspec.msgpack.decode(RING.open(frame))[0]
        return named

    assert name(ENVELOPE) == "mesh.5"
    assert name(TRACED, ENVELOPE) == "mesh.5+"
    assert name(ENVELOPE, ROUTED, TRACED) == "mesh.5++"


def test_events_with_and_without_destinations_share_a_frame() -> None:
    encoded = [routing.encode(each) for each in (ENVELOPE, TRACED, ROUTED)]

    first, second, third = routing.open(routing.seal(encoded, "topic"))

    assert [kept(each) for each in (first, second)] == [ENVELOPE, ENVELOPE]
    assert isinstance(first, RoutedEnvelope)
    # It says nothing of those before it
    assert first.base is None
    assert third == ROUTED


def test_who_knows_no_destinations_refuses_a_frame_with_them() -> None:
    frame = routing.seal([routing.encode(ROUTED)], "topic")

    for earlier in (mesh, tracing):
        with pytest.raises(WrongNetworkError, match=r"'mesh\.5\+\+'"):
            earlier.open(frame)


def test_for_old_nodes_nothing_is_written_that_they_cannot_read() -> None:
    codec = Codec(
        "mesh",
        RING,
        Envelope,
        max_frame_bytes=LIMIT,
        extended=(TracedEnvelope, RoutedEnvelope),
        old_frames="write",
    )

    with pytest.raises(OldFramesError, match="old_frames"):
        codec.encode(ROUTED)
    assert codec.seal([codec.encode(TRACED)], "topic")[0] == EXTENDED_FRAME_VERSION


def test_an_event_is_kept_without_its_trace_and_what_it_said_of_others() -> None:
    plain = msgspec.structs.replace(RoutedEnvelope.of(TRACED), base=0, routes=(("a", 1),))

    assert kept(plain) == kept(TRACED) == kept(ENVELOPE) == ENVELOPE
    assert kept(ROUTED) == msgspec.structs.replace(ROUTED, trace=None, base=None, routes=())


def test_destinations_make_no_event_too_large() -> None:
    """They are not the program's; however many there are, and however long."""
    largest = Codec(
        "mesh",
        RING,
        Envelope,
        max_frame_bytes=LIMIT,
        max_event_bytes=len(mesh.encode(ENVELOPE)),
        extended=(TracedEnvelope, RoutedEnvelope),
    )
    name = "n" * (MAX_ROUTES_BYTES // MAX_ROUTES)
    routes = tuple((name, MAX_SEQUENCE) for _ in range(MAX_ROUTES))
    long = {"to": "n" * 255, "reply_to": "n" * 300, "base": MAX_SEQUENCE, "routes": routes}
    said = msgspec.structs.replace(ROUTED, **long)

    assert largest.open(largest.seal([largest.encode(said)], "topic")) == [said]


def test_a_message_of_more_fields_than_a_short_array_has_is_sealed_too() -> None:
    """Dead letters have so many, and no further versions."""
    codec = Codec("letters", RING, DeadLetter, max_frame_bytes=LIMIT)
    letter = DeadLetter("n", "c", "f00", 1, 1.5, "payload", "", "e", "k", "q", 1, 2, "0" * 64)
    assert len(DeadLetter.__struct_fields__) > 15

    assert codec.open(codec.seal([codec.encode(letter)], "topic")) == [letter]


def test_a_frame_of_the_first_release_with_destinations_can_be_read_for_ever() -> None:
    key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    frame = bytes.fromhex(
        "0380000000006b0c5d4406791b7e17f63d9d78056c73bbd05e15fb0e2d6b2b5cec3a50bb370ff6b0a507687685"
        "8039ce0ee19b8ccca42dd92d889b90adca8803d99554528281d72b0b6d21fffc970f911fd92a42cc942c5b163a"
        "bf6ecf2e2337c8d6f80ce4c761de1bfdc8292d00c74d656e0750cd77cfaea58fc20bd1895982bf0db82dead370"
        "951df565271d85399e818d4c8cda2914a0eb9ae7f72ac7e93574897f976b6c703c7fe6d8d379435838c7c8043e"
        "c3dfd69e32e45fd9e64b488a4565dd4aef64891a31e86b3b8f4ff91bcf447436b0a1a8d649546677f360fd20f6"
        "8054e1d9110b525b77"
    )
    extended = TracedEnvelope, RoutedEnvelope
    codec = Codec("mesh", KeyRing([key]), Envelope, max_frame_bytes=LIMIT, extended=extended)

    [envelope] = codec.open(frame)

    assert isinstance(envelope, RoutedEnvelope)
    assert (envelope.sequence, envelope.signal) == (7, "other_to_inner")
    assert (envelope.to, envelope.ttl_s) == ("node-2/chart_b", 1.5)
    assert (envelope.wants_reply, envelope.reply_to) == (True, "0urs/chart_b/3")
    assert (envelope.base, envelope.routes) == (4, (("a.b", 6),))
    assert MsgpackSerializer().loads(envelope.payload) == {"any": "json"}


def test_a_repair_of_the_first_release_with_destinations_can_be_read_for_ever() -> None:
    key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    frame = bytes.fromhex(
        "0380000000006b0c5d44c8c61024e737d725cf69b299482ebda94e77a13e1a3021c9f1566997269754b30d53ca"
        "5e6266eadf95889dd1110e6223ad796860830ab4301824ccbeaf3a169a99a36799c39a639e8a324f15da2acd7c"
        "6b43205297fee79aed8d71b5311ced687d95f07eb89792d8fb7b9276b3d80e4b04f1190492b3348c3e9d0ca8e1"
        "562247a63d4d03c8c9fb3e72df3c6cc9dc3f053ae2cbfb4fd202ea944b12bdf93c3fbee7929f200ed674679fbe"
        "7611e2b52493d312f7c10f88b2fa0cb87f2af84686d33072766629b86f889f11cc8e37a02d9d44f4caf21ed351"
        "9cac6835d8873e6f80216e587bbeeaa629c210193c8491e1b0d90256900214bab0278570060dea125d6148cbc9"
        "4ef405f2fa476200713351702f33d7a4be1cf83c89d5c0c278dd910a4afd44dbc529f5ef6fd304f5e4a00bafab"
        "70669d3cad38094813c0b6db393ada2f0067b66296d64d3a0dc37c9833be75ec3a7a96b8bd50dc16fa26f5d532"
        "ad065d53b09cc39650ea82ea201dab7a1eb1"
    )

    [message] = repairs(KeyRing([key])).open(frame)

    assert isinstance(message, RoutedRepair)
    assert (message.listener, message.hears, message.others) == ("chart_b", ("a.#",), ((6, 6),))
    (where, routed), (elsewhere, plain) = message.routed
    assert (where, elsewhere) == ("a.b", "a.c")
    assert isinstance(routed, RoutedEnvelope)
    assert (routed.to, routed.sequence, routed.base) == ("node-2/chart_b", 7, None)
    assert kept(plain) == Envelope(
        "node-1", "chart_a", "6f1c0d9be2a34c5d", 8, "plain", b"\xc0", 1.5
    )


# On arrival


def arriving(label: str = "ours", old_frames: OldFrames = "refuse") -> Codec[Envelope]:
    return Codec(
        "mesh",
        RING,
        Envelope,
        max_frame_bytes=LIMIT,
        extended=(TracedEnvelope,),
        label=label,
        old_frames=old_frames,
    )


def receive(codec: Codec[Envelope], frame: bytes, topic: str = "a.b") -> Arrived[Envelope]:
    return codec.receive(frame, topic, Freshness(), again=False)


def test_what_comes_under_its_topic_and_label_is_taken() -> None:
    ours = arriving()
    freshness = Freshness()
    frame = ours.seal([ours.encode(ENVELOPE)], "a.b")

    assert ours.receive(frame, "a.b", freshness, again=False)[:2] == ([ENVELOPE], True)


def test_what_comes_under_another_topic_is_refused() -> None:
    ours = arriving()

    with pytest.raises(WrongTopicError, match=r"topic 'a\.b' came under another one, 'a\.c'"):
        receive(ours, ours.seal([ours.encode(ENVELOPE)], "a.b"), "a.c")


def test_what_comes_to_a_queue_that_is_not_for_its_topic_is_refused() -> None:
    """As when somebody binds it to more topics."""
    ours, freshness = arriving(), Freshness(is_for=Hearing(("a.c", "*.*.d")))
    frame = ours.seal([ours.encode(ENVELOPE)], "a.b")

    with pytest.raises(WrongTopicError, match=r"topic 'a\.b' came to a queue that is not for it"):
        ours.receive(frame, "a.b", freshness, again=False)

    for topic in ("a.c", "a.b.d"):
        frame = ours.seal([ours.encode(ENVELOPE)], topic)
        assert ours.receive(frame, topic, freshness, again=False).messages == [ENVELOPE]


def test_what_comes_from_another_mesh_is_refused_although_the_key_is_the_same() -> None:
    theirs = arriving("theirs")

    with pytest.raises(WrongMeshError, match="mesh 'theirs', and this one is 'ours'.*mesh_label"):
        receive(arriving(), theirs.seal([theirs.encode(ENVELOPE)], "a.b"))


def test_what_is_old_is_refused_with_its_sender() -> None:
    ours = arriving()
    ours._wall = lambda: time.time() - 3600.0

    with pytest.raises(OldFrameError, match=r"node 'node-1' was sealed 3,\d00 s before"):
        receive(ours, ours.seal([ours.encode(ENVELOPE)], "a.b"))


@pytest.mark.parametrize("message", [ENVELOPE, TRACED])
def test_old_frames_are_taken_by_who_is_told_to(message: Envelope) -> None:
    frame = for_old_nodes.seal([for_old_nodes.encode(message)], "topic")

    with pytest.raises(FrameVersionError, match="old_frames"):
        receive(arriving(), frame)
    for switch in ("read", "write"):
        assert receive(arriving(old_frames=switch), frame)[:2] == ([message], True)


@pytest.mark.parametrize("trace", ["", "00", TRACE + "\n", TRACE.upper(), "ff" + TRACE])
def test_a_trace_that_is_none_is_refused_on_both_sides(trace: str) -> None:
    wrong = TracedEnvelope(*msgspec.structs.astuple(ENVELOPE), trace=trace)
    content = msgspec.msgpack.encode(("mesh.2", [wrong]))

    with pytest.raises(PayloadError, match="trace"):
        tracing.encode(wrong)
    with pytest.raises(MalformedFrameError):
        tracing.open(RING.seal(content, EXTENDED_FRAME_VERSION))


def repairs(ring: KeyRing) -> Codec[RepairMessage]:
    """The codec of messages between nodes."""
    return Codec(
        "repair",
        ring,
        RepairMessage,
        max_frame_bytes=LIMIT,
        extended=(ListenerRepair, RoutedRepair),
    )


def _frame(content: bytes) -> bytes:
    """What somebody with our key and bad intentions can make."""
    return RING.seal(content, FIRST_FRAME_VERSION)


@given(st.lists(envelopes, min_size=1, max_size=5))
def test_what_was_sealed_can_be_taken_out_and_sealed_again(sent: list[Envelope]) -> None:
    encoded = [mesh.encode(each) for each in sent]

    out = mesh.unseal(mesh.seal(encoded, "topic"))

    assert out == encoded
    assert mesh.open(mesh.seal(out, "topic")) == sent


def test_only_what_this_ring_has_sealed_is_taken_out() -> None:
    with pytest.raises(UndecryptableFrameError):
        mesh.unseal(KeyRing([generate_key()]).seal(b"anything", FRAME_VERSION))
