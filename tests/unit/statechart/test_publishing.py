"""What charts publish to each other: every subscriber hears it, in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from miros import ActiveObject, Event, return_status, signals, spy_on

from miros_mesh.statechart.safe_chart import SafeChart
from support.waiting import wait_until

MANY = 200


def _plain(chart: Listening, event: Event) -> int:
    if signals.is_inner_signal(event.signal_name):
        chart.temp.fun = chart.top
        return return_status.SUPER
    chart.heard.append((event.signal_name, event.payload))
    return return_status.HANDLED


_spied = spy_on(_plain)


class Listening(SafeChart):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.heard: list[tuple[str, object]] = []


@pytest.fixture(params=["spied", "plain"])
def charts(request: pytest.FixtureRequest) -> Iterator[list[Listening]]:
    """Three charts that run, with `@spy_on` and without it."""
    made = [Listening(name) for name in ("one", "two", "three")]
    with ExitStack() as running:
        for chart in made:
            chart.start_at(_spied if request.param == "spied" else _plain)
            running.callback(chart.stop)
        yield made


def test_every_running_chart_that_subscribes_hears_it_all_in_order(charts: list[Listening]) -> None:
    for chart in charts:
        chart.subscribe(Event(signal="NEWS"))
        assert chart.subscribed(Event(signal="NEWS"), "fifo")
    for number in range(MANY):
        charts[0].publish(Event(signal="NEWS", payload=number))
    wait_until(lambda: all(len(chart.heard) >= MANY for chart in charts))
    for chart in charts:
        assert chart.heard == [("NEWS", number) for number in range(MANY)]


def test_a_subscription_before_the_start_holds_after_it() -> None:
    early, talker = Listening("early"), Listening("talker")
    with ExitStack() as running:
        signals.append("RUMOUR")
        early.subscribe(signals.RUMOUR)
        for chart in (early, talker):
            chart.start_at(_spied)
            running.callback(chart.stop)
        talker.publish(Event(signal="RUMOUR", payload=1))
        wait_until(lambda: early.heard == [("RUMOUR", 1)])


def test_the_order_holds_beside_a_stock_chart_that_publishes_too(charts: list[Listening]) -> None:
    @spy_on
    def talking(chart: ActiveObject, event: Event) -> int:
        chart.temp.fun = chart.top
        return return_status.SUPER

    stock = ActiveObject("stock")
    stock.start_at(talking)
    charts[1].subscribe(Event(signal="NEWS"))
    charts[1].subscribe(Event(signal="STOCK_NEWS"))
    for number in range(MANY):
        charts[0].publish(Event(signal="NEWS", payload=number))
        stock.publish(Event(signal="STOCK_NEWS", payload=number))
    wait_until(lambda: len(charts[1].heard) >= 2 * MANY)
    assert [n for name, n in charts[1].heard if name == "NEWS"] == list(range(MANY))
    stock.stop()


def test_a_chart_that_has_stopped_hears_nothing_more(charts: list[Listening]) -> None:
    gone = charts[2]
    gone.subscribe(Event(signal="NEWS"))
    gone.stop()
    gone.unsubscribe_all()
    assert not gone.subscribed(Event(signal="NEWS"))
    charts[1].subscribe(Event(signal="NEWS"))
    charts[0].publish(Event(signal="NEWS"))
    wait_until(lambda: charts[1].heard)
    assert gone.heard == []


def test_a_higher_priority_goes_first_and_lifo_goes_in_front() -> None:
    fabric = ActiveObject("any").fabric
    box = Listening("waiting")
    box.subscribe(Event(signal="NEWS"))
    box.subscribe(Event(signal="URGENT"), queue_type="lifo")
    # Given a fabric whose threads come to it when all was published
    fabric.stop()
    for number in range(3):
        box.publish(Event(signal="NEWS", payload=number))
    box.publish(Event(signal="URGENT"), priority=2000)
    box.publish(Event(signal="NEWS", payload="first"), priority=1)
    # When they do
    fabric.start()
    wait_until(lambda: len(box.queue) == 5)
    # Then
    assert [each.payload for each in box.queue.deque] == [None, "first", 0, 1, 2]
