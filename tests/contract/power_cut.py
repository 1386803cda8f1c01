"""Publishes numbered messages, and ends as at a power cut: no connection is closed.

power_cut.py FOLDER COUNT BYTES DURABILITY ...     COUNT messages with each durability in turn
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from miros_mesh.embedded.transport import dial
from support.kombu_peer import Peer

if __name__ == "__main__":
    folder, count, size, *durabilities = sys.argv[1:]
    peers = [Peer(dial(Path(folder), each)) for each in durabilities]  # type: ignore[arg-type]
    peers[0].declare("queue")
    for turn, peer in enumerate(peers):
        for number in range(int(count)):
            peer.publish(f"{turn} {number}".ljust(int(size)))
            print(f"{turn} {number}", flush=True)
    os._exit(0)
