"""Reading a log: all that is whole, and the numbers of the lines that are not."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miros_mesh.networks.snoop.records import render
from miros_mesh.observe.logs.ecs import to_ecs
from miros_mesh.observe.sequence.lines import LONGEST_LINE, read
from miros_mesh.wire.envelope import SnoopRecord

RECORD = SnoopRecord(
    node="hall",
    chart="door",
    incarnation="f00",
    sequence=3,
    kind="trace",
    time=1_795_000_000.25,
    text="e->knock() closed->opened",
    signal="knock",
    from_state="closed",
    to_state="opened",
    event_id="f00/bell/1",
    cause="f00/bell/local-2",
)
JSON_LINE = json.dumps(to_ecs(RECORD)).encode()


def test_json_lines_keep_everything() -> None:
    assert read([JSON_LINE]).records == [RECORD]


@pytest.mark.parametrize("color", [True, False])
def test_the_printed_trace_keeps_what_is_printed(color: bool) -> None:
    [found] = read([render(RECORD, color=color).encode()]).records
    assert (found.chart, found.signal, found.from_state, found.to_state, found.time) == (
        "door",
        "knock",
        "closed",
        "opened",
        RECORD.time,
    )
    assert (found.node, found.incarnation, found.event_id, found.cause) == ("", "", None, None)


@pytest.mark.parametrize(
    "line",
    [
        "[2018-05-27 09:56:54.372046] [door] e->knock() closed->opened",
        "  [+t] [2018-05-27 09:56:54.372046] [door] e->knock() closed->opened\r\n",
        " [x] Trace: [2018-05-27 09:56:54.372046] [door] e->knock() closed->opened",
        "INFO:app: [+t] [2018-05-27 09:56:54] [\x1b[94mdoor\x1b[0m] e->knock() closed->opened",
        "\ufeff[2018-05-27 09:56:54.372046] [door] e->knock() closed->opened",
    ],
)
def test_older_logs_are_read(line: str) -> None:
    trace = read([line.encode()])
    assert [(r.chart, r.signal, r.to_state) for r in trace.records] == [("door", "knock", "opened")]


def test_lines_of_spy_and_scribbled_notes_are_neither_transitions_nor_torn() -> None:
    trace = read(
        [
            b" [+s] door ENTRY_SIGNAL:opened\n",
            b" [x] Spy: START\n",
            b"\n",
            b" [+t] [2018-05-27 09:56:54.372046] [door] # a note\n",
        ]
    )
    assert (trace.records, trace.unreadable, trace.lines) == ([], [], 4)


@pytest.mark.parametrize(
    "torn",
    [
        JSON_LINE[:-1],
        JSON_LINE[5:],
        b"[" * 100_000,
        b'{"a":' * 5_000,
        JSON_LINE.replace(b'"door"', b"7"),
        b" [+t] [2018-05-27 09:56:5",
        b" [+t] [2018-05-27 09:56:54.372046] [do",
        b" [+t] [2018-05-27 09:56:54.372046] [door] e->knock() clo",
        b" [+t] [2018-99-27 09:56:54.372046] [door] e->knock() closed->opened",
        b" [+t] [0001-01-01 00:00:00.000000] [door] e->knock() closed->opened",
        b" [+t] [9999-12-31 23:59:59.999999] [door] e->knock() closed->opened",
        b"\xff\xfe\x00",
        b" [+t] [2018-05-27 09:56:54.372046] [door] e->" + b"x" * LONGEST_LINE + b"() a->b",
    ],
)
def test_a_torn_line_is_counted_and_the_rest_is_read(torn: bytes) -> None:
    trace = read([JSON_LINE, torn, JSON_LINE])
    assert (len(trace.records), trace.unreadable, trace.lines) == (2, [2], 3)


def test_records_of_the_rest_of_an_application_are_no_torn_lines() -> None:
    other = [b'{"message": "started", "event": {"dataset": "shop.log"}}', b"{}", b'{"event": 1}']
    dotted = {"event.dataset": "miros_mesh.snoop"}
    trace = read([*other, json.dumps(to_ecs(RECORD) | dotted).encode()])
    assert (trace.records, trace.unreadable) == ([RECORD], [])


def test_lines_that_two_terminals_printed_count_once() -> None:
    line = render(RECORD).encode()
    assert len(read([line, line]).records) == 1


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200) | st.text(max_size=200).map(str.encode)))
def test_no_line_can_break_the_reader(lines: list[bytes]) -> None:
    trace = read([*lines, JSON_LINE])
    assert trace.records[-1] == RECORD
    assert trace.lines == len(lines) + 1
