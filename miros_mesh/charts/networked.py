"""`NetworkedActiveObject` and `NetworkedFactory`, and everything they share."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, get_args

from miros import Event, Factory, signals

from miros_mesh.address import DEFAULT_ROUTING_KEY, validate_routing_key, validate_routing_patterns
from miros_mesh.charts.deferred import DeferredEvents
from miros_mesh.charts.fifo import ChartQueue, event_of
from miros_mesh.charts.intake import Intake, MeshCallback
from miros_mesh.charts.notices import Notices
from miros_mesh.charts.snooping import ChartSnoop
from miros_mesh.config.names import checked_name
from miros_mesh.config.secret_file import SecretFile
from miros_mesh.config.settings import EncryptionKeys, MeshConfig, NetworkName
from miros_mesh.config.validation import as_keys
from miros_mesh.errors import (
    AlreadyStartedError,
    ConfigError,
    EncryptionKeyError,
    ForkedError,
    LinkError,
    NotStartedError,
    StoppedError,
)
from miros_mesh.health import Health
from miros_mesh.networks.inbox import origin_of
from miros_mesh.networks.received import (
    EVERYONE,
    Everyone,
    Received,
    address_of,
    received,
    wanting_reply,
)
from miros_mesh.networks.requests import TIMED_OUT, UNROUTABLE, Outcome, Request
from miros_mesh.node.groups import GroupMode, PartitionBy, group_of
from miros_mesh.node.node import break_off, join
from miros_mesh.node.registry import Ending
from miros_mesh.node.session import Session, SnoopCallback, Stream
from miros_mesh.report import StopReport
from miros_mesh.signals import (
    PUBLIC_SIGNALS,
    REQUEST_TIMED_OUT,
    REQUEST_UNROUTABLE,
    RequestTimedOut,
    RequestUnroutable,
)
from miros_mesh.statechart import signal_table
from miros_mesh.statechart.reserved import checked
from miros_mesh.statechart.safe_chart import SafeChart
from miros_mesh.text import logger_of, printable
from miros_mesh.wire.keyring import KeyRing

logger = logger_of(__name__)

OnHandlerError = Literal["stop", "dead_letter"]
"""Whether an exception of a handler ends the chart, or sets the event aside."""

# Calls that the ancestor's documents name and never had, and those that they mean.
_SLIPS: Final = {"enable_snoop_snoop": "enable_snoop_spy"}
# A handler that is at its end when the time is up is no reason to complain.
_HALT_S = 0.5


class _Networked(SafeChart):
    """What both kinds of chart share.

    | `_session` | `_stopped` | the chart is |
    | --- | --- | --- |
    | None | no | new, or it failed to start: `start_at` |
    | set | no | on the mesh: `transmit`, `stop` |
    | set | yes | stopping, in this thread or another |
    | None | yes | stopped, for good |

    Locks: `_ending` first, then those of the registry, the node and its parts.
    """

    def __init__(  # noqa: PLR0913 - the ancestor's arguments, in its order, and ours
        self,
        name: str | None = None,
        rabbit_user: str | None = None,
        rabbit_password: str | SecretFile | None = None,
        tx_routing_key: str | None = None,
        rx_routing_key: str | Sequence[str] | None = None,
        mesh_encryption_key: EncryptionKeys = None,
        snoop_trace_encryption_key: EncryptionKeys = None,
        snoop_spy_encryption_key: EncryptionKeys = None,
        *,
        config: MeshConfig | None = None,
        on_mesh_rx: MeshCallback | None = None,
        on_trace_rx: SnoopCallback | None = None,
        on_spy_rx: SnoopCallback | None = None,
        on_handler_error: OnHandlerError = "stop",
        trace_snoop_encryption_key: EncryptionKeys = None,
        spy_snoop_encryption_key: EncryptionKeys = None,
        group: str | None = None,
        group_mode: GroupMode | None = None,
        partition_by: PartitionBy | None = None,
    ) -> None:
        """Make a chart; nothing is connected before `start_at`.

        Args:
            name: what the traces of other charts call it; made up when None.
            rabbit_user: of a RabbitMQ on this host, the ancestor's way.
            rabbit_password: of that user, or the file that holds it.
            tx_routing_key: the AMQP topic that `transmit` sends under.
            rx_routing_key: the AMQP topic pattern that this chart hears, or several, of which one
                has to match; default `tx_routing_key`.
            mesh_encryption_key: a Fernet key, several, or the file that holds them; the first
                encrypts, all decrypt.
            snoop_trace_encryption_key: default the mesh key.
            snoop_spy_encryption_key: default the mesh key.
            config: all settings; None takes the environment's. The arguments above win over it.
            on_mesh_rx: called with each received event instead of posting it to the FIFO.
            on_trace_rx: called with each trace record instead of printing it.
            on_spy_rx: called with each spy record instead of printing it.
            on_handler_error: what an exception of a handler does. "stop": it ends the chart.
                "dead_letter": the received event is set aside, and the chart goes on in the state
                in which it was, whatever the handler has done until then.
            trace_snoop_encryption_key: the ancestor's older name of `snoop_trace_encryption_key`.
            spy_snoop_encryption_key: the ancestor's older name of `snoop_spy_encryption_key`.
            group: charts of one name on several nodes that give it share a queue, by the group's
                name: each event of their topics is handled by one of them.
            group_mode: "standby" (when it is not given): one of them handles all, in order, and
                when it ends another one goes on. "share": all of them do, in no order.
            partition_by: with "share", a function of an event that returns its key (a text, bytes
                or a number): events of one key go to one chart, in order, while the charts of the
                group stay the same.

        Callbacks run on a worker's thread and must return quickly.

        Raises:
            ConfigError: names every setting that cannot work, or each callback, or
                `on_handler_error`, or both names of a key that are given with different keys.
            RoutingKeyError: a routing key that AMQP refuses.
            GroupError: a group that cannot be, or arguments of a group without one.
        """
        _refuse_uncallable(on_mesh_rx=on_mesh_rx, on_trace_rx=on_trace_rx, on_spy_rx=on_spy_rx)
        _refuse_other_words(on_handler_error)
        snoop_keys = _by_either_name(
            {
                "snoop_trace_encryption_key": snoop_trace_encryption_key,
                "snoop_spy_encryption_key": snoop_spy_encryption_key,
            },
            {
                "trace_snoop_encryption_key": trace_snoop_encryption_key,
                "spy_snoop_encryption_key": spy_snoop_encryption_key,
            },
        )
        super().__init__(checked_name(name) if name else uuid.uuid4().hex[:5])
        # Sorted, since a set of texts has another order in each process.
        signal_table.enter(sorted(PUBLIC_SIGNALS))
        overrides: dict[str, Any] = {
            "rabbit_user": rabbit_user,
            "rabbit_password": rabbit_password,
            "mesh_encryption_key": mesh_encryption_key,
            **snoop_keys,
        }
        self._config = (config.overridden if config else MeshConfig.from_env)(**overrides)
        self._tx_routing_key = validate_routing_key(tx_routing_key or DEFAULT_ROUTING_KEY)
        self._rx_routing_keys = validate_routing_patterns(
            self._tx_routing_key if rx_routing_key in (None, "") else rx_routing_key
        )
        self._group = group_of(group, group_mode, partition_by, event_of)
        self._session: Session | None = None
        # Both are read on any thread, without a lock. `start_at` sets `_session`, and `_leave`
        # takes it away; `stop` sets `_stopped`, for good.
        self._stopped = False
        self._report = StopReport()
        self._ends = Ending(self._wind_down, self.stop, lambda: self._stopped)
        # When (`time.monotonic`) a chart that stops has to be at its end; 0 before it stops.
        self._end_by = 0.0
        # Held while the chart stops, and for the last step of its start, so that neither is half
        # done when the other comes. Reentrant: a handler may stop its chart while it starts.
        self._ending = threading.RLock()
        # Set once the start is recorded; the chart's thread waits for it.
        self._begin = threading.Event()
        self._notices = Notices(self)
        self._outlives_errors = on_handler_error == "dead_letter"
        self._intake = Intake(self, on_mesh_rx, self._notices, outlives=self._outlives_errors)
        # miros knows its queue by both names, and gives it to the chart's thread at the start.
        self.queue = self.locking_deque = ChartQueue(
            self._intake.finished,
            self._intake.crowded_out,
            self._intake.follow,
            self._intake.lost,
        )
        self.defer_queue = self._deferred = DeferredEvents(
            self.queue.deferring,
            self.queue.recalled,
            lost=self._intake.lost,
            dropped=self._intake.dropped,
        )
        self._snoop = ChartSnoop(self, self.queue, {"trace": on_trace_rx, "spy": on_spy_rx})

    # Type checkers do not see it: to them it would say that a chart has every attribute.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if name in _SLIPS:
                raise AttributeError(
                    f"{type(self).__name__} has no {name}, which is a slip in the documents of "
                    f"miros-rabbitmq; call {_SLIPS[name]}",
                    name=name,
                    obj=self,
                )
            # Raises what led here, which may be the error of a property.
            super().__getattribute__(name)

    @property
    def tx_routing_key(self) -> str:
        """The topic that it sends under, unless `transmit` is given another one."""
        return self._tx_routing_key

    @property
    def rx_routing_key(self) -> str | tuple[str, ...]:
        """The pattern of the topics that it hears, or several: `*` is a word, `#` any number."""
        first, *others = self._rx_routing_keys
        return self._rx_routing_keys if others else first

    @property
    def received(self) -> Received | None:
        """What is known of the received event that is being handled, and who has sent it.

        None while an event of the chart's own is handled, and on any other thread than that of the
        handler.
        """
        arrival = self._intake.called_with
        if arrival is None and (current := self.queue.current):
            arrival = current.arrival
        return received(arrival) if arrival else None

    def start_at(self, initial_state: Any) -> None:
        """Join the mesh, then start the chart.

        Raises:
            AlreadyStartedError: the second time.
            ForkedError: a chart of the parent process cannot be used in a child.
            StoppedError: after `stop`, or when that is called while this waits for the broker.
            ChartNameTakenError: another live chart of this process has the name.
            GroupError: charts of the group that are there have another mode, or hear other topics.
            LinkError: the broker cannot be used; the message says what to do. Nothing is left
                running, and the chart may be started again.
        """
        self._refuse_fork("start_at")
        if self._stopped:
            raise StoppedError(f"chart {self.name} has stopped; make a new one")
        if self._session:
            raise AlreadyStartedError(f"chart {self.name} runs already; call start_at once")
        with self._ended_by_stop():
            # What the broker brings from here on waits in the inbox, until `_intake.open`.
            self._session = session = self._joined()
            try:
                # Before the chart starts, so that its first step is recorded too.
                self._snoop.join(session)
                self._start_chart(initial_state, session)
            except BaseException:
                self._leave()
                raise
        with self._ending:
            if self._session is None:
                # A handler stopped it meanwhile, perhaps that of its own start.
                return
            self._intake.open(session)
        if self._stopped:
            # By a handler on the chart's thread, which does not wait for this one.
            self.stop()

    def transmit(
        self,
        event: Event,
        *,
        routing_key: str | None = None,
        to: str | Received | Everyone = EVERYONE,
        ttl_s: float | None = None,
    ) -> None:
        """Send an event to every chart that listens; never waits for the network.

        Each receiver hears what was sent for it in the order in which it was sent, whatever the
        topics, and however much of it was for that chart alone.

        Args:
            event: what each of them gets into its FIFO.
            routing_key: a topic other than `tx_routing_key`, for this event.
            to: the one chart that gets it, as node/chart, or what `received` has told of an event
                that it has sent; None is refused. When no broker has a queue of it, `NO_LISTENER`
                says so.
            ttl_s: an event that is older when its turn comes is not handled: it becomes a dead
                letter (`expired`). Measured by the clocks of both hosts, which have to agree as
                well as `ttl_s` is to be kept.

        Raises:
            NotStartedError, StoppedError, ForkedError: outside the chart's life.
            SignalError: the signal belongs to miros or to this library.
            PayloadError: the payload cannot travel.
            EventTooLargeError: the event is larger than `max_event_bytes`.
            RoutingKeyError: the topic cannot be one.
            ChartAddressError: `to` is no address, or is given beside a topic.
            TtlError: `ttl_s` is no number above 0.
            OldFramesError: nodes of before 0.2 are written for, and know none of the three.
        """
        session = self._live("transmit")
        signal, payload = checked(event)
        session.transmit(
            signal,
            payload,
            self._cause(),
            routing_key=routing_key,
            to=address_of(to),
            ttl_s=ttl_s,
        )

    def request(
        self,
        event: Event,
        timeout_s: float,
        *,
        to: str | Received | Everyone = EVERYONE,
        routing_key: str | None = None,
    ) -> str:
        """Send an event that wants a reply, and return its id at once; never waits.

        What comes of it is one event in the chart's FIFO: the first reply, for which
        `received.reply_to` is the id; or `REQUEST_TIMED_OUT`; or `REQUEST_UNROUTABLE`, when no
        broker has a queue for it. Later replies are dropped. A chart that stops, or dies, hears no
        more of its requests.

        Args:
            event: what each of them gets that listen; the first one that replies answers it.
            timeout_s: for how long the answer is waited for, from now on. Who has not begun to
                handle the event by then, and by what clocks may differ (`clock_error_s`) after it,
                sets it aside (`expired`).
            to: as of `transmit`; not this chart, which does not hear itself.
            routing_key: as of `transmit`.

        Raises as `transmit`; `TtlError` also for `timeout_s`, and `StoppedError` also for a chart
        that has died.
        """
        session = self._live("request")
        signal, payload = checked(event)
        return session.request(
            signal,
            payload,
            self._cause(),
            timeout_s=timeout_s,
            ended=self._unanswered,
            routing_key=routing_key,
            to=address_of(to),
        )

    def reply(
        self, event: Event, *, to: Received | None = None, ttl_s: float | None = None
    ) -> None:
        """Answer a request: send an event to the chart, or the client, that has made it.

        Only the first reply that arrives answers it, of whichever chart.

        Args:
            event: the answer.
            to: what `received` has told of the request; None for the one that is being handled.
                It may be kept for as long as you like, also by a later process.
            ttl_s: as of `transmit`.

        Raises as `transmit`, and `NoReplyWantedError` for an event that wants no reply, or when no
        received event is being handled.
        """
        session = self._live("reply")
        signal, payload = checked(event)
        asked = wanting_reply(self.received if to is None else to)
        session.transmit(
            signal,
            payload,
            self._cause() or asked.event_id,
            to=asked.sender,
            ttl_s=ttl_s,
            reply_to=asked.event_id,
        )

    def cancel_request(self, request_id: str) -> bool:
        """Want no answer to a request any more; returns whether it was open, so that none comes.

        Its event may be handled all the same. False also when the answer waits in the FIFO.

        Raises `NotStartedError`, `StoppedError` or `ForkedError` outside the chart's life.
        """
        return self._live("cancel_request").requests.cancel(request_id)

    def _unanswered(self, request: Request, outcome: Outcome) -> None:
        told: RequestTimedOut | RequestUnroutable
        if outcome == TIMED_OUT:
            told = RequestTimedOut(request.id, request.signal)
            self._notices.post_outcome(REQUEST_TIMED_OUT, told, request.cause)
        elif outcome == UNROUTABLE:
            told = RequestUnroutable(request.id, request.signal)
            self._notices.post_outcome(REQUEST_UNROUTABLE, told, request.cause)

    def stop(self) -> StopReport:
        """Stop the chart and say goodbye; with the node's last chart, drain and disconnect.

        The chart first handles what waits in its FIFO and the rest of the frames that it has begun,
        for at most `drain_timeout_s`; then the outbox may take as long. A handler or a callback
        that stops its own chart ends it at once.

        Returns what became of the events of its node, the same when repeated. While other charts of
        the node run on, what is left over is still on its way. Raises `ForkedError` in a child of
        the process that has started the chart.
        """
        self._refuse_fork("stop")
        # Before the lock: `start_at` looks at it once more after it has released the lock.
        self._stopped = True
        # A thread that stops it from elsewhere may be waiting for this one.
        within = self._runs_here() or self._intake.calling
        if not self._ending.acquire(blocking=not within):
            return session.report() if (session := self._session) else self._report
        try:
            return self._stop()
        finally:
            self._ending.release()

    def _stop(self) -> StopReport:
        session = self._session
        if session is None:
            # Perhaps it is being started, by another thread or below a signal handler.
            break_off(self._config, self.name, self._ends)
            return self._report
        try:
            self._stop_chart()
            session.goodbye()
        except Exception:
            self._leave()
            raise
        # After an interrupt the same is done again by the next call, which is at exit the last one.
        self._report = self._leave()
        return self._report

    def health(self) -> Health:
        """Say how the chart's node is at this moment.

        Raises `NotStartedError`, `StoppedError` or `ForkedError` outside the chart's life.
        """
        return self._live("health").health()

    def key_ring(self, network: NetworkName = "mesh") -> KeyRing:
        """Return the keys of a network: `add`, `use` and `remove` change them at once.

        All charts of the node have this ring. A snoop network without keys of its own has those of
        the mesh until its ring is changed. Raises `NotStartedError`, `StoppedError` or
        `ForkedError` outside the chart's life, and `EncryptionKeyError` for another network.
        """
        rings = self._live("key_ring").node.keys
        if network not in (known := get_args(NetworkName)):
            raise EncryptionKeyError(f"a key ring belongs to one of {', '.join(known)}")
        return rings[network]

    def change_mesh_encryption_key(self, key: bytes | str) -> None:
        """Seal events with this key from now on; those of before still open.

        Nodes that do not have it lose nothing that `repair_events` holds, but hear nothing until
        they have it: first `key_ring().add(key)` on each. Raises as `key_ring`, and
        `EncryptionKeyError` for what is no key.
        """
        self._change_key("mesh", key)

    def change_snoop_trace_encryption_key(self, key: bytes | str) -> None:
        """Do as `change_mesh_encryption_key`, for traces and node status alone."""
        self._change_key("snoop_trace", key)

    def change_snoop_spy_encryption_key(self, key: bytes | str) -> None:
        """Do as `change_mesh_encryption_key`, for the spy network alone."""
        self._change_key("snoop_spy", key)

    def enable_snoop_trace(self) -> None:
        """Send this chart's transitions to the trace network; print all charts', in colours."""
        self._enable("trace", color=True)

    def enable_snoop_trace_no_color(self) -> None:
        """Do as `enable_snoop_trace`, without colours."""
        self._enable("trace", color=False)

    def enable_snoop_spy(self) -> None:
        """Send this chart's every step to the spy network; print all charts', in colours."""
        self._enable("spy", color=True)

    def enable_snoop_spy_no_color(self) -> None:
        """Do as `enable_snoop_spy`, without colours."""
        self._enable("spy", color=False)

    def disable_snoop_trace(self) -> None:
        """Take part in the trace network no more; `enable_snoop_trace` begins again.

        From any thread, before the start and after the stop too, and as often as you like. When it
        returns, what the chart does goes nowhere, `on_trace_rx` is not called again (a call that
        runs on another thread ends), and what was recorded before is in the outbox, unless that
        takes more than five seconds. Lines that have come by then may still be printed. With the
        node's last chart in the network its queue goes, and with the last one in both the status of
        the node.

        Raises `ForkedError` in a child of the process that has started the chart.
        """
        self._disable("trace")

    def disable_snoop_spy(self) -> None:
        """Do as `disable_snoop_trace`, of the spy network and `on_spy_rx`."""
        self._disable("spy")

    def snoop_scribble(self, text: str) -> None:
        """Put a note into the trace stream, or the spy stream when only that one is enabled.

        Raises `NotStartedError` or `StoppedError` outside the chart's life.
        """
        self._live("snoop_scribble")
        self._snoop.scribble(text, self.queue.current)

    def run_event(self, task_event: Any, fabric_task_event: Any, queue: Any) -> None:
        """Handle events once the chart has started (miros' main of the chart's thread)."""
        # The start is recorded for the snoop networks before the first event is handled.
        self._begin.wait()
        try:
            super().run_event(task_event, fabric_task_event, queue)
        finally:
            # What others publish would fill its queue, of which nothing is taken any more.
            self.unsubscribe_all()

    def recall(self) -> Event | None:
        """Post the oldest deferred event again, at the end of the FIFO; return it, or None.

        A received event that was deferred (`defer`) is not handled yet: the broker keeps it until
        it has been recalled and run. `defer_queue.clear()` drops all that was deferred.
        """
        with self._deferred.recalling():
            return super().recall()

    def next_rtc(self) -> bool:
        """Run one event to completion (miros calls it), then record what it did.

        With `on_handler_error="dead_letter"` an event whose handler raises is set aside, and the
        chart is in the state in which it was. So it is in any case with an event of a group that
        has ended as many charts as it may.
        """
        if self.queue.handling:
            # A handler runs what waits (`complete_circuit`).
            with self.queue.interrupted():
                return self.next_rtc()
        if expired := self.queue.take_expired():
            # It has waited too long in the FIFO. The next event has a turn of its own.
            expired.inbox.expired(expired)
            return False
        before = self.state.fun
        try:
            taken = super().next_rtc()
        except Exception as error:
            if not (self._outlives_errors or self._at_poison()):
                raise
            logger.exception("chart %s goes on: %s raised", self.name, self._at_work())
            # miros sets the first at the end of a transition, and the second on its way there.
            self.state.fun = self.temp.fun = before
            arrival = self.queue.broken_off(error)
            if arrival:
                # It may have been deferred before that: now it is set aside.
                self._deferred.forget(arrival)
            self._intake.failed(error, arrival)
            return True
        self._snoop.record_steps()
        return taken

    def _at_poison(self) -> bool:
        """Whether the event that raised would end one chart of a group after the other."""
        arrival = current.arrival if (current := self.queue.current) else None
        return arrival is not None and arrival.inbox.is_poison(arrival)

    def _live(self, call: str) -> Session:
        if session := self._session:
            if session.forked:
                self._refuse_fork(call)
            return session
        if self._stopped:
            raise StoppedError(f"{call} after stop: chart {self.name} has left the mesh")
        raise NotStartedError(
            f"{call} before start_at: chart {self.name} has not joined the mesh yet"
        )

    def _refuse_fork(self, call: str) -> None:
        if self._session and self._session.forked:
            raise ForkedError(
                f"{call} in a forked child: chart {self.name} belongs to the parent, since threads "
                "and connections do not survive a fork. Make charts after the fork, or let "
                "multiprocessing start its processes with the method 'spawn'"
            )

    def _enable(self, stream: Stream, *, color: bool) -> None:
        self._refuse_fork("enabling a snoop stream")
        self._snoop.enable(stream, color=color)

    def _disable(self, stream: Stream) -> None:
        self._refuse_fork("disabling a snoop stream")
        self._snoop.disable(stream)

    def _change_key(self, network: NetworkName, key: bytes | str) -> None:
        ring = self.key_ring(network)
        ring.add(key)
        ring.use(key)

    def _cause(self) -> str | None:
        current = self.queue.current
        return current.id if current else None

    @contextmanager
    def _ended_by_stop(self) -> Iterator[None]:
        """Blame a `stop` that came meanwhile for a start that fails, and not the broker."""
        try:
            yield
        except LinkError as error:
            if not self._stopped:
                raise
            raise StoppedError(f"chart {self.name} was stopped while it started") from error

    def _joined(self) -> Session:
        return join(
            self._config,
            self.name,
            self._ends,
            self.tx_routing_key,
            self._rx_routing_keys,
            room=self._intake.room,
            post=self._intake.post,
            group=self._group,
        )

    def _start_chart(self, initial_state: Any, session: Session) -> None:
        self.queue.begin(session.prefix)
        try:
            super().start_at(initial_state)
            self._snoop.record_steps()
        finally:
            # Also when recording fails: the chart's thread is there, and waits for `_begin`.
            self.queue.end_of_start()
            self._begin.set()

    def _stop_chart(self) -> None:
        if not (self._runs_here() or self._intake.calling):
            self._wind_down()
            self._join(self._end_by - time.monotonic())
        self._halt()
        if not self._join(_HALT_S):
            limit_s = self._config.drain_timeout_s
            logger.error("a handler of chart %s still runs after %g s", self.name, limit_s)
        # Each is a thread of miros that posts at intervals; cancelling takes it out of the queue.
        for posted in list(self.posted_events_queue):
            self.cancel_events(posted)

    def _runs_here(self) -> bool:
        return self.thread is threading.current_thread()

    def _join(self, timeout_s: float) -> bool:
        """Whether the chart's thread ends in time; its own thread does not wait for itself."""
        if self.thread is None or self._runs_here():
            return True
        self.thread.join(max(timeout_s, 0))
        return not self.thread.is_alive()

    def _wind_down(self) -> None:
        """Take nothing new, and let the chart's thread end after the rest; does not wait."""
        if not self._end_by:
            # Once: at the end of the program all charts begin to stop before the first one is
            # waited for, and share one time limit.
            self._end_by = time.monotonic() + self._config.drain_timeout_s
            self._intake.finish(self._post_stop)

    def _halt(self) -> None:
        """End the chart's thread after the event that it is handling."""
        # The thread looks at the flag after each event; a thread that waits needs an event for it.
        self.activeobject_task_event.clear()
        self._post_stop()

    def _post_stop(self) -> None:
        self.queue.append(Event(signal=signals.STOP_ACTIVE_OBJECT_SIGNAL))

    def _leave(self) -> StopReport:
        session, self._session = self._session, None
        self._snoop.leave()
        if session is None:
            return self._report
        report = session.leave(self._end_by)
        # An event whose handler stops the chart is being handled.
        current = self.queue.current
        within = self._intake.calling or (current is not None and current.arrival is not None)
        return replace(report, unhandled=max(session.unhandled - within, 0))

    def _at_work(self) -> str:
        current, signal = self.queue.current, printable(self.queue.last_signal)
        if current and current.arrival:
            return f"a handler of {origin_of(current.arrival.envelope)}"
        return f"a handler of its own {signal}" if signal else "a handler"

    def _died(self, error: BaseException) -> None:
        """End the span of the event whose handler raised, and tell the node."""
        session = self._session
        if session:
            # Before the event counts as done: who waits until all is at rest waits for this, too.
            session.dying = True
        arrival = self.queue.broken_off(error)
        # An observer may stop the chart.
        if session and not session.forked:
            session.died(error, arrival)


def _refuse_uncallable(**callbacks: object) -> None:
    if problems := tuple(
        f"{name}: a function that takes what has come, or None; not of type {type(given).__name__}"
        for name, given in callbacks.items()
        if given is not None and not callable(given)
    ):
        raise ConfigError(problems)


def _refuse_other_words(on_handler_error: object) -> None:
    if on_handler_error not in (words := get_args(OnHandlerError)):
        raise ConfigError((f"on_handler_error must be one of {', '.join(words)}",))


def _by_either_name(
    keys: dict[str, EncryptionKeys], older: dict[str, EncryptionKeys]
) -> dict[str, EncryptionKeys]:
    """Return the keys, of each the one that was given, by its name or its older one."""
    if problems := tuple(
        f"{name} and {old}, which is its older name, are different keys; give {name} alone"
        for (name, key), (old, other) in zip(keys.items(), older.items(), strict=True)
        if key is not None and other is not None and as_keys(key) != as_keys(other)
    ):
        raise ConfigError(problems)
    return {
        name: other if key is None else key
        for (name, key), other in zip(keys.items(), older.values(), strict=True)
    }


class NetworkedActiveObject(_Networked):
    """A miros `ActiveObject` on the mesh: states are functions with `@spy_on`."""


class NetworkedFactory(_Networked, Factory):
    """A miros `Factory` on the mesh: states are built with `create`, `catch` and `nest`."""
