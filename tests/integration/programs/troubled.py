"""Two charts talk while their disk gets into trouble and out of it; prints what came of it.

troubled.py TROUBLE REMEDY       commands of the shell
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading

from miros_mesh import MeshConfig, NetworkedActiveObject, Observer
from support.charts_at_work import Heard, alone, event
from support.waiting import wait_until

MANY = 200
# Together more than what a page of SQLite's log has room for.
PAYLOAD = "x" * 2_000


class Told(Observer):
    """Why the sender could not send, and what was confirmed."""

    def __init__(self) -> None:
        self.down: list[str] = []
        self.published_events = 0

    def peer_down(self, *, peer: str, reason: str) -> None:
        """The publisher is told."""
        self.down.append(reason)

    def published(
        self, *, network: str, peer: str, events: int, size_bytes: int, seconds: float
    ) -> None:
        """Something was confirmed."""
        if network == "mesh":
            self.published_events += events


def run(trouble: str, remedy: str) -> None:
    """Send before, amid and after the trouble."""
    told, heard = Told(), Heard()
    sender = NetworkedActiveObject(
        "sender", config=MeshConfig(node_name="left", observers=(told,), confirm_timeout_s=1.0)
    )
    receiver = NetworkedActiveObject("receiver", config=MeshConfig(node_name="right"))
    receiver.start_at(alone(heard))
    sender.start_at(alone(Heard()))
    numbers = iter(range(sys.maxsize))
    sent = 0

    def send() -> None:
        nonlocal sent
        for sent in (next(numbers) for _ in range(MANY)):
            sender.transmit(event("NUMBER", [sent, PAYLOAD]))

    send()
    wait_until(lambda: len(heard) == MANY)
    subprocess.run(["sh", "-c", trouble], check=True)
    send()
    wait_until(lambda: told.down, timeout_s=20)
    # It is no passing state: what was tried again failed again.
    threading.Event().wait(1.5)
    confirmed_amid = told.published_events
    subprocess.run(["sh", "-c", remedy], check=True)
    send()
    expected = list(range(sent + 1))
    wait_until(lambda: len(heard) >= len(expected), timeout_s=20)
    report = sender.stop()
    receiver.stop()
    print(
        json.dumps(
            {
                "told": sorted(set(told.down)),
                "confirmed_amid": confirmed_amid,
                "sent": len(expected),
                "whole": [payload[0] for payload in heard.payloads] == expected,
                "all_confirmed": report.all_confirmed,
            }
        )
    )


if __name__ == "__main__":
    run(*sys.argv[1:])
