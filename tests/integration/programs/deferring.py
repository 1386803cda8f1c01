"""deferring.py URL: a busy worker under the node name `worker`; it says when it has deferred 20."""

from __future__ import annotations

import json
import sys
import threading

from miros_mesh import MeshConfig
from support.charts_at_work import KEY
from support.deferring import Worker, busy


def main(url: str) -> None:
    worker = Worker(
        "worker", config=MeshConfig(broker_url=url, mesh_encryption_key=KEY, node_name="worker")
    )
    worker.start_at(busy)
    print(json.dumps({"said": "ready"}), flush=True)
    never = threading.Event()
    while worker.deferred < 20:
        never.wait(0.01)
    print(json.dumps({"said": "deferred"}), flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
