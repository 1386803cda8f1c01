"""A thread that owns one broker connection: connect, serve, reconnect, until told to stop.

| state        | what the thread does                         | and then                        |
| ------------ | -------------------------------------------- | ------------------------------- |
| connecting   | dials, a few times; `_opened` declares       | serving; ended if all fail      |
| serving      | turns, waits for input or a wake, reads      | reconnecting if anything breaks |
| reconnecting | `_lost`; pauses; dials until it succeeds     | serving                         |
| stopping     | turns and reads without waiting              | `_lost` once `_finished`; ended |

`stop` leads from serving to stopping; in the other states it cuts the attempt under way, and the
thread ends. A broker that says nothing to a worker that stops is cut off, too. `wait_ready` returns
when connecting is over. A patient worker (one without a number of attempts) connects as one that
reconnects does. Each attempt that fails and is made again is told.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator

import kombu
import tenacity

from miros_mesh.errors import BrokerUnreachableError, ConnectionLostError, LinkError
from miros_mesh.link.connections import ConnectionPools
from miros_mesh.link.ports import Broker
from miros_mesh.link.rabbitmq.deadline import Cutter
from miros_mesh.link.rabbitmq.frame_reader import FrameReader
from miros_mesh.link.retry import connect_policy, reconnect_policy
from miros_mesh.link.translation import translated
from miros_mesh.observer import Observer
from miros_mesh.systems import Inputs
from miros_mesh.text import logger_of
from miros_mesh.timing.threads import OwnedThread
from miros_mesh.timing.throttle import Throttle

logger = logger_of(__name__)

# py-amqp wants its heartbeat looked after about once a second, however busy the connection is.
TICK_S = 1.0
# A broker that drops each connection soon after it was made is left alone for longer each time.
_SHORT_LIFE_S = 5.0
_LONGEST_PAUSE_S = 2.0
# So many reach the longest pause; without a limit the number soon is too large for a float.
_MOST_DOUBLINGS = 6
# While a broker cannot be reached; a new reason is told at once.
_COMPLAIN_EVERY_S = 30.0
# Acknowledgements and stopping must not wait behind a backlog.
_READ_FOR_S = 0.02
# Who stops waits for a word of the broker for so long. Publisher and subscriber wait in turn, and
# both together may take no more than half a second.
PATIENCE_S = 0.15
# A store of this machine that another process has locked is no broker that hangs, and takes an
# acknowledgement when it is free, or never.
_STORE_PATIENCE_S = 1.0
# Between two cuts of what keeps a thread from ending.
_CUT_EVERY_S = 0.02


class Worker:
    """Subclasses say what to do on a new connection, at each turn, and when it is gone.

    Without a number of `attempts` it tries to connect until it is stopped.

    Only the worker's own thread touches the connection, since neither kombu nor py-amqp is
    thread-safe, unless a subclass lends it while that thread waits; all hooks run on it. Other
    threads leave tasks in a deque or parcels in the outbox, and `wake` it. It holds no lock while
    it waits.
    """

    def __init__(
        self,
        *,
        name: str,
        broker: Broker,
        pools: ConnectionPools,
        attempts: int | None,
        observer: Observer,
    ) -> None:
        self.broker = broker
        self._observer = observer
        self._pools = pools
        self._attempts = attempts
        self._thread = OwnedThread(name, self._run, wake=self.wake)
        self._stopping = self._thread.stopping
        # `_failure` is written on the thread before `_settled` is set, and read by others after it.
        self._settled = threading.Event()
        """Set when connecting is over; `_failure` says whether it failed."""
        self._failure: LinkError | None = None
        # A descriptor and no event, so that one poll waits for the broker's bytes and for a wake.
        # Neither end blocks: `put` wakes the worker under the lock of a network.
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._woken = False
        """Whether a byte is on its way through the pair, so that many wakes cost one."""
        self._cutter = Cutter()
        self._asked_at = 0.0
        """When `stop` was called first (`time.monotonic`)."""
        # From here on the thread's own, but for `_connection` and `_connected_to`, which others
        # read: one reference each.
        self._connection: kombu.Connection | None = None
        """From its first turn to its close."""
        self._since = 0.0
        self._connected_to = broker.name
        self._short_lives = 0
        self._failures = Throttle(_COMPLAIN_EVERY_S)
        self._quiet_until = 0.0
        self._away_since: float | None = None

    def start(self) -> None:
        """Begin to connect; returns at once."""
        # The error that ends the attempts is raised to who waits for them; one who lets them go on
        # for longer than this gets lines meanwhile.
        if self._attempts is not None:
            self._quiet_until = time.monotonic() + _COMPLAIN_EVERY_S
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> None:
        """Wait for the first connection. Raises the `LinkError` that prevents it."""
        if not self._settled.wait(timeout_s):
            raise BrokerUnreachableError(
                f"no connection to {self.broker.name} within {timeout_s:g} s"
            )
        if self._failure:
            # Each caller gets the same object, so the traceback of the one before is taken off.
            # The message says what to do; what happened inside of kombu is for the debug log.
            logger.debug("%s failed", self._thread.name, exc_info=self._failure)
            raise self._failure.with_traceback(None) from None

    @property
    def connected_to(self) -> str:
        """The broker's address that answered, without credentials."""
        return self._connected_to

    @property
    def alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.alive

    def wake(self) -> None:
        """End the current wait of the worker; cheap, from any thread."""
        if not self._woken:
            self._woken = True
            try:  # noqa: SIM105  # who transmits waits for this, and a context manager costs as much
                self._wake_writer.send(b"!")
            except OSError:
                # A full buffer wakes as well as one more byte; a closed one belongs to no thread.
                pass

    def abandon(self) -> None:
        """In a forked child, where it has no thread: wake the parent's no more."""
        self._close_wake()

    def _end(self, timeout_s: float, patience_s: float = PATIENCE_S) -> None:
        """Stop the thread, and wait for it for `timeout_s` at most.

        Meanwhile it cuts an attempt to connect, and a connection on which nothing came for
        `patience_s`.

        A callback of the application may stop its chart on this very thread, which then closes
        the socket pair itself, at its end.
        """
        began = time.monotonic()
        self._asked_at = self._asked_at or began
        read, heard_at = self._frames_read(), self._asked_at
        ended = self._thread.stop(0)
        while not (ended or self._thread.is_current):
            now, before = time.monotonic(), read
            read = self._frames_read()
            heard_at = heard_at if read == before else now
            allowed_s = max(patience_s, _STORE_PATIENCE_S) if read is None else patience_s
            if self._connection is None or now >= heard_at + allowed_s:
                self._cutter.cut()
            left = began + timeout_s - now
            if left <= 0:
                return
            ended = self._thread.join(min(_CUT_EVERY_S, left))
        if ended:
            self._close_wake()

    def _frames_read(self) -> int | None:
        """Count what has come on the connection; None for our own transports."""
        return getattr(getattr(self._connection, "_connection", None), "bytes_recv", None)

    def _close_wake(self) -> None:
        self._wake_reader.close()
        self._wake_writer.close()

    def _opened(self, connection: kombu.Connection) -> None:
        """Declare on a new connection what this worker needs there."""

    def _turn(self, connection: kombu.Connection) -> bool:
        """Do what can be done without waiting; True asks for another turn at once."""
        raise NotImplementedError

    def _due(self) -> float:
        """Return when (`time.monotonic`) a turn is due, even if nothing happens until then."""
        return math.inf

    def _lost(self, error: LinkError | None) -> None:
        """Forget the connection, which is gone; the error is None when a stop has ended it."""

    def _finished(self) -> bool:
        """Whether a stopping worker has nothing left to do."""
        return True

    def _over(self) -> None:
        """Let go of who waits for something: no turn follows."""

    def _run(self) -> None:
        try:
            # What breaks while serving stays inside of `_connected`; what comes out is a failure to
            # connect, or a fault of this library.
            with self._connected(self._first_policy()) as connection:
                self._settled.set()
                self._serve(connection)
            while not self._stopping.wait(self._pause()):
                policy = reconnect_policy(self._stopping, self._unreached)
                with self._connected(policy) as connection:
                    self._serve(connection)
        except LinkError as error:
            self._failure = error
        except Exception as error:
            thread = self._thread.name
            logger.exception("%s ended: unexpected error; please report it", thread)
            self._failure = LinkError(f"{thread} ended: unexpected error; see the log")
            if not self._stopping.is_set():
                self._observer.thread_died(thread=thread, peer=self.broker.name, error=error)
        finally:
            self._over()
            # Again, for a thread that never connected: `wait_ready` then raises `_failure` at once.
            self._settled.set()
            # One that ended by itself keeps the pair until its `stop`: threads that put parcels
            # into its outbox go on waking it.
            if self._stopping.is_set():
                self._close_wake()

    def _first_policy(self) -> tenacity.Retrying:
        if self._attempts is not None:
            return connect_policy(self._stopping, self._attempts, self._unreached)
        return reconnect_policy(self._stopping, self._unreached)

    def _unreached(self, error: LinkError) -> None:
        """Tell of an attempt that failed, and that is made again after a pause."""
        self._observer.unreached(peer=self.broker.name, reason=error.reason)
        if time.monotonic() < self._quiet_until:
            return
        if self._away_since is None:
            self._away_since = time.monotonic()
        if times := self._failures.due(error.reason):
            more = f" ({times} attempts since the last line)" if times > 1 else ""
            name = self._thread.name
            logger.warning("%s cannot connect, and keeps trying%s: %s", name, more, error)

    def _pause(self) -> float:
        """Seconds before the next connection: more each time one breaks soon after it was made."""
        lived = time.monotonic() - self._since
        self._short_lives = self._short_lives + 1 if lived < _SHORT_LIFE_S else 0
        # None after the first short life; then 0.2, 0.4, 0.8, 1.6 and 2 s. The policy paces
        # attempts that fail; these connections were made.
        if self._short_lives <= 1:
            return 0
        return min(0.05 * 2.0 ** min(self._short_lives, _MOST_DOUBLINGS), _LONGEST_PAUSE_S)

    @contextlib.contextmanager
    def _connected(self, policy: tenacity.Retrying) -> Iterator[kombu.Connection]:
        connection: kombu.Connection = policy(self._connect)
        self._connection = connection
        self._since = time.monotonic()
        if self._away_since is not None:
            away_s = self._since - self._away_since
            logger.info("%s is connected again, after %.1f s", self._thread.name, away_s)
            self._away_since = None
        # The next outage is told at its first attempt again.
        self._failures = Throttle(_COMPLAIN_EVERY_S)
        self._quiet_until = 0.0
        loss: LinkError | None = None
        broken = False
        try:
            yield connection
        except Exception as error:  # noqa: BLE001 - a worker outlives whatever breaks a connection
            broken = True
            # What was cut breaks as if the broker had hung up.
            if not self._cutter.passed:
                loss = self._as_link_error(error)
        finally:
            self._away_since = time.monotonic()
            # The loan ends whatever `_lost` does: else its place in the pool would be gone.
            try:
                self._lost(loss)
            finally:
                self._pools.give_back(connection, broken=broken)
                self._connection = None

    def _connect(self) -> kombu.Connection:
        try:
            return self._attempt()
        except LinkError as error:
            if not self._stopping.is_set():
                raise
            raise BrokerUnreachableError(
                f"{self.broker.name} is not connected to: it was stopped meanwhile"
            ) from error

    def _attempt(self) -> kombu.Connection:
        if self._stopping.is_set():
            raise BrokerUnreachableError("stopped")
        connection = self._pools.open(self.broker, self._cutter)
        if self.broker.addresses:
            self._connected_to = connection.host
        try:
            with translated(self.broker.name):
                _limit_calls(connection)
                # A part of the attempt: a refusal here is tried again by the same policy.
                self._opened(connection)
        except LinkError:
            self._pools.give_back(connection, broken=True)
            raise
        except Exception as error:
            self._pools.give_back(connection, broken=True)
            if self._cutter.passed:
                raise ConnectionLostError("cut") from error
            raise self._as_link_error(error) from error
        return connection

    def _as_link_error(self, error: Exception) -> LinkError:
        """Also take AttributeError and the like, which py-amqp raises over a broken connection."""
        if isinstance(error, LinkError):
            return error
        # With its traceback, since it may be a fault of ours; a lost connection must not hide that.
        logger.error("%s reconnects: unexpected error", self._thread.name, exc_info=error)
        return ConnectionLostError(f"{self.broker.name}: unexpected {type(error).__name__}")

    def _serve(self, connection: kombu.Connection) -> None:
        next_tick = time.monotonic() + TICK_S
        incoming = Incoming(connection, self._wake_reader)
        with translated(self.broker.name):
            while not (self._stopping.is_set() and self._finished()):
                if not connection.connected:
                    # Kombu would silently open a new connection without our queues.
                    raise ConnectionLostError(f"the connection to {self.broker.name} is closed")
                # One that stops waits for nothing to come: it does what is left in its line, and
                # ends. `_end` limits how long its caller waits for that.
                hurry = self._turn(connection) or self._stopping.is_set()
                until = 0.0 if hurry else min(next_tick, self._due())
                incoming.look()
                self._wait_for_input(incoming, until - time.monotonic())
                self._read(connection, incoming)
                if time.monotonic() >= next_tick:
                    # Sends a heartbeat when nothing was sent for half an interval, and raises when
                    # nothing came for two (py-amqp's `heartbeat_tick`).
                    connection.heartbeat_check()
                    next_tick = time.monotonic() + TICK_S

    def _wait_for_input(self, incoming: Incoming, timeout_s: float) -> None:
        if incoming.wait(timeout_s):
            self._wake_reader.recv(64)
        # The next turn looks for work after this, so a wake that finds it still set is not lost,
        # and one that finds it reset costs one more turn. After each wait: the handler of a signal
        # may have broken off a wake that had set it, and sends nothing.
        self._woken = False

    def _read(self, _: kombu.Connection, incoming: Incoming) -> None:
        """Read what has come; handlers and confirms run inside of it."""
        until = time.monotonic() + _READ_FOR_S
        while incoming.there and time.monotonic() < until:
            incoming.read(until)


class Incoming:
    """What a connection has to read, and how its worker waits for that and for a wake.

    py-amqp reads a stream, of which some may be here already. Our own transports have a `fileno` of
    their own, of a doorbell that rings when a message comes, and never wait for the rest of it.
    """

    def __init__(self, connection: kombu.Connection, wake: socket.socket) -> None:
        self._connection = connection
        self._transport = connection.connection
        self._reader: FrameReader | None = getattr(self._transport, "reader", None)
        stream = self._transport.sock if self._reader else self._transport
        self._wake = wake.fileno()
        self._inputs = Inputs((stream.fileno(), self._wake))
        self.there = False
        """Whether there may be something to read."""

    def look(self) -> None:
        """See what is here already; others may use the connection from then until `wait` ends."""
        self.there = self._reader is not None and self._reader.pending

    def wait(self, timeout_s: float) -> bool:
        """Wait for input or a wake, unless `look` has found some; return whether it was woken."""
        pending = self.there
        ready = self._inputs.readable(0 if pending else timeout_s)
        woken = self._wake in ready
        # A doorbell that rings for a turn has been answered by then.
        self.there = pending or self._reader is None or len(ready) > woken
        return woken

    def read(self, until: float) -> None:
        """Read once, and have what has come handled, as long as there is time."""
        if self._reader is None:
            try:
                self._connection.drain_events(timeout=0)
            except TimeoutError:
                self.there = False
            return
        self._reader.fill()
        while self._transport.handle_next() and time.monotonic() < until:
            pass
        # Whether there is more the next wait tells, after a turn.
        self.there = self._reader.pending


def _limit_calls(connection: kombu.Connection) -> None:
    """Limit how long an unanswered call or a full buffer holds up the worker."""
    if sock := getattr(connection.connection, "sock", None):
        sock.settimeout(connection.connect_timeout)
