"""Events that a broker lost are asked for again, from the node that sent them.

A broker confirms what it stores, and then a person deletes the queue, or the server forgets it.

| step | who | what |
| --- | --- | --- |
| 1 | receiver | an inbox has an event with a later number than it waits for, and wakes the thread |
| 2 | receiver | asks the sender for the numbers between (`ask`), and again after a pause |
| 3 | sender | answers with the events that it has (`again`), or the numbers forgotten (`gone`) |
| 4 | receiver | its inboxes take the events, or wait no longer |

A frame that was sealed shortly before a chart listened is new or is not (`networks.order.doubts`):
its sender is asked (`vouch`), and says how long ago it has published its frames (`ours`).

A chart hears some of the destinations of a sender: a question says which, and the answer has the
events that went there, and says of the other numbers that they were for others.

There is no history: an inbox that has heard an old event first does not know which of those between
are owed to its chart. It asks for itself, and says how long it has listened; the sender gives what
it has sent since, and says up to which number that was not owed (`before`).
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import NamedTuple

from miros_mesh.address import Hearing, is_direct
from miros_mesh.link.ports import Delivery
from miros_mesh.networks.history import History, Sent
from miros_mesh.networks.inbox import Inbox
from miros_mesh.networks.mesh import Mesh
from miros_mesh.networks.network import UNNUMBERED, Network
from miros_mesh.networks.order.ranges import Range, merged, outside, shared, without
from miros_mesh.networks.order.streams import Admission, Streams
from miros_mesh.text import logger_of, printable
from miros_mesh.timing.threads import OwnedThread
from miros_mesh.timing.throttle import Allowance
from miros_mesh.wire.envelope import (
    ENVELOPE_BYTES,
    KEPT_ENVELOPE_BYTES,
    MAX_HEARD,
    MAX_RANGES,
    MAX_SEQUENCE,
    Envelope,
    ListenerRepair,
    RepairKind,
    RepairMessage,
    RoutedEnvelope,
    RoutedRepair,
    TracedEnvelope,
    kept,
)
from miros_mesh.wire.identity import Identity

logger = logger_of(__name__)

# Looks at the inboxes while one of them misses something.
_LOOK_S = 0.05
# What was only overtaken by an event of another frame comes by itself within moments.
_FIRST_ASK_S = 0.05
# Longer than an answer takes on a slow line: a sender that is asked twice answers twice.
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 2.0
# How long a question and its answer may travel together. By so much a sender takes a chart to have
# begun later than it has; starting it took longer than one that travels well.
_FRESH_S = 2.0
# What is not owed is waited for no longer, as when its sender has been started anew since.
_UNANSWERED_S = 2.0
# The receiver asks again for the rest; until then events of now have their turn.
_EVENTS_PER_ANSWER = 20_000
# A question takes 122 bytes, and an answer up to all that is kept: who asks gets that twice at
# once, since an answer may be lost, and then so much of it a second; all who ask together likewise.
_AT_ONCE = 2
_ONE_A_SECOND = 0.1
_ALL_A_SECOND = 0.5
_QUESTION_BYTES = 1024
# Of a destination with a pattern: a microsecond, in which so much is sealed.
_COMPARISON_BYTES = 8
# What the envelope of an event has beside the payload, as a rule.
_EVENT_BYTES = 100
# Two numbers, of nine bytes at most, and their array.
_RANGE_BYTES = 19
# Of nodes that keep nothing, or little, too.
_LEAST_BYTES = 1024 * 1024
_MOST_ASKERS = 1_000
# Of streams that somebody makes up, who has the key, none answers.
_MOST_QUESTIONS = 100
"""How many are asked in one look."""


# Ages of frames travel as whole numbers, of microseconds.
_VOUCHED_S = 1e6

Stream = tuple[str, str]
"""Whose events they are: incarnation and chart."""
# Of what charts hear: a question leaves room for its numbers.
_HEARS_BYTES = 1024


class _Listener(NamedTuple):
    """A chart that asks for itself, and what it is told, as in `ListenerRepair`."""

    chart: str
    listening_s: float
    before: int = 0


class _Sought(NamedTuple):
    """What is known of numbers that are asked for."""

    found: Sequence[Sent]
    """Events for who asks."""
    others: Sequence[Range]
    """Numbers of those, and of later ones, that were for others."""
    cost: int
    """What it has cost to know that, as bytes of an answer."""


class _Routes(NamedTuple):
    """What is said of destinations, as in `RoutedRepair`."""

    hears: tuple[str, ...] = ()
    others: tuple[Range, ...] = ()
    routed: tuple[tuple[str, Envelope], ...] = ()


class _Question(NamedTuple):
    """What is asked for in one message."""

    stream: Stream
    inbox: Inbox | None
    """The one that is unsure, and asks for itself."""
    part: int
    """Of inboxes that together hear more than one question has room for."""


class _Missing:
    """The numbers that inboxes wait for, and what these hear."""

    def __init__(self) -> None:
        self.holes: list[list[Range]] = []
        self.hears: dict[str, None] = {}
        self._size_bytes = 0

    def takes(self, inbox: Inbox, holes: list[Range]) -> bool:
        """Add an inbox, unless there is no room for what it hears."""
        new = [each for each in _heard(inbox) if each not in self.hears]
        size_bytes = self._size_bytes + sum(len(each.encode()) for each in new)
        if self.hears and (size_bytes > _HEARS_BYTES or len(self.hears) + len(new) > MAX_HEARD):
            return False
        self.holes.append(holes)
        self.hears.update(dict.fromkeys(new))
        self._size_bytes = size_bytes
        return True


@dataclass
class _Asking:
    """When a stream's holes are asked for next, and the pause after that."""

    at: float
    pause_s: float = _FIRST_PAUSE_S
    numbers: Sequence[Range] = ()
    """What was asked for."""


class Repair:
    """Asks for what a node's inboxes miss, and answers what other nodes' inboxes miss.

    Its thread looks at the inboxes while one of them misses something, and has charts that fell
    silent say their number every `interval_s`, when it also calls `also`. What is missing for
    `timeout_s` is given up, but never before the node has been connected for so long: `whole_since`
    is the (monotonic) time from which it could send and receive, None while it cannot.
    """

    def __init__(
        self,
        network: Network[RepairMessage],
        mesh: Mesh,
        history: History,
        inboxes: Callable[[], Iterable[Inbox]],
        *,
        interval_s: float,
        timeout_s: float,
        message_bytes: int,
        whole_since: Callable[[], float | None],
        also: Callable[[], None] = lambda: None,
        old_frames: bool = False,
    ) -> None:
        self._network = network
        self._freshness = network.freshness()
        self._mesh = mesh
        self._identity: Identity = mesh.identity
        self._history = history
        self._inboxes = inboxes
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        # Set from any thread, and read once for an answer.
        self._message_bytes = message_bytes
        self._whole_since = whole_since
        self._also = also
        # Written for those who know one destination of a chart.
        self._old_frames = old_frames
        # Used on the thread of repair alone.
        self._asking: dict[_Question, _Asking] = {}
        self._doubts_at = 0.0
        # Used on the subscriber's thread alone.
        self._heard: Streams[None] = Streams(1_000)
        self._answer_bytes = max(history.max_bytes, _LEAST_BYTES)
        self._for_all = self._allowance(_ALL_A_SECOND)
        # By the incarnation that asks, the one that asked last at the end.
        self._for_one: OrderedDict[str, Allowance] = OrderedDict()
        self._wake = threading.Event()
        name = f"mesh-{self._identity.node}-repair"
        self._thread = OwnedThread(name, self._run, self._wake.set)

    @property
    def routing_key(self) -> str:
        """Return the topic of repair messages for this node."""
        return self._identity.incarnation

    def start(self) -> None:
        """Start the thread; a second call does nothing."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End the thread; waits for it `timeout_s` at most."""
        self._thread.stop(timeout_s)

    def look(self) -> None:
        """Wake the thread: an inbox misses events. From any thread."""
        self._wake.set()

    def refused(self, size_bytes: int) -> None:
        """Say less at once from now on: a broker refuses a message of this size.

        The events of that message are asked for again, and then sent in portions of half the size;
        of one event at least.
        """
        self._message_bytes = min(self._message_bytes, size_bytes // 2)

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery from the node's queue of repair; called on the subscriber's thread."""
        messages = self._network.open(delivery, self._freshness).messages
        for message in messages:
            # A stranger can replay here a frame that was sealed for another node.
            if message.to == self._identity.incarnation and self._is_new(message):
                self._hear(message)
        if messages:
            delivery.ack()

    def _run(self) -> None:
        beat_at = time.monotonic() + self._interval_s
        while not self._thread.stopping.is_set():
            now = time.monotonic()
            missing: Mapping[_Question, _Missing] = {}
            doubtful = False
            try:
                if now >= beat_at:
                    beat_at = now + self._interval_s
                    self._mesh.beat()
                    self._also()
                missing = self._missing(now)
                self._ask(missing, now)
                doubtful = self._ask_for_doubts(now)
            except Exception:
                logger.exception("%s: an error of the library; it tries again", self._thread.name)
            self._wake.wait(_LOOK_S if missing or doubtful else max(beat_at - now, _LOOK_S))
            # Right after the wait: a wake from here on, of `stop` too, ends the next one at once.
            self._wake.clear()

    def _missing(self, now: float) -> Mapping[_Question, _Missing]:
        """Let inboxes give up what is missing for too long; return what they wait for."""
        missing: defaultdict[_Question, _Missing] = defaultdict(_Missing)
        since = self._whole_since()
        if since is None:
            # No answer would arrive; and what was not acknowledged comes again by itself.
            return missing
        for inbox in self._inboxes():
            if since < now - self._timeout_s:
                inbox.expire(now - self._timeout_s)
            if since < now - _UNANSWERED_S:
                inbox.pass_old(now - _UNANSWERED_S)
            for stream, holes in inbox.holes().items():
                asker = inbox if inbox.unsure(stream) else None
                parts = (_Question(stream, asker, part) for part in count())
                next(each for each in parts if missing[each].takes(inbox, holes))
        return missing

    def _ask(self, missing: Mapping[_Question, _Missing], now: float) -> None:
        """Ask each sender whose turn it is, with a pause that doubles while it does not answer."""
        # Streams that miss nothing any more are left out, and begin with short pauses the next
        # time. So do those that miss nothing more of what was asked for: the sender has answered,
        # and where the broker hands out little ahead the next loss shows only then.
        self._asking = {
            each: self._under_way(each, wanted) or _Asking(now + _FIRST_ASK_S)
            for each, wanted in missing.items()
        }
        due = (each for each in self._asking.items() if now >= each[1].at)
        for each, asking in islice(due, _MOST_QUESTIONS):
            asking.at = now + asking.pause_s
            asking.pause_s = min(asking.pause_s * 2, _LONGEST_PAUSE_S)
            inbox, (incarnation, _) = each.inbox, each.stream
            # Merged, since several charts may miss the same. What one message has no room for
            # is asked for later.
            numbers = merged(chain(*missing[each].holes))[: self._most_ranges]
            asking.numbers = numbers
            listener = _Listener(inbox.chart, inbox.listening_s(now)) if inbox else None
            routes = None if self._old_frames else _Routes(tuple(missing[each].hears))
            self._send(incarnation, "ask", each.stream, numbers, listener=listener, routes=routes)

    def _under_way(self, question: _Question, missing: _Missing) -> _Asking | None:
        """Return how a question was asked whose answer is still waited for."""
        asking = self._asking.get(question)
        if asking and asking.numbers and not shared(merged(chain(*missing.holes)), asking.numbers):
            return None
        return asking

    def _ask_for_doubts(self, now: float) -> bool:
        """Ask senders which of the frames in doubt are new; return whether any are in doubt."""
        in_doubt = [inbox for inbox in self._inboxes() if inbox.in_doubt]
        if self._whole_since() is None:
            # No answer would arrive.
            return False
        for inbox in in_doubt:
            inbox.doubt_no_longer(now - _UNANSWERED_S)
        if in_doubt and now >= self._doubts_at:
            self._doubts_at = now + _FIRST_PAUSE_S
            for inbox in in_doubt:
                listener = _Listener(inbox.chart, inbox.listening_s(now))
                asked = inbox.doubts(listener.listening_s, self._most_ranges)
                for sender, marks in asked.items():
                    stream, numbers = (sender, inbox.chart), [(mark, mark) for mark in marks]
                    self._send(sender, "vouch", stream, numbers, listener=listener)
        return bool(in_doubt)

    def _hear(self, message: RepairMessage) -> None:
        if message.kind == "ask":
            self._answer(message)
        elif message.kind == "vouch":
            self._vouch(message)
        elif message.kind == "ours":
            self._hear_ours(message)
        else:
            self._hear_answer(message)

    def _hear_ours(self, message: RepairMessage) -> None:
        if isinstance(message, ListenerRepair):
            ages_s = {mark: (age - 1) / _VOUCHED_S for mark, age in message.numbers}
            for inbox in self._inboxes():
                if inbox.chart == message.listener:
                    inbox.vouched(message.incarnation, message.listening_s, ages_s)

    def _hear_answer(self, message: RepairMessage) -> None:
        if message.incarnation != message.stream[0]:
            # Any node with the key can say so, but only the sender of a stream knows what it has.
            return
        for inbox in self._inboxes():
            if not self._is_for(inbox, message):
                continue
            if message.kind == "again":
                self._count(inbox.repair(_events_of(message)))
            if message.numbers:
                inbox.skip(message.stream, message.numbers)
            if isinstance(message, RoutedRepair) and message.others and _speaks_of(message, inbox):
                inbox.others(message.stream, message.others)

    def _is_for(self, inbox: Inbox, message: RepairMessage) -> bool:
        """Whether an inbox may believe an answer; first it passes over what is not owed to it."""
        if not isinstance(message, ListenerRepair) or not message.listener:
            return not inbox.unsure(message.stream)
        if inbox.chart != message.listener:
            return False
        travelled_s = inbox.listening_s(time.monotonic()) - message.listening_s
        # Also of the first chart of this name, which listened before this one began.
        fresh = 0 <= travelled_s <= _FRESH_S
        if fresh:
            inbox.pass_over(message.stream, message.before)
        return fresh

    def _count(self, events: int) -> None:
        if events:
            self._mesh.observer.repaired(network=self._mesh.network.name, events=events)

    def _vouch(self, question: RepairMessage) -> None:
        """Say how long ago frames were published, that a chart of another node asks for."""
        if not isinstance(question, ListenerRepair):
            return
        ages = self._mesh.network.ages(mark for mark, _ in question.numbers)
        numbers = [(mark, 1 + int(age_s * _VOUCHED_S)) for mark, age_s in ages.items()]
        listener = _Listener(question.listener, question.listening_s)
        self._send(question.incarnation, "ours", question.stream, numbers, listener=listener)

    def _answer(self, message: RepairMessage) -> None:
        """Send the events that are asked for, and the numbers of those that are forgotten."""
        incarnation, chart = message.stream
        if incarnation != self._identity.incarnation:
            return
        bytes_left = self._bytes_left(message)
        if bytes_left <= 0:
            return
        # In this order: what is sent meanwhile has a later number.
        last = self._mesh.network.sequence_of(chart)
        since, listener = -math.inf, None
        if isinstance(message, ListenerRepair) and message.listener:
            since = time.monotonic() - message.listening_s
            before = self._history.sent_before(chart, since, last)
            listener = _Listener(message.listener, message.listening_s, before)
        sought = self._sought(message, chart, since)
        found = sought.found
        again = self._affordable(found[:_EVENTS_PER_ANSWER], message, bytes_left, sought.cost)
        if len(found) > len(again):
            # Older nodes take what is below the last number that is gone as gone, too.
            last = again[-1][1].sequence
        has = [(each.sequence, each.sequence) for each in found]
        if listener:
            has.append((0, listener.before))
        absent = shared(message.numbers, outside(has, last))
        for portion in self._portions(again):
            self._send_again(message, portion, listener)
        self._send_gone(message, absent, sought.others, listener)

    def _sought(self, question: RepairMessage, chart: str, since: float) -> _Sought:
        """Look for what is asked for, as far as it was for who asks."""
        # Who knows no destinations hears topics alone, and all of them.
        heard = Hearing(question.hears if isinstance(question, RoutedRepair) else ("#",))
        destinations = self._mesh.network.destinations(chart)
        sent = self._history.find(chart, question.numbers, since)
        # Each once: there may be many, and many patterns to compare them with.
        places = {each for each, _ in destinations.known} | {each.destination for each in sent}
        own = set(filter(heard, places))
        elsewhere = [(each.sequence, each.sequence) for each in sent if each.destination not in own]
        # What is behind the last that may have been for them, and what went elsewhere.
        others = [(destinations.last_for(own.__contains__) + 1, MAX_SEQUENCE), *elsewhere]
        found = [each for each in sent if each.destination in own]
        return _Sought(found, others, len(places) * heard.size * _COMPARISON_BYTES)

    def _send_gone(
        self,
        question: RepairMessage,
        absent: Sequence[Range],
        others: Sequence[Range],
        listener: _Listener | None,
    ) -> None:
        """Say which numbers do not come: those that are gone, and those that were for others."""
        to, stream = question.incarnation, question.stream
        if isinstance(question, RoutedRepair):
            most, not_theirs = self._most_ranges // 2, shared(absent, others)
            gone = without(absent, not_theirs)
            hears = question.hears if not_theirs else ()
            routes = _Routes(hears, tuple(not_theirs[:most]))
            if gone or not_theirs or listener:
                self._send(to, "gone", stream, gone[:most], listener=listener, routes=routes)
        elif absent or listener:
            self._send(to, "gone", stream, absent[: self._most_ranges], listener=listener)

    def _send_again(
        self,
        question: RepairMessage,
        events: Sequence[tuple[str, Envelope]],
        listener: _Listener | None,
    ) -> None:
        to, stream = question.incarnation, question.stream
        if isinstance(question, RoutedRepair):
            routes = _Routes(routed=tuple(events))
            self._send(to, "again", stream, listener=listener, routes=routes)
        else:
            plain = [_plain(event) for _, event in events]
            self._send(to, "again", stream, events=plain, listener=listener)

    def _bytes_left(self, question: RepairMessage) -> float:
        """Return how many bytes an answer may have now; count a question that gets none."""
        now = time.monotonic()
        asker = question.incarnation
        one = self._for_one.setdefault(asker, self._allowance(_ONE_A_SECOND))
        self._for_one.move_to_end(asker)
        if len(self._for_one) > _MOST_ASKERS:
            self._for_one.popitem(last=False)
        left = min(one.left(now), self._for_all.left(now))
        if left <= 0:
            # It is asked again after a pause.
            self._refuse(
                "repair_limit",
                f"node {printable(question.node)} asks for more than is given at once",
            )
        return left

    def _affordable(
        self,
        events: Sequence[Sent],
        question: RepairMessage,
        bytes_left: float,
        cost: int,
    ) -> list[tuple[str, Envelope]]:
        """Return the first of these events, one at least, and take what they have cost."""
        again, cost = list[tuple[str, Envelope]](), _QUESTION_BYTES + cost
        for destination, _, encoded in events:
            if cost >= bytes_left and again:
                break
            (event,) = self._mesh.network.decoded((encoded,))
            cost += len(event.payload) + _EVENT_BYTES
            again.append((destination, kept(event)))
        self._for_one[question.incarnation].take(cost)
        self._for_all.take(cost)
        return again

    def _allowance(self, a_second: float) -> Allowance:
        kept = self._answer_bytes
        return Allowance(_AT_ONCE * kept, a_second * kept, time.monotonic())

    def _refuse(self, reason: str, said: str) -> None:
        self._mesh.observer.dropped(network=self._network.name, reason=reason, events=1)
        self._network.complain(reason, said)

    @property
    def _most_ranges(self) -> int:
        """How many ranges one message may have, which with small settings is no large one."""
        # The network takes an envelope more, of which names need a part.
        return min((self._message_bytes + ENVELOPE_BYTES // 2) // _RANGE_BYTES, MAX_RANGES)

    def _portions(
        self, events: Sequence[tuple[str, Envelope]]
    ) -> Iterator[tuple[tuple[str, Envelope], ...]]:
        """Split events so that each part fits into one message."""
        portion, size_bytes = list[tuple[str, Envelope]](), 0
        for each in events:
            event_bytes = _most_bytes(*each)
            # One event always fits: the network takes `message_bytes` and an envelope more.
            if portion and size_bytes + event_bytes > self._message_bytes:
                yield tuple(portion)
                portion, size_bytes = [], 0
            portion.append(each)
            size_bytes += event_bytes
        if portion:
            yield tuple(portion)

    def _is_new(self, message: RepairMessage) -> bool:
        """Whether it was not heard before: a replayed question gets no second answer."""
        sender = message.incarnation, message.chart
        admission, _ = self._heard.admit(sender, message.sequence, None, time.monotonic())
        if admission is Admission.JUMP:
            self._refuse(
                Admission.JUMP.value,
                f"a message of node {printable(message.node)} has a number so far above the last "
                "one that no node comes there",
            )
        # The numbers between are no holes: they went to other nodes.
        self._heard.skip(sender, [(1, message.sequence)])
        return admission is Admission.NEW

    def _send(
        self,
        to: str,
        kind: RepairKind,
        stream: Stream,
        numbers: Sequence[Range] = (),
        events: Sequence[Envelope] = (),
        listener: _Listener | None = None,
        routes: _Routes | None = None,
    ) -> None:
        node, incarnation = self._identity.node, self._identity.incarnation
        origin = node, node, incarnation, UNNUMBERED
        fields = *origin, to, kind, stream, tuple(numbers), tuple(events)
        message: RepairMessage
        if routes:
            message = RoutedRepair(*fields, *(listener or _Listener("", 0.0)), *routes)
        else:
            message = ListenerRepair(*fields, *listener) if listener else RepairMessage(*fields)
        self._network.send(to, message, counted=False)


def _plain(event: Envelope) -> Envelope:
    """Return the event for those who know no destinations."""
    return event.untraced() if isinstance(event, TracedEnvelope) else event


def _most_bytes(destination: str, event: Envelope) -> int:
    """Return how many bytes an event takes in an answer at most."""
    size_bytes = len(event.payload) + KEPT_ENVELOPE_BYTES + len(destination.encode())
    if isinstance(event, RoutedEnvelope):
        size_bytes += len(event.to.encode()) + len((event.reply_to or "").encode())
    return size_bytes


def _heard(inbox: Inbox) -> Collection[str]:
    """Return what an inbox hears, or more where that is too long for a question."""
    if sum(len(each.encode()) for each in inbox.hears) <= _HEARS_BYTES:
        return inbox.hears
    return ["#", *filter(is_direct, inbox.hears)]


def _speaks_of(answer: RoutedRepair, inbox: Inbox) -> bool:
    """Whether an answer says what was for others than an inbox: the question may not be its own.

    Others of the node ask too, and this one may have begun to miss something since.
    """
    asked = set(answer.hears)
    return all(each in asked or ("#" in asked and not is_direct(each)) for each in inbox.hears)


def _events_of(answer: RepairMessage) -> Iterable[tuple[str, Envelope]]:
    """Return the events of an answer, each with its destination; empty where that is not told."""
    if isinstance(answer, RoutedRepair):
        return answer.routed
    # Of who knows one for each chart.
    return (("", event) for event in answer.events)
