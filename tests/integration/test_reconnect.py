"""Connections that break at work: nothing is lost, doubled or overtaken, and stop always stops."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Self

import kombu
import pytest

from miros_mesh import MeshConfig, NetworkedActiveObject
from miros_mesh.address import BrokerAddress
from miros_mesh.errors import BrokerUnreachableError, NodeNameTakenError
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.link.ports import Broker
from support.charts_at_work import KEY, Heard, Launch, event
from support.post_office import (
    EXCHANGE,
    LIMIT_S,
    Letter,
    Mailbox,
    Notebook,
    PostOffice,
    keeping,
    letter,
    queue,
)
from support.rabbitmq_server import RabbitServer
from support.waiting import wait_until

EVENTS = 2_000
PACE_S = 0.001
RECOVERY_LIMIT_S = 120.0
HASTE_LIMIT_S = 2.0
# Two seconds, and what a busy machine takes longer.
BOUND_AGAIN_LIMIT_S = 5.0
HELD_UP_LIMIT_S = 0.5


# From chart to chart


class Load:
    """Transmits numbers from a thread of its own, until there were enough and it is ended."""

    def __init__(self, chart: NetworkedActiveObject) -> None:
        self.sent = 0
        self._chart = chart
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.sent > EVENTS // 10)
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while self.sent < EVENTS or not self._ended.is_set():
            self._chart.transmit(event("reconnect_number", self.sent))
            self.sent += 1
            self._ended.wait(PACE_S)


@pytest.fixture
def talk(
    request: pytest.FixtureRequest, vhost_url: str, launch: Launch
) -> tuple[NetworkedActiveObject, Heard]:
    """A chart that sends, and what a chart on another node handled."""
    name = "receiver" if request.param == "lasting queue" else None
    heard = Heard()

    def node(name: str | None) -> MeshConfig:
        return MeshConfig(broker_url=vhost_url, mesh_encryption_key=KEY, node_name=name)

    launch("receiver", node(name), heard)
    return launch("sender", node("sender")), heard


def expect_all(heard: Heard, load: Load) -> None:
    wait_until(lambda: len(heard) >= load.sent, RECOVERY_LIMIT_S, message="all events handled")
    assert heard.payloads == list(range(load.sent))


@pytest.mark.parametrize("talk", ["private queue"], indirect=True)
def test_a_broker_that_is_stopped_and_started_under_load_costs_nothing(
    talk: tuple[NetworkedActiveObject, Heard],
    rabbitmq: RabbitServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sender, heard = talk
    caplog.set_level(logging.INFO, "miros_mesh")

    with Load(sender) as load:
        rabbitmq.stop()
        rabbitmq.start()

    expect_all(heard, load)

    # And the log has the end of the outage, which for the sender's own queues may be later.
    def ends() -> int:
        return sum("subscriber is connected again, after " in each for each in caplog.messages)

    wait_until(lambda: ends() == 2, RECOVERY_LIMIT_S)


@pytest.mark.parametrize("talk", ["lasting queue"], indirect=True)
def test_connections_closed_by_an_administrator_under_load_cost_nothing(
    talk: tuple[NetworkedActiveObject, Heard], rabbitmq: RabbitServer
) -> None:
    sender, heard = talk

    with Load(sender) as load:
        closed = [rabbitmq.close_all_connections() for _ in range(4)]

    assert sum(closed) >= 4
    expect_all(heard, load)


# From link to broker


def delete_exchange(rabbitmq: RabbitServer, vhost: str) -> None:
    """As an administrator does."""
    rabbitmq.eval(
        'rabbit_exchange:delete(rabbit_misc:r(<<"' + vhost + '">>, exchange, '
        '<<"' + EXCHANGE + '">>), false, <<"a test">>)'
    )


@pytest.fixture
def office(vhost_url: str) -> Iterator[PostOffice]:
    address = BrokerAddress.parse(vhost_url)
    made = PostOffice(amqp_link, Broker(address.redacted, (address,)))
    yield made
    made.close()


def test_what_was_confirmed_survives_a_broker_that_is_killed(
    office: PostOffice, rabbitmq: RabbitServer
) -> None:
    # Given letters that were confirmed, and nobody who reads them
    spec = queue(delete_on_stop=False)
    office.listen(spec)[0].stop(LIMIT_S)
    notes = Notebook()
    publisher = office.publisher(observer=notes)
    texts = [f"letter {number}" for number in range(500)]
    for text in texts:
        publisher.put(letter(text))
    wait_until(lambda: notes.published_events == 500)

    # When the broker is killed in the middle of more of them
    # (a kill may cost RabbitMQ its latest definitions; this is about messages)
    rabbitmq.eval("mnesia:sync_log()")
    for number in range(1_000):
        publisher.put(letter(f"later {number}"))
    rabbitmq.kill()
    rabbitmq.start()

    # Then all are there; those on their way may have come twice
    assert publisher.stop(RECOVERY_LIMIT_S).left_over == 0
    assert notes.drops == {}
    _, mailbox = office.listen(spec)
    office.publisher().put(letter("last"))
    came = mailbox.expect_until("last")
    assert came[:500] == texts
    assert list(dict.fromkeys(came[500:])) == [f"later {number}" for number in range(1_000)]


def test_stopping_while_the_broker_restarts_drains_or_says_in_time_what_is_left(
    office: PostOffice, rabbitmq: RabbitServer
) -> None:
    # Given two publishers and a subscriber whose broker is gone
    spec = queue(delete_on_stop=False)
    subscriber, _ = office.listen(spec)
    notes = Notebook()
    patient, hasty = office.publisher(observer=notes), office.publisher(observer=notes)
    rabbitmq.stop()
    wait_until(lambda: len(notes.downs) == 2)
    for number in range(100):
        patient.put(letter(str(number)))
    hasty.put(Letter(b"three events", events=3))

    # When the one that is in a hurry stops, then it says what is left, and takes no longer
    started = time.monotonic()
    assert hasty.stop(0.5).left_over == 3
    subscriber.stop(LIMIT_S)
    assert time.monotonic() - started < HASTE_LIMIT_S

    # When the other one stops while the broker starts, then nothing is left
    starting = threading.Thread(target=rabbitmq.start)
    starting.start()
    assert patient.stop(RECOVERY_LIMIT_S).left_over == 0
    starting.join()
    _, mailbox = office.listen(spec)
    assert mailbox.expect(100) == [str(number) for number in range(100)]


def test_unacknowledged_deliveries_come_again_after_a_reconnect(
    office: PostOffice, rabbitmq: RabbitServer
) -> None:
    # Given three deliveries of which one was acknowledged
    subscriber, mailbox = office.subscriber(), Mailbox(keeping)
    subscriber.add(queue(), mailbox, LIMIT_S)
    publisher = office.publisher()
    for text in ("one", "two", "three"):
        publisher.put(letter(text))
    mailbox.expect(3)
    mailbox.deliveries[0].ack()
    subscriber.add(queue("after the ack"), Mailbox(), LIMIT_S)

    # When the connection is closed
    rabbitmq.close_all_connections()

    # Then the other two come again, and late acknowledgements of their first copies do no harm
    assert mailbox.expect(5)[3:] == ["two", "three"]
    for delivery in mailbox.deliveries[1:]:
        delivery.ack()
    publisher.put(letter("four"))
    assert mailbox.expect(6)[5:] == ["four"]


def test_a_queue_that_an_administrator_deletes_is_declared_again(
    office: PostOffice, rabbitmq: RabbitServer, vhost: str, caplog: pytest.LogCaptureFixture
) -> None:
    notes = Notebook()
    subscriber, mailbox = office.subscriber(observer=notes), Mailbox()
    subscriber.add(queue(), mailbox, LIMIT_S)
    publisher = office.publisher()

    rabbitmq.rabbitmqctl("delete_queue", "-p", vhost, queue().name)

    wait_until(lambda: "ended the consumer" in caplog.text)
    subscriber.add(queue("behind it"), Mailbox(), LIMIT_S)
    publisher.put(letter("heard"))
    assert mailbox.expect(1) == ["heard"]
    assert notes.subscriptions == 1


def test_an_exchange_that_an_administrator_deletes_is_declared_again(
    office: PostOffice, rabbitmq: RabbitServer, vhost: str
) -> None:
    # Given a publisher whose exchange is gone
    notes = Notebook()
    publisher = office.publisher(observer=notes)
    delete_exchange(rabbitmq, vhost)

    # When it publishes
    publisher.put(letter("one"))

    # Then the broker's refusal makes it declare the exchange, on the same connection
    wait_until(lambda: notes.published_events == 1)
    assert notes.ups == 1


def test_a_listener_whose_exchange_was_deleted_hears_again_before_the_next_heartbeat(
    office: PostOffice, rabbitmq: RabbitServer, vhost: str
) -> None:
    # Given two listeners on one connection
    notes = Notebook()
    subscriber = office.subscriber(observer=notes, heartbeat_interval_s=60.0)
    mailboxes = [Mailbox(), Mailbox()]
    for number, mailbox in enumerate(mailboxes):
        subscriber.add(queue(f"queue {number}"), mailbox, LIMIT_S)
    publisher = office.publisher()

    # When somebody deletes the exchange, and with it the bindings
    delete_exchange(rabbitmq, vhost)
    deleted_at = time.monotonic()

    # Then both hear again, soon, and by the same connection
    def heard() -> bool:
        publisher.put(letter("heard"))
        return all(mailbox.deliveries for mailbox in mailboxes)

    wait_until(heard)
    assert time.monotonic() - deleted_at < BOUND_AGAIN_LIMIT_S
    assert notes.subscriptions == 1


def test_an_exchange_that_comes_back_as_another_kind_is_noticed_and_said(
    office: PostOffice,
    rabbitmq: RabbitServer,
    vhost: str,
    vhost_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Given a listener
    notes = Notebook()
    subscriber, mailbox = office.subscriber(observer=notes), Mailbox()
    subscriber.add(queue(), mailbox, LIMIT_S)

    # When its exchange is replaced by another one
    delete_exchange(rabbitmq, vhost)
    with kombu.Connection(vhost_url) as connection:
        kombu.Exchange(EXCHANGE, type="fanout")(connection.channel()).declare()

    # Then that is said, and it hears again when the other one is gone, on the same connection
    wait_until(lambda: f"cannot consume {queue().name}" in caplog.text)
    assert "declared in another way" in caplog.text
    delete_exchange(rabbitmq, vhost)
    wait_until(lambda: subscriber._queues[queue().name].consumers)
    office.publisher().put(letter("heard"))
    assert mailbox.expect(1) == ["heard"]
    assert notes.subscriptions == 1


def test_binding_anew_waits_for_no_answer(office: PostOffice, rabbitmq: RabbitServer) -> None:
    # Given a subscriber with many queues
    subscriber = office.subscriber()
    for number in range(20):
        subscriber.add(queue(f"queue {number}"), Mailbox(), LIMIT_S)
    assert rabbitmq.pid

    # When its broker answers nothing for longer than it takes to bind anew
    os.kill(rabbitmq.pid, signal.SIGSTOP)
    try:
        slowest, began, nap = 0.0, time.monotonic(), threading.Event()
        while time.monotonic() - began < BOUND_AGAIN_LIMIT_S:
            nap.wait(PACE_S)
            turned = threading.Event()
            posted = time.monotonic()
            subscriber._post(lambda _, turned=turned: turned.set())
            assert turned.wait(LIMIT_S)
            slowest = max(slowest, time.monotonic() - posted)
    finally:
        os.kill(rabbitmq.pid, signal.SIGCONT)

    # Then its thread is never held up
    assert slowest < HELD_UP_LIMIT_S


def test_a_name_is_held_again_after_a_reconnect(office: PostOffice, rabbitmq: RabbitServer) -> None:
    notes = Notebook()
    subscriber, mailbox = office.subscriber("miros_mesh.v1.name.test", observer=notes), Mailbox()
    subscriber.add(queue(), mailbox, LIMIT_S)

    rabbitmq.close_all_connections()

    wait_until(lambda: notes.subscriptions == 2)
    wait_until(lambda: subscriber._name_lock and subscriber._name_lock.held)
    with pytest.raises(NodeNameTakenError):
        office.subscriber("miros_mesh.v1.name.test")
    office.publisher().put(letter("heard"))
    assert mailbox.expect(1) == ["heard"]


def test_a_broker_that_hangs_in_the_middle_of_a_call_holds_up_no_stop(
    office: PostOffice, rabbitmq: RabbitServer
) -> None:
    """The kernel of a frozen broker still takes bytes, so that no time-out of TCP helps."""
    subscriber = office.subscriber(connect_timeout_s=0.5)
    assert rabbitmq.pid
    os.kill(rabbitmq.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BrokerUnreachableError, match="did not accept the queue"):
            subscriber.add(queue(), Mailbox(), 0.2)
        subscriber.stop(LIMIT_S)
        assert not subscriber.alive
    finally:
        os.kill(rabbitmq.pid, signal.SIGCONT)
