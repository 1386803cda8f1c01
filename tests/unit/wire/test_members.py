"""Signed frames: taken from the nodes that are allowed, and only what each of them may send."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from miros_mesh.address import Hearing, direct_topic
from miros_mesh.errors import (
    BadSignatureError,
    FrameError,
    IdentityError,
    MalformedFrameError,
    NotPermittedError,
    UnknownNodeError,
    UnsignedError,
    WrongNetworkError,
    WrongNodeError,
)
from miros_mesh.wire.codec import (
    FRAME_OVERHEAD_BYTES,
    FRAME_VERSION,
    MAX_LABEL_BYTES,
    MAX_NODE_BYTES,
    SIGNED_FRAME_VERSION,
    Codec,
)
from miros_mesh.wire.envelope import (
    Envelope,
    Filed,
    ListenerRepair,
    NodeRoll,
    NodeStatus,
    Origin,
    RepairMessage,
    RoutedEnvelope,
    RoutedRepair,
    SnoopRecord,
    TracedEnvelope,
    WorkingStatus,
)
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.keyring import KeyRing, generate_key
from miros_mesh.wire.members import AllowedNode, Members
from miros_mesh.wire.signing import Signer, generate_identity

RING = KeyRing([generate_key()])
LIMIT = 8192
TOPIC = "press.north"
PRESS = Signer("press", generate_identity())
SAW = Signer("saw", generate_identity())
OPERATOR = Signer("operator", generate_identity())
TYPES: dict[str, tuple[type[Any], ...]] = {
    "mesh": (Envelope, TracedEnvelope, RoutedEnvelope),
    "repair": (RepairMessage, ListenerRepair, RoutedRepair),
    "snoop_trace": (SnoopRecord,),
    "snoop_spy": (SnoopRecord,),
    "pulse": (NodeStatus, WorkingStatus),
    "roll": (NodeRoll,),
    "group": (Filed,),
}


def allowed(*signers: Signer, **limits: Any) -> AllowedNode:
    return AllowedNode(tuple(each.public_key for each in signers), **limits)


ALL = Members(
    {"press": allowed(PRESS), "saw": allowed(SAW), "operator": allowed(OPERATOR, may_put_back=True)}
)


def codec(
    signer: Signer | None = None, members: Members | None = None, network: str = "mesh"
) -> Codec[Any]:
    message, *extended = TYPES[network]
    return Codec(
        network,
        RING,
        message,
        max_frame_bytes=LIMIT,
        extended=extended,
        label="factory",
        signer=signer,
        members=members,
    )


def origin(signer: Signer, node: str | None = None) -> tuple[str, str, str, int]:
    return node or signer.node, "chart", "0123456789ab" + signer.mark, 1


def event(signer: Signer, signal: str = "pressed", node: str | None = None) -> Envelope:
    return Envelope(*origin(signer, node), signal, b"\xc0", 1.5)


def filed_event(signer: Signer, signal: str = "pressed", node: str | None = None) -> Envelope:
    """As it is read from a frame in which another message has it."""
    return RoutedEnvelope.of(event(signer, signal, node))


def sealed(signer: Signer | None, *messages: Origin, network: str = "mesh") -> bytes:
    sender = codec(signer, network=network)
    return sender.seal([sender.encode(each) for each in messages], TOPIC)


def receive(frame: bytes, members: Members | None, network: str = "mesh") -> list[Any]:
    receiver = codec(members=members, network=network)
    return receiver.receive(frame, TOPIC, Freshness(), again=False).messages


def limited(**limits: Any) -> Members:
    return Members({"press": allowed(PRESS, **limits), "saw": allowed(SAW)})


def test_a_signed_frame_of_an_allowed_node_is_taken() -> None:
    said = event(PRESS)
    frame = sealed(PRESS, said)

    assert frame[0] == SIGNED_FRAME_VERSION
    assert receive(frame, ALL) == [said]


def test_a_traced_event_is_taken_from_a_signed_frame() -> None:
    trace = f"00-{1:032x}-{2:016x}-01"
    said = TracedEnvelope(*msgspec.structs.astuple(event(PRESS)), trace=trace)
    assert receive(sealed(PRESS, said), ALL) == [said]


def test_who_has_no_list_takes_signed_and_unsigned_frames() -> None:
    said = event(PRESS)
    stranger = Signer("press", generate_identity())

    assert receive(sealed(PRESS, said), None) == [said]
    assert receive(sealed(stranger, said), None) == [said]
    assert sealed(None, said)[0] == FRAME_VERSION
    assert receive(sealed(None, said), None) == [said]


@pytest.mark.parametrize(
    ("signer", "error"),
    [
        pytest.param(None, UnsignedError, id="the mesh key alone"),
        pytest.param(Signer("thief", generate_identity()), UnknownNodeError, id="unknown name"),
        pytest.param(Signer("press", generate_identity()), BadSignatureError, id="another key"),
        pytest.param(SAW, WrongNodeError, id="a listed node under another's name"),
    ],
)
@pytest.mark.parametrize("network", TYPES)
def test_nobody_else_speaks_under_the_name_of_a_node(
    network: str, signer: Signer | None, error: type[FrameError]
) -> None:
    said: Origin = {
        "mesh": event(PRESS),
        "repair": RepairMessage(*origin(PRESS), "0ther", "gone", (origin(PRESS)[2], "chart")),
        "pulse": NodeStatus(*origin(PRESS), 1.5, True, 0, (), ()),
        "roll": NodeRoll(*origin(PRESS), 1.5, 5.0, True, ()),
        "group": Filed(*origin(PRESS), filed_event(SAW), "topic"),
    }.get(network) or SnoopRecord(*origin(PRESS), "spy", 1.5, "text")

    assert receive(sealed(PRESS, said, network=network), ALL, network) == [said]
    with pytest.raises(error):
        receive(sealed(signer, said, network=network), ALL, network)


def test_one_message_of_another_node_is_enough_to_refuse_a_frame() -> None:
    with pytest.raises(WrongNodeError):
        receive(sealed(SAW, event(SAW), event(SAW, node="press")), ALL)


def test_a_listed_node_takes_no_place_in_the_stream_of_another() -> None:
    # Under its own name, with the incarnation of the other
    stream = event(PRESS, node="saw")
    with pytest.raises(WrongNodeError):
        receive(sealed(SAW, stream), ALL)


def test_an_answer_of_repair_has_events_of_its_own_node_alone() -> None:
    answer = RepairMessage(
        *origin(SAW), "0ther", "again", (origin(SAW)[2], "chart"), (), (event(PRESS),)
    )
    with pytest.raises(WrongNodeError):
        receive(sealed(SAW, answer, network="repair"), ALL, "repair")


@pytest.mark.parametrize(
    ("filed", "members", "error"),
    [
        (filed_event(PRESS, node="thief"), ALL, WrongNodeError),
        (filed_event(PRESS, "stop"), limited(signals=("pressed",)), NotPermittedError),
    ],
)
def test_who_sorts_for_a_group_files_what_allowed_nodes_may_send(
    filed: Envelope, members: Members, error: type[FrameError]
) -> None:
    said = Filed(*origin(SAW), filed_event(PRESS), "topic")
    assert receive(sealed(SAW, said, network="group"), members, "group") == [said]

    frame = sealed(SAW, Filed(*origin(SAW), filed, "topic"), network="group")
    with pytest.raises(error):
        receive(frame, members, "group")


def test_a_signature_taken_from_another_frame_is_none() -> None:
    # Given what a thief with the mesh key can do: open a frame, and put another content into it
    _, node, signature = msgspec.msgpack.decode(RING.open(sealed(PRESS, event(PRESS))))
    content, *_ = msgspec.msgpack.decode(RING.open(sealed(SAW, event(PRESS, "stop"))))
    forged = msgspec.msgpack.encode((content, node, signature))

    with pytest.raises(BadSignatureError):
        receive(RING.seal(forged, SIGNED_FRAME_VERSION), ALL)


def test_a_signed_content_is_none_of_an_unsigned_frame() -> None:
    plain = RING.open(sealed(PRESS, event(PRESS)))
    content, *_ = msgspec.msgpack.decode(plain)

    with pytest.raises(WrongNetworkError):
        receive(RING.seal(content, FRAME_VERSION), None)
    with pytest.raises(MalformedFrameError):
        receive(RING.seal(plain, FRAME_VERSION), None)
    with pytest.raises(MalformedFrameError):
        receive(RING.seal(content, SIGNED_FRAME_VERSION), None)


SEALED = sealed(PRESS, event(PRESS))
OPENED = RING.open(SEALED)


@given(st.data())
def test_any_changed_byte_of_a_signed_frame_is_refused(data: st.DataObject) -> None:
    changed = bytearray(SEALED)
    changed[data.draw(st.integers(0, len(SEALED) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        receive(bytes(changed), ALL)


@given(st.data())
def test_any_byte_that_who_has_the_mesh_key_changes_is_refused(data: st.DataObject) -> None:
    changed = bytearray(OPENED)
    changed[data.draw(st.integers(0, len(OPENED) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FrameError):
        receive(RING.seal(bytes(changed), SIGNED_FRAME_VERSION), ALL)


def test_a_signed_frame_of_the_first_release_that_signs_can_be_read_for_ever() -> None:
    key = b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    public_key = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
    frame = bytes.fromhex(
        "0480000000006b0c2796e27e34de0690f16846704573c09922a9a910d3cd1074bef25a0d1691b597af411c7a2a"
        "f709f816cc809f241cd86f7361d02354700a8805a0093a0ae5d23e9c61bc6f5e3d517099c321ead18008fa1bda"
        "6b44ec7eba09039aa903090489d0789e881e7e99b55b84341774482769ed871f33b80a2ae055104e66565a583f"
        "4c04dfcd37993004b36393496c36fcca35ff5f4af44dbbf5f48a66cdf313b27d0fea0fb30b27433fad3b7436b9"
        "98a2b672bee00cc5217fde8185f9d6b2c0ff4e75106a56300efbd079db43729b29ef449a1dda28870b939fa3c9"
        "135527da71d82801a1"
    )
    receiver = Codec(
        "mesh",
        KeyRing([key]),
        Envelope,
        max_frame_bytes=LIMIT,
        extended=(TracedEnvelope,),
        members=Members({"press": AllowedNode((public_key,))}),
    )
    [said] = receiver.open(frame)
    assert (said.node, said.signal, said.payload) == ("press", "pressed", b"\xc0")


def test_two_keys_are_known_while_one_replaces_the_other() -> None:
    new = Signer("press", generate_identity())
    both = Members({"press": allowed(PRESS, new)})

    for signer in (PRESS, new):
        assert receive(sealed(signer, event(signer)), both) == [event(signer)]
    with pytest.raises(BadSignatureError):
        receive(sealed(PRESS, event(PRESS)), Members({"press": allowed(new)}))


@pytest.mark.parametrize(
    "limits",
    [
        {"topics": ("saw.#", "press.south")},
        {"topics": ()},
        {"signals": frozenset({"released"})},
        {"networks": frozenset({"snoop_trace"})},
    ],
)
def test_what_a_node_may_not_send_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(NotPermittedError):
        receive(sealed(PRESS, event(PRESS)), limited(**limits))


def test_what_a_node_may_send_is_taken() -> None:
    members = limited(
        topics=("saw.*", "press.#"),
        signals=frozenset({"pressed"}),
        networks=frozenset({"mesh"}),
    )
    assert receive(sealed(PRESS, event(PRESS)), members) == [event(PRESS)]


@pytest.mark.parametrize("word", ["goodbye", "beat", "hello"])
def test_the_words_of_the_library_are_allowed_for_every_listed_node(word: str) -> None:
    members = limited(topics=(), signals=frozenset(), networks=frozenset())
    said = event(PRESS, f"miros_mesh.{word}")
    roll = NodeRoll(*origin(PRESS), 1.5, 5.0, True, ())
    ask = RepairMessage(*origin(PRESS), "0ther", "ask", ("0ther", "chart"), ((1, 2),))

    assert receive(sealed(PRESS, said), members) == [said]
    assert receive(sealed(PRESS, roll, network="roll"), members, "roll") == [roll]
    assert receive(sealed(PRESS, ask, network="repair"), members, "repair") == [ask]


def test_an_answer_of_repair_goes_around_no_limit_of_signals() -> None:
    answer = RepairMessage(
        *origin(PRESS), "0ther", "again", (origin(PRESS)[2], "chart"), (), (event(PRESS),)
    )
    frame = sealed(PRESS, answer, network="repair")

    assert receive(frame, limited(), "repair") == [answer]
    with pytest.raises(NotPermittedError):
        receive(frame, limited(signals=frozenset({"released"})), "repair")


def routed(*events: tuple[str, Envelope]) -> RoutedRepair:
    answer = *origin(PRESS), "0ther", "again", (origin(PRESS)[2], "chart")
    return RoutedRepair(*answer, routed=events)


def test_an_answer_of_repair_goes_around_no_limit_of_topics() -> None:
    """A chart that hears several topics of a node is told by it under which it was sent."""
    permitted = routed(("press.north", event(PRESS)))
    elsewhere = routed(("press.north", event(PRESS)), ("saw.north", event(PRESS)))

    members = limited(topics=("press.#",))
    [answer] = receive(sealed(PRESS, permitted, network="repair"), members, "repair")
    assert isinstance(answer, RoutedRepair)
    with pytest.raises(NotPermittedError, match=r"'saw\.north'"):
        receive(sealed(PRESS, elsewhere, network="repair"), members, "repair")


def test_an_answer_of_repair_has_no_event_of_another_node() -> None:
    stolen = routed(("press.north", event(SAW)))
    with pytest.raises(WrongNodeError):
        receive(sealed(PRESS, stolen, network="repair"), ALL, "repair")


def test_the_words_of_the_library_are_allowed_in_an_answer_too() -> None:
    """One that was lost is asked for as an event is."""
    word = event(PRESS, "miros_mesh.beat")
    plain = RepairMessage(
        *origin(PRESS), "0ther", "again", (origin(PRESS)[2], "chart"), (), (word,)
    )
    members = limited(topics=(), signals=frozenset(), networks=frozenset())
    for answer in (plain, routed(("press.north", word))):
        assert len(receive(sealed(PRESS, answer, network="repair"), members, "repair")) == 1


def test_a_node_with_limited_topics_sends_to_the_charts_whose_addresses_match() -> None:
    to_one = replace(RoutedEnvelope.of(event(PRESS)), to="saws/one")
    frame = codec(PRESS).seal([codec(PRESS).encode(to_one)], direct_topic("saws", "one"))

    def receive_it(*topics: str) -> list[Any]:
        receiver, topic = codec(members=limited(topics=topics)), direct_topic("saws", "one")
        return receiver.receive(
            frame, topic, Freshness(is_for=Hearing((topic,))), again=False
        ).messages

    assert receive_it("miros_mesh.to.saws.one") == [to_one]
    assert receive_it("press.#", "miros_mesh.to.saws.*") == [to_one]
    for topics in ("press.#", "miros_mesh.to.saws.two"):
        with pytest.raises(NotPermittedError, match=r"miros_mesh\.to\.saws\.one"):
            receive_it(topics)


@pytest.mark.parametrize(
    ("network", "counts_as"),
    [("snoop_trace", "snoop_trace"), ("pulse", "snoop_trace"), ("snoop_spy", "snoop_spy")],
)
def test_a_snoop_network_may_be_closed_to_a_node(network: str, counts_as: Any) -> None:
    said: Origin = SnoopRecord(*origin(PRESS), "spy", 1.5, "text")
    if network == "pulse":
        said = NodeStatus(*origin(PRESS), 1.5, True, 0, (), ())
    frame = sealed(PRESS, said, network=network)

    assert receive(frame, limited(networks=frozenset({counts_as})), network) == [said]
    with pytest.raises(NotPermittedError):
        receive(frame, limited(networks=frozenset({"mesh"})), network)


def put_back() -> Envelope:
    return Envelope("press", "chart", "retry-1", 1, "pressed", b"\xc0", 1.5, event(PRESS).id)


def test_who_may_put_back_sends_events_of_others_again() -> None:
    assert receive(sealed(OPERATOR, put_back()), ALL) == [put_back()]
    # Not even the node itself, whose own events have its own incarnation.
    for signer in (SAW, PRESS):
        with pytest.raises(WrongNodeError):
            receive(sealed(signer, put_back()), ALL)


def test_what_is_put_back_keeps_the_limits_of_its_node() -> None:
    operator = allowed(OPERATOR, may_put_back=True)
    frame = sealed(OPERATOR, put_back())

    # Its topic is that of a queue, so limits of topics say nothing of it.
    topics = Members({"press": allowed(PRESS, topics=()), "operator": operator})
    assert receive(frame, topics) == [put_back()]
    signals = Members({"press": allowed(PRESS, signals=frozenset()), "operator": operator})
    with pytest.raises(NotPermittedError):
        receive(frame, signals)
    with pytest.raises(WrongNodeError):
        receive(frame, Members({"operator": operator}))


def test_who_may_put_back_events_speaks_for_no_one_on_other_networks() -> None:
    record = SnoopRecord(*origin(PRESS), "spy", 1.5, "text")
    with pytest.raises(WrongNodeError):
        receive(sealed(OPERATOR, record, network="snoop_spy"), ALL, "snoop_spy")


def test_what_was_kept_is_checked_when_it_is_opened_but_not_when_it_is_reopened() -> None:
    mine = codec(PRESS, Members({}))
    frame = mine.seal([mine.encode(event(PRESS))], TOPIC)

    assert mine.open_again(frame) == [event(PRESS)]
    with pytest.raises(UnknownNodeError):
        mine.open(frame)


def test_a_signature_fits_into_what_a_frame_has_of_its_own() -> None:
    signer = Signer("n" * MAX_NODE_BYTES, generate_identity())
    said = event(signer)
    sender = Codec(
        "n" * 29,
        # It adds more than the other cipher.
        KeyRing([generate_key()], cipher="fernet"),
        Envelope,
        max_frame_bytes=LIMIT,
        extended=(TracedEnvelope,),
        label="l" * MAX_LABEL_BYTES,
        signer=signer,
    )
    encoded = sender.encode(said)
    overhead = len(sender.seal([encoded], "t" * MAX_LABEL_BYTES)) - len(encoded)
    assert FRAME_OVERHEAD_BYTES - 30 < overhead <= FRAME_OVERHEAD_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"press": {}}',
        '{"press": {"public_keys": []}}',
        '{"press": {"public_keys": ["no key"]}}',
        '{"press": {"public_keys": ["KEY"], "topic": ["a"]}}',
        '{"press": {"public_keys": ["KEY"], "topics": ["a#"]}}',
        '{"press": {"public_keys": ["KEY"], "networks": ["deaths"]}}',
        '{"": {"public_keys": ["KEY"]}}',
    ],
)
def test_what_is_no_list_of_nodes_is_refused(text: str) -> None:
    with pytest.raises(IdentityError):
        Members.parse(text.replace("KEY", PRESS.public_key))


def test_a_list_of_nodes_says_all_that_it_can_say() -> None:
    text = (
        '{"press": {"public_keys": ["KEY"], "topics": ["press.#"], "signals": ["pressed"], '
        '"networks": ["mesh"], "may_put_back": true}}'
    )
    members = Members.parse(text.replace("KEY", PRESS.public_key))
    assert receive(sealed(PRESS, event(PRESS)), members) == [event(PRESS)]
