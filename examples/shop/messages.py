"""What the services of the shop say to each other: a type for each signal."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from uuid import UUID


@dataclass(frozen=True)
class Item:
    """So many of an article, at a price for each."""

    article: str
    amount: int
    price: Decimal


@dataclass(frozen=True)
class Order:
    """What a customer wants."""

    id: UUID
    customer: str
    items: tuple[Item, ...]

    @property
    def total(self) -> Decimal:
        """What it costs, to the cent."""
        return sum((item.amount * item.price for item in self.items), Decimal(0))


@dataclass(frozen=True)
class Charge:
    """So much is to be paid for an order."""

    order: UUID
    amount: Decimal


@dataclass(frozen=True)
class Receipt:
    """An order was paid; `by` is the node that charged it."""

    order: UUID
    amount: Decimal
    by: str


@dataclass(frozen=True)
class Parcel:
    """What is to be sent to a customer."""

    order: UUID
    customer: str
    articles: frozenset[str]


@dataclass(frozen=True)
class Outcome:
    """What became of an order: `paid`, or `unknown` when the payment has not answered."""

    order: UUID
    state: str
    receipt: Receipt | None = field(default=None)


PAYLOADS: Final[dict[str, Any]] = {
    "PLACE_ORDER": Order,
    "ORDER_PLACED": Outcome,
    "CHARGE": Charge,
    "CHARGED": Receipt,
    "SHIP": Parcel,
}
"""For `MeshConfig(payloads=...)`: checked where they are sent, and where they arrive."""

ORDERS: Final = "shop.orders"
PAYMENTS: Final = "shop.payments"
PARCELS: Final = "shop.parcels"
