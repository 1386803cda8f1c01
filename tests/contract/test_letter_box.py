"""What people ask of a link: to look into a queue, to take one message, to publish one again."""

from __future__ import annotations

import threading
from typing import Any

import amqp
import pytest

from miros_mesh.address import topic_matches, topic_of_queue
from miros_mesh.errors import BrokerRefusedError, LettersInUseError, UnroutableError
from support.post_office import EXCHANGE, PostOffice, letter, queue

KEPT = "miros_mesh.v1.kept"
RETRY = "miros_mesh.v1.retry"
TEXTS = [b"one", b"two", b"three", b"four"]


@pytest.fixture
def full(office: PostOffice) -> PostOffice:
    """An office with a queue that nobody consumes, and four messages in it."""
    with office.connection() as connection:
        declare(connection.channel(), KEPT, EXCHANGE, "kept")
        with office.link().letter_box(office.broker) as box:
            for text in TEXTS:
                box.put(EXCHANGE, "kept", text)
    return office


def declare(channel: Any, name: str, exchange: str, key: str) -> None:
    channel.exchange_declare(exchange=exchange, type="topic", durable=True, auto_delete=False)
    channel.queue_declare(queue=name, durable=True, auto_delete=False)
    channel.queue_bind(queue=name, exchange=exchange, routing_key=key)


def look(office: PostOffice, name: str = KEPT) -> list[bytes]:
    with office.link().letter_box(office.broker) as box:
        return [each.body for each in box.kept(name)]


def test_a_look_changes_neither_order_nor_number(full: PostOffice) -> None:
    assert look(full) == look(full) == TEXTS
    assert full.size(KEPT) == len(TEXTS)


def test_a_look_that_ends_early_gives_back_what_it_had(full: PostOffice) -> None:
    with full.link().letter_box(full.broker) as box:
        handed_out = box.kept(KEPT)
        assert [next(handed_out).body for _ in range(3)] == TEXTS[:3]
    assert look(full) == TEXTS


def test_what_is_taken_is_gone_and_the_rest_keeps_its_order(full: PostOffice) -> None:
    with full.link().letter_box(full.broker) as box:
        for each in box.kept(KEPT):
            if each.body == b"two":
                each.take()
    assert look(full) == [b"one", b"three", b"four"]


def test_what_comes_meanwhile_is_not_part_of_the_look(full: PostOffice) -> None:
    with full.link().letter_box(full.broker) as box:
        seen = []
        for each in box.kept(KEPT):
            seen.append(each.body)
            box.put(EXCHANGE, "kept", b"again " + each.body)
            each.take()
    assert seen == TEXTS
    assert look(full) == [b"again " + text for text in TEXTS]


def test_a_queue_that_was_never_made_is_empty(office: PostOffice) -> None:
    assert look(office, "miros_mesh.v1.none") == []
    with office.connection() as connection, pytest.raises(amqp.NotFound):
        connection.channel().queue_declare(queue="miros_mesh.v1.none", passive=True)


def test_what_is_put_into_a_queue_comes_to_no_other(office: PostOffice) -> None:
    _, wanted = office.listen(queue("wanted"))
    _, other = office.listen(queue("other"))
    with office.link().letter_box(office.broker) as box:
        box.put_into("miros_mesh.v1.wanted", lambda _: b"for you alone", exchange=RETRY)
        box.put(EXCHANGE, "any", b"for all")
    assert wanted.expect_until("for all") == ["for you alone"]
    assert other.expect_until("for all") == []


def test_what_is_put_into_a_queue_goes_under_a_topic_that_is_of_that_queue(
    office: PostOffice,
) -> None:
    office.listen(queue("wanted"))
    topics: list[str] = []

    def seal(topic: str) -> bytes:
        topics.append(topic)
        return b"x"

    with office.link().letter_box(office.broker) as box:
        for _ in range(2):
            box.put_into("miros_mesh.v1.wanted", seal, exchange=RETRY)
    # Of one publication each.
    assert len({*topics}) == 2
    assert topic_matches(f"{topic_of_queue(RETRY, 'miros_mesh.v1.wanted')}.*", topics[0])
    assert not topic_matches(f"{topic_of_queue(RETRY, 'miros_mesh.v1.other')}.*", topics[0])


@pytest.mark.parametrize(
    ("there", "newest"),
    [((".2",), ".2"), (("", ".2"), ".2"), (("", ".3"), ""), ((".2", ".3"), ".3")],
)
def test_what_is_put_into_a_replaced_queue_comes_to_its_newest_generation(
    office: PostOffice, there: tuple[str, ...], newest: str
) -> None:
    name = "miros_mesh.v1.wanted"
    with office.connection() as connection:
        for place in there:
            declare(connection.channel(), name + place, EXCHANGE, "none")
        with office.link().letter_box(office.broker) as box:
            box.put_into(name, lambda _: b"for you alone", exchange=RETRY)
    assert [len(look(office, name + place)) for place in there] == [
        int(place == newest) for place in there
    ]


def test_what_is_put_into_a_queue_leaves_no_binding(office: PostOffice) -> None:
    with office.connection() as connection:
        channel = connection.channel()
        declare(channel, KEPT, EXCHANGE, "kept")
        with office.link().letter_box(office.broker) as box:
            box.put_into(KEPT, lambda _: b"once", exchange=RETRY)
        # Nothing is bound there any more, so the exchange may go.
        channel.exchange_delete(exchange=RETRY, if_unused=True)


def test_a_queue_that_is_not_there_takes_nothing(office: PostOffice) -> None:
    with office.link().letter_box(office.broker) as box:
        with pytest.raises(UnroutableError, match=r"has no queue miros_mesh\.v1\.gone"):
            box.put_into("miros_mesh.v1.gone", lambda _: b"x", exchange=RETRY)
        with pytest.raises(UnroutableError, match="no queue of"):
            box.put(EXCHANGE, "heard by none", b"x")
        # The visit goes on after a refusal.
        assert list(box.kept(KEPT)) == []


def test_two_visits_at_once_lose_nothing(full: PostOffice) -> None:
    found: list[bytes] = []

    def take_all() -> None:
        with full.link().letter_box(full.broker) as box:
            for each in box.kept(KEPT):
                each.take()
                found.append(each.body)

    visits = [threading.Thread(target=take_all) for _ in range(2)]
    for visit in visits:
        visit.start()
    for visit in visits:
        visit.join()
    # One that came to an end while the other had messages in hand may have missed some.
    assert sorted([*found, *look(full)]) == sorted(TEXTS)


@pytest.mark.parametrize("office", ["embedded", "memory"], indirect=True)
def test_an_embedded_broker_shows_a_queue_to_one_at_a_time_and_says_so(full: PostOffice) -> None:
    with full.link().letter_box(full.broker) as box:
        handed_out = box.kept(KEPT)
        next(handed_out)
        with (
            full.link(confirm_timeout_s=0.2).letter_box(full.broker) as second,
            pytest.raises(LettersInUseError, match="another program reads"),
        ):
            list(second.kept(KEPT))
    assert look(full) == TEXTS


@pytest.mark.parametrize("office", ["rabbitmq"], indirect=True)
def test_a_full_queue_that_refuses_is_an_error_and_no_loss(office: PostOffice) -> None:
    with office.connection() as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange=EXCHANGE, type="topic", durable=True, auto_delete=False)
        channel.queue_declare(
            queue=KEPT,
            durable=True,
            auto_delete=False,
            arguments={"x-max-length": 1, "x-overflow": "reject-publish"},
        )
        channel.queue_bind(queue=KEPT, exchange=EXCHANGE, routing_key="kept")
        with office.link().letter_box(office.broker) as box:
            box.put(EXCHANGE, "kept", b"fits")
            with pytest.raises(BrokerRefusedError, match="did not store it"):
                box.put(EXCHANGE, "kept", b"does not")
    assert look(office) == [b"fits"]


@pytest.mark.parametrize("office", ["rabbitmq"], indirect=True)
def test_a_strangers_routing_key_does_not_end_the_look(full: PostOffice) -> None:
    """py-amqp would raise over a name that is no UTF-8, at each look again."""
    with full.connection() as connection:
        channel = connection.channel()
        channel.queue_bind(queue=KEPT, exchange=EXCHANGE, routing_key="#")
        channel.basic_publish(amqp.Message(b"strange"), exchange=EXCHANGE, routing_key=b"\xff\xfe")
        channel.close()
    assert look(full) == [*TEXTS, b"strange"]


def test_a_thousand_messages_are_looked_at(office: PostOffice) -> None:
    publisher = office.publisher()
    with office.connection() as connection:
        declare(connection.channel(), KEPT, EXCHANGE, "kept")
    for number in range(1_000):
        publisher.put(letter(str(number), "kept"))
    publisher.stop(10.0)
    assert look(office) == [str(number).encode() for number in range(1_000)]
