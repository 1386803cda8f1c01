"""Clocks that jump, on the embedded broker: no event and no queue depends on the time of day."""

from __future__ import annotations

from pathlib import Path

from support.actor import Actor

SCRIPT = Path(__file__).with_name("jumping.py")
COUNT = 300


def test_clocks_that_jump_by_hours_and_days_cost_no_event_and_no_queue() -> None:
    with Actor(SCRIPT, "receive", COUNT) as receiver:
        assert receiver.heard() == {"ready": True}
        with Actor(SCRIPT, "send", COUNT) as sender:
            assert sender.heard() == {"confirmed": COUNT}
        receiver.tell()
        assert receiver.heard() == {"handled": list(range(COUNT))}
