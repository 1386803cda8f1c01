"""A process whose clock jumps by hours and days, forth and back, while it talks.

jumping.py ROLE COUNT
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from miros_mesh import MeshConfig, NetworkedActiveObject
from support.charts_at_work import Heard, alone, event
from support.waiting import wait_until

HOUR_S, DAY_S = 3_600.0, 86_400.0
# A queue that was unused for a second is gone, so an hour would do by far.
CONFIG = MeshConfig(queue_expires_s=1.0)
BETWEEN_S = 0.005
LIMIT_S = 40.0


class Clock:
    """The time of day, and how wrong it is now."""

    def __init__(self) -> None:
        self._true = time.time
        self._shifts = itertools.cycle((HOUR_S, -HOUR_S, 0.0, DAY_S, -DAY_S, 0.0))
        self._shift = 0.0

    def __call__(self) -> float:
        return self._true() + self._shift

    def jump(self) -> None:
        """Go to the next of the wrong times."""
        self._shift = next(self._shifts)


CLOCK = Clock()


def say(**facts: Any) -> None:
    """One line for the test."""
    print(json.dumps(facts), flush=True)


def send(count: int) -> None:
    """Transmit numbers, with a jump after each ten."""
    chart = NetworkedActiveObject("sender", config=CONFIG)
    chart.start_at(alone(Heard()))
    for number in range(count):
        chart.transmit(event("NUMBER", number))
        if number % 10 == 0:
            CLOCK.jump()
        threading.Event().wait(BETWEEN_S)
    say(confirmed=chart.stop().confirmed)


def receive(count: int) -> None:
    """Handle numbers, with a jump after each seven."""
    heard = Heard()

    def handle(chart: NetworkedActiveObject, received: Any) -> None:
        heard(chart, received)
        if len(heard) % 7 == 0:
            CLOCK.jump()

    chart = NetworkedActiveObject("receiver", config=CONFIG)
    chart.start_at(alone(handle))
    say(ready=True)
    wait_until(lambda: len(heard) >= count, timeout_s=LIMIT_S)
    # The sender's last words say what it has sent; copies would be here by then.
    sys.stdin.readline()
    chart.stop()
    say(handled=heard.payloads)


if __name__ == "__main__":
    # All that asks for the time of day asks for it so.
    time.time = CLOCK
    roles: dict[str, Callable[[int], None]] = {"send": send, "receive": receive}
    roles[sys.argv[1]](int(sys.argv[2]))
