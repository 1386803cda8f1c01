"""A client's place on its node: what it sends, what comes for it, and how it ends."""

from __future__ import annotations

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from miros_mesh.address import validate_routing_key, validate_routing_patterns
from miros_mesh.clients.asked import Asked
from miros_mesh.clients.message import Message, Sendable
from miros_mesh.clients.reader import Reader, welcome
from miros_mesh.config.names import checked_name
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import (
    AlreadyStartedError,
    ChartNameTakenError,
    ForkedError,
    LinkError,
    MeshError,
    NotStartedError,
    StoppedError,
    StreamInUseError,
)
from miros_mesh.health import Health
from miros_mesh.networks.arrival import Arrival, Reason
from miros_mesh.networks.network import COMPLAIN_EVERY_S
from miros_mesh.networks.received import (
    EVERYONE,
    Everyone,
    Received,
    address_of,
    received,
    wanting_reply,
)
from miros_mesh.node.node import break_off, join
from miros_mesh.node.queues import topics_of
from miros_mesh.node.registry import Ending
from miros_mesh.node.session import Session
from miros_mesh.report import StopReport
from miros_mesh.signals import NO_LISTENER
from miros_mesh.statechart.reserved import checked
from miros_mesh.text import logger_of
from miros_mesh.timing.throttle import Throttle
from miros_mesh.wire.envelope import RoutedEnvelope

logger = logger_of(__name__)

DEFAULT_NAME: Final = "client"
# Less than a chart's by what the names of its streams add to it.
LONGEST_NAME_BYTES: Final = 120
# Of events that are for this client alone, while no stream asks for them. Few, since a broker that
# hands out so many frames and hears of none brings no answers either.
MOST_UNREAD: Final = 16


class Participant:
    """One client of a node: `start`, then everything else, then `close`. Thread-safe.

    | `_session` | `_stopped` | the client is |
    | --- | --- | --- |
    | None | no | new, or it failed to start |
    | set | no | on the mesh |
    | set | yes | closing, in this thread or another |
    | None | yes | closed, for good |

    Locks: `_ending` first, then those of readers, the registry, the node and its parts.
    """

    def __init__(self, config: MeshConfig | None, name: str | None, topic: str) -> None:
        self.config = config or MeshConfig.from_env()
        self.topic = validate_routing_key(topic)
        if name:
            checked_name(name, "client", LONGEST_NAME_BYTES)
        self._names = _Names(name or DEFAULT_NAME, several=not name)
        self.name = name or DEFAULT_NAME
        """As others see it; without one of its own it is settled by `start`."""
        # Both are read on any thread, without a lock, each in one step.
        self._session: Session | None = None
        self._stopped = False
        self._starts = threading.Lock()
        """Held by the thread that starts the client; only ever tried."""
        # Held while the client closes, and for the last step of its start. Reentrant: a signal
        # handler may close it below a close.
        self._ending = threading.RLock()
        self._report = StopReport()
        self._ends = Ending(self._begin_end, self.close, lambda: self._stopped)
        self._own = Reader()
        """Of what is for this client alone."""
        self._own_is_read = False
        # By the patterns of those that were opened. Changed under `_ending`.
        self._readers: list[tuple[Reader, Ending]] = []
        self._complaints = Throttle(COMPLAIN_EVERY_S)

    def start(self) -> None:
        """Join the mesh. Raises as `MeshClient.start` says."""
        self._refuse_fork("start")
        if self._stopped:
            raise StoppedError(f"client {self.name} was closed; make a new one")
        if self._session or not self._starts.acquire(blocking=False):
            raise AlreadyStartedError(f"client {self.name} runs already; start it once")
        try:
            with self._blaming_close():
                self._session = session = self._joined(self._names, (), self._ends, self._own)
        finally:
            self._starts.release()
        self.name = session.chart
        with self._ending:
            if self._stopped:
                self._close()
                raise StoppedError(f"client {self.name} was closed while it started")
            self._own.feed_from(session)
            session.open(self._notice)

    def close(self, holder: object = None) -> StopReport:
        """Leave the mesh; `holder` is who closes, and may have an event of a stream in hand."""
        self._refuse_fork("close")
        self._stopped = True
        with self._ending:
            return self._close(holder or threading.get_ident())

    def send(
        self,
        event: Sendable,
        *,
        routing_key: str | None = None,
        to: str | Received | Everyone = EVERYONE,
        ttl_s: float | None = None,
    ) -> str:
        """Send an event; return its id."""
        session = self.live("send")
        signal, payload = checked(event)
        return session.transmit(
            signal, payload, None, routing_key=routing_key, to=address_of(to), ttl_s=ttl_s
        )

    def ask(
        self,
        event: Sendable,
        timeout_s: float,
        done: Callable[[Message | MeshError], object],
        *,
        routing_key: str | None = None,
        to: str | Received | Everyone = EVERYONE,
    ) -> str:
        """Send a request; return its id. `done` is called once, on any thread, unless cancelled."""
        session = self.live("request")
        signal, payload = checked(event)
        return session.request(
            signal,
            payload,
            None,
            timeout_s=timeout_s,
            ended=Asked(done),
            routing_key=routing_key,
            to=address_of(to),
        )

    def cancel(self, request_id: str) -> bool:
        """Want no answer to a request any more; whether it was open."""
        session = self._session
        return session is not None and session.requests.cancel(request_id)

    def reply(self, event: Sendable, to: Received, ttl_s: float | None = None) -> None:
        """Answer a request that came by a stream."""
        session = self.live("reply")
        signal, payload = checked(event)
        asked = wanting_reply(to)
        session.transmit(
            signal, payload, asked.event_id, to=asked.sender, ttl_s=ttl_s, reply_to=asked.event_id
        )

    def open_reader(self, patterns: str | Sequence[str] | None) -> Reader:
        """Hear topics from now on; without patterns what is for this client alone.

        Waits for the broker; raises its `LinkError`.
        """
        session = self.live("events")
        if patterns is None:
            return self._read_own()
        keys = validate_routing_patterns(patterns)
        digest = hashlib.blake2s(topics_of(keys).encode(), digest_size=4).hexdigest()
        reader = Reader(ignored=self.name)
        ends = Ending(reader.end, lambda: self.close_reader(reader), lambda: reader.ended)
        # By name and topics alone: the next process of the node's name finds the queue.
        names = _Names(f"{self.name}.{digest}", several=True)
        with self._blaming_close():
            heard = self._joined(names, keys, ends, reader)
        reader.feed_from(heard)
        with self._ending:
            self._readers.append((reader, ends))
            if self._stopped or self._session is not session:
                self.close_reader(reader)
                raise StoppedError(f"events() after close: client {self.name} has left the mesh")
        heard.inbox.open()
        return reader

    def close_reader(self, reader: Reader, holder: object = None) -> None:
        """End a reader, and hear its topics no more; a second call does nothing."""
        if reader is self._own:
            reader.put_back()
            self._own_is_read = False
            return
        # Before the lock, which a `close` may hold that waits for the event in hand.
        reader.end()
        reader.let_go()
        with self._ending:
            self._leave_reader(reader, 0.0, holder)

    def after(self, delay_s: float, call: Callable[[], object]) -> Callable[[], object]:
        """Have `call` called later, by the node's clock; return what cancels that."""
        session = self._session
        # Without one there is nothing to wait for any more.
        return session.node.clock.timer(delay_s, call).cancel if session else lambda: None

    def health(self) -> Health:
        """Say how the node is."""
        return self.live("health").health()

    @property
    def address(self) -> str:
        """Where charts reach it, as node/name."""
        session = self.live("address")
        return f"{session.node.identity.node}/{session.chart}"

    def live(self, call: str) -> Session:
        """Return the session; raises `NotStartedError`, `StoppedError` or `ForkedError`."""
        session = self._session
        if session and session.forked:
            self._refuse_fork(call)
        if self._stopped:
            raise StoppedError(f"{call} after close: client {self.name} has left the mesh")
        if session is None:
            raise NotStartedError(
                f"{call} before start: client {self.name} has not joined the mesh yet; "
                "`with MeshClient(config) as client` starts and closes it"
            )
        return session

    def _refuse_fork(self, call: str) -> None:
        if self._session and self._session.forked:
            raise ForkedError(
                f"{call} in a forked child: client {self.name} belongs to the parent, since "
                "threads and connections do not survive a fork. Make clients after the fork"
            )

    @contextmanager
    def _blaming_close(self) -> Iterator[None]:
        """Blame a `close` that came meanwhile for a start that fails, and not the broker."""
        try:
            yield
        except LinkError as error:
            if not self._stopped:
                raise
            raise StoppedError(f"client {self.name} was closed while it started") from error

    def _joined(
        self, names: Iterable[str], patterns: tuple[str, ...], ends: Ending, reader: Reader
    ) -> Session:
        own = reader is self._own
        for name in names:
            if own:
                # Where `close` finds it, while it waits for the broker.
                self.name = name
            try:
                return join(
                    self.config,
                    name,
                    ends,
                    self.topic,
                    patterns,
                    room=self._room if own else reader.room,
                    post=self._post if own else reader.post,
                )
            except ChartNameTakenError as error:
                taken = error
        raise taken

    def _room(self) -> int:
        # An answer never waits for those who read events.
        return MOST_UNREAD

    def _post(self, arrival: Arrival) -> None:
        """Take what is for this client alone; on the thread that feeds."""
        session = self._own.session
        if session is None:
            # Nothing is posted before the inbox is opened.
            return
        event = arrival.envelope
        if not isinstance(event, RoutedEnvelope) or event.reply_to is None:
            self._own.post(arrival)
            while not self._own_is_read and len(self._own) > MOST_UNREAD:
                self._set_unread_aside()
        elif welcome(arrival, session):
            self._take_answer(arrival, event.reply_to, session)

    def _take_answer(self, arrival: Arrival, request_id: str, session: Session) -> None:
        if request := session.answered(arrival, request_id):
            if isinstance(asked := request.ended, Asked):
                asked.answered(Message(arrival.signal_name, arrival.payload, received(arrival)))
            arrival.inbox.finished(arrival)

    def _set_unread_aside(self) -> None:
        oldest = self._own.drop_first()
        if isinstance(oldest, Arrival):
            oldest.inbox.set_aside(oldest, Reason("unread", "no stream of events() asks for it"))

    def _notice(self, signal: str, payload: object) -> None:
        """Take a signal of the library; on any thread."""
        if self._own_is_read:
            self._own.put_notice(Message(signal, payload))
        elif signal == NO_LISTENER and (times := self._complaints.due("no listener")):
            # The others have a line in the log where they come from.
            logger.warning(
                "client %s: %d times there was no listener: %s", self.name, times, payload
            )

    def _read_own(self) -> Reader:
        with self._ending:
            self.live("events")
            if self._own_is_read:
                raise StreamInUseError(
                    f"what is for client {self.name} alone is read by another stream already; "
                    "close that one, or name the topics to hear"
                )
            self._own_is_read = True
        return self._own

    def _begin_end(self) -> None:
        """Hand out nothing more, and end every wait; returns at once."""
        self._own.end()
        for reader, _ in list(self._readers):
            reader.end()
        if session := self._session:
            session.requests.close()

    def _close(self, holder: object = None) -> StopReport:
        session = self._session
        if session is None:
            # Perhaps it is being started, by another thread or below a signal handler.
            break_off(self.config, self.name, self._ends)
            return self._report
        end_by = time.monotonic() + self.config.drain_timeout_s
        self._begin_end()
        unhandled = sum(self._leave_reader(each, end_by, holder) for each, _ in [*self._readers])
        self._own.wait_handled(end_by, holder)
        try:
            session.goodbye()
        finally:
            report = session.leave(end_by)
        # After an interrupt the same is done again by the next call, which is at exit the last one.
        self._report = replace(report, unhandled=session.unhandled + unhandled)
        self._session = None
        return self._report

    def _leave_reader(self, reader: Reader, end_by: float, holder: object) -> int:
        """Let a reader leave its node; return how many events it had received and not handled."""
        place = next((each for each in self._readers if each[0] is reader), None)
        session = reader.session
        if place is None or session is None:
            return 0
        reader.wait_handled(end_by, holder)
        session.leave(end_by)
        # Likewise after an interrupt.
        self._readers.remove(place)
        return session.unhandled


class _Names:
    """The names to try: of several clients, or streams, of one process each has its own."""

    def __init__(self, name: str, *, several: bool) -> None:
        self._name = name
        self._several = several

    def __iter__(self) -> Iterator[str]:
        yield self._name
        for number in itertools.count(2) if self._several else ():
            yield f"{self._name}-{number}"
