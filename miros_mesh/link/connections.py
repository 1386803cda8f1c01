"""The connections of one node: a pool for each address, and what is done with a single one."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import amqp
import kombu
from kombu.connection import ConnectionPool

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import CredentialsFileError, CredentialsRefusedError, LinkError
from miros_mesh.link.ports import Broker, Credentials, as_given
from miros_mesh.link.rabbitmq.deadline import Cutter
from miros_mesh.link.translation import translated
from miros_mesh.text import logger_of

logger = logger_of(__name__)

Dial = Callable[[BrokerAddress | None], kombu.Connection]
"""Makes a connection that is not yet established."""

# A publisher, a subscriber and a probe at once, and one to spare while a dead one is replaced.
CONNECTIONS_PER_ADDRESS = 4
# Closing politely waits for the peer's answer, which a dead peer never gives.
_CLOSE_TIMEOUT_S = 1.0


class _Pool(ConnectionPool):
    """Left alone in a child of `multiprocessing`, where Kombu would shut down its parent's."""

    close_after_fork = False


class ConnectionPools:
    """One Kombu connection pool an address; a connection belongs to one thread until given back."""

    def __init__(self, dial: Dial, credentials: Credentials = as_given) -> None:
        self._dial = dial
        self._credentials = credentials
        # By the address as the settings have it, and what its connections are made of now.
        self._pools: dict[BrokerAddress | None, ConnectionPool] = {}
        self._latest: dict[BrokerAddress | None, BrokerAddress | None] = {}
        # For `abandon`, in a child that has one thread; here each connecting thread only adds.
        self._opened: weakref.WeakSet[kombu.Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        """Guards `_pools` and `_latest`; nothing is connected or closed under it."""

    def open(self, broker: Broker, cutter: Cutter | None = None) -> kombu.Connection:
        """Lend an established connection to the first address that answers.

        Raises one error that tells of all addresses when none does; it is retryable if one of them
        may answer later. The `cutter` ends the attempt, and the connection, from another thread.
        """
        cutter = cutter or Cutter()
        # In the order of the settings at every call: a cluster's first node is asked first again
        # after a fail-over, and a node that is down costs one attempt.
        errors: list[LinkError] = []
        for address in broker.addresses or (None,):
            try:
                return self._open(broker.name, address, cutter)
            except LinkError as error:
                errors.append(error)
                if cutter.passed:
                    break
        first = next((error for error in errors if error.retryable), errors[0])
        if len(errors) == 1:
            raise first
        # Its class decides about the next attempt, so one that may pass speaks for all.
        raise type(first)("; ".join(map(str, errors))) from first

    def give_back(self, connection: kombu.Connection, *, broken: bool) -> None:
        """End a loan. A broken connection is dropped without a word to its peer."""
        if broken:
            drop(connection)
        else:
            limit_close(connection)
        # Closed, not lent again: kombu's pool lends a dead connection without looking. `replace`
        # makes its place free for a new one.
        try:
            connection._pool.replace(connection)  # noqa: SLF001 - a pooled connection knows its pool
        except (amqp.AMQPError, OSError):
            drop(connection)

    def close(self) -> None:
        """Close every connection, lent or not."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.force_close_all()

    def abandon(self) -> None:
        """In a forked child: close the descriptors of all connections here, and only here."""
        # A thread of the parent may have held the lock when the process forked.
        self._lock = threading.Lock()
        # Not closed: that would end the connections for the parent, too.
        self._pools = {}
        for connection in list(self._opened):
            close_here(connection)

    def _open(self, name: str, address: BrokerAddress | None, cutter: Cutter) -> kombu.Connection:
        # Each time: a password that was changed at the broker is in its file by now, or soon.
        latest, problem = self._credentials(address) if address else (None, "")
        where = latest.redacted if latest else name
        try:
            connection = self._established(where, address, latest, cutter)
        except CredentialsRefusedError as error:
            if problem:
                raise CredentialsFileError(f"{error}; they are old: {problem}") from error
            raise
        if problem:
            logger.warning("%s still takes an old password: %s", where, problem)
        return connection

    def _established(
        self,
        where: str,
        address: BrokerAddress | None,
        latest: BrokerAddress | None,
        cutter: Cutter,
    ) -> kombu.Connection:
        with translated(where, connecting=True):
            # Never waits for a place: a full pool is an error, and one that is tried again.
            connection = self._pool(address, latest).acquire(block=False)
        self._opened.add(connection)
        # A dictionary of its own: kombu shares one among all connections of a pool.
        connection.transport_options = {**connection.transport_options, "cutter": cutter}
        try:
            with translated(where, connecting=True):
                establish(connection)
        # Of any exception, or its place in the pool would be lost.
        except BaseException:
            self.give_back(connection, broken=True)
            raise
        return connection

    def _pool(self, address: BrokerAddress | None, latest: BrokerAddress | None) -> ConnectionPool:
        with self._lock:
            if address not in self._pools:
                self._pools[address] = _Pool(self._dial(latest), CONNECTIONS_PER_ADDRESS)
            elif self._latest[address] != latest:
                # Kombu makes each further connection of the pool like this one.
                self._pools[address].connection = self._dial(latest)
            self._latest[address] = latest
            return self._pools[address]


def establish(connection: kombu.Connection) -> None:
    """Connect, once; raises what amqp, kombu or the socket raise."""
    # In kombu 0 means one attempt, and None attempts without end. Pauses are for `link.retry`.
    connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)


def limit_close(connection: kombu.Connection) -> None:
    """Let an orderly close wait for its answer for a second at most."""
    if sock := getattr(connection.connection, "sock", None):
        sock.settimeout(_CLOSE_TIMEOUT_S)


def drop(connection: kombu.Connection) -> None:
    """Close without a word to the peer; after an orderly end there is nothing left to do."""
    connection.collect(_CLOSE_TIMEOUT_S)


def close_here(connection: kombu.Connection) -> None:
    """In a forked child: close our descriptor, without py-amqp's `shutdown`.

    That would end the connection for the parent, too. From then on py-amqp finds a closed socket
    and does no harm, no matter what closes or forgets the connection.
    """
    # The public attribute would connect anew.
    with suppress(amqp.AMQPError):
        if sock := getattr(connection._connection, "sock", None):  # noqa: SLF001
            sock.close()
