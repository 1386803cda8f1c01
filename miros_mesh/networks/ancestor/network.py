"""A network of miros-rabbitmq: its exchange, one message in each publication, and no numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from miros_mesh.errors import FrameError, LinkError
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.frame import Frame
from miros_mesh.networks.network import Network
from miros_mesh.observer import Observer
from miros_mesh.wire.ancestor.codec import TokenCodec
from miros_mesh.wire.codec import Arrived
from miros_mesh.wire.envelope import Origin
from miros_mesh.wire.freshness import Freshness, Limits

T = TypeVar("T", bound=Origin)


@dataclass(frozen=True)
class AncestorSpec:
    """What tells one network of miros-rabbitmq from the others."""

    name: str
    """Under which it is counted."""
    exchange: str
    brings_events: bool = False


MESH: Final = AncestorSpec("ancestor_mesh", "miros.mesh.exchange", brings_events=True)
TRACE: Final = AncestorSpec("ancestor_trace", "miros.snoop.trace.exchange")
SPY: Final = AncestorSpec("ancestor_spy", "miros.snoop.spy.exchange")
NAMES: Final = (MESH.name, TRACE.name, SPY.name)
EXCHANGES: Final = (MESH.exchange, TRACE.exchange, SPY.exchange)
"""None of them is durable: who declares one otherwise is refused by the broker."""


class AncestorNetwork(Network[T]):
    """Sends each message as a token of its own, after all that is for nodes of this library.

    Where an outbox is full, these go first: what the others are promised is not touched by them.
    """

    def __init__(
        self, spec: AncestorSpec, codec: TokenCodec[T], observer: Observer, limits: Limits
    ) -> None:
        super().__init__(
            spec.name,
            codec,
            observer,
            frame_events=1,
            # An empty frame takes a message of any size.
            frame_bytes=1,
            expendable=True,
            limits=limits,
        )
        self.exchange = spec.exchange
        if spec.brings_events:
            # Expendable are those that are sent: what goes wrong with events is said each time.
            self._refusals = self._complaints

    def open(
        self,
        delivery: Delivery,
        freshness: Freshness,
        refuse: Callable[[FrameError], object] | None = None,
    ) -> Arrived[T]:
        """As for any network; acknowledge what is from a node of this library, or from a scout."""
        refused = False

        def settle(error: FrameError) -> None:
            nonlocal refused
            refused = True
            refuse(error) if refuse else delivery.reject()

        arrived = super().open(delivery, freshness, settle)
        if not (arrived.messages or refused):
            delivery.ack()
        return arrived

    def refused(self, frame: Frame, broker: str, error: LinkError) -> None:
        """Count what a broker refused: it is owed to no one, so it is not even read."""
        self._lose(frame.events, broker, error)
