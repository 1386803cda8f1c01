"""`Received`: what a chart may know of the event that it handles, and who has sent it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from miros_mesh.errors import ChartAddressError, NoReplyWantedError
from miros_mesh.networks.arrival import Arrival
from miros_mesh.networks.network import EXCHANGE_PREFIX
from miros_mesh.wire.envelope import RoutedEnvelope


@dataclass(frozen=True, slots=True)
class Received:
    """A received event: where it comes from, and what its sender wants. It holds no payload.

    It may be kept, and is a token to `reply` by later.
    """

    node: str
    """The node of who has sent it."""
    chart: str
    """The chart, or the client, that has sent it."""
    event_id: str
    """Unique on the mesh, as traces, logs and dead letters have it."""
    cause: str | None
    """The id of the event in whose handling it was sent; None when it was sent from outside."""
    sent_at: float
    """When it was sent, in seconds since 1970, by the clock of its sender."""
    routing_key: str
    """The topic that it was sent under. Empty when it was sent to this chart alone; when it is a
    dead letter that was put back; or when a node of an earlier release sent it again after a loss.
    """
    to: str
    """This chart as node/chart, when it was sent to this one alone; else empty."""
    deliveries: int
    """How often a broker has delivered it, with this time. 1 for the first, as far as is known."""
    redelivered: bool
    """Whether it may have been handled before: by a process that crashed, or a member of a group.

    A chart on its own knows copies, and gets none while it lives.
    """
    wants_reply: bool
    """Whether it was sent by `request`."""
    reply_to: str | None
    """The id of the request that it answers, which `request` has returned; else None."""

    @property
    def sender(self) -> str:
        """The address of who has sent it, for `transmit` with `to`."""
        return f"{self.node}/{self.chart}"


def received(arrival: Arrival) -> Received:
    """Tell of an arrival what a chart may know."""
    event = arrival.envelope
    routed = event if isinstance(event, RoutedEnvelope) else None
    return Received(
        node=event.node,
        chart=event.chart,
        event_id=event.id,
        cause=event.cause,
        sent_at=event.sent_at,
        routing_key="" if (routed and routed.to) or _is_put_back(arrival) else arrival.topic,
        to=routed.to if routed else "",
        deliveries=arrival.deliveries,
        redelivered=arrival.redelivered,
        wants_reply=routed is not None and routed.wants_reply,
        reply_to=routed.reply_to if routed else None,
    )


class Everyone(Enum):
    """Where an event goes for which no chart is named."""

    EVERYONE = "every chart that hears the topic"


EVERYONE: Final = Everyone.EVERYONE
"""The default of `to`. It is not None: that is what `chart.received` is outside of a handler, and
what was meant for one chart must not go to all."""


def address_of(to: str | Received | Everyone) -> str | None:
    """Return the address that a program names itself, or by what was received from there.

    None for everyone. Raises `ChartAddressError` for None.
    """
    if to is EVERYONE:
        return None
    if to is None:
        raise ChartAddressError(
            "to is None, as chart.received is while no received event is handled; leave it out to "
            "send to every chart that listens"
        )
    return to.sender if isinstance(to, Received) else to


def wanting_reply(token: object) -> Received:
    """Return what was received by `request`; raises `NoReplyWantedError` for anything else."""
    if token is None:
        raise NoReplyWantedError(
            "no received event is being handled here; to reply later, keep chart.received and give "
            "it with to="
        )
    if not isinstance(token, Received):
        raise NoReplyWantedError(
            f"a reply goes to what chart.received has told, not to a {type(token).__name__}; to "
            "send to an address, transmit(event, to=...)"
        )
    if not token.wants_reply:
        raise NoReplyWantedError(
            f"{token.sender} wants no reply to {token.event_id}, which it has sent by transmit; "
            "transmit(event, to=chart.received) sends it an event all the same"
        )
    return token


def _is_put_back(arrival: Arrival) -> bool:
    # Under the name of a queue.
    return arrival.topic.startswith(EXCHANGE_PREFIX)
