"""A node with a chart that passes a step on to the chart of another node.

relaying.py NODE OTHER   the settings come from the environment; ends with its input
"""

from __future__ import annotations

import sys

from miros_mesh import MeshConfig
from support import page_mesh


def main(node: str, other: str) -> None:
    """Work until the input ends."""
    chart = page_mesh.made(f"lamp-{node}", node, MeshConfig.from_env, tx_routing_key=f"line.{node}")
    chart.next_topic = f"line.{other}"
    chart.start_at(page_mesh.green)
    with page_mesh.busy([chart], every_s=0.2, hops=2):
        sys.stdin.read()
    chart.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
