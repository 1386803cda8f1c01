"""A bad cable between two interfaces: wire.py LEFT RIGHT LOSS DELAY_S

It carries frames both ways until its input ends, loses a share of them and delays the others, and
says then how many it carried and how many it lost.
"""

from __future__ import annotations

import random
import select
import socket
import sys
import time
from collections import deque

# Of linux/if_packet.h and linux/if_ether.h; the module socket has not all of them.
ETH_P_ALL = 0x0003
SOL_PACKET = 263
PACKET_VNET_HDR = 15
PACKET_IGNORE_OUTGOING = 23

FRAME_BYTES = 1 << 17
MEMORY_BYTES = 1 << 24


def end_of(interface: str) -> socket.socket:
    """One end of the cable."""
    end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    # Sums and segments that a real card would make are still to be made: let them travel so.
    end.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    end.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEMORY_BYTES)
    end.bind((interface, ETH_P_ALL))
    end.setblocking(False)
    return end


class Wire:
    """Frames wait here for their time; all for the same time, so they keep their order."""

    def __init__(self, left: str, right: str, loss: float, delay_s: float) -> None:
        self._ends = (end_of(left), end_of(right))
        self._loss = loss
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, socket.socket, bytes]] = deque()
        self.passed = self.lost = 0

    def run(self) -> None:
        """Carry frames until the input ends."""
        poller = select.poll()
        for source in (sys.stdin, *self._ends):
            poller.register(source, select.POLLIN)
        while not any(ready == sys.stdin.fileno() for ready, _ in poller.poll(self._patience_ms)):
            for source, sink in (self._ends, self._ends[::-1]):
                self._take(source, sink)
            self._give()

    @property
    def _patience_ms(self) -> float | None:
        return max((self._waiting[0][0] - time.monotonic()) * 1000, 0) if self._waiting else None

    def _take(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while frame := source.recv(FRAME_BYTES):
                if random.random() < self._loss:
                    self.lost += 1
                else:
                    self._waiting.append((time.monotonic() + self._delay_s, sink, frame))
        except OSError:
            # Nothing is left, or the interface is down.
            return

    def _give(self) -> None:
        while self._waiting and self._waiting[0][0] <= time.monotonic():
            _, sink, frame = self._waiting.popleft()
            try:
                sink.send(frame)
                self.passed += 1
            except OSError:
                self.lost += 1


if __name__ == "__main__":
    wire = Wire(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
    print("ready", flush=True)
    wire.run()
    print(wire.passed, wire.lost)
