"""The order service: takes orders, has them paid, and hands them on to be shipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from miros import Event, return_status, spy_on

from miros_mesh import NetworkedActiveObject, Received
from shop.messages import ORDERS, PARCELS, PAYMENTS, Charge, Order, Outcome, Parcel, Receipt

PATIENCE_S = 20.0
"""How long a payment may take."""


@dataclass(frozen=True)
class Open:
    """An order whose payment was asked for, and who has placed it."""

    order: Order
    placed: Received


class OrderChart(NetworkedActiveObject):
    """Keeps the orders that wait for their payment, by the ids of the requests."""

    def __init__(self, **settings: Any) -> None:
        super().__init__("order", tx_routing_key=ORDERS, rx_routing_key=ORDERS, **settings)
        self.open: dict[str, Open] = {}
        self.timed_out = 0


@spy_on
def taking_orders(chart: OrderChart, event: Event) -> Any:
    """The one state: each order waits on its own, so the chart never does."""
    match event.signal_name:
        case "PLACE_ORDER":
            _have_it_paid(chart, event.payload)
        case "CHARGED":
            _paid(chart, event.payload)
        case "REQUEST_TIMED_OUT" | "REQUEST_UNROUTABLE":
            _not_paid(chart, event.payload.id)
        case _:
            chart.temp.fun = chart.top
            return return_status.SUPER
    return return_status.HANDLED


def _have_it_paid(chart: OrderChart, order: Order) -> None:
    placed = chart.received
    if placed is None:
        return
    charge = Event(signal="CHARGE", payload=Charge(order.id, order.total))
    request = chart.request(charge, routing_key=PAYMENTS, timeout_s=PATIENCE_S)
    chart.open[request] = Open(order, placed)


def _paid(chart: OrderChart, receipt: Receipt) -> None:
    answered = chart.received
    if answered is None or answered.reply_to is None:
        return
    paid = chart.open.pop(answered.reply_to)
    order = paid.order
    articles = frozenset(item.article for item in order.items)
    parcel = Parcel(order.id, order.customer, articles)
    chart.transmit(Event(signal="SHIP", payload=parcel), routing_key=PARCELS)
    _answer(chart, paid, Outcome(order.id, "paid", receipt))


def _not_paid(chart: OrderChart, request: str) -> None:
    chart.timed_out += 1
    unpaid = chart.open.pop(request)
    # It may be paid all the same: the books of the payment service say so.
    _answer(chart, unpaid, Outcome(unpaid.order.id, "unknown"))


def _answer(chart: OrderChart, open_order: Open, outcome: Outcome) -> None:
    if open_order.placed.wants_reply:
        chart.reply(Event(signal="ORDER_PLACED", payload=outcome), to=open_order.placed)
