"""What has come for one stream of events of a client, until the program asks for it."""

from __future__ import annotations

import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from miros_mesh.clients.message import Message
from miros_mesh.errors import StreamInUseError
from miros_mesh.networks.arrival import Arrival, Reason
from miros_mesh.networks.received import received
from miros_mesh.node.session import Session, Work
from miros_mesh.statechart.reserved import RESERVED_SIGNALS

# More wait undecoded in the inbox, as many as the broker hands out ahead, and the rest there.
MOST_READY: Final = 100
# Of the library's signals; a program that is behind by so many learns more from the newest.
MOST_NOTICES: Final = 100


class Reader:
    """Hands out events one after the other, and has each acknowledged once it was handled.

    An event is handled when the next one is asked for, or when `handled` says so. Who asks is a
    `holder`: a thread or a task. Threads that wait for events wait for `changed`; a loop is told of
    each change by `changed_elsewhere`, which is called on any thread, under no lock.

    What comes from `ignored`, a chart of this process, is the client's own, and dropped: who speaks
    does not hear itself.
    """

    def __init__(self, ignored: str = "") -> None:
        self.ignored = ignored
        self.changed = threading.Condition()
        """Notified when something comes, when it ends, and when what was handed out is handled."""
        self.changed_elsewhere: Callable[[], object] = lambda: None
        self.session: Session | None = None
        """Set by `feed_from`."""
        # All that follows is guarded by `changed`. Of the inbox nothing is called under it.
        self._ready: deque[Arrival | Message] = deque()
        self._given: Arrival | None = None
        """What was handed out and is not handled."""
        self._holder: object = None
        self._waits = False
        """Whether somebody waits for the next event."""
        self.ended = False
        """Whether nothing more is handed out. It ends once."""

    def feed_from(self, session: Session) -> None:
        """Get events of this session from now on."""
        self.session = session
        session.work = self._work

    def _work(self) -> Work:
        # What waits for the program to ask is put off, and not on its way.
        with self.changed:
            waiting = [*self._ready, self._given]
        arrivals = (each for each in waiting if isinstance(each, Arrival))
        return Work(deferred=len({id(ticket) for each in arrivals for ticket in each.tickets}))

    def room(self) -> int:
        """Return how many events may come now."""
        # In one step, without the lock: the inbox asks under its own.
        return MOST_READY - len(self._ready)

    def __len__(self) -> int:
        """How many events wait here to be asked for."""
        return len(self._ready)

    def post(self, arrival: Arrival) -> None:
        """Take an event; called by the inbox while there is room."""
        session = self.session
        if session is None:
            # Nothing is posted before the inbox is opened.
            return
        event = arrival.envelope
        if event.chart == self.ignored and event.incarnation == session.node.identity.incarnation:
            arrival.inbox.finished(arrival)
        elif welcome(arrival, session):
            self.put(arrival)

    def put(self, item: Arrival | Message) -> None:
        """Let something wait until it is asked for."""
        with self.changed:
            # Once it has ended: the broker keeps it, or it goes with its queue.
            if not self.ended:
                self._ready.append(item)
                self.changed.notify_all()
        self.changed_elsewhere()

    def put_notice(self, notice: Message) -> None:
        """Let a signal of the library wait; of too many the oldest goes."""
        with self.changed:
            notices = [each for each in self._ready if isinstance(each, Message)]
            if len(notices) >= MOST_NOTICES:
                self._ready.remove(notices[0])
        self.put(notice)

    def take(self, holder: object) -> Message | None:
        """Return the next event and have the one before acknowledged; None while there is none."""
        self.handled()
        while True:
            with self.changed:
                if self.ended or not self._ready:
                    return None
                item = self._ready.popleft()
                if isinstance(item, Message):
                    return item
                self._given, self._holder = item, holder
            if not self._set_aside_expired(item):
                return Message(item.signal_name, item.payload, received(item))

    def handled(self) -> None:
        """Have the event acknowledged that was handed out last; again it does nothing."""
        if given := self._take_given():
            given.inbox.finished(given)
        if self.session:
            # There may be room now; where nothing waits this costs next to nothing.
            self.session.feed()

    @contextmanager
    def waiting_alone(self) -> Iterator[None]:
        """Wait for an event in here; raises `StreamInUseError` where somebody else waits."""
        with self.changed:
            if self._waits:
                raise StreamInUseError(
                    "two threads or tasks ask one stream for the next event; open a stream for "
                    "each with events(), or let one read and hand on"
                )
            self._waits = True
        try:
            yield
        finally:
            with self.changed:
                self._waits = False

    def ring(self) -> None:
        """Have those who wait look again, since something else has changed."""
        with self.changed:
            self.changed.notify_all()
        self.changed_elsewhere()

    def end(self) -> None:
        """Hand out nothing more; returns at once. What waits here is not handled."""
        with self.changed:
            self.ended = True
            self._ready.clear()
            self.changed.notify_all()
        self.changed_elsewhere()

    def let_go(self) -> None:
        """Have none wait for what was handed out: who has it asks for no more."""
        self.forsake()
        self.ring()

    def forsake(self) -> None:
        """Do as `let_go`, for waits to come; a collector of garbage may call it under any lock."""
        self._holder = None

    def wait_handled(self, by: float, holder: object) -> None:
        """Wait until what was handed out is handled, until then (monotonic) at most.

        Does not wait for `holder`, who is the one that waits.
        """
        with self.changed:
            self.changed.wait_for(
                lambda: self._given is None or self._holder in (None, holder),
                max(by - time.monotonic(), 0),
            )

    def put_back(self) -> None:
        """Let what was handed out, and is not handled, wait again in front of the others."""
        with self.changed:
            given, self._given, self._holder = self._given, None, None
            if given:
                self._ready.appendleft(given)
        self.ring()

    def drop_first(self) -> Arrival | Message | None:
        """Take out what waits for longest; None when nothing waits."""
        with self.changed:
            return self._ready.popleft() if self._ready else None

    def _take_given(self) -> Arrival | None:
        with self.changed:
            given, self._given, self._holder = self._given, None, None
            if given:
                self.changed.notify_all()
            return given

    def _set_aside_expired(self, arrival: Arrival) -> bool:
        """Set aside what is older than its sender lets it be; whether it is."""
        if not (arrival.may_expire and arrival.inbox.is_expired(arrival.envelope)):
            return False
        self._take_given()
        arrival.inbox.expired(arrival)
        if self.session:
            self.session.feed()
        return True


def welcome(arrival: Arrival, session: Session) -> bool:
    """Count an event that enters; one under a signal of miros or of the library is set aside."""
    event = arrival.envelope
    if event.signal in RESERVED_SIGNALS:
        arrival.inbox.set_aside(arrival, Reason("reserved_signal"))
        return False
    session.handed_over(event)
    return True


def warn_of_open_stream() -> None:
    """Warn a program, where Python shows such warnings, that it has left a stream open."""
    warnings.warn(
        "a stream of events() was let go of and not closed: events wait in its queue until the "
        "client is closed; use `with client.events(...) as events`",
        ResourceWarning,
        stacklevel=3,
    )
