"""What arrived for one chart: in order, once each, and acknowledged when it was handled."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final, NamedTuple

from miros_mesh.address import Hearing
from miros_mesh.errors import FrameError, OldFrameError, PayloadError
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.arrival import Arrival, Reason, Ticket
from miros_mesh.networks.echoes import mark_of
from miros_mesh.networks.feed import Feed
from miros_mesh.networks.letters.home import Letters, Place
from miros_mesh.networks.mesh import BEAT, GOODBYE, HELLO, Mesh
from miros_mesh.networks.notes.deaths import ChartDeaths
from miros_mesh.networks.order.doubts import Doubts
from miros_mesh.networks.order.ranges import Range
from miros_mesh.networks.order.routes import others_before
from miros_mesh.networks.order.runs import Batch, Run, is_word
from miros_mesh.networks.order.streams import Admission, Passed, Streams
from miros_mesh.networks.order.unordered import Unordered
from miros_mesh.text import printable
from miros_mesh.wire.codec import Arrived
from miros_mesh.wire.envelope import Envelope, Origin, RoutedEnvelope

_UNSURE: Final = (
    "a frame was sealed shortly before its receiver listened, and its sender does not answer: it "
    "may be an old one that somebody sends again"
)
_TOO_MANY: Final = (
    "a frame was sealed shortly before its receiver listened, and too many wait already for the "
    "word of their senders, or of this one, which does not answer"
)
STALE: Final = Reason(Admission.STALE.value, "older than the dedup window, or than the chart")
JUMP: Final = Reason(
    Admission.JUMP.value, "its number is so far above the last one that no sender comes there"
)
# What these are cannot be known, or cannot be true.
_REFUSALS: Final = {Admission.STALE: STALE, Admission.JUMP: JUMP}
_HELD_FULL: Final = (
    "too much waits for events that are missing, and those are given up: was a queue deleted, or "
    "does somebody with the key send numbers of his own?"
)
_FORGOTTEN: Final = (
    "more senders speak than are remembered, and those that were silent for longest are "
    "forgotten: copies of what they have sent would be new"
)


_DESTINATIONS: Final = 1_000


class _Taken(NamedTuple):
    """A delivery, and what of its events is for the chart."""

    delivery: Delivery
    heard: Sequence[Run]
    events: int
    batch: Batch | None
    """What is shared with other charts that get the frame."""

    @property
    def first(self) -> Envelope:
        """The first of the events."""
        return self.heard[0].events[0]


class Sharing(NamedTuple):
    """How a queue is consumed by several charts."""

    ordered: bool
    """Whether one of them gets all, and another one goes on after it; else each gets some."""
    max_deliveries: int
    """Of an event that a chart dies of as often, none more."""


class Inbox:
    """Puts events in order, feeds them to a chart, and acknowledges those that it handled.

    `room` says how many events the FIFO takes now; `post` puts one there and raises nothing.
    `missed` is called when an event has to wait for an earlier one of its sender. What the chart
    cannot use becomes a dead letter. `deaths` says what an earlier process has handled and what
    ended it; without it the chart's queue is new, and kept nothing from before; else it may have
    kept frames for `kept_s`. `hears` has the patterns of topics and the addresses that it is for.
    `handled_before` says up to which number of each stream earlier processes of the node's name
    have handled all. The chart listens from now on.

    What a call does depends on two flags:

    | `_takes` | `_feeds` | the inbox is |
    | --- | --- | --- |
    | yes | no | new: deliveries wait for `open` |
    | yes | yes | open |
    | no | yes | finishing: only the rest of the frames that the chart has begun is fed |
    | no | no | closed |

    A delivery that is not taken stays unacknowledged: the broker keeps it for the next inbox.
    """

    def __init__(
        self,
        mesh: Mesh,
        place: Place,
        letters: Letters,
        *,
        deaths: ChartDeaths | None = None,
        room: Callable[[], int],
        post: Callable[[Arrival], None],
        missed: Callable[[], None] = lambda: None,
        kept_s: float = 0.0,
        hears: Collection[str] = ("#",),
        handled_before: Callable[[], Mapping[tuple[str, str], int]] = dict,
        sharing: Sharing | None = None,
    ) -> None:
        self.chart = place.chart
        self._mesh = mesh
        # The stream of the chart itself.
        self._own = mesh.identity.incarnation, place.chart
        # Before its queue is declared, so that nothing comes which is older.
        self._since = time.monotonic()
        self._freshness = mesh.network.freshness(kept_s, *hears, place.put_back_topics)
        self.hears = hears
        """The patterns of topics, and the addresses, whose events are for the chart."""
        # A sender names the same few destinations again and again.
        self._is_for_chart = lru_cache(_DESTINATIONS)(Hearing(hears))
        self._handled_before = handled_before
        self._place = place
        self._letters = letters
        self._deaths = deaths
        self._room, self._post, self._missed = room, post, missed
        # Guards all that follows, and is held for a frame as a whole: the chart is never given an
        # event of half a frame. Nothing of others is called under it but `room`.
        self._lock = threading.Lock()
        self._takes = True
        self._feeds = False
        self._sharing = sharing
        self._streams: Streams[Arrival] | Unordered[Arrival] = (
            Streams(
                mesh.dedup_window,
                since=self._since,
                fresh=deaths is None and sharing is None,
                held_bytes=mesh.held_bytes,
            )
            if sharing is None or sharing.ordered
            else Unordered(mesh.dedup_window)
        )
        # In their order, until the FIFO has room; and those before that, which are begun: the
        # thread that moves takes these one by one, without the lock.
        self._waiting: deque[Arrival] = deque()
        self._leaving: deque[Arrival] = deque()
        # Whether one was taken back, so that it has to be asked for room again.
        self._crowded = False
        # By their ids: held back by `_streams`, waiting, or given to the chart.
        self._unfinished: dict[str, Arrival] = {}
        # How many events came after `finish` or `close`.
        self._refused = 0
        # How many forgotten senders were told of.
        self._forgotten = 0
        self._doubts: Doubts[_Taken] = Doubts()
        self._all_fed: Callable[[], None] | None = None
        """From `finish` until it was called."""
        self._calls: list[Callable[[], object]] = []
        """Hooks and acknowledgements that are due once the lock is free."""
        self._feed = Feed(self._may_feed, self._move)

    def open(self) -> None:
        """Begin to feed the chart, which has started; nothing after `finish` or `close`."""
        with self._lock:
            self._feeds = self._feeds or self._takes
        self.feed()

    def finish(self, all_fed: Callable[[], None]) -> None:
        """Begin no further frame; feed what waits of those begun, and then call back, once.

        A frame that is handled in part comes again as a whole.
        """
        with self._lock:
            self._feeds = self._feeds or self._takes
            self._takes = False
            self._all_fed = all_fed
            self._waiting = deque(arrival for arrival in self._waiting if arrival.begun)
        self.feed()

    def close(self) -> int:
        """Feed no more; return how many events were received and are not handled."""
        with self._lock:
            self._takes = self._feeds = False
            self._waiting.clear()
            self._leaving.clear()
            doubted = sum(each.events for each in self._doubts.items())
            self._doubts.clear()
            # `_unfinished` is kept: the event that the chart is handling may still be acknowledged.
            return len(self._unfinished) + self._refused + doubted

    def begin_anew(self, given_back: Callable[[Arrival], bool] = lambda _: True) -> None:
        """Let go of what the chart was not given: others get it, or this one once more.

        For a queue that is shared, each time the connection is lost by which it is consumed.
        """

        def goes(arrival: Arrival) -> bool:
            return not arrival.begun and given_back(arrival)

        with self._lock:
            given_up = [each.envelope for each in self._unfinished.values() if goes(each)]
            self._streams.begin_anew((_stream_of(each), each.sequence) for each in given_up)
            self._waiting = deque(each for each in self._waiting if not goes(each))
            for each in given_up:
                del self._unfinished[each.id]
            self._doubts.clear()

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery; called on the subscriber's thread."""
        # Before the lock: a chart that has handled an event must not wait while a frame is
        # decrypted.
        arrived = self._mesh.network.open(
            delivery, self._freshness, partial(self._refuse, delivery)
        )
        if not arrived.messages:
            return
        batch = _batch_of(arrived)
        heard, events = batch.runs, len(arrived.messages)
        if not self._sharing and self._own in batch.senders:
            # A chart that listens to its own topic gets its own events back. Not of its group: they
            # are the group's, and another one may have got them.
            heard = [run for run in heard if run.stream != self._own]
            events = sum(len(run.events) for run in heard)
        if not heard:
            delivery.ack()
            return
        taken = _Taken(delivery, heard, events, batch if arrived.opened else None)
        with self._lock:
            if not self._takes:
                # Not acknowledged: it goes to the next inbox of the queue, or away with the queue.
                self._refused += sum(len(run.events) for run in heard if not run.word)
                return
            if arrived.sure and not self._doubts.holds(taken.first.incarnation):
                self._take(taken)
            else:
                self._doubt(taken, sure=arrived.sure)
        self._call_and_feed()

    @property
    def waiting(self) -> int:
        """How many events wait for a place in the chart's FIFO, at about this moment."""
        return len(self._waiting) + len(self._leaving)

    @property
    def in_doubt(self) -> bool:
        """Whether frames wait for the word of their senders."""
        return bool(self._doubts)

    def doubts(self, asked_s: float, most: int) -> dict[str, list[int]]:
        """Return the marks of frames to ask for, by the incarnation that says to be their sender.

        They are `most` of each, and count as asked for when the chart had listened for so long.
        """
        with self._lock:
            return self._doubts.ask(asked_s, most)

    def vouched(self, sender: str, asked_s: float, ages_s: Mapping[int, float]) -> None:
        """Take the answer to a question of `doubts`: how long ago frames of these marks were sent.

        What was sent since the chart listens is new, and all other frames were old ones. The answer
        was made before now: by what it has travelled for, an older frame may be taken for new.
        """
        listened_s = self.listening_s(time.monotonic())
        new = {mark for mark, age_s in ages_s.items() if age_s <= listened_s}
        with self._lock:
            for taken, is_new in self._doubts.answered(sender, asked_s, new):
                if is_new:
                    self._take(taken)
                else:
                    self._calls.append(partial(self._drop_old, taken))
        self._call_and_feed()

    def doubt_no_longer(self, before: float) -> None:
        """Set aside frames in doubt since before that (monotonic) time: no answer comes."""
        with self._lock:
            for taken, is_new in self._doubts.expire(before):
                if is_new:
                    self._take(taken)
                else:
                    self._calls.append(
                        partial(self._refuse, taken.delivery, OldFrameError(_UNSURE))
                    )
        self._call_and_feed()

    def listening_s(self, now: float) -> float:
        """Return for how long the chart has listened at a (monotonic) time."""
        return now - self._since

    def unsure(self, stream: tuple[str, str]) -> bool:
        """Whether what is missing of a stream may have been sent before the chart listened."""
        with self._lock:
            return self._streams.unsure(stream)

    def firsts(self, streams: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return, of those streams that were heard, from which number on all is owed."""
        with self._lock:
            return self._streams.firsts(streams)

    def marks(self) -> dict[tuple[str, str], int]:
        """Return up to which number of each stream the chart has handled all that it was given."""
        with self._lock:
            marks = self._streams.passed()
            for arrival in self._unfinished.values():
                stream, before = _stream_of(arrival.envelope), arrival.envelope.sequence - 1
                marks[stream] = min(marks.get(stream, before), before)
            return marks

    def holes(self) -> dict[tuple[str, str], list[Range]]:
        """Return the numbers that events wait for, by their stream: incarnation and chart."""
        with self._lock:
            return self._streams.holes()

    def repair(self, events: Iterable[tuple[str, Envelope]]) -> int:
        """Take what was asked for again, with its destination; return how many were missing here.

        What was for others is waited for no longer. An empty destination is not known: it is one
        that the chart hears.
        """
        taken = 0
        with self._lock:
            for destination, envelope in events:
                stream, number = _stream_of(envelope), envelope.sequence
                if destination and not self._is_for_chart(destination):
                    self._pass(stream, self._streams.others(stream, [(number, number)]))
                elif self._streams.wants(stream, number):
                    taken += 1
                    # Of a shared queue another one may have had what is missing here.
                    self._admit(envelope, destination, again=self._sharing is not None)
        self._call_and_feed()
        return taken

    def others(self, stream: tuple[str, str], numbers: Sequence[Range]) -> None:
        """Wait no longer for the events of these numbers: they were for others."""
        with self._lock:
            self._pass(stream, self._streams.others(stream, numbers))
        self._call_and_feed()

    def skip(self, stream: tuple[str, str], numbers: Sequence[Range]) -> None:
        """Wait no longer for the events of these numbers: their sender has them no more."""
        with self._lock:
            self._pass(stream, self._streams.skip(stream, numbers))
        self._call_and_feed()

    def pass_over(self, stream: tuple[str, str], last: int) -> None:
        """Wait no longer for events up to this number: they were sent before the chart listened."""
        with self._lock:
            self._pass(stream, self._streams.pass_over(stream, last))
        self._call_and_feed()

    def pass_old(self, before: float) -> None:
        """Wait no longer for what is older than the chart, and missing since before that time."""
        with self._lock:
            for stream, passed in self._streams.pass_old(before):
                self._pass(stream, passed)
        self._call_and_feed()

    def expire(self, before: float) -> None:
        """Wait no longer for what was missing before that (monotonic) time already."""
        with self._lock:
            for stream, passed in self._streams.expire(before):
                self._pass(stream, passed)
        self._call_and_feed()

    def feed(self) -> None:
        """Move what waits into the FIFO while it has room."""
        self._feed.run()

    def take_back(self, arrival: Arrival) -> None:
        """Put the event posted last in front again: the FIFO had no place for it after all."""
        with self._lock:
            if self._feeds:
                # In this order, since the thread that moves looks without the lock. What is begun
                # and not posted yet comes behind it.
                self._crowded = True
                self._leaving.appendleft(arrival)

    def finished(self, arrival: Arrival) -> None:
        """Note that the chart has run the event to completion, or set it aside; once for each."""
        # With the lock: until then its tickets may become more.
        with self._lock:
            if self._unfinished.pop(arrival.id, None) is None:
                return
        for ticket in arrival.tickets:
            ticket.done()

    def set_aside(self, arrival: Arrival, reason: Reason) -> None:
        """Make a dead letter of an event; it is finished once the broker has the letter."""
        # Until then a copy of it belongs to this one.
        self._keep(arrival, reason, partial(self.finished, arrival))

    def is_expired(self, event: Envelope) -> bool:
        """Whether an event is older than its sender lets it be."""
        ttl_s = event.ttl_s if isinstance(event, RoutedEnvelope) else None
        return ttl_s is not None and self._mesh.age_s(event) > ttl_s

    def expired(self, arrival: Arrival) -> None:
        """Make a dead letter of an event that is too old to be handled."""
        ttl_s = arrival.envelope.ttl_s if isinstance(arrival.envelope, RoutedEnvelope) else None
        age_s = self._mesh.age_s(arrival.envelope)
        self.set_aside(arrival, Reason("expired", f"{age_s:.3f} s old, and ttl_s is {ttl_s:g}"))

    def died(self, error: BaseException, arrival: Arrival | None, wait_s: float) -> None:
        """Note, for the next process of the node's name, which event has ended the chart.

        Call it after `close`. Waits until the broker has the note, `wait_s` at most.

        Of a shared queue nothing is noted: the broker counts, and after so many deliveries the
        event becomes a dead letter instead of killing one more.
        """
        if self._deaths is None:
            return
        # What came by repair comes never again.
        event = arrival.envelope if arrival and arrival.tickets else None
        self._deaths.died(error, event, self._done(), wait_s)

    def is_poison(self, arrival: Arrival) -> bool:
        """Whether an event of a shared queue has ended a chart as often as one may.

        The broker counts how often its frame came, which may have had other reasons. So it is known
        only once a handler has raised because of it.
        """
        most = self._sharing.max_deliveries if self._sharing else 0
        return 0 < most <= arrival.deliveries

    def stopped(self, wait_s: float) -> None:
        """Note, likewise, what the chart has handled of frames that come again; after `close`."""
        if self._deaths is not None and (done := self._done()):
            self._deaths.stopped(done, wait_s)

    def wait_kept(self, wait_s: float) -> None:
        """Wait until what was set aside is a dead letter, and done, `wait_s` at most."""
        self._letters.wait_stored(self._place, wait_s)

    def _done(self) -> list[Origin]:
        """Return what is done of the frames that are not done as a whole."""
        with self._lock:
            tickets = {
                ticket
                for arrival in self._unfinished.values()
                for ticket in arrival.tickets
                if ticket.partly_done
            }
            unfinished = set(self._unfinished)
        opened = (self._mesh.network.open_again(ticket.delivery.body) for ticket in tickets)
        return [each for frame in opened for each in frame if each.id not in unfinished]

    @property
    def _dead(self) -> ChartDeaths | None:
        """What earlier processes have noted of events, if that is anything."""
        deaths = self._deaths
        return deaths if deaths is not None and (deaths.handled or deaths.fatal) else None

    def _forgetting(self, heard: Sequence[Run]) -> Callable[[], object] | None:
        """Return what forgets those that are noted, once their frame was acknowledged."""
        if (deaths := self._dead) is None:
            return None
        noted = deaths.among(each for run in heard for each in run.events)
        return partial(deaths.acknowledged, noted) if noted else None

    def _take(self, taken: _Taken) -> None:
        topic = taken.delivery.topic
        tickets = (Ticket(taken.delivery, taken.events, self._forgetting(taken.heard)),)
        for run in taken.heard:
            if not (run.plain and self._is_in_turn(run)):
                for envelope in run.events:
                    self._admit(envelope, topic, tickets, taken.batch)
                continue
            # Nearly always: what there is to ask is asked of all at once.
            arrivals = [
                Arrival(each, self, topic, False, None, False, tickets, known_id, taken.batch)
                for each, known_id in zip(run.events, run.ids, strict=True)
            ]
            self._unfinished.update(zip(run.ids, arrivals, strict=True))
            self._waiting.extend(arrivals)

    def _is_in_turn(self, run: Run) -> bool:
        """Whether the turn of all events of a run has come, and nothing else is to be said of them.

        Then they are admitted, each of them as by `_admit`.
        """
        if not self._takes or self._dead:
            return False
        before = self._handled_before()
        if before and run.first <= before.get(run.stream, 0):
            return False
        possible = self._freshness.possible
        return self._streams.run(
            run.stream,
            run.first,
            len(run.events),
            time.monotonic(),
            possible(run.last_sent_at),
            possible(run.latest),
        )

    def _doubt(self, taken: _Taken, *, sure: bool) -> None:
        """Let a frame wait until its sender has said whether it is new, or others before it are."""
        sender, mark = taken.first.incarnation, 0 if sure else mark_of(taken.delivery.body)
        if mark and (former := self._doubts.exchanged(sender, taken, mark)):
            # The broker keeps the last copy, whose connection there surely is.
            self._calls += partial(self._drop, Admission.DUPLICATE.value), former.delivery.ack
            return
        if not self._doubts.has_room(sender, sure=sure):
            self._calls.append(partial(self._refuse_doubtful, taken, OldFrameError(_TOO_MANY)))
            return
        self._doubts.add(sender, taken, mark, time.monotonic())
        self._calls.append(self._missed)

    def _refuse_doubtful(self, taken: _Taken, error: OldFrameError) -> None:
        self._drop(error.reason)
        self._mesh.network.complain(error.reason, f"node {taken.first.node}: {error}")
        self._refuse(taken.delivery, error)

    def _drop_old(self, taken: _Taken) -> None:
        self._drop(OldFrameError.reason)
        self._mesh.network.complain(
            OldFrameError.reason,
            f"node {taken.first.node} had sent a frame before chart {self.chart} listened: it "
            "was on its way, or somebody sends an old one again",
        )
        taken.delivery.ack()

    def _admit(
        self,
        envelope: Envelope,
        destination: str,
        tickets: Sequence[Ticket] = (),
        batch: Batch | None = None,
        *,
        again: bool = False,
    ) -> None:
        arrival = Arrival(envelope, self, destination, again=again, tickets=tickets, batch=batch)
        stream = _stream_of(envelope)
        if (first := envelope.first_sent) and self._streams.has(*first):
            self._settle_copy(arrival, envelope.cause)
            return
        admission, in_turn = self._streams.admit(
            stream,
            envelope.sequence,
            arrival,
            time.monotonic(),
            node=envelope.node,
            sent_at=self._freshness.possible(envelope.sent_at),
            size_bytes=len(envelope.payload),
            # Asked here, as it costs each event: most say nothing.
            others=(
                others_before(envelope, self._is_for_chart)
                if type(envelope) is RoutedEnvelope
                else None
            ),
        )
        if self._streams.forgotten > self._forgotten:
            self._forgotten = self._streams.forgotten
            self._calls.append(partial(self._mesh.network.complain, "senders_full", _FORGOTTEN))
        if admission is not Admission.NEW:
            self._settle_copy(arrival, envelope.id, _REFUSALS.get(admission))
            return
        self._unfinished[envelope.id] = arrival
        for each in in_turn:
            self._enter(each)
        if not in_turn:
            self._calls.append(self._missed)
            self._relieve(stream)

    def _relieve(self, stream: tuple[str, str]) -> None:
        """Wait no longer for some of what is missing, if too much waits behind it."""
        for sender, passed in self._streams.relieve(stream):
            self._pass(sender, passed)
            self._calls.append(partial(self._mesh.network.complain, "held_full", _HELD_FULL))

    def _settle_copy(self, copy: Arrival, of: str | None, refusal: Reason | None = None) -> None:
        """Settle what comes again, or what is refused since it cannot be known whether it does."""
        first = self._unfinished.get(of) if of else None
        if first is None and refusal:
            if is_word(copy.envelope):
                self._calls += partial(self._tell_of_word, copy.envelope, refusal), copy.done
            else:
                self._unfinished[copy.envelope.id] = copy
                self._calls.append(partial(self.set_aside, copy, refusal))
            return
        self._calls.append(partial(self._drop, Admission.DUPLICATE.value))
        if first is None:
            self._calls.append(copy.done)
        else:
            # The broker may forget this copy only when the first one has been handled. The first
            # delivery's channel may be gone, and its acknowledgement then counts for nothing.
            first.tickets = (*first.tickets, *copy.tickets)

    def _enter(self, arrival: Arrival) -> None:
        """Let an event wait for room; a word of the library needs none."""
        if is_word(arrival.envelope):
            del self._unfinished[arrival.envelope.id]
            self._calls += partial(self._hear, arrival.envelope), arrival.done
        elif not (self._takes or arrival.begun):
            return
        elif self._was_handled(arrival.envelope):
            # Here and not before it has its place in its stream, which may begin with it.
            drop = partial(self._drop, Admission.DUPLICATE.value)
            self._calls += drop, partial(self.finished, arrival)
        elif (deaths := self._dead) is not None and (settle := self._noted(arrival, deaths)):
            self._calls.append(settle)
        else:
            self._waiting.append(arrival)

    def _was_handled(self, envelope: Envelope) -> bool:
        """Whether an earlier process of the node's name has handled an event, as its marks say."""
        before = self._handled_before()
        return bool(before) and envelope.sequence <= before.get(_stream_of(envelope), 0)

    def _noted(self, arrival: Arrival, deaths: ChartDeaths) -> Callable[[], object] | None:
        """Return how an event is settled that an earlier process handled, or died of too often."""
        if deaths.has_handled(arrival.envelope):
            return partial(self.finished, arrival)
        if death := deaths.too_often(arrival.envelope):
            reason = Reason("poison", death.error, death.times)
            return partial(self.set_aside, arrival, reason)
        return None

    def _pass(self, stream: tuple[str, str], passed: Passed[Arrival]) -> None:
        if passed.missing:
            _, chart = stream
            gap, network = self._mesh.observer.gap, self._mesh.network.name
            self._calls.append(partial(gap, network=network, sender=chart, missing=passed.missing))
        for arrival in passed.items:
            self._enter(arrival)

    def _call_and_feed(self) -> None:
        """Call what had to wait until the lock was free, then feed."""
        if self._calls:
            with self._lock:
                # Those of another thread too, if it has not come to them: it then finds none.
                calls, self._calls = self._calls, []
            for call in calls:
                call()
        self.feed()

    def _may_feed(self) -> bool:
        if self._waiting or self._leaving:
            # Also asked without the lock, by the feed.
            return self._feeds and self._room() > 0
        return self._all_fed is not None

    def _move(self) -> None:
        leaving, read, post = self._leaving, self._read, self._post
        while (leaving and not self._crowded) or self._begin():
            try:
                arrival = leaving.popleft()
            except IndexError:
                # Closed meanwhile.
                break
            # What is called here may be the program's, and take its time and other locks.
            if arrival.may_expire and self.is_expired(arrival.envelope):
                self.expired(arrival)
            elif read(arrival):
                post(arrival)
        if self._all_fed is None:
            # Should it be set by now, the feed looks again.
            return
        with self._lock:
            all_fed = None if self._waiting or leaving else self._all_fed
            if all_fed:
                self._all_fed = None
        if all_fed:
            # Taken under the lock, so that it is called once; called without, since it posts.
            all_fed()

    def _begin(self) -> bool:
        """Begin as many events as there is room for; return whether one may be posted.

        All of these may be, whatever the chart itself posts meanwhile, which has places of its own:
        until one is taken back, because the chart has filled those, too.
        """
        # First without the lock: at the end of each move there are none.
        if not self._may_feed():
            return False
        with self._lock:
            if not self._may_feed():
                return False
            self._crowded = False
            room = self._room()
            while len(self._leaving) > room:
                self._waiting.appendleft(self._leaving.pop())
            begun: Sequence[Ticket] = ()
            for _ in range(min(room - len(self._leaving), len(self._waiting))):
                arrival = self._waiting.popleft()
                # Those of a frame have the same.
                if arrival.tickets is not begun:
                    arrival.begin()
                    begun = arrival.tickets
                self._leaving.append(arrival)
            return bool(self._leaving)

    def _read(self, arrival: Arrival) -> bool:
        """Read the payload; refuse the event when the serializer cannot."""
        mesh, batch = self._mesh, arrival.batch
        try:
            # No earlier, so that only what the FIFO has room for is decoded.
            if batch is None:
                arrival.payload = mesh.payload_of(arrival.envelope)
            else:
                arrival.payload = mesh.payload_again(arrival.envelope, batch.readers)
        except PayloadError as error:
            self.set_aside(arrival, Reason("payload", str(error)))
            return False
        return True

    def _refuse(self, delivery: Delivery, error: FrameError) -> None:
        # The network has counted and logged it.
        self._letters.keep_frame(self._place, delivery, Reason(error.reason, str(error)))

    def _keep(self, arrival: Arrival, reason: Reason, stored: Callable[[], object]) -> None:
        event = arrival.envelope
        self._drop(reason.word)
        self._mesh.network.complain(
            reason.word,
            f"{origin_of(event)} is a dead letter of chart {self.chart}: {reason}",
        )
        self._letters.keep_event(self._place, event, reason, stored)

    def _tell_of_word(self, word: Envelope, refusal: Reason) -> None:
        # One that comes late says nothing of use, and nothing of harm.
        if refusal is JUMP:
            self._drop(refusal.word)
            self._mesh.network.complain(refusal.word, f"{origin_of(word)}: {refusal}")

    def _hear(self, word: Envelope) -> None:
        """Take a word of the library; ignore one of a later version."""
        if word.signal == GOODBYE:
            self._mesh.observer.chart_left(node=word.node, chart=word.chart)
        elif word.signal in (HELLO, BEAT):
            self._mesh.heard(word)

    def _drop(self, reason: str) -> None:
        self._mesh.observer.dropped(network=self._mesh.network.name, reason=reason, events=1)


class Source(NamedTuple):
    """What a chart hears by: an inbox and the queues that lead to it."""

    inbox: Inbox
    queues: tuple[str, ...]
    lasting: bool
    """Whether they outlive the node."""
    end: Callable[[float], object] | None = None
    """Ends what takes of the inbox instead of the chart, after so many seconds at most."""


def _batch_of(arrived: Arrived[Envelope]) -> Batch:
    """Return what is known of a frame's messages, by the chart that received it first."""
    if (opened := arrived.opened) is None:
        return Batch(arrived.messages)
    if opened.found is None:
        opened.found = Batch(arrived.messages)
    batch: Batch = opened.found
    return batch


def origin_of(event: Envelope) -> str:
    """Name an event and its sender, for a log; nothing of its payload."""
    return printable(f"{event.signal} ({event.id}) from {event.node}/{event.chart}")


def _stream_of(envelope: Envelope) -> tuple[str, str]:
    return envelope.incarnation, envelope.chart
