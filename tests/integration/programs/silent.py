"""A process with a chart that gets requests and answers none: it says which, and waits."""

from __future__ import annotations

import json
import sys

from miros import Event

from miros_mesh import MeshConfig, NetworkedActiveObject
from support.charts_at_work import KEY, alone


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def keep(chart: NetworkedActiveObject, _: Event) -> None:
    if received := chart.received:
        say(asked=received.event_id)


def main(url: str, topic: str) -> None:
    config = MeshConfig(broker_url=url or None, mesh_encryption_key=KEY, node_name="there")
    chart = NetworkedActiveObject("answers", config=config, rx_routing_key=topic)
    chart.start_at(alone(keep))
    say(ready=True)
    sys.stdin.readline()
    chart.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
