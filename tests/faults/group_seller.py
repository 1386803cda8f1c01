"""The process of a chart that sends what a group hears, until a line comes in.

group_seller.py URL FILE        says how many events it has sent; FILE is where its log goes
"""

from __future__ import annotations

import logging
import sys

from faults.conftest import settings
from faults.roles import say
from faults.traffic import Stream
from miros_mesh import NetworkedActiveObject
from support.charts_at_work import Heard, alone
from support.group_members import TOPIC

if __name__ == "__main__":
    _, url, file = sys.argv
    logging.basicConfig(filename=file)
    chart = NetworkedActiveObject(
        "shop", tx_routing_key=TOPIC, rx_routing_key="none", config=settings(url)
    )
    chart.start_at(alone(Heard(), spied=False))
    with Stream(chart) as stream:
        say("ready")
        sys.stdin.readline()
        sent = stream.end()
    chart.stop()
    say(str(len(sent)))
