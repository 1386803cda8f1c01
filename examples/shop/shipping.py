"""The shipping service: sends what was paid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miros import Event, return_status, spy_on

from miros_mesh import NetworkedActiveObject
from shop.books import Books
from shop.messages import PARCELS, Parcel


class ShippingChart(NetworkedActiveObject):
    """Writes each parcel that it sends into the books."""

    def __init__(self, books: Path, **settings: Any) -> None:
        super().__init__("shipping", tx_routing_key=PARCELS, rx_routing_key=PARCELS, **settings)
        self.books = Books(books)


@spy_on
def shipping(chart: ShippingChart, event: Event) -> Any:
    """The one state: send what comes."""
    if event.signal_name == "SHIP":
        parcel: Parcel = event.payload
        chart.books.enter(str(parcel.order), parcel.customer, *sorted(parcel.articles))
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER
