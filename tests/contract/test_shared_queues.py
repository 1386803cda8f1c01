"""A lasting queue that several subscribers consume: in line, or all at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from miros_mesh.errors import BrokerConflictError, TermsError
from miros_mesh.link.ports import Delivery, QueueSpec, Subscriber, Terms
from support.post_office import LIMIT_S, Mailbox, PostOffice, keeping, letter, queue
from support.waiting import wait_until

LASTING: dict[str, Any] = {"replicated": True, "delete_on_stop": False, "prefetch": 3}
ONE = queue("line", **LASTING, consumers="standby")
SHARED = queue("shared", **LASTING, consumers="shared")


def send(office: PostOffice, *texts: str) -> None:
    """Publish, and return when the broker has it."""
    publisher = office.publisher()
    for text in texts:
        publisher.put(letter(text))
    publisher.drain(LIMIT_S)


def counts(deliveries: list[Delivery]) -> list[int]:
    return [delivery.deliveries for delivery in deliveries]


def test_who_waits_goes_on_in_order_when_the_active_one_stops(office: PostOffice) -> None:
    # Given two in line, of which the first holds three of five and has handled one more
    active, mailbox = office.listen(ONE, keeping)
    waiting, heir = office.subscriber(), Mailbox()
    waiting.add(ONE, heir, LIMIT_S)
    send(office, *"abcdef")
    mailbox.expect(3)
    mailbox.deliveries[0].ack()
    mailbox.expect(4)
    assert heir.texts == []

    # When the first one stops
    active.stop(LIMIT_S)

    # Then the other has all that is left, in order, and knows what may be a repetition
    assert heir.expect(5) == ["b", "c", "d", "e", "f"]
    assert [delivery.redelivered for delivery in heir.deliveries] == [True] * 3 + [False] * 2
    assert counts(heir.deliveries) == [2, 2, 2, 1, 1]


def test_one_that_waits_can_step_aside_for_those_behind_it(office: PostOffice) -> None:
    # Given three in line, of which the second one steps aside
    first, _ = office.listen(ONE)
    second, its_mailbox = office.listen(ONE)
    _, last_mailbox = office.listen(ONE)
    second.step_aside(ONE.name)
    # A round to the broker, so that it has heard of that.
    second.add(queue("after"), Mailbox(), LIMIT_S)

    # When the first one goes
    first.stop(LIMIT_S)
    send(office, "news")

    # Then the third one is next
    assert last_mailbox.expect(1) == ["news"]
    assert its_mailbox.texts == []


def test_to_step_aside_from_what_is_not_consumed_does_nothing(office: PostOffice) -> None:
    subscriber, mailbox = office.listen(ONE)

    subscriber.step_aside("another")
    send(office, "a")

    assert mailbox.expect(1) == ["a"]


def test_alone_in_line_who_steps_aside_is_the_next(office: PostOffice) -> None:
    subscriber, mailbox = office.listen(ONE, keeping)
    send(office, "a", "b")
    mailbox.expect(2)

    subscriber.step_aside(ONE.name)

    assert mailbox.expect(4) == ["a", "b", "a", "b"]
    assert counts(mailbox.deliveries) == [1, 1, 2, 2]


def test_each_message_of_a_shared_queue_is_handled_by_one(office: PostOffice) -> None:
    mailboxes = [office.listen(SHARED)[1] for _ in range(3)]
    texts = [f"{number}" for number in range(300)]

    send(office, *texts)

    wait_until(lambda: sum(len(each.deliveries) for each in mailboxes) == len(texts))
    handled = [text for each in mailboxes for text in each.texts]
    assert sorted(handled, key=int) == texts
    assert not any(each.redelivered for mailbox in mailboxes for each in mailbox.deliveries)
    wait_until(lambda: office.size(SHARED.name) == 0)


def test_no_sharer_is_idle_while_another_has_all_that_it_may(office: PostOffice) -> None:
    sharers = [office.listen(SHARED, keeping)[1] for _ in range(3)]

    send(office, *(f"{number}" for number in range(9)))

    wait_until(lambda: all(len(each.deliveries) == SHARED.prefetch for each in sharers))


def test_what_a_sharer_leaves_unsettled_comes_to_the_others_marked(office: PostOffice) -> None:
    # Given two sharers that hold all they may, of which one has handled the first of its three
    leaves, left = office.listen(SHARED, keeping)
    _, stays = office.listen(SHARED, keeping)
    send(office, *"abcdef")
    wait_until(lambda: len(left.deliveries) == len(stays.deliveries) == SHARED.prefetch)
    left.deliveries[0].ack()
    back = sorted(left.texts[1:])

    # When it leaves the queue, and the other one goes on
    leaves.remove(SHARED.name, LIMIT_S)
    for delivery in list(stays.deliveries):
        delivery.ack()

    # Then what it has not handled comes to the other one, once, and says so
    stays.expect(5)
    assert sorted(stays.texts[3:]) == back
    assert counts(stays.deliveries) == [1, 1, 1, 2, 2]
    for delivery in stays.deliveries[3:]:
        delivery.ack()
    wait_until(lambda: office.size(SHARED.name) == 0)


def test_one_that_wants_it_otherwise_is_refused_and_harms_nobody(office: PostOffice) -> None:
    _, mailbox = office.listen(ONE)

    with pytest.raises(BrokerConflictError, match="x-single-active-consumer"):
        office.listen(dataclasses.replace(ONE, consumers="shared"))

    send(office, "goes on")
    assert mailbox.expect(1) == ["goes on"]


# Terms


def agreed(text: str, name: str = "line") -> QueueSpec:
    return queue(name, **LASTING, consumers="standby", terms=Terms("line.terms", text))


def test_who_wants_other_terms_is_refused_as_long_as_one_is_there(office: PostOffice) -> None:
    first, _ = office.listen(agreed("one way"))
    second, _ = office.listen(agreed("one way"))

    third = office.subscriber()
    for name in ("line", "another line"):
        with pytest.raises(TermsError) as refused:
            third.add(agreed("another way", name), Mailbox(), LIMIT_S)
        assert (refused.value.wanted, refused.value.present) == ("another way", "one way")
    first.stop(LIMIT_S)
    with pytest.raises(TermsError):
        third.add(agreed("another way"), Mailbox(), LIMIT_S)

    # The last one takes the terms with it
    second.remove(ONE.name, LIMIT_S)
    wait_until(lambda: _agrees(third, agreed("another way")))


def _agrees(subscriber: Subscriber, spec: QueueSpec) -> bool:
    # What a broker does when a consumer has ended takes it a moment.
    try:
        subscriber.add(spec, Mailbox(), LIMIT_S)
    except TermsError:
        return False
    return True
