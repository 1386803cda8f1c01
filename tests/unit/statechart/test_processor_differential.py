"""The event processor beside that of miros: of any chart the same is seen, text for text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from miros import ActiveObject, Factory

from miros_mesh.charts.deferred import DeferredEvents
from miros_mesh.charts.fifo import ChartQueue
from miros_mesh.statechart.safe_chart import SafeChart
from support.random_hierarchies import Actor, Spec, played, specs


class Unthreaded(Actor):
    """Its steps are run by the test."""

    def run_event(self, task_event: Any, fabric_task_event: Any, queue: Any) -> None:
        """End at once."""


class Stock(Unthreaded, ActiveObject):
    """miros' own."""


class StockFactory(Unthreaded, Factory):
    """miros' own."""


class Ours(Unthreaded, SafeChart):
    """The library's, with miros' queue."""


class OursFactory(Unthreaded, SafeChart, Factory):
    """The library's, with miros' queue."""


class Queued(Ours):
    """The library's, with the queues of a networked chart."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.queue = self.locking_deque = queue = ChartQueue(lambda _: None)
        self.defer_queue = DeferredEvents(
            queue.deferring, queue.recalled, lost=lambda _: None, dropped=lambda _: None
        )


class QueuedFactory(Queued, Factory):
    """The library's, with the queues of a networked chart."""


def assert_alike(spec: Spec, *, queued: bool) -> None:
    """Run both, and compare them at each step."""
    factory = spec.style == "factory"
    mine: Any
    if queued:
        mine = QueuedFactory("chart") if factory else Queued("chart")
    else:
        mine = OursFactory("chart") if factory else Ours("chart")
    stock: Any = StockFactory("chart") if factory else Stock("chart")
    # A chart of the network posts copies, which say what has caused them.
    mine.identity = stock.identity = not queued
    for ours, theirs in zip(played(mine, spec), played(stock, spec), strict=True):
        assert ours == theirs


_quick = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("queued", [False, True])
@settings(_quick, max_examples=250)
@given(spec=specs())
def test_any_chart_is_seen_to_do_what_it_does_with_miros_own(queued: bool, spec: Spec) -> None:
    assert_alike(spec, queued=queued)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("queued", [False, True])
@settings(_quick, max_examples=10_000)
@given(spec=specs())
def test_so_do_twenty_thousand(queued: bool, spec: Spec) -> None:
    assert_alike(spec, queued=queued)
