"""Foreign errors: each becomes the error of ours that says what to do."""

from __future__ import annotations

import socket
import ssl
import struct

import amqp
import kombu
import pytest

from miros_mesh.errors import (
    BrokerConflictError,
    BrokerUnreachableError,
    CertificateError,
    ChannelLimitError,
    ConfirmTimeoutError,
    ConnectionLostError,
    CredentialsRefusedError,
    LinkError,
    MeshError,
    NotAmqpError,
    PermissionDeniedError,
    TlsError,
    VirtualHostError,
)
from miros_mesh.link.translation import translated

WHERE = "amqp://peter@127.0.0.1:5672//"


def translation(error: Exception, *, connecting: bool) -> Exception:
    """What reaches the caller in place of an error."""
    with pytest.raises(Exception) as raised, translated(WHERE, connecting=connecting):  # noqa: PT011
        raise error
    return raised.value


@pytest.mark.parametrize(
    ("foreign", "ours", "said"),
    [
        (amqp.AccessRefused("no"), CredentialsRefusedError, "check them in your settings"),
        (amqp.NotAllowed("no vhost"), VirtualHostError, "rabbitmqctl list_vhosts"),
        (ssl.SSLCertVerificationError("self-signed"), CertificateError, "SSL_CERT_FILE"),
        (ssl.SSLError("wrong version"), TlsError, "wrong version"),
        (socket.gaierror(-2, "unknown"), BrokerUnreachableError, "no such host name"),
        (kombu.exceptions.ConnectionLimitExceeded(7), BrokerUnreachableError, "7 connections"),
        (amqp.FrameSyntaxError("?"), NotAmqpError, "is the port right?"),
        (ConnectionRefusedError(111, "refused"), BrokerUnreachableError, "does the broker run"),
        (TimeoutError("timed out"), BrokerUnreachableError, "timed out"),
        (struct.error("unpack"), NotAmqpError, "does not speak AMQP (error)"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_while_connecting(foreign: Exception, ours: type[LinkError], said: str) -> None:
    error = translation(foreign, connecting=True)

    assert type(error) is ours
    assert WHERE in str(error)
    assert said in str(error)
    assert error.__cause__ is foreign


@pytest.mark.parametrize(
    ("foreign", "ours", "said"),
    [
        (amqp.AccessRefused("no"), PermissionDeniedError, "the user lacks a permission (no)"),
        (amqp.PreconditionFailed("type"), BrokerConflictError, "delete it, or give this mesh"),
        (amqp.ResourceLocked("locked"), BrokerConflictError, "(locked)"),
        (amqp.ResourceError("no free channel ids"), ChannelLimitError, "raise channel_max"),
        (amqp.NotFound("gone"), ConnectionLostError, "gone"),
        (ConnectionResetError(104, "reset"), ConnectionLostError, "reset"),
        (kombu.exceptions.OperationalError(), ConnectionLostError, "OperationalError"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_once_connected(foreign: Exception, ours: type[LinkError], said: str) -> None:
    error = translation(foreign, connecting=False)

    assert type(error) is ours
    assert WHERE in str(error)
    assert said in str(error)


@pytest.mark.parametrize("connecting", [False, True])
def test_an_error_of_ours_passes_as_it_is(connecting: bool) -> None:
    error: MeshError = ConfirmTimeoutError("late")

    assert translation(error, connecting=connecting) is error


def test_an_error_of_the_program_is_no_error_of_a_connection() -> None:
    error = ValueError("a bug")

    assert translation(error, connecting=False) is error
