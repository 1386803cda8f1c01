"""Charts that do at random what charts do: each event of the network is handled once, or told."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miros import Event, return_status, signals, spy_on

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.testing.memory import MemoryMesh
from support.charts_at_work import Ground, Heard, Recorder, alone, event
from support.waiting import wait_until

NUMBERED = "numbered"
OWN = "own"
FLUSH = "flush"
LIMIT_S = 120.0


class Erratic(NetworkedActiveObject):
    """Handles, defers, recalls, drops, posts to itself and sets timers as its dice say."""

    def __init__(self, seed: int, config: MeshConfig) -> None:
        super().__init__("erratic", config=config)
        self.dice = random.Random(seed)
        self.flushing = False
        self.handled: list[int] = []
        self.dropped: list[int] = []
        self.posted = 0
        self.own = 0

    def numbered(self, received: Event) -> None:
        """Handle an event of the network, or put it off."""
        throw = self.dice.random()
        if throw < 0.3 and not self.flushing:
            self.defer(received)
            return
        self.handled.append(received.payload)
        if throw < 0.4:
            self.post_own(1 if throw < 0.395 else 100)
        elif throw < 0.42:
            self.post_fifo(Event(signal="tick"), period=0.001, times=1)
        elif throw < 0.43:
            self.cancel_events(Event(signal="tick"))

    def own_event(self) -> None:
        """Do something with what was put off."""
        self.own += 1
        throw = self.dice.random()
        if throw < 0.5:
            self.recall()
        elif throw < 0.6:
            self.recall_all()
        elif throw < 0.62:
            self.dropped += [each.payload for each in self.defer_queue]
            self.defer_queue.clear()

    def recall_all(self) -> None:
        while self.defer_queue:
            self.recall()

    def post_own(self, times: int) -> None:
        self.posted += times
        for _ in range(times):
            self.post_fifo(Event(signal=OWN))


@spy_on
def erratic(chart: Erratic, received: Event) -> int:
    if signals.is_inner_signal(received.signal_name):
        chart.temp.fun = chart.top
        return return_status.SUPER
    if received.signal_name == NUMBERED:
        chart.numbered(received)
    elif received.signal_name == OWN:
        chart.own_event()
    elif received.signal_name == FLUSH:
        chart.flushing = True
        chart.recall_all()
    return return_status.HANDLED


def account(make: Callable[..., MeshConfig], seed: int, bursts: list[int]) -> None:
    """Send the bursts to a chart, and find every event of them once, and every own one."""
    told = Recorder()
    chart = Erratic(seed, make(node_name="receiver", observers=(told,)))
    sender = NetworkedActiveObject("sender", config=make(node_name="sender"))
    chart.start_at(erratic)
    sender.start_at(alone(Heard()))
    try:
        sent = 0
        for burst in bursts:
            for _ in range(burst):
                sender.transmit(event(NUMBERED, sent))
                sent += 1

        def all_there() -> bool:
            # A chart that defers, and posts nothing to itself, would wait for ever.
            chart.post_fifo(Event(signal=FLUSH))
            return len(chart.handled) + len(chart.dropped) >= sent

        wait_until(all_there, LIMIT_S)
        assert Counter(chart.handled + chart.dropped) == Counter(range(sent))
        wait_until(lambda: len(chart.queue) == 0, LIMIT_S)
        assert chart.own <= chart.posted
        assert chart.posted - chart.own <= sum(
            amount for _, reason, amount in told.drops if reason == "chart_full"
        )
        assert chart.stop().unhandled == 0
    finally:
        chart.stop()
        sender.stop()


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    bursts=st.lists(st.integers(1, 2_000), min_size=1, max_size=3),
)
def test_whatever_a_chart_does_each_event_is_handled_once_or_told(
    seed: int, bursts: list[int]
) -> None:
    account(MemoryMesh().config, seed, bursts)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_on_every_kind_of_broker(ground: Ground, seed: int) -> None:
    def make(**given: Any) -> MeshConfig:
        return ground.make(**given)

    account(make, seed, [1, 2_000, 500])
