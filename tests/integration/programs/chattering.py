"""A process that sends snoop records at a rate, as charts do that hand on events in a ring.

chattering.py RATE CHARTS   the settings come from the environment

Once its input has ended it says how many records it has sent.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator

from miros_mesh import MeshConfig, Observer
from miros_mesh.node.node import Node
from miros_mesh.observe.snoop.listener_node import ListenerNode
from miros_mesh.wire.envelope import SnoopRecord

NODE = "mill"
EVERY_S = 0.05
PER_STEP = 7
STATES = ("idle", "paying")


class Lost(Observer):
    """Counts what did not leave this process."""

    records = 0

    def dropped(self, *, network: str, reason: str, events: int) -> None:
        self.records += events


class Mill:
    """What charts in a ring would tell, of which each handles what the one before it has sent.

    Real ones would take most of the machine for their own work, at a rate that is theirs.
    """

    def __init__(self, node: Node, charts: int) -> None:
        self._node = node
        self._incarnation = node.identity.incarnation
        self._charts = [f"wheel-{number:02}" for number in range(charts)]
        self._steps = itertools.count()
        self.sent = 0

    def turn(self, steps: int) -> None:
        """Send what so many transitions are to who watches."""
        spied, traced = list[SnoopRecord](), list[SnoopRecord]()
        for step in itertools.islice(self._steps, steps):
            records = list(self._records(step))
            traced.append(records.pop())
            spied += records
        self.sent += len(spied) + len(traced)
        self._node.spy.send(spied)
        self._node.trace.send(traced)

    def _records(self, step: int) -> Iterator[SnoopRecord]:
        lap, place = divmod(step, len(self._charts))
        old, new = STATES[lap % 2], STATES[(lap + 1) % 2]
        lines = (
            *(f"turn:{old}", f"SEARCH_FOR_SUPER_SIGNAL:{new}", f"EXIT_SIGNAL:{old}"),
            *(f"ENTRY_SIGNAL:{new}", f"INIT_SIGNAL:{new}", "<- Queued:(0) Deferred:(0)"),
        )
        who = NODE, self._charts[place], self._incarnation
        ids = self._event(step), self._event(step - 1) if step else None
        now = time.time()
        for number, line in enumerate(lines, lap * len(lines) + 1):
            yield SnoopRecord(*who, number, "spy", now, line, None, None, None, *ids)
        text = f"e->turn() {old}->{new}"
        yield SnoopRecord(*who, lap + 1, "trace", now, text, "turn", old, new, *ids)

    def _event(self, step: int) -> str:
        lap, place = divmod(step, len(self._charts))
        return f"{self._incarnation}/{self._charts[place - 1]}/{lap + 1}"


def wait_for_end(ended: threading.Event) -> None:
    """Wait for that of the input."""
    sys.stdin.read()
    ended.set()


def main(rate: int, charts: int) -> None:
    """Send until the input ends, as many a second as are wanted."""
    lost = Lost()
    place = ListenerNode(MeshConfig.from_env(), NODE, lost)
    node = place.enter(lambda: None)
    mill, ended = Mill(node, charts), threading.Event()
    threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    began = time.monotonic()
    while not ended.wait(EVERY_S):
        due = int((time.monotonic() - began) * rate) - mill.sent
        mill.turn(max(due // PER_STEP, 0))
    # The last of each chart's streams: what was lost before it is seen to be.
    mill.turn(charts)
    print(json.dumps({"sent": mill.sent, "lost": lost.records}), flush=True)
    place.leave(node)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
