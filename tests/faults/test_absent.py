"""The one that an event is for is not there, or cannot use it: nothing beside it is touched."""

from __future__ import annotations

import time
from collections.abc import Iterable

import kombu
import pytest
from miros import Event

from faults.conftest import PATIENT, Others, Told, settings
from faults.traffic import (
    ARRIVAL_LIMIT_S,
    SIGNAL,
    WARM,
    Account,
    Handled,
    Stream,
    accounted,
    record,
)
from miros_mesh import DEFAULT_ROUTING_KEY, NetworkedActiveObject
from miros_mesh.dead_letters.dead_letters import DeadLetters
from miros_mesh.node.queues import chart_queue
from support.charts_at_work import Heard, Launch
from support.kept_letters import kept_letters
from support.waiting import wait_until

TOPIC = "plant.north"
QUEUE = chart_queue("receiver", "receiver", DEFAULT_ROUTING_KEY)
SOON_S = 1.0
UNUSABLE = range(WARM, WARM + 20)


class Unheard(Told):
    """Counts what no chart listens to."""

    def __init__(self) -> None:
        super().__init__()
        self.unheard = 0

    def unroutable(self, *, peer: str, topic: str, events: int) -> None:
        assert topic == TOPIC
        self.unheard += events


def test_topic_that_no_chart_listens_to_until_one_does(
    vhost_url: str, launch: Launch, others: Others
) -> None:
    """The others are charts of the sender's node, on the same connection."""
    fault, handled, told = "nobody listens to a topic", Handled(), Unheard()
    config = settings(vhost_url, observers=(told,), **PATIENT)
    sender = launch("sender", config, Heard(), tx_routing_key=TOPIC, rx_routing_key="none")
    with others(fault, config, config), Stream(sender) as stream:
        wait_until(lambda: told.unheard >= WARM)
        receiving = settings(vhost_url, node_name="receiver", **PATIENT)
        launch("receiver", receiving, handled, rx_routing_key=TOPIC)
        began, first = time.monotonic(), stream.next
        seconds = wait_until(lambda: handled.since(first), ARRIVAL_LIMIT_S) - began
        sent = stream.end()

    # What was sent before is not for it, and no more than that is told as unheard.
    owed = range(handled.numbers[0], len(sent))
    account = accounted(fault, owed, handled, seconds)
    assert account.perfect, account
    report = sender.stop()
    assert report.unroutable == told.unheard == handled.numbers[0]
    assert report.dropped == report.refused == 0


def expired(url: str) -> bool:
    with kombu.Connection(url) as connection:
        try:
            connection.channel().queue_declare(QUEUE, passive=True)
        except connection.channel_errors:
            return True
    return False


def test_queue_that_expired_while_its_receiver_was_away(
    vhost_url: str, launch: Launch, others: Others
) -> None:
    """What went with it is told, to the last event, and nothing else is lost."""
    fault, handled, told = "queue expired", Handled(), Told()
    short = {"node_name": "receiver", "queue_expires_s": SOON_S, **PATIENT}
    sender = launch("sender", settings(vhost_url, **PATIENT), Heard())
    beside = settings(vhost_url, **PATIENT)
    with others(fault, beside, beside), Stream(sender) as stream:
        receiver = launch("receiver", settings(vhost_url, **short), handled)
        wait_until(lambda: len(handled.numbers) >= WARM)
        receiver.stop()
        before = handled.numbers[-1]
        wait_until(lambda: expired(vhost_url), 60, message="the queue expires")
        launch("receiver", settings(vhost_url, observers=(told,), **short), handled)
        began, first = time.monotonic(), stream.next
        seconds = wait_until(lambda: handled.since(first), ARRIVAL_LIMIT_S) - began
        sent = stream.end()

    after = next(number for number in handled.numbers if number > before)
    owed = [*range(handled.numbers[0], before + 1), *range(after, len(sent))]
    account = accounted(fault, owed, handled, seconds)
    assert account.perfect, account
    wait_until(lambda: told.dropped_for("queue_expired"), 60)
    assert told.dropped_for("queue_expired") == told.missing == after - before - 1


class Learning(Handled):
    """Cannot use some numbers, until it has learned to."""

    def __init__(self, unusable: Iterable[int]) -> None:
        super().__init__()
        self.unusable = set(unusable)

    def __call__(self, chart: NetworkedActiveObject, received: Event) -> None:
        if received.signal_name == SIGNAL and received.payload in self.unusable:
            raise ValueError("cannot use it")
        super().__call__(chart, received)


@pytest.mark.parametrize("node_name", [None, "receiver"])
def test_events_that_a_handler_raises_at_are_put_back_when_it_is_corrected(
    node_name: str | None, vhost_url: str, launch: Launch, others: Others
) -> None:
    """The others are charts of the same node, and the rest of the same stream."""
    fault, handled, told = "dead letters put back", Learning(UNUSABLE), Told()
    config = settings(vhost_url, node_name=node_name, observers=(told,), **PATIENT)
    launch("receiver", config, handled, on_handler_error="dead_letter")
    sender = launch("sender", settings(vhost_url, **PATIENT), Heard())
    with others(fault, config, config), Stream(sender) as stream:
        wait_until(lambda: len(kept_letters(config)) >= len(UNUSABLE), 60)
        beyond = stream.next
        wait_until(lambda: handled.since(beyond))
        began = time.monotonic()
        handled.unusable.clear()
        with DeadLetters(config) as letters:
            outcomes = list(letters.retry_all(reason="handler"))
        wait_until(lambda: set(UNUSABLE) <= set(handled.numbers), ARRIVAL_LIMIT_S)
        seconds = time.monotonic() - began
        sent = stream.end()

    wait_until(lambda: handled.since(sent[-1]), ARRIVAL_LIMIT_S)
    assert [outcome.error for outcome in outcomes] == [None] * len(UNUSABLE)
    # What was put back comes late, in its own order.
    late = [number for number in handled.numbers if number in UNUSABLE]
    on_time = [number for number in handled.numbers if number not in UNUSABLE]
    assert late == sorted(late)
    lacking = Account.of([n for n in sent if n not in UNUSABLE], on_time)
    assert lacking.perfect, lacking
    account = Account.of(sent, sorted(handled.numbers))
    record(fault, account, seconds)
    assert account.perfect, account
    assert kept_letters(config) == []
    assert (told.missing, told.subscriptions) == (0, 1)
