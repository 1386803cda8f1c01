"""Looks at brokers that discovery found: short connections outside of the pools, cut in time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import amqp
import kombu

from miros_mesh.errors import BrokerUnreachableError, LinkError, NoMeshError, OtherKeyError
from miros_mesh.link.connections import Dial, close_here, drop, establish, limit_close
from miros_mesh.link.ports import Broker, Credentials, as_given
from miros_mesh.link.rabbitmq.deadline import Cutter, Deadline
from miros_mesh.link.translation import translated
from miros_mesh.timing.lookups import Lookups


class Looks:
    """Any number of looks at once, each on the thread that asks for it.

    A pool has places for connections that work; a search of a whole network would take them all.
    """

    def __init__(self, dial: Dial, credentials: Credentials = as_given) -> None:
        self._dial = dial
        self._credentials = credentials
        self._lookups = Lookups("mesh-lookup")
        # For `abandon`, in a child that has one thread; here each look only adds.
        self._opened: weakref.WeakSet[kombu.Connection] = weakref.WeakSet()
        self._under_way: set[Deadline] = set()
        self._stopped = False
        self._lock = threading.Lock()
        """Guards `_under_way` and `_stopped`: a look that begins is cut by `stop`, or refused."""

    def look(
        self,
        broker: Broker,
        *,
        exchange: str,
        marks: Sequence[str],
        timeout_s: float,
        instead: Sequence[str] = (),
    ) -> None:
        """See whether our mesh is at a broker's first address, within `timeout_s`.

        Declares nothing. One of the exchanges `instead` is enough. Raises the `LinkError` that says
        what is there: `NoMeshError` without any of them, `OtherKeyError` without any of `marks`.
        """
        with self._connection(broker, timeout_s) as connection:
            if any(_has(connection, each) for each in instead):
                return
            if not _has(connection, exchange):
                raise NoMeshError(f"{broker.name} has no mesh; does a node use this virtual host?")
            if not any(_has(connection, mark) for mark in marks):
                raise OtherKeyError(f"the mesh at {broker.name} has none of our keys")

    def stop(self) -> None:
        """Cut every look, from any thread; none begins any more."""
        # Waits for the resolver have no socket yet that a deadline could cut.
        self._lookups.stop()
        with self._lock:
            self._stopped = True
            # A cut only sets an event, so it may be done under the lock.
            for deadline in self._under_way:
                deadline.cut()

    def abandon(self) -> None:
        """In a forked child: close the descriptors of all connections here, and only here."""
        # A thread of the parent may have held the lock when the process forked.
        self._lock = threading.Lock()
        for connection in list(self._opened):
            close_here(connection)

    @contextmanager
    def _connection(self, broker: Broker, timeout_s: float) -> Iterator[kombu.Connection]:
        # Why they may be old is for the connections of the node, which need them, to tell.
        address = next((self._credentials(each)[0] for each in broker.addresses[:1]), None)
        with self._deadline(broker, timeout_s) as deadline, in_time(broker.name, deadline):
            # `connect_timeout` limits a single step, a silent port say; the deadline limits the
            # whole look, and `CautiousConnection` takes it from the options.
            connection = self._dial(address)
            connection.connect_timeout = timeout_s
            connection.transport_options = {
                **connection.transport_options,
                "cutter": deadline,
            }
            self._opened.add(connection)
            try:
                with translated(broker.name, connecting=True):
                    establish(connection)
                with translated(broker.name):
                    yield connection
                    # In order, so that RabbitMQ logs no abrupt end for each look at it.
                    limit_close(connection)
                    connection.release()
            finally:
                drop(connection)

    @contextmanager
    def _deadline(self, broker: Broker, timeout_s: float) -> Iterator[Deadline]:
        name = f"mesh-deadline-{broker.name}"
        with Deadline(timeout_s, name, self._lookups) as deadline:
            with self._lock:
                if self._stopped:
                    raise BrokerUnreachableError(f"{broker.name} is not looked at any more")
                self._under_way.add(deadline)
            try:
                yield deadline
            finally:
                with self._lock:
                    self._under_way.discard(deadline)


@contextmanager
def in_time(where: str, deadline: Cutter) -> Iterator[None]:
    """Blame the deadline, and not the broker, for what breaks once the connection was cut."""
    try:
        yield
    except LinkError as error:
        if not deadline.passed:
            raise
        raise BrokerUnreachableError(f"{where} does not answer in time") from error


def _has(connection: kombu.Connection, exchange: str) -> bool:
    # `passive` asks and declares nothing.
    # A channel of its own: the broker closes it when there is no such exchange.
    channel = connection.channel()
    try:
        channel.exchange_declare(exchange=exchange, type="topic", passive=True)
    except amqp.NotFound:
        return False
    channel.close()
    return True
