"""What charts tell is made into records on another thread, in order, and never without a number."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import pytest

from miros_mesh.networks.snoop.recorder import TELLINGS, Recorder
from miros_mesh.networks.snoop.records import Snoop, Step
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
    """A running teller and a snoop network, and what becomes of what is told."""

    def __init__(self) -> None:
        self.drops: list[tuple[str, int]] = []
        self.beats = 0
        self.shown: list[SnoopRecord] = []
        self.shelf = Shelf()
        self.snoop = Snoop(trace_network(), OURS, "snoop.trace", Observer())
        self.snoop.network.attach(self.shelf)
        self.snoop.watch("watching", self._show)
        self.recorder = Recorder("test", dropped=self._drop, beat=self._beat)
        self.stuck = threading.Event()
        self.stuck.set()

    @property
    def sent(self) -> list[SnoopRecord]:
        return [r for parcel in self.shelf.parcels for r in trace_codec.open(parcel.seal())]

    def tell(self, text: str, chart: str = "chart") -> None:
        self.recorder.tell(self.snoop, chart, 1, note, text)

    def _show(self, records: Sequence[SnoopRecord]) -> None:
        self.stuck.wait(LIMIT_S)
        self.shown += records

    def _drop(self, network: str, events: int) -> None:
        self.drops.append((network, events))

    def _beat(self) -> None:
        self.beats += 1
        if self.beats == 1:
            raise ValueError("a mistake of a probe")


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    made.recorder.start()
    yield made
    made.recorder.stop(LIMIT_S)


def test_what_is_told_is_shown_and_sent_in_order(desk: Desk) -> None:
    for number in range(50):
        desk.tell(f"{number}", chart=f"chart {number % 2}")
    desk.recorder.flush(LIMIT_S)
    assert [record.text for record in desk.shown] == [f"{number}" for number in range(50)]
    assert desk.sent == desk.shown
    assert [r.sequence for r in desk.sent if r.chart == "chart 1"] == list(range(1, 26))


def test_what_does_not_fit_in_is_counted_and_leaves_a_gap(desk: Desk) -> None:
    # Given a teller that does not get on
    desk.stuck.clear()
    desk.tell("first")
    wait_until(lambda: not desk.recorder._tellings)
    # When more is told than it holds
    for _ in range(TELLINGS + 3):
        desk.tell("more")
    assert desk.drops == [("snoop_trace", 1)] * 3
    # Then what is told later has numbers that show it
    desk.stuck.set()
    desk.recorder.flush(LIMIT_S)
    desk.tell("last")
    desk.recorder.flush(LIMIT_S)
    assert [r.sequence for r in desk.shown[-2:]] == [TELLINGS + 1, TELLINGS + 5]


def test_a_step_that_cannot_be_made_or_sent_is_logged_and_leaves_a_gap(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        desk.recorder.tell(desk.snoop, "chart", 1, broken)
        desk.tell("\ud800")
        desk.tell("good")
        desk.recorder.flush(LIMIT_S)
    assert [(record.sequence, record.text) for record in desk.sent] == [(3, "good")]
    assert "chart chart cannot be told of" in caplog.text
    assert "a snoop record was not sent" in caplog.text


def test_what_waits_at_the_end_is_sent() -> None:
    desk = Desk()
    desk.recorder.start()
    for number in range(20):
        desk.tell(f"{number}")
    desk.recorder.stop(LIMIT_S)
    assert len(desk.sent) == 20


def test_a_pulse_goes_on_after_one_that_failed(desk: Desk) -> None:
    wait_until(lambda: desk.beats >= 2)


def test_a_teller_that_never_started_ends_too() -> None:
    desk = Desk()
    desk.recorder.flush(LIMIT_S)
    desk.recorder.stop(LIMIT_S)
