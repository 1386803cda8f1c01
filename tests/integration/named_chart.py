"""A process with one chart under a node name: it says whether it could start, and waits."""

from __future__ import annotations

import json
import sys

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.errors import LinkError
from support.charts_at_work import KEY, Heard, alone


def main(node: str, chart: str, url: str = "", heartbeat_s: str = "5") -> None:
    config = MeshConfig(
        broker_url=url or None,
        mesh_encryption_key=KEY,
        node_name=node,
        heartbeat_interval_s=float(heartbeat_s),
    )
    made = NetworkedActiveObject(chart, config=config)
    try:
        made.start_at(alone(Heard()))
    except LinkError as error:
        print(json.dumps({"reason": error.reason, "why": str(error)}), flush=True)
        return
    print(json.dumps({"reason": None}), flush=True)
    sys.stdin.readline()
    made.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
