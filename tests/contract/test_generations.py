"""A lasting queue that exists with other arguments: it is emptied first, and replaced."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from miros_mesh.link.rabbitmq import declarer
from miros_mesh.link.rabbitmq.declarer import places
from miros_mesh.link.rabbitmq.queues import queue_of
from support.post_office import LIMIT_S, Mailbox, PostOffice, keeping, letter, queue
from support.waiting import wait_until

SPEC = queue("lasting", delete_on_stop=False, replicated=True, dead_letters=True)
WANTED = queue_of(SPEC).queue_arguments
FIRST, SECOND, THIRD = places(SPEC.name)
# For each argument that is declared, what an older release may have declared.
OTHERS: dict[str, dict[str, Any]] = {
    "x-expires": WANTED | {"x-expires": 7_000_000},
    "x-single-active-consumer": WANTED | {"x-single-active-consumer": False},
    "x-queue-type": {k: v for k, v in WANTED.items() if k != "x-delivery-limit"}
    | {"x-queue-type": "classic"},
    "x-delivery-limit": WANTED | {"x-delivery-limit": 20},
    # Until nodes wrote dead letters themselves.
    "x-dead-letter-exchange": WANTED | {"x-dead-letter-exchange": "miros_mesh.v1.dead_letters"},
}
# As the first releases had it: what is rejected goes behind all others.
UNLIMITED = {k: v for k, v in WANTED.items() if k != "x-delivery-limit"}
OLD, OLDER = OTHERS["x-expires"], WANTED | {"x-expires": 8_000_000}


@pytest.fixture(autouse=True)
def _say_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def declared(office: PostOffice, name: str, arguments: dict[str, Any]) -> None:
    """Make a queue as another release would have."""
    made = queue_of(SPEC, name)
    made.queue_arguments = arguments
    with office.connection() as connection:
        made(connection.channel()).declare()


def unbound(office: PostOffice, name: str) -> None:
    with office.connection() as connection:
        for each in SPEC.bindings:
            connection.channel().queue_unbind(name, each.exchange, each.pattern)


def present(office: PostOffice) -> list[str]:
    """The generations that there are."""
    found = []
    for name in places(SPEC.name):
        with office.connection() as connection:
            try:
                connection.channel().queue_declare(name, passive=True)
            except connection.channel_errors:
                continue
            found.append(name)
    return found


def sent(office: PostOffice, first: int, last: int) -> None:
    """Publish these numbers, and return when the broker has them."""
    publisher = office.publisher()
    for number in range(first, last):
        publisher.put(letter(str(number)))
    assert publisher.stop(LIMIT_S).left_over == 0


def numbers(last: int) -> list[str]:
    return [str(number) for number in range(last)]


def firsts(mailbox: Mailbox) -> list[str]:
    """What came, without the copies that a chart drops."""
    return list(dict.fromkeys(mailbox.texts))


@pytest.mark.parametrize("argument", OTHERS)
def test_what_waits_in_a_queue_of_other_arguments_comes_before_what_comes_now(
    office: PostOffice, caplog: pytest.LogCaptureFixture, argument: str
) -> None:
    # Given a queue with another argument, in which events wait
    declared(office, FIRST, OTHERS[argument])
    sent(office, 0, 100)
    flowing = office.publisher()

    # When a subscriber comes for it, while more is published
    subscriber, mailbox = office.subscriber(), Mailbox()
    for number in range(100, 200):
        flowing.put(letter(str(number)))
    existed = subscriber.add(SPEC, mailbox, LIMIT_S)
    for number in range(200, 300):
        flowing.put(letter(str(number)))

    # Then all come, in order, and one queue is left, which has the arguments that were wanted
    wait_until(lambda: len(firsts(mailbox)) == 300)
    assert firsts(mailbox) == numbers(300)
    assert existed
    wait_until(lambda: present(office) == [SECOND])
    assert f"{FIRST} is empty and deleted" in caplog.text
    with office.connection() as connection:
        queue_of(SPEC, SECOND)(connection.channel()).queue_declare()
    sent(office, 300, 301)
    wait_until(lambda: firsts(mailbox) == numbers(301))


def test_the_argument_that_differs_is_told(
    office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    declared(office, FIRST, OLD)

    office.subscriber().add(SPEC, Mailbox(), LIMIT_S)

    assert f"the queue {FIRST} was declared with another" in caplog.text
    assert f"and {SECOND} takes its place" in caplog.text


def test_what_is_not_settled_keeps_the_next_generation_back(office: PostOffice) -> None:
    # Given a consumer that settles nothing of the old queue
    declared(office, FIRST, OLD)
    sent(office, 0, 3)
    subscriber, mailbox = office.listen(SPEC, keeping)
    mailbox.expect(3)

    # When more comes, into the new one
    sent(office, 3, 6)
    consumed = subscriber._queues[SPEC.name]
    wait_until(lambda: len(consumed.consumers[1].parked) == 3)

    # Then it is held back until the last of the old was settled
    for delivery in mailbox.deliveries[:2]:
        delivery.ack()
    looked, looking = threading.Event(), consumed.look_for_the_end
    subscriber._post(lambda _: looked.set() if not looking(subscriber._declarer) else None)
    assert looked.wait(LIMIT_S)
    assert firsts(mailbox) == numbers(3)
    mailbox.deliveries[2].ack()
    wait_until(lambda: firsts(mailbox) == numbers(6))


@pytest.mark.parametrize("old", [OLD, UNLIMITED], ids=["limited", "unlimited"])
def test_one_that_stops_in_the_middle_leaves_everything_to_the_next(
    office: PostOffice, old: dict[str, Any]
) -> None:
    declared(office, FIRST, old)
    sent(office, 0, 50)
    subscriber, mailbox = office.listen(SPEC, keeping)
    mailbox.expect(20)
    sent(office, 50, 100)
    for delivery in mailbox.deliveries[:10]:
        delivery.ack()
    # As much as may be is on its way again, where it is a RabbitMQ that delivers it.
    mailbox.expect(40)
    subscriber.remove(SPEC.name, LIMIT_S)
    subscriber._post(lambda _: subscriber._look_for_ends())
    subscriber.stop(LIMIT_S)

    _, heir = office.listen(SPEC)

    wait_until(lambda: len(firsts(heir)) >= 90)
    assert firsts(heir) == numbers(100)[10:]
    wait_until(lambda: present(office) == [SECOND])


@pytest.mark.parametrize(("older", "newer"), [(FIRST, SECOND), (SECOND, THIRD), (THIRD, FIRST)])
@pytest.mark.parametrize("wanted", ["neither", "older", "newer"])
def test_an_upgrade_that_was_interrupted_goes_on_whatever_is_wanted_now(
    office: PostOffice, older: str, newer: str, wanted: str
) -> None:
    # Given two generations, of which the newer is not bound yet
    declared(office, older, WANTED if wanted == "older" else OLDER)
    sent(office, 0, 50)
    declared(office, newer, WANTED if wanted == "newer" else OLD)
    unbound(office, older)
    sent(office, 50, 100)
    unbound(office, newer)

    # When a subscriber comes
    subscriber, mailbox = office.subscriber(), Mailbox()
    assert subscriber.add(SPEC, mailbox, LIMIT_S)
    sent(office, 100, 150)

    # Then the older one comes first, and in the end there is one, as it is wanted
    wait_until(lambda: len(firsts(mailbox)) == 150)
    assert firsts(mailbox) == numbers(150)
    wait_until(lambda: len(present(office)) == 1)
    (left,) = present(office)
    assert (left == newer) is (wanted == "newer")
    with office.connection() as connection:
        queue_of(SPEC, left)(connection.channel()).queue_declare()


def test_a_queue_that_was_not_there_is_told_as_new(office: PostOffice) -> None:
    subscriber = office.subscriber()

    assert not subscriber.add(SPEC, Mailbox(), LIMIT_S)
    subscriber.stop(LIMIT_S)
    assert office.subscriber().add(SPEC, Mailbox(), LIMIT_S)
    assert present(office) == [FIRST]


def test_a_private_queue_is_always_new(office: PostOffice) -> None:
    assert not office.subscriber().add(queue(), Mailbox(), LIMIT_S)


def test_an_old_queue_that_is_deleted_meanwhile_is_not_waited_for(office: PostOffice) -> None:
    declared(office, FIRST, OLD)
    sent(office, 0, 3)
    _, mailbox = office.listen(SPEC, keeping)
    mailbox.expect(3)
    sent(office, 3, 6)

    with office.connection() as connection:
        connection.channel().queue_delete(FIRST)

    wait_until(lambda: firsts(mailbox) == numbers(6))
    assert present(office) == [SECOND]


def test_what_a_cancelled_consumer_holds_comes_before_what_is_behind_it(
    office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    # Given one that holds the first messages of a queue, and consumes no more
    declared(office, FIRST, WANTED)
    sent(office, 0, 20)
    held: list[object] = []
    leaving = ExitStack()
    former = leaving.enter_context(office.connection())
    channel = former.channel()
    channel.basic_qos(0, 10, False)
    tag = channel.basic_consume(FIRST, callback=held.append, no_ack=False)
    while len(held) < 10:
        former.drain_events(timeout=LIMIT_S)
    channel.basic_cancel(tag)

    # When another one starts, and the first one goes after that
    mailbox = Mailbox()
    going = threading.Timer(0.3, leaving.close)
    going.start()
    office.subscriber().add(SPEC, mailbox, LIMIT_S)
    going.join()

    # Then that gets all of them, in order
    assert mailbox.expect(20) == numbers(20)
    assert "another program consumes" not in caplog.text


def test_a_program_that_goes_on_consuming_is_told_and_holds_up_no_start(
    office: PostOffice, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declarer, "_FORMER_GONE_S", 0.1)
    declared(office, FIRST, WANTED)
    with office.connection() as connection:
        connection.channel().basic_consume(FIRST, callback=print, no_ack=False)

        assert office.subscriber().add(SPEC, Mailbox(), LIMIT_S)

    assert f"another program consumes the queue {FIRST}" in caplog.text
