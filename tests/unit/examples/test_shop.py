"""The charts of the shop, each alone with what it talks to, on a mesh in this process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from miros_mesh import MeshClient, Message, NetworkedActiveObject
from miros_mesh.testing import HandClock, MemoryMesh
from support.doc_pages import ROOT
from support.waiting import wait_until

sys.path.append(str(ROOT / "examples"))

from shop.messages import ORDERS, PAYLOADS, PAYMENTS, Charge, Item, Order, Outcome, Receipt
from shop.order import PATIENCE_S, OrderChart, taking_orders
from shop.payment import PaymentChart, charging
from shop.shipping import ShippingChart, shipping

ORDER = Order(uuid4(), "ada", (Item("tea", 2, Decimal("3.20")), Item("cup", 1, Decimal("7.10"))))


class Town:
    """A mesh with a customer on it, and services that a test opens."""

    def __init__(self, stack: ExitStack, books: Path) -> None:
        self.mesh = MemoryMesh(clock=HandClock())
        self.books = books
        self._stack = stack
        self.customer = stack.enter_context(
            MeshClient(self.mesh.config(node_name="customer", payloads=PAYLOADS))
        )

    def open_orders(self) -> OrderChart:
        chart = OrderChart(config=self.mesh.config(node_name="orders", payloads=PAYLOADS))
        self._start(chart, taking_orders)
        return chart

    def open_payment(self, node: str = "bank") -> PaymentChart:
        config = self.mesh.config(node_name=node, payloads=PAYLOADS)
        chart = PaymentChart(self.books / "payment", config=config)
        self._start(chart, charging)
        return chart

    def open_shipping(self) -> ShippingChart:
        config = self.mesh.config(node_name="harbour", payloads=PAYLOADS)
        chart = ShippingChart(self.books / "shipping", config=config)
        self._start(chart, shipping)
        return chart

    def _start(self, chart: NetworkedActiveObject, state: object) -> None:
        chart.start_at(state)
        self._stack.callback(chart.stop)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        yield Town(stack, tmp_path)


def test_an_order_is_paid_shipped_and_answered(town: Town) -> None:
    town.open_orders()
    payment, harbour = town.open_payment(), town.open_shipping()

    reply = town.customer.request(Message("PLACE_ORDER", ORDER), 5, routing_key=ORDERS)

    receipt = Receipt(ORDER.id, Decimal("13.50"), "bank")
    assert (reply.signal_name, reply.payload) == (
        "ORDER_PLACED",
        Outcome(ORDER.id, "paid", receipt),
    )
    wait_until(lambda: bool(harbour.books.entries()))
    assert harbour.books.entries() == [[str(ORDER.id), "ada", "cup", "tea"]]
    assert payment.books.entries() == [[str(ORDER.id), "13.50", ""]]


def test_a_silent_payment_makes_an_order_unknown_and_a_late_receipt_changes_nothing(
    town: Town,
) -> None:
    orders, payment, harbour = town.open_orders(), town.open_payment(), town.open_shipping()
    town.mesh.faults.delay("CHARGED", by_s=PATIENCE_S + 1)

    town.customer.send(Message("PLACE_ORDER", ORDER), routing_key=ORDERS)
    town.mesh.advance(PATIENCE_S)
    assert (orders.timed_out, orders.open) == (1, {})
    town.mesh.advance(2)

    assert (orders.timed_out, orders.open) == (1, {})
    assert len(payment.books.entries()) == 1
    assert harbour.books.entries() == []


def test_without_a_payment_service_an_order_is_unknown_at_once(town: Town) -> None:
    town.open_orders()

    reply = town.customer.request(Message("PLACE_ORDER", ORDER), 5, routing_key=ORDERS)

    assert reply.payload == Outcome(ORDER.id, "unknown")


def test_each_charge_is_entered_by_one_of_two_payment_services(town: Town) -> None:
    first, second = town.open_payment("one"), town.open_payment("two")
    charges = [Charge(UUID(int=number), Decimal(number)) for number in range(1, 41)]

    receipts = [
        town.customer.request(Message("CHARGE", charge), 5, routing_key=PAYMENTS).payload
        for charge in charges
    ]

    assert [(each.order, each.amount) for each in receipts] == [
        (each.order, each.amount) for each in charges
    ]
    assert {each.by for each in receipts} <= {"one", "two"}
    assert first.books.entries() == second.books.entries()
    assert len(first.books.entries()) == len(charges)
