"""What `stop` does, and what it says of the events that were sent."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from charts_at_work import Ground, Launch, Recorder, event
from miros_mesh import NetworkedActiveObject, StopReport
from miros_mesh.testing import MemoryMesh
from waiting import wait_until

pytestmark = pytest.mark.timeout(60)


def held(chart: NetworkedActiveObject) -> Any:
    """The publisher of a chart that has sent something; it sends nothing more from now on."""
    assert chart._node is not None
    publisher: Any = chart._node.peers.add(chart._node.home)
    wait_until(lambda: publisher._outbox.events == 0)
    publisher._window = 0
    return publisher


# The report


def test_stop_says_that_everything_was_confirmed(ground: Ground, launch: Launch) -> None:
    sender = launch("sender", ground.node("one"))
    sender.enable_snoop_trace_no_color()
    for number in range(500):
        sender.transmit(event("counted", number))
    sender.snoop_scribble("not counted")
    report = sender.stop()
    # Neither the goodbye nor what goes to the snoop networks is counted
    assert report == StopReport(sent=500, confirmed=500)
    assert report.all_confirmed
    # And again
    assert sender.stop() is report


def test_stop_says_what_is_left_over_and_what_overflowed(
    launch: Launch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a sender whose publisher confirmed ten events and then carries nothing
    recorder = Recorder()
    config = MemoryMesh().config(
        outbox_events=20, frame_events=1, drain_timeout_s=0.1, observers=(recorder,)
    )
    sender = launch("sender", config)
    for number in range(10):
        sender.transmit(event("early", number))
    held(sender)
    # When more is transmitted than its outbox holds, and it stops
    for number in range(50):
        sender.transmit(event("late", number))
    report = sender.stop()
    # Then each event is in one of three places, and the goodbye in none
    assert report.sent == 60
    assert report.confirmed + report.left_over + report.dropped == 60
    assert (report.confirmed, report.left_over) == (10, 19)
    assert not report.all_confirmed
    drops = {reason: 0 for _, reason, _ in recorder.drops}
    for _, reason, events in recorder.drops:
        drops[reason] += events
    assert drops == {"outbox_overflow": report.dropped, "stopped": report.left_over}
    [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "19 events undelivered" in error.getMessage()


def test_stop_counts_an_event_once_for_each_peer(launch: Launch) -> None:
    config = MemoryMesh().config()
    sender = launch("sender", config)
    assert sender._node is not None
    home = sender._node.home
    sender._node.peers.add(type(home)("a second one", home.addresses)).wait_ready(5)
    for number in range(10):
        sender.transmit(event("twice", number))
    assert sender.stop() == StopReport(sent=20, confirmed=20)


def test_a_chart_that_is_not_the_last_tells_of_its_node_at_that_moment(launch: Launch) -> None:
    # Given two charts of a node
    config = MemoryMesh().config()
    first, second = launch("first", config), launch("second", config)
    first.transmit(event("before"))
    publisher = held(first)
    first.transmit(event("from the first"))
    second.transmit(event("from the second"))
    # When the first one stops, then what both have sent is still on its way
    report = first.stop()
    assert report == StopReport(sent=3, confirmed=1, left_over=2)
    publisher._window = 100
    # And its report stays what it was when the second one's is better
    assert second.stop() == StopReport(sent=3, confirmed=3)
    assert first.stop() is report


def test_a_chart_that_never_started_has_nothing_to_report() -> None:
    chart = NetworkedActiveObject("idle", config=MemoryMesh().config())
    assert chart.stop() == StopReport()
    assert StopReport().all_confirmed
