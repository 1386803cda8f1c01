"""The Kombu connection pools of one node, and the one place where foreign errors are translated."""

from __future__ import annotations

import socket
import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import amqp
import kombu
from kombu.connection import ConnectionPool

from miros_mesh.address import BrokerAddress
from miros_mesh.errors import (
    BrokerConflictError,
    BrokerUnreachableError,
    CertificateError,
    ConnectionLostError,
    CredentialsRefusedError,
    LinkError,
    MeshError,
    NotAmqpError,
    PermissionDeniedError,
    TlsError,
    VirtualHostError,
)
from miros_mesh.link.ports import Broker
from miros_mesh.link.rabbitmq.deadline import Deadline
from miros_mesh.lookups import Lookups

Dial = Callable[[BrokerAddress | None], kombu.Connection]

_FOREIGN: tuple[type[Exception], ...] = (
    amqp.AMQPError,
    kombu.exceptions.KombuError,
    OSError,
)
# A publisher, a subscriber and a probe at once, and one to spare while a dead one is replaced.
CONNECTIONS_PER_ADDRESS = 4
# Closing politely waits for the peer's answer, which a dead peer never gives.
_CLOSE_TIMEOUT_S = 1.0


class _Pool(ConnectionPool):
    """Left alone in a child of `multiprocessing`, where Kombu would shut down its parent's."""

    close_after_fork = False


class ConnectionPools:
    """One Kombu connection pool an address; a connection belongs to one thread until given back."""

    def __init__(self, dial: Dial) -> None:
        self._dial = dial
        self._pools: dict[BrokerAddress | None, ConnectionPool] = {}
        self._connections: weakref.WeakSet[kombu.Connection] = weakref.WeakSet()
        self._lookups = Lookups("mesh-lookup")
        self._looks: set[Deadline] = set()
        self._looking = True
        self._lock = threading.Lock()

    def open(self, broker: Broker) -> kombu.Connection:
        """An established connection to the first address that answers.

        Raises one error that tells of all addresses when none does; it is retryable if one of them
        may answer later.
        """
        errors: list[LinkError] = []
        for address in broker.addresses or (None,):
            try:
                return self._open(broker.name, address)
            except LinkError as error:
                errors.append(error)
        first = next((error for error in errors if error.retryable), errors[0])
        if len(errors) == 1:
            raise first
        raise type(first)("; ".join(map(str, errors))) from first

    def give_back(self, connection: kombu.Connection, *, broken: bool) -> None:
        """End a loan. A broken connection is dropped without a word to its peer."""
        if broken:
            connection.collect(_CLOSE_TIMEOUT_S)
        else:
            _hurry(connection)
        try:
            connection._pool.replace(connection)  # noqa: SLF001 - a pooled connection knows its pool
        except (amqp.AMQPError, OSError):
            connection.collect(_CLOSE_TIMEOUT_S)

    @contextmanager
    def apart(self, broker: Broker, timeout_s: float) -> Iterator[kombu.Connection]:
        """A connection outside of the pools, to the first address alone; cut after `timeout_s`.

        Raises what `open` raises.
        """
        address = next(iter(broker.addresses), None)
        with self._deadline(broker, timeout_s) as deadline:
            connection = self._dial(address)
            connection.connect_timeout = timeout_s
            connection.transport_options = {
                **connection.transport_options,
                "deadline": deadline,
                "lookups": self._lookups,
            }
            self._connections.add(connection)
            try:
                with self._in_time(broker, deadline):
                    with translated(broker.name, connecting=True):
                        _establish(connection)
                    with translated(broker.name):
                        yield connection
                _hurry(connection)
                connection.release()
            finally:
                # Says nothing to the peer any more; after an orderly end there is nothing left.
                connection.collect(_CLOSE_TIMEOUT_S)

    def end_apart(self) -> None:
        """Cut every connection that is apart from the pools, and let none begin."""
        self._lookups.stop()
        with self._lock:
            self._looking = False
            for deadline in self._looks:
                deadline.cut()

    @contextmanager
    def _deadline(self, broker: Broker, timeout_s: float) -> Iterator[Deadline]:
        with Deadline(timeout_s, f"mesh-deadline-{broker.name}") as deadline:
            with self._lock:
                if not self._looking:
                    raise BrokerUnreachableError(f"{broker.name} is not looked at any more")
                self._looks.add(deadline)
            try:
                yield deadline
            finally:
                with self._lock:
                    self._looks.discard(deadline)

    @contextmanager
    def _in_time(self, broker: Broker, deadline: Deadline) -> Iterator[None]:
        """What breaks since it was cut is no word of the broker's."""
        try:
            yield
        except LinkError as error:
            if not deadline.passed:
                raise
            raise BrokerUnreachableError(f"{broker.name} does not answer in time") from error

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
        self._pools = {}
        for connection in list(self._connections):
            _let_go(connection)

    def _open(self, name: str, address: BrokerAddress | None) -> kombu.Connection:
        where = address.redacted if address else name
        with translated(where, connecting=True):
            connection = self._pool(address).acquire(block=False)
        self._connections.add(connection)
        try:
            with translated(where, connecting=True):
                _establish(connection)
        except BaseException:
            self.give_back(connection, broken=True)
            raise
        return connection

    def _pool(self, address: BrokerAddress | None) -> ConnectionPool:
        with self._lock:
            if address not in self._pools:
                self._pools[address] = _Pool(self._dial(address), CONNECTIONS_PER_ADDRESS)
            return self._pools[address]


def _establish(connection: kombu.Connection) -> None:
    connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)


def _hurry(connection: kombu.Connection) -> None:
    if sock := getattr(connection.connection, "sock", None):
        sock.settimeout(_CLOSE_TIMEOUT_S)


def _let_go(connection: kombu.Connection) -> None:
    """Without py-amqp's `shutdown`, which would end the connection for the parent, too.

    From then on it finds a closed socket and can do no harm, whoever closes or forgets it.
    """
    # The public attribute would connect anew.
    with suppress(amqp.AMQPError):
        if sock := getattr(connection._connection, "sock", None):  # noqa: SLF001
            sock.close()


@contextmanager
def translated(where: str, *, connecting: bool = False) -> Iterator[None]:
    """Raise every error of kombu, amqp and the socket as one of ours, naming the broker."""
    # py-amqp stumbles over a first answer that is no AMQP in many ways.
    foreign = Exception if connecting else _FOREIGN
    try:
        yield
    except MeshError:
        raise
    except foreign as error:
        raise _translate(error, where, connecting) from error


def _translate(error: Exception, where: str, connecting: bool) -> LinkError:
    for kind, make in _CONNECTING if connecting else _CONNECTED:
        if isinstance(error, kind):
            return make(where, error)
    return ConnectionLostError(f"the connection to {where} broke: {_brief(error)}")


def _brief(error: Exception) -> str:
    reply: Any = getattr(error, "reply_text", None)
    return str(reply or error or type(error).__name__)


def _refused_credentials(where: str, _: Exception) -> LinkError:
    return CredentialsRefusedError(
        f"{where} refused the user or the password; check them in your settings, and on the broker "
        "with: rabbitmqctl authenticate_user USER PASSWORD"
    )


def _no_virtual_host(where: str, error: Exception) -> LinkError:
    return VirtualHostError(
        f"{where}: the virtual host does not exist or the user may not enter it "
        f"({_brief(error)}); see: rabbitmqctl list_vhosts, rabbitmqctl set_permissions"
    )


def _certificate(where: str, error: Exception) -> LinkError:
    return CertificateError(
        f"{where}: the TLS handshake failed ({_brief(error)}); the certificate has to name this "
        "host, and its authority has to be known here: SSL_CERT_FILE names a file of authorities"
    )


def _tls(where: str, error: Exception) -> LinkError:
    return TlsError(f"{where}: the TLS handshake failed ({_brief(error)})")


def _unknown_host(where: str, _: Exception) -> LinkError:
    return BrokerUnreachableError(f"{where}: no such host name; check the address")


def _unreachable(where: str, error: Exception) -> LinkError:
    return BrokerUnreachableError(
        f"nobody answers at {where} ({_brief(error)}); does the broker run, and is the port right?"
    )


def _too_many(where: str, _: Exception) -> LinkError:
    return BrokerUnreachableError(
        f"{where}: this node has {CONNECTIONS_PER_ADDRESS} connections there already; "
        "try again when one is free"
    )


def _no_amqp(where: str, error: Exception) -> LinkError:
    return NotAmqpError(
        f"what answers at {where} does not speak AMQP ({type(error).__name__}); is the port right?"
    )


def _denied(where: str, error: Exception) -> LinkError:
    return PermissionDeniedError(
        f"{where}: the user lacks a permission ({_brief(error)}); the mesh needs to configure, "
        "write and read names that begin with miros_mesh."
    )


def _conflict(where: str, error: Exception) -> LinkError:
    return BrokerConflictError(
        f"{where} holds something of our name declared in another way ({_brief(error)}); "
        "delete it, or give this mesh a virtual host of its own"
    )


Make = Callable[[str, Exception], LinkError]
Kinds = tuple[tuple[tuple[type[Exception], ...], Make], ...]

_CONNECTING: Kinds = (
    ((amqp.AccessRefused,), _refused_credentials),
    ((amqp.NotAllowed,), _no_virtual_host),
    ((ssl.SSLCertVerificationError,), _certificate),
    ((ssl.SSLError,), _tls),
    ((socket.gaierror,), _unknown_host),
    ((kombu.exceptions.ConnectionLimitExceeded,), _too_many),
    ((amqp.FrameSyntaxError, amqp.UnexpectedFrame), _no_amqp),
    (_FOREIGN, _unreachable),
    ((Exception,), _no_amqp),
)
_CONNECTED: Kinds = (
    ((amqp.AccessRefused,), _denied),
    ((amqp.PreconditionFailed, amqp.ResourceLocked), _conflict),
)
