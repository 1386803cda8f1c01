"""Senders' streams put back in order: what is missing is waited for, what came twice is known.

The bookkeeping of a reliable reader (DDSI-RTPS 2.5, section 8.4.12) with a sliding window against
replay (RFC 4303, section 3.4.3). Nothing here is thread-safe.

A stream's numbers, with `_next` = 8, a window of 4, 6 given up, and items held back at 10 and 11:

| numbers | what one of them says when it comes |
| --- | --- |
| 1 to 3 | stale: older than the window, so it cannot be known whether it came before |
| 4, 5, 7 | duplicate |
| 6 | new: it was given up and comes after all, in whatever time |
| 8 | new: its turn has come |
| 9 | new: held back behind 8 |
| 10, 11 | duplicate of what is held back |
| from 12 | new: held back |
| far above | jump: no sender comes so far in the time since the last one whose turn had come |

The holes are 8 to 9.

Who has the key can send any number in the name of any sender. One that is far above moves nothing.
One that is not so far does, once what is missing before it was given up; since what was given up
may come for as long as its range is remembered, its sender is heard all the same.

A sender may say that numbers were for others (`routes`): they are not waited for, and if one comes
after all it is new, since who has the key may have said it in the sender's name. Within the window
that is known of each number, and beyond it where the stream went on by many at once.

A stream begins with the first number heard. Was that an old one that came late, or was put back by
hand, then what is missing behind it may have been sent before the receiver listened, and is not
owed to it. `Clock` tells old ones; such a stream is `unsure` of its holes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from typing import Final, Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from miros_mesh.networks.order.ranges import (
    Range,
    amount,
    merged,
    shared,
    strike,
    within,
    without,
)
from miros_mesh.wire.envelope import MAX_RANGES

T = TypeVar("T")

# A sender takes some 300 bytes; charts that come and go for months must not fill the memory.
MAX_SENDERS: Final = 10_000
MAX_SENDERS_OF_A_NODE: Final = 2_000
"""Twice as many as a node tells of: those of another name are not forgotten for them."""
MAX_AHEAD: Final = 1_000_000
"""By so much a number may be ahead of the next one; and by the next more for each second since."""
MAX_A_SECOND: Final = 100_000
"""Several times as many as a process can send."""
MAX_HOLES: Final = MAX_RANGES
"""Of a stream: as many as one question has room for. For one more the older half is given up."""
MAX_LOST: Final = 1_000
"""Ranges of a stream that were given up, and may still come."""
_MANY_LEFT_OUT: Final = 100
"""What is left out at once is remembered like that, if it is more than the window by this."""
MAX_HELD_BYTES: Final = 64 * 1024 * 1024
"""What one receiver holds back of all streams."""
# What is held back costs more than its content: an item, and a stream that waits, which is looked
# at twenty times a second.
_ITEM_BYTES: Final = 512
_STREAM_BYTES: Final = 32 * 1024


class Admission(Enum):
    """What a sequence number says about its message."""

    NEW = "new"
    DUPLICATE = "duplicate"
    STALE = "stale"
    JUMP = "jump"


@dataclass(frozen=True)
class Passed(Generic[T]):
    """What became of a wait that was given up."""

    missing: int
    """How many numbers were given up, of those that may be owed."""
    items: Sequence[T]
    """What was held back behind them, and whose turn has come."""


class Clock:
    """The clock of a node that sends: when a receiver began to listen, by that clock."""

    __slots__ = ("__weakref__", "began")

    def __init__(self) -> None:
        self.began = -math.inf
        """Not before this time; what was sent earlier was sent before the receiver listened.

        So much tells an item by when it was sent, and by how long the receiver had listened when it
        came. It was on its way, and waited in a queue perhaps: the freshest tells most.
        """


class _Held(NamedTuple, Generic[T]):
    """An item that waits for earlier ones."""

    item: T
    since: float
    sent_at: float
    size_bytes: int


class Stream(Generic[T]):
    """One sender's items by number.

    `window` is how far below the next number a late item is told from a second one. A `fresh`
    receiver has a queue that kept nothing: what comes late and is older than the receiver is stale.
    """

    __slots__ = (
        *("_fresh", "_given_up", "_held", "_highest", "_last_sent_at", "_left_out", "_lost"),
        *("_goes_on", "_missing", "_next", "_others", "_turned_at", "_uncertain", "_window"),
        *("clock", "first", "held_bytes", "node"),
    )

    def __init__(
        self,
        first: int,
        window: int,
        clock: Clock | None = None,
        node: str = "",
        *,
        fresh: bool = False,
    ) -> None:
        self._window = window
        self.node = node
        self.clock = clock or Clock()
        self._fresh = fresh
        self._next = first
        """Every number below it came or was given up."""
        self.first = first
        """Numbers below it may have been sent before the receiver listened."""
        self._last_sent_at = math.inf
        """When the item was sent whose turn came last."""
        self._turned_at = -math.inf
        """When its turn came."""
        self._held: dict[int, _Held[T]] = {}
        """Items above `_next`, in the order in which they came; while it is empty nothing is known
        to be missing."""
        self.held_bytes = 0
        """What they cost."""
        self._highest = first - 1
        """The highest number held back, while there is one."""
        self._missing: list[Range] = []
        """Numbers before that which are waited for, in order."""
        self._given_up: list[Range] = []
        """Numbers above `_next` that are not waited for, in order; each before an item held
        back."""
        self._others: list[Range] = []
        """Numbers above `_next` that were for others, in order."""
        # The last of those below it: bit 0 is the number right before `_next`. By bits, since of a
        # sender with two destinations it may be every other number.
        self._left_out = 0
        # What was given up, or left out at once as so many, and may still come, in order. A
        # receiver that joins late does not wait for what was sent before, but takes it.
        self._lost: list[Range] = [(1, first - 1)] if first > 1 else []
        self._goes_on = False
        """Whether another receiver may have had the next ones."""
        self._uncertain = 0
        """Of numbers up to this one some were given up, and have been forgotten."""

    @property
    def passed(self) -> int:
        """The number up to which every item came in turn or was given up.

        But before very many at once that were given up: it may be that somebody who has the key has
        sent the number behind them, and they are still to come.
        """
        for first, last in self._lost:
            if first >= self.first and last - first >= self._window:
                return first - 1
        return self._next - 1

    @property
    def waits(self) -> bool:
        """Whether items are held back behind missing ones."""
        return bool(self._held)

    @property
    def unsure(self) -> bool:
        """Whether what is missing next may have been sent before the receiver listened."""
        return self._last_sent_at < self.clock.began

    def admit(
        self,
        sequence: int,
        item: T,
        now: float,
        sent_at: float = 0.0,
        size_bytes: int = 0,
        others: Range | None = None,
    ) -> tuple[Admission, Sequence[T]]:
        """Return what the number says, and the items whose turn has come, in order.

        Of the numbers before it, `others` were for other receivers.
        """
        if self._goes_on and sequence >= self._next and not self._is_jump(sequence, now):
            self._goes_on = False
            others = (self._next, sequence - 1)
        if others and not self._is_jump(sequence, now):
            freed = self._leave_out([others])
            admission, items = self.admit(sequence, item, now, sent_at, size_bytes)
            return admission, (*freed, *items)
        if sequence == self._next:
            self._next += 1
            if self._left_out:
                self._shift(1)
            self._last_sent_at = sent_at
            self._turned_at = now
            if not (self._held or self._others):
                return Admission.NEW, (item,)
            strike(self._missing, sequence)
            return Admission.NEW, (item, *self._in_turn())
        if sequence > self._next:
            return self._early(sequence, _Held(item, now, sent_at, size_bytes + _ITEM_BYTES)), ()
        late = self._late(sequence, sent_at)
        return late, (item,) if late is Admission.NEW else ()

    def run(self, first: int, count: int, now: float, sent_at: float) -> bool:
        """Admit so many items from a number on, if that is all that is to be said of them.

        So it is when their turn has come, and nothing waits: then all are `NEW`, and `sent_at` is
        the time of the last one. Returns False otherwise, and then nothing has changed.
        """
        if first != self._next or self._held or self._others or self._goes_on:
            return False
        self._next += count
        if self._left_out:
            self._shift(count)
        self._last_sent_at, self._turned_at = sent_at, now
        return True

    def begin_anew(self, given_up: int | None) -> None:
        """Let go of what is held back, and of items from this number on: others may get them.

        Another receiver may have had more behind them: the next item that comes is the next one,
        whatever its number.
        """
        if given_up is not None and given_up < self._next:
            self._left_out >>= self._next - given_up
            self._lost = shared(self._lost, [(1, given_up - 1)])
            self._next = given_up
        self._held.clear()
        self.held_bytes = 0
        self._missing, self._given_up, self._others = [], [], []
        self._goes_on = True

    def has(self, sequence: int) -> bool:
        """Whether it is known that the item of this number came."""
        if sequence >= self._next:
            return sequence in self._held
        absent = within(self._lost, sequence) or self._was_left_out(sequence)
        return sequence >= self._certain and not absent

    def wants(self, sequence: int) -> bool:
        """Whether this number is waited for while later items are held back."""
        return within(self._missing, sequence)

    def holes(self) -> list[Range]:
        """Return the numbers that are waited for before the last item that is held back."""
        return self._missing.copy()

    @property
    def has_too_many_holes(self) -> bool:
        """Whether there are more than one question has room for."""
        return len(self._missing) > MAX_HOLES

    def give_up(self, holes: int = 0) -> Passed[T]:
        """Wait no more for the oldest holes, of which at most so many stay."""
        missing, items = 0, list[T]()
        while len(self._missing) > holes:
            # It begins with the next number: what has come, or was given up, has had its turn.
            oldest = self._missing.pop(0)
            missing += amount([oldest])
            self._pass_over(oldest)
            items += self._in_turn()
        return Passed(missing, items)

    def skip(self, numbers: Iterable[Range]) -> Passed[T]:
        """Wait for these numbers no more, of those before an item held back."""
        missing = shared(self._missing, numbers)
        self._missing = without(self._missing, missing)
        self._given_up = merged([*self._given_up, *missing])
        return Passed(amount(missing), list(self._in_turn()))

    def others(self, numbers: Iterable[Range]) -> Passed[T]:
        """Count missing numbers as come: their sender says that they were for others."""
        return Passed(0, self._leave_out(shared(self._missing, numbers)))

    def pass_over(self, last: int) -> Passed[T]:
        """Wait no more for missing numbers up to this one, which are not owed."""
        self.first = max(self.first, last + 1)
        return Passed(0, self.skip([(self._next, last)]).items)

    def pass_old(self, before: float) -> Passed[T]:
        """Pass over what is missing before an old item that is held back since before a time.

        What its sender, which does not answer, has sent before it is older than the receiver, too.
        """
        began = self.clock.began
        old = [
            sequence
            for sequence, held in self._held.items()
            if held.since < before and held.sent_at < began
        ]
        return self.pass_over(max(old) - 1) if old else Passed(0, ())

    def expire(self, before: float) -> Passed[T]:
        """Give up the numbers before the last item that has been held back since before a time."""
        # They stand in the order in which they came: the first that is younger ends it.
        old = [
            sequence
            for sequence, _ in takewhile(lambda each: each[1].since < before, self._held.items())
        ]
        if not old:
            return Passed(0, ())
        # Of a sender that does not answer it is never known which of them were owed.
        unsure = shared(self._missing, [(self._next, min(max(old), self._sure()) - 1)])
        passed = self.skip([(self._next, max(old) - 1)])
        return Passed(passed.missing - amount(unsure), passed.items)

    @property
    def _certain(self) -> int:
        """The first number of which it is known whether it came, and of all later ones."""
        return max(self._next - self._window, self._uncertain + 1)

    def _is_jump(self, sequence: int, now: float) -> bool:
        return sequence - self._next > MAX_AHEAD + (now - self._turned_at) * MAX_A_SECOND

    def _leave_out(self, numbers: Sequence[Range]) -> Sequence[T]:
        """Count numbers as come, but for those of items held back; return whose turn has come."""
        if not self._held and len(numbers) == 1 and numbers[0][0] <= self._next:
            # Nearly always.
            self._pass_by(numbers[0])
            return ()
        numbers = without(numbers, [(each, each) for each in self._held])
        self._missing = without(self._missing, numbers)
        self._given_up = without(self._given_up, numbers)
        later = [(max(first, self._next), last) for first, last in numbers if last >= self._next]
        self._others = merged([*self._others, *later])
        return list(self._in_turn())

    def _early(self, sequence: int, held: _Held[T]) -> Admission:
        """Hold back an item that comes before its turn; return what its number says."""
        if sequence in self._held:
            return Admission.DUPLICATE
        if self._is_jump(sequence, held.since):
            return Admission.JUMP
        highest = self._highest if self._held else self._next - 1
        if sequence > highest:
            if sequence > highest + 1:
                # Since then, at least, these numbers have been missing.
                self._missing += without([(highest + 1, sequence - 1)], self._others)
            self._highest = sequence
        else:
            # It is in one of them.
            any(strike(each, sequence) for each in (self._missing, self._given_up, self._others))
        self.held_bytes += held.size_bytes + (0 if self._held else _STREAM_BYTES)
        self._held[sequence] = held
        return Admission.NEW

    def _late(self, sequence: int, sent_at: float) -> Admission:
        """Return what a number says that comes after its turn."""
        if self._was_left_out(sequence):
            self._left_out ^= 1 << (self._next - 1 - sequence)
            strike(self._lost, sequence)
            return Admission.NEW
        past = sequence < self._certain
        if not within(self._lost, sequence):
            return Admission.STALE if past else Admission.DUPLICATE
        # What may have been sent before the receiver listened.
        if sequence < self.first and (self._fresh or past) and sent_at < self.clock.began:
            return Admission.STALE
        strike(self._lost, sequence)
        return Admission.NEW

    def _sure(self) -> int:
        """Return the first number of which all later ones are owed."""
        if not self.unsure:
            return self._next
        began = self.clock.began
        sure = (sequence for sequence, held in self._held.items() if held.sent_at >= began)
        return min(sure, default=self._highest)

    def _in_turn(self) -> Iterator[T]:
        while True:
            if self._next in self._held:
                item, since, self._last_sent_at, size_bytes = self._held.pop(self._next)
                self._next += 1
                self._shift(1)
                self._turned_at = max(self._turned_at, since)
                self.held_bytes -= size_bytes + (0 if self._held else _STREAM_BYTES)
                yield item
            elif self._given_up and self._given_up[0][0] == self._next:
                self._pass_over(self._given_up.pop(0))
            elif self._others and self._others[0][0] <= self._next:
                self._pass_by(self._others.pop(0))
            else:
                return

    def _pass_by(self, numbers: Range) -> None:
        """Go beyond numbers that were for others, of which some may have had their turn."""
        left_out = numbers[1] + 1 - self._next
        if left_out <= 0:
            return
        if left_out >= max(self._window // _MANY_LEFT_OUT, 1):
            # With those of which the bits go at once. What goes one by one is let go, since of a
            # sender with two destinations that never ends.
            self._lost = merged([*self._lost, *self._left_behind(left_out)])
            self._remember((self._next, numbers[1]))
        self._next += left_out
        self._shift(left_out)
        self._left_out |= (1 << min(left_out, self._window)) - 1

    def _pass_over(self, numbers: Range) -> None:
        """Go beyond numbers that are given up."""
        self._remember(numbers)
        self._shift(numbers[1] + 1 - self._next)
        self._next = numbers[1] + 1

    def _remember(self, lost: Range) -> None:
        self._lost.append(lost)
        while len(self._lost) > MAX_LOST:
            _, self._uncertain = self._lost.pop(0)

    def _left_behind(self, by: int) -> Iterator[Range]:
        """Return what was left out and goes out of the window as `_next` goes on by so much."""
        kept = max(self._window - by, 0)
        bits, last = self._left_out >> kept, self._next - 1 - kept
        for _ in range(MAX_LOST):
            if not bits or last <= self._next - 1 - self._window:
                return
            came = (bits & -bits).bit_length() - 1
            bits, last = bits >> came, last - came
            run = (~bits & (bits + 1)).bit_length() - 1
            yield (last - run + 1, last)
            bits, last = bits >> run, last - run

    def _shift(self, by: int) -> None:
        """Move the bits of what was left out, as `_next` goes on by so much."""
        self._left_out = self._left_out << by if by < self._window else 0
        if self._left_out.bit_length() > 2 * self._window:
            # Not each time, as it costs as much as the rest.
            self._left_out &= (1 << self._window) - 1

    def _was_left_out(self, sequence: int) -> bool:
        before = self._next - 1 - sequence
        return before < self._window and bool(self._left_out >> before & 1)


Sender = tuple[str, str]
"""An incarnation and a chart."""


class Streams(Generic[T]):
    """A stream for each sender, which is an incarnation and a chart.

    Of more than so many senders the one that was silent for longest is forgotten, unless items of
    it are held back: of its own node when that has too many, else of the node that was silent for
    longest. When it speaks again it is new, and what it repeats is no duplicate.

    `since` is the (monotonic) time from which the receiver listens; `fresh` as in `Stream`. Call
    `relieve` after what was held back.
    """

    def __init__(
        self,
        window: int,
        senders: int = MAX_SENDERS,
        *,
        since: float = 0.0,
        fresh: bool = False,
        held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        self._window = window
        self._senders = senders
        self._since = since
        self._fresh = fresh
        self._most_held_bytes = held_bytes
        self.forgotten = 0
        """How many senders were forgotten."""
        self._held_bytes = 0
        # By node: one that was started anew has the clock that it had.
        self._clocks: WeakValueDictionary[str, Clock] = WeakValueDictionary()
        self._streams: dict[Sender, Stream[T]] = {}
        # The same by node, the least recently heard first, of nodes as of a node's senders.
        self._nodes: OrderedDict[str, OrderedDict[Sender, None]] = OrderedDict()
        # Those of them that hold items back, so that the others cost nothing in a look for holes;
        # with what they cost.
        self._waiting: dict[Sender, Stream[T]] = {}
        self._costs: dict[Sender, int] = {}

    def admit(
        self,
        sender: Sender,
        sequence: int,
        item: T,
        now: float,
        *,
        node: str = "",
        sent_at: float = 0.0,
        size_bytes: int = 0,
        others: Range | None = None,
    ) -> tuple[Admission, Sequence[T]]:
        """Admit an item to the stream of a sender's incarnation and chart, as `Stream.admit`.

        `sent_at` is by the clock of the sender's node; `size_bytes` is what the item takes.
        """
        stream = self._streams.get(sender)
        if stream is None:
            # It begins with the first number heard: the ones before may have been sent before this
            # receiver listened.
            clock = self._clocks.setdefault(node, Clock())
            stream = Stream(sequence, self._window, clock, node, fresh=self._fresh)
            self._streams[sender] = stream
            self._nodes.setdefault(node, OrderedDict())[sender] = None
            self._forget_one(node)
        self._heard(sender, stream, now, sent_at)
        verdict = stream.admit(sequence, item, now, sent_at, size_bytes, others)
        self._note(sender, stream)
        return verdict

    def run(
        self, sender: Sender, first: int, count: int, now: float, sent_at: float, latest: float
    ) -> bool:
        """Admit items of a known sender if their turn has come, as `Stream.run`.

        The last was sent at `sent_at`, and none after `latest`, by the clock of the sender's node.
        """
        stream = self._streams.get(sender)
        if stream is None or not stream.run(first, count, now, sent_at):
            return False
        self._heard(sender, stream, now, latest)
        return True

    def relieve(self, sender: Sender) -> Iterator[tuple[Sender, Passed[T]]]:
        """Give up what is missing where too much is: of this sender, or of who has most held back.

        Call it after an item of that sender was held back.
        """
        stream = self._waiting.get(sender)
        if stream and stream.has_too_many_holes:
            # Many at once, so that the next holes do not lead here again.
            yield sender, self._pass(sender, lambda stream: stream.give_up(MAX_HOLES // 2))
        while self._held_bytes > self._most_held_bytes:
            largest = max(self._costs, key=self._costs.__getitem__)
            yield largest, self._pass(largest, lambda stream: stream.give_up())

    def begin_anew(self, given_up: Iterable[tuple[Sender, int]]) -> None:
        """Let every stream begin anew, as `Stream.begin_anew`; of each all behind one given up."""
        firsts: dict[Sender, int] = {}
        for sender, number in given_up:
            firsts[sender] = min(number, firsts.get(sender, number))
        for sender, stream in self._streams.items():
            stream.begin_anew(firsts.get(sender))
            self._note(sender, stream)

    def has(self, sender: Sender, sequence: int) -> bool:
        """Whether it is known that an item of a sender's stream came, as `Stream.has`."""
        stream = self._streams.get(sender)
        return stream is not None and stream.has(sequence)

    def wants(self, sender: Sender, sequence: int) -> bool:
        """Whether a number is missing in a sender's stream, as `Stream.wants`."""
        stream = self._waiting.get(sender)
        return stream is not None and stream.wants(sequence)

    def firsts(self, senders: Iterable[Sender]) -> dict[Sender, int]:
        """Return, of those senders that were heard, from which number on all is owed."""
        known = {sender: self._streams.get(sender) for sender in senders}
        return {sender: stream.first for sender, stream in known.items() if stream}

    def passed(self) -> dict[Sender, int]:
        """Return how far each sender's stream has come, the most recently heard node last."""
        return {
            sender: self._streams[sender].passed
            for senders in self._nodes.values()
            for sender in senders
        }

    def unsure(self, sender: Sender) -> bool:
        """Whether a sender's stream is unsure of its holes, as `Stream.unsure`."""
        stream = self._waiting.get(sender)
        return stream is not None and stream.unsure

    def holes(self) -> dict[Sender, list[Range]]:
        """Return the numbers that are missing, by sender; of most senders none are."""
        return {sender: stream.holes() for sender, stream in self._waiting.items()}

    def skip(self, sender: Sender, numbers: Iterable[Range]) -> Passed[T]:
        """Wait for numbers of a sender's stream no more, as `Stream.skip`."""
        return self._pass(sender, lambda stream: stream.skip(numbers))

    def others(self, sender: Sender, numbers: Iterable[Range]) -> Passed[T]:
        """Count missing numbers of a sender's stream as come, as `Stream.others`."""
        return self._pass(sender, lambda stream: stream.others(numbers))

    def pass_over(self, sender: Sender, last: int) -> Passed[T]:
        """Pass over what a sender does not owe, as `Stream.pass_over`."""
        return self._pass(sender, lambda stream: stream.pass_over(last))

    def pass_old(self, before: float) -> Iterator[tuple[Sender, Passed[T]]]:
        """Pass over what is older than the receiver in every stream, as `Stream.pass_old`."""
        # A copy, here and below, since `_pass` changes it.
        for sender in [each for each, stream in self._waiting.items() if stream.unsure]:
            yield sender, self._pass(sender, lambda stream: stream.pass_old(before))

    def expire(self, before: float) -> Iterator[tuple[Sender, Passed[T]]]:
        """Give up what was missing for too long in every stream, as `Stream.expire`."""
        for sender in list(self._waiting):
            yield sender, self._pass(sender, lambda stream: stream.expire(before))

    def _pass(self, sender: Sender, change: Callable[[Stream[T]], Passed[T]]) -> Passed[T]:
        stream = self._waiting.get(sender)
        if stream is None:
            return Passed(0, ())
        passed = change(stream)
        self._note(sender, stream)
        return passed

    def _heard(self, sender: Sender, stream: Stream[T], now: float, sent_at: float) -> None:
        """Note that a sender is heard now, by what was sent at a time."""
        node, clock = stream.node, stream.clock
        self._nodes[node].move_to_end(sender)
        self._nodes.move_to_end(node)
        clock.began = max(clock.began, sent_at - (now - self._since))

    def _note(self, sender: Sender, stream: Stream[T]) -> None:
        """Keep `_waiting` true after a stream has changed."""
        if stream.held_bytes:
            self._waiting[sender] = stream
            self._held_bytes += stream.held_bytes - self._costs.get(sender, 0)
            self._costs[sender] = stream.held_bytes
        elif sender in self._waiting:
            del self._waiting[sender]
            self._held_bytes -= self._costs.pop(sender)

    def _forget_one(self, node: str) -> None:
        """Forget a sender if a new one of this node is one too many."""
        of_node = self._nodes[node]
        if len(of_node) <= MAX_SENDERS_OF_A_NODE:
            if len(self._streams) <= self._senders:
                return
            node, of_node = next(iter(self._nodes.items()))
        oldest = next(iter(of_node))
        if oldest in self._waiting:
            # Its items would never be acknowledged. One look at each call keeps the number of
            # senders near its limit, and the call short.
            of_node.move_to_end(oldest)
            self._nodes.move_to_end(node)
            return
        del self._streams[oldest], of_node[oldest]
        self.forgotten += 1
        if not of_node:
            del self._nodes[node]


class Gaps:
    """The highest number of each sender, where nothing is asked for again: for snoop records.

    Of more than so many senders the one that was silent for longest is forgotten.
    """

    def __init__(self, senders: int = MAX_SENDERS) -> None:
        self._senders = senders
        # The least recently heard first, as in `Streams`.
        self._last: OrderedDict[tuple[str, str], int] = OrderedDict()

    def before(self, sender: tuple[str, str], sequence: int) -> int | None:
        """Note a number; return how many are missing right before it, none before the first.

        None for one that comes again: a sender's numbers never come late, only twice.
        """
        last = self._last.get(sender)
        if last is None:
            if len(self._last) >= self._senders:
                self._last.popitem(last=False)
            self._last[sender] = sequence
            return 0
        self._last.move_to_end(sender)
        if sequence <= last:
            return None
        self._last[sender] = sequence
        return sequence - last - 1
