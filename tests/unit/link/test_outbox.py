"""The outbox: what waits, what is on its way, and what goes when there is too much."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from miros_mesh.link.outbox import Outbox
from miros_mesh.link.ports import Parcel
from miros_mesh.networks.frame import Frame
from miros_mesh.report import StopReport
from support.post_office import LIMIT_S, Letter, letter
from support.sealed import Joiner


class Tray:
    """An outbox, and the parcels that overflowed."""

    def __init__(self, max_events: int = 100, max_bytes: int = 1_000) -> None:
        self.overflowed: list[Parcel] = []
        self.outbox = Outbox(max_events=max_events, max_bytes=max_bytes)

    def put(self, *letters: Letter) -> None:
        for one in letters:
            self.overflowed += self.outbox.put(one)

    def take_all(self) -> list[Parcel]:
        taken = []
        while parcel := self.outbox.take():
            taken.append(parcel)
        return taken


def letters(*texts: str) -> list[Letter]:
    return [letter(text) for text in texts]


def test_parcels_are_taken_in_order_and_stay_until_they_are_confirmed() -> None:
    tray, (one, two) = Tray(), letters("one", "two")
    tray.put(one, two)

    assert tray.take_all() == [one, two]
    assert tray.outbox.idle
    assert tray.outbox.events == 2

    tray.outbox.confirm(two)
    assert tray.outbox.events == 1
    assert not tray.outbox.wait_empty(0)
    tray.outbox.confirm(one)
    assert tray.outbox.events == 0
    assert tray.outbox.wait_empty(0)


def test_what_waits_can_be_seen_in_the_order_of_sending_and_stays() -> None:
    tray, (one, two, three) = Tray(), letters("one", "two", "three")
    record = replace(letter("record"), expendable=True)
    tray.put(record, one, two, three)
    taken = tray.outbox.take()

    assert taken is one
    assert list(tray.outbox.waiting()) == [two, three, record]
    assert tray.take_all() == [two, three, record]


def test_what_was_not_confirmed_is_sent_again_first_and_in_order() -> None:
    tray, (one, two, three, four) = Tray(), letters("one", "two", "three", "four")
    tray.put(one, two, three, four)
    for _ in range(3):
        tray.outbox.take()
    tray.outbox.confirm(two)

    tray.outbox.rewind()

    assert tray.take_all() == [one, three, four]


def test_what_was_given_out_before_may_be_there_already() -> None:
    tray, (one, two, three) = Tray(), letters("one", "two", "three")
    pair = Letter(b"ab", events=2)
    tray.put(one, two, pair, three)
    assert not any(map(tray.outbox.is_again, (one, two, pair, three)))
    for _ in range(3):
        tray.outbox.take()
    tray.outbox.confirm(two)

    tray.outbox.rewind()

    # Those that were on their way and not confirmed, and all parts of such a one
    assert [tray.outbox.is_again(each) for each in (one, two, pair, three)] == [1, 0, 1, 0]
    tray.take_all()
    parts = pair.split()
    tray.outbox.split(pair, parts)
    assert all(map(tray.outbox.is_again, parts))
    # What has left is forgotten.
    tray.take_all()
    for each in (one, three, *parts):
        tray.outbox.confirm(each)
    assert not any(map(tray.outbox.is_again, (one, pair, *parts)))


def test_a_confirm_that_comes_twice_or_too_late_counts_once() -> None:
    tray, (one, two) = Tray(), letters("one", "two")
    tray.put(one, two)
    tray.outbox.take()

    tray.outbox.confirm(one)
    tray.outbox.confirm(one)
    tray.outbox.confirm(two)

    assert tray.outbox.events == 1
    assert tray.take_all() == [two]


def test_when_events_overflow_the_oldest_go_and_are_told() -> None:
    tray, (one, two, three) = Tray(max_events=2), letters("one", "two", "three")

    tray.put(one, two)
    assert tray.overflowed == []
    tray.put(three)

    assert tray.overflowed == [one]
    assert one.closed
    assert tray.outbox.events == 2
    assert tray.take_all() == [two, three]


def test_when_bytes_overflow_the_oldest_go_too() -> None:
    tray = Tray(max_bytes=10)
    one, two, three = letters("1234", "5678", "90")

    tray.put(one, two, three)
    assert tray.overflowed == []
    tray.put(*letters("x"))

    assert tray.overflowed == [one]


def test_the_newest_parcel_stays_however_large_it_is() -> None:
    tray, (small, large) = Tray(max_bytes=10), letters("small", "x" * 1_000)

    tray.put(small, large)

    assert tray.overflowed == [small]
    assert tray.take_all() == [large]


def test_what_is_on_its_way_does_not_overflow_but_counts() -> None:
    tray, (one, two, three) = Tray(max_events=2), letters("one", "two", "three")
    tray.put(one, two)
    tray.take_all()

    tray.put(three)
    tray.put(*letters("four"))

    assert tray.overflowed == [three]
    assert tray.outbox.events == 3


def test_what_is_on_its_way_can_overflow_once_it_was_rewound() -> None:
    tray, (one, two, three) = Tray(max_events=2), letters("one", "two", "three")
    tray.put(one, two)
    tray.take_all()
    tray.outbox.rewind()

    tray.put(three)

    assert tray.overflowed == [one]
    assert tray.take_all() == [two, three]


def test_growth_counts_and_may_push_the_oldest_out() -> None:
    tray, (one, tail) = Tray(max_events=3), letters("one", "tail")
    tray.put(one, tail)

    tail.events += 1
    assert tray.outbox.grown(tail, 1) == []
    assert tray.outbox.events == 3

    tail.events += 1
    assert tray.outbox.grown(tail, 1) == [one]
    assert tray.outbox.events == 3


def test_who_waits_for_the_end_is_woken_by_the_last_confirm() -> None:
    tray, (one, two) = Tray(), letters("one", "two")
    tray.put(one, two)
    tray.take_all()
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(tray.outbox.wait_empty(LIMIT_S)))
    waiting.start()

    tray.outbox.confirm(one)
    tray.outbox.confirm(two)
    waiting.join(LIMIT_S)

    assert results == [True]


def test_what_is_no_event_of_a_program_is_waited_for_while_some_of_it_is_confirmed() -> None:
    # Given an event, two of the library's own messages and a record
    tray, (one, two, record) = Tray(), letters("one", "two", "record")
    goodbye = letters("goodbye")[0]
    two.events = goodbye.events = 0
    record.expendable = True
    tray.put(one, two, goodbye, record)
    tray.take_all()
    ends: list[bool] = []
    waiting = threading.Thread(
        target=lambda: ends.append(tray.outbox.wait_empty(LIMIT_S, patience_s=0))
    )
    waiting.start()
    # When all but the event is confirmed, then the event is waited for
    tray.outbox.confirm(two)
    waiting.join(0.1)
    assert ends == []
    # And when that is confirmed or refused, then the wait is over
    tray.outbox.refuse(one)
    waiting.join(LIMIT_S)
    assert ends == [False]
    # And with patience it goes on
    later = threading.Thread(
        target=lambda: ends.append(tray.outbox.wait_empty(LIMIT_S, patience_s=LIMIT_S))
    )
    later.start()
    tray.outbox.confirm(record)
    tray.outbox.confirm(goodbye)
    later.join(LIMIT_S)
    assert ends == [False, True]


class OutboxAgainstALedger(RuleBasedStateMachine):
    """Whatever is put, grown, taken, confirmed, lost and rewound, the books balance."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(max_events=12, max_bytes=100)
        self.events: list[Frame] = []
        self.notes: list[Frame] = []
        self.on_its_way: list[Frame] = []
        self.events_put = 0
        self.events_confirmed = 0
        self.reported = StopReport()

    @property
    def held(self) -> list[Frame]:
        return self.events + self.notes + self.on_its_way

    def settle_overflow(self, dropped: Sequence[Parcel]) -> None:
        """The model's own overflow rule."""
        gone = list(dropped)
        while self.over() and (self.notes or len(self.events) > 1):
            line = self.notes or self.events
            words = [frame for frame in line if not frame.counted]
            expected = line.pop(line.index(words[0]) if words and not self.notes else 0)
            assert gone.pop(0) is expected
            assert not expected.add_all([b""]), "an overflowed frame must be closed"
            self.events_put -= expected.events
            self.report(expected, dropped=expected.events)
        assert gone == []

    def report(self, frame: Frame, **facts: int) -> None:
        """Count what is not expendable."""
        if not frame.expendable:
            self.reported += StopReport(**facts)

    def over(self) -> bool:
        events = sum(frame.events for frame in self.held)
        return events > 12 or sum(frame.size_bytes for frame in self.held) > 100

    def line(self, expendable: bool) -> list[Frame]:
        return self.notes if expendable else self.events

    @rule(size=st.integers(0, 120), expendable=st.booleans(), counted=st.booleans())
    def put(self, size: int, expendable: bool, counted: bool) -> None:
        frame = Frame(
            Joiner(expendable=expendable),
            "key",
            exchange="exchange",
            counted=counted,
            max_events=5,
            max_bytes=60,
        )
        frame.add_all([bytes(size)])
        self.report(frame, sent=frame.events)
        self.line(expendable).append(frame)
        self.events_put += frame.events
        self.settle_overflow(self.outbox.put(frame))

    @rule(size=st.integers(0, 60), expendable=st.booleans())
    def grow(self, size: int, expendable: bool) -> None:
        line = self.line(expendable)
        # The library's own words travel alone.
        if line and line[-1].counted and line[-1].add_all([bytes(size)]):
            self.events_put += 1
            self.report(line[-1], sent=1)
            self.settle_overflow(self.outbox.grown(line[-1], size))

    @rule()
    def take(self) -> None:
        line = self.events or self.notes
        taken = self.outbox.take()
        assert taken is (line[0] if line else None)
        if line:
            line[0].seal()
            self.on_its_way.append(line.pop(0))

    @precondition(lambda self: self.on_its_way)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        frame = data.draw(st.sampled_from(self.on_its_way))
        self.on_its_way.remove(frame)
        self.events_confirmed += frame.events
        self.report(frame, confirmed=frame.events)
        self.outbox.confirm(frame)

    @precondition(lambda self: self.on_its_way)
    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        frame = data.draw(st.sampled_from(self.on_its_way))
        self.on_its_way.remove(frame)
        self.events_put -= frame.events
        self.report(frame, refused=frame.events)
        self.outbox.refuse(frame)

    @precondition(lambda self: self.on_its_way)
    @rule(data=st.data())
    def split(self, data: st.DataObject) -> None:
        frame = data.draw(st.sampled_from(self.on_its_way))
        if parts := frame.split():
            self.on_its_way.remove(frame)
            self.line(frame.expendable)[:0] = parts
            self.outbox.split(frame, parts)

    @rule()
    def rewind(self) -> None:
        self.outbox.rewind()
        self.events = [f for f in self.on_its_way if not f.expendable] + self.events
        self.notes = [f for f in self.on_its_way if f.expendable] + self.notes
        self.on_its_way = []

    @invariant()
    def the_books_balance(self) -> None:
        assert self.outbox.events == sum(frame.events for frame in self.held)
        assert self.outbox.events == self.events_put - self.events_confirmed
        report, seen = self.outbox.report(), self.reported
        left_over = seen.sent - seen.confirmed - seen.dropped - seen.refused
        assert report == replace(seen, left_over=left_over)
        assert self.outbox.idle == (not self.events and not self.notes)
        assert self.outbox.wait_empty(0) == (not self.held)

    def teardown(self) -> None:
        self.rewind()
        expected = self.events + self.notes
        while parcel := self.outbox.take():
            assert parcel is expected.pop(0)
        assert expected == []


TestOutboxAgainstALedger = OutboxAgainstALedger.TestCase


def test_expendable_parcels_wait_for_the_others_and_go_first() -> None:
    tray, (event, later) = Tray(max_events=3), letters("event", "later")
    notes = [Letter(text.encode(), expendable=True) for text in ("first", "second", "third")]

    tray.put(notes[0], notes[1], event)
    assert tray.overflowed == []
    tray.put(later, notes[2])

    assert tray.overflowed == [notes[0], notes[1]]
    assert tray.take_all() == [event, later, notes[2]]
