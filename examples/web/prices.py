"""A chart that knows prices: it answers `price_asked`, and says so where it sells no such thing.

python examples/web/prices.py       the settings come from the environment, as MIROS_MESH_BROKER_URL
"""

from __future__ import annotations

import threading
from typing import Any

from miros import Event, return_status, signals, spy_on

from miros_mesh import NetworkedActiveObject, stop_on_sigterm

PRICES = {"apples": 120, "pears": 150}


@spy_on
def open_for_business(chart: NetworkedActiveObject, event: Event) -> Any:
    """Answer what is asked; all else is the business of others."""
    if event.signal == signals.price_asked:
        item = event.payload["item"]
        if item in PRICES:
            chart.reply(Event(signal="price", payload={"item": item, "cents": PRICES[item]}))
        else:
            chart.reply(Event(signal="not_sold", payload={"item": item}))
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


if __name__ == "__main__":
    stop_on_sigterm()
    chart = NetworkedActiveObject("prices", rx_routing_key="prices")
    chart.start_at(open_for_business)
    print("prices: open for business", flush=True)
    threading.Event().wait()
