"""A broker goes and comes back while charts send under several topics, and to single charts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from miros import Event

from faults.conftest import Told, settings
from faults.traffic import ARRIVAL_LIMIT_S, EVERY_S, SIGNAL, WARM, accounted
from miros_mesh import NetworkedActiveObject
from support.charts_at_work import Heard, Launch, event
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

REGISTERED_S = 2.0
# Where the sender sends in turn, and who hears it.
WAYS: Sequence[dict[str, Any]] = (
    {"routing_key": "a.one"},
    {"to": "first/receiver"},
    {"routing_key": "b.two"},
    {"to": "second/receiver"},
    {"routing_key": "c"},
)
HEARERS = {
    "first": (("a.#", "c"), (0, 1, 4)),
    "second": (("b.*",), (2, 3)),
    "third": (("#",), (0, 2, 4)),
}


@dataclass
class Handled:
    numbers: list[int] = field(default_factory=list)

    def __call__(self, _: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL:
            self.numbers.append(received.payload)


class Stream:
    """Sends the next number to the next place, until it is told to end."""

    def __init__(self, chart: NetworkedActiveObject) -> None:
        self.next = 0
        self._chart = chart
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream")
        self._thread.start()

    def end(self) -> int:
        self._ending.set()
        self._thread.join()
        return self.next

    def _run(self) -> None:
        while not self._ending.wait(EVERY_S):
            self._chart.transmit(event(SIGNAL, self.next), **WAYS[self.next % len(WAYS)])
            self.next += 1


def test_broker_killed_and_started_under_several_destinations(
    own_broker: RabbitServer, own_url: str, launch: Launch
) -> None:
    handled, told = {name: Handled() for name in HEARERS}, Told()
    for name, (patterns, _) in HEARERS.items():
        # Named queues, since a classic one may lose what was confirmed last
        config = settings(own_url, node_name=name, observers=(told,))
        launch("receiver", config, handled[name], rx_routing_key=patterns)
    sender = launch("sender", settings(own_url), Heard(), rx_routing_key="none")
    stream = Stream(sender)
    try:
        wait_until(lambda: len(handled["third"].numbers) >= WARM, ARRIVAL_LIMIT_S)
        # It forgets a quorum queue that was declared just before it is killed.
        threading.Event().wait(REGISTERED_S)
        own_broker.kill()
        own_broker.start()
        after = stream.next
        wait_until(
            lambda: all(each.numbers[-1] > after for each in handled.values()), ARRIVAL_LIMIT_S
        )
    finally:
        sent = stream.end()

    for name, (_, ways) in HEARERS.items():
        # What is for it, and nothing else, once and in order
        wanted = [number for number in range(sent) if number % len(WAYS) in ways]
        account = accounted(f"broker killed, destinations: {name}", wanted, handled[name])
        assert account.perfect, account
        assert handled[name].numbers == wanted
    assert told.missing == 0
