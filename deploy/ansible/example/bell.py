"""A bell in each room, which rings once in a while, and writes down the rings of all others.

Variables: BELL_ROOMS, the names of all nodes; BELL_EVERY_S, how often it rings.
"""

import os
import sys
import threading

from miros import Event, return_status, signals, spy_on

from miros_mesh import (
    MeshConfig,
    NetworkedActiveObject,
    notify_systemd,
    reload_on_sighup,
    stop_on_sigterm,
)


def say(*words):
    """Write a line whole, whichever thread it comes from."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


@spy_on
def listening(chart, event):
    """Write down what rings elsewhere."""
    if event.signal == signals.ring:
        say("heard", event.payload["room"], event.payload["number"])
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def main():
    """Ring until the service is stopped."""
    config = MeshConfig.from_env()
    room, every_s = config.node_name, float(os.environ.get("BELL_EVERY_S", "1"))
    chart = NetworkedActiveObject(
        "bell",
        config=config,
        # A node may send under topics that begin with its name, and hear those of the others.
        tx_routing_key=f"{room}.bell",
        rx_routing_key=[f"{each}.bell" for each in os.environ["BELL_ROOMS"].split()],
    )
    chart.start_at(listening)
    number = 0
    while not threading.Event().wait(every_s):
        number += 1
        chart.transmit(Event(signal=signals.ring, payload={"room": room, "number": number}))
        say("rang", number)


if __name__ == "__main__":
    stop_on_sigterm()
    reload_on_sighup()
    notify_systemd()
    main()
