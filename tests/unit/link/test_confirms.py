"""Publisher confirms: which parcel an ack means, and what makes a channel unusable."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import ConfirmTimeoutError
from miros_mesh.link.confirms import Confirmed, Confirms
from miros_mesh.link.ports import Parcel
from support.post_office import letter
from support.waiting import wait_until

WHERE = "amqp://peter@127.0.0.1:5672//"


class Channel:
    """As much of a py-amqp channel as confirms need."""

    def __init__(self) -> None:
        self.events: defaultdict[str, set[Callable[..., None]]] = defaultdict(set)
        self.confirming = False

    def confirm_select(self) -> None:
        self.confirming = True

    def answer(self, answer: str, tag: int, *, multiple: bool = False) -> None:
        for callback in self.events[answer]:
            callback(tag, multiple)

    def give_back(self, text: str) -> None:
        for callback in self.events["basic_return"]:
            callback(Exception("NO_ROUTE"), "exchange", "key", SimpleNamespace(body=text.encode()))


class Storing:
    """A channel of a transport that stores before `publish` returns."""

    def __init__(self) -> None:
        self.events: defaultdict[str, set[Callable[..., None]]] = defaultdict(set)


class Desk:
    """Confirms on a channel, and what was confirmed."""

    def __init__(self, channel: object) -> None:
        self.confirmed: list[str] = []
        self.seconds: list[float] = []
        self.unroutable: list[Parcel] = []
        self.confirms = Confirms(self._confirmed)
        self.confirms.watch(channel)

    def publish(self, *texts: str) -> None:
        for text in texts:
            self.confirms.expect(letter(text), letter(text).seal())
            self.confirms.published()

    def _confirmed(self, done: Confirmed) -> None:
        assert done.size_bytes == done.parcel.size_bytes
        self.confirmed.append(done.parcel.seal().decode())
        self.seconds.append(done.seconds)
        if not done.routed:
            self.unroutable.append(done.parcel)


@pytest.fixture
def channel() -> Channel:
    return Channel()


@pytest.fixture
def desk(channel: Channel) -> Desk:
    return Desk(channel)


def test_an_ack_confirms_the_parcel_of_its_tag(channel: Channel, desk: Desk) -> None:
    desk.publish("one", "two", "three")
    assert channel.confirming

    channel.answer("basic_ack", 2)

    assert desk.confirmed == ["two"]
    assert len(desk.confirms) == 2
    assert all(0 <= seconds < 10 for seconds in desk.seconds)


def test_a_multiple_ack_confirms_all_up_to_its_tag_in_order(channel: Channel, desk: Desk) -> None:
    desk.publish("one", "two", "three", "four")

    channel.answer("basic_ack", 2)
    channel.answer("basic_ack", 3, multiple=True)

    assert desk.confirmed == ["two", "one", "three"]
    assert len(desk.confirms) == 1


def test_an_ack_that_comes_again_or_of_an_unknown_tag_confirms_nothing(
    channel: Channel, desk: Desk
) -> None:
    desk.publish("one", "two")

    for _ in range(2):
        channel.answer("basic_ack", 1)
    channel.answer("basic_ack", 1, multiple=True)
    channel.answer("basic_ack", 99)

    assert desk.confirmed == ["one"]


def test_a_nack_answers_its_parcel_and_confirms_nothing(channel: Channel, desk: Desk) -> None:
    desk.publish("one", "two", "three")
    channel.answer("basic_ack", 1)

    channel.answer("basic_nack", 2)

    assert desk.confirms.nacked == 1
    assert len(desk.confirms) == 1
    assert desk.confirmed == ["one"]
    desk.confirms.check(10.0, WHERE)


def test_a_multiple_nack_counts_for_all_up_to_its_tag(channel: Channel, desk: Desk) -> None:
    desk.publish("one", "two", "three")

    channel.answer("basic_nack", 2, multiple=True)

    assert desk.confirms.nacked == 2
    assert len(desk.confirms) == 1
    assert desk.confirmed == []


def test_a_nack_of_what_was_confirmed_already_means_nothing(channel: Channel, desk: Desk) -> None:
    desk.publish("one")
    channel.answer("basic_ack", 1)

    channel.answer("basic_nack", 1)

    assert desk.confirms.nacked == 0
    desk.confirms.check(10.0, WHERE)


def test_after_a_refusal_the_channel_has_to_prove_itself_anew(channel: Channel, desk: Desk) -> None:
    desk.publish("one", "two")
    channel.answer("basic_ack", 1)
    channel.answer("basic_nack", 2)

    desk.confirms.start_over()

    assert not desk.confirms.nacked
    assert not desk.confirms.proven
    desk.publish("two")
    channel.answer("basic_ack", 3)
    assert desk.confirms.proven
    assert desk.confirmed == ["one", "two"]


def test_a_confirm_that_does_not_come_in_time_makes_the_channel_unusable(
    channel: Channel, desk: Desk
) -> None:
    desk.publish("one", "two")

    with pytest.raises(ConfirmTimeoutError, match="peter@127.0.0.1.*confirmed nothing for 0 s"):
        desk.confirms.check(0, WHERE)

    channel.answer("basic_ack", 2, multiple=True)
    desk.confirms.check(0, WHERE)


def test_a_broker_that_confirms_one_by_one_is_slow_and_not_gone(
    channel: Channel, desk: Desk
) -> None:
    desk.publish("one", "two")
    assert not desk.confirms.proven
    began = time.monotonic()

    wait_until(lambda: time.monotonic() - began > 0.1)
    channel.answer("basic_ack", 1)

    assert desk.confirms.proven
    desk.confirms.check(0.05, WHERE)


def test_the_time_in_which_a_broker_could_not_confirm_does_not_count(
    channel: Channel, desk: Desk
) -> None:
    desk.publish("one")
    began = time.monotonic()

    wait_until(lambda: time.monotonic() - began > 0.1)
    desk.confirms.wait_anew()

    desk.confirms.check(0.05, WHERE)


def test_what_no_queue_takes_comes_back_and_is_confirmed_all_the_same(
    channel: Channel, desk: Desk
) -> None:
    desk.publish("one", "two", "six")

    channel.give_back("two")
    channel.give_back("unknown")
    channel.answer("basic_ack", 3, multiple=True)

    assert [parcel.seal() for parcel in desk.unroutable] == [b"two"]
    assert desk.confirmed == ["one", "two", "six"]


def test_a_channel_that_stores_at_once_confirms_at_once() -> None:
    desk = Desk(Storing())

    desk.publish("one", "two")

    assert desk.confirmed == ["one", "two"]
    assert len(desk.confirms) == 0
    desk.confirms.check(0, WHERE)


def test_what_another_thread_has_stored_is_confirmed_when_that_is_asked() -> None:
    desk = Desk(Storing())
    desk.confirms.expect(letter("one"), letter("one").seal())
    desk.confirms.written()
    assert desk.confirmed == []

    desk.confirms.stored()
    desk.confirms.stored()

    assert desk.confirmed == ["one"]


def test_what_was_not_published_after_all_has_no_number(channel: Channel, desk: Desk) -> None:
    desk.publish("one")
    desk.confirms.expect(letter("two"), letter("two").seal())
    desk.confirms.expect_not()
    desk.confirms.expect(letter("three"), letter("three").seal())
    desk.confirms.written()

    channel.answer("basic_ack", 2, multiple=True)

    assert desk.confirmed == ["one", "three"]


def test_what_no_queue_takes_comes_back_before_the_call_returns() -> None:
    channel = Storing()
    desk = Desk(channel)
    desk.publish("one")

    desk.confirms.expect(letter("two"), letter("two").seal())
    for callback in channel.events["basic_return"]:
        callback(Exception("NO_ROUTE"), "exchange", "key", {"body": "in a form of its own"})
    desk.confirms.published()

    assert [parcel.seal() for parcel in desk.unroutable] == [b"two"]
    assert desk.confirmed == ["one", "two"]


def test_an_error_is_about_the_only_parcel_that_was_written(channel: Channel, desk: Desk) -> None:
    assert desk.confirms.only is None
    desk.publish("one")
    assert (only := desk.confirms.only)
    assert only.seal() == b"one"

    desk.publish("two")
    assert desk.confirms.only is None

    channel.answer("basic_ack", 1)
    desk.confirms.expect(letter("three"), letter("three").seal())
    channel.answer("basic_ack", 2)
    assert desk.confirms.only is None


def test_a_channel_that_is_opened_again_calls_the_new_confirms_alone(channel: Channel) -> None:
    before, after = Desk(channel), Desk(channel)
    before.publish("one")
    after.publish("two")

    channel.answer("basic_ack", 1)

    assert (before.confirmed, after.confirmed) == ([], ["two"])


def test_a_parcel_that_could_not_be_published_is_not_confirmed() -> None:
    desk = Desk(Storing())

    desk.confirms.expect(letter("one"), letter("one").seal())

    assert desk.confirmed == []
    assert len(desk.confirms) == 1


@given(st.lists(st.tuples(st.integers(1, 25), st.booleans()), max_size=40))
def test_however_a_broker_acknowledges_each_parcel_is_confirmed_at_most_once(
    answers: list[tuple[int, bool]],
) -> None:
    channel = Channel()
    desk = Desk(channel)
    desk.publish(*(str(tag) for tag in range(1, 21)))
    waiting = set(range(1, 21))

    for tag, multiple in answers:
        channel.answer("basic_ack", tag, multiple=multiple)
        waiting -= set(range(tag + 1)) if multiple else {tag}

    assert len(desk.confirmed) == len(set(desk.confirmed)) == 20 - len(waiting)
    assert len(desk.confirms) == len(waiting)
