"""Every foreign error as one of ours: the only place that knows what amqp, kombu and ssl raise."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeGuard, cast

import amqp
import kombu

from miros_mesh.errors import (
    BrokerUnreachableError,
    ConnectionLostError,
    GoneError,
    LinkError,
    LoginMethodError,
    MeshError,
    NotAmqpError,
)
from miros_mesh.link.rabbitmq.refusals import TlsSpokenError, refusal
from miros_mesh.link.rabbitmq.tls_failures import TlsFailedError, TlsFiles, tls_error

# An OSError is the socket's: a time-out, a reset, a TLS handshake, a name that does not resolve.
_FOREIGN: tuple[type[Exception], ...] = (
    amqp.AMQPError,
    kombu.exceptions.KombuError,
    OSError,
)


@contextmanager
def translated(where: str, *, connecting: bool = False) -> Iterator[None]:
    """Raise every error of kombu, amqp and the socket as one of ours, naming the broker.

    An error of ours passes as it is. While `connecting`, every other exception is foreign: py-amqp
    raises IndexError, struct.error and the like over a first answer that is no AMQP.
    """
    foreign = Exception if connecting else _FOREIGN
    try:
        yield
    except MeshError:
        raise
    except foreign as error:
        raise _translate(error, where, connecting) from error


def _translate(error: Exception, where: str, connecting: bool) -> LinkError:
    if _from_broker(error):
        refused = refusal(where, error.reply_code, _brief(error), connecting=connecting)
        if refused:
            return refused
    # Without a row once connected: whatever broke, a new connection is the way out, and is retried.
    for kinds, make in _CONNECTING if connecting else _CONNECTED:
        if isinstance(error, kinds):
            return make(where, error)
    return _lost(where, error)


def _from_broker(error: Exception) -> TypeGuard[Any]:
    """Whether a broker said it: py-amqp's own errors of a connection name no method."""
    own_words = isinstance(error, amqp.ConnectionError) and error.method_sig is None
    return isinstance(error, amqp.AMQPError) and not own_words


def _brief(error: Exception) -> str:
    """What the broker replied, else what the exception says, else its name."""
    # str() of an error of py-amqp puts the method and the code before the reply.
    reply: str | None = getattr(error, "reply_text", None)
    return reply or str(error) or type(error).__name__


def _tls(where: str, error: Exception) -> LinkError:
    # Without the files where a fault of TLS comes from elsewhere than the connection's beginning.
    failure = (
        error if isinstance(error, TlsFailedError) else TlsFailedError(cast(Any, error), TlsFiles())
    )
    return tls_error(where, failure)


def _wants_tls(where: str, _: Exception) -> LinkError:
    return NotAmqpError(
        f"what answers at {where} speaks TLS; write amqps://, or use the broker's port without "
        "TLS, mostly 5672"
    )


def _unknown_host(where: str, _: Exception) -> LinkError:
    return BrokerUnreachableError(f"{where}: no such host name; check the address")


def _unreachable(where: str, error: Exception) -> LinkError:
    # py-amqp reads an end of the stream as an OSError without a number.
    hung_up = isinstance(error, ConnectionResetError) or (
        isinstance(error, OSError) and error.errno is None and not isinstance(error, TimeoutError)
    )
    if hung_up and where.startswith("amqp:"):
        return BrokerUnreachableError(
            f"{where} hung up ({_brief(error)}); is the port right, or does it want TLS (amqps://)?"
        )
    return BrokerUnreachableError(
        f"no answer from {where} ({_brief(error)}); does the broker run, and is the port right?"
    )


def _own_words(where: str, error: Exception) -> LinkError:
    # Only its text tells it from other words of py-amqp.
    if "appropriate auth mechanism" not in str(error):
        return _unreachable(where, error)
    return LoginMethodError(
        f"{where} does not offer this login ({_brief(error)}): PLAIN is by password, EXTERNAL by "
        "certificate, for which the plugin rabbitmq_auth_mechanism_ssl is enabled and "
        "auth_mechanisms names it in rabbitmq.conf"
    )


def _connection_limit(where: str, error: Exception) -> LinkError:
    # Raised by the pool of this process and not by the broker.
    # kombu raises it with the limit of the pool as its one argument.
    return BrokerUnreachableError(
        f"{where}: this node has {error} connections there already; try again when one is free"
    )


def _no_amqp(where: str, error: Exception) -> LinkError:
    return NotAmqpError(
        f"what answers at {where} does not speak AMQP ({type(error).__name__}); is the port right?"
    )


def _cancelled(where: str, _: Exception) -> LinkError:
    # Its text is the number of the consumer.
    return GoneError(f"{where} ended a consumer: its queue was deleted, or has moved")


def _lost(where: str, error: Exception) -> LinkError:
    return ConnectionLostError(f"the connection to {where} broke: {_brief(error)}")


_Make = Callable[[str, Exception], LinkError]
_Kinds = tuple[tuple[tuple[type[Exception], ...], _Make], ...]

# The first row that fits counts, so a class stands above its bases.
_CONNECTING: _Kinds = (
    # The second one is an OSError.
    ((TlsFailedError, ssl.SSLError), _tls),
    ((socket.gaierror,), _unknown_host),
    ((kombu.exceptions.ConnectionLimitExceeded,), _connection_limit),
    ((amqp.FrameSyntaxError, amqp.UnexpectedFrame), _no_amqp),
    ((TlsSpokenError,), _wants_tls),
    ((amqp.ConnectionError,), _own_words),
    # A refused connection, no route, a time-out: OSErrors all of them.
    (_FOREIGN, _unreachable),
    ((Exception,), _no_amqp),
)
_CONNECTED: _Kinds = (((amqp.ConsumerCancelled,), _cancelled),)
