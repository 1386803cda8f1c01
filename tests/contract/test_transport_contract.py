"""What the link asks of a Kombu transport: the same tests for all three."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import amqp
import kombu
import pytest

from miros_mesh.embedded.memory import MemoryStore
from miros_mesh.embedded.transport import dial as embedded
from support.kombu_peer import EXCHANGE, Peer, text
from support.waiting import wait_until

MakePeer = Callable[[], Peer]
REDELIVERED = [True, True]
EXPIRY_S = 0.2
QUORUM: dict[str, Any] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000}
ONE = QUORUM | {"x-single-active-consumer": True}
COUNT = "x-delivery-count"


@pytest.fixture(params=["embedded", "memory", "rabbitmq"])
def dial(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], kombu.Connection]:
    """How to make a connection to one broker."""
    if request.param == "rabbitmq":
        url = request.getfixturevalue("vhost_url")
        return lambda: kombu.Connection(url)
    if request.param == "embedded":
        return lambda: embedded(tmp_path / "broker")
    return MemoryStore().dial


@pytest.fixture
def peer(dial: Callable[[], kombu.Connection]) -> Iterator[MakePeer]:
    """A maker of peers that are closed at the end."""
    with ExitStack() as stack:

        def make() -> Peer:
            made = Peer(dial())
            stack.callback(made.close)
            return made

        yield make


def redelivered(peer: Peer) -> list[bool]:
    return [message.delivery_info["redelivered"] for message in peer.received]


def test_every_bound_queue_gets_every_matching_message_once(peer: MakePeer) -> None:
    alice, bob, sender = peer(), peer(), peer()
    alice.consume("alice", "heya.*")
    bob.consume("bob", "#.man")

    sender.publish("both", "heya.man")
    sender.publish("only alice", "heya.woman")
    sender.publish("nobody", "hello")

    assert alice.settle_down() == ["both", "only alice"]
    assert bob.settle_down() == ["both"]


@pytest.mark.parametrize(
    ("pattern", "keys", "matching"),
    [
        ("a.#", ["a", "a.b", "a.b.c", "ab", "b.a"], ["a", "a.b", "a.b.c"]),
        ("#.a", ["a", "b.a", "c.b.a", "ba", "a.b"], ["a", "b.a", "c.b.a"]),
        ("a.#.z", ["a.z", "a.b.z", "a.b.c.z", "a.b", "az"], ["a.z", "a.b.z", "a.b.c.z"]),
        ("*.b", ["a.b", "b", "a.a.b", ".b"], ["a.b", ".b"]),
        ("#", ["a", "a.b", ""], ["a", "a.b", ""]),
        ("a+b.c", ["a+b.c", "aab.c"], ["a+b.c"]),
    ],
)
def test_patterns_match_as_in_amqp(
    peer: MakePeer, pattern: str, keys: list[str], matching: list[str]
) -> None:
    listener = peer()
    listener.consume("queue", pattern)

    for key in keys:
        listener.publish(key, key)

    assert listener.settle_down() == matching


def test_a_queue_bound_twice_gets_a_message_once(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue", "a.*")
    listener.declare("queue", "#.b")
    listener.declare("queue", "#.b")

    listener.publish("once", "a.b")

    assert listener.settle_down() == ["once"]


def test_messages_wait_for_a_consumer_and_keep_their_order(peer: MakePeer) -> None:
    sender, listener = peer(), peer()
    sender.declare("queue")
    expected = [f"message {number}" for number in range(1_000)]

    for body in expected:
        sender.publish(body)
    listener.consume("queue", prefetch=0)

    assert listener.drain(1_000) == expected


def test_a_message_arrives_as_it_was_published(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue")
    body = bytes(range(256))

    listener.publish(body, "a.b", headers={"text": "é", "number": 7}, correlation_id="id")

    listener.turn(5)
    (message,) = listener.received
    assert bytes(message.body) == body
    assert message.headers == {"text": "é", "number": 7}
    assert message.properties["correlation_id"] == "id"
    assert message.properties["delivery_mode"] == 2
    assert message.content_type == "application/octet-stream"
    assert message.content_encoding == "binary"
    assert message.delivery_info["exchange"] == EXCHANGE
    assert message.delivery_info["routing_key"] == "a.b"
    assert message.delivery_info["redelivered"] is False


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_any_size_of_body_arrives(peer: MakePeer, size: int) -> None:
    listener = peer()
    listener.consume("queue")

    listener.publish("x" * size)

    assert listener.drain(1) == ["x" * size]


def test_a_message_without_a_queue_is_no_error(peer: MakePeer) -> None:
    sender = peer()

    sender.publish("lost")
    sender.declare("queue")
    sender.publish("kept")

    wait_until(lambda: sender.size("queue") == 1)


def test_a_rejected_message_goes_where_its_queue_sends_the_dead(peer: MakePeer) -> None:
    # Given a queue with a place for its dead letters
    listener, undertaker = peer(), peer()
    grave = kombu.Exchange("grave", type="fanout")
    kombu.Queue("dead", exchange=grave)(undertaker.channel).declare()
    arguments = {"x-dead-letter-exchange": "grave"}
    listener.consume("queue", queue_arguments=arguments)

    # When it rejects a message, requeues the next, and acknowledges the last
    for body in ("rejected", "requeued", "acked"):
        listener.publish(body, "a.b", headers={"number": 7})
    listener.drain(3)
    first, second, third = listener.received
    first.reject()
    second.requeue()
    third.ack()
    listener.drain(4)

    # Then the first comes there, as it was, with the place of its death
    wait_until(lambda: undertaker.size("dead") == 1)
    message = undertaker.channel.basic_get("dead")
    assert text(message.body) == "rejected"
    assert message.delivery_info["exchange"] == "grave"
    assert message.delivery_info["routing_key"] == "a.b"
    assert message.headers["number"] == 7
    assert message.headers["x-first-death-queue"] == "queue"
    assert message.headers["x-first-death-reason"] == "rejected"
    assert message.headers["x-first-death-exchange"] == EXCHANGE


def test_a_rejected_message_without_a_place_to_go_is_gone(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue", queue_arguments={"x-dead-letter-exchange": "nowhere"})
    listener.publish("rejected")
    listener.drain(1)

    listener.received[0].reject()
    listener.publish("next")

    assert listener.drain(2) == ["rejected", "next"]


def test_a_consumer_of_dead_letters_gets_each(peer: MakePeer) -> None:
    """Also those that are older than what it got before."""
    listener, undertaker = peer(), peer()
    undertaker.consume("dead")
    arguments = {"x-dead-letter-exchange": EXCHANGE}
    listener.consume("queue", "first", queue_arguments=arguments)
    listener.publish("old", "first")
    listener.drain(1)
    assert undertaker.drain(1) == ["old"]
    listener.publish("new", "second")
    assert undertaker.drain(2) == ["old", "new"]

    listener.received[0].reject()

    assert undertaker.drain(3) == ["old", "new", "old"]


def test_a_queue_of_limited_size_loses_its_oldest_messages(peer: MakePeer) -> None:
    sender = peer()
    sender.declare("queue", max_length_bytes=100)

    for number in range(10):
        sender.publish(f"{number}".ljust(30))

    wait_until(lambda: sender.size("queue") == 3)
    sender.consume("queue", max_length_bytes=100)
    assert [int(body) for body in sender.drain(3)] == [7, 8, 9]


def test_a_message_outlives_the_time_of_its_queue_not_by_much(peer: MakePeer) -> None:
    sender = peer()
    sender.declare("queue", message_ttl=EXPIRY_S)
    sender.declare("lasting")

    sender.publish("mayfly")

    wait_until(lambda: sender.size("queue") == 0)
    assert sender.size("lasting") == 1


def test_prefetch_limits_what_is_unsettled_and_an_ack_lets_the_next_come(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue", prefetch=2)
    for body in "abcd":
        listener.publish(body)
    assert listener.settle_down() == ["a", "b"]

    listener.received[0].ack()

    assert listener.settle_down() == ["a", "b", "c"]


def test_an_acked_message_never_comes_again_and_an_unacked_one_does(peer: MakePeer) -> None:
    first, second = peer(), peer()
    first.consume("queue")
    for body in "abcd":
        first.publish(body)
    first.drain(4)
    first.received[0].ack()
    first.received[2].ack()

    first.close()
    second.consume("queue")

    assert second.settle_down() == ["b", "d"]
    assert redelivered(second) == REDELIVERED


def test_one_ack_can_cover_all_messages_before_it(peer: MakePeer) -> None:
    first, second = peer(), peer()
    first.consume("queue")
    for body in "abcd":
        first.publish(body)
    first.drain(4)

    first.received[2].ack(multiple=True)
    first.close()
    second.consume("queue")

    assert second.settle_down() == ["d"]


def test_a_rejected_message_is_forgotten(peer: MakePeer) -> None:
    first, second = peer(), peer()
    first.consume("queue")
    first.publish("bad")
    first.drain(1)

    first.received[0].reject()
    first.close()
    second.consume("queue")

    assert second.settle_down() == []


def test_a_requeued_message_comes_again(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue", prefetch=2)
    for body in "abcd":
        listener.publish(body)
    listener.settle_down()

    listener.received[0].requeue()
    listener.received[1].ack()

    listener.received.clear()
    # RabbitMQ may hand out the next message before it has the requeued one back.
    assert sorted(listener.settle_down()) == ["a", "c"]
    assert sorted(redelivered(listener)) == [False, True]


def test_recover_hands_out_again_what_is_unsettled(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue")
    for body in "abc":
        listener.publish(body)
    listener.drain(3)
    listener.received[1].ack()
    listener.received.clear()

    listener.channel.basic_recover(requeue=True)

    assert listener.settle_down() == ["a", "c"]
    assert redelivered(listener) == REDELIVERED


def test_a_cancelled_consumer_can_still_ack_and_the_others_go_on(peer: MakePeer) -> None:
    listener, sender = peer(), peer()
    cancelled = listener.consume("one", "one")
    listener.consume("two", "two")
    sender.publish("before", "one")
    listener.drain(1)

    cancelled.cancel()
    listener.ack()
    sender.publish("waits", "one")
    sender.publish("goes on", "two")

    assert listener.settle_down() == ["goes on"]
    wait_until(lambda: sender.size("one") == 1)


def test_a_cancelled_queue_can_be_consumed_again(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue").cancel()
    listener.publish("while nobody listens")

    listener.consume("queue")

    assert listener.drain(1) == ["while nobody listens"]


def test_the_messages_of_a_deleted_queue_are_gone_and_the_others_go_on(peer: MakePeer) -> None:
    listener, sender = peer(), peer()
    doomed = listener.consume("doomed", "doomed")
    listener.consume("kept", "kept")

    doomed.cancel()
    sender.publish("lost", "doomed")
    wait_until(lambda: sender.size("doomed") == 1)
    assert listener.channel.queue_delete(queue="doomed") == 1
    sender.publish("unroutable", "doomed")
    sender.publish("goes on", "kept")

    assert listener.settle_down() == ["goes on"]
    with pytest.raises(amqp.NotFound):
        sender.size("doomed")


def test_a_consumer_is_told_that_its_queue_was_deleted(peer: MakePeer) -> None:
    listener, other = peer(), peer()
    listener.consume("queue")

    other.channel.queue_delete(queue="queue")

    with pytest.raises(amqp.ConsumerCancelled):
        wait_until(lambda: listener.turn(0.05))


def test_deleting_a_queue_that_is_not_there_is_no_error(peer: MakePeer) -> None:
    assert peer().channel.queue_delete(queue="nowhere") == 0


def test_a_queue_in_use_can_be_kept_from_deletion(peer: MakePeer) -> None:
    listener, other = peer(), peer()
    listener.consume("queue")

    with pytest.raises(amqp.PreconditionFailed):
        other.channel.queue_delete(queue="queue", if_unused=True)


def test_a_filled_queue_can_be_kept_from_deletion(peer: MakePeer) -> None:
    sender, other = peer(), peer()
    sender.declare("queue")
    sender.publish("kept")
    wait_until(lambda: sender.size("queue") == 1)

    with pytest.raises(amqp.PreconditionFailed):
        other.channel.queue_delete(queue="queue", if_empty=True)


def test_a_purge_empties_a_queue_and_says_how_much_was_in_it(peer: MakePeer) -> None:
    sender = peer()
    sender.declare("queue")
    for body in "abc":
        sender.publish(body)
    wait_until(lambda: sender.size("queue") == 3)

    assert sender.channel.queue_purge(queue="queue") == 3
    assert sender.size("queue") == 0


def test_an_unbound_queue_gets_no_more(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue", "key")

    listener.channel.queue_unbind(queue="queue", exchange=EXCHANGE, routing_key="key")
    listener.publish("unheard")

    assert listener.settle_down() == []


def test_asking_for_a_queue_that_is_not_there_says_so(peer: MakePeer) -> None:
    with pytest.raises(amqp.NotFound, match="nowhere"):
        peer().channel.queue_declare(queue="nowhere", passive=True)


def test_asking_for_an_exchange_that_is_not_there_says_so(peer: MakePeer) -> None:
    with pytest.raises(amqp.NotFound, match="nowhere"):
        peer().channel.exchange_declare(exchange="nowhere", type="topic", passive=True)


def test_binding_to_an_exchange_that_is_not_there_says_so(peer: MakePeer) -> None:
    listener = peer()
    listener.declare("queue")

    with pytest.raises(amqp.NotFound, match="nowhere"):
        listener.channel.queue_bind(queue="queue", exchange="nowhere", routing_key="#")


def test_consuming_a_queue_that_is_not_there_says_so(peer: MakePeer) -> None:
    with pytest.raises(amqp.NotFound, match="nowhere"):
        peer().channel.basic_consume("nowhere", no_ack=False, callback=print, consumer_tag="tag")


def test_declaring_a_queue_otherwise_than_it_is_is_refused(peer: MakePeer) -> None:
    listener = peer()
    listener.declare("queue", max_length=10)

    with pytest.raises(amqp.PreconditionFailed):
        listener.declare("queue", max_length=11)


def test_declaring_an_exchange_otherwise_than_it_is_is_refused(peer: MakePeer) -> None:
    with pytest.raises(amqp.PreconditionFailed):
        peer().channel.exchange_declare(exchange=EXCHANGE, type="fanout", durable=True)


def test_a_deleted_exchange_is_gone_and_its_queues_stay(peer: MakePeer) -> None:
    sender, other = peer(), peer()
    sender.declare("queue")

    sender.channel.exchange_delete(exchange=EXCHANGE)

    assert sender.size("queue") == 0
    with pytest.raises(amqp.NotFound):
        other.channel.exchange_declare(exchange=EXCHANGE, type="topic", passive=True)


def test_a_full_queue_drops_its_oldest_messages(peer: MakePeer) -> None:
    sender, listener = peer(), peer()
    sender.declare("queue", max_length=3)

    for body in "abcdef":
        sender.publish(body)
    listener.consume("queue", max_length=3)

    assert listener.settle_down() == ["d", "e", "f"]


def test_a_queue_that_nobody_consumes_expires_with_its_messages(peer: MakePeer) -> None:
    sender = peer()
    sender.declare("queue", expires=EXPIRY_S)
    sender.publish("forgotten")

    # Asking a RabbitMQ starts the time anew, so ask once.
    sender.turn(3 * EXPIRY_S)
    with pytest.raises(amqp.NotFound):
        sender.size("queue")


def test_a_queue_that_is_consumed_does_not_expire(peer: MakePeer) -> None:
    listener, other = peer(), peer()
    listener.consume("queue", expires=EXPIRY_S)

    listener.turn(3 * EXPIRY_S)
    other.turn(0.1)

    assert other.size("queue") == 0


def test_an_auto_delete_queue_goes_with_its_consumer(peer: MakePeer) -> None:
    listener, other = peer(), peer()
    consumer = listener.consume("queue", auto_delete=True)

    consumer.cancel()

    with pytest.raises(amqp.NotFound):
        other.size("queue")


def test_an_exclusive_queue_goes_with_its_connection(peer: MakePeer) -> None:
    owner, other = peer(), peer()
    owner.declare("queue", exclusive=True)
    with pytest.raises(amqp.ResourceLocked):
        peer().declare("queue", exclusive=True)

    owner.close()

    with pytest.raises(amqp.NotFound):
        other.size("queue")


def test_one_message_can_be_fetched_without_consuming(peer: MakePeer) -> None:
    sender = peer()
    sender.declare("queue")
    sender.publish("first")
    sender.publish("second")
    wait_until(lambda: sender.size("queue") == 2)

    message = sender.channel.basic_get(queue="queue")
    last = sender.channel.basic_get(queue="queue", no_ack=True)

    assert (bytes(message.body), bytes(last.body)) == (b"first", b"second")
    assert sender.channel.basic_get(queue="queue") is None


def test_a_consumer_without_acks_loses_nothing_while_it_lives(peer: MakePeer) -> None:
    first, second = peer(), peer()
    first.declare("queue")
    consumer = kombu.Consumer(
        first.channel, [first.declare("queue")], on_message=first.received.append, no_ack=True
    )
    consumer.consume()
    for body in "abc":
        first.publish(body)

    assert first.drain(3) == ["a", "b", "c"]
    first.close()
    second.consume("queue")
    assert second.settle_down() == []


def test_a_message_whose_callback_raises_is_not_lost(peer: MakePeer) -> None:
    first, second = peer(), peer()

    def fail(_: object) -> None:
        raise ZeroDivisionError

    first.consume("queue", on_message=fail)
    first.publish("important")

    with pytest.raises(ZeroDivisionError):
        first.settle_down()
    first.close()
    second.consume("queue")

    assert second.settle_down() == ["important"]


def test_a_message_can_go_straight_to_a_queue(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue", "never")

    kombu.Producer(listener.channel).publish(b"direct", exchange="", routing_key="queue")

    listener.turn(5)
    assert bytes(listener.received[0].body) == b"direct"


@pytest.mark.parametrize(("kind", "expected"), [("direct", ["same"]), ("fanout", ["same", "any"])])
def test_the_other_exchange_types_route_as_in_amqp(
    peer: MakePeer, kind: str, expected: list[str]
) -> None:
    listener = peer()
    listener.consume("queue", "never")
    listener.channel.exchange_declare(exchange="other", type=kind, durable=False)
    listener.channel.queue_bind(queue="queue", exchange="other", routing_key="key")

    listener.publish("same", "key", exchange="other")
    listener.publish("any", "another", exchange="other")

    assert listener.settle_down() == expected


def test_an_unroutable_mandatory_message_is_returned(peer: MakePeer) -> None:
    sender = peer()
    returned: list[str] = []
    sender.channel.events["basic_return"].add(
        lambda error, exchange, routing_key, message: returned.append(routing_key)
    )

    sender.publish("nobody", "no.one", mandatory=True)
    sender.settle_down()

    assert returned == ["no.one"]


def test_a_callback_may_publish_on_its_own_connection(peer: MakePeer) -> None:
    listener = peer()

    def answer(message: kombu.Message) -> None:
        listener.received.append(message)
        message.ack()
        if len(listener.received) < 50:
            listener.publish("ping")

    listener.consume("queue", on_message=answer)
    listener.publish("ping")

    assert listener.drain(50) == ["ping"] * 50


def test_a_heartbeat_check_disturbs_nobody(peer: MakePeer) -> None:
    listener = peer()
    listener.consume("queue")

    listener.connection.heartbeat_check()
    listener.publish("alive")

    assert listener.drain(1) == ["alive"]


def test_a_closed_connection_can_be_closed_again(peer: MakePeer) -> None:
    closed = peer()

    closed.close()
    closed.close()

    assert not closed.connection.connected


# Several consumers of a queue


def listen(peer: Peer, arguments: dict[str, Any], prefetch: int = 3) -> kombu.Consumer:
    return peer.consume("queue", prefetch=prefetch, queue_arguments=arguments, durable=True)


def test_of_several_the_first_in_line_gets_all_and_then_the_next(peer: MakePeer) -> None:
    # Given three that wait in line
    first, second, third, sender = peer(), peer(), peer(), peer()
    for each in (first, second, third):
        listen(each, ONE)
    for body in "abcdef":
        sender.publish(body)
    assert first.settle_down() == ["a", "b", "c"]
    assert (second.settle_down(), third.settle_down()) == ([], [])

    # When the first one leaves with two of its three unsettled
    first.received[0].ack()
    assert first.settle_down() == ["a", "b", "c", "d"]
    first.close()

    # Then the second one gets them, before all others, and each says that it came before
    assert second.settle_down() == ["b", "c", "d"]
    assert redelivered(second) == [True, True, True]
    assert [message.headers[COUNT] for message in second.received] == [1, 1, 1]
    second.ack()
    assert second.settle_down() == ["e", "f"]
    assert redelivered(second) == [False, False]
    assert third.settle_down() == []


def test_who_cancels_and_consumes_again_is_the_last_in_line(peer: MakePeer) -> None:
    first, second, third, sender = peer(), peer(), peer(), peer()
    active, waiting, _ = (listen(each, ONE) for each in (first, second, third))

    waiting.cancel()
    listen(second, ONE)
    active.cancel()
    sender.publish("for the third")
    assert third.settle_down() == ["for the third"]
    third.close()
    assert second.settle_down() == ["for the third"]
    assert first.settle_down() == []


def test_several_share_a_queue_and_each_message_is_handed_to_one(peer: MakePeer) -> None:
    sharers, sender = [peer(), peer(), peer()], peer()
    for each in sharers:
        listen(each, QUORUM)
    for number in range(6):
        sender.publish(f"{number}")

    for _ in range(2):
        for each in sharers:
            each.settle_down()

    # None has more than its prefetch, and none has nothing.
    assert all(1 <= len(each.received) <= 3 for each in sharers)
    bodies = [body for each in sharers for body in each.bodies()]
    assert sorted(bodies) == [f"{number}" for number in range(6)]
    assert not any(COUNT in m.headers for each in sharers for m in each.received)


def test_what_one_of_several_has_not_settled_comes_to_the_others(peer: MakePeer) -> None:
    # Given two that share, and hold all that their prefetch allows
    leaves, stays, sender = peer(), peer(), peer()
    for each in (leaves, stays):
        listen(each, QUORUM, prefetch=2)
    for body in "abcd":
        sender.publish(body)
    for each in (leaves, stays):
        each.settle_down()
    assert sorted(leaves.bodies() + stays.bodies()) == ["a", "b", "c", "d"]
    handled, back = leaves.bodies()

    # When one acknowledges the first of its two, and leaves
    leaves.received[0].ack()
    leaves.close()
    own = stays.bodies()
    stays.ack()

    # Then the second one comes to the other, and no other message comes twice
    assert stays.settle_down() == [back]
    assert redelivered(stays) == [True]
    assert stays.received[0].headers[COUNT] == 1
    assert sorted([handled, back, *own]) == ["a", "b", "c", "d"]
    stays.ack()
    wait_until(lambda: sender.size("queue") == 0)


def test_what_one_gives_back_comes_to_any_and_is_counted(peer: MakePeer) -> None:
    one, sender = peer(), peer()
    listen(one, QUORUM, prefetch=1)
    sender.publish("again and again")

    for times in range(3):
        one.drain(1)
        (message,) = one.received
        assert message.headers.get(COUNT, 0) == times
        one.received.clear()
        if times == 2:
            other = peer()
            listen(other, QUORUM, prefetch=1)
            one.close()
        else:
            message.requeue()

    assert other.drain(1) == ["again and again"]
    assert other.received[0].headers[COUNT] == 3


def test_a_cancelled_consumer_keeps_what_it_has_of_a_shared_queue(peer: MakePeer) -> None:
    # Given one of two, that holds two messages and is cancelled
    cancelled, other, sender = peer(), peer(), peer()
    consumer = listen(cancelled, QUORUM)
    for body in "ab":
        sender.publish(body)
    cancelled.drain(2)
    listen(other, QUORUM)
    consumer.cancel()

    # Then nothing comes to the other until it is given back, and nothing that was acknowledged
    assert other.settle_down() == []
    cancelled.received[0].ack()
    assert other.settle_down() == []
    cancelled.close()
    assert other.settle_down() == ["b"]


def test_an_auto_delete_queue_goes_with_the_last_of_its_consumers(peer: MakePeer) -> None:
    one, two, other = peer(), peer(), peer()
    first = one.consume("queue", auto_delete=True)
    last = two.consume("queue", auto_delete=True)

    first.cancel()
    assert other.size("queue") == 0
    last.cancel()

    with pytest.raises(amqp.NotFound):
        other.size("queue")


def test_a_queue_whose_dead_letters_have_another_topic_is_another_queue(peer: MakePeer) -> None:
    """By which those that consume a queue can agree on anything."""
    arguments = {"x-dead-letter-exchange": EXCHANGE, "x-dead-letter-routing-key": "one view"}
    peer().declare("queue", "a.b", queue_arguments=arguments)
    arguments["x-dead-letter-routing-key"] = "another view"

    with pytest.raises(amqp.PreconditionFailed) as caught:
        peer().declare("queue", "a.b", queue_arguments=arguments)

    said = caught.value.reply_text
    assert said.startswith("PRECONDITION_FAILED - inequivalent arg 'x-dead-letter-routing-key'")
    assert said.endswith("received 'another view' but current is 'one view'")


def test_dead_letters_have_the_topic_that_their_queue_says(peer: MakePeer) -> None:
    listener, undertaker = peer(), peer()
    undertaker.consume("dead", "of.the.dead")
    arguments = {
        "x-dead-letter-exchange": EXCHANGE,
        "x-dead-letter-routing-key": "of.the.dead",
    }
    listener.consume("queue", "a.b", queue_arguments=arguments)
    listener.publish("rejected", "a.b")
    listener.drain(1)

    listener.received[0].reject()

    assert undertaker.drain(1) == ["rejected"]
    assert undertaker.received[0].delivery_info["routing_key"] == "of.the.dead"
