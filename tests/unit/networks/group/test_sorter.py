"""A sorter files each event once, in order, and lets go of it when the broker has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from miros_mesh.errors import PayloadError
from miros_mesh.networks.arrival import Arrival, Reason
from miros_mesh.networks.frame import Settled
from miros_mesh.networks.group.partitions import PARTITIONS
from miros_mesh.networks.group.sorter import MOST_IN_HAND, Sorter
from support.sealed import envelope
from support.waiting import wait_until


class Inbox:
    """Notes what it is told of its arrivals."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.aside: list[tuple[int, Reason]] = []

    def finished(self, arrival: Arrival) -> None:
        self.done.append(arrival.envelope.sequence)

    def set_aside(self, arrival: Arrival, reason: Reason) -> None:
        self.aside.append((arrival.envelope.sequence, reason))


class Desk:
    """A sorter, what it files, and a broker that says what the test wants."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.filed: list[tuple[int, list[bytes], Callable[[Settled], object]]] = []
        self.fits = 100
        self.keys: dict[int, Any] = {}
        self.fed = 0
        self.sorter = Sorter(
            "mesh-test-sorter", key=self._key, encode=self._encode, file=self._file
        )
        self.sorter.feed = self._feed
        self.sorter.start()

    def _key(self, arrival: Arrival) -> object:
        key = self.keys.get(arrival.envelope.sequence, "one")
        if isinstance(key, Exception):
            raise key
        return key

    def _encode(self, arrival: Arrival) -> bytes:
        if arrival.envelope.signal == "unfit":
            raise PayloadError("cannot be sent")
        return b"%d" % arrival.envelope.sequence

    def _file(
        self, number: int, messages: Sequence[bytes], settled: Callable[[Settled], object]
    ) -> int:
        taken = list(messages)[: self.fits]
        if taken:
            self.filed.append((number, taken, settled))
        return len(taken)

    def _feed(self) -> None:
        self.fed += 1

    def post(self, *numbers: int, signal: str = "s") -> None:
        for number in numbers:
            self.sorter.post(Arrival(envelope(number, signal), self.inbox))

    def frames(self, count: int) -> list[list[bytes]]:
        """What was filed, once it is so many frames."""
        wait_until(lambda: len(self.filed) >= count)
        return [messages for _, messages, _ in self.filed]

    def say(self, frame: int, outcome: Settled) -> None:
        self.filed[frame][2](outcome)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.sorter.stop(0, 5)


def test_an_event_is_finished_once_the_broker_has_it(desk: Desk) -> None:
    desk.post(1)
    assert desk.frames(1) == [[b"1"]]
    assert desk.inbox.done == []

    desk.say(0, "stored")

    wait_until(lambda: desk.inbox.done == [1])
    wait_until(lambda: desk.fed)


def test_of_a_partition_one_frame_is_on_its_way_and_the_next_has_all_that_came(desk: Desk) -> None:
    desk.post(1)
    desk.frames(1)
    desk.post(2, 3)

    desk.say(0, "stored")

    assert desk.frames(2) == [[b"1"], [b"2", b"3"]]


def test_partitions_do_not_wait_for_each_other_but_are_acknowledged_in_order(desk: Desk) -> None:
    desk.keys = {1: "one", 2: "another", 3: "one"}
    desk.post(1, 2, 3)
    desk.frames(2)
    (later,) = (n for n, (_, messages, _) in enumerate(desk.filed) if messages == [b"2"])

    desk.say(later, "stored")
    desk.say(1 - later, "stored")

    # Were 2 acknowledged before 1, the next sorter would take it for missing
    wait_until(lambda: desk.inbox.done[:2] == [1, 2])


def test_what_has_no_room_or_no_queue_is_filed_again_before_what_came_later(desk: Desk) -> None:
    for turn, outcome in enumerate(("dropped", "unrouted")):
        desk.post(10 * turn + 1)
        desk.frames(2 * turn + 1)
        desk.post(10 * turn + 2)

        desk.say(2 * turn, outcome)  # type: ignore[arg-type]

        assert desk.frames(2 * turn + 2)[-1] == [b"%d" % (10 * turn + n) for n in (1, 2)]
        desk.say(2 * turn + 1, "stored")
    wait_until(lambda: desk.inbox.done == [1, 2, 11, 12])
    assert desk.inbox.aside == []


def test_of_a_frame_that_is_refused_each_event_is_tried_alone(desk: Desk) -> None:
    desk.post(1)
    desk.frames(1)
    desk.post(2, 3)
    desk.say(0, "stored")
    desk.frames(2)

    desk.say(1, "refused")
    assert desk.frames(3)[-1] == [b"2"]
    desk.say(2, "refused")
    assert desk.frames(4)[-1] == [b"3"]
    desk.say(3, "stored")

    wait_until(lambda: desk.inbox.done == [1, 3])
    ((number, reason),) = desk.inbox.aside
    assert (number, reason.word) == (2, "unfiled")


def test_a_confirm_that_comes_twice_settles_no_other_frame(desk: Desk) -> None:
    desk.post(1)
    desk.frames(1)
    desk.say(0, "stored")
    desk.post(2)
    desk.frames(2)

    desk.say(0, "stored")
    desk.post(3)
    desk.say(1, "stored")

    desk.frames(3)
    assert desk.inbox.done == [1, 2]


def test_without_a_broker_events_wait(desk: Desk) -> None:
    desk.fits = 0
    desk.post(1)
    wait_until(lambda: desk.sorter.room() == MOST_IN_HAND - 1)

    desk.fits = 1

    assert desk.frames(1) == [[b"1"]]


@pytest.mark.parametrize(
    ("key", "detail"), [(KeyError("secret"), "KeyError"), (1.5, "float"), (None, "NoneType")]
)
def test_an_event_without_a_key_is_set_aside_and_its_error_says_no_payload(
    key: object, detail: str, desk: Desk
) -> None:
    desk.keys = {1: key}

    desk.post(1, 2)

    assert desk.frames(1) == [[b"2"]]
    ((number, reason),) = desk.inbox.aside
    assert (number, reason.word) == (1, "partition_by")
    assert detail in reason.detail
    assert "secret" not in str(reason)


def test_an_event_that_fits_into_no_message_is_set_aside(desk: Desk) -> None:
    desk.post(1, signal="unfit")

    wait_until(lambda: desk.inbox.aside)
    assert desk.inbox.aside[0][1].word == "payload"


def test_its_room_is_bounded_and_none_is_left_once_it_ends(desk: Desk) -> None:
    desk.post(*range(1, 11))
    assert desk.sorter.room() == MOST_IN_HAND - 10

    desk.sorter.stop(0, 5)

    assert desk.sorter.room() == 0


def test_keys_spread_over_all_partitions(desk: Desk) -> None:
    desk.keys = {number: number for number in range(1, 201)}
    desk.post(*range(1, 201))

    wait_until(lambda: len({number for number, _, _ in desk.filed}) == PARTITIONS)
