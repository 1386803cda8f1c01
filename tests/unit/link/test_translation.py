"""Foreign errors: each becomes the error of ours that says what to do."""

from __future__ import annotations

import socket
import ssl
import struct

import amqp
import kombu
import pytest
from amqp.exceptions import ERROR_MAP, error_for_code
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import (
    BrokerConflictError,
    BrokerRefusedError,
    BrokerUnreachableError,
    CertificateError,
    ChannelLimitError,
    ConfirmTimeoutError,
    ConnectionLimitError,
    ConnectionLostError,
    ConsumerTimeoutError,
    CredentialsRefusedError,
    GoneError,
    LinkError,
    MeshError,
    MessageTooLargeError,
    NotAmqpError,
    PermissionDeniedError,
    QueueLimitError,
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


def replied(code: int, text: str) -> Exception:
    """What py-amqp raises over a broker's reply."""
    error: Exception = error_for_code(code, text, (10, 40), amqp.ConnectionError)
    return error


NO_VHOST = "NOT_ALLOWED - vhost nope not found"
NO_ENTRY = "NOT_ALLOWED - access to vhost '/' refused for user 'peter'"
FULL_VHOST = f"{NO_ENTRY}: connection limit (5) is reached"
# A name with the words of another refusal in it.
TRICK_VHOST = "NOT_ALLOWED - vhost connection refused: node connection limit not found"
FULL_USER = "NOT_ALLOWED - connection refused for user 'u': user connection limit (5) is reached"
FULL_NODE = "NOT_ALLOWED - connection refused: node connection limit (5) is reached"
DOWN_VHOST = "INTERNAL_ERROR - access to vhost '/' refused for user 'u': vhost '/' is down"
FRAME_MAX = "NOT_ALLOWED - negotiated frame_max = 99 is lower than the minimum allowed value (4096)"


@pytest.mark.parametrize(
    ("foreign", "ours", "said"),
    [
        (amqp.AccessRefused("no"), CredentialsRefusedError, "check them in your settings"),
        (replied(530, NO_VHOST), VirtualHostError, "rabbitmqctl list_vhosts"),
        (replied(530, NO_ENTRY), VirtualHostError, NO_ENTRY),
        (replied(530, TRICK_VHOST), VirtualHostError, TRICK_VHOST),
        (replied(530, FULL_VHOST), ConnectionLimitError, "set_vhost_limits"),
        (replied(530, FULL_USER), ConnectionLimitError, "set_user_limits"),
        (replied(530, FULL_NODE), ConnectionLimitError, "raise connection_max"),
        (replied(530, FRAME_MAX), BrokerRefusedError, f"{WHERE} refused: {FRAME_MAX}"),
        (replied(541, DOWN_VHOST), ConnectionLostError, "is down"),
        (replied(320, "CONNECTION_FORCED - shutdown"), ConnectionLostError, "shutdown"),
        (replied(503, "COMMAND_INVALID - unknown"), BrokerRefusedError, "COMMAND_INVALID"),
        (ssl.SSLCertVerificationError("self-signed"), CertificateError, "SSL_CERT_FILE"),
        (ssl.SSLError("wrong version"), TlsError, "wrong version"),
        (socket.gaierror(-2, "unknown"), BrokerUnreachableError, "no such host name"),
        (kombu.exceptions.ConnectionLimitExceeded(7), BrokerUnreachableError, "7 connections"),
        (amqp.FrameSyntaxError("?"), NotAmqpError, "is the port right?"),
        (ConnectionRefusedError(111, "refused"), BrokerUnreachableError, "does the broker run"),
        (TimeoutError("timed out"), BrokerUnreachableError, "timed out"),
        (struct.error("unpack"), NotAmqpError, "does not speak AMQP (error)"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_while_connecting(foreign: Exception, ours: type[LinkError], said: str) -> None:
    error = translation(foreign, connecting=True)

    assert type(error) is ours
    assert WHERE in str(error)
    assert said in str(error)
    assert error.__cause__ is foreign


# As 3.8, 3.11, 4.0, 4.1 and 4.3 have it; what 3.10 says is tested with a 3.10.
OLD_TIMEOUT = "PRECONDITION_FAILED - consumer ack timed out on channel 1"
TIMEOUT = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value"
TOPIC = "ACCESS_REFUSED - write access to topic 't' in exchange 'x' in vhost '/' refused for user"
READ = "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'u'"
NODE_CHANNELS = "NOT_ALLOWED - number of channels opened on node 'n' has reached the maximum"
CLUSTER_QUEUES = "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in cluster (5) is"
TRANSIENT = "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated."
INVALID = "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'message size 5': negative"
DIFFERS = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': received"


@pytest.mark.parametrize(
    ("foreign", "ours", "said"),
    [
        (replied(403, READ), PermissionDeniedError, "names that begin with miros_mesh."),
        (replied(403, TOPIC), PermissionDeniedError, "set_topic_permissions"),
        (replied(403, "ACCESS_REFUSED - no"), BrokerRefusedError, "refused: ACCESS_REFUSED - no"),
        (replied(406, DIFFERS), BrokerConflictError, "delete it, or give this mesh"),
        (replied(406, INVALID), BrokerRefusedError, INVALID),
        (replied(406, OLD_TIMEOUT), ConsumerTimeoutError, "raise consumer_timeout"),
        (replied(406, TIMEOUT), ConsumerTimeoutError, "raise consumer_timeout"),
        (replied(406, CLUSTER_QUEUES), QueueLimitError, CLUSTER_QUEUES),
        (replied(311, "CONTENT_TOO_LARGE"), MessageTooLargeError, "max_event_bytes"),
        (replied(404, "NOT_FOUND - no queue 'q'"), GoneError, "no queue 'q'"),
        (replied(405, "RESOURCE_LOCKED - no"), BrokerConflictError, "another connection holds"),
        (amqp.ConsumerCancelled("None5", (60, 30)), GoneError, "ended a consumer"),
        (amqp.ResourceError("No free channel ids", (20, 10)), ChannelLimitError, "channel_max in"),
        (replied(530, NODE_CHANNELS), ChannelLimitError, "channel_max_per_node"),
        (replied(530, "NOT_ALLOWED - reused"), BrokerRefusedError, "refused: NOT_ALLOWED - reused"),
        (replied(540, "NOT_IMPLEMENTED - qos"), BrokerRefusedError, "NOT_IMPLEMENTED - qos"),
        (replied(541, TRANSIENT), BrokerRefusedError, TRANSIENT),
        (replied(541, "INTERNAL_ERROR"), ConnectionLostError, "INTERNAL_ERROR"),
        (replied(599, "BRAND_NEW - no"), BrokerRefusedError, "BRAND_NEW - no"),
        (replied(501, "FRAME_ERROR - type 3"), ConnectionLostError, "FRAME_ERROR - type 3"),
        # Words of py-amqp itself
        (amqp.RecoverableConnectionError("closed"), ConnectionLostError, "broke: closed"),
        (amqp.AMQPNotImplementedError("Unknown AMQP method"), ConnectionLostError, "Unknown AMQP"),
        (ConnectionResetError(104, "reset"), ConnectionLostError, "reset"),
        (kombu.exceptions.OperationalError(), ConnectionLostError, "OperationalError"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_once_connected(foreign: Exception, ours: type[LinkError], said: str) -> None:
    error = translation(foreign, connecting=False)

    assert type(error) is ours
    assert WHERE in str(error)
    assert said in str(error)


@pytest.mark.parametrize("connecting", [False, True])
@given(code=st.sampled_from([0, *ERROR_MAP]), text=st.text(), own_words=st.booleans())
def test_what_a_broker_says_is_fit_for_a_terminal(
    code: int, text: str, own_words: bool, connecting: bool
) -> None:
    foreign = amqp.AMQPError(text) if own_words else replied(code, text)

    assert str(translation(foreign, connecting=connecting)).isprintable()


@pytest.mark.parametrize("connecting", [False, True])
def test_an_error_of_ours_passes_as_it_is(connecting: bool) -> None:
    error: MeshError = ConfirmTimeoutError("late")

    assert translation(error, connecting=connecting) is error


def test_an_error_of_the_program_is_no_error_of_a_connection() -> None:
    error = ValueError("a bug")

    assert translation(error, connecting=False) is error
