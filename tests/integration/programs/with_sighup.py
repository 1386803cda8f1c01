"""A chart that says which keys it has, whenever they are others, until a line comes in.

with_sighup.py URL FILE        the keys are in the file
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from miros_mesh import MeshConfig, NetworkedActiveObject, reload_on_sighup
from miros_mesh.config.secret_file import SecretFile
from support.charts_at_work import Heard, alone

NEVER_S = 600.0
EVERY_S = 0.01

reload_on_sighup()
chart = NetworkedActiveObject(
    "chart",
    config=MeshConfig(
        broker_url=sys.argv[1],
        mesh_encryption_key=SecretFile(Path(sys.argv[2])),
        heartbeat_interval_s=NEVER_S,
    ),
)
chart.start_at(alone(Heard()))
ended = threading.Event()


def say_keys() -> None:
    """Tell the test."""
    said: tuple[str, ...] = ()
    while not ended.wait(EVERY_S):
        if (now := chart.key_ring().fingerprints) != said:
            said = now
            print(json.dumps({"keys": now}), flush=True)


saying = threading.Thread(target=say_keys)
saying.start()
sys.stdin.readline()
ended.set()
saying.join()
chart.stop()
