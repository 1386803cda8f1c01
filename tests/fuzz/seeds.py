"""Inputs that the library takes, and some at its limits: where the search for others begins."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import msgspec
from msgspec.structs import astuple, replace

from fuzz.readers import (
    FORMS_OF_CONTENT,
    KEY,
    NOW,
    RECEIVED,
    RING,
    SPECS,
    TOPIC,
    WHOLE,
    codec_of,
)
from miros_mesh.address import direct_topic
from miros_mesh.observe.logs.ecs import to_ecs
from miros_mesh.wire.envelope import (
    ChartMarks,
    ChartStatus,
    ChartWork,
    DeadChart,
    DeadLetter,
    Death,
    DeathNote,
    Envelope,
    ListenerRepair,
    MarkNote,
    NodeStatus,
    OpenRequest,
    Origin,
    PeerStatus,
    RepairMessage,
    RoutedEnvelope,
    RoutedRepair,
    SnoopRecord,
    TracedEnvelope,
    WorkingStatus,
)
from miros_mesh.wire.keyring import KeyRing
from miros_mesh.wire.serializer import MsgpackSerializer

# More digits than Python turns into a number.
MANY_DIGITS: Final = "1" * 5_000
DEEP: Final = 200

ORIGIN: Final = ("node", "chart", "0123456789abcdef", 7)
PAYLOADS: Final[Sequence[Any]] = (
    None,
    True,
    -1,
    2**64 - 1,
    0.5,
    "héllo",
    b"\x00\xff",
    [1, [2, []], {"a": {"b": [None, "c"]}}],
)
TREES: Final = (
    {"price": "1.10", "count": 2, "colour": "blue"},
    {"type": "cat", "lives": 3},
    ["1.5", "NaN", "2"],
    "0b0e2b1c-0000-4000-8000-000000000001",
    "P1DT2S",
    {"0b0e2b1c-0000-4000-8000-000000000001": ["red"]},
    {"1": 2},
)
EVENT: Final = Envelope(*ORIGIN, "PING", MsgpackSerializer().dumps({"a": [1, "b"]}), NOW)
SENT_AGAIN: Final = Envelope(
    "node", "chart", "again-1", 1, "PING", b"\xc0", NOW, "0123456789abcdef/chart/7"
)
TRACED: Final = TracedEnvelope(*ORIGIN, "PING", b"\xc0", NOW, None, f"00-{'1' * 32}-{'2' * 16}-01")
RECORD: Final = SnoopRecord(
    *ORIGIN, "trace", NOW, "e->PING() here->there", "PING", "here", "there", "0/chart/7", "1/b/2"
)
SPY: Final = SnoopRecord(*ORIGIN, "spy", NOW, "PING:here", "PING", event_id="0/chart/7")
SCRIBBLE: Final = SnoopRecord(*ORIGIN, "scribble", NOW, "a note \x1b[31m")
RANGES: Final = ((1, 3), (5, 5))
LETTER: Final = (*ORIGIN, NOW, "handler", "ValueError", "miros_mesh.v1.mesh", TOPIC, "queue", 3, 9)
MESSAGES: Final[dict[str, Sequence[Origin]]] = {
    "mesh": (EVENT, SENT_AGAIN),
    "snoop_trace": (RECORD, SCRIBBLE),
    "snoop_spy": (SPY,),
    "repair": (
        RepairMessage(*ORIGIN, "fedcba", "ask", ("0123", "chart"), RANGES),
        RepairMessage(*ORIGIN, "fedcba", "again", ("0123", "chart"), (), (EVENT,)),
    ),
    "pulse": (
        NodeStatus(
            *ORIGIN,
            NOW,
            consuming=True,
            outbox_events=3,
            peers=(PeerStatus("amqp://guest@h:5672//", "up"),),
            charts=(ChartStatus("chart", "here", 5, "PING", dead=False),),
        ),
    ),
    "letters": (
        DeadLetter(*LETTER, "0" * 64, EVENT),
        DeadLetter(*LETTER, "0" * 64, None, b"\x03frame", "amqp://guest@h:5672//"),
    ),
    "deaths": (
        DeathNote(
            *ORIGIN,
            NOW,
            (DeadChart("chart", (Death("0/chart/7", 2, "E"),), (("0", "chart", 1, 7),)),),
        ),
    ),
    "marks": (MarkNote(*ORIGIN, NOW, (ChartMarks("chart", TOPIC, (("0", "chart", 7),)),)),),
}
ROUTED: Final = replace(
    RoutedEnvelope.of(TRACED),
    to="other/chart",
    ttl_s=1.5,
    wants_reply=True,
    reply_to="0/chart/6",
    base=3,
    routes=(("heya.man", 5), (direct_topic("node", "chart"), 4)),
)
ASKED: Final = ListenerRepair(*ORIGIN, "fedcba", "ask", ("0", "c"), RANGES, (), "c", 1.5, 3)
ROUTED_REPAIR: Final = RoutedRepair(*astuple(ASKED))
EXTENDED: Final[dict[str, Sequence[Origin]]] = {
    "mesh": (TRACED,),
    "repair": (ASKED,),
    "pulse": (
        WorkingStatus(
            *ORIGIN,
            NOW,
            consuming=True,
            outbox_events=0,
            peers=(),
            charts=(),
            work=(ChartWork("chart", 3, "0/b/2", 4.5, (OpenRequest("0/chart/7", "ASK", 1.5),)),),
        ),
    ),
}

TWICE_EXTENDED: Final[dict[str, Sequence[Origin]]] = {
    "mesh": (ROUTED, RoutedEnvelope.of(TRACED)),
    "repair": (
        replace(ROUTED_REPAIR, hears=("heya.#", direct_topic("node", "chart"))),
        replace(ROUTED_REPAIR, others=RANGES, routed=(("heya.man", EVENT), ("x", ROUTED))),
    ),
}
LEVELS: Final = (MESSAGES, EXTENDED, TWICE_EXTENDED)
URLS: Final = (
    "amqp://guest:guest@localhost:5672//",
    "amqps://b%40b:d%2Fd@[fe80::1%25eth0]:5671/mesh",
    "AMQP://10.0.0.1",
    "rabbit.example.org:5673",
    "[fd00::1]:5673",
    "fd00::1",
    f"host:{MANY_DIGITS}",
    "amqp://\udcff:p@host/",
)
VARIABLES: Final = (
    "MIROS_MESH_BROKER_URL=amqp://guest:guest@localhost//",
    f"MIROS_MESH_ENCRYPTION_KEY={KEY.decode()}",
    "MIROS_MESH_HOME=/home/a",
    "MIROS_MESH_DISCOVERY=lan,dns",
    "MIROS_MESH_DISCOVERY_DNS_NAMES=_amqp._tcp.example.org",
    "MIROS_MESH_DEDUP_WINDOW=64",
    "MIROS_MESH_HEARTBEAT_INTERVAL_S=5.5",
    "MIROS_MESH_NODE_NAME=pump",
    "MIROS_MESH_LAN=off",
    "RABBIT_USER=peter",
    "RABBIT_PASSWORD=rabbit",
    f"RABBIT_PORT={MANY_DIGITS}",
    "MIROS_MESH_ENCRIPTION_KEE=x",
    f"MIROS_MESH_{'_A' * 1000}=x",
    f"MIROS_MESH_{'_BROKEN' * 9}=x",
)
HOSTS: Final = ["10.0.0.1", "rabbit.example.org:5673", "[fd00::1]:5673", 7, f"a:{MANY_DIGITS}"]
SEARCH: Final = {"addresses": ["10.0.0.1", "10.0.0.2"], "found_at": NOW}
PRINTED: Final = """\
[+t] [2026-01-31 12:00:00.000000] [chart] e->start_at() top->here
\x1b[92m[+t] [2026-01-31 12:00:01] [chart] e->PING() here->there\x1b[0m
[+s] START
[x] Spy: ['PING:here']
[+t] [2026-01-31 12:00:02] [chart] # a note
[+t] [0001-01-01 00:00:00] [chart] e->PING() here->there
a torn li"""

STEP: Final = "[2019-06-20 06:14:48.123456] [ao] "
OF_ANCESTORS: Final[Sequence[Sequence[object]]] = (
    (
        ("192.168.1.75", '{"signal_name": "PING", "payload": {"a": [1, null, "\\u00e9"]}}'),
        ("192.168.1.75", f'{{"signal_name": "PING", "payload": {MANY_DIGITS}}}'),
        ("192.168.1.75", f'{{"signal_name": "PING", "payload": {"[" * DEEP}{"]" * DEEP}}}'),
        "4D1F09A3C2E7",
        ("192.168.1.75", 1, print),
    ),
    (f"\n{STEP}e->PING() here->there\n", f"{STEP}\x1b[30;1m# a note\x1b[0m", "a torn li"),
    ("ao PING:here", f"ao {STEP}# a note", "START"),
)


def seeds() -> dict[str, Sequence[bytes]]:
    """Return seeds for each kind of input; the first one is taken by the library."""
    line = _lines(RECORD)
    return {
        "frames": _frames(),
        "contents": _contents(),
        "payloads": [
            *map(msgspec.msgpack.encode, (*PAYLOADS, *TREES)),
            b"\x91" * DEEP,
            b"\xdd" + b"\xff" * 4,
        ],
        "urls": [_bytes(url) for url in URLS],
        "settings": [
            _bytes("\0".join(VARIABLES[:3])),
            _bytes("\0".join(VARIABLES[3:])),
            *map(_bytes, VARIABLES),
        ],
        "secrets": [KEY + b"\n", _bytes(URLS[0]), b"\xff\xfe", b""],
        "hosts": [
            *_files({"hosts": HOSTS}),
            *_files({"hosts": ["10.0.0.1"], "x": nested(DEEP)}),
        ],
        "cache": [
            *_files({"searches": {"mesh": SEARCH}}),
            *_files({"searches": {}, "x": nested(DEEP)}),
        ],
        "trace": [
            _lines(RECORD, SPY),
            _bytes(PRINTED),
            _lines(SCRIBBLE),
            _bytes(PRINTED) + line,
        ],
        "history": [
            _lines(RECORD, SPY, SCRIBBLE),
            line.replace(b'"sequence": 7', b'"sequence": 70') + line,
            line.replace(b": 7", b": " + _bytes(MANY_DIGITS)),
        ],
        "ancestors": [
            bytes([place]) + pickle.dumps(value, protocol)
            for protocol in (4, 3, 5, 0)
            for place, each in enumerate(OF_ANCESTORS)
            for value in each
        ],
    }


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def nested(depth: int) -> list[Any]:
    """Return lists inside each other."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _frames() -> list[bytes]:
    frames = []
    ciphers = RING, KeyRing([KEY], cipher="fernet")
    for (place, spec), ring in product(enumerate(SPECS), ciphers):
        codec = codec_of(spec, ring)
        for level in LEVELS:
            if messages := level.get(spec.name):
                frame = codec.seal([codec.encode(message) for message in messages], TOPIC)
                frames.append(bytes([place]) + frame)
    return frames


def _contents() -> list[bytes]:
    """Return messages in every form that may hold them, and whole contents."""
    made = []
    for place, spec in enumerate(SPECS):
        for how, form in enumerate(FORMS_OF_CONTENT):
            level = 1 if form.version == 2 else form.suffix.count("+")
            for messages in LEVELS[level].get(spec.name, ()):
                raw = msgspec.msgpack.encode([messages])
                whole = (f"{spec.name}{form.suffix}", "", TOPIC, NOW, [messages])
                made += [bytes([place, how]) + raw, bytes([place, how | RECEIVED]) + raw]
                if form.version > 2:
                    made.append(
                        bytes([place, how | RECEIVED | WHOLE]) + msgspec.msgpack.encode(whole)
                    )
    return made


def _lines(*records: SnoopRecord) -> bytes:
    return "".join(json.dumps(to_ecs(record)) + "\n" for record in records).encode()


def _files(content: object) -> list[bytes]:
    return [json.dumps(content).encode(), json.dumps(content, indent=1).encode()[:-1]]
