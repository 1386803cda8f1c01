"""What charts do is made into records on another thread, in order, and never without a number."""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.networks.snoop.recorder import MAX_ENTRIES, Recorder
from miros_mesh.networks.snoop.records import SnoopNetwork, Step
from miros_mesh.observer import Observer
from miros_mesh.wire.envelope import SnoopRecord
from support.ports_in_hand import Shelf
from support.post_office import LIMIT_S
from support.sealed import OURS, trace_codec, trace_network
from support.waiting import wait_until


def note(text: str) -> list[Step]:
    return [Step("scribble", 1.0, text)]


def broken() -> list[Step]:
    raise ValueError("a mistake of ours")


class Desk:
    """A running recorder and a snoop network, and what becomes of what is recorded."""

    def __init__(self) -> None:
        self.drops: list[tuple[str, int]] = []
        self.statuses = 0
        self.shown: list[SnoopRecord] = []
        self.shelf = Shelf()
        self.snoop = SnoopNetwork(trace_network(), OURS, "snoop.trace", Observer())
        self.snoop.network.attach(self.shelf)
        self.snoop.watch("watching", self._show)
        for chart in ("chart", "chart 0", "chart 1"):
            self.snoop.begin(chart)
        self.takes_part = True
        self.recorder = Recorder("test", dropped=self._drop, send_status=self._send_status)
        self.stuck = threading.Event()
        self.stuck.set()

    @property
    def sent(self) -> list[SnoopRecord]:
        return [r for parcel in self.shelf.parcels for r in trace_codec.open(parcel.seal())]

    def record(self, text: str, chart: str = "chart") -> None:
        self.recorder.record(self.snoop, chart, 1, note, text)

    def _show(self, records: Sequence[SnoopRecord]) -> None:
        self.stuck.wait(LIMIT_S)
        self.shown += records

    def _drop(self, network: str, events: int) -> None:
        self.drops.append((network, events))

    def _send_status(self) -> bool:
        self.statuses += 1
        if self.statuses == 1:
            raise ValueError("a mistake of a probe")
        return self.takes_part


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    made.recorder.start()
    yield made
    made.recorder.stop(LIMIT_S)


def test_what_is_recorded_is_shown_and_sent_in_order(desk: Desk) -> None:
    for number in range(50):
        desk.record(f"{number}", chart=f"chart {number % 2}")
    desk.recorder.flush(LIMIT_S)
    assert [record.text for record in desk.shown] == [f"{number}" for number in range(50)]
    assert desk.sent == desk.shown
    assert [r.sequence for r in desk.sent if r.chart == "chart 1"] == list(range(1, 26))


def test_what_does_not_fit_in_is_counted_and_leaves_a_gap(desk: Desk) -> None:
    # Given a recorder that does not get on
    desk.stuck.clear()
    desk.record("first")
    wait_until(lambda: not desk.recorder._queue)
    # When more is recorded than it holds
    for _ in range(MAX_ENTRIES + 3):
        desk.record("more")
    assert desk.drops == [("snoop_trace", 1)] * 3
    # Then what is recorded later has numbers that show it
    desk.stuck.set()
    desk.recorder.flush(LIMIT_S)
    desk.record("last")
    desk.recorder.flush(LIMIT_S)
    assert [r.sequence for r in desk.shown[-2:]] == [MAX_ENTRIES + 1, MAX_ENTRIES + 5]


def test_a_step_that_cannot_be_made_or_sent_is_logged_and_leaves_a_gap(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        desk.recorder.record(desk.snoop, "chart", 1, broken)
        desk.record("x" * 2**21)
        desk.record("good")
        desk.recorder.flush(LIMIT_S)
    assert [(record.sequence, record.text) for record in desk.sent] == [(3, "good")]
    assert "chart chart: a step cannot be recorded" in caplog.text
    assert "a snoop record was not sent" in caplog.text


@given(text=st.text(), name=st.none() | st.text(min_size=1, max_size=40))
def test_every_text_travels_and_is_shown_as_it_travels(text: str, name: str | None) -> None:
    made = Desk()
    [shown] = made.snoop.records("chart", 1, [Step("trace", 1.0, text, name, name, name)])

    made.snoop.send([shown])

    assert made.sent == [shown]
    if not re.search("[\ud800-\udfff]", text):
        assert shown.text == text


def test_half_a_surrogate_pair_is_escaped(desk: Desk) -> None:
    desk.record("a file named \udcff, ü, 猫")
    desk.recorder.flush(LIMIT_S)

    assert [record.text for record in desk.sent] == [r"a file named \udcff, ü, 猫"]
    assert desk.shown == desk.sent


def test_what_waits_at_the_end_is_sent() -> None:
    desk = Desk()
    desk.recorder.start()
    for number in range(20):
        desk.record(f"{number}")
    desk.recorder.stop(LIMIT_S)
    assert len(desk.sent) == 20


def test_node_status_goes_on_after_one_that_failed(desk: Desk) -> None:
    wait_until(lambda: desk.statuses >= 2)


def test_it_sleeps_when_there_is_no_status_to_send_and_is_woken_by_a_start(desk: Desk) -> None:
    # Given a recorder that has nothing more to tell
    desk.takes_part = False
    wait_until(lambda: desk.statuses >= 2)
    wait_until(lambda: math.isinf(desk.recorder._status_at))
    asleep_after = desk.statuses
    # When there is something to record, it sends that and no status
    desk.record("noted")
    wait_until(lambda: desk.sent)
    assert desk.statuses == asleep_after
    # When a chart takes part again, it goes on
    desk.takes_part = True
    desk.recorder.start()
    wait_until(lambda: desk.statuses >= asleep_after + 2)


def test_starts_in_a_row_send_one_status_not_one_each(desk: Desk) -> None:
    wait_until(lambda: desk.statuses >= 2)
    for _ in range(1_000):
        desk.recorder.start()
    assert desk.statuses < 30


def test_a_chart_that_has_ended_its_part_leaves_no_record_and_no_gap(desk: Desk) -> None:
    desk.record("before")
    desk.snoop.end("chart")
    desk.record("meanwhile")
    desk.record("of another", chart="chart 0")
    desk.snoop.begin("chart")
    desk.record("after")
    desk.recorder.flush(LIMIT_S)
    assert [(r.chart, r.sequence, r.text) for r in desk.sent] == [
        ("chart", 1, "before"),
        ("chart 0", 1, "of another"),
        ("chart", 2, "after"),
    ]


def test_a_recorder_that_never_started_ends_too() -> None:
    desk = Desk()
    desk.recorder.flush(LIMIT_S)
    desk.recorder.stop(LIMIT_S)
