"""The link between node and broker breaks in every way: no event is lost."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from faults.conftest import settings
from faults.relay import DOWN, UP, Relay
from faults.traffic import SIGNAL, Handled, events_through
from support.charts_at_work import Heard, Launch, event
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

HOLE_S = 4.0
REFUSED_S = 2.0
DRAIN_S = 1.0
STOP_LIMIT_S = 6.0
FEW = 100
FLAPS = 4
LATE_S = 0.05


@pytest.fixture
def handled() -> Handled:
    return Handled()


def for_(seconds: float) -> None:
    """Let a fault last."""
    threading.Event().wait(seconds)


@pytest.mark.parametrize("holes", [(UP, DOWN), (UP,), (DOWN,)], ids="-".join)
def test_link_black_holed(
    holes: tuple[str, ...], relay: Relay, relayed_url: str, launch: Launch, handled: Handled
) -> None:
    launch("receiver", settings(relayed_url), handled)
    sender = launch("sender", settings(relayed_url), Heard())
    with events_through(f"black hole, {' and '.join(holes)}", sender, handled):
        relay.black_hole(*holes)
        for_(HOLE_S)
        relay.resume()


def test_connection_reset(relay: Relay, relayed_url: str, launch: Launch, handled: Handled) -> None:
    launch("receiver", settings(relayed_url), handled)
    sender = launch("sender", settings(relayed_url), Heard())
    with events_through("connection reset", sender, handled):
        relay.cut()


@pytest.mark.parametrize("node_name", [None, "lasting"], ids=["classic", "quorum"])
def test_connection_reset_without_the_knowledge_of_the_broker(
    node_name: str | None, relay: Relay, relayed_url: str, launch: Launch, handled: Handled
) -> None:
    launch("receiver", settings(relayed_url, node_name=node_name), handled)
    sender = launch("sender", settings(relayed_url), Heard())
    fault = f"reset, unknown to broker, {'quorum' if node_name else 'classic'}"
    with events_through(fault, sender, handled):
        relay.cut_off()


def test_connection_reset_again_and_again(
    relay: Relay, relayed_url: str, launch: Launch, handled: Handled
) -> None:
    launch("receiver", settings(relayed_url), handled)
    sender = launch("sender", settings(relayed_url), Heard())
    with events_through("connection reset ten times", sender, handled):
        for _ in range(10):
            relay.cut()
            for_(0.2)


def test_connection_reset_as_soon_as_it_is_made(
    relay: Relay, relayed_url: str, launch: Launch, handled: Handled
) -> None:
    launch("receiver", settings(relayed_url), handled)
    sender = launch("sender", settings(relayed_url), Heard())
    with events_through("connection reset as soon as it is made", sender, handled):
        for _ in range(FLAPS):
            # Not all of them: one that is accepted at this moment may escape the cut.
            expected = relay.count + 1
            relay.cut()
            wait_until(partial(lambda count: relay.count >= count, expected))
        relay.cut()


def test_connection_refused_for_a_while(
    relay: Relay, relayed_url: str, launch: Launch, handled: Handled
) -> None:
    launch("receiver", settings(relayed_url), handled)
    sender = launch("sender", settings(relayed_url), Heard())
    with events_through("connection refused", sender, handled):
        relay.refuse()
        for_(REFUSED_S)
        relay.resume()


def test_link_delayed(relay: Relay, relayed_url: str, launch: Launch, handled: Handled) -> None:
    launch("receiver", settings(relayed_url), handled)
    sender = launch("sender", settings(relayed_url), Heard())
    with events_through("link delayed", sender, handled):
        relay.delay_s = LATE_S
        for_(1.0)
        relay.resume()


def test_connections_closed_by_an_administrator(
    rabbitmq: RabbitServer, vhost_url: str, launch: Launch, handled: Handled
) -> None:
    launch("receiver", settings(vhost_url), handled)
    sender = launch("sender", settings(vhost_url), Heard())
    with events_through("connections closed by administrator", sender, handled):
        assert rabbitmq.close_all_connections() >= 4


@pytest.mark.parametrize("holes", [(UP, DOWN), (UP,), (DOWN,)], ids="-".join)
def test_stop_in_a_black_hole_takes_no_longer_than_it_may(
    holes: tuple[str, ...], relay: Relay, relayed_url: str, launch: Launch
) -> None:
    sender = launch("sender", settings(relayed_url, drain_timeout_s=DRAIN_S), Heard())
    relay.black_hole(*holes)
    for number in range(FEW):
        sender.transmit(event(SIGNAL, number))
    began = time.monotonic()
    assert sender.stop().left_over > 0
    assert time.monotonic() - began < DRAIN_S + STOP_LIMIT_S
