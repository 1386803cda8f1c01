"""What a node tells its charts of its peers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from miros_mesh.node import peer_signals as bulletins
from miros_mesh.node.peer_signals import PeerSignals
from miros_mesh.observer import STOPPED
from miros_mesh.signals import (
    NO_LISTENER,
    OUTBOX_OVERFLOW,
    OUTBOX_REFUSED,
    PEER_DOWN,
    PEER_UP,
    NoListener,
    OutboxOverflow,
    OutboxRefused,
    PeerChange,
)
from support.waiting import wait_until

PEER, OTHER = "amqp://peter@192.0.2.7:5672//", "amqp://peter@192.0.2.8:5672//"
THIRD = "amqp://peter@192.0.2.9:5672//"


class Fifo(list[tuple[str, object]]):
    """What one chart was told."""

    def post(self, signal: str, payload: object) -> None:
        self.append((signal, payload))


@pytest.fixture
def peer_signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[PeerSignals]:
    """The bulletin of a node whose home broker is there."""
    made = PeerSignals("n", "mesh", PEER)
    made.peer_up(peer=PEER)
    yield made
    made.close()


@pytest.fixture
def chart(peer_signals: PeerSignals) -> Fifo:
    """A chart that has started since."""
    fifo = Fifo()
    peer_signals.subscribe("c", fifo.post)
    return fifo


def test_a_peer_that_is_lost_and_comes_back_is_told_and_that_home_is_there_is_not(
    peer_signals: PeerSignals, chart: Fifo
) -> None:
    assert chart == []
    peer_signals.peer_down(peer=PEER, reason="connection_lost")
    peer_signals.peer_up(peer=PEER)
    peer_signals.peer_up(peer=OTHER)
    assert chart == [
        (PEER_DOWN, PeerChange(PEER, "connection_lost")),
        (PEER_UP, PeerChange(PEER, "connected")),
        (PEER_UP, PeerChange(OTHER, "connected")),
    ]


def test_a_chart_that_starts_is_told_once_of_each_peer_that_is_there_but_for_home(
    peer_signals: PeerSignals, chart: Fifo
) -> None:
    # Given two peers that were found, of which one is lost again
    peer_signals.peer_up(peer=OTHER)
    peer_signals.peer_up(peer=THIRD)
    peer_signals.peer_down(peer=THIRD, reason="connection_lost")
    late = Fifo()
    # When a chart starts, and the lost one comes back
    peer_signals.subscribe("late", late.post)
    peer_signals.peer_up(peer=THIRD)
    # Then it has got one PEER_UP for each, and the chart that ran already nothing twice
    ups = [(PEER_UP, PeerChange(peer, "connected")) for peer in (OTHER, THIRD)]
    assert late == ups
    assert chart == [*ups, (PEER_DOWN, PeerChange(THIRD, "connection_lost")), ups[1]]


def test_a_peer_that_comes_while_a_chart_starts_is_told_once() -> None:
    for _ in range(200):
        made, fifo, together = PeerSignals("n", "mesh", PEER), Fifo(), threading.Barrier(2)

        def come(made: PeerSignals = made, together: threading.Barrier = together) -> None:
            together.wait(5)
            made.peer_up(peer=OTHER)

        thread = threading.Thread(target=come)
        thread.start()
        together.wait(5)
        made.subscribe("c", fifo.post)
        thread.join(5)
        assert fifo == [(PEER_UP, PeerChange(OTHER, "connected"))]


def test_neither_an_orderly_stop_nor_the_loss_of_a_stranger_is_told(
    peer_signals: PeerSignals, chart: Fifo
) -> None:
    peer_signals.peer_down(peer=OTHER, reason="unreachable")
    peer_signals.peer_down(peer=PEER, reason=STOPPED)
    peer_signals.peer_down(peer=PEER, reason="connection_lost")
    assert chart == []


def test_every_chart_that_runs_is_told_and_no_other(peer_signals: PeerSignals, chart: Fifo) -> None:
    second, late = Fifo(), Fifo()
    peer_signals.subscribe("second", second.post)
    peer_signals.unsubscribe("c")
    peer_signals.peer_down(peer=PEER, reason="connection_lost")
    peer_signals.subscribe("late", late.post)
    assert [len(each) for each in (chart, second, late)] == [0, 1, 0]


def test_an_overflow_is_told_at_most_once_in_a_while_and_none_is_forgotten(
    peer_signals: PeerSignals, chart: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(100):
        peer_signals.overflowed(peer=PEER, network="mesh", events=3)
    peer_signals.overflowed(peer=OTHER, network="mesh", events=2)
    assert chart == [
        (OUTBOX_OVERFLOW, OutboxOverflow(PEER, 3)),
        (OUTBOX_OVERFLOW, OutboxOverflow(OTHER, 2)),
    ]
    # Though nothing more overflows
    wait_until(lambda: len(chart) == 3, 5)
    assert chart[2] == (OUTBOX_OVERFLOW, OutboxOverflow(PEER, 297))


def test_overflow_of_the_snoop_networks_is_not_told(peer_signals: PeerSignals, chart: Fifo) -> None:
    peer_signals.overflowed(peer=PEER, network="snoop_trace", events=3)
    assert chart == []


def test_nothing_is_told_after_the_end_and_no_thread_goes_on(
    peer_signals: PeerSignals, chart: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulletins, "SUMS_EVERY_S", 60.0)
    peer_signals.overflowed(peer=PEER, network="mesh", events=1)
    peer_signals.overflowed(peer=PEER, network="mesh", events=1)
    assert any(thread.name == "mesh-n-signals" for thread in threading.enumerate())
    peer_signals.close()
    peer_signals.overflowed(peer=PEER, network="mesh", events=1)
    peer_signals.peer_down(peer=PEER, reason="connection_lost")
    assert len(chart) == 1
    assert all(thread.name != "mesh-n-signals" for thread in threading.enumerate())


def refusal(signal: str, reason: str = "permission", peer: str = PEER) -> OutboxRefused:
    return OutboxRefused(peer, reason, signal, f"id of {signal}", "plant.north", 7)


def test_refusals_are_told_with_the_last_of_them_and_their_sum(
    peer_signals: PeerSignals, chart: Fifo
) -> None:
    for each in (refusal("a"), refusal("b"), refusal("c"), refusal("d", "message_size")):
        peer_signals.refused(each)

    assert chart == [
        (OUTBOX_REFUSED, refusal("a")),
        (OUTBOX_REFUSED, refusal("d", "message_size")),
    ]
    wait_until(lambda: len(chart) == 3)
    assert chart[2] == (OUTBOX_REFUSED, replace(refusal("c"), events=2))


def test_that_nobody_listens_is_told_to_charts_that_ask_for_it() -> None:
    asked, told = PeerSignals("n", "mesh", PEER, tell_no_listener=True), Fifo()
    asked.subscribe("c", told.post)
    not_asked, silent = PeerSignals("n", "mesh", PEER), Fifo()
    not_asked.subscribe("c", silent.post)

    for each in (asked, not_asked):
        each.unroutable(peer=PEER, topic="plant.nroth", events=3)
        each.close()

    assert told == [(NO_LISTENER, NoListener(PEER, "plant.nroth", 3))]
    assert silent == []
