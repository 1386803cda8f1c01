"""The payment service: as many of it as there is work; each charge is handled by one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miros import Event, return_status, spy_on

from miros_mesh import NetworkedActiveObject
from shop.books import Books
from shop.messages import PAYMENTS, Charge, Receipt


class PaymentChart(NetworkedActiveObject):
    """Charges customers, and writes each charge into the books before it says so."""

    def __init__(self, books: Path, **settings: Any) -> None:
        super().__init__(
            "payment",
            tx_routing_key=PAYMENTS,
            rx_routing_key=PAYMENTS,
            group="payments",
            group_mode="share",
            **settings,
        )
        self.books = Books(books)


@spy_on
def charging(chart: PaymentChart, event: Event) -> Any:
    """The one state: charge what is asked for."""
    if event.signal_name == "CHARGE":
        _charge(chart, event.payload)
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


def _charge(chart: PaymentChart, charge: Charge) -> None:
    asked = chart.received
    if asked is None:
        return
    # Who crashed may have charged it before: a real one would ask its bank about this order first.
    chart.books.enter(str(charge.order), str(charge.amount), "repeat" if asked.redelivered else "")
    receipt = Receipt(charge.order, charge.amount, by=chart.health().node)
    if asked.wants_reply:
        chart.reply(Event(signal="CHARGED", payload=receipt))
