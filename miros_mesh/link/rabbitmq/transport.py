"""Kombu's py-amqp transport, made fit for brokers that hang, ports where none is, and strangers.

What py-amqp gets to read of a delivered message is its body, and of all else that a sender wrote
three numbers at most (`headers`): py-amqp raises at a routing key or a property that is no UTF-8,
at each redelivery again, and kombu decompresses what a header calls compressed. Anyone who may
publish could silence us without a key.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from amqp.method_framing import frame_handler
from amqp.platform import KNOWN_TCP_OPTS
from amqp.spec import Basic
from amqp.transport import DEFAULT_SOCKET_SETTINGS
from kombu.transport import pyamqp

from miros_mesh.link.rabbitmq.channels import OwnedChannel
from miros_mesh.link.rabbitmq.deadline import Cutter
from miros_mesh.link.rabbitmq.frame_reader import DELIVER, HEADER, AmqpFrame, FrameReader
from miros_mesh.link.rabbitmq.headers import METHOD, Delivered, wanted_properties
from miros_mesh.link.rabbitmq.refusals import TlsSpokenError
from miros_mesh.link.rabbitmq.tls_context import context_of
from miros_mesh.link.rabbitmq.tls_failures import TlsFailedError, TlsFiles
from miros_mesh.timing.lookups import Lookups

# A kind of AMQP frames.
_HEARTBEAT: Final = 8
# A server's greeting tells its properties, and has less than a thousand bytes.
_LARGEST_GREETING_BYTES: Final = 64 * 1024
# The first byte of a TLS record that is an alert, and the second, of every version (RFC 8446, 5.1).
_TLS_ALERT: Final = 21
_TLS_VERSION: Final = 3
# The payload of a header is class, weight and body size; then the properties follow.
_HEADER_BYTES: Final = 12
# The answer to basic.get is laid out likewise, with the number of messages left (a long) behind it.
_GET_OK: Final = bytes((0, Basic.GetOk[0], 0, Basic.GetOk[1]))
_MESSAGES_LEFT_BYTES: Final = 4
_NO_ROUTING_KEY: Final = b"\0"
# A long long and a bit, which takes a byte (AMQP 0-9-1, basic.deliver).
_DELIVERY_TAG_AND_REDELIVERED: Final = 9


class CautiousConnection(pyamqp.Connection):
    """A py-amqp connection that trusts no peer and leaves no socket open.

    Its `cutter` cuts it, whatever it is doing; it waits no longer for the address of a name than
    for a connection. `tls` is for connections with TLS.
    """

    def __init__(
        self, *, cutter: Cutter | None = None, tls: TlsFiles | None = None, **options: Any
    ) -> None:
        # kombu hands `transport_options` on to here, which is how a worker brings its cutter.
        super().__init__(**options, frame_handler=cautious_frame_handler)
        self._cutter = cutter or Cutter()
        self._tls = tls or TlsFiles()
        self.reader: FrameReader | None = None
        """What the broker's frames are read with; None before its greeting."""

    def connect(self, callback: Any = None) -> Any:
        """Connect; py-amqp itself closes the socket after some errors only."""
        # Looked up at each cut, since py-amqp makes the socket during `connect`, one for each
        # address.
        self._cutter.watch(lambda: getattr(self._transport, "sock", None))
        try:
            return super().connect(callback)
        # Of any kind: py-amqp collects after an OSError, and not after a refused login, say.
        except Exception as error:
            self.collect()
            if isinstance(error, ssl.SSLError):
                raise TlsFailedError(error, self._tls) from error
            raise

    def handle_next(self) -> bool:
        """Handle what has come next, a delivery or a frame; whether anything was here.

        Who is called for it may read the next frames, for the answer to a call.
        """
        reader = self.reader
        if reader is None:
            return False
        if (delivery := reader.delivery()) and (callback := self._callback_of(delivery)):
            reader.take(delivery)
            # By which py-amqp knows that the broker lives.
            self.bytes_recv += 1
            callback(delivery)
            return True
        if frame := reader.frame():
            self.on_inbound_frame(frame)
        return frame is not None

    def _callback_of(self, delivery: Delivered) -> Callable[[Delivered], object] | None:
        """Return who takes a delivery; None where py-amqp knows what becomes of it."""
        channel = self.channels.get(delivery.channel) if self.channels else None
        if not isinstance(channel, OwnedChannel) or channel.is_closing or not channel.is_open:
            return None
        callback: Callable[[Delivered], object] | None
        callback = channel.callbacks.get(delivery.consumer_tag)
        return callback

    def Transport(self, *arguments: Any, **options: Any) -> Any:  # noqa: N802 - py-amqp's name
        """Make the socket; its first read is checked to be a greeting of AMQP."""
        transport = super().Transport(*arguments, **options)
        if self.ssl:
            # At each connection, so that renewed files count; before there is a socket.
            context = context_of(self._tls)
            transport._wrap_socket = context.wrap_socket  # noqa: SLF001
            transport._write = _hearing_alerts(transport)  # noqa: SLF001
        read = transport._read  # noqa: SLF001 - the one place that both kinds of socket share

        def read_first(size: int, initial: bool = False) -> bytes:
            data: bytes = read(size, initial)
            # The header of a frame is read with `initial`, the rest of it without.
            if not initial:
                return data
            transport._read = read  # noqa: SLF001
            # Behind the greeting, of which exactly its bytes are read.
            self.reader = FrameReader(transport)
            transport.read_frame = self.reader.read_frame
            kind, channel, greeting_bytes = struct.unpack(">BHI", data)
            # A TLS server answers the header of AMQP with an alert.
            if data[0] == _TLS_ALERT and data[1] == _TLS_VERSION:
                raise TlsSpokenError("the first words are an alert of TLS")
            # py-amqp would wait for as many bytes as the first words of another program say.
            if (kind, channel) != (METHOD, 0) or greeting_bytes > _LARGEST_GREETING_BYTES:
                raise ValueError("the first words are no greeting of AMQP")
            return data

        transport._read = read_first  # noqa: SLF001
        transport._connect = self._dialler(transport)  # noqa: SLF001
        transport._get_tcp_socket_defaults = _wanted_options  # noqa: SLF001
        return transport

    def _dialler(self, transport: Any) -> Any:
        """Replace py-amqp's own `_connect`, which waits for a resolver without a limit."""

        def connect(host: str, port: int, timeout_s: float) -> None:
            error: OSError = TimeoutError(f"{host} has no address")
            found = _addresses(self._cutter.lookups, host, port, timeout_s)
            for family, kind, protocol, _, address in found:
                if self._cutter.passed:
                    break
                # Where the cutter looks for it, before a connect that may hang.
                transport.sock = socket.socket(family, kind, protocol)
                try:
                    transport.sock.settimeout(timeout_s)
                    transport.sock.connect(address)
                except OSError as refused:
                    transport.sock.close()
                    transport.sock, error = None, refused
                else:
                    return
            raise error

        return connect


def _wanted_options(_: socket.socket) -> dict[int, int]:
    """Return what py-amqp sets of a socket, without what it merely sets to what it reads.

    Such is the size of segments, of which Linux refuses what it tells itself on the loopback once
    the other side has spoken or hung up: EINVAL in place of what that side said.
    """
    names = KNOWN_TCP_OPTS & DEFAULT_SOCKET_SETTINGS.keys()
    return {
        getattr(socket, name): DEFAULT_SOCKET_SETTINGS[name]
        for name in names
        if hasattr(socket, name)
    }


def _hearing_alerts(transport: Any) -> Callable[[bytes], None]:
    """Make the first `_write` of a transport with TLS: one that fails raises the broker's alert.

    With TLS 1.3 a broker that refuses us says so after the handshake, and hangs up. py-amqp would
    write into the closed connection, and never read why it was closed.
    """
    write = transport._write  # noqa: SLF001

    def write_first(data: bytes) -> None:
        transport._write = write  # noqa: SLF001
        try:
            write(data)
        except OSError:
            # It raises an alert that is there; nothing is left to wait for.
            with contextlib.suppress(ssl.SSLEOFError, ConnectionError):
                transport.sock.read(1)
            raise

    return write_first


def cautious_frame_handler(
    connection: Any, dispatch: Callable[..., None]
) -> Callable[[AmqpFrame], bool]:
    """Make the argument `frame_handler` of `amqp.Connection`.

    A heartbeat ends the wait for input, as any other word of the broker does: py-amqp would go on
    waiting, and an event that is transmitted meanwhile would wait as well.

    A delivery for a channel that closes ends here: py-amqp would log each with a warning. The
    broker sent it before it read that the channel closes, and gives it to the next consumer.
    """

    def dispatch_wanted(channel: int, method: tuple[int, int], *content: Any) -> None:
        if method != Basic.Deliver or not connection.channels[channel].is_closing:
            dispatch(channel, method, *content)

    # It returns whether a whole method has come, which ends `drain_events`. A header or a body of a
    # message is none yet.
    handle: Callable[[AmqpFrame], bool] = frame_handler(connection, dispatch_wanted)

    def on_frame(frame: AmqpFrame) -> bool:
        kind, channel, payload = frame
        if kind == HEADER:
            payload = payload[:_HEADER_BYTES] + wanted_properties(payload)
        elif kind == METHOD and payload[:4] == DELIVER:
            payload = _with_readable_routing_key(payload)
        elif kind == METHOD and payload[:4] == _GET_OK:
            left = payload[-_MESSAGES_LEFT_BYTES:]
            payload = payload[: _exchange_end(payload, len(_GET_OK))] + _NO_ROUTING_KEY + left
        return handle((kind, channel, payload)) or kind == _HEARTBEAT

    return on_frame


def _with_readable_routing_key(deliver: bytes) -> bytes:
    # py-amqp reads it as UTF-8 while it takes the frame in, and with another one the connection
    # would be lost again and again.
    at = _routing_key_at(deliver)
    try:
        deliver[at + 1 :].decode()
    except UnicodeDecodeError:
        return deliver[:at] + _NO_ROUTING_KEY
    return deliver


def _routing_key_at(deliver: bytes) -> int:
    # Consumer tag, exchange and routing key are each a byte of length and so many bytes.
    consumer_tag_at = len(DELIVER)
    return _exchange_end(deliver, consumer_tag_at + 1 + deliver[consumer_tag_at])


def _exchange_end(method: bytes, delivery_tag_at: int) -> int:
    exchange_at = delivery_tag_at + _DELIVERY_TAG_AND_REDELIVERED
    return exchange_at + 1 + method[exchange_at]


def _addresses(lookups: Lookups, host: str, port: int, timeout_s: float) -> Sequence[Any]:
    # An address needs no resolver and no thread.
    with contextlib.suppress(socket.gaierror):
        return _resolved(host, port, socket.AI_NUMERICHOST)
    return lookups.result(f"{host}:{port}", lambda: _resolved(host, port), timeout_s)


def _resolved(host: str, port: int, flags: int = 0) -> Sequence[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)


class RabbitTransport(pyamqp.Transport):
    """What `kombu.Connection(transport=...)` takes for a RabbitMQ."""

    Connection = CautiousConnection
