"""Snoop lines of the ancestor as records, and records as its lines."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from miros_mesh.errors import MalformedFrameError
from miros_mesh.wire.ancestor.codec import ANCESTOR
from miros_mesh.wire.ancestor.lines import LineCodec, line_of, record_of
from miros_mesh.wire.envelope import SnoopRecord
from miros_mesh.wire.freshness import Freshness
from miros_mesh.wire.keyring import KeyRing, generate_key

STAMP = "2019-06-20 06:14:48.123456"
AT = datetime.strptime(STAMP, "%Y-%m-%d %H:%M:%S.%f").timestamp()
KEY = generate_key()


@pytest.mark.parametrize(
    "line", ["[{}] [a b] e->A() top->outer\n", "\n[{}] [a b] e->A() top->outer\n"]
)
def test_a_transition(line: str) -> None:
    record = record_of(line.format(STAMP), "trace", int(AT) + 1)

    assert (record.kind, record.chart, record.signal) == ("trace", "a b", "A")
    assert (record.from_state, record.to_state) == ("top", "outer")
    assert record.text == "e->A() top->outer"
    assert record.time == pytest.approx(AT)
    assert record.node == ANCESTOR


def test_a_scribble_of_either_stream_loses_its_colours() -> None:
    note = f"[{STAMP}] [ao] \x1b[30;1m# hello # you\x1b[0m"
    for stream, line in (("trace", note), ("spy", f"ao {note}")):
        record = record_of(line, stream, AT)  # type: ignore[arg-type]
        assert (record.kind, record.chart, record.text) == ("scribble", "ao", "hello # you")


def test_a_step_of_the_event_processor() -> None:
    record = record_of("ao ENTRY_SIGNAL:outer", "spy", AT)
    assert (record.kind, record.chart, record.text) == ("spy", "ao", "ENTRY_SIGNAL:outer")
    assert record.time == AT


@pytest.mark.parametrize("stream", ["trace", "spy"])
@pytest.mark.parametrize("line", ["", "hello", "[x] [y] z", f"[{STAMP}] [{'a' * 300}] e->A() b->c"])
def test_what_does_not_parse_is_kept_as_it_is(stream: str, line: str) -> None:
    record = record_of(line, stream, AT)  # type: ignore[arg-type]
    if stream == "trace" or " " not in line:
        assert (record.kind, record.chart, record.text) == (stream, ANCESTOR, line)
    else:
        assert f"{record.chart} {record.text}" == line


@pytest.mark.parametrize("hours", [-12, -5.75, 0, 1, 5.5, 14])
def test_a_stamp_of_another_time_zone_is_the_same_moment(hours: float) -> None:
    # The ancestor's host is so many hours ahead; it sent the line two seconds later.
    assert record_of(
        f"[{STAMP}] [ao] e->A() b->c", "trace", AT - hours * 3600 + 2
    ).time == pytest.approx(AT - hours * 3600)


@given(
    st.sampled_from(["trace", "spy"]),
    st.text() | st.text().map(lambda text: f"[{STAMP}] [ao] {text}"),
    st.integers(0, 2**34),
)
def test_any_line_becomes_a_record_that_travels(stream: str, line: str, sealed_at: int) -> None:
    record = record_of(line, stream, sealed_at)  # type: ignore[arg-type]
    assert msgpack.decode(msgpack.encode(record), type=SnoopRecord) == record


@pytest.mark.parametrize("kind", ["trace", "scribble"])
def test_a_record_comes_back_from_its_line(kind: str) -> None:
    parts = ("A", "b", "c") if kind == "trace" else (None, None, None)
    text = "e->A() b->c" if kind == "trace" else "hello"
    record = SnoopRecord("n", "ao", "i", 1, kind, AT, text, *parts)  # type: ignore[arg-type]

    again = record_of(line_of(record), "trace", AT + 1)

    for name in ("chart", "kind", "text", "signal", "from_state", "to_state"):
        assert getattr(again, name) == getattr(record, name)
    assert again.time == pytest.approx(record.time)


def test_a_line_has_nothing_that_moves_a_terminal() -> None:
    record = SnoopRecord("n", "a\x1b[2J", "i", 1, "spy", AT, "x\r\n\x07")
    assert line_of(record) == r"a\x1b[2J x\r\n\x07"


def made(stream: Literal["trace", "spy"]) -> LineCodec:
    return LineCodec(KeyRing([KEY]), stream, max_line_bytes=5_000, max_bytes=20_000)


def test_a_line_above_what_a_record_may_have_is_refused() -> None:
    codec = made("trace")
    body = Fernet(KEY).encrypt(pickle.dumps("x" * 5_000))
    with pytest.raises(MalformedFrameError, match="above 5,000 bytes"):
        codec.receive(body, "snoop.trace", Freshness(), again=False)
    (kept,) = codec.receive(
        Fernet(KEY).encrypt(pickle.dumps("x" * 4_900)), "snoop.trace", Freshness(), again=False
    ).messages
    assert len(kept.text) == 4_900


@pytest.mark.parametrize("stream", ["trace", "spy"])
@pytest.mark.parametrize(
    "parts", [("] e->", "a() ", "->", "\nx"), ("] e->a() ->", "\nx"), ("] e->", "() "), ("] # ",)]
)
def test_the_time_of_a_line_grows_with_its_length_alone(stream: str, parts: Sequence[str]) -> None:
    # Tried part by part and place by place, these would take years.
    line = f"[{STAMP}] [" + "".join(part * 20_000 for part in parts)
    began = time.process_time()
    record = record_of(line, stream, AT)  # type: ignore[arg-type]
    assert time.process_time() - began < 5.0
    assert record.text


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("[a] b] e->A() top->outer", ("a] b", "A", "top", "outer")),
        ("[ao] e->A() () b->c->d", ("ao", "A", "() b", "c->d")),
        ("[ao] e->A() ->", ("ao", "A", "", "")),
    ],
)
def test_a_part_of_a_line_ends_at_its_first_mark(line: str, parts: tuple[str, ...]) -> None:
    record = record_of(f"[{STAMP}] {line}", "trace", AT)
    assert (record.chart, record.signal, record.from_state, record.to_state) == parts


def test_an_ancestors_token_is_read_and_ours_is_left() -> None:
    codec = made("trace")
    body = Fernet(KEY).encrypt(pickle.dumps(f"[{STAMP}] [ao] e->A() b->c\n"))
    (record,) = codec.receive(body, "snoop.trace", Freshness(), again=False).messages
    assert record.chart == "ao"

    ours = codec.seal([codec.encode(record)], "snoop.trace")
    assert pickle.loads(Fernet(KEY).decrypt(ours)) == line_of(record)
    assert codec.receive(ours, "snoop.trace", Freshness(), again=False).messages == []


def test_an_event_on_a_snoop_network_is_refused() -> None:
    codec = made("spy")
    body = Fernet(KEY).encrypt(pickle.dumps(("10.0.0.1", "{}")))
    with pytest.raises(MalformedFrameError):
        codec.receive(body, "snoop.spy", Freshness(), again=False)
    assert time.time() > AT


def test_the_numbers_of_a_chart_have_no_gap_and_are_of_one_receiver_alone() -> None:
    codec, other = made("spy"), made("spy")

    def records(codec: LineCodec, *lines: str) -> list[SnoopRecord]:
        bodies = [Fernet(KEY).encrypt(pickle.dumps(line)) for line in lines]
        freshness = Freshness()
        return [
            record
            for body in bodies
            for record in codec.receive(body, "snoop.spy", freshness, again=False).messages
        ]

    found = records(codec, "a START", "b START", "a x:y", "b x:y", "a z")
    assert [(each.chart, each.sequence) for each in found] == [
        *(("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3))
    ]
    assert records(other, "a START")[0].incarnation != found[0].incarnation
