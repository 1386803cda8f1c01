"""A chart's FIFO that knows which event is being handled, what caused it, and when it is done."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from miros import Event

from miros_mesh.networks.arrival import Arrival
from miros_mesh.observer import NO_SPAN, Span
from miros_mesh.statechart.events import named, twin
from miros_mesh.statechart.mailbox import Mailbox

# Received events wait in the inbox once this many events wait in the FIFO: the rest of miros'
# 500 places are for the chart's own, and a full FIFO overwrites its newest event.
HIGH_WATER = 100


@dataclass(frozen=True, slots=True)
class Mark:
    """Which event this is, and which one caused it."""

    id: str
    cause: str | None = None
    arrival: Arrival | None = None


def event_of(arrival: Arrival) -> Any:
    """Make the miros event of a received one."""
    # miros' `cancel_events` compares names with `is` (4.2.1), and one off the wire is a string of
    # its own. It may even become the name in the signal table, against which the literals of the
    # program's source are compared from then on.
    return named(sys.intern(arrival.envelope.signal), arrival.payload)


class ChartQueue(Mailbox):
    """A mailbox that knows which event is handled, what caused it, and when it is done.

    `finished` is called after each handled event, with its arrival if it was received and not
    deferred; `crowded_out` with a received event whose place one of the chart's own has taken, and
    `lost` with one of its own for which there is none. `follow` begins the span in which a received
    event is handled.

    | miros calls, on the chart's thread | `current` is |
    | --- | --- |
    | `begin`, from the thread that starts the chart | the start |
    | `popleft` | the event that was taken |
    | `task_done`, after its run to completion | none |

    Other threads post, and read `room`, `handled`, `done`, `to_do`, `at_work` and `last_signal`.
    What is set on the chart's thread needs no lock: only these are read elsewhere, each in one
    step.
    """

    def __init__(
        self,
        finished: Callable[[Arrival | None], None],
        crowded_out: Callable[[Arrival], None] = lambda _: None,
        follow: Callable[[Arrival], Span] = lambda _: NO_SPAN,
        lost: Callable[[Any], object] = lambda _: None,
    ) -> None:
        super().__init__()
        self._finished = finished
        self._crowded_out = crowded_out
        self._follow = follow
        self._lost = lost
        self._span = NO_SPAN
        self._prefix = ""
        # This and the next are set on the chart's thread, and read on the recorder's.
        self._handled = 0
        self._done = 0
        self._busy = False
        """Whether an event is being taken or handled. Set before it is out of the deque."""
        self.last_signal = ""
        """Of the event that is or was handled last."""
        self._event: Any = None
        """What the handlers are given."""
        self._arrival: Arrival | None = None
        """What that is of."""
        self._mark: Mark | None = None
        """Once it was asked for."""
        self._recalled: tuple[Any, Arrival] | None = None
        self._deferred = False
        """Whether they have deferred it, so that it is not done when they are."""
        # The thread that handles it: first the one that starts the chart, for which the
        # chart's own waits until `end_of_start`.
        self._thread = 0

    @property
    def room(self) -> int:
        """How many received events fit in at this moment; below zero when they are too many."""
        # Without the lock, and so true for the moment only: an inbox asks while it holds its own
        # lock, and takes back what has found no place.
        return HIGH_WATER - len(self.deque)

    @property
    def handled(self) -> int:
        """How many events the chart has taken since it was made."""
        return self._handled

    @property
    def done(self) -> int:
        """How many events have been run to completion, or ended by an error."""
        return self._done

    @property
    def to_do(self) -> int:
        """How many events wait or are being handled."""
        # In this order: one that is taken meanwhile is counted twice, and never not at all.
        return len(self) + self._busy

    @property
    def at_work(self) -> str:
        """The id of the event that is being handled; empty while there is none. From any thread."""
        # Without a lock: what is read meanwhile may be of the next event, which is at work as well.
        arrival = self._arrival
        if not self._busy:
            return ""
        return arrival.id if arrival else f"{self._prefix}/local-{self._handled}"

    @property
    def current(self) -> Mark | None:
        """The event that the calling thread handles; None on any other thread than the chart's."""
        if threading.get_ident() != self._thread:
            return None
        if self._mark is None and self._event is not None:
            # Not before it is asked for: of most events it never is.
            self._mark = self._mark_of(self._event, self._arrival)
        return self._mark

    @property
    def handling(self) -> bool:
        """Whether the calling thread handles an event, or starts the chart."""
        # Nearly always neither, when it is asked.
        within = self._event is not None or self._mark is not None
        return within and threading.get_ident() == self._thread

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Let a handler run the next event before its own is done, and settle that one."""
        outer = self._event, self._arrival, self._mark, self._deferred, self._span
        busy, running = self._busy, self._handled - self._done
        self._end_event()
        self._deferred, self._span = False, NO_SPAN
        yield
        # Not after an error: it is the inner event that is told of then.
        self.task_done()
        # Whatever it has run is done, each once.
        self._done = self._handled - running
        self._event, self._arrival, self._mark, self._deferred, self._span = outer
        self._busy = busy

    def begin(self, prefix: str) -> None:
        """Begin the chart's start on the calling thread; `prefix` makes its event ids unique."""
        self._prefix = prefix
        self._thread = threading.get_ident()
        self._mark = Mark(f"{prefix}/start")

    def end_of_start(self) -> None:
        """End what `begin` has begun: events cause events from now on."""
        self._mark = None

    def popleft(self) -> Any:
        """Take the next event to handle (miros calls it on the chart's thread)."""
        self._busy = True
        try:
            with self._changing:
                # As the mailbox's own, without one more call for each event.
                item: Any = self.deque.popleft()
        except IndexError:
            # The mailbox was closed meanwhile.
            self._busy = False
            raise
        self._thread = threading.get_ident()
        self._handled += 1
        self.last_signal = item.signal_name
        self._mark = None
        self._deferred = False
        if isinstance(item, Arrival):
            self._arrival = item
            self._span = self._follow(item)
            # Handlers and the spy never see an Arrival.
            item = event_of(item)
        self._event = item
        return item

    def take_expired(self) -> Arrival | None:
        """Take the next event out if it is a received one that is too old; return it then."""
        # First without the lock: nearly none has a limit. Whatever stands in front by then is
        # looked at in its own turn.
        try:
            first = self.deque[0]
        except IndexError:
            return None
        if not (isinstance(first, Arrival) and first.may_expire):
            return None
        item = self.take_if(_is_expired)
        return item if isinstance(item, Arrival) else None

    def deferring(self, event: Any) -> Arrival | None:
        """Return what the event came by that the chart handles, and defers: it is not done then."""
        if event is not self._event or self._deferred or threading.get_ident() != self._thread:
            return None
        self._deferred = self._arrival is not None
        return self._arrival

    def recalled(self, event: Any, arrival: Arrival) -> None:
        """Take the next post of this event, by which the chart recalls it, as what it came by."""
        self._recalled = event, arrival

    def append(self, item: Any) -> None:
        """Post an event at the end (miros' post_fifo)."""
        # One that was received takes no place: it is taken back, and stays behind those before it.
        displace = not isinstance(item, Arrival)
        recalled = self._recalled
        if recalled is not None and recalled[0] is item:
            # Not by any other post: another thread may come between.
            self._recalled = None
            item = recalled[1]
        elif self._thread == threading.get_ident():
            item = self._caused(item)
        # miros overwrites the newest event too, and now and then the oldest.
        lost = self.put(item, displace=displace)
        if lost is not None:
            self._give_up(lost)

    def appendleft(self, item: Any) -> None:
        """Post an event at the front (miros' post_lifo)."""
        self._give_up(self.put_first(self._caused(item)))

    def task_done(self) -> None:
        """Settle the event that was run to completion (miros calls it on the chart's thread)."""
        # Before `_finished`: the node's signals that it posts were not caused by this event.
        arrival = self._end_event()
        if self._span is not NO_SPAN:
            self._end_span()
        self._finished(None if self._deferred else arrival)
        self._end_work()

    def broken_off(self, error: BaseException) -> Arrival | None:
        """End the span of the event whose handler raised; return it if it was received.

        `task_done`, if it comes at all, does not settle it.
        """
        self._end_span(error)
        arrival = self._end_event()
        self._end_work()
        return arrival

    def _end_event(self) -> Arrival | None:
        arrival, self._arrival = self._arrival, None
        self._event = self._mark = None
        return arrival

    def _end_work(self) -> None:
        # In this order: who sees that it rests sees what it has done.
        if self._busy:
            self._done += 1
            self._busy = False

    def _give_up(self, event: Any) -> None:
        """Give a received event that has found no place back; tell of one of the chart's own."""
        if isinstance(event, Arrival):
            self._crowded_out(event)
        elif event is not None:
            self._lost(event)

    def _end_span(self, error: BaseException | None = None) -> None:
        span, self._span = self._span, NO_SPAN
        span.end(error=error)

    def _mark_of(self, event: Any, arrival: Arrival | None) -> Mark:
        if arrival:
            return Mark(arrival.id, arrival.envelope.cause, arrival)
        # What only looks like an event may have no attributes.
        cause = getattr(event, "__dict__", {}).get("mesh_cause")
        return Mark(f"{self._prefix}/local-{self._handled}", cause)

    def _caused(self, item: Any) -> Any:
        """Return the event with the id of the one that is being handled, which has caused it."""
        # A copy, since a program may post one event object as often as it likes.
        current = self.current
        if current is None or not isinstance(item, Event):
            # An arrival says for itself what has caused it, and what only looks like an event
            # to miros has no place for it.
            return item
        copy = twin(item)
        vars(copy)["mesh_cause"] = current.id
        return copy


def _is_expired(item: Any) -> bool:
    return isinstance(item, Arrival) and item.may_expire and item.inbox.is_expired(item.envelope)
