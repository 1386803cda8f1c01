"""Members of a group, and what each of them has done, for tests of groups."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from miros import Event

from miros_mesh import NetworkedActiveObject
from miros_mesh.signals import PUBLIC_SIGNALS
from support.charts_at_work import Ground, Heard, Launch, event

GROUP = "payments"
TOPIC = "orders"


class Done(NamedTuple):
    """An event that a member has handled, and what it was told of it."""

    payload: Any
    redelivered: bool
    deliveries: int


@dataclass
class Member:
    """A handler that notes what it does, and stands still while its gate is closed."""

    done: list[Done] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    pause_s: float = 0.0
    _never: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def __call__(self, chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name in PUBLIC_SIGNALS:
            return
        told = chart.received
        assert told is not None
        self.gate.wait()
        if self.pause_s:
            self._never.wait(self.pause_s)
        self.done.append(Done(received.payload, told.redelivered, told.deliveries))

    @property
    def payloads(self) -> list[Any]:
        return [each.payload for each in self.done]


def join(
    launch: Launch, ground: Ground, node: str, member: Any, mode: str = "share", **more: Any
) -> NetworkedActiveObject:
    """Start a member of the group on a node of its own; settings go by `settings`."""
    settings = more.pop("settings", {})
    given = {"tx_routing_key": "paid", "rx_routing_key": TOPIC, "group": GROUP, "group_mode": mode}
    return launch("payment", ground.node(node, **settings), member, **given | more)


def sender(launch: Launch, ground: Ground, node: str = "shop", **settings: Any) -> Any:
    """Start a chart that sends what the group hears."""
    config = ground.node(node, **settings)
    return launch("shop", config, Heard(), tx_routing_key=TOPIC, rx_routing_key="none")


def send(chart: NetworkedActiveObject, numbers: Iterable[int]) -> None:
    for number in numbers:
        chart.transmit(event("pay", number))


def unmarked_repeats(done: Iterable[Done]) -> list[Any]:
    """What was handled more than once, and oftener than all but one time without a mark."""
    first = Counter(each.payload for each in done if not each.redelivered)
    return [payload for payload, times in first.items() if times > 1]
