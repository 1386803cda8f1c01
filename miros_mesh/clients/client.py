"""`MeshClient`: the mesh for scripts and threads, and `EventStream`, what it hears."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from miros_mesh.address import DEFAULT_ROUTING_KEY
from miros_mesh.clients.message import Message, Sendable
from miros_mesh.clients.participant import Participant
from miros_mesh.clients.reader import Reader, warn_of_open_stream
from miros_mesh.config.settings import MeshConfig
from miros_mesh.errors import MeshError
from miros_mesh.health import Health
from miros_mesh.networks.received import EVERYONE, Everyone, Received
from miros_mesh.node.session import seconds
from miros_mesh.report import StopReport


class MeshClient:
    """The mesh for code that is no chart: sends events, asks charts, hears topics. Thread-safe.

        with MeshClient(config) as client:
            answer = client.request(Message("price", "apples"), timeout_s=2.0)

    It is one participant of the node that its settings make, beside the charts of equal settings,
    and has an address, node/name. Calls other than `request`, `events`, `start` and `close` never
    wait. `request` waits on the calling thread: in a handler of a chart use `chart.request`, and on
    an event loop `AsyncMeshClient`.
    """

    def __init__(
        self,
        config: MeshConfig | None = None,
        name: str | None = None,
        *,
        tx_routing_key: str = DEFAULT_ROUTING_KEY,
    ) -> None:
        """Make a client; nothing is connected before `start`, which `with` calls.

        Args:
            config: all settings; None takes the environment's.
            name: what charts and traces call it. None takes `client`, or `client-2` and so on where
                this process has one of the name.
            tx_routing_key: the AMQP topic that it sends under, unless a call names another one.

        Raises:
            ConfigError: settings that cannot work, or a name that cannot be one.
            RoutingKeyError: a topic that AMQP refuses.
        """
        self._participant = Participant(config, name, tx_routing_key)

    @property
    def name(self) -> str:
        """What others call it; without a name of its own it is known after `start`."""
        return self._participant.name

    @property
    def address(self) -> str:
        """Where charts reach it, by `transmit(event, to=...)`.

        Raises `NotStartedError`, `StoppedError` or `ForkedError` outside the client's life.
        """
        return self._participant.address

    def start(self) -> None:
        """Join the mesh; waits for the broker.

        Raises:
            AlreadyStartedError: the second time.
            ForkedError: a client of the parent process cannot be used in a child.
            StoppedError: after `close`, or when that is called while this waits for the broker.
            ChartNameTakenError: a live chart or client of this process has the name.
            LinkError: the broker cannot be used; the message says what to do. Nothing is left
                running, and the client may be started again.
        """
        self._participant.start()

    def close(self) -> StopReport:
        """Leave the mesh; what waits ends, a `request` with `StoppedError`.

        An event of a stream that another thread handles may be brought to its end, for at most
        `drain_timeout_s`; then what was sent may take as long, when this was the last of its node.

        Returns what became of the events of its node, the same when repeated. Raises `ForkedError`
        in a child of the process that has started the client.
        """
        return self._participant.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(
        self,
        event: Sendable,
        *,
        routing_key: str | None = None,
        to: str | Received | Everyone = EVERYONE,
        ttl_s: float | None = None,
    ) -> None:
        """Send an event to every chart that listens, as `transmit` of charts does.

        Args:
            event: a `Message`, an `Event` of miros, or what has a `signal_name` and a `payload`.
            routing_key: a topic other than `tx_routing_key`, for this event.
            to: the one chart that gets it, as node/chart, or what `received` told of an event that
                it has sent. When no broker has a queue of it, `NO_LISTENER` comes by `events()`, or
                else a line into the log.
            ttl_s: an event that is older when its turn comes is not handled.

        Raises:
            NotStartedError, StoppedError, ForkedError: outside the client's life.
            SignalError: the signal belongs to miros or to this library, or there is none.
            PayloadError: the payload cannot travel.
            EventTooLargeError: the event is larger than `max_event_bytes`.
            RoutingKeyError: the topic cannot be one.
            ChartAddressError: `to` is no address, or is given beside a topic.
            TtlError: `ttl_s` is no number above 0.
            OldFramesError: nodes of before 0.2 are written for, and know none of the last three.
        """
        self._participant.send(event, routing_key=routing_key, to=to, ttl_s=ttl_s)

    def request(
        self,
        event: Sendable,
        timeout_s: float,
        *,
        to: str | Received | Everyone = EVERYONE,
        routing_key: str | None = None,
    ) -> Message:
        """Send an event that wants a reply, wait for the first one that comes, and return it.

        Args:
            event: as of `send`.
            timeout_s: for how many seconds it is waited for.
            to: as of `send`.
            routing_key: as of `send`.

        Raises:
            RequestTimedOutError: none came in time; whether it was handled is not known.
            RequestUnroutableError: no broker has a queue for it.
            StoppedError: the client was closed, perhaps meanwhile.
            TtlError: `timeout_s` is no number above 0.

        And as `send`.
        """
        ended: Future[Message | MeshError] = Future()
        request_id = self._participant.ask(
            event, timeout_s, ended.set_result, to=to, routing_key=routing_key
        )
        try:
            # The clock of the node ends it, and so does `close`.
            outcome = ended.result()
        except BaseException:
            # Interrupted by a signal.
            self._participant.cancel(request_id)
            raise
        if isinstance(outcome, MeshError):
            raise outcome
        return outcome

    def reply(self, event: Sendable, *, to: Received, ttl_s: float | None = None) -> None:
        """Answer a request that came by `events`: `to` is the `received` of its message.

        Raises as `send`, and `NoReplyWantedError` for an event that wants no reply.
        """
        self._participant.reply(event, to, ttl_s)

    def events(
        self, patterns: str | Sequence[str] | None = None, *, timeout_s: float | None = None
    ) -> EventStream:
        """Hear topics from now on; without patterns, what is sent to this client alone.

        Each stream has a queue of its own at the broker. By the one without patterns come also the
        signals of the library, as `NO_LISTENER` and `PEER_DOWN`; it can be open once at a time.

        Args:
            patterns: one AMQP topic pattern or several, of which one has to match.
            timeout_s: the stream ends when nothing has come for so long; None: when it is closed.

        Raises `RoutingKeyError`, `TtlError`, `StreamInUseError`, the `LinkError` by which the
        broker refuses the queue, and as `send` outside the client's life.
        """
        limit_s = None if timeout_s is None else seconds("timeout_s", timeout_s)
        return EventStream(self._participant, self._participant.open_reader(patterns), limit_s)

    def health(self) -> Health:
        """Say how the client's node is at this moment.

        Raises `NotStartedError`, `StoppedError` or `ForkedError` outside the client's life.
        """
        return self._participant.health()


class EventStream:
    """The events that one `events` hears, for one thread at a time; ends when it is closed.

        with client.events("orders.#") as orders:
            for order in orders:
                print(order.signal_name, order.payload, order.received.sender)

    An event counts as handled, and is acknowledged, when the next one is asked for, when `handled`
    is called, or when the `with` ends without an error. Under a node name what was not handled
    comes again to the next stream of the same client name and patterns, after a crash as well.
    """

    def __init__(
        self, participant: Participant, reader: Reader, timeout_s: float | None = None
    ) -> None:
        self._participant = participant
        self._reader = reader
        self._timeout_s = timeout_s
        self._closed = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        """Have the last event acknowledged, and wait for the next one."""
        message = None if self._closed else self._next()
        if message is None:
            self.close()
            raise StopIteration
        return message

    def handled(self) -> None:
        """Have the last event acknowledged now, before the next one is asked for."""
        self._reader.handled()

    def close(self) -> None:
        """Hear no more. An event that is not handled stays so; under a node name it comes again."""
        if not self._closed:
            self._closed = True
            self._participant.close_reader(self._reader, threading.get_ident())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self._closed:
            self.handled()
        self.close()

    def __del__(self) -> None:
        if not (self._closed or self._reader.ended):
            # Not closed here, where any lock may be held, but with its client.
            self._reader.forsake()
            warn_of_open_stream()

    def _next(self) -> Message | None:
        reader, holder = self._reader, threading.get_ident()
        if message := reader.take(holder):
            return message
        with reader.waiting_alone():
            return self._await(reader, holder)

    def _await(self, reader: Reader, holder: int) -> Message | None:
        silent = threading.Event()

        def end_wait() -> None:
            silent.set()
            reader.ring()

        cancel = self._participant.after(self._timeout_s, end_wait) if self._timeout_s else None
        try:
            while not ((message := reader.take(holder)) or self._over or silent.is_set()):
                with reader.changed:
                    # Asked again under the lock: what has changed since then is seen.
                    reader.changed.wait_for(lambda: len(reader) or self._over or silent.is_set())
            return message
        finally:
            if cancel:
                cancel()

    @property
    def _over(self) -> bool:
        return self._closed or self._reader.ended
