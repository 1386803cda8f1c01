"""What the library asks of a link: the same promises kept by all three brokers."""

from __future__ import annotations

import itertools
import os
import resource
import statistics
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import kombu
import pytest

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import ConnectionLostError, NodeNameTakenError
from miros_mesh.link.kombu_link import amqp_link
from miros_mesh.link.ports import Binding, Broker, Delivery
from miros_mesh.link.publishing_channel import PublishingChannel
from miros_mesh.link.rabbitmq.headers import AGAIN_HEADER
from miros_mesh.link.rabbitmq.queues import LETTERS
from miros_mesh.link.rabbitmq.transport import RabbitTransport
from miros_mesh.report import StopReport
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
from support.waiting import wait_until

OTHER_EXCHANGE = "miros_mesh.v1.other"
BURST = 10_000
LATENCY_LIMIT_S = 0.010
# For six workers, each of which looks around once a second anyway.
STOP_LIMIT_S = 0.8
NAME = "miros_mesh.v1.name.test"
DESCRIPTORS = Path("/proc/self/fd")


# Who gets what


@pytest.mark.parametrize("size_bytes", [0, 1, 4_000, 4_001, 300_000])
@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_a_publication_is_the_same_whoever_writes_it(
    vhost_url: str, *, size_bytes: int, read_before: bool, persistent: bool, again: bool
) -> None:
    came: list[Any] = []
    with kombu.Connection(vhost_url, transport=RabbitTransport) as sender:
        publishing = PublishingChannel("here", lambda _: None)
        publishing.connect(sender)
        publishing.declare(EXCHANGE)
        # Plain Kombu hears it, since ours takes no time to read what it has no use for
        with kombu.Connection(vhost_url) as listener:
            exchange = kombu.Exchange(EXCHANGE, type="topic")
            heard = kombu.Queue("heard", exchange, "#", auto_delete=True, durable=False)
            with listener.Consumer(heard, on_message=came.append):
                publishing.publish(
                    b"x" * size_bytes,
                    exchange=EXCHANGE,
                    routing_key="grüß.gott",
                    persistent=persistent,
                    again=again,
                    read_before=read_before,
                )
                while not came:
                    listener.drain_events(timeout=LIMIT_S)

    [message] = came
    # py-amqp gives an empty body as text
    assert (message.body or b"") == b"x" * size_bytes
    assert message.delivery_info["routing_key"] == "grüß.gott"
    assert message.headers == ({AGAIN_HEADER: True} if again else {})
    assert message.properties == {
        "content_type": "application/octet-stream",
        "content_encoding": "binary",
        "application_headers": message.headers,
        "delivery_mode": 2 if persistent else 1,
    }


def test_a_publication_says_whether_it_is_to_be_kept(vhost_url: str) -> None:
    address = BrokerAddress.parse(vhost_url)
    office = PostOffice(amqp_link, Broker(address.redacted, (address,)))
    modes: list[int] = []
    with kombu.Connection(vhost_url) as connection, closing(office):
        publisher = office.publisher()
        publisher.wait_ready(LIMIT_S)
        exchange = kombu.Exchange(EXCHANGE, type="topic")
        heard = kombu.Queue("heard", exchange, "#", auto_delete=True, durable=False)
        with connection.Consumer(
            heard, on_message=lambda message: modes.append(message.properties["delivery_mode"])
        ):
            publisher.put(letter("kept"))
            publisher.put(replace(letter("lost"), persistent=False))
            publisher.put(letter("last"))
            while len(modes) < 3:
                connection.drain_events(timeout=LIMIT_S)

    assert modes == [2, 1, 2]


@pytest.mark.parametrize(
    ("pattern", "keys", "matching"),
    [
        ("a.b", ["a.b", "a", "a.b.c", "b.a"], ["a.b"]),
        ("a.#", ["a", "a.b", "a.b.c", "ab", "b.a"], ["a", "a.b", "a.b.c"]),
        ("#.a", ["a", "b.a", "c.b.a", "ba", "a.b"], ["a", "b.a", "c.b.a"]),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z", "a.b", "az"], ["a.z", "a.b.z", "a.b.c.z"]),
        ("*.b", ["a.b", "b", "a.a.b", ".b"], ["a.b", ".b"]),
        ("*.*", ["a.b", "a", "a.b.c"], ["a.b"]),
        ("#", ["a", "a.b", "a.b.c"], ["a", "a.b", "a.b.c"]),
    ],
)
def test_a_queue_gets_what_its_pattern_matches_as_in_amqp(
    office: PostOffice, pattern: str, keys: list[str], matching: list[str]
) -> None:
    _, mailbox = office.listen(queue(pattern=pattern))
    publisher = office.publisher()

    for key in keys:
        publisher.put(letter(key, key))
    publisher.put(letter("last", matching[0]))

    assert mailbox.expect_until("last") == matching


def test_a_queue_gets_once_what_any_of_its_bindings_matches(office: PostOffice) -> None:
    # Given a queue that is bound to two patterns of one exchange and to a third one of another
    bindings = (Binding(EXCHANGE, "a.#"), Binding(EXCHANGE, "#.b"), Binding(OTHER_EXCHANGE, "a.c"))
    spec = queue(bindings=bindings)
    _, mailbox = office.listen(spec)
    publisher = office.publisher(exchanges=(EXCHANGE, OTHER_EXCHANGE))

    # When something is published that both, one and none of them match
    for topic in ("a.b", "a.c", "c.b", "c", "a.last"):
        publisher.put(letter(f"here {topic}", topic))
        publisher.put(replace(letter(f"there {topic}", topic), exchange=OTHER_EXCHANGE))

    # Then all of it comes once
    assert mailbox.expect_until("here a.last") == [
        *("here a.b", "here a.c", "there a.c", "here c.b"),
    ]


@pytest.mark.parametrize("lasting", [False, True])
def test_a_queue_leaves_with_all_of_its_bindings(office: PostOffice, *, lasting: bool) -> None:
    bindings = (Binding(EXCHANGE, "one"), Binding(OTHER_EXCHANGE, "two"))
    spec = queue(bindings=bindings, delete_on_stop=not lasting)
    subscriber, first = office.listen(spec)
    publisher = office.publisher(exchanges=(EXCHANGE, OTHER_EXCHANGE))

    subscriber.remove(spec.name, LIMIT_S)
    publisher.put(letter("away", "one"))
    publisher.put(replace(letter("away", "two"), exchange=OTHER_EXCHANGE))
    publisher.drain(LIMIT_S)
    _, heir = office.listen(spec)
    publisher.put(letter("last", "one"))

    assert heir.expect_until("last") == (["away", "away"] if lasting else [])
    assert first.texts == []


def test_two_subscribers_with_queues_of_their_own_each_get_every_message(
    office: PostOffice,
) -> None:
    _, alice = office.listen(queue("alice"))
    _, bob = office.listen(queue("bob", "k.#"))
    publisher = office.publisher()
    texts = [f"letter {number}" for number in range(500)]

    for text in texts:
        publisher.put(letter(text, "k.1"))
    publisher.put(letter("last", "k"))

    assert alice.expect_until("last") == texts
    assert bob.expect_until("last") == texts


def test_a_body_arrives_as_it_was_published(office: PostOffice) -> None:
    _, mailbox = office.listen(queue())
    publisher = office.publisher()
    texts = ["", "x" * 1_000_000, "".join(map(chr, range(128)))]

    for text in texts:
        publisher.put(letter(text))

    assert mailbox.expect(3) == texts


def test_a_message_that_nobody_wants_is_confirmed_all_the_same(office: PostOffice) -> None:
    notes = Notebook()
    publisher = office.publisher(observer=notes)

    lost = letter("to nobody")
    publisher.put(lost)

    assert publisher.stop(LIMIT_S).left_over == 0
    assert notes.published_events == 1
    assert (lost.stores, lost.routed) == (1, 0)


def test_a_parcel_hears_that_a_queue_took_it(office: PostOffice) -> None:
    office.listen(queue())
    publisher, parcel = office.publisher(), letter("to somebody")

    publisher.put(parcel)

    assert publisher.stop(LIMIT_S).left_over == 0
    assert (parcel.stores, parcel.routed) == (1, 1)


# All, once, in order


def test_a_burst_from_two_publishers_arrives_all_once_and_each_in_its_order(
    office: PostOffice,
) -> None:
    # Given a listener and two publishers
    _, mailbox = office.listen(queue())
    publishers = {name: office.publisher() for name in ("north", "south")}

    # When both publish at once, as fast as they can
    def send(name: str) -> None:
        for number in range(BURST // 2):
            publishers[name].put(letter(f"{name} {number:0200}"))

    threads = [threading.Thread(target=send, args=(name,)) for name in publishers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert [publisher.stop(30).left_over for publisher in publishers.values()] == [0, 0]
    office.publisher().put(letter("last"))

    # Then nothing is lost, doubled or overtaken
    came = mailbox.expect_until("last", 30)
    assert len(came) == BURST
    for name in publishers:
        numbers = [int(text.split()[1]) for text in came if text.startswith(name)]
        assert numbers == list(range(BURST // 2))


def test_a_queue_can_be_added_while_others_flow(office: PostOffice) -> None:
    # Given messages that flow all the time
    subscriber, first = office.listen(queue("first"))
    publisher = office.publisher()
    enough = threading.Event()

    def flow() -> None:
        number = 0
        while not enough.is_set():
            first.expect(number - 100)
            publisher.put(letter(str(number)))
            number += 1

    flowing = threading.Thread(target=flow)
    flowing.start()

    # When queues are added and removed meanwhile
    later = [Mailbox() for _ in range(5)]
    for number, mailbox in enumerate(later):
        subscriber.add(queue(f"later {number}"), mailbox, LIMIT_S)
        mailbox.expect(100)
    subscriber.remove("miros_mesh.v1.later 0")
    later[1].expect(len(later[1].deliveries) + 100)
    enough.set()
    flowing.join(LIMIT_S)
    publisher.put(letter("last"))

    # Then the first misses nothing, and the others nothing from their beginning on
    every = first.expect_until("last")
    assert every == [str(number) for number in range(len(every))]
    for mailbox in later[1:]:
        came = mailbox.expect_until("last")
        assert came == every[-len(came) :]


def test_no_more_than_the_prefetch_is_on_its_way_unacknowledged(office: PostOffice) -> None:
    # Given a queue with a prefetch of five whose handler acknowledges nothing
    subscriber, slow = office.listen(queue("slow", prefetch=5), keeping)
    quick = Mailbox()
    subscriber.add(queue("quick"), quick, LIMIT_S)
    publisher = office.publisher()

    # When twenty messages are published
    for number in range(20):
        publisher.put(letter(str(number)))
    quick.expect(20)

    # Then five come, and one more for each that is acknowledged
    assert slow.expect(5) == [str(number) for number in range(5)]
    for delivery in slow.deliveries[:2]:
        delivery.ack()
    assert slow.expect(7) == [str(number) for number in range(7)]


def test_an_idle_link_carries_a_message_within_ten_milliseconds(office: PostOffice) -> None:
    _, mailbox = office.listen(queue())
    publisher = office.publisher()

    def carry(number: int) -> float:
        started = time.perf_counter()
        publisher.put(letter("quickly"))
        mailbox.expect(number + 1)
        return time.perf_counter() - started

    rounds = [[carry(40 * turn + number) for number in range(40)] for turn in range(3)]

    # The best round counts: a busy machine must not fail the link.
    assert min(map(statistics.median, rounds)) < LATENCY_LIMIT_S


# What becomes of a delivery


def test_what_was_not_acknowledged_comes_again_after_its_subscriber_is_gone(
    office: PostOffice,
) -> None:
    # Given a subscriber that acknowledges the second of three deliveries
    spec = queue(delete_on_stop=False)
    subscriber, mailbox = office.listen(spec, keeping)
    publisher = office.publisher()
    for text in ("one", "two", "three"):
        publisher.put(letter(text))
    mailbox.expect(3)
    mailbox.deliveries[1].ack()

    # When it goes and another one comes
    subscriber.stop(LIMIT_S)
    _, heir = office.listen(spec)
    publisher.put(letter("last"))

    # Then the other two come again, in order, marked as seen before
    assert heir.expect_until("last") == ["one", "three"]
    assert [delivery.redelivered for delivery in heir.deliveries] == [True, True, False]
    assert [delivery.returned for delivery in heir.deliveries] == [True, True, False]
    assert [delivery.deliveries for delivery in heir.deliveries] == [2, 2, 1]
    assert [delivery.deliveries for delivery in mailbox.deliveries] == [1, 1, 1]


def test_what_is_published_a_second_time_says_so(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a publisher whose connection is lost after the second publication, before its confirm
    real, calls = PublishingChannel.publish, itertools.count()

    def publish(*arguments: Any, **options: Any) -> Any:
        done = real(*arguments, **options)
        if next(calls) == 1:
            raise ConnectionLostError("lost")
        return done

    monkeypatch.setattr(PublishingChannel, "publish", publish)
    _, mailbox = office.listen(queue())
    publisher = office.publisher()

    # When it publishes three parcels
    for text in ("one", "two", "three"):
        publisher.put(letter(text))
    mailbox.expect_until("three")

    # Then the copy alone says that it may be one; the broker itself has handed nothing out before
    again = [each for each in mailbox.deliveries if each.redelivered]
    assert mailbox.texts[0] == "one"
    assert mailbox.texts.count("two") == 2
    assert [each.body for each in again] == [b"two"]
    assert again[0] is [each for each in mailbox.deliveries if each.body == b"two"][-1]
    assert [each.deliveries for each in again] == [2]
    assert not any(each.returned for each in mailbox.deliveries)


@pytest.mark.parametrize("replicated", [False, True], ids=["classic", "quorum"])
def test_what_a_removed_queue_has_not_settled_comes_first_and_in_order(
    office: PostOffice, *, replicated: bool
) -> None:
    # Given two queues of one subscriber, of which one has ten deliveries unsettled and more to come
    spec = queue("leaves", delete_on_stop=False, replicated=replicated, prefetch=10)
    subscriber, mailbox = office.listen(spec, keeping)
    stays = Mailbox()
    subscriber.add(queue("stays"), stays, LIMIT_S)
    publisher = office.publisher()
    for number in range(40):
        publisher.put(letter(str(number)))
    mailbox.expect(10)
    stays.expect(40)
    for number in (3, 0):
        mailbox.deliveries[number].ack()
    mailbox.expect(12)

    # When that queue alone is left, and another subscriber comes for it
    subscriber.remove(spec.name)
    mailbox.deliveries[1].ack()
    # What is asked for behind it is answered when the broker has all of it back.
    subscriber.add(queue("witness"), Mailbox(), LIMIT_S)
    _, heir = office.listen(spec)
    publisher.put(letter("last"))

    # Then it gets what was unsettled, then the rest; the other queue goes on
    left = [str(number) for number in range(40) if number not in (0, 3)]
    assert heir.expect_until("last") == left
    assert len(stays.expect_until("last")) == 40


@pytest.mark.parametrize("replicated", [False, True], ids=["classic", "quorum"])
@pytest.mark.parametrize("count", [5, 40], ids=["few", "many"])
def test_a_queue_that_comes_back_to_its_subscriber_gives_first_what_was_not_settled(
    office: PostOffice, count: int, *, replicated: bool
) -> None:
    # Given unsettled deliveries, as many as may be or fewer, and those that follow two settled ones
    spec = queue("returns", delete_on_stop=False, replicated=replicated, prefetch=10)
    subscriber, mailbox = office.listen(spec, keeping)
    publisher = office.publisher()
    for number in range(count):
        publisher.put(letter(str(number)))
    mailbox.expect(5)
    for delivery in mailbox.deliveries[:2]:
        delivery.ack()

    # When the queue is left, and comes back
    subscriber.remove(spec.name)
    again = Mailbox()
    subscriber.add(spec, again, LIMIT_S)
    publisher.put(letter("last"))

    # Then all come, in order, and what is settled late by the one that left is settled no more
    assert again.expect_until("last") == [str(number) for number in range(2, count)]
    for delivery in mailbox.deliveries:
        delivery.ack()
    publisher.put(letter("later"))
    again.expect_until("later")


def test_a_queue_that_is_deleted_is_consumed_again_and_no_other_notices(
    office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    # Given two queues of one subscriber, of which one has unsettled deliveries
    notes = Notebook()
    subscriber, deleted, stays = office.subscriber(observer=notes), Mailbox(keeping), Mailbox()
    spec = queue("deleted", delete_on_stop=False)
    subscriber.add(spec, deleted, LIMIT_S)
    subscriber.add(queue("stays"), stays, LIMIT_S)
    publisher = office.publisher()
    publisher.put(letter("before"))
    deleted.expect(1)
    stays.expect(1)

    # When it is deleted
    with office.connection() as connection:
        connection.channel().queue_delete(spec.name)
    wait_until(lambda: "ended the consumer of the queue miros_mesh.v1.deleted" in caplog.text)
    subscriber.add(queue("witness"), Mailbox(), LIMIT_S)
    publisher.put(letter("after"))

    # Then it is there again, on the same connection; settling what it has lost does no harm
    assert deleted.expect(2) == ["before", "after"]
    for delivery in deleted.deliveries:
        delivery.ack()
    wait_until(lambda: office.size(spec.name) == 0)
    publisher.put(letter("last"))
    assert stays.expect_until("last") == ["before", "after"]
    assert notes.subscriptions == 1


def test_a_rejected_delivery_does_not_come_again(office: PostOffice) -> None:
    spec = queue(delete_on_stop=False)
    subscriber, mailbox = office.listen(spec, lambda delivery: delivery.reject())
    publisher = office.publisher()
    publisher.put(letter("poison"))
    mailbox.expect(1)

    subscriber.stop(LIMIT_S)
    _, heir = office.listen(spec)
    publisher.put(letter("last"))

    assert heir.expect_until("last") == []
    assert mailbox.texts == ["poison"]


def test_acknowledgements_from_other_threads_reach_the_broker(office: PostOffice) -> None:
    spec = queue(delete_on_stop=False, prefetch=10)
    subscriber, mailbox = office.listen(spec, keeping)
    publisher = office.publisher()
    for number in range(100):
        publisher.put(letter(str(number)))

    def acknowledge(first: int) -> None:
        for number in range(first, 100, 2):
            mailbox.expect(number + 1)
            mailbox.deliveries[number].ack()

    threads = [threading.Thread(target=acknowledge, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    subscriber.stop(LIMIT_S)

    _, heir = office.listen(spec)
    publisher.put(letter("last"))
    assert heir.expect_until("last") == []


def test_an_acknowledgement_after_the_end_of_its_subscriber_harms_nobody(
    office: PostOffice,
) -> None:
    spec = queue(delete_on_stop=False)
    subscriber, mailbox = office.listen(spec, keeping)
    publisher = office.publisher()
    publisher.put(letter("late"))
    mailbox.expect(1)
    subscriber.stop(LIMIT_S)

    mailbox.deliveries[0].ack()

    _, heir = office.listen(spec)
    assert heir.expect(1) == ["late"]


# The life of a queue


def test_a_private_queue_goes_with_its_messages_when_it_is_removed(office: PostOffice) -> None:
    # Given a private queue that was removed
    subscriber, mailbox = office.listen(queue("private"))
    subscriber.remove("miros_mesh.v1.private")
    witness = Mailbox()
    subscriber.add(queue("witness"), witness, LIMIT_S)

    # When something is published, and the queue comes back
    publisher = office.publisher()
    publisher.put(letter("missed"))
    witness.expect(1)
    subscriber.add(queue("private"), mailbox, LIMIT_S)
    publisher.put(letter("heard"))

    # Then it holds only what came since
    assert mailbox.expect(1) == ["heard"]


def test_a_private_queue_goes_with_its_subscriber(office: PostOffice) -> None:
    subscriber, mailbox = office.listen(queue(), keeping)
    publisher = office.publisher()
    publisher.put(letter("unacknowledged"))
    mailbox.expect(1)

    subscriber.stop(LIMIT_S)
    _, heir = office.listen(queue())
    publisher.put(letter("last"))

    assert heir.expect_until("last") == []


def test_a_lasting_queue_keeps_what_came_while_nobody_listened(office: PostOffice) -> None:
    spec = queue(delete_on_stop=False)
    subscriber, _ = office.listen(spec)
    publisher = office.publisher()
    subscriber.stop(LIMIT_S)
    texts = [f"letter {number}" for number in range(300)]

    for text in texts:
        publisher.put(letter(text))
    _, heir = office.listen(spec)
    publisher.put(letter("last"))

    assert heir.expect_until("last") == texts


@pytest.mark.parametrize("limit", ["max_length", "max_bytes"])
def test_a_queue_with_a_limit_loses_its_oldest_messages(limit: str, office: PostOffice) -> None:
    spec = queue(delete_on_stop=False, **{limit: 3})
    subscriber, _ = office.listen(spec)
    subscriber.stop(LIMIT_S)
    publisher = office.publisher()
    for number in range(10):
        publisher.put(letter(str(number)))
    publisher.stop(LIMIT_S)

    _, heir = office.listen(spec)

    assert heir.expect(3) == ["7", "8", "9"]


# Dead letters


def test_what_is_rejected_is_gone(office: PostOffice) -> None:
    _, forgets = office.listen(queue(dead_letters=True), reject)

    office.publisher().put(letter("forgotten"))
    forgets.expect(1)

    wait_until(lambda: not office.size("miros_mesh.v1.queue"))
    assert dead_letters(office) == []


def test_dead_letters_are_bounded_in_number(office: PostOffice) -> None:
    office.listen(queue(dead_letters=True))
    publisher = office.publisher(exchanges=(EXCHANGE, LETTERS))

    for number in range(1_100):
        publisher.put(Letter(str(number).encode(), exchange=LETTERS))

    wait_until(lambda: oldest_dead_letter(office) == b"100")
    assert dead_letters(office) == [str(number).encode() for number in range(100, 1_100)]


def test_a_chart_listens_though_its_dead_letters_cannot_be_kept(
    office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    with office.connection() as connection:
        kombu.Queue(LETTERS, durable=True)(connection.channel()).queue_declare()

    _, mailbox = office.listen(queue(dead_letters=True))
    office.publisher().put(letter("heard"))

    assert mailbox.expect(1) == ["heard"]
    assert "dead letters are not kept" in caplog.text


# One live process a name


def test_a_name_belongs_to_one_live_subscriber(office: PostOffice) -> None:
    # Given a subscriber with a name
    first, mailbox = office.subscriber(NAME), Mailbox()
    first.add(queue(), mailbox, LIMIT_S)

    # When another one comes with that name, then it is told so
    with pytest.raises(NodeNameTakenError) as refused:
        office.subscriber(NAME)
    assert NAME in str(refused.value)
    assert "another live process" in str(refused.value)
    assert "a node_name of its own" in str(refused.value)

    # And the first has noticed nothing
    office.publisher().put(letter("heard"))
    assert mailbox.expect(1) == ["heard"]
    office.subscriber("miros_mesh.v1.name.other")


def test_a_name_is_free_when_its_subscriber_has_stopped(office: PostOffice) -> None:
    office.subscriber(NAME).stop(LIMIT_S)

    office.subscriber(NAME)


def test_a_name_that_is_taken_while_the_connection_was_gone_stops_nobody(
    office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a subscriber with a name
    notes = Notebook()
    subscriber = office.subscriber(NAME, observer=notes, heartbeat_interval_s=2.0)
    mailbox = Mailbox()
    subscriber.add(queue(delete_on_stop=False), mailbox, LIMIT_S)

    # When its connection breaks, and somebody else takes the name
    with office.connection() as thief:

        def steal(connection: kombu.Connection) -> None:
            connection.channel().queue_delete(NAME)
            kombu.Queue(NAME, exclusive=True, durable=False)(thief.channel()).queue_declare()
            raise ConnectionLostError("for the test")

        subscriber._post(steal)
        wait_until(lambda: notes.subscriptions == 2)

        # Then it consumes, and says at last what is wrong
        office.publisher().put(letter("heard"))
        assert mailbox.expect(1) == ["heard"]
        wait_until(lambda: "does not give us miros_mesh.v1.name.test again" in caplog.text)

    # And takes the name back as soon as it can
    wait_until(lambda: subscriber._name_lock and subscriber._name_lock.held)
    with pytest.raises(NodeNameTakenError):
        office.subscriber(NAME)
    assert notes.subscriptions == 2


# Confirms, starting and stopping


def test_confirmed_means_stored(office: PostOffice) -> None:
    # Given a lasting queue that nobody listens to
    spec = queue(delete_on_stop=False)
    subscriber, _ = office.listen(spec)
    subscriber.stop(LIMIT_S)
    notes = Notebook()
    publisher = office.publisher(observer=notes)
    texts = [f"letter {number}" for number in range(200)]

    # When every letter was confirmed
    letters = [letter(text) for text in texts]
    for each in letters:
        publisher.put(each)
    wait_until(lambda: notes.published_events == 200)
    assert publisher.stop(0.0).left_over == 0
    assert all(each.stores for each in letters)

    # Then every letter is there
    _, heir = office.listen(spec)
    assert heir.expect(200) == texts


def test_stopping_a_publisher_sends_what_waits_first(office: PostOffice) -> None:
    _, mailbox = office.listen(queue())
    publisher = office.publisher()
    for number in range(1_000):
        publisher.put(letter(str(number)))

    assert publisher.stop(LIMIT_S).left_over == 0

    assert len(mailbox.expect(1_000)) == 1_000


def test_a_publisher_that_never_started_says_what_it_still_holds(office: PostOffice) -> None:
    publisher = office.link().publisher(office.broker)
    for text in ("one", "two"):
        publisher.put(letter(text))

    assert publisher.stop(LIMIT_S).left_over == 2


def test_a_subscriber_that_does_not_run_accepts_no_queue(office: PostOffice) -> None:
    subscriber = office.link().subscriber(office.broker)

    with pytest.raises(ConnectionLostError):
        subscriber.add(queue(), Mailbox(), LIMIT_S)

    subscriber.stop(LIMIT_S)


def test_stop_leaves_neither_a_thread_nor_a_descriptor(office: PostOffice) -> None:
    # Given what a first use of everything leaves open for good
    _use_everything(office)
    threads, descriptors = threading.enumerate(), len(list(DESCRIPTORS.iterdir()))

    # When all is used again
    _use_everything(office)

    # Then nothing more is left
    assert threading.enumerate() == threads
    assert len(list(DESCRIPTORS.iterdir())) <= descriptors


def test_what_is_idle_stops_at_once(office: PostOffice) -> None:
    publishers = [office.publisher() for _ in range(3)]
    subscribers = [office.listen(queue(f"queue {number}"))[0] for number in range(3)]

    started = time.perf_counter()
    for publisher in publishers:
        publisher.stop(LIMIT_S)
    for subscriber in subscribers:
        subscriber.stop(LIMIT_S)

    assert time.perf_counter() - started < STOP_LIMIT_S


def test_a_process_with_more_than_a_thousand_open_files_is_served_too(office: PostOffice) -> None:
    """`select` knows no descriptor above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4_096), hard))
    with ExitStack() as files:
        files.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1_100):
            files.enter_context(Path(os.devnull).open())

        _use_everything(office)


def test_stop_can_be_called_again(office: PostOffice) -> None:
    publisher, (subscriber, _) = office.publisher(), office.listen(queue())

    for _ in range(2):
        assert publisher.stop(LIMIT_S).left_over == 0
        subscriber.stop(LIMIT_S)


def test_an_aborted_publisher_sends_nothing_more_and_ends_at_once(office: PostOffice) -> None:
    publisher = office.publisher()
    publisher.abort(LIMIT_S)

    publisher.put(letter("too late"))

    assert not publisher.alive
    assert publisher.report() == StopReport(sent=1, left_over=1)


def test_a_probe_of_a_good_broker_is_silent(office: PostOffice) -> None:
    office.link().probe(office.broker)


def reject(delivery: Delivery) -> None:
    delivery.reject()


def dead_letters(office: PostOffice) -> list[bytes]:
    """Take what was set aside so far."""
    with office.connection() as connection:
        channel, bodies = connection.channel(), []
        while message := channel.basic_get(LETTERS, no_ack=True):
            bodies.append(bytes(message.body))
        channel.close()
        return bodies


def oldest_dead_letter(office: PostOffice) -> bytes:
    """Look at it, and leave it there."""
    with office.connection() as connection:
        channel = connection.channel()
        message = channel.basic_get(LETTERS)
        channel.close()
        return bytes(message.body) if message else b""


def _use_everything(office: PostOffice) -> None:
    publisher_link, subscriber_link = office.link(), office.link()
    publisher = publisher_link.publisher(office.broker)
    subscriber = subscriber_link.subscriber(office.broker)
    mailbox = Mailbox()
    subscriber.start()
    subscriber.add(queue(), mailbox, LIMIT_S)
    publisher.start()
    publisher.wait_ready(LIMIT_S)
    publisher.put(letter("used"))
    mailbox.expect(1)
    publisher_link.probe(office.broker)
    publisher.stop(LIMIT_S)
    subscriber.stop(LIMIT_S)
    publisher_link.close()
    subscriber_link.close()
